//! How many connections are let in, and that each gives its place back.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

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
