//! Sessions: one per connection (or HLS context), with one id from accept to close.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hub::{Counters, EndPublish, PublisherOwner, Stream};
use tokio::sync::Notify;

use crate::identity::random_id;

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
#[derive(Clone, Debug, Default)]
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

/// Bytes per second over the last half minute, from samples that the control plane takes.
#[derive(Debug, Default)]
pub struct Rate {
    samples: [(u64, u64); 7],
    next: usize,
    filled: usize,
}

impl Rate {
    /// Takes a sample of two running totals; call it every 5 s.
    pub fn sample(&mut self, recv: u64, send: u64) {
        if let Some(slot) = self.samples.get_mut(self.next) {
            *slot = (recv, send);
        }
        self.next = (self.next + 1) % self.samples.len();
        self.filled = (self.filled + 1).min(self.samples.len());
    }

    /// `(recv, send)` in kbit/s over up to 30 s.
    pub fn kbps(&self) -> (u64, u64) {
        if self.filled < 2 {
            return (0, 0);
        }
        let n = self.samples.len();
        let newest = self.samples.get((self.next + n - 1) % n).copied().unwrap_or_default();
        let oldest =
            self.samples.get((self.next + n - self.filled) % n).copied().unwrap_or_default();
        let seconds = (self.filled as u64 - 1) * 5;
        let kbps = |new: u64, old: u64| new.saturating_sub(old) * 8 / 1000 / seconds.max(1);
        (kbps(newest.0, oldest.0), kbps(newest.1, oldest.1))
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
    /// Milliseconds of media the player is behind, as last measured.
    pub lag_ms: AtomicU64,
    forwarded: OnceLock<IpAddr>,
    detail: OnceLock<Detail>,
    stream: Mutex<Option<Arc<Stream>>>,
    kick: Notify,
    kicked: AtomicU8,
    listed: AtomicBool,
}

impl SessionInfo {
    /// What it turned out to be; `None` until it asked for a stream.
    pub fn detail(&self) -> Option<&Detail> {
        self.detail.get()
    }

    /// The client's address: what a proxy in front told, else the peer's.
    pub fn ip(&self) -> IpAddr {
        self.forwarded.get().copied().unwrap_or_else(|| self.peer.ip())
    }

    /// Remembers the client's address as a proxy in front told it; the first one counts.
    pub fn set_forwarded(&self, ip: IpAddr) {
        let _ = self.forwarded.set(ip);
    }

    /// The stream it is on.
    pub fn stream(&self) -> Option<Arc<Stream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        self.kick.notify_one();
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
        loop {
            if let Some(why) = self.kick_reason() {
                return why;
            }
            self.kick.notified().await;
        }
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
    pub fn identify(&self, detail: Detail, stream: Option<Arc<Stream>>) {
        let _ = self.info.detail.set(detail);
        *self.info.stream.lock().unwrap_or_else(PoisonError::into_inner) = stream;
        if !self.info.listed.swap(true, Relaxed) {
            self.all.write().insert(self.info.id.clone(), self.info.clone());
        }
    }

    /// The last log line of a session, at the level that the fault asks for.
    pub fn closed(&self, close: &Close) {
        let info = &self.info;
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
            let mut all = self.all.write();
            // An HLS mark may have been taken by another session meanwhile: that one stays.
            if all.get(&self.info.id).is_some_and(|listed| Arc::ptr_eq(listed, &self.info)) {
                all.remove(&self.info.id);
            }
        }
    }
}

/// All sessions that have asked for a stream.
#[derive(Default)]
pub struct Sessions {
    by_id: RwLock<HashMap<Arc<str>, Arc<SessionInfo>>>,
    /// Sessions opened since the process began.
    pub total: AtomicU64,
    /// Sessions that ended by an error.
    pub errors: AtomicU64,
}

impl Sessions {
    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Arc<str>, Arc<SessionInfo>>> {
        self.by_id.write().unwrap_or_else(PoisonError::into_inner)
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
            lag_ms: AtomicU64::new(0),
            forwarded: OnceLock::new(),
            detail: OnceLock::new(),
            stream: Mutex::new(None),
            kick: Notify::new(),
            kicked: AtomicU8::new(NOT_KICKED),
            listed: AtomicBool::new(false),
        };
        Session { info: Arc::new(info), all: self.clone() }
    }

    /// One session by its id.
    pub fn get(&self, id: &str) -> Option<Arc<SessionInfo>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// All of them, in no order.
    pub fn all(&self) -> Vec<Arc<SessionInfo>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).len()
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
}
