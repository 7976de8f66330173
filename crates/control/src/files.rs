//! Static files on the HTTP ports: `http_server.dir`, `http_static` mounts, the console.
//!
//! [`FilesMount`] is asked last on ports of `http_server` and leaves no request unanswered there.
//! A path is decoded once and looked up beneath its root only ([`place`]); links that lead out of
//! the root are not followed. Files leave in pieces, read on threads that may block: a reader that
//! takes its time holds a few pieces and no thread.
//!
//! It does not list directories, does not compress, and does not know what a stream is.

mod condition;
mod kinds;
mod place;
mod pump;
mod vod;
mod welcome;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use futures_util::future::LocalBoxFuture;
use gate::conf::Config;
use gate::http::{Body, Context, Mount, Request, Response, on_control};
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HOST, HeaderName, LAST_MODIFIED, LOCATION, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use crate::api::transport::{allow_cross_domain, plain, query};
use condition::{Span, Version};
use place::Place;

/// Answers with files.
#[derive(Clone, Copy, Debug, Default)]
pub struct FilesMount;

impl Mount for FilesMount {
    fn handle(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<LocalBoxFuture<'static, Response>, Request> {
        let is_console = request.uri().path().starts_with("/console/");
        let is_ours = context.role.server || (context.role.api && is_console);
        if !is_ours {
            return Err(request);
        }
        let config = context.host.config();
        Ok(on_control(context, request, move |request| {
            let (parts, _) = request.into_parts();
            Box::pin(async move { answer(&config, &parts).await })
        }))
    }
}

/// An open file and what is to be said of it.
struct Found {
    file: std::fs::File,
    version: Version,
}

enum Look {
    File(Found),
    /// A directory asked for without its slash.
    Directory,
    Nothing,
}

async fn answer(config: &Config, parts: &Parts) -> Response {
    let mut response = choose(config, parts).await;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let crossdomain = config.root().bool("http_server.crossdomain");
    if crossdomain && parts.headers.contains_key(ORIGIN) {
        allow_cross_domain(headers);
    }
    response
}

async fn choose(config: &Config, parts: &Parts) -> Response {
    match parts.method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS if config.root().bool("http_server.crossdomain") => {
            return Response::new(Body::empty());
        }
        _ => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            put(&mut response, ALLOW, "GET, HEAD, OPTIONS");
            return response;
        }
    }
    let path = match place::decode(parts.uri.path()) {
        Ok(path) => path,
        Err(why) => return plain(StatusCode::BAD_REQUEST, why.to_string()),
    };
    let host = host_of(parts);
    let place = place::find(config, host, &path);
    match look(place).await {
        Ok(Look::File(found)) => serve(parts, &path, found).await,
        Ok(Look::Directory) => {
            // One slash in front: two would name another host.
            let to = format!("/{}/", parts.uri.path().trim_matches('/'));
            let to = parts.uri.query().map_or(to.clone(), |query| format!("{to}?{query}"));
            let mut response = plain(StatusCode::FOUND, "this is a directory");
            put(&mut response, LOCATION, &to);
            response
        }
        Ok(Look::Nothing) if path == "/" || path == "/index.html" => page(config, host),
        Ok(Look::Nothing) => not_found(),
        Err(e) => {
            tracing::warn!(%path, "a file cannot be read: {e}");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read; see the log")
        }
    }
}

fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "Not Found")
}

fn host_of(parts: &Parts) -> &str {
    let header = parts.headers.get(HOST).and_then(|v| v.to_str().ok());
    header.or_else(|| parts.uri.authority().map(|a| a.as_str())).unwrap_or("")
}

fn put(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn page(config: &Config, host: &str) -> Response {
    let mut response = Response::new(Body::full(welcome::page(config, host)));
    put(&mut response, CONTENT_TYPE, "text/html; charset=utf-8");
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    put(&mut response, CONTENT_SECURITY_POLICY, policy);
    put(&mut response, CACHE_CONTROL, "no-store");
    response
}

/// Looks a place up, on a thread that may block.
async fn look(place: Place) -> io::Result<Look> {
    let looked = tokio::task::spawn_blocking(move || open(&place.root, &place.file)).await;
    match looked.map_err(io::Error::other)? {
        // The root itself, or somebody's permission: to the one who asks it is not there. A link
        // that leads out of the root is one of these.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            Ok(Look::Nothing)
        }
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
            ) =>
        {
            Ok(Look::Nothing)
        }
        other => other,
    }
}

fn open(root: &Path, file: &str) -> io::Result<Look> {
    let root = Dir::open_ambient_dir(root, cap_std::ambient_authority())?;
    let mut options = OpenOptions::new();
    // A pipe in the directory must not hold the thread; regular files do not mind.
    options.read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let file = root.open_with(file, &options)?.into_std();
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Ok(Look::Directory);
    }
    if !meta.is_file() {
        return Ok(Look::Nothing);
    }
    let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Ok(Look::File(Found { file, version: Version { len: meta.len(), modified } }))
}

async fn serve(parts: &Parts, path: &str, found: Found) -> Response {
    let Found { file, version } = found;
    let kind = kinds::of(path);
    let query_of = |name: &str| query(parts.uri.query().unwrap_or(""), name);
    let mut response = Response::new(Body::empty());
    put(&mut response, ACCEPT_RANGES, "bytes");
    put(&mut response, ETAG, &version.tag());
    put(&mut response, LAST_MODIFIED, &httpdate::fmt_http_date(version.modified));
    if kinds::is_list(kind) {
        // A playlist changes with each segment.
        put(&mut response, CACHE_CONTROL, "no-cache");
    }
    if condition::is_known(&parts.headers, &version) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    put(&mut response, CONTENT_TYPE, kind);

    let start = query_of("start").and_then(|text| text.parse::<u64>().ok()).filter(|at| *at > 0);
    if let Some(start) = start.filter(|_| kinds::is_flv(path)) {
        if start >= version.len {
            return unsatisfiable(version.len);
        }
        return match vod::head(file, start).await {
            Ok((file, head)) => {
                let span = Span { start, end: version.len };
                let len = span.len().saturating_add(head.len() as u64);
                put(&mut response, CONTENT_LENGTH, &len.to_string());
                send(parts, response, file, span, head).await
            }
            Err(e) => {
                tracing::info!(%path, "no FLV to start in the middle of: {e}");
                plain(StatusCode::UNPROCESSABLE_ENTITY, "the file is no FLV that can be read")
            }
        };
    }

    let asked = kinds::is_mp4(path)
        .then(|| query_of("range").or_else(|| query_of("bytes")))
        .flatten()
        .map(|span| format!("bytes={span}"));
    let asked = asked.or_else(|| condition::range(&parts.headers, &version));
    let span = match asked.map(|text| Span::parse(&text, version.len)) {
        Some(Ok(Some(span))) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let last = span.end.saturating_sub(1);
            let told = format!("bytes {}-{last}/{}", span.start, version.len);
            put(&mut response, CONTENT_RANGE, &told);
            span
        }
        Some(Err(condition::Unsatisfiable)) => return unsatisfiable(version.len),
        Some(Ok(None)) | None => Span { start: 0, end: version.len },
    };
    put(&mut response, CONTENT_LENGTH, &span.len().to_string());
    send(parts, response, file, span, Bytes::new()).await
}

fn unsatisfiable(len: u64) -> Response {
    let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE, "Range Not Satisfiable");
    put(&mut response, CONTENT_RANGE, &format!("bytes */{len}"));
    response
}

async fn send(
    parts: &Parts,
    mut response: Response,
    file: std::fs::File,
    span: Span,
    head: Bytes,
) -> Response {
    if parts.method != Method::HEAD {
        match pump::body(file, span, head).await {
            Ok(body) => *response.body_mut() = body,
            Err(e) => {
                tracing::warn!("a file cannot be read: {e}");
                return plain(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the file cannot be read; see the log",
                );
            }
        }
    }
    response
}
