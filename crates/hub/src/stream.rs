//! A stream: its identity, its one publisher, what a joiner needs, and which shards take it.

use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{Codec, Flags, Frame, Kind};
use smallvec::SmallVec;
use tokio::sync::watch;

use crate::door::{Door, DoorOptions};
use crate::registry::{Hub, StreamEvent};
use crate::shard::{FrameTx, Shard, ShardMsg, What};

/// Tracks of one kind that a stream keeps configurations for. Encoders send one, multitrack ones
/// a handful; the bound keeps a hostile publisher from growing the table.
const MAX_TRACKS: usize = 32;

/// Audio frames after which a stream without video counts as pure audio, which is not cached.
/// About 2.5 s of AAC: SRS uses the same number.
const PURE_AUDIO_FRAMES: usize = 115;

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

/// What a new taker gets before the first frame.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// The stream's metadata (`onMetaData`), if the publisher sent any.
    pub metadata: Option<Arc<Frame>>,
    /// Configurations, audio before video, lower tracks first.
    pub configs: SmallVec<[Arc<Frame>; 4]>,
    /// Goes up with each change of the above.
    pub generation: u64,
    /// A video frame or configuration has been seen from this publisher.
    pub has_video: bool,
    /// An audio frame or configuration has been seen from this publisher.
    pub has_audio: bool,
}

impl Headers {
    /// Metadata, audio, video: the order in which SRS sends them.
    pub fn in_order(&self) -> impl Iterator<Item = &Arc<Frame>> {
        self.metadata.iter().chain(self.configs.iter())
    }

    /// Takes a frame in. `true` when it is a configuration or metadata that differs from what
    /// was known.
    pub(crate) fn book(&mut self, frame: &Frame) -> bool {
        let kind = frame.kind();
        match kind {
            Kind::Video => self.has_video = true,
            Kind::Audio => self.has_audio = true,
            Kind::Data => {}
        }
        if !frame.is_config() || self.holds(frame) {
            return false;
        }
        self.generation = self.generation.saturating_add(1);
        if kind == Kind::Data && frame.track == 0 {
            self.metadata = Some(Arc::new(frame.clone()));
            return true;
        }
        self.configs.retain(|f| f.kind() != kind || f.track != frame.track);
        if self.configs.len() < MAX_TRACKS {
            self.configs.push(Arc::new(frame.clone()));
            self.configs.sort_by_key(|f| (f.kind() == Kind::Video, f.track));
        }
        true
    }

    /// Whether this very configuration is known already.
    fn holds(&self, frame: &Frame) -> bool {
        let same = |f: &&Arc<Frame>| f.codec == frame.codec && f.payload == frame.payload;
        if frame.kind() == Kind::Data && frame.track == 0 {
            return self.metadata.as_ref().is_some_and(|f| same(&f));
        }
        self.configs.iter().any(|f| f.track == frame.track && same(&f))
    }
}

/// A track as the API tells it.
#[derive(Clone, Debug)]
pub struct TrackState {
    /// Coding of the track.
    pub codec: Codec,
    /// Track number within its kind.
    pub track: u8,
    /// The container's name for the coding, see [`Frame::tag`].
    pub tag: u32,
    /// Its configuration, if the coding has one and it arrived.
    pub config: Option<Bytes>,
    /// The first bytes of its first frame, for codings that describe themselves in band.
    pub first: Bytes,
    /// Media frames so far.
    pub frames: u64,
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
const STALE_AFTER: Duration = Duration::from_secs(1);

/// Why a publisher was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndPublish {
    /// A newer publisher took the stream.
    TakenOver,
}

/// The session behind a publisher, as far as the hub needs to know it.
pub trait PublisherOwner: Send + Sync {
    /// Ends the session soon. Called with no lock held; must not block.
    fn end(&self, why: EndPublish);
    /// The session id, for the API and the log.
    fn id(&self) -> &str;
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

struct Slot {
    epoch: u64,
    owner: Arc<dyn PublisherOwner>,
    /// Milliseconds since the hub began at which the publisher last sent anything.
    seen_ms: Arc<AtomicU64>,
}

struct Taker {
    shard: usize,
    tx: FrameTx,
    /// The inbox was full: wait for a key frame before sending again.
    lost: bool,
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
}

/// What a shard gets when it begins to take a stream, or a new form of it.
pub(crate) struct Snapshot {
    pub(crate) headers: Arc<Headers>,
    pub(crate) gop: Vec<Arc<Frame>>,
    pub(crate) seq: u64,
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
                idle_since: Some(started),
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
            inner.takers.push(Taker { shard, tx: tx.clone(), lost: false });
        }
        inner.idle_since = None;
        Snapshot { headers: inner.headers.clone(), gop: inner.gop.clone(), seq: inner.seq }
    }

    pub(crate) fn detach(&self, shard: usize) {
        let mut inner = self.lock();
        inner.takers.retain(|t| t.shard != shard);
        if inner.takers.is_empty() && inner.publisher.is_none() {
            inner.idle_since = Some(Instant::now());
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
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
        let now = self.now_ms();
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
        inner.publisher = Some(Slot { epoch, owner, seen_ms: seen_ms.clone() });
        inner.door.reconfigure(&options.door);
        inner.door.republish();
        inner.rule = GopRule::new(&options);
        inner.options = options;
        inner.idle_since = None;
        self.active.store(true, Relaxed);
        for taker in &mut inner.takers {
            taker.lost = false;
            taker.tx.send_event(ShardMsg { stream: self.id, seq: 0, what: What::Published });
        }
        drop(inner);
        if let Some(old) = old {
            old.owner.end(EndPublish::TakenOver);
        }
        self.changed.send_modify(|v| *v = v.wrapping_add(1));
        let publisher = Publisher {
            stream: self.clone(),
            hub: hub.clone(),
            shard: shard.clone(),
            epoch,
            seen_ms,
            ready: SmallVec::new(),
        };
        hub.emit(shard, &StreamEvent::Published(self.clone()));
        Ok(publisher)
    }

    /// Clears what belongs to one publisher and tells the takers.
    fn end_of_publish(&self, inner: &mut Inner) {
        inner.gop = Vec::new();
        inner.tracks.clear();
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
        inner.publisher = None;
        self.end_of_publish(&mut inner);
        if inner.takers.is_empty() {
            inner.idle_since = Some(Instant::now());
        }
        self.active.store(false, Relaxed);
        drop(inner);
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

/// The right to push frames into a stream. One at a time per stream; dropping it ends the
/// publish. Lives on one shard and never leaves it.
pub struct Publisher {
    stream: Arc<Stream>,
    hub: Arc<Hub>,
    shard: Rc<Shard>,
    epoch: u64,
    seen_ms: Arc<AtomicU64>,
    ready: SmallVec<[(u64, Arc<Frame>); 4]>,
}

impl Publisher {
    /// The stream it publishes.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Says that the publisher's connection is alive though it may have sent no frame.
    pub fn touch(&self) {
        self.seen_ms.store(self.stream.now_ms(), Relaxed);
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
        self.touch();
        let stats = &self.stream.stats;
        stats.recv_bytes.fetch_add(frame.payload.len() as u64, Relaxed);
        let mut changed = false;
        {
            let mut guard = self.stream.lock();
            let inner = &mut *guard;
            if inner.publisher.as_ref().is_none_or(|p| p.epoch != self.epoch) {
                return Err(Superseded);
            }
            let mut out: SmallVec<[Frame; 4]> = SmallVec::new();
            inner.door.push(frame, now, &mut out);
            for frame in out {
                if frame.flags.contains(Flags::DISCONTINUITY) {
                    stats.discontinuities.fetch_add(1, Relaxed);
                }
                let Some((frame, notable)) = inner.admit(frame, stats) else { continue };
                changed |= notable;
                inner.seq = inner.seq.saturating_add(1);
                let seq = inner.seq;
                for taker in &mut inner.takers {
                    if taker.shard == self.shard.id() {
                        self.ready.push((seq, frame.clone()));
                    } else {
                        taker.offer(self.stream.id, seq, &frame, stats);
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

impl Taker {
    fn offer(&mut self, stream: u64, seq: u64, frame: &Arc<Frame>, stats: &StreamStats) {
        if self.lost && !frame.is_key() && !frame.is_config() {
            stats.dropped_inbox.fetch_add(1, Relaxed);
            return;
        }
        let what = What::Frame(frame.clone());
        self.lost = !self.tx.try_send_frame(ShardMsg { stream, seq, what });
        if self.lost {
            stats.dropped_inbox.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if self.stream.unpublish(self.epoch) {
            self.hub.emit(&self.shard, &StreamEvent::Unpublished(self.stream.clone()));
        }
    }
}

/// What a frame means for the cache of joiners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GopAction {
    /// A key frame: the cache begins here.
    Restart,
    /// Belongs to the cache.
    Keep,
    /// The cache is of no use any more: joiners start at the head.
    Clear,
    /// Not cached.
    Pass,
}

/// Decides which frames a joiner gets; the same rule for the stream and for each log.
#[derive(Clone, Debug)]
pub(crate) struct GopRule {
    enabled: bool,
    max_frames: usize,
    open: bool,
    frames: usize,
    audio_run: usize,
}

impl GopRule {
    pub(crate) fn new(options: &PublishOptions) -> Self {
        Self {
            enabled: options.gop_cache,
            max_frames: options.gop_cache_max_frames,
            open: false,
            frames: 0,
            audio_run: 0,
        }
    }

    fn reconfigure(&mut self, options: &PublishOptions) {
        self.enabled = options.gop_cache;
        self.max_frames = options.gop_cache_max_frames;
        if !self.enabled {
            self.open = false;
        }
    }

    /// `new_config`: the frame is a configuration that differs from the one before.
    pub(crate) fn observe(&mut self, frame: &Frame, new_config: bool) -> GopAction {
        if !self.enabled {
            return GopAction::Pass;
        }
        let kind = frame.kind();
        if frame.is_config() {
            // What was cached was coded with the old configuration: a joiner gets the new one
            // first and could not decode it.
            if kind == Kind::Video && new_config && self.open {
                self.open = false;
                return GopAction::Clear;
            }
            return if self.open && kind != Kind::Data { GopAction::Keep } else { GopAction::Pass };
        }
        if kind == Kind::Video {
            self.audio_run = 0;
            if frame.is_key() && frame.track == 0 {
                self.open = true;
                self.frames = 1;
                return GopAction::Restart;
            }
        } else if kind == Kind::Audio {
            self.audio_run = self.audio_run.saturating_add(1);
            if self.open && self.audio_run > PURE_AUDIO_FRAMES {
                self.open = false;
                return GopAction::Clear;
            }
        }
        if !self.open {
            return GopAction::Pass;
        }
        self.frames = self.frames.saturating_add(1);
        if self.max_frames > 0 && self.frames > self.max_frames {
            self.open = false;
            return GopAction::Clear;
        }
        GopAction::Keep
    }
}

#[cfg(test)]
mod tests;
