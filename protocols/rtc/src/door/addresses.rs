//! What the machine, resolvers and others know of our addresses: the part of candidates that asks.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gate::http::Context;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::candidates::{
    At, Candidate, External, Known, candidates, is_any, is_link_local, is_private,
};
use super::query::{host_and_port, is_host_name};
use crate::config::{Family, RtcServer};

/// The interfaces are looked at this often at most: addresses come and go with DHCP leases and
/// cables, and a look costs some 20 us.
const INTERFACES_FRESH: Duration = Duration::from_secs(5);
/// What a name resolved to, or that it did not, counts for so long. Longer, and a new address of
/// a dynamic name is told late; shorter, and each viewer waits for the resolver.
const NAMES_FRESH: Duration = Duration::from_secs(60);
/// A resolver that takes longer holds up a viewer for nothing: the name is told as it is, or not.
const RESOLVE: Duration = Duration::from_secs(2);
/// Names that are remembered. Clients choose the `Host` they ask: more are looked up anew.
const MAX_NAMES: usize = 256;
/// Names that are looked up at the same time, each on a thread; above that none is.
const MAX_LOOKUPS: usize = 8;
/// Addresses of one name.
const MAX_OF_NAME: usize = 4;
/// The log tells no more often than this that clients are told the wrong addresses.
const WARN_EVERY: Duration = Duration::from_secs(600);

/// Port of STUN where none is written (RFC 8489 §14.1).
const STUN_PORT: u16 = 3478;

enum Source {
    System,
    Fixed(Vec<IpAddr>),
}

/// Our addresses, asked for when they are needed and remembered for a while. Shared; lives as long
/// as the process.
pub struct Addresses {
    source: Source,
    machine: Mutex<Option<(Instant, Vec<IpAddr>)>>,
    public: Mutex<Option<SocketAddr>>,
    names: Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>,
    lookups: Arc<Semaphore>,
    warned: Mutex<Option<Instant>>,
}

impl Default for Addresses {
    fn default() -> Self {
        Self::from(Source::System)
    }
}

impl Addresses {
    /// A machine with exactly these addresses: for tests.
    pub fn fixed(machine: Vec<IpAddr>) -> Self {
        Self::from(Source::Fixed(machine))
    }

    fn from(source: Source) -> Self {
        Self {
            source,
            machine: Mutex::default(),
            public: Mutex::default(),
            names: Mutex::default(),
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            warned: Mutex::default(),
        }
    }

    /// Takes note of what a STUN server told (`stun_server`): who owns the UDP socket asks it, for
    /// the port counts, too. `None`: it is not known any more.
    pub fn set_public(&self, public: Option<SocketAddr>) {
        *self.public.lock().unwrap_or_else(PoisonError::into_inner) = public;
    }

    /// What was told last.
    pub fn public(&self) -> Option<SocketAddr> {
        *self.public.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the STUN server of the configuration is, for a [`Discovery`]; `None` where there is
    /// none, or it cannot be resolved now. Waits for a resolver, [`RESOLVE`] at most.
    ///
    /// [`Discovery`]: super::discovery::Discovery
    pub async fn stun_server(&self, control: &Handle, server: &RtcServer) -> Option<SocketAddr> {
        let (name, port) = host_and_port(server.stun_server.as_deref()?);
        let port = port.unwrap_or(STUN_PORT);
        if let Ok(ip) = name.parse::<IpAddr>() {
            return Some(SocketAddr::new(ip, port));
        }
        let found = self.lookup(control, name).await;
        // The socket of the media hears both, but an address of ours is wanted of the family that
        // is told.
        let wanted = |ip: &&IpAddr| ip.is_ipv4() != (server.ip_family == Family::Ipv6);
        let ip = found.iter().find(wanted).or_else(|| found.first())?;
        Some(SocketAddr::new(*ip, port))
    }

    /// Addresses of the network interfaces that are up, the best first.
    pub fn machine(&self) -> Vec<IpAddr> {
        if let Source::Fixed(all) = &self.source {
            return all.clone();
        }
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        match &*machine {
            Some((at, all)) if at.elapsed() < INTERFACES_FRESH => all.clone(),
            _ => {
                let all = interfaces();
                *machine = Some((Instant::now(), all.clone()));
                all
            }
        }
    }

    /// What clients of this request are told. May wait for a resolver, [`RESOLVE`] at most for
    /// each name.
    pub async fn candidates(
        &self,
        context: &Context,
        server: &RtcServer,
        host: &str,
        claimed: Option<IpAddr>,
        external: Option<External>,
    ) -> Vec<Candidate> {
        let control = &context.host.control;
        let mut configured = Vec::new();
        for word in server.candidate.iter().filter(|word| !is_any(word)) {
            configured.extend(self.resolve(control, word).await);
        }
        let any = configured.is_empty() || server.candidate.iter().any(|word| is_any(word));
        let mut api = self.api(control, server, host).await;
        let local = context.local.ip().to_canonical();
        // Ports of a container are mapped to the loopback address of the machine around it.
        let mapped = loopback(host).filter(|_| !local.is_loopback());
        api.extend(mapped.map(At::Ip));
        let known = Known {
            machine: self.machine(),
            public: self.public(),
            local,
            // A proxy on this machine speaks for others.
            is_here: (local.is_loopback() || mapped.is_some())
                && claimed.is_none_or(|ip| ip.is_loopback()),
            external,
            configured,
            any,
            api,
        };
        let all = candidates(server, &known);
        self.doubt(host, &known, &all);
        all
    }

    /// The host that the request was sent to, as far as it is wanted.
    async fn api(&self, control: &Handle, server: &RtcServer, host: &str) -> Vec<At> {
        let (name, _) = host_and_port(host);
        if !server.api_as_candidates || name.is_empty() {
            return Vec::new();
        }
        if let Ok(ip) = name.parse::<IpAddr>() {
            return vec![At::Ip(ip)];
        }
        // What `localhost` is, the address of the connection says better.
        if !is_host_name(name) || name.eq_ignore_ascii_case("localhost") {
            return Vec::new();
        }
        let mut all = Vec::new();
        if server.resolve_api_domain {
            all.extend(self.lookup(control, name).await.into_iter().map(At::Ip));
        }
        if server.keep_api_domain {
            all.push(At::Name(name.to_owned()));
        }
        all
    }

    /// A word of the `candidate` directive: an address, or a name, which stays one where it cannot
    /// be resolved.
    async fn resolve(&self, control: &Handle, word: &str) -> Vec<At> {
        if let Ok(ip) = word.trim_matches(['[', ']']).parse::<IpAddr>() {
            return vec![At::Ip(ip)];
        }
        if !is_host_name(word) {
            return Vec::new();
        }
        let found = self.lookup(control, word).await;
        if found.is_empty() {
            return vec![At::Name(word.to_owned())];
        }
        found.into_iter().map(At::Ip).collect()
    }

    async fn lookup(&self, control: &Handle, name: &str) -> Vec<IpAddr> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        {
            let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, found)) = names.get(&name)
                && at.elapsed() < NAMES_FRESH
            {
                return found.clone();
            }
        }
        let Ok(permit) = self.lookups.clone().try_acquire_owned() else { return Vec::new() };
        let asked = name.clone();
        // The permit is held until the resolver is done, however long that takes: its thread is.
        let task = control.spawn(async move {
            let found = tokio::net::lookup_host((asked, 0)).await;
            drop(permit);
            let mut ips: Vec<IpAddr> = Vec::new();
            for at in found.into_iter().flatten() {
                let ip = at.ip().to_canonical();
                if ips.len() < MAX_OF_NAME && !ips.contains(&ip) {
                    ips.push(ip);
                }
            }
            ips
        });
        let found = match tokio::time::timeout(RESOLVE, task).await {
            Ok(Ok(found)) => found,
            _ => Vec::new(),
        };
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MAX_NAMES {
            names.retain(|_, (at, _)| at.elapsed() < NAMES_FRESH);
        }
        if names.len() < MAX_NAMES {
            names.insert(name, (Instant::now(), found.clone()));
        }
        found
    }

    /// Warns where a client from outside is told nothing that it could reach.
    fn doubt(&self, host: &str, known: &Known, all: &[Candidate]) {
        let (name, _) = host_and_port(host);
        if !is_unreachable(name, known.is_here, all) {
            return;
        }
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return;
        }
        *warned = Some(Instant::now());
        tracing::warn!(
            host = name,
            "a client asked at a public host and is told private addresses only: {}. It will see no \
             picture. Write the public address: rtc_server {{ candidate ADDRESS; }}, or \
             CANDIDATE=ADDRESS in the environment of a file that says `candidate $CANDIDATE`",
            list(all)
        );
    }

    /// What browsers will be told, for the log at the start; a line each.
    pub fn announce(&self, server: &RtcServer) -> Vec<String> {
        let (words, stars): (Vec<&String>, Vec<&String>) =
            server.candidate.iter().partition(|word| !is_any(word));
        let machine = self.machine();
        let plain = |word: &&String| match word.trim_matches(['[', ']']).parse() {
            Ok(ip) => At::Ip(ip),
            Err(_) => At::Name((*word).clone()),
        };
        let known = Known {
            local: machine.first().copied().unwrap_or(IpAddr::from([127, 0, 0, 1])),
            machine,
            public: self.public(),
            is_here: false,
            external: None,
            configured: words.iter().map(plain).collect(),
            any: words.is_empty() || !stars.is_empty(),
            api: Vec::new(),
        };
        let all = candidates(server, &known);
        let host = match server.api_as_candidates {
            true => ", and the host that they ask",
            false => "",
        };
        let mut lines = vec![format!("WebRTC clients are told: {}{host}", list(&all))];
        if all.iter().all(|c| c.at.is_private()) && !server.api_as_candidates {
            lines.push(
                "these addresses are private: who comes from outside needs rtc_server { candidate \
                 ADDRESS; }"
                    .to_owned(),
            );
        }
        lines
    }
}

/// The loopback address that a host stands for, if it does.
fn loopback(host: &str) -> Option<IpAddr> {
    let (name, _) = host_and_port(host);
    if name.eq_ignore_ascii_case("localhost") {
        return Some(IpAddr::from([127, 0, 0, 1]));
    }
    name.parse().ok().filter(IpAddr::is_loopback)
}

fn list(all: &[Candidate]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether a client that asked at `host` is told nothing but what nobody outside reaches.
fn is_unreachable(host: &str, is_here: bool, all: &[Candidate]) -> bool {
    let public = match host.parse::<IpAddr>() {
        Ok(ip) => !is_private(ip),
        Err(_) => is_public_name(host),
    };
    public && !is_here && all.iter().all(|candidate| candidate.at.is_private())
}

/// Names that are known to be of a home or an office are not public.
fn is_public_name(host: &str) -> bool {
    const PRIVATE: [&str; 6] = [".local", ".lan", ".internal", ".home.arpa", ".localhost", ".test"];
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host.contains('.') && is_host_name(&host) && !PRIVATE.iter().any(|end| host.ends_with(end))
}

/// Addresses of the interfaces that are up: those of cables and radio before those of containers
/// and virtual machines, and public before private.
fn interfaces() -> Vec<IpAddr> {
    use nix::net::if_::InterfaceFlags;
    let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let mut found: Vec<(bool, bool, IpAddr)> = Vec::new();
    for one in all {
        let up = one.flags.contains(InterfaceFlags::IFF_UP);
        if !up || one.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        let Some(ip) = one.address.and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
        }) else {
            continue;
        };
        if !ip.is_loopback() && !is_link_local(ip) && !ip.is_unspecified() {
            found.push((is_virtual(&one.interface_name), is_private(ip), ip));
        }
    }
    found.sort_by_key(|(is_virtual, is_private, _)| (*is_virtual, *is_private));
    found.into_iter().map(|(_, _, ip)| ip).collect()
}

fn is_virtual(interface: &str) -> bool {
    ["docker", "br-", "veth", "virbr", "cni", "flannel", "cali", "vmnet", "vboxnet", "lxc"]
        .iter()
        .any(|prefix| interface.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::super::candidates::Transport;
    use super::*;
    use crate::config::tests::server;

    fn told(text: &str) -> Vec<Candidate> {
        let at = At::Ip(text.parse().unwrap());
        vec![Candidate { transport: Transport::Udp, at, port: 8000 }]
    }

    #[test]
    fn private_addresses_for_a_public_host_are_doubted() {
        let private = told("192.168.1.5");
        for host in ["live.example.com", "203.0.113.9"] {
            assert!(is_unreachable(host, false, &private), "{host}");
            assert!(!is_unreachable(host, true, &private), "{host}");
            assert!(!is_unreachable(host, false, &told("203.0.113.9")), "{host}");
        }
        for host in ["", "box", "box.local", "192.168.1.5", "localhost"] {
            assert!(!is_unreachable(host, false, &private), "{host}");
        }
    }

    #[test]
    fn the_start_tells_what_clients_will_be_told() {
        let addresses = Addresses::fixed(vec![IpAddr::from([192, 168, 1, 5])]);
        let lines = addresses.announce(&server());
        assert_eq!(
            lines,
            ["WebRTC clients are told: udp 192.168.1.5:8000, and the host that they ask"]
        );
        let server = RtcServer { api_as_candidates: false, ..server() };
        assert_eq!(addresses.announce(&server).len(), 2);
        let candidate = vec!["live.example.com".to_owned(), "203.0.113.9".to_owned()];
        let lines = addresses.announce(&RtcServer { candidate, ..server });
        assert_eq!(
            lines,
            ["WebRTC clients are told: udp live.example.com:8000, udp 203.0.113.9:8000"]
        );
    }

    #[tokio::test]
    async fn the_stun_server_is_found_in_the_family_that_is_told() {
        let addresses = Addresses::fixed(Vec::new());
        let (v4, v6): (IpAddr, IpAddr) = ([198, 51, 100, 1].into(), "2001:db8::1".parse().unwrap());
        let found = (Instant::now(), vec![v6, v4]);
        addresses.names.lock().unwrap().insert("stun.example.com".to_owned(), found);
        let control = Handle::current();
        let with = |stun: &str, ip_family| {
            let stun_server = Some(stun.to_owned()).filter(|s| !s.is_empty());
            RtcServer { stun_server, ip_family, ..server() }
        };
        for (stun, family, at) in [
            ("stun.example.com:19302", Family::Ipv4, Some(SocketAddr::new(v4, 19302))),
            ("stun.example.com", Family::Ipv6, Some(SocketAddr::new(v6, 3478))),
            ("198.51.100.1:3478", Family::Ipv4, Some(SocketAddr::new(v4, 3478))),
            ("", Family::Ipv4, None),
        ] {
            assert_eq!(addresses.stun_server(&control, &with(stun, family)).await, at);
        }
    }

    #[test]
    fn a_host_that_is_this_machine_is_known() {
        assert_eq!(loopback("LocalHost:1985"), Some([127, 0, 0, 1].into()));
        assert_eq!(loopback("127.0.0.2"), Some([127, 0, 0, 2].into()));
        assert_eq!(loopback("[::1]:80"), Some("::1".parse().unwrap()));
        assert_eq!(loopback("localhost.example.com"), None);
        assert_eq!(loopback("10.0.0.1"), None);
    }

    #[test]
    fn no_loopback_is_among_the_machine_s_addresses() {
        let addresses = Addresses::default();
        assert!(addresses.machine().iter().all(|ip| !ip.is_loopback() && !is_link_local(*ip)));
        assert_eq!(addresses.machine(), addresses.machine());
    }

    #[tokio::test]
    async fn names_are_remembered_and_addresses_are_not_looked_up() {
        let addresses = Addresses::fixed(Vec::new());
        let control = Handle::current();
        let at = |text: &str| At::Ip(text.parse().unwrap());
        assert_eq!(addresses.resolve(&control, "[2001:db8::1]").await, [at("2001:db8::1")]);
        assert_eq!(addresses.resolve(&control, "not a name").await, []);
        let found = |ips: &[IpAddr]| (Instant::now(), ips.to_vec());
        addresses.names.lock().unwrap().extend([
            ("gone.example.com".to_owned(), found(&[])),
            ("here.example.com".to_owned(), found(&[[203, 0, 113, 8].into()])),
        ]);
        let gone = addresses.resolve(&control, "gone.example.com").await;
        assert_eq!(gone, [At::Name("gone.example.com".into())]);
        let here = addresses.resolve(&control, "Here.example.com.").await;
        assert_eq!(here, [at("203.0.113.8")]);
        let host = "203.0.113.9:1985";
        assert_eq!(addresses.api(&control, &server(), host).await, [at("203.0.113.9")]);
        assert_eq!(addresses.api(&control, &server(), "localhost:1985").await, []);
        let keep = RtcServer { resolve_api_domain: false, keep_api_domain: true, ..server() };
        let kept = addresses.api(&control, &keep, "live.example.com").await;
        assert_eq!(kept, [At::Name("live.example.com".into())]);
    }
}
