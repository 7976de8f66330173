//! Which addresses clients are told to send to. Nothing here asks the system: [`Addresses`] does.
//!
//! [`Addresses`]: super::addresses::Addresses

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use gate::conf::Listen;

use crate::config::{Family, Protocol, RtcServer};

/// Hosts that one client is told. Each is checked by the client against each address of its own;
/// at half, a machine with many networks may leave out the right one, at double, browsers (which
/// stop at a hundred pairs) may not come to it.
pub const MAX_HOSTS: usize = 8;

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
    /// A name that the client resolves (`keep_api_domain`, or one that could not be resolved here).
    Name(String),
}

impl At {
    /// Nobody outside of the machine's own networks can reach it. A name counts as public.
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Ip(ip) if is_private(*ip))
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// One host candidate of ours. A list's order is the order of preference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Datagrams or a connection.
    pub transport: Transport,
    /// Where.
    pub at: At,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        match &self.at {
            At::Ip(ip) => write!(f, "{transport} {}", SocketAddr::new(*ip, self.port)),
            At::Name(name) => write!(f, "{transport} {name}:{}", self.port),
        }
    }
}

/// An address under which the client itself knows us (`eip=`): behind NAT, in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// The host.
    pub at: At,
    /// The port, for every transport; `None`: those that are listened at.
    pub port: Option<u16>,
}

/// What is known of our addresses when a client asks.
#[derive(Clone, Debug)]
pub struct Known {
    /// Of the network interfaces, the best first; no loopback.
    pub machine: Vec<IpAddr>,
    /// As a STUN server sees us, with the UDP port.
    pub public: Option<SocketAddr>,
    /// Where the request came in.
    pub local: IpAddr,
    /// The request came from the machine itself, and not for somebody behind a proxy.
    pub is_here: bool,
    /// What the client says.
    pub external: Option<External>,
    /// What the `candidate` directive says, names resolved; without `*`.
    pub configured: Vec<At>,
    /// The directive says `*`, too, or alone.
    pub any: bool,
    /// The host that the request was sent to, as configured: resolved, or kept, or none.
    pub api: Vec<At>,
}

/// Whether this word of the `candidate` directive stands for the machine's own addresses.
pub fn is_any(word: &str) -> bool {
    matches!(word, "*" | "0.0.0.0" | "::")
}

/// Whether nobody on the internet can reach the address.
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            // 100.64/10 is between carriers and their customers (RFC 6598).
            let shared = a == 100 && (64..128).contains(&b);
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || shared
        }
        IpAddr::V6(ip) => {
            let [first, ..] = ip.segments();
            let unique_local = first & 0xfe00 == 0xfc00;
            ip.is_loopback() || ip.is_unspecified() || unique_local || is_link_local(ip.into())
        }
    }
}

/// Reaches no further than one wire.
pub fn is_link_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments().first().is_some_and(|first| first & 0xffc0 == 0xfe80),
    }
}

/// Hosts, each with the port that the world sees, where that is not ours.
#[derive(Default)]
struct Hosts(Vec<(At, Option<u16>)>);

impl Hosts {
    fn add(&mut self, at: At, port: Option<u16>) {
        let at = match at {
            At::Ip(ip) if ip.is_unspecified() => return,
            At::Ip(ip) => At::Ip(ip.to_canonical()),
            name @ At::Name(_) => name,
        };
        if self.0.len() < MAX_HOSTS && !self.0.iter().any(|(known, _)| *known == at) {
            self.0.push((at, port));
        }
    }
}

fn fits(family: Family, ip: IpAddr) -> bool {
    match family {
        Family::Ipv4 => ip.is_ipv4(),
        Family::Ipv6 => ip.is_ipv6(),
        Family::All => true,
    }
}

/// What a client is told, the best first: what it says itself, the loopback address where it sits
/// on this machine, what is configured, the host it asked, the address that a STUN server sees,
/// then the machine's own, the one that the request came in at before the others. Never empty,
/// unless nothing is listened at.
pub fn candidates(server: &RtcServer, known: &Known) -> Vec<Candidate> {
    let mut hosts = Hosts::default();
    if let Some(External { at, port }) = &known.external {
        hosts.add(at.clone(), *port);
    }
    if known.is_here && known.local.is_loopback() {
        hosts.add(At::Ip(known.local), None);
    }
    for at in known.configured.iter().chain(&known.api) {
        // A page that was asked for at `localhost` by somebody else is of no use to them.
        let loops = matches!(at, At::Ip(ip) if ip.is_loopback());
        if known.is_here || !loops {
            hosts.add(at.clone(), None);
        }
    }
    if let Some(public) = known.public {
        hosts.add(At::Ip(public.ip()), Some(public.port()));
    }
    if known.any && server.use_auto_detect_network_ip {
        let (mut near, mut rest): (Vec<IpAddr>, Vec<IpAddr>) =
            known.machine.iter().partition(|ip| **ip == known.local);
        near.append(&mut rest);
        let mut fitting = near.iter().copied().filter(|ip| fits(server.ip_family, *ip)).peekable();
        // A machine without an address of that family has others, all the same.
        let none_fits = fitting.peek().is_none();
        fitting.for_each(|ip| hosts.add(At::Ip(ip), None));
        if none_fits && hosts.0.is_empty() {
            near.into_iter().for_each(|ip| hosts.add(At::Ip(ip), None));
        }
    }
    if hosts.0.is_empty() {
        hosts.add(At::Ip(known.local), None);
    }
    let (udp, tcp) = offered(server);
    let mut all = of(Transport::Udp, &udp, &hosts, known.local);
    all.extend(of(Transport::Tcp, &tcp, &hosts, known.local));
    all
}

/// The listeners that clients are told of.
fn offered(server: &RtcServer) -> (Vec<Listen>, Vec<Listen>) {
    let udp = || server.listen.clone();
    let tcp = || if server.tcp_enabled { server.tcp_listen.clone() } else { Vec::new() };
    match server.protocol {
        Protocol::Udp => (udp(), Vec::new()),
        // Without a listener for it there is nothing else to tell.
        Protocol::Tcp if server.tcp_enabled => (Vec::new(), tcp()),
        Protocol::Tcp => (udp(), Vec::new()),
        Protocol::All => (udp(), tcp()),
    }
}

fn of(transport: Transport, listen: &[Listen], hosts: &Hosts, local: IpAddr) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = Vec::new();
    for listen in listen {
        // Loopback is heard by a socket of every address, or its own; what the world calls us may
        // be heard by any that is not loopback.
        let heard = |at: &At| match (at, listen.ip.filter(|ip| !ip.is_unspecified())) {
            (At::Ip(ip), Some(own)) if ip.is_loopback() || own.is_loopback() => *ip == own,
            _ => true,
        };
        for (at, port) in hosts.0.iter().filter(|(at, _)| heard(at)) {
            let candidate =
                Candidate { transport, at: at.clone(), port: port.unwrap_or(listen.port) };
            if !all.contains(&candidate) {
                all.push(candidate);
            }
        }
    }
    if let (true, Some(listen)) = (all.is_empty(), listen.first()) {
        let ip = listen.ip.filter(|ip| !ip.is_unspecified()).unwrap_or(local);
        all.push(Candidate { transport, at: At::Ip(ip), port: listen.port });
    }
    all
}

#[cfg(test)]
mod tests;
