//! A shard: one OS thread, one core, one single-threaded runtime. Sessions live and die on it.

mod inbox;
mod pacer;
mod stats;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use media::Frame;
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;

use crate::bell::Bell;
use crate::frames::{FrameQueue, FrameReceiver, Received};
use crate::pace::{Delivery, Governor, Pace};
use crate::rendition::{BATCH, Batcher, Form, Rendition};
use crate::stream::Stream;
use crate::subscriber::{Sink, State, Sub, SubscribeOptions, Subscriber};

use inbox::JOBS;
pub(crate) use inbox::{FrameTx, ShardMsg, What};
pub use inbox::{Job, ShardHandle};
use pacer::GOVERN;
pub use stats::ShardStats;

/// Bytes of the buffer that all sessions of a shard read into.
const SCRATCH: usize = 64 * 1024;

/// Entries of a ring: a batch fits.
const RING: u32 = BATCH as u32;

/// How long a shard of many publishers does not listen after it has done all there was to do. At a
/// quarter, twice as many wake-ups are left; at double, joiners and the pacer's timer wait longer
/// than they gain.
const NAP: Duration = Duration::from_millis(1);

/// Streams of one batch that are flushed together at its end; those beyond, frame by frame.
const MAX_TOUCHED: usize = 64;

struct Local {
    renditions: RefCell<SmallVec<[Rc<Rendition>; 2]>>,
    receivers: RefCell<SmallVec<[Rc<FrameQueue>; 2]>>,
}

/// A shard as its own sessions see it.
pub struct Shard {
    handle: ShardHandle,
    streams: RefCell<HashMap<u64, Rc<Local>>>,
    governor: RefCell<Governor>,
    pace: Cell<Pace>,
    walk_ns: Cell<u64>,
    sends: Cell<u64>,
    /// Bytes that walks have sent in this period of the governor.
    walked: Cell<u64>,
    scratch: RefCell<Vec<u8>>,
    /// Sends many at once, where that was asked for and can be had.
    batcher: RefCell<Option<Batcher>>,
    /// Publishers that live here, and their messages in this period of the governor.
    publishers: Cell<usize>,
    messages: Cell<u64>,
    read_pause: Cell<Duration>,
    /// When the governor last looked, and the processor time that the thread had taken by then.
    looked: Cell<(Instant, Duration)>,
    /// Renditions with a walk owed, in turn.
    walks: RefCell<VecDeque<Rc<Rendition>>>,
    /// Renditions in which something waits for its time.
    waiting: RefCell<Vec<Rc<Rendition>>>,
    pacer: Notify,
}

/// How shards send to the sockets that they write to themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sender {
    /// One `send` for each subscriber's turn.
    #[default]
    Plain,
    /// Turns go to the kernel many at once.
    IoUring,
}

/// Starts `n` shards, each on a thread of its own, with plain sends.
///
/// # Errors
/// When the system gives no thread or no event queue.
pub fn start_shards(n: usize) -> io::Result<Vec<ShardHandle>> {
    start_shards_with(n, Sender::Plain)
}

/// The same with another sender. Where io_uring cannot be had a warning says why, and plain sends
/// take its place.
///
/// # Errors
/// When the system gives no thread or no event queue.
pub fn start_shards_with(n: usize, sender: Sender) -> io::Result<Vec<ShardHandle>> {
    let uring = sender == Sender::IoUring && can_batch()?;
    let mut handles = Vec::new();
    for id in 0..n.max(1) {
        let (jobs, jobs_rx) = mpsc::channel(JOBS);
        let (tx, frames_rx) = mpsc::unbounded_channel();
        let depth = Arc::new(AtomicUsize::new(0));
        let handle = ShardHandle {
            id,
            jobs,
            frames: FrameTx { tx, depth: depth.clone() },
            stats: Arc::default(),
        };
        let stats = handle.stats.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || nap(&stats))
            .build()?;
        let own = handle.clone();
        std::thread::Builder::new().name(format!("shard-{id}")).spawn(move || {
            // A ring belongs to the thread that made it.
            let batcher = if uring { ring(id, RING).map(Batcher::new) } else { None };
            let shard = Shard::new(own, batcher);
            LocalSet::new().block_on(&runtime, shard.run(jobs_rx, frames_rx, depth));
        })?;
        handles.push(handle);
    }
    Ok(handles)
}

/// Before a shard of many publishers waits, it lets a little more come: each segment that arrives
/// would wake it, though nobody reads it before its time.
fn nap(stats: &ShardStats) {
    if stats.read_pause_ms.load(Relaxed) > 0 {
        std::thread::sleep(NAP);
    }
}

/// Tries a ring out and tells what comes of it, once for all shards. On a thread that ends with
/// it: a ring that is dropped may interrupt what its thread waits for next.
fn can_batch() -> io::Result<bool> {
    let probe = std::thread::Builder::new().name("io_uring-probe".to_owned()).spawn(|| {
        match uring::Ring::new(RING) {
            Ok(ring) => {
                let mode = ring.mode();
                tracing::info!(mode, most = BATCH, "players are sent to in batches, by io_uring");
                true
            }
            Err(e) => {
                tracing::warn!("io_uring is on but cannot be used, players get plain sends: {e}");
                false
            }
        }
    })?;
    Ok(probe.join().unwrap_or(false))
}

fn ring(shard: usize, entries: u32) -> Option<uring::Ring> {
    match uring::Ring::new(entries) {
        Ok(ring) => Some(ring),
        Err(e) => {
            tracing::warn!(shard, "no io_uring for this shard, its players get plain sends: {e}");
            None
        }
    }
}

impl Shard {
    /// A ring for others who send on this shard, for batches of up to `entries` sends; `None` where
    /// plain sends were asked for, or nothing else can be had. To be made once and kept.
    pub fn ring(&self, entries: u32) -> Option<uring::Ring> {
        self.batcher.borrow().as_ref()?;
        ring(self.handle.id, entries)
    }

    fn new(handle: ShardHandle, batcher: Option<Batcher>) -> Rc<Self> {
        Rc::new(Self {
            handle,
            streams: RefCell::default(),
            governor: RefCell::default(),
            pace: Cell::default(),
            walk_ns: Cell::default(),
            sends: Cell::default(),
            walked: Cell::default(),
            publishers: Cell::default(),
            messages: Cell::default(),
            read_pause: Cell::default(),
            looked: Cell::new((Instant::now(), Duration::ZERO)),
            scratch: RefCell::new(vec![0; SCRATCH]),
            batcher: RefCell::new(batcher),
            walks: RefCell::default(),
            waiting: RefCell::default(),
            pacer: Notify::new(),
        })
    }

    async fn run(
        self: Rc<Self>,
        mut jobs: mpsc::Receiver<Job>,
        mut frames: mpsc::UnboundedReceiver<ShardMsg>,
        depth: Arc<AtomicUsize>,
    ) {
        let pacer = self.clone();
        tokio::task::spawn_local(async move { pacer.pace_loop().await });
        let mut govern = tokio::time::interval(GOVERN);
        govern.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            // In no fixed order: neither may a flood of frames keep out those who join and the
            // governor who could lower it, nor the other way round.
            tokio::select! {
                n = frames.recv_many(&mut batch, 256) => {
                    depth.fetch_sub(n, Relaxed);
                    if n == 0 {
                        return;
                    }
                    self.guard("frames", || self.receive(&mut batch));
                }
                job = jobs.recv() => match job {
                    Some(job) => {
                        let shard = self.clone();
                        self.guard("job", || job(shard));
                    }
                    None => return,
                },
                _ = govern.tick() => {
                    self.guard("governor", || self.govern());
                }
            }
        }
    }

    /// A panic in what a shard does for one session must not end the others. `false`: there was one.
    pub(crate) fn guard(&self, what: &'static str, f: impl FnOnce()) -> bool {
        let done = std::panic::catch_unwind(AssertUnwindSafe(f)).is_ok();
        if !done {
            self.handle.stats.panics.fetch_add(1, Relaxed);
            tracing::error!(shard = self.id(), what, "bug: a panic was caught, the server goes on");
        }
        done
    }

    pub(crate) fn inbox_is_drained(&self) -> bool {
        self.handle.frames.is_drained()
    }

    /// Number of the shard.
    pub fn id(&self) -> usize {
        self.handle.id
    }

    /// The shard as other threads see it.
    pub fn handle(&self) -> &ShardHandle {
        &self.handle
    }

    /// The pace its adaptive renditions are served at now.
    pub fn pace(&self) -> Pace {
        self.pace.get()
    }

    /// How long a publisher's messages may gather in the kernel between two reads, so that many
    /// publishers leave room for viewers. Zero while they are few.
    pub fn read_pause(&self) -> Duration {
        self.read_pause.get()
    }

    pub(crate) fn publisher_came(&self) {
        self.publishers.set(self.publishers.get().saturating_add(1));
    }

    pub(crate) fn publisher_went(&self) {
        self.publishers.set(self.publishers.get().saturating_sub(1));
    }

    pub(crate) fn message_came(&self) {
        self.messages.set(self.messages.get().wrapping_add(1));
    }

    /// Runs a session on this shard. A panic in it ends that session only and is told as a bug.
    ///
    /// The future is stored as it is: what a session needs for a moment only belongs in a box
    /// inside it, since there are thousands of them.
    pub fn spawn(
        self: &Rc<Self>,
        session: impl Into<Arc<str>>,
        task: impl Future<Output = ()> + 'static,
    ) {
        self.handle.stats.sessions.fetch_add(1, Relaxed);
        tokio::task::spawn_local(Guarded { shard: self.clone(), session: session.into(), task });
    }

    /// Lends the shard's read buffer. Must not be called again from within `f`.
    pub fn with_scratch<R>(&self, f: impl FnOnce(&mut [u8]) -> R) -> R {
        f(&mut self.scratch.borrow_mut())
    }

    fn local(&self, stream: &Arc<Stream>) -> Rc<Local> {
        self.streams
            .borrow_mut()
            .entry(stream.id)
            .or_insert_with(|| {
                Rc::new(Local { renditions: RefCell::default(), receivers: RefCell::default() })
            })
            .clone()
    }

    /// Begins to serve a socket from the log of `form`. `initial` (protocol replies, an HTTP head)
    /// goes out first, then the prelude, then the log. The pacer writes to `tcp` by itself from
    /// here on: the caller may still read, and sends only through
    /// [`send_control`](Subscriber::send_control).
    pub fn subscribe(
        self: &Rc<Self>,
        stream: &Arc<Stream>,
        form: Form,
        delivery: Delivery,
        options: SubscribeOptions,
        tcp: Rc<TcpStream>,
        initial: &[u8],
    ) -> Subscriber {
        let subscriber =
            self.subscribe_with(stream, form, delivery, options, Sink::Direct(tcp), initial);
        subscriber.rendition.resume(&subscriber.sub);
        subscriber
    }

    /// The same for a caller that takes the bytes and sends them itself (TLS, HTTP/2).
    pub fn subscribe_pull(
        self: &Rc<Self>,
        stream: &Arc<Stream>,
        form: Form,
        delivery: Delivery,
        options: SubscribeOptions,
        initial: &[u8],
    ) -> Subscriber {
        self.subscribe_with(stream, form, delivery, options, Sink::Pull, initial)
    }

    fn subscribe_with(
        self: &Rc<Self>,
        stream: &Arc<Stream>,
        form: Form,
        delivery: Delivery,
        options: SubscribeOptions,
        sink: Sink,
        initial: &[u8],
    ) -> Subscriber {
        let local = self.local(stream);
        // Should the packager panic, the session that joins ends, and nothing is left behind.
        let joining = Joining { shard: self, stream };
        let same = |r: &&Rc<Rendition>| r.name == form.name && r.variant == form.variant;
        let found = local.renditions.borrow().iter().find(same).cloned();
        let rendition = found.unwrap_or_else(|| {
            let snapshot = stream.attach(self.id(), &self.handle.frames);
            let made = Rendition::new(stream.clone(), form, delivery, snapshot);
            local.renditions.borrow_mut().push(made.clone());
            self.handle.stats.renditions.fetch_add(1, Relaxed);
            made
        });
        let sub = Sub {
            sink,
            offset: Cell::new(0),
            state: Cell::new(State::Walking),
            paused: Cell::new(false),
            slot: Cell::new(0),
            generation: Cell::new(0),
            rest: RefCell::default(),
            wake: Bell::default(),
            progress: Cell::new(Instant::now()),
            awaits: Cell::new(None),
            told_lag: Cell::new(None),
            queue_length: options.queue_length,
            session: options.session,
            counters: options.counters,
        };
        let sub = rendition.add(sub, options.from_key, initial);
        drop(joining);
        self.handle.stats.subscribers.fetch_add(1, Relaxed);
        Subscriber { sub, rendition, shard: self.clone() }
    }

    /// Receives the frames themselves. Begins with what joiners would get: the configurations and
    /// the cached frames from the last key frame on.
    pub fn subscribe_frames(self: &Rc<Self>, stream: &Arc<Stream>) -> FrameReceiver {
        let local = self.local(stream);
        let snapshot = stream.attach(self.id(), &self.handle.frames);
        let queue = Rc::new(FrameQueue::new(stream));
        queue.is_new(snapshot.seq);
        if let Some(owner) = snapshot.owner {
            queue.push_event(Received::Published(owner));
            for frame in snapshot.headers.in_order() {
                queue.push(frame);
            }
            for frame in &snapshot.gop {
                queue.push(frame);
            }
        }
        local.receivers.borrow_mut().push(queue.clone());
        FrameReceiver { queue, stream: stream.clone(), shard: self.clone() }
    }

    pub(crate) fn drop_rendition(&self, rendition: &Rc<Rendition>) {
        self.drop_renditions(&rendition.stream, |r| Rc::ptr_eq(r, rendition));
    }

    fn drop_renditions(&self, stream: &Arc<Stream>, which: impl Fn(&Rc<Rendition>) -> bool) {
        if let Some(local) = self.streams.borrow().get(&stream.id) {
            let mut renditions = local.renditions.borrow_mut();
            let before = renditions.len();
            renditions.retain(|r| !which(r));
            let gone = before.saturating_sub(renditions.len());
            self.handle.stats.renditions.fetch_sub(gone, Relaxed);
        }
        self.forget_if_unused(stream);
    }

    pub(crate) fn left(&self) {
        self.handle.stats.subscribers.fetch_sub(1, Relaxed);
    }

    pub(crate) fn drop_receiver(&self, stream: &Arc<Stream>, queue: &Rc<FrameQueue>) {
        if let Some(local) = self.streams.borrow().get(&stream.id) {
            local.receivers.borrow_mut().retain(|q| !Rc::ptr_eq(q, queue));
        }
        self.forget_if_unused(stream);
    }

    fn forget_if_unused(&self, stream: &Arc<Stream>) {
        let mut streams = self.streams.borrow_mut();
        let unused = streams.get(&stream.id).is_some_and(|local| {
            local.renditions.borrow().is_empty() && local.receivers.borrow().is_empty()
        });
        if unused {
            streams.remove(&stream.id);
            stream.detach(self.id());
        }
    }

    fn find(&self, stream: u64) -> Option<Rc<Local>> {
        self.streams.borrow().get(&stream).cloned()
    }

    pub(crate) fn deliver(&self, stream: u64, seq: u64, frame: &Arc<Frame>) {
        self.each(stream, seq, |r| r.push(seq, frame), |q| q.push(frame));
    }

    fn receive(self: &Rc<Self>, batch: &mut Vec<ShardMsg>) {
        let mut touched: SmallVec<[u64; 16]> = SmallVec::new();
        for ShardMsg { stream, seq, what } in batch.drain(..) {
            match what {
                What::Frame(frame) => self.deliver(stream, seq, &frame),
                What::Resume { headers, frame, lost } => self.each(
                    stream,
                    seq,
                    |r| r.resume_stream(seq, &headers, &frame),
                    |q| {
                        q.lose(lost);
                        headers.in_order().for_each(|config| q.push(config));
                        q.push(&frame);
                    },
                ),
                What::Published(owner) => {
                    self.each(
                        stream,
                        seq,
                        |r| r.refresh(None),
                        |q| q.push_event(Received::Published(owner.clone())),
                    );
                }
                What::Unpublished => {
                    self.each(
                        stream,
                        seq,
                        |r| r.unpublished(seq),
                        |q| q.push_event(Received::Unpublished),
                    );
                }
            }
            if !touched.contains(&stream) {
                if touched.len() < MAX_TOUCHED {
                    touched.push(stream);
                } else {
                    self.flush(stream);
                }
            }
        }
        for stream in touched {
            self.flush(stream);
        }
    }

    /// Hands something to all takers of a stream. A rendition that panics is taken out, and the
    /// others do not notice.
    fn each(
        &self,
        stream: u64,
        seq: u64,
        to_rendition: impl Fn(&Rendition),
        to_queue: impl Fn(&FrameQueue),
    ) {
        let Some(local) = self.find(stream) else { return };
        let mut broken = None;
        for rendition in local.renditions.borrow().iter() {
            if !self.guard("rendition", || to_rendition(rendition)) {
                rendition.break_off();
                broken = Some(rendition.stream.clone());
            }
        }
        for queue in local.receivers.borrow().iter() {
            if queue.is_new(seq) {
                to_queue(queue);
            }
        }
        if let Some(stream) = broken {
            self.drop_renditions(&stream, |r| r.broken.get());
        }
    }

    /// Applies the delivery options of a reloaded virtual host to a stream on this shard.
    pub fn reconfigure(&self, stream: &Arc<Stream>, delivery: Delivery) {
        if let Some(local) = self.find(stream.id) {
            for rendition in local.renditions.borrow().iter() {
                rendition.refresh(Some(delivery));
            }
        }
    }
}

pin_project! {
    /// A session's task; a panic in it is caught.
    struct Guarded<F> {
        shard: Rc<Shard>,
        session: Arc<str>,
        #[pin]
        task: F,
    }
}

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let task = this.task;
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| task.poll(cx)));
        if matches!(polled, Ok(Poll::Pending)) {
            return Poll::Pending;
        }
        let stats = &this.shard.handle.stats;
        stats.sessions.fetch_sub(1, Relaxed);
        if polled.is_err() {
            stats.panics.fetch_add(1, Relaxed);
            let session = &**this.session;
            tracing::error!(%session, "bug: the session panicked and was ended");
        }
        Poll::Ready(())
    }
}

/// Takes away what was made for a subscriber that did not come to be.
struct Joining<'a> {
    shard: &'a Shard,
    stream: &'a Arc<Stream>,
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        self.shard.drop_renditions(self.stream, |r| r.is_unused());
    }
}
