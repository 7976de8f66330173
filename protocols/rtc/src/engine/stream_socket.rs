//! ICE over TCP (RFC 6544): connections that carry packets behind their lengths (RFC 4571).

use std::cell::RefCell;
use std::io;

use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::socket::Sent;

/// Bytes that may wait for a connection that is full. At 2 Mbit/s that is 2 s; what comes after is
/// lost, as it would be with datagrams.
const MOST_WAITING: usize = 512 * 1024;

/// A connection of a session, as its sends see it.
pub(crate) struct Connection {
    tcp: TcpStream,
    waiting: RefCell<Vec<u8>>,
    /// Something waits.
    pub(crate) wake: Notify,
}

impl Connection {
    /// Over an accepted socket.
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp, waiting: RefCell::default(), wake: Notify::new() }
    }

    /// The socket, for reading.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Sends packets, each behind its length. Those that find no room are lost as a whole.
    pub(crate) fn send<'a>(&self, packets: impl Iterator<Item = &'a [u8]>) -> Sent {
        let mut waiting = self.waiting.borrow_mut();
        let was_empty = waiting.is_empty();
        let mut sent = Sent::Yes;
        for packet in packets {
            let Ok(len) = u16::try_from(packet.len()) else { continue };
            if waiting.len().saturating_add(packet.len()) > MOST_WAITING {
                sent = Sent::NoRoom;
                break;
            }
            waiting.extend_from_slice(&len.to_be_bytes());
            waiting.extend_from_slice(packet);
        }
        if was_empty {
            match self.tcp.try_write(&waiting) {
                Ok(n) => {
                    let n = n.min(waiting.len());
                    waiting.drain(..n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    waiting.clear();
                    return Sent::Failed;
                }
            }
            if !waiting.is_empty() {
                self.wake.notify_one();
            }
        }
        sent
    }

    /// Writes what waits, for as long as the connection lives. Cancel safe.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(crate) async fn drive(&self) -> io::Result<()> {
        loop {
            self.wake.notified().await;
            while !self.waiting.borrow().is_empty() {
                self.tcp.writable().await?;
                let mut waiting = self.waiting.borrow_mut();
                match self.tcp.try_write(&waiting) {
                    Ok(n) => {
                        let n = n.min(waiting.len());
                        waiting.drain(..n);
                        if waiting.is_empty() {
                            *waiting = Vec::new();
                        }
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(e) => return Err(e),
                }
            }
        }
    }
}
