//! One peer: ICE, DTLS and SRTP tied together.
//!
//! A [`Transport`] takes datagrams and time, and gives datagrams, events, and media in the clear.
//! Nothing but STUN is answered before the peer has shown by a check whose integrity holds that it
//! is who the signalling spoke of; nothing that fails a check changes anything.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::dtls::{Fingerprint, Identity, Setup, Version};
use super::ice::Credentials;
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
    /// The peer is now to be reached elsewhere.
    AddressChanged {
        /// The peer's.
        addr: SocketAddr,
        /// The road.
        via: Via,
    },
    /// The handshake is done; media may flow.
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
    config: TransportConfig,
}

impl Transport {
    /// Makes a session that waits for its first datagram, or, as client, sends one.
    pub fn new(config: TransportConfig, _now: Instant) -> Self {
        Self { config }
    }

    /// Takes one datagram.
    ///
    /// Media cost no allocation. What fails a check changes nothing.
    pub fn handle<'a>(
        &mut self,
        _now: Instant,
        _from: SocketAddr,
        _via: Via,
        _datagram: &'a mut [u8],
    ) -> Incoming<'a> {
        Incoming::Dropped(Drop::Unknown)
    }

    /// Takes the time: checks, retransmissions, the end of consent.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When [`Self::handle_timeout`] is due; none after the end.
    pub fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    /// What has happened since.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// A further message that came over DTLS.
    pub fn poll_data(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Sends a message over DTLS; false before the handshake is done and after the end.
    pub fn send_data(&mut self, _data: &[u8]) -> bool {
        false
    }

    /// What protects the RTP we send; none before the handshake, and none where media are plain.
    pub fn srtp_sender(&self) -> Option<&srtp::Sender> {
        None
    }

    /// Whether media may flow, encrypted or plain as configured.
    pub fn is_connected(&self) -> bool {
        self.state() == State::Connected
    }

    /// Protects the compound RTCP packet `packet[from..]` in place; where media are plain, leaves
    /// it as it is. Fails before [`Self::is_connected`].
    pub fn protect_rtcp(&mut self, _packet: &mut Vec<u8>, _from: usize) -> Result<(), SrtpError> {
        Ok(())
    }

    /// How far the session is.
    pub fn state(&self) -> State {
        State::Checking
    }

    /// Where media are to be sent.
    pub fn selected(&self) -> Option<(SocketAddr, Via)> {
        None
    }

    /// A further address of the peer, as it trickles in; for the client. At most 32 are kept.
    pub fn add_candidate(&mut self, _addr: SocketAddr, _via: Via) {}

    /// Takes new credentials (RFC 8445 §9). The old ones hold until the first check with the new.
    pub fn restart_ice(&mut self, _local: Credentials, _remote: Credentials, _now: Instant) {}

    /// Ends the session, with a goodbye to the peer that [`Self::poll_transmit`] gives.
    pub fn close(&mut self, _now: Instant) {
        let _ = &self.config;
    }
}
