//! The server from outside: its process in `/proc`, its metrics, its health.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::report::{Delay, Report};
use crate::{Context, Plan, Result, ensure, http};

/// The process is looked at this often.
const LOOK: Duration = Duration::from_millis(250);
/// How long [`lateness`] sleeps at a time.
const NAP: Duration = Duration::from_millis(10);
/// Memory is given back with some delay: the figures at the end may take this much longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A process, as the kernel tells.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    pub(crate) rss_kb: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
}

impl Process {
    /// `None` when it is gone, or a zombie.
    pub(crate) fn read(pid: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let zombie = status.lines().any(|line| line.starts_with("State:") && line.contains('Z'));
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
        (!zombie).then_some(Self {
            rss_kb: line("VmRSS:")?,
            descriptors,
            threads: line("Threads:")?,
        })
    }
}

/// What the server says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) panics: u64,
    pub(crate) clients: u64,
    pub(crate) connections: u64,
    pub(crate) refused: u64,
    pub(crate) sessions_total: u64,
    pub(crate) dropped_inbox: u64,
    pub(crate) dropped_lag: u64,
    pub(crate) lag_jumps: u64,
    pub(crate) subscribers: u64,
    pub(crate) renditions: u64,
    pub(crate) streams: u64,
}

impl Metrics {
    pub(crate) fn read(api: SocketAddr) -> Result<Self> {
        let (status, text) = http::ask(api, "GET", "/metrics")?;
        ensure!(status == 200, "/metrics: {status}");
        let sum = |name: &str| {
            let of = |line: &str| {
                let rest = line.strip_prefix(name)?;
                let whole = rest.starts_with([' ', '{']);
                rest.rsplit(' ').next().filter(|_| whole)?.parse::<f64>().ok()
            };
            text.lines().filter_map(of).sum::<f64>() as u64
        };
        let dropped = |reason: &str| {
            let name = format!("millrace_dropped_messages_total{{reason=\"{reason}\"}}");
            let of = |line: &str| line.strip_prefix(&name)?.trim().parse().ok();
            text.lines().find_map(of).unwrap_or(0)
        };
        Ok(Self {
            panics: sum("millrace_shard_panics_total"),
            clients: sum("srs_clients"),
            connections: sum("millrace_connections"),
            refused: sum("millrace_connections_refused_total"),
            sessions_total: sum("srs_clients_total"),
            dropped_inbox: dropped("inbox"),
            dropped_lag: dropped("lag"),
            lag_jumps: sum("millrace_lag_jumps_total"),
            subscribers: sum("millrace_shard_subscribers"),
            renditions: sum("millrace_shard_renditions"),
            streams: sum("srs_streams"),
        })
    }
}

impl Metrics {
    /// Nobody is there but who asks.
    pub(crate) fn is_empty(&self) -> bool {
        self.clients == 0
            && self.streams == 0
            && self.subscribers == 0
            && self.renditions == 0
            && self.connections <= 1
    }
}

/// Both, in the calm before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Base {
    pub(crate) process: Process,
    pub(crate) metrics: Metrics,
}

#[derive(Debug, Default)]
struct Looks {
    peak: AtomicU64,
    peak_since: AtomicU64,
    peak_descriptors: AtomicU64,
    dead: AtomicBool,
    stop: AtomicBool,
    late: Mutex<Vec<u32>>,
}

/// How late this program itself wakes up: what part of the viewers' delay may be the machine's.
fn lateness(looks: &Looks) {
    while !looks.stop.load(Relaxed) {
        let start = Instant::now();
        std::thread::sleep(NAP);
        let late = start.elapsed().saturating_sub(NAP).as_micros();
        let late = u32::try_from(late).unwrap_or(u32::MAX);
        looks.late.lock().unwrap_or_else(PoisonError::into_inner).push(late);
    }
}

/// Looks at the process all the time.
#[derive(Debug)]
pub(crate) struct Watch {
    pid: u32,
    api: SocketAddr,
    looks: Arc<Looks>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn start(plan: &Plan) -> Result<Self> {
        let looks = Arc::new(Looks::default());
        let (inner, pid) = (looks.clone(), plan.pid);
        ensure!(Process::read(pid).is_some(), "there is no process {pid}");
        let thread = std::thread::Builder::new().name("watch".into()).spawn(move || {
            while !inner.stop.load(Relaxed) {
                match Process::read(pid) {
                    Some(process) => {
                        inner.peak.fetch_max(process.rss_kb, Relaxed);
                        inner.peak_since.fetch_max(process.rss_kb, Relaxed);
                        inner.peak_descriptors.fetch_max(process.descriptors, Relaxed);
                    }
                    None => inner.dead.store(true, Relaxed),
                }
                std::thread::sleep(LOOK);
            }
        })?;
        let inner = looks.clone();
        std::thread::Builder::new().name("lateness".into()).spawn(move || lateness(&inner))?;
        Ok(Self { pid, api: plan.api, looks, thread: Some(thread) })
    }

    pub(crate) fn alive(&self) -> bool {
        !self.looks.dead.load(Relaxed)
    }

    pub(crate) fn base(&self) -> Result<Base> {
        let process = Process::read(self.pid).context("the server has died")?;
        let metrics = Metrics::read(self.api)?;
        Ok(Base { process, metrics })
    }

    /// The highest memory since this was last asked.
    pub(crate) fn peak_since_last(&self) -> u64 {
        self.looks.peak_since.swap(0, Relaxed)
    }

    /// The figures after the pause.
    pub(crate) fn finish(&mut self, report: &mut Report, base: &Base) {
        let end = Instant::now() + PATIENCE;
        // The connection that asks is one of the figures, and may still be closing.
        let mut after = self.base();
        while let Ok(now) = &after {
            let back = now.process.descriptors <= base.process.descriptors
                && now.metrics.clients <= base.metrics.clients;
            if back || Instant::now() >= end {
                break;
            }
            std::thread::sleep(LOOK);
            after = self.base();
        }
        self.looks.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        report.lateness =
            Delay::of(&self.looks.late.lock().unwrap_or_else(PoisonError::into_inner));
        report.alive = self.alive();
        report.peak_kb = self.looks.peak.load(Relaxed);
        report.peak_descriptors = self.looks.peak_descriptors.load(Relaxed);
        report.healthz =
            http::ask(self.api, "GET", "/healthz").is_ok_and(|(status, _)| status == 200);
        match after {
            Ok(after) => report.after = Some(after),
            Err(e) => report.words.push(format!("no figures at the end: {e:#}")),
        }
    }
}
