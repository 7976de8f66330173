//! From signals to a rate: grow carefully near the known limit, fast far from it, and step back
//! below what arrived (draft-ietf-rmcat-gcc-02 §5.5).

use super::arrival::Signal;

/// At congestion the rate becomes this part of what arrived, in hundredths.
const BACK_OFF: u64 = 85;

/// Growth a second, in parts of the rate: by default, and when all has been calm for
/// [`CALM_US`] or congestion was never seen.
const GROWTH: f64 = 0.08;
const CALM_GROWTH: f64 = 0.35;
const CALM_US: u64 = 5_000_000;

/// A growing rate stays below what arrived, times this in tenths, and a little.
const AHEAD: u64 = 15;
const AHEAD_BPS: u64 = 10_000;

/// Steps back follow each other no faster.
const LEAST_STEP_US: u64 = 100_000;
const MOST_STEP_US: u64 = 200_000;

/// Weight of the newest congestion in the mean of the limits seen.
const LIMIT_WEIGHT: f64 = 0.2;

/// Bits of a packet, by one of which the rate grows a round trip near the limit.
const PACKET_BITS: f64 = 9_600.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Hold,
    Grow,
}

/// The delay-based rate.
#[derive(Clone, Debug)]
pub(super) struct Aimd {
    bps: f64,
    min: f64,
    max: f64,
    state: State,
    /// Mean of what arrived at congestion, and its deviation, in bits per second.
    limit: Option<(f64, f64)>,
    stepped_us: Option<u64>,
    updated_us: Option<u64>,
}

impl Aimd {
    pub(super) const fn new(initial: u64, min: u64, max: u64) -> Self {
        Self {
            bps: initial as f64,
            min: min as f64,
            max: max as f64,
            state: State::Grow,
            limit: None,
            stepped_us: None,
            updated_us: None,
        }
    }

    pub(super) const fn bps(&self) -> u64 {
        self.bps as u64
    }

    pub(super) fn set(&mut self, bps: u64) {
        self.bps = (bps as f64).clamp(self.min, self.max);
    }

    /// No feedback comes any more.
    pub(super) fn halve(&mut self) {
        self.bps = (self.bps / 2.0).max(self.min);
    }

    pub(super) fn update(
        &mut self,
        signal: Option<Signal>,
        acked: Option<u64>,
        rtt_us: u64,
        now_us: u64,
    ) {
        let elapsed = self.updated_us.map_or(0, |before| now_us.saturating_sub(before));
        self.updated_us = Some(now_us);
        match signal {
            Some(Signal::Overuse) => {
                self.state = State::Hold;
                self.step_back(acked, rtt_us, now_us);
                return;
            }
            Some(Signal::Underuse) => self.state = State::Hold,
            Some(Signal::Normal) => self.state = State::Grow,
            None => {}
        }
        if self.state == State::Grow {
            // A pause of feedback is no reason to leap.
            self.grow(acked, rtt_us, elapsed.min(1_000_000) as f64 / 1e6, now_us);
        }
    }

    fn step_back(&mut self, acked: Option<u64>, rtt_us: u64, now_us: u64) {
        let pause = rtt_us.clamp(LEAST_STEP_US, MOST_STEP_US);
        if self.stepped_us.is_some_and(|before| now_us < before.saturating_add(pause)) {
            return;
        }
        self.stepped_us = Some(now_us);
        let Some(acked) = acked else {
            self.halve();
            return;
        };
        let arrived = acked as f64;
        let aim = (arrived * BACK_OFF as f64 / 100.0).max(self.min);
        self.bps = self.bps.min(aim);
        self.limit = Some(match self.limit {
            Some((mean, deviation)) if (arrived - mean).abs() <= 3.0 * deviation => {
                let off = arrived - mean;
                let mean = mean + LIMIT_WEIGHT * off;
                let spread = (1.0 - LIMIT_WEIGHT) * deviation + LIMIT_WEIGHT * off.abs();
                (mean, spread.max(mean * 0.05))
            }
            // The first, or another path than before.
            _ => (arrived, arrived * 0.1),
        });
    }

    fn grow(&mut self, acked: Option<u64>, rtt_us: u64, seconds: f64, now_us: u64) {
        let arrived = acked.map_or(self.bps, |bps| bps as f64);
        let near = match self.limit {
            Some((mean, deviation)) if arrived > mean + 3.0 * deviation => {
                // More goes through than ever at congestion: the limit is gone.
                self.limit = None;
                false
            }
            Some((mean, deviation)) => arrived >= mean - 3.0 * deviation,
            None => false,
        };
        let calm = self.stepped_us.is_none_or(|at| now_us >= at.saturating_add(CALM_US));
        let grown = if near && !calm {
            let response = (rtt_us as f64 / 1e6 + 0.1).max(0.1);
            (PACKET_BITS / response).max(self.bps * 0.01) * seconds
        } else {
            let rate = if calm { CALM_GROWTH } else { GROWTH };
            self.bps * ((1.0 + rate).powf(seconds) - 1.0)
        };
        let ceiling = acked.map_or(self.max, |bps| (bps * AHEAD / 10 + AHEAD_BPS) as f64);
        // The ceiling stops growth; what was believed before stays believed.
        self.bps = (self.bps + grown).min(ceiling.max(self.bps)).clamp(self.min, self.max);
    }
}
