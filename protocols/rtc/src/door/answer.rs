//! What clients are answered: status, headers, bodies, and what pages of other hosts may see.

use gate::Identity;
use gate::http::{BadBody, Body, Response};
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::Trouble;
use super::call::{FRAGMENT, Fault, SDP};
use super::desk::{Opened, Refused, Restarted};
use crate::config::{IceServer, RtcServer};

/// A client that finds no place may try again after so many seconds. At half, those who wait for
/// a place are a load of their own; at double, viewers have gone.
const RETRY_AFTER: u16 = 5;
/// Browsers remember for so many seconds what they may ask: an hour without a second request
/// before each.
const REMEMBER: &str = "3600";
/// SRS's code for whatever goes wrong with an offer.
const FAILED: u32 = 400;

/// An answer that is not finished yet.
pub(super) struct Answer(Response);

/// What pages of other hosts may do.
pub(super) struct Cors {
    /// Anything at all.
    pub(super) on: bool,
    /// The methods of the address.
    pub(super) methods: &'static str,
}

const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ASKS_FOR_PRIVATE: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const MAY_BE_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");

impl Answer {
    pub(super) fn empty(status: StatusCode) -> Self {
        Self::with(status, Body::empty(), None)
    }

    fn with(status: StatusCode, body: Body, kind: Option<&'static str>) -> Self {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        if let Some(kind) = kind {
            let kind = HeaderValue::from_static(kind);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        Self(response)
    }

    /// To an `OPTIONS`.
    pub(super) fn options(takes_sdp: bool) -> Self {
        let mut answer = Self::empty(StatusCode::NO_CONTENT);
        if takes_sdp {
            answer.put(ACCEPT_POST, SDP);
            answer.put(ACCEPT_PATCH, FRAGMENT);
        }
        answer
    }

    /// To an offer (RFC 9725 §4.2).
    pub(super) fn created(opened: &Opened, location: &str, server: &RtcServer) -> Self {
        let body = Body::full(opened.sdp.clone());
        let mut answer = Self::with(StatusCode::CREATED, body, Some(SDP));
        answer.put(header::LOCATION, location);
        answer.put(header::ETAG, &quoted(&opened.etag));
        answer.put(ACCEPT_PATCH, FRAGMENT);
        for ice in &server.ice_servers {
            if let Ok(value) = HeaderValue::from_str(&link(ice)) {
                answer.0.headers_mut().append(header::LINK, value);
            }
        }
        answer
    }

    /// To a fragment (RFC 9725 §4.3).
    pub(super) fn patched(restarted: Option<Restarted>) -> Self {
        let Some(Restarted { fragment, etag }) = restarted else {
            return Self::empty(StatusCode::NO_CONTENT);
        };
        let mut answer = Self::with(StatusCode::OK, Body::full(fragment), Some(FRAGMENT));
        answer.put(header::ETAG, &quoted(&etag));
        answer
    }

    fn put(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            self.0.headers_mut().insert(name, value);
        }
    }

    /// Adds what every answer has.
    pub(super) fn finish(mut self, cors: &Cors, parts: &Parts) -> Response {
        let options = parts.method == Method::OPTIONS;
        if options || self.0.status() == StatusCode::METHOD_NOT_ALLOWED {
            self.put(header::ALLOW, cors.methods);
        }
        self.put(header::CACHE_CONTROL, "no-store");
        self.put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        if cors.on && parts.headers.contains_key(header::ORIGIN) {
            self.put(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
            // The star stands for every header but `Authorization`.
            self.put(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "Authorization, Content-Type, If-Match, *",
            );
            self.put(header::ACCESS_CONTROL_ALLOW_METHODS, cors.methods);
            let expose = "Location, ETag, Link, Accept-Patch, Accept-Post, Retry-After";
            self.put(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose);
            if options {
                self.put(header::ACCESS_CONTROL_MAX_AGE, REMEMBER);
                if parts.headers.contains_key(ASKS_FOR_PRIVATE) {
                    self.put(MAY_BE_PRIVATE, "true");
                }
            }
            self.0.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
        }
        if parts.method == Method::HEAD {
            *self.0.body_mut() = Body::empty();
        }
        self.0
    }
}

fn quoted(etag: &str) -> String {
    let plain: String = etag.chars().filter(|c| c.is_ascii_graphic() && *c != '"').collect();
    format!("\"{plain}\"")
}

/// One `Link` of RFC 9725 §4.6.
fn link(ice: &IceServer) -> String {
    let url: String =
        ice.url.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>')).collect();
    let text = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    match &ice.credential {
        None => format!("<{url}>; rel=\"ice-server\""),
        Some((name, credential)) => format!(
            "<{url}>; rel=\"ice-server\"; username=\"{}\"; credential=\"{}\"; \
             credential-type=\"password\"",
            text(name),
            text(credential)
        ),
    }
}

impl Trouble {
    /// The status, and SRS's code where it has one.
    fn status(&self) -> (StatusCode, Option<u32>) {
        match self {
            Self::Fault(fault) => match fault {
                Fault::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, None),
                Fault::Malformed(_) => (StatusCode::BAD_REQUEST, Some(5019)),
                Fault::Type(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
                Fault::NoToken => (StatusCode::UNAUTHORIZED, Some(5036)),
            },
            Self::Body(BadBody::TooLong(_)) => (StatusCode::PAYLOAD_TOO_LARGE, Some(5019)),
            Self::Body(BadBody::Late(_)) => (StatusCode::REQUEST_TIMEOUT, Some(5019)),
            Self::Body(BadBody::Broken(_)) => (StatusCode::BAD_REQUEST, Some(5019)),
            Self::Refused(refused) => match refused {
                Refused::Admission(refusal) => {
                    let code = match refusal.code() {
                        1028 => 5020,
                        code => code,
                    };
                    (refusal.status(), Some(code))
                }
                Refused::Offer(_) => (StatusCode::BAD_REQUEST, Some(5018)),
                Refused::Fragment(_) => (StatusCode::BAD_REQUEST, Some(5018)),
                Refused::NoCodec(_) => (StatusCode::NOT_ACCEPTABLE, Some(5018)),
                Refused::Unprocessable(_) => (StatusCode::UNPROCESSABLE_ENTITY, None),
                Refused::Off(_) => (StatusCode::SERVICE_UNAVAILABLE, Some(5021)),
                Refused::NoSession(_) => (StatusCode::NOT_FOUND, Some(5022)),
                Refused::Token => (StatusCode::FORBIDDEN, Some(5036)),
                Refused::Stale => (StatusCode::PRECONDITION_FAILED, Some(5037)),
                Refused::Precondition => (StatusCode::PRECONDITION_REQUIRED, Some(5037)),
                Refused::Full { .. } => (StatusCode::SERVICE_UNAVAILABLE, Some(1074)),
                Refused::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, None),
            },
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::Fault(fault) => fault.to_string(),
            Self::Body(bad) => bad.to_string(),
            Self::Refused(Refused::Internal(_)) => "internal error; it was logged".to_owned(),
            Self::Refused(refused) => refused.to_string(),
        }
    }
}

/// A failure in the words of HTTP (RFC 9457).
pub(super) fn problem(trouble: &Trouble, path: &str) -> Answer {
    let (status, code) = trouble.status();
    let mut body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": trouble.reason(),
        "instance": path,
    });
    if let (Some(code), Some(body)) = (code, body.as_object_mut()) {
        body.insert("code".to_owned(), json!(code));
    }
    let mut answer = of_json(status, &body, "application/problem+json");
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            answer.put(header::RETRY_AFTER, &RETRY_AFTER.to_string());
        }
        StatusCode::UNAUTHORIZED => answer.put(header::WWW_AUTHENTICATE, "Bearer"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            answer.put(ACCEPT_POST, SDP);
            answer.put(ACCEPT_PATCH, FRAGMENT);
        }
        _ => {}
    }
    answer
}

fn of_json(status: StatusCode, value: &Value, kind: &'static str) -> Answer {
    Answer::with(status, Body::full(value.to_string()), Some(kind))
}

/// A failure in the words of SRS: HTTP is fine, the code is not. The reason is ours.
pub(super) fn json_trouble(trouble: &Trouble) -> Answer {
    let (status, error) = trouble.status();
    let status = match status {
        told @ (StatusCode::METHOD_NOT_ALLOWED | StatusCode::PAYLOAD_TOO_LARGE) => told,
        _ => StatusCode::OK,
    };
    let mut body = json!({ "code": FAILED, "reason": trouble.reason() });
    if let (Some(error), Some(body)) = (error, body.as_object_mut()) {
        body.insert("error".to_owned(), json!(error));
    }
    of_json(status, &body, "application/json")
}

/// A session in the words of SRS.
pub(super) fn json_opened(identity: &Identity, opened: &Opened) -> Answer {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("code", json!(0));
    put("server", json!(identity.server_id));
    put("service", json!(identity.service_id));
    put("pid", json!(identity.pid));
    put("sdp", json!(opened.sdp));
    put("sessionid", json!(opened.session));
    of_json(StatusCode::OK, &Value::Object(body), "application/json")
}

/// The answer of `/rtc/v1/nack/`.
pub(super) fn json_nack(code: u32, username: &str, drop: &str) -> Answer {
    let help = "?username=string&drop=int";
    let query = json!({ "username": username, "drop": drop, "help": help });
    of_json(StatusCode::OK, &json!({ "code": code, "query": query }), "application/json")
}
