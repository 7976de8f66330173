//! The soak: 36 seconds in the normal tests, 20 minutes in the nightly ones.

use std::time::Duration;

use abuse::{Result, ensure, soak};
use e2e::{Context, Start};
use serde_json::Value;

/// Half a minute finds what is kept of each player by the 10 kB, and keeps the nightly soak from
/// rotting.
const SHORT: f64 = 0.6;
/// 120,000 players.
const NIGHTLY: f64 = 20.0;
/// A crowd within what any machine's open files allow; the nightly one wants 10,000 and twice as
/// many descriptors.
const SHORT_CROWD: usize = 1000;
const NIGHTLY_CROWD: usize = 10_000;
/// Descriptors that are not viewers.
const OTHERS: u64 = 1500;

fn number<T: std::str::FromStr>(name: &str) -> Result<Option<T>> {
    let Ok(text) = std::env::var(name) else { return Ok(None) };
    let value = text.parse().ok();
    Ok(Some(value.with_context(|| format!("{name}={text} is no number"))?))
}

#[test]
fn after_all_the_coming_and_going_nothing_is_kept_and_nobody_was_served_wrongly() -> Result<()> {
    let minutes = if e2e::slow() { NIGHTLY } else { SHORT };
    let minutes = number("MILLRACE_SOAK_MINUTES")?.unwrap_or(minutes);
    let wanted = if e2e::slow() { NIGHTLY_CROWD } else { SHORT_CROWD };
    let wanted = number("MILLRACE_SOAK_CROWD")?.unwrap_or(wanted);
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let room = files.map_or(usize::MAX, |most| {
        usize::try_from(most.saturating_sub(OTHERS)).unwrap_or(usize::MAX)
    });
    let crowd = wanted.min(room);
    if crowd < wanted {
        println!("a crowd of {crowd} and not {wanted}: the limit of open files is {files:?}");
    }
    let server = Start::bare(module_path!())
        .env("SRS_VHOST_HLS_HLS_FRAGMENT", "1")
        .env("SRS_VHOST_HLS_HLS_WINDOW", "4")
        .env("SRS_VHOST_HLS_HLS_DISPOSE", "5")
        .env("SRS_VHOST_PLAY_QUEUE_LENGTH", "5")
        .env("SRS_MAX_CONNECTIONS", &(crowd + 1200).to_string())
        .ready()?;
    let versions = server.api("/api/v1/versions")?;
    let pid = versions.get("pid").and_then(Value::as_str).context("no pid")?.parse()?;
    let at = |port: u16| ([127, 0, 0, 1], port).into();
    let ports = [server.ports.rtmp, server.ports.http, server.ports.api].map(at);
    let logs = ["server.out", "server.err"].map(|name| server.dir.join(name)).to_vec();
    let time = Duration::from_secs_f64(minutes * 60.0);
    let plan = soak::Plan { crowd, ..soak::Plan::new(ports, pid, logs, time) };
    let report = soak::run(&plan, &mut |line| println!("{line}"))?;
    println!("{}", report.table());
    std::fs::write(server.dir.join("report.txt"), report.table())?;
    ensure!(report.faults().is_empty(), "{}", report.faults().join("; "));
    for list in ["clients", "streams"] {
        let answer = server.api(&format!("/api/v1/{list}/?count=10"))?;
        let left = answer.get(list).and_then(Value::as_array).context("no list")?;
        ensure!(left.is_empty(), "the API still lists {list}: {left:?}");
    }
    Ok(())
}
