//! Reloads without end, under sessions that must not notice them.

use std::fmt::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use e2e::own::Own;
use e2e::program::Program;
use e2e::{Context, PATIENCE, Result, Server, Start, ensure, until};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rtmp::session::client::{Event, Role};
use rustix::process::Signal;
use serde_json::Value;

const RELOADS: u32 = 2000;
/// So many streams, each with so many players: 200 sessions.
const PUBLISHERS: u64 = 10;
const VIEWERS_EACH: u64 = 19;
/// What the process may have grown by in half of the reloads; a configuration takes some 100 kB, so one
/// in a hundred that is kept would be seen.
const GROWN_KB: u64 = 1_000;

/// What is in the file for those who must not be disturbed.
const SERVED: &str = "vhost __defaultVhost__ {\n\
    http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }\n}\n";

/// Directives of a virtual host that nobody uses, each with some values that are right.
const ODD: &[(&str, &[&str])] = &[
    ("enabled", &["on", "off"]),
    ("chunk_size", &["128", "4096", "60000"]),
    ("tcp_nodelay", &["on", "off"]),
    ("min_latency", &["on", "off"]),
    (
        "play",
        &["{ gop_cache off; }", "{ mw_latency 100; queue_length 5; }", "{ time_jitter zero; }"],
    ),
    ("publish", &["{ mr on; mr_latency 300; }", "{ firstpkt_timeout 9000; }"]),
    ("hls", &["{ enabled on; hls_fragment 2; }", "{ enabled on; hls_window 20; hls_ctx off; }"]),
    ("http_remux", &["{ enabled on; mount [vhost]/x/[stream].ts; }", "{ enabled off; }"]),
];

/// The same at the top of the file.
const TOP: &[(&str, &[&str])] = &[
    ("chunk_size", &["60000", "4096"]),
    ("max_connections", &["1000", "2000"]),
    ("max_connections_per_ip", &["0", "900"]),
    ("utc_time", &["on", "off"]),
    ("grace_final_wait", &["100", "5000"]),
    ("srs_log_level", &["info", "warn", "trace"]),
];

/// Lines that no configuration may have.
const FAULTS: &[&str] = &[
    "max_connections many;\n",
    "no_such_directive 1;\n",
    "vhost broken {\n",
    "}\n",
    "vhost v0.test { hls { hls_fragment -1; } }\n",
    "listen 70000;\n",
    "http_server { enabled on; listen HTTP; dir \"unclosed; }\n",
];

/// A configuration, and whether it is right and listens at the further port.
struct Made {
    text: String,
    right: bool,
    further: bool,
}

fn make(rng: &mut StdRng) -> Result<Made> {
    let further = rng.random();
    let listen = if further { "listen RTMP RTMPS;\n" } else { "listen RTMP;\n" };
    let mut text = format!(
        "{listen}daemon off;\nsrs_log_tank console;\npid DIR/server.pid;\n\
         http_api {{ enabled on; listen API; raw_api {{ enabled on; }} }}\n\
         http_server {{ enabled on; listen HTTP; dir DIR/html; }}\n{SERVED}"
    );
    let some = |rng: &mut StdRng, rows: &[(&str, &[&str])], text: &mut String| -> Result<()> {
        for (name, values) in rows {
            if rng.random_ratio(1, 3) {
                let value = values.choose(rng).context("every row has values")?;
                let end = if value.ends_with('}') { "" } else { ";" };
                writeln!(text, "{name} {value}{end}")?;
            }
        }
        Ok(())
    };
    some(rng, TOP, &mut text)?;
    for number in 0..4 {
        if rng.random() {
            writeln!(text, "vhost v{number}.test {{")?;
            some(rng, ODD, &mut text)?;
            text.push_str("}\n");
        }
    }
    let right = !rng.random_ratio(1, 5);
    if !right {
        text.push_str(FAULTS.choose(rng).context("there are faults")?);
    }
    Ok(Made { text, right, further })
}

fn kb(server: &Server) -> Result<u64> {
    let pid = std::fs::read_to_string(server.dir.join("server.pid"))?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim()))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// The load, until it is told to end: what it found.
fn report(load: Program) -> Result<Value> {
    load.signal(Signal::INT)?;
    let run = load.finish(PATIENCE)?;
    serde_json::from_str(&run.stdout).with_context(|| format!("{}{}", run.stdout, run.stderr))
}

#[test]
fn two_thousand_reloads_under_two_hundred_sessions_disturb_nobody() -> Result<()> {
    let mut rng = StdRng::seed_from_u64(4);
    let mut first = make(&mut rng)?;
    while !first.right {
        first = make(&mut rng)?;
    }
    let mut server = Start::config("reloads", &first.text).ready()?;
    let mut further = first.further;
    let mut command = Command::new(e2e::binary()?);
    let (publishers, each) = (PUBLISHERS.to_string(), VIEWERS_EACH.to_string());
    command
        .args(["bench", "mix", &server.rtmp("live/s{i}"), "--publishers", &publishers])
        .args(["--players-per-stream", &each, "--rate", "200", "--settle", "1", "-t", "3600"])
        .args(["--verify", "500", "--allow", "stalled,starved", "--stall", "20", "--json"])
        .current_dir(&server.dir);
    let load = Program::start(command, &server.dir, "load")?;
    let sessions = PUBLISHERS * (VIEWERS_EACH + 1);
    until("not all sessions have come", || {
        let list = server.api("/api/v1/streams/?count=100").ok()?;
        let streams = list.get("streams")?.as_array()?;
        let clients = streams.iter().filter_map(|s| s.get("clients")?.as_u64());
        (clients.sum::<u64>() >= sessions).then_some(())
    })?;

    // The settings of the log are among what changes, so the API tells how a reload went.
    let state = |server: &Server| -> Result<Value> {
        let state = server.api("/api/v1/raw?rpc=reload-fetch")?;
        state.get("data").cloned().with_context(|| format!("no state of a reload: {state}"))
    };
    let (mut right, mut wrong, mut early) = (0u32, 0u32, 0);
    let mut last = state(&server)?;
    for number in 0..RELOADS {
        let made = make(&mut rng)?;
        server.rewrite(&made.text)?;
        server.reload()?;
        let now = until("the reload never ends", || {
            let now = state(&server).ok()?;
            let done = now.get("state")?.as_u64()? == 90 && now.get("rid") != last.get("rid");
            done.then_some(now)
        })?;
        let err = now.get("err").and_then(Value::as_u64);
        ensure!((err == Some(0)) == made.right, "reload {number}: {now} of\n{}", made.text);
        if made.right {
            further = made.further;
            right += 1;
        } else {
            wrong += 1;
        }
        // What is wrong changes nothing, and what is right all of it.
        // A port closes a moment after the reload is told as done.
        until("the further port is not as the configuration says", || {
            let open = TcpStream::connect(("127.0.0.1", server.ports.rtmps)).is_ok();
            (open == further).then_some(())
        })
        .with_context(|| format!("reload {number}, {}:\n{}", made.right, made.text))?;
        last = now;
        if number == RELOADS / 2 {
            early = kb(&server)?;
        }
    }
    let late = kb(&server)?;
    ensure!(right > 1000 && wrong > 200, "{right} right and {wrong} wrong");
    ensure!(server.alive()?, "{}", server.log());
    ensure!(late < early + GROWN_KB, "{early} kB after half of them, {late} after {RELOADS}");

    let report = report(load)?;
    let number = |path: &str| report.pointer(path).and_then(Value::as_u64);
    for (path, wanted) in [
        ("/players/connected", PUBLISHERS * VIEWERS_EACH),
        ("/players/lost", 0),
        ("/publishers/active", PUBLISHERS),
        ("/verification/corrupt", 0),
        ("/verification/missing", 0),
        ("/verification/reordered", 0),
    ] {
        ensure!(number(path) == Some(wanted), "{path} is not {wanted}: {report}");
    }
    Ok(())
}

/// What a server does for those who come, beside what it says of itself.
fn state(server: &Server) -> Result<Vec<String>> {
    let config = server.api("/api/v2/config?defaults=true")?;
    // Only where a value stands differs, and the ports and folder of the test.
    let mut text = config.to_string().replace(&server.dir.display().to_string(), "DIR");
    let ports = &server.ports;
    for (port, word) in
        [(ports.rtmps, "RTMPS"), (ports.rtmp, "RTMP"), (ports.api, "API"), (ports.http, "HTTP")]
    {
        text = text.replace(&port.to_string(), word);
    }
    let mut all = vec![text];
    let further = TcpStream::connect(("127.0.0.1", ports.rtmps)).is_ok();
    all.push(format!("further port: {further}"));
    for vhost in ["__defaultVhost__", "v0.test", "v1.test", "v2.test", "v3.test"] {
        let name = format!("live?vhost={vhost}/reloads");
        let mut own = Own::connect(server, &name, Role::PublishFmle)?;
        let answer = until("the server says neither yes nor no", || {
            let events = own.turn(Duration::from_millis(20)).ok()?;
            events.iter().find_map(|event| match event {
                Event::PublishStarted => Some("yes".to_owned()),
                Event::Closed(why) => Some(format!("no: {why}")),
                _ => None,
            })
        })?;
        drop(own);
        all.push(format!("{vhost}: publish {answer}"));
    }
    Ok(all)
}

#[test]
fn a_reload_leaves_what_a_start_with_the_same_file_gives() -> Result<()> {
    let mut rng = StdRng::seed_from_u64(5);
    let right = |rng: &mut StdRng| -> Result<String> {
        loop {
            let made = make(rng)?;
            if made.right {
                return Ok(made.text);
            }
        }
    };
    let reloaded = Start::config("reloads-same", &right(&mut rng)?).ready()?;
    for number in 0..8 {
        let text = right(&mut rng)?;
        let rid = |server: &Server| server.api("/api/v1/raw?rpc=reload-fetch");
        let before = rid(&reloaded)?;
        reloaded.rewrite(&text)?;
        reloaded.reload()?;
        until("the reload never ends", || {
            let now = rid(&reloaded).ok()?;
            let done = now.pointer("/data/state")?.as_u64()? == 90;
            (done && now.pointer("/data/rid") != before.pointer("/data/rid")).then_some(())
        })?;
        let started = Start::config("reloads-fresh", &text).ready()?;
        // What closes does so a moment after the reload.
        let mut pair = (Vec::new(), Vec::new());
        until("a reload and a start differ", || {
            pair = (state(&reloaded).ok()?, state(&started).ok()?);
            (pair.0 == pair.1).then_some(())
        })
        .with_context(|| format!("number {number}: {pair:#?} of\n{text}"))?;
    }
    Ok(())
}
