//! HLS on the HTTP ports: starts the packaging of streams, and answers requests for playlists
//! and for segments that are in memory. Segments on disk are served as static files.

mod asked;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use gate::http::{self as web, Context, Mount, Request, Response, text};
use gate::{Close, Detail, Host, Intent, PlayGrant, Refusal, Session};
use http::{HeaderValue, Method, StatusCode, header};
use hub::{Counters, Shard, Stream, StreamEvent, StreamKey};

pub(crate) use asked::beneath;
use asked::{Asked, vhost_asked};

use crate::guard::{self, Files, Guards};
use crate::store::Store;
use crate::writer::Writer;
use crate::{context, segmenter};

/// Players' sessions at once. Each costs about 1 kB; more than this is an attack by made-up marks.
const MAX_CONTEXTS: usize = 100_000;
/// Sessions are looked over this often.
const SWEEP: Duration = Duration::from_secs(2);
/// Beyond the length of the first segment, this is how long its playlist is waited for.
const FIRST_SEGMENT_GRACE: Duration = Duration::from_secs(10);

/// What the gate, its segmenters and requests share.
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) writer: Writer,
    running: Mutex<HashSet<u64>>,
    contexts: Mutex<HashMap<Arc<str>, Viewer>>,
    guards: Guards,
}

/// A player's session: a series of requests that carry one mark.
struct Viewer {
    /// Nothing: it was kicked off. Its mark is kept, so that asking on does not let it in again.
    session: Option<(Session, PlayGrant)>,
    /// What it was let in to play.
    key: StreamKey,
    seen: Instant,
    patience: Duration,
}

/// The HLS gate.
#[derive(Clone)]
pub struct HlsGate {
    shared: Arc<Shared>,
}

impl HlsGate {
    /// Starts the disk writer and the sweeper of sessions, who also looks whether a reload wants
    /// live streams packaged.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(host: &Arc<Host>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            store: Store::new(),
            writer: Writer::start()?,
            running: Mutex::default(),
            contexts: Mutex::default(),
            guards: Guards::default(),
        });
        let (weak, weak_host) = (Arc::downgrade(&shared), Arc::downgrade(host));
        host.control.spawn(async move {
            let mut every = tokio::time::interval(SWEEP);
            let mut seen = None;
            loop {
                every.tick().await;
                let Some(shared) = weak.upgrade() else { return };
                shared.sweep();
                let Some(host) = weak_host.upgrade() else { return };
                let config = host.config();
                if !seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &config)) {
                    Self { shared }.look(&host).await;
                    seen = Some(config);
                }
            }
        });
        Ok(Self { shared })
    }

    /// To be told of publishes: starts a segmenter for a stream whose virtual host wants HLS.
    pub fn on_stream(&self, host: &Arc<Host>, shard: &Rc<Shard>, event: &StreamEvent) {
        if let StreamEvent::Published(stream) = event {
            self.begin(host, shard, stream);
        }
    }

    /// Starts segmenters for the streams that are live, wanted, and have none.
    async fn look(&self, host: &Arc<Host>) {
        for stream in host.hub.all() {
            if stream.is_active() && wanted(host, &stream) && !self.shared.has(stream.id) {
                let (this, inner) = (self.clone(), host.clone());
                let job = Box::new(move |shard: Rc<Shard>| this.begin(&inner, &shard, &stream));
                host.least_loaded().run(job).await;
            }
        }
    }

    fn begin(&self, host: &Arc<Host>, shard: &Rc<Shard>, stream: &Arc<Stream>) {
        if !wanted(host, stream) || !self.shared.claim(stream.id) {
            return;
        }
        let (shared, host, stream) = (self.shared.clone(), host.clone(), stream.clone());
        let inner = shard.clone();
        shard.spawn("hls", async move {
            let claim = Claim { shared: shared.clone(), id: stream.id };
            segmenter::run(host, shared, inner, stream).await;
            drop(claim);
        });
    }

    /// Waits until what was packaged is on disk; at the end of the process.
    pub fn flush(&self) {
        segmenter::stop_all(&self.shared);
    }

    /// Files and bytes held in memory.
    pub fn usage(&self) -> (usize, usize) {
        self.shared.store.usage()
    }
}

/// Whether the stream's virtual host wants HLS.
fn wanted(host: &Host, stream: &Stream) -> bool {
    host.config().vhost(&stream.key.vhost).is_some_and(|v| v.bool("hls.enabled"))
}

/// Marks a stream as being packaged; also given up when the task panics.
struct Claim {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shared.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Shared {
    fn has(&self, id: u64) -> bool {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    fn claim(&self, id: u64) -> bool {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id)
    }

    /// Ends the sessions of players that ask no more.
    pub(crate) fn sweep(&self) {
        let mut gone = Vec::new();
        {
            let mut contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
            let old = |_: &Arc<str>, v: &mut Viewer| v.seen.elapsed() > v.patience;
            let old = contexts.extract_if(old).filter_map(|(_, v)| v.session);
            gone.extend(old.map(|s| (s, "the player asks no more")));
            let kicked = |v: &mut Viewer| v.session.take_if(|(s, _)| s.kick_reason().is_some());
            gone.extend(contexts.values_mut().filter_map(kicked).map(|s| (s, "kicked off")));
        }
        for ((session, _grant), why) in gone {
            session.closed(&Close::done(why));
        }
    }

    /// Whether the mark is that of a player's session.
    fn knows(&self, mark: &str) -> bool {
        self.contexts.lock().unwrap_or_else(PoisonError::into_inner).contains_key(mark)
    }

    /// The stream of the session with this mark, unless it was kicked off.
    fn stream_of(&self, mark: &str) -> Option<StreamKey> {
        let contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        let viewer = contexts.get(mark)?;
        let lives = viewer.session.as_ref().is_some_and(|(s, _)| s.kick_reason().is_none());
        lives.then(|| viewer.key.clone())
    }

    /// Ends a session that came to nothing.
    fn forget(&self, mark: &str) {
        let mut contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        let viewer = contexts.remove(mark);
        // A session's end takes other locks.
        drop(contexts);
        drop(viewer);
    }

    /// Whether the mark is that of a player of another stream.
    fn strays(&self, mark: &str, key: &StreamKey) -> bool {
        let contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        contexts.get(mark).is_some_and(|viewer| viewer.key != *key)
    }

    /// Notes a request of the player `mark`; `None`: the mark is not known.
    fn touch(&self, mark: &str, bytes: usize) -> Option<bool> {
        let mut contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        let viewer = contexts.get_mut(mark)?;
        viewer.seen = Instant::now();
        let Some((session, _)) = viewer.session.as_ref() else { return Some(false) };
        if session.kick_reason().is_some() {
            return Some(false);
        }
        Counters::add(&session.counters.send_bytes, bytes as u64);
        Counters::add(&session.counters.messages, 1);
        Some(true)
    }
}

impl Mount for HlsGate {
    fn handle(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<LocalBoxFuture<'static, Response>, Request> {
        match self.own(context, request) {
            Err(request) if self.refuses(context, &request) => Ok(no_session(&context.host)),
            own => own,
        }
    }
}

impl HlsGate {
    /// Answers what is HLS of a live stream.
    #[allow(clippy::result_large_err, reason = "as in the trait")]
    fn own(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<LocalBoxFuture<'static, Response>, Request> {
        if !context.role.server {
            return Err(request);
        }
        let playlist = request.uri().path().ends_with(".m3u8");
        let segment = request.uri().path().ends_with(".ts");
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        if !(playlist || segment) || !get {
            return Err(request);
        }
        let Some(asked) = Asked::new(context, &request) else { return Err(request) };
        if segment {
            let Some(bytes) = self.shared.store.get(&asked.vhost, &asked.path) else {
                self.count_on_disk(&asked);
                return Err(request);
            };
            let known = context::find(&asked.query).and_then(|mark| self.shared.stream_of(mark));
            let files = || context.host.config().vhost(&asked.vhost).map(|v| Files::of(&v));
            let mine = || {
                let fits = |key: &StreamKey| files().is_some_and(|f| f.is_of(key, &asked.path));
                known.as_ref().is_some_and(fits)
            };
            if asked.guarded && !mine() {
                return Ok(no_session(&context.host));
            }
            return Ok(self.segment(&asked, bytes));
        }
        if !asked.config.enabled {
            return Err(request);
        }
        // A playlist that is a plain file (video on demand) and no live stream is not ours.
        let known = self.shared.store.get(&asked.vhost, &asked.path).is_some()
            || context.host.hub.find(&asked.key()).is_some_and(|s| s.is_active());
        if !known && Path::new(&asked.config.path).join(&asked.path).is_file() {
            return Err(request);
        }
        let (gate, context) = (self.clone(), context.clone());
        Ok(Box::pin(async move {
            let cors = asked.cors;
            let mut response = gate.playlist(&context, asked).await;
            // A refusal too: a page that may not read it cannot tell a stream that is not there
            // from a network that is not.
            if cors {
                let any = HeaderValue::from_static("*");
                response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
            }
            response
        }))
    }

    /// Whether a request that is nobody's yet asks for a file that its player has no right to.
    fn refuses(&self, context: &Context, request: &Request) -> bool {
        let query = request.uri().query().unwrap_or_default();
        let (config, host) = (context.host.config(), vhost_asked(request, query));
        let viewer = context::find(query).and_then(|mark| self.shared.stream_of(mark));
        let path = request.uri().path();
        if !self.shared.guards.refuses(&config, &host, path, viewer.as_ref()) {
            return false;
        }
        // HTTP-TS of a stream whose name ends like that of a segment asks for itself.
        let vhost = config.vhost(&host).filter(|v| v.bool("http_remux.enabled"));
        let key = vhost.and_then(|vhost| guard::live_key(vhost.name(), path));
        let live = key.and_then(|key| context.host.hub.find(&key)).is_some_and(|s| s.is_active());
        !(live && path.ends_with(".ts"))
    }
}

/// A request for a file of HLS without the session that it takes.
fn no_session(host: &Host) -> LocalBoxFuture<'static, Response> {
    let refusal = Refusal::Access {
        rule: "session",
        code: 1052,
        unauthorized: false,
        reason: "this needs a session: begin with the playlist (hls_ctx)".to_owned(),
    };
    host.refusals.count("play", &refusal);
    let mut response = web::refusal(&refusal);
    if host.config().root().bool("http_server.crossdomain") {
        let any = HeaderValue::from_static("*");
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
    }
    Box::pin(std::future::ready(response))
}

const M3U8: &str = "application/vnd.apple.mpegurl";

impl HlsGate {
    fn segment(&self, asked: &Asked, bytes: Bytes) -> LocalBoxFuture<'static, Response> {
        let known = context::find(&asked.query).map(|mark| self.shared.touch(mark, bytes.len()));
        let response = match known {
            Some(Some(false)) => text(StatusCode::NOT_FOUND, "the session was ended"),
            _ => asked.answer(bytes, "video/MP2T", false),
        };
        Box::pin(std::future::ready(response))
    }

    /// A segment that the file server will answer: its player lives.
    fn count_on_disk(&self, asked: &Asked) {
        if let Some(mark) = context::find(&asked.query) {
            let size = std::fs::metadata(Path::new(&asked.config.path).join(&asked.path))
                .map_or(0, |m| usize::try_from(m.len()).unwrap_or(0));
            self.shared.touch(mark, size);
        }
    }

    async fn playlist(&self, cx: &Context, asked: Asked) -> Response {
        // A mark that is the id of another session would take its place in the API: such a player
        // gets a mark of ours instead.
        let foreign =
            |mark: &&str| !self.shared.knows(mark) && cx.host.sessions.get(mark).is_some();
        let strays = |mark: &&str| asked.guarded && self.shared.strays(mark, &asked.key());
        let mark = context::find(&asked.query).filter(|m| !foreign(m) && !strays(m));
        let mark = mark.map(str::to_owned);
        if let Some(mark) = &mark
            && self.shared.touch(mark, 0) == Some(false)
        {
            return text(StatusCode::NOT_FOUND, "the session was ended");
        }
        let new = match (&mark, asked.config.ctx && (!asked.head || asked.guarded)) {
            (Some(mark), true) => (self.shared.touch(mark, 0).is_none()).then(|| mark.clone()),
            (None, true) => Some(gate::identity::random_id(8)),
            _ => None,
        };
        // Whoever may be turned away is not told first what there is.
        if asked.guarded
            && let Some(new) = &new
            && let Err(refused) = self.open(cx, &asked, new).await
        {
            return refused;
        }
        let Some(stream) = self.find(cx, &asked).await else {
            if let Some(new) = new.filter(|_| asked.guarded) {
                self.shared.forget(&new);
            }
            return text(
                StatusCode::NOT_FOUND,
                format!("there is no stream {}: nobody publishes it", asked.key()),
            );
        };
        if !asked.guarded
            && let Some(new) = &new
            && let Err(refused) = self.open(cx, &asked, new).await
        {
            return refused;
        }
        if asked.config.ctx && mark.is_none() {
            let mark = new.unwrap_or_default();
            let query = (!asked.query.is_empty()).then_some(&*asked.query);
            let text = context::master(&asked.raw_path, &mark, query);
            return asked.answer(text.into(), M3U8, true);
        }
        let Some(bytes) = self.first(&asked, &stream).await else {
            return text(
                StatusCode::NOT_FOUND,
                format!("the stream {} has no segment yet; does it send key frames?", asked.key()),
            );
        };
        let bytes = match &mark {
            Some(mark) if asked.config.ctx && asked.config.ts_ctx => {
                match std::str::from_utf8(&bytes) {
                    Ok(text) => context::rewrite(text, mark).into(),
                    Err(_) => bytes,
                }
            }
            _ => bytes,
        };
        if let Some(mark) = &mark {
            self.shared.touch(mark, bytes.len());
        }
        asked.answer(bytes, M3U8, true)
    }

    /// The stream, once it is published or has a playlist; waits a while for that.
    async fn find(&self, cx: &Context, asked: &Asked) -> Option<Arc<Stream>> {
        let stream = cx.host.hub.open(&asked.key());
        let ready =
            || stream.is_active() || self.shared.store.get(&asked.vhost, &asked.path).is_some();
        let mut changed = stream.watch();
        let wait = async { while !ready() && changed.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(asked.wait, wait).await;
        ready().then_some(stream)
    }

    /// The playlist; the first one is waited for until its first segment is there.
    async fn first(&self, asked: &Asked, stream: &Arc<Stream>) -> Option<Bytes> {
        if let Some(bytes) = self.shared.store.get(&asked.vhost, &asked.path) {
            return Some(bytes);
        }
        if !stream.is_active() {
            return None;
        }
        let limit = asked.config.fragment.mul_f64(3.0) + FIRST_SEGMENT_GRACE;
        let wait = self.shared.store.wait(&asked.vhost, &asked.path);
        tokio::time::timeout(limit, wait).await.ok().flatten()
    }

    /// Begins a player's session.
    async fn open(&self, cx: &Context, asked: &Asked, mark: &str) -> Result<(), Response> {
        let full = {
            let contexts = self.shared.contexts.lock().unwrap_or_else(PoisonError::into_inner);
            contexts.len() >= MAX_CONTEXTS
        };
        if full {
            return Err(text(StatusCode::SERVICE_UNAVAILABLE, "too many HLS sessions"));
        }
        let key = asked.key();
        let session = cx.host.sessions.open_as(mark.into(), "hls", cx.peer);
        let name = format!("{}.m3u8", key.name);
        let detail = Detail {
            kind: "hls-play",
            publish: false,
            vhost: asked.vhost.clone(),
            app: key.app.to_string(),
            name,
            param: asked.param.clone(),
            tc_url: format!("http://{}/{}", asked.host, key.app),
            page_url: asked.referer.clone(),
            swf_url: String::new(),
        };
        let intent = Intent { session: mark.to_owned(), peer: cx.peer, detail };
        let grant = match cx.host.play(&session, intent).await {
            Ok(grant) => grant,
            Err(refusal) => {
                session.closed(&Close::peer(refusal.code(), refusal.to_string()));
                return Err(web::refusal(&refusal));
            }
        };
        tracing::info!(
            session = mark,
            publisher = grant.stream.publisher_id(),
            "HLS client ip={}, stream={}",
            cx.peer,
            key
        );
        let patience = (asked.config.window * 2).max(Duration::from_secs(10));
        let session = Some((session, grant));
        let viewer = Viewer { session, key, seen: Instant::now(), patience };
        let mut contexts = self.shared.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        contexts.insert(mark.into(), viewer);
        Ok(())
    }
}
