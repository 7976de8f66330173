//! `millrace bench rtc` against the real server: many players, and what a bad network does to them.

use std::process::Command;

use e2e::program::{Program, run};
use e2e::{Context, PATIENCE, Result, Server, Start, ensure};
use rustix::process::Signal;
use serde_json::Value;

fn tool(server: &Server, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(e2e::binary()?);
    command.arg("bench").args(args).current_dir(&server.dir);
    Ok(command)
}

/// Runs the tool to its end: its exit status and its report.
fn bench(server: &Server, name: &str, args: &[&str]) -> Result<(Option<i32>, Value)> {
    let command = tool(server, &[args, &["--json", "-q"]].concat())?;
    let run = run(command, &server.dir, name, PATIENCE * 3)?;
    let report = serde_json::from_str(&run.stdout)
        .with_context(|| format!("{}: {}{}", run.status, run.stdout, run.stderr))?;
    Ok((run.status.code(), report))
}

/// Publishes the stamped test card by RTMP until it is dropped.
fn rtmp_publisher(server: &Server, stream: &str) -> Result<Program> {
    let to = server.rtmp(&format!("live/{stream}"));
    let publisher = tool(server, &["publish", &to, "-t", "600", "-q"])?;
    let publisher = Program::start(publisher, &server.dir, "publisher")?;
    server.wait_stream(stream)?;
    Ok(publisher)
}

fn whep(server: &Server, stream: &str) -> Result<String> {
    Ok(format!("http://{}/rtc/v1/whep/?app=live&stream={stream}", server.api_address()?))
}

fn number(report: &Value, path: &str) -> Result<u64> {
    let value = report.pointer(path).and_then(Value::as_u64);
    value.with_context(|| format!("no number at {path} in {report}"))
}

fn all_are(report: &Value, wanted: &[(&str, u64)]) -> Result<()> {
    for (path, wanted) in wanted {
        let found = number(report, path)?;
        ensure!(found == *wanted, "{path} is {found}, not {wanted}: {report}");
    }
    Ok(())
}

fn some_of(report: &Value, paths: &[&str]) -> Result<()> {
    for path in paths {
        ensure!(number(report, path)? > 0, "{path} is nothing: {report}");
    }
    Ok(())
}

const INTACT: &[(&str, u64)] = &[
    ("/verification/corrupt", 0),
    ("/verification/repeated", 0),
    ("/verification/reordered", 0),
    ("/verification/backwards", 0),
    ("/verification/unreadable", 0),
];

#[test]
fn fifty_players_get_every_picture_of_an_rtmp_stream() -> Result<()> {
    let server = Start::bare("bench-rtc-fifty").ready()?;
    let _publisher = rtmp_publisher(&server, "fifty")?;
    let url = whep(&server, "fifty")?;
    let args = ["rtc", "play", &url, "-n", "50", "--verify", "all", "-t", "5"];
    // How fast the machine is must not matter: a starved player is the machine's doing.
    let (status, report) = bench(&server, "fifty", &[&args[..], &["--allow", "starved"]].concat())?;
    ensure!(status == Some(0), "ended with {status:?}: {report}");
    all_are(&report, INTACT)?;
    all_are(
        &report,
        &[
            ("/players/connected", 50),
            ("/players/active", 50),
            ("/players/lost", 0),
            ("/players/verified", 50),
            ("/verification/missing", 0),
            ("/window/unrepaired", 0),
            ("/window/strange", 0),
            ("/freezes/count", 0),
            ("/first_picture_ms/count", 50),
        ],
    )?;
    some_of(&report, &["/verification/stamped", "/latency_ms/count", "/whole/sender_reports"])
}

#[test]
fn five_percent_loss_is_repaired_without_a_freeze() -> Result<()> {
    let server = Start::bare("bench-rtc-loss").ready()?;
    let _publisher = rtmp_publisher(&server, "loss")?;
    let url = whep(&server, "loss")?;
    let seconds = if e2e::slow() { "60" } else { "15" };
    let args = ["rtc", "play", &url, "--verify", "all", "-t", seconds];
    let bad = ["--loss", "5", "--delay", "50", "--allow", "starved"];
    let (status, report) = bench(&server, "loss", &[&args[..], &bad].concat())?;
    ensure!(status == Some(0), "ended with {status:?}: {report}");
    all_are(&report, INTACT)?;
    all_are(
        &report,
        &[
            ("/players/active", 1),
            ("/players/lost", 0),
            ("/freezes/count", 0),
            ("/verification/missing", 0),
        ],
    )?;
    some_of(&report, &["/window/missing", "/window/nacks", "/window/retransmissions"])?;
    // Pictures by retransmission, sound by what the next packet carries.
    some_of(&report, &["/window/recovered", "/window/redundant", "/network/lost"])
}

#[test]
fn a_link_that_carries_less_than_the_stream_keeps_the_sound() -> Result<()> {
    let server = Start::bare("bench-rtc-thin").ready()?;
    let _publisher = rtmp_publisher(&server, "thin")?;
    let url = whep(&server, "thin")?;
    let args = ["rtc", "play", &url, "-n", "4", "--verify", "all", "--settle", "8", "-t", "15"];
    let thin = ["--link", "120", "--delay", "20", "--allow", "starved,stalled,missing"];
    let (status, report) = bench(&server, "thin", &[&args[..], &thin].concat())?;
    ensure!(status == Some(0), "ended with {status:?}: {report}");
    all_are(&report, INTACT)?;
    all_are(&report, &[("/players/connected", 4), ("/players/lost", 0)])?;
    some_of(&report, &["/window/pictures"])?;
    // All of the sound and a part of the pictures; what is sent comes through.
    let gone = report.pointer("/loss_after_repair_percent").and_then(Value::as_f64);
    ensure!(gone.is_some_and(|percent| percent < 10.0), "{report}");
    let log = server.log();
    ensure!(log.contains("pictures are left out"), "{log}");
    Ok(())
}

#[test]
fn sessions_live_and_recover_at_twenty_percent_loss() -> Result<()> {
    let server = Start::bare("bench-rtc-heavy-loss").ready()?;
    let _publisher = rtmp_publisher(&server, "heavy")?;
    let url = whep(&server, "heavy")?;
    let args = ["rtc", "play", &url, "-n", "4", "--verify", "all", "-t", "15"];
    let bad = ["--loss", "20", "--delay", "50", "--allow", "starved,stalled,missing"];
    let (status, report) = bench(&server, "heavy", &[&args[..], &bad].concat())?;
    ensure!(status == Some(0), "ended with {status:?}: {report}");
    all_are(&report, INTACT)?;
    all_are(&report, &[("/players/connected", 4), ("/players/lost", 0)])?;
    // Half of the pictures were shown at the least: after each loss it went on.
    let pictures = number(&report, "/window/pictures")?;
    ensure!(pictures > 4 * 15 * 25 / 2, "{pictures} pictures: {report}");
    some_of(&report, &["/window/recovered"])
}

#[test]
fn publishers_over_a_bad_network_reach_players_of_rtmp_and_webrtc() -> Result<()> {
    let server = Start::bare("bench-rtc-publish").ready()?;
    let url = format!("http://{}/rtc/v1/whip/?app=live&stream=up", server.api_address()?);
    let args = ["rtc", "publish", &url, "-t", "600", "--loss", "5", "--delay", "50", "--json"];
    let publisher = Program::start(tool(&server, &args)?, &server.dir, "publisher")?;
    server.wait_stream("up")?;
    let from = whep(&server, "up")?;
    let args = ["rtc", "play", &from, "-n", "2", "--verify", "all", "-t", "5"];
    let allow = ["--allow", "starved,stalled,missing"];
    let (status, report) = bench(&server, "players", &[&args[..], &allow].concat())?;
    ensure!(status == Some(0), "WHEP ended with {status:?}: {report}");
    all_are(&report, INTACT)?;
    all_are(&report, &[("/players/connected", 2), ("/players/lost", 0)])?;
    some_of(&report, &["/window/pictures", "/verification/frames"])?;
    // Pictures were asked for again, and sound carries what was lost of it.
    let gone = report.pointer("/loss_after_repair_percent").and_then(Value::as_f64);
    ensure!(gone.is_some_and(|percent| percent < 1.5), "{report}");
    let from = server.rtmp("live/up");
    let args = ["play", &from, "-n", "2", "--verify", "all", "-t", "5"];
    let (status, report) = bench(&server, "rtmp", &[&args[..], &allow].concat())?;
    ensure!(status == Some(0), "RTMP ended with {status:?}: {report}");
    all_are(&report, INTACT)?;
    all_are(&report, &[("/players/connected", 2), ("/players/lost", 0)])?;
    some_of(&report, &["/verification/frames"])?;
    publisher.signal(Signal::INT)?;
    let run = publisher.finish(PATIENCE)?;
    let report: Value = serde_json::from_str(&run.stdout).context("no report of the publisher")?;
    all_are(&report, &[("/publishers/active", 1), ("/publishers/lost", 0)])?;
    some_of(&report, &["/publishers/nacks", "/publishers/retransmissions", "/network/lost"])
}

#[test]
fn players_that_change_their_address_play_on() -> Result<()> {
    let server = Start::bare("bench-rtc-move").ready()?;
    let _publisher = rtmp_publisher(&server, "move")?;
    let url = whep(&server, "move")?;
    let args = ["rtc", "play", &url, "-n", "5", "--verify", "all", "-t", "8", "--move", "6"];
    let (status, report) = bench(&server, "move", &[&args[..], &["--allow", "starved"]].concat())?;
    ensure!(status == Some(0), "ended with {status:?}: {report}");
    all_are(&report, INTACT)?;
    all_are(
        &report,
        &[
            ("/players/moved", 5),
            ("/players/astray", 0),
            ("/players/active", 5),
            ("/players/lost", 0),
            ("/resumed_ms/count", 5),
            ("/verification/missing", 0),
            ("/freezes/count", 0),
        ],
    )
}
