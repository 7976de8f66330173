//! The HTTP ports: listeners for `http_server` and `http_api`, and one connection's life.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use hub::Shard;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;

use super::activity::{Activity, Tracked, Watched};
use super::{Context, Mount, Mounts, OnSocket, Request, Response, Role, text};
use crate::conf::{Config, Listen};
use crate::host::Host;
use crate::listen::{Guest, ListenerSet, Served, Wanted};
use crate::socket::Socket;
use crate::tls::Certificate;
use crate::{Gate, PrepareError, Prepared};

/// Largest request head. Ours need 1 kB; signed URLs and cookies come to 8.
const MAX_HEAD: usize = 32 * 1024;
/// A kept-alive connection without requests is closed after this long.
const IDLE: Duration = Duration::from_secs(60);

/// Hands a connection from hyper to whoever takes it over.
pub(crate) struct Takeover {
    then: RefCell<Option<OnSocket>>,
    wake: Notify,
}

impl Takeover {
    fn new() -> Rc<Self> {
        Rc::new(Self { then: RefCell::new(None), wake: Notify::new() })
    }

    pub(crate) fn give(&self, then: OnSocket) {
        *self.then.borrow_mut() = Some(then);
        self.wake.notify_one();
    }
}

/// Runs hyper's own tasks (HTTP/2 streams) on the shard.
#[derive(Clone)]
struct OnShard;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for OnShard {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// Which ports of HTTP a guest is served at, by the configuration.
type Lodgings = Box<dyn Fn(&Config) -> Vec<Listen> + Send + Sync>;

/// The gate that owns the HTTP ports. Protocols over HTTP add mounts to it.
#[derive(Default)]
pub struct HttpGate {
    listeners: Arc<ListenerSet>,
    mounts: Arc<Mounts>,
    guest: OnceLock<(Lodgings, Guest)>,
}

/// The addresses that HTTP is served at by this configuration, with and without TLS.
pub fn http_ports(config: &Config) -> Vec<Listen> {
    let root = config.root();
    let mut all = Vec::new();
    for block in ["http_server", "http_api"] {
        if root.bool(&format!("{block}.enabled")) {
            all.extend(root.listen(&format!("{block}.listen")));
            if root.bool(&format!("{block}.https.enabled")) {
                all.extend(root.listen(&format!("{block}.https.listen")));
            }
        }
    }
    if root.bool("exporter.enabled") {
        all.extend(root.listen("exporter.listen"));
    }
    all
}

impl HttpGate {
    /// Adds something that answers requests; those that were added first are asked first.
    pub fn mount(&self, mount: Arc<dyn Mount>) {
        self.mounts.add(mount);
    }

    /// Serves a protocol that is not HTTP at those HTTP ports that it asks for. Once, before the
    /// first [`prepare`](Gate::prepare).
    pub fn lodge(
        &self,
        guest: Guest,
        ports: impl Fn(&Config) -> Vec<Listen> + Send + Sync + 'static,
    ) {
        let _ = self.guest.set((Box::new(ports), guest));
    }

    /// The listening sockets.
    pub fn listeners(&self) -> &ListenerSet {
        &self.listeners
    }

    fn wanted(&self, host: &Arc<Host>, config: &Config) -> Result<Vec<Wanted>, PrepareError> {
        let root = config.root();
        let mut ports: Vec<(Listen, Role, Option<Arc<Certificate>>)> = Vec::new();
        let mut add = |listen: Listen, role: Role, cert: Option<Arc<Certificate>>| match ports
            .iter_mut()
            .find(|(l, ..)| *l == listen)
        {
            Some((_, r, _)) => {
                r.api |= role.api;
                r.server |= role.server;
                r.metrics |= role.metrics;
            }
            None => ports.push((listen, role, cert)),
        };
        let certificate = |block: &str| {
            let path = |key: &str| root.str(&format!("{block}.https.{key}"));
            Certificate::load(
                Path::new(path("cert")),
                Path::new(path("key")),
                &[b"h2", b"http/1.1"],
            )
        };
        for (block, role) in [
            ("http_server", Role { server: true, ..Role::default() }),
            ("http_api", Role { api: true, ..Role::default() }),
        ] {
            if !root.bool(&format!("{block}.enabled")) {
                continue;
            }
            for listen in root.listen(&format!("{block}.listen")) {
                add(listen, role, None);
            }
            if root.bool(&format!("{block}.https.enabled")) {
                let cert = certificate(block)?;
                for listen in root.listen(&format!("{block}.https.listen")) {
                    add(listen, role, Some(cert.clone()));
                }
            }
        }
        if root.bool("exporter.enabled") {
            for listen in root.listen("exporter.listen") {
                add(listen, Role { metrics: true, ..Role::default() }, None);
            }
        }
        let lodger = self.guest.get().map(|(ports, guest)| (ports(config), guest));
        let wanted = ports.into_iter().map(|(listen, role, certificate)| {
            let guest = lodger.as_ref().filter(|(ports, _)| ports.contains(&listen));
            let (host, mounts) = (host.clone(), self.mounts.clone());
            Wanted {
                listen,
                label: match (role.api, role.server) {
                    (true, false) => "HTTP API",
                    (false, true) => "HTTP server",
                    (false, false) => "metrics",
                    (true, true) => "HTTP server and API",
                },
                certificate,
                guest: guest.map(|(_, guest)| (*guest).clone()),
                handler: Arc::new(move |shard, served| {
                    let (host, mounts) = (host.clone(), mounts.clone());
                    let task = connection(host, shard.clone(), mounts, role, served);
                    shard.spawn("http", task);
                }),
            }
        });
        Ok(wanted.collect())
    }
}

impl Gate for HttpGate {
    fn name(&self) -> &'static str {
        "http"
    }

    fn prepare<'a>(
        &'a self,
        host: &'a Arc<Host>,
        config: &'a Arc<Config>,
    ) -> BoxFuture<'a, Result<Box<dyn Prepared>, PrepareError>> {
        let ready = self.listeners.ready(host, self.wanted(host, config));
        Box::pin(std::future::ready(ready))
    }

    fn close_listeners(&self) {
        self.listeners.close();
    }

    fn sockets(&self) -> Vec<std::net::TcpListener> {
        self.listeners.sockets()
    }
}

/// One connection's life. The HTTP machinery is boxed and gone before a live stream begins: its
/// room is many times that of a viewer.
fn connection(
    host: Arc<Host>,
    shard: Rc<Shard>,
    mounts: Arc<Mounts>,
    role: Role,
    served: Served,
) -> impl Future<Output = ()> {
    let Served { socket, peer, local, alpn, permit } = served;
    let asked = Asked { peer, local, alpn, role };
    let speak = Box::pin(speak(host, shard, mounts, asked, socket.clone()));
    async move {
        if let Some(then) = speak.await {
            then(socket).await;
        }
        drop(permit);
    }
}

/// What is known of a connection before its first request.
struct Asked {
    peer: SocketAddr,
    local: SocketAddr,
    alpn: Option<Vec<u8>>,
    role: Role,
}

/// Speaks HTTP until the connection ends or is taken over; gives who takes it.
async fn speak(
    host: Arc<Host>,
    shard: Rc<Shard>,
    mounts: Arc<Mounts>,
    asked: Asked,
    socket: Socket,
) -> Option<OnSocket> {
    let Asked { peer, local, alpn, role } = asked;
    let h2 = alpn.as_deref() == Some(b"h2");
    let takeover = (!h2).then(Takeover::new);
    let context = Context {
        secure: matches!(socket, Socket::Tls(_)),
        takeover: takeover.clone(),
        host,
        shard,
        peer,
        local,
        role,
    };
    let header_timeout = context.host.limits().http_header_timeout;
    let mounts = mounts.all();
    let activity = Activity::new(!h2);
    let watch = activity.clone();
    let io = TokioIo::new(Watched { socket: socket.clone(), activity: activity.clone() });
    let service = service_fn(move |request: Request| {
        let open = activity.request();
        let answer = guarded(context.clone(), mounts.clone(), request);
        async move {
            let (head, body) = answer.await.into_parts();
            let tracked = Tracked { body, _open: open };
            Ok::<_, Infallible>(hyper::Response::from_parts(head, tracked))
        }
    });
    let served = async {
        if h2 {
            let mut builder = hyper::server::conn::http2::Builder::new(OnShard);
            builder.timer(TokioTimer::new()).max_concurrent_streams(128);
            builder.keep_alive_interval(IDLE).max_header_list_size(MAX_HEAD as u32);
            builder.serve_connection(io, service).await
        } else {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(None);
            builder.max_buf_size(MAX_HEAD).half_close(false);
            builder.serve_connection(io, service).await
        }
    };
    let taken = async {
        match &takeover {
            Some(takeover) => takeover.wake.notified().await,
            None => std::future::pending().await,
        }
    };
    let over = tokio::select! {
        ended = served => {
            if let Err(e) = ended {
                tracing::debug!(%peer, "HTTP connection ended: {e}");
            }
            false
        }
        why = watch.exhausted(header_timeout, IDLE) => {
            tracing::debug!(%peer, "HTTP connection closed: {why}");
            false
        }
        () = taken => true,
    };
    takeover.filter(|_| over).and_then(|t| t.then.borrow_mut().take())
}

/// A panic in a mount is a bug that costs one answer.
async fn guarded(context: Context, mounts: Vec<Arc<dyn Mount>>, request: Request) -> Response {
    let shard = context.shard.clone();
    let answer = AssertUnwindSafe(answer(context, mounts, request)).catch_unwind();
    answer.await.unwrap_or_else(|_| {
        shard.handle().stats().panics.fetch_add(1, Relaxed);
        tracing::error!(shard = shard.id(), "bug: a request handler panicked");
        text(StatusCode::INTERNAL_SERVER_ERROR, "internal error; it was logged")
    })
}

async fn answer(context: Context, mounts: Vec<Arc<dyn Mount>>, mut request: Request) -> Response {
    tracing::debug!(
        peer = %context.peer, method = %request.method(), uri = %request.uri(), "HTTP request"
    );
    for mount in mounts {
        match mount.handle(&context, request) {
            Ok(answer) => {
                let mut response = answer.await;
                let server = HeaderValue::from_str(&context.host.identity.software());
                if let Ok(server) = server {
                    response.headers_mut().entry(header::SERVER).or_insert(server);
                }
                return response;
            }
            Err(passed) => request = passed,
        }
    }
    text(StatusCode::NOT_FOUND, "Not Found")
}
