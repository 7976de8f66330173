//! A subscriber: an offset into a rendition log and a socket. No queue.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::num::NonZeroI64;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::bell::Bell;
use crate::rendition::Rendition;
use crate::shard::Shard;

/// Counters of one session. The owning shard writes, the API reads.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes received from the peer.
    pub recv_bytes: AtomicU64,
    /// Bytes sent to the peer.
    pub send_bytes: AtomicU64,
    /// Messages sent to a player or received from a publisher.
    pub messages: AtomicU64,
    /// Times the cursor jumped because the peer was too slow.
    pub lag_jumps: AtomicU64,
    /// Messages that those jumps left out.
    pub lag_dropped: AtomicU64,
    /// Milliseconds of media that a player is behind, as the governor last saw it. Not known for
    /// what is not served from a log (HLS).
    pub lag_ms: AtomicU64,
}

impl Counters {
    /// Adds to a counter that only the calling shard writes: no locked instruction.
    #[inline]
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
    }
}

/// Why a subscription ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed the connection or it broke.
    Peer(io::ErrorKind),
    /// The peer took no byte for `queue_length`.
    Stalled,
    /// Control messages piled up because the peer does not read.
    Overflow,
    /// The wire form could not be made: a bug, which was logged.
    Broken,
}

/// Options of one subscription.
#[derive(Clone, Debug)]
pub struct SubscribeOptions {
    /// How far behind a viewer may fall before its cursor jumps, and how long it may take no byte
    /// at all before it is closed.
    pub queue_length: Duration,
    /// Session id for the log.
    pub session: Arc<str>,
    /// Where the bytes are counted.
    pub counters: Arc<Counters>,
    /// Start at the last key frame (`true`) or at the next frame.
    pub from_key: bool,
}

/// Bytes in front of the log (control messages and the rest of a message that was cut) beyond which
/// a subscriber gets no more of them: the peer does not read while it keeps asking. One message
/// may exceed it, since a burst of several streams on one connection is one.
pub(crate) const REST_LIMIT: usize = 1 << 20;
/// Most bytes handed to the kernel in one call while catching up.
pub(crate) const CATCH_UP: usize = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In the walk.
    Walking,
    /// The socket was full: waits for writability outside the walk.
    Blocked,
    /// Ended; waits to be dropped.
    Closed(End),
}

pub(crate) enum Sink {
    /// The pacer writes to the socket itself.
    Direct(Rc<TcpStream>),
    /// The owner is woken and takes bytes (TLS, HTTP/2).
    Pull,
}

pub(crate) struct Sub {
    pub(crate) sink: Sink,
    pub(crate) offset: Cell<u64>,
    pub(crate) state: Cell<State>,
    pub(crate) paused: Cell<bool>,
    pub(crate) slot: Cell<usize>,
    pub(crate) generation: Cell<u64>,
    /// Goes out before the log: prelude, control messages, the rest of a cut message.
    pub(crate) rest: RefCell<Vec<u8>>,
    pub(crate) wake: Bell,
    pub(crate) progress: Cell<Instant>,
    /// Lost its place and waits for a key frame: the number of the first message it did not get.
    pub(crate) awaits: Cell<Option<u64>>,
    /// When a lag was last told of, by the log's clock.
    pub(crate) told_lag: Cell<Option<NonZeroI64>>,
    pub(crate) queue_length: Duration,
    pub(crate) session: Arc<str>,
    pub(crate) counters: Arc<Counters>,
}

impl Sub {
    /// Whether messages of the log may go to it now.
    pub(crate) fn takes_media(&self) -> bool {
        !self.paused.get()
            && self.awaits.get().is_none()
            && !matches!(self.state.get(), State::Closed(_))
    }

    pub(crate) fn close(&self, end: End) {
        if !matches!(self.state.get(), State::Closed(_)) {
            self.state.set(State::Closed(end));
        }
        self.wake.ring();
    }

    /// Ends one that has taken no byte for `queue_length`. Looked at by the governor, so that no
    /// viewer needs a timer of its own.
    pub(crate) fn close_if_stalled(&self, now: Instant) {
        let stalled = self.state.get() == State::Blocked
            && matches!(self.sink, Sink::Direct(_))
            && self.progress.get() + self.queue_length <= now;
        if stalled {
            self.close(End::Stalled);
        }
    }

    pub(crate) fn block(&self) {
        if !matches!(self.state.get(), State::Closed(_)) {
            self.state.set(State::Blocked);
        }
        self.wake.ring();
    }

    pub(crate) fn count_sent(&self, n: usize) {
        Counters::add(&self.counters.send_bytes, n as u64);
    }
}

/// One player's place in a rendition log. Lives on its shard; dropping it leaves the stream.
pub struct Subscriber {
    pub(crate) sub: Rc<Sub>,
    pub(crate) rendition: Rc<Rendition>,
    pub(crate) shard: Rc<Shard>,
}

impl Subscriber {
    /// Serves a direct subscriber while its socket is full, and returns when it ends. Cancel safe.
    /// Costs nothing while the socket keeps up: the pacer writes by itself.
    pub async fn drive(&self) -> End {
        poll_fn(|cx| self.poll_drive(cx)).await
    }

    /// The same for a task that waits for other things as well: holds no state of its own. Only
    /// the task that polled last is woken.
    pub fn poll_drive(&self, cx: &mut Context<'_>) -> Poll<End> {
        let sub = &*self.sub;
        loop {
            let heard = sub.wake.poll_heard(cx).is_ready();
            match (sub.state.get(), &sub.sink) {
                (State::Closed(end), _) => return Poll::Ready(end),
                (State::Blocked, Sink::Direct(tcp)) => match tcp.poll_write_ready(cx) {
                    Poll::Ready(Ok(())) => self.rendition.resume(sub),
                    Poll::Ready(Err(e)) => sub.close(End::Peer(e.kind())),
                    Poll::Pending if heard => {}
                    Poll::Pending => return Poll::Pending,
                },
                _ if heard => {}
                _ => return Poll::Pending,
            }
        }
    }

    /// For pull subscribers: waits until there is something to take.
    ///
    /// # Errors
    /// [`End`] when the subscription was ended by the hub.
    pub async fn ready(&self) -> Result<(), End> {
        poll_fn(|cx| self.poll_ready(cx)).await
    }

    /// The same, polled.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            let heard = self.sub.wake.poll_heard(cx).is_ready();
            if let State::Closed(end) = self.sub.state.get() {
                return Poll::Ready(Err(end));
            }
            if self.rendition.has_bytes(&self.sub) {
                return Poll::Ready(Ok(()));
            }
            if !heard {
                return Poll::Pending;
            }
        }
    }

    /// For pull subscribers: copies up to about `max` bytes behind `out`. Returns how many.
    pub fn take(&self, max: usize, out: &mut Vec<u8>) -> usize {
        self.rendition.take(&self.sub, max, out)
    }

    /// Puts whole protocol messages between two messages of the stream. Sent at once when the
    /// socket allows it.
    pub fn send_control(&self, bytes: &[u8]) {
        if self.sub.rest.borrow().len() > REST_LIMIT {
            self.sub.close(End::Overflow);
            return;
        }
        self.rendition.cut_to_border(&self.sub);
        self.sub.rest.borrow_mut().extend_from_slice(bytes);
        self.kick();
    }

    /// Stops or resumes delivery; a resumed subscriber starts at the last key frame.
    pub fn pause(&self, on: bool) {
        if self.sub.paused.get() == on {
            return;
        }
        if on {
            self.rendition.cut_to_border(&self.sub);
        } else {
            self.rendition.rejoin(&self.sub);
        }
        self.sub.paused.set(on);
        self.kick();
    }

    /// Waits until no part of a message is left to be sent, so that somebody else may write to the
    /// socket. Only after [`pause`](Self::pause); otherwise media keeps coming.
    pub async fn drained(&self) {
        loop {
            let done = self.sub.rest.borrow().is_empty();
            match (done, self.sub.state.get(), &self.sub.sink) {
                (true, ..) | (_, State::Closed(_), _) | (_, _, Sink::Pull) => return,
                (false, _, Sink::Direct(tcp)) => match tcp.writable().await {
                    Ok(()) => self.rendition.resume(&self.sub),
                    Err(_) => return,
                },
            }
        }
    }

    fn kick(&self) {
        match (&self.sub.sink, self.sub.state.get()) {
            (Sink::Direct(_), State::Walking) => self.rendition.resume(&self.sub),
            _ => self.sub.wake.ring(),
        }
    }

    /// Milliseconds of media between what was sent and the newest frame.
    pub fn lag_ms(&self) -> i64 {
        self.rendition.lag_ms(&self.sub)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.shard.left();
        if self.rendition.remove(&self.sub) {
            self.shard.drop_rendition(&self.rendition);
        }
    }
}
