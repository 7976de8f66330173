//! Playlists and segments in memory.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::packager::Output;

/// Requests that wait for a first playlist at once, over all streams. Each costs about 200 bytes
/// here and a connection elsewhere; beyond this they are told at once that there is nothing.
const WAITING_MAX: usize = 10_000;

type Files = HashMap<Box<str>, Bytes>;

/// The files of all streams that are kept in memory, shared by those who write and those who
/// serve.
///
/// Keyed by virtual host and path, so two hosts may have streams of the same name. It grows and
/// shrinks by the [`Output`]s of the packagers alone: a stream takes twice its window at most.
/// Reading takes a shared lock for the time of two look-ups and copies nothing.
#[derive(Debug, Default)]
pub struct Store {
    files: RwLock<HashMap<Box<str>, Files>>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// By ticket.
    wakers: HashMap<u64, (Box<str>, Box<str>, Waker)>,
}

impl Store {
    /// An empty store.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Carries out what concerns the memory.
    pub fn apply(&self, vhost: &str, output: &Output) {
        match output {
            Output::Write { path, bytes, .. } => self.put(vhost, path, bytes.clone()),
            Output::Remove { path, .. } => self.remove(vhost, path),
            Output::Done(_) => {}
        }
    }

    /// Puts a file, or another in its place, and wakes who waits for it.
    pub fn put(&self, vhost: &str, path: &str, bytes: Bytes) {
        {
            let mut hosts = self.files.write().unwrap_or_else(PoisonError::into_inner);
            match hosts.get_mut(vhost) {
                Some(files) => {
                    files.insert(path.into(), bytes);
                }
                None => {
                    hosts.insert(vhost.into(), Files::from([(path.into(), bytes)]));
                }
            }
        }
        self.waiting().wakers.retain(|_, (host, name, waker)| {
            let mine = &**host == vhost && &**name == path;
            if mine {
                waker.wake_by_ref();
            }
            !mine
        });
    }

    /// Takes a file away.
    pub fn remove(&self, vhost: &str, path: &str) {
        let mut hosts = self.files.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = hosts.get_mut(vhost) {
            files.remove(path);
            if files.is_empty() {
                hosts.remove(vhost);
            }
        }
    }

    /// Takes a file away if it still is the one with these very bytes, not another of its name.
    pub fn remove_same(&self, vhost: &str, path: &str, bytes: &Bytes) {
        let mut hosts = self.files.write().unwrap_or_else(PoisonError::into_inner);
        let Some(files) = hosts.get_mut(vhost) else { return };
        let same = |file: &Bytes| file.as_ptr() == bytes.as_ptr() && file.len() == bytes.len();
        if files.get(path).is_some_and(same) {
            files.remove(path);
            if files.is_empty() {
                hosts.remove(vhost);
            }
        }
    }

    /// A file's bytes. `path` is relative to the root, without a slash at its start.
    pub fn get(&self, vhost: &str, path: &str) -> Option<Bytes> {
        let hosts = self.files.read().unwrap_or_else(PoisonError::into_inner);
        hosts.get(vhost)?.get(path).cloned()
    }

    /// Waits until a file is there: how the first request for a playlist is held until the
    /// first segment is ready. Needs no particular runtime. The caller sets the time limit.
    pub fn wait(self: &Arc<Self>, vhost: &str, path: &str) -> Wait {
        let (store, vhost, path) = (Arc::clone(self), vhost.into(), path.into());
        Wait { store, vhost, path, ticket: None }
    }

    /// Files and bytes held: for the statistics.
    pub fn usage(&self) -> (usize, usize) {
        let hosts = self.files.read().unwrap_or_else(PoisonError::into_inner);
        hosts.values().flat_map(HashMap::values).fold((0, 0), |(files, bytes), file| {
            (files.saturating_add(1), bytes.saturating_add(file.len()))
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a file of a [`Store`]; see [`Store::wait`].
///
/// Gives `None` at once when too many wait already. Dropping it ends the wait.
#[derive(Debug)]
pub struct Wait {
    store: Arc<Store>,
    vhost: Box<str>,
    path: Box<str>,
    ticket: Option<u64>,
}

impl Future for Wait {
    type Output = Option<Bytes>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // Registered before the look, so that a file that comes between wakes us.
        let mut waiting = this.store.waiting();
        let ticket = match this.ticket {
            Some(ticket) => ticket,
            None if waiting.wakers.len() >= WAITING_MAX => {
                drop(waiting);
                return Poll::Ready(this.store.get(&this.vhost, &this.path));
            }
            None => {
                waiting.next = waiting.next.wrapping_add(1);
                waiting.next
            }
        };
        let entry = (this.vhost.clone(), this.path.clone(), cx.waker().clone());
        waiting.wakers.insert(ticket, entry);
        drop(waiting);
        this.ticket = Some(ticket);
        match this.store.get(&this.vhost, &this.path) {
            Some(bytes) => Poll::Ready(Some(bytes)),
            None => Poll::Pending,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.store.waiting().wakers.remove(&ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn hosts_do_not_see_each_others_files() {
        let store = Store::new();
        store.put("a", "live/s.m3u8", Bytes::from_static(b"1"));
        store.put("b", "live/s.m3u8", Bytes::from_static(b"2"));
        assert_eq!(store.get("a", "live/s.m3u8").unwrap(), "1");
        store.remove("a", "live/s.m3u8");
        assert_eq!(store.get("a", "live/s.m3u8"), None);
        assert_eq!(store.get("b", "live/s.m3u8").unwrap(), "2");
        assert_eq!(store.usage(), (1, 1));
    }

    #[test]
    fn a_waiter_is_woken_by_its_own_file_only_and_leaves_nothing_behind() {
        let store = Store::new();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let mut wait = store.wait("v", "live/s.m3u8");
        assert!(Pin::new(&mut wait).poll(&mut cx).is_pending());
        let mut other = store.wait("v", "live/other.m3u8");
        assert!(Pin::new(&mut other).poll(&mut cx).is_pending());
        store.put("v", "live/x.ts", Bytes::new());
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        store.put("v", "live/s.m3u8", Bytes::from_static(b"text"));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(
            Pin::new(&mut wait).poll(&mut cx),
            Poll::Ready(Some(Bytes::from_static(b"text")))
        );
        drop((wait, other));
        assert!(store.waiting().wakers.is_empty());
    }

    #[test]
    fn too_many_waiters_are_turned_away() {
        let store = Store::new();
        let mut cx = Context::from_waker(Waker::noop());
        let mut waits: Vec<_> = (0..WAITING_MAX).map(|_| store.wait("v", "x")).collect();
        for wait in &mut waits {
            assert!(Pin::new(wait).poll(&mut cx).is_pending());
        }
        let mut last = store.wait("v", "x");
        assert_eq!(Pin::new(&mut last).poll(&mut cx), Poll::Ready(None));
        waits.pop();
        assert!(Pin::new(&mut store.wait("v", "x")).poll(&mut cx).is_pending());
    }
}
