//! Rules that hold for every answer: CORS, JSONP, authentication, dots in paths.

use gate::conf::Config;
use gate::http::{Body, Response};
use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, LOCATION,
    ORIGIN, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;

use super::permission::{Door, Token};
use super::{Ask, Reply, json};

/// Longest name of a JSONP function; jQuery's have 40 characters.
const MAX_CALLBACK: usize = 128;

const CORS: [(HeaderName, &str); 6] = [
    (http::header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (http::header::ACCESS_CONTROL_ALLOW_HEADERS, "*"),
    (http::header::ACCESS_CONTROL_ALLOW_METHODS, "*"),
    (http::header::ACCESS_CONTROL_EXPOSE_HEADERS, "*"),
    (http::header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "false"),
    (HeaderName::from_static("access-control-request-private-network"), "true"),
];

/// Lets pages of other hosts read the answer.
pub(crate) fn allow_cross_domain(headers: &mut HeaderMap) {
    for (name, value) in CORS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.append(VARY, HeaderValue::from_static("origin"));
}

/// One parameter of a query, decoded; the first of that name.
pub(crate) fn query<'a>(query: &'a str, name: &str) -> Option<std::borrow::Cow<'a, str>> {
    let decode = |text: &'a str| percent_decode_str(text).decode_utf8_lossy();
    let pair = |pair: &'a str| pair.split_once('=').unwrap_or((pair, ""));
    query.split('&').map(pair).find(|(key, _)| decode(key) == name).map(|(_, value)| decode(value))
}

/// A text answer without a line end, as SRS sends it.
pub(crate) fn plain(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// What is known of a request before it is answered.
pub(super) struct Rules<'a> {
    ask: &'a Ask,
    pub(super) crossdomain: bool,
    pub(super) door: Door,
}

impl<'a> Rules<'a> {
    pub(super) fn new(ask: &'a Ask, config: &Config, token: Option<&Token>) -> Self {
        let crossdomain = config.root().bool("http_api.crossdomain");
        Self { ask, crossdomain, door: Door::new(config, token) }
    }

    fn query(&self) -> &'a str {
        self.ask.parts.uri.query().unwrap_or("")
    }

    fn callback(&self) -> Option<std::borrow::Cow<'a, str>> {
        query(self.query(), "callback").filter(|name| !name.is_empty())
    }

    /// The method that counts, if the request may go on to an endpoint.
    pub(super) fn check(&self) -> Result<Method, Box<Response>> {
        let path = self.ask.parts.uri.path();
        let refuse = |status, text: &'static str| Err(Box::new(plain(status, text)));
        if path.contains("..") {
            return refuse(StatusCode::BAD_REQUEST, "a path must not hold `..`");
        }
        if self.ask.parts.method == Method::OPTIONS {
            if !self.crossdomain {
                return refuse(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            }
            return Err(Box::new(Response::new(Body::empty())));
        }
        // On a port of files alone only the version is told, to edges that ask whether we live.
        let is_guarded = self.ask.role.api && path.contains("/api/");
        if is_guarded && !self.is_authorized() {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            response.headers_mut().insert(WWW_AUTHENTICATE, self.challenge());
            return Err(Box::new(response));
        }
        let Some(callback) = self.callback() else { return Ok(self.ask.parts.method.clone()) };
        if !is_function_name(&callback) {
            return refuse(
                StatusCode::BAD_REQUEST,
                "callback: only letters, digits, `.`, `_` and `-`, at most 128",
            );
        }
        Ok(match query(self.query(), "method").as_deref() {
            Some("GET") => Method::GET,
            Some("POST") => Method::POST,
            Some("PUT") => Method::PUT,
            Some("DELETE") => Method::DELETE,
            _ => self.ask.parts.method.clone(),
        })
    }

    /// Whether the request may read.
    pub(super) fn is_authorized(&self) -> bool {
        !self.door.is_closed || self.door.identify(&self.ask.parts.headers).is_some()
    }

    /// What to answer who has no credentials.
    pub(super) fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static(if self.door.wants_bearer { "Bearer" } else { "Basic" })
    }

    /// Whether pages of other origins may read the answer: never that of a request that changes
    /// something, nor may they ask whether they could send one.
    fn is_shared(&self) -> bool {
        let headers = &self.ask.parts.headers;
        let asked = headers.get(ACCESS_CONTROL_REQUEST_METHOD).map(HeaderValue::as_bytes);
        let only_reads = |method: &[u8]| matches!(method, b"GET" | b"HEAD" | b"POST");
        let method = &self.ask.parts.method;
        let writes = *method == Method::DELETE
            || *method == Method::OPTIONS && asked.is_some_and(|m| !only_reads(m))
            || self.changes();
        self.crossdomain && headers.contains_key(ORIGIN) && !writes
    }

    /// Whether the request asks for a change by its query.
    fn changes(&self) -> bool {
        let is = |name: &str, values: &[&str]| {
            query(self.query(), name).is_some_and(|told| values.contains(&&*told))
        };
        is("rpc", &["reload", "update", "query"])
            || is("method", &["DELETE"]) && query(self.query(), "callback").is_some()
    }

    /// Turns what an endpoint said into a response.
    pub(super) fn reply(&self, reply: Reply) -> Response {
        let with = |status, kind: &'static str, body: String| {
            let mut response = Response::new(Body::full(body));
            *response.status_mut() = status;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            response
        };
        let response = match reply {
            Reply::Json(value) => match self.callback() {
                Some(callback) => {
                    let text = format!("{callback}({})", json::text(&value));
                    with(StatusCode::OK, "text/javascript", text)
                }
                None => with(StatusCode::OK, "application/json", json::text(&value)),
            },
            Reply::Refused(status, value) => with(status, "application/json", json::text(&value)),
            Reply::Text(status, text) => {
                let mut response = plain(status, text);
                if status == StatusCode::METHOD_NOT_ALLOWED {
                    let allow = HeaderValue::from_static("GET, HEAD, DELETE, OPTIONS");
                    response.headers_mut().insert(ALLOW, allow);
                }
                response
            }
            Reply::Metrics(text) => {
                with(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
            }
            Reply::Redirect(status, to) => {
                let mut response = plain(status, format!("Redirect to {to}"));
                let query = self.ask.parts.uri.query();
                let to = query.map_or_else(|| to.clone(), |query| format!("{to}?{query}"));
                if let Ok(to) = HeaderValue::from_str(&to) {
                    response.headers_mut().insert(LOCATION, to);
                }
                response
            }
        };
        self.finish(response)
    }

    /// Adds the headers that every answer has.
    pub(super) fn finish(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.is_shared() {
            allow_cross_domain(headers);
        }
        response
    }
}

fn is_function_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.len() <= MAX_CALLBACK && name.chars().all(fits)
}
