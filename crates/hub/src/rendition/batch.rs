//! The walk by io_uring: many subscribers' turns in one call to the kernel.
//!
//! Whose turn it is, what each gets and what follows from its answer is as in the plain walk; only
//! the way to the socket differs. Not for subscribers that catch up one by one.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use uring::{Ring, Sent};

use super::{Inner, Walked};
use crate::subscriber::Sink;

/// Most turns of one batch: what fits into a walk's slice of 2 ms on a common machine. At a quarter
/// the same players cost a tenth more; at double nothing changes, for the slice ends it.
pub(crate) const BATCH: usize = 512;
/// Fewest turns that a batch is cut to so that it ends with its slice.
const LEAST: u128 = 64;
/// Bounds of what one send is thought to take, nanoseconds, whatever a busy machine makes of it.
const EACH: (u128, u128) = (500, 50_000);
/// One alone goes by a plain send: a batch of one costs a sixth more. Two cost the same either
/// way, four save a fourteenth, sixteen a seventh, and more hardly more.
const FEW: usize = 2;

/// One subscriber's turn: its place, where it stands in the log, and the bytes it gets.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    pub(super) slot: usize,
    pub(super) offset: u64,
    pub(super) len: usize,
}

/// A ring and the turns that it is filled with. One for each shard.
pub(crate) struct Batcher {
    ring: Ring,
    turns: Vec<Turn>,
    /// What a send took lately, nanoseconds.
    each: u128,
}

impl Batcher {
    pub(crate) fn new(ring: Ring) -> Self {
        Self { ring, turns: Vec::with_capacity(BATCH), each: EACH.0 * 8 }
    }

    /// How many turns fit into `room`.
    fn most(&self, room: Duration) -> usize {
        let fit = room.as_nanos().checked_div(self.each).unwrap_or(LEAST).max(LEAST);
        usize::try_from(fit).unwrap_or(BATCH).min(BATCH)
    }

    fn took(&mut self, spent: Duration) {
        let each = spent.as_nanos().checked_div(self.turns.len() as u128).unwrap_or(self.each);
        self.each = (self.each * 3 + each.clamp(EACH.0, EACH.1)) / 4;
    }

    /// Why it sends nothing more, if so.
    pub(crate) fn fault(&self) -> Option<&std::io::Error> {
        self.ring.fault()
    }
}

impl Inner {
    /// Serves owed subscribers until `deadline`, looking at the clock between batches.
    pub(super) fn walk_in_batches(&mut self, deadline: Instant, batcher: &mut Batcher) -> Walked {
        let mut walked = Walked::default();
        let mut now = Instant::now();
        loop {
            let most = batcher.most(deadline.saturating_duration_since(now));
            batcher.turns.clear();
            while batcher.turns.len() < most {
                let Some(turn) = self.next_turn() else { break };
                batcher.turns.push(turn);
            }
            if batcher.turns.len() < FEW {
                for turn in &batcher.turns {
                    self.send_one(*turn, &mut walked);
                }
            } else {
                self.send_batch(batcher, &mut walked);
            }
            let begun = std::mem::replace(&mut now, Instant::now());
            batcher.took(now.saturating_duration_since(begun));
            if self.owed == 0 || batcher.fault().is_some() || now >= deadline {
                walked.more = self.owed > 0;
                return walked;
            }
        }
    }

    fn send_batch(&self, batcher: &mut Batcher, walked: &mut Walked) {
        let mut batch = batcher.ring.batch();
        for turn in &batcher.turns {
            let Some(Sink::Direct(tcp)) = self.subs.get(turn.slot).map(|sub| &sub.sink) else {
                break; // not a turn that `next_turn` gives
            };
            if !batch.push(tcp.as_fd(), self.bytes_of(*turn)) {
                break;
            }
        }
        let answers = batch.send();
        let mut sent = 0u64;
        for (i, turn) in batcher.turns.iter().enumerate() {
            let answer = match answers.get(i) {
                Some(Sent::Taken(n)) => Ok(*n),
                Some(Sent::Full) => Err(std::io::ErrorKind::WouldBlock),
                Some(Sent::Failed(kind)) => Err(*kind),
                Some(Sent::NotTried) | None => {
                    self.send_one(*turn, walked);
                    continue;
                }
            };
            sent = sent.saturating_add(1);
            self.settle(*turn, answer, walked);
        }
        walked.batches = walked.batches.saturating_add(1);
        walked.batched = walked.batched.saturating_add(sent);
    }
}
