//! The right to push into a stream: who has it, how it is lost, and the push itself.

use std::any::Any;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use media::{Flags, Frame};
use smallvec::SmallVec;

use super::{Headers, Stream, StreamStats, Taker};
use crate::door::Door;
use crate::registry::{Hub, StreamEvent};
use crate::shard::{Shard, ShardMsg, What};

/// Whether a new publisher takes the stream from one that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takeover {
    /// Never: the first one stays until it leaves.
    Off,
    /// When the old one has sent nothing for a second.
    #[default]
    Stale,
    /// Always: the newest wins.
    Always,
}

/// How long a publisher must have been silent to count as dead for [`Takeover::Stale`]. At half,
/// a Wi-Fi hiccup loses the stream to a rival; at double, a reconnecting encoder is refused twice.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(1);

/// Why a publisher was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndPublish {
    /// A newer publisher took the stream.
    TakenOver,
}

/// The session behind a publisher, as far as the hub needs to know it.
///
/// The hub lets go of it when the publisher has left. Those who take frames
/// ([`Received::Published`](crate::Received::Published)) may keep it for as long as they make
/// something of them: its drop says that everything of the publish is done.
pub trait PublisherOwner: Send + Sync {
    /// Ends the session soon. Called with no lock held; must not block.
    fn end(&self, why: EndPublish);
    /// The session id, for the API and the log.
    fn id(&self) -> &str;
    /// Itself, for those above the hub who know what it is.
    fn as_any(&self) -> Option<&dyn Any> {
        None
    }
}

impl fmt::Debug for dyn PublisherOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// The stream has a live publisher already.
#[derive(Debug, thiserror::Error)]
#[error("the stream is being published by session {by}")]
pub struct Busy {
    /// Session id of the publisher that is there.
    pub by: String,
}

/// A newer publisher has taken the stream; this one may not push any more.
#[derive(Debug, thiserror::Error)]
#[error("another publisher has taken over the stream")]
pub struct Superseded;

/// The right to push frames into a stream. One at a time per stream; dropping it ends the
/// publish. Lives on one shard and never leaves it.
pub struct Publisher {
    pub(super) stream: Arc<Stream>,
    pub(super) hub: Arc<Hub>,
    pub(super) shard: Rc<Shard>,
    pub(super) epoch: u64,
    pub(super) seen_ms: Arc<AtomicU64>,
    pub(super) ready: SmallVec<[(u64, Arc<Frame>); 4]>,
    /// Frames for this shard go through its inbox as well, so that they do not overtake the
    /// events of the publish that are in there.
    pub(super) detour: bool,
}

impl Publisher {
    /// The stream it publishes.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Says that the publisher's connection is alive though it may have sent no frame.
    pub fn touch(&self) {
        self.seen_ms.store(self.stream.ms_at(Instant::now()), Relaxed);
    }

    /// Switches absolute time on (`atc_auto`: the encoder's metadata asked for it).
    pub fn set_atc(&self, on: bool) {
        self.stream.lock().door.set_atc(on);
    }

    /// Hands one frame to every shard that takes the stream. Times may be of any clock: the door
    /// puts them on the stream's timeline. On the frame path: one uncontended lock, one allocation.
    /// Nothing is sent to subscribers of this shard before [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`Superseded`] when another publisher has taken the stream over.
    pub fn push(&mut self, frame: Frame) -> Result<(), Superseded> {
        let now = Instant::now();
        self.seen_ms.store(self.stream.ms_at(now), Relaxed);
        let bytes = frame.payload.len() as u64;
        self.stream.stats.recv_bytes.fetch_add(bytes, Relaxed);
        self.shard.message_came();
        self.forward(|door, out| door.push(frame, now, out))
    }

    /// Forwards what the door gives out.
    fn forward(
        &mut self,
        give: impl FnOnce(&mut Door, &mut SmallVec<[Frame; 4]>),
    ) -> Result<(), Superseded> {
        let stats = &self.stream.stats;
        let mut changed = false;
        {
            let mut guard = self.stream.lock();
            let inner = &mut *guard;
            if inner.publisher.as_ref().is_none_or(|p| p.epoch != self.epoch) {
                return Err(Superseded);
            }
            // Events of this stream are sent under its lock: none can be on its way now.
            self.detour = self.detour && !self.shard.inbox_is_drained();
            let mut out: SmallVec<[Frame; 4]> = SmallVec::new();
            give(&mut inner.door, &mut out);
            for frame in out {
                if frame.flags.contains(Flags::DISCONTINUITY) {
                    stats.discontinuities.fetch_add(1, Relaxed);
                }
                let Some((frame, notable)) = inner.admit(frame, stats) else { continue };
                changed |= notable;
                inner.seq = inner.seq.saturating_add(1);
                let offer = Offer {
                    stream: self.stream.id,
                    seq: inner.seq,
                    headers: &inner.headers,
                    pictures: inner.headers.has_video && !inner.rule.is_sound_alone(),
                    frame: &frame,
                };
                for taker in &mut inner.takers {
                    if taker.shard != self.shard.id() {
                        taker.offer(&offer, stats);
                    } else if self.detour || taker.lost > 0 {
                        self.detour = true;
                        taker.offer(&offer, stats);
                    } else {
                        self.ready.push((offer.seq, frame.clone()));
                    }
                }
            }
        }
        for (seq, frame) in self.ready.drain(..) {
            self.shard.deliver(self.stream.id, seq, &frame);
        }
        if changed {
            self.stream.changed.send_modify(|v| *v = v.wrapping_add(1));
        }
        Ok(())
    }

    /// Lets the pacer of this shard act on what was pushed. Call it once after the frames of one
    /// read, so that they leave in one send.
    pub fn flush(&self) {
        self.shard.flush(self.stream.id);
    }
}

/// A frame on its way to the shards.
struct Offer<'a> {
    stream: u64,
    seq: u64,
    headers: &'a Arc<Headers>,
    /// Pictures are coming: a taker that lost frames waits for a key frame.
    pictures: bool,
    frame: &'a Arc<Frame>,
}

impl Taker {
    fn offer(&mut self, offer: &Offer<'_>, stats: &StreamStats) {
        let Offer { stream, seq, headers, pictures, frame } = *offer;
        let restarts = frame.is_media() && (!pictures || frame.is_key() && frame.track == 0);
        let sent = match self.lost {
            0 => {
                let what = What::Frame(frame.clone());
                self.tx.try_send_frame(ShardMsg { stream, seq, what })
            }
            lost if restarts => {
                let (headers, frame) = (headers.clone(), frame.clone());
                let what = What::Resume { headers, frame, lost };
                self.tx.try_send_frame(ShardMsg { stream, seq, what })
            }
            _ => false,
        };
        if sent {
            self.lost = 0;
        } else {
            self.lost = self.lost.saturating_add(1);
            stats.dropped_inbox.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shard.publisher_went();
        // What was held back for interleaving goes out before the end does.
        self.shard.clone().guard("the last frames", || {
            let _ = self.forward(|door, out| door.drain(out));
        });
        if self.stream.unpublish(self.epoch) {
            self.hub.emit(&self.shard, &StreamEvent::Unpublished(self.stream.clone()));
        }
    }
}
