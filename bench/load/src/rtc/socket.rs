//! A client's own UDP socket: many datagrams in one call.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::UdpSocket;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use crate::fault::Fault;

/// Buffers of one receive. A server that batches its sends leaves one or two a time; at half of
/// it a burst of reports and pictures takes two calls, at double each call readies more for
/// nothing.
const BUFFERS: usize = 4;
/// What the kernel puts together (GRO) is at most an IP datagram.
const BUFFER: usize = 64 * 1024;
/// Asked of the kernel for a player: a group of pictures at once. The kernel may give less.
const KERNEL_ROOM: usize = 1 << 20;

/// Where datagrams are received, one for each thread.
pub(super) struct Room {
    bytes: Vec<u8>,
    meta: [RecvMeta; BUFFERS],
}

impl Room {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BUFFER * BUFFERS], meta: [RecvMeta::default(); BUFFERS] }
    }
}

/// A socket that never blocks.
pub(super) struct Socket {
    pub(super) io: UdpSocket,
    state: UdpSocketState,
}

impl Socket {
    /// A socket that can reach `to`.
    pub(super) fn new(to: SocketAddr, from: Option<IpAddr>) -> Result<Self, Fault> {
        Self::open(to, from).map_err(|e| Fault::socket(&e))
    }

    fn open(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Self> {
        let any = if to.is_ipv6() {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        let from = from.filter(|from| from.is_ipv6() == to.is_ipv6()).unwrap_or(any);
        let raw = RawSocket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
        raw.set_nonblocking(true)?;
        // More is better, and less still works.
        let _ = raw.set_recv_buffer_size(KERNEL_ROOM);
        raw.bind(&SocketAddr::new(from, 0).into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&raw))?;
        Ok(Self { io: UdpSocket::from_std(raw.into()), state })
    }

    /// One datagram. What cannot be sent now is lost, as on a network.
    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: None,
            src_ip: None,
        };
        let _ = self.state.try_send(UdpSockRef::from(&self.io), &transmit);
    }

    /// Hands each datagram that is there to `take`; false: there may be more. One system call.
    pub(super) fn receive(
        &self,
        room: &mut Room,
        mut take: impl FnMut(SocketAddr, &mut [u8]),
    ) -> bool {
        let mut chunks = room.bytes.chunks_exact_mut(BUFFER).map(io::IoSliceMut::new);
        let mut slices: [io::IoSliceMut<'_>; BUFFERS] =
            std::array::from_fn(|_| chunks.next().unwrap_or_else(|| io::IoSliceMut::new(&mut [])));
        // An error is an ICMP message to something that was sent; silence tells it, too.
        let got = self.state.recv(UdpSockRef::from(&self.io), &mut slices, &mut room.meta);
        let Ok(n) = got else {
            return got.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock);
        };
        for (meta, bytes) in room.meta.iter().zip(room.bytes.chunks_exact_mut(BUFFER)).take(n) {
            let Some(bytes) = bytes.get_mut(..meta.len) else { continue };
            for datagram in bytes.chunks_mut(meta.stride.max(1)) {
                take(meta.addr, datagram);
            }
        }
        n < BUFFERS
    }
}
