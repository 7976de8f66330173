//! Where a block of sound belongs: the publisher's timestamps against the samples that were counted.
//!
//! Timestamps are rounded (RTMP: to 1 ms), jitter, have holes and jump; a count of samples has
//! none of that, but its clock is not the timestamps' clock. So samples are counted from an
//! anchor, and the count is pulled softly after the mean of the timestamps.

use media::Timestamp;

/// A difference from here on is a hole (or an overlap) at once: four frames of AAC, in
/// microseconds. At half, the jitter of careless publishers would tear holes; at double, a
/// viewer would see lips move out of step.
const STEP_US: i64 = 80_000;
/// A smaller difference is one too if it stays; below this, bending does it.
const STAND_US: i64 = 15_000;
/// For so many blocks (half a second of AAC) it must stay.
const STAND_BLOCKS: u32 = 24;
/// Up to here a hole is filled with silence and an overlap left out, so that the coded frames go
/// on without a break. Beyond, the count starts anew.
pub(crate) const FILL_US: i64 = 2_000_000;
/// What the mean difference may be without any bending, in microseconds: equal clocks whose
/// timestamps are rounded to 1 ms pass through untouched.
const REST_US: i64 = 1_500;
/// Bending in parts per million for each microsecond beyond. It takes 4 s to halve.
const BEND_PER_US: f64 = 0.2;
/// The most it bends, in parts per million: a 14th of a semitone, which nobody hears.
const BEND_MAX: f64 = 4_000.0;
/// The mean is over about so many blocks.
const MEAN_BLOCKS: f64 = 32.0;

/// What to do with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Start the count at this block.
    Anew,
    /// It follows; bend it by so many parts per million (above 0: make more of it).
    Follows(i32),
    /// So many microseconds of silence go before it.
    After(i64),
    /// So many microseconds of it, or of what follows, are too much and are left out.
    Leave(i64),
}

/// The count of one track.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    anchor: Option<Timestamp>,
    mean_us: f64,
    standing: u32,
    least_us: i64,
}

impl Follower {
    /// Forgets the anchor; the next block starts anew.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Starts the count at `at`.
    pub(crate) fn anchor(&mut self, at: Timestamp) {
        *self = Self { anchor: Some(at), ..Self::default() };
    }

    /// Time `samples` samples of `rate` Hz after the anchor.
    pub(crate) fn time(&self, samples: u64, rate: u32) -> Timestamp {
        let anchor = self.anchor.unwrap_or_default();
        let since = Timestamp::from_ticks(i64::try_from(samples).unwrap_or(i64::MAX), rate);
        anchor.offset(since.as_micros())
    }

    /// Where a block that begins at `start` goes, when the count says `counted`.
    pub(crate) fn place(&mut self, start: Timestamp, counted: Timestamp) -> Place {
        if self.anchor.is_none() {
            return Place::Anew;
        }
        let off = start.micros_since(counted);
        if off.saturating_abs() > FILL_US {
            return Place::Anew;
        }
        if off.saturating_abs() >= STEP_US {
            return self.step(off);
        }
        if off.saturating_abs() >= STAND_US && off.signum() == self.least_us.signum() {
            self.standing = self.standing.saturating_add(1);
            if off.saturating_abs() < self.least_us.saturating_abs() {
                self.least_us = off;
            }
            if self.standing >= STAND_BLOCKS {
                return self.step(self.least_us);
            }
        } else {
            self.standing = 0;
            self.least_us = off;
        }
        self.mean_us += (off as f64 - self.mean_us) / MEAN_BLOCKS;
        let beyond = (self.mean_us.abs() - REST_US as f64).max(0.0);
        let bend = (beyond * BEND_PER_US).min(BEND_MAX).copysign(self.mean_us);
        Place::Follows(bend as i32)
    }

    fn step(&mut self, off: i64) -> Place {
        self.mean_us = 0.0;
        self.standing = 0;
        self.least_us = 0;
        if off > 0 { Place::After(off) } else { Place::Leave(off.saturating_neg()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower() -> Follower {
        let mut follower = Follower::default();
        assert_eq!(follower.place(Timestamp::ZERO, Timestamp::ZERO), Place::Anew);
        follower.anchor(Timestamp::ZERO);
        follower
    }

    #[test]
    fn rounding_to_milliseconds_bends_nothing() {
        let mut follower = follower();
        for block in 0..10_000i64 {
            let counted = Timestamp::from_ticks(block * 1024, 44_100);
            let start = Timestamp::from_millis(counted.as_micros() / 1000);
            assert_eq!(follower.place(start, counted), Place::Follows(0));
        }
    }

    #[test]
    fn a_hole_is_filled_and_an_overlap_left_out() {
        let mut follower = follower();
        let at = Timestamp::from_millis;
        assert_eq!(follower.place(at(1_500), at(1_000)), Place::After(500_000));
        assert_eq!(follower.place(at(1_500), at(1_700)), Place::Leave(200_000));
        assert_eq!(follower.place(at(9_000), at(1_000)), Place::Anew);
        assert_eq!(follower.place(at(0), at(60_000)), Place::Anew);
    }

    #[test]
    fn a_lost_frame_is_filled_once_it_is_sure() {
        let mut follower = follower();
        let mut filled = 0;
        let mut late = 21_333;
        for block in 0..100i64 {
            let counted = Timestamp::from_micros(block * 21_333);
            match follower.place(counted.offset(late), counted) {
                Place::After(us) => {
                    filled += us;
                    late -= us;
                }
                Place::Follows(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(filled, 21_333);
    }

    #[test]
    fn jitter_of_fifty_milliseconds_tears_no_hole() {
        let mut follower = follower();
        for block in 0..1_000i64 {
            let counted = Timestamp::from_micros(block * 21_333);
            let jitter = (block * 7_919 % 101 - 50) * 1_000;
            let place = follower.place(counted.offset(jitter), counted);
            assert!(matches!(place, Place::Follows(_)), "{place:?} at {block}");
        }
    }

    #[test]
    fn clocks_that_drift_apart_meet_for_ten_hours() {
        for drift in [-500, -20, 20, 300, 1_500] {
            let mut follower = follower();
            let mut counted = 0.0;
            for block in 0..10 * 3_600 * 47i64 {
                let at = block as f64 * 21_333.333 * (1.0 + f64::from(drift) * 1e-6);
                let start = Timestamp::from_millis((at / 1_000.0) as i64);
                let place = follower.place(start, Timestamp::from_micros(counted as i64));
                let Place::Follows(bend) = place else { panic!("{place:?} at {block}") };
                assert!((at - counted).abs() < 12_000.0, "{drift} ppm: {} us", at - counted);
                counted += 21_333.333 * (1.0 + f64::from(bend) * 1e-6);
            }
        }
    }
}
