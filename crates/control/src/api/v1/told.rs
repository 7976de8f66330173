//! What does not change while the server runs: lists of paths, versions, features; and tests.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use http::Method;
use hub::StreamKey;
use serde_json::{Map, Value, json};

use super::{Api, Ask, Reply, param, with};
use crate::sampler::now_ms;

pub(super) fn root(api: &Api, ask: &Ask) -> Reply {
    let mut urls = Map::new();
    urls.insert("api".to_owned(), json!("the api root"));
    if api.features.contains(&"rtc") {
        let v1 = json!({
            "play": "Play stream", "publish": "Publish stream", "nack": "Simulate the NACK",
        });
        urls.insert("rtc".to_owned(), json!({ "v1": v1 }));
    }
    with(ask, "urls", Value::Object(urls))
}

pub(super) fn api(ask: &Ask) -> Reply {
    with(ask, "urls", json!({ "v1": "the api version 1.0" }))
}

pub(super) fn v1(ask: &Ask) -> Reply {
    let mut map = super::head(&ask.host.identity);
    let urls = json!({
        "versions": "version of the server",
        "summaries": "figures of server and machine at a glance",
        "rusages": "resources used by the server",
        "self_proc_stats": "the server's process",
        "system_proc_stats": "the machine's processors",
        "meminfos": "the machine's memory",
        "authors": "licence and authors",
        "features": "what the server can do",
        "requests": "see tests/requests",
        "vhosts": "virtual hosts in use",
        "streams": "live streams",
        "clients": "publishers and players; DELETE ends one",
        "raw": "rpc=raw|reload|reload-fetch",
        "clusters": "origin of a stream",
        "perf": "not in this server: see /metrics",
        "tcmalloc": "not in this server",
    });
    map.insert("urls".to_owned(), urls);
    let tests = json!({
        "requests": "tells the request",
        "errors": "always an error",
        "redirects": "always a redirect",
        "[vhost]": "http://error.srs.com:1985/api/v1/tests/errors",
    });
    map.insert("tests".to_owned(), tests);
    Reply::Json(Value::Object(map))
}

fn version(ask: &Ask) -> String {
    let (major, minor, revision) = ask.host.identity.compat_version;
    format!("{major}.{minor}.{revision}")
}

pub(super) fn versions(ask: &Ask) -> Reply {
    let (major, minor, revision) = ask.host.identity.compat_version;
    let data = json!({
        "major": major, "minor": minor, "revision": revision, "version": version(ask),
    });
    with(ask, "data", data)
}

pub(super) fn authors(ask: &Ask) -> Reply {
    let data = json!({
        "license": "MIT OR Apache-2.0",
        "contributors": "the contributors of millrace",
    });
    with(ask, "data", data)
}

/// The features that SRS lists, in its order.
const FEATURES: [&str; 15] = [
    "ssl",
    "hls",
    "hds",
    "callback",
    "api",
    "httpd",
    "dvr",
    "transcode",
    "ingest",
    "stat",
    "caster",
    "complex_send",
    "tcp_nodelay",
    "so_sendbuf",
    "mr",
];

pub(super) fn features(api: &Api, ask: &Ask) -> Reply {
    let built = built_at();
    let has = |name: &&str| api.features.contains(name);
    let options: Vec<String> =
        FEATURES.iter().filter(|f| has(f)).map(|f| format!("--{f}=on")).collect();
    let map: Map<String, Value> =
        FEATURES.iter().map(|f| ((*f).to_owned(), json!(has(f)))).collect();
    let data = json!({
        "options": options.join(" "),
        "options2": format!("millrace {}", ask.host.identity.version),
        "build": date(built),
        "build2": built.to_string(),
        "features": map,
    });
    with(ask, "data", data)
}

/// When the program was built, as its file says: builds themselves hold no time, so that they
/// can be repeated.
pub(super) fn built_at() -> u64 {
    static AT: OnceLock<u64> = OnceLock::new();
    *AT.get_or_init(|| {
        let file = std::env::current_exe().and_then(|exe| exe.metadata()?.modified());
        let since = file.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        since.map_or(0, |since| since.as_secs())
    })
}

/// `2026-01-02 03:04:05`, UTC, from seconds since 1970.
pub(super) fn date(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    at.unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Tells another origin whether this one has a stream, and where.
pub(super) fn clusters(ask: &Ask) -> Reply {
    let [ip, vhost, app, stream] = ["ip", "vhost", "app", "stream"].map(|name| param(ask, name));
    let resolved = ask.host.resolve_vhost(&vhost);
    let ours = resolved.as_deref().is_some_and(|vhost| {
        let found = ask.host.hub.find(&StreamKey::new(vhost, &app, &stream));
        found.is_some_and(|s| s.is_active())
    });
    let origin = ours.then(|| {
        let config = ask.host.config();
        let root = config.root();
        let concrete = |ip: &IpAddr| !ip.is_unspecified();
        let rtmp = root.listen("listen");
        let listen = rtmp.iter().find_map(|l| l.ip.filter(concrete)).map(|ip| ip.to_string());
        let coworker = param(ask, "coworker");
        let named = coworker.rsplit_once(':').map_or(coworker.as_str(), |(host, _)| host);
        let ip = listen
            .or_else(|| (!named.is_empty()).then(|| named.to_owned()))
            .unwrap_or_else(|| ask.local.ip().to_string());
        let port = rtmp.first().map_or(1935, |l| l.port);
        let api =
            format!("{ip}:{}", root.listen("http_api.listen").first().map_or(1985, |l| l.port));
        json!({
            "ip": ip, "port": port, "vhost": resolved, "api": api, "routers": [api],
        })
    });
    let query = json!({ "ip": ip, "vhost": vhost, "app": app, "stream": stream });
    Reply::Json(json!({ "code": 0, "data": { "query": query, "origin": origin } }))
}

pub(super) fn test_request(ask: &Ask, method: &Method) -> Reply {
    let uri = &ask.parts.uri;
    let data = json!({
        "uri": uri.path_and_query().map_or("", |p| p.as_str()),
        "path": uri.path(),
        "METHOD": method.as_str(),
        "headers": {
            "sigature": "millrace",
            "version": version(ask),
            "link": "",
            "time": now_ms(),
        },
    });
    with(ask, "data", data)
}
