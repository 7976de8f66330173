//! Many sends in one call to the kernel.
//!
//! A [`Ring`] is filled with sends to different sockets and hands them to the kernel together, by
//! `io_uring`. It does what a loop over `send` with `MSG_DONTWAIT` and `MSG_NOSIGNAL` does and
//! tells the same of each; what it saves is the way into the kernel and back. It waits for
//! nothing: no poll, no receive, no queue of its own. A call returns when the kernel is done with
//! every buffer, so borrows are enough and nothing can outlive them.
//!
//! [`Datagrams`] are the same for UDP, many peers in a call: by a ring if it is given one, and else
//! by `sendmmsg`, which every Linux has.
//!
//! This is the one crate of the project with `unsafe` code, all of it in the modules `ring` and
//! `datagrams`. The interface is safe whatever its caller does.
//!
//! Linux only. Elsewhere, and where the kernel or a container's filter forbids it, [`Ring::new`]
//! says why, and its caller sends one by one.

/// Not where the bindings are missing; but tests look at it everywhere.
#[cfg(any(not(ring), test))]
#[cfg_attr(ring, allow(dead_code, unreachable_pub))]
mod absent;
#[cfg(ring)]
mod datagrams;
#[cfg(ring)]
mod ring;

use std::io;
use std::net::{IpAddr, SocketAddr};

#[cfg(not(ring))]
pub use absent::{Batch, DatagramBatch, Datagrams, Ring};
#[cfg(ring)]
pub use datagrams::{DatagramBatch, Datagrams};
#[cfg(ring)]
pub use ring::{Batch, Ring};

/// What became of one send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel took so many bytes: from the first on, perhaps not all.
    Taken(usize),
    /// The socket's buffer is full; nothing was sent.
    Full,
    /// The connection is broken, or the descriptor is no socket; nothing was sent.
    Failed(io::ErrorKind),
    /// The ring gave up before this one: nothing was sent, and the socket is as it was.
    NotTried,
}

/// One send of [`Datagrams`]: one datagram, or several of `segment` bytes each, the last of which may
/// be shorter.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// The peer.
    pub to: SocketAddr,
    /// Our address, on machines that have several; `None`: the system chooses.
    pub from: Option<IpAddr>,
    /// What is sent: at most 65,507 bytes, or the system refuses it.
    pub bytes: &'a [u8],
    /// Bytes of each datagram; `None`: the whole is one. Needs UDP GSO (Linux 4.18).
    pub segment: Option<u16>,
}

/// Why there is no ring.
#[derive(Debug, thiserror::Error)]
pub enum Unsupported {
    /// Not Linux, or an architecture without bindings.
    #[error("this platform has no io_uring")]
    Platform,
    /// The kernel gave none.
    #[error("{call}: {error} ({})", advice(.error))]
    Refused {
        /// The system call that failed.
        call: &'static str,
        /// What it said.
        error: io::Error,
    },
    /// There is one, but it cannot send.
    #[error("the kernel's io_uring cannot send (Linux 5.6 or later can)")]
    NoSend,
}

/// What whoever runs the server can do about it.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "forbidden by a container's seccomp profile or by the sysctl kernel.io_uring_disabled: \
             allow io_uring_setup, io_uring_enter and io_uring_register there"
        }
        io::ErrorKind::Unsupported => {
            "no such call: the kernel is older than Linux 5.6 or built without it, or a container's \
             seccomp profile hides it"
        }
        io::ErrorKind::OutOfMemory => "raise the limit of locked memory (ulimit -l)",
        _ => "see io_uring_setup(2)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_was_refused_and_what_to_do() {
        let refused = |errno| {
            let error = io::Error::from_raw_os_error(errno);
            Unsupported::Refused { call: "io_uring_setup", error }.to_string()
        };
        // EPERM, ENOSYS, ENOMEM and EINVAL; the same numbers on every Linux.
        let cases = [(1, "seccomp"), (38, "5.6"), (12, "ulimit -l"), (22, "io_uring_setup(2)")];
        for (errno, advice) in cases {
            let text = refused(errno);
            assert!(text.starts_with("io_uring_setup: "), "{text}");
            assert!(text.contains(advice), "{text}");
        }
    }

    #[test]
    fn a_platform_without_rings_says_so() {
        let error = absent::Ring::new(8).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "this platform has no io_uring");
    }
}
