//! A player's way from the log to its socket, the same for every protocol over TCP.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hub::{End, Form, Shard, Subscriber};

use crate::host::PlayGrant;
use crate::session::{Close, Session};
use crate::socket::Socket;

/// Bytes encrypted at a time: four TLS records.
const PULL: usize = 64 * 1024;

/// Serves one subscriber on one socket: directly from the log over plain TCP, through a buffer
/// over TLS. Lives on its shard.
pub struct Player {
    sub: Subscriber,
    socket: Socket,
    out: RefCell<Vec<u8>>,
    sent: Cell<usize>,
    patience: Duration,
    _grant: PlayGrant,
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
        Self {
            sub,
            socket,
            out: RefCell::default(),
            sent: Cell::new(0),
            patience: grant.queue_length,
            _grant: grant,
        }
    }

    /// The subscription, for control messages and pausing.
    pub fn subscriber(&self) -> &Subscriber {
        &self.sub
    }

    /// Serves until it ends by itself. Cancel safe: may be dropped and called again.
    pub async fn drive(&self) -> Close {
        let end = match &self.socket {
            Socket::Tcp(_) => self.sub.drive().await,
            Socket::Tls(_) => self.pull().await,
        };
        close_of(end, self.patience)
    }

    async fn pull(&self) -> End {
        loop {
            if self.sent.get() >= self.out.borrow().len() {
                self.out.borrow_mut().clear();
                self.sent.set(0);
                if let Err(end) = self.sub.ready().await {
                    return end;
                }
                if self.sub.take(PULL, &mut self.out.borrow_mut()) == 0 {
                    tokio::task::yield_now().await;
                    continue;
                }
            }
            // Moved out while it is written: nothing else touches it, and a cancelled write puts
            // it back through the guard.
            let held = Held { slot: &self.out, bytes: self.out.take() };
            let part = held.bytes.get(self.sent.get()..).unwrap_or(&[]);
            let write = async {
                let n = self.socket.write_some(part).await?;
                self.sent.set(self.sent.get().saturating_add(n));
                if self.sent.get() >= held.bytes.len() {
                    self.socket.flush().await?;
                }
                std::io::Result::Ok(())
            };
            match tokio::time::timeout(self.patience, write).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => return End::Peer(e.kind()),
                Err(_) => return End::Stalled,
            }
        }
    }
}

/// Gives a borrowed buffer back, also when the future that borrowed it is dropped.
struct Held<'a> {
    slot: &'a RefCell<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.slot.borrow_mut() = std::mem::take(&mut self.bytes);
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
