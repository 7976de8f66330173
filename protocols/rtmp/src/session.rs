//! Sessions: what both sides of a connection say and do, without the connection.
//!
//! [`Server`] and [`Client`] take bytes and the time, and give bytes
//! (`poll_transmit`), events (`poll_event`) and the time at which they want to be called again
//! (`poll_timeout`). They decide nothing that needs knowledge of streams: whether someone may
//! connect, publish or play is asked by an event and answered by a call.
//!
//! Specification: RTMP 1.0, section 7; the order and the fields of replies follow what encoders
//! and players in the field were built against.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod acks;
pub mod client;
pub mod server;

use std::time::Duration;

use container::amf;

use crate::wire::{chunk, handshake, message, url};

pub use client::{Client, ClientConfig};
pub use server::Server;

/// What a session lets a peer take, in time and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte to the end of the handshake, in total: one byte a second does not
    /// prolong it.
    pub handshake: Duration,
    /// From the handshake to `connect`, and from there to `publish` or `play`.
    pub identify: Duration,
    /// From the end of a publication or playback to the next one on the same connection.
    pub reidentify: Duration,
    /// How long a redirected client may take to say that it understood.
    pub redirect: Duration,
    /// Bytes held for a peer that may not yet publish: of messages, and of input that waits for
    /// the caller's answer.
    pub unauthenticated: usize,
    /// Bytes that wait for a peer which asks but does not read the answers.
    pub output: usize,
    /// NetStreams on one connection.
    pub net_streams: usize,
    /// The chunk stream of a peer that publishes.
    pub chunk: chunk::Limits,
    /// Values in commands.
    pub amf: amf::Limits,
}

impl Limits {
    /// A handshake is two round trips; ten seconds serve a satellite link and starve a slow attack.
    pub const HANDSHAKE: Duration = Duration::from_secs(10);
    /// Encoders that ask their user for a password pause here.
    pub const IDENTIFY: Duration = Duration::from_secs(30);
    /// Players use close and play again as pause.
    pub const REIDENTIFY: Duration = Duration::from_secs(180);
    /// One round trip.
    pub const REDIRECT: Duration = Duration::from_secs(3);
    /// A `connect` is under 1 KiB, with the longest address and token seen 10 KiB.
    pub const UNAUTHENTICATED: usize = 64 * 1024;
    /// Answers are under 1 KiB, and a read of 64 KiB of the shortest calls makes 430 KiB of them;
    /// who asks so much and reads none of it wants to fill memory.
    pub const OUTPUT: usize = 256 * 1024;
    /// Real clients use one, conference clients three.
    pub const NET_STREAMS: usize = 8;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Self::HANDSHAKE,
            identify: Self::IDENTIFY,
            reidentify: Self::REIDENTIFY,
            redirect: Self::REDIRECT,
            unauthenticated: Self::UNAUTHENTICATED,
            output: Self::OUTPUT,
            net_streams: Self::NET_STREAMS,
            chunk: chunk::Limits::default(),
            amf: amf::Limits::default(),
        }
    }
}

/// Whose fault the end of a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The other side's.
    Peer,
    /// This side's.
    Us,
    /// Nobody's: it was over.
    Nobody,
}

/// Why a session ended itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Close {
    /// The handshake is not one.
    #[error("handshake: {0}")]
    Handshake(#[from] handshake::Error),
    /// The chunk stream cannot be read.
    #[error("chunk stream: {0}")]
    Chunk(#[from] chunk::Error),
    /// A message cannot be read.
    #[error("message: {0}")]
    Message(#[from] message::Error),
    /// The address names no stream.
    #[error("address: {0}")]
    Url(#[from] url::Error),
    /// No handshake in [`Limits::handshake`].
    #[error("no handshake in time")]
    HandshakeTimeout,
    /// No `connect`, `publish` or `play` in time.
    #[error("neither published nor played in time")]
    IdentifyTimeout,
    /// More NetStreams than [`Limits::net_streams`].
    #[error("more than {0} NetStreams")]
    NetStreams(usize),
    /// More input than [`Limits::unauthenticated`] while an answer is awaited.
    #[error("more than {0} bytes of input before an answer")]
    Backlog(usize),
    /// More output than [`Limits::output`] that the client did not read.
    #[error("more than {0} bytes of answers not read")]
    Output(usize),
    /// The client was redirected.
    #[error("redirected")]
    Redirected,
    /// The server refused the connection.
    #[error("connection refused by the server")]
    Refused,
}

impl Close {
    /// Whose fault it is.
    pub const fn fault(self) -> Fault {
        match self {
            Self::Redirected => Fault::Nobody,
            _ => Fault::Peer,
        }
    }

    /// The number that logs and the API give for it.
    pub const fn code(self) -> u16 {
        match self {
            Self::Handshake(error) => error.code(),
            Self::Chunk(error) => error.code(),
            Self::Message(error) => error.code(),
            Self::Url(error) => error.code(),
            Self::HandshakeTimeout | Self::IdentifyTimeout => 1011,
            Self::NetStreams(_) => 2055,
            Self::Backlog(_) | Self::Output(_) => 2013,
            Self::Redirected => 2997,
            Self::Refused => 1030,
        }
    }
}
