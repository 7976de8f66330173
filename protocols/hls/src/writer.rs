//! The thread that writes segments and playlists to the disk.
//!
//! A disk that stalls must delay neither media nor other streams' memory: batches wait in a
//! bounded queue, and when it is full a batch is dropped, loudly. A batch is what one finished
//! segment brings (its file, the playlist, removals), so that a playlist never names a segment
//! that was dropped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::disk::Disk;
use crate::packager::Output;

/// Batches that may wait: 256 segments of 2 MB are half a gigabyte, the most that a stalled disk
/// may hold. At half, 100 streams with equal segment borders lose some; at double, memory hurts.
const QUEUE: usize = 256;

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

    /// Batches that were lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

struct Batch {
    stream: Arc<str>,
    disk: Disk,
    outputs: Vec<Output>,
    health: Arc<Health>,
    then: Option<Then>,
}

/// What is done once all of a batch is on disk. Dropped where it did not get there.
pub type Then = Box<dyn FnOnce() + Send>;

enum Order {
    Batch(Batch),
    Flush(SyncSender<()>),
}

/// Hands batches to the thread.
pub struct Writer {
    tx: SyncSender<Order>,
    /// Removals of batches that found no room; they go with the next one.
    owed: Mutex<Vec<Output>>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn start() -> std::io::Result<Self> {
        let (tx, rx) = sync_channel::<Order>(QUEUE);
        std::thread::Builder::new().name("hls-disk".into()).spawn(move || {
            while let Ok(order) = rx.recv() {
                match order {
                    Order::Batch(batch) => {
                        if write(&batch)
                            && let Some(then) = batch.then
                        {
                            then();
                        }
                    }
                    Order::Flush(done) => {
                        let _ = done.send(());
                    }
                }
            }
        })?;
        Ok(Self { tx, owed: Mutex::default() })
    }

    /// Queues what one segment brought. Does not block.
    pub fn send(
        &self,
        stream: &Arc<str>,
        disk: &Disk,
        outputs: Vec<Output>,
        health: &Arc<Health>,
        then: Option<Then>,
    ) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = std::mem::take(&mut *owed);
        all.extend(outputs);
        let batch = Batch {
            stream: stream.clone(),
            disk: disk.clone(),
            outputs: all,
            health: health.clone(),
            then,
        };
        let Err(TrySendError::Full(Order::Batch(batch))) = self.tx.try_send(Order::Batch(batch))
        else {
            return;
        };
        let lost = health.lost.fetch_add(1, Relaxed).saturating_add(1);
        health.failed.store(true, Relaxed);
        tracing::error!(
            stream = %stream,
            lost,
            "HLS segment lost: the disk does not keep up, {QUEUE} segments wait already"
        );
        owed.extend(batch.outputs.into_iter().filter(|o| matches!(o, Output::Remove { .. })));
    }

    /// Waits, so long at most, until what was queued is written.
    pub fn flush(&self, limit: Duration) {
        let (tx, rx) = sync_channel(1);
        if self.tx.try_send(Order::Flush(tx)).is_ok() {
            let _ = rx.recv_timeout(limit);
        }
    }
}

/// Whether all that is to be read by others is there.
fn write(batch: &Batch) -> bool {
    for output in &batch.outputs {
        if let Err(e) = batch.disk.apply(output) {
            batch.health.failed.store(true, Relaxed);
            let lost = batch.health.lost.fetch_add(1, Relaxed).saturating_add(1);
            if lost.is_power_of_two() {
                tracing::error!(stream = %batch.stream, lost, "HLS cannot write: {e}");
            }
            // The playlist must not name what is not there; removals are safe.
            if matches!(output, Output::Write { .. }) {
                for rest in &batch.outputs {
                    if matches!(rest, Output::Remove { .. }) {
                        let _ = batch.disk.apply(rest);
                    }
                }
                return false;
            }
        }
    }
    true
}
