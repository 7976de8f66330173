//! Connections of ICE over TCP: their first packet says whose they are.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gate::Served;
use gate::host::ConnectionPermit;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::Engine;
use super::inbox::Message;
use super::peer::{Arrived, Peer};
use super::shard::RtcShard;
use super::stream_socket::Connection;
use crate::session::transport::Via;
use crate::wire::framing::Reader;
use crate::wire::stun;

/// Bytes before the first packet is whole: a check is a few hundred.
const MOST_FIRST: usize = 4096;
/// Time for it.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// Connections that have not said whose they are. A check comes within a round trip, so this is room
/// for 2,500 clients a second at 100 ms; who comes when there is none takes the place of the oldest.
/// At half of it a flood of silent ones is nearer to pushing out true ones, at double it holds twice
/// as much of `max_connections`.
const MOST_UNNAMED: usize = 256;
/// A connection that brings nothing for so long is closed; checks come every few seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// Connections that a session may have at once. A client has one for each of its interfaces, twice
/// after a restart; at half of it a client with four is cut, at double a client who never reads has
/// 8 MB wait for it.
const MOST_CONNECTIONS: usize = 8;
/// Bytes of one read.
const ROOM: usize = 16 * 1024;

/// Connections that have not said whose they are, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Unnamed {
    waiting: Mutex<VecDeque<Arc<Notify>>>,
}

/// A place among them, given back when dropped.
struct Waits<'a> {
    all: &'a Unnamed,
    /// Its place is another's.
    over: Arc<Notify>,
}

impl Unnamed {
    /// Takes a place; whether it was the oldest one's.
    fn enter(&self) -> (Waits<'_>, bool) {
        let over: Arc<Notify> = Arc::default();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = if waiting.len() < MOST_UNNAMED { None } else { waiting.pop_front() };
        waiting.push_back(over.clone());
        drop(waiting);
        if let Some(oldest) = &oldest {
            oldest.notify_one();
        }
        (Waits { all: self, over }, oldest.is_some())
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut waiting = self.all.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|one| !Arc::ptr_eq(one, &self.over));
    }
}

/// Serves an accepted connection: reads its first packet, and hands it to the shard of the session
/// that this names.
pub(crate) async fn serve(engine: Arc<Engine>, served: Served) {
    let Some(tcp) = served.socket.direct() else { return };
    let (waits, pushed_out) = engine.unnamed.enter();
    if pushed_out {
        engine.stats.too_many_connections.fetch_add(1, Relaxed);
    }
    let mut first = Vec::new();
    let read = async {
        loop {
            tcp.readable().await.ok()?;
            let mut some = [0u8; 1024];
            match tcp.try_read(&mut some) {
                Ok(0) => return None,
                Ok(n) => first.extend_from_slice(some.get(..n)?),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(_) => return None,
            }
            if let Some(packet) = first_packet(&first) {
                let (ours, _) = stun::username(packet)?;
                return engine.shard_of_ufrag(ours);
            }
            if first.len() > MOST_FIRST {
                return None;
            }
        }
    };
    let named = tokio::select! {
        named = read => named,
        () = waits.over.notified() => None,
        () = tokio::time::sleep(FIRST_WITHIN) => None,
    };
    drop(waits);
    let Some(place) = named else { return };
    let Served { socket, peer, local, permit, .. } = served;
    drop(socket);
    let Some(tcp) = Rc::into_inner(tcp).and_then(|tcp| tcp.into_std().ok()) else { return };
    let number = engine.next_connection();
    engine
        .deliver(place, Message::Tcp(Box::new(Named { number, tcp, peer, local, first, permit })))
        .await;
}

fn first_packet(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*len)))
}

/// A connection that has said whose it is.
pub(crate) struct Named {
    number: u64,
    tcp: std::net::TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    /// What was read.
    first: Vec<u8>,
    /// Its place under `max_connections`, for as long as it lasts.
    permit: ConnectionPermit,
}

/// Takes a connection up on the shard of its session.
pub(crate) fn adopt(shard: &Rc<RtcShard>, named: Named) {
    let Named { number, tcp, peer, local, first, permit } = named;
    let named = first_packet(&first).and_then(stun::username);
    let Some(whose) = named.and_then(|(ours, _)| shard.by_ufrag(ours)) else { return };
    if whose.connections.get() >= MOST_CONNECTIONS {
        shard.engine().stats.too_many_connections.fetch_add(1, Relaxed);
        return;
    }
    let Ok(tcp) = TcpStream::from_std(tcp) else { return };
    let connection = Rc::new(Connection::new(tcp));
    shard.add_connection(number, connection.clone());
    whose.connections.set(whose.connections.get().saturating_add(1));
    let this = shard.clone();
    shard.hub_shard().spawn("rtc", async move {
        tokio::select! {
            () = read_loop(&this, number, &connection, peer, first, &whose) => {}
            _ = connection.drive() => {}
            () = whose.over.notified() => {}
        }
        whose.connections.set(whose.connections.get().saturating_sub(1));
        this.connection_gone(&whose, number);
        drop(permit);
        tracing::debug!(%peer, %local, "a connection of WebRTC is over");
    });
}

async fn read_loop(
    shard: &Rc<RtcShard>,
    number: u64,
    connection: &Rc<Connection>,
    peer: SocketAddr,
    first: Vec<u8>,
    whose: &Rc<Peer>,
) {
    let mut reader = Reader::default();
    let mut some = first;
    let mut filled = some.len();
    some.resize(some.len().max(ROOM), 0);
    loop {
        let mut input = some.get(..filled).unwrap_or(&[]);
        loop {
            match reader.next(&mut input) {
                Ok(Some(packet)) => {
                    let arrived = Arrived::Tcp(connection);
                    shard.handle(whose, peer, Via::Tcp(number), arrived, packet);
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%peer, %error, "a connection of WebRTC is closed");
                    return;
                }
            }
        }
        shard.flush_marked();
        // Whoever did not know the password with its first packets does not know it.
        if !whose.body.borrow().transport.is_valid(peer, Via::Tcp(number)) {
            tracing::debug!(%peer, "a connection of WebRTC is closed: no check of it was right");
            return;
        }
        let ready = tokio::time::timeout(SILENCE, connection.tcp().readable()).await;
        if !matches!(ready, Ok(Ok(()))) {
            return;
        }
        match connection.tcp().try_read(&mut some) {
            Ok(0) => return,
            Ok(n) => filled = n,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => filled = 0,
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn silent_connections_give_way_to_new_ones_and_leave_nothing_behind() {
        let unnamed = Unnamed::default();
        let over = |waits: &Waits<'_>| {
            let notified = pin!(waits.over.notified());
            notified.poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        let silent: Vec<_> = (0..MOST_UNNAMED).map(|_| unnamed.enter()).collect();
        assert!(silent.iter().all(|(waits, pushed)| !pushed && !over(waits)));
        let (new, pushed) = unnamed.enter();
        assert!(pushed && !over(&new));
        let gone = silent.iter().filter(|(waits, _)| over(waits)).count();
        assert_eq!(gone, 1);
        drop((new, silent));
        assert!(unnamed.waiting.lock().unwrap().is_empty());
        assert!(!unnamed.enter().1);
    }
}
