//! Records of DTLS that somebody else wrote, from the peer's own address.

use super::*;

const WAYS: [(Setup, Version); 4] = [
    (Setup::Passive, Version::Dtls12),
    (Setup::Active, Version::Dtls12),
    (Setup::Passive, Version::Dtls13),
    (Setup::Active, Version::Dtls13),
];

fn record(kind: u8, epoch: u16, number: u64, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 0xfe, 0xfd];
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(&number.to_be_bytes()[2..]);
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// A handshake message, or a part of one of that length.
fn message(kind: u8, number: u16, length: u32, at: u32, part: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&at.to_be_bytes()[1..]);
    out.extend_from_slice(&(part.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(part);
    out
}

/// What is no part of any handshake at that time: it must not be taken for one.
fn nonsense() -> Vec<Vec<u8>> {
    let whole = |kind, number, part: &[u8]| message(kind, number, part.len() as u32, 0, part);
    let bodies = [
        (21, vec![2, 40]),
        (21, vec![1, 0]),
        (21, vec![2]),
        (20, vec![1]),
        (20, vec![9; 40]),
        (23, b"in the clear".to_vec()),
        (24, vec![1, 0, 3]),
        (25, vec![0; 20]),
        (26, vec![0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]),
        (26, vec![0xff; 9]),
        (63, vec![0; 30]),
        // A request to begin anew, a part of 16 MB, parts beyond the end, one of no length.
        (22, whole(0, 0, &[])),
        (22, message(11, 900, 0xff_ffff, 0, &[7; 50])),
        (22, message(16, 901, 10, 0xff_fff0, &[7; 50])),
        (22, message(20, 902, 0, 0, &[])),
        (22, vec![1, 0, 0]),
        // A kind that there is not.
        (22, whole(99, 903, &[1, 2, 3])),
    ];
    let mut all = Vec::new();
    for (kind, body) in bodies {
        for (epoch, number) in [(0, 77), (0, 0xffff_ffff_ffff), (1, 3), (2, 3), (3, 3), (9, 1)] {
            all.push(record(kind, epoch, number, &body));
        }
    }
    for first in [0x20, 0x2c, 0x2d, 0x2e, 0x2f, 0x3f] {
        all.push(vec![
            first, 0, 1, 0, 20, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        ]);
    }
    all
}

fn forge(link: &mut Link, bytes: &[u8]) {
    let mut copy = bytes.to_vec();
    link.server.handle(link.now, client_addr(), udp(server_addr()), &mut copy);
    let mut copy = bytes.to_vec();
    link.client.handle(link.now, server_addr(), udp(client_addr()), &mut copy);
}

#[test]
fn nothing_in_the_clear_ends_a_session_that_is_connected() {
    for (server, version) in WAYS {
        let mut link = Link::connected(Plan { server, version: [version; 2], ..PLAN });
        link.run(Duration::from_secs(1));
        let hellos: Vec<_> = link.seen.iter().filter(|bytes| bytes[0] == 22).cloned().collect();
        for bytes in nonsense().iter().chain(&hellos) {
            forge(&mut link, bytes);
            assert!(link.server.is_connected() && link.client.is_connected(), "{bytes:02x?}");
        }
        link.run(Duration::from_secs(20));
        assert!(link.is_calm(), "{server:?} {version:?} {:?}", link.server_events);
        link.exchange(1);
        assert!(link.client.send_data(b"still there"));
        link.run(Duration::from_millis(100));
        assert!(link.media[0].contains(&b"still there".to_vec()));
    }
}

#[test]
fn nonsense_between_the_messages_of_a_handshake_does_not_end_it() {
    for (server, version) in WAYS {
        for (at, bytes) in nonsense().iter().enumerate() {
            let mut link = Link::new(Plan { server, version: [version; 2], ..PLAN });
            let end = link.now + Duration::from_secs(10);
            let done = |link: &Link| link.server.is_connected() && link.client.is_connected();
            while link.now < end && !done(&link) {
                link.collect();
                if link.server.state() != State::Checking && link.client.state() != State::Checking
                {
                    forge(&mut link, bytes);
                }
                link.step(end);
            }
            assert!(
                link.is_calm() && done(&link),
                "{server:?} {version:?} {at} {bytes:02x?}: {:?} {:?}",
                link.server_events,
                link.client_events
            );
        }
    }
}

#[test]
fn a_certificate_that_somebody_else_sends_first_ends_no_handshake() {
    for server in [Setup::Passive, Setup::Active] {
        let mut link = Link::new(Plan { server, version: [Version::Dtls12; 2], ..PLAN });
        let (end, mut forged) = (link.now + Duration::from_secs(10), 0);
        while link.now < end && !(link.server.is_connected() && link.client.is_connected()) {
            link.collect();
            let certificates: Vec<_> = link
                .flights
                .iter()
                .filter(|f| f.bytes[0] == 22 && f.bytes[13] == 11)
                .map(|f| u16::from_be_bytes([f.bytes[17], f.bytes[18]]))
                .collect();
            for number in certificates {
                forged += 1;
                let chain = [&[0, 0, 103, 0, 0, 100][..], &[0x30; 100]].concat();
                let message = message(11, number, 106, 0, &chain);
                forge(&mut link, &record(22, 0, 50, &message));
            }
            link.step(end);
        }
        assert!(forged > 0 && link.is_calm(), "{server:?} {:?}", link.server_events);
        link.exchange(1);
    }
}

#[test]
fn a_handshake_that_copies_have_spoilt_ends_in_time_with_a_reason_and_another_connects() {
    for (server, version) in WAYS {
        for seed in 0..20 {
            let mut link = Link::new(Plan { seed, server, version: [version; 2], ..PLAN });
            let end = link.now + Duration::from_secs(70);
            let mut random = Random(seed);
            while link.now < end {
                link.collect();
                // A damaged copy comes before each record in the clear.
                let flights: Vec<_> = link
                    .flights
                    .iter()
                    .filter(|f| f.bytes[0] == 22)
                    .map(|f| (f.to_server, f.bytes.clone()))
                    .collect();
                for (to_server, mut bytes) in flights {
                    let at = random.below(bytes.len() as u64) as usize;
                    bytes[at] ^= 1 << random.below(8);
                    let (side, from, via) = if to_server {
                        (&mut link.server, client_addr(), udp(server_addr()))
                    } else {
                        (&mut link.client, server_addr(), udp(client_addr()))
                    };
                    side.handle(link.now, from, via, &mut bytes);
                }
                link.step(end);
                if link.server.is_connected() && link.client.is_connected() {
                    break;
                }
                if link.server.state() == State::Closed && link.client.state() == State::Closed {
                    break;
                }
            }
            let states = (link.server.state(), link.client.state());
            assert!(
                matches!(
                    states,
                    (State::Connected | State::Closed, State::Connected | State::Closed)
                ),
                "{server:?} {version:?} {seed}: {states:?}",
            );
        }
        Link::connected(Plan { server, version: [version; 2], ..PLAN });
    }
}
