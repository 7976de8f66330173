//! A session on its shard: its transport, and what it publishes or plays.

mod data;
mod judge;
mod playing;
mod reach;
mod serving;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use gate::host::ConnectionPermit;
use gate::{Close, PlayGrant, Session};
use hub::Counters;
use media::Kind;
use rtp::rtcp::{SenderInfo, write};
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::admission::Place;
use super::allowance::{Allowance, Lines};
use super::batch::{Path, Road};
use super::clock::ntp_of_us;
use super::log::{AUDIO, PacketLog, VIDEO};
use super::player::Player;
use super::publisher::Publishing;
use super::shard::RtcShard;
use super::socket::Socket;
use super::stream::RtcStream;
use super::stream_socket::Connection;
use crate::negotiate::{Negotiated, Ours};
use crate::session::transport::{Event, Incoming, Transport, Via};
use judge::Judge;

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
    /// Our last reports of the pictures, the newest last: the middle of the NTP time that they told,
    /// and when they were sent, microseconds.
    reported: [(u32, u64); 2],
    /// Of the last receiver report, in 256ths.
    pub(crate) fraction_lost: u8,
    pub(crate) nacks: u64,
    pub(crate) plis: u64,
    /// When the size of picture is looked at next, and since when a larger one has fitted.
    size_at_us: u64,
    fits_since_us: Option<u64>,
    statuses: Allowance,
    judge: Judge,
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
            reported: Default::default(),
            fraction_lost: 0,
            nacks: 0,
            plis: 0,
            size_at_us: 0,
            fits_since_us: None,
            statuses: Allowance::new(playing::STATUSES),
            judge: Judge::default(),
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
    /// It is looked at with each tick.
    pub(crate) stirred: Cell<bool>,
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
    /// About its addresses and restarts.
    pub(crate) lines: Lines,
    /// Connected by then, or it is over.
    pending_until: Instant,
    report_at_us: u64,
    /// From the first packet of its data channels on.
    data: Option<Box<data::Data>>,
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
            lines: Lines::new(),
            pending_until,
            report_at_us: 0,
            data: None,
        }
    }

    /// Takes the name of a restart. Gives that of a restart before it which no check has followed:
    /// nobody is called so any more.
    pub(crate) fn renamed(&mut self, ufrag: String) -> Option<String> {
        rename(&mut self.ufrags, ufrag)
    }

    fn is_restless(&self) -> bool {
        match &self.role {
            Role::Play(playing) => {
                let owes = playing.behind || playing.player.owes();
                owes || !self.connected || self.data.is_some()
            }
            Role::Publish(_) => true,
        }
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
            stirred: Cell::new(false),
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
                shard.engine().black_hole.copy(packet);
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
                shard.engine().black_hole.copy(packet);
                match &mut body.role {
                    Role::Publish(publishing) => {
                        publishing.on_rtcp(packet, shard.clock(), shard.clock().us(now));
                        shard.mark(self);
                    }
                    Role::Play(_) => self.reported(shard, now, packet, body),
                }
                return None;
            }
            Incoming::Data(first) => self.on_data(shard, now, body, first),
            Incoming::Nothing => {}
            Incoming::Dropped(why) => {
                shard.dropped(why);
                return None;
            }
        }
        self.drain(shard, now, Some(arrived), body)
    }

    /// Whether it has something to do with each tick: it is not connected yet, publishes, catches up,
    /// is owed what it lost, or has data channels.
    pub(crate) fn is_restless(&self) -> bool {
        self.body.borrow().is_restless()
    }

    /// Takes the time. `Some`: the session is over.
    pub(crate) fn tick(self: &Rc<Self>, shard: &Rc<RtcShard>, now: Instant) -> Option<Close> {
        let mut body = self.body.borrow_mut();
        let body = &mut *body;
        if let Some(why) = self.session.kick_reason() {
            return Some(Close::done(super::kicked(why)));
        }
        let channels = self.tick_data(shard, now, body);
        if channels || body.transport.deadline().is_some_and(|at| at <= now) {
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
                    self.serve(shard, &stream.log.borrow(), body, &mut shard.batch());
                }
                self.mend(shard, now, body);
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
                    if let Some(untold) = body.lines.take(shard.clock().us(now)) {
                        tracing::info!(
                            session = %self.session.id, %addr, untold,
                            "the client's address changed"
                        );
                    }
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
            let (kind, lane) =
                if media.kind == Kind::Audio { ("audio", AUDIO) } else { ("video", VIDEO) };
            let live = match &body.role {
                Role::Play(playing) => playing.stream.log.borrow().codec(lane),
                Role::Publish(_) => None,
            };
            let known = |codec| media.payloads.iter().any(|payload| payload.codec == codec);
            match (&media.refused, live.or(media.payloads.first().map(|payload| payload.codec))) {
                (Some(why), _) => note.push_str(&format!("; no {kind}: {why}")),
                (None, Some(codec)) if known(codec) => note.push_str(&format!("; {kind} {codec}")),
                (None, Some(codec)) => note.push_str(&format!(
                    "; no {kind}: the publisher sends {codec} now, which the client did not offer"
                )),
                (None, None) => {}
            }
        }
        note.push_str(&data::note(body));
        if let Role::Play(playing) = &body.role {
            playing.note(&mut note);
        }
        self.session.set_note(note);
    }

    /// Media may flow.
    fn begin(self: &Rc<Self>, shard: &RtcShard, now: Instant, body: &mut Body) {
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
                self.serve(shard, &log, body, &mut shard.batch());
            }
        }
    }

    /// What comes is of another source.
    pub(crate) fn restart(&self, log: &PacketLog) {
        let mut body = self.body.borrow_mut();
        if let Role::Play(playing) = &mut body.role {
            playing.player.restart();
            playing.player.place(log, false);
        }
        self.note(&body);
    }

    /// Sender reports of a viewer's lines.
    fn report(&self, shard: &RtcShard, now_us: u64, body: &mut Body) {
        let Role::Play(playing) = &mut body.role else { return };
        let mut out = shard.reports();
        let mut told: SmallVec<[_; 2]> = SmallVec::new();
        let log = playing.stream.log.borrow();
        for line in playing.player.lines_mut().filter(|line| line.has_sent()) {
            let Some(sync) = log.sync(line.lane) else { continue };
            let since = now_us.saturating_sub(sync.at_us);
            let ticks = u128::from(since).saturating_mul(u128::from(sync.clock)) / 1_000_000;
            let ticks = u32::try_from(ticks & u128::from(u32::MAX)).unwrap_or(0);
            let info = SenderInfo {
                ssrc: line.ssrc,
                ntp: sync.ntp.wrapping_add(ntp_of_us(since)),
                rtp: line.time(sync.timestamp).wrapping_add(ticks),
                packets: line.packets as u32,
                octets: line.octets as u32,
            };
            line.tell(info.ntp, info.rtp);
            write::sender_report(&mut out, &info, &[]);
            write::sdes_cname(&mut out, line.ssrc, playing.cname.as_bytes());
            told.push((info.ssrc, info.ntp));
        }
        drop(log);
        for (ssrc, ntp) in told {
            playing.reports(ssrc, ntp, now_us);
        }
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
            #[cfg(test)]
            Road::Kept(_) => {}
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
