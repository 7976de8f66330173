//! Addresses that change, credentials that change, TCP.

use super::*;
use crate::wire::stun::{Class, Message, Writer};

/// A check as a browser sends it.
pub(super) fn checks(number: u8, nominate: bool) -> Vec<u8> {
    let writer = Writer::new(Class::Request, [number; 12])
        .username(&credentials("server").ufrag, &credentials("client").ufrag)
        .priority(1)
        .controlling(9);
    let writer = if nominate { writer.use_candidate() } else { writer };
    writer.finish(Some(credentials("server").pwd.as_bytes()))
}

/// The answer to a question of the server, as who has that password gives it.
pub(super) fn answers(question: &[u8], who: &str) -> Vec<u8> {
    let asked = Message::decode(question).unwrap();
    assert_eq!(asked.class, Class::Request);
    assert_eq!(asked.fragments(), Some(("clientfrag", "serverfrag")));
    assert!(asked.verify(credentials("client").pwd.as_bytes()) && asked.controlled.is_some());
    Writer::new(Class::Success, asked.transaction)
        .mapped(server_addr())
        .finish(Some(credentials(who).pwd.as_bytes()))
}

#[test]
fn a_nominated_address_takes_over_without_a_break() {
    let mut link = Link::connected(PLAN);
    let moved = addr("192.0.2.99:5555");
    let via = udp(server_addr());
    // Media from there count for nothing before a check does.
    let packet = link.protected(true, 1);
    let mut bytes = packet.clone();
    let early = link.server.handle(link.now, moved, via, &mut bytes);
    assert_eq!(early, Incoming::Dropped(Drop::Unvalidated));
    // A check alone validates, and does not move the session.
    assert_eq!(link.server.handle(link.now, moved, via, &mut checks(1, false)), Incoming::Nothing);
    let (reply, question) = (link.server.poll_transmit(), link.server.poll_transmit());
    assert_eq!([&reply, &question].map(|t| t.as_ref().unwrap().to), [moved; 2]);
    let mut answer = answers(&question.unwrap().bytes, "client");
    assert_eq!(link.server.handle(link.now, moved, via, &mut answer), Incoming::Nothing);
    assert_eq!(link.server.selected(), Some((client_addr(), via)));
    let got = link.server.handle(link.now, moved, via, &mut packet.clone()).is_media();
    assert!(got);
    link.server.handle(link.now, moved, via, &mut checks(2, true));
    assert_eq!(link.server.selected(), Some((moved, via)));
    assert_eq!(link.server.poll_event(), Some(Event::AddressChanged { addr: moved, via }));
    link.client_addr = moved;
    link.exchange(5);
    assert!(link.server.is_connected());
}

#[test]
fn a_peer_that_moves_is_followed_once_its_old_address_is_silent() {
    let mut link = Link::connected(PLAN);
    // The answer to the nomination is on its way.
    link.run(Duration::from_secs(1));
    link.client_addr = addr("192.0.2.50:1234");
    link.run(Duration::from_secs(4));
    assert_eq!(link.server.selected().unwrap().0, client_addr());
    link.run(Duration::from_secs(12));
    assert_eq!(link.server.selected().unwrap().0, link.client_addr);
    link.exchange(3);
    assert!(link.server.is_connected() && link.client.is_connected());
}

#[test]
fn many_addresses_do_not_push_out_the_chosen_one() {
    let mut link = Link::connected(PLAN);
    for port in 1..200 {
        let from = SocketAddr::new(client_addr().ip(), port);
        link.server.handle(link.now, from, udp(server_addr()), &mut checks(port as u8, false));
    }
    link.exchange(1);
    assert!(link.is_calm());
}

#[test]
fn credentials_may_change_and_the_old_ones_hold_until_then() {
    let mut link = Link::connected(PLAN);
    let (server, client) = (credentials("server2"), credentials("client2"));
    link.server.restart_ice(server.clone(), client.clone(), link.now);
    let via = udp(server_addr());
    let mut bytes = checks(1, true);
    let old = link.server.handle(link.now, client_addr(), via, &mut bytes);
    assert_eq!(old, Incoming::Nothing);
    link.exchange(1);
    link.client.restart_ice(client, server, link.now);
    link.run(Duration::from_secs(2));
    assert!(link.server_events.contains(&Event::Restarted));
    assert!(link.client_events.contains(&Event::Restarted));
    let mut bytes = checks(2, true);
    let old = link.server.handle(link.now, client_addr(), via, &mut bytes);
    assert_eq!(old, Incoming::Dropped(Drop::Forged));
    link.exchange(2);
    link.run(Duration::from_secs(60));
    assert!(link.server.is_connected() && link.client.is_connected());
}

#[test]
fn tcp_is_a_road_like_udp_and_its_end_leaves_the_others() {
    let mut link = Link::connected(PLAN);
    let tcp = Via::Tcp(7);
    link.server.handle(link.now, client_addr(), tcp, &mut checks(1, true));
    assert_eq!(link.server.selected(), Some((client_addr(), tcp)));
    assert_eq!(link.server.poll_transmit().map(|t| t.via), Some(tcp));
    link.server.gone(tcp);
    assert_eq!(link.server.selected(), Some((client_addr(), udp(server_addr()))));
    let packet = link.protected(true, 1);
    let mut bytes = packet.clone();
    let gone = link.server.handle(link.now, client_addr(), tcp, &mut bytes);
    assert_eq!(gone, Incoming::Dropped(Drop::Unvalidated));
    link.server.gone(udp(server_addr()));
    assert_eq!(link.server.selected(), None);
    link.server.handle(link.now, client_addr(), Via::Tcp(8), &mut checks(2, false));
    assert_eq!(link.server.selected(), Some((client_addr(), Via::Tcp(8))));
}

#[test]
fn the_first_good_address_of_many_is_taken() {
    let [server, mut client] = configs(PLAN);
    let candidate = |text| (addr(text), udp(client_addr()));
    client.role = Role::Client(vec![candidate("10.0.0.1:1"), candidate("10.0.0.2:2")]);
    let now = Instant::now();
    let mut server = Transport::new(server, now);
    let mut client = Transport::new(client, now);
    client.add_candidate(server_addr(), udp(client_addr()));
    let mut tried = std::collections::BTreeSet::new();
    let mut time = now;
    while !client.is_connected() && time < now + Duration::from_secs(5) {
        time += Duration::from_millis(10);
        client.handle_timeout(time);
        server.handle_timeout(time);
        while let Some(mut transmit) = client.poll_transmit() {
            tried.insert(transmit.to);
            if transmit.to == server_addr() {
                server.handle(time, client_addr(), udp(server_addr()), &mut transmit.bytes);
            }
        }
        while let Some(mut transmit) = server.poll_transmit() {
            client.handle(time, server_addr(), udp(client_addr()), &mut transmit.bytes);
        }
    }
    assert!(client.is_connected());
    assert_eq!(tried.len(), 3);
    assert_eq!(client.selected(), Some((server_addr(), udp(client_addr()))));
}

#[test]
fn who_also_claims_to_be_controlled_is_told_to_control() {
    let [server, _] = configs(PLAN);
    let now = Instant::now();
    let mut server = Transport::new(server, now);
    let mut ask = Writer::new(Class::Request, [1; 12])
        .username(&credentials("server").ufrag, &credentials("client").ufrag)
        .controlled(5)
        .finish(Some(credentials("server").pwd.as_bytes()));
    server.handle(now, client_addr(), udp(server_addr()), &mut ask);
    let reply = server.poll_transmit().unwrap().bytes;
    let reply = Message::decode(&reply).unwrap();
    assert_eq!(reply.error, Some(487));
    assert!(reply.verify(credentials("server").pwd.as_bytes()));
    assert_eq!(server.state(), State::Checking);
}

#[test]
fn two_that_would_control_settle_it() {
    for seeds in [(1, 2), (2, 1)] {
        let [mut one, mut two] = configs(PLAN);
        one.role = Role::Client(vec![(client_addr(), udp(server_addr()))]);
        (one.seed, two.seed) = seeds;
        let mut link = Link::of(one, two, PLAN);
        assert!(link.connects(Duration::from_secs(10)), "{:?}", link.client_events);
        link.exchange(1);
        link.run(Duration::from_secs(60));
        assert!(link.server.is_connected() && link.client.is_connected());
    }
}
