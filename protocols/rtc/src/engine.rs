//! The datagram side: sockets and sessions of each shard, and how packets reach their viewers.
//!
//! A session lives on the shard that was least busy when it was asked for. Each shard has a socket
//! of its own at the one port, and the kernel chooses among them by the client's address: what
//! comes to another shard's socket is passed over. That costs little, since viewers send little;
//! what they get leaves from their own shard.

mod admission;
mod allowance;
mod batch;
mod black_hole;
mod bridge;
mod claims;
mod clock;
mod discover;
mod inbox;
mod log;
mod open;
mod parting;
mod peer;
mod player;
mod publisher;
mod relay;
mod shard;
mod socket;
mod stats;
mod stream;
mod stream_socket;
mod tcp;
mod timed;
mod tracks;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use admission::Admission;
use arc_swap::ArcSwap;
use black_hole::BlackHole;
use gate::{Close, Host};
use tokio::sync::mpsc;

use crate::config::RtcServer;
use crate::door::addresses::Addresses;
use crate::session::dtls::Identity;
use crate::session::transport::{State, Why};
use claims::Claim;
use clock::Clock;
use inbox::{Message, ROOM};
use relay::Relay;
pub(crate) use shard::RtcShard;
pub(crate) use socket::bind;
use stats::Stats;
pub(crate) use tcp::serve as serve_connection;

/// Addresses of a client by which it is found: the one it uses, and those it used before.
pub(crate) const MOST_ADDRESSES: usize = 4;

#[derive(Default)]
struct Places {
    ufrags: HashMap<String, usize>,
    addresses: HashMap<SocketAddr, Claim>,
    names: HashMap<String, usize>,
}

struct Remote {
    inbox: mpsc::Sender<Message>,
    sessions: AtomicUsize,
}

/// All shards' sessions, as the door and the gate see them.
pub struct Engine {
    pub(crate) host: Arc<Host>,
    pub(crate) clock: Clock,
    pub(crate) identity: Identity,
    pub(crate) config: ArcSwap<RtcServer>,
    /// What was dropped, and why.
    pub(crate) stats: Stats,
    pub(crate) admission: Arc<Admission>,
    /// What is known of our addresses.
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) stun: discover::Asking,
    pub(crate) black_hole: BlackHole,
    places: Mutex<Places>,
    relays: Mutex<HashMap<u64, Arc<Relay>>>,
    unnamed: tcp::Unnamed,
    remotes: Vec<Remote>,
    next: AtomicUsize,
    numbers: AtomicU32,
    connections: AtomicU64,
    parting: AtomicBool,
}

impl Engine {
    /// Starts on every shard of the host; sockets come with the first configuration.
    pub(crate) fn start(
        host: &Arc<Host>,
        identity: Identity,
        config: RtcServer,
        addresses: Arc<Addresses>,
    ) -> Arc<Self> {
        let mut inboxes = Vec::new();
        let remotes = host.shards().iter().map(|_| {
            let (tx, rx) = mpsc::channel(ROOM);
            inboxes.push(rx);
            Remote { inbox: tx, sessions: AtomicUsize::new(0) }
        });
        let remotes = remotes.collect();
        let engine = Arc::new(Self {
            host: host.clone(),
            clock: Clock::start(),
            identity,
            config: ArcSwap::from_pointee(config),
            stats: Stats::default(),
            admission: Arc::default(),
            addresses,
            stun: discover::Asking::default(),
            black_hole: BlackHole::default(),
            places: Mutex::default(),
            relays: Mutex::default(),
            unnamed: tcp::Unnamed::default(),
            remotes,
            next: AtomicUsize::new(0),
            numbers: AtomicU32::new(0),
            connections: AtomicU64::new(0),
            parting: AtomicBool::new(false),
        });
        for (handle, inbox) in host.shards().iter().zip(inboxes) {
            let (engine, handle) = (engine.clone(), handle.clone());
            host.control.spawn(async move {
                let job = Box::new(move |shard: std::rc::Rc<hub::Shard>| {
                    let rtc = RtcShard::new(engine, shard.clone());
                    shard.spawn("rtc", rtc.run(inbox));
                });
                handle.run(job).await;
            });
        }
        engine
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> usize {
        self.remotes.len()
    }

    /// Sessions now.
    pub fn sessions(&self) -> usize {
        self.remotes.iter().map(|r| r.sessions.load(Relaxed)).sum()
    }

    /// Serves an address: one socket for each shard.
    pub(crate) fn serve(self: &Arc<Self>, sockets: Vec<std::net::UdpSocket>) {
        for (shard, socket) in sockets.into_iter().enumerate() {
            let this = self.clone();
            self.host.control.spawn(async move {
                this.deliver(shard, Message::Socket(socket)).await;
            });
        }
    }

    /// Serves these addresses and no others.
    pub(crate) fn keep_sockets(self: &Arc<Self>, keep: &[SocketAddr]) {
        for shard in 0..self.shards() {
            let (this, keep) = (self.clone(), keep.to_vec());
            self.host.control.spawn(async move {
                this.deliver(shard, Message::CloseSockets(keep)).await;
            });
        }
    }

    /// Puts a configuration in force; sessions keep what was agreed on.
    pub(crate) fn configure(&self, config: RtcServer) {
        self.black_hole.lead_to(config.black_hole.as_deref().filter(|_| config.enabled));
        self.config.store(Arc::new(config));
        self.stun.reconfigured();
    }

    /// Whether clients are served now.
    pub(crate) fn is_on(&self) -> bool {
        self.config.load().enabled
    }

    /// A number for a session; comes again after four milliards.
    pub(crate) fn next_session(&self) -> u32 {
        self.numbers.fetch_add(1, Relaxed)
    }

    /// A number for a connection.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Relaxed)
    }

    /// Sends to a shard; `false` when it has no room, or is no more.
    pub(crate) fn send(&self, shard: usize, message: Message) -> bool {
        self.remotes.get(shard).is_some_and(|r| r.inbox.try_send(message).is_ok())
    }

    /// Sends what a stranger may have sent, which must not take the room of media and of calls:
    /// half of it is for others alone.
    pub(crate) fn pass_on(&self, shard: usize, message: Message) -> bool {
        let free = |remote: &&Remote| remote.inbox.capacity() > ROOM / 2;
        self.remotes.get(shard).filter(free).is_some_and(|r| r.inbox.try_send(message).is_ok())
    }

    /// Sends to a shard, waiting for room.
    pub(crate) async fn deliver(&self, shard: usize, message: Message) -> bool {
        match self.remotes.get(shard) {
            Some(remote) => remote.inbox.send(message).await.is_ok(),
            None => false,
        }
    }

    /// The shard with the fewest sessions; in turn among equals.
    pub(crate) fn least_busy(&self) -> usize {
        let n = self.remotes.len().max(1);
        let start = self.next.fetch_add(1, Relaxed) % n;
        let sessions =
            |at: &usize| self.remotes.get(*at).map_or(usize::MAX, |r| r.sessions.load(Relaxed));
        (0..n).map(|i| (start + i) % n).min_by_key(sessions).unwrap_or(0)
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn shard_of_ufrag(&self, ufrag: &str) -> Option<usize> {
        self.places().ufrags.get(ufrag).copied()
    }

    pub(crate) fn shard_of_name(&self, name: &str) -> Option<usize> {
        self.places().names.get(name).copied()
    }

    fn note_ufrag(&self, ufrag: &str, shard: usize) {
        self.places().ufrags.insert(ufrag.to_owned(), shard);
    }

    fn forget_ufrag(&self, ufrag: &str) {
        self.places().ufrags.remove(ufrag);
    }

    fn enter(&self, name: &str, shard: usize) {
        self.places().names.insert(name.to_owned(), shard);
        if let Some(remote) = self.remotes.get(shard) {
            remote.sessions.fetch_add(1, Relaxed);
        }
    }

    fn leave(&self, name: &str, shard: usize) {
        self.places().names.remove(name);
        if let Some(remote) = self.remotes.get(shard) {
            remote.sessions.fetch_sub(1, Relaxed);
        }
    }

    /// The publisher of WebRTC of a stream, if it has one.
    pub(crate) fn relay_of(&self, stream: u64) -> Option<Arc<Relay>> {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner).get(&stream).cloned()
    }

    /// A publisher of WebRTC has begun: all shards that have viewers of its stream hear of it.
    fn relayed(&self, relay: &Arc<Relay>) {
        let mut relays = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        relays.insert(relay.stream, relay.clone());
        drop(relays);
        for shard in 0..self.shards() {
            self.send(shard, Message::Relay(relay.clone()));
        }
    }

    /// It has gone.
    fn unrelayed(&self, relay: &Arc<Relay>) {
        let mut relays = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        if relays.get(&relay.stream).is_some_and(|r| Arc::ptr_eq(r, relay)) {
            relays.remove(&relay.stream);
        }
    }
}

/// Why a session was ended by somebody else, for people.
fn kicked(why: gate::session::Kick) -> &'static str {
    match why {
        gate::session::Kick::Api => "kicked off through the API",
        gate::session::Kick::TakenOver => "another publisher took the stream",
        gate::session::Kick::Shutdown => "the server stops",
        gate::session::Kick::Vhost => "the virtual host was removed or disabled",
    }
}

/// What the end of a transport means.
fn closed(why: &Why, connected: bool) -> Close {
    match why {
        Why::Us => Close::done("closed by us"),
        Why::Peer => Close::done("the client has left"),
        Why::Consent(_) if connected => {
            Close::peer(1011, format!("{why}: the client has gone, or its path to us is broken"))
        }
        _ => Close::peer(1011, format!("{why}; {}", advice_on(why))),
    }
}

/// What to try when a session does not get past a step.
fn advice(state: State) -> &'static str {
    match state {
        State::Checking => {
            "no packet of the client arrived: check that the candidate it was told is our address \
             as it sees it (rtc_server.candidate), and that no firewall stops UDP at that port"
        }
        State::AwaitsHello | State::Handshaking(_) => {
            "checks arrive but the handshake does not end: check that large UDP packets pass (MTU) \
             and that dtls_role fits the client"
        }
        State::Connected | State::Closed => "it was connected",
    }
}

fn advice_on(why: &Why) -> &'static str {
    match why {
        Why::Consent(_) | Why::Unreachable => advice(State::Checking),
        Why::HandshakeTimeout => advice(State::AwaitsHello),
        Why::Fingerprint => "the client's offer and its certificate do not belong together",
        Why::NoProfile => "the client offers no SRTP profile that we have",
        _ => "the client's log has more",
    }
}
