//! A run from start to report.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::counts::Counts;
use super::engine::{Common, Engine, Fared, Outcome, Schedule};
use super::plan::Plan;
use super::report::{Emulated, Freezes, PlayerCounts, PublisherCounts, Report};
use crate::clock::{nanos, now_ns};
use crate::proc::{Usage, raise_open_files, udp_drops, usage};
use crate::report::{Percentiles, Tool, Verification};
use crate::run::{self, Progress, RunError, Sampled};
use crate::stats::Gauge;

/// A player that got less than this share of the median has starved.
const STARVED: f64 = 0.9;
/// A player that could receive for less than this long has no rate to compare.
const SHORTEST_NS: u64 = 2_000_000_000;

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
    let identity = rtc::identity::make().map_err(|e| RunError::Identity(e.to_string()))?;
    let before = plan.pid.map(|pid| usage(pid).ok_or(RunError::Pid(pid))).transpose()?;
    let start_ns = now_ns();
    let window_ns = start_ns + nanos(plan.ramp());
    let schedule = Schedule { start_ns, window_ns, end_ns: window_ns + nanos(plan.window) };
    let plan = Arc::new(plan);
    let common = Common { plan: plan.clone(), identity, stop: stop.clone(), schedule };
    let drops_before = udp_drops();
    let mut gauges = Vec::new();
    let mut threads = Vec::new();
    for thread in 0..plan.threads {
        let gauge = Arc::new(Gauge::default());
        gauges.push(gauge.clone());
        let engine = Engine::new(common.clone(), thread, Counts::new()?, gauge)?;
        let name = format!("load-{thread}");
        threads.push(std::thread::Builder::new().name(name).spawn(move || engine.run())?);
    }
    let times = (start_ns, window_ns, schedule.end_ns);
    let sampled = run::watch(plan.pid, times, stop, &gauges, &threads, progress);
    let mut outcomes = Vec::new();
    for thread in threads {
        outcomes.push(thread.join().map_err(|_| RunError::Thread)??);
    }
    let drops = udp_drops().saturating_sub(drops_before);
    report(&plan, outcomes, before, &sampled, stop.load(Ordering::Relaxed), drops)
}

fn report(
    plan: &Plan,
    outcomes: Vec<Outcome>,
    before: Option<Usage>,
    sampled: &Sampled,
    interrupted: bool,
    drops: u64,
) -> Result<Report, RunError> {
    let mut counts = Counts::new()?;
    let mut fared = Vec::new();
    let (mut window_ns, mut cpu_ns, mut busiest, mut publishing) = (0, 0, 0.0f64, 0);
    for outcome in outcomes {
        counts.add(&outcome.counts);
        fared.extend(outcome.players);
        publishing += outcome.publishers;
        window_ns = window_ns.max(outcome.window_ns);
        cpu_ns += outcome.window_cpu_ns;
        busiest = busiest.max(run::percent(outcome.window_cpu_ns, outcome.window_ns));
    }
    let window_s = window_ns as f64 / 1e9;
    let in_window = counts.packets.since(&counts.at_window);
    let mbit = in_window.bytes as f64 * 8.0 / 1e6;
    let per_second = |n: f64| if window_s > 0.0 { n / window_s } else { 0.0 };
    let verified = plan.players.as_ref().map_or(0, |p| p.verified(plan.threads));
    let count = |is: fn(&Fared) -> bool| fared.iter().filter(|f| is(f)).count() as u64;
    let flowing = count(|f| f.flows);
    let network = plan.network.is_there().then_some(Emulated {
        loss_percent: plan.network.loss * 100.0,
        delay_ms: plan.network.delay.as_secs_f64() * 1e3,
        jitter_ms: plan.network.jitter.as_secs_f64() * 1e3,
        seed: plan.network.seed,
        passed: counts.passed,
        lost: counts.dropped,
    });
    let mut report = Report {
        play: plan.players.as_ref().map(|p| p.url.text().to_owned()),
        publish: plan.publishers.as_ref().map(|p| p.url.text().to_owned()),
        window_s,
        interrupted,
        network,
        players: PlayerCounts {
            asked: u64::from(plan.player_count()),
            joined: counts.joined,
            connected: count(|f| f.connected),
            active: count(|f| f.flows && !f.frozen),
            starved: starved(&fared),
            lost: counts.lost,
            verified: u64::from(verified),
            moved: counts.moved,
            astray: count(|f| f.astray),
        },
        publishers: PublisherCounts {
            asked: u64::from(plan.publisher_count()),
            active: publishing,
            lost: counts.publishers_lost,
            packets: counts.sent.packets,
            pictures: counts.sent.pictures,
            bytes: counts.sent.bytes,
            nacks: counts.sent.asked,
            retransmissions: counts.sent.retransmissions,
            too_old: counts.sent.too_old,
            plis: counts.sent.plis,
            lateness_ms: Percentiles::of(&counts.lateness),
        },
        mbit_per_s: per_second(mbit),
        packets_per_s: per_second(in_window.received as f64),
        kbit_per_s: run::spread(fared.iter().filter_map(rate).collect()),
        answer_ms: Percentiles::of(&counts.answer),
        connected_ms: Percentiles::of(&counts.connected),
        first_packet_ms: Percentiles::of(&counts.first_packet),
        first_picture_ms: Percentiles::of(&counts.first_picture),
        loss_percent: in_window.loss_percent(),
        loss_after_repair_percent: in_window.loss_after_repair_percent(),
        window: in_window,
        whole: counts.packets,
        freezes: Freezes {
            count: counts.packets.freezes,
            total_ms: counts.packets.frozen_us as f64 / 1e3,
            longest_ms: counts.longest_freeze_us as f64 / 1e3,
        },
        resumed_ms: Percentiles::of(&counts.resumed),
        latency_ms: Percentiles::of(&counts.latency),
        verification: Verification { players: u64::from(verified), findings: counts.findings },
        server: run::server(plan.pid, before, sampled, window_s, mbit, flowing),
        tool: Tool {
            threads: plan.threads,
            busiest_percent: busiest,
            core_percent: run::percent(cpu_ns, window_ns),
            lag_ms: Percentiles::of(&counts.lag),
            rss_kb: usage(std::process::id()).unwrap_or_default().rss_kb,
            cores_percent: sampled.cores(),
        },
        errors: counts.errors,
        warnings: Vec::new(),
    };
    report.warnings = run::tool_warnings(&report.tool);
    if drops > 0 {
        report.warnings.push(format!(
            "{drops} datagrams found no room at a socket of this machine (RcvbufErrors): what is \
             missing may have been lost by this tool, or on the server's side of this machine"
        ));
    }
    if plan.pid.is_some() && report.server.is_none() {
        report.warnings.push("the server's process could not be read to the end".to_owned());
    }
    Ok(report)
}

/// Rate in the window, in kbit/s; `None` for who was not there long enough.
fn rate(fared: &Fared) -> Option<f64> {
    (fared.span_ns >= SHORTEST_NS)
        .then(|| fared.bytes as f64 * 8.0 / 1e3 / (fared.span_ns as f64 / 1e9))
}

fn starved(fared: &[Fared]) -> u64 {
    let rates: Vec<f64> = fared.iter().filter_map(rate).collect();
    let least = run::spread(rates).p50 * STARVED;
    let hungry = |f: &&Fared| {
        let never = !f.flows && f.age_ns >= SHORTEST_NS;
        never || rate(f).is_some_and(|rate| rate < least)
    };
    fared.iter().filter(hungry).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fared(bytes: u64) -> Fared {
        let span_ns = 10_000_000_000;
        let (connected, flows, frozen, astray) = (true, true, false, false);
        Fared { bytes, span_ns, age_ns: span_ns, connected, flows, frozen, astray }
    }

    #[test]
    fn players_starve_by_the_measure_of_the_median() {
        let mut players = vec![fared(1000), fared(1000), fared(1000), fared(899)];
        assert_eq!(starved(&players), 1);
        players.push(Fared { flows: false, span_ns: 0, ..fared(0) });
        players.push(Fared { flows: false, span_ns: 0, age_ns: 9, ..fared(0) });
        assert_eq!(starved(&players), 2);
    }
}
