//! Whether memory has a slope.
//!
//! The memory of a busy server goes up and down with who happens to be there. What is kept for
//! ever lifts the floor beneath that: so the least of each window counts, and a straight line is
//! laid through those by least squares.

/// One look at the process.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Seconds since the churn began.
    pub at: f64,
    /// Resident memory.
    pub rss_kb: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

/// The first part of the churn is left out: it climbs to its usual company. The longest lives are
/// 10 s, those of HLS sessions 10 s more.
const LEFT_OUT: f64 = 0.25;
const LEFT_OUT_AT_LEAST: f64 = 15.0;
/// A straight line through less than this many seconds says nothing.
const SHORTEST: f64 = 10.0;
/// Windows that the rest is cut into.
const WINDOWS: usize = 20;
/// A rise of the floor over the whole time that is no leak: 5 % of it and 3 MB, for the heap's pages
/// and the company that happened to be there. Over 20 minutes with 120,000 players that is some 50
/// bytes of each.
const SPARE: f64 = 0.05;
const SPARE_KB: f64 = 3.0 * 1024.0;
/// So much more where the line is laid through [`BRIEF`] seconds, and less the longer it is: the
/// company of half a minute has no average. 21 s showed 4 MB up and 6 MB down without a leak.
const BRIEF_KB: f64 = 6.0 * 1024.0;
const BRIEF: f64 = 30.0;

/// A straight line through the floor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trend {
    /// kB a second.
    pub slope: f64,
    /// The standard error of that.
    pub error: f64,
    /// Seconds that it is laid through.
    pub span: f64,
    /// The mean of the floor, kB.
    pub mean: f64,
    /// The least and the most of all samples in that time, kB.
    pub range: (u64, u64),
}

impl Trend {
    /// Of samples in order of time.
    pub fn of(samples: &[Sample]) -> Self {
        let Some(end) = samples.last().map(|s| s.at) else { return Self::default() };
        let begin = (end * LEFT_OUT).max(LEFT_OUT_AT_LEAST);
        if end - begin < SHORTEST {
            return Self::default();
        }
        let counted = || samples.iter().filter(move |s| s.at >= begin);
        let width = (end - begin) / WINDOWS as f64;
        let floor: Vec<(f64, f64)> = (0..WINDOWS)
            .filter_map(|index| {
                let from = begin + width * index as f64;
                let inside = counted().filter(|s| s.at >= from && s.at < from + width);
                let least = inside.min_by_key(|s| s.rss_kb)?;
                Some((least.at, least.rss_kb as f64))
            })
            .collect();
        let n = floor.len() as f64;
        let mean_at = floor.iter().map(|p| p.0).sum::<f64>() / n.max(1.0);
        let mean = floor.iter().map(|p| p.1).sum::<f64>() / n.max(1.0);
        let square = floor.iter().map(|p| (p.0 - mean_at).powi(2)).sum::<f64>();
        if floor.len() < 3 || square <= 0.0 {
            return Self { mean, ..Self::default() };
        }
        let slope = floor.iter().map(|p| (p.0 - mean_at) * (p.1 - mean)).sum::<f64>() / square;
        let rest = floor.iter().map(|p| (p.1 - mean - slope * (p.0 - mean_at)).powi(2));
        let error = (rest.sum::<f64>() / (n - 2.0) / square).sqrt();
        let least = counted().map(|s| s.rss_kb).min().unwrap_or(0);
        let most = counted().map(|s| s.rss_kb).max().unwrap_or(0);
        Self { slope, error, span: end - begin, mean, range: (least, most) }
    }

    /// How much the floor has risen over the time, kB; negative if it fell.
    pub fn rise(&self) -> f64 {
        self.slope * self.span
    }

    /// How much it may rise.
    pub fn allowed(&self) -> f64 {
        self.mean * SPARE + SPARE_KB + BRIEF_KB * (BRIEF / self.span.max(BRIEF))
    }

    /// A rise that is both more than is allowed and no chance (two standard errors).
    pub fn is_leak(&self) -> bool {
        let sure = (self.slope - 2.0 * self.error) * self.span;
        sure > 0.0 && self.rise() > self.allowed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four samples a second, between a floor and 10 MB above it: more than was seen.
    fn samples(seconds: u32, floor: impl Fn(f64) -> f64) -> Vec<Sample> {
        (0..seconds * 4)
            .map(|index| {
                let at = f64::from(index) / 4.0;
                let company = f64::from(index.wrapping_mul(7919) % 97) / 97.0 * 10_240.0;
                Sample { at, rss_kb: (floor(at) + company) as u64, descriptors: 10 }
            })
            .collect()
    }

    #[test]
    fn a_server_with_changing_company_has_no_slope() {
        for seconds in [30, 300, 1200] {
            // The climb at the start is not one either.
            let trend = Trend::of(&samples(seconds, |at| 40_000.0 - 15_000.0 / (1.0 + at)));
            assert!(!trend.is_leak(), "{trend:?}");
        }
    }

    #[test]
    fn a_hundred_bytes_kept_of_each_player_are_seen_in_twenty_minutes() {
        let kept = |at: f64| 40_000.0 + at * 100.0 * 100.0 / 1024.0;
        let trend = Trend::of(&samples(1200, kept));
        assert!(trend.is_leak(), "{trend:?}");
        assert!((trend.slope - 9.77).abs() < 1.0, "{trend:?}");
    }

    #[test]
    fn ten_kilobytes_kept_of_each_player_are_seen_in_half_a_minute() {
        let trend = Trend::of(&samples(36, |at| 40_000.0 + at * 100.0 * 10.0));
        assert!(trend.is_leak(), "{trend:?}");
    }

    #[test]
    fn nothing_is_told_of_nothing() {
        assert_eq!(Trend::of(&[]), Trend::default());
        assert!(!Trend::of(&samples(1, |_| 1.0)[..2]).is_leak());
    }
}
