//! Media time.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on a stream's timeline, in microseconds.
///
/// The one timebase inside: 1 ms (RTMP, FLV), 1/90000 s (MPEG-TS) and every RTP clock up to
/// 192 kHz convert to it and back without losing a tick, and an `i64` lasts 292,000 years, so
/// nothing beyond the door has to think of wrapping. It is neither wall-clock time nor
/// `Instant`: only differences on one stream mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The origin of a timeline.
    pub const ZERO: Self = Self(0);

    /// From microseconds.
    pub const fn from_micros(us: i64) -> Self {
        Self(us)
    }

    /// From milliseconds (RTMP, FLV). Saturates.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(1000))
    }

    /// From ticks of a 90 kHz clock (MPEG-TS, video RTP). Saturates; rounds to nearest.
    pub const fn from_90k(ticks: i64) -> Self {
        Self::from_ticks(ticks, 90_000)
    }

    /// From ticks of a clock of `hz` ticks a second. Rounds to nearest; `hz` 0 gives zero.
    pub const fn from_ticks(ticks: i64, hz: u32) -> Self {
        Self(scale(ticks, 1_000_000, hz as i64))
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the origin, rounded to nearest (so that ms and 90 kHz round trips hold).
    pub const fn as_millis(self) -> i64 {
        scale(self.0, 1, 1000)
    }

    /// Ticks of a 90 kHz clock since the origin, rounded to nearest. Not wrapped to 33 bits.
    pub const fn as_90k(self) -> i64 {
        self.as_ticks(90_000)
    }

    /// Ticks of a clock of `hz` ticks a second since the origin, rounded to nearest.
    pub const fn as_ticks(self, hz: u32) -> i64 {
        scale(self.0, hz as i64, 1_000_000)
    }

    /// `self - earlier` in microseconds; negative when `earlier` is later. Saturates.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Moved by `us` microseconds, which may be negative. Saturates.
    pub const fn offset(self, us: i64) -> Self {
        Self(self.0.saturating_add(us))
    }
}

/// `value * num / den`, rounded to nearest, saturating.
const fn scale(value: i64, num: i64, den: i64) -> i64 {
    if den == 0 {
        return 0;
    }
    let wide = value as i128 * num as i128;
    let half = (den / 2) as i128;
    let den = den as i128;
    let rounded = (wide + half).div_euclid(den);
    if rounded > i64::MAX as i128 {
        i64::MAX
    } else if rounded < i64::MIN as i128 {
        i64::MIN
    } else {
        rounded as i64
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        self.offset(i64::try_from(rhs.as_micros()).unwrap_or(i64::MAX))
    }
}

impl Sub for Timestamp {
    type Output = i64;
    /// Difference in microseconds.
    fn sub(self, rhs: Self) -> i64 {
        self.micros_since(rhs)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let us = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}s", us / 1_000_000, us % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn milliseconds_survive_a_round_trip(ms in -(1i64 << 40)..(1i64 << 40)) {
            prop_assert_eq!(Timestamp::from_millis(ms).as_millis(), ms);
        }

        #[test]
        fn ticks_of_any_usual_clock_survive_a_round_trip(
            ticks in -(1i64 << 40)..(1i64 << 40),
            hz in prop::sample::select(vec![8_000u32, 16_000, 44_100, 48_000, 90_000, 96_000]),
        ) {
            prop_assert_eq!(Timestamp::from_ticks(ticks, hz).as_ticks(hz), ticks);
        }
    }

    #[test]
    fn extremes_saturate_instead_of_overflowing() {
        assert_eq!(Timestamp::from_millis(i64::MAX).as_micros(), i64::MAX);
        assert_eq!(Timestamp::from_micros(i64::MIN).offset(-1).as_micros(), i64::MIN);
        assert_eq!(Timestamp::from_ticks(5, 0), Timestamp::ZERO);
    }
}
