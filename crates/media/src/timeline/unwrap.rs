//! Counters that wrap, made to go on.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

/// How near to a counter's top, and to zero, a pair of values must lie to pass for a wrap of
/// fewer bits than the wire has. A minute is more than any interleaving or pause within a wrap
/// and little enough that an ordinary restart of a clock is not mistaken for one.
const SHORT_WRAP_MS: u64 = 60_000;

/// Tops at which encoders wrap although RTMP has 32 bits: signed milliseconds, and the 24-bit
/// field without its extension.
const SHORT_TOPS: [u64; 2] = [1 << 31, 1 << 24];

/// Turns a wrapping counter into an `i64` that never wraps.
///
/// One belongs to one clock: the tracks of an RTMP connection share it when they are stamped by
/// one encoder. The unit stays that of the counter. Which way a step goes is decided by the
/// shorter way round, so a small step back stays one, at the wrap too.
///
/// Cost: a few additions; no allocation.
#[derive(Clone, Debug)]
pub struct ClockUnwrap {
    bits: u32,
    short_tops: bool,
    last: Option<(u64, i64)>,
    /// The short top that was wrapped at last; only across it may a step go back.
    wrapped_at: Option<u64>,
}

impl ClockUnwrap {
    /// For RTMP and FLV: 32-bit milliseconds, and encoders that wrap at 31 or at 24 bits.
    pub const fn rtmp_millis() -> Self {
        Self { bits: 32, short_tops: true, last: None, wrapped_at: None }
    }

    /// For MPEG-TS: 33 bits at 90 kHz.
    pub const fn mpeg_90k() -> Self {
        Self { bits: 33, short_tops: false, last: None, wrapped_at: None }
    }

    /// The value that `raw` stands for, nearest to the one before. Bits beyond the counter's
    /// width are ignored. The first value stands for itself.
    pub fn unwrap(&mut self, raw: u64) -> i64 {
        let modulus = 1u64 << self.bits;
        let raw = raw & modulus.wrapping_sub(1);
        let value = match self.last {
            None => raw as i64,
            Some((last, value)) => value.saturating_add(self.step(last, raw, modulus)),
        };
        self.last = Some((raw, value));
        value
    }

    fn step(&mut self, last: u64, raw: u64, modulus: u64) -> i64 {
        if self.short_tops {
            let at_bottom = |v: u64| v < SHORT_WRAP_MS;
            let at_top = |v: u64, top: u64| v < top && v >= top.saturating_sub(SHORT_WRAP_MS);
            for top in SHORT_TOPS {
                if at_top(last, top) && at_bottom(raw) {
                    self.wrapped_at = Some(top);
                    return raw.wrapping_add(top).wrapping_sub(last) as i64;
                }
                if self.wrapped_at == Some(top) && at_bottom(last) && at_top(raw, top) {
                    return (raw as i64).wrapping_sub(last as i64).wrapping_sub(top as i64);
                }
            }
        }
        let forward = raw.wrapping_sub(last) & modulus.wrapping_sub(1);
        if forward < modulus / 2 {
            forward as i64
        } else {
            (forward as i64).wrapping_sub(modulus as i64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(mut clock: ClockUnwrap, raws: &[u64]) -> Vec<i64> {
        raws.iter().map(|&raw| clock.unwrap(raw)).collect()
    }

    #[test]
    fn a_32_bit_millisecond_clock_goes_on_after_its_wrap() {
        let top = 1u64 << 32;
        assert_eq!(
            run(ClockUnwrap::rtmp_millis(), &[top - 20, top - 1, 19, 5, top - 3, 40]),
            [top - 20, top - 1, top + 19, top + 5, top - 3, top + 40].map(|v| v as i64)
        );
    }

    #[test]
    fn clocks_that_wrap_at_31_and_at_24_bits_go_on() {
        for top in [1u64 << 31, 1 << 24] {
            assert_eq!(
                run(ClockUnwrap::rtmp_millis(), &[top - 40, 0, top - 10, 30, 70]),
                [top - 40, top, top - 10, top + 30, top + 70].map(|v| v as i64),
                "top {top}"
            );
        }
    }

    #[test]
    fn a_clock_of_32_bits_passes_the_short_tops_untouched() {
        for top in [1u64 << 31, 1 << 24] {
            let raws = [top - 10, top, top - 5, top + 20];
            assert_eq!(run(ClockUnwrap::rtmp_millis(), &raws), raws.map(|v| v as i64));
        }
    }

    #[test]
    fn a_restart_far_from_a_top_is_not_a_wrap() {
        let far = (1u64 << 24) - 120_000;
        assert_eq!(run(ClockUnwrap::rtmp_millis(), &[far, 0]), [far as i64, 0]);
    }

    #[test]
    fn a_33_bit_clock_goes_on_and_steps_back_small() {
        let top = 1u64 << 33;
        assert_eq!(
            run(ClockUnwrap::mpeg_90k(), &[top - 3600, 0, top - 1800, 3600]),
            [top - 3600, top, top - 1800, top + 3600].map(|v| v as i64)
        );
        assert_eq!(run(ClockUnwrap::mpeg_90k(), &[(1 << 24) - 5, 3]), [(1 << 24) - 5, 3]);
    }

    #[test]
    fn fifty_days_and_more_go_on_without_a_wrap() {
        let mut clock = ClockUnwrap::rtmp_millis();
        let mut ms = 0u64;
        while ms < 120 * 86_400_000 {
            assert_eq!(clock.unwrap(ms & 0xffff_ffff), ms as i64);
            ms += 10_000_019;
        }
    }

    proptest! {
        #[test]
        fn steps_below_half_the_range_are_followed_exactly(
            start in 0u64..(1 << 33),
            steps in prop::collection::vec(-1_000_000i64..100_000_000, 0..60),
        ) {
            let mut clock = ClockUnwrap::mpeg_90k();
            let mut value = clock.unwrap(start);
            for step in steps {
                value += step;
                prop_assert_eq!(clock.unwrap(value.rem_euclid(1 << 33) as u64), value);
            }
        }

        #[test]
        fn any_counter_value_is_taken(raws in prop::collection::vec(any::<u64>(), 0..50)) {
            run(ClockUnwrap::rtmp_millis(), &raws);
            run(ClockUnwrap::mpeg_90k(), &raws);
        }
    }
}
