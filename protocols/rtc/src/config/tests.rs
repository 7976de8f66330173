mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use gate::conf::{Node, Table};
use rows::ROWS;

use super::*;

fn config(server: Vec<Node>, rtc: Vec<Node>) -> Config {
    let block = |name: &str, args: &[&str], children: Vec<Node>| {
        let mut node = Node::block(name, args);
        node.children = Some(children);
        node
    };
    let nodes = vec![
        block("rtc_server", &[], server),
        block("vhost", &["v"], vec![block("rtc", &[], rtc)]),
    ];
    Config::new(Arc::new(Table::new([ROWS])), nodes, BTreeMap::new(), Vec::new())
}

/// The defaults.
pub(crate) fn server() -> RtcServer {
    RtcServer::read(&config(Vec::new(), Vec::new()))
}

#[test]
fn the_defaults_are_those_of_srs() {
    let server = server();
    assert!(!server.enabled && !server.tcp_enabled && server.encrypt && server.api_as_candidates);
    assert_eq!(server.listen, ["8000".parse().unwrap()]);
    assert_eq!(server.candidate, ["*"]);
    assert_eq!((server.protocol, server.ip_family), (Protocol::Udp, Family::Ipv4));
    assert_eq!((&server.stun_server, &server.black_hole), (&None, &None));
    let config = config(Vec::new(), Vec::new());
    let vhost = RtcVhost::read(&config.vhost("v").unwrap());
    assert!(!vhost.enabled && vhost.nack && vhost.twcc && !vhost.rtmp_to_rtc);
    assert_eq!(vhost.stun_timeout, Duration::from_secs(30));
    assert_eq!((vhost.dtls_role, vhost.dtls_version), (DtlsRole::Passive, DtlsVersion::Auto));
    assert_eq!((vhost.opus_bitrate, vhost.aac_bitrate), (48_000, 48_000));
    assert!(!vhost.keep_opus);
}

#[test]
fn what_is_written_is_read() {
    let mut hole = Node::block("black_hole", &[]);
    hole.children =
        Some(vec![Node::line("enabled", &["on"]), Node::line("addr", &["127.0.0.1:10000"])]);
    let nodes = vec![
        Node::line("protocol", &["all"]),
        Node::line("ip_family", &["all"]),
        Node::line("candidate", &["203.0.113.1", "*"]),
        Node::line("stun_server", &["off"]),
        Node::line("ice_server", &["stun:stun.example.com:3478"]),
        Node::line("ice_server", &["turn:turn.example.com", "user", "pass"]),
        Node::line("ice_server", &["http://example.com"]),
        Node::line("ecdsa", &["off"]),
        hole,
    ];
    let rtc = vec![Node::line("dtls_version", &["dtls1.0"]), Node::line("drop_for_pt", &["111"])];
    let config = config(nodes, rtc);
    let server = RtcServer::read(&config);
    assert_eq!((server.protocol, server.ip_family), (Protocol::All, Family::All));
    assert_eq!(server.candidate, ["203.0.113.1", "*"]);
    assert_eq!(server.stun_server, None);
    assert_eq!(server.black_hole.as_deref(), Some("127.0.0.1:10000"));
    assert_eq!(server.ice_servers.len(), 2);
    let credential = server.ice_servers[1].credential.as_ref().unwrap();
    assert_eq!(credential, &("user".to_owned(), "pass".to_owned()));
    let vhost = RtcVhost::read(&config.vhost("v").unwrap());
    assert_eq!((vhost.drop_for_pt, vhost.dtls_version), (111, DtlsVersion::Auto));
    assert_eq!(complaints(&config).len(), 4, "{:?}", complaints(&config));
}
