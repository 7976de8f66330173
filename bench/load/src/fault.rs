//! How a connection can fail, in words that say what to do.

use std::fmt;
use std::io;

/// Why a connection ended that should have gone on, or never came about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Nobody listens.
    Refused,
    /// Cut off by the other side.
    Reset,
    /// No connection in time.
    ConnectTimeout,
    /// Connected, and no media in time.
    HandshakeTimeout,
    /// TLS would not.
    Tls(String),
    /// An answer of HTTP other than yes.
    Status(u16),
    /// The same for one segment of HLS, which is left out.
    Segment(u16),
    /// So many segments were gone before they could be fetched.
    Missed(u64),
    /// The stream is said to be elsewhere.
    Redirected(String),
    /// RTMP said no.
    Denied(String),
    /// The server ended it, with what it said.
    Closed(String),
    /// The server does not keep to the protocol.
    Protocol(String),
    /// The server does not take what is published.
    NotRead,
    /// Too few descriptors, ports or the like on this side.
    Local(String),
}

impl Fault {
    /// A socket's error.
    pub(crate) fn socket(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted => Self::Reset,
            io::ErrorKind::TimedOut => Self::ConnectTimeout,
            io::ErrorKind::AddrNotAvailable => {
                Self::Local("no local port is left; give more addresses with --source".to_owned())
            }
            _ => match error.raw_os_error() {
                Some(23 | 24) => Self::Local("too many open files".to_owned()),
                _ => Self::Local(error.to_string()),
            },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused: does the server listen there?"),
            Self::Reset => f.write_str("reset by the server"),
            Self::ConnectTimeout => f.write_str("timed out while connecting"),
            Self::HandshakeTimeout => f.write_str("timed out between connect and first media"),
            Self::Tls(what) => write!(f, "TLS: {what}"),
            Self::Status(status) => write!(f, "HTTP status {status}"),
            Self::Segment(status) => write!(f, "HTTP status {status} for a segment"),
            Self::Missed(1) => f.write_str("a segment was gone before it was fetched"),
            Self::Missed(n) => write!(f, "{n} segments were gone before they were fetched"),
            Self::Redirected(to) => write!(f, "redirected to {to}"),
            Self::Denied(what) => write!(f, "refused by the server: {what}"),
            Self::Closed(what) => write!(f, "closed by the server: {what}"),
            Self::Protocol(what) => write!(f, "breach of protocol: {what}"),
            Self::NotRead => f.write_str("the server does not read what is published"),
            Self::Local(what) => write!(f, "on this machine: {what}"),
        }
    }
}
