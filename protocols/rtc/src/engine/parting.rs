//! Sessions that stay when their port goes to another process, or is closed.
//!
//! All sockets at one port share its datagrams, and the kernel chooses among them by the client's
//! address: once another process has sockets there, half of what comes for our sessions would go to
//! it. So each session gets a socket that is connected to its client, which the kernel prefers.
//! Whoever is not here, and a client that comes from a new address, is the successor's. Finding a
//! connected socket is a walk through all at the port (until Linux 6.13), so only sessions that
//! outlive their port have one.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Engine;
use super::batch::Path;
use super::inbox::Message;
use super::peer::{Body, OwnRoad, Peer};
use super::shard::RtcShard;
use super::socket::{Socket, connect};
use crate::session::transport::{Transmit, Via};

impl Engine {
    /// A process that shares our ports is about to start, or has failed.
    pub(crate) fn expect_successor(self: &Arc<Self>, expected: bool) {
        self.parting.store(expected, Relaxed);
        if !expected {
            return;
        }
        for shard in 0..self.shards() {
            let this = self.clone();
            self.host.control.spawn(async move {
                this.deliver(shard, Message::Part).await;
            });
        }
    }

    /// Whether sessions need sockets of their own now.
    pub(crate) fn is_parting(&self) -> bool {
        self.parting.load(Relaxed)
    }
}

impl RtcShard {
    /// Gives sessions sockets of their own whose socket is one of `these`.
    pub(super) fn part(self: &Rc<Self>, these: impl Fn(&Socket) -> bool) {
        let peers = self.peers().clone();
        for peer in peers {
            let mut body = peer.body.borrow_mut();
            if matches!(&body.road, Some(OwnRoad::Udp(socket, ..)) if these(socket)) {
                peer.part(self, &mut body);
            }
        }
    }

    /// Receives at a session's own socket until that is closed. The room is the shard's: one for
    /// each session would be 2 MB.
    async fn receive_own(self: Rc<Self>, socket: Rc<Socket>) {
        loop {
            let ready = socket.ready().await;
            let got = ready.and_then(|()| {
                let mut room = self.own_room.borrow_mut();
                self.receive(&socket, room.make())
            });
            if !self.goes_on(&socket, got).await {
                return;
            }
        }
    }
}

impl Peer {
    /// Moves a session to a socket of its own, unless it has one.
    pub(super) fn part(&self, shard: &Rc<RtcShard>, body: &mut Body) {
        let Some(OwnRoad::Udp(shared, path, local)) = &body.road else { return };
        if shared.peer().is_some() {
            return;
        }
        let at = shared.local();
        let wide = at.is_ipv6() && at.ip().is_unspecified();
        match connect(*local, path.to, wide).and_then(Socket::new) {
            Ok(own) => {
                let own = Rc::new(own);
                let path = Path { to: path.to, from: None };
                body.road = Some(OwnRoad::Udp(own.clone(), path, *local));
                let receiving = shard.clone().receive_own(own);
                shard.hub_shard().spawn("rtc", receiving);
            }
            Err(error) => tracing::warn!(
                session = %self.session.id, %error,
                "no socket of its own for a session that stays: it will miss packets"
            ),
        }
    }
}

impl Body {
    /// Sends what the transport has to send: by the session's own socket where it is for its peer.
    pub(super) fn transmit(&self, shard: &RtcShard, transmit: &Transmit) {
        match (&self.road, transmit.via) {
            (Some(OwnRoad::Udp(socket, ..)), Via::Udp(local))
                if socket.peer() == Some(transmit.to) =>
            {
                shard.transmit_by(socket, local, transmit);
            }
            _ => shard.transmit(transmit),
        }
    }

    /// The session is over, or goes on elsewhere: its own socket, if it has one, is closed.
    pub(super) fn close_own_socket(&self) {
        if let Some(OwnRoad::Udp(socket, ..)) = &self.road
            && socket.peer().is_some()
        {
            socket.close();
        }
    }

    /// From here on the peer is to be reached by this road.
    pub(super) fn take_road(&mut self, road: OwnRoad) {
        let same = match (&road, &self.road) {
            (OwnRoad::Udp(new, ..), Some(OwnRoad::Udp(old, ..))) => Rc::ptr_eq(new, old),
            _ => false,
        };
        if !same {
            self.close_own_socket();
        }
        self.road = Some(road);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};
    use std::time::Duration;

    use gate::conf::Listen;

    use super::super::socket::{bind, connect};

    fn blocking(socket: &UdpSocket) {
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }

    /// Two shared sockets at one port of `ip`, and a client; `None` where the machine lacks the family.
    fn at_one_port(ip: Option<&str>, client: &str) -> Option<(UdpSocket, UdpSocket, UdpSocket)> {
        let ip = ip.map(|ip| ip.parse().unwrap());
        let first = bind(Listen { ip, port: 0 }, true).ok()?;
        let port = first.local_addr().unwrap().port();
        let second = bind(Listen { ip, port }, true).unwrap();
        Some((first, second, UdpSocket::bind((client, 0)).ok()?))
    }

    fn is_preferred(ip: Option<&str>, client: &str, wide: bool) {
        let Some((first, second, client)) = at_one_port(ip, client) else { return };
        let port = first.local_addr().unwrap().port();
        let local = SocketAddr::new(client.local_addr().unwrap().ip(), port);
        let own = connect(local, client.local_addr().unwrap(), wide).unwrap();
        assert_eq!(own.local_addr().unwrap().is_ipv6(), first.local_addr().unwrap().is_ipv6());
        blocking(&own);
        for n in 0..50u8 {
            client.send_to(&[n], local).unwrap();
            let mut got = [0; 8];
            let (len, from) = own.recv_from(&mut got).unwrap();
            assert_eq!((len, got[0], from.port()), (1, n, client.local_addr().unwrap().port()));
        }
        // Everybody else is heard by the shared ones.
        let other = UdpSocket::bind((local.ip(), 0)).unwrap();
        other.send_to(&[7], local).unwrap();
        let mut got = [0; 8];
        let mut heard = || [&first, &second].iter().any(|socket| socket.recv(&mut got).is_ok());
        assert!((0..1_000_000).any(|_| heard()), "nobody hears a stranger");
    }

    #[test]
    fn a_connected_socket_hears_its_peer_and_the_shared_ones_everybody_else() {
        is_preferred(Some("127.0.0.1"), "127.0.0.1", false);
        is_preferred(Some("::1"), "::1", false);
    }

    #[test]
    fn so_it_is_beside_sockets_for_every_address_of_the_machine() {
        is_preferred(None, "127.0.0.1", true);
    }
}
