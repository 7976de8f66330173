//! Datagrams to many peers in one call: by a ring, or by `sendmmsg`.
//!
//! What makes the `unsafe` code here sound: the headers that the kernel reads are built within
//! [`Datagrams::run`] from addresses and buffers that this value owns or that were lent to the
//! batch which is being sent, none of them moves meanwhile, and the kernel is done with all of them
//! when the call returns.
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use socket2::SockAddr;

use crate::{Datagram, Ring, Sent};

/// Bytes of control messages: a segment size (24) and a source address (40) with room to spare.
const CONTROL: usize = 72;

/// What the kernel reads of one send.
struct Slot {
    socket: RawFd,
    to: SockAddr,
    bytes: (*const u8, usize),
    control: Control,
}

/// Control messages (cmsg(3)), aligned as their headers.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Control {
    bytes: [u8; CONTROL],
    len: usize,
}

impl Control {
    const EMPTY: Self = Self { bytes: [0; CONTROL], len: 0 };

    fn of(datagram: &Datagram<'_>) -> Self {
        let mut control = Self::EMPTY;
        if let Some(segment) = datagram.segment {
            control.put(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
        }
        match datagram.from {
            Some(IpAddr::V4(ip)) => {
                // struct in_pktinfo: the interface, our address, and one that is ignored.
                let mut info = [0u8; 12];
                if let Some(place) = info.get_mut(4..8) {
                    place.copy_from_slice(&ip.octets());
                }
                control.put(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            Some(IpAddr::V6(ip)) => {
                // struct in6_pktinfo: our address, the interface.
                let mut info = [0u8; 20];
                if let Some(place) = info.get_mut(..16) {
                    place.copy_from_slice(&ip.octets());
                }
                control.put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            None => {}
        }
        control
    }

    /// Appends a message; there is room for the two that [`of`](Self::of) writes.
    fn put(&mut self, level: i32, kind: i32, data: &[u8]) {
        let word = size_of::<usize>();
        let header = word.saturating_add(8);
        let len = header.saturating_add(data.len());
        let Some(place) = self.bytes.get_mut(self.len..self.len.saturating_add(len)) else {
            return;
        };
        let parts = [&len.to_ne_bytes()[..], &level.to_ne_bytes(), &kind.to_ne_bytes(), data];
        for (to, from) in place.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        self.len = self.len.saturating_add(len.next_multiple_of(word)).min(CONTROL);
    }
}

/// Sends datagrams of many peers together. Belongs to the thread of its ring, if it has one.
pub struct Datagrams {
    slots: Vec<Slot>,
    parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    results: Vec<Sent>,
    most: usize,
    ring: Option<Ring>,
}

impl std::fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datagrams").field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl Datagrams {
    /// For up to `most` sends at once (1 to 1,024): by `ring` if there is one, and else by
    /// `sendmmsg`. Memory: 0.4 kB for each, from the first batch on.
    pub fn new(most: usize, ring: Option<Ring>) -> Self {
        Self {
            slots: Vec::new(),
            parts: Vec::new(),
            headers: Vec::new(),
            results: Vec::new(),
            most: most.clamp(1, 1024),
            ring,
        }
    }

    /// Begins a batch. After the first ones no allocation.
    pub fn batch(&mut self) -> DatagramBatch<'_> {
        self.slots.clear();
        self.results.clear();
        DatagramBatch { all: self, lent: PhantomData }
    }

    fn run(&mut self) {
        self.results.resize(self.slots.len(), Sent::NotTried);
        self.parts.clear();
        self.headers.clear();
        self.parts.extend(self.slots.iter().map(|slot| libc::iovec {
            iov_base: slot.bytes.0.cast_mut().cast(),
            iov_len: slot.bytes.1,
        }));
        for (slot, part) in self.slots.iter_mut().zip(&mut self.parts) {
            // SAFETY: a header of zeros is one without address, parts and control messages.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_name = slot.to.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = slot.to.len();
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            if slot.control.len > 0 {
                header.msg_hdr.msg_control = slot.control.bytes.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = slot.control.len as _;
            }
            self.headers.push(header);
        }
        match &mut self.ring {
            Some(ring) if ring.fault().is_none() => {
                let sends = self.slots.iter().zip(&self.headers);
                let sends = sends.map(|(slot, header)| (slot.socket, &raw const header.msg_hdr));
                ring.send_messages(sends, &mut self.results);
            }
            _ => self.by_calls(),
        }
    }

    /// One call for each row of sends by one socket, and one more for each that fails.
    fn by_calls(&mut self) {
        let mut at = 0usize;
        while let Some(first) = self.slots.get(at) {
            let socket = first.socket;
            let row = self.slots.iter().skip(at).take_while(|slot| slot.socket == socket).count();
            let Some(headers) = self.headers.get_mut(at..at.saturating_add(row)) else { return };
            let count = u32::try_from(headers.len()).unwrap_or(0);
            // SAFETY: `headers` are `count` headers whose pointers lead to slots, parts and lent
            // buffers that outlive this call.
            let sent = unsafe {
                libc::sendmmsg(socket, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _)
            };
            let Ok(sent) = usize::try_from(sent) else {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                if let Some(result) = self.results.get_mut(at) {
                    *result = match error.kind() {
                        io::ErrorKind::WouldBlock => Sent::Full,
                        kind => Sent::Failed(kind),
                    };
                }
                at = at.saturating_add(1);
                continue;
            };
            for (header, result) in headers.iter().zip(self.results.iter_mut().skip(at)).take(sent)
            {
                *result = Sent::Taken(header.msg_len as usize);
            }
            at = at.saturating_add(sent.max(1));
        }
    }
}

/// Datagrams that go to the kernel together.
pub struct DatagramBatch<'a> {
    all: &'a mut Datagrams,
    lent: PhantomData<&'a [u8]>,
}

impl std::fmt::Debug for DatagramBatch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatagramBatch").field("sends", &self.all.slots.len()).finish()
    }
}

impl<'a> DatagramBatch<'a> {
    /// Adds a send by a datagram socket. `false` when the batch is full and did not take it.
    #[must_use = "a full batch does not take the send"]
    pub fn push(&mut self, socket: BorrowedFd<'a>, datagram: Datagram<'a>) -> bool {
        if self.all.slots.len() >= self.all.most {
            return false;
        }
        self.all.slots.push(Slot {
            socket: socket.as_raw_fd(),
            to: datagram.to.into(),
            bytes: (datagram.bytes.as_ptr(), datagram.bytes.len()),
            control: Control::of(&datagram),
        });
        true
    }

    /// Sends, without waiting for any socket, and tells of each in the order they were added.
    pub fn send(self) -> &'a [Sent] {
        self.all.run();
        &self.all.results
    }
}

#[cfg(test)]
mod tests;
