//! Forgetting what nobody needs any more, and moving those who fell too far behind.

use std::num::NonZeroI64;
use std::time::{Duration, Instant};

use super::{Inner, MAX_LOG_BYTES};
use crate::subscriber::{Counters, End, REST_LIMIT, Sink, State, Sub};

/// A viewer that lags is told of in the log once in so many microseconds of media.
const TELL_EVERY_US: i64 = 10_000_000;

impl Inner {
    /// Forgets what no joiner and no subscriber within its `queue_length` needs.
    pub(super) fn trim(&mut self) {
        if self.awaiting && !self.pictures() {
            self.land(self.log.head());
        }
        let head = self.log.head();
        let mut queue = Duration::ZERO;
        let mut slowest = head;
        for sub in self.subs.iter().filter(|sub| sub.takes_media()) {
            slowest = slowest.min(sub.offset.get());
            queue = queue.max(sub.queue_length);
        }
        // Somebody may be in the midst of a message: without its place in the index the next look at
        // the ages would find that message gone, and take the laggard for too late.
        let slowest = self.log.begin_of(slowest);
        if head.saturating_sub(self.log.join()) > MAX_LOG_BYTES as u64 {
            self.log.clear_join();
        }
        let age = i64::try_from(queue.as_micros()).unwrap_or(i64::MAX);
        let by_age = self.log.border_of_age(age);
        let by_size = self.log.border(head.saturating_sub(MAX_LOG_BYTES as u64));
        let keep = slowest.max(by_age).max(by_size).min(self.log.join());
        if keep > slowest {
            for i in 0..self.subs.len() {
                let Some(sub) = self.subs.get(i).cloned() else { break };
                if sub.offset.get() < keep && sub.takes_media() {
                    self.jump(&sub, keep);
                }
            }
        }
        self.log.trim(keep);
    }

    /// Pictures are coming: who lost frames can go on only at a key frame.
    fn pictures(&self) -> bool {
        self.headers.has_video && !self.rule.is_sound_alone()
    }

    /// A laggard goes on at the last key frame, if that is not in front of `keep`; else it waits
    /// for the next one. What it does not get is counted as dropped.
    fn jump(&mut self, sub: &Sub, keep: u64) {
        self.cut_to_border(sub);
        let from = sub.offset.get();
        let key = self.log.key().filter(|at| *at >= keep);
        let to = key.unwrap_or_else(|| self.log.head());
        if key.is_none() && self.pictures() {
            sub.offset.set(to);
            sub.awaits.set(Some(self.log.number(from)));
            self.awaiting = true;
        } else {
            self.skip(sub, self.log.number(from), to);
            self.move_to(sub, to);
        }
        let counters = &sub.counters;
        Counters::add(&counters.lag_jumps, 1);
        if sub.rest.borrow().len() > self.log.len().max(REST_LIMIT) {
            sub.close(End::Overflow);
        }
        let now = NonZeroI64::new(self.log.clock()).unwrap_or(NonZeroI64::MIN);
        let fresh = |told: NonZeroI64| now.get().saturating_sub(told.get()) < TELL_EVERY_US;
        if !sub.told_lag.get().is_some_and(fresh) {
            sub.told_lag.set(Some(now));
            tracing::warn!(
                session = %sub.session,
                jumps = counters.lag_jumps.load(std::sync::atomic::Ordering::Relaxed),
                reason = "too slow for queue_length",
                "viewer lags, it goes on at a newer key frame"
            );
        }
    }

    /// Counts what a subscriber does not get: the messages from number `from` up to `to`.
    fn skip(&mut self, sub: &Sub, from: u64, to: u64) {
        let skipped = self.log.number(to).saturating_sub(from);
        Counters::add(&sub.counters.lag_dropped, skipped);
        self.dropped = self.dropped.saturating_add(skipped);
    }

    /// Those who wait for a key frame go on at `to`.
    pub(super) fn land(&mut self, to: u64) {
        self.awaiting = false;
        for i in 0..self.subs.len() {
            let Some(sub) = self.subs.get(i).cloned() else { break };
            self.end_wait(&sub, to);
        }
    }

    /// The same for one of them; nothing for one that does not wait.
    pub(super) fn end_wait(&mut self, sub: &Sub, to: u64) {
        if let Some(from) = sub.awaits.take() {
            self.skip(sub, from, to);
            self.move_to(sub, to);
        }
    }

    /// Goes on at `to`, behind the configurations that were jumped over.
    pub(super) fn move_to(&mut self, sub: &Sub, to: u64) {
        sub.offset.set(to);
        if sub.generation.replace(self.headers.generation) == self.headers.generation {
            return;
        }
        let Some(at) = self.log.dts_at(to).or_else(|| self.log.newest_dts()) else { return };
        self.packager.resume(&self.headers, at, &mut sub.rest.borrow_mut());
        if sub.rest.borrow().is_empty() {
            return;
        }
        match sub.sink {
            // The walk knows only the log: what stands in front of it is sent outside.
            Sink::Direct(_) if sub.state.get() == State::Walking => {
                sub.progress.set(Instant::now());
                sub.block();
            }
            Sink::Direct(_) => {}
            Sink::Pull => sub.wake.ring(),
        }
    }

    /// Moves the rest of a half-sent message out of the log, so that something may follow it.
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
