//! Candidates of ICE (RFC 8839 §5.1, RFC 6544 §4.5).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Where a candidate is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An address.
    Ip(IpAddr),
    /// A name; browsers hide their addresses behind `.local` ones that only mDNS resolves.
    Name(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Ip)
    }
}

/// Over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A connection with RFC 4571 framing.
    Tcp,
}

/// How a candidate was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CandidateKind {
    /// An address of the host's own.
    Host,
    /// As a STUN server saw it.
    ServerReflexive,
    /// As a peer saw it.
    PeerReflexive,
    /// Of a TURN server.
    Relay,
}

impl CandidateKind {
    /// The word behind `typ`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relay => "relay",
        }
    }
}

/// Who opens the connection of a TCP candidate (RFC 6544 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpType {
    /// The candidate's owner.
    Active,
    /// The other side.
    Passive,
    /// Both at once.
    SimultaneousOpen,
}

impl TcpType {
    /// The word behind `tcptype`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::SimultaneousOpen => "so",
        }
    }
}

/// `a=candidate`. Reads and prints what is behind the colon; a leading `candidate:` or
/// `a=candidate:` is taken, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Equal for candidates that share a base; 1 to 32 characters.
    pub foundation: String,
    /// 1 for RTP, 2 for RTCP.
    pub component: u16,
    /// UDP or TCP.
    pub transport: Transport,
    /// Greater is better.
    pub priority: u32,
    /// Address or name.
    pub address: Address,
    /// Port.
    pub port: u16,
    /// How it was learnt.
    pub kind: CandidateKind,
    /// Behind which address it lies, if that is told.
    pub related: Option<(Address, u16)>,
    /// For TCP, who opens.
    pub tcp: Option<TcpType>,
    /// Further names and values in their order: `generation`, `ufrag`, `network-id` and so on.
    pub extensions: Vec<(String, String)>,
}

impl Candidate {
    /// The priority of host candidates that SRS writes, and that RFC 8445 §5.1.2 gives for type
    /// preference 126, local preference 65,535 and component 1.
    pub const HOST_PRIORITY: u32 = 2_130_706_431;

    /// A host candidate for datagrams. `index` counts down the priority: 0 is tried first.
    pub fn host(address: SocketAddr, index: u16) -> Self {
        Self {
            foundation: index.to_string(),
            component: 1,
            transport: Transport::Udp,
            priority: Self::HOST_PRIORITY.saturating_sub(u32::from(index) << 8),
            address: Address::Ip(address.ip()),
            port: address.port(),
            kind: CandidateKind::Host,
            related: None,
            tcp: None,
            extensions: vec![("generation".to_owned(), "0".to_owned())],
        }
    }

    /// A host candidate to which the peer opens a TCP connection. Its priority is below that of
    /// every [`host`](Self::host) (RFC 6544 §4.2: direction preference 4).
    pub fn tcp_passive(address: SocketAddr, index: u16) -> Self {
        let local = (4_u32 << 13) | (0x1fff - u32::from(index & 0x1fff));
        Self {
            foundation: format!("t{index}"),
            transport: Transport::Tcp,
            priority: (90 << 24) | (local << 8) | 255,
            tcp: Some(TcpType::Passive),
            ..Self::host(address, index)
        }
    }

    /// Its address, unless it is a name.
    pub fn socket(&self) -> Option<SocketAddr> {
        match &self.address {
            Address::Ip(ip) => Some(SocketAddr::new(*ip, self.port)),
            Address::Name(_) => None,
        }
    }

    /// The user fragment it belongs to, if it says so.
    pub fn ufrag(&self) -> Option<&str> {
        self.extension("ufrag")
    }

    /// The value of a further name.
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What is wrong with a candidate: the peer's fault. It is to be skipped, not to end a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CandidateError {
    /// Fewer than eight words.
    #[error("a candidate has foundation, component, transport, priority, address, port and typ")]
    Short,
    /// A number, transport or kind that is none.
    #[error("the candidate's {0} cannot be read")]
    Word(&'static str),
    /// More than [`MAX_EXTENSIONS`] further words.
    #[error("the candidate has more than {MAX_EXTENSIONS} extensions")]
    TooLong,
}

/// Further names and values of a candidate, at most. Chromium writes four; at half there is
/// little room, at double a stranger's candidate costs twice the memory.
pub const MAX_EXTENSIONS: usize = 16;

impl FromStr for Candidate {
    type Err = CandidateError;

    fn from_str(text: &str) -> Result<Self, CandidateError> {
        let text = text.trim();
        let text = text.strip_prefix("a=").unwrap_or(text);
        let text = text.strip_prefix("candidate:").unwrap_or(text);
        let mut words = text.split_whitespace();
        let mut next = || words.next().ok_or(CandidateError::Short);
        let word = CandidateError::Word;
        let foundation = next()?;
        // Of `ice-char`; here, whatever cannot be taken for what may stand before it.
        if foundation.len() > 32 || foundation.contains([':', '=']) {
            return Err(word("foundation"));
        }
        let component = next()?.parse().map_err(|_| word("component"))?;
        let transport = match next()? {
            udp if udp.eq_ignore_ascii_case("udp") => Transport::Udp,
            tcp if tcp.eq_ignore_ascii_case("tcp") => Transport::Tcp,
            _ => return Err(word("transport")),
        };
        let priority = next()?.parse().map_err(|_| word("priority"))?;
        let address = Address::from(next()?);
        let port = next()?.parse().map_err(|_| word("port"))?;
        if next()? != "typ" {
            return Err(word("typ"));
        }
        let kind = match next()? {
            "host" => CandidateKind::Host,
            "srflx" => CandidateKind::ServerReflexive,
            "prflx" => CandidateKind::PeerReflexive,
            "relay" => CandidateKind::Relay,
            _ => return Err(word("typ")),
        };
        let mut candidate = Self {
            foundation: foundation.to_owned(),
            component,
            transport,
            priority,
            address,
            port,
            kind,
            related: None,
            tcp: None,
            extensions: Vec::new(),
        };
        let mut related = None;
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            match name {
                "raddr" if related.is_none() => related = Some(value),
                "rport" if related.is_some() && candidate.related.is_none() => {
                    let port = value.parse().map_err(|_| word("rport"))?;
                    candidate.related = related.map(|address| (Address::from(address), port));
                }
                "tcptype" if candidate.tcp.is_none() => {
                    candidate.tcp = Some(match value {
                        "active" => TcpType::Active,
                        "passive" => TcpType::Passive,
                        "so" => TcpType::SimultaneousOpen,
                        _ => return Err(word("tcptype")),
                    });
                }
                // These have their place above; a second one says nothing.
                "raddr" | "rport" | "tcptype" => {}
                _ if candidate.extensions.len() >= MAX_EXTENSIONS => {
                    return Err(CandidateError::TooLong);
                }
                _ => candidate.extensions.push((name.to_owned(), value.to_owned())),
            }
        }
        Ok(candidate)
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        write!(
            f,
            "{} {} {transport} {} {} {} typ {}",
            self.foundation,
            self.component,
            self.priority,
            self.address,
            self.port,
            self.kind.as_str()
        )?;
        if let Some((address, port)) = &self.related {
            write!(f, " raddr {address} rport {port}")?;
        }
        if let Some(tcp) = self.tcp {
            write!(f, " tcptype {}", tcp.as_str())?;
        }
        self.extensions.iter().try_for_each(|(name, value)| write!(f, " {name} {value}"))
    }
}
