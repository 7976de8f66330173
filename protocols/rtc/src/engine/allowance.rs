//! How much a peer may ask of us.

/// So much at once, and so much again in each second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    most: u32,
    left: u32,
    at_us: u64,
}

impl Allowance {
    /// A full one.
    pub(crate) const fn new(most: u32) -> Self {
        Self { most, left: most, at_us: 0 }
    }

    /// Takes so much, or nothing and tells `false`. No allocation.
    pub(crate) fn take(&mut self, cost: u32, now_us: u64) -> bool {
        let since = now_us.saturating_sub(self.at_us).min(1_000_000);
        let back = since.saturating_mul(u64::from(self.most)) / 1_000_000;
        let back = u32::try_from(back).unwrap_or(self.most);
        if back > 0 {
            // What is less than one comes back with the next that is taken.
            self.at_us = now_us;
            self.left = self.left.saturating_add(back).min(self.most);
        }
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// Lines of the log about what a peer may do as often as it likes: one a second. At half, a restart
/// that follows a change of address is not told; at double, a hundred sessions fill a page a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    allowance: Allowance,
    untold: u32,
}

impl Lines {
    /// None was written yet.
    pub(crate) const fn new() -> Self {
        Self { allowance: Allowance::new(1), untold: 0 }
    }

    /// Whether a line may be written; then, how many were not since the last.
    pub(crate) fn take(&mut self, now_us: u64) -> Option<u32> {
        if self.allowance.take(1, now_us) {
            return Some(std::mem::take(&mut self.untold));
        }
        self.untold = self.untold.saturating_add(1);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_second_says_how_many_are_missing() {
        let mut lines = Lines::new();
        let told: Vec<_> =
            (0..25).filter_map(|n: u64| lines.take(9_000_000 + n * 100_000)).collect();
        assert_eq!(told, [0, 9, 9]);
    }

    #[test]
    fn what_was_taken_comes_back_within_a_second_and_no_more_than_that() {
        let mut allowance = Allowance::new(10);
        let taken = |allowance: &mut Allowance, now_us| {
            (0..100).filter(|_| allowance.take(1, now_us)).count()
        };
        assert_eq!(taken(&mut allowance, 5_000_000), 10);
        assert_eq!(taken(&mut allowance, 5_500_000), 5);
        assert_eq!(taken(&mut allowance, 60_000_000), 10);
        // Asking all the time brings no less.
        let steady = (1..=1_000_u64).filter(|ms| allowance.take(1, 60_000_000 + ms * 1_000));
        assert_eq!(steady.count(), 10);
        assert!(!allowance.take(11, 90_000_000) && allowance.take(10, 90_000_000));
    }
}
