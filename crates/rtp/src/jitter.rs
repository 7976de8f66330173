//! Putting packets back in order, with no delay where none is missing.

use std::collections::VecDeque;

use crate::nack::MAX_GAP;

#[cfg(test)]
mod tests;

/// How long to wait, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A missing packet is waited for so long after the first one behind it came.
    pub max_delay_us: u64,
    /// Packets held; with more, the missing one before them is given up at once.
    pub max_packets: usize,
    /// Bytes held; likewise.
    pub max_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // Two retransmissions at 80 ms of round trip. At half, one; at double, a live stream
            // stands still for as long as its viewers buffer.
            max_delay_us: 250_000,
            // A quarter of a second at 20 Mbit/s is 520 packets and 625 kB. At half of it such a
            // publisher loses what a retransmission would mend; at double hostile gaps cost double.
            max_packets: 1_024,
            max_bytes: 1 << 20,
        }
    }
}

/// What became of a packet given to [`Reorder::push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is held, or ready to be popped.
    Taken,
    /// The same is held already; dropped.
    Duplicate,
    /// Its turn is over: it came before, or was given up; dropped.
    Late,
}

/// A packet in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered<T> {
    /// Extended sequence number.
    pub sequence: u64,
    /// Packets given up just before it; 0: it follows the one before.
    pub lost_before: u64,
    /// The sequence began anew; `lost_before` is 0 and nothing is known of what was before.
    pub reset: bool,
    /// What was pushed.
    pub item: T,
}

/// What happened so far, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Given up.
    pub lost: u64,
    /// Came after they were given up, or twice.
    pub late: u64,
    /// Came while the same was held.
    pub duplicates: u64,
    /// Came before their turn and were put in order.
    pub reordered: u64,
    /// Handed on because too much was held, not because time was over.
    pub forced: u64,
    /// Jumps of the sequence.
    pub resets: u64,
}

#[derive(Debug)]
struct Held<T> {
    sequence: u64,
    bytes: usize,
    /// When this one or any behind it came, whichever was first.
    since_us: u64,
    item: T,
}

/// A receiver's reordering of one stream.
///
/// After each [`Reorder::push`], and at [`Reorder::next_timeout`], call [`Reorder::pop`] until it
/// gives nothing. A packet in order costs one write and one read of a ring that does not grow.
#[derive(Debug)]
pub struct Reorder<T> {
    options: Options,
    next: Option<u64>,
    /// By sequence number, none below `next`.
    held: VecDeque<Held<T>>,
    bytes: usize,
    /// What a packet far behind would be followed by, were it a new beginning.
    suspect: Option<u64>,
    /// The next packet popped begins the sequence anew.
    reset: bool,
    counters: Counters,
}

impl<T> Reorder<T> {
    /// For one stream (one SSRC). The first packet pushed is the first in order.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            next: None,
            held: VecDeque::new(),
            bytes: 0,
            suspect: None,
            reset: false,
            counters: Counters::default(),
        }
    }

    /// Takes a packet by its extended sequence number; `bytes` counts against the bound.
    pub fn push(&mut self, sequence: u64, bytes: usize, item: T, now_us: u64) -> Pushed {
        let next = *self.next.get_or_insert(sequence);
        if sequence < next {
            // One packet far behind is a stray; two in a row are a sender that began anew
            // (RFC 3550 A.1).
            let far = next - sequence > MAX_GAP;
            if !far || self.suspect != Some(sequence) {
                if far {
                    self.suspect = Some(sequence + 1);
                }
                self.counters.late += 1;
                return Pushed::Late;
            }
            self.counters.lost += self.held.len() as u64;
            self.held.clear();
            self.bytes = 0;
            self.next = Some(sequence);
            self.suspect = None;
            self.reset = true;
            self.counters.resets += 1;
        }
        let mut since_us = now_us;
        let mut at = self.held.len();
        if self.held.back().is_some_and(|last| last.sequence >= sequence) {
            match self.held.binary_search_by_key(&sequence, |held| held.sequence) {
                Ok(_) => {
                    self.counters.duplicates += 1;
                    return Pushed::Duplicate;
                }
                Err(place) => at = place,
            }
            if let Some(behind) = self.held.get(at) {
                since_us = behind.since_us.min(now_us);
            }
            self.counters.reordered += 1;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.held.insert(at, Held { sequence, bytes, since_us, item });
        Pushed::Taken
    }

    /// The next packet in order, if it is there, or the one behind a gap that is given up now.
    pub fn pop(&mut self, now_us: u64) -> Option<Ordered<T>> {
        let next = self.next?;
        let front = self.held.front()?;
        let gap = front.sequence.saturating_sub(next);
        if gap > 0 && gap <= MAX_GAP && now_us < self.deadline(front) {
            let full =
                self.held.len() > self.options.max_packets || self.bytes > self.options.max_bytes;
            if !full {
                return None;
            }
            self.counters.forced += 1;
        }
        let Held { sequence, bytes, item, .. } = self.held.pop_front()?;
        self.bytes -= bytes.min(self.bytes);
        self.next = Some(sequence + 1);
        let jump = gap > MAX_GAP;
        let reset = std::mem::take(&mut self.reset) || jump;
        self.counters.resets += u64::from(jump);
        let lost_before = if reset { 0 } else { gap };
        self.counters.lost += lost_before;
        Some(Ordered { sequence, lost_before, reset, item })
    }

    /// When the gap at the front is given up; None: nothing waits. May lie in the past.
    pub fn next_timeout(&self) -> Option<u64> {
        self.held.front().map(|front| self.deadline(front))
    }

    fn deadline(&self, front: &Held<T>) -> u64 {
        front.since_us.saturating_add(self.options.max_delay_us)
    }

    /// Changes how long is waited; what is held already is judged by it at once.
    pub const fn set_max_delay(&mut self, max_delay_us: u64) {
        self.options.max_delay_us = max_delay_us;
    }

    /// The sequence number whose turn it is; what lies before it is no longer waited for.
    pub const fn next_sequence(&self) -> Option<u64> {
        self.next
    }

    /// Packets held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Bytes held, as the pushes counted them.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What happened so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }
}
