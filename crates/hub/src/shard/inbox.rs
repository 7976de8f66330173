//! The ways into a shard from other threads: jobs and frames.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use media::Frame;
use tokio::sync::mpsc;

use super::{Shard, ShardStats};
use crate::stream::{Headers, PublisherOwner};

/// Work handed to a shard from another thread.
pub type Job = Box<dyn FnOnce(Rc<Shard>) + Send>;

/// Sockets that may wait to be taken up by a shard. More means it is drowning: the acceptor then
/// waits, and the kernel's backlog refuses in our stead.
pub(super) const JOBS: usize = 1024;
/// Frames that may wait in a shard's inbox, all streams together: at 1,000 streams of 68
/// messages a second that is 120 ms.
const INBOX: usize = 8192;

pub(crate) enum What {
    Published(Arc<dyn PublisherOwner>),
    Frame(Arc<Frame>),
    /// The first frame after `lost` others did not fit, with the headers that may be among them.
    Resume {
        headers: Arc<Headers>,
        frame: Arc<Frame>,
        lost: u64,
    },
    Unpublished,
}

pub(crate) struct ShardMsg {
    pub(crate) stream: u64,
    pub(crate) seq: u64,
    pub(crate) what: What,
}

/// The way into a shard's inbox. Frames are bounded, events (publish, unpublish) always fit.
#[derive(Clone)]
pub(crate) struct FrameTx {
    pub(super) tx: mpsc::UnboundedSender<ShardMsg>,
    pub(super) depth: Arc<AtomicUsize>,
}

impl FrameTx {
    /// `false` when the inbox is full.
    pub(crate) fn try_send_frame(&self, msg: ShardMsg) -> bool {
        if self.depth.load(Relaxed) >= INBOX {
            return false;
        }
        self.send_event(msg);
        true
    }

    /// Whether everything that was sent has been taken out.
    pub(super) fn is_drained(&self) -> bool {
        self.depth.load(Relaxed) == 0
    }

    pub(crate) fn send_event(&self, msg: ShardMsg) {
        self.depth.fetch_add(1, Relaxed);
        // Fails only while the process ends.
        let _ = self.tx.send(msg);
    }
}

/// A shard as other threads see it.
#[derive(Clone)]
pub struct ShardHandle {
    pub(super) id: usize,
    pub(super) jobs: mpsc::Sender<Job>,
    pub(super) frames: FrameTx,
    pub(super) stats: Arc<ShardStats>,
}

impl ShardHandle {
    /// Number of the shard, from 0.
    pub fn id(&self) -> usize {
        self.id
    }

    /// Its figures.
    pub fn stats(&self) -> &ShardStats {
        &self.stats
    }

    /// Runs `job` on the shard. Waits while the shard has too much to take up already.
    /// `false` when the shard has ended.
    pub async fn run(&self, job: Job) -> bool {
        self.jobs.send(job).await.is_ok()
    }

    /// The same from a thread that must not wait; `false` when there is no room.
    pub fn try_run(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }
}
