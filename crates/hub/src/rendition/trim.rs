//! Forgetting what nobody needs any more, and moving those who fell too far behind.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::{Inner, MAX_LOG_BYTES};
use crate::subscriber::{Counters, Sub};

impl Inner {
    /// Forgets what no joiner and no subscriber within its `queue_length` needs.
    pub(super) fn trim(&mut self) {
        let head = self.log.head();
        let Some(newest) = self.log.newest_dts() else { return };
        let mut queue = Duration::ZERO;
        let mut slowest = head;
        for sub in &self.subs {
            if !sub.paused.get() {
                slowest = slowest.min(sub.offset.get());
                queue = queue.max(sub.options.queue_length);
            }
        }
        if head.saturating_sub(self.log.join()) > MAX_LOG_BYTES as u64 {
            self.log.clear_join();
        }
        let back = i64::try_from(queue.as_micros()).unwrap_or(i64::MAX);
        let by_time = self.log.border_at_time(newest.offset(back.saturating_neg()));
        let by_size = self.log.border(head.saturating_sub(MAX_LOG_BYTES as u64));
        let keep = slowest.max(by_time).max(by_size).min(self.log.join());
        if keep > slowest {
            let to = self.log.join();
            for i in 0..self.subs.len() {
                let Some(sub) = self.subs.get(i).cloned() else { break };
                if sub.offset.get() < keep && !sub.paused.get() {
                    self.jump(&sub, to);
                }
            }
        }
        self.log.trim(keep);
    }

    /// A laggard goes on at `to`; what lies between is counted as dropped.
    pub(super) fn jump(&mut self, sub: &Sub, to: u64) {
        self.cut_to_border(sub);
        let skipped = self.log.count(sub.offset.get(), to) as u64;
        self.move_to(sub, to);
        let counters = &sub.options.counters;
        Counters::add(&counters.lag_jumps, 1);
        Counters::add(&counters.lag_dropped, skipped);
        let now = Instant::now();
        let due = |t: Instant| now.duration_since(t) >= Duration::from_secs(10);
        if sub.told_lag.get().is_none_or(due) {
            sub.told_lag.set(Some(now));
            tracing::warn!(
                session = %sub.options.session,
                skipped,
                jumps = counters.lag_jumps.load(Relaxed),
                reason = "too slow for queue_length",
                "viewer lags, jumped to a newer key frame"
            );
        }
    }

    pub(super) fn move_to(&mut self, sub: &Sub, to: u64) {
        sub.offset.set(to);
        if sub.generation.get() != self.headers.generation {
            sub.generation.set(self.headers.generation);
            let at = self.log.dts_at(to).or_else(|| self.log.newest_dts());
            if let Some(at) = at {
                self.packager.resume(&self.headers, at, &mut sub.rest.borrow_mut());
            }
        }
    }

    pub(super) fn cut_to_border(&self, sub: &Sub) {
        let at = sub.offset.get();
        if at < self.log.start() {
            return; // a paused subscriber whose place is gone; it rejoins later
        }
        let end = self.log.border(at);
        let bytes = self.log.read(at);
        let n = usize::try_from(end.saturating_sub(at)).unwrap_or(0);
        if let Some(part) = bytes.get(..n)
            && n > 0
        {
            sub.rest.borrow_mut().extend_from_slice(part);
            sub.offset.set(end);
        }
    }
}
