//! The host: what a gate is given to reach streams, sessions and the configuration.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use hub::{Histogram, Hub, Publisher, Shard, ShardHandle, Stream, StreamKey};
use tokio::runtime::Handle;

use crate::admission::{Admission, Intent, Refusal, Refusals};
use crate::conf::{Config, VhostSection};
use crate::identity::Identity;
use crate::limits::Limits;
use crate::listen::Inherited;
use crate::options;
use crate::recordings::Recordings;
use crate::session::{Session, SessionInfo, Sessions};
use crate::visit::{ClientHold, PlayAsked, PlayGrant, Publication, Visit, await_answer};

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
    /// Who decides on publish and play, and is told what came of it.
    pub admission: Box<dyn Admission>,
    /// The runtime of the control plane.
    pub control: Handle,
    /// No configuration file was given: everything in memory, nothing to clean up.
    pub fileless: bool,
    /// Listening sockets that are open already.
    pub inherited: Inherited,
}

/// Tells what a gate has counted: reasons, each one word of a metric's label, and numbers that only
/// grow.
pub type Tallies = Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>;

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
    /// Listening sockets to be used instead of binding their addresses.
    pub inherited: Inherited,
    /// From accept to the permission to publish or play, microseconds.
    pub admitted_us: Histogram,
    /// Wishes to publish or to play that were refused, by reason.
    pub refusals: Refusals,
    tallies: Mutex<Vec<(&'static str, Tallies)>>,
    /// Streams that are being written to files.
    pub recordings: Arc<Recordings>,
    shards: Vec<ShardHandle>,
    next_shard: AtomicUsize,
    config: ArcSwap<Config>,
    limits: ArcSwap<Limits>,
    admission: Box<dyn Admission>,
    per_ip: Mutex<HashMap<IpAddr, usize>>,
    draining: AtomicBool,
    handed_over: AtomicBool,
    overload: AtomicU8,
    refuses: AtomicBool,
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
            inherited: parts.inherited,
            admitted_us: Histogram::default(),
            refusals: Refusals::default(),
            tallies: Mutex::default(),
            recordings: Arc::default(),
            shards: parts.shards,
            next_shard: AtomicUsize::new(0),
            config: ArcSwap::new(parts.config),
            limits: ArcSwap::from_pointee(limits),
            admission: parts.admission,
            per_ip: Mutex::default(),
            draining: AtomicBool::new(false),
            handed_over: AtomicBool::new(false),
            overload: AtomicU8::new(0),
            refuses: AtomicBool::new(false),
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

    /// Has the metrics tell what a gate drops of what comes from the network, by reason.
    pub fn tell_drops(&self, gate: &'static str, tallies: Tallies) {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).push((gate, tallies));
    }

    /// What gates have dropped since the start: gate, reason, number.
    pub fn drops(&self) -> Vec<(&'static str, &'static str, u64)> {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let each = |(gate, tally): &(&'static str, Tallies)| {
            let gate = *gate;
            tally().into_iter().map(move |(reason, n)| (gate, reason, n))
        };
        tallies.iter().flat_map(each).collect()
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

    /// How loaded the server is, 0 to 3, and whether new sessions are refused for it.
    pub fn set_overload(&self, level: u8, refuse: bool) {
        self.overload.store(level, Relaxed);
        self.refuses.store(refuse, Relaxed);
    }

    /// How loaded the server is: 0 calm, 1 high, 2 critical, 3 so that new sessions are refused.
    pub fn overload(&self) -> u8 {
        self.overload.load(Relaxed)
    }

    /// Another process has our listening sockets from here on, and our files.
    pub fn hand_over(&self) {
        self.handed_over.store(true, Relaxed);
    }

    /// Whether another process serves in our place, so that what lies on disk is its.
    pub fn is_handed_over(&self) -> bool {
        self.handed_over.load(Relaxed)
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
    pub(crate) fn refused(
        &self,
        what: &'static str,
        session: &SessionInfo,
        wanted: &str,
        refusal: &Refusal,
    ) {
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
        intent: Intent,
    ) -> Result<(Publisher, ClientHold), Refusal> {
        let visit = self.arrive(session, intent).await?;
        let hold = ClientHold::new(visit.clone());
        self.room(&visit.stream, false)?;
        self.connect(&visit).await?;
        await_answer(&visit.session, self.admission.publish(&visit)).await?;
        let config = self.config();
        let vhost = vhost_of(&config, &visit.stream.key)?;
        let owner = Publication::new(visit.clone());
        let publisher = visit
            .stream
            .publish(&self.hub, shard, owner.clone(), options::publish_options(&vhost))
            .map_err(|busy| Refusal::Busy(busy.by))?;
        self.admitted(session);
        owner.begin();
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
        self.ask_to_play(session, intent).await?.begin().await
    }

    /// The first half of [`play`](Self::play): the rules and the connection. The second is
    /// [`PlayAsked::begin`].
    ///
    /// # Errors
    /// [`Refusal`], to be told to the client in its protocol's words.
    pub async fn ask_to_play(
        self: &Arc<Self>,
        session: &Session,
        intent: Intent,
    ) -> Result<PlayAsked, Refusal> {
        let wanted = wanted(&intent);
        let asked = self.try_play(session, intent).await;
        asked.inspect_err(|refusal| self.refused("play", session, &wanted, refusal))
    }

    async fn try_play(
        self: &Arc<Self>,
        session: &Session,
        intent: Intent,
    ) -> Result<PlayAsked, Refusal> {
        let visit = self.arrive(session, intent).await?;
        let hold = ClientHold::new(visit.clone());
        self.room(&visit.stream, true)?;
        self.connect(&visit).await?;
        let grant = self.grant(hold)?;
        Ok(PlayAsked { grant, answer: self.admission.play(&visit) })
    }

    /// Goes on playing in another form, with the options in force now. Nobody is asked again.
    ///
    /// # Errors
    /// [`Refusal::Vhost`] when the virtual host is no more.
    pub fn play_on(&self, hold: ClientHold) -> Result<PlayGrant, Refusal> {
        self.grant(hold)
    }

    fn grant(&self, hold: ClientHold) -> Result<PlayGrant, Refusal> {
        let config = self.config();
        let vhost = vhost_of(&config, &hold.stream().key)?;
        Ok(PlayGrant {
            stream: hold.stream().clone(),
            delivery: options::delivery(&vhost),
            queue_length: options::queue_length(&vhost),
            from_key: vhost.bool("play.gop_cache"),
            hold: Some(hold),
        })
    }

    /// Lets in whom the rules of the house let in, and lists the session.
    async fn arrive(
        self: &Arc<Self>,
        session: &Session,
        mut intent: Intent,
    ) -> Result<Arc<Visit>, Refusal> {
        let key = self.resolve(&mut intent)?;
        await_answer(session, self.admission.admit(&intent)).await?;
        let stream = self.hub.open(&key);
        session.identify(intent.detail.clone(), Some(stream.clone()));
        Ok(Visit::new(self, session, stream, intent.detail))
    }

    /// Asks about the connection, once, where the protocol has one.
    async fn connect(self: &Arc<Self>, visit: &Arc<Visit>) -> Result<(), Refusal> {
        if visit.session.first_stream(self) {
            await_answer(&visit.session, self.admission.connect(visit)).await?;
        }
        Ok(())
    }

    pub(crate) fn admission(&self) -> &dyn Admission {
        &*self.admission
    }

    pub(crate) fn admitted(&self, session: &SessionInfo) {
        let us = session.alive().as_micros();
        self.admitted_us.observe(u64::try_from(us).unwrap_or(u64::MAX));
    }

    /// Whether there is room for a client that is counted already. Of two that come for the last
    /// place at the same moment both may be turned away; there is never one too many.
    fn room(&self, stream: &Stream, player: bool) -> Result<(), Refusal> {
        let config = self.config();
        let vhost = &vhost_of(&config, &stream.key)?;
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
        if self.refuses.load(Relaxed) {
            return Err(Refusal::Unavailable("it is overloaded"));
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

fn vhost_of<'a>(config: &'a Config, key: &StreamKey) -> Result<VhostSection<'a>, Refusal> {
    config.vhost(&key.vhost).ok_or_else(|| Refusal::Vhost(key.vhost.to_string()))
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
