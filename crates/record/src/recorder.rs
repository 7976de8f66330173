//! The tasks that take streams to be recorded, and who starts them.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gate::path::StreamName;
use gate::{Host, Publication};
use hub::{PublisherOwner, Received, Shard, Stream, StreamEvent};
use media::Frame;
use tokio::time::MissedTickBehavior;

use crate::config::DvrConfig;
use crate::disk::{Disk, Taken};
use crate::take::Take;
use crate::writer::{Begin, Feed, Writer};

/// Frames are handed to the writer this often (200 ms): what a crash loses beside the rest. At half
/// the writes double; at double the loss does.
const HAND_OVER: Duration = Duration::from_millis(200);

/// Or when so many bytes have gathered (256 KiB): a write's worth.
const BATCH_BYTES: usize = 256 << 10;

/// The configuration is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// A stream that nobody publishes is left after this: publishers that reconnect find the task.
const IDLE: Duration = Duration::from_secs(5);

/// Lost frames are told no more often than this.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What the recorder's tasks share.
struct Shared {
    writer: Writer,
    taken: Taken,
    /// Streams that have a task.
    running: Mutex<HashSet<u64>>,
}

/// Records the streams of virtual hosts that want it. Cheap to clone.
#[derive(Clone)]
pub struct Recorder(Arc<Shared>);

impl Recorder {
    /// Starts the writers, and looks from now on whether a reload wants live streams recorded.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(host: &Arc<Host>) -> std::io::Result<Self> {
        let writer = Writer::start(&host.recordings)?;
        let this =
            Self(Arc::new(Shared { writer, taken: Taken::default(), running: Mutex::default() }));
        let (shared, host) = (Arc::downgrade(&this.0), Arc::downgrade(host));
        let Some(control) = host.upgrade().map(|host| host.control.clone()) else {
            return Ok(this);
        };
        control.spawn(async move {
            let mut look = tokio::time::interval(LOOK);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut seen = None;
            loop {
                look.tick().await;
                let (Some(shared), Some(host)) = (shared.upgrade(), host.upgrade()) else { return };
                let config = host.config();
                if !seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &config)) {
                    Self(shared).look(&host).await;
                    seen = Some(config);
                }
            }
        });
        Ok(this)
    }

    /// To be told of publishes: starts a task for a stream that is to be recorded.
    pub fn on_stream(&self, host: &Arc<Host>, shard: &Rc<Shard>, event: &StreamEvent) {
        if let StreamEvent::Published(stream) = event {
            self.begin(host, shard, stream);
        }
    }

    /// Finishes all files; at the end of the process, when publishers have gone.
    pub fn flush(&self, limit: Duration) {
        if !self.0.writer.end_all(limit) {
            tracing::error!("the server stops before all recordings were finished: they keep .tmp");
        }
    }

    /// Starts tasks for the streams that are live and wanted.
    async fn look(&self, host: &Arc<Host>) {
        for stream in host.hub.all() {
            if !stream.is_active() || wanted(host, &stream).is_none() || self.has(&stream) {
                continue;
            }
            let (this, inner) = (self.clone(), host.clone());
            let job = Box::new(move |shard: Rc<Shard>| this.begin(&inner, &shard, &stream));
            host.least_loaded().run(job).await;
        }
    }

    fn begin(&self, host: &Arc<Host>, shard: &Rc<Shard>, stream: &Arc<Stream>) {
        if wanted(host, stream).is_none() {
            return;
        }
        let Some(claim) = self.claim(stream) else { return };
        let (this, host, inner, stream) =
            (self.clone(), host.clone(), shard.clone(), stream.clone());
        shard.spawn("dvr", async move { this.run(&host, &inner, &stream, claim).await });
    }

    fn running(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, stream: &Stream) -> bool {
        self.running().contains(&stream.id)
    }

    fn claim(&self, stream: &Stream) -> Option<Claim> {
        self.running().insert(stream.id).then(|| Claim { recorder: self.clone(), id: stream.id })
    }

    /// Records `stream` until nobody publishes it or it is not wanted any more.
    async fn run(&self, host: &Arc<Host>, shard: &Rc<Shard>, stream: &Arc<Stream>, claim: Claim) {
        let mut claim = Some(claim);
        while let Some(held) = claim.take() {
            let mut task = Task::new(self, host, stream);
            let receiver = shard.subscribe_frames(stream);
            let mut tick = tokio::time::interval(HAND_OVER);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !task.is_over() {
                tokio::select! {
                    biased;
                    received = receiver.recv() => task.take(received),
                    _ = tick.tick() => task.tick(),
                }
            }
            drop((task, receiver, held));
            // Somebody may have come between the last look and now, and found the claim held.
            if stream.is_active() && wanted(host, stream).is_some() {
                claim = self.claim(stream);
            }
        }
    }
}

/// Marks a stream as having a task; also given up when the task panics.
struct Claim {
    recorder: Recorder,
    id: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.recorder.running().remove(&self.id);
    }
}

/// How the stream is to be recorded, if it is.
fn wanted(host: &Host, stream: &Stream) -> Option<DvrConfig> {
    let config = host.config();
    let vhost = config.vhost(&stream.key.vhost)?;
    if !vhost.bool("dvr.enabled") {
        return None;
    }
    let dvr = DvrConfig::read(&vhost);
    let wanted = dvr.wants(&stream.key.app, &stream.key.name);
    // Who else is recorded is no change for this one.
    wanted.then(|| DvrConfig { apply: Vec::new(), ..dvr })
}

/// What a task has between two events.
struct Task<'a> {
    recorder: &'a Recorder,
    host: &'a Arc<Host>,
    stream: &'a Arc<Stream>,
    url: Arc<str>,
    config: Option<DvrConfig>,
    owner: Option<Arc<dyn PublisherOwner>>,
    feed: Option<Feed>,
    batch: Vec<Arc<Frame>>,
    bytes: usize,
    /// Since when nobody publishes.
    idle: Option<Instant>,
    looked: Instant,
    lost: u64,
    told: Option<Instant>,
}

impl<'a> Task<'a> {
    fn new(recorder: &'a Recorder, host: &'a Arc<Host>, stream: &'a Arc<Stream>) -> Self {
        Self {
            recorder,
            host,
            stream,
            url: stream.key.url().into(),
            config: wanted(host, stream),
            owner: None,
            feed: None,
            batch: Vec::new(),
            bytes: 0,
            idle: Some(Instant::now()),
            looked: Instant::now(),
            lost: 0,
            told: None,
        }
    }

    fn is_over(&self) -> bool {
        self.config.is_none() || self.idle.is_some_and(|since| since.elapsed() >= IDLE)
    }

    fn take(&mut self, received: Received) {
        match received {
            Received::Published(owner) => {
                self.idle = None;
                self.config = wanted(self.host, self.stream);
                self.owner = Some(owner);
                self.begin();
            }
            Received::Frame(frame) => {
                self.bytes = self.bytes.saturating_add(frame.payload.len());
                self.batch.push(frame);
                if self.bytes >= BATCH_BYTES {
                    self.hand_over();
                }
            }
            Received::Unpublished => {
                self.hand_over();
                self.feed = None;
                self.owner = None;
                self.idle = Some(Instant::now());
            }
            Received::Lost(n) => {
                self.hand_over();
                if let Some(feed) = &self.feed {
                    feed.lost(n);
                }
                self.note_lost(n);
            }
        }
    }

    fn tick(&mut self) {
        self.hand_over();
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            let new = wanted(self.host, self.stream);
            if new != self.config {
                let what =
                    if new.is_some() { "takes its new configuration" } else { "is switched off" };
                tracing::info!(stream = %self.url, "DVR {what}");
                self.config = new;
                if self.config.is_some() {
                    self.restart();
                }
            }
        }
    }

    /// Ends the file, and begins another with what the stream has told of itself.
    fn restart(&mut self) {
        self.feed = None;
        self.begin();
        let headers = self.stream.headers();
        self.batch.extend(headers.in_order().cloned());
    }

    fn begin(&mut self) {
        let (Some(config), Some(owner)) = (&self.config, &self.owner) else { return };
        let key = &self.stream.key;
        let name = StreamName {
            vhost: key.vhost.to_string(),
            app: key.app.to_string(),
            stream: key.name.to_string(),
        };
        let service = self.host.identity.software();
        let files = Disk::new(&config.root, self.recorder.0.taken.clone());
        self.feed = self.recorder.0.writer.begin(Begin {
            take: Take::new(config.clone(), name, &service),
            files: Box::new(files),
            stream: self.url.clone(),
            owner: owner.clone(),
            tell: Arc::new(|owner, file| Publication::tell_recorded(owner, file)),
            utc: self.host.config().root().bool("utc_time"),
        });
    }

    fn hand_over(&mut self) {
        self.bytes = 0;
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let Some(feed) = &mut self.feed else { return };
        let lost = feed.frames(batch);
        self.note_lost(lost);
    }

    fn note_lost(&mut self, n: u64) {
        self.lost = self.lost.saturating_add(n);
        let due = self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if n > 0 && due {
            self.told = Some(Instant::now());
            tracing::error!(
                stream = %self.url,
                lost = self.lost,
                "DVR lost frames: the disk does not keep up, or the core is overloaded"
            );
        }
    }
}
