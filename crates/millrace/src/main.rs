//! `millrace`: reads the command line and starts the server. See `cli` for the flags, `server`
//! for what is started in which order, `gates` for the protocols there are.

mod banner;
mod bench;
mod cli;
mod demo;
mod gates;
mod server;
mod sign;
mod signals;

use std::process::ExitCode;

/// Version of this build.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Gives memory back to the system within seconds after a load, and rounds little things up little;
/// `.cargo/config.toml` says how soon. Measured against others in `bench/RESULTS.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
