//! Sessions: one per connection (or HLS context), with one id from accept to close.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::task::AtomicWaker;
use hub::{Counters, EndPublish, PublisherOwner, Stream};

use crate::admission::Event;
use crate::host::Host;
use crate::identity::random_id;
use crate::redact;

/// Whose fault it was that a session ended. Decides the log level and the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer broke a rule or a limit.
    Peer,
    /// We did: each is a bug or a lack of resources.
    Us,
    /// Something that we depend on.
    Upstream,
    /// Nobody: it was over.
    Nobody,
}

/// How a session ended: exactly one of these per session.
#[derive(Clone, Debug)]
pub struct Close {
    /// Whose fault.
    pub fault: Fault,
    /// The SRS error code where there is one, else 0.
    pub code: u32,
    /// For people: what happened and what to do.
    pub reason: String,
}

impl Close {
    /// It was over.
    pub fn done(reason: impl Into<String>) -> Self {
        Self { fault: Fault::Nobody, code: 0, reason: reason.into() }
    }

    /// The peer's fault.
    pub fn peer(code: u32, reason: impl Into<String>) -> Self {
        Self { fault: Fault::Peer, code, reason: reason.into() }
    }

    /// Our fault.
    pub fn us(reason: impl Into<String>) -> Self {
        Self { fault: Fault::Us, code: 0, reason: reason.into() }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        if self.code != 0 {
            write!(f, " (code {})", self.code)?;
        }
        Ok(())
    }
}

/// What a session turned out to be, once it asked to publish or to play.
///
/// All that watch one stream by one address have equal ones, and share them in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Detail {
    /// `rtmp-play`, `flv-play`, `hls-play`, `fmle-publish` …: the words of the API.
    pub kind: &'static str,
    /// Publishes (or plays).
    pub publish: bool,
    /// Resolved virtual host.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// Stream name as the client wrote it, perhaps with an extension.
    pub name: String,
    /// Query of the stream, with its `?`; empty when there is none.
    pub param: String,
    /// `tcUrl` of RTMP, or its equivalent.
    pub tc_url: String,
    /// Page that embeds the player (Referer).
    pub page_url: String,
    /// `swfUrl` of RTMP.
    pub swf_url: String,
}

/// Why a session was told to end by somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kick {
    /// Through the API.
    Api,
    /// Another publisher took the stream.
    TakenOver,
    /// The server stops.
    Shutdown,
    /// The virtual host was removed or disabled.
    Vhost,
}

const NOT_KICKED: u8 = 0;

/// Bytes per second over the last half minute or somewhat more, from samples that the control
/// plane takes. There is one per session, so it keeps three samples instead of each.
#[derive(Debug, Default)]
pub struct Rate {
    /// The newest totals, and those at the beginning of this window and of the one before.
    newest: (u64, u64),
    window: (u64, u64),
    before: (u64, u64),
    /// Samples in this window, and in the one before.
    samples: u8,
    samples_before: u8,
}

impl Rate {
    /// Seconds between two samples.
    pub const EVERY_S: u64 = 5;
    /// Samples of one window.
    const WINDOW: u8 = 6;

    /// Takes a sample of two running totals; call it every [`EVERY_S`](Self::EVERY_S).
    pub fn sample(&mut self, recv: u64, send: u64) {
        if self.samples == 0 && self.samples_before == 0 {
            self.window = (recv, send);
        }
        self.newest = (recv, send);
        self.samples += 1;
        if self.samples > Self::WINDOW {
            self.before = self.window;
            self.window = self.newest;
            self.samples_before = Self::WINDOW;
            self.samples = 1;
        }
    }

    /// `(recv, send)` in kbit/s over 30 to 60 s, or since the first sample.
    pub fn kbps(&self) -> (u64, u64) {
        let from = if self.samples_before > 0 { self.before } else { self.window };
        let steps = u64::from(self.samples.saturating_sub(1)) + u64::from(self.samples_before);
        let ms = steps.saturating_mul(Self::EVERY_S * 1000).max(1);
        let kbps = |new: u64, old: u64| new.saturating_sub(old).saturating_mul(8) / ms;
        (kbps(self.newest.0, from.0), kbps(self.newest.1, from.1))
    }
}

/// A session as everyone else sees it. Shared with the API and the log.
pub struct SessionInfo {
    /// Eight characters; on every log line, in the API, in hooks.
    pub id: Arc<str>,
    /// The gate it came through.
    pub gate: &'static str,
    /// The peer of the connection.
    pub peer: SocketAddr,
    /// When it was accepted.
    pub opened: Instant,
    /// Traffic.
    pub counters: Arc<Counters>,
    /// Rates for the API.
    pub rate: Mutex<Rate>,
    forwarded: OnceLock<Box<IpAddr>>,
    claimed: OnceLock<Box<IpAddr>>,
    /// Its protocol has connections that outlive streams.
    connects: AtomicBool,
    /// Who was asked about the connection, and is told of its end.
    asked: OnceLock<Arc<Host>>,
    detail: OnceLock<Arc<Detail>>,
    stream: Mutex<Option<Arc<Stream>>>,
    note: ArcSwapOption<String>,
    kick: AtomicWaker,
    kicked: AtomicU8,
    listed: AtomicBool,
}

impl SessionInfo {
    /// What it turned out to be; `None` until it asked for a stream.
    pub fn detail(&self) -> Option<&Detail> {
        self.detail.get().map(|detail| &**detail)
    }

    /// The client's address: what a proxy in front told, else the peer's.
    pub fn ip(&self) -> IpAddr {
        self.forwarded.get().map_or_else(|| self.peer.ip(), |ip| **ip)
    }

    /// Remembers the client's address as a proxy in front told it; the first one counts.
    pub fn set_forwarded(&self, ip: IpAddr) {
        let _ = self.forwarded.set(Box::new(ip));
    }

    /// The address that a header of the request claims the viewer has (`X-Forwarded-For`). Anybody
    /// can write one: it is for books, never for rules.
    pub fn claimed_ip(&self) -> Option<IpAddr> {
        self.claimed.get().map(|ip| **ip)
    }

    /// Remembers the address that a header claims; the first one counts.
    pub fn set_claimed(&self, ip: IpAddr) {
        let _ = self.claimed.set(Box::new(ip));
    }

    /// Says that the session is a connection that may carry several streams, one after another:
    /// [`Admission::connect`](crate::Admission::connect) is asked about it and told of its end.
    pub fn is_connection(&self) {
        self.connects.store(true, Relaxed);
    }

    /// The host, once the connection was asked about.
    pub fn host(&self) -> Option<&Arc<Host>> {
        self.asked.get()
    }

    /// Whether the connection is to be asked about now: with its first stream, once.
    pub(crate) fn first_stream(&self, host: &Arc<Host>) -> bool {
        self.connects.load(Relaxed) && self.asked.set(host.clone()).is_ok()
    }

    /// The stream it is on.
    pub fn stream(&self) -> Option<Arc<Stream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What its protocol has to say of it, for people: how far it is, or what it cannot have.
    pub fn note(&self) -> Option<Arc<String>> {
        self.note.load_full()
    }

    /// Says it; the newest counts.
    pub fn set_note(&self, note: String) {
        self.note.store(Some(Arc::new(note)));
    }

    /// How long it has lived.
    pub fn alive(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Ends the session soon; the first reason stays.
    pub fn kick(&self, why: Kick) {
        let code = match why {
            Kick::Api => 1,
            Kick::TakenOver => 2,
            Kick::Shutdown => 3,
            Kick::Vhost => 4,
        };
        let _ = self.kicked.compare_exchange(NOT_KICKED, code, Relaxed, Relaxed);
        self.kick.wake();
    }

    /// Why it was kicked, if it was.
    pub fn kick_reason(&self) -> Option<Kick> {
        match self.kicked.load(Relaxed) {
            1 => Some(Kick::Api),
            2 => Some(Kick::TakenOver),
            3 => Some(Kick::Shutdown),
            4 => Some(Kick::Vhost),
            _ => None,
        }
    }

    /// Waits until it is kicked. Cancel safe. One waiter.
    pub async fn kicked(&self) -> Kick {
        poll_fn(|cx| self.poll_kicked(cx)).await
    }

    /// The same, polled. The task that asked last is woken.
    pub fn poll_kicked(&self, cx: &Context<'_>) -> Poll<Kick> {
        if let Some(why) = self.kick_reason() {
            return Poll::Ready(why);
        }
        self.kick.register(cx.waker());
        // It may have come in between.
        self.kick_reason().map_or(Poll::Pending, Poll::Ready)
    }
}

impl PublisherOwner for SessionInfo {
    fn end(&self, why: EndPublish) {
        match why {
            EndPublish::TakenOver => self.kick(Kick::TakenOver),
        }
    }
    fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for SessionInfo {
    fn drop(&mut self) {
        if let Some(host) = self.asked.get().cloned() {
            host.admission().tell(Event::Closed(self));
        }
    }
}

/// The session as its own gate holds it; dropping it ends its listing.
pub struct Session {
    info: Arc<SessionInfo>,
    all: Arc<Sessions>,
}

impl std::ops::Deref for Session {
    type Target = Arc<SessionInfo>;
    fn deref(&self) -> &Self::Target {
        &self.info
    }
}

impl Session {
    /// Says what the session turned out to be and lists it in the API. The first call counts.
    /// Secrets in its addresses are hidden; `param` stays whole, for callbacks: whoever shows it
    /// to anybody else hides them with [`redact`].
    pub fn identify(&self, mut detail: Detail, stream: Option<Arc<Stream>>) {
        for shown in [&mut detail.tc_url, &mut detail.page_url, &mut detail.swf_url] {
            if let Cow::Owned(hidden) = redact::address(shown) {
                *shown = hidden;
            }
        }
        *self.info.stream.lock().unwrap_or_else(PoisonError::into_inner) = stream;
        let mut table = self.all.write();
        if self.info.detail.get().is_none() {
            let _ = self.info.detail.set(table.share(detail));
        }
        if !self.info.listed.swap(true, Relaxed) {
            table.by_id.insert(self.info.id.clone(), self.info.clone());
        }
    }

    /// The last log line of a session, at the level that the fault asks for; who wanted to be told
    /// of ends is.
    pub fn closed(&self, close: &Close) {
        let info = &self.info;
        if let Some(witness) = self.all.witness.get() {
            witness.closed(info, close);
        }
        let recv = info.counters.recv_bytes.load(Relaxed);
        let send = info.counters.send_bytes.load(Relaxed);
        let seconds = format!("{:.2}", info.alive().as_secs_f32());
        match close.fault {
            Fault::Us => tracing::error!(
                session = %info.id, gate = info.gate, peer = %info.peer, recv, send, %seconds,
                fault = "us", "client disconnect: {close}"
            ),
            Fault::Upstream => tracing::warn!(
                session = %info.id, gate = info.gate, peer = %info.peer, recv, send, %seconds,
                fault = "upstream", "client disconnect: {close}"
            ),
            Fault::Peer => tracing::info!(
                session = %info.id, gate = info.gate, peer = %info.peer, recv, send, %seconds,
                fault = "peer", "client disconnect: {close}"
            ),
            Fault::Nobody => tracing::info!(
                session = %info.id, gate = info.gate, peer = %info.peer, recv, send, %seconds,
                "client disconnect: {close}"
            ),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.info.listed.load(Relaxed) {
            let mut table = self.all.write();
            // An HLS mark may have been taken by another session meanwhile: that one stays.
            if table.by_id.get(&self.info.id).is_some_and(|i| Arc::ptr_eq(i, &self.info)) {
                table.by_id.remove(&self.info.id);
            }
            table.release(&self.info);
        }
    }
}

#[derive(Default)]
struct Table {
    by_id: HashMap<Arc<str>, Arc<SessionInfo>>,
    /// What the sessions turned out to be, each once.
    details: HashSet<Arc<Detail>>,
}

impl Table {
    fn share(&mut self, detail: Detail) -> Arc<Detail> {
        if let Some(same) = self.details.get(&detail) {
            return same.clone();
        }
        let detail = Arc::new(detail);
        self.details.insert(detail.clone());
        detail
    }

    /// Forgets what only `info` still holds, and room that is hardly used.
    fn release(&mut self, info: &SessionInfo) {
        // The session's own, and this table's.
        if let Some(detail) = info.detail.get().filter(|d| Arc::strong_count(d) <= 2) {
            self.details.remove(detail);
        }
        if self.by_id.capacity() > ROOM && self.by_id.capacity() / 8 > self.by_id.len() {
            self.by_id.shrink_to(self.by_id.len() * 2);
            self.details.shrink_to(self.details.len() * 2);
        }
    }
}

/// Entries for which a table keeps room although nobody is there.
const ROOM: usize = 1024;

/// All sessions that have asked for a stream.
#[derive(Default)]
pub struct Sessions {
    table: RwLock<Table>,
    /// Sessions opened since the process began.
    pub total: AtomicU64,
    /// Sessions that ended by an error.
    pub errors: AtomicU64,
    witness: OnceLock<Box<dyn Witness>>,
}

/// Is told of the end of each session, on its shard: must not block.
pub trait Witness: Send + Sync {
    /// The session is over, for this reason.
    fn closed(&self, session: &SessionInfo, close: &Close);
}

impl Sessions {
    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names who is told of the ends of sessions. Once, at start.
    pub fn set_witness(&self, witness: Box<dyn Witness>) {
        let _ = self.witness.set(witness);
    }

    /// A new session with an id of its own.
    pub fn open(self: &Arc<Self>, gate: &'static str, peer: SocketAddr) -> Session {
        self.open_as(random_id(8).into(), gate, peer)
    }

    /// A new session whose id came from elsewhere (an HLS context).
    pub fn open_as(
        self: &Arc<Self>,
        id: Arc<str>,
        gate: &'static str,
        peer: SocketAddr,
    ) -> Session {
        self.total.fetch_add(1, Relaxed);
        let info = SessionInfo {
            id,
            gate,
            peer,
            opened: Instant::now(),
            counters: Arc::default(),
            rate: Mutex::default(),
            forwarded: OnceLock::new(),
            claimed: OnceLock::new(),
            connects: AtomicBool::new(false),
            asked: OnceLock::new(),
            detail: OnceLock::new(),
            stream: Mutex::new(None),
            note: ArcSwapOption::empty(),
            kick: AtomicWaker::new(),
            kicked: AtomicU8::new(NOT_KICKED),
            listed: AtomicBool::new(false),
        };
        Session { info: Arc::new(info), all: self.clone() }
    }

    /// One session by its id.
    pub fn get(&self, id: &str) -> Option<Arc<SessionInfo>> {
        self.read().by_id.get(id).cloned()
    }

    /// All of them, in no order.
    pub fn all(&self) -> Vec<Arc<SessionInfo>> {
        self.read().by_id.values().cloned().collect()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.read().by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 4000))
    }

    #[test]
    fn a_session_is_listed_from_identification_to_its_end() {
        let all = Arc::new(Sessions::default());
        let session = all.open("rtmp", peer());
        assert_eq!(session.id.len(), 8);
        assert!(all.is_empty());
        session.identify(Detail { kind: "rtmp-play", ..Detail::default() }, None);
        assert!(all.get(&session.id).is_some());
        let id = session.id.clone();
        drop(session);
        assert!(all.get(&id).is_none());
    }

    #[test]
    fn what_is_listed_shows_no_secret_and_keeps_the_query_for_callbacks() {
        let session = Arc::new(Sessions::default()).open("rtmp", peer());
        let detail = Detail {
            tc_url: "rtmp://h/live?key=hunter22".to_owned(),
            param: "?key=hunter22".to_owned(),
            ..Detail::default()
        };
        session.identify(detail, None);
        let detail = session.detail().unwrap();
        assert_eq!(detail.tc_url, "rtmp://h/live?key=***");
        assert_eq!(detail.param, "?key=hunter22");
    }

    #[test]
    fn a_session_that_ends_leaves_another_of_its_id_listed() {
        let all = Arc::new(Sessions::default());
        let (first, second) =
            (all.open_as("m".into(), "hls", peer()), all.open_as("m".into(), "hls", peer()));
        first.identify(Detail::default(), None);
        second.identify(Detail::default(), None);
        drop(first);
        assert!(all.get("m").is_some_and(|info| Arc::ptr_eq(&info, &second)));
        drop(second);
        assert!(all.is_empty());
    }

    #[test]
    fn the_first_kick_decides_the_reason() {
        let session = Arc::new(Sessions::default()).open("rtmp", peer());
        session.kick(Kick::TakenOver);
        session.kick(Kick::Api);
        assert_eq!(session.kick_reason(), Some(Kick::TakenOver));
    }

    #[test]
    fn a_rate_is_the_growth_between_samples() {
        let mut rate = Rate::default();
        assert_eq!(rate.kbps(), (0, 0));
        for i in 0..20u64 {
            rate.sample(i * 125_000 * 5, 0);
        }
        assert_eq!(rate.kbps(), (1000, 0));
    }

    #[test]
    fn a_rate_follows_a_change_within_a_minute() {
        let mut rate = Rate::default();
        let mut total = 0;
        for i in 0..40u64 {
            total += if i < 20 { 625_000 } else { 0 };
            rate.sample(0, total);
            assert!(rate.kbps().1 <= 1000);
        }
        assert_eq!(rate.kbps(), (0, 0));
    }

    #[test]
    fn sessions_of_one_kind_share_what_they_turned_out_to_be() {
        let all = Arc::new(Sessions::default());
        let detail = |app: &str| Detail { app: app.to_owned(), ..Detail::default() };
        let (a, b, c) =
            (all.open("rtmp", peer()), all.open("rtmp", peer()), all.open("rtmp", peer()));
        a.identify(detail("live"), None);
        b.identify(detail("live"), None);
        c.identify(detail("other"), None);
        assert!(std::ptr::eq(a.detail().unwrap(), b.detail().unwrap()));
        assert_eq!(c.detail().unwrap().app, "other");
        assert_eq!(all.read().details.len(), 2);
        drop((a, c));
        assert_eq!(all.read().details.len(), 1);
        drop(b);
        assert_eq!(all.read().details.len(), 0);
    }
}
