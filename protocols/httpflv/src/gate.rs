//! The mount: which requests are for a live stream, and what becomes of them up to the moment
//! when the stream flows.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{LocalBoxFuture, ready};
use gate::conf::{Config, VhostSection};
use gate::http::{Body, Context, Mount, Request, Response, param, text};
use gate::{Close, Detail, Intent, Refusal};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use hub::{Stream, StreamKey};
use media::Kind;
use tokio::time::Instant;

use crate::config::Remux;
use crate::events;
use crate::packager::{Format, Wire};
use crate::path::{Named, normalise, vhost_in_query, without_port};
use crate::serve::{self, Viewer};
use crate::wire::Framing;

/// Once the first frame is there, how long the other kind is waited for: players believe what the
/// FLV header says of the tracks. At half, an encoder that sends its video late is taken for
/// audio only; at double, every viewer of a new audio stream waits that much longer.
const SETTLE: Duration = Duration::from_millis(300);
/// Media frames of one kind after which the other is not waited for: about [`SETTLE`] of AAC.
const SETTLED: u64 = 13;
/// How often a stream that settles is looked at: its first frame behind a configuration is not
/// told to those who watch it.
const LOOK: Duration = Duration::from_millis(20);

/// Live streams over HTTP and WebSocket, as a mount of the HTTP server's ports. Ask it before
/// playlists and files: it passes on what is no live stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpFlv;

/// A request for a live stream.
struct Asked {
    named: Named,
    remux: Remux,
    /// Resolved virtual host.
    vhost: String,
    /// The host as the client named it, without port.
    host: String,
    cors: bool,
}

impl Mount for HttpFlv {
    fn handle(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<LocalBoxFuture<'static, Response>, Request> {
        let Some(config) = context.role.server.then(|| context.host.config()) else {
            return Err(request);
        };
        match Asked::find(context, &config, &request) {
            None => Err(request),
            Some(Err(refused)) => Ok(Box::pin(ready(refused))),
            Some(Ok(asked)) => Ok(Box::pin(asked.answer(context.clone(), request))),
        }
    }
}

impl Asked {
    /// Which stream is asked for; `None` when the request is somebody else's.
    fn find(
        context: &Context,
        config: &Arc<Config>,
        request: &Request,
    ) -> Option<Result<Self, Response>> {
        let uri = request.uri();
        let format = Format::of_path(uri.path())?;
        if uri.path().starts_with("/api/") || uri.path().starts_with("/console/") {
            return None;
        }
        let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = header.or_else(|| uri.authority().map(|a| a.as_str())).unwrap_or_default();
        let host = without_port(host).to_owned();
        let wanted = uri.query().and_then(vhost_in_query);
        let vhost = config.vhost(wanted.as_deref().unwrap_or(&host))?;
        let remux = Remux::of(&vhost);
        if !remux.enabled {
            return None;
        }
        let path = match normalise(uri.path()) {
            Ok(path) => path,
            // Whoever comes next may have weaker laws, but nobody serves such a `.flv`.
            Err(bad) if format == Format::Flv => {
                return Some(Err(text(StatusCode::BAD_REQUEST, bad.to_string())));
            }
            Err(_) => return None,
        };
        let own = remux.mount.iter().find(|t| t.format == format && t.find(&path).is_some());
        let template = own.or_else(|| remux.mount.iter().find(|t| t.find(&path).is_some()))?;
        let named = template.find(&path)?;
        let key = StreamKey::new(vhost.name(), &named.app, &named.stream);
        let stream = context.host.hub.find(&key);
        let live = stream.as_ref().is_some_and(|stream| stream.is_active());
        // Only `.flv` belongs to live streams alone; `.ts` is a segment of HLS more often.
        let claimed = stream.is_some() || (format == Format::Flv && own.is_some());
        if !claimed || (!live && is_file(config, &vhost, &path)) {
            return None;
        }
        let cors = config.root().bool("http_server.crossdomain");
        let vhost = vhost.name().to_owned();
        Some(Ok(Self { named, remux, vhost, host, cors }))
    }

    async fn answer(self, context: Context, request: Request) -> Response {
        let cors = self.cors;
        let mut response = match *request.method() {
            Method::GET => self.play(context, &request).await,
            Method::HEAD => self.live(Body::empty()),
            Method::OPTIONS if cors => Response::new(Body::empty()),
            _ => {
                let mut refused = text(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "a live stream is read with GET, nothing else",
                );
                let allowed = HeaderValue::from_static("GET, HEAD, OPTIONS");
                refused.headers_mut().insert(header::ALLOW, allowed);
                refused
            }
        };
        if cors {
            allow_origins(response.headers_mut());
        }
        response
    }

    /// A response whose body is the stream.
    fn live(&self, body: Body) -> Response {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static(self.named.format.content_type());
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    async fn play(self, context: Context, request: &Request) -> Response {
        let upgrade = match Upgrade::find(&context, request) {
            Ok(upgrade) => upgrade,
            Err(bad) => return bad.refusal(),
        };
        let viewer = Viewer::new(context.session(serve::GATE));
        if let Some(ip) = gate::http::claimed_ip(request.headers()) {
            viewer.set_claimed(ip);
        }
        let intent = self.intent(&context, &viewer, request);
        let format = self.named.format;
        events::asked(&viewer, &self.vhost, &self.named.app, &intent.detail.name);
        let grant = match context.host.play(&viewer, intent).await {
            Ok(grant) => grant,
            Err(refusal) => return refuse(viewer, &refusal),
        };
        let stream = grant.stream.clone();
        if !wait_for_media(&stream, self.remux.wait).await {
            let reason = if stream.is_active() {
                format!("{} is published, but nothing was sent yet", stream.key)
            } else {
                format!("nobody publishes {}", stream.key)
            };
            viewer.close(&Close::peer(2048, reason.clone()));
            return text(StatusCode::NOT_FOUND, reason);
        }
        if let Err(reason) = carries(format, &stream) {
            viewer.close(&Close::peer(2048, reason.clone()));
            return text(StatusCode::NOT_FOUND, reason);
        }
        let framing = match request.version() {
            _ if upgrade.is_some() => Framing::WebSocket,
            // FFmpeg says `Connection: close` and yet takes a bare body's end for a cut.
            Version::HTTP_11 => Framing::Chunked,
            _ => Framing::Raw,
        };
        let wire =
            Wire { format, framing, tracks: self.remux.tracks, fast_cache: self.remux.fast_cache };
        if !context.can_take_over() {
            events::playing(&viewer, &stream, wire, "2");
            return self.live(serve::as_body(&context.shard, viewer, grant, wire));
        }
        events::playing(&viewer, &stream, wire, "1");
        let head = self.head(&context, upgrade.as_ref(), framing);
        let shard = context.shard.clone();
        context
            .take_over(Box::new(move |socket| {
                Box::pin(serve::on_socket(shard, viewer, grant, wire, head, socket))
            }))
            .await
    }

    fn intent(&self, context: &Context, viewer: &Viewer, request: &Request) -> Intent {
        let Named { app, stream, format } = &self.named;
        let referer = request.headers().get(header::REFERER).and_then(|v| v.to_str().ok());
        let detail = Detail {
            kind: "flv-play",
            publish: false,
            vhost: self.vhost.clone(),
            app: app.clone(),
            name: format!("{stream}{}", format.extension()),
            param: param(request),
            tc_url: format!("http://{}/{app}", self.host),
            page_url: referer.unwrap_or_default().to_owned(),
            swf_url: String::new(),
        };
        Intent { session: viewer.id.to_string(), peer: context.peer, detail }
    }

    /// The response head for a connection that was taken over.
    fn head(&self, context: &Context, upgrade: Option<&Upgrade>, framing: Framing) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        let mut set = |name: header::HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(header::SERVER, &context.host.identity.software());
        set(header::DATE, &httpdate::fmt_http_date(std::time::SystemTime::now()));
        let status = if let Some(upgrade) = upgrade {
            set(header::UPGRADE, "websocket");
            set(header::CONNECTION, "Upgrade");
            set(header::SEC_WEBSOCKET_ACCEPT, &upgrade.accept);
            if let Some(protocol) = &upgrade.protocol {
                set(header::SEC_WEBSOCKET_PROTOCOL, protocol);
            }
            "101 Switching Protocols"
        } else {
            set(header::CONTENT_TYPE, self.named.format.content_type());
            set(header::CACHE_CONTROL, "no-cache");
            set(header::CONNECTION, "close");
            if framing == Framing::Chunked {
                set(header::TRANSFER_ENCODING, "chunked");
            }
            "200 OK"
        };
        if self.cors {
            allow_origins(&mut headers);
        }
        let mut head = format!("HTTP/1.1 {status}\r\n").into_bytes();
        for (name, value) in &headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// A wish to go on as a WebSocket that cannot be met. The client's fault.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum BadUpgrade {
    /// The specification is of version 13; those before were drafts.
    #[error("WebSocket version 13 is spoken here")]
    Version,
    /// No key to answer to.
    #[error("Sec-WebSocket-Key is missing, or not 16 bytes in base64")]
    Key,
}

impl BadUpgrade {
    fn refusal(self) -> Response {
        let status = match self {
            Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Key => StatusCode::BAD_REQUEST,
        };
        let mut refused = text(status, self.to_string());
        let version = HeaderValue::from_static("13");
        refused.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, version);
        refused
    }
}

/// A valid wish to go on as a WebSocket (RFC 6455 section 4.2.1).
struct Upgrade {
    accept: String,
    /// The first of the sub-protocols that the client offers: browsers insist on an answer.
    protocol: Option<String>,
}

impl Upgrade {
    fn find(context: &Context, request: &Request) -> Result<Option<Self>, BadUpgrade> {
        let headers = request.headers();
        if !context.can_take_over() || !has_word(headers, &header::UPGRADE, "websocket") {
            return Ok(None);
        }
        let value = |name: &header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
        if value(&header::SEC_WEBSOCKET_VERSION) != Some("13") {
            return Err(BadUpgrade::Version);
        }
        let key = value(&header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
        let key = key.ok_or(BadUpgrade::Key)?;
        let protocol = value(&header::SEC_WEBSOCKET_PROTOCOL)
            .and_then(|offer| offer.split(',').map(str::trim).find(|word| !word.is_empty()))
            .map(str::to_owned);
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        Ok(Some(Self { accept, protocol }))
    }
}

fn has_word(headers: &HeaderMap, name: &header::HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|w| w.trim().eq_ignore_ascii_case(word))
}

fn allow_origins(headers: &mut HeaderMap) {
    let any = HeaderValue::from_static("*");
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, any.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, any.clone());
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, any);
}

fn refuse(viewer: Viewer, refusal: &Refusal) -> Response {
    let reason = refusal.to_string();
    viewer.close(&Close::peer(refusal.code(), reason));
    gate::http::refusal(refusal)
}

/// Whether the path is a file of the virtual host or of the server. Looks into the file system
/// (one or two `stat`), and is asked only where no stream of the name is live.
fn is_file(config: &Config, vhost: &VhostSection<'_>, path: &str) -> bool {
    let under = |dir: &str, rest: &str| Path::new(dir).join(rest.trim_start_matches('/')).is_file();
    if vhost.bool("http_static.enabled") {
        let mount = vhost.str("http_static.mount");
        let mount = mount.find('/').and_then(|at| mount.get(at..)).unwrap_or_default();
        let mount = mount.replace("[vhost]", vhost.name());
        let rest = path.strip_prefix(mount.trim_end_matches('/'));
        let dir = vhost.str("http_static.dir").replace("[vhost]", vhost.name());
        if rest.is_some_and(|rest| rest.starts_with('/') && under(&dir, rest)) {
            return true;
        }
    }
    under(config.root().str("http_server.dir"), path)
}

/// Whether the stream has what the format needs; the reason if not.
fn carries(format: Format, stream: &Stream) -> Result<(), String> {
    let Some(codec) = format.only() else { return Ok(()) };
    let tracks = stream.tracks();
    let audio = tracks.iter().find(|t| t.codec.kind() == Kind::Audio && t.track == 0);
    match audio {
        Some(track) if track.codec == codec => Ok(()),
        Some(track) => Err(format!(
            "the audio of {} is {}; {} carries {codec} only, .flv carries all",
            stream.key,
            track.codec,
            format.extension(),
        )),
        None => Err(format!("{} has no audio", stream.key)),
    }
}

/// Waits up to `patience` for a publisher and its first frames, then a little for the other kind.
/// `false` when nothing came.
async fn wait_for_media(stream: &Stream, patience: Duration) -> bool {
    let mut changed = stream.watch();
    let give_up = Instant::now() + patience;
    let mut settled: Option<Instant> = None;
    loop {
        let mut frames = [0u64; 2];
        for track in stream.tracks() {
            let [audio, video] = &mut frames;
            let count = if track.codec.kind() == Kind::Audio { audio } else { video };
            *count = count.saturating_add(track.frames);
        }
        if frames.iter().all(|n| *n > 0) || frames.iter().any(|n| *n >= SETTLED) {
            return true;
        }
        let now = Instant::now();
        if frames.iter().any(|n| *n > 0) {
            settled.get_or_insert(now + SETTLE);
        }
        match settled {
            Some(settled) if now >= settled => return true,
            None if now >= give_up => return false,
            _ => {}
        }
        let headers = stream.headers();
        let until = settled.unwrap_or(give_up);
        let begun = headers.has_audio || headers.has_video;
        let until = if begun { until.min(now + LOOK) } else { until };
        tokio::select! {
            _ = changed.changed() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}
