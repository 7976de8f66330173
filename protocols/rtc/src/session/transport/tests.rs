//! Two sides over a link that loses and reorders, in virtual time.

mod forgery;
mod handshakes;
mod proofs;
mod roads;

use super::*;

/// SplitMix64, so that a link is the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn server_addr() -> SocketAddr {
    addr("203.0.113.1:8000")
}

fn client_addr() -> SocketAddr {
    addr("198.51.100.7:40000")
}

/// The road by which the server hears the client.
const fn udp(local: SocketAddr) -> Via {
    Via::Udp(local)
}

fn credentials(name: &str) -> Credentials {
    Credentials { ufrag: format!("{name}frag"), pwd: format!("{name}-password-of-32-characters") }
}

fn identity() -> Identity {
    crate::identity::make().unwrap()
}

/// How two sides differ from the usual.
#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    /// Of 100 datagrams, how many are lost.
    loss: u64,
    version: [Version; 2],
    server: Setup,
    dtls: bool,
    encrypt: bool,
}

const PLAN: Plan = Plan {
    seed: 1,
    loss: 0,
    version: [Version::Auto; 2],
    server: Setup::Passive,
    dtls: true,
    encrypt: true,
};

struct Flight {
    at: Instant,
    to_server: bool,
    from: SocketAddr,
    bytes: Vec<u8>,
}

struct Link {
    server: Transport,
    client: Transport,
    now: Instant,
    begun: Instant,
    random: Random,
    loss: u64,
    flights: Vec<Flight>,
    /// Where the client sends from.
    client_addr: SocketAddr,
    server_events: Vec<Event>,
    client_events: Vec<Event>,
    /// Media and data that came out at the server, at the client.
    media: [Vec<Vec<u8>>; 2],
    drops: Vec<Drop>,
    /// Every datagram that went to the server.
    seen: Vec<Vec<u8>>,
    /// When what each side sent went out.
    sent: Vec<(bool, Instant, u8)>,
}

fn configs(plan: Plan) -> [TransportConfig; 2] {
    let (ours, theirs) = (identity(), identity());
    let (local, remote) = (credentials("server"), credentials("client"));
    let client_setup = if plan.server == Setup::Passive { Setup::Active } else { Setup::Passive };
    let server = TransportConfig {
        role: Role::Lite,
        local: local.clone(),
        remote: remote.clone(),
        setup: plan.server,
        version: plan.version[0],
        peer_fingerprint: theirs.fingerprint(),
        identity: ours.clone(),
        dtls: plan.dtls,
        encrypt: plan.encrypt,
        consent: Duration::from_secs(30),
        seed: plan.seed,
    };
    let client = TransportConfig {
        role: Role::Client(vec![(server_addr(), udp(client_addr()))]),
        local: remote,
        remote: local,
        setup: client_setup,
        version: plan.version[1],
        peer_fingerprint: ours.fingerprint(),
        identity: theirs,
        ..server.clone()
    };
    [server, client]
}

impl Link {
    fn new(plan: Plan) -> Self {
        let [server, client] = configs(plan);
        Self::of(server, client, plan)
    }

    fn of(server: TransportConfig, client: TransportConfig, plan: Plan) -> Self {
        let now = Instant::now();
        Self {
            server: Transport::new(server, now),
            client: Transport::new(client, now),
            now,
            begun: now,
            random: Random(plan.seed),
            loss: plan.loss,
            flights: Vec::new(),
            client_addr: client_addr(),
            server_events: Vec::new(),
            client_events: Vec::new(),
            media: [Vec::new(), Vec::new()],
            drops: Vec::new(),
            seen: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn collect(&mut self) {
        while let Some(event) = self.server.poll_event() {
            self.server_events.push(event);
        }
        while let Some(event) = self.client.poll_event() {
            self.client_events.push(event);
        }
        while let Some(transmit) = self.client.poll_transmit() {
            assert_eq!(transmit.to, server_addr());
            self.sent.push((true, self.now, transmit.bytes[0]));
            self.post(true, self.client_addr, transmit.bytes);
        }
        while let Some(transmit) = self.server.poll_transmit() {
            self.sent.push((false, self.now, transmit.bytes[0]));
            if transmit.to == self.client_addr {
                self.post(false, server_addr(), transmit.bytes);
            }
        }
    }

    fn post(&mut self, to_server: bool, from: SocketAddr, bytes: Vec<u8>) {
        if self.random.below(100) < self.loss {
            return;
        }
        // So far apart that what is sent at once changes places.
        let delay = Duration::from_millis(10 + self.random.below(20));
        self.flights.push(Flight { at: self.now + delay, to_server, from, bytes });
    }

    fn deliver(&mut self, mut flight: Flight) {
        let side = if flight.to_server { &mut self.server } else { &mut self.client };
        let via = udp(if flight.to_server { server_addr() } else { client_addr() });
        if flight.to_server {
            self.seen.push(flight.bytes.clone());
        }
        let media = &mut self.media[usize::from(!flight.to_server)];
        match side.handle(self.now, flight.from, via, &mut flight.bytes) {
            Incoming::Rtp(packet) => media.push(packet.to_vec()),
            Incoming::Rtcp(packet) => media.push(packet.to_vec()),
            Incoming::Data(data) => media.push(data),
            Incoming::Nothing => {}
            Incoming::Dropped(drop) => self.drops.push(drop),
        }
        while let Some(data) = side.poll_data() {
            media.push(data);
        }
    }

    /// Goes on to the next thing that happens, and not beyond `end`.
    fn step(&mut self, end: Instant) {
        self.collect();
        let due = [self.server.deadline(), self.client.deadline()];
        let flight = self.flights.iter().map(|flight| flight.at).min();
        let next = due.into_iter().flatten().chain(flight).min().unwrap_or(end).min(end);
        self.now = self.now.max(next);
        while let Some(place) = self.flights.iter().position(|flight| flight.at <= self.now) {
            let flight = self.flights.remove(place);
            self.deliver(flight);
            self.collect();
        }
        if self.server.deadline().is_some_and(|due| due <= self.now) {
            self.server.handle_timeout(self.now);
        }
        if self.client.deadline().is_some_and(|due| due <= self.now) {
            self.client.handle_timeout(self.now);
        }
        self.collect();
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step(end);
        }
    }

    /// Whether both are connected within that time.
    fn connects(&mut self, time: Duration) -> bool {
        let end = self.now + time;
        while self.now < end && !(self.server.is_connected() && self.client.is_connected()) {
            self.step(end);
        }
        self.server.is_connected() && self.client.is_connected()
    }

    fn connected(plan: Plan) -> Self {
        let mut link = Self::new(plan);
        assert!(link.connects(Duration::from_secs(30)), "{:?}", link.server_events);
        link
    }

    /// Sends media both ways, with nothing lost, and sees them arrive.
    fn exchange(&mut self, index: u64) {
        let loss = std::mem::take(&mut self.loss);
        self.media = [Vec::new(), Vec::new()];
        let packet = self.protected(true, index);
        self.post(true, self.client_addr, packet);
        let packet = self.protected(false, index);
        self.post(false, server_addr(), packet);
        let mut report = rtcp();
        self.client.protect_rtcp(&mut report, 0).unwrap();
        self.post(true, self.client_addr, report);
        self.run(Duration::from_millis(50));
        self.media[0].sort();
        assert_eq!(self.media[0], [rtp(index), rtcp()]);
        assert_eq!(self.media[1], [rtp(index)]);
        self.loss = loss;
    }

    fn protected(&self, client: bool, index: u64) -> Vec<u8> {
        let side = if client { &self.client } else { &self.server };
        let mut packet = rtp(index);
        if let Some(sender) = side.srtp_sender() {
            sender.protect(index, 0x1234_5678, &mut packet, 0, 12).unwrap();
        }
        packet
    }

    /// Whether nothing but checks and data flow: no end, no change of address.
    fn is_calm(&self) -> bool {
        let calm = |event: &Event| {
            matches!(
                event,
                Event::IceConnected { .. } | Event::Proven { .. } | Event::DtlsConnected { .. }
            )
        };
        self.server_events.iter().all(calm) && self.client_events.iter().all(calm)
    }
}

fn rtp(index: u64) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend_from_slice(&(index as u16).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1, 0x12, 0x34, 0x56, 0x78]);
    packet.extend_from_slice(b"media in the clear");
    packet
}

fn rtcp() -> Vec<u8> {
    vec![0x80, 201, 0, 1, 0x12, 0x34, 0x56, 0x78]
}

#[test]
fn two_sides_connect_and_exchange_media() {
    let mut link = Link::connected(PLAN);
    link.exchange(1);
    assert!(link.is_calm());
    assert_eq!(link.server.selected(), Some((client_addr(), udp(server_addr()))));
    assert_eq!(link.client.selected(), Some((server_addr(), udp(client_addr()))));
    assert!(matches!(
        link.server_events.as_slice(),
        [
            Event::IceConnected { .. },
            Event::Proven { .. },
            Event::DtlsConnected { version: Version::Dtls13, .. }
        ]
    ));
    assert_eq!(link.server.state(), State::Connected);
}

#[test]
fn both_versions_and_both_roles_connect() {
    use Version::{Auto, Dtls12, Dtls13};
    for (server, client, agreed) in [
        (Auto, Auto, Dtls13),
        (Auto, Dtls12, Dtls12),
        (Dtls12, Auto, Dtls12),
        (Dtls12, Dtls12, Dtls12),
        (Auto, Dtls13, Dtls13),
        (Dtls13, Dtls13, Dtls13),
    ] {
        for setup in [Setup::Passive, Setup::Active] {
            let plan = Plan { version: [server, client], server: setup, ..PLAN };
            let mut link = Link::connected(plan);
            link.exchange(1);
            let told = link.client_events.iter().find_map(|event| match event {
                Event::DtlsConnected { version, profile } => Some((*version, profile.is_some())),
                _ => None,
            });
            assert_eq!(told, Some((agreed, true)), "{server:?} {client:?} {setup:?}");
        }
    }
}

#[test]
fn they_connect_over_links_that_lose_and_reorder() {
    for loss in [5, 20, 40] {
        for seed in 0..12 {
            let version = [[Version::Auto; 2], [Version::Dtls12; 2]][seed as usize % 2];
            let server = [Setup::Passive, Setup::Active][seed as usize / 2 % 2];
            // At 40 % a handshake may come to nothing, by chance that no seed governs: the client
            // then begins anew, as browsers do.
            let tries = if loss < 40 { 1 } else { 5 };
            let mut links = (0..tries).map(|again| {
                let seed = seed + 100 * again;
                let mut link = Link::new(Plan { seed, loss, version, server, ..PLAN });
                (link.connects(Duration::from_secs(30)), link)
            });
            let connected = links.find(|(connected, _)| *connected);
            let Some((_, mut link)) = connected else {
                panic!("loss {loss}, seed {seed}, {version:?} {server:?}: no handshake in 30 s");
            };
            link.exchange(1);
            assert!(link.is_calm());
        }
    }
}

#[test]
fn lossy_sessions_live_on() {
    for seed in 0..4 {
        let mut link = Link::connected(Plan { loss: 40, seed, ..PLAN });
        link.run(Duration::from_secs(120));
        link.exchange(1);
        assert!(link.is_calm());
    }
}

#[test]
fn media_may_be_plain_with_and_without_a_handshake() {
    for dtls in [true, false] {
        let mut link = Link::connected(Plan { dtls, encrypt: false, ..PLAN });
        assert!(link.server.srtp_sender().is_none());
        link.exchange(1);
        assert!(matches!(
            link.server_events.as_slice(),
            [
                Event::IceConnected { .. },
                Event::Proven { .. },
                Event::DtlsConnected { profile: None, .. }
            ]
        ));
    }
}

#[test]
fn a_handshake_is_resent_five_times_within_five_seconds() {
    for (server, version) in [Setup::Passive, Setup::Active]
        .into_iter()
        .flat_map(|setup| [(setup, Version::Auto), (setup, Version::Dtls12)])
    {
        let plan = Plan { server, version: [version; 2], ..PLAN };
        let mut link = Link::new(plan);
        // Let the checks through and the first message of the handshake, then nothing.
        let end = link.now + Duration::from_secs(5);
        while link.now < end {
            if link.server.state() != State::Checking
                && (server == Setup::Active || link.server.state() != State::AwaitsHello)
            {
                link.loss = 100;
            }
            link.step(end);
        }
        let times: Vec<u128> = link
            .sent
            .iter()
            .filter(|(client, _, first)| !*client && (20..64).contains(first))
            .map(|(_, at, _)| at.duration_since(link.begun).as_millis())
            .collect();
        let mut moments = times;
        moments.dedup();
        assert!(moments.len() >= 6, "{server:?} {version:?}: {moments:?}");
        let first = moments[1] - moments[0];
        assert!((37..=63).contains(&first), "{server:?} {version:?}: {moments:?}");
    }
}

#[test]
fn data_flow_both_ways() {
    for version in [Version::Dtls12, Version::Dtls13] {
        let mut link = Link::new(Plan { version: [version; 2], ..PLAN });
        assert!(!link.client.send_data(b"early"));
        assert!(link.connects(Duration::from_secs(5)));
        assert!(link.client.send_data(b"hello"));
        assert!(link.server.send_data(&[7; 1_100]));
        link.run(Duration::from_millis(100));
        assert_eq!(link.media, [vec![b"hello".to_vec()], vec![vec![7; 1_100]]]);
    }
}

#[test]
fn messages_that_nobody_asks_for_do_not_pile_up() {
    let mut link = Link::connected(PLAN);
    let mut waiting = Vec::new();
    for _ in 0..50 {
        // Each record has its number: sealed anew every time.
        let mut datagram = Vec::new();
        for _ in 0..8 {
            link.client.send_data(&[7; 100]);
            while let Some(transmit) = link.client.poll_transmit() {
                datagram.extend_from_slice(&transmit.bytes);
            }
        }
        link.server.handle(link.now, link.client_addr, udp(server_addr()), &mut datagram);
    }
    while let Some(data) = link.server.poll_data() {
        waiting.push(data);
    }
    assert!(!waiting.is_empty() && waiting.len() <= MAX_WAITING, "{}", waiting.len());
}

#[test]
fn a_goodbye_ends_the_other_side_at_once_and_its_copy_does_nothing() {
    for version in [Version::Dtls12, Version::Dtls13] {
        let mut link = Link::connected(Plan { version: [version; 2], ..PLAN });
        // What a side still has to say about the handshake.
        link.run(Duration::from_secs(1));
        link.client.close(link.now);
        link.client.close(link.now);
        link.run(Duration::from_millis(100));
        assert_eq!(link.client_events.last(), Some(&Event::Closed(Why::Us)));
        assert_eq!(link.server_events.last(), Some(&Event::Closed(Why::Peer)));
        let mut copy = link.seen.last().unwrap().clone();
        let again = link.server.handle(link.now, client_addr(), udp(server_addr()), &mut copy);
        assert_eq!(again, Incoming::Dropped(Drop::Closed));
        assert_eq!(link.server.deadline(), None);
        assert!(link.server.srtp_sender().is_none() && !link.server.is_connected());
        let ends = |events: &[Event]| {
            events.iter().filter(|event| matches!(event, Event::Closed(_))).count()
        };
        assert_eq!((ends(&link.client_events), ends(&link.server_events)), (1, 1));
    }
}

#[test]
fn a_peer_with_another_certificate_is_refused() {
    for server in [Setup::Passive, Setup::Active] {
        for version in [Version::Dtls12, Version::Dtls13] {
            let plan = Plan { server, version: [version; 2], ..PLAN };
            let [ours, mut theirs] = configs(plan);
            theirs.identity = identity();
            let mut link = Link::of(ours, theirs, plan);
            link.run(Duration::from_secs(5));
            assert!(
                link.server_events.contains(&Event::Closed(Why::Fingerprint)),
                "{:?}",
                link.server_events
            );
            assert!(!link.server_events.iter().any(|e| matches!(e, Event::DtlsConnected { .. })));
        }
    }
}

#[test]
fn sessions_end_when_consent_does() {
    let mut link = Link::connected(PLAN);
    link.run(Duration::from_secs(100));
    assert!(link.is_calm());
    link.loss = 100;
    link.run(Duration::from_secs(26));
    assert!(link.server.is_connected() && link.client.is_connected());
    link.run(Duration::from_secs(5));
    let end = Event::Closed(Why::Consent(Duration::from_secs(30)));
    assert_eq!(link.server_events.last(), Some(&end));
    assert_eq!(link.client_events.last(), Some(&end));
}

#[test]
fn who_never_comes_is_given_up() {
    let mut link = Link::new(Plan { loss: 100, ..PLAN });
    assert_eq!(link.server.state().to_string(), "waits for the first STUN check");
    link.run(Duration::from_secs(31));
    assert!(matches!(link.server_events.as_slice(), [Event::Closed(Why::Consent(_))]));
    assert_eq!(link.client_events, [Event::Closed(Why::Unreachable)]);
}

#[test]
fn a_handshake_that_is_not_done_in_time_ends_the_session() {
    let mut link = Link::new(PLAN);
    let [_, mut other] = configs(PLAN);
    // Checks well, and has nothing to say.
    other.setup = Setup::Passive;
    link.client = Transport::new(other, link.now);
    link.server = Transport::new(
        TransportConfig {
            setup: Setup::Active,
            version: Version::Dtls12,
            ..configs(PLAN)[0].clone()
        },
        link.now,
    );
    let end = link.now + Duration::from_secs(40);
    while link.now < end {
        // Only checks get through.
        link.flights.retain(|flight| flight.bytes[0] < 4);
        link.collect();
        link.flights.retain(|flight| flight.bytes[0] < 4);
        link.step(end);
    }
    assert_eq!(link.server_events.last(), Some(&Event::Closed(Why::HandshakeTimeout)));
}

impl Incoming<'_> {
    fn is_media(&self) -> bool {
        matches!(self, Incoming::Rtp(_) | Incoming::Rtcp(_))
    }
}

/// `cargo test -p rtc -- --ignored --nocapture an_idle_session`
#[test]
#[ignore = "measures and asserts nothing"]
fn an_idle_session_weighs() {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4_096
    };
    for version in [Version::Dtls12, Version::Dtls13] {
        let plan = Plan { version: [version; 2], ..PLAN };
        let [ours, theirs] = configs(plan);
        let mut kept = Vec::with_capacity(2_000);
        let mut before = 0;
        for round in 0..1_500 {
            if round == 500 {
                before = resident();
            }
            let mut link = Link::of(ours.clone(), theirs.clone(), plan);
            assert!(link.connects(Duration::from_secs(5)));
            link.run(Duration::from_secs(5));
            kept.push(link.server);
        }
        println!("{version}: {} bytes a session", (resident() - before) / 1_000);
        println!("of which the struct {}", size_of::<Transport>());
    }
}
