//! A run from start to report.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::{nanos, now_ns};
use crate::engine::{Common, Engine, Fared, Outcome, Schedule};
use crate::plan::{Plan, PlanError};
use crate::proc::{Cores, TooFewFiles, Usage, raise_open_files, usage};
use crate::report::{
    Latency, Percentiles, PlayerCounts, PublisherCounts, Report, Server, Spread, Stalls, Tool,
    Verification,
};
use crate::stats::{Gauge, Stats};
use crate::tls::TlsError;

/// How often progress is told.
const TICK: Duration = Duration::from_secs(1);
/// A player that got less than this share of the median of its like has starved.
const STARVED: f64 = 0.9;
/// A player that could receive for less than this long has no rate to compare.
const SHORTEST_NS: u64 = 2_000_000_000;
/// From this share of a core on a thread may have been the limit, in percent.
const BUSY: f64 = 90.0;
/// From this time for a round of the loop on delays are the tool's own, in milliseconds.
const LAG_MS: f64 = 20.0;

/// Why a run did not come about, or broke.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The limit on open files.
    #[error(transparent)]
    Files(#[from] TooFewFiles),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no process of that number, or `/proc` cannot be read.
    #[error("no process {0} in /proc")]
    Pid(u32),
    /// The system.
    #[error("the system: {0}")]
    System(#[from] io::Error),
    /// No certificate for DTLS could be made.
    #[error("no certificate for DTLS: {0}")]
    Identity(String),
    /// A thread ended by a panic: a bug.
    #[error("a thread of the load tool panicked")]
    Thread,
    /// The histogram refuses its precision: a bug.
    #[error("histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
}

/// How a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Seconds since its start.
    pub elapsed_s: f64,
    /// Seconds that it takes in all.
    pub total_s: f64,
    /// The window is open.
    pub measuring: bool,
    /// Players begun.
    pub joined: u64,
    /// Players connected.
    pub connected: u64,
    /// Players with media.
    pub active: u64,
    /// Publishers that publish.
    pub publishing: u64,
    /// Lost, of either kind.
    pub lost: u64,
    /// Stalls so far.
    pub stalls: u64,
    /// Something corrupt or out of order was found.
    pub broken: bool,
    /// Received since the last report, in megabits a second.
    pub mbit_per_s: f64,
}

/// Carries out a plan. `stop` ends it early, with a report of what there was; `progress` is called
/// once a second.
///
/// Raises the process's soft limit on open files. Runs the plan's threads, and waits on the
/// caller's.
///
/// # Errors
/// The plan makes no sense, or the system does not give what it needs.
pub fn run(
    plan: Plan,
    stop: &Arc<AtomicBool>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Report, RunError> {
    plan.check()?;
    raise_open_files(plan.descriptors())?;
    let tls = if plan.uses_tls() { Some(plan.trust.config()?) } else { None };
    let before = plan.pid.map(|pid| usage(pid).ok_or(RunError::Pid(pid))).transpose()?;
    let start_ns = now_ns();
    let window_ns = start_ns + nanos(plan.ramp());
    let schedule = Schedule { start_ns, window_ns, end_ns: window_ns + nanos(plan.window) };
    let plan = Arc::new(plan);
    let common = Common { plan: plan.clone(), tls, stop: stop.clone(), schedule };
    let mut gauges = Vec::new();
    let mut threads = Vec::new();
    for thread in 0..plan.threads {
        let gauge = Arc::new(Gauge::default());
        gauges.push(gauge.clone());
        let engine = Engine::new(common.clone(), thread, Stats::new()?, gauge)?;
        let name = format!("load-{thread}");
        threads.push(std::thread::Builder::new().name(name).spawn(move || engine.run())?);
    }
    let times = (schedule.start_ns, schedule.window_ns, schedule.end_ns);
    let sampled = watch(plan.pid, times, stop, &gauges, &threads, progress);
    let mut outcomes = Vec::new();
    for thread in threads {
        outcomes.push(thread.join().map_err(|_| RunError::Thread)??);
    }
    let interrupted = stop.load(Ordering::Relaxed);
    report(&plan, outcomes, before, sampled, interrupted)
}

/// What was read of the machine at both ends of the window.
#[derive(Default)]
pub(crate) struct Sampled {
    open: Option<(Option<Usage>, Cores)>,
    close: Option<(Option<Usage>, Cores)>,
}

impl Sampled {
    /// How busy each core was, in percent; nothing if the window was never open.
    pub(crate) fn cores(&self) -> Vec<f64> {
        match (&self.open, &self.close) {
            (Some((_, open)), Some((_, close))) => close.busy_since(open),
            _ => Vec::new(),
        }
    }
}

/// Waits for the end, tells progress, and reads what the server uses. The times are those of the
/// start, of the window and of the end.
pub(crate) fn watch<T>(
    pid: Option<u32>,
    (start_ns, window_ns, end_ns): (u64, u64, u64),
    stop: &AtomicBool,
    gauges: &[Arc<Gauge>],
    threads: &[JoinHandle<io::Result<T>>],
    progress: &mut dyn FnMut(&Progress),
) -> Sampled {
    let sample = || (pid.and_then(usage), Cores::read());
    let mut sampled = Sampled::default();
    let (mut tick_ns, mut last_ns, mut last_bytes) = (start_ns + nanos(TICK), start_ns, 0);
    loop {
        let now = now_ns();
        if sampled.open.is_none() && now >= window_ns {
            sampled.open = Some(sample());
        }
        let over = now >= end_ns || stop.load(Ordering::Relaxed);
        if over || threads.iter().any(JoinHandle::is_finished) {
            sampled.close = sampled.open.is_some().then(sample);
            return sampled;
        }
        if now >= tick_ns {
            tick_ns += nanos(TICK);
            let sum = |field: fn(&Gauge) -> u64| gauges.iter().map(|g| field(g)).sum::<u64>();
            let bytes = sum(|g| Gauge::get(&g.bytes));
            let seconds = (now - last_ns) as f64 / 1e9;
            progress(&Progress {
                elapsed_s: (now - start_ns) as f64 / 1e9,
                total_s: (end_ns - start_ns) as f64 / 1e9,
                measuring: sampled.open.is_some(),
                joined: sum(|g| Gauge::get(&g.joined)),
                connected: sum(|g| Gauge::get(&g.connected)),
                active: sum(|g| Gauge::get(&g.active)),
                publishing: sum(|g| Gauge::get(&g.publishing)),
                lost: sum(|g| Gauge::get(&g.lost)),
                stalls: sum(|g| Gauge::get(&g.stalls)),
                broken: sum(|g| Gauge::get(&g.broken)) > 0,
                mbit_per_s: bytes.saturating_sub(last_bytes) as f64 * 8.0 / 1e6 / seconds,
            });
            (last_ns, last_bytes) = (now, bytes);
        }
        // Short, so that an interruption and the borders of the window are met.
        let next_ns = if sampled.open.is_none() { window_ns } else { end_ns }.min(tick_ns);
        let wait = Duration::from_nanos(next_ns.saturating_sub(now));
        std::thread::sleep(wait.clamp(Duration::from_micros(100), Duration::from_millis(50)));
    }
}

fn report(
    plan: &Plan,
    outcomes: Vec<Outcome>,
    before: Option<Usage>,
    sampled: Sampled,
    interrupted: bool,
) -> Result<Report, RunError> {
    let mut stats = Stats::new()?;
    let mut fared = Vec::new();
    let (mut window_ns, mut cpu_ns, mut busiest, mut publishing) = (0, 0, 0.0f64, 0);
    for outcome in outcomes {
        stats.add(&outcome.stats);
        fared.extend(outcome.players);
        window_ns = window_ns.max(outcome.window_ns);
        cpu_ns += outcome.window_cpu_ns;
        busiest = busiest.max(percent(outcome.window_cpu_ns, outcome.window_ns));
        publishing += outcome.publishers;
    }
    let window_s = window_ns as f64 / 1e9;
    let mbit = stats.window_bytes as f64 * 8.0 / 1e6;
    let verified = plan.players.as_ref().map_or(0, |p| p.verified(plan.threads));
    let connected = fared.iter().filter(|f| f.flows).count() as u64;
    let cores = sampled.cores();
    let own = usage(std::process::id()).unwrap_or_default();
    let mut report = Report {
        play: plan.players.iter().flat_map(|p| &p.urls).map(|u| u.text().to_owned()).collect(),
        publish: plan.publishers.as_ref().map(|p| p.url.text().to_owned()),
        window_s,
        interrupted,
        players: PlayerCounts {
            asked: u64::from(plan.player_count()),
            joined: stats.joined,
            left: stats.left,
            connected: fared.iter().filter(|f| f.connected).count() as u64,
            active: fared.iter().filter(|f| f.flows && !f.stalled).count() as u64,
            starved: starved(&fared),
            lost: stats.lost,
            verified: u64::from(verified),
            slow: plan.players.as_ref().map_or(0, |p| u64::from(p.slow)),
        },
        publishers: PublisherCounts {
            asked: u64::from(plan.publisher_count()),
            active: publishing,
            lost: stats.publishers_lost,
            pictures: stats.sent_pictures,
            bytes: stats.sent_bytes,
            lateness_ms: Percentiles::of(&stats.lateness),
        },
        mbit_per_s: if window_s > 0.0 { mbit / window_s } else { 0.0 },
        bytes: stats.bytes,
        kbit_per_s: spread(fared.iter().filter_map(rate).collect()),
        first_frame_ms: Percentiles::of(&stats.first_frame),
        stalls: Stalls {
            count: stats.stalls,
            players: fared.iter().filter(|f| f.stalls > 0).count() as u64,
            longest_ms: stats.longest_stall_ns as f64 / 1e6,
        },
        latency_ms: Latency::of(&stats),
        verification: Verification { players: u64::from(verified), findings: stats.findings },
        segments: stats.segments,
        server: server(plan.pid, before, &sampled, window_s, mbit, connected),
        tool: Tool {
            threads: plan.threads,
            busiest_percent: busiest,
            core_percent: percent(cpu_ns, window_ns),
            lag_ms: Percentiles::of(&stats.lag),
            rss_kb: own.rss_kb,
            cores_percent: cores,
        },
        errors: stats.errors,
        warnings: Vec::new(),
    };
    report.warnings = warnings(&report, plan);
    Ok(report)
}

pub(crate) fn percent(part_ns: u64, whole_ns: u64) -> f64 {
    part_ns as f64 * 100.0 / whole_ns.max(1) as f64
}

/// Rate in the window, in kbit/s; `None` for who was not there long enough.
fn rate(fared: &Fared) -> Option<f64> {
    (fared.span_ns >= SHORTEST_NS)
        .then(|| fared.bytes as f64 * 8.0 / 1e3 / (fared.span_ns as f64 / 1e9))
}

pub(crate) fn spread(mut rates: Vec<f64>) -> Spread {
    rates.sort_unstable_by(f64::total_cmp);
    let at = |i: usize| rates.get(i).copied().unwrap_or_default();
    let last = rates.len().saturating_sub(1);
    Spread { min: at(0), p50: at(last / 2), max: at(last) }
}

/// Players of one address are compared with each other: another wire has other rates. Who never
/// had media, though there was time for it, has starved too.
fn starved(fared: &[Fared]) -> u64 {
    let mut groups: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for one in fared.iter().filter(|f| !f.segments && !f.slow) {
        groups.entry(one.url).or_default().extend(rate(one));
    }
    let hungry = |f: &&Fared| {
        let never = !f.flows && f.connected && f.age_ns >= SHORTEST_NS;
        !f.slow && (never && !f.segments || f.segments && f.stalls > 0)
    };
    let mut count = fared.iter().filter(hungry).count();
    for rates in groups.into_values() {
        let least = spread(rates.clone()).p50 * STARVED;
        count += rates.iter().filter(|rate| **rate < least).count();
    }
    count as u64
}

pub(crate) fn server(
    pid: Option<u32>,
    before: Option<Usage>,
    sampled: &Sampled,
    window_s: f64,
    mbit: f64,
    players: u64,
) -> Option<Server> {
    let (Some((Some(open), _)), Some((Some(close), _))) = (&sampled.open, &sampled.close) else {
        return None;
    };
    let (pid, before) = (pid?, before?);
    let cpu_s = close.cpu_s - open.cpu_s;
    let grown = close.rss_kb as f64 - before.rss_kb as f64;
    Some(Server {
        pid,
        cpu_s,
        core_percent: if window_s > 0.0 { cpu_s * 100.0 / window_s } else { 0.0 },
        us_per_mbit: (mbit > 0.0).then(|| cpu_s * 1e6 / mbit),
        rss_before_kb: before.rss_kb,
        rss_kb: close.rss_kb,
        kb_per_player: (players > 0).then(|| grown / players as f64),
    })
}

/// What casts doubt on the figures on the tool's own side.
pub(crate) fn tool_warnings(tool: &Tool) -> Vec<String> {
    let mut list = Vec::new();
    if tool.busiest_percent > BUSY {
        list.push(format!(
            "a thread of this tool used {:.0} % of a core: the tool may be the limit, not the \
             server; more --threads, or a smaller --verify",
            tool.busiest_percent
        ));
    }
    if tool.lag_ms.p99 > LAG_MS {
        list.push(format!(
            "the tool's loop took {:.0} ms at the 99th percentile: delays hold as much of its own",
            tool.lag_ms.p99
        ));
    }
    list
}

fn warnings(report: &Report, plan: &Plan) -> Vec<String> {
    let mut list = tool_warnings(&report.tool);
    if report.publishers.lateness_ms.p99 > LAG_MS {
        list.push(format!(
            "pictures were sent up to {:.0} ms late (p99): the stream was less even than its clip",
            report.publishers.lateness_ms.p99
        ));
    }
    if plan.pid.is_some() && report.server.is_none() {
        list.push("the server's process could not be read to the end".to_owned());
    }
    if plan.publishers.as_ref().is_some_and(|p| p.stamp && !p.clip.can_stamp()) {
        list.push("the clip's video takes no stamps: no delays, no checksums".to_owned());
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fared(url: usize, bytes: u64) -> Fared {
        let span_ns = 10_000_000_000;
        let (connected, flows, stalled, slow, segments) = (true, true, false, false, false);
        let (age_ns, stalls) = (span_ns, 0);
        Fared { url, bytes, span_ns, age_ns, connected, flows, stalled, stalls, slow, segments }
    }

    #[test]
    fn players_starve_by_the_measure_of_their_own_address() {
        let mut players = vec![fared(0, 1000), fared(0, 1000), fared(0, 899), fared(1, 500)];
        players.push(fared(1, 500));
        assert_eq!(starved(&players), 1);
        players.push(Fared { slow: true, ..fared(0, 1) });
        players.push(Fared { span_ns: 1, ..fared(0, 0) });
        assert_eq!(starved(&players), 1);
        players.push(Fared { segments: true, stalls: 1, ..fared(2, 0) });
        assert_eq!(starved(&players), 2);
        players.push(Fared { flows: false, span_ns: 0, ..fared(3, 0) });
        players.push(Fared { flows: false, span_ns: 0, age_ns: 9, ..fared(3, 0) });
        assert_eq!(starved(&players), 3);
    }

    #[test]
    fn the_spread_of_nothing_is_nothing() {
        assert_eq!(spread(Vec::new()), Spread::default());
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), Spread { min: 1.0, p50: 2.0, max: 3.0 });
    }
}
