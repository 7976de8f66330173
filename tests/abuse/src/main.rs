//! `abuse`: attacks a server that runs on this machine. See the library.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use abuse::{Context, Plan, Result};
use clap::Parser;

/// Attacks a server on this machine on every port, and tells how it bore it
#[derive(Parser)]
struct Options {
    /// Length of the attacks
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// RTMP port of the server
    #[arg(long, default_value = "127.0.0.1:1935")]
    rtmp: SocketAddr,
    /// Port of its streams and files
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Port of its API
    #[arg(long, default_value = "127.0.0.1:1985")]
    api: SocketAddr,
    /// Datagram port of WebRTC, if it serves that; ICE over TCP is at the same number
    #[arg(long)]
    rtc: Option<SocketAddr>,
    /// Its process
    #[arg(long)]
    pid: u32,
    /// Its configuration file: reload it all the time; it is restored at the end
    #[arg(long)]
    config: Option<PathBuf>,
    /// Seconds of each attack alone [default: half of the time for all of them; 0: mixture only]
    #[arg(long)]
    each: Option<u64>,
    /// Seconds of pause at the end
    #[arg(long, default_value_t = 15)]
    settle: u64,
    /// Attacks at once in the mixture
    #[arg(long, default_value_t = 4)]
    at_once: usize,
    /// Half-open connections, and connections of a flood
    #[arg(long, default_value_t = 1000)]
    connections: usize,
    /// Only these attacks
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Other choices with another seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures there
    #[arg(long)]
    json: Option<PathBuf>,
}

fn run(options: &Options) -> Result<bool> {
    let ports = [options.rtmp, options.http, options.api];
    let plan = Plan::new(ports, options.pid, Duration::from_secs(options.seconds));
    let plan = Plan {
        config: options.config.clone(),
        rtc: options.rtc,
        each: options.each.map_or(plan.each, Duration::from_secs),
        settle: Duration::from_secs(options.settle),
        at_once: options.at_once,
        connections: options.connections,
        only: options.only.clone(),
        seed: options.seed,
        ..plan
    };
    let report = abuse::run(&plan, &mut |line| eprintln!("{line}"))?;
    print!("{}", report.table());
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report.json())?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(report.faults().is_empty())
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("abuse: {e:#}");
            ExitCode::from(2)
        }
    }
}
