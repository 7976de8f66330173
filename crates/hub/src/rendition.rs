//! A rendition: one stream in one wire form on one shard. Packages each frame once into its log
//! and walks its subscribers.

mod trim;
mod walk;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use media::{Frame, Kind, Timestamp};

use crate::log::Log;
use crate::pace::{Delivery, Pace};
use crate::stream::{GopAction, GopRule, Headers, Snapshot, Stream};
use crate::subscriber::Sub;

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
const MAX_LOG_BYTES: usize = 32 << 20;
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
    inner: RefCell<Inner>,
}

struct Inner {
    packager: Box<dyn Packager>,
    log: Log,
    rule: GopRule,
    gop_max: (bool, usize),
    headers: Headers,
    subs: Vec<Rc<Sub>>,
    delivery: Delivery,
    seq: u64,
    /// The next subscriber to serve, and how many are still owed their turn.
    pos: usize,
    owed: usize,
    /// Drip mode: messages each subscriber may get in this walk.
    drip: usize,
    next_drip: Option<Instant>,
    /// For each tick since the next group was served, when the first frame after it came.
    uncovered: VecDeque<Option<Instant>>,
    pending: bool,
    pending_video: bool,
    since_trim: u32,
    last_video: Option<Timestamp>,
    interval: Duration,
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

/// What a walk did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walked {
    pub(crate) sends: u64,
    pub(crate) bytes: u64,
    pub(crate) more: bool,
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
            gop_max: (options.gop_cache, options.gop_cache_max_frames),
            headers: Headers::default(),
            subs: Vec::new(),
            delivery,
            seq: 0,
            pos: 0,
            owed: 0,
            drip: 0,
            next_drip: None,
            uncovered: VecDeque::from([None]),
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
        inner.headers = (*snapshot.headers).clone();
        inner.seq = snapshot.seq;
        inner.pending = false;
        inner.pending_video = false;
        inner.period = Period::default();
        Rc::new(Self { stream, name: form.name, variant: form.variant, inner: RefCell::new(inner) })
    }

    /// Packages one frame into the log; sends nothing yet.
    pub(crate) fn push(&self, seq: u64, frame: &Frame) {
        let mut inner = self.inner.borrow_mut();
        if seq <= inner.seq {
            return; // the snapshot held it
        }
        inner.seq = seq;
        inner.append(frame);
    }

    pub(crate) fn unpublished(&self, seq: u64) {
        let mut inner = self.inner.borrow_mut();
        inner.seq = inner.seq.max(seq);
        inner.log.clear_join();
        let generation = inner.headers.generation.saturating_add(1);
        inner.headers = Headers { generation, ..Headers::default() };
        let options = self.stream.options();
        inner.rule = GopRule::new(&options);
        inner.last_video = None;
        // What is left of the last frames goes out now: no video frame will come to carry it.
        inner.owed = inner.subs.len();
        inner.pending = false;
    }

    /// Adopts the options that a new publisher or a reload brought.
    pub(crate) fn refresh(&self, delivery: Option<Delivery>) {
        let options = self.stream.options();
        let mut inner = self.inner.borrow_mut();
        let now = (options.gop_cache, options.gop_cache_max_frames);
        if now != inner.gop_max {
            inner.gop_max = now;
            inner.rule = GopRule::new(&options);
            if !options.gop_cache {
                inner.log.clear_join();
            }
        }
        if let Some(delivery) = delivery {
            inner.delivery = delivery;
        }
    }

    /// Decides what the frames since the last call mean for the subscribers. Returns whether the
    /// pacer has to look at this rendition later (something waits, or a walk is owed).
    pub(crate) fn flush(&self, shard_pace: Pace, now: Instant) -> bool {
        let mut inner = self.inner.borrow_mut();
        let fresh = std::mem::take(&mut inner.pending);
        let video = std::mem::take(&mut inner.pending_video);
        if inner.subs.is_empty() {
            return false;
        }
        if fresh {
            inner.period.batches = inner.period.batches.saturating_add(1);
            if video {
                inner.period.video = inner.period.video.saturating_add(1);
            }
            if let Delivery::Drip(_) = inner.delivery {
                return true;
            }
            match inner.pace(shard_pace) {
                Pace::Message => inner.owed = inner.subs.len(),
                pace => {
                    if let Some(back) = inner.uncovered.back_mut() {
                        back.get_or_insert(now);
                    }
                    if video {
                        inner.tick(pace);
                    }
                }
            }
        }
        inner.owed > 0 || inner.uncovered.iter().any(Option::is_some)
    }

    /// Subscribers still owed their turn.
    pub(crate) fn owed(&self) -> usize {
        self.inner.borrow().owed
    }

    /// The timer: a group whose oldest unsent frame has waited too long is served although no
    /// video frame came. Returns whether something still waits.
    pub(crate) fn on_timer(&self, shard_pace: Pace, now: Instant) -> bool {
        let mut inner = self.inner.borrow_mut();
        if inner.subs.is_empty() {
            inner.uncovered = VecDeque::from([None]);
            return false;
        }
        if let Delivery::Drip(every) = inner.delivery {
            return inner.drip_due(every, now);
        }
        let pace = inner.pace(shard_pace);
        let hold = inner.hold(pace);
        if inner.uncovered.front().copied().flatten().is_some_and(|t| now >= t + hold) {
            inner.tick(pace);
        }
        inner.owed > 0 || inner.uncovered.iter().any(Option::is_some)
    }

    /// Serves owed subscribers until `deadline`.
    pub(crate) fn walk(&self, deadline: Instant) -> Walked {
        let mut inner = self.inner.borrow_mut();
        let walked = inner.walk(deadline);
        drop(inner);
        if walked.bytes > 0 {
            self.stream.stats.send_bytes.fetch_add(walked.bytes, Relaxed);
        }
        walked
    }

    /// Adds a subscriber; `initial` goes out before anything else.
    pub(crate) fn add(&self, sub: Sub, initial: &[u8]) -> Rc<Sub> {
        let mut guard = self.inner.borrow_mut();
        let inner = &mut *guard;
        let at = if sub.options.from_key { inner.log.join() } else { inner.log.head() };
        sub.offset.set(at);
        sub.generation.set(inner.headers.generation);
        {
            let mut rest = sub.rest.borrow_mut();
            rest.extend_from_slice(initial);
            let time = inner.log.dts_at(at).or_else(|| inner.log.newest_dts());
            inner.packager.prelude(&inner.headers, time, &mut rest);
        }
        sub.slot.set(inner.subs.len());
        let sub = Rc::new(sub);
        inner.subs.push(sub.clone());
        sub
    }

    /// Removes a subscriber; `true` when it was the last.
    pub(crate) fn remove(&self, sub: &Sub) -> bool {
        let mut inner = self.inner.borrow_mut();
        let slot = sub.slot.get();
        if inner.subs.get(slot).is_some_and(|s| std::ptr::eq(&raw const **s, sub)) {
            inner.subs.swap_remove(slot);
            if let Some(moved) = inner.subs.get(slot) {
                moved.slot.set(slot);
            }
            let n = inner.subs.len();
            inner.owed = inner.owed.min(n);
            if inner.subs.capacity() > 64 && inner.subs.capacity() > n.saturating_mul(4) {
                inner.subs.shrink_to(n.saturating_mul(2));
            }
        }
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

    pub(crate) fn has_bytes(&self, sub: &Sub) -> bool {
        if !sub.rest.borrow().is_empty() {
            return true;
        }
        !sub.paused.get() && self.inner.borrow().log.head() > sub.offset.get()
    }

    pub(crate) fn take(&self, sub: &Sub, max: usize, out: &mut Vec<u8>) -> usize {
        let before = out.len();
        out.append(&mut sub.rest.borrow_mut());
        if !sub.paused.get() {
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
        inner.move_to(sub, to);
    }

    pub(crate) fn lag_ms(&self, sub: &Sub) -> i64 {
        let inner = self.inner.borrow();
        match (inner.log.newest_dts(), inner.log.dts_at(sub.offset.get())) {
            (Some(newest), Some(at)) => newest.micros_since(at) / 1000,
            _ => 0,
        }
    }

    /// Takes the figures of the period that ends.
    pub(crate) fn take_period(&self, shard_pace: Pace) -> Period {
        let mut inner = self.inner.borrow_mut();
        let mut period = std::mem::take(&mut inner.period);
        period.subs = inner.subs.len();
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
        let packager = &mut self.packager;
        let grown = self.log.append(frame.dts, |out| packager.push(frame, out));
        let kind = frame.kind();
        let new_config = frame.is_config() && self.headers.book(frame);
        match self.rule.observe(frame, new_config) {
            GopAction::Restart => self.log.set_join(at),
            GopAction::Clear => self.log.clear_join(),
            GopAction::Keep | GopAction::Pass => {}
        }
        if grown == 0 {
            return;
        }
        self.pending = true;
        if kind == Kind::Video && frame.is_media() {
            self.pending_video = true;
            if let Some(last) = self.last_video.replace(frame.dts) {
                let us = frame.dts.micros_since(last).clamp(5_000, 1_000_000);
                let us = Duration::from_micros(u64::try_from(us).unwrap_or(40_000));
                self.interval = (self.interval * 7 + us) / 8;
            }
        }
        self.since_trim = self.since_trim.saturating_add(1);
        if frame.is_key() || self.since_trim >= TRIM_EVERY {
            self.since_trim = 0;
            self.trim();
        }
    }
}
