//! The forward role: what is published here is pushed to other servers, too.
//!
//! The control plane decides what goes where and hands each [`Forwarding`] to the protocol that
//! [takes](Forward::takes) its destination. The protocol dials, plays the stream and pushes it
//! there; it begins anew for as long as it is not [told to stop](Forwarding::stopped).

use std::rc::Rc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use hub::{Counters, Shard, Stream};
use tokio::sync::watch;

use crate::dial::Dial;
use crate::host::Host;
use crate::session::Detail;
use crate::visit::Visit;

/// A protocol that can push streams to other servers.
pub trait Forward: Send + Sync {
    /// Whether a destination is one of this protocol's: by its scheme, or by having none.
    fn takes(&self, destination: &str) -> bool;

    /// Takes a stream to its destination, on this shard, until told to stop. Returns at once.
    fn begin(&self, shard: &Rc<Shard>, task: Forwarding);
}

/// How a forwarding is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The other server is dialled, or asked whether it takes the stream.
    Connecting,
    /// The stream is on its way there.
    Up,
    /// The connection ended or did not come about; it is tried again in a moment.
    Waiting,
    /// Over: told to stop, kicked off, or never possible.
    Over,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Connecting, Self::Up, Self::Waiting, Self::Over];

    /// One word for metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Waiting => "waiting",
            Self::Over => "over",
        }
    }
}

/// What came of the forwardings to one destination; they only grow.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections on which the other server took a stream.
    pub connects: AtomicU64,
    /// Connections that did not come about, or broke.
    pub failures: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// Bytes sent on connections that are over.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

/// How one forwarding is doing, for those who watch it.
#[derive(Debug)]
pub struct Progress {
    state: AtomicU8,
    tally: Arc<Tally>,
    /// Of the connection there is now.
    live: Mutex<Option<Arc<Counters>>>,
}

impl Progress {
    fn new(tally: Arc<Tally>) -> Arc<Self> {
        let state = AtomicU8::new(State::Connecting as u8);
        Arc::new(Self { state, tally, live: Mutex::default() })
    }

    /// How it is doing.
    pub fn state(&self) -> State {
        let now = self.state.load(Relaxed);
        State::ALL.into_iter().find(|state| *state as u8 == now).unwrap_or(State::Over)
    }

    /// Notes how it is doing.
    pub fn set(&self, state: State) {
        self.state.store(state as u8, Relaxed);
    }

    /// The books of the destination.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Bytes that the present connection has taken so far.
    pub fn live_bytes(&self) -> u64 {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().map_or(0, |counters| counters.send_bytes.load(Relaxed))
    }

    /// A connection begins, with these counters; the bytes of the one before are booked.
    pub fn connected(&self, counters: Arc<Counters>) {
        self.swap(Some(counters));
    }

    /// The connection is over: its bytes are booked.
    pub fn disconnected(&self) {
        self.swap(None);
    }

    fn swap(&self, to: Option<Arc<Counters>>) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *live, to);
        // Under the lock: who adds both up must not miss them, nor see them twice.
        let bytes = old.map_or(0, |counters| counters.send_bytes.load(Relaxed));
        self.tally.bytes.fetch_add(bytes, Relaxed);
    }
}

/// One stream that is to be pushed to one destination.
pub struct Forwarding {
    /// The host.
    pub host: Arc<Host>,
    /// The stream.
    pub stream: Arc<Stream>,
    /// Session id of the publisher on whose behalf it is done.
    pub publisher: Arc<str>,
    /// What that publisher asked for.
    pub detail: Detail,
    /// `host[:port]` or a URL, as it was configured or answered.
    pub destination: String,
    /// The destination was chosen by an answer from outside and not by the configuration.
    pub from_outside: bool,
    /// Finds the other server and begins TLS.
    pub dial: Arc<Dial>,
    /// The certificates to trust; any, when empty.
    pub ca_file: String,
    /// Where it tells how it is doing.
    pub progress: Arc<Progress>,
    stop: watch::Receiver<()>,
}

/// The other end of a [`Forwarding`]: dropped, it tells it to stop.
#[derive(Debug)]
pub struct Handle {
    /// How it is doing.
    pub progress: Arc<Progress>,
    _stop: watch::Sender<()>,
}

impl Forwarding {
    /// A forwarding of what `visit` publishes, and its other end.
    pub fn new(
        visit: &Visit,
        destination: String,
        dial: Arc<Dial>,
        tally: Arc<Tally>,
    ) -> (Self, Handle) {
        let (tx, stop) = watch::channel(());
        let progress = Progress::new(tally);
        let handle = Handle { progress: progress.clone(), _stop: tx };
        let this = Self {
            host: visit.host.clone(),
            stream: visit.stream.clone(),
            // Not the session itself: its end must not wait for ours.
            publisher: visit.session.id.clone(),
            detail: visit.detail().clone(),
            destination,
            from_outside: false,
            dial,
            ca_file: String::new(),
            progress,
            stop,
        };
        (this, handle)
    }

    /// Is ready when it is told to stop.
    pub fn stopped(&self) -> impl Future<Output = ()> + use<> {
        let mut stop = self.stop.clone();
        async move { while stop.changed().await.is_ok() {} }
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.progress.disconnected();
        self.progress.set(State::Over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_booked_once_however_often_it_connects() {
        let tally = Arc::new(Tally::default());
        let progress = Progress::new(tally.clone());
        for (round, sent) in [(1, 100), (2, 50)] {
            let counters = Arc::new(Counters::default());
            progress.connected(counters.clone());
            Counters::add(&counters.send_bytes, sent);
            assert_eq!(progress.live_bytes(), sent, "{round}");
        }
        assert_eq!(tally.bytes(), 100);
        progress.disconnected();
        progress.disconnected();
        assert_eq!((tally.bytes(), progress.live_bytes()), (150, 0));
    }

    #[test]
    fn a_state_is_told_as_it_was_set() {
        let progress = Progress::new(Arc::default());
        assert_eq!(progress.state(), State::Connecting);
        for state in State::ALL {
            progress.set(state);
            assert_eq!(progress.state(), state);
        }
    }
}
