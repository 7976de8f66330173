//! A stream: its identity, its one publisher, what a joiner needs, and which shards take it.

mod demand;
mod gop;
mod headers;
mod publisher;
mod vitals;

use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use media::{Frame, Kind};
use smallvec::SmallVec;
use tokio::sync::watch;

use crate::door::{Door, DoorOptions};
use crate::registry::{Hub, StreamEvent};
use crate::shard::{FrameTx, Shard, ShardMsg, What};

pub(crate) use demand::Demand;
use demand::Takings;
pub(crate) use gop::{GopAction, GopRule, MAX_GOP_BYTES, PURE_AUDIO_FRAMES};
pub use headers::{Headers, TrackState};
use publisher::STALE_AFTER;
pub use publisher::{Busy, EndPublish, Publisher, PublisherOwner, Superseded, Takeover};
pub use vitals::Vitals;

/// Tracks of one kind that a stream keeps configurations for. Encoders send one, multitrack ones
/// a handful; the bound keeps a hostile publisher from growing the table.
const MAX_TRACKS: usize = 32;

/// Which stream: virtual host, application and name, each already normalised at the door.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// Resolved virtual host (`__defaultVhost__` when no other matched).
    pub vhost: Arc<str>,
    /// Application; may contain `/`.
    pub app: Arc<str>,
    /// Stream name without file extension.
    pub name: Arc<str>,
}

impl StreamKey {
    /// A key from its parts.
    pub fn new(vhost: &str, app: &str, name: &str) -> Self {
        Self { vhost: vhost.into(), app: app.into(), name: name.into() }
    }

    /// `/app/name`, with the vhost in front unless it is the default one.
    pub fn url(&self) -> String {
        let vhost = if &*self.vhost == "__defaultVhost__" { "" } else { &self.vhost };
        format!("{vhost}/{}/{}", self.app, self.name)
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())
    }
}

/// Counters of a stream. Written by its publisher's and takers' shards, read by the API.
#[derive(Debug, Default)]
pub struct StreamStats {
    /// Media bytes received from publishers.
    pub recv_bytes: AtomicU64,
    /// Wire bytes sent to players.
    pub send_bytes: AtomicU64,
    /// Media frames (video frames, when there is video) received.
    pub frames: AtomicU64,
    /// Sessions on the stream: publisher and players of every protocol.
    pub clients: AtomicUsize,
    /// Frames not handed to a shard because its inbox was full.
    pub dropped_inbox: AtomicU64,
    /// Messages that lagging subscribers jumped over.
    pub dropped_lag: AtomicU64,
    /// Times the timeline was re-anchored.
    pub discontinuities: AtomicU64,
}

/// Options of a stream that come from its virtual host.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// Timestamp correction and the like.
    pub door: DoorOptions,
    /// Keep frames from the last key frame on for joiners.
    pub gop_cache: bool,
    /// Clear that cache when it grows beyond so many frames; 0 is no limit.
    pub gop_cache_max_frames: usize,
    /// Do not forward a configuration that repeats the one before it.
    pub reduce_sequence_header: bool,
    /// What happens when the stream has a publisher already.
    pub takeover: Takeover,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            door: DoorOptions::default(),
            gop_cache: true,
            gop_cache_max_frames: 2500,
            reduce_sequence_header: false,
            takeover: Takeover::Stale,
        }
    }
}

struct Slot {
    epoch: u64,
    owner: Arc<dyn PublisherOwner>,
    /// Milliseconds since the hub began at which the publisher last sent anything.
    seen_ms: Arc<AtomicU64>,
}

struct Taker {
    shard: usize,
    tx: FrameTx,
    /// Frames that did not fit into the inbox; none follows before a key frame does.
    lost: u64,
}

pub(crate) struct Inner {
    epoch: u64,
    publisher: Option<Slot>,
    last_publisher: String,
    options: PublishOptions,
    door: Door,
    headers: Arc<Headers>,
    tracks: Vec<TrackState>,
    gop: Vec<Arc<Frame>>,
    rule: GopRule,
    seq: u64,
    takers: Vec<Taker>,
    idle_since: Option<Instant>,
    /// Since when nobody publishes.
    silent_since: Option<Instant>,
}

/// What a shard gets when it begins to take a stream, or a new form of it.
pub(crate) struct Snapshot {
    pub(crate) headers: Arc<Headers>,
    pub(crate) gop: Vec<Arc<Frame>>,
    pub(crate) seq: u64,
    pub(crate) owner: Option<Arc<dyn PublisherOwner>>,
}

/// One live stream. Shared between threads; lives as long as somebody holds it or a client uses it.
pub struct Stream {
    /// Its identity.
    pub key: StreamKey,
    /// Number that is unique within the process.
    pub id: u64,
    /// Id in the API (`vid-…`).
    pub api_id: String,
    /// Counters.
    pub stats: StreamStats,
    active: AtomicBool,
    takings: Takings,
    changed: watch::Sender<u64>,
    inner: Mutex<Inner>,
    started: Instant,
}

impl Stream {
    pub(crate) fn new(key: StreamKey, id: u64, api_id: String, started: Instant) -> Self {
        let options = PublishOptions::default();
        Self {
            key,
            id,
            api_id,
            stats: StreamStats::default(),
            active: AtomicBool::new(false),
            takings: Takings::default(),
            changed: watch::Sender::new(0),
            started,
            inner: Mutex::new(Inner {
                epoch: 0,
                publisher: None,
                last_publisher: String::new(),
                door: Door::new(&options.door),
                rule: GopRule::new(&options),
                options,
                headers: Arc::default(),
                tracks: Vec::new(),
                gop: Vec::new(),
                seq: 0,
                takers: Vec::new(),
                idle_since: Some(Instant::now()),
                silent_since: Some(Instant::now()),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody publishes now.
    pub fn is_active(&self) -> bool {
        self.active.load(Relaxed)
    }

    /// Whether anybody takes frames now: players by a log, segmenters, recorders. A publisher may
    /// leave undone what is made for them alone. Receivers that skip the present publisher
    /// ([`FrameReceiver::skip_publisher`](crate::FrameReceiver::skip_publisher)) do not count.
    pub fn is_wanted(&self) -> bool {
        self.takings.any()
    }

    /// Changes when publishing begins or ends, or when a first frame or a configuration arrives;
    /// not per frame.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What a joiner would get now. Empty while nobody publishes.
    pub fn headers(&self) -> Arc<Headers> {
        self.lock().headers.clone()
    }

    /// The tracks of the present publisher.
    pub fn tracks(&self) -> Vec<TrackState> {
        self.lock().tracks.clone()
    }

    /// How the present publisher is doing; all zero while nobody publishes.
    pub fn vitals(&self) -> Vitals {
        self.lock().door.vitals()
    }

    /// Session id of the present publisher, or of the last one; empty when there was none.
    pub fn publisher_id(&self) -> String {
        self.lock().last_publisher.clone()
    }

    /// The options it runs with now (those of its virtual host at the last publish or reload).
    pub fn options(&self) -> PublishOptions {
        self.lock().options.clone()
    }

    /// Gives a running stream the options of a reloaded configuration.
    pub fn reconfigure(&self, options: PublishOptions) {
        let mut inner = self.lock();
        inner.door.reconfigure(&options.door);
        inner.rule.reconfigure(&options);
        if !options.gop_cache {
            inner.gop = Vec::new();
        }
        inner.options = options;
    }

    /// Since when nobody publishes; `None` while somebody does.
    pub fn silent_since(&self) -> Option<Instant> {
        if self.is_active() { None } else { self.lock().silent_since }
    }

    /// Since when nobody publishes or takes it; `None` while somebody does.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        if self.stats.clients.load(Relaxed) > 0 {
            return None;
        }
        self.lock().idle_since
    }

    /// Registers `shard` as a taker (once) and tells what it needs to begin.
    pub(crate) fn attach(&self, shard: usize, tx: &FrameTx) -> Snapshot {
        let mut inner = self.lock();
        if !inner.takers.iter().any(|t| t.shard == shard) {
            inner.takers.push(Taker { shard, tx: tx.clone(), lost: 0 });
        }
        inner.idle_since = None;
        Snapshot {
            headers: inner.headers.clone(),
            gop: inner.gop.clone(),
            seq: inner.seq,
            owner: inner.publisher.as_ref().map(|p| p.owner.clone()),
        }
    }

    pub(crate) fn detach(&self, shard: usize) {
        let mut inner = self.lock();
        inner.takers.retain(|t| t.shard != shard);
        if inner.takers.is_empty() && inner.publisher.is_none() {
            inner.idle_since = Some(Instant::now());
        }
    }

    fn ms_at(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.started);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Makes the calling session the stream's publisher.
    ///
    /// # Errors
    /// [`Busy`] when a live publisher is there and `takeover` does not let the new one win.
    pub fn publish(
        self: &Arc<Self>,
        hub: &Arc<Hub>,
        shard: &Rc<Shard>,
        owner: Arc<dyn PublisherOwner>,
        options: PublishOptions,
    ) -> Result<Publisher, Busy> {
        let now = self.ms_at(Instant::now());
        let seen_ms = Arc::new(AtomicU64::new(now));
        let mut inner = self.lock();
        if let Some(old) = &inner.publisher {
            let silent = now.saturating_sub(old.seen_ms.load(Relaxed));
            let wins = match options.takeover {
                Takeover::Off => false,
                Takeover::Stale => u128::from(silent) >= STALE_AFTER.as_millis(),
                Takeover::Always => true,
            };
            if !wins {
                return Err(Busy { by: old.owner.id().to_owned() });
            }
        }
        inner.epoch = inner.epoch.saturating_add(1);
        let epoch = inner.epoch;
        let old = inner.publisher.take();
        if old.is_some() {
            self.end_of_publish(&mut inner);
        }
        inner.last_publisher = owner.id().to_owned();
        inner.publisher = Some(Slot { epoch, owner: owner.clone(), seen_ms: seen_ms.clone() });
        inner.door.reconfigure(&options.door);
        inner.door.republish();
        inner.rule = GopRule::new(&options);
        inner.options = options;
        inner.idle_since = None;
        inner.silent_since = None;
        self.active.store(true, Relaxed);
        inner.seq = inner.seq.saturating_add(1);
        let seq = inner.seq;
        for taker in &mut inner.takers {
            taker.lost = 0;
            let what = What::Published(owner.clone());
            taker.tx.send_event(ShardMsg { stream: self.id, seq, what });
        }
        drop(inner);
        if let Some(old) = old {
            old.owner.end(EndPublish::TakenOver);
        }
        self.changed.send_modify(|v| *v = v.wrapping_add(1));
        shard.publisher_came();
        let publisher = Publisher {
            stream: self.clone(),
            hub: hub.clone(),
            shard: shard.clone(),
            epoch,
            seen_ms,
            ready: SmallVec::new(),
            detour: true,
        };
        hub.emit(shard, &StreamEvent::Published(self.clone()));
        Ok(publisher)
    }

    /// Clears what belongs to one publisher and tells the takers.
    fn end_of_publish(&self, inner: &mut Inner) {
        inner.gop = Vec::new();
        inner.tracks.clear();
        inner.door.forget_vitals();
        let generation = inner.headers.generation.saturating_add(1);
        inner.headers = Arc::new(Headers { generation, ..Headers::default() });
        inner.seq = inner.seq.saturating_add(1);
        let seq = inner.seq;
        for taker in &inner.takers {
            taker.tx.send_event(ShardMsg { stream: self.id, seq, what: What::Unpublished });
        }
    }

    fn unpublish(&self, epoch: u64) -> bool {
        let mut inner = self.lock();
        if inner.publisher.as_ref().is_none_or(|p| p.epoch != epoch) {
            return false;
        }
        let gone = inner.publisher.take();
        inner.silent_since = Some(Instant::now());
        // Before the subscribers are told, who may ask.
        self.active.store(false, Relaxed);
        self.end_of_publish(&mut inner);
        if inner.takers.is_empty() {
            inner.idle_since = Some(Instant::now());
        }
        drop(inner);
        // Its end may be told to others, who must not meet the lock.
        drop(gone);
        self.changed.send_modify(|v| *v = v.wrapping_add(1));
        true
    }
}

impl Inner {
    /// Books a frame that passed the door. `None` when it is not forwarded.
    fn admit(&mut self, frame: Frame, stats: &StreamStats) -> Option<(Arc<Frame>, bool)> {
        let mut notable = false;
        let kind = frame.kind();
        if frame.is_config() {
            let repeated = self.headers.holds(&frame);
            if repeated && self.options.reduce_sequence_header {
                return None;
            }
            notable = !repeated;
        }
        if frame.is_media() && (kind == Kind::Video || !self.headers.has_video) {
            stats.frames.fetch_add(1, Relaxed);
        }
        let first_of_kind = match kind {
            Kind::Video => !self.headers.has_video,
            Kind::Audio => !self.headers.has_audio,
            Kind::Data => false,
        };
        self.book_track(&frame);
        if notable || first_of_kind {
            Arc::make_mut(&mut self.headers).book(&frame);
        }
        let frame = Arc::new(frame);
        match self.rule.observe(&frame, notable) {
            GopAction::Restart => {
                self.gop.clear();
                self.gop.push(frame.clone());
            }
            GopAction::Keep => self.gop.push(frame.clone()),
            GopAction::Clear => self.gop = Vec::new(),
            GopAction::Pass => {}
        }
        Some((frame, notable || first_of_kind))
    }

    fn book_track(&mut self, frame: &Frame) {
        if frame.kind() == Kind::Data {
            return;
        }
        let same = |t: &TrackState| t.track == frame.track && t.codec.kind() == frame.kind();
        let at = match self.tracks.iter().position(same) {
            Some(at) => at,
            None if self.tracks.len() < MAX_TRACKS => {
                self.tracks.push(TrackState {
                    codec: frame.codec,
                    track: frame.track,
                    tag: frame.tag,
                    config: None,
                    first: Bytes::new(),
                    frames: 0,
                });
                self.tracks.len().saturating_sub(1)
            }
            None => return,
        };
        let Some(track) = self.tracks.get_mut(at) else { return };
        if track.codec != frame.codec {
            track.config = None;
            track.first = Bytes::new();
        }
        track.codec = frame.codec;
        track.tag = frame.tag;
        if frame.is_config() {
            track.config = Some(frame.payload.clone());
        } else if frame.is_media() {
            track.frames = track.frames.saturating_add(1);
            if track.first.is_empty() {
                let head = frame.payload.get(..64).unwrap_or(&frame.payload);
                track.first = Bytes::copy_from_slice(head);
            }
        }
    }
}

#[cfg(test)]
mod tests;
