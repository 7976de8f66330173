//! A player's way from the log to its socket, the same for every protocol over TCP.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hub::{End, Form, Shard, Subscriber};
use tokio::time::{Sleep, sleep};

use crate::session::{Close, Session};
use crate::socket::Socket;
use crate::visit::{ClientHold, PlayGrant};

/// Bytes encrypted at a time: four TLS records.
const PULL: usize = 64 * 1024;

/// Serves one subscriber on one socket: directly from the log over plain TCP, through a buffer
/// over TLS. Lives on its shard.
pub struct Player {
    sub: Subscriber,
    /// Over TLS: what is on its way.
    pull: Option<Box<RefCell<Pull>>>,
    patience: Duration,
    hold: Option<ClientHold>,
}

impl Player {
    /// Joins the stream that `grant` allows. `initial` goes out first.
    pub fn join(
        shard: &Rc<Shard>,
        session: &Session,
        grant: PlayGrant,
        form: Form,
        socket: Socket,
        initial: &[u8],
    ) -> Self {
        socket.bound_send_memory();
        let options = grant.subscribe_options(session);
        let (stream, delivery) = (grant.stream.clone(), grant.delivery);
        let sub = match socket.direct() {
            Some(tcp) => shard.subscribe(&stream, form, delivery, options, tcp, initial),
            None => shard.subscribe_pull(&stream, form, delivery, options, initial),
        };
        let pull = match &socket {
            Socket::Tcp(_) => None,
            Socket::Tls(_) => Some(Box::new(RefCell::new(Pull::new(socket)))),
        };
        Self { sub, pull, patience: grant.queue_length, hold: grant.hold }
    }

    /// The subscription, for control messages and pausing.
    pub fn subscriber(&self) -> &Subscriber {
        &self.sub
    }

    /// Leaves the stream; the place in it is for who plays on in another form.
    pub fn leave(self) -> Option<ClientHold> {
        self.hold
    }

    /// Serves until it ends by itself. Cancel safe: may be dropped and called again.
    pub async fn drive(&self) -> Close {
        poll_fn(|cx| self.poll_drive(cx)).await
    }

    /// The same, polled; the task that asked last is woken.
    pub fn poll_drive(&self, cx: &mut Context<'_>) -> Poll<Close> {
        let end = match &self.pull {
            None => ready!(self.sub.poll_drive(cx)),
            Some(pull) => ready!(pull.borrow_mut().poll(cx, &self.sub, self.patience)),
        };
        Poll::Ready(close_of(end, self.patience))
    }
}

/// Bytes of the log on their way through the encryption.
struct Pull {
    socket: Socket,
    out: Vec<u8>,
    sent: usize,
    /// The encryption holds something back.
    unflushed: bool,
    /// The peer has taken nothing since this began.
    late: Option<Pin<Box<Sleep>>>,
}

impl Pull {
    fn new(socket: Socket) -> Self {
        Self { socket, out: Vec::new(), sent: 0, unflushed: false, late: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>, sub: &Subscriber, patience: Duration) -> Poll<End> {
        loop {
            let rest = self.out.get(self.sent..).unwrap_or(&[]);
            let done = if !rest.is_empty() {
                self.socket.poll_write_some(cx, rest)
            } else if self.unflushed {
                self.socket.poll_flush_all(cx).map_ok(|()| 0)
            } else {
                if let Err(end) = ready!(sub.poll_ready(cx)) {
                    return Poll::Ready(end);
                }
                self.out.clear();
                self.sent = 0;
                if sub.take(PULL, &mut self.out) == 0 {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                continue;
            };
            match done {
                Poll::Ready(Ok(n)) => {
                    self.late = None;
                    self.unflushed = n > 0;
                    self.sent = self.sent.saturating_add(n);
                }
                Poll::Ready(Err(e)) => return Poll::Ready(End::Peer(e.kind())),
                Poll::Pending => {
                    let late = self.late.get_or_insert_with(|| Box::pin(sleep(patience)));
                    return late.as_mut().poll(cx).map(|()| End::Stalled);
                }
            }
        }
    }
}

/// What the end of a subscription means for its session.
pub fn close_of(end: End, patience: Duration) -> Close {
    match end {
        End::Peer(kind) => Close::done(format!("the player left ({kind})")),
        End::Stalled => Close::peer(
            1011,
            format!("the player took no byte for {} s (queue_length)", patience.as_secs()),
        ),
        End::Broken => Close::us("the stream could not be packaged for the player: a bug"),
        End::Overflow => Close::peer(1011, "the player asks but does not read the answers"),
    }
}
