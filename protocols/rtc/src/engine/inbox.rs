//! What goes from one thread to a shard.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::relay::{Packets, Relay};
use super::shard::RtcShard;
use super::tcp::Named;

/// Work for a shard.
pub(crate) type Job = Box<dyn FnOnce(&Rc<RtcShard>) + Send>;

/// Messages that may wait for a shard: 30 ms of 128 publishers whose packets cross over. What does
/// not fit is lost as if the network had lost it, and counted.
pub(crate) const ROOM: usize = 8192;

/// One message.
pub(crate) enum Message {
    /// Something to do.
    Job(Job),
    /// A datagram of a session of this shard that came to another one's socket.
    Datagram { from: SocketAddr, local: SocketAddr, bytes: Vec<u8> },
    /// What a publisher on another shard sent.
    Packets { relay: Arc<Relay>, packets: Arc<Packets> },
    /// A publisher of WebRTC has begun.
    Relay(Arc<Relay>),
    /// A socket to serve.
    Socket(std::net::UdpSocket),
    /// Only these addresses are served any more.
    CloseSockets(Vec<SocketAddr>),
    /// Every session gets a socket of its own.
    Part,
    /// A connection whose first check names a session of this shard.
    Tcp(Box<Named>),
}
