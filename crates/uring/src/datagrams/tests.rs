use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use proptest::prelude::*;

use super::*;

fn socket(at: &str) -> UdpSocket {
    let socket = UdpSocket::bind(at).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn senders() -> [Datagrams; 2] {
    let ring = Ring::new(8).expect("this machine allows io_uring");
    [Datagrams::new(64, None), Datagrams::new(64, Some(ring))]
}

/// What is there, without waiting: loopback delivers within the call that sends.
fn all(socket: &UdpSocket) -> Vec<(Vec<u8>, SocketAddr)> {
    let mut got = Vec::new();
    let mut room = [0; 65_536];
    loop {
        match socket.recv_from(&mut room) {
            Ok((n, from)) => got.push((room[..n].to_vec(), from)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return got,
            Err(e) => panic!("{e}"),
        }
    }
}

fn plain<'a>(to: &UdpSocket, bytes: &'a [u8]) -> Datagram<'a> {
    Datagram { to: to.local_addr().unwrap(), from: None, bytes, segment: None }
}

#[test]
fn each_peer_gets_its_own_datagrams_whole_and_in_order() {
    for mut datagrams in senders() {
        let from = socket("127.0.0.1:0");
        let peers: Vec<_> = (0..20).map(|_| socket("127.0.0.1:0")).collect();
        for round in 0..5u8 {
            let bytes: Vec<Vec<u8>> =
                (0..20u8).map(|n| vec![n ^ round; 500 + usize::from(n)]).collect();
            let mut batch = datagrams.batch();
            for (peer, bytes) in peers.iter().zip(&bytes) {
                let whole = plain(peer, bytes);
                assert!(batch.push(from.as_fd(), Datagram { segment: Some(200), ..whole }));
                assert!(batch.push(from.as_fd(), Datagram { bytes: b"last", ..whole }));
            }
            let sent: Vec<_> = batch.send().to_vec();
            for (n, sent) in sent.iter().enumerate() {
                let size = if n % 2 == 0 { 500 + n / 2 } else { 4 };
                assert_eq!(*sent, Sent::Taken(size));
            }
            for (peer, bytes) in peers.iter().zip(&bytes) {
                let got: Vec<_> = all(peer).into_iter().map(|(bytes, _)| bytes).collect();
                let (a, rest) = bytes.split_at(200);
                let (b, c) = rest.split_at(200);
                assert_eq!(got, [a, b, c, b"last"]);
            }
        }
    }
}

#[test]
fn our_address_is_the_one_that_was_asked_for() {
    for mut datagrams in senders() {
        let four = socket("0.0.0.0:0");
        let six = socket("[::]:0");
        let (peer4, peer6) = (socket("127.0.0.1:0"), socket("[::1]:0"));
        let mut batch = datagrams.batch();
        let asked = "127.0.0.7".parse().unwrap();
        assert!(batch.push(four.as_fd(), Datagram { from: Some(asked), ..plain(&peer4, b"4") }));
        let asked6 = "::1".parse().unwrap();
        let six_way = Datagram { from: Some(asked6), segment: Some(1), ..plain(&peer6, b"66") };
        assert!(batch.push(six.as_fd(), six_way));
        assert_eq!(batch.send(), [Sent::Taken(1), Sent::Taken(2)]);
        let [(_, from)] = all(&peer4).try_into().unwrap();
        assert_eq!(from.ip(), asked);
        let [(_, a), (_, b)] = all(&peer6).try_into().unwrap();
        assert_eq!((a.ip(), b.ip()), (asked6, asked6));
    }
}

#[test]
fn one_that_fails_is_told_and_the_others_are_sent() {
    for mut datagrams in senders() {
        let from = socket("127.0.0.1:0");
        let peer = socket("127.0.0.1:0");
        let long = vec![0; 65_508];
        // No stream of datagrams takes more than an IP packet, and no socket of IPv4 reaches IPv6.
        let strange = Datagram { to: "[::1]:9".parse().unwrap(), ..plain(&peer, b"x") };
        let mut batch = datagrams.batch();
        for datagram in [plain(&peer, &long), plain(&peer, b"a"), strange, plain(&peer, b"b")] {
            assert!(batch.push(from.as_fd(), datagram));
        }
        let sent = batch.send().to_vec();
        assert!(matches!(sent[0], Sent::Failed(_)), "{sent:?}");
        assert!(matches!(sent[2], Sent::Failed(_)), "{sent:?}");
        assert_eq!((sent[1], sent[3]), (Sent::Taken(1), Sent::Taken(1)));
        let got: Vec<_> = all(&peer).into_iter().map(|(bytes, _)| bytes).collect();
        assert_eq!(got, [b"a", b"b"]);
    }
}

#[test]
fn what_is_no_socket_is_told_and_the_others_are_sent() {
    for mut datagrams in senders() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let from = socket("127.0.0.1:0");
        let peer = socket("127.0.0.1:0");
        let mut batch = datagrams.batch();
        assert!(batch.push(file.as_fd(), plain(&peer, b"x")));
        assert!(batch.push(from.as_fd(), plain(&peer, b"y")));
        let sent = batch.send().to_vec();
        assert!(matches!(sent[0], Sent::Failed(_)), "{sent:?}");
        assert_eq!(sent[1], Sent::Taken(1));
        assert_eq!(all(&peer).len(), 1);
    }
}

#[test]
fn a_full_batch_takes_no_more_and_one_that_is_left_unsent_is_never_sent() {
    let mut datagrams = Datagrams::new(2, None);
    let from = socket("127.0.0.1:0");
    let peer = socket("127.0.0.1:0");
    let mut batch = datagrams.batch();
    assert!(batch.push(from.as_fd(), plain(&peer, b"a")));
    assert!(batch.push(from.as_fd(), plain(&peer, b"b")));
    assert!(!batch.push(from.as_fd(), plain(&peer, b"c")));
    let _ = batch;
    assert_eq!(datagrams.batch().send(), []);
    assert_eq!(all(&peer), []);
}

proptest! {
    #[test]
    fn control_messages_stay_in_their_room(segment: Option<u16>, from: Option<IpAddr>) {
        let to = SocketAddr::from(([127, 0, 0, 1], 1));
        let control = Control::of(&Datagram { to, from, bytes: &[], segment });
        let expected = usize::from(segment.is_some()) * 24
            + match from { Some(IpAddr::V4(_)) => 32, Some(IpAddr::V6(_)) => 40, None => 0 };
        prop_assert_eq!(control.len, expected);
        prop_assert!(control.len <= CONTROL);
    }
}
