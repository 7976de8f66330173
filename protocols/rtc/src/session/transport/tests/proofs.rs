//! Who has a session writes another's address into its datagrams: the server must not believe it.

use super::roads::{answers, checks};
use super::*;
use crate::wire::stun::{Class, Message, Writer};

/// Somebody who never asked for anything.
fn victim() -> SocketAddr {
    addr("192.0.2.80:8080")
}

/// Everything that the server sends to the victim until then, with a forged check each 100 ms.
fn sent_to_victim(link: &mut Link, time: Duration) -> (usize, usize, Vec<Vec<u8>>) {
    let (end, mut number) = (link.now + time, 0);
    let (mut forged, mut all) = (0, Vec::new());
    while link.now < end {
        number += 1;
        let mut check = checks(number as u8, true);
        forged += check.len();
        link.server.handle(link.now, victim(), udp(server_addr()), &mut check);
        while let Some(transmit) = link.server.poll_transmit() {
            if transmit.to == victim() {
                all.push(transmit.bytes);
            } else {
                link.post(false, server_addr(), transmit.bytes);
            }
        }
        link.step(link.now + Duration::from_millis(100));
    }
    (forged, all.iter().map(Vec::len).sum(), all)
}

#[test]
fn media_do_not_move_to_an_address_that_never_answers() {
    let mut link = Link::connected(PLAN);
    let via = udp(server_addr());
    let (forged, sent, all) = sent_to_victim(&mut link, Duration::from_secs(60));
    assert!(link.is_calm(), "{:?}", link.server_events);
    assert_eq!(link.server.selected(), Some((client_addr(), via)));
    assert!(sent <= 3 * forged, "{sent} bytes for {forged}");
    assert!(all.iter().all(|bytes| Message::decode(bytes).is_ok()));
    link.exchange(1);
}

#[test]
fn no_answer_but_that_of_the_peer_to_that_very_question_moves_media() {
    let mut link = Link::connected(PLAN);
    let via = udp(server_addr());
    link.server.handle(link.now, victim(), via, &mut checks(1, true));
    let (_, question) = (link.server.poll_transmit(), link.server.poll_transmit().unwrap());
    // A server of STUN, or another session, is at that address.
    let number = Message::decode(&question.bytes).unwrap().transaction;
    let unsigned = Writer::new(Class::Success, number).mapped(server_addr()).finish(None);
    let guessed =
        Writer::new(Class::Success, [7; 12]).finish(Some(credentials("client").pwd.as_bytes()));
    for mut bytes in [unsigned, answers(&question.bytes, "another"), guessed] {
        let got = link.server.handle(link.now, victim(), via, &mut bytes);
        assert_eq!(got, Incoming::Dropped(Drop::Forged));
    }
    // What was asked there counts for nothing elsewhere.
    let mut answer = answers(&question.bytes, "client");
    let elsewhere = addr("192.0.2.81:1");
    let mut copy = answer.clone();
    let got = link.server.handle(link.now, elsewhere, via, &mut copy);
    assert_eq!(got, Incoming::Dropped(Drop::Forged));
    assert_eq!(link.server.selected(), Some((client_addr(), via)));
    assert_eq!(link.server.handle(link.now, victim(), via, &mut answer), Incoming::Nothing);
    assert_eq!(link.server.selected(), Some((victim(), via)));
}

#[test]
fn questions_do_not_tell_what_the_next_one_will_be() {
    let mut link = Link::connected(PLAN);
    link.server.set_mark(*b"marked");
    let mut seen = std::collections::BTreeSet::new();
    for port in 1..200 {
        let from = SocketAddr::new(victim().ip(), port);
        link.server.handle(link.now, from, udp(server_addr()), &mut checks(1, true));
        while let Some(transmit) = link.server.poll_transmit() {
            let message = Message::decode(&transmit.bytes).unwrap();
            if message.class == Class::Request {
                let (mark, drawn) = message.transaction.split_at(6);
                assert_eq!(mark, b"marked");
                assert!(seen.insert(drawn.to_vec()));
            }
        }
    }
    // So many fit into what came and what is free.
    assert!(seen.len() > 100, "{}", seen.len());
}

#[test]
fn a_choice_that_was_taken_back_does_not_move_media_later() {
    let mut link = Link::connected(PLAN);
    let via = udp(server_addr());
    link.server.handle(link.now, victim(), via, &mut checks(1, true));
    let (_, question) = (link.server.poll_transmit(), link.server.poll_transmit().unwrap());
    link.server.handle(link.now, client_addr(), via, &mut checks(2, true));
    link.server.handle(link.now, victim(), via, &mut answers(&question.bytes, "client"));
    assert_eq!(link.server.selected(), Some((client_addr(), via)));
    // And chosen again it needs no second proof.
    link.server.handle(link.now, victim(), via, &mut checks(3, true));
    assert_eq!(link.server.selected(), Some((victim(), via)));
}

#[test]
fn a_handshake_with_an_address_that_never_answers_is_bounded() {
    for server in [Setup::Passive, Setup::Active] {
        for version in [Version::Dtls12, Version::Dtls13] {
            let plan = Plan { server, version: [version; 2], ..PLAN };
            let mut link = Link::new(plan);
            let mut came = 0;
            // The client can send, and hears nothing.
            let end = link.now + Duration::from_secs(40);
            let mut sent = 0;
            while link.now < end {
                link.collect();
                link.flights.retain(|flight| flight.to_server);
                came += link.flights.iter().map(|flight| flight.bytes.len()).sum::<usize>();
                link.flights.iter_mut().for_each(|flight| flight.at = link.now);
                for mut flight in std::mem::take(&mut link.flights) {
                    let via = udp(server_addr());
                    link.server.handle(link.now, flight.from, via, &mut flight.bytes);
                }
                while let Some(transmit) = link.server.poll_transmit() {
                    sent += transmit.bytes.len();
                }
                link.step(end);
            }
            assert!(sent <= 4 * came + 8 * 1024, "{server:?} {version:?}: {sent} for {came}");
            assert!(!link.server.is_connected());
        }
    }
}

#[test]
fn clients_that_answer_no_questions_connect_by_their_handshake() {
    for seed in 0..16 {
        let server = [Setup::Passive, Setup::Active][seed as usize % 2];
        let version = [[Version::Auto; 2], [Version::Dtls12; 2]][seed as usize / 2 % 2];
        let mut link = Link::new(Plan { seed, server, version, loss: 5, ..PLAN });
        let end = link.now + Duration::from_secs(20);
        while link.now < end && !(link.server.is_connected() && link.client.is_connected()) {
            link.collect();
            let deaf = |flight: &Flight| flight.to_server || flight.bytes[..2] != [0, 1];
            link.flights.retain(deaf);
            link.step(end);
        }
        assert!(link.server.is_connected(), "{seed} {server:?}: {:?}", link.server_events);
        let proven = link.server_events.iter().any(|event| matches!(event, Event::Proven { .. }));
        assert!(proven && link.server.is_proven(client_addr(), udp(server_addr())));
    }
}

#[test]
fn plain_media_wait_for_an_answer_too() {
    let plan = Plan { dtls: false, encrypt: false, ..PLAN };
    let [server, _] = configs(plan);
    let now = Instant::now();
    let mut server = Transport::new(server, now);
    let via = udp(server_addr());
    server.handle(now, victim(), via, &mut checks(1, true));
    let (_, question) = (server.poll_transmit(), server.poll_transmit().unwrap());
    assert!(!server.is_connected());
    server.handle(now, victim(), via, &mut answers(&question.bytes, "client"));
    assert!(server.is_connected());
}

#[test]
fn the_end_of_a_connection_does_not_move_media_to_an_address_that_never_answered() {
    let plan = Plan { dtls: false, encrypt: false, ..PLAN };
    let [server, _] = configs(plan);
    let now = Instant::now();
    let mut server = Transport::new(server, now);
    let (tcp, via) = (Via::Tcp(7), udp(server_addr()));
    server.handle(now, client_addr(), tcp, &mut checks(1, true));
    assert!(server.is_connected());
    server.handle(now, victim(), via, &mut checks(2, true));
    server.gone(tcp);
    assert_eq!(server.selected(), None);
    server.handle(now, victim(), via, &mut checks(3, true));
    assert_eq!(server.selected(), None);
}

#[test]
fn a_handshake_that_two_addresses_heard_proves_neither() {
    let mut link = Link::new(Plan { version: [Version::Dtls12; 2], ..PLAN });
    // The client hears the server's flight at its own address, and ends the handshake from another.
    let tcp = Via::Tcp(7);
    link.server.handle(link.now, client_addr(), tcp, &mut checks(1, true));
    let end = link.now + Duration::from_secs(5);
    let mut heard = false;
    while link.now < end && link.server.state() != State::Connected {
        link.client.handle_timeout(link.now);
        let mut turned = Vec::new();
        while let Some(transmit) = link.client.poll_transmit() {
            turned.push(transmit.bytes);
        }
        for mut bytes in turned {
            let via = if heard { udp(server_addr()) } else { tcp };
            let from = if heard { victim() } else { client_addr() };
            link.server.handle(link.now, from, via, &mut bytes);
        }
        while let Some(mut transmit) = link.server.poll_transmit() {
            let is_flight = transmit.bytes[0] == 22;
            if transmit.via == tcp {
                let via = udp(client_addr());
                link.client.handle(link.now, server_addr(), via, &mut transmit.bytes);
            }
            if is_flight && !heard && transmit.via == tcp {
                heard = true;
                link.server.handle(link.now, victim(), udp(server_addr()), &mut checks(2, true));
                link.server.gone(tcp);
                link.server.handle(link.now, victim(), udp(server_addr()), &mut checks(3, true));
            }
        }
        link.now += Duration::from_millis(20);
        link.server.handle_timeout(link.now);
    }
    assert!(heard && !link.server.is_connected());
}
