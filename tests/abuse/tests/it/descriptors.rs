//! A server that may open few files.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use abuse::{Plan, Result, ensure};
use e2e::{Context, Ports, http, until};

/// A server that may have 200 files open; killed when dropped.
struct Server {
    child: Child,
    ports: Ports,
    log: PathBuf,
}

impl Server {
    fn start(name: &str) -> Result<Self> {
        let ports = Ports::free()?;
        let dir = e2e::folder()?.join("run").join(name);
        std::fs::create_dir_all(&dir)?;
        let log = dir.join("server.log");
        let out = File::create(&log)?;
        let at = |port: u16| format!("127.0.0.1:{port}");
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 200 && exec \"$0\""]).arg(e2e::binary()?).current_dir(&dir);
        command.env("SRS_LISTEN", at(ports.rtmp)).env("SRS_HTTP_API_LISTEN", at(ports.api));
        command.env("SRS_HTTP_SERVER_LISTEN", at(ports.http)).env("NO_COLOR", "1");
        command.env("SRS_VHOST_HLS_HLS_WINDOW", "4");
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        Ok(Self { child: command.spawn()?, ports, log })
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The kernel has no descriptor for more, and the viewers do not notice.
#[test]
fn a_server_without_descriptors_serves_who_is_there_and_recovers() -> Result<()> {
    let server = Server::start("descriptors")?;
    let at = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let ports = [server.ports.rtmp, server.ports.http, server.ports.api].map(at);
    until("the server is not ready", || http::get(ports[2], "/readyz").ok())
        .with_context(|| server.said())?;
    ensure!(server.said().contains("ulimit"), "no warning: {}", server.said());
    let plan = Plan {
        each: std::time::Duration::ZERO,
        calm: std::time::Duration::from_secs(1),
        settle: std::time::Duration::from_secs(3),
        only: vec!["flood".into(), "half-open".into()],
        at_once: 2,
        connections: 300,
        viewers: 1,
        ..Plan::new(ports, server.child.id(), std::time::Duration::from_secs(5))
    };
    let report = abuse::run(&plan, &mut |line| println!("{line}"))?;
    println!("{}", report.table());
    ensure!(report.faults().is_empty(), "{}", report.faults().join("; "));
    ensure!(server.said().contains("cannot accept connections"), "it was never short of files");
    Ok(())
}
