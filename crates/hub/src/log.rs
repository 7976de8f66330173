//! The rendition log: one contiguous run of wire bytes and an index of where messages start.
//!
//! Offsets are absolute (bytes since the log was made), so a subscriber's offset stays valid
//! while the front is trimmed away beneath it. Not shared between threads; no clock.

use std::collections::VecDeque;

use media::Timestamp;

/// Bytes of garbage in front that are tolerated before the rest is moved down. At half, small
/// logs are moved at every key frame; at double, each idle log wastes that much more.
const COMPACT_SLACK: usize = 64 * 1024;

/// A step of time beyond this many microseconds, forward, says nothing about how much media lies
/// between: with time correction off, a new publisher may begin anywhere.
const MAX_STEP: i64 = 10_000_000;
/// Messages of several tracks lie side by side: a step back of up to so many microseconds is no
/// new beginning.
const INTERLEAVED: i64 = 3_000_000;

/// One message in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    at: u64,
    dts: Timestamp,
    /// The log's own clock, in microseconds: never goes back, whatever the times do.
    clock: i64,
}

/// A contiguous byte log with an index of message borders.
#[derive(Debug, Default)]
pub struct Log {
    buf: Vec<u8>,
    /// Absolute offset of `buf[0]`.
    base: u64,
    /// Absolute offset of the first byte that is still served; `>= base`.
    start: u64,
    index: VecDeque<Entry>,
    /// Where a new subscriber starts: the last key frame, if it is still to be had.
    join: Option<u64>,
    /// The last key frame, also when it is not kept for new subscribers.
    key: Option<u64>,
    /// Decoding time of the newest message, also when it has been trimmed away.
    newest: Option<Timestamp>,
    clock: i64,
    /// Messages appended since the log was made.
    appended: u64,
}

impl Log {
    /// Absolute offset behind the last byte.
    pub fn head(&self) -> u64 {
        self.base.saturating_add(self.buf.len() as u64)
    }

    /// Absolute offset of the first byte that can still be read.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Bytes that can be read.
    pub fn len(&self) -> usize {
        usize::try_from(self.head().saturating_sub(self.start)).unwrap_or(usize::MAX)
    }

    /// Whether nothing can be read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.buf.capacity() + self.index.capacity() * size_of::<Entry>()
    }

    /// Appends what `write` puts behind the buffer as one message. Returns the bytes appended;
    /// 0 leaves the log unchanged. Amortised no allocation in steady state.
    pub fn append(&mut self, dts: Timestamp, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let at = self.head();
        let before = self.buf.len();
        write(&mut self.buf);
        let grown = self.buf.len().saturating_sub(before);
        if grown > 0 {
            let step = self.newest.map_or(0, |newest| dts.micros_since(newest));
            if !(-INTERLEAVED..0).contains(&step) {
                self.newest = Some(dts);
            }
            self.clock = self.clock.saturating_add(step.clamp(0, MAX_STEP));
            self.newest.get_or_insert(dts);
            self.index.push_back(Entry { at, dts, clock: self.clock });
            self.appended = self.appended.saturating_add(1);
        }
        grown
    }

    /// Makes the message that begins at `at` the place where new subscribers start.
    pub fn set_join(&mut self, at: u64) {
        self.join = Some(at);
    }

    /// Until the next key frame, new subscribers start at the head.
    pub fn clear_join(&mut self) {
        self.join = None;
    }

    /// Where a new subscriber starts: the last key frame, or the head when there is none.
    pub fn join(&self) -> u64 {
        self.join.filter(|at| *at >= self.start).unwrap_or_else(|| self.head())
    }

    /// Whether a key frame is held for new subscribers.
    pub fn has_join(&self) -> bool {
        self.join.is_some_and(|at| at >= self.start)
    }

    /// Notes that a key frame begins at `at`: laggards may go on there.
    pub fn set_key(&mut self, at: u64) {
        self.key = Some(at);
    }

    /// The last key frame that can still be read.
    pub fn key(&self) -> Option<u64> {
        self.key.filter(|at| *at >= self.start)
    }

    /// Running number of the message that begins at or behind `offset`.
    pub fn number(&self, offset: u64) -> u64 {
        let left = self.index.len().saturating_sub(self.first_at_or_after(offset));
        self.appended.saturating_sub(left as u64)
    }

    /// The bytes from `offset` to the head. Empty when `offset` lies outside the log.
    pub fn read(&self, offset: u64) -> &[u8] {
        if offset < self.start {
            return &[];
        }
        usize::try_from(offset - self.base)
            .ok()
            .and_then(|from| self.buf.get(from..))
            .unwrap_or(&[])
    }

    /// Position in the index of the first message that begins at or behind `offset`.
    fn first_at_or_after(&self, offset: u64) -> usize {
        self.index.partition_point(|e| e.at < offset)
    }

    /// The first message border at or behind `offset`; the head when there is none.
    pub fn border(&self, offset: u64) -> u64 {
        self.index.get(self.first_at_or_after(offset)).map_or_else(|| self.head(), |e| e.at)
    }

    /// Where the message begins that `offset` lies in; `offset` itself when it is not known.
    pub fn begin_of(&self, offset: u64) -> u64 {
        let behind = self.index.partition_point(|e| e.at <= offset);
        behind.checked_sub(1).and_then(|i| self.index.get(i)).map_or(offset, |e| e.at)
    }

    /// The border behind the message that begins at `offset`: where one message ends.
    pub fn next_border(&self, offset: u64) -> u64 {
        self.border(offset.saturating_add(1))
    }

    /// Messages that begin in `[from, to)`.
    pub fn count(&self, from: u64, to: u64) -> usize {
        self.first_at_or_after(to).saturating_sub(self.first_at_or_after(from))
    }

    /// Decoding time of the message at or behind `offset`, if there is one.
    pub fn dts_at(&self, offset: u64) -> Option<Timestamp> {
        self.index.get(self.first_at_or_after(offset)).map(|e| e.dts)
    }

    /// Decoding time of the newest message, be it trimmed away already.
    pub fn newest_dts(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Microseconds of media that have passed through the log.
    pub fn clock(&self) -> i64 {
        self.clock
    }

    /// Microseconds of media between `offset` and the newest message.
    pub fn behind(&self, offset: u64) -> i64 {
        let at = self.index.get(self.first_at_or_after(offset)).map_or(self.clock, |e| e.clock);
        self.clock.saturating_sub(at)
    }

    /// The first message that is no older than `us` microseconds: the trim border of a window.
    pub fn border_of_age(&self, us: i64) -> u64 {
        let from = self.clock.saturating_sub(us);
        let i = self.index.partition_point(|e| e.clock < from);
        self.index.get(i).map_or_else(|| self.head(), |e| e.at)
    }

    /// Forgets everything in front of `keep_from` (a message border). The bytes are moved down
    /// only when enough garbage has gathered, so the cost is amortised.
    pub fn trim(&mut self, keep_from: u64) {
        let keep_from = keep_from.min(self.head());
        if keep_from <= self.start {
            return;
        }
        self.start = keep_from;
        while self.index.front().is_some_and(|e| e.at < keep_from) {
            self.index.pop_front();
        }
        let garbage = usize::try_from(self.start.saturating_sub(self.base)).unwrap_or(0);
        if garbage >= COMPACT_SLACK.max(self.len()) || garbage == self.buf.len() {
            self.buf.drain(..garbage.min(self.buf.len()));
            self.base = self.start;
            // A burst (one huge key frame) must not hold its memory for ever.
            let want = self.buf.len().saturating_mul(2).max(COMPACT_SLACK);
            if self.buf.capacity() > want.saturating_mul(4) {
                self.buf.shrink_to(want);
            }
            if self.index.capacity() > 256 && self.index.capacity() > self.index.len() * 8 {
                self.index.shrink_to(self.index.len() * 2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(v: i64) -> Timestamp {
        Timestamp::from_millis(v)
    }

    #[test]
    fn offsets_stay_valid_while_the_front_is_trimmed() {
        let mut log = Log::default();
        for i in 0..100u8 {
            log.append(ms(i64::from(i)), |b| b.extend_from_slice(&[i; 2000]));
        }
        let at = 50 * 2000;
        log.trim(at);
        assert_eq!(log.start(), at);
        assert_eq!(log.read(at).first(), Some(&50));
        assert_eq!(log.read(at + 2000).first(), Some(&51));
        assert!(log.read(at - 1).is_empty());
        assert!(log.memory() < 400_000);
    }

    #[test]
    fn the_window_is_found_whatever_the_times_do() {
        let mut log = Log::default();
        // Interleaved tracks, then a publisher that begins at zero again, then a leap.
        for t in [10_000, 10_040, 10_020, 10_080, 0, 40, 80, 9_000_000, 9_000_040] {
            log.append(ms(t), |b| b.push(0));
        }
        assert_eq!(log.clock(), 80_000 + 80_000 + MAX_STEP + 40_000);
        assert_eq!(log.border_of_age(40_000), 7);
        assert_eq!(log.border_of_age(MAX_STEP + 40_000), 6);
        assert_eq!(log.border_of_age(i64::MAX), 0);
        assert_eq!((log.behind(7), log.behind(8), log.behind(9)), (40_000, 0, 0));
    }

    #[test]
    fn the_newest_time_and_the_count_outlive_what_was_trimmed() {
        let mut log = Log::default();
        for t in 0..5 {
            log.append(ms(t), |b| b.push(0));
        }
        log.set_key(3);
        log.trim(3);
        assert_eq!((log.number(3), log.key()), (3, Some(3)));
        log.trim(5);
        assert_eq!(log.newest_dts(), Some(ms(4)));
        assert_eq!((log.number(5), log.key()), (5, None));
    }

    #[test]
    fn a_message_that_writes_nothing_leaves_no_border() {
        let mut log = Log::default();
        assert_eq!(log.append(ms(0), |_| {}), 0);
        assert_eq!(log.border(0), 0);
        assert_eq!(log.count(0, log.head()), 0);
    }

    #[test]
    fn a_new_subscriber_starts_at_the_key_frame_or_at_the_head() {
        let mut log = Log::default();
        log.append(ms(0), |b| b.push(0));
        assert_eq!(log.join(), 1);
        log.set_join(0);
        assert_eq!(log.join(), 0);
        log.trim(1);
        assert_eq!(log.join(), log.head());
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_appended(
            sizes in prop::collection::vec(0usize..3000, 1..200),
            trims in prop::collection::vec((0usize..200, 0usize..200), 0..20),
        ) {
            let mut log = Log::default();
            let mut model: Vec<u8> = Vec::new();
            let mut borders = vec![];
            for (i, n) in sizes.iter().enumerate() {
                if *n > 0 { borders.push(model.len() as u64); }
                let chunk = vec![i as u8; *n];
                model.extend_from_slice(&chunk);
                log.append(ms(i as i64), |b| b.extend_from_slice(&chunk));
                for (when, which) in &trims {
                    if *when == i && let Some(b) = borders.get(*which) {
                        log.trim(*b);
                    }
                }
                prop_assert_eq!(log.head(), model.len() as u64);
                prop_assert_eq!(log.read(log.start()), &model[log.start() as usize..]);
                prop_assert_eq!(log.border(log.start()), borders.iter().copied()
                    .find(|b| *b >= log.start()).unwrap_or(model.len() as u64));
            }
        }
    }
}
