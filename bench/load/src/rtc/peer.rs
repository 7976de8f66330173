//! One session with its socket.

use std::net::SocketAddr;
use std::time::Duration;

use rtc::negotiate;
use rtc::session::dtls::{Fingerprint, Identity, Setup, Version};
use rtc::session::ice::Credentials;
use rtc::session::transport::{
    Event, Incoming, Role as IceRole, Transport, TransportConfig, Via, Why,
};

use super::counts::Counts;
use super::netem::{Fate, Net};
use super::player::Player;
use super::publisher::Publisher;
use super::signal::Agreed;
use super::socket::{Room, Socket};
use crate::clock::Now;
use crate::fault::Fault;

/// How long a session may be without consent (RFC 7675).
const CONSENT: Duration = Duration::from_secs(30);

/// What a session borrows of its thread.
pub(super) struct Scene<'a> {
    pub(super) now: Now,
    pub(super) counts: &'a mut Counts,
    pub(super) net: Option<&'a mut Net>,
    pub(super) numbers: &'a mut Vec<u16>,
    pub(super) rtcp: &'a mut Vec<u8>,
}

/// See the module.
pub(super) struct Peer {
    pub(super) slot: usize,
    socket: Socket,
    /// Where the server said that it is, the first of our kind of address.
    pub(super) server: SocketAddr,
    session: Session,
    transport_due_ns: u64,
    /// When it takes another socket; once.
    pub(super) move_ns: Option<u64>,
}

/// What a session is for.
#[expect(clippy::large_enum_variant, reason = "thousands are players, and few publish")]
pub(super) enum Role {
    Player(Player),
    Publisher(Publisher),
}

/// The part of it that sends nothing by itself.
struct Session {
    transport: Transport,
    local: Credentials,
    remote: Credentials,
    role: Role,
    answered_ns: u64,
    connected: bool,
    /// Something may be there to send, or an event.
    stirred: bool,
}

/// The road that the session knows: it is told nothing of the socket's address, for the session
/// goes on when that changes.
fn via() -> Via {
    Via::Tcp(0)
}

impl Peer {
    /// Begins to connect.
    pub(super) fn new(
        slot: usize,
        agreed: &Agreed,
        socket: Socket,
        candidates: &[SocketAddr],
        role: Role,
        (identity, seed): (&Identity, u64),
        now: Now,
    ) -> Result<Self, Fault> {
        let negotiated = &agreed.negotiated;
        let server = *candidates.first().ok_or_else(no_candidate)?;
        let digest = negotiated.fingerprint.as_ref().and_then(|f| f.bytes.first_chunk().copied());
        let remote = Credentials {
            ufrag: negotiated.remote_ufrag.clone(),
            pwd: negotiated.remote_pwd.clone(),
        };
        let config = TransportConfig {
            role: IceRole::Client(candidates.iter().map(|to| (*to, via())).collect()),
            local: agreed.local.clone(),
            remote: remote.clone(),
            setup: match negotiated.setup {
                negotiate::Setup::Active => Setup::Active,
                _ => Setup::Passive,
            },
            version: Version::Auto,
            identity: identity.clone(),
            peer_fingerprint: Fingerprint(digest.unwrap_or_default()),
            dtls: digest.is_some(),
            encrypt: digest.is_some(),
            consent: CONSENT,
            seed,
        };
        Ok(Self {
            slot,
            socket,
            server,
            session: Session {
                transport: Transport::new(config, now.instant),
                local: agreed.local.clone(),
                remote,
                role,
                answered_ns: agreed.answered_ns,
                connected: false,
                stirred: false,
            },
            transport_due_ns: now.ns,
            move_ns: None,
        })
    }

    pub(super) const fn player(&self) -> Option<&Player> {
        match &self.session.role {
            Role::Player(player) => Some(player),
            Role::Publisher(_) => None,
        }
    }

    pub(super) const fn player_mut(&mut self) -> Option<&mut Player> {
        match &mut self.session.role {
            Role::Player(player) => Some(player),
            Role::Publisher(_) => None,
        }
    }

    /// Whether media flows.
    pub(super) const fn flows(&self) -> bool {
        match &self.session.role {
            Role::Player(player) => player.first_ns > 0,
            Role::Publisher(publisher) => publisher.has_begun(),
        }
    }

    pub(super) const fn is_connected(&self) -> bool {
        self.session.connected
    }

    pub(super) const fn answered_ns(&self) -> u64 {
        self.session.answered_ns
    }

    /// How far it is, for a session that has no media.
    pub(super) fn waits_for(&self) -> Fault {
        if self.session.connected {
            return Fault::Protocol("connected, and no media came in time".to_owned());
        }
        Fault::Protocol(format!("no media in time: {}", self.session.transport.state()))
    }

    /// Takes all datagrams that are there.
    pub(super) fn receive(&mut self, room: &mut Room, scene: &mut Scene<'_>) -> Result<(), Fault> {
        let (slot, session) = (self.slot, &mut self.session);
        let mut take = |from: SocketAddr, datagram: &mut [u8]| {
            let fate = match &mut scene.net {
                Some(net) => net.inward(slot, datagram.len(), scene.now.ns),
                None => Fate::Now,
            };
            match (fate, &mut scene.net) {
                (Fate::At(at_ns), Some(net)) => net.hold(at_ns, slot, true, from, datagram),
                (Fate::Lost, _) => {}
                _ => session.take((slot, &self.socket), from, datagram, scene),
            }
        };
        while !self.socket.receive(room, &mut take) {}
        if self.session.stirred { self.go_on(scene) } else { Ok(()) }
    }

    /// A datagram has come all the way.
    pub(super) fn take(
        &mut self,
        from: SocketAddr,
        datagram: &mut [u8],
        scene: &mut Scene<'_>,
    ) -> Result<(), Fault> {
        self.session.take((self.slot, &self.socket), from, datagram, scene);
        if self.session.stirred { self.go_on(scene) } else { Ok(()) }
    }

    /// A datagram for the server has passed the emulated network.
    pub(super) fn pass(&self, to: SocketAddr, datagram: &[u8]) {
        self.socket.send(to, datagram);
    }

    /// Sends what the session wants sent, and hears what it tells.
    fn go_on(&mut self, scene: &mut Scene<'_>) -> Result<(), Fault> {
        self.session.stirred = false;
        while let Some(transmit) = self.session.transport.poll_transmit() {
            let (slot, to, now_ns) = (self.slot, transmit.to, scene.now.ns);
            put(slot, &self.socket, to, &transmit.bytes, now_ns, &mut scene.net);
        }
        while let Some(event) = self.session.transport.poll_event() {
            match event {
                Event::DtlsConnected { .. } => {
                    self.session.connected = true;
                    let took_ns = scene.now.ns.saturating_sub(self.session.answered_ns);
                    scene.counts.connected.note_ns(took_ns);
                }
                Event::Closed(why) => return Err(closed(&why)),
                _ => {}
            }
        }
        let due = self.session.transport.deadline();
        self.transport_due_ns = due.map_or(u64::MAX, |at| scene.now.ns_of(at));
        Ok(())
    }

    /// What is due.
    pub(super) fn timer(&mut self, scene: &mut Scene<'_>) -> Result<(), Fault> {
        if scene.now.ns >= self.transport_due_ns {
            self.session.transport.handle_timeout(scene.now.instant);
            self.go_on(scene)?;
        }
        if !self.session.connected || scene.now.ns < self.session.role_due_ns() {
            return Ok(());
        }
        let to = self.session.transport.selected().map_or(self.server, |(to, _)| to);
        let (slot, socket, session) = (self.slot, &self.socket, &mut self.session);
        let Session { transport, role, .. } = session;
        let (now_ns, net) = (scene.now.ns, &mut scene.net);
        let mut send = |bytes: &[u8]| put(slot, socket, to, bytes, now_ns, net);
        match role {
            Role::Player(player) => {
                player.timer(now_ns, scene.numbers, scene.rtcp, scene.counts);
            }
            Role::Publisher(publisher) => {
                publisher.timer(now_ns, transport, scene.counts, &mut send);
                publisher.report(now_ns, scene.rtcp);
            }
        }
        if !scene.rtcp.is_empty() && transport.protect_rtcp(scene.rtcp, 0).is_ok() {
            send(scene.rtcp);
        }
        Ok(())
    }

    /// Goes on at another address, as a telephone does that leaves the house: the checks begin
    /// anew there, with the same credentials, and the server is told by a nomination.
    pub(super) fn moves(&mut self, socket: Socket, scene: &mut Scene<'_>) -> Result<(), Fault> {
        self.socket = socket;
        self.move_ns = None;
        if let Role::Player(player) = &mut self.session.role {
            player.moved_ns = Some(scene.now.ns);
        }
        scene.counts.moved += 1;
        self.session.transport.restart_ice(
            self.session.local.clone(),
            self.session.remote.clone(),
            scene.now.instant,
        );
        self.session.transport.handle_timeout(scene.now.instant);
        self.go_on(scene)
    }

    /// Says goodbye.
    pub(super) fn leave(&mut self, scene: &mut Scene<'_>) {
        self.session.transport.close(scene.now.instant);
        while let Some(transmit) = self.session.transport.poll_transmit() {
            self.socket.send(transmit.to, &transmit.bytes);
        }
    }

    /// When there is something to do.
    pub(super) fn due_ns(&self) -> u64 {
        let media = if self.session.connected { self.session.role_due_ns() } else { u64::MAX };
        media.min(self.transport_due_ns).min(self.move_ns.unwrap_or(u64::MAX))
    }
}

impl Session {
    #[inline]
    fn take(
        &mut self,
        (slot, socket): (usize, &Socket),
        from: SocketAddr,
        datagram: &mut [u8],
        scene: &mut Scene<'_>,
    ) {
        let (first, second) = match datagram {
            [first, second, ..] => (*first, *second),
            _ => return,
        };
        if let Role::Player(player) = &mut self.role {
            scene.counts.packets.bytes += datagram.len() as u64;
            player.bytes += datagram.len() as u64;
            if matches!(first, 128..=191) && !matches!(second, 192..=223) && self.connected {
                let way = (from, via());
                let (now, counts) = (scene.now, &mut *scene.counts);
                return player.packet(datagram, way, &mut self.transport, now, counts);
            }
        }
        let handled = self.transport.handle(scene.now.instant, from, via(), datagram);
        match (handled, &mut self.role) {
            (Incoming::Rtcp(reports), Role::Player(player)) => {
                player.rtcp(reports, scene.now.ns, scene.counts);
            }
            (Incoming::Rtcp(reports), Role::Publisher(publisher)) => {
                let (now_ns, net) = (scene.now.ns, &mut scene.net);
                let to = self.transport.selected().map_or(from, |(to, _)| to);
                let mut send = |bytes: &[u8]| put(slot, socket, to, bytes, now_ns, net);
                publisher.rtcp(reports, &self.transport, scene.counts, &mut send);
            }
            (Incoming::Nothing | Incoming::Data(_), _) => self.stirred = true,
            (Incoming::Rtp(_) | Incoming::Dropped(_), _) => {}
        }
        if self.stirred && !self.connected {
            // What follows in the same call is media, perhaps.
            self.connected = self.transport.is_connected();
        }
    }

    fn role_due_ns(&self) -> u64 {
        match &self.role {
            Role::Player(player) => player.due_ns(),
            Role::Publisher(publisher) => publisher.due_ns(),
        }
    }
}

/// Sends a datagram, by the emulated network if there is one.
fn put(
    slot: usize,
    socket: &Socket,
    to: SocketAddr,
    bytes: &[u8],
    now_ns: u64,
    net: &mut Option<&mut Net>,
) {
    let Some(net) = net else { return socket.send(to, bytes) };
    match net.draw(now_ns) {
        Fate::Lost => {}
        Fate::Now => socket.send(to, bytes),
        Fate::At(at_ns) => net.hold(at_ns, slot, false, to, bytes),
    }
}

fn closed(why: &Why) -> Fault {
    Fault::Closed(why.to_string())
}

pub(super) fn no_candidate() -> Fault {
    Fault::Protocol("the answer has no candidate that is a UDP address".to_owned())
}
