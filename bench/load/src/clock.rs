//! The machine's monotonic clock, in numbers that mean the same in all its processes.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the machine started. `Instant` is the same clock, but gives no number.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * 1_000_000_000 + nanos
}

/// One moment in both spellings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) ns: u64,
    pub(crate) instant: Instant,
}

impl Now {
    pub(crate) fn read() -> Self {
        Self { ns: now_ns(), instant: Instant::now() }
    }

    /// A moment in nanoseconds; now if it has passed.
    pub(crate) fn ns_of(self, instant: Instant) -> u64 {
        let ahead = instant.saturating_duration_since(self.instant);
        self.ns.saturating_add(nanos(ahead))
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
