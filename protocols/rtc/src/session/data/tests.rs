use proptest::prelude::*;

use super::dcep::Reliability;
use super::*;

/// Two sides and what is between them: packets arrive 20 ms later, or never.
struct Link {
    now: Instant,
    client: Channels,
    server: Channels,
    /// When it arrives, whether at the server, and what.
    flying: Vec<(Instant, bool, Vec<u8>)>,
    /// Of a hundred packets so many are lost, by this seed.
    loss: u64,
    seed: u64,
    seen: Vec<DataEvent>,
    heard: Vec<DataEvent>,
    echoes: bool,
    /// The verification tag that the server knows the client by.
    tag: u32,
}

const WAY: Duration = Duration::from_millis(20);

impl Link {
    fn new(loss: u64, seed: u64) -> Self {
        let now = Instant::now();
        let config = DataConfig { peer_takes: 0, dtls_client: true };
        Self {
            now,
            client: Channels::connect(config, now),
            server: Channels::accept(DataConfig { dtls_client: false, ..config }, now),
            flying: Vec::new(),
            loss,
            seed,
            seen: Vec::new(),
            heard: Vec::new(),
            echoes: false,
            tag: 0,
        }
    }

    fn is_lost(&mut self) -> bool {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.seed >> 33) % 100 < self.loss
    }

    fn take_out(&mut self) {
        for to_server in [true, false] {
            let side = if to_server { &mut self.client } else { &mut self.server };
            let now = self.now;
            let packets: Vec<_> = std::iter::from_fn(|| side.poll_transmit(now)).collect();
            for packet in packets {
                assert!(packet.len() <= MOST_PACKET);
                if to_server && let Some(tag) = packet.get(4..8).and_then(|tag| tag.first_chunk()) {
                    self.tag = u32::from_be_bytes(*tag);
                }
                if !self.is_lost() {
                    self.flying.push((self.now + WAY, to_server, packet.to_vec()));
                }
            }
        }
    }

    fn take_events(&mut self) {
        self.heard.extend(std::iter::from_fn(|| self.client.poll_event()));
        while let Some(event) = self.server.poll_event() {
            if let DataEvent::Message { id, form, bytes } = &event
                && self.echoes
            {
                self.server.send(*id, *form, bytes).expect("there is room");
            }
            self.seen.push(event);
        }
    }

    /// Goes to the next thing that happens.
    fn step(&mut self) {
        self.take_events();
        self.take_out();
        let arrives = self.flying.iter().map(|(at, ..)| *at).min();
        let due = [arrives, self.client.deadline(), self.server.deadline()];
        self.now = due.into_iter().flatten().min().unwrap_or(self.now + WAY).max(self.now);
        let (here, later) = self.flying.drain(..).partition(|(at, ..)| *at <= self.now);
        self.flying = later;
        for (_, to_server, packet) in here {
            let side = if to_server { &mut self.server } else { &mut self.client };
            side.handle(self.now, &packet).expect("it is what the other side sent");
        }
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        self.take_events();
    }

    /// Until `done`, or for so long of its own time.
    fn run(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if self.now >= end {
                return false;
            }
            self.step();
        }
        true
    }

    fn opened(&mut self, open: &Open) -> u16 {
        let id = self.client.open(open.clone()).expect("there is room");
        let is_open =
            |link: &Self| link.heard.iter().any(|e| matches!(e, DataEvent::Opened { .. }));
        assert!(self.run(Duration::from_secs(30), is_open), "{:?}", self.heard);
        self.heard.clear();
        self.settle();
        id
    }

    /// Until all that was sent is acknowledged.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.step();
        }
    }
}

fn named(label: &str) -> Open {
    Open { label: label.into(), priority: 256, ..Open::default() }
}

fn messages(events: &[DataEvent]) -> Vec<(Form, Vec<u8>)> {
    let message = |event: &DataEvent| match event {
        DataEvent::Message { form, bytes, .. } => Some((*form, bytes.clone())),
        _ => None,
    };
    events.iter().filter_map(message).collect()
}

#[test]
fn a_channel_opens_carries_messages_of_all_sizes_and_closes() {
    let mut link = Link::new(0, 1);
    link.echoes = true;
    let open = Open { protocol: "v1".into(), ..named("echo") };
    let id = link.opened(&open);
    assert_eq!(link.seen, [DataEvent::Opened { id, open }]);
    assert_eq!((link.server.open_channels(), link.client.open_channels()), (1, 1));
    let sent: Vec<(Form, Vec<u8>)> = [0, 1, 895, 896, 897, 20_000, MOST_MESSAGE as usize]
        .into_iter()
        .flat_map(|len| [(Form::Text, vec![b'x'; len]), (Form::Binary, vec![0xff; len])])
        .collect();
    for (form, bytes) in &sent {
        link.client.send(id, *form, bytes).expect("there is room");
    }
    let all = sent.len();
    assert!(link.run(Duration::from_secs(30), |link| messages(&link.heard).len() == all));
    assert_eq!(messages(&link.heard), sent);
    link.client.close(id);
    let closed = |link: &Link| link.seen.contains(&DataEvent::Closed { id });
    assert!(link.run(Duration::from_secs(5), closed), "{:?}", link.seen);
    assert_eq!(link.server.open_channels(), 0);
    assert_eq!(link.server.send(id, Form::Text, b"late"), Err(SendError::Closed));
}

#[test]
fn a_bad_network_delays_messages_and_loses_none() {
    let mut link = Link::new(20, 7);
    link.echoes = true;
    let id = link.opened(&named("echo"));
    let sent: Vec<_> = (0..60_u8).map(|n| (Form::Binary, vec![n; 3_000])).collect();
    for (form, bytes) in &sent {
        link.client.send(id, *form, bytes).expect("there is room");
    }
    assert!(link.run(Duration::from_secs(300), |link| messages(&link.heard).len() == 60));
    assert_eq!(messages(&link.heard), sent);
}

#[test]
fn messages_that_are_not_tried_hard_are_lost_and_what_follows_comes() {
    let mut link = Link::new(0, 3);
    let open =
        Open { unordered: true, reliability: Reliability::Retransmits(0), ..named("positions") };
    let id = link.opened(&open);
    link.loss = 30;
    for n in 0..100_u8 {
        link.client.send(id, Form::Binary, &[n; 50]).expect("there is room");
        for _ in 0..3 {
            link.step();
        }
    }
    link.loss = 0;
    link.client.send(id, Form::Text, b"last").expect("there is room");
    let last = |link: &Link| messages(&link.seen).iter().any(|(form, _)| *form == Form::Text);
    assert!(link.run(Duration::from_secs(60), last));
    let came = messages(&link.seen).len();
    assert!((20..101).contains(&came), "{came}");
}

#[test]
fn who_reads_nothing_is_sent_no_more_than_a_bound() {
    for (len, most) in [(1, MOST_QUEUED), (8_192, MOST_BUFFERED / 8_192)] {
        let mut link = Link::new(0, 1);
        let id = link.opened(&named("metadata"));
        link.loss = 100;
        let bytes = vec![b'x'; len];
        let mut send = || link.server.send(id, Form::Text, &bytes);
        assert_eq!((0..100_000).take_while(|_| send().is_ok()).count(), most);
        assert_eq!(send(), Err(SendError::Full));
        link.step();
        // It takes them after all: there is room again.
        link.loss = 0;
        let all = |link: &Link| messages(&link.heard).len() == most;
        assert!(link.run(Duration::from_secs(120), all));
        link.settle();
        assert_eq!(link.server.send(id, Form::Text, b"again"), Ok(()));
    }
}

#[test]
fn packets_full_of_small_messages_fit() {
    let mut link = Link::new(0, 1);
    let id = link.opened(&named("positions"));
    let lens = (0..1_000).map(|n: usize| if n % 52 == 51 { 12 } else { 1 + n % 2 * (n / 500) });
    for len in lens {
        link.client.send(id, Form::Binary, &vec![0; len]).expect("there is room");
    }
    // The link looks at the length of each.
    assert!(link.run(Duration::from_secs(60), |link| messages(&link.seen).len() == 1_000));
}

#[test]
fn a_message_longer_than_the_peer_takes_is_not_sent() {
    let mut link = Link::new(0, 1);
    link.server.config.peer_takes = 100;
    let id = link.opened(&named("metadata"));
    assert_eq!(link.server.send(id, Form::Text, &[b'x'; 100]), Ok(()));
    assert_eq!(link.server.send(id, Form::Text, &[b'x'; 101]), Err(SendError::TooLong));
    let long = vec![0; MOST_MESSAGE as usize + 1];
    assert_eq!(link.client.send(id, Form::Text, &long), Err(SendError::TooLong));
}

#[test]
fn channels_beyond_the_bound_are_refused_and_the_others_go_on() {
    let mut link = Link::new(0, 1);
    for n in 0..MOST_CHANNELS {
        assert!(link.client.open(named(&n.to_string())).is_some());
    }
    assert_eq!(link.client.open(named("one more")), None);
    let all = |link: &Link| link.heard.len() == MOST_CHANNELS;
    assert!(link.run(Duration::from_secs(10), all));
    // A client that has no such bound.
    link.client.channels.pop();
    let id = u16::try_from(MOST_CHANNELS * 2).expect("it is small");
    assert!(link.client.machine.open(id));
    let mut open = Vec::new();
    Dcep::Open(named("too many")).write(&mut open);
    assert!(link.client.machine.write(id, Kind::Dcep, &open));
    link.client.settle();
    assert!(link.run(Duration::from_secs(5), |link| link.server.refused() == 1));
    link.server.send(0, Form::Text, b"still here").expect("it is open");
    assert!(link.run(Duration::from_secs(5), |link| !messages(&link.heard).is_empty()));
}

#[test]
fn who_talks_nonsense_about_an_open_channel_loses_it() {
    let mut link = Link::new(0, 1);
    let id = link.opened(&named("metadata"));
    assert!(link.client.machine.write(id, Kind::Dcep, b"nonsense"));
    let closed = |link: &Link| link.seen.contains(&DataEvent::Closed { id });
    assert!(link.run(Duration::from_secs(5), closed));
    assert_eq!((link.server.open_channels(), link.server.refused()), (0, 1));
    // The client hears of it, and may open it anew.
    link.settle();
    assert_eq!(link.client.open_channels(), 0);
    assert_eq!(link.opened(&named("metadata")), id);
}

#[test]
fn nothing_comes_of_a_peer_that_does_not_begin() {
    let now = Instant::now();
    let config = DataConfig { peer_takes: 0, dtls_client: false };
    let mut server = Channels::accept(config, now);
    let stray = [&[0; 12][..], &[10, 0, 0, 4]].concat();
    assert!(!Channels::begins(&stray));
    assert_eq!(server.handle(now, &stray), Err(DataDrop::Stray));
    assert_eq!(server.handle(now, b"hello"), Err(DataDrop::Bad));
    assert_eq!(
        (server.poll_event(), server.poll_transmit(now), server.deadline()),
        (None, None, None)
    );
}

/// A packet of the client's with these chunks of DATA: number, stream, how it begins and ends,
/// bytes.
fn forged(tag: u32, chunks: &[(u32, u16, u8, &[u8])]) -> Vec<u8> {
    let mut packet = [&[0x13, 0x88, 0x13, 0x88][..], &tag.to_be_bytes(), &[0; 4]].concat();
    for (tsn, stream, flags, bytes) in chunks {
        let len = u16::try_from(16 + bytes.len()).expect("it is short");
        packet.extend_from_slice(&[0, *flags]);
        packet.extend_from_slice(&len.to_be_bytes());
        packet.extend_from_slice(&tsn.to_be_bytes());
        packet.extend_from_slice(&stream.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 0, 0, 53]);
        packet.extend_from_slice(bytes);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    let sum = crc32c(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    packet
}

/// CRC-32C (RFC 9260 appendix A), bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// Unordered and whole; unordered and begun.
const WHOLE: u8 = 7;
const BEGUN: u8 = 6;

#[test]
fn numbers_far_ahead_and_streams_without_end_are_not_kept() {
    let mut link = Link::new(0, 1);
    link.opened(&named("positions"));
    let (tag, base) = (link.tag, link.server.cumulative.expect("it has begun"));
    // Eight messages of a byte, the first of this number.
    let mut give = |ahead: u32, stream: u16| {
        let tsn = base.wrapping_add(ahead);
        let chunks: Vec<_> =
            (0..8).map(|n| (tsn.wrapping_add(n), stream, WHOLE, &b"x"[..])).collect();
        link.server.handle(link.now, &forged(tag, &chunks))
    };
    // The first stays away: all others wait for it.
    let let_in = (0..1_000).take_while(|n| give(2 + 8 * n, 0).is_ok()).count();
    assert_eq!(let_in, (WINDOW as usize - 1) / 8);
    assert_eq!(give(0x4000_0000, 0), Err(DataDrop::TooMuch));
    assert_eq!(give(1, STREAMS), Err(DataDrop::TooMuch));
    assert_eq!(give(1, 0), Ok(()));
    let came: Vec<_> = std::iter::from_fn(|| link.server.poll_event()).collect();
    assert_eq!(messages(&came).len(), let_in * 8 + 1);
}

#[test]
fn pieces_of_messages_that_never_end_are_not_kept() {
    let mut link = Link::new(0, 1);
    link.opened(&named("positions"));
    let (tag, base) = (link.tag, link.server.cumulative.expect("it has begun"));
    let mut next = base.wrapping_add(1);
    let mut give = |at: Instant, flags: u8| {
        let chunks: Vec<_> = (0..8).map(|n| (next.wrapping_add(n), 0, flags, &b"x"[..])).collect();
        let given = link.server.handle(at, &forged(tag, &chunks));
        next = next.wrapping_add(if given.is_ok() { 8 } else { 0 });
        while link.server.poll_transmit(link.now).is_some() {}
        given
    };
    let let_in = (0..1_000).take_while(|_| give(link.now, BEGUN).is_ok()).count();
    assert_eq!(let_in, MOST_HELD as usize / 8);
    // Nobody is sent away for good.
    assert_eq!(give(link.now, WHOLE), Err(DataDrop::TooMuch));
    assert_eq!(give(link.now + Duration::from_secs(2), WHOLE), Ok(()));
}

#[test]
fn more_chunks_than_anybody_needs_are_dropped_until_the_next_second() {
    let mut link = Link::new(0, 1);
    link.opened(&named("positions"));
    let (tag, base) = (link.tag, link.server.cumulative.expect("it has begun"));
    let again = vec![(base, 0, WHOLE, &b"x"[..]); 60];
    let packet = forged(tag, &again);
    let taken = (0..10_000).take_while(|_| link.server.handle(link.now, &packet).is_ok()).count();
    assert!((200..=MOST_CHUNKS as usize / 60).contains(&taken), "{taken}");
    link.now += Duration::from_secs(1);
    assert_eq!(link.server.handle(link.now, &packet), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is lost, reliable channels are.
    #[test]
    fn what_is_sent_comes_back_in_order_whatever_is_lost(
        seed in any::<u64>(),
        loss in 0_u64..30,
        lens in proptest::collection::vec(0_usize..5_000, 1..12),
    ) {
        let mut link = Link::new(loss, seed);
        link.echoes = true;
        let id = link.client.open(named("echo")).expect("there is room");
        let opened = |link: &Link| link.client.open_channels() == 1;
        prop_assert!(link.run(Duration::from_secs(300), opened));
        link.heard.clear();
        let sent: Vec<_> = lens.iter().map(|len| (Form::Binary, vec![7; *len])).collect();
        for (form, bytes) in &sent {
            link.client.send(id, *form, bytes).expect("there is room");
        }
        let all = |link: &Link| messages(&link.heard).len() == lens.len();
        prop_assert!(link.run(Duration::from_secs(600), all));
        prop_assert_eq!(messages(&link.heard), sent);
    }
}
