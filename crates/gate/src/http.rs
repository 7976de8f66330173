//! One HTTP server for everything that speaks HTTP: live streams, playlists, files, the API.
//!
//! hyper parses requests; what answers them is a list of [`Mount`]s, asked in order. A mount
//! answers with a response, or takes the connection over and writes to it by itself: that is how
//! a live stream leaves at engine speed, without a copy per viewer. HTTP/1.1 over TCP or TLS can
//! be taken over; HTTP/2 gets a body instead.

mod activity;
mod body;
pub mod client;
mod serve;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, LocalBoxFuture};
use hub::Shard;

pub use body::{BadBody, Body, BodyError, BodySender, ReaderGone, read_body};
pub use serve::{HttpGate, http_ports};

use crate::host::Host;
use crate::session::Session;
use crate::socket::Socket;

/// A request as hyper read it.
pub type Request = hyper::Request<RequestBody>;
/// Its body, which nobody has read yet; see [`read_body`].
pub type RequestBody = hyper::body::Incoming;
/// An answer.
pub type Response = hyper::Response<Body>;

/// Which of the HTTP ports a request came in at; several when they share one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// `http_api`.
    pub api: bool,
    /// `http_server`.
    pub server: bool,
    /// `exporter`: nothing but metrics.
    pub metrics: bool,
}

/// What a mount knows of a request besides itself.
#[derive(Clone)]
pub struct Context {
    /// The host.
    pub host: Arc<Host>,
    /// The shard that the connection lives on.
    pub shard: Rc<Shard>,
    /// The peer of the connection.
    pub peer: std::net::SocketAddr,
    /// Our address.
    pub local: std::net::SocketAddr,
    /// Which port.
    pub role: Role,
    /// Over TLS.
    pub secure: bool,
    pub(crate) takeover: Option<Rc<serve::Takeover>>,
}

/// Continues on a connection that was taken over.
pub type OnSocket = Box<dyn FnOnce(Socket) -> LocalBoxFuture<'static, ()>>;

impl Context {
    /// Whether the connection can be taken over (HTTP/1.x).
    pub fn can_take_over(&self) -> bool {
        self.takeover.is_some()
    }

    /// Takes the connection from the HTTP server: nothing is answered by it any more, `then` gets
    /// the socket and writes its own response head. Await what this returns in the handler; it
    /// never comes back.
    pub async fn take_over(&self, then: OnSocket) -> Response {
        if let Some(takeover) = &self.takeover {
            takeover.give(then);
            std::future::pending::<()>().await;
        }
        text(http::StatusCode::INTERNAL_SERVER_ERROR, "the connection cannot be taken over")
    }

    /// A session for this request.
    pub fn session(&self, gate: &'static str) -> Session {
        self.host.sessions.open(gate, self.peer)
    }
}

/// Something that answers requests.
pub trait Mount: Send + Sync {
    /// Answers, or passes the request on to the next mount. Runs on the shard of the connection:
    /// it must not block, and what may take long belongs on [`Host::control`].
    // What is refused goes on to the next mount as it is: a box would only be opened again.
    #[allow(clippy::result_large_err)]
    fn handle(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<LocalBoxFuture<'static, Response>, Request>;
}

/// Answers requests on the control runtime: for API and files, where work may be long. `service`
/// gets the request's parts and body.
pub fn on_control<F>(
    context: &Context,
    request: Request,
    service: F,
) -> LocalBoxFuture<'static, Response>
where
    F: FnOnce(Request) -> BoxFuture<'static, Response> + Send + 'static,
{
    let control = context.host.control.clone();
    Box::pin(async move {
        match control.spawn(service(request)).await {
            Ok(response) => response,
            Err(e) => {
                tracing::error!("bug: a request handler panicked: {e}");
                text(http::StatusCode::INTERNAL_SERVER_ERROR, "internal error; it was logged")
            }
        }
    })
}

/// The viewer's address as proxies in front claim it: the first of `X-Forwarded-For`, else
/// `X-Real-IP`. Anybody can write these.
pub fn claimed_ip(headers: &http::HeaderMap) -> Option<IpAddr> {
    let of = |name: &str| {
        let first = headers.get(name)?.to_str().ok()?.split(',').next()?.trim();
        first.parse().ok()
    };
    of("x-forwarded-for").or_else(|| of("x-real-ip"))
}

/// Longest token that is taken from a header.
const MAX_BEARER: usize = 8192;

/// The query of a request as sessions know it, with its `?`. A token that came as
/// `Authorization: Bearer` stands in it as `token=`, unless the query has one.
pub fn param(request: &Request) -> String {
    param_of(request.uri().query().unwrap_or_default(), request.headers())
}

/// The same for a query, without its `?`, that came otherwise than in the request's address.
pub fn param_of(query: &str, headers: &http::HeaderMap) -> String {
    let bearer = headers.get(http::header::AUTHORIZATION);
    with_bearer(query, bearer.and_then(|value| value.to_str().ok()))
}

fn with_bearer(query: &str, authorization: Option<&str>) -> String {
    let token = authorization
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        // The characters of RFC 6750, so that nothing can be slipped into the query.
        .filter(|token| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
            !token.is_empty() && token.len() <= MAX_BEARER && token.bytes().all(fits)
        })
        .filter(|_| !query.split('&').any(|item| item.starts_with("token=")));
    match (query, token) {
        ("", None) => String::new(),
        ("", Some(token)) => format!("?token={token}"),
        (query, None) => format!("?{query}"),
        (query, Some(token)) => format!("?{query}&token={token}"),
    }
}

/// A plain-text answer.
pub fn text(status: http::StatusCode, text: impl Into<String>) -> Response {
    let mut text = text.into();
    text.push('\n');
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

/// What a client is told that may not play: the reason in plain text, 401 where other credentials
/// would help, else 403 and the like.
pub fn refusal(refusal: &crate::Refusal) -> Response {
    let status = refusal.status();
    let mut response = text(status, refusal.to_string());
    if status == http::StatusCode::UNAUTHORIZED {
        let scheme = http::HeaderValue::from_static("Bearer");
        response.headers_mut().insert(http::header::WWW_AUTHENTICATE, scheme);
    }
    response
}

/// The mounts in the order in which they are asked.
#[derive(Default)]
pub struct Mounts(Mutex<Vec<Arc<dyn Mount>>>);

impl Mounts {
    /// Adds one behind the others.
    pub fn add(&self, mount: Arc<dyn Mount>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(mount);
    }

    fn all(&self) -> Vec<Arc<dyn Mount>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::with_bearer;

    #[test]
    fn a_bearer_token_joins_the_query_once() {
        assert_eq!(with_bearer("", None), "");
        assert_eq!(with_bearer("a=1", None), "?a=1");
        assert_eq!(with_bearer("", Some("Bearer x.y.z")), "?token=x.y.z");
        assert_eq!(with_bearer("a=1", Some("bearer x")), "?a=1&token=x");
        assert_eq!(with_bearer("token=q", Some("Bearer x")), "?token=q");
        assert_eq!(with_bearer("a=1", Some("Basic x")), "?a=1");
        assert_eq!(with_bearer("a=1", Some("Bearer x&key=y")), "?a=1");
    }
}
