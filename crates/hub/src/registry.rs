//! All streams of the process.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::shard::Shard;
use crate::stream::{Stream, StreamKey};

/// Something happened to a stream. Told on the shard of the publisher.
#[derive(Clone)]
pub enum StreamEvent {
    /// A publisher has begun; no frame has come yet.
    Published(Arc<Stream>),
    /// The publisher has gone. Its last frame has been delivered.
    Unpublished(Arc<Stream>),
}

type Watcher = Box<dyn Fn(&Rc<Shard>, &StreamEvent) + Send + Sync>;

/// The registry of streams. Touched when somebody publishes, joins or leaves; never per frame.
pub struct Hub {
    started: Instant,
    next_id: AtomicU64,
    make_api_id: fn(u64) -> String,
    streams: RwLock<HashMap<StreamKey, Arc<Stream>>>,
    watchers: OnceLock<Vec<Watcher>>,
}

impl Hub {
    /// An empty hub. `make_api_id` turns the running number of a stream into its API id.
    pub fn new(make_api_id: fn(u64) -> String) -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            next_id: AtomicU64::new(1),
            make_api_id,
            streams: RwLock::default(),
            watchers: OnceLock::new(),
        })
    }

    /// Registers those who want to hear of publishes (HLS, recording, forward). Once, at start;
    /// a second call is ignored and answers `false`. A watcher must not block: it spawns.
    pub fn set_watchers(&self, watchers: Vec<Watcher>) -> bool {
        self.watchers.set(watchers).is_ok()
    }

    pub(crate) fn emit(&self, shard: &Rc<Shard>, event: &StreamEvent) {
        for watcher in self.watchers.get().into_iter().flatten() {
            shard.guard("stream watcher", || watcher(shard, event));
        }
    }

    /// The stream of that name, if it exists.
    pub fn find(&self, key: &StreamKey) -> Option<Arc<Stream>> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The stream of that name, made if need be.
    pub fn open(&self, key: &StreamKey) -> Arc<Stream> {
        if let Some(stream) = self.find(key) {
            return stream;
        }
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        streams
            .entry(key.clone())
            .or_insert_with(|| {
                let id = self.next_id.fetch_add(1, Relaxed);
                Arc::new(Stream::new(key.clone(), id, (self.make_api_id)(id), self.started))
            })
            .clone()
    }

    /// All streams, in no order.
    pub fn all(&self) -> Vec<Arc<Stream>> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Publishers and players of all streams of a virtual host. Walks over all streams.
    pub fn clients(&self, vhost: &str) -> usize {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        let of = streams.values().filter(|stream| &*stream.key.vhost == vhost);
        of.map(|stream| stream.stats.clients.load(Relaxed)).sum()
    }

    /// Forgets streams that nobody has used for `grace` and nobody else holds. Returns them.
    pub fn sweep(&self, grace: Duration) -> Vec<Arc<Stream>> {
        let mut gone = Vec::new();
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|_, stream| {
            let idle = stream.idle_since().is_some_and(|since| since.elapsed() >= grace);
            // Whoever is about to publish or join holds a clone.
            let dead = idle && Arc::strong_count(stream) == 1;
            if dead {
                gone.push(stream.clone());
            }
            !dead
        });
        if streams.capacity() > 64 && streams.capacity() > streams.len().saturating_mul(4) {
            streams.shrink_to_fit();
        }
        gone
    }
}
