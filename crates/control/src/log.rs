//! The log: one line per event, as SRS writes it or as JSON, to the console or a file.
//!
//! ```text
//! [2026-11-20 08:31:02.123][INFO][1234][k3w81zq5] connect app, tcUrl=rtmp://127.0.0.1/live
//! ```
//!
//! Lines go through a bounded queue to a thread of their own: a console that does not scroll or
//! a disk that stalls delays no media. When the queue is full lines are dropped and counted, and
//! the count is told as soon as there is room.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use futures_util::future::BoxFuture;
use gate::conf::Config;
use gate::{Gate, Host, PrepareError, Prepared};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;

/// Lines that may wait for the writer: 5 s of a server that logs 1,600 lines a second.
const QUEUE: usize = 8192;
/// Longest line, bytes, as in SRS. A stream name of 4 kB must not fill the disk.
const MAX_LINE: usize = 4096;
/// Time zone offset and colours aside, this is what a line's head takes.
const HEAD: usize = 64;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tank {
    /// Standard output.
    Console,
    /// A file that is appended to; reopened on request.
    File(PathBuf),
}

/// How the log is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to.
    pub tank: Tank,
    /// From this level on.
    pub level: LevelFilter,
    /// One JSON object per line.
    pub json: bool,
    /// UTC instead of local time.
    pub utc: bool,
}

impl Options {
    /// From the configuration.
    pub fn new(config: &Config) -> Self {
        let root = config.root();
        let level = match (root.str("srs_log_level_v2"), root.str("srs_log_level")) {
            ("trace", _) | ("", "verbose") => LevelFilter::TRACE,
            ("debug", _) | ("", "info") => LevelFilter::DEBUG,
            ("warn", _) | ("", "warn") => LevelFilter::WARN,
            ("error", _) | ("", "error") => LevelFilter::ERROR,
            _ => LevelFilter::INFO,
        };
        let tank = match root.str("srs_log_tank") {
            "console" => Tank::Console,
            _ => Tank::File(root.str("srs_log_file").into()),
        };
        Self { tank, level, json: root.str("log_format") == "json", utc: root.bool("utc_time") }
    }
}

enum Order {
    Line(Level, String),
    Reopen,
    Flush(SyncSender<()>),
}

/// Talks to the writer thread.
#[derive(Clone)]
pub struct LogHandle {
    tx: SyncSender<Order>,
    dropped: Arc<AtomicU64>,
    level: reload::Handle<LevelFilter, Registry>,
}

/// A reload changes the level of the log, and nothing else of it.
impl Gate for LogHandle {
    fn name(&self) -> &'static str {
        "log"
    }

    fn prepare<'a>(
        &'a self,
        _: &'a Arc<Host>,
        config: &'a Arc<Config>,
    ) -> BoxFuture<'a, Result<Box<dyn Prepared>, PrepareError>> {
        let new: Box<dyn Prepared> = Box::new(NewLevel(self.clone(), Options::new(config).level));
        Box::pin(std::future::ready(Ok(new)))
    }
}

struct NewLevel(LogHandle, LevelFilter);

impl Prepared for NewLevel {
    fn commit(self: Box<Self>) -> Vec<String> {
        let Self(log, level) = *self;
        // It fails only when the log of the process has gone.
        let _ = log.level.modify(|now| *now = level);
        Vec::new()
    }
}

impl LogHandle {
    /// Closes the file and opens it again by its name, after it was moved away (SIGUSR1).
    pub fn reopen(&self) {
        let _ = self.tx.send(Order::Reopen);
    }

    /// Waits, a second at most, until what was logged so far is written.
    pub fn flush(&self) {
        let (tx, rx) = sync_channel(1);
        if self.tx.send(Order::Flush(tx)).is_ok() {
            let _ = rx.recv_timeout(Duration::from_secs(1));
        }
    }

    /// Lines lost because the writer did not keep up.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

/// Starts the writer thread and makes this the log of the process. Call it once.
///
/// # Errors
/// When the file cannot be opened.
pub fn start(options: &Options) -> io::Result<LogHandle> {
    let sink = Sink::open(&options.tank)?;
    let (tx, rx) = sync_channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let lost = dropped.clone();
    let colour = options.tank == Tank::Console && !options.json && io::stdout().is_terminal();
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || write_loop(&rx, sink, colour, &lost))?;
    let (filter, level) = reload::Layer::new(options.level);
    let handle = LogHandle { tx, dropped, level };
    let lines = Lines {
        tx: handle.tx.clone(),
        dropped: handle.dropped.clone(),
        json: options.json,
        zone: if options.utc { TimeZone::UTC } else { TimeZone::system() },
        pid: std::process::id(),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(handle)
}

enum Sink {
    Console,
    File(PathBuf, File),
}

impl Sink {
    fn open(tank: &Tank) -> io::Result<Self> {
        match tank {
            Tank::Console => Ok(Self::Console),
            Tank::File(path) => {
                if let Some(dir) = path.parent() {
                    std::fs::create_dir_all(dir)?;
                }
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                Ok(Self::File(path.clone(), file))
            }
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Console => io::stdout().lock().write_all(line.as_bytes()),
            Self::File(_, file) => file.write_all(line.as_bytes()),
        }
    }
}

fn write_loop(rx: &Receiver<Order>, mut sink: Sink, colour: bool, dropped: &AtomicU64) {
    let mut told = 0;
    let failed = AtomicBool::new(false);
    while let Ok(order) = rx.recv() {
        match order {
            Order::Line(level, line) => {
                let line = match (colour, level) {
                    (true, Level::ERROR) => format!("\x1b[31m{line}\x1b[0m"),
                    (true, Level::WARN) => format!("\x1b[33m{line}\x1b[0m"),
                    _ => line,
                };
                // A full disk must not end the server, nor each line become another complaint.
                if sink.write(&line).is_err() {
                    failed.store(true, Relaxed);
                    dropped.fetch_add(1, Relaxed);
                }
                let lost = dropped.load(Relaxed);
                if lost > told && !failed.swap(false, Relaxed) {
                    let _ = sink.write(&format!("(the log lost {} lines)\n", lost - told));
                    told = lost;
                }
            }
            Order::Reopen => {
                if let Sink::File(path, _) = &sink {
                    match Sink::open(&Tank::File(path.clone())) {
                        Ok(new) => sink = new,
                        Err(e) => {
                            let _ = sink.write(&format!("cannot reopen the log: {e}\n"));
                        }
                    }
                }
            }
            Order::Flush(done) => {
                if matches!(sink, Sink::Console) {
                    let _ = io::stdout().lock().flush();
                }
                let _ = done.send(());
            }
        }
    }
}

struct Lines {
    tx: SyncSender<Order>,
    dropped: Arc<AtomicU64>,
    json: bool,
    zone: TimeZone,
    pid: u32,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let meta = event.metadata();
        let now = Timestamp::now().to_zoned(self.zone.clone());
        let line = if self.json {
            fields.json(&now, *meta.level(), meta.target(), self.pid)
        } else {
            fields.text(&now, *meta.level(), self.pid)
        };
        if self.tx.try_send(Order::Line(*meta.level(), line)).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

#[derive(Default)]
struct Fields {
    session: String,
    message: String,
    rest: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.to_owned());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }
}

impl Fields {
    fn put(&mut self, name: &'static str, value: String) {
        match name {
            "message" => self.message = value,
            "session" => self.session = value,
            _ => self.rest.push((name, value)),
        }
    }

    fn text(&self, now: &jiff::Zoned, level: Level, pid: u32) -> String {
        let mut line = String::with_capacity(HEAD + self.message.len() + 32 * self.rest.len());
        let session = if self.session.is_empty() { "-" } else { &self.session };
        let stamp = now.strftime("%Y-%m-%d %H:%M:%S%.3f");
        let _ = write!(line, "[{stamp}][{level}][{pid}][{session}] ");
        push_clean(&mut line, &self.message);
        for (i, (name, value)) in self.rest.iter().enumerate() {
            line.push_str(if i == 0 && self.message.is_empty() { "" } else { ", " });
            line.push_str(name);
            line.push('=');
            push_clean(&mut line, value);
        }
        cut(&mut line);
        line.push('\n');
        line
    }

    fn json(&self, now: &jiff::Zoned, level: Level, target: &str, pid: u32) -> String {
        let mut map = serde_json::Map::new();
        let mut put = |k: &str, v: serde_json::Value| {
            map.insert(k.to_owned(), v);
        };
        put("time", now.timestamp().to_string().into());
        put("level", level.to_string().into());
        put("pid", pid.into());
        put("target", target.into());
        if !self.session.is_empty() {
            put("session", self.session.clone().into());
        }
        let mut message = self.message.clone();
        cut(&mut message);
        put("message", message.into());
        for (name, value) in &self.rest {
            let mut value = value.clone();
            cut(&mut value);
            put(name, value.into());
        }
        let mut line = serde_json::Value::Object(map).to_string();
        line.push('\n');
        line
    }
}

/// Peers choose names; a line break in one must not forge a line.
fn push_clean(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() {
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
}

fn cut(line: &mut String) {
    if line.len() >= MAX_LINE {
        let mut at = MAX_LINE - 4;
        while !line.is_char_boundary(at) {
            at -= 1;
        }
        line.truncate(at);
        line.push_str("...");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> jiff::Zoned {
        Timestamp::from_millisecond(1_795_163_462_123).unwrap().to_zoned(TimeZone::UTC)
    }

    #[test]
    fn a_line_has_time_level_pid_and_session_in_brackets() {
        let mut f = Fields::default();
        f.put("message", "connect app".into());
        f.put("session", "k3w81zq5".into());
        f.put("app", "live".into());
        assert_eq!(
            f.text(&at(), Level::INFO, 1234),
            "[2026-11-20 08:31:02.123][INFO][1234][k3w81zq5] connect app, app=live\n"
        );
    }

    #[test]
    fn a_name_with_a_line_break_cannot_forge_a_line() {
        let mut f = Fields::default();
        f.put("message", "x".into());
        f.put("app", "live\n[2026-01-01 00:00:00.000][ERROR][1][-] fake".into());
        assert_eq!(f.text(&at(), Level::INFO, 1).matches('\n').count(), 1);
    }

    #[test]
    fn a_line_is_cut_at_its_limit_between_characters() {
        let mut f = Fields::default();
        f.put("message", "ü".repeat(5000));
        assert!(f.text(&at(), Level::INFO, 1).len() <= MAX_LINE);
    }

    #[test]
    fn json_lines_parse_back() {
        let mut f = Fields::default();
        f.put("message", "say \"hi\"".into());
        f.put("app", "live".into());
        let line = f.json(&at(), Level::WARN, "rtmp", 7);
        let v: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(v["message"], "say \"hi\"");
        assert_eq!(v["app"], "live");
        assert_eq!(v["level"], "WARN");
    }
}
