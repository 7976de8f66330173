//! The gate: its datagram sockets, its connections, and the door on the HTTP ports.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::future::BoxFuture;
use gate::conf::{Config, Listen};
use gate::http::{HttpGate, Mount, http_ports};
use gate::listen::Handler;
use gate::{Gate, Guest, Host, ListenerSet, PrepareError, Prepared, Wanted};

use crate::config::{self, RtcServer};
use crate::door::HttpDoor;
use crate::door::addresses::Addresses;
use crate::engine::{Engine, bind};
use crate::session::dtls::Identity;

/// Serves WebRTC.
pub struct RtcGate {
    engine: Arc<Engine>,
    connections: Arc<ListenerSet>,
    datagrams: Arc<Mutex<HashMap<Listen, SocketAddr>>>,
    addresses: Arc<Addresses>,
    prepared: AtomicBool,
    /// What was listened at when this process took over from another, which may still be there.
    taken_over: OnceLock<Vec<Listen>>,
}

impl RtcGate {
    /// Makes the certificate of this process and the sessions' side of each shard. Nothing is
    /// served before the first [`prepare`](Gate::prepare).
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn start(host: &Arc<Host>) -> io::Result<Self> {
        let pair = rcgen::generate_simple_self_signed(vec!["millrace".to_owned()])
            .map_err(io::Error::other)?;
        let der = (pair.cert.der().to_vec(), pair.signing_key.serialize_der());
        let identity = Identity::from_der(der.0, der.1).map_err(io::Error::other)?;
        let addresses = Arc::new(Addresses::default());
        let server = RtcServer::read(&host.config());
        let engine = Engine::start(host, identity, server, addresses.clone());
        let tallies = engine.clone();
        host.tell_drops("rtc", Box::new(move || tallies.stats.all()));
        Ok(Self {
            engine,
            connections: Arc::default(),
            datagrams: Arc::default(),
            addresses,
            prepared: AtomicBool::new(false),
            taken_over: OnceLock::new(),
        })
    }

    /// Its door, for the HTTP ports.
    pub fn door(&self) -> Arc<dyn Mount> {
        Arc::new(HttpDoor::new(Arc::new(self.engine.clone()), self.addresses.clone()))
    }

    /// Its sessions and counters.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Whether clients are served now.
    pub fn is_on(&self) -> bool {
        self.engine.is_on()
    }

    /// Has connections of WebRTC served at ports of HTTP that are also `rtc_server.tcp.listen`.
    pub fn lodge_at(&self, http: &HttpGate) {
        let guest = Guest { takes: begins_a_packet, handler: self.handler(), label: LABEL };
        http.lodge(guest, |config| shared(&RtcServer::read(config), config));
    }

    fn handler(&self) -> Handler {
        let engine = self.engine.clone();
        Arc::new(move |shard, served| {
            let engine = engine.clone();
            shard.spawn("rtc", crate::engine::serve_connection(engine, served));
        })
    }

    fn wanted_connections(&self, server: &RtcServer, config: &Config) -> Vec<Wanted> {
        if !server.enabled || !server.tcp_enabled {
            return Vec::new();
        }
        let (handler, shared) = (self.handler(), shared(server, config));
        let want = |listen: &Listen| Wanted {
            listen: *listen,
            certificate: None,
            handler: handler.clone(),
            guest: None,
            label: LABEL,
        };
        server.tcp_listen.iter().filter(|listen| !shared.contains(listen)).map(want).collect()
    }

    /// `inherits`: the process has sockets from another one.
    fn bind_new(&self, server: &RtcServer, inherits: bool) -> Result<Vec<Fresh>, PrepareError> {
        let first = || if inherits { server.listen.clone() } else { Vec::new() };
        let theirs = self.taken_over.get_or_init(first);
        let open = self.datagrams.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh: Vec<Fresh> = Vec::new();
        let wanted = if server.enabled { server.listen.as_slice() } else { &[] };
        for listen in wanted {
            if open.contains_key(listen) || fresh.iter().any(|f| f.listen == *listen) {
                continue;
            }
            let told = |error| PrepareError::Bind {
                what: "WebRTC over UDP",
                address: listen.to_string(),
                error,
            };
            // Sockets that share a port do so with anybody's: a second server would take half of our
            // packets, and nobody would be told.
            if !theirs.contains(listen) {
                drop(bind(*listen, false).map_err(told)?);
            }
            let mut sockets = Vec::new();
            for _ in 0..self.engine.shards() {
                sockets.push(bind(*listen, true).map_err(told)?);
            }
            let local = match sockets.first() {
                Some(socket) => socket.local_addr().map_err(told)?,
                None => continue,
            };
            fresh.push(Fresh { listen: *listen, local, sockets });
        }
        Ok(fresh)
    }
}

const LABEL: &str = "WebRTC over TCP";

/// Whether a connection begins with the length of a check (RFC 4571): shorter than 512 bytes, while
/// requests begin with a letter, and TLS with 22.
fn begins_a_packet(first: u8) -> bool {
    first < 2
}

/// Those addresses of ICE over TCP that are served with HTTP.
fn shared(server: &RtcServer, config: &Config) -> Vec<Listen> {
    if !server.enabled || !server.tcp_enabled {
        return Vec::new();
    }
    let ports = http_ports(config);
    server.tcp_listen.iter().filter(|listen| ports.contains(listen)).copied().collect()
}

/// An address that was bound, once for each shard.
struct Fresh {
    listen: Listen,
    local: SocketAddr,
    sockets: Vec<std::net::UdpSocket>,
}

struct Ready {
    engine: Arc<Engine>,
    datagrams: Arc<Mutex<HashMap<Listen, SocketAddr>>>,
    addresses: Arc<Addresses>,
    connections: Box<dyn Prepared>,
    server: RtcServer,
    fresh: Vec<Fresh>,
    complaints: Vec<String>,
    /// Ports of HTTP that connections of WebRTC share.
    shared: Vec<Listen>,
    is_first: bool,
}

impl Prepared for Ready {
    fn commit(self: Box<Self>) -> Vec<String> {
        let mut lines = self.connections.commit();
        for complaint in &self.complaints {
            tracing::warn!("{complaint}");
        }
        let was = self.engine.config.load_full();
        let mut open = self.datagrams.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|listen, local| {
            let keep = self.server.enabled && self.server.listen.contains(listen);
            if !keep {
                lines.push(format!("stopped receiving WebRTC at UDP {local}"));
            }
            keep
        });
        for Fresh { listen, local, sockets } in self.fresh {
            self.engine.serve(sockets);
            lines.push(format!("WebRTC receives at UDP {local}"));
            open.insert(listen, local);
        }
        self.engine.keep_sockets(&open.values().copied().collect::<Vec<_>>());
        drop(open);
        if self.server.enabled && (self.is_first || *was != self.server) {
            let shares = |listen| format!("{LABEL} shares the HTTP port {listen}");
            lines.extend(self.shared.iter().map(shares));
            lines.extend(self.addresses.announce(&self.server));
        }
        self.engine.configure(self.server);
        lines
    }
}

impl Gate for RtcGate {
    fn name(&self) -> &'static str {
        "rtc"
    }

    fn prepare<'a>(
        &'a self,
        host: &'a Arc<Host>,
        config: &'a Arc<Config>,
    ) -> BoxFuture<'a, Result<Box<dyn Prepared>, PrepareError>> {
        let mut server = RtcServer::read(config);
        let mut ready = || -> Result<Box<dyn Prepared>, PrepareError> {
            let fresh = match self.bind_new(&server, host.inherited.any()) {
                // Nobody asked for WebRTC who wrote no file; the rest is worth a start without it.
                Err(error) if host.fileless => {
                    tracing::warn!("no WebRTC: {error}");
                    server.enabled = false;
                    Vec::new()
                }
                fresh => fresh?,
            };
            let connections =
                self.connections.ready(host, Ok(self.wanted_connections(&server, config)))?;
            Ok(Box::new(Ready {
                engine: self.engine.clone(),
                datagrams: self.datagrams.clone(),
                addresses: self.addresses.clone(),
                connections,
                server: server.clone(),
                fresh,
                complaints: config::complaints(config),
                shared: shared(&server, config),
                is_first: !self.prepared.swap(true, Relaxed),
            }))
        };
        Box::pin(std::future::ready(ready()))
    }

    fn expect_successor(&self, expected: bool) {
        self.engine.expect_successor(expected);
    }

    fn close_listeners(&self) {
        self.connections.close();
        if self.engine.is_parting() {
            self.datagrams.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.engine.keep_sockets(&[]);
        }
    }

    fn sockets(&self) -> Vec<std::net::TcpListener> {
        self.connections.sockets()
    }
}
