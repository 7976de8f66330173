//! What a shard counts, for whoever wants to know from outside.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};

use crate::histogram::Histogram;

/// Figures of one shard, for the API and for choosing the least loaded.
#[derive(Debug, Default)]
pub struct ShardStats {
    /// Sessions that live on it.
    pub sessions: AtomicUsize,
    /// Subscribers of logs.
    pub subscribers: AtomicUsize,
    /// `send` calls made by walks.
    pub sends: AtomicU64,
    /// Bytes sent by walks.
    pub sent_bytes: AtomicU64,
    /// Calls that carried several of these sends (io_uring).
    pub batches: AtomicU64,
    /// Sends carried by them.
    pub batched_sends: AtomicU64,
    /// Time spent walking, microseconds.
    pub walk_us: AtomicU64,
    /// Groups the pacer uses: 0 each message at once, 1 each video frame, k two or more groups.
    pub pace: AtomicU32,
    /// How long a publisher's messages gather before they are read, milliseconds; 0 while there
    /// are few publishers.
    pub read_pause_ms: AtomicU32,
    /// Share of a core that the thread took in the last half second, in thousandths.
    pub busy_permille: AtomicU32,
    /// Bytes held by rendition logs.
    pub log_bytes: AtomicUsize,
    /// Renditions.
    pub renditions: AtomicUsize,
    /// Of each walk, how long its oldest frame had waited for it, microseconds.
    pub waited_us: Histogram,
    /// Of each walk, the bytes of one send on average.
    pub send_size: Histogram,
    /// Sessions that ended by a panic: each is a bug.
    pub panics: AtomicU64,
}
