//! Attacks on a running server from outside, while healthy viewers watch a stream through it.
//!
//! [`run`] publishes a stream of stamped frames, watches it by RTMP, HTTP-FLV and WebSocket, and
//! meanwhile does everything that a hostile or broken client may do: first each attack of
//! [`attack::ALL`] alone, then several at once. The [`Report`] says whether the server lived,
//! whether a healthy viewer lost a frame or waited longer, and whether memory, descriptors and
//! sessions came back to where they were. It knows nothing of the server but its ports, its
//! metrics and `/proc/PID`.
//!
//! It never says how fast a server must be: the machine decides that.
#![allow(clippy::indexing_slicing, reason = "reads its own recordings, and fails if they are odd")]

pub mod attack;
mod healthy;
mod http;
mod net;
mod report;
mod rtc;
pub mod soak;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use attack::{Attack, Cx};
use healthy::Healthy;
pub use report::{Faults, Report};
use watch::Watch;

/// What to attack, for how long and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The RTMP port.
    pub rtmp: SocketAddr,
    /// The port of streams and files.
    pub http: SocketAddr,
    /// The port of the API and the metrics.
    pub api: SocketAddr,
    /// The datagram port of WebRTC, where it is served; ICE over TCP is at the same number.
    pub rtc: Option<SocketAddr>,
    /// The server's process, on this machine.
    pub pid: u32,
    /// The configuration file that the server reads at SIGHUP, if reloads are to be tried. It is
    /// rewritten all the time, and restored at the end.
    pub config: Option<PathBuf>,
    /// From the first attack to the end of the last.
    pub time: Duration,
    /// Each attack alone, before they are mixed; zero begins with the mixture.
    pub each: Duration,
    /// Calm before the first attack and after the last, in which the delay is measured too.
    pub calm: Duration,
    /// After that, how long the server has to give memory, descriptors and sessions back.
    pub settle: Duration,
    /// Attacks by name; empty is all of them.
    pub only: Vec<String>,
    /// Attacks at once in the mixture.
    pub at_once: usize,
    /// Half-open connections, and connections of a flood.
    pub connections: usize,
    /// Healthy viewers of each kind.
    pub viewers: usize,
    /// The same seed makes the same choices (not the same timing).
    pub seed: u64,
}

impl Plan {
    /// A usual plan of that length.
    pub fn new(ports: [SocketAddr; 3], pid: u32, time: Duration) -> Self {
        let [rtmp, http, api] = ports;
        let attacks = u32::try_from(attack::ALL.len()).unwrap_or(1);
        Self {
            rtmp,
            http,
            api,
            rtc: None,
            pid,
            config: None,
            time,
            each: time / 2 / attacks,
            calm: (time / 6).min(Duration::from_secs(15)),
            settle: Duration::from_secs(15),
            only: Vec::new(),
            at_once: 4,
            connections: 1000,
            viewers: 3,
            seed: 1,
        }
    }

    fn attacks(&self) -> Result<Vec<&'static Attack>> {
        let known = |name: &String| attack::ALL.iter().any(|a| a.name == name);
        if let Some(unknown) = self.only.iter().find(|name| !known(name)) {
            let names: Vec<_> = attack::ALL.iter().map(|a| a.name).collect();
            anyhow::bail!("no attack {unknown}; there are: {}", names.join(", "));
        }
        let reload = self.config.is_some();
        let wanted = |a: &&Attack| {
            (self.only.is_empty() || self.only.iter().any(|n| n == a.name))
                && (reload || !a.needs_config)
                && (self.rtc.is_some() || !a.needs_rtc)
        };
        Ok(attack::ALL.iter().filter(wanted).collect())
    }
}

/// Carries the plan out. `told` is called with a line for people now and then.
///
/// # Errors
/// The plan cannot be carried out at all: no server there, or no room for it on this machine. What
/// the server does wrong stands in the report.
pub fn run(plan: &Plan, told: &mut dyn FnMut(String)) -> Result<Report> {
    raise_open_files(plan.connections);
    let attacks = plan.attacks()?;
    ensure!(!attacks.is_empty(), "no attack is left: this one needs a configuration file");
    let before_all = watch::Metrics::read(plan.api).context("the server's /metrics")?;
    let healthy = Healthy::start(plan, healthy::NAME)?;
    let mut watch = Watch::start(plan)?;
    told(format!("{} healthy viewers watch; calm for {:?}", healthy.viewers(), plan.calm));
    // What is bought once (buffers, threads' heaps, the first segments) is no leak.
    std::thread::sleep(plan.calm / 2);
    healthy.phase(healthy::BEFORE);
    std::thread::sleep(plan.calm);
    let base = watch.base()?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("a runtime for the attacks")?;
    let mut report = Report::new(plan, &before_all, &base);
    let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(plan.seed));
    let end = start + plan.time;
    if !plan.each.is_zero() {
        for (index, attack) in attacks.iter().enumerate() {
            if Instant::now() >= end || !watch.alive() {
                break;
            }
            healthy.phase(healthy::FIRST_ATTACK + index);
            let until = (Instant::now() + plan.each).min(end);
            let cx = Cx::new(plan, rng.random(), until);
            runtime.block_on((attack.run)(cx.clone()));
            let row = report.attacked(attack.name, &cx, watch.peak_since_last());
            told(row);
        }
    }
    if Instant::now() < end && watch.alive() {
        healthy.phase(healthy::MIXED);
        let cx = Cx::new(plan, rng.random(), end);
        told(format!("mixed, {} at once, {:?}", plan.at_once, end - Instant::now()));
        runtime.block_on(mixed(cx.clone(), attacks.clone(), plan.at_once));
        report.mixed(&cx, watch.peak_since_last());
    }
    report.attacked_for = start.elapsed();
    runtime.shutdown_timeout(Duration::from_secs(2));
    if let Some(path) = &plan.config {
        attack::reload::restore(path, plan.pid)?;
    }
    healthy.phase(healthy::BETWEEN);
    told(format!("calm; the server has {:?} to settle", plan.settle));
    std::thread::sleep(plan.settle);
    healthy.phase(healthy::AFTER);
    std::thread::sleep(plan.calm.max(Duration::from_secs(1)));
    watch.finish(&mut report, &base);
    healthy.finish(&mut report, &attacks);
    Ok(report)
}

/// So many attacks at a time, each a few seconds, chosen by the seed.
async fn mixed(cx: Arc<Cx>, attacks: Vec<&'static Attack>, at_once: usize) {
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let (cx, attacks) = (cx.clone(), attacks.clone());
        lanes.spawn(async move {
            let mut rng = cx.rng();
            while Instant::now() < cx.until {
                let attack = attacks[rng.random_range(0..attacks.len())];
                let time = Duration::from_millis(rng.random_range(2_000..12_000));
                (attack.run)(cx.shorter(&mut rng, time)).await;
            }
        });
    }
    while lanes.join_next().await.is_some() {}
}

/// One descriptor for each connection, and some more. Does what it can.
pub(crate) fn raise_open_files(connections: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = (connections as u64).saturating_mul(4).saturating_add(4096);
    limit.current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
    let _ = setrlimit(Resource::Nofile, limit);
}
