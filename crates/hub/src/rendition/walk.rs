//! Whose turn it is, and the sends themselves.

use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::batch::Turn;
use super::{CLOCK_EVERY, HOLD, Inner, Todo, Uncovered, Walked};
use crate::pace::{Delivery, Pace, groups_for};
use crate::subscriber::{CATCH_UP, End, Sink, State, Sub};

/// Longest time for which messages are gathered because of their number: 128 messages, the most
/// that can be asked for, are 1.9 s of a common stream; slower streams must not wait for minutes.
const MAX_GATHER: Duration = Duration::from_secs(2);
/// How late the timer may be for drips to be made up for: two of its ticks.
const MOST_DRIP_LATE: Duration = Duration::from_millis(20);

/// How far the first to be served moves on each time: the golden section of the list, which puts
/// successive beginnings as far apart as can be.
const ROTATE: (usize, usize) = (618, 1000);
/// Below so many the order does not matter.
const ROTATE_FROM: usize = 32;
/// Up to so many are one group, served together at every `k`th frame: what they get lies in the
/// processor's cache once for all of them, and io_uring has a batch. A thousand streams of ten cost
/// 3 % less by it, with io_uring 4. At double, the last of them waits for 0.3 ms.
const WHOLE: usize = 32;

impl Inner {
    pub(super) fn pace(&self, shard_pace: Pace) -> Pace {
        match self.delivery {
            Delivery::Adaptive => shard_pace,
            Delivery::MinLatency => Pace::Frame,
            Delivery::Merge { latency, msgs } => {
                match groups_for(self.merge_time(latency, msgs), self.interval) {
                    0 | 1 => Pace::Frame,
                    k => Pace::Groups(k),
                }
            }
            Delivery::Drip(_) => Pace::Message,
        }
    }

    /// How long messages may be gathered: for the time that was asked for, or until the number of
    /// them that was asked for has come, whichever is longer.
    fn merge_time(&self, latency: Duration, msgs: u32) -> Duration {
        latency.max(self.spacing.saturating_mul(msgs).min(MAX_GATHER))
    }

    fn hold(&self, pace: Pace) -> Duration {
        match (self.delivery, pace) {
            (Delivery::Merge { latency, msgs }, _) => self.merge_time(latency, msgs).max(HOLD),
            (_, Pace::Groups(k)) => HOLD * k + HOLD * k / 4,
            _ => HOLD,
        }
    }

    /// One group's turn. Groups of a size that is no whole number share what is left over, so that
    /// everybody gets a turn in `k` ticks and nobody gets two. A few are a group by themselves.
    pub(super) fn tick(&mut self, pace: Pace) {
        if let Some(first) = self.oldest_uncovered() {
            self.serving.get_or_insert(first);
        }
        let n = self.subs.len();
        let k = usize::try_from(pace.k()).unwrap_or(1).max(1);
        let due = self.credit.saturating_add(n);
        let mut turns = due.checked_div(k).unwrap_or(n);
        if n <= WHOLE && turns < n {
            turns = 0;
        }
        self.credit = due.saturating_sub(turns.saturating_mul(k));
        if turns >= n {
            self.rotate();
        }
        let before = self.owed;
        self.owed = before.saturating_add(turns).min(n);
        if self.owed >= n {
            self.uncovered.clear();
        }
        let granted = self.owed.saturating_sub(before) as u64;
        self.turns = self.turns.saturating_add(granted);
        if granted > 0 || self.uncovered.is_empty() {
            self.uncovered.push_back(Uncovered { first: None, turns: self.turns });
        }
        // A frame has gone to everybody after as many turns as there are subscribers.
        let n = n as u64;
        while self.uncovered.front().is_some_and(|u| u.turns.saturating_add(n) <= self.turns) {
            self.uncovered.pop_front();
        }
    }

    /// Where everybody is served at once, somebody must be last: not always the same. Otherwise
    /// that one would wait the whole walk at each key frame, too.
    pub(super) fn rotate(&mut self) {
        if self.owed == 0 && self.subs.len() > ROTATE_FROM {
            let n = self.subs.len();
            let step = n.saturating_mul(ROTATE.0).checked_div(ROTATE.1).unwrap_or(0);
            self.pos = self.pos.saturating_add(step).checked_rem(n).unwrap_or(0);
        }
    }

    /// Gives their turn to the groups whose oldest unsent frame has waited too long.
    pub(super) fn tick_overdue(&mut self, pace: Pace, now: Instant) {
        let hold = self.hold(pace);
        while self.oldest_uncovered().is_some_and(|t| now >= t + hold) {
            self.tick(pace);
        }
    }

    fn oldest_uncovered(&self) -> Option<Instant> {
        self.uncovered.iter().find_map(|u| u.first)
    }

    /// Everybody has their turn now: no frame waits.
    pub(super) fn cover_all(&mut self) {
        self.uncovered.clear();
        self.uncovered.push_back(Uncovered { first: None, turns: self.turns });
        self.credit = 0;
    }

    pub(super) fn todo(&self) -> Todo {
        Todo { owed: self.owed, waits: self.oldest_uncovered().is_some() }
    }

    /// Lets go what is due in drip mode. Returns whether somebody still lacks something.
    pub(super) fn drip_due(&mut self, every: Duration, now: Instant) -> bool {
        let next = *self.next_drip.get_or_insert(now);
        if now >= next {
            // After a pause the first message goes at once, and no burst behind it.
            let late = now.duration_since(next).min(MOST_DRIP_LATE);
            let step = every.max(Duration::from_micros(1));
            let more = late.as_micros().checked_div(step.as_micros()).unwrap_or(0);
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            self.drip = usize::try_from(more).unwrap_or(usize::MAX).saturating_add(1);
            let spent = step.saturating_mul(more.saturating_add(1));
            self.next_drip = Some(now + spent.saturating_sub(late));
            self.owed = self.subs.len();
        }
        let head = self.log.head();
        self.subs.iter().any(|s| s.takes_media() && s.offset.get() < head)
    }

    /// A newcomer lacks nothing: its place is behind those who have had their turn.
    pub(super) fn enter(&mut self, sub: Rc<Sub>) {
        let n = self.subs.len();
        if self.pos >= n {
            self.pos = 0;
        }
        // The turns that are owed go round the end of the list: the newcomer stands in the way.
        if self.owed > n.saturating_sub(self.pos) {
            self.owed = self.owed.saturating_add(1);
        }
        sub.slot.set(n);
        self.subs.push(sub);
    }

    /// Puts the subscriber at `from` into the gap, and the gap in its place.
    fn fill(&mut self, gap: usize, from: usize) -> usize {
        self.subs.swap(gap, from);
        if let Some(moved) = self.subs.get(gap) {
            moved.slot.set(gap);
        }
        from
    }

    /// Takes one out such that nobody else loses a turn.
    pub(super) fn leave(&mut self, sub: &Sub) {
        let slot = sub.slot.get();
        if !self.subs.get(slot).is_some_and(|s| std::ptr::eq(&raw const **s, sub)) {
            return;
        }
        // The list is made of those who are owed a turn behind its end, those who had theirs, those
        // who are owed one from `pos` on, and those who are not: the gap wanders to its end over
        // the last of each part.
        let coming = self.owed.min(self.subs.len().saturating_sub(self.pos));
        let wrapped = self.owed.saturating_sub(coming);
        let mut gap = slot;
        if gap < wrapped {
            gap = self.fill(gap, wrapped.saturating_sub(1));
            self.owed = self.owed.saturating_sub(1);
        }
        if gap < self.pos {
            self.pos = self.pos.saturating_sub(1);
            gap = self.fill(gap, self.pos);
            gap = self.fill(gap, self.pos.saturating_add(coming));
        } else if gap < self.pos.saturating_add(coming) {
            self.owed = self.owed.saturating_sub(1);
            gap = self.fill(gap, self.pos.saturating_add(coming).saturating_sub(1));
        }
        // It may be one of the turns since a frame came that the others' are counted with.
        self.turns = self.turns.saturating_sub(1);
        self.subs.swap_remove(gap);
        if let Some(moved) = self.subs.get(gap) {
            moved.slot.set(gap);
        }
        let n = self.subs.len();
        self.owed = self.owed.min(n);
        if self.subs.capacity() > 64 && self.subs.capacity() > n.saturating_mul(4) {
            self.subs.shrink_to(n.saturating_mul(2));
        }
    }

    /// Sends what a direct subscriber lacks, until it has caught up or its socket is full. In drip
    /// mode only what must not wait: what stands in front of the log, and the rest of a message.
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
            } else if !sub.takes_media() {
                &[]
            } else {
                let at = sub.offset.get();
                let most = if matches!(self.delivery, Delivery::Drip(_)) {
                    usize::try_from(self.log.border(at).saturating_sub(at)).unwrap_or(0)
                } else {
                    CATCH_UP
                };
                let bytes = self.log.read(at);
                bytes.get(..most).unwrap_or(bytes)
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

    /// Serves owed subscribers one by one until `deadline`.
    pub(super) fn walk(&mut self, deadline: Instant) -> Walked {
        let mut walked = Walked::default();
        let mut until_clock = CLOCK_EVERY;
        while let Some(turn) = self.next_turn() {
            self.send_one(turn, &mut walked);
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

    /// The next direct subscriber whose turn it is and who lacks something. Those who take bytes
    /// themselves are woken on the way; those who get nothing now have had their turn.
    pub(super) fn next_turn(&mut self) -> Option<Turn> {
        let dripping = matches!(self.delivery, Delivery::Drip(_));
        while self.owed > 0 {
            if self.pos >= self.subs.len() {
                self.pos = 0;
            }
            let slot = self.pos;
            let sub = self.subs.get(slot)?;
            self.pos = self.pos.saturating_add(1);
            self.owed = self.owed.saturating_sub(1);
            if sub.state.get() != State::Walking || !sub.takes_media() {
                continue;
            }
            let offset = sub.offset.get();
            if let Sink::Pull = sub.sink {
                if self.log.head() > offset {
                    sub.wake.ring();
                }
                continue;
            }
            let mut len = self.log.read(offset).len();
            if dripping {
                let mut to = offset;
                for _ in 0..self.drip {
                    to = self.log.next_border(to);
                }
                let n = usize::try_from(to.saturating_sub(offset)).unwrap_or(usize::MAX);
                len = len.min(n);
            }
            if len > 0 {
                return Some(Turn { slot, offset, len });
            }
        }
        None
    }

    /// What a turn sends.
    pub(super) fn bytes_of(&self, turn: Turn) -> &[u8] {
        let bytes = self.log.read(turn.offset);
        bytes.get(..turn.len).unwrap_or(bytes)
    }

    pub(super) fn send_one(&self, turn: Turn, walked: &mut Walked) {
        let Some(Sink::Direct(tcp)) = self.subs.get(turn.slot).map(|sub| &sub.sink) else { return };
        let answer = tcp.try_write(self.bytes_of(turn)).map_err(|e| e.kind());
        self.settle(turn, answer, walked);
    }

    /// What follows from the socket's answer. Who is blocked does not come back by itself: its own
    /// task waits for writability and tries again, so an answer that the runtime has not seen
    /// costs it one more try and nothing else.
    pub(super) fn settle(&self, turn: Turn, answer: Result<usize, ErrorKind>, walked: &mut Walked) {
        let Some(sub) = self.subs.get(turn.slot) else { return };
        walked.sends = walked.sends.saturating_add(1);
        match answer {
            Ok(n) => {
                walked.bytes = walked.bytes.saturating_add(n as u64);
                sub.offset.set(turn.offset.saturating_add(n as u64));
                sub.count_sent(n);
                if n < turn.len {
                    sub.progress.set(Instant::now());
                    sub.block();
                }
            }
            Err(ErrorKind::WouldBlock) => {
                sub.progress.set(Instant::now());
                sub.block();
            }
            Err(kind) => sub.close(End::Peer(kind)),
        }
    }
}
