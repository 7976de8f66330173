//! A session on its shard: its transport, and what it publishes or plays.

mod playing;
mod reach;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gate::host::ConnectionPermit;
use gate::{Close, PlayGrant, Session};
use hub::Counters;
use media::Kind;
use rtp::rtcp::{SenderInfo, write};
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::admission::Place;
use super::allowance::Allowance;
use super::batch::{Path, Road, Tally};
use super::clock::ntp_of_us;
use super::log::{PacketLog, VIDEO};
use super::player::{Player, Way};
use super::publisher::Publishing;
use super::shard::RtcShard;
use super::socket::Socket;
use super::stream::RtcStream;
use super::stream_socket::Connection;
use crate::negotiate::{Negotiated, Ours};
use crate::session::transport::{Event, Incoming, Transport, Via};

/// Viewers who keep up are looked after so often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between two sender reports of a line.
const REPORT_EVERY_US: u64 = 1_000_000;
/// A viewer of a WebRTC stream whose last key frame is more packets ago than this gets a new one
/// instead: asking takes a round trip, and running through a long group takes longer.
const LONG_GROUP: u64 = 200;

/// Compound packets of RTCP that a peer may send in a second, and at once. Chromium sends 20 of
/// congestion feedback, some reports, and with every lost packet a wish: at half of it a bad network
/// could mute a good peer, at double a bad one costs twice as much.
const REPORTS: u32 = 500;
/// What a datagram came by.
#[derive(Clone, Copy)]
pub(crate) enum Arrived<'a> {
    /// A socket of this shard.
    Udp(&'a Rc<Socket>),
    /// A connection, by its number.
    Tcp(&'a Rc<Connection>),
}

pub(super) enum OwnRoad {
    /// The socket, the way, and our address as the peer knows it.
    Udp(Rc<Socket>, Path, SocketAddr),
    Tcp(Rc<Connection>),
}

impl OwnRoad {
    fn road(&self) -> Road<'_> {
        match self {
            Self::Udp(socket, path, _) => Road::Udp(socket, *path),
            Self::Tcp(connection) => Road::Tcp(connection),
        }
    }
}

/// What a session does.
pub(crate) enum Role {
    /// It is sent a stream.
    Play(Box<Playing>),
    /// It sends one.
    Publish(Box<Publishing>),
}

/// A viewer.
pub(crate) struct Playing {
    pub(crate) player: Player,
    pub(crate) stream: Rc<RtcStream>,
    pub(crate) grant: PlayGrant,
    /// RTCP CNAME.
    pub(crate) cname: String,
    /// Catches up by ticks, apart from the walk.
    behind: bool,
    /// When the round trip was last known, and its length in microseconds.
    pub(crate) round_trip_us: Option<u64>,
    /// Of the last receiver report, in 256ths.
    pub(crate) fraction_lost: u8,
    pub(crate) nacks: u64,
    pub(crate) plis: u64,
    /// When the size of picture is looked at next, and since when a larger one has fitted.
    size_at_us: u64,
    fits_since_us: Option<u64>,
    statuses: Allowance,
}

impl Playing {
    /// Has not begun.
    pub(crate) fn new(
        player: Player,
        stream: Rc<RtcStream>,
        grant: PlayGrant,
        cname: String,
    ) -> Self {
        Self {
            player,
            stream,
            grant,
            cname,
            behind: false,
            round_trip_us: None,
            fraction_lost: 0,
            nacks: 0,
            plis: 0,
            size_at_us: 0,
            fits_since_us: None,
            statuses: Allowance::new(playing::STATUSES),
        }
    }
}

/// See the module.
pub(crate) struct Peer {
    pub(crate) session: Session,
    /// Told apart by it; in the marks of our questions.
    pub(crate) number: u32,
    /// `local:remote`.
    pub(crate) name: String,
    /// Who knows it may change and end the session.
    pub(crate) token: String,
    pub(crate) body: RefCell<Body>,
    /// Connections of ICE over TCP that it has now.
    pub(crate) connections: Cell<usize>,
    /// It has ended: so do its connections.
    pub(crate) over: Notify,
    _permit: ConnectionPermit,
}

/// What changes of a session.
pub(crate) struct Body {
    pub(crate) transport: Transport,
    pub(crate) role: Role,
    /// What was agreed on, and what we brought: a restart of ICE changes both.
    pub(crate) agreed: Negotiated,
    pub(crate) ours: Ours,
    /// Names the ICE session.
    pub(crate) etag: String,
    /// Our user fragments, the newest last; by these its checks are found. At most two: one in
    /// force, and one of a restart.
    pub(crate) ufrags: SmallVec<[String; 1]>,
    /// Addresses of the peer by which it is found.
    addresses: SmallVec<[SocketAddr; 2]>,
    pub(super) road: Option<OwnRoad>,
    /// How media are protected, for people.
    protection: String,
    connected: bool,
    place: Place,
    reports: Allowance,
    /// Connected by then, or it is over.
    pending_until: Instant,
    report_at_us: u64,
    /// Looked at again by then.
    look_at: Instant,
}

impl Body {
    /// A session that waits for its first check.
    pub(crate) fn new(
        transport: Transport,
        role: Role,
        agreed: Negotiated,
        ours: Ours,
        etag: String,
        pending_until: Instant,
        place: Place,
    ) -> Self {
        Self {
            transport,
            role,
            ufrags: SmallVec::from_iter([ours.ufrag.clone()]),
            agreed,
            ours,
            etag,
            addresses: SmallVec::new(),
            road: None,
            protection: String::new(),
            connected: false,
            place,
            reports: Allowance::new(REPORTS),
            pending_until,
            report_at_us: 0,
            look_at: pending_until,
        }
    }

    /// Takes the name of a restart. Gives that of a restart before it which no check has followed:
    /// nobody is called so any more.
    pub(crate) fn renamed(&mut self, ufrag: String) -> Option<String> {
        rename(&mut self.ufrags, ufrag)
    }

    /// Addresses of the peer by which it is found.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Peer {
    /// A session.
    pub(crate) fn new(
        session: Session,
        number: u32,
        name: String,
        token: String,
        permit: ConnectionPermit,
        body: Body,
    ) -> Rc<Self> {
        Rc::new(Self {
            session,
            number,
            name,
            token,
            body: RefCell::new(body),
            connections: Cell::new(0),
            over: Notify::new(),
            _permit: permit,
        })
    }

    /// Takes a datagram. `Some`: the session is over.
    pub(crate) fn handle(
        self: &Rc<Self>,
        shard: &Rc<RtcShard>,
        now: Instant,
        from: SocketAddr,
        via: Via,
        arrived: Arrived<'_>,
        datagram: &mut [u8],
    ) -> Option<Close> {
        let counters = &self.session.counters;
        Counters::add(&counters.recv_bytes, datagram.len() as u64);
        let mut body = self.body.borrow_mut();
        let body = &mut *body;
        match body.transport.handle(now, from, via, datagram) {
            Incoming::Rtp(packet) => {
                if let Role::Publish(publishing) = &mut body.role {
                    Counters::add(&counters.messages, 1);
                    let over = publishing.on_rtp(packet, shard.clock().us(now));
                    shard.mark(self);
                    return over;
                }
                return None;
            }
            Incoming::Rtcp(packet) => {
                if !body.reports.take(1, shard.clock().us(now)) {
                    shard.engine().stats.too_many_reports.fetch_add(1, Relaxed);
                    return None;
                }
                match &mut body.role {
                    Role::Publish(publishing) => {
                        publishing.on_rtcp(packet, shard.clock(), shard.clock().us(now));
                        shard.mark(self);
                    }
                    Role::Play(playing) => {
                        let Some(road) = &body.road else { return None };
                        let mut tally = Tally::default();
                        let mut batch = shard.batch();
                        let mut way = Way {
                            road: road.road(),
                            srtp: body.transport.srtp_sender(),
                            batch: &mut batch,
                            tally: &mut tally,
                        };
                        playing.on_rtcp(packet, shard, now, &mut way);
                        self.book(shard, playing, tally);
                    }
                }
                return None;
            }
            // Nobody wants messages: they are read and forgotten.
            Incoming::Data(_) => while body.transport.poll_data().is_some() {},
            Incoming::Nothing => {}
            Incoming::Dropped(why) => {
                shard.dropped(why);
                return None;
            }
        }
        self.drain(shard, now, Some(arrived), body)
    }

    /// Takes the time. `Some`: the session is over.
    pub(crate) fn tick(self: &Rc<Self>, shard: &Rc<RtcShard>, now: Instant) -> Option<Close> {
        let mut body = self.body.borrow_mut();
        let body = &mut *body;
        let idle = match &body.role {
            Role::Play(playing) => body.connected && !playing.behind,
            Role::Publish(_) => false,
        };
        // Thousands of viewers have nothing to do most of the time.
        if idle && now < body.look_at {
            return None;
        }
        body.look_at = now + LOOK_EVERY;
        if let Some(why) = self.session.kick_reason() {
            return Some(Close::done(super::kicked(why)));
        }
        if body.transport.deadline().is_some_and(|at| at <= now) {
            body.transport.handle_timeout(now);
            if let Some(over) = self.drain(shard, now, None, body) {
                return Some(over);
            }
        }
        if !body.connected {
            if now >= body.pending_until {
                let state = body.transport.state();
                return Some(Close::peer(
                    1011,
                    format!("not connected in time: {state}; {}", super::advice(state)),
                ));
            }
            return None;
        }
        let now_us = shard.clock().us(now);
        match &mut body.role {
            Role::Play(playing) => {
                if playing.behind {
                    let stream = playing.stream.clone();
                    self.serve(shard, &stream.log.borrow(), body);
                }
                if let Role::Play(playing) = &mut body.role {
                    playing.choose_size(now_us);
                }
                if now_us >= body.report_at_us {
                    body.report_at_us = now_us.saturating_add(REPORT_EVERY_US);
                    self.report(shard, now_us, body);
                }
                None
            }
            Role::Publish(publishing) => {
                let mut out = shard.reports();
                let over = publishing.on_tick(now_us, shard.clock(), &mut out);
                if !out.is_empty() {
                    self.send_rtcp(&mut out, body);
                }
                out.clear();
                drop(out);
                shard.mark(self);
                over
            }
        }
    }

    /// Sends and does what the transport has to send and to tell.
    fn drain(
        self: &Rc<Self>,
        shard: &Rc<RtcShard>,
        now: Instant,
        arrived: Option<Arrived<'_>>,
        body: &mut Body,
    ) -> Option<Close> {
        while let Some(transmit) = body.transport.poll_transmit() {
            body.transmit(shard, &transmit);
        }
        while let Some(event) = body.transport.poll_event() {
            match event {
                Event::IceConnected { addr, via } => {
                    self.reach(shard, body, addr, via, arrived);
                    tracing::debug!(session = %self.session.id, %addr, "ICE connected");
                    self.note(body);
                }
                Event::Proven { addr, via } => {
                    self.found(shard, body, addr, via);
                    tracing::debug!(session = %self.session.id, %addr, "the client receives there");
                }
                Event::AddressChanged { addr, via } => {
                    self.reach(shard, body, addr, via, arrived);
                    tracing::info!(session = %self.session.id, %addr, "the client's address changed");
                }
                Event::DtlsConnected { profile, version } => {
                    body.connected = true;
                    body.place.connected();
                    let profile = profile.map_or_else(|| "plain".to_owned(), |p| p.to_string());
                    body.protection = format!("{version}, {profile}");
                    self.note(body);
                    let ms = u64::try_from(self.session.alive().as_millis()).unwrap_or(u64::MAX);
                    tracing::info!(
                        session = %self.session.id, %version, %profile, ms, "WebRTC connected"
                    );
                    self.begin(shard, now, body);
                }
                Event::Restarted => {
                    if body.ufrags.len() > 1 {
                        shard.forget_ufrag(&body.ufrags.remove(0));
                    }
                    tracing::debug!(session = %self.session.id, "ICE restarted");
                }
                Event::Closed(why) => return Some(super::closed(&why, body.connected)),
            }
        }
        None
    }

    /// Says in the API how far the session is and what it does not get.
    pub(crate) fn note(&self, body: &Body) {
        let state = body.transport.state();
        let mut note = state.to_string();
        if body.connected {
            if let (Some((addr, via)), protection) = (body.transport.selected(), &body.protection) {
                let over = if matches!(via, Via::Tcp(_)) { "TCP" } else { "UDP" };
                note = format!("connected over {over} with {addr}, {protection}");
            }
        } else {
            note.push_str("; ");
            note.push_str(super::advice(state));
        }
        for media in &body.agreed.media {
            let kind = if media.kind == Kind::Audio { "audio" } else { "video" };
            match (&media.refused, media.payloads.first()) {
                (Some(why), _) => note.push_str(&format!("; no {kind}: {why}")),
                (None, Some(payload)) => note.push_str(&format!("; {kind} {}", payload.codec)),
                (None, None) => {}
            }
        }
        self.session.set_note(note);
    }

    /// Media may flow.
    fn begin(self: &Rc<Self>, shard: &RtcShard, now: Instant, body: &mut Body) {
        body.look_at = now;
        match &mut body.role {
            Role::Publish(publishing) => publishing.begin(shard.clock().us(now)),
            Role::Play(playing) => {
                let stream = playing.stream.clone();
                let log = stream.log.borrow();
                playing.player.place(&log, playing.grant.from_key);
                if stream.relay().is_some()
                    && (playing.player.behind(&log) > LONG_GROUP || log.join() == log.head())
                {
                    playing.player.place(&log, false);
                    stream.want_key(VIDEO);
                }
                self.serve(shard, &log, body);
            }
        }
    }

    /// What comes is of another source.
    pub(crate) fn restart(&self, log: &PacketLog) {
        if let Role::Play(playing) = &mut self.body.borrow_mut().role {
            playing.player.restart();
            playing.player.place(log, false);
        }
    }

    /// The turn of a viewer in the walk.
    pub(crate) fn walk(&self, shard: &RtcShard, log: &PacketLog) {
        let mut body = self.body.borrow_mut();
        let behind = matches!(&body.role, Role::Play(playing) if playing.behind);
        if body.connected && !behind {
            self.serve(shard, log, &mut body);
        }
    }

    fn serve(&self, shard: &RtcShard, log: &PacketLog, body: &mut Body) {
        let (Role::Play(playing), Some(road)) = (&mut body.role, &body.road) else { return };
        let mut tally = Tally::default();
        let mut batch = shard.batch();
        let mut way = Way {
            road: road.road(),
            srtp: body.transport.srtp_sender(),
            batch: &mut batch,
            tally: &mut tally,
        };
        playing.player.now_us = shard.clock().now_us();
        playing.behind = playing.player.walk(log, &mut way);
        self.book(shard, playing, tally);
    }

    fn book(&self, shard: &RtcShard, playing: &Playing, tally: Tally) {
        if tally.calls == 0 {
            return;
        }
        let counters = &self.session.counters;
        Counters::add(&counters.send_bytes, tally.bytes);
        Counters::add(&counters.messages, tally.packets);
        if tally.no_room > 0 {
            Counters::add(&counters.lag_dropped, tally.no_room);
        }
        shard.book(&playing.stream.stream, tally);
    }

    /// Sender reports of a viewer's lines.
    fn report(&self, shard: &RtcShard, now_us: u64, body: &mut Body) {
        let Role::Play(playing) = &body.role else { return };
        let mut out = shard.reports();
        let log = playing.stream.log.borrow();
        for line in playing.player.lines().filter(|line| line.has_sent()) {
            let Some(sync) = log.sync(line.lane) else { continue };
            let since = now_us.saturating_sub(sync.at_us);
            let ticks = u128::from(since).saturating_mul(u128::from(sync.clock)) / 1_000_000;
            let ticks = u32::try_from(ticks & u128::from(u32::MAX)).unwrap_or(0);
            let info = SenderInfo {
                ssrc: line.ssrc,
                ntp: sync.ntp.wrapping_add(ntp_of_us(since)),
                rtp: line.time(sync.timestamp).wrapping_add(ticks),
                packets: line.packets,
                octets: line.octets,
            };
            write::sender_report(&mut out, &info, &[]);
            write::sdes_cname(&mut out, line.ssrc, playing.cname.as_bytes());
        }
        drop(log);
        if !out.is_empty() {
            self.send_rtcp(&mut out, body);
        }
        out.clear();
    }

    /// Protects and sends a compound packet.
    fn send_rtcp(&self, out: &mut Vec<u8>, body: &mut Body) {
        let Some(road) = &body.road else { return };
        if body.transport.protect_rtcp(out, 0).is_err() {
            return;
        }
        match road.road() {
            Road::Udp(socket, path) => {
                socket.send(path.to, path.from, out, out.len());
            }
            Road::Tcp(connection) => {
                connection.send(std::iter::once(out.as_slice()));
            }
        }
        Counters::add(&self.session.counters.send_bytes, out.len() as u64);
    }

    /// A connection of its is no more.
    pub(crate) fn gone(self: &Rc<Self>, shard: &Rc<RtcShard>, number: u64) -> Option<Close> {
        let mut body = self.body.borrow_mut();
        let body = &mut *body;
        body.transport.gone(Via::Tcp(number));
        self.drain(shard, Instant::now(), None, body)
    }

    /// Says goodbye to the peer.
    pub(crate) fn goodbye(&self, shard: &RtcShard, now: Instant) {
        let mut body = self.body.borrow_mut();
        body.transport.close(now);
        while let Some(transmit) = body.transport.poll_transmit() {
            body.transmit(shard, &transmit);
        }
    }
}

/// Adds a name; what it replaces is given: one of an earlier restart that nothing came of.
fn rename(ufrags: &mut SmallVec<[String; 1]>, ufrag: String) -> Option<String> {
    let unused = if ufrags.len() > 1 { ufrags.pop() } else { None };
    ufrags.push(ufrag);
    unused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_in_a_loop_leave_two_names_and_no_more() {
        let mut ufrags = SmallVec::from_iter(["first".to_owned()]);
        assert_eq!(rename(&mut ufrags, "second".to_owned()), None);
        for n in 0..1000 {
            assert!(rename(&mut ufrags, n.to_string()).is_some());
        }
        assert_eq!(ufrags.as_slice(), ["first", "999"]);
    }
}
