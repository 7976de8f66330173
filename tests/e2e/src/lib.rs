//! The harness of the black-box tests: the real binary with real encoders and players.
//!
//! A [`Server`] runs on ports of its own in a folder of its own and is gone, with everything it
//! started, when it is dropped. [`program`] runs foreign programs with a time limit; [`sample`]
//! makes the media once; [`record`] plays a stream by every protocol and keeps what came;
//! [`probe`] says what it is; [`own`] is a publisher and a player of RTMP for what no program can
//! be made to send or tell; [`web`] is a web server for callbacks, [`collector`] one of OpenTelemetry. Apart from `own` nothing here
//! knows a crate of the workspace: what a user can see is all that these tests see.
//!
//! Environment: `MILLRACE_BIN` (the binary), `MILLRACE_E2E_DIR` (logs, captures, samples),
//! `MILLRACE_STRICT` (a missing program fails its tests), `MILLRACE_SLOW` (the long tests too),
//! `MILLRACE_NEWER_FFMPEG` (an ffmpeg of 6.1 or later, for Enhanced RTMP and WHIP), `MILLRACE_SCHEMATHESIS`
//! and `MILLRACE_AIORTC` (the folders that Python finds them in). `cargo xtask test` sets them.
#![allow(clippy::print_stderr, reason = "a failed test shows the server's log")]

pub mod collector;
pub mod http;
pub mod own;
pub mod playlist;
pub mod probe;
pub mod program;
pub mod record;
pub mod sample;
pub mod server;
pub mod sync;
pub mod ts;
pub mod web;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use anyhow::{Context, Result, anyhow, bail, ensure};
pub use program::{Program, Run};
pub use record::Wire;
pub use sample::Sample;
pub use server::{Ports, Server, Start};

/// Long enough for anything that works at all on the slowest machine; never a measure of speed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where everything that the tests write lies.
pub fn folder() -> Result<PathBuf> {
    let dir = match std::env::var_os("MILLRACE_E2E_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => build_folder()?.join("../e2e"),
    };
    std::fs::create_dir_all(&dir)?;
    Ok(dir.canonicalize()?)
}

/// `target/debug` or `target/release`: where the binary lies beside the tests.
fn build_folder() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let dir = own.ancestors().nth(2).context("a test binary lies two folders deep")?;
    Ok(dir.to_path_buf())
}

/// The binary under test.
pub fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("MILLRACE_BIN") {
        Some(path) => PathBuf::from(path),
        None => build_folder()?.join("millrace"),
    };
    ensure!(
        path.is_file(),
        "no binary at {}: `cargo build -p millrace`, or set MILLRACE_BIN",
        path.display()
    );
    Ok(path)
}

/// Whether the tests that take minutes were asked for.
pub fn slow() -> bool {
    std::env::var_os("MILLRACE_SLOW").is_some()
}

/// Asks every 50 ms until there is an answer; after [`PATIENCE`] it fails with `what`.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        ensure!(Instant::now() < end, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Says why a test ends early, in peace.
pub fn pass_over(why: &str) {
    eprintln!("PASSED OVER: {why}");
}

/// Lets media flow for a while.
pub fn let_run(seconds: f64) {
    std::thread::sleep(Duration::from_secs_f64(seconds));
}

/// Runs every row on a thread of its own and tells all faults together, each with its row.
pub fn all_of<R: Sync + std::fmt::Debug>(
    rows: &[R],
    test: impl Fn(&R) -> Result<()> + Sync,
) -> Result<()> {
    let faults: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = rows.iter().map(|row| (row, scope.spawn(|| test(row)))).collect();
        let fault = |(row, run): (&R, std::thread::ScopedJoinHandle<'_, Result<()>>)| {
            let result = run.join().unwrap_or_else(|_| Err(anyhow!("panicked")));
            result.err().map(|e| format!("{row:?}: {e:#}"))
        };
        runs.into_iter().filter_map(fault).collect()
    });
    ensure!(faults.is_empty(), "{} of {} fail:\n{}", faults.len(), rows.len(), faults.join("\n"));
    Ok(())
}

/// Ends a test early, in peace, where a program is missing and strictness was not asked for.
#[macro_export]
macro_rules! need {
    ($($program:expr),+ $(,)?) => {
        $(if !$crate::program::present($program)? {
            return Ok(());
        })+
    };
}
