//! Recordings: what is being written, and what became of them. The recorder books, the API and the
//! metrics read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file that is being written.
#[derive(Debug)]
pub struct Recording {
    /// The stream, with its virtual host unless that is the default one.
    pub stream: String,
    /// The publisher's session.
    pub session: String,
    /// The name that the file will have, as the configuration makes it.
    pub file: String,
    /// When it began, in milliseconds since 1970.
    pub since_unix_ms: i64,
    /// Bytes on disk.
    pub bytes: AtomicU64,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordCount {
    /// Files that were finished.
    Finished,
    /// Files that ended early, or were not begun, because the disk did not take them.
    Failed,
    /// Recordings that were not begun because their file is there already.
    Refused,
    /// Frames that the disk was too slow for.
    LostFrames,
}

/// The words of the metrics, in the order of [`RecordCount`].
const WORDS: [&str; 4] = ["finished", "failed", "refused", "lost_frames"];

/// All recordings of the process.
#[derive(Debug, Default)]
pub struct Recordings {
    open: Mutex<(u64, BTreeMap<u64, Arc<Recording>>)>,
    counts: [AtomicU64; WORDS.len()],
}

impl Recordings {
    /// Books a file that is being written, until what is returned is dropped.
    pub fn begin(self: &Arc<Self>, recording: Recording) -> OpenRecording {
        let recording = Arc::new(recording);
        let mut open = self.open();
        let (next, all) = &mut *open;
        *next = next.wrapping_add(1);
        all.insert(*next, recording.clone());
        OpenRecording { all: self.clone(), id: *next, recording }
    }

    /// Those that are being written, the oldest first.
    pub fn all(&self) -> Vec<Arc<Recording>> {
        self.open().1.values().cloned().collect()
    }

    /// How many are being written.
    pub fn len(&self) -> usize {
        self.open().1.len()
    }

    /// Whether none is being written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts `n` of them, and tells the new sum.
    pub fn count(&self, what: RecordCount, n: u64) -> u64 {
        let count = self.counts.get(what as usize);
        count.map_or(0, |count| count.fetch_add(n, Relaxed).saturating_add(n))
    }

    /// Words and numbers, for the metrics.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        WORDS.into_iter().zip(self.counts.iter().map(|count| count.load(Relaxed)))
    }

    fn open(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Arc<Recording>>)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A booked recording; its drop takes it out of the book.
#[derive(Debug)]
pub struct OpenRecording {
    all: Arc<Recordings>,
    id: u64,
    recording: Arc<Recording>,
}

impl OpenRecording {
    /// Notes how long the file is.
    pub fn set_bytes(&self, bytes: u64) {
        self.recording.bytes.store(bytes, Relaxed);
    }
}

impl Drop for OpenRecording {
    fn drop(&mut self) {
        self.all.open().1.remove(&self.id);
    }
}
