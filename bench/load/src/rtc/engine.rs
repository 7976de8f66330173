//! One thread with its share of the sessions: joins, datagrams, timers, the count.
//!
//! A socket is told of by edge and emptied in one call, mostly; the datagrams of that call share
//! one reading of the clock. When a session wants to be woken stands in a list of its own, which
//! is gone over each round: a microsecond for thousands.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};
use rtc::negotiate::Intent;
use rtc::session::dtls::Identity;
use rtp::sdp;
use rustix::time::{ClockId, clock_gettime};

use super::counts::Counts;
use super::netem::{Net, splitmix};
use super::peer::{Peer, Role, Scene, no_candidate};
use super::plan::Plan;
use super::player::Player;
use super::publisher::Publisher;
use super::signal::{Agreed, Done, Job, Signal};
use super::socket::{Room, Socket};
use crate::clock::{Now, nanos, now_ns};
use crate::fault::Fault;
use crate::plan::spread;
use crate::stats::Gauge;

/// The token of answers.
const ANSWERS: Token = Token(usize::MAX);
/// How often patience and the gauge are looked at.
const SWEEP_NS: u64 = 250_000_000;
/// Timers ring this much early rather than wake the thread twice, in nanoseconds.
const SLACK_NS: u64 = 500_000;
/// The least time of a round in which there is nothing to read: what comes meanwhile is handled
/// together, and thousands of sessions wake the thread a thousand times a second at most.
const NAP: Duration = Duration::from_micros(500);

/// When the parts of a run begin, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub(super) start_ns: u64,
    pub(super) window_ns: u64,
    pub(super) end_ns: u64,
}

/// What all threads of a run share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) plan: Arc<Plan>,
    pub(super) identity: Identity,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) schedule: Schedule,
}

/// How one player fared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fared {
    /// Received in the window.
    pub(super) bytes: u64,
    /// The part of the window in which it could have received.
    pub(super) span_ns: u64,
    /// Since its answer.
    pub(super) age_ns: u64,
    pub(super) connected: bool,
    pub(super) flows: bool,
    pub(super) frozen: bool,
    /// Moved, and media has not come since.
    pub(super) astray: bool,
}

/// What a thread hands over at its end.
pub(super) struct Outcome {
    pub(super) counts: Counts,
    pub(super) players: Vec<Fared>,
    /// Those that publish yet.
    pub(super) publishers: u64,
    /// The window as it was.
    pub(super) window_ns: u64,
    pub(super) window_cpu_ns: u64,
}

/// See the module.
pub(super) struct Engine {
    common: Common,
    thread: u32,
    poll: Poll,
    signal: Signal,
    peers: Vec<Option<Box<Peer>>>,
    /// When each of them is to be woken.
    due: Vec<u64>,
    /// The first slots are publishers'.
    publishers: usize,
    next_publisher: usize,
    next_player: usize,
    room: Room,
    net: Option<Net>,
    numbers: Vec<u16>,
    rtcp: Vec<u8>,
    counts: Counts,
    gauge: Arc<Gauge>,
    random: u64,
    window: Option<(u64, u64)>,
}

/// What a session is given; a macro, since it borrows parts of the engine.
macro_rules! scene {
    ($engine:expr, $now:expr) => {
        Scene {
            now: $now,
            counts: &mut $engine.counts,
            net: $engine.net.as_mut(),
            numbers: &mut $engine.numbers,
            rtcp: &mut $engine.rtcp,
        }
    };
}

impl Engine {
    pub(super) fn new(
        common: Common,
        thread: u32,
        counts: Counts,
        gauge: Arc<Gauge>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), ANSWERS)?);
        let plan = &common.plan;
        let threads = plan.threads.max(1);
        let share = |count: u32| (count / threads + u32::from(thread < count % threads)) as usize;
        let (publishers, players) = (share(plan.publisher_count()), share(plan.player_count()));
        let slots = publishers + players;
        let mut peers = Vec::new();
        peers.resize_with(slots, || None);
        Ok(Self {
            signal: Signal::start(&common.identity, plan.patience, &waker)?,
            poll,
            peers,
            due: vec![u64::MAX; slots],
            publishers,
            next_publisher: 0,
            next_player: publishers,
            room: Room::new(),
            net: plan.network.is_there().then(|| Net::new(&plan.network, thread)),
            numbers: Vec::new(),
            rtcp: Vec::with_capacity(2048),
            counts,
            gauge,
            random: now_ns() ^ u64::from(thread) << 48,
            window: None,
            thread,
            common,
        })
    }

    /// Runs to the end of the window, or until told to stop.
    ///
    /// # Errors
    /// The system refuses to poll.
    pub(super) fn run(mut self) -> io::Result<Outcome> {
        let mut events = Events::with_capacity(4096);
        let mut sweep_ns = 0;
        loop {
            let now = Now::read();
            let Schedule { window_ns, end_ns, .. } = self.common.schedule;
            if now.ns >= end_ns || self.common.stop.load(Ordering::Relaxed) {
                return Ok(self.finish());
            }
            if self.window.is_none() && now.ns >= window_ns {
                self.open_window(now.ns);
            }
            self.join(now.ns);
            self.network(now);
            self.alarms(now);
            if now.ns >= sweep_ns {
                sweep_ns = now.ns + SWEEP_NS;
                self.sweep(now.ns);
            }
            let boundary = if self.window.is_none() { window_ns } else { end_ns };
            let mut wake_ns = boundary.min(sweep_ns).min(self.join_ns().unwrap_or(u64::MAX));
            wake_ns = wake_ns.min(self.due.iter().copied().min().unwrap_or(u64::MAX));
            if let Some(at_ns) = self.net.as_ref().and_then(Net::next_ns) {
                wake_ns = wake_ns.min(at_ns);
            }
            let done_ns = now_ns();
            if self.counts.in_window {
                self.counts.lag.note_ns(done_ns - now.ns);
            }
            let wait = Duration::from_nanos(wake_ns.saturating_sub(done_ns)).max(NAP);
            match self.poll.poll(&mut events, Some(wait)) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            }
            let events_ns = now_ns();
            for event in &events {
                match event.token() {
                    ANSWERS => self.answers(),
                    Token(slot) => self.read(slot),
                }
            }
            if self.counts.in_window {
                self.counts.lag.note_ns(now_ns() - events_ns);
            }
        }
    }

    fn open_window(&mut self, now_ns: u64) {
        self.window = Some((now_ns, thread_cpu_ns()));
        self.counts.in_window = true;
        self.counts.at_window = self.counts.packets;
        for peer in self.peers.iter_mut().flatten() {
            if let Some(player) = peer.player_mut() {
                player.bytes_at_window = player.bytes;
            }
        }
    }

    const fn is_publisher(&self, slot: usize) -> bool {
        slot < self.publishers
    }

    /// The number of a slot's session among all threads' of its kind.
    fn index(&self, slot: usize) -> u32 {
        let own = if self.is_publisher(slot) { slot } else { slot - self.publishers };
        own as u32 * self.common.plan.threads.max(1) + self.thread
    }

    fn publisher_ns(&self) -> Option<u64> {
        let step = f64::from(self.index(self.next_publisher)) * 1e9 / self.common.plan.rate;
        (self.next_publisher < self.publishers).then(|| self.common.schedule.start_ns + step as u64)
    }

    fn player_ns(&self) -> Option<u64> {
        let step = f64::from(self.index(self.next_player)) * 1e9 / self.common.plan.rate;
        let lead_ns = nanos(self.common.plan.lead_in());
        (self.next_player < self.peers.len())
            .then(|| self.common.schedule.start_ns + lead_ns + step as u64)
    }

    fn join_ns(&self) -> Option<u64> {
        [self.publisher_ns(), self.player_ns()].into_iter().flatten().min()
    }

    /// Asks for the sessions that are due.
    fn join(&mut self, now_ns: u64) {
        while self.publisher_ns().is_some_and(|at| at <= now_ns) {
            let slot = self.next_publisher;
            self.next_publisher += 1;
            self.ask(slot);
        }
        while self.player_ns().is_some_and(|at| at <= now_ns) {
            let slot = self.next_player;
            self.next_player += 1;
            self.counts.joined += 1;
            self.ask(slot);
        }
    }

    fn ask(&mut self, slot: usize) {
        let (plan, index) = (&self.common.plan, self.index(slot));
        let (url, number, intent) = if self.is_publisher(slot) {
            let Some(publishers) = &plan.publishers else { return };
            (&publishers.url, index, Intent::Publish)
        } else {
            let Some(players) = &plan.players else { return };
            (&players.url, index % players.streams.max(1), Intent::Play)
        };
        let Some((host, path)) = url.target(number) else { return };
        let seed = splitmix(&mut self.random);
        self.signal.ask(Job { slot, intent, address: url.address(), host, path, seed });
    }

    /// Begins the sessions that were answered.
    fn answers(&mut self) {
        while let Ok(Done { slot, result }) = self.signal.done.try_recv() {
            let now = Now::read();
            let begun = result.and_then(|agreed| self.begin(slot, &agreed, now));
            match begun {
                Ok(peer) => {
                    let place = self.peers.get_mut(slot).zip(self.due.get_mut(slot));
                    if let Some((place, due)) = place {
                        *due = peer.due_ns();
                        *place = Some(Box::new(peer));
                    }
                }
                Err(fault) => self.lost(slot, &fault),
            }
        }
    }

    fn begin(&mut self, slot: usize, agreed: &Agreed, now: Now) -> Result<Peer, Fault> {
        let plan = self.common.plan.clone();
        let took_ns = agreed.answered_ns.saturating_sub(agreed.asked_ns);
        self.counts.answer.note_ns(took_ns);
        let candidates = candidates(agreed);
        let server = *candidates.first().ok_or_else(no_candidate)?;
        let socket = self.socket(slot, server)?;
        let seed = splitmix(&mut self.random);
        let role = match (&plan.publishers, &plan.players) {
            (Some(publishers), _) if self.is_publisher(slot) => {
                let clip = publishers.clip.clone();
                Role::Publisher(Publisher::new(&agreed.negotiated, clip, seed)?)
            }
            (_, Some(players)) => {
                let chosen = players.verified(plan.threads);
                let verified = spread(self.index(slot), chosen, players.count);
                let round_trip_us = plan.network.round_trip_us();
                let answered_ns = agreed.answered_ns;
                let negotiated = &agreed.negotiated;
                Role::Player(Player::new(negotiated, round_trip_us, verified, answered_ns, seed))
            }
            _ => return Err(Fault::Local("a slot without a session".to_owned())),
        };
        let own = (&self.common.identity, seed);
        let mut peer = Peer::new(slot, agreed, socket, &candidates, role, own, now)?;
        if !self.is_publisher(slot) {
            peer.move_ns = plan.move_after.map(|after| now.ns + nanos(after));
        }
        Ok(peer)
    }

    fn socket(&self, slot: usize, server: SocketAddr) -> Result<Socket, Fault> {
        let sources = &self.common.plan.sources;
        let from = (self.index(slot) as usize).checked_rem(sources.len());
        let from = from.and_then(|place| sources.get(place)).copied();
        let mut socket = Socket::new(server, from)?;
        let registry = self.poll.registry();
        registry
            .register(&mut socket.io, Token(slot), Interest::READABLE)
            .map_err(|e| Fault::socket(&e))?;
        Ok(socket)
    }

    fn lost(&mut self, slot: usize, fault: &Fault) {
        self.counts.error(fault);
        let publisher = self.is_publisher(slot);
        let counts = &mut self.counts;
        *(if publisher { &mut counts.publishers_lost } else { &mut counts.lost }) += 1;
    }

    /// Datagrams are there for a session.
    fn read(&mut self, slot: usize) {
        let Some(mut peer) = self.peers.get_mut(slot).and_then(Option::take) else { return };
        let now = Now::read();
        let result = peer.receive(&mut self.room, &mut scene!(self, now));
        self.keep(slot, peer, result);
    }

    /// Puts a session back, or counts it lost.
    fn keep(&mut self, slot: usize, peer: Box<Peer>, result: Result<(), Fault>) {
        if let Err(fault) = result {
            if let Some(due) = self.due.get_mut(slot) {
                *due = u64::MAX;
            }
            return self.lost(slot, &fault);
        }
        if let Some((place, due)) = self.peers.get_mut(slot).zip(self.due.get_mut(slot)) {
            *due = peer.due_ns();
            *place = Some(peer);
        }
    }

    /// Datagrams that the emulated network kept until now.
    fn network(&mut self, now: Now) {
        while let Some(mut held) = self.net.as_mut().and_then(|net| net.arrived(now.ns)) {
            let slot = held.slot;
            if let Some(mut peer) = self.peers.get_mut(slot).and_then(Option::take) {
                let mut result = Ok(());
                if held.inward {
                    result = peer.take(held.peer, &mut held.bytes, &mut scene!(self, now));
                } else {
                    peer.pass(held.peer, &held.bytes);
                }
                self.keep(slot, peer, result);
            }
            if let Some(net) = &mut self.net {
                net.done(held);
            }
        }
    }

    /// Sessions that want to be woken.
    fn alarms(&mut self, now: Now) {
        for slot in 0..self.due.len() {
            if self.due.get(slot).is_none_or(|due| *due > now.ns + SLACK_NS) {
                continue;
            }
            let Some(mut peer) = self.peers.get_mut(slot).and_then(Option::take) else { continue };
            let mut result = Ok(());
            if peer.move_ns.is_some_and(|at| at <= now.ns) {
                result = self
                    .socket(slot, peer.server)
                    .and_then(|socket| peer.moves(socket, &mut scene!(self, now)));
            }
            let result = result.and_then(|()| peer.timer(&mut scene!(self, now)));
            self.keep(slot, peer, result);
        }
    }

    /// Patience, and the numbers of the progress line.
    fn sweep(&mut self, now_ns: u64) {
        let patience_ns = nanos(self.common.plan.patience);
        let (mut connected, mut active, mut publishing) = (0, 0, 0);
        let mut overdue = Vec::new();
        for (slot, peer) in self.peers.iter().enumerate() {
            let Some(peer) = peer else { continue };
            if self.is_publisher(slot) {
                publishing += u64::from(peer.flows());
            } else {
                connected += u64::from(peer.is_connected());
                active += u64::from(peer.flows());
            }
            if !peer.flows() && now_ns.saturating_sub(peer.answered_ns()) > patience_ns {
                overdue.push(slot);
            }
        }
        for slot in overdue {
            let Some(peer) = self.peers.get_mut(slot).and_then(Option::take) else { continue };
            let fault = peer.waits_for();
            self.keep(slot, peer, Err(fault));
        }
        let (gauge, counts) = (&self.gauge, &self.counts);
        for (field, value) in [
            (&gauge.joined, counts.joined),
            (&gauge.connected, connected),
            (&gauge.active, active),
            (&gauge.publishing, publishing),
            (&gauge.lost, counts.lost + counts.publishers_lost),
            (&gauge.stalls, counts.packets.freezes),
            (&gauge.broken, u64::from(counts.findings.is_broken())),
            (&gauge.bytes, counts.packets.bytes),
        ] {
            Gauge::set(field, value);
        }
    }

    fn finish(mut self) -> Outcome {
        let now = Now::read();
        let (from_ns, cpu_ns) = self.window.unwrap_or((now.ns, thread_cpu_ns()));
        let window_cpu_ns = thread_cpu_ns().saturating_sub(cpu_ns);
        let (mut players, mut publishers) = (Vec::new(), 0);
        for slot in 0..self.peers.len() {
            let Some(mut peer) = self.peers.get_mut(slot).and_then(Option::take) else { continue };
            let Some(player) = peer.player() else {
                publishers += u64::from(peer.flows());
                peer.leave(&mut scene!(self, now));
                continue;
            };
            let began = if player.first_ns == 0 { now.ns } else { player.first_ns.max(from_ns) };
            let still_ns = player.stands_still_ns(now.ns);
            let frozen = still_ns.is_some_and(|ns| ns > super::tracker::FREEZE_NS);
            if let Some(ns) = still_ns.filter(|_| frozen) {
                self.counts.froze(ns);
            }
            players.push(Fared {
                bytes: player.bytes - player.bytes_at_window.min(player.bytes),
                span_ns: now.ns - began.min(now.ns),
                age_ns: now.ns.saturating_sub(peer.answered_ns()),
                connected: peer.is_connected(),
                flows: player.first_ns > 0,
                frozen,
                astray: player.moved_ns.is_some(),
            });
            peer.leave(&mut scene!(self, now));
        }
        if let Some(net) = &self.net {
            (self.counts.passed, self.counts.dropped) = (net.passed, net.lost);
        }
        Outcome {
            counts: self.counts,
            players,
            publishers,
            window_ns: now.ns - from_ns,
            window_cpu_ns,
        }
    }
}

/// The server's UDP addresses of one kind, version 4 if it has any.
fn candidates(agreed: &Agreed) -> Vec<SocketAddr> {
    let list = &agreed.negotiated.candidates;
    let udp = list.iter().filter(|c| c.transport == sdp::Transport::Udp);
    let all: Vec<SocketAddr> = udp.filter_map(sdp::Candidate::socket).collect();
    let v4: Vec<SocketAddr> = all.iter().copied().filter(SocketAddr::is_ipv4).collect();
    if v4.is_empty() { all } else { v4 }
}

/// Processor time of this thread, in nanoseconds.
fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
