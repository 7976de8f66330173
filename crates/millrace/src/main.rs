//! `millrace`: reads the command line and starts the server. See `cli` for the flags, `server`
//! for what is started in which order, `gates` for the protocols there are.

mod banner;
mod bench;
mod cli;
mod demo;
mod gates;
mod server;
mod signals;

use std::process::ExitCode;

/// Version of this build.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Memory freed by a load comes back to the system; the C library's allocator keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
