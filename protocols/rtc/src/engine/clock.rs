//! The clock that all parts of the engine share.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds from 1900, where NTP begins, to 1970.
const NTP_OFFSET: u64 = 2_208_988_800;

/// Microseconds since the engine began, and the wall's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    wall: Duration,
}

impl Clock {
    /// Starts now.
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), wall }
    }

    /// Microseconds since the start.
    pub(crate) fn us(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }

    /// The same for this moment.
    pub(crate) fn now_us(&self) -> u64 {
        self.us(Instant::now())
    }

    /// 64-bit NTP time (RFC 3550 §4) of a moment. Runs on from the start without the leaps that
    /// the wall's clock may make.
    pub(crate) fn ntp(&self, us: u64) -> u64 {
        let wall = self.wall.saturating_add(Duration::from_micros(us));
        let fraction = (u64::from(wall.subsec_nanos()) << 32) / 1_000_000_000;
        (wall.as_secs().wrapping_add(NTP_OFFSET) << 32) | fraction
    }
}

/// Microseconds as a 64-bit NTP difference.
pub(crate) fn ntp_of_us(us: u64) -> u64 {
    let seconds = us / 1_000_000;
    let rest = us % 1_000_000;
    (seconds << 32) | ((rest << 32) / 1_000_000)
}
