//! The circuit breaker: what an overloaded server does for those who are there already.
//!
//! The load is that of the worker thread with the most time to spare, since new sessions go there:
//! as long as one has room, nobody is turned away. Under `high` and `critical` the log and the
//! metrics tell; under `dying` new sessions are refused until the load falls. Frames are never
//! dropped for it: the pacer gathers more of them instead, and who lags jumps, as ever.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use gate::Host;
use gate::conf::Config;
use tokio::time::{MissedTickBehavior, interval};

/// The pulses are counted in seconds.
const EVERY: Duration = Duration::from_secs(1);

/// How loaded the server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be, or the breaker is off.
    #[default]
    Calm,
    /// Above `high_threshold` for `high_pulse` seconds.
    High,
    /// Above `critical_threshold` for `critical_pulse` seconds.
    Critical,
    /// Above `dying_threshold` for `dying_pulse` seconds: new sessions are refused.
    Dying,
}

/// A threshold (percent of a core) and for how many seconds on end.
type Rule = (f64, u32);

/// High, critical, dying; `None` when it is off.
fn rules(config: &Config) -> Option<[Rule; 3]> {
    let root = config.root();
    if !root.bool("circuit_breaker.enabled") {
        return None;
    }
    let rule = |name: &str| {
        let of = |part: &str| root.int(&format!("circuit_breaker.{name}_{part}"));
        (of("threshold") as f64, u32::try_from(of("pulse")).unwrap_or(u32::MAX))
    };
    Some([rule("high"), rule("critical"), rule("dying")])
}

/// Counts seconds above each threshold.
#[derive(Debug, Default)]
struct Breaker {
    above: [u32; 3],
}

impl Breaker {
    /// Takes the load of one second, in percent.
    fn push(&mut self, load: f64, rules: Option<[Rule; 3]>) -> Level {
        let Some(rules) = rules else {
            self.above = [0; 3];
            return Level::Calm;
        };
        let levels = [Level::High, Level::Critical, Level::Dying];
        let mut level = Level::Calm;
        for ((above, (threshold, pulse)), of) in self.above.iter_mut().zip(rules).zip(levels) {
            *above = if load >= threshold { above.saturating_add(1) } else { 0 };
            if *above >= pulse.max(1) {
                level = level.max(of);
            }
        }
        level
    }
}

/// Watches the workers for as long as the process lives.
pub async fn run(host: Arc<Host>) {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut breaker, mut before) = (Breaker::default(), Level::Calm);
    loop {
        every.tick().await;
        let busy = host.shards().iter().map(|shard| shard.stats().busy_permille.load(Relaxed));
        let load = f64::from(busy.min().unwrap_or(0)) / 10.0;
        let level = breaker.push(load, rules(&host.config()));
        if level == before {
            continue;
        }
        before = level;
        host.set_overload(level as u8, level == Level::Dying);
        match level {
            Level::Calm => tracing::info!("the workers have time to spare again ({load:.0} %)"),
            Level::High => tracing::warn!("the load is high: every worker is {load:.0} % busy"),
            Level::Critical => {
                tracing::warn!("the load is critical: every worker is {load:.0} % busy");
            }
            Level::Dying => tracing::error!(
                "every worker is {load:.0} % busy: new sessions are refused until that falls \
                 (circuit_breaker)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Option<[Rule; 3]> = Some([(90.0, 2), (95.0, 1), (99.0, 3)]);

    #[test]
    fn a_level_is_reached_by_seconds_on_end_and_left_at_once() {
        let mut breaker = Breaker::default();
        let mut level = |load| breaker.push(load, RULES);
        assert_eq!([91.0, 91.0, 91.0].map(&mut level), [Level::Calm, Level::High, Level::High]);
        assert_eq!([96.0, 92.0].map(&mut level), [Level::Critical, Level::High]);
        assert_eq!([99.0, 100.0].map(&mut level), [Level::Critical; 2]);
        assert_eq!(level(99.5), Level::Dying);
        assert_eq!([98.0, 50.0].map(&mut level), [Level::Critical, Level::Calm]);
        // A second below starts the count anew.
        assert_eq!([100.0, 100.0, 98.0, 100.0, 100.0].map(&mut level), [Level::Critical; 5]);
        assert_eq!(level(100.0), Level::Dying);
    }

    #[test]
    fn switched_off_it_forgets_what_it_counted() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.push(100.0, RULES);
        }
        assert_eq!(breaker.push(100.0, None), Level::Calm);
        assert_eq!(breaker.push(100.0, RULES), Level::Critical, "dying takes three seconds again");
    }
}
