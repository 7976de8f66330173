//! The threads that write recordings.
//!
//! A recording belongs to one thread for its whole life, so that its frames keep their order; some
//! threads instead of one keep a disk that hangs from stopping recordings on others. What waits is
//! bounded for each recording and for all.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gate::recordings::{OpenRecording, RecordCount, Recording, Recordings};
use hub::PublisherOwner;
use media::{Frame, Kind};

use crate::disk::Files;
use crate::take::{Event, Moment, Take};

/// Threads. At half, two disks that hang stop everything; at double, little is gained.
const THREADS: usize = 4;

/// Bytes of one recording that may wait (32 MiB): half a minute of 8 Mbit/s. At half, a disk that
/// sleeps costs frames; at double, twenty recordings on a dead disk fill [`ALL_MAX`].
const ONE_MAX: usize = 32 << 20;

/// Bytes that may wait of all recordings (512 MiB). At half, 100 streams of 4 Mbit/s outlive a
/// pause of five seconds only; at double, memory hurts.
const ALL_MAX: usize = 512 << 20;

/// Frames of one recording that may wait, however small they are: each costs some hundred bytes.
const FRAMES_MAX: usize = 16_384;

/// Configurations that are kept over a gap: some tracks of each kind.
const KEPT_MAX: usize = 32;

/// Where a file's end is told.
pub type Tell = Arc<dyn Fn(&dyn PublisherOwner, &str) + Send + Sync>;

/// A recording that begins.
pub struct Begin {
    /// What is in which file.
    pub take: Take,
    /// Where the files are written.
    pub files: Box<dyn Files>,
    /// The stream, for the log.
    pub stream: Arc<str>,
    /// Who publishes; held until all files are finished and told.
    pub owner: Arc<dyn PublisherOwner>,
    /// Told of each finished file.
    pub tell: Tell,
    /// Names have their dates in UTC.
    pub utc: bool,
}

enum Order {
    Begin(u64, Box<Begin>, Arc<Waiting>),
    Frames(u64, Vec<Arc<Frame>>, usize),
    /// Frames were lost before the next.
    Lost(u64),
    End(u64),
    EndAll(SyncSender<()>),
}

/// What waits of one recording.
#[derive(Debug, Default)]
struct Waiting {
    bytes: AtomicUsize,
    frames: AtomicUsize,
}

/// Hands recordings to the threads. Dropping it ends them when they have written everything.
pub struct Writer {
    threads: Vec<Sender<Order>>,
    all: Arc<AtomicUsize>,
    next: AtomicU64,
    recordings: Arc<Recordings>,
}

/// The right to feed one recording. Dropping it ends the recording.
pub struct Feed {
    id: u64,
    tx: Sender<Order>,
    waiting: Arc<Waiting>,
    all: Arc<AtomicUsize>,
    recordings: Arc<Recordings>,
    /// Frames were lost and none has been taken since that pictures can begin at.
    gap: bool,
    /// Configurations among the lost.
    kept: Vec<Arc<Frame>>,
}

impl Writer {
    /// Starts the threads, which book in `recordings`.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn start(recordings: &Arc<Recordings>) -> std::io::Result<Self> {
        let all = Arc::new(AtomicUsize::new(0));
        let mut threads = Vec::with_capacity(THREADS);
        for n in 0..THREADS {
            let (tx, rx) = channel();
            let (recordings, all) = (recordings.clone(), all.clone());
            let name = format!("dvr-disk-{n}");
            std::thread::Builder::new().name(name).spawn(move || {
                Thread { recordings, all, running: HashMap::new() }.run(&rx);
            })?;
            threads.push(tx);
        }
        Ok(Self { threads, all, next: AtomicU64::new(0), recordings: recordings.clone() })
    }

    /// Begins a recording; `None` when the thread is gone.
    pub fn begin(&self, begin: Begin) -> Option<Feed> {
        let id = self.next.fetch_add(1, Relaxed);
        let index = usize::try_from(id).unwrap_or(0).checked_rem(self.threads.len())?;
        let tx = self.threads.get(index)?.clone();
        let waiting = Arc::<Waiting>::default();
        tx.send(Order::Begin(id, Box::new(begin), waiting.clone())).ok()?;
        let (all, recordings) = (self.all.clone(), self.recordings.clone());
        Some(Feed { id, tx, waiting, all, recordings, gap: false, kept: Vec::new() })
    }

    /// Finishes every file, within `limit`; at the end of the process. `false`: it took longer.
    pub fn end_all(&self, limit: Duration) -> bool {
        let (tx, rx) = sync_channel(THREADS);
        let sent = self.threads.iter().filter(|t| t.send(Order::EndAll(tx.clone())).is_ok());
        let (sent, until) = (sent.count(), Instant::now() + limit);
        (0..sent).all(|_| rx.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok())
    }
}

impl Feed {
    /// Hands over frames, in the order of the stream. Does not block; gives how many were lost, for
    /// too much waits already. Then pictures are lost until the next key frame, too; configurations
    /// never are.
    pub fn frames(&mut self, mut frames: Vec<Arc<Frame>>) -> u64 {
        let before = frames.len();
        if self.gap {
            let is_picture = |f: &Arc<Frame>| f.is_media() && f.kind() == Kind::Video;
            let pictures = frames.iter().any(is_picture);
            let restarts = |f: &Arc<Frame>| f.is_media() && (!pictures || f.is_key());
            let keep = frames.iter().position(restarts).unwrap_or(frames.len());
            let rest = frames.split_off(keep);
            self.keep(frames);
            frames = rest;
        }
        let size: usize = frames.iter().map(|frame| frame.payload.len()).sum();
        if frames.is_empty() || !self.has_room(size, frames.len()) {
            self.gap = true;
            self.keep(frames);
            let lost = before as u64;
            self.lost(lost);
            return lost;
        }
        let lost = before.saturating_sub(frames.len()) as u64;
        self.gap = false;
        let mut all = std::mem::take(&mut self.kept);
        all.append(&mut frames);
        let size: usize = all.iter().map(|frame| frame.payload.len()).sum();
        self.waiting.bytes.fetch_add(size, Relaxed);
        self.waiting.frames.fetch_add(all.len(), Relaxed);
        self.all.fetch_add(size, Relaxed);
        let _ = self.tx.send(Order::Frames(self.id, all, size));
        self.recordings.count(RecordCount::LostFrames, lost);
        lost
    }

    /// Keeps the configurations among frames that are lost.
    fn keep(&mut self, lost: Vec<Arc<Frame>>) {
        for frame in lost.into_iter().filter(|frame| frame.is_config()) {
            self.kept.retain(|old| old.kind() != frame.kind() || old.track != frame.track);
            if self.kept.len() < KEPT_MAX {
                self.kept.push(frame);
            }
        }
    }

    /// Frames were lost on the way here.
    pub fn lost(&self, frames: u64) {
        self.recordings.count(RecordCount::LostFrames, frames);
        let _ = self.tx.send(Order::Lost(self.id));
    }

    fn has_room(&self, bytes: usize, frames: usize) -> bool {
        let fits = |has: &AtomicUsize, more: usize, most: usize| {
            has.load(Relaxed).saturating_add(more) <= most
        };
        fits(&self.waiting.bytes, bytes, ONE_MAX)
            && fits(&self.waiting.frames, frames, FRAMES_MAX)
            && fits(&self.all, bytes, ALL_MAX)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let _ = self.tx.send(Order::End(self.id));
    }
}

/// The wall clock in the zone that names are made in, and one that never jumps.
fn now(utc: bool) -> Moment {
    static START: OnceLock<Instant> = OnceLock::new();
    let us = START.get_or_init(Instant::now).elapsed().as_micros();
    let at = jiff::Timestamp::now();
    let offset = if utc { 0 } else { jiff::tz::TimeZone::system().to_offset(at).seconds() };
    let wall = gate::path::WallTime { unix_ms: at.as_millisecond(), utc_offset_s: offset };
    Moment { wall, us: i64::try_from(us).unwrap_or(i64::MAX) }
}

struct Running {
    take: Take,
    files: Box<dyn Files>,
    stream: Arc<str>,
    owner: Arc<dyn PublisherOwner>,
    tell: Tell,
    utc: bool,
    waiting: Arc<Waiting>,
    booked: Option<OpenRecording>,
}

struct Thread {
    recordings: Arc<Recordings>,
    all: Arc<AtomicUsize>,
    running: HashMap<u64, Running>,
}

impl Thread {
    fn run(mut self, rx: &Receiver<Order>) {
        while let Ok(order) = rx.recv() {
            match order {
                Order::Begin(id, begin, waiting) => {
                    let Begin { take, files, stream, owner, tell, utc } = *begin;
                    let booked = None;
                    let running =
                        Running { take, files, stream, owner, tell, utc, waiting, booked };
                    self.running.insert(id, running);
                }
                Order::Frames(id, frames, size) => {
                    if let Some(running) = self.running.get_mut(&id) {
                        let recordings = &self.recordings;
                        let work = AssertUnwindSafe(|| running.frames(&frames, recordings));
                        let well = catch_unwind(work).is_ok();
                        running.waiting.bytes.fetch_sub(size, Relaxed);
                        running.waiting.frames.fetch_sub(frames.len(), Relaxed);
                        if !well {
                            // Other recordings of the thread go on.
                            let stream = &running.stream;
                            tracing::error!(%stream, "DVR ends by a bug (a panic); its file keeps .tmp");
                            recordings.count(RecordCount::Failed, 1);
                            self.running.remove(&id);
                        }
                    }
                    self.all.fetch_sub(size, Relaxed);
                }
                Order::Lost(id) => {
                    if let Some(running) = self.running.get_mut(&id) {
                        running.take.lost();
                    }
                }
                Order::End(id) => {
                    if let Some(mut running) = self.running.remove(&id) {
                        let work = AssertUnwindSafe(|| running.end(&self.recordings));
                        // The next order must find the thread.
                        let _ = catch_unwind(work);
                    }
                }
                Order::EndAll(done) => {
                    for (_, mut running) in self.running.drain() {
                        let work = AssertUnwindSafe(|| running.end(&self.recordings));
                        let _ = catch_unwind(work);
                    }
                    let _ = done.send(());
                }
            }
        }
    }
}

impl Running {
    fn frames(&mut self, frames: &[Arc<Frame>], recordings: &Arc<Recordings>) {
        let (now, mut events) = (now(self.utc), Vec::new());
        for frame in frames {
            self.take.push(frame, now, &mut *self.files, &mut events);
        }
        self.take.flush(now, &mut *self.files, &mut events);
        self.told(events, now, recordings);
    }

    fn end(&mut self, recordings: &Arc<Recordings>) {
        let (now, mut events) = (now(self.utc), Vec::new());
        self.take.end(now, &mut *self.files, &mut events);
        self.told(events, now, recordings);
        self.booked = None;
    }

    fn told(&mut self, events: Vec<Event>, now: Moment, recordings: &Arc<Recordings>) {
        let stream = &self.stream;
        for event in events {
            match event {
                Event::Begun { file } => {
                    tracing::info!(%stream, "DVR begins {file}");
                    self.booked = Some(recordings.begin(Recording {
                        stream: stream.to_string(),
                        session: self.owner.id().to_owned(),
                        file,
                        since_unix_ms: now.wall.unix_ms,
                        bytes: AtomicU64::new(0),
                    }));
                }
                Event::Finished { file, duration_us, bytes } => {
                    let seconds = duration_us / 1_000_000;
                    tracing::info!(%stream, seconds, bytes, "DVR finished {file}");
                    self.booked = None;
                    recordings.count(RecordCount::Finished, 1);
                    (self.tell)(&*self.owner, &file);
                }
                Event::Failed { file, error, pause_us } => {
                    self.booked = None;
                    let (count, then) = match pause_us {
                        Some(us) => {
                            let pause = us / 1_000_000;
                            let then = format!("tried again at a key frame in {pause} s or later");
                            (RecordCount::Failed, then)
                        }
                        None => (RecordCount::Refused, "this publish is not recorded".to_owned()),
                    };
                    recordings.count(count, 1);
                    tracing::error!(%stream, "DVR cannot write {file}: {error}; {then}");
                }
                Event::LeftOut(why) => tracing::warn!(%stream, "DVR leaves out: {why}"),
            }
        }
        if let Some(booked) = &self.booked {
            booked.set_bytes(self.files.len());
        }
    }
}

#[cfg(test)]
mod tests;
