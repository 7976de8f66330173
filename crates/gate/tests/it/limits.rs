//! How many connections are let in, and that each gives its place back.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use gate::{Admission, Answer, Detail, Intent, PlayGrant, Refusal, Session};

use crate::rig::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn connections_beyond_the_limit_are_refused_until_one_ends() {
    let rig = Rig::new(&[("max_connections", "2")]);
    let host = &rig.host;
    let first = host.admit_connection(ip("192.0.2.1")).unwrap();
    let _second = host.admit_connection(ip("192.0.2.1")).unwrap();
    assert_eq!(host.admit_connection(ip("192.0.2.2")).err(), Some("max_connections"));
    assert_eq!((host.connections.load(Relaxed), host.refused.load(Relaxed)), (2, 1));
    drop(first);
    let _third = host.admit_connection(ip("192.0.2.2")).unwrap();
    assert_eq!(host.connections.load(Relaxed), 2);
}

#[test]
fn one_address_cannot_take_all_places() {
    let rig = Rig::new(&[("max_connections_per_ip", "1")]);
    let host = &rig.host;
    let first = host.admit_connection(ip("192.0.2.1")).unwrap();
    let same = host.admit_connection(ip("::ffff:192.0.2.1"));
    assert_eq!(same.err(), Some("max_connections_per_ip"), "the same address in IPv6 clothes");
    let _other = host.admit_connection(ip("192.0.2.2")).unwrap();
    assert_eq!(host.connections.load(Relaxed), 2, "the refused one holds no place");
    drop(first);
    let _again = host.admit_connection(ip("192.0.2.1")).unwrap();
}

#[test]
fn a_reload_changes_the_limits_and_a_draining_server_lets_nobody_in() {
    let rig = Rig::new(&[("max_connections", "1")]);
    let host = &rig.host;
    let _first = host.admit_connection(ip("192.0.2.1")).unwrap();
    assert!(host.admit_connection(ip("192.0.2.1")).is_err());
    host.set_config(config(&[("max_connections", "2")]));
    let _second = host.admit_connection(ip("192.0.2.1")).unwrap();
    host.drain();
    assert_eq!(host.admit_connection(ip("192.0.2.3")).err(), Some("the server is stopping"));
    assert_eq!(host.connections.load(Relaxed), 2);
}

fn session(rig: &Rig) -> Session {
    rig.host.sessions.open("test", ([192, 0, 2, 1], 4000).into())
}

fn intent(session: &Session, name: &str) -> Intent {
    let detail = Detail { app: "live".into(), name: name.into(), ..Detail::default() };
    Intent { session: session.id.to_string(), peer: session.peer, detail }
}

fn play(rig: &Rig, name: &str) -> Result<PlayGrant, Refusal> {
    let session = session(rig);
    rig.block_on(rig.host.play(&session, intent(&session, name)))
}

#[test]
fn a_stream_has_room_for_so_many_players_and_each_gives_its_place_back() {
    let rig = Rig::new(&[("vhost.play.max_players", "2")]);
    let first = play(&rig, "a").unwrap();
    let _second = play(&rig, "a.flv").unwrap();
    let refusal = play(&rig, "a").err().unwrap();
    assert_eq!(refusal.to_string(), "no place left: max_players of the stream is 2");
    assert_eq!((refusal.code(), refusal.status().as_u16()), (1074, 503));
    let _other = play(&rig, "b").unwrap();
    drop(first);
    let _third = play(&rig, "a").unwrap();
    assert_eq!(rig.host.refusals.all(), [("play", "limit", 1)]);
}

#[test]
fn a_virtual_host_has_room_for_so_many_clients_on_all_its_streams() {
    let rig = Rig::new(&[("vhost.max_connections", "2")]);
    let first = play(&rig, "a").unwrap();
    let _second = play(&rig, "b").unwrap();
    assert!(matches!(play(&rig, "c"), Err(Refusal::Full { most: 2, .. })));
    drop(first);
    let _third = play(&rig, "c").unwrap();
    // A reload counts those who are there.
    rig.host.set_config(config(&[("vhost.max_connections", "1")]));
    assert!(play(&rig, "d").is_err());
}

/// Lets the first one in.
struct Once(Arc<AtomicUsize>);

impl Admission for Once {
    fn admit(&self, _: &Intent) -> Answer {
        let before = self.0.fetch_add(1, Relaxed);
        let denied = || Refusal::Access {
            rule: "key",
            code: 1052,
            unauthorized: true,
            reason: "no".to_owned(),
        };
        Some(Box::pin(std::future::ready(if before == 0 { Ok(()) } else { Err(denied()) })))
    }
}

#[test]
fn whoever_was_let_in_goes_on_in_another_way_without_being_asked_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let rig = Rig::with(&[("vhost.play.max_players", "1")], Box::new(Once(asked.clone())));
    let session = session(&rig);
    let mut grant = rig.block_on(rig.host.play(&session, intent(&session, "a"))).unwrap();
    let again = rig.host.play_on(grant.hold.take().unwrap()).unwrap();
    assert_eq!(asked.load(Relaxed), 1);
    drop((grant, again));
    let refusal = play(&rig, "a").err().unwrap();
    assert_eq!(refusal.status().as_u16(), 401);
    assert_eq!(rig.host.refusals.all(), [("play", "key", 1)]);
}
