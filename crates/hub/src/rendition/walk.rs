//! Whose turn it is, and the sends themselves.

use std::time::{Duration, Instant};

use super::{CLOCK_EVERY, HOLD, Inner, Walked};
use crate::pace::{Delivery, Pace, groups_for};
use crate::subscriber::{CATCH_UP, End, Sink, State, Sub};

impl Inner {
    pub(super) fn pace(&self, shard_pace: Pace) -> Pace {
        match self.delivery {
            Delivery::Adaptive => shard_pace,
            Delivery::MinLatency => Pace::Frame,
            Delivery::Merge { latency, .. } => match groups_for(latency, self.interval) {
                0 | 1 => Pace::Frame,
                k => Pace::Groups(k),
            },
            Delivery::Drip(_) => Pace::Message,
        }
    }

    pub(super) fn hold(&self, pace: Pace) -> Duration {
        match (self.delivery, pace) {
            (Delivery::Merge { latency, .. }, _) => latency.max(HOLD),
            (_, Pace::Groups(k)) => HOLD * k + HOLD * k / 4,
            _ => HOLD,
        }
    }

    /// One group's turn.
    pub(super) fn tick(&mut self, pace: Pace) {
        let n = self.subs.len();
        let k = usize::try_from(pace.k()).unwrap_or(1).max(1);
        self.owed = self.owed.saturating_add(n.div_ceil(k)).min(n);
        self.uncovered.push_back(None);
        while self.uncovered.len() > k {
            self.uncovered.pop_front();
        }
    }

    pub(super) fn drip_due(&mut self, every: Duration, now: Instant) -> bool {
        let next = *self.next_drip.get_or_insert(now);
        if now >= next {
            let late = now.duration_since(next).as_micros();
            let step = every.as_micros().max(1);
            self.drip = usize::try_from(late / step).unwrap_or(1).saturating_add(1).min(64);
            self.next_drip = Some(now + every);
            self.owed = self.subs.len();
        }
        let head = self.log.head();
        self.subs.iter().any(|s| s.offset.get() < head)
    }

    pub(super) fn catch_up(&self, sub: &Sub) -> u64 {
        let Sink::Direct(tcp) = &sub.sink else { return 0 };
        if matches!(sub.state.get(), State::Closed(_)) {
            return 0;
        }
        let mut sent = 0u64;
        loop {
            let mut rest = sub.rest.borrow_mut();
            let from_rest = !rest.is_empty();
            let bytes: &[u8] = if from_rest {
                &rest
            } else if sub.paused.get() {
                &[]
            } else {
                let bytes = self.log.read(sub.offset.get());
                bytes.get(..CATCH_UP).unwrap_or(bytes)
            };
            if bytes.is_empty() {
                if rest.capacity() > 0 {
                    *rest = Vec::new();
                }
                sub.state.set(State::Walking);
                return sent;
            }
            let want = bytes.len();
            match tcp.try_write(bytes) {
                Ok(n) => {
                    sent = sent.saturating_add(n as u64);
                    sub.count_sent(n);
                    sub.progress.set(Instant::now());
                    if from_rest {
                        rest.drain(..n.min(want));
                    } else {
                        sub.offset.set(sub.offset.get().saturating_add(n as u64));
                    }
                    if n < want {
                        drop(rest);
                        sub.block();
                        return sent;
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    drop(rest);
                    if sub.state.get() != State::Blocked {
                        sub.progress.set(Instant::now());
                    }
                    sub.block();
                    return sent;
                }
                Err(e) => {
                    drop(rest);
                    sub.close(End::Peer(e.kind()));
                    return sent;
                }
            }
        }
    }

    pub(super) fn walk(&mut self, deadline: Instant) -> Walked {
        let mut walked = Walked::default();
        let dripping = matches!(self.delivery, Delivery::Drip(_));
        let mut until_clock = CLOCK_EVERY;
        while self.owed > 0 {
            if self.pos >= self.subs.len() {
                self.pos = 0;
            }
            let Some(sub) = self.subs.get(self.pos) else { break };
            self.pos = self.pos.saturating_add(1);
            self.owed = self.owed.saturating_sub(1);
            if sub.state.get() != State::Walking || sub.paused.get() {
                continue;
            }
            let offset = sub.offset.get();
            let Sink::Direct(tcp) = &sub.sink else {
                if self.log.head() > offset {
                    sub.wake.notify_one();
                }
                continue;
            };
            let mut bytes = self.log.read(offset);
            if dripping {
                let mut to = offset;
                for _ in 0..self.drip {
                    to = self.log.next_border(to);
                }
                let n = usize::try_from(to.saturating_sub(offset)).unwrap_or(usize::MAX);
                bytes = bytes.get(..n).unwrap_or(bytes);
            }
            if bytes.is_empty() {
                continue;
            }
            walked.sends = walked.sends.saturating_add(1);
            match tcp.try_write(bytes) {
                Ok(n) => {
                    walked.bytes = walked.bytes.saturating_add(n as u64);
                    sub.offset.set(offset.saturating_add(n as u64));
                    sub.count_sent(n);
                    if n < bytes.len() {
                        sub.progress.set(Instant::now());
                        sub.block();
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    sub.progress.set(Instant::now());
                    sub.block();
                }
                Err(e) => sub.close(End::Peer(e.kind())),
            }
            until_clock = until_clock.saturating_sub(1);
            if until_clock == 0 {
                until_clock = CLOCK_EVERY;
                if Instant::now() >= deadline {
                    break;
                }
            }
        }
        walked.more = self.owed > 0;
        walked
    }
}
