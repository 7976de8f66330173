//! The datagram sockets: one per shard at the same port, many datagrams per call.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use gate::conf::Listen;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

/// Room asked of the kernel for datagrams in each direction: 0.1 s of 350,000 packets a second
/// leaving, and a burst of reports arriving. The kernel may give less (`net.core.rmem_max`).
const KERNEL_ROOM: usize = 4 * 1024 * 1024;
/// Bytes of one receive buffer: 64 kB hold whatever the kernel puts together (GRO).
const RECEIVE_ROOM: usize = 64 * 1024;

/// A datagram socket of a shard.
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    /// The only one it hears and reaches.
    peer: Option<SocketAddr>,
    stop: Notify,
    closing: Cell<bool>,
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The kernel has it.
    Yes,
    /// The kernel has no room now: for the peer it is as if it was lost.
    NoRoom,
    /// It cannot be sent there.
    Failed,
}

/// Binds one address, `shared` with the sockets of other shards or alone. `ip` `None`: every
/// address of the machine.
///
/// # Errors
/// What the system says: most often the port is in use.
pub(crate) fn bind(listen: Listen, shared: bool) -> io::Result<std::net::UdpSocket> {
    let open = |address: SocketAddr, dual: bool| {
        let socket =
            RawSocket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(!dual)?;
        }
        socket.set_reuse_port(shared)?;
        socket.set_nonblocking(true)?;
        // More is better, and less still works.
        let _ = socket.set_recv_buffer_size(KERNEL_ROOM);
        let _ = socket.set_send_buffer_size(KERNEL_ROOM);
        socket.bind(&address.into())?;
        Ok(std::net::UdpSocket::from(socket))
    };
    match listen.ip {
        Some(ip) => open(SocketAddr::new(ip, listen.port), false),
        None => open(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), listen.port), true)
            .or_else(|e: io::Error| match e.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(e),
                _ => open(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), listen.port), false),
            }),
    }
}

/// Binds a socket beside the shared one at `local`, for datagrams of `peer` alone: the kernel
/// prefers it to the shared ones for these (Linux 5.4). `wide`: the shared one is of IPv6 and hears
/// IPv4, too, and so must this one, since both call a client the same.
///
/// # Errors
/// What the system says: most often there is no descriptor left.
pub(crate) fn connect(
    local: SocketAddr,
    peer: SocketAddr,
    wide: bool,
) -> io::Result<std::net::UdpSocket> {
    let told = |at: SocketAddr| match at.ip() {
        IpAddr::V4(ip) if wide => SocketAddr::new(ip.to_ipv6_mapped().into(), at.port()),
        _ => at,
    };
    let (local, peer) = (told(local), told(peer));
    let socket = RawSocket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(!wide)?;
    }
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    let _ = socket.set_recv_buffer_size(KERNEL_ROOM);
    let _ = socket.set_send_buffer_size(KERNEL_ROOM);
    socket.bind(&local.into())?;
    socket.connect(&peer.into())?;
    Ok(std::net::UdpSocket::from(socket))
}

impl Socket {
    /// Takes a bound socket up on the calling shard.
    ///
    /// # Errors
    /// When the runtime has no room for it.
    pub(crate) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let local = socket.local_addr()?;
        let peer = socket.peer_addr().ok();
        let io = UdpSocket::from_std(socket)?;
        Ok(Self { io, state, local, peer, stop: Notify::new(), closing: Cell::new(false) })
    }

    /// Whom it is connected to, if it is one client's own.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Receives no more once what has arrived is taken; whoever holds it may still send.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        self.stop.notify_one();
    }

    /// Whether [`close`](Self::close) was called.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Waits for datagrams, or for [`close`](Self::close). Cancel safe.
    ///
    /// # Errors
    /// When the socket is broken.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        tokio::select! {
            ready = self.io.readable() => ready,
            () = self.stop.notified() => Ok(()),
        }
    }

    /// For sends of many peers in one call.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }

    /// Our address.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Datagrams that one send may carry.
    pub(crate) fn max_segments(&self) -> usize {
        self.state.max_gso_segments().max(1)
    }

    /// Sends `bytes`: one datagram, or several of `segment` bytes each of which the last may be
    /// shorter. One system call, no allocation.
    #[inline]
    pub(crate) fn send(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
        bytes: &[u8],
        segment: usize,
    ) -> Sent {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: (bytes.len() > segment).then_some(segment),
            src_ip: from,
        };
        match self.state.try_send(UdpSockRef::from(&self.io), &transmit) {
            Ok(()) => Sent::Yes,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Sent::NoRoom,
            Err(_) => Sent::Failed,
        }
    }

    /// Hands each datagram that is there to `take`: who sent it, our address that it came to, its
    /// bytes. One system call for many; whether there was any.
    ///
    /// # Errors
    /// When the socket is broken; errors that a peer can cause are not told.
    pub(crate) fn receive(
        &self,
        room: &mut Room,
        mut take: impl FnMut(SocketAddr, Option<IpAddr>, &mut [u8]),
    ) -> io::Result<bool> {
        let got = self.io.try_io(tokio::io::Interest::READABLE, || {
            let mut slices = room.bytes.chunks_exact_mut(RECEIVE_ROOM).map(io::IoSliceMut::new);
            let mut slices: [io::IoSliceMut<'_>; BATCH_SIZE] = std::array::from_fn(|_| {
                slices.next().unwrap_or_else(|| io::IoSliceMut::new(&mut []))
            });
            self.state.recv(UdpSockRef::from(&self.io), &mut slices, &mut room.meta)
        });
        let n = match got {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // An ICMP answer to something that was sent (the port is closed there) comes up here.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => return Ok(true),
            Err(e) => return Err(e),
        };
        for (meta, bytes) in room.meta.iter().zip(room.bytes.chunks_exact_mut(RECEIVE_ROOM)).take(n)
        {
            let Some(bytes) = bytes.get_mut(..meta.len) else { continue };
            for datagram in bytes.chunks_mut(meta.stride.max(1)) {
                take(meta.addr, meta.dst_ip, datagram);
            }
        }
        Ok(n > 0)
    }
}

/// Where datagrams are received: one for each shard.
pub(crate) struct Room {
    bytes: Vec<u8>,
    meta: [RecvMeta; BATCH_SIZE],
}

impl Room {
    /// Without any, until [`make`](Self::make).
    pub(crate) fn none() -> Self {
        Self { bytes: Vec::new(), meta: [RecvMeta::default(); BATCH_SIZE] }
    }

    /// Makes room, unless there is some.
    pub(crate) fn make(&mut self) -> &mut Self {
        self.bytes.resize(RECEIVE_ROOM.saturating_mul(BATCH_SIZE), 0);
        self
    }
}

impl Default for Room {
    fn default() -> Self {
        Self {
            bytes: vec![0; RECEIVE_ROOM.saturating_mul(BATCH_SIZE)],
            meta: [RecvMeta::default(); BATCH_SIZE],
        }
    }
}
