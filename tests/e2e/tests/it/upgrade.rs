//! A running server is replaced by another process: nobody is refused, and who stays loses nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use e2e::program::run;
use e2e::{Context, PATIENCE, Result, Start, ensure, http, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const CONFIG: &str = "listen RTMP;\ndaemon off;\nsrs_log_tank console;\npid DIR/server.pid;\n\
    http_api { enabled on; listen API; }\n\
    http_server { enabled on; listen HTTP; dir DIR/html; }\n\
    vhost __defaultVhost__ {\n    http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }\n}\n";

const PUBLISHERS: u64 = 20;
const VIEWERS_EACH: u64 = 25;

/// Ends the process that took over, however the test ends.
pub(crate) struct Successor(pub(crate) PathBuf);

impl Successor {
    pub(crate) fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(&self.0).ok()?.trim().parse().ok()
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let raw = self.pid().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = raw.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
            // It must have left its ports before another test may have them.
            let _ = until("the successor does not end", || (!self.0.exists()).then_some(()));
        }
    }
}

/// One connection: RTMP's handshake begins, and the server answers.
pub(crate) fn knock(at: SocketAddr) -> std::io::Result<()> {
    let mut tcp = TcpStream::connect_timeout(&at, PATIENCE)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    // C0 and C1.
    tcp.write_all(&[&[3][..], &[0; 1536]].concat())?;
    let mut answer = [0];
    tcp.read_exact(&mut answer)
}

/// Somebody new every 10 ms, by RTMP and HTTP in turn, until told to stop.
fn knock_on(rtmp: SocketAddr, api: SocketAddr, stop: &AtomicBool) -> (u64, Vec<String>) {
    let (mut count, mut refused) = (0, Vec::new());
    while !stop.load(Relaxed) {
        count += 1;
        let result = match count % 2 {
            0 => knock(rtmp).map_err(|e| format!("RTMP: {e}")),
            _ => http::get(api, "/api/v1/versions").map(drop).map_err(|e| format!("API: {e}")),
        };
        refused.extend(result.err());
        std::thread::sleep(Duration::from_millis(10));
    }
    (count, refused)
}

pub(crate) fn upgrade(dir: &Path, name: &str) -> Result<e2e::Run> {
    let mut command = Command::new(e2e::binary()?);
    command.args(["upgrade", "-c"]).arg(dir.join("millrace.conf")).current_dir(dir);
    run(command, dir, name, PATIENCE * 2)
}

#[test]
fn five_hundred_viewers_stay_and_nobody_new_is_refused() -> Result<()> {
    let mut server = Start::config("upgrade-load", CONFIG).ready()?;
    let successor = Successor(server.dir.join("server.pid"));
    let old = successor.pid().context("no pid file")?;
    let to = server.rtmp("live/s{i}");
    let dir = server.dir.clone();
    // What they see is judged by loss, never by how fast this machine is.
    let load = std::thread::spawn(move || {
        let mut command = Command::new(e2e::binary()?);
        let (publishers, each) = (PUBLISHERS.to_string(), VIEWERS_EACH.to_string());
        command
            .args(["bench", "mix", &to, "--publishers", &publishers])
            .args(["--players-per-stream", &each, "--rate", "250", "--settle", "2", "-t", "12"])
            .args(["--verify", "500", "--allow", "stalled,starved", "--stall", "20", "--json"])
            .current_dir(&dir);
        run(command, &dir, "load", PATIENCE * 4)
    });
    let wanted = PUBLISHERS * (VIEWERS_EACH + 1);
    let clients = || -> Result<u64> {
        let list = server.api("/api/v1/streams/?count=100")?;
        let streams = list.get("streams").and_then(Value::as_array).context("no streams")?;
        Ok(streams.iter().filter_map(|s| s.get("clients").and_then(Value::as_u64)).sum())
    };
    until("not all viewers have come", || (clients().ok()? >= wanted).then_some(()))?;

    let stop = Arc::new(AtomicBool::new(false));
    let (rtmp, api) =
        (SocketAddr::from(([127, 0, 0, 1], server.ports.rtmp)), server.api_address()?);
    let told = stop.clone();
    let knocking = std::thread::spawn(move || knock_on(rtmp, api, &told));
    e2e::let_run(1.0);
    let asked = upgrade(&server.dir, "upgrade")?;
    ensure!(asked.status.success(), "{}{}", asked.stdout, asked.stderr);
    let new = successor.pid().context("no pid file of the new process")?;
    ensure!(new != old, "process {old} still serves");
    ensure!(asked.stdout.contains(&new.to_string()), "{}", asked.stdout);
    e2e::let_run(2.0);
    // Who asks now is answered by the new process, and the old one has all that it had.
    let versions = server.api("/api/v1/versions")?;
    ensure!(versions.get("pid").and_then(Value::as_str) == Some(&new.to_string()), "{versions}");
    ensure!(server.alive()?, "the old process left those it had:\n{}", server.log());

    let load = load.join().map_err(|_| e2e::anyhow!("the load panicked"))??;
    stop.store(true, Relaxed);
    let (count, refused) = knocking.join().map_err(|_| e2e::anyhow!("the knocking panicked"))?;
    ensure!(count > 100, "only {count} came meanwhile");
    ensure!(refused.is_empty(), "{} of {count} were refused: {refused:?}", refused.len());
    let report: Value = serde_json::from_str(&load.stdout)
        .with_context(|| format!("{}{}", load.stdout, load.stderr))?;
    let number = |path: &str| report.pointer(path).and_then(Value::as_u64);
    for (path, wanted) in [
        ("/players/connected", PUBLISHERS * VIEWERS_EACH),
        ("/players/lost", 0),
        ("/players/verified", PUBLISHERS * VIEWERS_EACH),
        ("/publishers/active", PUBLISHERS),
        ("/verification/corrupt", 0),
        ("/verification/missing", 0),
        ("/verification/reordered", 0),
    ] {
        ensure!(number(path) == Some(wanted), "{path} is not {wanted}: {report}");
    }
    let status = server.ends()?;
    ensure!(status.success(), "the old process ended with {status}:\n{}", server.log());
    Ok(())
}

#[test]
fn a_successor_that_cannot_start_changes_nothing() -> Result<()> {
    let mut server = Start::config("upgrade-broken", CONFIG).ready()?;
    server.rewrite(&CONFIG.replace("http_remux", "http_remax"))?;
    // Who asks by the command is told at once, and the server is not troubled.
    let asked = upgrade(&server.dir, "upgrade")?;
    ensure!(!asked.status.success(), "{}", asked.stdout);
    ensure!(asked.stderr.contains("http_remux"), "{}", asked.stderr);
    server.signal(Signal::USR2)?;
    server.wait_log("no upgrade, this process goes on")?;
    ensure!(server.alive()?, "{}", server.log());
    let at = SocketAddr::from(([127, 0, 0, 1], server.ports.rtmp));
    knock(at)?;
    ensure!(server.dir.join("server.pid").exists(), "the pid file has gone");
    // A signal that came meanwhile is not forgotten, and a second try works.
    server.rewrite(CONFIG)?;
    let successor = Successor(server.dir.join("server.pid"));
    let old = successor.pid();
    let asked = upgrade(&server.dir, "again")?;
    ensure!(asked.status.success() && successor.pid() != old, "{}{}", asked.stdout, asked.stderr);
    server.ends()?;
    knock(at)?;
    Ok(())
}

#[test]
fn those_who_stay_too_long_are_closed() -> Result<()> {
    let short = format!("upgrade_drain 1;\n{CONFIG}");
    let mut server = Start::config("upgrade-drain", &short).ready()?;
    let successor = Successor(server.dir.join("server.pid"));
    let at = SocketAddr::from(([127, 0, 0, 1], server.ports.http));
    // A player that waits for a publisher stays until it is told to go.
    let waits = Arc::new(AtomicU64::new(0));
    let mut tcp = TcpStream::connect(at)?;
    tcp.write_all(b"GET /live/nobody.flv HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")?;
    until("the player is not there", || {
        (server.clients("flv-play").ok()?.len() == 1).then_some(())
    })?;
    let seen = waits.clone();
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = tcp.set_read_timeout(Some(PATIENCE));
        let end = tcp.read_to_end(&mut rest);
        seen.fetch_add(1, Relaxed);
        end.is_ok()
    });
    ensure!(upgrade(&server.dir, "upgrade")?.status.success(), "{}", server.log());
    let status = server.ends()?;
    ensure!(status.success(), "{status}:\n{}", server.log());
    server.wait_log("upgrade_drain is over: 1 sessions are closed")?;
    ensure!(reader.join().unwrap_or(false), "the player was not closed properly");
    drop(successor);
    Ok(())
}
