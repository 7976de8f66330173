//! Where a session's client is.

use std::net::SocketAddr;
use std::rc::Rc;

use super::{Arrived, Body, OwnRoad, Peer};
use crate::engine::MOST_ADDRESSES;
use crate::engine::batch::Path;
use crate::engine::shard::RtcShard;
use crate::session::transport::Via;

impl Peer {
    /// From here on the peer is to be reached there.
    pub(super) fn reach(
        self: &Rc<Self>,
        shard: &Rc<RtcShard>,
        body: &mut Body,
        addr: SocketAddr,
        via: Via,
        arrived: Option<Arrived<'_>>,
    ) {
        let road = match (via, arrived) {
            (Via::Udp(local), Some(Arrived::Udp(socket))) => {
                let from = socket.local().ip().is_unspecified().then(|| local.ip());
                let path = Path { to: addr, from: from.filter(|ip| !ip.is_unspecified()) };
                Some(OwnRoad::Udp(socket.clone(), path, local))
            }
            (Via::Udp(local), _) => shard
                .socket_at(local)
                .map(|socket| OwnRoad::Udp(socket, Path { to: addr, from: None }, local)),
            (Via::Tcp(_), Some(Arrived::Tcp(connection))) => Some(OwnRoad::Tcp(connection.clone())),
            (Via::Tcp(number), _) => shard.connection(number).map(OwnRoad::Tcp),
        };
        if let Some(road) = road {
            body.take_road(road);
            if shard.engine().is_parting() {
                self.part(shard, body);
            }
        }
        self.found(shard, body, addr, via);
    }

    /// What comes from there is this session's, if nobody else has shown that it is there.
    pub(super) fn found(
        self: &Rc<Self>,
        shard: &RtcShard,
        body: &mut Body,
        addr: SocketAddr,
        via: Via,
    ) {
        if !matches!(via, Via::Udp(_)) {
            return;
        }
        if !body.addresses.contains(&addr) {
            if body.addresses.len() >= MOST_ADDRESSES {
                let old = body.addresses.remove(0);
                shard.forget_address(old, self.number);
            }
            body.addresses.push(addr);
        }
        shard.found_at(addr, self, body.transport.is_proven(addr, via));
    }
}
