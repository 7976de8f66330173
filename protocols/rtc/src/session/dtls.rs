//! The handshake that gives the keys of media, and the channel for data (RFC 5763, RFC 5764).
//!
//! dimpl is the engine; this guards it. It is made when the first message is due and not before,
//! so that a peer which has not passed ICE costs nothing. What anybody can forge before there are
//! keys (an alert in the clear, a hello that cannot be read) does not end a session at once: the
//! handshake is begun anew, and fails only if the true peer does not come within [`GRACE`].
//!
//! dimpl draws its own random numbers, for keys cannot come from a seed.

mod records;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::transport::Why;
use crate::wire::srtp::Profile;

/// When the first flight is sent again; doubles each time, give or take a quarter. SRS has it so,
/// for a handshake shall survive five losses within five seconds (RFC 6347 would wait a second).
const FIRST_RESEND: Duration = Duration::from_millis(50);

/// How long a handshake may take in all, from the first message on.
///
/// By then a flight was sent nine times. At half of it links that lose 40 % fail now and then, at
/// double a peer that has left is kept as long as consent is.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// The longest wait before a flight is sent again. The engine doubles without end, and counts
/// doubled packets of the peer as waits of its own: at a loss of 40 % it stood still for half a
/// minute. At half of this a slow peer is sent more than it asked for, at double such links fail.
const LONGEST_RESEND: Duration = Duration::from_millis(800);

/// How many datagrams of a flight are kept for that; a certificate of ours needs four.
const MAX_FLIGHT: usize = 16;

/// How often a flight may be sent again. Time is the limit; this one is out of its way, for
/// answers to doubled packets count against it, too.
const RESENDS: usize = 64;

/// The largest datagram of ours: what fits IPv6 through a tunnel, and SRS's fragments.
const MTU: usize = 1_200;

/// How many bytes of handshake are taken in all.
///
/// A handshake is 2 to 4 kB a side, sent up to nine times. At half of it a peer with a chain of
/// certificates on a bad link could fail, at double a liar may make us work twice as long.
const MAX_HANDSHAKE_BYTES: usize = 256 * 1024;

/// How many messages of one datagram wait for [`Dtls::poll_data`]; more are dropped, as a lossy
/// link would. At half of it nothing known fails, at double idle memory is no different.
const MAX_DATA: usize = 64;

/// How long, after something that would end a handshake, the true peer has to prove it false.
const GRACE: Duration = Duration::from_secs(3);

/// How often a handshake may be begun anew. Each costs an exchange of keys, 0.1 ms; at half of it
/// a forger on the path needs half as many packets, at double twice.
const MAX_RESTARTS: u32 = 8;

/// SHA-256 of a certificate, as SDP tells it (RFC 8122 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
        Self(digest.as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// Whether it is that certificate's; in constant time.
    fn fits(&self, certificate: &[u8]) -> bool {
        let theirs = Self::of(certificate);
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &theirs.0).is_ok()
    }
}

/// As SDP writes it: pairs of capital digits between colons.
impl std::fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            write!(out, "{}{byte:02X}", if place == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

/// Who begins the handshake (RFC 5763 §5): `a=setup` of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// We do, as the client.
    Active,
    /// The peer does; we are the server.
    Passive,
}

/// Which versions of DTLS are spoken, or was agreed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// 1.3 if the peer has it, else 1.2.
    #[default]
    Auto,
    /// 1.2 only.
    Dtls12,
    /// 1.3 only.
    Dtls13,
}

impl std::fmt::Display for Version {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Auto => "DTLS",
            Self::Dtls12 => "DTLS 1.2",
            Self::Dtls13 => "DTLS 1.3",
        })
    }
}

/// Why a certificate was not made or not taken. Ours, or the operator's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// No certificate could be made.
    #[error("no certificate was made: {0}")]
    Make(String),
    /// The key is none of ECDSA over P-256 or P-384 in PKCS #8.
    #[error("the key is not of ECDSA over P-256 or P-384")]
    Key,
    /// The engine refuses its settings.
    #[error("DTLS cannot be set up: {0}")]
    Engine(String),
}

/// Our certificate and key with its fingerprint; made once per process, shared by all sessions.
#[derive(Debug, Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    certificate: dimpl::DtlsCertificate,
    engine: Arc<dimpl::Config>,
    fingerprint: Fingerprint,
}

impl Identity {
    /// Takes a certificate and its key, both DER; the key PKCS #8, ECDSA over P-256 or P-384.
    pub fn from_der(certificate: Vec<u8>, private_key: Vec<u8>) -> Result<Self, IdentityError> {
        use aws_lc_rs::signature;
        let fits = [
            &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
        ]
        .into_iter()
        .any(|kind| signature::EcdsaKeyPair::from_pkcs8(kind, &private_key).is_ok());
        // The engine panics on a key it cannot read.
        if !fits {
            return Err(IdentityError::Key);
        }
        let engine = dimpl::Config::builder()
            .mtu(MTU)
            .flight_start_rto(FIRST_RESEND)
            .flight_retries(RESENDS)
            .handshake_timeout(HANDSHAKE)
            // The address was validated by ICE; a cookie would prove it again for a round trip.
            .use_server_cookie(false)
            .build()
            .map_err(|error| IdentityError::Engine(error.to_string()))?;
        let fingerprint = Fingerprint::of(&certificate);
        let certificate = dimpl::DtlsCertificate { certificate, private_key };
        Ok(Self { inner: Arc::new(Inner { certificate, engine: Arc::new(engine), fingerprint }) })
    }

    /// What belongs into our SDP.
    pub fn fingerprint(&self) -> Fingerprint {
        self.inner.fingerprint
    }
}

/// What a handshake gave.
pub(super) struct Done {
    /// The profile and the keys of media, if one was agreed on.
    pub(super) keys: Option<(Profile, dimpl::crypto::KeyingMaterial)>,
    pub(super) version: Version,
}

/// What came out of a call.
#[derive(Default)]
pub(super) struct Gave {
    pub(super) packets: Vec<Vec<u8>>,
    pub(super) data: VecDeque<Vec<u8>>,
    /// Once.
    pub(super) done: Option<Done>,
}

/// One handshake and what follows it.
pub(super) struct Dtls {
    identity: Identity,
    setup: Setup,
    version: Version,
    expected: Fingerprint,
    /// From the first message on.
    machine: Option<Box<dimpl::Dtls>>,
    due: Option<Instant>,
    /// When a handshake that is not done fails; from its first message on.
    limit: Option<Instant>,
    certified: bool,
    connected: bool,
    reported: bool,
    keys: Option<(Profile, dimpl::crypto::KeyingMaterial)>,
    bytes: usize,
    datagrams: u32,
    restarts: u32,
    /// What was sent last, and when it is sent again unless the engine does so before.
    flight: Option<(Vec<Vec<u8>>, Instant)>,
    /// What ends the handshake unless it goes on by then.
    suspicion: Option<(Why, Instant)>,
}

impl std::fmt::Debug for Dtls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Dtls")
            .field("setup", &self.setup)
            .field("begun", &self.machine.is_some())
            .field("done", &self.reported)
            .finish_non_exhaustive()
    }
}

impl Dtls {
    pub(super) fn new(
        identity: Identity,
        setup: Setup,
        version: Version,
        expected: Fingerprint,
    ) -> Self {
        Self {
            identity,
            setup,
            version,
            expected,
            machine: None,
            due: None,
            limit: None,
            certified: false,
            connected: false,
            reported: false,
            keys: None,
            bytes: 0,
            datagrams: 0,
            restarts: 0,
            flight: None,
            suspicion: None,
        }
    }

    /// Whether we begin the handshake.
    pub(super) fn is_client(&self) -> bool {
        self.setup == Setup::Active
    }

    /// How many datagrams of the handshake came.
    pub(super) fn datagrams(&self) -> u32 {
        self.datagrams
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let suspicion = self.suspicion.as_ref().map(|(_, end)| *end);
        let limit = self.limit.filter(|_| !self.reported);
        let flight = self.flight.as_ref().map(|(_, again)| *again);
        [self.due, suspicion, limit, flight].into_iter().flatten().min()
    }

    /// Whether we begin, and have not yet.
    pub(super) fn wants_begin(&self) -> bool {
        self.setup == Setup::Active && self.machine.is_none()
    }

    /// Begins the handshake as its client.
    pub(super) fn begin(&mut self, now: Instant, gave: &mut Gave) -> Result<(), Why> {
        self.limit.get_or_insert(now + HANDSHAKE);
        self.make(now);
        self.drive(now, gave, |_| Ok(()))
    }

    fn make(&mut self, now: Instant) {
        let (engine, certificate) =
            (Arc::clone(&self.identity.inner.engine), self.identity.inner.certificate.clone());
        let (setup, version) = (self.setup, self.version);
        let made = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut machine = match version {
                Version::Auto => dimpl::Dtls::new_auto(engine, certificate, now),
                Version::Dtls12 => dimpl::Dtls::new_12(engine, certificate, now),
                Version::Dtls13 => dimpl::Dtls::new_13(engine, certificate, now),
            };
            machine.set_active(setup == Setup::Active);
            Box::new(machine)
        }));
        self.machine = made.ok();
    }

    /// Takes a datagram from a validated address; false if it is nothing for us.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        datagram: &[u8],
        gave: &mut Gave,
    ) -> Result<bool, Why> {
        if !records::whole(datagram) {
            return Ok(false);
        }
        if self.reported {
            self.drive(now, gave, |machine| machine.handle_packet(datagram))?;
            return Ok(true);
        }
        self.bytes = self.bytes.saturating_add(datagram.len());
        if self.bytes > MAX_HANDSHAKE_BYTES {
            return Ok(false);
        }
        if let Some(description) = records::plain_alert(datagram).flatten()
            && self.machine.is_some()
        {
            self.suspicion.get_or_insert((Why::Alert(description), now + GRACE));
        }
        let mut kept = Vec::with_capacity(datagram.len());
        let fits = |certificate: &[u8]| self.expected.fits(certificate);
        if records::sift(datagram, self.is_client(), fits, &mut kept) {
            // The true one may come yet, if this one is forged.
            self.suspicion.get_or_insert((Why::Fingerprint, now + GRACE));
        }
        let datagram = kept.as_slice();
        if datagram.is_empty() {
            return Ok(true);
        }
        let first = match &self.machine {
            None => self.setup == Setup::Passive && records::begins_client_hello(datagram),
            // What comes first tells the version; the engine gives up on anything else, as when
            // the datagrams of one flight change places.
            Some(machine) if machine.is_active() && machine.protocol_version().is_none() => {
                records::begins_server_hello(datagram)
            }
            Some(_) => true,
        };
        if !first {
            return Ok(false);
        }
        self.datagrams = self.datagrams.saturating_add(1);
        if self.machine.is_none() {
            self.limit.get_or_insert(now + HANDSHAKE);
            self.make(now);
        }
        let before = gave.packets.len();
        match self.drive(now, gave, |machine| machine.handle_packet(datagram)) {
            Ok(()) => {
                if gave.packets.len() > before {
                    self.suspicion = None;
                }
                Ok(true)
            }
            Err(why @ Why::Fingerprint) => Err(why),
            Err(why) => self.start_over(now, why, gave).map(|()| true),
        }
    }

    /// Something went wrong before anybody had proved to be the peer: begins anew.
    fn start_over(&mut self, now: Instant, why: Why, gave: &mut Gave) -> Result<(), Why> {
        if self.reported || self.restarts >= MAX_RESTARTS {
            return Err(why);
        }
        self.restarts += 1;
        self.suspicion.get_or_insert((why, now + GRACE));
        self.machine = None;
        self.due = None;
        self.flight = None;
        self.connected = false;
        self.certified = false;
        self.keys = None;
        if self.setup == Setup::Active { self.begin(now, gave) } else { Ok(()) }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, gave: &mut Gave) -> Result<(), Why> {
        if let Some((why, _)) = self.suspicion.take_if(|(_, end)| now >= *end) {
            return Err(why);
        }
        if !self.reported && self.limit.is_some_and(|limit| now >= limit) {
            return Err(Why::HandshakeTimeout);
        }
        if self.machine.is_some() && self.due.is_some_and(|due| now >= due) {
            self.drive(now, gave, |_| Ok(()))?;
        }
        if let Some((packets, again)) = &mut self.flight
            && now >= *again
        {
            *again = now + LONGEST_RESEND;
            gave.packets.extend_from_slice(packets);
        }
        Ok(())
    }

    /// Sends a message; false if it cannot be sent.
    pub(super) fn send(&mut self, now: Instant, data: &[u8], gave: &mut Gave) -> Result<bool, Why> {
        if !self.reported {
            return Ok(false);
        }
        self.drive(now, gave, |machine| machine.send_application_data(data).map(drop))?;
        Ok(true)
    }

    /// Says goodbye; what `gave` holds then is the last.
    pub(super) fn close(&mut self, now: Instant, gave: &mut Gave) {
        if self.machine.is_some() {
            // It is over whatever comes of it.
            let _ = self.drive(now, gave, dimpl::Dtls::close);
        }
        self.machine = None;
        self.due = None;
        self.flight = None;
        self.limit = None;
        self.suspicion = None;
    }

    /// Does one thing with the engine and takes all that comes of it.
    fn drive(
        &mut self,
        now: Instant,
        gave: &mut Gave,
        what: impl FnOnce(&mut dimpl::Dtls) -> Result<(), dimpl::Error>,
    ) -> Result<(), Why> {
        let Some(mut machine) = self.machine.take() else {
            return Err(Why::Dtls("the engine could not be made".to_owned()));
        };
        let before = gave.packets.len();
        let driven = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let done = machine.handle_timeout(now).and_then(|()| what(&mut machine));
            let ended = self.take_outputs(&mut machine, gave);
            // An alert that was made of the error is among the outputs.
            done.map_err(name).and(ended)
        }));
        match driven {
            Ok(result) => {
                self.machine = Some(machine);
                result?;
            }
            // The engine is dropped: what a panic left of it cannot be trusted.
            Err(_) => return Err(Why::Dtls("a bug: the engine panicked".to_owned())),
        }
        if self.connected && !self.reported {
            if !self.certified {
                return Err(Why::Fingerprint);
            }
            self.reported = true;
            self.suspicion = None;
            self.flight = None;
            let version = match self.machine.as_ref().and_then(|machine| machine.protocol_version())
            {
                Some(dimpl::ProtocolVersion::DTLS1_3) => Version::Dtls13,
                _ => Version::Dtls12,
            };
            gave.done = Some(Done { keys: self.keys.take(), version });
        }
        let sent = gave.packets.get(before..).filter(|sent| !sent.is_empty());
        if let Some(sent) = sent.filter(|_| !self.reported) {
            let kept = sent.iter().take(MAX_FLIGHT).cloned().collect();
            self.flight = Some((kept, now + LONGEST_RESEND));
        }
        Ok(())
    }

    fn take_outputs(&mut self, machine: &mut dimpl::Dtls, gave: &mut Gave) -> Result<(), Why> {
        let mut small = [0; 2_048];
        let mut large = Vec::new();
        loop {
            let room = if large.is_empty() { &mut small[..] } else { &mut large[..] };
            match machine.poll_output(room) {
                dimpl::Output::Packet(packet) => gave.packets.push(packet.to_vec()),
                dimpl::Output::BufferTooSmall { needed } => {
                    large = vec![0; needed.min(usize::from(u16::MAX)).max(large.len() + 1)];
                }
                dimpl::Output::Timeout(due) => {
                    self.due = Some(due);
                    return Ok(());
                }
                dimpl::Output::Connected => self.connected = true,
                dimpl::Output::PeerCert(certificate) => {
                    if !self.expected.fits(certificate) {
                        return Err(Why::Fingerprint);
                    }
                    self.certified = true;
                }
                dimpl::Output::KeyingMaterial(keys, profile) => {
                    let profile = match profile {
                        dimpl::SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
                        dimpl::SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
                        dimpl::SrtpProfile::AES128_CM_SHA1_80 => Profile::Aes128CmSha1_80,
                        _ => return Err(Why::NoProfile),
                    };
                    self.keys = Some((profile, keys));
                }
                dimpl::Output::ApplicationData(data) if gave.data.len() < MAX_DATA => {
                    gave.data.push_back(data.to_vec());
                }
                dimpl::Output::CloseNotify => return Err(Why::Peer),
                _ => {}
            }
        }
    }
}

/// What an error of the engine means for the session.
fn name(error: dimpl::Error) -> Why {
    match error {
        dimpl::Error::SecurityError(dimpl::SecurityError::FatalAlert { description }) => {
            Why::Alert(description)
        }
        dimpl::Error::Timeout(_) => Why::HandshakeTimeout,
        dimpl::Error::ConnectionClosed => Why::Peer,
        other => Why::Dtls(other.to_string()),
    }
}
