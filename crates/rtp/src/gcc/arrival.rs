//! From arrival times to a signal: groups, the trend of their delay, the detector
//! (draft-ietf-rmcat-gcc-02 §5.2 to §5.4), and the rate of what arrived.

/// Packets sent within this time are one group: senders and networks send in bursts.
const BURST_US: u64 = 5_000;

/// Groups in the line that is fitted.
const WINDOW: usize = 20;

/// Weight of the past in the smoothed delay.
const SMOOTHING: f64 = 0.9;

/// The slope is scaled by this and by the number of groups, at most 60, before it meets the
/// threshold.
const GAIN: f64 = 4.0;
const MOST_DELTAS: u32 = 60;

/// Threshold in milliseconds: where it begins, how it follows (faster down than up, per
/// millisecond), and its range.
const THRESHOLD: f64 = 12.5;
const FOLLOW_UP: f64 = 0.0087;
const FOLLOW_DOWN: f64 = 0.039;
const THRESHOLD_RANGE: (f64, f64) = (6.0, 600.0);

/// A trend that exceeds the threshold by more than this is a spike and does not move it.
const SPIKE: f64 = 15.0;

/// Overuse is told when the trend stays above the threshold for longer than this.
const OVERUSE_MS: f64 = 10.0;

/// A gap between groups by which nothing can be told; the line begins anew.
const GAP_US: i64 = 3_000_000;

/// What the trend says of the bottleneck's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// It stays as it is.
    Normal,
    /// It grows.
    Overuse,
    /// It drains.
    Underuse,
}

/// Between two groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delta {
    sent_ms: f64,
    arrived_ms: f64,
    arrival_ms: f64,
    gap: bool,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent_us: u64,
    sent_us: u64,
    arrival_us: i64,
}

/// Puts packets into groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Grouper {
    current: Option<Group>,
    previous: Option<Group>,
}

impl Grouper {
    /// Takes a packet; gives the difference of the two groups before when it begins a new one.
    pub(super) fn add(&mut self, sent_us: u64, arrival_us: i64) -> Option<Delta> {
        let new = Group { first_sent_us: sent_us, sent_us, arrival_us };
        let Some(current) = &mut self.current else {
            self.current = Some(new);
            return None;
        };
        if sent_us < current.first_sent_us {
            // Older than the group: reordered, it tells nothing.
            return None;
        }
        if sent_us - current.first_sent_us <= BURST_US {
            current.sent_us = current.sent_us.max(sent_us);
            current.arrival_us = current.arrival_us.max(arrival_us);
            return None;
        }
        let whole = *current;
        self.current = Some(new);
        let previous = self.previous.replace(whole)?;
        let sent = whole.sent_us.saturating_sub(previous.sent_us);
        let arrived = whole.arrival_us.saturating_sub(previous.arrival_us);
        Some(Delta {
            sent_ms: sent as f64 / 1_000.0,
            arrived_ms: arrived as f64 / 1_000.0,
            arrival_ms: whole.arrival_us as f64 / 1_000.0,
            gap: sent > GAP_US.cast_unsigned() || arrived.abs() > GAP_US,
        })
    }
}

/// Fits a line through the delay of the last groups and compares its slope with a threshold that
/// adapts.
#[derive(Clone, Debug)]
pub(super) struct Trendline {
    /// Arrival and smoothed delay in milliseconds; a ring.
    points: [(f64, f64); WINDOW],
    filled: usize,
    next: usize,
    deltas: u32,
    origin_ms: f64,
    delay_ms: f64,
    smoothed_ms: f64,
    threshold: f64,
    updated_ms: f64,
    over_ms: f64,
    over_count: u32,
    trend: f64,
}

impl Default for Trendline {
    fn default() -> Self {
        Self {
            points: [(0.0, 0.0); WINDOW],
            filled: 0,
            next: 0,
            deltas: 0,
            origin_ms: 0.0,
            delay_ms: 0.0,
            smoothed_ms: 0.0,
            threshold: THRESHOLD,
            updated_ms: 0.0,
            over_ms: 0.0,
            over_count: 0,
            trend: 0.0,
        }
    }
}

impl Trendline {
    pub(super) fn update(&mut self, delta: &Delta) -> Signal {
        if delta.gap || self.deltas == 0 {
            let threshold = self.threshold;
            *self = Self { threshold, ..Self::default() };
            self.origin_ms = delta.arrival_ms;
            self.updated_ms = delta.arrival_ms;
        }
        self.deltas = (self.deltas + 1).min(MOST_DELTAS);
        self.delay_ms += delta.arrived_ms - delta.sent_ms;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.delay_ms;
        if let Some(point) = self.points.get_mut(self.next) {
            *point = (delta.arrival_ms - self.origin_ms, self.smoothed_ms);
        }
        self.next = (self.next + 1) % WINDOW;
        self.filled = (self.filled + 1).min(WINDOW);
        let trend = if self.filled == WINDOW { self.slope() } else { 0.0 };
        self.detect(trend, delta)
    }

    /// Least squares; 0 if all points have one arrival.
    fn slope(&self) -> f64 {
        let count = WINDOW as f64;
        let (x, y) =
            self.points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
        let (x, y) = (x / count, y / count);
        let (above, below) = self.points.iter().fold((0.0, 0.0), |(above, below), point| {
            let (dx, dy) = (point.0 - x, point.1 - y);
            (above + dx * dy, below + dx * dx)
        });
        if below > 0.0 { above / below } else { 0.0 }
    }

    fn detect(&mut self, trend: f64, delta: &Delta) -> Signal {
        let modified = f64::from(self.deltas) * trend * GAIN;
        let rising = trend >= self.trend;
        self.trend = trend;
        let signal = if modified > self.threshold {
            self.over_ms += delta.sent_ms;
            self.over_count += 1;
            if self.over_ms > OVERUSE_MS && self.over_count > 1 && rising {
                (self.over_ms, self.over_count) = (0.0, 0);
                Signal::Overuse
            } else {
                Signal::Normal
            }
        } else {
            (self.over_ms, self.over_count) = (0.0, 0);
            if modified < -self.threshold { Signal::Underuse } else { Signal::Normal }
        };
        self.adapt(modified.abs(), delta.arrival_ms);
        signal
    }

    fn adapt(&mut self, modified: f64, now_ms: f64) {
        let elapsed = (now_ms - self.updated_ms).clamp(0.0, 100.0);
        self.updated_ms = now_ms;
        if modified > self.threshold + SPIKE {
            return;
        }
        let follow = if modified < self.threshold { FOLLOW_DOWN } else { FOLLOW_UP };
        let (least, most) = THRESHOLD_RANGE;
        let moved = self.threshold + follow * (modified - self.threshold) * elapsed;
        self.threshold = moved.clamp(least, most);
    }
}

/// Buckets of the rate, and the time of each.
const BUCKETS: usize = 10;
const BUCKET_US: i64 = 50_000;

/// Bytes that arrived in the last half second of the receiver's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AckedRate {
    bytes: [u64; BUCKETS],
    /// Number of the newest bucket.
    newest: Option<i64>,
    /// Buckets since the first, at most all.
    age: usize,
}

impl AckedRate {
    pub(super) fn add(&mut self, arrival_us: i64, bytes: u64) {
        let bucket = arrival_us.div_euclid(BUCKET_US);
        let newest = *self.newest.get_or_insert(bucket);
        let ahead = bucket.saturating_sub(newest);
        if ahead > 0 {
            let steps = usize::try_from(ahead).unwrap_or(usize::MAX);
            for step in 0..steps.min(BUCKETS) {
                let at = bucket.saturating_sub(step as i64);
                if let Some(place) = self.bytes.get_mut(place_of(at)) {
                    *place = 0;
                }
            }
            self.age = self.age.saturating_add(steps).min(BUCKETS);
            self.newest = Some(bucket);
        } else if ahead <= -(BUCKETS as i64) {
            return;
        }
        if let Some(place) = self.bytes.get_mut(place_of(bucket)) {
            *place += bytes;
        }
    }

    /// Bits per second over the whole buckets; None before there is a quarter of a second.
    pub(super) fn bps(&self) -> Option<u64> {
        let newest = self.newest?;
        let whole = self.age.min(BUCKETS - 1);
        if whole < BUCKETS / 2 {
            return None;
        }
        // The newest is still being filled.
        let all: u64 = self.bytes.iter().sum();
        let open = self.bytes.get(place_of(newest)).copied().unwrap_or(0);
        let us = whole as u64 * BUCKET_US.cast_unsigned();
        Some(all.saturating_sub(open).saturating_mul(8_000_000) / us)
    }
}

fn place_of(bucket: i64) -> usize {
    usize::try_from(bucket.rem_euclid(BUCKETS as i64)).unwrap_or(0)
}
