//! The sessions of a shard, how they are found, and what wakes them.

mod ticking;

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gate::Close;
use hub::{Shard, Stream};
use tokio::sync::{Notify, mpsc};

use super::Engine;
use super::batch::{Batch, Tally};
use super::bridge::{Bridge, BridgeOptions};
use super::claims::Whose;
use super::clock::Clock;
use super::inbox::Message;
use super::peer::{Arrived, Peer, Role};
use super::relay::Packets;
use super::socket::{Room, Sent, Socket};
use super::stream::RtcStream;
use super::stream_socket::Connection;
use crate::session::transport::{Drop, Transmit, Via};

/// Bytes of a datagram that is passed on to another shard: none of WebRTC is longer than the 1,500 of
/// a usual network. At half of it these would not fit, at double a full inbox holds 24 MB.
const MOST_PASSED_ON: usize = 3_000;
/// Sends that a ring takes at once, if there is one.
const RING: u32 = 64;
/// Bytes of a batch's buffer that are kept between two sends.
const BATCH_ROOM: usize = 64 * 1024;

/// See the module.
pub(crate) struct RtcShard {
    engine: Arc<Engine>,
    shard: Rc<Shard>,
    sockets: RefCell<Vec<Rc<Socket>>>,
    connections: RefCell<HashMap<u64, Rc<Connection>>>,
    peers: RefCell<Vec<Rc<Peer>>>,
    /// Of these those that are looked at with each tick.
    restless: RefCell<Vec<Rc<Peer>>>,
    /// Ticks so far.
    turn: Cell<usize>,
    pub(super) by_address: RefCell<HashMap<SocketAddr, Rc<Peer>>>,
    pub(super) by_number: RefCell<HashMap<u32, Rc<Peer>>>,
    by_ufrag: RefCell<HashMap<String, Rc<Peer>>>,
    streams: RefCell<HashMap<u64, Rc<RtcStream>>>,
    batch: RefCell<Batch>,
    reports: RefCell<Vec<u8>>,
    /// Publishers that received something since the last time they were asked what.
    marked: RefCell<Vec<Rc<Peer>>>,
    /// Where the sockets of single sessions receive, if any has one.
    pub(super) own_room: RefCell<Room>,
    /// Time that walks have taken since the governor last looked, and when that was.
    walked: Cell<Duration>,
    looked: Cell<Instant>,
    /// Into how many groups viewers are divided.
    groups: Cell<usize>,
    /// Sessions whose data channels have begun.
    pub(super) data_sessions: Rc<Cell<usize>>,
    /// There are sessions.
    busy: Notify,
    ticking: Cell<bool>,
}

impl RtcShard {
    /// On the calling shard; [`run`](Self::run) makes it work.
    pub(crate) fn new(engine: Arc<Engine>, shard: Rc<Shard>) -> Rc<Self> {
        let ring = shard.ring(RING);
        Rc::new(Self {
            engine,
            shard,
            sockets: RefCell::default(),
            connections: RefCell::default(),
            peers: RefCell::default(),
            restless: RefCell::default(),
            turn: Cell::default(),
            by_address: RefCell::default(),
            by_number: RefCell::default(),
            by_ufrag: RefCell::default(),
            streams: RefCell::default(),
            batch: RefCell::new(Batch::new(64, ring)),
            reports: RefCell::default(),
            marked: RefCell::default(),
            own_room: RefCell::new(Room::none()),
            walked: Cell::default(),
            looked: Cell::new(Instant::now()),
            groups: Cell::new(1),
            data_sessions: Rc::default(),
            busy: Notify::new(),
            ticking: Cell::default(),
        })
    }

    /// Number of the shard.
    pub(crate) fn id(&self) -> usize {
        self.shard.id()
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn hub_shard(&self) -> &Rc<Shard> {
        &self.shard
    }

    /// The sockets that clients are told of.
    pub(crate) fn sockets(&self) -> Ref<'_, Vec<Rc<Socket>>> {
        self.sockets.borrow()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.engine.clock
    }

    /// The batch that sends are put together in; empty.
    pub(crate) fn batch(&self) -> RefMut<'_, Batch> {
        let mut batch = self.batch.borrow_mut();
        batch.clear();
        batch
    }

    /// A buffer for reports; empty.
    pub(crate) fn reports(&self) -> RefMut<'_, Vec<u8>> {
        let mut reports = self.reports.borrow_mut();
        reports.clear();
        reports
    }

    /// Receives what others have for this shard, until the process ends.
    pub(crate) async fn run(self: Rc<Self>, mut inbox: mpsc::Receiver<Message>) {
        let ticker = self.clone();
        self.shard.spawn("rtc", async move { ticker.tick_loop().await });
        if self.id() == 0 {
            self.shard.spawn("rtc", super::discover::run(self.clone()));
        }
        while let Some(message) = inbox.recv().await {
            self.guard(|| self.take(message));
            self.flush_marked();
        }
    }

    /// A panic ends what it happened in and nothing else.
    pub(super) fn guard<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        let done = std::panic::catch_unwind(AssertUnwindSafe(f)).ok();
        if done.is_none() {
            self.shard.handle().stats().panics.fetch_add(1, Relaxed);
            tracing::error!(
                shard = self.id(),
                "bug: a panic was caught in WebRTC, the server goes on"
            );
        }
        done
    }

    fn take(self: &Rc<Self>, message: Message) {
        match message {
            Message::Job(job) => job(self),
            Message::Datagram { from, local, mut bytes } => {
                let Some(socket) = self.socket_at(local) else { return };
                self.datagram(&socket, from, local, &mut bytes, true);
            }
            Message::Packets { relay, packets } => {
                if let Some(stream) = self.stream(relay.stream) {
                    stream.relayed(&relay, &packets, self.clock().now_us());
                }
            }
            Message::Relay(relay) => {
                if let Some(stream) = self.stream(relay.stream) {
                    stream.attach(relay, self.id());
                }
            }
            Message::Socket(socket) => match Socket::new(socket) {
                Ok(socket) => self.open_socket(Rc::new(socket)),
                Err(error) => tracing::error!(%error, "a datagram socket cannot be used"),
            },
            Message::CloseSockets(keep) => self.close_sockets(&keep),
            Message::Part => self.part(|_| true),
            Message::Tcp(named) => super::tcp::adopt(self, *named),
        }
    }

    fn open_socket(self: &Rc<Self>, socket: Rc<Socket>) {
        let mut batch = self.batch.borrow_mut();
        batch.set_most(socket.max_segments());
        batch.bytes.reserve(BATCH_ROOM);
        drop(batch);
        self.sockets.borrow_mut().push(socket.clone());
        let this = self.clone();
        self.shard.spawn("rtc", async move { this.receive_loop(socket).await });
    }

    async fn receive_loop(self: Rc<Self>, socket: Rc<Socket>) {
        let mut room = Room::default();
        loop {
            let ready = socket.ready().await;
            let got = ready.and_then(|()| self.receive(&socket, &mut room));
            if self.goes_on(&socket, got).await {
                continue;
            }
            return;
        }
    }

    /// Takes what has arrived at a socket.
    pub(crate) fn receive(
        self: &Rc<Self>,
        socket: &Rc<Socket>,
        room: &mut Room,
    ) -> std::io::Result<bool> {
        let at = socket.local();
        let got = socket.receive(room, |from, ip, datagram| {
            let local = SocketAddr::new(ip.unwrap_or(at.ip()), at.port());
            self.datagram(socket, from, local, datagram, false);
        });
        self.flush_marked();
        got
    }

    /// Whether a socket is to be asked again; `false` once it is closed and empty.
    pub(crate) async fn goes_on(&self, socket: &Socket, got: std::io::Result<bool>) -> bool {
        match got {
            Ok(took) => took || !socket.is_closing(),
            Err(_) if socket.is_closing() => false,
            Err(error) => {
                tracing::error!(%error, local = %socket.local(), "the WebRTC socket is broken");
                tokio::time::sleep(Duration::from_secs(1)).await;
                true
            }
        }
    }

    /// Finds whose datagram it is. One that another shard's session waits for goes there.
    fn datagram(
        self: &Rc<Self>,
        socket: &Rc<Socket>,
        from: SocketAddr,
        local: SocketAddr,
        datagram: &mut [u8],
        passed_on: bool,
    ) {
        match self.whose(&from, datagram) {
            Whose::Ours(peer) => {
                self.handle(&peer, from, Via::Udp(local), Arrived::Udp(socket), datagram);
            }
            Whose::Theirs(shard) if !passed_on => {
                if datagram.len() > MOST_PASSED_ON {
                    self.engine.stats.too_large.fetch_add(1, Relaxed);
                    return;
                }
                let bytes = datagram.to_vec();
                if !self.engine.pass_on(shard, Message::Datagram { from, local, bytes }) {
                    self.engine.stats.inbox_full.fetch_add(1, Relaxed);
                }
            }
            _ if self.engine.heard_stun(from, datagram) => {}
            _ => {
                self.engine.stats.strangers.fetch_add(1, Relaxed);
            }
        }
    }

    /// Hands a datagram to its session.
    pub(crate) fn handle(
        self: &Rc<Self>,
        peer: &Rc<Peer>,
        from: SocketAddr,
        via: Via,
        arrived: Arrived<'_>,
        datagram: &mut [u8],
    ) {
        let now = Instant::now();
        let over = self
            .guard(|| peer.handle(self, now, from, via, arrived, datagram))
            .unwrap_or_else(|| Some(Close::us("a bug ended this session; it was logged")));
        if let Some(close) = over {
            self.end(peer, &close);
        }
    }

    /// The session that a check of this name belongs to, for connections.
    pub(crate) fn by_ufrag(&self, ufrag: &str) -> Option<Rc<Peer>> {
        self.by_ufrag.borrow().get(ufrag).cloned()
    }

    /// A publisher received something: it is asked what before the shard waits again.
    pub(crate) fn mark(&self, peer: &Rc<Peer>) {
        let mut marked = self.marked.borrow_mut();
        if !marked.iter().any(|p| Rc::ptr_eq(p, peer)) {
            marked.push(peer.clone());
        }
    }

    /// Asks publishers that were marked what they have.
    pub(crate) fn flush_marked(self: &Rc<Self>) {
        if self.marked.borrow().is_empty() {
            return;
        }
        let marked = std::mem::take(&mut *self.marked.borrow_mut());
        for peer in marked {
            let over = self
                .guard(|| match &mut peer.body.borrow_mut().role {
                    Role::Publish(publishing) => publishing.flush(self),
                    Role::Play(_) => None,
                })
                .unwrap_or_else(|| Some(Close::us("a bug ended this session; it was logged")));
            if let Some(close) = over {
                self.end(&peer, &close);
            }
        }
    }

    /// Packets of a publisher of this shard, for the viewers of all shards.
    pub(crate) fn relay(&self, relay: &Arc<super::relay::Relay>, packets: &Packets) {
        let mut shared: Option<Arc<Packets>> = None;
        for shard in 0..self.engine.shards() {
            if !relay.is_taker(shard) {
                continue;
            }
            if shard == self.id() {
                if let Some(stream) = self.stream(relay.stream) {
                    stream.relayed(relay, packets, self.clock().now_us());
                }
                continue;
            }
            let packets = shared.get_or_insert_with(|| Arc::new(packets.clone())).clone();
            if !self.engine.send(shard, Message::Packets { relay: relay.clone(), packets }) {
                self.engine.stats.inbox_full.fetch_add(1, Relaxed);
            }
        }
    }

    /// Lists a session and makes it findable.
    pub(crate) fn enter(&self, peer: &Rc<Peer>) {
        for ufrag in &peer.body.borrow().ufrags {
            self.found_by(ufrag, peer);
        }
        self.number(peer);
        self.engine.enter(&peer.name, self.id());
        self.peers.borrow_mut().push(peer.clone());
        self.stir(peer);
        if !self.ticking.get() {
            self.busy.notify_one();
        }
    }

    /// Checks of this name are the session's.
    pub(crate) fn found_by(&self, ufrag: &str, peer: &Rc<Peer>) {
        self.by_ufrag.borrow_mut().insert(ufrag.to_owned(), peer.clone());
        self.engine.note_ufrag(ufrag, self.id());
    }

    pub(crate) fn forget_ufrag(&self, ufrag: &str) {
        self.by_ufrag.borrow_mut().remove(ufrag);
        self.engine.forget_ufrag(ufrag);
    }

    /// Every session here.
    pub(crate) fn peers(&self) -> Ref<'_, Vec<Rc<Peer>>> {
        self.peers.borrow()
    }

    /// Serves only these addresses any more; sessions at the others go on.
    fn close_sockets(self: &Rc<Self>, keep: &[SocketAddr]) {
        let closes = |socket: &Socket| !keep.contains(&socket.local());
        self.part(closes);
        self.sockets.borrow_mut().retain(|socket| {
            let closes = closes(socket);
            if closes {
                socket.close();
            }
            !closes
        });
    }

    /// The session of that name, and of that token if one is given.
    pub(crate) fn find(&self, name: &str) -> Option<Rc<Peer>> {
        self.peers.borrow().iter().find(|peer| peer.name == name).cloned()
    }

    /// Ends a session: says goodbye, forgets it, tells the log.
    pub(crate) fn end(&self, peer: &Rc<Peer>, close: &Close) {
        {
            let mut peers = self.peers.borrow_mut();
            let Some(at) = peers.iter().position(|p| Rc::ptr_eq(p, peer)) else { return };
            peers.swap_remove(at);
            self.restless.borrow_mut().retain(|p| !Rc::ptr_eq(p, peer));
        }
        self.guard(|| peer.goodbye(self, Instant::now()));
        let (ufrags, addresses) = {
            let body = peer.body.borrow();
            (body.ufrags.clone(), body.addresses().to_vec())
        };
        for ufrag in &ufrags {
            self.forget_ufrag(ufrag);
        }
        for address in addresses {
            self.forget_address(address, peer.number);
        }
        self.by_number.borrow_mut().remove(&peer.number);
        self.marked.borrow_mut().retain(|p| !Rc::ptr_eq(p, peer));
        peer.over.notify_waiters();
        peer.body.borrow().close_own_socket();
        self.engine.leave(&peer.name, self.id());
        let mut body = peer.body.borrow_mut();
        match &mut body.role {
            Role::Play(playing) => {
                playing.tell(&peer.session);
                let stream = playing.stream.clone();
                if stream.leave(peer) {
                    self.streams.borrow_mut().remove(&stream.stream.id);
                }
            }
            Role::Publish(publishing) => publishing.end(&self.engine),
        }
        drop(body);
        peer.session.closed(close);
    }

    /// The stream of that number, if it has viewers here.
    pub(crate) fn stream(&self, id: u64) -> Option<Rc<RtcStream>> {
        self.streams.borrow().get(&id).cloned()
    }

    /// The stream for a viewer who is about to enter it.
    pub(crate) fn open_stream(
        self: &Rc<Self>,
        stream: &Arc<Stream>,
        options: BridgeOptions,
    ) -> Rc<RtcStream> {
        if let Some(found) = self.stream(stream.id) {
            return found;
        }
        let made = RtcStream::new(stream.clone());
        self.streams.borrow_mut().insert(stream.id, made.clone());
        let bridge = Bridge::new(options, stream.key.url().into());
        let (task, this) = (made.clone(), self.clone());
        self.shard.spawn("rtc", async move { task.run(this, bridge).await });
        made
    }

    /// Our socket at that address.
    pub(crate) fn socket_at(&self, local: SocketAddr) -> Option<Rc<Socket>> {
        let sockets = self.sockets.borrow();
        let fits = |socket: &&Rc<Socket>| {
            let at = socket.local();
            at.port() == local.port() && (at.ip() == local.ip() || at.ip().is_unspecified())
        };
        sockets.iter().find(fits).or_else(|| sockets.first()).cloned()
    }

    /// The connection of that number.
    pub(crate) fn connection(&self, number: u64) -> Option<Rc<Connection>> {
        self.connections.borrow().get(&number).cloned()
    }

    pub(crate) fn add_connection(&self, number: u64, connection: Rc<Connection>) {
        self.connections.borrow_mut().insert(number, connection);
    }

    /// Sends what a transport has to send.
    pub(crate) fn transmit(&self, transmit: &Transmit) {
        match transmit.via {
            Via::Udp(local) => {
                if let Some(socket) = self.socket_at(local) {
                    self.transmit_by(&socket, local, transmit);
                }
            }
            Via::Tcp(number) => {
                if let Some(connection) = self.connection(number) {
                    connection.send(std::iter::once(transmit.bytes.as_slice()));
                }
            }
        }
    }

    /// A connection of a session has ended.
    pub(crate) fn connection_gone(self: &Rc<Self>, peer: &Rc<Peer>, number: u64) {
        self.connections.borrow_mut().remove(&number);
        if let Some(Some(close)) = self.guard(|| peer.gone(self, number)) {
            self.end(peer, &close);
        }
    }

    /// The same by a socket that is known.
    pub(crate) fn transmit_by(&self, socket: &Socket, local: SocketAddr, transmit: &Transmit) {
        let from = socket.local().ip().is_unspecified().then(|| local.ip());
        let from = from.filter(|ip| !ip.is_unspecified());
        let bytes = &transmit.bytes;
        if socket.send(transmit.to, from, bytes, bytes.len()) != Sent::Yes {
            self.engine.stats.not_sent.fetch_add(1, Relaxed);
        }
    }

    /// Counts a datagram that was not taken.
    pub(crate) fn dropped(&self, why: Drop) {
        self.engine.stats.dropped(why);
    }

    /// Counts what was sent to a viewer.
    pub(crate) fn book(&self, stream: &Stream, tally: Tally) {
        stream.stats.send_bytes.fetch_add(tally.bytes, Relaxed);
        if tally.no_room > 0 {
            self.engine.stats.no_room.fetch_add(tally.no_room, Relaxed);
        }
        if tally.failed > 0 {
            self.engine.stats.not_sent.fetch_add(tally.failed, Relaxed);
        }
    }
}
