//! Our own face of the API, `/api/v2/`: what people and programs ask that do not come from SRS.
//!
//! [`ENDPOINTS`] is the one table: requests are routed, their parameters checked and the OpenAPI
//! document ([`openapi`]) written by it, so that nothing is answered that is not described, and
//! nothing described that is not answered. The shapes of answers are the types that serde writes.
//! Faults are problem+json (RFC 9457, [`problem`]).
//!
//! What changes something, and what tells more than a stranger should know, asks
//! [`Door::may_write`](super::permission::Door::may_write) first, and is shared with no other
//! origin.

mod clients;
mod config;
mod events;
mod openapi;
mod params;
mod problem;
mod recordings;
mod reload;
mod rooms;
mod server;
mod streams;
mod vhosts;

use futures_util::future::BoxFuture;
use gate::http::{Body, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use schemars::{Schema, SchemaGenerator};
use serde::Serialize;

use super::permission::{Door, Who};
use super::transport::{Rules, allow_cross_domain};
use super::{Api, Ask};
use params::{Given, Param};
use problem::Problem;

/// What stands in front of every path of the table.
const BASE: &str = "/api/v2";

/// One thing that can be asked.
struct Endpoint {
    method: &'static str,
    /// Behind [`BASE`]; `{name}` is one segment.
    path: &'static str,
    /// Its name in the document.
    id: &'static str,
    summary: &'static str,
    description: &'static str,
    /// Changes something, or tells what not everybody should know.
    guarded: bool,
    params: &'static [Param],
    answer: Answer,
    /// The faults it may answer with, besides those that all have.
    problems: &'static [StatusCode],
    handle: Handle,
}

/// What a successful answer is.
#[derive(Clone, Copy)]
enum Answer {
    /// JSON of this shape.
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// Nothing (204).
    Nothing,
    /// Server-sent events.
    Events,
    /// The OpenAPI document.
    Document,
}

#[derive(Clone, Copy)]
enum Handle {
    Now(fn(&Call<'_>) -> Result<Response, Problem>),
    Later(for<'a> fn(&'a Call<'a>) -> BoxFuture<'a, Result<Response, Problem>>),
}

/// A request that fits its endpoint.
struct Call<'a> {
    api: &'a Api,
    ask: &'a Ask,
    given: Given,
    /// Who asks; told by guarded endpoints only.
    who: Option<Who>,
}

const ENDPOINTS: &[&[Endpoint]] = &[
    openapi::ENDPOINTS,
    server::ENDPOINTS,
    vhosts::ENDPOINTS,
    streams::ENDPOINTS,
    rooms::ENDPOINTS,
    clients::ENDPOINTS,
    recordings::ENDPOINTS,
    config::ENDPOINTS,
    reload::ENDPOINTS,
    events::ENDPOINTS,
];

fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().copied().flatten()
}

/// Whether this face answers the path.
pub(super) fn is_ours(path: &str) -> bool {
    path.strip_prefix(BASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(super) async fn answer(api: &Api, rules: &Rules<'_>, ask: &Ask) -> Response {
    let (mut response, is_shared) = match find(rules, api, ask).await {
        Ok((response, endpoint)) => (response, !endpoint.guarded),
        Err(problem) => {
            let mut response = problem.response(ask.parts.uri.path());
            if problem.status == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(http::header::WWW_AUTHENTICATE, rules.challenge());
            }
            (response, true)
        }
    };
    if ask.parts.method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let reads = matches!(ask.parts.method, Method::GET | Method::HEAD);
    if is_shared && reads && rules.crossdomain && ask.parts.headers.contains_key(ORIGIN) {
        allow_cross_domain(headers);
    }
    response
}

/// The endpoint that a request is for.
fn route(method: &str, path: &str) -> Result<&'static Endpoint, Problem> {
    let fits = |e: &&Endpoint| params::segments(e.path, path).is_some();
    // What is spelt out wins over what stands for anything.
    let exact = endpoints().any(|e| e.path == path);
    let here: Vec<_> = endpoints().filter(fits).filter(|e| !exact || e.path == path).collect();
    let method = if method == "HEAD" { "GET" } else { method };
    match here.iter().find(|e| e.method == method) {
        Some(endpoint) => Ok(endpoint),
        None if here.is_empty() => {
            let told = format!("there is nothing there; {BASE}/openapi.json has the list");
            Err(Problem::new(StatusCode::NOT_FOUND, told))
        }
        None => {
            let allowed: Vec<&str> = here.iter().map(|e| e.method).collect();
            Err(Problem::not_allowed(&allowed))
        }
    }
}

/// See [`super::refuses`].
pub(super) fn refuses(method: &str, path: &str, query: Option<&str>) -> Option<StatusCode> {
    let path = path.strip_prefix(BASE).unwrap_or("");
    let read = |e: &'static Endpoint| Given::read(e.params, e.path, path, query);
    route(method, path).and_then(read).err().map(|problem| problem.status)
}

async fn find(
    rules: &Rules<'_>,
    api: &Api,
    ask: &Ask,
) -> Result<(Response, &'static Endpoint), Problem> {
    if !rules.is_authorized() {
        let told = "the API asks for credentials: name and password, or a token";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, told));
    }
    let path = ask.parts.uri.path().strip_prefix(BASE).unwrap_or("");
    let endpoint = route(ask.parts.method.as_str(), path)?;
    let who = match endpoint.guarded {
        true => Some(permitted(&rules.door, ask)?),
        false => None,
    };
    let given = Given::read(endpoint.params, endpoint.path, path, ask.parts.uri.query())?;
    let call = Call { api, ask, given, who };
    let response = match endpoint.handle {
        Handle::Now(handle) => handle(&call)?,
        Handle::Later(handle) => handle(&call).await?,
    };
    Ok((response, endpoint))
}

fn permitted(door: &Door, ask: &Ask) -> Result<Who, Problem> {
    door.may_write(ask).map_err(|reason| Problem::new(StatusCode::FORBIDDEN, reason).code(1053))
}

/// An answer with this value.
fn json<T: Serialize>(value: &T) -> Result<Response, Problem> {
    let text = serde_json::to_vec(value).map_err(|e| {
        tracing::error!("bug: an answer of the API cannot be written: {e}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written; see the log")
    })?;
    let mut response = Response::new(Body::full(text));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

/// What a handler gives whose answer is nothing.
fn nothing() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
