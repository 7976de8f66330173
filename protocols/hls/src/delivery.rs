//! Brings what a packager orders to where players find it: the memory, the disk, or both.
//!
//! The playlist comes into force in memory at once. Its newest segment may still wait for the
//! disk then, so the segment stays readable from memory until it is on disk: players are not held
//! up by a slow disk, and no playlist that is served names a segment that cannot be read. Letting
//! the writer bring the playlist into force would be simpler, but would add the disk's delay to
//! everybody's, and a busy disk would stall streams instead of being hidden.
//!
//! What waits is bounded by [`Writer`]. A segment beyond that bound is taken back from the
//! packager: the list does not grow, and its successor is marked as discontinuous.

use std::sync::Arc;

use crate::disk::Disk;
use crate::writer::{Health, Target, Then, Writer};
use crate::{Output, Packager, Storage, Store};

/// Where the files of one stream go.
pub struct Delivery {
    vhost: String,
    storage: Storage,
    store: Arc<Store>,
    target: Target,
}

impl Delivery {
    /// For the stream with the URL `stream`; `vhost` is what its files are asked for by.
    pub fn new(
        store: &Arc<Store>,
        stream: Arc<str>,
        vhost: &str,
        disk: Disk,
        storage: Storage,
    ) -> Self {
        let (held, host) = (Arc::downgrade(store), vhost.to_owned());
        // In memory mode, and in both, what is in memory is to stay there.
        let until_landed = !storage.in_memory();
        let landed = move |path: &str, bytes: &bytes::Bytes| {
            if let Some(store) = held.upgrade().filter(|_| until_landed) {
                store.remove_same(&host, path, bytes);
            }
        };
        let health = Arc::<Health>::default();
        let target = Target { stream, disk, health, landed: Arc::new(landed) };
        Self { vhost: vhost.to_owned(), storage, store: store.clone(), target }
    }

    /// How the disk fares.
    pub fn health(&self) -> &Health {
        &self.target.health
    }

    /// Carries out what `packager` ordered; `then` is done when all of it can be fetched. Does not
    /// block.
    pub fn carry_out(
        &self,
        writer: &Writer,
        packager: &mut Packager,
        out: Vec<Output>,
        then: Option<Then>,
    ) {
        let playlist = packager.playlist_path().to_owned();
        let segment = |o: &&Output| matches!(o, Output::Write { path, .. } if *path != playlist);
        // Before the writer knows of them: it takes away what it has written.
        for output in out.iter().filter(segment) {
            self.store.apply(&self.vhost, output);
        }
        let mut rest: Vec<_> = out.iter().filter(|o| !segment(o)).cloned().collect();
        if !self.storage.on_disk() {
            rest.iter().for_each(|output| self.store.apply(&self.vhost, output));
            if let Some(then) = then {
                then();
            }
            return;
        }
        let written: Vec<_> = out.iter().filter(segment).cloned().collect();
        if let Err(refused) = writer.send(&self.target, out, then) {
            let lost = self.target.health.lost();
            tracing::error!(stream = %self.target.stream, lost, "HLS segment lost: {refused}");
            if !self.storage.in_memory() {
                for output in &written {
                    if let Output::Write { path, .. } = output {
                        self.store.remove(&self.vhost, path);
                        packager.retract();
                    }
                }
                // The list that is out stays in force.
                rest.retain(|output| matches!(output, Output::Remove { .. }));
            }
        }
        rest.iter().for_each(|output| self.store.apply(&self.vhost, output));
    }
}

#[cfg(test)]
mod tests;
