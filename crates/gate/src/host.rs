//! The host: what a gate is given to reach streams, sessions and the configuration.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use hub::{Delivery, Hub, Publisher, Shard, ShardHandle, Stream, StreamKey};
use tokio::runtime::Handle;

use crate::admission::{Admission, Intent, Refusal, Refusals};
use crate::conf::{Config, VhostSection};
use crate::identity::Identity;
use crate::limits::Limits;
use crate::options;
use crate::session::{Session, Sessions};

/// What a host is made of.
pub struct HostParts {
    /// The streams.
    pub hub: Arc<Hub>,
    /// The shards that sessions live on; at least one.
    pub shards: Vec<ShardHandle>,
    /// The configuration in force at start.
    pub config: Arc<Config>,
    /// Who we are.
    pub identity: Identity,
    /// Who decides on publish and play.
    pub admission: Box<dyn Admission>,
    /// The runtime of the control plane.
    pub control: Handle,
    /// No configuration file was given: everything in memory, nothing to clean up.
    pub fileless: bool,
}

/// Shared by all gates; lives as long as the process.
pub struct Host {
    /// The streams.
    pub hub: Arc<Hub>,
    /// Sessions that have asked for a stream.
    pub sessions: Arc<Sessions>,
    /// Who we are.
    pub identity: Identity,
    /// The runtime of the control plane: API, files, timers. Never on the path of frames.
    pub control: Handle,
    /// No configuration file was given.
    pub fileless: bool,
    /// TCP connections now, of all gates.
    pub connections: AtomicUsize,
    /// Connections refused because of a limit.
    pub refused: AtomicU64,
    /// Wishes to publish or to play that were refused, by reason.
    pub refusals: Refusals,
    shards: Vec<ShardHandle>,
    next_shard: AtomicUsize,
    config: ArcSwap<Config>,
    limits: ArcSwap<Limits>,
    admission: Box<dyn Admission>,
    per_ip: Mutex<HashMap<IpAddr, usize>>,
    draining: AtomicBool,
}

impl Host {
    /// A host of these parts.
    pub fn new(parts: HostParts) -> Arc<Self> {
        let limits = Limits::new(&parts.config);
        Arc::new(Self {
            hub: parts.hub,
            sessions: Arc::default(),
            identity: parts.identity,
            control: parts.control,
            fileless: parts.fileless,
            connections: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            refusals: Refusals::default(),
            shards: parts.shards,
            next_shard: AtomicUsize::new(0),
            config: ArcSwap::new(parts.config),
            limits: ArcSwap::from_pointee(limits),
            admission: parts.admission,
            per_ip: Mutex::default(),
            draining: AtomicBool::new(false),
        })
    }

    /// The configuration in force. A session may keep the snapshot it began with.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// The limits in force.
    pub fn limits(&self) -> Arc<Limits> {
        self.limits.load_full()
    }

    /// Puts a checked configuration in force and hands streams that are live their new options.
    pub fn set_config(self: &Arc<Self>, config: Arc<Config>) {
        self.limits.store(Arc::new(Limits::new(&config)));
        self.config.store(config.clone());
        for stream in self.hub.all() {
            if let Some(vhost) = config.vhost(&stream.key.vhost) {
                stream.reconfigure(options::publish_options(&vhost));
            }
        }
        // One job per shard, and one that waits where there is no room at once: a reload reaches
        // every stream, however many there are.
        for shard in &self.shards {
            let (host, shard) = (self.clone(), shard.clone());
            self.control.spawn(async move {
                shard.run(Box::new(move |shard| host.reconfigure(&shard))).await;
            });
        }
    }

    /// Hands the streams of a shard their delivery options. Reads the configuration that is in
    /// force by then: two reloads may reach a shard in any order.
    fn reconfigure(&self, shard: &Shard) {
        let config = self.config();
        for stream in self.hub.all() {
            if let Some(vhost) = config.vhost(&stream.key.vhost) {
                shard.reconfigure(&stream, options::delivery(&vhost));
            }
        }
    }

    /// All shards.
    pub fn shards(&self) -> &[ShardHandle] {
        &self.shards
    }

    /// The shard with the fewest sessions; in turn among equals.
    pub fn least_loaded(&self) -> &ShardHandle {
        let n = self.shards.len().max(1);
        let start = self.next_shard.fetch_add(1, Relaxed) % n;
        let in_turn = self.shards.iter().cycle().skip(start).take(n);
        // A host without shards cannot be built by `main`; the first index would be the bug.
        #[allow(clippy::expect_used)]
        in_turn.min_by_key(|s| s.stats().sessions.load(Relaxed)).expect("a host has shards")
    }

    /// No new sessions from here on.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Whether new sessions are refused because the server is stopping.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Room for one more connection from `ip`, held until the permit is dropped. Refusals are
    /// counted; the reason names the limit.
    ///
    /// # Errors
    /// The name of the limit that is reached.
    pub fn admit_connection(
        self: &Arc<Self>,
        ip: IpAddr,
    ) -> Result<ConnectionPermit, &'static str> {
        let limits = self.limits.load();
        if self.is_draining() {
            return Err("the server is stopping");
        }
        let before = self.connections.fetch_add(1, Relaxed);
        let permit = ConnectionPermit { host: self.clone(), ip: None };
        if limits.max_connections > 0 && before >= limits.max_connections {
            self.refused.fetch_add(1, Relaxed);
            return Err("max_connections");
        }
        let ip = ip.to_canonical();
        let mut per_ip = self.per_ip.lock().unwrap_or_else(PoisonError::into_inner);
        let count = per_ip.entry(ip).or_insert(0);
        if limits.max_connections_per_ip > 0 && *count >= limits.max_connections_per_ip {
            drop(per_ip);
            self.refused.fetch_add(1, Relaxed);
            return Err("max_connections_per_ip");
        }
        *count += 1;
        drop(per_ip);
        let mut permit = permit;
        permit.ip = Some(ip);
        Ok(permit)
    }

    /// The virtual host that serves `name`: itself, or the default one. `None`: neither is there.
    pub fn resolve_vhost(&self, name: &str) -> Option<String> {
        self.config.load().vhost(name).map(|v| v.name().to_owned())
    }

    /// Asks to publish, on behalf of `session`, the stream that `intent` names.
    ///
    /// # Errors
    /// [`Refusal`], to be told to the client in its protocol's words. It has been logged and counted.
    pub async fn publish(
        self: &Arc<Self>,
        shard: &Rc<Shard>,
        session: &Session,
        intent: Intent,
    ) -> Result<(Publisher, ClientHold), Refusal> {
        let wanted = wanted(&intent);
        let asked = self.try_publish(shard, session, intent).await;
        asked.inspect_err(|refusal| self.refused("publish", session, &wanted, refusal))
    }

    /// Tells and counts a refusal, the same for every protocol.
    fn refused(&self, what: &'static str, session: &Session, wanted: &str, refusal: &Refusal) {
        self.refusals.count(what, refusal);
        tracing::warn!(
            session = %session.id, gate = session.gate, peer = %session.peer,
            rule = refusal.label(), "{what} of {wanted} refused: {refusal}"
        );
    }

    async fn try_publish(
        self: &Arc<Self>,
        shard: &Rc<Shard>,
        session: &Session,
        mut intent: Intent,
    ) -> Result<(Publisher, ClientHold), Refusal> {
        let key = self.resolve(&mut intent)?;
        self.admission.publish(&intent).await?;
        let config = self.config();
        let vhost =
            config.vhost(&key.vhost).ok_or_else(|| Refusal::Vhost(key.vhost.to_string()))?;
        let stream = self.hub.open(&key);
        let hold = ClientHold::new(stream.clone());
        self.room(&vhost, &stream, false)?;
        let publisher = stream
            .publish(&self.hub, shard, (*session).clone(), options::publish_options(&vhost))
            .map_err(|busy| Refusal::Busy(busy.by))?;
        session.identify(intent.detail, Some(stream));
        Ok((publisher, hold))
    }

    /// Asks to play. The stream may not be published yet.
    ///
    /// # Errors
    /// [`Refusal`], to be told to the client in its protocol's words. It has been logged and counted.
    pub async fn play(
        self: &Arc<Self>,
        session: &Session,
        intent: Intent,
    ) -> Result<PlayGrant, Refusal> {
        let wanted = wanted(&intent);
        let asked = self.try_play(session, intent).await;
        asked.inspect_err(|refusal| self.refused("play", session, &wanted, refusal))
    }

    async fn try_play(
        self: &Arc<Self>,
        session: &Session,
        mut intent: Intent,
    ) -> Result<PlayGrant, Refusal> {
        let key = self.resolve(&mut intent)?;
        self.admission.play(&intent).await?;
        self.grant(session, intent, &key, true)
    }

    /// Goes on playing what `session` was let in to play, in another way (other tracks): nobody
    /// is asked anew, and the place that it has is enough.
    ///
    /// # Errors
    /// [`Refusal`]: the virtual host has gone, or the server stops.
    pub fn play_on(
        self: &Arc<Self>,
        session: &Session,
        mut intent: Intent,
    ) -> Result<PlayGrant, Refusal> {
        let key = self.resolve(&mut intent)?;
        self.grant(session, intent, &key, false)
    }

    fn grant(
        self: &Arc<Self>,
        session: &Session,
        intent: Intent,
        key: &StreamKey,
        limited: bool,
    ) -> Result<PlayGrant, Refusal> {
        let config = self.config();
        let vhost =
            config.vhost(&key.vhost).ok_or_else(|| Refusal::Vhost(key.vhost.to_string()))?;
        let stream = self.hub.open(key);
        let hold = ClientHold::new(stream.clone());
        if limited {
            self.room(&vhost, &stream, true)?;
        }
        session.identify(intent.detail, Some(stream.clone()));
        Ok(PlayGrant {
            stream,
            delivery: options::delivery(&vhost),
            queue_length: options::queue_length(&vhost),
            from_key: vhost.bool("play.gop_cache"),
            hold: Some(hold),
        })
    }

    /// Whether there is room for a client that is counted already. Of two that come for the last
    /// place at the same moment both may be turned away; there is never one too many.
    fn room(&self, vhost: &VhostSection<'_>, stream: &Stream, player: bool) -> Result<(), Refusal> {
        let most = options::max_connections(vhost);
        if most > 0 && self.hub.clients(&stream.key.vhost) > most {
            return Err(Refusal::Full { limit: "max_connections of the virtual host", most });
        }
        let most = options::max_players(vhost);
        if player && most > 0 {
            let clients = stream.stats.clients.load(Relaxed);
            if clients.saturating_sub(usize::from(stream.is_active())) > most {
                return Err(Refusal::Full { limit: "max_players of the stream", most });
            }
        }
        Ok(())
    }

    fn resolve(&self, intent: &mut Intent) -> Result<StreamKey, Refusal> {
        if self.is_draining() {
            return Err(Refusal::Unavailable("it is stopping"));
        }
        let detail = &mut intent.detail;
        let vhost = self
            .resolve_vhost(&detail.vhost)
            .ok_or_else(|| Refusal::Vhost(detail.vhost.clone()))?;
        let name = strip_extension(&detail.name);
        let key = StreamKey::new(&vhost, &detail.app, name);
        detail.vhost = vhost;
        Ok(key)
    }
}

/// The stream of an intent, for the log.
fn wanted(intent: &Intent) -> String {
    let detail = &intent.detail;
    format!("{}/{}/{}", detail.vhost, detail.app, detail.name)
}

/// `livestream.flv` is `livestream`: identity leaves the extension out.
pub fn strip_extension(name: &str) -> &str {
    match name.rfind('.') {
        Some(at) if at > 0 => name.get(..at).unwrap_or(name),
        _ => name,
    }
}

/// Permission to play.
pub struct PlayGrant {
    /// The stream; possibly without a publisher yet.
    pub stream: Arc<Stream>,
    /// How its players are served.
    pub delivery: Delivery,
    /// How far behind a player may fall.
    pub queue_length: Duration,
    /// Start at the last key frame.
    pub from_key: bool,
    /// Keeps the stream in the registry and counts the client; keep it as long as you play.
    pub hold: Option<ClientHold>,
}

impl PlayGrant {
    /// Options for the hub.
    pub fn subscribe_options(&self, session: &Session) -> hub::SubscribeOptions {
        hub::SubscribeOptions {
            queue_length: self.queue_length,
            session: session.id.clone(),
            counters: session.counters.clone(),
            from_key: self.from_key,
        }
    }
}

/// Counts a client of a stream while it lives.
pub struct ClientHold(Arc<Stream>);

impl ClientHold {
    fn new(stream: Arc<Stream>) -> Self {
        stream.stats.clients.fetch_add(1, Relaxed);
        Self(stream)
    }
}

impl Drop for ClientHold {
    fn drop(&mut self) {
        self.0.stats.clients.fetch_sub(1, Relaxed);
    }
}

/// One connection's place under the limits.
pub struct ConnectionPermit {
    host: Arc<Host>,
    ip: Option<IpAddr>,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.host.connections.fetch_sub(1, Relaxed);
        let Some(ip) = self.ip else { return };
        let mut per_ip = self.host.per_ip.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = per_ip.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                per_ip.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::strip_extension;

    #[test]
    fn an_extension_is_no_part_of_the_identity() {
        assert_eq!(strip_extension("livestream.flv"), "livestream");
        assert_eq!(strip_extension("a.b.m3u8"), "a.b");
        assert_eq!(strip_extension("livestream"), "livestream");
        assert_eq!(strip_extension(".hidden"), ".hidden");
    }
}
