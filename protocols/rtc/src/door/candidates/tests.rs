use proptest::prelude::*;

use super::*;
use crate::config::tests::server;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn known(local: &str) -> Known {
    Known {
        machine: vec![ip("192.168.1.5"), ip("10.0.0.7"), ip("2001:db8::5")],
        public: None,
        local: ip(local),
        is_here: false,
        external: None,
        configured: Vec::new(),
        any: true,
        api: Vec::new(),
    }
}

fn told(server: &RtcServer, known: &Known) -> Vec<String> {
    candidates(server, known).iter().map(ToString::to_string).collect()
}

#[test]
fn the_address_that_the_request_came_in_at_goes_before_the_others() {
    let all = told(&server(), &known("10.0.0.7"));
    assert_eq!(all, ["udp 10.0.0.7:8000", "udp 192.168.1.5:8000"]);
}

#[test]
fn the_order_is_what_the_client_says_then_the_configuration_then_its_host_then_the_machine() {
    let known = Known {
        external: Some(External::parse("203.0.113.1:9000").unwrap()),
        configured: vec![At::Ip(ip("203.0.113.2"))],
        api: vec![At::Ip(ip("203.0.113.3")), At::Name("live.example.com".to_owned())],
        public: Some("203.0.113.4:8001".parse().unwrap()),
        ..known("192.168.1.5")
    };
    assert_eq!(
        told(&server(), &known),
        [
            "udp 203.0.113.1:9000",
            "udp 203.0.113.2:8000",
            "udp 203.0.113.3:8000",
            "udp live.example.com:8000",
            "udp 203.0.113.4:8001",
            "udp 192.168.1.5:8000",
            "udp 10.0.0.7:8000",
        ]
    );
}

#[test]
fn a_configured_address_takes_the_place_of_the_machine_s() {
    let known =
        Known { configured: vec![At::Ip(ip("203.0.113.2"))], any: false, ..known("10.0.0.7") };
    assert_eq!(told(&server(), &known), ["udp 203.0.113.2:8000"]);
}

#[test]
fn loopback_is_told_to_who_sits_on_this_machine_and_to_nobody_else() {
    for (local, first) in [("127.0.0.1", "udp 127.0.0.1:8000"), ("::1", "udp [::1]:8000")] {
        let mut known = Known { api: vec![At::Ip(ip(local))], ..known(local) };
        known.is_here = true;
        assert_eq!(told(&server(), &known)[0], first);
        known.is_here = false;
        assert!(
            !told(&server(), &known).iter().any(|c| c.contains("127.0.0.1") || c.contains("::1]"))
        );
    }
}

#[test]
fn families_are_chosen_and_a_machine_without_the_wanted_one_tells_what_it_has() {
    let with = |ip_family| RtcServer { ip_family, ..server() };
    let known = known("10.0.0.7");
    assert_eq!(told(&with(Family::Ipv6), &known), ["udp [2001:db8::5]:8000"]);
    assert_eq!(told(&with(Family::All), &known).len(), 3);
    let only = Known { machine: vec![ip("2001:db8::5")], ..known };
    assert_eq!(told(&with(Family::Ipv4), &only), ["udp [2001:db8::5]:8000"]);
}

#[test]
fn transports_are_told_as_configured_datagrams_first() {
    let with = |protocol, tcp_enabled| RtcServer { protocol, tcp_enabled, ..server() };
    let known = Known { machine: vec![ip("10.0.0.7")], ..known("10.0.0.7") };
    let both = ["udp 10.0.0.7:8000", "tcp 10.0.0.7:8000"];
    assert_eq!(told(&with(Protocol::All, true), &known), both);
    assert_eq!(told(&with(Protocol::All, false), &known), both[..1]);
    assert_eq!(told(&with(Protocol::Udp, true), &known), both[..1]);
    assert_eq!(told(&with(Protocol::Tcp, true), &known), both[1..]);
    assert_eq!(told(&with(Protocol::Tcp, false), &known), both[..1]);
}

#[test]
fn a_listener_on_one_address_does_not_hear_loopback() {
    let server = RtcServer { listen: vec!["10.0.0.7:8000".parse().unwrap()], ..server() };
    let here = Known { is_here: true, ..known("127.0.0.1") };
    assert!(!told(&server, &here).contains(&"udp 127.0.0.1:8000".to_owned()));
    let nothing = Known { any: false, ..here };
    assert_eq!(told(&server, &nothing), ["udp 10.0.0.7:8000"]);
}

#[test]
fn without_auto_detection_the_request_s_own_address_is_left() {
    let server = RtcServer { use_auto_detect_network_ip: false, ..server() };
    assert_eq!(told(&server, &known("10.0.0.7")), ["udp 10.0.0.7:8000"]);
}

#[test]
fn private_and_public_addresses_are_told_apart() {
    for text in [
        "10.1.1.1",
        "192.168.0.1",
        "172.16.0.1",
        "127.0.0.1",
        "100.64.0.1",
        "169.254.1.1",
        "fd00::1",
        "fe80::1",
        "::1",
        "::ffff:10.0.0.1",
    ] {
        assert!(is_private(ip(text)), "{text}");
    }
    for text in ["8.8.8.8", "100.128.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
        assert!(!is_private(ip(text)), "{text}");
    }
}

proptest! {
    #[test]
    fn there_is_always_something_to_tell_and_nothing_twice(
        machine in prop::collection::vec(any::<u32>(), 0..20), local in any::<[u8; 4]>(),
        here in any::<bool>(), any in any::<bool>(), auto in any::<bool>(),
    ) {
        let known = Known {
            machine: machine.iter().map(|n| IpAddr::from(n.to_be_bytes())).collect(),
            is_here: here,
            any,
            ..known(&IpAddr::from(local).to_string())
        };
        let server = RtcServer { use_auto_detect_network_ip: auto, ..server() };
        let all = candidates(&server, &known);
        prop_assert!(!all.is_empty() && all.len() <= MAX_HOSTS);
        for (at, one) in all.iter().enumerate() {
            prop_assert!(!all[at + 1..].contains(one));
        }
    }
}
