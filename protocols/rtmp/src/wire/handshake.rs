//! The handshake: 1 + 1536 + 1536 bytes each way before the first chunk.
//!
//! [`Server`] and [`Client`] take bytes and write their part to a buffer. Both know the simple
//! form of the specification and the complex one of Flash Player 9 and later, where digests hide
//! in the random bytes, in two layouts ("schemas"). A server answers in the form it was asked in;
//! a client asks in the complex form, which a server that knows only the simple one answers just
//! as well.
//!
//! It does no encryption (RTMPE); the Diffie-Hellman keys that the complex form has room for are
//! random bytes. C2 and S2 are not checked: many clients send them wrong, and nothing hangs on
//! them.
//!
//! Specification: RTMP 1.0, section 5.2, for the simple form; the complex one was never published.

mod client;
mod digest;
mod server;

#[cfg(test)]
mod tests;

pub use client::Client;
pub use server::Server;

/// Length of C1, C2, S1 and S2.
pub const BLOCK: usize = 1536;

/// The version byte of C0 and S0: plain RTMP.
const VERSION: u8 = 3;

/// First byte of the prefix by which a proxy tells the client's address.
const PROXY: u8 = 0xf3;

/// The longest prefix: no address needs more, and bytes before the handshake are unauthenticated.
const MAX_PROXY: u16 = 1024;

/// Why a handshake cannot go on. The peer's fault, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not plain RTMP: another version or another protocol.
    #[error("not plain RTMP: first byte {0:#04x}")]
    Version(u8),
    /// A proxy prefix longer than 1024 bytes.
    #[error("proxy prefix of {0} bytes")]
    ProxyPrefix(u16),
}

impl Error {
    /// The number that logs and the API give for it.
    pub const fn code(self) -> u16 {
        match self {
            Self::Version(_) => 2000,
            Self::ProxyPrefix(_) => 2054,
        }
    }
}

/// How far a handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that were taken.
    pub consumed: usize,
    /// The handshake is over; what follows is the chunk stream.
    pub done: bool,
}

/// Which form the peers agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Random bytes and echoes.
    Simple,
    /// Digests, the digest block behind the key block.
    ComplexSchema0,
    /// Digests, the digest block before the key block.
    ComplexSchema1,
}

/// Moves bytes from `input` to `to` until that holds `want`; true once it does.
fn collect(to: &mut Vec<u8>, want: usize, input: &mut &[u8]) -> bool {
    let missing = want.saturating_sub(to.len());
    let (now, later) = input.split_at(missing.min(input.len()));
    if to.capacity() < want && to.is_empty() && now.len() == missing {
        to.reserve_exact(want);
    }
    to.extend_from_slice(now);
    *input = later;
    to.len() >= want
}
