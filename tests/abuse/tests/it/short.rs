//! All attacks at once, for as long as a normal test may take.

use std::time::Duration;

use abuse::{Plan, Result, ensure};
use e2e::{Context, Start};
use serde_json::Value;

fn served(name: &str) -> Result<e2e::Server> {
    Start::bare(name)
        .env("SRS_VHOST_HLS_HLS_FRAGMENT", "1")
        .env("SRS_VHOST_HLS_HLS_WINDOW", "4")
        .env("SRS_MAX_CONNECTIONS", "500")
        .env("SRS_RTC_SERVER_ENABLED", "on")
        .env("SRS_RTC_SERVER_TCP_ENABLED", "on")
        .env("SRS_VHOST_RTC_ENABLED", "on")
        .env("SRS_VHOST_RTC_RTMP_TO_RTC", "on")
        .env("SRS_VHOST_RTC_RTC_TO_RTMP", "on")
        .env("SRS_RTC_SERVER_PENDING_TIMEOUT", "5")
        .env("SRS_VHOST_RTC_STUN_TIMEOUT", "10")
        .ready()
}

fn plan(server: &e2e::Server, seconds: u64) -> Result<Plan> {
    let versions = server.api("/api/v1/versions")?;
    let pid = versions.get("pid").and_then(Value::as_str).context("no pid")?.parse()?;
    let at = |port: u16| ([127, 0, 0, 1], port).into();
    let ports = [server.ports.rtmp, server.ports.http, server.ports.api].map(at);
    Ok(Plan {
        rtc: Some(at(server.ports.rtc)),
        each: Duration::ZERO,
        calm: Duration::from_secs(1),
        settle: Duration::from_secs(13),
        at_once: 5,
        connections: 400,
        viewers: 1,
        ..Plan::new(ports, pid, Duration::from_secs(seconds))
    })
}

/// Whatever the mixture leaves out by chance: each for itself, with what must never be.
#[allow(clippy::print_stdout, reason = "what a failed test tells")]
fn bears(name: &str, attack: &str, connections: usize) -> Result<()> {
    let server = served(name)?;
    let plan = Plan {
        only: vec![attack.to_owned()],
        at_once: 1,
        connections,
        settle: Duration::from_secs(11),
        ..plan(&server, 8)?
    };
    let report = abuse::run(&plan, &mut |line| println!("{line}"))?;
    println!("{}", report.table());
    ensure!(report.faults().is_empty(), "{}", report.faults().join("; "));
    Ok(())
}

#[test]
fn nobody_takes_a_viewers_place_by_sending_from_its_address() -> Result<()> {
    bears("abuse-sources", "rtc-sources", 400)
}

#[test]
fn thousands_of_silent_connections_keep_nobody_out() -> Result<()> {
    bears("abuse-idle", "rtc-idle", 3_000)
}

/// The mixture alone: 12 s. Sessions of HLS live for 10 s after their last request.
#[test]
fn a_server_under_attack_on_every_port_keeps_its_viewers_and_gives_everything_back() -> Result<()> {
    let server = served(module_path!())?;
    let plan = plan(&server, 12)?;
    let report = abuse::run(&plan, &mut |line| println!("{line}"))?;
    println!("{}", report.table());
    ensure!(report.faults().is_empty(), "{}", report.faults().join("; "));
    Ok(())
}
