//! The endpoints of `/api/v1/`, in the words of SRS.

pub(super) mod clients;
pub(super) mod live;
pub(super) mod raw;
pub(crate) mod system;
mod told;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::permission::Door;
use super::{Api, Ask, Reply};
use gate::Identity;

/// Every pattern. One that ends in `/` catches what is below it.
const PATTERNS: &[(&str, Endpoint)] = &[
    ("/", Endpoint::Root),
    ("/api/", Endpoint::Api),
    ("/api/v1/", Endpoint::V1),
    ("/api/v1/versions", Endpoint::Versions),
    ("/api/v1/summaries", Endpoint::Summaries),
    ("/api/v1/rusages", Endpoint::Rusages),
    ("/api/v1/self_proc_stats", Endpoint::SelfStats),
    ("/api/v1/system_proc_stats", Endpoint::SystemStats),
    ("/api/v1/meminfos", Endpoint::MemInfos),
    ("/api/v1/authors", Endpoint::Authors),
    ("/api/v1/features", Endpoint::Features),
    ("/api/v1/vhosts/", Endpoint::Vhosts),
    ("/api/v1/streams/", Endpoint::Streams),
    ("/api/v1/clients/", Endpoint::Clients),
    ("/api/v1/raw", Endpoint::Raw),
    ("/api/v1/clusters", Endpoint::Clusters),
    ("/api/v1/tests/requests", Endpoint::TestRequest),
    ("/api/v1/tests/errors", Endpoint::TestError),
    ("/api/v1/tests/redirects", Endpoint::TestRedirect),
    ("/console/", Endpoint::Console),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Root,
    Api,
    V1,
    Versions,
    Summaries,
    Rusages,
    SelfStats,
    SystemStats,
    MemInfos,
    Authors,
    Features,
    Vhosts,
    Streams,
    Clients,
    Raw,
    Clusters,
    TestRequest,
    TestError,
    TestRedirect,
    /// Its files are somebody else's; only the redirect to it is answered here.
    Console,
}

enum Found<'a> {
    /// The endpoint, and what stands behind its pattern.
    Endpoint(Endpoint, &'a str),
    /// The same with a slash.
    Redirect(String),
}

fn find(path: &str) -> Found<'_> {
    let slashed = format!("{path}/");
    if PATTERNS.iter().any(|(pattern, _)| *pattern == slashed) {
        return Found::Redirect(slashed);
    }
    let fits = |pattern: &&(&str, Endpoint)| {
        if pattern.0.ends_with('/') { path.starts_with(pattern.0) } else { path == pattern.0 }
    };
    let longest = PATTERNS.iter().filter(fits).max_by_key(|(pattern, _)| pattern.len());
    let (pattern, endpoint) = longest.copied().unwrap_or(("/", Endpoint::Root));
    Found::Endpoint(endpoint, path.get(pattern.len()..).unwrap_or(""))
}

/// `2026-01-02 03:04:05` in UTC.
pub(super) fn build_date() -> String {
    told::date(told::built_at())
}

pub(super) async fn answer(api: &Api, door: &Door, ask: &Ask, method: Method) -> Reply {
    let (endpoint, rest) = match find(ask.parts.uri.path()) {
        Found::Redirect(to) => return Reply::Redirect(StatusCode::FOUND, to),
        Found::Endpoint(endpoint, rest) => (endpoint, rest),
    };
    match endpoint {
        Endpoint::Root => told::root(api, ask),
        Endpoint::Api => told::api(ask),
        Endpoint::V1 => told::v1(ask),
        Endpoint::Versions => told::versions(ask),
        Endpoint::Authors => told::authors(ask),
        Endpoint::Features => told::features(api, ask),
        Endpoint::Summaries => system::summaries(api, ask),
        Endpoint::Rusages => system::rusages(api, ask),
        Endpoint::SelfStats => system::self_stats(api, ask),
        Endpoint::SystemStats => system::system_stats(api, ask),
        Endpoint::MemInfos => system::meminfos(api, ask),
        Endpoint::Vhosts => live::vhosts(api, ask, &method, rest),
        Endpoint::Streams => live::streams(api, ask, &method, rest),
        Endpoint::Clients => clients::answer(api, door, ask, &method, rest),
        Endpoint::Raw => raw::answer(api, door, ask).await,
        Endpoint::Clusters => told::clusters(ask),
        Endpoint::TestRequest => told::test_request(ask, &method),
        Endpoint::TestError => code(100),
        Endpoint::TestRedirect => {
            Reply::Redirect(StatusCode::MOVED_PERMANENTLY, "/api/v1/tests/errors".to_owned())
        }
        Endpoint::Console => Reply::Text(StatusCode::NOT_FOUND, "Not Found".to_owned()),
    }
}

/// A bare code, told with HTTP 200 as SRS does.
fn code(code: u32) -> Reply {
    Reply::Json(json!({ "code": code }))
}

/// Somebody may not do that: a code for programs, a reason for people.
fn forbidden(reason: &str) -> Reply {
    // SRS's code of a rule that denies.
    Reply::Refused(StatusCode::FORBIDDEN, json!({ "code": 1053, "message": reason }))
}

fn not_allowed() -> Reply {
    Reply::Text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed".to_owned())
}

/// What nearly all answers begin with.
fn head(identity: &Identity) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("code".to_owned(), json!(0));
    map.insert("server".to_owned(), json!(identity.server_id));
    map.insert("service".to_owned(), json!(identity.service_id));
    map.insert("pid".to_owned(), json!(identity.pid));
    map
}

/// The head and one thing more.
fn with(ask: &Ask, key: &str, value: Value) -> Reply {
    let mut map = head(&ask.host.identity);
    map.insert(key.to_owned(), value);
    Reply::Json(Value::Object(map))
}

/// One parameter of the request's query; empty when it is not there.
fn param(ask: &Ask, name: &str) -> String {
    let query = ask.parts.uri.query().unwrap_or("");
    super::transport::query(query, name).map_or_else(String::new, |v| v.into_owned())
}

/// Smallest page: SRS gives at least this many.
const PAGE: usize = 10;

/// The page of `start` and `count` that the query asks for.
fn page<T>(ask: &Ask, all: Vec<T>) -> Vec<T> {
    let number = |name: &str| leading_number(&param(ask, name));
    all.into_iter().skip(number("start")).take(number("count").max(PAGE)).collect()
}

/// As SRS reads numbers: what follows the digits does not count, and no digits are 0.
fn leading_number(text: &str) -> usize {
    let digits = text.trim_start().trim_start_matches('+');
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
