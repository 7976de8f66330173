//! A rendition: one stream in one wire form on one shard. Packages each frame once into its log
//! and walks its subscribers.

mod batch;
mod trim;
mod walk;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use media::{Frame, Kind, Timestamp};

use crate::log::Log;
use crate::pace::{Delivery, Pace};
use crate::stream::{Demand, GopAction, GopRule, Headers, MAX_GOP_BYTES, Snapshot, Stream};
use crate::subscriber::{End, State, Sub};

pub(crate) use batch::{BATCH, Batcher};

/// Turns frames into the bytes of one wire form. Pure: what it appends depends on nothing but the
/// frames it was given. Every message stands alone, so that a subscriber may begin at any border.
pub trait Packager {
    /// Appends the message for one frame (a configuration too). Appends nothing when the form
    /// cannot carry it. On the frame path, once per frame and shard: no allocation of its own.
    fn push(&mut self, frame: &Frame, out: &mut Vec<u8>);

    /// Appends what a new subscriber gets before its first message. `at` is the time of that
    /// message, `None` when nothing has been published yet.
    fn prelude(&mut self, headers: &Headers, at: Option<Timestamp>, out: &mut Vec<u8>);

    /// Appends what a subscriber needs that jumped over a change of configuration.
    fn resume(&mut self, headers: &Headers, at: Timestamp, out: &mut Vec<u8>) {
        let _ = (headers, at, out);
    }
}

/// Names a wire form and makes its packager.
pub struct Form {
    /// Which form, for sharing: subscribers with equal name and variant share one rendition.
    pub name: &'static str,
    /// Parameters that change the bytes (chunk size, framing, tracks left out), packed.
    pub variant: u64,
    /// Makes the packager at the first taker.
    pub make: Box<dyn FnOnce() -> Box<dyn Packager>>,
}

/// Bytes a log may hold for laggards and joiners, whatever the times say: a 30 s window of
/// 8 Mbit/s. Beyond it viewers jump earlier and, at a huge GOP, joiners start at the head.
const MAX_LOG_BYTES: usize = MAX_GOP_BYTES;
/// Without key frames the log is looked over every so many messages.
const TRIM_EVERY: u32 = 64;
/// Audio waits for the next video frame no longer than this (per group).
const HOLD: Duration = Duration::from_millis(40);
/// Sends between two looks at the clock within a walk.
const CLOCK_EVERY: usize = 8;

pub(crate) struct Rendition {
    pub(crate) stream: Arc<Stream>,
    pub(crate) name: &'static str,
    pub(crate) variant: u64,
    /// Stands in the pacer's queue of walks.
    pub(crate) queued: Cell<bool>,
    /// Stands in the pacer's list of those that wait.
    pub(crate) waiting: Cell<bool>,
    /// Its packager panicked: it takes nothing more.
    pub(crate) broken: Cell<bool>,
    _demand: Demand,
    inner: RefCell<Inner>,
}

struct Inner {
    packager: Box<dyn Packager>,
    log: Log,
    rule: GopRule,
    headers: Headers,
    subs: Vec<Rc<Sub>>,
    delivery: Delivery,
    seq: u64,
    /// The next subscriber to serve, and how many are still owed their turn.
    pos: usize,
    owed: usize,
    /// What a group of fractional size leaves over: subscribers times ticks, less than `k`.
    credit: usize,
    /// Drip mode: messages each subscriber may get in this walk.
    drip: usize,
    next_drip: Option<Instant>,
    /// Frames that not everybody has had a turn for, by the turns that had been granted when they
    /// came; and the turns granted so far.
    uncovered: VecDeque<Uncovered>,
    turns: u64,
    /// When the oldest frame came that the turns owed now are for.
    serving: Option<Instant>,
    pending: bool,
    pending_video: bool,
    since_trim: u32,
    last_video: Option<Timestamp>,
    /// Usual distance of video frames, and of messages.
    interval: Duration,
    spacing: Duration,
    /// Some subscribers wait for a key frame.
    awaiting: bool,
    /// Messages jumped over that the stream's counter does not know of yet.
    dropped: u64,
    period: Period,
}

/// What came in one governor period.
#[derive(Clone, Copy, Default)]
pub(crate) struct Period {
    pub(crate) batches: u32,
    pub(crate) video: u32,
    pub(crate) subs: usize,
    pub(crate) adaptive: bool,
    pub(crate) k: u32,
}

/// What came between two grants of turns.
#[derive(Clone, Copy, Default)]
struct Uncovered {
    /// When the first frame came, if any did.
    first: Option<Instant>,
    /// Turns granted before that.
    turns: u64,
}

/// What the pacer has to do for a rendition.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Todo {
    /// Subscribers whose turn it is.
    pub(crate) owed: usize,
    /// Something waits for its time.
    pub(crate) waits: bool,
}

/// What a walk did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walked {
    pub(crate) sends: u64,
    pub(crate) bytes: u64,
    pub(crate) more: bool,
    /// Calls that carried several sends, and the sends among the above that they carried.
    pub(crate) batches: u64,
    pub(crate) batched: u64,
    /// When the oldest frame came that it served; `None` while it is not over.
    pub(crate) since: Option<Instant>,
}

impl Rendition {
    pub(crate) fn new(
        stream: Arc<Stream>,
        form: Form,
        delivery: Delivery,
        snapshot: Snapshot,
    ) -> Rc<Self> {
        let options = stream.options();
        let mut inner = Inner {
            packager: (form.make)(),
            log: Log::default(),
            rule: GopRule::new(&options),
            headers: (*snapshot.headers).clone(),
            subs: Vec::new(),
            delivery,
            seq: 0,
            pos: 0,
            owed: 0,
            credit: 0,
            awaiting: false,
            dropped: 0,
            spacing: HOLD / 4,
            drip: 0,
            next_drip: None,
            uncovered: VecDeque::from([Uncovered::default()]),
            serving: None,
            turns: 0,
            pending: false,
            pending_video: false,
            since_trim: 0,
            last_video: None,
            interval: HOLD,
            period: Period::default(),
        };
        for frame in &snapshot.gop {
            inner.append(frame);
        }
        inner.seq = snapshot.seq;
        inner.pending = false;
        inner.pending_video = false;
        inner.period = Period::default();
        Rc::new(Self {
            _demand: Demand::new(&stream),
            stream,
            name: form.name,
            variant: form.variant,
            queued: Cell::default(),
            waiting: Cell::default(),
            broken: Cell::default(),
            inner: RefCell::new(inner),
        })
    }

    /// Packages one frame into the log; sends nothing yet.
    pub(crate) fn push(&self, seq: u64, frame: &Frame) {
        let mut inner = self.inner.borrow_mut();
        if seq <= inner.seq {
            return; // the snapshot held it
        }
        inner.seq = seq;
        inner.append(frame);
        self.tell_dropped(&mut inner);
    }

    /// The same for the first frame after some that did not get here. Configurations may be among
    /// those: what is not known of `headers` goes first.
    pub(crate) fn resume_stream(&self, seq: u64, headers: &Headers, frame: &Frame) {
        let mut inner = self.inner.borrow_mut();
        if seq <= inner.seq {
            return;
        }
        inner.seq = seq;
        for config in headers.in_order() {
            if !inner.headers.holds(config) {
                inner.append(config);
            }
        }
        inner.append(frame);
        self.tell_dropped(&mut inner);
    }

    fn tell_dropped(&self, inner: &mut Inner) {
        let dropped = std::mem::take(&mut inner.dropped);
        if dropped > 0 {
            self.stream.stats.dropped_lag.fetch_add(dropped, Relaxed);
        }
    }

    /// The packager panicked: its subscribers end.
    pub(crate) fn break_off(&self) {
        self.broken.set(true);
        let inner = self.inner.borrow();
        for sub in &inner.subs {
            sub.close(End::Broken);
        }
    }

    pub(crate) fn unpublished(&self, seq: u64) {
        let mut inner = self.inner.borrow_mut();
        if seq <= inner.seq {
            return; // it was made after that
        }
        inner.seq = seq;
        inner.log.clear_join();
        let generation = inner.headers.generation.saturating_add(1);
        inner.headers = Headers { generation, ..Headers::default() };
        let options = self.stream.options();
        inner.rule = GopRule::new(&options);
        inner.last_video = None;
        // What is left of the last frames goes out now: no video frame will come to carry it.
        inner.owed = inner.subs.len();
        inner.cover_all();
        inner.pending = false;
        // How long they stay without a publisher is their session's business.
        inner.subs.iter().for_each(|sub| sub.wake.ring());
    }

    /// Adopts the options that a new publisher or a reload brought.
    pub(crate) fn refresh(&self, delivery: Option<Delivery>) {
        let options = self.stream.options();
        let mut inner = self.inner.borrow_mut();
        // Switched on again, the cache begins at the next key frame, as that of the stream does.
        inner.rule.reconfigure(&options);
        if !options.gop_cache {
            inner.log.clear_join();
        }
        if let Some(delivery) = delivery {
            inner.delivery = delivery;
        }
    }

    /// Decides what the frames since the last call mean for the subscribers.
    pub(crate) fn flush(&self, shard_pace: Pace, now: Instant) -> Todo {
        let mut inner = self.inner.borrow_mut();
        let fresh = std::mem::take(&mut inner.pending);
        let video = std::mem::take(&mut inner.pending_video);
        if inner.subs.is_empty() {
            return Todo::default();
        }
        if fresh {
            inner.period.batches = inner.period.batches.saturating_add(1);
            if video {
                inner.period.video = inner.period.video.saturating_add(1);
            }
            if let Delivery::Drip(_) = inner.delivery {
                return Todo { owed: inner.owed, waits: true };
            }
            match inner.pace(shard_pace) {
                Pace::Message => {
                    inner.serving.get_or_insert(now);
                    inner.rotate();
                    inner.owed = inner.subs.len();
                    inner.cover_all();
                }
                pace => {
                    if let Some(back) = inner.uncovered.back_mut() {
                        back.first.get_or_insert(now);
                    }
                    if video {
                        inner.tick(pace);
                    }
                }
            }
        }
        inner.todo()
    }

    /// The timer: a group whose oldest unsent frame has waited too long is served although no
    /// video frame came.
    pub(crate) fn on_timer(&self, shard_pace: Pace, now: Instant) -> Todo {
        let mut inner = self.inner.borrow_mut();
        if inner.subs.is_empty() {
            inner.cover_all();
            return Todo::default();
        }
        if let Delivery::Drip(every) = inner.delivery {
            let waits = inner.drip_due(every, now);
            return Todo { owed: inner.owed, waits };
        }
        let pace = inner.pace(shard_pace);
        inner.tick_overdue(pace, now);
        inner.todo()
    }

    /// Serves owed subscribers until `deadline`, in batches if there is something to do it with.
    pub(crate) fn walk(&self, deadline: Instant, batcher: Option<&mut Batcher>) -> Walked {
        let mut inner = self.inner.borrow_mut();
        let mut walked = match batcher {
            Some(batcher) => inner.walk_in_batches(deadline, batcher),
            None => inner.walk(deadline),
        };
        if !walked.more {
            walked.since = inner.serving.take();
        }
        drop(inner);
        if walked.bytes > 0 {
            self.stream.stats.send_bytes.fetch_add(walked.bytes, Relaxed);
        }
        walked
    }

    /// Adds a subscriber; `initial` goes out before anything else.
    pub(crate) fn add(&self, sub: Sub, from_key: bool, initial: &[u8]) -> Rc<Sub> {
        let mut guard = self.inner.borrow_mut();
        let inner = &mut *guard;
        let at = if from_key { inner.log.join() } else { inner.log.head() };
        sub.offset.set(at);
        sub.generation.set(inner.headers.generation);
        {
            let mut rest = sub.rest.borrow_mut();
            rest.extend_from_slice(initial);
            let time = inner.log.dts_at(at).or_else(|| inner.log.newest_dts());
            inner.packager.prelude(&inner.headers, time, &mut rest);
        }
        let sub = Rc::new(sub);
        inner.enter(sub.clone());
        sub
    }

    /// Removes a subscriber; `true` when it was the last.
    pub(crate) fn remove(&self, sub: &Sub) -> bool {
        let mut inner = self.inner.borrow_mut();
        inner.leave(sub);
        inner.subs.is_empty()
    }

    /// Writes what a direct subscriber lacks; puts it back into the walk when it has caught up.
    pub(crate) fn resume(&self, sub: &Sub) {
        let inner = self.inner.borrow();
        let sent = inner.catch_up(sub);
        drop(inner);
        if sent > 0 {
            self.stream.stats.send_bytes.fetch_add(sent, Relaxed);
        }
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.inner.borrow().subs.is_empty()
    }

    pub(crate) fn has_bytes(&self, sub: &Sub) -> bool {
        if !sub.rest.borrow().is_empty() {
            return true;
        }
        sub.takes_media() && !self.inner.borrow().log.read(sub.offset.get()).is_empty()
    }

    pub(crate) fn take(&self, sub: &Sub, max: usize, out: &mut Vec<u8>) -> usize {
        let before = out.len();
        out.append(&mut sub.rest.borrow_mut());
        if sub.takes_media() {
            let inner = self.inner.borrow();
            let bytes = inner.log.read(sub.offset.get());
            let bytes = bytes.get(..max).unwrap_or(bytes);
            out.extend_from_slice(bytes);
            sub.offset.set(sub.offset.get().saturating_add(bytes.len() as u64));
        }
        let n = out.len().saturating_sub(before);
        sub.count_sent(n);
        self.stream.stats.send_bytes.fetch_add(n as u64, Relaxed);
        n
    }

    /// Moves the rest of a half-sent message out of the log, so that something else may follow it.
    pub(crate) fn cut_to_border(&self, sub: &Sub) {
        self.inner.borrow().cut_to_border(sub);
    }

    /// Starts over at the last key frame.
    pub(crate) fn rejoin(&self, sub: &Sub) {
        let mut inner = self.inner.borrow_mut();
        let to = inner.log.join();
        inner.end_wait(sub, to);
        inner.move_to(sub, to);
        self.tell_dropped(&mut inner);
    }

    pub(crate) fn lag_ms(&self, sub: &Sub) -> i64 {
        self.inner.borrow().log.behind(sub.offset.get()) / 1000
    }

    /// Takes the figures of the period that ends, and ends those who do not read.
    pub(crate) fn take_period(&self, shard_pace: Pace, now: Instant) -> Period {
        let mut inner = self.inner.borrow_mut();
        for sub in &inner.subs {
            sub.close_if_stalled(now);
            let lag = u64::try_from(inner.log.behind(sub.offset.get()) / 1000).unwrap_or(0);
            sub.counters.lag_ms.store(lag, Relaxed);
        }
        let mut period = std::mem::take(&mut inner.period);
        // Those that do not read cost no sends: they must not make the others wait (P3).
        let served = |sub: &&Rc<Sub>| sub.state.get() == State::Walking && !sub.paused.get();
        period.subs = inner.subs.iter().filter(served).count();
        period.adaptive = inner.delivery == Delivery::Adaptive;
        period.k = inner.pace(shard_pace).k();
        period
    }

    pub(crate) fn memory(&self) -> usize {
        self.inner.borrow().log.memory()
    }
}

impl Inner {
    fn append(&mut self, frame: &Frame) {
        let at = self.log.head();
        let kind = frame.kind();
        match kind {
            Kind::Video => self.headers.has_video = true,
            Kind::Audio => self.headers.has_audio = true,
            Kind::Data => {}
        }
        // Metadata stands at time zero wherever it comes.
        let metadata = kind == Kind::Data && frame.is_config();
        let dts = self.log.newest_dts().filter(|_| metadata).unwrap_or(frame.dts);
        let (packager, clock) = (&mut self.packager, self.log.clock());
        let grown = self.log.append(dts, |out| packager.push(frame, out));
        let new_config = frame.is_config() && self.headers.book(frame);
        match self.rule.observe(frame, new_config) {
            GopAction::Restart => self.log.set_join(at),
            GopAction::Clear => self.log.clear_join(),
            GopAction::Keep | GopAction::Pass => {}
        }
        if grown == 0 {
            return;
        }
        let key = frame.is_key() && kind == Kind::Video && frame.track == 0;
        if key {
            self.log.set_key(at);
            if self.awaiting {
                self.land(at);
            }
        }
        self.pending = true;
        let passed = self.log.clock().saturating_sub(clock);
        let passed = Duration::from_micros(u64::try_from(passed).unwrap_or(0));
        self.spacing = (self.spacing * 15 + passed) / 16;
        if kind == Kind::Video && frame.is_media() {
            self.pending_video = true;
            if let Some(last) = self.last_video.replace(frame.dts) {
                let us = frame.dts.micros_since(last).clamp(5_000, 1_000_000);
                let us = Duration::from_micros(u64::try_from(us).unwrap_or(40_000));
                self.interval = (self.interval * 7 + us) / 8;
            }
        }
        self.since_trim = self.since_trim.saturating_add(1);
        if key || self.since_trim >= TRIM_EVERY {
            self.since_trim = 0;
            self.trim();
        }
    }
}

#[cfg(test)]
mod tests;
