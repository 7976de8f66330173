//! Takers that want frames, not bytes: segmenters and recorders.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use media::Frame;
use tokio::sync::Notify;

use crate::shard::Shard;
use crate::stream::Stream;

/// Frames a receiver may fall behind: 10 s of 60 fps video with audio. The receiver runs on the
/// same thread as the pushes, so more than a read's worth gathers only when its task is stuck.
const DEPTH: usize = 1024;

/// What a frame receiver gets, in order.
#[derive(Clone, Debug)]
pub enum Received {
    /// A publisher has begun.
    Published,
    /// A frame.
    Frame(Arc<Frame>),
    /// The publisher has gone.
    Unpublished,
    /// So many frames were dropped here because the receiver was too slow; the next video frame
    /// is a key frame.
    Lost(u64),
}

#[derive(Default)]
pub(crate) struct FrameQueue {
    items: RefCell<VecDeque<Received>>,
    lost: Cell<u64>,
    wake: Notify,
    pub(crate) seq: Cell<u64>,
}

impl FrameQueue {
    pub(crate) fn push_event(&self, event: Received) {
        self.flush_lost();
        self.items.borrow_mut().push_back(event);
        self.wake.notify_one();
    }

    fn flush_lost(&self) {
        let lost = self.lost.replace(0);
        if lost > 0 {
            self.items.borrow_mut().push_back(Received::Lost(lost));
        }
    }

    pub(crate) fn push(&self, frame: &Arc<Frame>) {
        let losing = self.lost.get() > 0;
        let full = self.items.borrow().len() >= DEPTH;
        let restart = frame.is_key() || frame.is_config();
        if full || (losing && !restart) {
            self.lost.set(self.lost.get().saturating_add(1));
            return;
        }
        self.flush_lost();
        self.items.borrow_mut().push_back(Received::Frame(frame.clone()));
        self.wake.notify_one();
    }
}

/// Receives every frame of a stream on this shard. Dropping it leaves the stream.
pub struct FrameReceiver {
    pub(crate) queue: Rc<FrameQueue>,
    pub(crate) stream: Arc<Stream>,
    pub(crate) shard: Rc<Shard>,
}

impl FrameReceiver {
    /// The next event. Cancel safe. Never ends by itself: a stream outlives its publishers.
    pub async fn recv(&self) -> Received {
        loop {
            if let Some(item) = self.queue.items.borrow_mut().pop_front() {
                return item;
            }
            self.queue.wake.notified().await;
        }
    }

    /// The stream it takes.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }
}

impl Drop for FrameReceiver {
    fn drop(&mut self) {
        self.shard.drop_receiver(&self.stream, &self.queue);
    }
}
