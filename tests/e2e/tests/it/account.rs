//! A server that was started as root gives root up, and goes on in every other respect.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use e2e::program::run;
use e2e::{Context, PATIENCE, Program, Result, Server, Start, ensure, need, pass_over, until};

use crate::upgrade::{Successor, knock};

/// The number of `nobody`; the group has no entry anywhere, so that no other can be meant.
const UID: u32 = 65534;
const GID: u32 = 54321;

const CONFIG: &str = "listen RTMP;\ndaemon off;\nsrs_log_tank file;\nsrs_log_file DIR/own/log/server.log;\n\
    pid DIR/own/run/server.pid;\nuser 65534;\ngroup 54321;\n\
    http_api { enabled on; listen API; }\n\
    http_server { enabled on; listen HTTP; dir DIR/html; }\n\
    vhost __defaultVhost__ {\n    hls { enabled on; hls_path DIR/own/html; hls_fragment 1; }\n}\n";

/// Only root can give root up.
fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        pass_over("this test needs root");
    }
    root
}

/// A server in a folder that everybody may look into, as the one it becomes must.
fn start(name: &str, config: &str) -> Result<Option<Server>> {
    let server = Start::config(name, config).ready()?;
    let is_open = |dir: &Path| fs::metadata(dir).is_ok_and(|m| m.permissions().mode() & 1 == 1);
    if !server.dir.ancestors().all(is_open) {
        pass_over(&format!("user {UID} may not enter {}", server.dir.display()));
        return Ok(None);
    }
    Ok(Some(server))
}

fn log(server: &Server) -> Result<String> {
    Ok(fs::read_to_string(server.dir.join("own/log/server.log"))?)
}

fn wait_log(server: &Server, text: &str) -> Result<()> {
    let said = || log(server).is_ok_and(|log| log.contains(text)).then_some(());
    until(&format!("the log never says {text:?}"), said)
}

/// Real, effective, saved and file-system ids, and the further groups, of every thread.
fn is_nobody(pid: u32) -> Result<()> {
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let line = |name: &str| -> Result<Vec<u32>> {
            let line = status.lines().find_map(|l| l.strip_prefix(name)).context("no such line")?;
            Ok(line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
        };
        ensure!(line("Uid:")? == [UID; 4], "{status}");
        ensure!(line("Gid:")? == [GID; 4], "{status}");
        ensure!(line("Groups:")?.iter().all(|group| *group == GID || *group == UID), "{status}");
        for set in ["CapPrm:", "CapEff:"] {
            let is_empty = status
                .lines()
                .any(|l| l.strip_prefix(set).is_some_and(|v| v.trim().chars().all(|c| c == '0')));
            ensure!(is_empty, "{set} is not empty:\n{status}");
        }
        threads += 1;
    }
    ensure!(threads > 3, "only {threads} threads were looked at");
    Ok(())
}

fn is_owned(path: &Path) -> Result<()> {
    let file = fs::metadata(path).with_context(|| path.display().to_string())?;
    ensure!((file.uid(), file.gid()) == (UID, GID), "{} is not given", path.display());
    Ok(())
}

#[test]
fn a_server_started_as_root_serves_reloads_and_is_upgraded_without_root() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let Some(mut server) = start("account", CONFIG)? else { return Ok(()) };
    let successor = Successor(server.dir.join("own/run/server.pid"));
    let old = successor.pid().context("no pid file")?;
    is_nobody(old)?;
    ensure!(log(&server)?.contains("root is given up"), "{}", log(&server)?);
    for path in ["log/server.log", "run/server.pid", "run/server.id", "run/server.token", "html"] {
        is_owned(&server.dir.join("own").join(path))?;
    }
    let rtmp = SocketAddr::from(([127, 0, 0, 1], server.ports.rtmp));
    knock(rtmp)?;

    server.rewrite(&CONFIG.replace("hls_fragment 1", "hls_fragment 2"))?;
    server.reload()?;
    wait_log(&server, "reload")?;
    ensure!(server.alive()?, "a reload ended it:\n{}", log(&server)?);

    let mut command = Command::new(e2e::binary()?);
    command.args(["upgrade", "-c"]).arg(server.dir.join("millrace.conf")).current_dir(&server.dir);
    let asked = run(command, &server.dir, "upgrade", PATIENCE * 2)?;
    ensure!(asked.status.success(), "{}{}\n{}", asked.stdout, asked.stderr, log(&server)?);
    let new = successor.pid().context("no pid file of the new process")?;
    ensure!(new != old, "process {old} still serves");
    is_nobody(new)?;
    knock(rtmp)?;
    ensure!(!log(&server)?.contains("has no effect"), "{}", log(&server)?);
    let status = server.ends()?;
    ensure!(status.success(), "the old process ended with {status}:\n{}", log(&server)?);
    Ok(())
}

#[test]
fn a_user_that_is_not_there_is_told_before_any_port_is_open() -> Result<()> {
    if !root() {
        return Ok(());
    }
    for (wrong, told) in [
        (CONFIG.replace("user 65534", "user no-such-user"), "user `no-such-user` is not known"),
        (
            CONFIG.replace("group 54321", "group no-such-group"),
            "group `no-such-group` is not known",
        ),
    ] {
        let mut server = Start::config("account-unknown", &wrong).start()?;
        let status = server.ends()?;
        ensure!(!status.success() && server.log().contains(told), "{status}: {}", server.log());
        ensure!(!server.dir.join("own").exists(), "files were made before the user was known");
    }
    Ok(())
}

#[test]
fn a_file_that_stands_for_another_is_not_given_away() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let dir = e2e::folder()?.join("run/account-link-target");
    fs::create_dir_all(&dir)?;
    let (other, link) = (dir.join("other.log"), dir.join("link.log"));
    let _ = fs::remove_file(&link);
    fs::write(&other, "of somebody else\n")?;
    std::os::unix::fs::symlink(&other, &link)?;
    let config = CONFIG.replace("DIR/own/log/server.log", &link.display().to_string());
    let server = Start::config("account-link", &config).ready()?;
    ensure!(fs::metadata(&other)?.uid() == 0, "the target of a link was given away");
    drop(server);
    Ok(())
}

#[test]
fn without_root_the_user_is_told_to_have_no_effect() -> Result<()> {
    need!("setpriv");
    if !root() {
        return Ok(());
    }
    let dir = e2e::folder()?.join("run/account-unprivileged");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
    let ports = e2e::Ports::free()?;
    let text = format!(
        "listen 127.0.0.1:{};\ndaemon off;\nsrs_log_tank console;\npid {}/server.pid;\nuser root;\n",
        ports.rtmp,
        dir.display()
    );
    let file = dir.join("millrace.conf");
    fs::write(&file, text)?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(e2e::binary()?).arg("-c").arg(&file).current_dir(&dir);
    let mut server = Program::start(command, &dir, "server")?;
    let told = "`user root` has no effect: the server was not started as root";
    until(&format!("it never says {told:?}"), || server.output().contains(told).then_some(()))?;
    until("it does not listen", || knock(SocketAddr::from(([127, 0, 0, 1], ports.rtmp))).ok())?;
    server.kill();
    Ok(())
}
