//! Listening: bind, accept, count, hand the socket to the least loaded shard.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hub::Shard;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio_util::sync::CancellationToken;

use crate::conf::Listen;
use crate::host::{ConnectionPermit, Host};
use crate::socket::Socket;
use crate::tls::Certificate;
use crate::{PrepareError, Prepared};

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: i32 = 4096;
/// Pause after the system refused a descriptor: trying again at once would only burn the core.
const NO_DESCRIPTORS: Duration = Duration::from_millis(50);
/// The log tells no more often than this that connections cannot be accepted.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A connection, ready to be served on its shard.
pub struct Served {
    /// Its bytes.
    pub socket: Socket,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// Our address.
    pub local: SocketAddr,
    /// What was negotiated by ALPN over TLS.
    pub alpn: Option<Vec<u8>>,
    /// Its place under the limits: keep it as long as the connection.
    pub permit: ConnectionPermit,
}

/// Serves one connection; spawns what it needs on the shard.
pub type Handler = Arc<dyn Fn(&Rc<Shard>, Served) + Send + Sync>;

/// Another protocol at a port that is somebody's: what it says first begins as nothing of the owner's
/// does. Where the port is encrypted, it is not.
#[derive(Clone)]
pub struct Guest {
    /// Whether a connection that begins with this byte is its.
    pub takes: fn(u8) -> bool,
    /// Serves those; they are not encrypted.
    pub handler: Handler,
    /// What the log calls it.
    pub label: &'static str,
}

/// An address that should be listened at.
#[derive(Clone)]
pub struct Wanted {
    /// Where.
    pub listen: Listen,
    /// With which certificate; `None` is plain.
    pub certificate: Option<Arc<Certificate>>,
    /// Who serves it.
    pub handler: Handler,
    /// Who else is served there. Then nothing is done for a connection before its first byte.
    pub guest: Option<Guest>,
    /// Set on the sockets of players and publishers: leave Nagle's algorithm on (`false`) or off.
    pub label: &'static str,
}

struct Open {
    stop: CancellationToken,
    serving: Arc<Mutex<Wanted>>,
    local: SocketAddr,
    /// A second descriptor of the socket, to be handed on; `None` when there was none to be had.
    socket: Option<std::net::TcpListener>,
}

/// Listening sockets that were open before the process began: the system's service manager gave
/// them, or the server that this one takes over from. Whoever binds one of their addresses gets
/// the open socket, so that no connection that already waits in it is lost.
#[derive(Default)]
pub struct Inherited {
    sockets: Mutex<Vec<std::net::TcpListener>>,
    any: bool,
}

impl Inherited {
    /// These, each of which must listen already.
    pub fn new(sockets: Vec<std::net::TcpListener>) -> Self {
        Self { any: !sockets.is_empty(), sockets: Mutex::new(sockets) }
    }

    /// Whether there were any: then somebody may still receive datagrams at our addresses, and hands
    /// them over.
    pub fn any(&self) -> bool {
        self.any
    }

    /// The open socket for `listen`, if there is one.
    fn take(&self, listen: Listen) -> Option<std::net::TcpListener> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |socket: &std::net::TcpListener| {
            socket.local_addr().is_ok_and(|at| {
                let ip = at.ip().to_canonical();
                at.port() == listen.port
                    && listen.ip.map_or(ip.is_unspecified(), |want| want.to_canonical() == ip)
            })
        };
        let index = sockets.iter().position(fits)?;
        let socket = sockets.swap_remove(index);
        socket.set_nonblocking(true).ok()?;
        Some(socket)
    }

    /// Closes those that nobody wanted, and tells their addresses.
    pub fn close_rest(&self) -> Vec<SocketAddr> {
        let rest =
            std::mem::take(&mut *self.sockets.lock().unwrap_or_else(PoisonError::into_inner));
        rest.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }
}

/// The listening sockets of one gate. A reload keeps those whose address stays.
#[derive(Default)]
pub struct ListenerSet {
    open: Mutex<HashMap<Listen, Open>>,
}

/// Sockets bound for a new configuration, not yet in use.
pub struct Bound {
    fresh: Vec<(Wanted, std::net::TcpListener)>,
    kept: Vec<Wanted>,
}

/// Binds one address. `ip` `None`: every address of the machine, IPv4 and IPv6 on one socket
/// where the system has IPv6.
///
/// # Errors
/// What the system says: most often the port is in use.
pub fn bind(listen: Listen) -> io::Result<std::net::TcpListener> {
    let open = |address: SocketAddr, dual: bool| {
        let socket =
            RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(!dual)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    match listen.ip {
        Some(ip) => open(SocketAddr::new(ip, listen.port), false),
        None => open(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), listen.port), true)
            .or_else(|e: io::Error| match e.kind() {
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(e),
                _ => open(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), listen.port), false),
            }),
    }
}

struct Ready {
    listeners: Arc<ListenerSet>,
    host: Arc<Host>,
    bound: Bound,
}

impl Prepared for Ready {
    fn commit(self: Box<Self>) -> Vec<String> {
        self.listeners.commit(&self.host, self.bound)
    }
}

impl ListenerSet {
    /// Binds what is wanted and not open yet. Nothing changes for connections until
    /// [`commit`](Self::commit).
    ///
    /// # Errors
    /// [`PrepareError::Bind`] for the first address that cannot be had.
    pub fn prepare(&self, wanted: Vec<Wanted>) -> Result<Bound, PrepareError> {
        self.prepare_with(&Inherited::default(), wanted)
    }

    fn prepare_with(
        &self,
        inherited: &Inherited,
        wanted: Vec<Wanted>,
    ) -> Result<Bound, PrepareError> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bound = Bound { fresh: Vec::new(), kept: Vec::new() };
        for want in wanted {
            let twice = bound.fresh.iter().any(|(w, _)| w.listen == want.listen);
            if open.contains_key(&want.listen) {
                bound.kept.push(want);
            } else if !twice {
                let socket = match inherited.take(want.listen) {
                    Some(socket) => Ok(socket),
                    None => bind(want.listen),
                };
                let socket = socket.map_err(|error| PrepareError::Bind {
                    what: want.label,
                    address: want.listen.to_string(),
                    error,
                })?;
                bound.fresh.push((want, socket));
            }
        }
        Ok(bound)
    }

    /// What a gate's [`prepare`](crate::Gate::prepare) comes to when its ports are all that can
    /// fail: bound now, in use at the commit.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare), and what already went wrong with `wanted`.
    pub fn ready(
        self: &Arc<Self>,
        host: &Arc<Host>,
        wanted: Result<Vec<Wanted>, PrepareError>,
    ) -> Result<Box<dyn Prepared>, PrepareError> {
        let bound = self.prepare_with(&host.inherited, wanted?)?;
        Ok(Box::new(Ready { listeners: self.clone(), host: host.clone(), bound }))
    }

    /// Closes what is no longer wanted and begins to accept on the new sockets. Connections that
    /// were accepted before go on. Returns a line for each change.
    pub fn commit(&self, host: &Arc<Host>, bound: Bound) -> Vec<String> {
        let mut lines = Vec::new();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|listen, o| {
            let keep = bound.kept.iter().find(|w| w.listen == *listen);
            match keep {
                Some(wanted) => {
                    *o.serving.lock().unwrap_or_else(PoisonError::into_inner) = wanted.clone();
                }
                None => {
                    o.stop.cancel();
                    lines.push(format!("stopped listening at {}", o.local));
                }
            }
            keep.is_some()
        });
        for (wanted, socket) in bound.fresh {
            let Ok(local) = socket.local_addr() else { continue };
            let (listen, label) = (wanted.listen, wanted.label);
            let stop = CancellationToken::new();
            let serving = Arc::new(Mutex::new(wanted));
            let second = socket.try_clone().ok();
            let task = accept_loop(host.clone(), socket, serving.clone(), stop.clone());
            host.control.spawn(task);
            lines.push(format!("{label} listens at {local}"));
            open.insert(listen, Open { stop, serving, local, socket: second });
        }
        lines
    }

    /// Stops accepting on all of them.
    pub fn close(&self) {
        for (_, open) in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            open.stop.cancel();
        }
    }

    /// Reads certificates again whose files have changed; tells what happened.
    pub fn refresh_certificates(&self) {
        for open in self.open.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let serving = open.serving.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(certificate) = &serving.certificate else { continue };
            match certificate.refresh() {
                Ok(false) => {}
                Ok(true) => tracing::info!(
                    path = %certificate.path().display(), "the certificate was replaced"
                ),
                Err(e) => tracing::error!("the old certificate stays in use: {e}"),
            }
        }
    }

    /// Further descriptors of the sockets that are listened at now, for a process that takes over.
    pub fn sockets(&self) -> Vec<std::net::TcpListener> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().filter_map(|o| o.socket.as_ref()?.try_clone().ok()).collect()
    }

    /// The addresses that are listened at now.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().map(|o| o.local).collect()
    }
}

async fn accept_loop(
    host: Arc<Host>,
    socket: std::net::TcpListener,
    serving: Arc<Mutex<Wanted>>,
    stop: CancellationToken,
) {
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(e) => {
            tracing::error!("cannot watch a listening socket: {e}");
            return;
        }
    };
    let mut told: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                let wanted = serving.lock().unwrap_or_else(PoisonError::into_inner).clone();
                hand_over(&host, wanted, tcp, peer).await;
            }
            Err(e) if is_peer_gone(&e) => {}
            Err(e) => {
                if told.is_none_or(|t| t.elapsed() >= TELL_EVERY) {
                    told = Some(Instant::now());
                    tracing::error!(
                        "cannot accept connections: {e}; is the limit of open files too low?"
                    );
                }
                tokio::time::sleep(NO_DESCRIPTORS).await;
            }
        }
    }
}

fn is_peer_gone(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

async fn hand_over(host: &Arc<Host>, wanted: Wanted, tcp: tokio::net::TcpStream, peer: SocketAddr) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let permit = match host.admit_connection(peer.ip()) {
        Ok(permit) => permit,
        Err(limit) => {
            tracing::warn!(%peer, gate = wanted.label, limit, "connection refused");
            return;
        }
    };
    // Live media is sent in whole messages: Nagle would only hold the last one back (45 ms and
    // more against delayed acknowledgements).
    let _ = tcp.set_nodelay(true);
    let (Ok(local), Ok(tcp)) = (tcp.local_addr(), tcp.into_std()) else { return };
    let local = SocketAddr::new(local.ip().to_canonical(), local.port());
    let patience = host.limits().handshake_timeout;
    let taken = host.least_loaded().run(Box::new(move |shard| {
        let Ok(tcp) = tokio::net::TcpStream::from_std(tcp) else { return };
        let Wanted { certificate, handler, guest, label, .. } = wanted;
        if certificate.is_none() && guest.is_none() {
            let socket = Socket::plain(tcp);
            handler(&shard, Served { socket, peer, local, alpn: None, permit });
            return;
        }
        let inner = shard.clone();
        shard.spawn("hello", async move {
            let hello = async {
                if let Some(guest) = guest {
                    let mut first = [0];
                    match tcp.peek(&mut first).await {
                        Ok(1) if (guest.takes)(first[0]) => {
                            return Some((guest.handler, Socket::plain(tcp), None));
                        }
                        Ok(1) => {}
                        _ => return None,
                    }
                }
                let Some(certificate) = certificate else {
                    return Some((handler, Socket::plain(tcp), None));
                };
                match certificate.acceptor().accept(tcp).await {
                    Ok(tls) => {
                        let alpn = tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
                        Some((handler, Socket::tls(tls), alpn))
                    }
                    Err(e) => {
                        tracing::info!(%peer, gate = label, "TLS refused: {e}");
                        None
                    }
                }
            };
            match tokio::time::timeout(patience, hello).await {
                Ok(Some((handler, socket, alpn))) => {
                    handler(&inner, Served { socket, peer, local, alpn, permit });
                }
                Ok(None) => {}
                Err(_) => tracing::info!(%peer, gate = label, "nothing came in time, or no end of the TLS handshake"),
            }
        });
    }));
    taken.await;
}
