//! Packets for one viewer on their way to the kernel: as many in one call as it takes.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::rc::Rc;

use uring::{Datagram, Datagrams, Ring};

use super::socket::{Sent, Socket};
use super::stream_socket::Connection;

/// Most bytes of one call: what an IP datagram can hold, with room for its headers.
const MOST_BYTES: usize = 65_000;

/// Padding that a packet may get to be as long as those before it. Fragments of a picture differ by
/// a byte or two, blocks of sound by some more, pictures that leave together by anything; a call saved
/// is 6 us, 64 bytes are 20 ns. At half, fewer pictures share a call; at double, a tenth of the bytes
/// could be padding.
const MOST_PADDING: usize = 64;

/// Sends that are gathered before they go to the kernel in one call, and bytes of them. Between 16
/// and 128 sends no difference could be measured; twice the bytes would leave the cache of the core
/// on the machine that was measured on (1 MB).
const GATHERED: usize = 64;
const GATHERED_BYTES: usize = 256 * 1024;

/// A send that waits for others.
struct Send {
    socket: Rc<Socket>,
    path: Path,
    bytes: Range<usize>,
    segment: usize,
    packets: usize,
}

/// Packets of one size, the last of which may be shorter, side by side: the shape that the
/// kernel cuts into datagrams by itself (GSO). One buffer for all viewers of a shard; after the
/// first second it allocates nothing.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    segment: usize,
    packets: usize,
    /// The last packet was shorter than the others: it stays the last.
    closed: bool,
    most: usize,
    /// Where the packets begin that are being put together.
    from: usize,
    /// Sends wait until they are called for.
    gathers: bool,
    sends: Vec<Send>,
    datagrams: Option<Datagrams>,
}

/// Where packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// The peer.
    pub(crate) to: SocketAddr,
    /// Our address that it knows, on machines that have several.
    pub(crate) from: Option<IpAddr>,
}

/// The road that packets take.
#[derive(Clone, Copy)]
pub(crate) enum Road<'a> {
    /// Datagrams.
    Udp(&'a Rc<Socket>, Path),
    /// A connection that carries them one after another (RFC 4571).
    Tcp(&'a Connection),
    /// Nowhere: a test looks at them.
    #[cfg(test)]
    Kept(&'a std::cell::RefCell<Vec<Vec<u8>>>),
}

/// What was sent, and what was lost at our own door.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) calls: u64,
    pub(crate) no_room: u64,
    pub(crate) failed: u64,
}

impl Batch {
    /// For a socket that takes so many packets at once. With a ring what is gathered is sent by it.
    pub(crate) fn new(most: usize, ring: Option<Ring>) -> Self {
        let datagrams = Some(Datagrams::new(GATHERED, ring));
        Self { most: most.max(1), datagrams, ..Self::default() }
    }

    /// The socket takes so many packets at once.
    pub(crate) fn set_most(&mut self, most: usize) {
        self.most = most.max(1);
    }

    /// Whether a packet of `size` bytes may stand behind those that are there.
    #[inline]
    pub(crate) fn takes(&self, size: usize) -> bool {
        self.packets == 0
            || (!self.closed
                && size <= self.segment
                && self.packets < self.most
                && self.bytes.len().saturating_sub(self.from).saturating_add(size) <= MOST_BYTES)
    }

    /// How many bytes of padding make a packet of `size` bytes as long as those that are there, so
    /// that more may follow it; 0 when it is as long already, or would need more than
    /// [`MOST_PADDING`].
    #[inline]
    pub(crate) fn padding(&self, size: usize) -> usize {
        if self.packets == 0 || self.closed {
            return 0;
        }
        let lacks = self.segment.saturating_sub(size);
        if lacks <= MOST_PADDING { lacks } else { 0 }
    }

    /// Notes that a packet of `size` bytes was written behind [`bytes`](Self::bytes).
    #[inline]
    pub(crate) fn wrote(&mut self, size: usize) {
        if self.packets == 0 {
            self.segment = size;
        } else if size < self.segment {
            self.closed = true;
        }
        self.packets = self.packets.saturating_add(1);
    }

    /// Sends what there is; or, while sends are gathered, lets it wait, untold.
    #[inline]
    pub(crate) fn flush(&mut self, road: &Road<'_>, tally: &mut Tally) {
        if self.packets == 0 {
            return;
        }
        let bytes = self.from..self.bytes.len();
        let sent = match road {
            Road::Udp(socket, path) if self.gathers => {
                self.sends.push(Send {
                    socket: (*socket).clone(),
                    path: *path,
                    bytes,
                    segment: self.segment,
                    packets: self.packets,
                });
                self.from = self.bytes.len();
                self.packets = 0;
                self.closed = false;
                return;
            }
            Road::Udp(socket, path) => {
                let bytes = self.bytes.get(bytes).unwrap_or(&[]);
                match socket.send(path.to, path.from, bytes, self.segment) {
                    Sent::Failed if self.packets > 1 => {
                        one_by_one(socket, path, bytes, self.segment)
                    }
                    sent => sent,
                }
            }
            Road::Tcp(connection) => {
                let bytes = self.bytes.get(bytes).unwrap_or(&[]);
                connection.send(bytes.chunks(self.segment.max(1)))
            }
            #[cfg(test)]
            Road::Kept(kept) => {
                let bytes = self.bytes.get(bytes).unwrap_or(&[]);
                kept.borrow_mut().extend(bytes.chunks(self.segment.max(1)).map(<[u8]>::to_vec));
                Sent::Yes
            }
        };
        let bytes = self.bytes.len().saturating_sub(self.from);
        tally.add(sent, self.packets, bytes);
        self.bytes.truncate(self.from);
        self.packets = 0;
        self.closed = false;
    }

    /// From here on what is flushed waits for [`send_gathered`](Self::send_gathered).
    pub(crate) fn gather(&mut self) {
        self.gathers = true;
    }

    /// Sends that wait.
    pub(crate) fn gathered(&self) -> usize {
        self.sends.len()
    }

    /// Whether enough wait to be sent.
    pub(crate) fn is_full(&self) -> bool {
        self.sends.len() >= GATHERED || self.bytes.len() >= GATHERED_BYTES
    }

    /// Sends what waits, in as few calls as the kernel allows, and tells of each in the order in
    /// which they were flushed. What is flushed after it is sent at once again.
    pub(crate) fn send_gathered(&mut self, mut tell: impl FnMut(Tally)) {
        self.gathers = false;
        let mut sends = self.sends.as_slice();
        while !sends.is_empty() {
            let row = sends.split_at(sends.len().min(GATHERED));
            sends = row.1;
            let mut batch = self.datagrams.as_mut().map(Datagrams::batch);
            for send in row.0 {
                let datagram = Datagram {
                    to: send.path.to,
                    from: send.path.from,
                    bytes: self.bytes.get(send.bytes.clone()).unwrap_or(&[]),
                    segment: u16::try_from(send.segment).ok().filter(|_| send.packets > 1),
                };
                if !batch.as_mut().is_some_and(|b| b.push(send.socket.as_fd(), datagram)) {
                    break;
                }
            }
            let results = batch.map(|batch| batch.send()).unwrap_or(&[]);
            for (at, send) in row.0.iter().enumerate() {
                let bytes = self.bytes.get(send.bytes.clone()).unwrap_or(&[]);
                let sent = match results.get(at) {
                    Some(uring::Sent::Taken(_)) => Sent::Yes,
                    Some(uring::Sent::Full) => Sent::NoRoom,
                    _ => one_by_one(&send.socket, &send.path, bytes, send.segment),
                };
                let mut tally = Tally::default();
                tally.add(sent, send.packets, bytes.len());
                tell(tally);
            }
        }
        self.clear();
    }

    /// Forgets what there is, and gathers no more.
    pub(crate) fn clear(&mut self) {
        self.gathers = false;
        self.sends.clear();
        self.bytes.clear();
        self.from = 0;
        self.packets = 0;
        self.closed = false;
    }
}

/// Some ways take no packets that are yet to be cut (a tunnel, a device without checksums): they
/// take each by itself.
fn one_by_one(socket: &Socket, path: &Path, bytes: &[u8], segment: usize) -> Sent {
    let mut all = Sent::Yes;
    for packet in bytes.chunks(segment.max(1)) {
        match socket.send(path.to, path.from, packet, packet.len()) {
            Sent::Yes => {}
            sent => all = sent,
        }
    }
    all
}

impl Tally {
    /// A call with so many packets and bytes.
    fn add(&mut self, sent: Sent, packets: usize, bytes: usize) {
        let packets = packets as u64;
        self.calls = self.calls.saturating_add(1);
        match sent {
            Sent::Yes => {
                self.packets = self.packets.saturating_add(packets);
                self.bytes = self.bytes.saturating_add(bytes as u64);
            }
            Sent::NoRoom => self.no_room = self.no_room.saturating_add(packets),
            Sent::Failed => self.failed = self.failed.saturating_add(packets),
        }
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            packets: self.packets.saturating_add(other.packets),
            bytes: self.bytes.saturating_add(other.bytes),
            calls: self.calls.saturating_add(other.calls),
            no_room: self.no_room.saturating_add(other.no_room),
            failed: self.failed.saturating_add(other.failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(batch: &mut Batch, size: usize) -> bool {
        let fits = batch.takes(size);
        if fits {
            batch.bytes.resize(batch.bytes.len() + size, 0);
            batch.wrote(size);
        }
        fits
    }

    #[test]
    fn packets_of_one_size_go_together_and_a_shorter_one_ends_them() {
        let mut batch = Batch::new(64, None);
        assert!(put(&mut batch, 1000) && put(&mut batch, 1000) && put(&mut batch, 120));
        assert!(!put(&mut batch, 120), "nothing may follow a shorter one");
        batch.clear();
        assert!(put(&mut batch, 120) && !put(&mut batch, 1000), "nothing larger may follow");
    }

    #[test]
    fn no_more_than_the_kernel_takes() {
        let mut batch = Batch::new(4, None);
        assert_eq!((0..10).filter(|_| put(&mut batch, 10)).count(), 4);
        let mut batch = Batch::new(64, None);
        assert_eq!((0..64).filter(|_| put(&mut batch, 1400)).count(), 46);
    }

    fn socket() -> Rc<Socket> {
        let bound = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        bound.set_nonblocking(true).unwrap();
        Rc::new(Socket::new(bound).unwrap())
    }

    #[tokio::test]
    async fn what_is_gathered_goes_to_each_peer_and_is_told_of_in_order() {
        let socket = socket();
        let peers: Vec<_> =
            (0..100).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let mut batch = Batch::new(64, None);
        batch.gather();
        let mut told = Vec::new();
        for (n, peer) in peers.iter().enumerate() {
            let path = Path { to: peer.local_addr().unwrap(), from: None };
            let mut tally = Tally::default();
            for size in [200, 200, 20 + n] {
                assert!(put(&mut batch, size));
            }
            batch.flush(&Road::Udp(&socket, path), &mut tally);
            assert_eq!(tally.calls, 0, "it waits");
        }
        assert!(batch.is_full());
        assert_eq!(batch.gathered(), 100);
        batch.send_gathered(|tally| told.push((tally.packets, tally.bytes)));
        let expected: Vec<_> = (0..100).map(|n| (3, 420 + n)).collect();
        assert_eq!(told, expected);
        for (n, peer) in peers.iter().enumerate() {
            peer.set_nonblocking(true).unwrap();
            let sizes: Vec<_> = std::iter::from_fn(|| peer.recv(&mut [0; 2000]).ok()).collect();
            assert_eq!(sizes, [200, 200, 20 + n]);
        }
        assert!(batch.bytes.is_empty() && batch.gathered() == 0);
    }

    #[tokio::test]
    async fn what_is_flushed_after_it_goes_at_once() {
        let socket = socket();
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let path = Path { to: peer.local_addr().unwrap(), from: None };
        let mut batch = Batch::new(64, None);
        batch.gather();
        batch.send_gathered(|_| panic!("there was nothing"));
        put(&mut batch, 30);
        let mut tally = Tally::default();
        batch.flush(&Road::Udp(&socket, path), &mut tally);
        assert_eq!((tally.calls, tally.packets, tally.bytes), (1, 1, 30));
        assert_eq!(peer.recv(&mut [0; 100]).unwrap(), 30);
    }

    #[tokio::test]
    async fn what_cannot_be_cut_on_its_way_goes_one_by_one() {
        let socket = socket();
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_nonblocking(true).unwrap();
        let path = Path { to: peer.local_addr().unwrap(), from: None };
        for gathers in [false, true] {
            // More than any kernel cuts.
            let mut batch = Batch::new(1000, None);
            if gathers {
                batch.gather();
            }
            assert!((0..200).all(|_| put(&mut batch, 10)));
            let mut tally = Tally::default();
            batch.flush(&Road::Udp(&socket, path), &mut tally);
            batch.send_gathered(|sent| tally = tally.and(sent));
            assert_eq!((tally.packets, tally.bytes, tally.failed), (200, 2000, 0));
            let got = std::iter::from_fn(|| peer.recv(&mut [0; 100]).ok());
            assert_eq!(got.filter(|size| *size == 10).count(), 200);
        }
    }
}
