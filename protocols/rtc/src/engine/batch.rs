//! Packets for one viewer on their way to the kernel: as many in one call as it takes.

use std::net::{IpAddr, SocketAddr};

use super::socket::{Sent, Socket};
use super::stream_socket::Connection;

/// Most bytes of one call: what an IP datagram can hold, with room for its headers.
const MOST_BYTES: usize = 65_000;

/// Padding that a packet may get to be as long as those before it. Fragments of a picture differ by
/// a byte or two, blocks of sound by some more, pictures that leave together by anything; a call saved
/// is 8 us, 64 bytes are 20 ns. At half, fewer pictures share a call; at double, a tenth of the bytes
/// could be padding.
const MOST_PADDING: usize = 64;

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
    Udp(&'a Socket, Path),
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
    /// For a socket that takes so many packets at once.
    pub(crate) fn new(most: usize) -> Self {
        Self { most: most.max(1), ..Self::default() }
    }

    /// Whether a packet of `size` bytes may stand behind those that are there.
    #[inline]
    pub(crate) fn takes(&self, size: usize) -> bool {
        self.packets == 0
            || (!self.closed
                && size <= self.segment
                && self.packets < self.most
                && self.bytes.len().saturating_add(size) <= MOST_BYTES)
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

    /// Sends what there is.
    #[inline]
    pub(crate) fn flush(&mut self, road: &Road<'_>, tally: &mut Tally) {
        if self.packets == 0 {
            return;
        }
        let packets = self.packets as u64;
        tally.calls = tally.calls.saturating_add(1);
        let sent = match road {
            Road::Udp(socket, path) => socket.send(path.to, path.from, &self.bytes, self.segment),
            Road::Tcp(connection) => connection.send(self.bytes.chunks(self.segment.max(1))),
            #[cfg(test)]
            Road::Kept(kept) => {
                kept.borrow_mut()
                    .extend(self.bytes.chunks(self.segment.max(1)).map(<[u8]>::to_vec));
                Sent::Yes
            }
        };
        match sent {
            Sent::Yes => {
                tally.packets = tally.packets.saturating_add(packets);
                tally.bytes = tally.bytes.saturating_add(self.bytes.len() as u64);
            }
            Sent::NoRoom => tally.no_room = tally.no_room.saturating_add(packets),
            Sent::Failed => tally.failed = tally.failed.saturating_add(packets),
        }
        self.clear();
    }

    /// Forgets what there is.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.packets = 0;
        self.closed = false;
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
        let mut batch = Batch::new(64);
        assert!(put(&mut batch, 1000) && put(&mut batch, 1000) && put(&mut batch, 120));
        assert!(!put(&mut batch, 120), "nothing may follow a shorter one");
        batch.clear();
        assert!(put(&mut batch, 120) && !put(&mut batch, 1000), "nothing larger may follow");
    }

    #[test]
    fn no_more_than_the_kernel_takes() {
        let mut batch = Batch::new(4);
        assert_eq!((0..10).filter(|_| put(&mut batch, 10)).count(), 4);
        let mut batch = Batch::new(64);
        assert_eq!((0..64).filter(|_| put(&mut batch, 1400)).count(), 46);
    }
}
