//! What strangers can send, and that it does nothing.

use proptest::prelude::*;

use super::*;
use crate::wire::stun::{Class, Writer};

fn stranger() -> SocketAddr {
    addr("192.0.2.66:666")
}

/// An alert which anybody may have written.
fn plain_alert(description: u8) -> Vec<u8> {
    vec![21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, description]
}

/// Whether the true address may send a damaged copy of it first: handshake messages in the clear
/// are what DTLS itself cannot protect.
fn is_signed(datagram: &[u8]) -> bool {
    !matches!(datagram, [20..=22, _, _, 0, 0, ..])
}

fn flipped(datagram: &[u8], place: prop::sample::Index, bit: u32) -> Vec<u8> {
    let mut copy = datagram.to_vec();
    // The checksum of a check is behind what is signed: without it, the check is as good.
    let checksum = if datagram[0] < 4 { 8 } else { 0 };
    let at = place.index(copy.len() - checksum);
    copy[at] ^= 1 << bit;
    copy
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn damaged_copies_before_the_true_ones_disturb_nothing(
        seed: u64,
        twelve: bool,
        active: bool,
        places in proptest::collection::vec((any::<prop::sample::Index>(), 0..8u32), 40),
    ) {
        let version = if twelve { Version::Dtls12 } else { Version::Auto };
        let server = if active { Setup::Active } else { Setup::Passive };
        let mut link = Link::new(Plan { seed, version: [version; 2], server, ..PLAN });
        let mut places = places.iter().cycle();
        let end = link.now + Duration::from_secs(20);
        let mut exchanged = false;
        while link.now < end {
            link.collect();
            let mut forged = Vec::new();
            for flight in &link.flights {
                let (place, bit) = places.next().unwrap();
                let bytes = flipped(&flight.bytes, *place, *bit);
                let via = udp(if flight.to_server { server_addr() } else { client_addr() });
                // Records of a handshake that is not done are proved by its end and not before.
                let provable = exchanged || flight.bytes[0] < 4;
                if provable && is_signed(&flight.bytes) && is_signed(&bytes) {
                    forged.push((flight.to_server, flight.from, via, bytes.clone()));
                }
                forged.push((flight.to_server, stranger(), via, bytes));
                // A whole check is true from wherever it comes: ICE has no other proof.
                if flight.bytes[0] > 3 {
                    forged.push((flight.to_server, stranger(), via, flight.bytes.clone()));
                }
            }
            for (to_server, from, via, mut bytes) in forged {
                let side = if to_server { &mut link.server } else { &mut link.client };
                let got = side.handle(link.now, from, via, &mut bytes);
                prop_assert!(
                    matches!(got, Incoming::Nothing | Incoming::Dropped(_)), "{:?}", got
                );
            }
            link.step(end);
            if link.server.is_connected() && link.client.is_connected() && !exchanged {
                exchanged = true;
                link.exchange(1);
            }
        }
        prop_assert!(exchanged, "{:?} {:?}", link.server_events, link.client_events);
        link.exchange(2);
        prop_assert!(link.is_calm(), "{:?} {:?}", link.server_events, link.client_events);
    }

    #[test]
    fn any_bytes_from_anywhere_end_nothing(
        datagrams in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..100)), 1..60),
        twelve: bool,
        first in prop_oneof![Just(None), (20..64u8).prop_map(Some)],
    ) {
        let version = if twelve { Version::Dtls12 } else { Version::Dtls13 };
        let mut link = Link::connected(Plan { version: [version; 2], ..PLAN });
        for (known, mut bytes) in datagrams {
            if let (Some(first), Some(byte)) = (first, bytes.first_mut()) {
                *byte = first;
                // A record that is whole.
                if let Some(rest) = bytes.len().checked_sub(13) {
                    bytes[11..13].copy_from_slice(&(rest as u16).to_be_bytes());
                }
            }
            let from = if known { client_addr() } else { stranger() };
            link.server.handle(link.now, from, udp(server_addr()), &mut bytes);
        }
        link.exchange(1);
        prop_assert!(link.is_calm(), "{:?}", link.server_events);
    }
}

#[test]
fn checks_without_the_right_words_are_dropped_without_a_reply() {
    let [server, _] = configs(PLAN);
    let now = Instant::now();
    let mut server = Transport::new(server, now);
    let (ours, theirs) = (credentials("server"), credentials("client"));
    let ask = |receiver: &str, sender: &str, password: Option<&str>| {
        Writer::new(Class::Request, [1; 12])
            .username(receiver, sender)
            .controlling(1)
            .use_candidate()
            .finish(password.map(str::as_bytes))
    };
    for mut forged in [
        ask(&ours.ufrag, &theirs.ufrag, Some("wrong password")),
        ask(&ours.ufrag, &theirs.ufrag, Some(&theirs.pwd)),
        ask(&ours.ufrag, &theirs.ufrag, None),
        ask("other", &theirs.ufrag, Some(&ours.pwd)),
        ask(&ours.ufrag, "other", Some(&ours.pwd)),
        Writer::new(Class::Success, [1; 12]).finish(Some(ours.pwd.as_bytes())),
    ] {
        let got = server.handle(now, stranger(), udp(server_addr()), &mut forged);
        assert_eq!(got, Incoming::Dropped(Drop::Forged));
        assert!(server.poll_transmit().is_none() && server.poll_event().is_none());
    }
    assert_eq!(server.state(), State::Checking);
}

#[test]
fn nothing_but_checks_is_answered_before_a_check() {
    let mut link = Link::connected(Plan { version: [Version::Dtls12; 2], ..PLAN });
    let hello = link.seen.iter().find(|bytes| bytes[0] == 22).unwrap().clone();
    link.exchange(1);
    let via = udp(server_addr());
    let mut fresh = Transport::new(configs(PLAN)[0].clone(), link.now);
    for mut bytes in [hello.clone(), link.protected(true, 9), rtcp()] {
        let got = fresh.handle(link.now, client_addr(), via, &mut bytes);
        assert_eq!(got, Incoming::Dropped(Drop::Unvalidated));
        assert!(fresh.poll_transmit().is_none());
    }
    // Nor from elsewhere, later.
    for mut bytes in [plain_alert(40), hello] {
        let got = link.server.handle(link.now, stranger(), via, &mut bytes);
        assert_eq!(got, Incoming::Dropped(Drop::Unvalidated));
        // From the peer's own address the alert is not signed, and the hello comes late.
        link.server.handle(link.now, client_addr(), via, &mut bytes);
    }
    link.exchange(2);
    link.run(Duration::from_secs(20));
    assert!(link.is_calm());
}

#[test]
fn media_before_the_handshake_and_copies_of_media_are_dropped() {
    let mut link = Link::new(PLAN);
    while link.server.state() == State::Checking {
        link.step(link.now + Duration::from_secs(1));
    }
    let via = udp(server_addr());
    let mut bytes = rtp(1);
    let early = link.server.handle(link.now, client_addr(), via, &mut bytes);
    assert_eq!(early, Incoming::Dropped(Drop::Early));
    let mut report = rtcp();
    let early = link.server.handle(link.now, client_addr(), via, &mut report);
    assert_eq!(early, Incoming::Dropped(Drop::Early));
    assert!(link.connects(Duration::from_secs(5)));
    let packet = link.protected(true, 1);
    assert!(link.server.handle(link.now, client_addr(), via, &mut packet.clone()).is_media());
    let mut copy = packet.clone();
    let copy = link.server.handle(link.now, client_addr(), via, &mut copy);
    assert_eq!(copy, Incoming::Dropped(Drop::Replayed));
    assert!(!link.server.handle(link.now, client_addr(), via, &mut rtp(2)).is_media());
    link.exchange(9);
}

#[test]
fn an_alert_in_the_clear_ends_no_handshake_that_goes_on() {
    for (server, version) in [Setup::Passive, Setup::Active]
        .into_iter()
        .flat_map(|setup| [(setup, Version::Dtls13), (setup, Version::Dtls12)])
    {
        let mut link = Link::new(Plan { server, version: [version; 2], ..PLAN });
        let end = link.now + Duration::from_secs(5);
        while link.now < end {
            let via = udp(server_addr());
            link.server.handle(link.now, client_addr(), via, &mut plain_alert(40));
            let via = udp(client_addr());
            link.client.handle(link.now, server_addr(), via, &mut plain_alert(40));
            link.step(end);
        }
        assert!(link.is_calm(), "{server:?} {version:?} {:?}", link.server_events);
        link.exchange(1);
    }
}

#[test]
fn an_alert_in_the_clear_ends_a_handshake_that_stands_still() {
    let mut link = Link::new(Plan { version: [Version::Dtls12; 2], ..PLAN });
    while !matches!(link.server.state(), State::Handshaking(_)) {
        link.step(link.now + Duration::from_secs(1));
    }
    link.loss = 100;
    link.flights.clear();
    link.server.handle(link.now, client_addr(), udp(server_addr()), &mut plain_alert(48));
    assert!(link.is_calm());
    link.run(Duration::from_secs(4));
    assert_eq!(link.server_events.last(), Some(&Event::Closed(Why::Alert(48))));
}

#[test]
fn a_damaged_hello_before_the_true_one_ends_nothing_at_once() {
    for version in [Version::Auto, Version::Dtls12, Version::Dtls13] {
        for at in (0..200).step_by(3) {
            let mut link = Link::new(Plan { version: [version; 2], ..PLAN });
            let hello = loop {
                link.step(link.now + Duration::from_secs(1));
                let hello = link.flights.iter().find(|f| f.to_server && f.bytes[0] == 22);
                if let Some(hello) = hello {
                    break hello.bytes.clone();
                }
            };
            let mut damaged = hello.clone();
            let at = (13 + at).min(hello.len() - 1);
            damaged[at] ^= 0x10;
            link.server.handle(link.now, client_addr(), udp(server_addr()), &mut damaged);
            link.run(Duration::from_secs(1));
            assert!(link.is_calm(), "{version:?} byte {at}: {:?}", link.server_events);
        }
    }
}
