//! Takers that want frames, not bytes: segmenters and recorders.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::bell::Bell;
use media::{Frame, Kind};

use crate::shard::Shard;
use crate::stream::{Demand, Headers, PURE_AUDIO_FRAMES, PublisherOwner, Stream};

/// Frames a receiver may fall behind: 10 s of 60 fps video with audio. The receiver runs on the
/// same thread as the pushes, so more than a read's worth gathers only when its task is stuck.
const DEPTH: usize = 1024;

/// What a frame receiver gets, in order.
#[derive(Clone, Debug)]
pub enum Received {
    /// This publisher has begun. Who holds on to it lets its end wait (see [`PublisherOwner`]).
    Published(Arc<dyn PublisherOwner>),
    /// A frame.
    Frame(Arc<Frame>),
    /// The publisher has gone.
    Unpublished,
    /// So many frames were dropped here because the receiver was too slow; the next video frame
    /// is a key frame.
    Lost(u64),
}

pub(crate) struct FrameQueue {
    stream: Arc<Stream>,
    items: RefCell<VecDeque<Received>>,
    lost: Cell<u64>,
    /// Frames were lost, and none has come since that a decoder can begin at.
    waits: Cell<bool>,
    /// Configurations that came while waiting.
    kept: RefCell<Headers>,
    /// Pictures have come from this publisher, and audio frames since the last one.
    pictures: Cell<bool>,
    audio_run: Cell<usize>,
    wake: Bell,
    /// Number of the last frame or event.
    seq: Cell<u64>,
    /// The receiver wants sound and pictures; nothing while it skips a publisher.
    demand: RefCell<Option<Demand>>,
}

impl FrameQueue {
    pub(crate) fn new(stream: &Arc<Stream>) -> Self {
        Self {
            stream: stream.clone(),
            items: RefCell::default(),
            lost: Cell::default(),
            waits: Cell::default(),
            kept: RefCell::default(),
            pictures: Cell::default(),
            audio_run: Cell::default(),
            wake: Bell::default(),
            seq: Cell::default(),
            demand: RefCell::new(Some(Demand::new(stream))),
        }
    }

    fn skips(&self) -> bool {
        self.demand.borrow().is_none()
    }

    /// Wants no sound and no picture before the next event.
    fn skip(&self) {
        if self.skips() {
            return;
        }
        let mut items = self.items.borrow_mut();
        if items.iter().any(|i| matches!(i, Received::Published(_) | Received::Unpublished)) {
            return;
        }
        items.retain(|i| matches!(i, Received::Frame(frame) if frame.kind() == Kind::Data));
        drop(items);
        self.lost.set(0);
        self.waits.set(false);
        self.kept.take();
        self.demand.take();
    }

    /// Whether a frame or event of this number is new. Notes it.
    pub(crate) fn is_new(&self, seq: u64) -> bool {
        seq > self.seq.replace(seq.max(self.seq.get()))
    }

    pub(crate) fn push_event(&self, event: Received) {
        if self.skips() {
            self.demand.replace(Some(Demand::new(&self.stream)));
        }
        self.flush_lost();
        self.waits.set(false);
        self.kept.take();
        self.pictures.set(false);
        self.audio_run.set(0);
        self.items.borrow_mut().push_back(event);
        self.wake.ring();
    }

    fn flush_lost(&self) {
        let lost = self.lost.replace(0);
        if lost > 0 {
            self.items.borrow_mut().push_back(Received::Lost(lost));
        }
    }

    /// So many frames were lost on the way here.
    pub(crate) fn lose(&self, frames: u64) {
        if self.skips() {
            return;
        }
        self.lost.set(self.lost.get().saturating_add(frames));
        self.waits.set(true);
    }

    pub(crate) fn push(&self, frame: &Arc<Frame>) {
        if self.skips() && frame.kind() != Kind::Data {
            return;
        }
        if frame.is_media() {
            match frame.kind() {
                Kind::Video => {
                    self.pictures.set(true);
                    self.audio_run.set(0);
                }
                Kind::Audio => self.audio_run.set(self.audio_run.get().saturating_add(1)),
                Kind::Data => {}
            }
        }
        let full = self.items.borrow().len() >= DEPTH;
        if full {
            self.waits.set(true);
        }
        if self.waits.get() {
            if frame.is_config() {
                self.kept.borrow_mut().book(frame);
                return;
            }
            let pictures = self.pictures.get() && self.audio_run.get() <= PURE_AUDIO_FRAMES;
            let restarts = frame.is_media() && (!pictures || frame.is_key() && frame.track == 0);
            if full || !restarts {
                self.lost.set(self.lost.get().saturating_add(1));
                return;
            }
            self.waits.set(false);
            self.flush_lost();
            let kept = self.kept.take();
            let mut items = self.items.borrow_mut();
            items.extend(kept.in_order().cloned().map(Received::Frame));
        }
        self.items.borrow_mut().push_back(Received::Frame(frame.clone()));
        self.wake.ring();
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
            self.queue.wake.heard().await;
        }
    }

    /// Wants nothing but data of the present publisher: what waits is dropped, no sound and no
    /// picture comes before the next event, and until then the receiver does not count as one who takes the stream
    /// ([`Stream::is_wanted`]). Does nothing while an event waits to be received, which may be of
    /// another publisher. Costs next to nothing when it skips already.
    pub fn skip_publisher(&self) {
        self.queue.skip();
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
