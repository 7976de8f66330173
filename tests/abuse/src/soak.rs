//! The soak: hours of comings and goings in minutes, to see whether anything is kept.
//!
//! [`run`] publishes two steady streams, watches them with viewers who must get every frame in
//! order and at its time, and meanwhile lets players join and leave a hundred times a second,
//! publishers flap, and readers dawdle. Then all leave, and a crowd comes and goes at once. The
//! [`Report`] says whether memory had a slope, whether everything came back to where it was, and
//! whether everybody was served or properly refused. It says nothing about speed.
//!
//! Memory is judged against the *idle start*: a server that has served a warm-up (all kinds of
//! players, publishers and readers for [`Plan::warm`]) and has nobody left. Before that a process
//! has not yet bought what it buys once: threads' heaps, buffers, tables.
//!
//! Each time that memory is weighed a small crowd knocks first and leaves again. A heap gives pages
//! back when its thread next allocates or frees; a server that is left alone at once may keep what
//! it would give back at the next visit. The report tells both figures, and the second is judged.

mod crowd;
mod dawdle;
mod first;
mod flap;
mod report;
mod trend;
mod visit;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout_at};

use crate::healthy::{Healthy, Seen};
use crate::watch::{Metrics, Process};
use crate::{Context, Result};
pub use report::Report;
pub use trend::{Sample, Trend};

/// The streams that never end while anybody is there.
const STEADY: [&str; 2] = ["soak-one", "soak-two"];
/// Publishers that come and go.
const FLAPPERS: usize = 4;
/// Readers at a time that dawdle.
const DAWDLERS: usize = 16;
/// Viewers that knock before memory is weighed: some of each protocol on each shard.
const KNOCK: usize = 200;
/// The process is looked at this often.
const LOOK: Duration = Duration::from_millis(250);
/// How long gauges have to reach zero once all have left: sessions of HLS live for 10 s after
/// their last request, streams 3 s after their last user.
const LEAVE: Duration = Duration::from_secs(60);
/// How long memory has to come back after that, at most: heaps give pages back with some delay.
const GIVE_BACK: Duration = Duration::from_secs(20);
/// It has come back once it has not fallen for so long.
const STILL: Duration = Duration::from_secs(3);

/// What to soak, for how long and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The RTMP port.
    pub rtmp: SocketAddr,
    /// The port of streams and files.
    pub http: SocketAddr,
    /// The port of the API and the metrics.
    pub api: SocketAddr,
    /// The server's process, on this machine.
    pub pid: u32,
    /// Where it logs to, at level `info` and as text; read at the end.
    pub logs: Vec<PathBuf>,
    /// The warm-up before the idle start.
    pub warm: Duration,
    /// The churn.
    pub time: Duration,
    /// Players that join in a second.
    pub joins: u32,
    /// Viewers that come at once in the end; 0 leaves that out.
    pub crowd: usize,
    /// The same seed makes the same choices (not the same timing).
    pub seed: u64,
}

impl Plan {
    /// A usual plan of that length.
    pub fn new(ports: [SocketAddr; 3], pid: u32, logs: Vec<PathBuf>, time: Duration) -> Self {
        let [rtmp, http, api] = ports;
        let warm = (time / 3).clamp(Duration::from_secs(6), Duration::from_secs(60));
        Self { rtmp, http, api, pid, logs, warm, time, joins: 100, crowd: 1000, seed: 1 }
    }

    fn as_attack(&self) -> crate::Plan {
        let ports = [self.rtmp, self.http, self.api];
        crate::Plan { viewers: 1, seed: self.seed, ..crate::Plan::new(ports, self.pid, self.time) }
    }
}

/// What players, publishers and readers saw, all together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Players that came, and those whose first media was as it must be.
    visits: AtomicU64,
    served: AtomicU64,
    /// Players of a stream whose publisher was away, or that had no patience.
    unserved: AtomicU64,
    /// Segments of HLS that were fetched.
    segments: AtomicU64,
    /// Publications that began, and those that were refused as they must be.
    flaps: AtomicU64,
    refused: AtomicU64,
    /// Readers that dawdled, those the server cut off for it, and their frames.
    dawdlers: AtomicU64,
    cut: AtomicU64,
    dawdled: AtomicU64,
    wrong: AtomicU64,
    words: Mutex<Vec<String>>,
}

impl Tally {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// The server did something wrong.
    fn wrong(&self, what: String) {
        Self::add(&self.wrong);
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() < 20 {
            words.push(what);
        }
    }
}

/// What everybody needs.
#[derive(Clone, Debug)]
struct Scene {
    rtmp: SocketAddr,
    http: SocketAddr,
    until: Instant,
    tally: Arc<Tally>,
}

impl Scene {
    fn over(&self) -> bool {
        Instant::now() >= self.until
    }
}

/// The state of a server whom nobody uses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Idle {
    /// Resident memory before anybody knocked.
    alone_kb: u64,
    process: Process,
    metrics: Metrics,
}

/// Carries the plan out. `told` is called with a line for people now and then.
///
/// # Errors
/// The plan cannot be carried out at all, or the server died. What it does wrong stands in the
/// report.
pub fn run(plan: &Plan, told: &mut dyn FnMut(String)) -> Result<Report> {
    crate::raise_open_files(plan.crowd.max(1000));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("a runtime for the players")?;
    let mut report = Report::new(plan);
    let tally = report.tally.clone();
    told(format!("warm-up, {:?}", plan.warm));
    report.add_seen(&churn(plan, plan.warm, plan.seed ^ 1, &tally, &runtime, &mut Vec::new())?);
    report.start = empty(plan, &tally, &runtime)?;
    told(format!("idle start: {} kB; churn for {:?}", report.start.process.rss_kb, plan.time));
    let mut samples = Vec::new();
    report.add_seen(&churn(plan, plan.time, plan.seed, &tally, &runtime, &mut samples)?);
    report.trend = Trend::of(&samples);
    report.peak_kb = samples.iter().map(|s| s.rss_kb).max().unwrap_or(0);
    report.peak_descriptors = samples.iter().map(|s| s.descriptors).max().unwrap_or(0);
    report.after_churn = empty(plan, &tally, &runtime)?;
    told(format!("all have left: {} kB", report.after_churn.process.rss_kb));
    if plan.crowd > 0 {
        told(format!("a crowd of {}", plan.crowd));
        report.crowd_kb = runtime.block_on(crowd::come_and_go(plan, plan.crowd, &tally))?;
        report.after_crowd = Some(empty(plan, &tally, &runtime)?);
    }
    runtime.shutdown_timeout(Duration::from_secs(2));
    report.read_logs(plan)?;
    Ok(report)
}

/// All kinds of company for a while; then everybody leaves.
fn churn(
    plan: &Plan,
    time: Duration,
    seed: u64,
    tally: &Arc<Tally>,
    runtime: &tokio::runtime::Runtime,
    samples: &mut Vec<Sample>,
) -> Result<Vec<Arc<Seen>>> {
    let attack = crate::Plan { seed, ..plan.as_attack() };
    let mut steady = Vec::new();
    for name in STEADY {
        steady.push(Healthy::start(&attack, name)?);
    }
    visit::wait_for_hls(plan.http)?;
    let until = Instant::now() + time;
    let (rtmp, http) = (plan.rtmp, plan.http);
    let scene = Arc::new(Scene { rtmp, http, until, tally: tally.clone() });
    let mut rng = StdRng::seed_from_u64(seed);
    let mut all = JoinSet::new();
    for number in 0..FLAPPERS {
        let own = StdRng::seed_from_u64(rng.random());
        all.spawn_on(flap::flap(scene.clone(), own, number), runtime.handle());
    }
    for number in 0..DAWDLERS {
        let own = StdRng::seed_from_u64(rng.random());
        all.spawn_on(dawdle::dawdle(scene.clone(), own, number), runtime.handle());
    }
    let own = StdRng::seed_from_u64(rng.random());
    all.spawn_on(visits(scene.clone(), own, plan.joins), runtime.handle());
    let start = Instant::now();
    while !scene.over() {
        let process = Process::read(plan.pid).context("the server has died")?;
        samples.push(Sample {
            at: start.elapsed().as_secs_f64(),
            rss_kb: process.rss_kb,
            descriptors: process.descriptors,
        });
        std::thread::sleep(LOOK);
    }
    runtime.block_on(async { while all.join_next().await.is_some() {} });
    Ok(steady.iter_mut().map(Healthy::stop).collect())
}

/// Lets players in at an even pace, until the time is over; who is in then is thrown out.
async fn visits(scene: Arc<Scene>, mut rng: StdRng, per_second: u32) {
    let mut running = JoinSet::new();
    let mut every = tokio::time::interval(Duration::from_secs(1) / per_second.max(1));
    // After a pause of this machine the missing ones come at once: as many as were said.
    every.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut number = 0;
    while !scene.over() {
        every.tick().await;
        while running.try_join_next().is_some() {}
        let (own, inner) = (StdRng::seed_from_u64(rng.random()), scene.clone());
        running.spawn(async move {
            let _ = timeout_at(inner.until.into(), visit::visit(&inner, own, number)).await;
        });
        number += 1;
    }
    running.shutdown().await;
}

/// Waits until nobody is left, lets a few knock, and weighs what is there then.
fn empty(plan: &Plan, tally: &Arc<Tally>, runtime: &tokio::runtime::Runtime) -> Result<Idle> {
    left(plan)?;
    let alone_kb = settled(plan)?.rss_kb;
    runtime.block_on(crowd::come_and_go(plan, KNOCK, tally))?;
    let metrics = left(plan)?;
    Ok(Idle { alone_kb, process: settled(plan)?, metrics })
}

/// Waits until all gauges are at zero, for as long as that may take.
fn left(plan: &Plan) -> Result<Metrics> {
    let end = Instant::now() + LEAVE;
    loop {
        let metrics = Metrics::read(plan.api)?;
        if metrics.is_empty() || Instant::now() >= end {
            return Ok(metrics);
        }
        std::thread::sleep(LOOK);
    }
}

/// Waits until memory falls no more.
fn settled(plan: &Plan) -> Result<Process> {
    let look = || Process::read(plan.pid).context("the server has died");
    let mut least = look()?;
    let (end, mut fell) = (Instant::now() + GIVE_BACK, Instant::now());
    while Instant::now() < end && fell.elapsed() < STILL {
        std::thread::sleep(LOOK);
        let now = look()?;
        if now.rss_kb < least.rss_kb {
            fell = Instant::now();
        }
        least.rss_kb = least.rss_kb.min(now.rss_kb);
        least.descriptors = least.descriptors.min(now.descriptors);
    }
    Ok(least)
}
