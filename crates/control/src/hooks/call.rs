//! One callback on its way: a request over HTTP/1.1 on a connection of its own.
//!
//! A connection per request, as SRS has it: one that was kept may have died meanwhile, and a
//! question must not be asked twice to find that out.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use gate::conf::VhostSection;
use gate::dial::Dial;
use gate::http::client::Address;
use gate::identity::random_id;
use gate::{Host, Identity, SessionInfo};
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::error::HookError;
use super::event::Hook;
use super::reply::{self, MAX_REPLY, ReplyError};
use super::signature;
use crate::telemetry::{Kind, Open, Telemetry};

/// Longest head of a reply.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// What `on_hls_notify` may take, as with SRS.
const FETCH: Duration = Duration::from_secs(10);
/// The header that is the same for each try of one notification.
const DELIVERY: &str = "x-millrace-delivery";

/// What a virtual host says about its callbacks.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// For one request, from the connection to the last byte of the reply.
    pub(super) timeout: Duration,
    /// Sessions come in when nobody can be asked.
    pub(super) allow_when_down: bool,
    /// Tries of a notification after the first.
    pub(super) retries: u32,
    /// Notifications that may wait, of each callback.
    pub(super) queue: usize,
    secret: String,
    ca_file: String,
}

impl Options {
    fn read(vhost: &VhostSection<'_>) -> Self {
        Self {
            timeout: vhost.seconds("http_hooks.timeout"),
            allow_when_down: vhost.str("http_hooks.when_down") == "allow",
            retries: u32::try_from(vhost.int("http_hooks.retries")).unwrap_or(0),
            queue: usize::try_from(vhost.int("http_hooks.queue")).unwrap_or(0),
            secret: vhost.str("http_hooks.secret").to_owned(),
            ca_file: vhost.str("http_hooks.ca_file").to_owned(),
        }
    }
}

/// What it takes to reach web servers.
#[derive(Default)]
pub(crate) struct Wires {
    dial: Dial,
    telemetry: Telemetry,
}

/// A connection to a web server, in the clear or inside TLS.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl Wires {
    /// Those whose use is told.
    pub(super) fn telling(telemetry: Telemetry) -> Self {
        Self { dial: Dial::default(), telemetry }
    }

    /// A new connection to the server of `address`. The caller sets the time limit.
    pub(super) async fn connect(
        &self,
        address: &Address,
        ca_file: &str,
    ) -> Result<Box<dyn Wire>, HookError> {
        let origin = &address.origin;
        let at = self.dial.find(&origin.host, origin.port).await.map_err(HookError::Name)?;
        let tcp = TcpStream::connect(at.as_slice()).await.map_err(HookError::Connect)?;
        // Head and body are one small packet; waiting for more gains nothing.
        let _ = tcp.set_nodelay(true);
        if !origin.tls {
            return Ok(Box::new(tcp));
        }
        let connector = self.dial.connector(ca_file)?;
        let invalid = |e| HookError::Tls(std::io::Error::other(e));
        let name = ServerName::try_from(origin.host.clone()).map_err(invalid)?;
        Ok(Box::new(connector.connect(name, tcp).await.map_err(HookError::Tls)?))
    }
}

/// A callback that is to be made, with all that the configuration said when its event came.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) hook: Hook,
    pub(super) vhost: String,
    /// The session.
    pub(super) session: Arc<str>,
    /// When that began.
    opened: Instant,
    pub(super) urls: Vec<String>,
    pub(super) options: Options,
    body: Bytes,
    /// The same for each try.
    delivery: String,
    agent: String,
    /// Bytes of a fetch that are read.
    fetch: usize,
}

impl Call {
    /// The callback `hook` of a virtual host; `None` where nobody wants it. `body` makes its body.
    pub(super) fn new(
        host: &Host,
        vhost: &str,
        hook: Hook,
        session: &SessionInfo,
        body: impl FnOnce() -> String,
    ) -> Option<Self> {
        let config = host.config();
        let vhost = config.vhost(vhost)?;
        let urls = urls(&vhost, hook);
        if urls.is_empty() {
            return None;
        }
        Some(Self {
            hook,
            vhost: vhost.name().to_owned(),
            session: session.id.clone(),
            opened: session.opened,
            urls,
            options: Options::read(&vhost),
            body: body().into(),
            delivery: random_id(16),
            agent: agent(&host.identity),
            fetch: usize::try_from(vhost.int("hls.hls_nb_notify")).unwrap_or(0),
        })
    }

    /// How long one request may take.
    pub(super) fn limit(&self) -> Duration {
        if self.hook.is_fetch() { FETCH } else { self.options.timeout }
    }

    /// Makes the request to one of the URLs. Cancel safe: dropping it closes the connection.
    pub(super) async fn make(&self, wires: &Wires, url: &str) -> Result<(), HookError> {
        let body = self.answer(wires, url).await?;
        if !self.hook.is_fetch() {
            reply::decode(&body)?;
        }
        Ok(())
    }

    /// The same, and gives the body of the reply, whatever that says; nothing of a fetch.
    pub(super) async fn answer(&self, wires: &Wires, url: &str) -> Result<Vec<u8>, HookError> {
        let mut span = self.span(wires, url);
        let traceparent = span.as_ref().map(|span| span.context.traceparent());
        let exchange = async {
            let address = Address::parse(url)?;
            let stream = wires.connect(&address, &self.options.ca_file).await?;
            self.exchange(stream, &address, traceparent.as_deref()).await
        };
        let limit = self.limit();
        let made = tokio::time::timeout(limit, exchange).await;
        let made = made.map_err(|_| HookError::Timeout(limit)).flatten();
        if let Some(span) = &mut span {
            self.tell(span, &made);
        }
        made
    }

    /// The request as a part of its session; `None` while nobody wants to know. One that is
    /// withdrawn ends without an outcome.
    fn span(&self, wires: &Wires, url: &str) -> Option<Open> {
        let name = self.hook.name();
        let mut span = wires.telemetry.part(name, Kind::Client, &self.session, self.opened)?;
        span.set("millrace.vhost", self.vhost.as_str());
        span.set("url.full", shown(url));
        span.set("http.request.method", if self.hook.is_fetch() { "GET" } else { "POST" });
        Some(span)
    }

    fn tell(&self, span: &mut Open, made: &Result<Vec<u8>, HookError>) {
        let meaning = made.as_ref().map_err(ToString::to_string).and_then(|body| {
            let meaning = match self.hook {
                Hook::Forward => reply::decode_urls(body).map(drop),
                hook if hook.is_fetch() => Ok(()),
                _ => reply::decode(body),
            };
            meaning.map_err(|error| error.to_string())
        });
        span.set("millrace.outcome", if meaning.is_ok() { "yes" } else { "no" });
        if let Err(error) = meaning {
            span.fail(error);
        }
    }

    fn request(
        &self,
        address: &Address,
        traceparent: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, HookError> {
        let bad = HookError::Address(gate::http::client::AddressError::Authority);
        let uri: http::Uri = address.path.parse().map_err(|_| bad)?;
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.uri_mut() = uri;
        let fetch = self.hook.is_fetch();
        *request.method_mut() = if fetch { Method::GET } else { Method::POST };
        let signed = (!fetch && !self.options.secret.is_empty()).then(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            signature::sign(&self.options.secret, now.as_secs(), &self.body)
        });
        let authority = address.origin.authority();
        let headers = request.headers_mut();
        for (name, value) in [
            (header::HOST.as_str(), Some(authority.as_str())),
            (header::CONNECTION.as_str(), Some("Keep-Alive")),
            (header::USER_AGENT.as_str(), Some(self.agent.as_str())),
            (header::CONTENT_TYPE.as_str(), (!fetch).then_some("application/json")),
            (DELIVERY, (!fetch).then_some(self.delivery.as_str())),
            (signature::HEADER, signed.as_deref()),
            ("traceparent", traceparent),
        ] {
            if let Some(value) = value.and_then(|v| HeaderValue::from_str(v).ok()) {
                headers.insert(name_of(name), value);
            }
        }
        Ok(request)
    }

    async fn exchange(
        &self,
        stream: Box<dyn Wire>,
        address: &Address,
        traceparent: Option<&str>,
    ) -> Result<Vec<u8>, HookError> {
        let request = self.request(address, traceparent)?;
        let mut builder = http1::Builder::new();
        builder.title_case_headers(true).max_buf_size(MAX_HEAD);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let response = sender.send_request(request).await?;
            if self.hook.is_fetch() {
                self.taste(response.into_body()).await?;
                return Ok(Vec::new());
            }
            reply::check_status(response.status().as_u16())?;
            read(response.into_body()).await
        };
        let drive = async {
            // What goes wrong is told to whoever waits for the answer.
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = answer => answer,
            () = drive => Ok(Vec::new()), // never ready
        }
    }

    /// Reads the beginning, as many bytes as configured: what is in front of a store of segments
    /// has fetched it then.
    async fn taste(&self, mut body: Incoming) -> Result<(), HookError> {
        let mut left = self.fetch;
        while left > 0
            && let Some(frame) = body.frame().await
        {
            left = left.saturating_sub(frame?.data_ref().map_or(0, Bytes::len));
        }
        Ok(())
    }
}

/// The URLs of a callback that is switched on.
fn urls(vhost: &VhostSection<'_>, hook: Hook) -> Vec<String> {
    let listed = match hook {
        // Of several the first counts, as with SRS.
        Hook::Forward => vec![vhost.str(hook.directive())],
        _ if vhost.bool("http_hooks.enabled") => vhost.list(hook.directive()),
        _ => Vec::new(),
    };
    listed.into_iter().filter(|url| !url.is_empty()).map(str::to_owned).collect()
}

fn name_of(name: &'static str) -> http::HeaderName {
    http::HeaderName::from_static(name)
}

/// Who we say that we are: scripts look for SRS.
pub(crate) fn agent(identity: &Identity) -> String {
    let (major, minor, patch) = identity.compat_version;
    format!("SRS/{major}.{minor}.{patch}({})", identity.software())
}

/// A reply, if it is not too long.
async fn read(mut body: Incoming) -> Result<Vec<u8>, HookError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len().saturating_add(data.len()) > MAX_REPLY {
            return Err(ReplyError::TooLong.into());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// A URL as logs may show it: without name, password and query, which may hold secrets.
pub(crate) fn shown(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = bare.split_once("://") else { return bare.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn the_log_shows_no_secrets_of_a_url() {
        assert_eq!(shown("http://u:p@h:8085/a/b?token=x"), "http://h:8085/a/b");
        assert_eq!(shown("https://h"), "https://h");
        assert_eq!(shown("nonsense?x"), "nonsense");
    }
}
