//! The thread that writes segments and playlists to the disk.
//!
//! A disk that stalls must delay neither media nor other streams' memory: batches wait in a
//! queue that is bounded by their bytes and their number, and a batch that finds no room is
//! refused. A batch is what one finished segment brings (its file, the playlist, removals).
//!
//! A segment that could not be written is tried again with the next batch of its stream, until it
//! is written or removed, and meanwhile no playlist of the stream is written: one on disk never
//! names a segment that is not there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::disk::{Disk, DiskError};
use crate::packager::Output;

/// Batches that may wait. At half, 500 streams with equal segment borders on a disk that pauses
/// for a moment lose some; at double, the queue itself takes 300 kB for nothing.
const QUEUE: usize = 1024;

/// Bytes of segments that may wait for the disk, of all streams together (512 MiB). At half, 100
/// streams of 4 Mbit/s outlive a pause of five seconds; at double, memory hurts.
const WAITING_MAX: usize = 512 << 20;

/// What the writer tells the stream that a batch belongs to.
#[derive(Debug, Default)]
pub struct Health {
    failed: AtomicBool,
    lost: AtomicU64,
}

impl Health {
    /// Whether something could not be written since the last call.
    pub fn take_failed(&self) -> bool {
        self.failed.swap(false, Relaxed)
    }

    /// Batches that were lost, and files that could not be written at the first try.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    fn fail(&self) -> u64 {
        self.failed.store(true, Relaxed);
        self.lost.fetch_add(1, Relaxed).saturating_add(1)
    }
}

/// Carries out one output on a disk: what the thread does with each. A test puts a slow one here.
pub type Apply = Box<dyn FnMut(&Disk, &Output) -> Result<(), DiskError> + Send>;

/// What is done once all of a batch is on disk. Dropped where it did not get there at once.
pub type Then = Box<dyn FnOnce() + Send>;

/// Told of each segment that is on disk now: its path and bytes.
pub type Landed = Arc<dyn Fn(&str, &Bytes) + Send + Sync>;

/// The stream that a batch belongs to.
#[derive(Clone)]
pub struct Target {
    /// Its URL: for the log, and to tell streams apart.
    pub stream: Arc<str>,
    /// Where its files go.
    pub disk: Disk,
    /// How it fares.
    pub health: Arc<Health>,
    /// Who holds its segments until they are on disk.
    pub landed: Landed,
}

/// The disk does not keep up: nothing of the batch will be written but its removals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk does not keep up, {waiting} bytes of segments wait already")]
pub struct Refused {
    /// Bytes that wait.
    pub waiting: usize,
}

struct Batch {
    target: Target,
    outputs: Vec<Output>,
    /// Removals of batches that were refused, each on its own disk.
    owed: Vec<(Disk, Output)>,
    then: Option<Then>,
}

enum Order {
    Batch(Batch),
    Flush(SyncSender<()>),
}

/// Hands batches to the thread.
pub struct Writer {
    tx: SyncSender<Order>,
    owed: Mutex<Vec<(Disk, Output)>>,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn start() -> std::io::Result<Self> {
        Self::start_with(Box::new(|disk, output| disk.apply(output)), WAITING_MAX)
    }

    /// Starts the thread with something else in the place of the disk, and as many bytes of
    /// segments that may wait for it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start_with(apply: Apply, waiting_max: usize) -> std::io::Result<Self> {
        let (tx, rx) = sync_channel::<Order>(QUEUE);
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut thread = Thread { apply, late: HashMap::new(), waiting: waiting.clone() };
        std::thread::Builder::new().name("hls-disk".into()).spawn(move || {
            while let Ok(order) = rx.recv() {
                match order {
                    Order::Batch(batch) => thread.take(batch),
                    Order::Flush(done) => {
                        let _ = done.send(());
                    }
                }
            }
        })?;
        Ok(Self { tx, owed: Mutex::default(), waiting, waiting_max })
    }

    /// Queues what one segment brought. Does not block.
    ///
    /// # Errors
    /// There is no room. Removals are kept for the next batch; `then` is dropped.
    pub fn send(
        &self,
        target: &Target,
        outputs: Vec<Output>,
        then: Option<Then>,
    ) -> Result<(), Refused> {
        let size: usize = outputs.iter().map(weight).sum();
        let waiting = self.waiting.fetch_add(size, Relaxed);
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let batch =
            Batch { target: target.clone(), outputs, owed: std::mem::take(&mut owed), then };
        let batch = if size > 0 && waiting.saturating_add(size) > self.waiting_max {
            batch
        } else {
            match self.tx.try_send(Order::Batch(batch)) {
                Ok(()) => return Ok(()),
                Err(e) => match e {
                    std::sync::mpsc::TrySendError::Full(Order::Batch(batch))
                    | std::sync::mpsc::TrySendError::Disconnected(Order::Batch(batch)) => batch,
                    _ => return Err(Refused { waiting }),
                },
            }
        };
        self.waiting.fetch_sub(size, Relaxed);
        batch.target.health.fail();
        *owed = batch.owed;
        let removals = batch.outputs.into_iter().filter(|o| matches!(o, Output::Remove { .. }));
        owed.extend(removals.map(|removal| (target.disk.clone(), removal)));
        Err(Refused { waiting })
    }

    /// Waits, so long at most, until what was queued is written.
    pub fn flush(&self, limit: Duration) {
        let (tx, rx) = sync_channel(1);
        if self.tx.try_send(Order::Flush(tx)).is_ok() {
            let _ = rx.recv_timeout(limit);
        }
    }
}

/// What an output counts for in the bound on what waits.
fn weight(output: &Output) -> usize {
    match output {
        Output::Write { bytes, .. } => bytes.len(),
        Output::Remove { .. } | Output::Done(_) => 0,
    }
}

/// What the thread has.
struct Thread {
    apply: Apply,
    /// Segments that could not be written yet, oldest first, by stream. Their bytes count as
    /// waiting, and a segment that is removed leaves.
    late: HashMap<Arc<str>, Vec<Output>>,
    waiting: Arc<AtomicUsize>,
}

impl Thread {
    fn take(&mut self, batch: Batch) {
        for (disk, removal) in &batch.owed {
            let _ = (self.apply)(disk, removal);
        }
        let target = &batch.target;
        let late = self.late.remove(&target.stream).unwrap_or_default();
        let removed = |path: &str| {
            batch.outputs.iter().any(|o| matches!(o, Output::Remove { path: p, .. } if p == path))
        };
        // Whoever was late comes first, so that the playlist behind finds all it names.
        let (mut whole, mut still) = (late.is_empty(), Vec::new());
        for output in late {
            match &output {
                Output::Write { path, .. } if !removed(path) => {
                    self.write(target, output, &mut still)
                }
                _ => self.done(&output),
            }
        }
        let playlist = batch.outputs.iter().rposition(|o| matches!(o, Output::Write { .. }));
        for (at, output) in batch.outputs.into_iter().enumerate() {
            match output {
                Output::Write { .. } if Some(at) != playlist => {
                    self.write(target, output, &mut still);
                }
                Output::Write { .. } => {
                    whole &= still.is_empty();
                    if still.is_empty() {
                        whole &= self.apply(target, &output);
                    }
                    self.done(&output);
                }
                // Safe, whatever else failed.
                Output::Remove { .. } => {
                    let _ = self.apply(target, &output);
                }
                Output::Done(_) => {}
            }
        }
        if !still.is_empty() {
            self.late.insert(target.stream.clone(), still);
        } else if whole && let Some(then) = batch.then {
            then();
        }
    }

    /// Writes a segment, or puts it to those that are late.
    fn write(&mut self, target: &Target, output: Output, late: &mut Vec<Output>) {
        if !self.apply(target, &output) {
            late.push(output);
            return;
        }
        if let Output::Write { path, bytes, .. } = &output {
            (target.landed)(path, bytes);
        }
        self.done(&output);
    }

    fn apply(&mut self, target: &Target, output: &Output) -> bool {
        let Err(e) = (self.apply)(&target.disk, output) else { return true };
        let lost = target.health.fail();
        if lost.is_power_of_two() {
            tracing::error!(stream = %target.stream, lost, "HLS cannot write: {e}");
        }
        false
    }

    fn done(&self, output: &Output) {
        self.waiting.fetch_sub(weight(output), Relaxed);
    }
}
