//! `millrace bench` against the real server, and against one that damages what passes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use e2e::program::run;
use e2e::{Context, PATIENCE, Result, Start, all_of, ensure, need};
use serde_json::Value;

const CONFIG: &str = "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
    rtmps { enabled on; listen RTMPS; key DIR-keys/server.key; cert DIR-keys/server.crt; }\n\
    http_api { enabled on; listen API; }\n\
    http_server { enabled on; listen HTTP; dir DIR/html;\n\
    https { enabled on; listen HTTPS; key DIR-keys/server.key; cert DIR-keys/server.crt; } }\n\
    vhost __defaultVhost__ {\n    http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }\n\
    hls { enabled on; hls_path DIR/html; hls_fragment 1; }\n}\n";

/// Runs the tool: its exit status and its report.
fn bench(dir: &Path, name: &str, args: &[&str]) -> Result<(Option<i32>, Value)> {
    let mut command = Command::new(e2e::binary()?);
    command.args(["bench"]).args(args).args(["--json", "--insecure"]).current_dir(dir);
    let run = run(command, dir, name, PATIENCE)?;
    let report = serde_json::from_str(&run.stdout)
        .with_context(|| format!("{}: {}{}", run.status, run.stdout, run.stderr))?;
    Ok((run.status.code(), report))
}

fn number(report: &Value, path: &str) -> Result<u64> {
    let value = report.pointer(path).and_then(Value::as_u64);
    value.with_context(|| format!("no number at {path} in {report}"))
}

#[test]
fn every_wire_delivers_to_all_players_what_was_published() -> Result<()> {
    need!("openssl");
    let name = "bench-wires";
    let keys = e2e::folder()?.join("run").join(format!("{name}-keys"));
    crate::secure::certificate(&keys, "bench.test")?;
    let server = Start::config(name, CONFIG).ready()?;
    let ports = &server.ports;
    let wires = [
        ("rtmp", format!("rtmp://127.0.0.1:{}/live/", ports.rtmp), "", "4"),
        ("flv", format!("http://127.0.0.1:{}/live/", ports.http), ".flv", "4"),
        ("ws", format!("ws://127.0.0.1:{}/live/", ports.http), ".flv", "4"),
        ("ts", format!("http://127.0.0.1:{}/live/", ports.http), ".ts", "4"),
        ("hls", format!("http://127.0.0.1:{}/live/", ports.http), ".m3u8", "12"),
        ("rtmps", format!("rtmps://127.0.0.1:{}/live/", ports.rtmps), "", "4"),
        ("https", format!("https://127.0.0.1:{}/live/", ports.https), ".flv", "4"),
        ("wss", format!("wss://127.0.0.1:{}/live/", ports.https), ".flv", "4"),
    ];
    all_of(&wires, |(wire, at, ending, settle)| {
        // Two streams, each with two players that look and one that only counts.
        let to = server.rtmp(&format!("live/{wire}{{i}}"));
        let from = format!("{at}{wire}{{i}}{ending}");
        let args = ["mix", "--publish", &to, "--play", &from, "--publishers", "2"];
        let more = ["--players-per-stream", "3", "--verify", "4", "--settle", settle, "-t", "3"];
        // How fast the machine is must not matter: nothing but a loss or damage may fail.
        let allow = ["--allow", "stalled,starved", "--stall", "10"];
        let (status, report) = bench(&server.dir, wire, &[&args[..], &more, &allow].concat())?;
        ensure!(status == Some(0), "ended with {status:?}: {report}");
        for (path, wanted) in [
            ("/players/asked", 6),
            ("/players/connected", 6),
            ("/players/active", 6),
            ("/players/lost", 0),
            ("/players/verified", 4),
            ("/publishers/active", 2),
            ("/verification/corrupt", 0),
            ("/verification/missing", 0),
            ("/verification/reordered", 0),
            ("/verification/backwards", 0),
            ("/verification/unreadable", 0),
            ("/first_frame_ms/count", 6),
        ] {
            let found = number(&report, path)?;
            ensure!(found == wanted, "{path} is {found}, not {wanted}: {report}");
        }
        for path in ["/verification/stamped", "/verification/sounds", "/bytes"] {
            ensure!(number(&report, path)? > 0, "{path} is nothing: {report}");
        }
        ensure!(number(&report, "/latency_ms/all/count")? > 0, "no delays: {report}");
        Ok(())
    })
}

/// Carries one kind of connection to the server and turns one bit of what comes back, each so many
/// bytes; gives its address.
fn damaging(server: SocketAddr, each: u64) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for player in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(server) else { return };
            let (Ok(to), Ok(from)) = (server.try_clone(), player.try_clone()) else { return };
            std::thread::spawn(move || carry(from, to, u64::MAX));
            std::thread::spawn(move || carry(server, player, each));
        }
    });
    Ok(address)
}

fn carry(mut from: TcpStream, mut to: TcpStream, each: u64) {
    let mut buffer = [0; 4096];
    let mut at = 0;
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let Some(part) = buffer.get_mut(..n) else { break };
        for byte in part.iter_mut() {
            at += 1;
            if at % each == 0 {
                *byte ^= 0x10;
            }
        }
        if to.write_all(part).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

#[test]
fn damage_on_the_way_is_found_and_fails_the_run() -> Result<()> {
    let server = Start::bare("bench-damage").ready()?;
    // Every 5003rd byte: most hit a picture's slices, none of the first ones a head.
    let proxy = damaging(server.http_address()?, 5003)?;
    let to = server.rtmp("live/damaged");
    let from = format!("http://{proxy}/live/damaged.ts");
    let args = ["mix", "--publish", &to, "--play", &from, "-n", "2", "--settle", "2", "-t", "3"];
    let (status, report) = bench(&server.dir, "damage", &args)?;
    ensure!(status == Some(1), "ended with {status:?}: {report}");
    let found = number(&report, "/verification/corrupt")?;
    let unreadable = number(&report, "/verification/unreadable")?;
    ensure!(found + unreadable > 0, "nothing was found: {report}");
    Ok(())
}

#[test]
fn players_come_and_go_and_some_are_slow() -> Result<()> {
    let server = Start::bare("bench-churn").ready()?;
    let url = server.rtmp("live/churn");
    let args = ["mix", &url, "-n", "8", "--churn", "4", "--stay", "3", "--slow", "2"];
    let more = ["--slow-for", "1", "--slow-every", "1", "--settle", "2", "-t", "4"];
    let several = ["--source", "127.0.0.2-127.0.0.4", "--threads", "2"];
    let allow = ["--allow", "stalled,starved", "--stall", "10"];
    let all = [&args[..], &more, &several, &allow].concat();
    let (status, report) = bench(&server.dir, "churn", &all)?;
    ensure!(status == Some(0), "ended with {status:?}: {report}");
    ensure!(number(&report, "/players/left")? > 8, "nobody left: {report}");
    ensure!(number(&report, "/players/lost")? == 0, "players were lost: {report}");
    ensure!(number(&report, "/players/slow")? == 2, "nobody was slow: {report}");
    Ok(())
}

#[test]
fn what_goes_wrong_is_told_by_kind_and_status() -> Result<()> {
    let server = Start::bare("bench-errors").ready()?;
    let missing = server.http("live/nobody.ts");
    let quick = ["--settle", "1", "-t", "1", "-n", "2"];
    let (status, report) =
        bench(&server.dir, "missing", &[&["play", &missing][..], &quick].concat())?;
    let said = report.pointer("/errors/HTTP status 404").and_then(Value::as_u64);
    ensure!((status, said) == (Some(1), Some(2)), "{status:?}: {report}");
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let refused = format!("rtmp://{closed}/live/x");
    let (status, report) =
        bench(&server.dir, "refused", &[&["play", &refused][..], &quick].concat())?;
    let errors = report.pointer("/errors").map(Value::to_string).unwrap_or_default();
    ensure!(status == Some(1) && errors.contains("refused"), "{status:?}: {report}");
    let mut usage = Command::new(e2e::binary()?);
    usage.args(["bench", "play", "gopher://h/x"]);
    let run = run(usage, &server.dir, "usage", PATIENCE)?;
    ensure!(run.status.code() == Some(2) && run.stderr.contains("gopher"), "{:?}", run);
    Ok(())
}
