//! One peer: ICE, DTLS and SRTP tied together.
//!
//! A [`Transport`] takes datagrams and time, and gives datagrams, events, and media in the clear.
//! Nothing but STUN is answered before the peer has shown by a check whose integrity holds that it
//! is who the signalling spoke of; nothing that fails a check changes anything.

mod begin;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::dtls::{Dtls, Fingerprint, Gave, Identity, Setup, Version};
use super::ice::{Agent, Credentials, Mark, Out};
use crate::wire::srtp::{self, Profile, SrtpError};

/// The road a datagram came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// The UDP socket, and the address of ours that was written to.
    Udp(SocketAddr),
    /// A TCP connection (RFC 6544), by a number the caller gave it.
    Tcp(u64),
}

/// Which side of ICE we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A server at a public address: answers checks and sends none (RFC 8445 §2.5).
    Lite,
    /// Controls: checks these addresses of the peer, best first, and nominates.
    Client(Vec<(SocketAddr, Via)>),
}

/// What a session is made with.
#[derive(Debug, Clone)]
pub struct TransportConfig {
    /// Which side of ICE we are.
    pub role: Role,
    /// Our credentials, which the peer's checks must know.
    pub local: Credentials,
    /// The peer's credentials.
    pub remote: Credentials,
    /// Who begins the handshake.
    pub setup: Setup,
    /// Which versions of DTLS are spoken.
    pub version: Version,
    /// Our certificate.
    pub identity: Identity,
    /// What the signalling said of the peer's certificate.
    pub peer_fingerprint: Fingerprint,
    /// Whether there is a handshake at all (`dtls` of SRS); without one media are plain.
    pub dtls: bool,
    /// Whether media are encrypted (`encrypt` of SRS).
    pub encrypt: bool,
    /// How long after the last valid check the session ends (RFC 7675); 30 s is usual.
    pub consent: Duration,
    /// For what needs no secrecy: transaction numbers and the tie-breaker of the client.
    pub seed: u64,
}

/// What a datagram was.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// An RTP packet in the clear; the slice may be changed.
    Rtp(&'a mut [u8]),
    /// A compound RTCP packet in the clear.
    Rtcp(&'a [u8]),
    /// A message over DTLS; if it brought more, [`Transport::poll_data`] has them.
    Data(Vec<u8>),
    /// STUN or a handshake: something may be there to transmit, or an event.
    Nothing,
    /// Not taken; nothing has changed.
    Dropped(Drop),
}

/// Messages that wait for [`Transport::poll_data`]; more are dropped. One datagram can bring as many.
const MAX_WAITING: usize = 64;

/// Why a datagram was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Drop {
    /// Neither STUN, DTLS, RTP nor RTCP (RFC 7983 §7).
    #[error("no packet of WebRTC")]
    Unknown,
    /// STUN that cannot be read.
    #[error("STUN that cannot be read")]
    BadStun,
    /// STUN whose user name or integrity does not fit.
    #[error("STUN that does not know the password")]
    Forged,
    /// From an address that no check has validated.
    #[error("from an address without a check")]
    Unvalidated,
    /// DTLS that is no record or comes where there is no handshake.
    #[error("DTLS that was not expected")]
    BadDtls,
    /// Media before there are keys.
    #[error("media before the handshake")]
    Early,
    /// Media whose tag does not fit.
    #[error("media whose tag does not fit")]
    Tag,
    /// Media seen before.
    #[error("media seen before")]
    Replayed,
    /// Media that cannot be read, or of too many sources.
    #[error("media that cannot be read")]
    BadMedia,
    /// The session is over.
    #[error("after the end")]
    Closed,
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// By which road.
    pub via: Via,
    /// What; without the length that TCP puts before it.
    pub bytes: Vec<u8>,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The first address is validated.
    IceConnected {
        /// The peer's.
        addr: SocketAddr,
        /// The road.
        via: Via,
    },
    /// The first address was selected on the peer's word; now it has shown that it receives there.
    /// An address that comes after it has shown so before.
    Proven {
        /// The peer's.
        addr: SocketAddr,
        /// The road.
        via: Via,
    },
    /// The peer is now to be reached elsewhere.
    AddressChanged {
        /// The peer's.
        addr: SocketAddr,
        /// The road.
        via: Via,
    },
    /// The handshake is done, or there is none: media may flow.
    DtlsConnected {
        /// How media are protected; none if they are plain.
        profile: Option<Profile>,
        /// The version agreed on.
        version: Version,
    },
    /// The first check with the credentials of a restart has come.
    Restarted,
    /// The end; comes once, and nothing after it.
    Closed(Why),
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// [`Transport::close`] was called.
    #[error("closed by us")]
    Us,
    /// The peer said goodbye (`close_notify`).
    #[error("closed by the peer")]
    Peer,
    /// The peer gave up the handshake or the connection, with the number of its alert.
    #[error("the peer sent the fatal DTLS alert {0}")]
    Alert(u8),
    /// No valid check came for as long as consent lasts.
    #[error("no connectivity check came for {} s", .0.as_secs())]
    Consent(Duration),
    /// None of the peer's addresses answered; for the client.
    #[error("no address of the peer answered")]
    Unreachable,
    /// The handshake took too long.
    #[error("the DTLS handshake was not done in time")]
    HandshakeTimeout,
    /// The peer's certificate is not the one the signalling spoke of.
    #[error("the certificate does not have the fingerprint of the SDP")]
    Fingerprint,
    /// The handshake agreed on no profile for media.
    #[error("no SRTP profile was agreed on")]
    NoProfile,
    /// The handshake failed.
    #[error("DTLS failed: {0}")]
    Dtls(String),
}

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No valid check came yet.
    Checking,
    /// An address is validated; no handshake message came yet.
    AwaitsHello,
    /// The handshake runs; that many datagrams of it came.
    Handshaking(u32),
    /// Media may flow.
    Connected,
    /// The end.
    Closed,
}

impl std::fmt::Display for State {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Checking => out.write_str("waits for the first STUN check"),
            Self::AwaitsHello => out.write_str("STUN is well, waits for DTLS"),
            Self::Handshaking(count) => write!(out, "DTLS handshake, {count} datagrams came"),
            Self::Connected => out.write_str("connected"),
            Self::Closed => out.write_str("closed"),
        }
    }
}

/// One peer.
#[derive(Debug)]
pub struct Transport {
    agent: Agent,
    /// None where the peers do without, and after the end.
    dtls: Option<Dtls>,
    srtp: Option<Box<(srtp::Sender, srtp::Receiver)>>,
    encrypt: bool,
    /// Where our side of the handshake has gone.
    told: Told,
    /// What was agreed on, while the peer has not shown that it receives where media would go.
    agreed: Option<(Option<Profile>, Version)>,
    state: Phase,
    out: Out,
    data: VecDeque<Vec<u8>>,
    /// The last time that was told, for what is done without one.
    now: Instant,
}

/// Who has heard our side of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nobody,
    One(SocketAddr, Via),
    Several,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Connected,
    Closed,
}

impl Transport {
    /// Makes a session that waits for its first datagram, or, as client, sends one at the next
    /// [`Self::handle_timeout`].
    pub fn new(config: TransportConfig, now: Instant) -> Self {
        let agent =
            Agent::new(&config.role, config.local, config.remote, config.consent, config.seed, now);
        let dtls = config.dtls.then(|| {
            Dtls::new(config.identity, config.setup, config.version, config.peer_fingerprint)
        });
        Self {
            agent,
            encrypt: config.encrypt && dtls.is_some(),
            dtls,
            srtp: None,
            told: Told::Nobody,
            agreed: None,
            state: Phase::Connecting,
            out: Out::default(),
            data: VecDeque::new(),
            now,
        }
    }

    /// Takes one datagram, or one packet of a TCP connection.
    ///
    /// Media cost no allocation. What fails a check changes nothing.
    pub fn handle<'a>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        datagram: &'a mut [u8],
    ) -> Incoming<'a> {
        self.now = now;
        if self.state == Phase::Closed {
            return Incoming::Dropped(Drop::Closed);
        }
        let (first, second) = match datagram {
            [first, second, ..] => (*first, *second),
            _ => return Incoming::Dropped(Drop::Unknown),
        };
        // RFC 7983 §7, RFC 5761 §4.
        match (first, second) {
            (0..=3, _) => self.handle_stun(now, from, via, datagram),
            (20..=63, _) => self.handle_dtls(now, from, via, datagram),
            (128..=191, 192..=223) => self.handle_rtcp(now, from, via, datagram),
            (128..=191, _) => self.handle_rtp(now, from, via, datagram),
            _ => Incoming::Dropped(Drop::Unknown),
        }
    }

    fn handle_stun<'a>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        datagram: &'a [u8],
    ) -> Incoming<'a> {
        if let Err(drop) = self.agent.handle(now, from, via, datagram, &mut self.out) {
            return Incoming::Dropped(drop);
        }
        self.go_on(now);
        Incoming::Nothing
    }

    fn handle_dtls<'a>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        datagram: &'a [u8],
    ) -> Incoming<'a> {
        if !self.agent.is_valid(from, via) {
            return Incoming::Dropped(Drop::Unvalidated);
        }
        let Some(dtls) = &mut self.dtls else { return Incoming::Dropped(Drop::BadDtls) };
        self.agent.got(from, via, datagram.len());
        let mut gave = Gave::default();
        let taken = dtls.handle(now, datagram, &mut gave);
        let bad = matches!(taken, Ok(false));
        self.give(now, gave, taken.map(drop), Some((from, via)));
        if bad {
            return Incoming::Dropped(Drop::BadDtls);
        }
        self.data.pop_front().map_or(Incoming::Nothing, Incoming::Data)
    }

    fn handle_rtp<'a>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        datagram: &'a mut [u8],
    ) -> Incoming<'a> {
        if let Err(drop) = self.may_bring_media(from, via) {
            return Incoming::Dropped(drop);
        }
        let Some(srtp) = &mut self.srtp else {
            return if srtp::rtp_header_len(datagram).is_some() {
                Incoming::Rtp(datagram)
            } else {
                Incoming::Dropped(Drop::BadMedia)
            };
        };
        match srtp.1.unprotect(datagram) {
            Ok(len) => {
                self.agent.heard(now, from, via);
                Incoming::Rtp(datagram.get_mut(..len).unwrap_or_default())
            }
            Err(error) => Incoming::Dropped(error.into()),
        }
    }

    fn handle_rtcp<'a>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        datagram: &'a mut [u8],
    ) -> Incoming<'a> {
        if let Err(drop) = self.may_bring_media(from, via) {
            return Incoming::Dropped(drop);
        }
        let Some(srtp) = &mut self.srtp else { return Incoming::Rtcp(datagram) };
        match srtp.1.unprotect_rtcp(datagram) {
            Ok(len) => {
                self.agent.heard(now, from, via);
                Incoming::Rtcp(datagram.get(..len).unwrap_or_default())
            }
            Err(error) => Incoming::Dropped(error.into()),
        }
    }

    fn may_bring_media(&self, from: SocketAddr, via: Via) -> Result<(), Drop> {
        if !self.agent.is_valid(from, via) {
            return Err(Drop::Unvalidated);
        }
        if self.state == Phase::Connected { Ok(()) } else { Err(Drop::Early) }
    }

    /// Takes the time: checks, retransmissions, the end of consent.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.state == Phase::Closed {
            return;
        }
        if let Err(why) = self.agent.handle_timeout(now, &mut self.out) {
            self.end(now, why);
            return;
        }
        if let Some(dtls) = &mut self.dtls {
            let mut gave = Gave::default();
            let taken = dtls.handle_timeout(now, &mut gave);
            self.give(now, gave, taken, None);
        }
    }

    /// When [`Self::handle_timeout`] is due; none after the end.
    pub fn deadline(&self) -> Option<Instant> {
        if self.state == Phase::Closed {
            return None;
        }
        let ice = self.agent.deadline();
        let dtls = self.dtls.as_ref().and_then(Dtls::deadline);
        Some(dtls.map_or(ice, |dtls| dtls.min(ice)))
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let next = self.out.transmits.pop_front();
        if next.is_none() && self.out.transmits.capacity() > 0 {
            // Thousands of sessions lie idle: what the handshake needed is given back.
            self.out.transmits = VecDeque::new();
        }
        next
    }

    /// What has happened since.
    pub fn poll_event(&mut self) -> Option<Event> {
        let next = self.out.events.pop_front();
        if next.is_none() && self.out.events.capacity() > 0 {
            self.out.events = VecDeque::new();
        }
        next
    }

    /// A further message that came over DTLS.
    pub fn poll_data(&mut self) -> Option<Vec<u8>> {
        self.data.pop_front()
    }

    /// Sends a message over DTLS, at most 1,100 bytes; false before the handshake is done and
    /// after the end. Drops the message, as the network may, where the engine has no room.
    pub fn send_data(&mut self, data: &[u8]) -> bool {
        let now = self.now;
        let Some(dtls) = self.dtls.as_mut().filter(|_| self.state == Phase::Connected) else {
            return false;
        };
        let mut gave = Gave::default();
        let sent = dtls.send(now, data, &mut gave);
        let taken = matches!(sent, Ok(true));
        self.give(now, gave, sent.map(drop), None);
        taken
    }

    /// What protects the RTP we send; none before the handshake, and none where media are plain.
    pub fn srtp_sender(&self) -> Option<&srtp::Sender> {
        self.srtp.as_ref().map(|srtp| &srtp.0)
    }

    /// Whether media may flow, encrypted or plain as configured.
    pub fn is_connected(&self) -> bool {
        self.state == Phase::Connected
    }

    /// Protects the compound RTCP packet `packet[from..]` in place; where media are plain, leaves
    /// it as it is. Fails before [`Self::is_connected`], with [`SrtpError::Plain`].
    pub fn protect_rtcp(&mut self, packet: &mut Vec<u8>, from: usize) -> Result<(), SrtpError> {
        let connected = self.is_connected();
        match &mut self.srtp {
            Some(srtp) => srtp.0.protect_rtcp(packet, from),
            None if connected => Ok(()),
            None => Err(SrtpError::Plain),
        }
    }

    /// How far the session is.
    pub fn state(&self) -> State {
        match self.state {
            Phase::Closed => State::Closed,
            Phase::Connected => State::Connected,
            Phase::Connecting if self.agent.target().is_none() => State::Checking,
            Phase::Connecting => match self.dtls.as_ref().map(Dtls::datagrams) {
                Some(count) if count > 0 => State::Handshaking(count),
                _ => State::AwaitsHello,
            },
        }
    }

    /// Whether a check has shown that the peer is at this address.
    pub fn is_valid(&self, from: SocketAddr, via: Via) -> bool {
        self.agent.is_valid(from, via)
    }

    /// Whether the peer has shown that it receives at this address, by what nobody else could know.
    pub fn is_proven(&self, from: SocketAddr, via: Via) -> bool {
        self.agent.is_proven(from, via)
    }

    /// Puts `mark` before the number of each question to the peer, whose answers bear no name:
    /// [`stun::answered`](crate::wire::stun::answered) gives it back. For a lite agent, once.
    pub fn set_mark(&mut self, mark: Mark) {
        self.agent.set_mark(mark);
    }

    /// Where media are to be sent.
    pub fn selected(&self) -> Option<(SocketAddr, Via)> {
        self.agent.selected()
    }

    /// A further address of the peer, as it trickles in; for the client. At most 32 are kept.
    pub fn add_candidate(&mut self, addr: SocketAddr, via: Via) {
        self.agent.add_candidate(self.now, addr, via);
    }

    /// A TCP connection was closed: no address behind it counts any more. The session goes on, for
    /// the peer may come back by another.
    pub fn gone(&mut self, via: Via) {
        self.agent.gone(via, &mut self.out);
    }

    /// Takes new credentials (RFC 8445 §9). The old ones hold until the first check with the new.
    /// Handshake and keys stay (RFC 8842 §4).
    pub fn restart_ice(&mut self, local: Credentials, remote: Credentials, now: Instant) {
        self.now = now;
        self.agent.restart(local, remote, now);
    }

    /// Ends the session, with a goodbye to the peer that [`Self::poll_transmit`] gives.
    pub fn close(&mut self, now: Instant) {
        self.now = now;
        self.end(now, Why::Us);
    }

    fn end(&mut self, now: Instant, why: Why) {
        if self.state == Phase::Closed {
            return;
        }
        self.state = Phase::Closed;
        if let Some(mut dtls) = self.dtls.take() {
            let mut gave = Gave::default();
            dtls.close(now, &mut gave);
            if let Some((to, via)) = self.agent.target() {
                let packets = gave.packets.into_iter();
                self.out.transmits.extend(packets.map(|bytes| Transmit { to, via, bytes }));
            }
        }
        self.srtp = None;
        self.data = VecDeque::new();
        self.out.events.push_back(Event::Closed(why));
    }
}

#[cfg(test)]
mod tests;
