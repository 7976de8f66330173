//! A stream that was published by WebRTC, as the viewers' side sees it: its packets go from the
//! publisher's shard to each shard that has viewers, as they are.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::log::{AUDIO, LANES, New, PacketLog, Sync};
use super::tracks::Offered;

/// Shards that can be told apart in [`Relay::takers`].
const MOST_SHARDS: usize = 64;

/// See the module. Shared by the publisher's shard and those of the viewers.
pub(crate) struct Relay {
    /// The hub's number of the stream.
    pub(crate) stream: u64,
    /// What is published.
    pub(crate) tracks: Vec<Offered>,
    takers: AtomicU64,
    wants_key: [AtomicBool; LANES],
}

impl Relay {
    /// Of what a publisher sends.
    pub(crate) fn new(stream: u64, tracks: Vec<Offered>) -> Arc<Self> {
        Arc::new(Self {
            stream,
            tracks,
            takers: AtomicU64::new(0),
            wants_key: std::array::from_fn(|_| AtomicBool::new(false)),
        })
    }

    /// A shard has viewers, or has them no more.
    pub(crate) fn set_taker(&self, shard: usize, on: bool) {
        let bit = 1u64 << (shard % MOST_SHARDS);
        if on {
            self.takers.fetch_or(bit, Relaxed);
        } else {
            self.takers.fetch_and(!bit, Relaxed);
        }
    }

    /// Whether a shard has viewers.
    pub(crate) fn is_taker(&self, shard: usize) -> bool {
        self.takers.load(Relaxed) & (1u64 << (shard % MOST_SHARDS)) != 0
    }

    /// A viewer cannot show anything before a key frame comes.
    pub(crate) fn want_key(&self, lane: u8) {
        if let Some(wants) = self.wants_key.get(usize::from(lane)) {
            wants.store(true, Relaxed);
        }
    }

    /// Whether one was asked for since the last call.
    pub(crate) fn take_wish(&self, lane: u8) -> bool {
        self.wants_key.get(usize::from(lane)).is_some_and(|wants| wants.swap(false, Relaxed))
    }
}

/// One packet among [`Packets`].
#[derive(Clone, Debug)]
struct Item {
    lane: u8,
    seq: u64,
    timestamp: u32,
    marker: bool,
    key: bool,
    payload: Range<usize>,
}

/// What a publisher sent in one go: one allocation for each shard's whole batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packets {
    bytes: Vec<u8>,
    items: Vec<Item>,
    syncs: Vec<(u8, Sync)>,
}

impl Packets {
    /// Adds a packet.
    pub(crate) fn push(&mut self, new: &New<'_>) {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(new.payload);
        self.items.push(Item {
            lane: new.lane,
            seq: new.seq,
            timestamp: new.timestamp,
            marker: new.marker,
            key: new.key,
            payload: from..self.bytes.len(),
        });
    }

    /// Adds where a lane's clock stands.
    pub(crate) fn sync(&mut self, lane: u8, sync: Sync) {
        self.syncs.push((lane, sync));
    }

    /// Whether there are pictures among them.
    pub(crate) fn has_video(&self) -> bool {
        self.items.iter().any(|item| item.lane != AUDIO)
    }

    /// Adds the bytes of each lane.
    pub(crate) fn count(&self, bytes: &mut [u64; LANES]) {
        for item in &self.items {
            if let Some(bytes) = bytes.get_mut(usize::from(item.lane)) {
                *bytes = bytes.saturating_add(item.payload.len() as u64);
            }
        }
    }

    /// Nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.syncs.is_empty()
    }

    /// Forgets what is in it and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
        self.syncs.clear();
    }

    /// Appends them to a log.
    pub(crate) fn append_to(&self, log: &mut PacketLog) {
        for (lane, sync) in &self.syncs {
            log.set_sync(*lane, *sync);
        }
        for item in &self.items {
            log.push(New {
                lane: item.lane,
                seq: item.seq,
                timestamp: item.timestamp,
                marker: item.marker,
                key: item.key,
                payload: self.bytes.get(item.payload.clone()).unwrap_or(&[]),
            });
        }
    }
}
