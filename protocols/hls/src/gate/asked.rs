//! A request for HLS, taken apart: which virtual host, which file, under which options.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use gate::host::strip_extension;
use gate::http::{self as web, Body, Context, Request, Response};
use http::{HeaderValue, Method, header};
use hub::StreamKey;

use crate::{HlsConfig, template};

/// A request, taken apart.
pub(super) struct Asked {
    pub(super) vhost: String,
    /// Path relative to the root of the streams.
    pub(super) path: String,
    /// As the client wrote it.
    pub(super) raw_path: String,
    pub(super) query: String,
    /// As sessions know it.
    pub(super) param: String,
    pub(super) referer: String,
    pub(super) host: String,
    pub(super) head: bool,
    pub(super) config: HlsConfig,
    pub(super) wait: Duration,
    pub(super) cors: bool,
    /// Players may be turned away: every request needs a session that was let in.
    pub(super) guarded: bool,
}

/// The virtual host that a request names.
pub(super) fn vhost_asked(request: &Request, query: &str) -> String {
    let item = |key: &str| {
        let of = |pair: &str| Some(pair.strip_prefix(key)?.strip_prefix('=')?.to_owned());
        query.split('&').find_map(of)
    };
    item("vhost").or_else(|| item("domain")).unwrap_or_else(|| bare(&host_of(request)))
}

fn host_of(request: &Request) -> String {
    match request.uri().authority() {
        Some(authority) => authority.to_string(),
        None => header_text(request, &header::HOST),
    }
}

fn header_text(request: &Request, name: &header::HeaderName) -> String {
    let value = request.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    value.unwrap_or_default().to_owned()
}

impl Asked {
    pub(super) fn new(context: &Context, request: &Request) -> Option<Self> {
        let host = host_of(request);
        let raw_path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let path = percent_encoding::percent_decode_str(&raw_path).decode_utf8().ok()?;
        let path = path.trim_start_matches('/').to_owned();
        let fine = |s: &str| {
            !s.is_empty()
                && s != "."
                && s != ".."
                && s.len() <= 255
                && !s.contains(char::is_control)
        };
        if path.contains('\\') || !path.split('/').all(fine) {
            return None;
        }
        let name = vhost_asked(request, &query);
        let snapshot = context.host.config();
        let vhost = snapshot.vhost(&name)?;
        let mut config = HlsConfig::read(&vhost);
        let guarded = gate::options::guards_players(&vhost);
        // Without sessions nobody could be turned away.
        config.ctx |= guarded;
        config.ts_ctx |= guarded;
        let root = snapshot.root();
        Some(Self {
            vhost: vhost.name().to_owned(),
            path: beneath(&config.path, root.str("http_server.dir"), path),
            raw_path,
            query,
            param: web::param(request),
            referer: header_text(request, &header::REFERER),
            host,
            head: request.method() == Method::HEAD,
            wait: vhost.seconds("http_remux.wait_timeout"),
            cors: root.bool("http_server.crossdomain"),
            config,
            guarded,
        })
    }

    /// The stream that a playlist of this path belongs to; of a template that does not name it,
    /// the one that the usual template would mean.
    pub(super) fn key(&self) -> StreamKey {
        match template::named(&self.config.m3u8_file, &self.vhost, &self.path) {
            Some((app, stream)) => StreamKey::new(&self.vhost, &app, &stream),
            None => {
                let (app, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
                StreamKey::new(&self.vhost, app, strip_extension(file))
            }
        }
    }

    pub(super) fn answer(&self, body: Bytes, kind: &'static str, fresh: bool) -> Response {
        let length = HeaderValue::from(body.len());
        let mut response = Response::new(if self.head { Body::empty() } else { Body::full(body) });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if self.head {
            headers.insert(header::CONTENT_LENGTH, length);
        }
        let cache = match (fresh, self.guarded) {
            (true, _) => "no-cache",
            // A cache between would hand it to whoever asks.
            (false, true) => "private, max-age=60",
            (false, false) => "public, max-age=60",
        };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        if self.cors {
            let any = HeaderValue::from_static("*");
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, any.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, any);
        }
        response
    }
}

/// Host without its port; IPv6 without brackets.
fn bare(host: &str) -> String {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest).to_owned(),
        None => host.split(':').next().unwrap_or(host).to_owned(),
    }
}

/// The path under `hls_path` of a path under the web root, where the one lies in the other.
pub(crate) fn beneath(hls: &str, web: &str, path: String) -> String {
    let (hls, web) = (Path::new(hls), Path::new(web));
    let Ok(inner) = hls.strip_prefix(web) else { return path };
    match Path::new(&path).strip_prefix(inner) {
        Ok(rest) => rest.to_string_lossy().into_owned(),
        Err(_) => path,
    }
}

#[cfg(test)]
mod tests {
    use super::{bare, beneath};

    #[test]
    fn a_host_is_taken_without_its_port() {
        assert_eq!(bare("a.com:8080"), "a.com");
        assert_eq!(bare("a.com"), "a.com");
        assert_eq!(bare("[::1]:8080"), "::1");
    }

    #[test]
    fn a_folder_of_hls_inside_the_web_root_is_part_of_the_address() {
        let path = || "hls/live/s.m3u8".to_owned();
        assert_eq!(beneath("./html/hls", "./html", path()), "live/s.m3u8");
        assert_eq!(beneath("./html", "./html", path()), "hls/live/s.m3u8");
        assert_eq!(beneath("/elsewhere", "./html", path()), "hls/live/s.m3u8");
    }
}
