//! What happens, told to those who listen: streams, clients, the configuration, faults.
//!
//! Once a second the lists of streams and sessions are compared with those of the second before,
//! as long as somebody listens; nobody on the path of frames, and no session, does anything for
//! it. Who comes and goes within one second is not told. Events wait in one ring for all
//! listeners: one that reads too slowly loses the oldest and is told how many.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use gate::conf::Config;
use gate::{Host, SessionInfo};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::reload::State;
use crate::sampler::health::Verdict;
use crate::sampler::ledger::is_listed;
use crate::sampler::{Figures, now_ms};

/// Events that wait for the slowest listener.
const DEPTH: usize = 1024;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Streams,
    Clients,
    Configuration,
    Faults,
}

impl Topic {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Clients => "clients",
            Self::Configuration => "configuration",
            Self::Faults => "faults",
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "event")]
pub(crate) enum What {
    /// Somebody has begun to publish.
    #[serde(rename = "stream.published")]
    Published { stream: StreamName },
    /// The publisher has gone.
    #[serde(rename = "stream.unpublished")]
    Unpublished { stream: StreamName },
    /// How a stream is doing has changed.
    #[serde(rename = "stream.health")]
    Health { stream: StreamName, verdict: Verdict, reason: String },
    /// A publisher or player has come.
    #[serde(rename = "client.joined")]
    Joined { client: ClientName },
    /// It has gone.
    #[serde(rename = "client.left")]
    Left { client: ClientName },
    /// Another configuration is in force.
    #[serde(rename = "config.changed")]
    Changed {
        /// What differs, a line each.
        changes: Vec<String>,
    },
    /// A new configuration was refused: the old one stays.
    #[serde(rename = "config.refused")]
    Refused { reason: String },
    /// Something went wrong `count` times in the last second.
    #[serde(rename = "fault")]
    Fault { kind: Trouble, count: u64, reason: String },
}

impl What {
    fn topic(&self) -> Topic {
        match self {
            Self::Published { .. } | Self::Unpublished { .. } | Self::Health { .. } => {
                Topic::Streams
            }
            Self::Joined { .. } | Self::Left { .. } => Topic::Clients,
            Self::Changed { .. } | Self::Refused { .. } => Topic::Configuration,
            Self::Fault { .. } => Topic::Faults,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Published { .. } => "stream.published",
            Self::Unpublished { .. } => "stream.unpublished",
            Self::Health { .. } => "stream.health",
            Self::Joined { .. } => "client.joined",
            Self::Left { .. } => "client.left",
            Self::Changed { .. } => "config.changed",
            Self::Refused { .. } => "config.refused",
            Self::Fault { .. } => "fault",
        }
    }
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trouble {
    /// Sessions that a bug ended.
    Panics,
    /// Connections refused by a limit.
    ConnectionsRefused,
    /// Sessions that ended by an error.
    SessionErrors,
}

/// Which stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct StreamName {
    id: String,
    pub(crate) vhost: String,
    pub(crate) app: String,
    name: String,
    /// Session of the publisher, or of the last one.
    publisher: String,
}

/// Which client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ClientName {
    id: String,
    /// As in the list of clients: `rtmp-play` …
    kind: String,
    publish: bool,
    ip: String,
    vhost: String,
    app: String,
    stream: String,
}

impl ClientName {
    fn of(info: &SessionInfo) -> Self {
        let none = gate::Detail::default();
        let detail = info.detail().unwrap_or(&none);
        Self {
            id: info.id.to_string(),
            kind: detail.kind.to_owned(),
            publish: detail.publish,
            ip: info.ip().to_string(),
            vhost: detail.vhost.clone(),
            app: detail.app.clone(),
            stream: gate::host::strip_extension(&detail.name).to_owned(),
        }
    }
}

/// An event as listeners get it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Event {
    /// Counts up by one with each event.
    pub(crate) id: u64,
    /// When it was seen, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub(crate) what: What,
}

impl Event {
    pub(crate) fn topic(&self) -> Topic {
        self.what.topic()
    }

    pub(crate) fn name(&self) -> &'static str {
        self.what.name()
    }
}

/// What a listener gets.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The next event.
    Event(Arc<Event>),
    /// It was too slow: so many events are gone.
    Lost(u64),
    /// There will be no more.
    Over,
}

/// The ring, and what it is fed from.
pub(crate) struct Events {
    ring: broadcast::Sender<Arc<Event>>,
    seen: Mutex<Option<Seen>>,
    next: AtomicU64,
    listeners: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            ring: broadcast::Sender::new(DEPTH),
            seen: Mutex::default(),
            next: AtomicU64::new(1),
            listeners: Arc::default(),
            lost: Arc::default(),
        }
    }
}

/// One who listens, until it is dropped.
pub(crate) struct Listener {
    ring: broadcast::Receiver<Arc<Event>>,
    listeners: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.listeners.fetch_sub(1, Relaxed);
    }
}

impl Listener {
    /// The next thing. Cancel safe.
    pub(crate) async fn hear(&mut self) -> Heard {
        match self.ring.recv().await {
            Ok(event) => Heard::Event(event),
            Err(RecvError::Lagged(n)) => {
                self.lost.fetch_add(n, Relaxed);
                Heard::Lost(n)
            }
            Err(RecvError::Closed) => Heard::Over,
        }
    }
}

impl Events {
    /// Listens from now on. `None`: there are `most` already.
    pub(crate) fn listen(
        &self,
        host: &Host,
        figures: &Figures,
        last: State,
        most: usize,
    ) -> Option<Listener> {
        if self.listeners.fetch_add(1, Relaxed) >= most {
            self.listeners.fetch_sub(1, Relaxed);
            return None;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get_or_insert_with(|| Seen::now(host, figures, &last));
        Some(Listener {
            ring: self.ring.subscribe(),
            listeners: self.listeners.clone(),
            lost: self.lost.clone(),
        })
    }

    /// Listeners now.
    pub(crate) fn listeners(&self) -> usize {
        self.listeners.load(Relaxed)
    }

    /// Events that listeners were too slow for.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Looks what has happened since the last look. Does nothing while nobody listens.
    pub(crate) fn look(&self, host: &Host, figures: &Figures, last: impl FnOnce() -> State) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if self.listeners() == 0 {
            *seen = None;
            return;
        }
        let now = Seen::now(host, figures, &last());
        if let Some(before) = seen.take() {
            for what in before.until(&now) {
                let id = self.next.fetch_add(1, Relaxed);
                // Nobody may be left to hear it.
                let _ = self.ring.send(Arc::new(Event { id, at_ms: now_ms(), what }));
            }
        }
        *seen = Some(now);
    }
}

struct SeenStream {
    name: StreamName,
    active: bool,
    verdict: Verdict,
    reason: String,
}

/// Everything that is compared.
struct Seen {
    streams: HashMap<String, SeenStream>,
    clients: HashMap<Arc<str>, Arc<SessionInfo>>,
    config: Arc<Config>,
    reload: State,
    faults: [(Trouble, u64); 3],
}

impl Seen {
    fn now(host: &Host, figures: &Figures, last: &State) -> Self {
        let seen_stream = |s: &Arc<hub::Stream>| {
            let health = figures.stream_health(s);
            let name = StreamName {
                id: s.api_id.clone(),
                vhost: s.key.vhost.to_string(),
                app: s.key.app.to_string(),
                name: s.key.name.to_string(),
                publisher: s.publisher_id(),
            };
            let (verdict, reason) = (health.verdict, health.reason);
            (s.api_id.clone(), SeenStream { name, active: s.is_active(), verdict, reason })
        };
        let panics = host.shards().iter().map(|s| s.stats().panics.load(Relaxed)).sum();
        Self {
            streams: host.hub.all().iter().filter(|s| is_listed(s)).map(seen_stream).collect(),
            clients: host.sessions.all().into_iter().map(|i| (i.id.clone(), i)).collect(),
            config: host.config(),
            reload: last.clone(),
            faults: [
                (Trouble::Panics, panics),
                (Trouble::ConnectionsRefused, host.refused.load(Relaxed)),
                (Trouble::SessionErrors, host.sessions.errors.load(Relaxed)),
            ],
        }
    }

    fn until(&self, now: &Self) -> Vec<What> {
        let mut all = Vec::new();
        for (id, old) in self.streams.iter().filter(|(_, old)| old.active) {
            let new = now.streams.get(id).filter(|new| new.active);
            if new.is_none_or(|new| new.name.publisher != old.name.publisher) {
                all.push(What::Unpublished { stream: old.name.clone() });
            }
        }
        for (id, new) in &now.streams {
            let old = self.streams.get(id).filter(|old| old.active);
            if new.active && old.is_none_or(|old| new.name.publisher != old.name.publisher) {
                all.push(What::Published { stream: new.name.clone() });
            }
            if old.is_some_and(|old| new.active && old.verdict != new.verdict) {
                let (stream, reason) = (new.name.clone(), new.reason.clone());
                all.push(What::Health { stream, verdict: new.verdict, reason });
            }
        }
        let same = |all: &HashMap<Arc<str>, Arc<SessionInfo>>, info: &Arc<SessionInfo>| {
            all.get(&info.id).is_some_and(|other| Arc::ptr_eq(other, info))
        };
        for info in self.clients.values().filter(|info| !same(&now.clients, info)) {
            all.push(What::Left { client: ClientName::of(info) });
        }
        for info in now.clients.values().filter(|info| !same(&self.clients, info)) {
            all.push(What::Joined { client: ClientName::of(info) });
        }
        if !Arc::ptr_eq(&self.config, &now.config) {
            let changes = gate::conf::diff(&self.config, &now.config);
            let changes = changes.iter().map(crate::reload::describe).collect();
            all.push(What::Changed { changes });
        }
        let is_over = now.reload.state == crate::reload::FINISHED;
        let told = self.reload.rid == now.reload.rid && self.reload.state == now.reload.state;
        if now.reload.err != 0 && is_over && !told {
            all.push(What::Refused { reason: now.reload.msg.clone() });
        }
        for ((kind, before), (_, after)) in self.faults.iter().zip(&now.faults) {
            let count = after.saturating_sub(*before);
            let reason = match kind {
                Trouble::Panics => "a bug ended sessions; the log tells where",
                Trouble::ConnectionsRefused => "max_connections or max_connections_per_ip",
                Trouble::SessionErrors => "sessions ended by an error; the log tells which",
            };
            if count > 0 {
                all.push(What::Fault { kind: *kind, count, reason: reason.to_owned() });
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::{frame, publish, stub};

    fn last() -> State {
        State { state: 0, err: 0, msg: String::new(), rid: String::new() }
    }

    fn heard(listener: &mut Listener) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(event) = listener.ring.try_recv() {
            all.push(event.name().to_owned());
        }
        all.sort();
        all
    }

    #[test]
    fn a_listener_hears_who_comes_and_goes() {
        let stub = stub(&[]);
        let events = Events::default();
        let mut listener = events.listen(&stub.host, &stub.figures, last(), 1).unwrap();
        let _stream = publish(&stub, "a", &[frame(10)]);
        let player = stub.host.sessions.open("rtmp", ([127, 0, 0, 1], 1).into());
        player.identify(gate::Detail::default(), None);
        events.look(&stub.host, &stub.figures, last);
        assert_eq!(heard(&mut listener), ["client.joined", "client.joined", "stream.published"]);
        drop(player);
        stub.host.refused.fetch_add(2, Relaxed);
        events.look(&stub.host, &stub.figures, last);
        assert_eq!(heard(&mut listener), ["client.left", "fault"]);
        events.look(&stub.host, &stub.figures, last);
        assert!(heard(&mut listener).is_empty());
    }

    #[test]
    fn a_new_configuration_is_told_and_a_refused_one_too() {
        let stub = stub(&[]);
        let events = Events::default();
        let mut listener = events.listen(&stub.host, &stub.figures, last(), 1).unwrap();
        let table = crate::config::directives::table(&[]);
        stub.host.set_config(Config::from_pairs(table, &[("chunk_size", "128")]));
        let refused = || State { state: 90, err: 1023, msg: "line 3".into(), rid: "a".into() };
        events.look(&stub.host, &stub.figures, refused);
        assert_eq!(heard(&mut listener), ["config.changed", "config.refused"]);
        events.look(&stub.host, &stub.figures, refused);
        assert!(heard(&mut listener).is_empty());
    }

    #[test]
    fn only_so_many_may_listen_and_a_place_becomes_free() {
        let stub = stub(&[]);
        let events = Events::default();
        let listen = |most| events.listen(&stub.host, &stub.figures, last(), most);
        let first = listen(1);
        assert!(first.is_some() && listen(1).is_none());
        drop(first);
        assert!(listen(1).is_some());
        assert_eq!(events.listeners(), 0);
    }

    #[test]
    fn who_is_too_slow_is_told_how_much_is_lost() {
        let stub = stub(&[]);
        let events = Events::default();
        let mut listener = events.listen(&stub.host, &stub.figures, last(), 1).unwrap();
        for _ in 0..DEPTH + 5 {
            stub.host.refused.fetch_add(1, Relaxed);
            events.look(&stub.host, &stub.figures, last);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(matches!(runtime.block_on(listener.hear()), Heard::Lost(5)));
        let next = runtime.block_on(listener.hear());
        assert!(matches!(next, Heard::Event(event) if event.id == 6));
        assert_eq!(events.lost(), 5);
    }
}
