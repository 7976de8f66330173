//! Whether anybody takes the frames of a stream.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::Stream;

/// Takers on all shards.
#[derive(Debug, Default)]
pub(super) struct Takings(AtomicUsize);

impl Takings {
    pub(super) fn any(&self) -> bool {
        self.0.load(Relaxed) > 0
    }
}

/// A rendition or a receiver that takes the frames of a stream, for as long as it lives.
pub(crate) struct Demand(Arc<Stream>);

impl Demand {
    pub(crate) fn new(stream: &Arc<Stream>) -> Self {
        stream.takings.0.fetch_add(1, Relaxed);
        Self(stream.clone())
    }
}

impl Drop for Demand {
    fn drop(&mut self) {
        self.0.takings.0.fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Demand")
    }
}
