//! Which addresses clients are told to send to.

use std::fmt;
use std::net::IpAddr;

/// How a candidate is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// ICE-TCP, the client connects (RFC 6544 `passive`).
    Tcp,
}

/// The host of a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum At {
    /// An address.
    Ip(IpAddr),
    /// A name that the client resolves (`keep_api_domain`).
    Name(String),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// One host candidate of ours. The list's order is the order of preference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Datagrams or a connection.
    pub transport: Transport,
    /// Where.
    pub at: At,
    /// Its port.
    pub port: u16,
}
