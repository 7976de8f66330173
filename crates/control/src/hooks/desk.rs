//! The books of one callback of one virtual host, and how much it may do at a time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::event::Hook;

/// Questions of one callback that are asked at the same time. A server that hangs holds each for
/// the length of the time-out; those beyond wait within their own.
const QUESTIONS: usize = 512;
/// Notifications of one callback that are on their way at the same time, one per session.
const NOTICES: usize = 64;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// Requests by what came of them.
    RequestYes,
    RequestNo,
    RequestFailed,
    /// Questions by what they meant for the session.
    Allowed,
    Denied,
    AllowedUnasked,
    DeniedUnasked,
    Withdrawn,
    /// Further tries of notifications.
    Retry,
    /// Notifications that were given up.
    DroppedQueue,
    DroppedUnanswered,
    DroppedOvertaken,
    DroppedShutdown,
}

const COUNTS: usize = Count::DroppedShutdown as usize + 1;

/// One callback of one virtual host.
pub(super) struct Desk {
    pub(super) questions: Semaphore,
    pub(super) notices: Semaphore,
    waiting: AtomicUsize,
    counts: [AtomicU64; COUNTS],
}

impl Desk {
    fn new() -> Self {
        Self {
            questions: Semaphore::new(QUESTIONS),
            notices: Semaphore::new(NOTICES),
            waiting: AtomicUsize::new(0),
            counts: Default::default(),
        }
    }

    /// Counts, and gives the new number.
    pub(super) fn count(&self, what: Count) -> u64 {
        let count = self.counts.get(what as usize);
        count.map_or(0, |count| count.fetch_add(1, Relaxed).saturating_add(1))
    }

    /// How often it happened.
    pub(super) fn get(&self, what: Count) -> u64 {
        self.counts.get(what as usize).map_or(0, |count| count.load(Relaxed))
    }

    /// Notifications that wait or are on their way.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// A place in the queue of at most `most`, held until it is dropped.
    pub(super) fn place(self: &Arc<Self>, most: usize) -> Option<Place> {
        let before = self.waiting.fetch_add(1, Relaxed);
        let place = Place(self.clone());
        (before < most).then_some(place)
    }
}

/// A place in a queue.
pub(super) struct Place(Arc<Desk>);

impl Place {
    pub(super) fn desk(&self) -> &Arc<Desk> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

/// All desks. One for each virtual host and callback that was ever called.
#[derive(Default)]
pub(super) struct Desks(Mutex<BTreeMap<(String, Hook), Arc<Desk>>>);

impl Desks {
    pub(super) fn of(&self, vhost: &str, hook: Hook) -> Arc<Desk> {
        let mut desks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        desks.entry((vhost.to_owned(), hook)).or_insert_with(|| Arc::new(Desk::new())).clone()
    }

    /// All of them, in their order.
    pub(super) fn all(&self) -> Vec<(String, Hook, Arc<Desk>)> {
        let desks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        desks.iter().map(|((vhost, hook), desk)| (vhost.clone(), *hook, desk.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_has_no_place_until_one_is_left() {
        let desk = Arc::new(Desk::new());
        let first = desk.place(2).unwrap();
        let _second = desk.place(2).unwrap();
        assert!(desk.place(2).is_none());
        assert_eq!(desk.waiting(), 2);
        drop(first);
        assert!(desk.place(2).is_some());
    }
}
