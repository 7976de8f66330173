//! How often which values were seen.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Steps; the last takes everything above.
const STEPS: usize = 32;

/// Counts of values by powers of two: what fits 1, 2, 4 and so on. Written by anybody, read by the
/// metrics; one value costs two additions.
#[derive(Debug, Default)]
pub struct Histogram {
    steps: [AtomicU64; STEPS],
    sum: AtomicU64,
}

impl Histogram {
    /// Takes a value in.
    pub fn observe(&self, value: u64) {
        // The smallest power of two that the value fits: 1 for 0 and 1, 2 for 2, 4 for 3 and 4.
        let bits = u64::BITS.saturating_sub(value.saturating_sub(1).leading_zeros());
        let step = usize::try_from(bits).unwrap_or(STEPS).min(STEPS - 1);
        if let Some(step) = self.steps.get(step) {
            step.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(value, Relaxed);
    }

    /// The counts, each with those before it: the n-th is of values up to `2^n`, the last of all.
    pub fn cumulative(&self) -> [u64; STEPS] {
        let mut all = 0u64;
        std::array::from_fn(|n| {
            all = all.wrapping_add(self.steps.get(n).map_or(0, |s| s.load(Relaxed)));
            all
        })
    }

    /// The sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_where_it_fits_and_above() {
        let all = Histogram::default();
        for value in [0, 1, 2, 3, 4, 5, 1 << 40] {
            all.observe(value);
        }
        let counts = all.cumulative();
        assert_eq!(counts[..4], [2, 3, 5, 6]);
        assert_eq!((counts[30], counts[31]), (6, 7));
        assert_eq!(all.sum(), 15 + (1 << 40));
    }
}
