//! The server under test.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Program, tail};
use crate::{Context, PATIENCE, Result, bail, ensure, http, until};

/// The ports of one server: taken for as long as this lives, across threads and processes.
#[derive(Debug)]
pub struct Ports {
    /// RTMP.
    pub rtmp: u16,
    /// HTTP API.
    pub api: u16,
    /// HTTP streams and files.
    pub http: u16,
    /// RTMP inside TLS, where a configuration asks for it.
    pub rtmps: u16,
    /// HTTP inside TLS, where a configuration asks for it.
    pub https: u16,
    /// WebRTC: datagrams and, where a configuration asks for it, connections.
    pub rtc: u16,
    _taken: Vec<File>,
}

/// The ports of a server without a configuration: one test at a time may use them.
const STANDARD: [u16; 3] = [1935, 1985, 8080];
/// The same for datagrams.
const RTC: u16 = 8000;

impl Ports {
    /// Ports that nobody uses, below the range from which the kernel serves clients.
    pub fn free() -> Result<Self> {
        let mut taken = Vec::new();
        let mut ports = Vec::new();
        let start = 20_000 + u16::try_from(std::process::id() % 10_000)?;
        for port in start..32_700 {
            let lock = Self::lock(port)?;
            let free = || {
                TcpListener::bind(("127.0.0.1", port)).is_ok()
                    && UdpSocket::bind(("127.0.0.1", port)).is_ok()
            };
            if lock.try_lock().is_ok() && free() {
                taken.push(lock);
                ports.push(port);
            }
            if let [rtmp, api, http, rtmps, https, rtc] = ports[..] {
                return Ok(Self { rtmp, api, http, rtmps, https, rtc, _taken: taken });
            }
        }
        bail!("no free ports")
    }

    /// 1935, 1985 and 8080. Waits for other tests; fails if anything else sits on one.
    pub fn standard() -> Result<Self> {
        let [rtmp, api, http] = STANDARD;
        let lock = Self::lock(rtmp)?;
        lock.lock()?;
        for port in STANDARD {
            until(&format!("port {port} is in use by another program"), || {
                TcpListener::bind(("0.0.0.0", port)).ok()
            })?;
        }
        Ok(Self { rtmp, api, http, rtmps: 0, https: 0, rtc: RTC, _taken: vec![lock] })
    }

    fn lock(port: u16) -> Result<File> {
        let dir = crate::folder()?.join("ports");
        std::fs::create_dir_all(&dir)?;
        Ok(File::create(dir.join(port.to_string()))?)
    }
}

/// How to start a server.
#[derive(Debug)]
pub struct Start {
    name: String,
    config: Option<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    host: &'static str,
    standard: bool,
}

impl Start {
    /// As a newcomer does, without a configuration; only the ports and a short HLS segment come
    /// from the environment. `name` is the folder of its logs and must be the test's own.
    pub fn bare(name: &str) -> Self {
        Self {
            name: name.replace("::", "-"),
            config: None,
            args: Vec::new(),
            env: vec![("SRS_VHOST_HLS_HLS_FRAGMENT".into(), "1".into())],
            host: "127.0.0.1",
            standard: false,
        }
    }

    /// With a configuration, in which `RTMP`, `API`, `HTTP`, `RTMPS`, `HTTPS` and `RTC_PORT` stand for the
    /// addresses to listen on and `DIR` for the folder of this server.
    pub fn config(name: &str, config: &str) -> Self {
        Self { config: Some(config.to_owned()), env: Vec::new(), ..Self::bare(name) }
    }

    /// With arguments.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// With an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// On another address than 127.0.0.1.
    pub fn host(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    /// On the standard ports, told nothing at all.
    pub fn standard_ports(mut self) -> Self {
        self.standard = true;
        self.env.clear();
        self
    }

    /// Starts it and waits until it says that it is ready.
    pub fn ready(self) -> Result<Server> {
        let mut server = self.start()?;
        let api = server.api_address()?;
        let mut ended = None;
        until("the server is not ready", || {
            ended = server.program.ended().ok().flatten();
            let ready = || Some(http::get(api, "/readyz").ok()?.status == 200);
            (ended.is_some() || ready() == Some(true)).then_some(())
        })
        .with_context(|| server.log())?;
        if let Some(status) = ended {
            bail!("the server ended at once, {status}:\n{}", server.log());
        }
        Ok(server)
    }

    /// Starts it, and waits for nothing.
    pub fn start(self) -> Result<Server> {
        let ports = if self.standard { Ports::standard()? } else { Ports::free()? };
        let dir = crate::folder()?.join("run").join(&self.name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir)?;
        let mut command = Command::new(crate::binary()?);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SRS_")) {
            command.env_remove(name);
        }
        command.current_dir(&dir).env("NO_COLOR", "1").env("RUST_BACKTRACE", "1");
        let at = |port: u16| {
            if self.host.contains(':') {
                format!("[{}]:{port}", self.host)
            } else {
                format!("{}:{port}", self.host)
            }
        };
        match &self.config {
            Some(config) => {
                let path = dir.join("millrace.conf");
                std::fs::write(&path, filled(config, &ports, &dir, &at))?;
                command.arg("-c").arg(path);
            }
            None if self.standard => {}
            None => {
                command
                    .env("SRS_LISTEN", at(ports.rtmp))
                    .env("SRS_HTTP_API_LISTEN", at(ports.api))
                    .env("SRS_HTTP_SERVER_LISTEN", at(ports.http))
                    .env("SRS_RTC_SERVER_LISTEN", at(ports.rtc))
                    .env("SRS_RTC_SERVER_TCP_LISTEN", at(ports.rtc));
            }
        }
        command.args(&self.args).envs(self.env.iter().map(|(n, v)| (n, v)));
        let program = Program::start(command, &dir, "server")?;
        Ok(Server { program, ports, dir, host: self.host })
    }
}

fn filled(config: &str, ports: &Ports, dir: &Path, at: &dyn Fn(u16) -> String) -> String {
    config
        .replace("RTMPS", &at(ports.rtmps))
        .replace("HTTPS", &at(ports.https))
        .replace("RTMP", &at(ports.rtmp))
        .replace("RTC_PORT", &at(ports.rtc))
        .replace("API", &at(ports.api))
        .replace("HTTP", &at(ports.http))
        .replace("DIR", &dir.display().to_string())
}

/// A running server. Dropped, it is killed; if the test is failing, its log is shown.
#[derive(Debug)]
pub struct Server {
    program: Program,
    /// Where it listens.
    pub ports: Ports,
    /// Its working folder, with its log and everything recorded from it.
    pub dir: PathBuf,
    host: &'static str,
}

impl Server {
    /// What it has logged and printed so far.
    pub fn log(&self) -> String {
        self.program.output()
    }

    /// Waits until the log says `text`.
    pub fn wait_log(&self, text: &str) -> Result<()> {
        until(&format!("the log never says {text:?}"), || self.log().contains(text).then_some(()))
    }

    /// Writes its configuration anew; takes effect at the next [`reload`](Self::reload).
    pub fn rewrite(&self, config: &str) -> Result<()> {
        let at = |port: u16| format!("{}:{port}", self.host);
        let text = filled(config, &self.ports, &self.dir, &at);
        std::fs::write(self.dir.join("millrace.conf"), text)?;
        Ok(())
    }

    /// Kills it and starts it again, on the same ports with its configuration file, which it must
    /// have; ready when this returns.
    pub fn restart(&mut self) -> Result<()> {
        self.program.kill();
        let mut command = Command::new(crate::binary()?);
        command.current_dir(&self.dir).env("NO_COLOR", "1").env("RUST_BACKTRACE", "1");
        command.arg("-c").arg(self.dir.join("millrace.conf"));
        self.program = Program::start(command, &self.dir, "server-again")?;
        let api = self.api_address()?;
        until("the server is not ready again", || {
            (http::get(api, "/readyz").ok()?.status == 200).then_some(())
        })
    }

    /// SIGHUP.
    pub fn reload(&self) -> Result<()> {
        self.program.signal(Signal::HUP)
    }

    /// Sends any signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.program.signal(signal)
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> Result<bool> {
        Ok(self.program.ended()?.is_none())
    }

    /// Waits for its end by itself.
    pub fn ends(&mut self) -> Result<ExitStatus> {
        let program = &mut self.program;
        until("the server does not end", || program.ended().ok().flatten())
    }

    /// SIGTERM, and how it ended.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ends()
    }

    /// `rtmp://host:port/` and the rest.
    pub fn rtmp(&self, rest: &str) -> String {
        format!("rtmp://{}/{rest}", self.authority(self.ports.rtmp))
    }

    /// `http://host:port/` of the streams, and the rest.
    pub fn http(&self, rest: &str) -> String {
        format!("http://{}/{rest}", self.authority(self.ports.http))
    }

    /// Where the streams and files are served.
    pub fn http_address(&self) -> Result<SocketAddr> {
        Ok(self.authority(self.ports.http).parse()?)
    }

    /// Where the API is served.
    pub fn api_address(&self) -> Result<SocketAddr> {
        Ok(self.authority(self.ports.api).parse()?)
    }

    /// Asks the API; the answer must be 200 and JSON.
    pub fn api(&self, path: &str) -> Result<Value> {
        let answer = http::get(self.api_address()?, path)?;
        ensure!(answer.status == 200, "{path}: {}", answer.status);
        serde_json::from_slice(&answer.body).with_context(|| format!("{path}: {}", answer.text()))
    }

    /// The stream of that name in the API's list, if it is there.
    pub fn stream(&self, name: &str) -> Result<Option<Value>> {
        let list = self.api("/api/v1/streams/")?;
        let streams =
            list.get("streams").and_then(Value::as_array).context("no list of streams")?;
        let named = |s: &&Value| s.get("name").and_then(Value::as_str) == Some(name);
        Ok(streams.iter().find(named).cloned())
    }

    /// The clients of that type (`fmle-publish`, `rtmp-play`, `flv-play` ...), as the API lists them.
    pub fn clients(&self, kind: &str) -> Result<Vec<Value>> {
        let list = self.api("/api/v1/clients/?count=100")?;
        let clients =
            list.get("clients").and_then(Value::as_array).context("no list of clients")?;
        let of = |c: &&Value| c.get("type").and_then(Value::as_str) == Some(kind);
        Ok(clients.iter().filter(of).cloned().collect())
    }

    /// Waits until a stream of that name is being published, and gives its entry in the API.
    pub fn wait_stream(&self, name: &str) -> Result<Value> {
        until(&format!("the stream {name} is not published"), || {
            let stream = self.stream(name).ok()??;
            (stream.pointer("/publish/active") == Some(&Value::Bool(true))).then_some(stream)
        })
        .with_context(|| tail(&self.log()).to_owned())
    }

    fn authority(&self, port: u16) -> String {
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.program.kill();
        let path = self.dir.join("server.log");
        let _ = std::fs::write(path, self.log());
        if std::thread::panicking() {
            eprintln!("--- the server said:\n{}", tail(&self.log()));
        }
    }
}

/// Runs the binary with arguments to its end: `-v`, `-t`, `check`.
pub fn run_binary(name: &str, args: &[&str]) -> Result<crate::Run> {
    let dir = crate::folder()?.join("run").join(name.replace("::", "-"));
    std::fs::create_dir_all(&dir)?;
    let mut command = Command::new(crate::binary()?);
    command.args(args).current_dir(&dir).env("NO_COLOR", "1");
    Program::start(command, &dir, "binary")?.finish(PATIENCE)
}

/// Time for a graceful end.
pub const GRACE: Duration = Duration::from_secs(20);
