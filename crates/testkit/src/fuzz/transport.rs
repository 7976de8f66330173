//! WebRTC below media: connectivity checks, DTLS as it arrives, SRTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rtc::session::dtls::{Identity, Setup, Version};
use rtc::session::ice::Credentials;
use rtc::session::transport::{Drop, Incoming, Role, State, Transport, TransportConfig, Via};
use rtc::wire::srtp::{Profile, from_exported};
use rtc::wire::{framing, stun};

use super::pieces;

/// A message of STUN: what is told without a check agrees with what a check finds, and no byte of
/// it is taken for signed.
pub fn stun(data: &[u8]) {
    let quick = stun::username(data);
    if let Ok(message) = stun::Message::decode(data) {
        assert!(!message.verify(b"a password that nobody knows"));
        if message.class == stun::Class::Request && !message.has_integrity() {
            assert_eq!(quick, message.fragments());
        }
    }
    // The same as a stream of framed packets: cuts must not matter.
    let cut = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut reader, mut packets) = (framing::Reader::default(), Vec::new());
        for mut piece in pieces {
            loop {
                match reader.next(&mut piece) {
                    Ok(Some(packet)) => packets.push(packet.to_vec()),
                    Ok(None) => break,
                    Err(_) => return packets,
                }
            }
        }
        packets
    };
    assert_eq!(cut(&mut std::iter::once(data)), cut(&mut pieces(data)));
}

/// SRTP: nothing forged is opened or remembered; what was protected comes back. The first byte
/// chooses the profile, the second RTP or RTCP.
pub fn srtp(data: &[u8]) {
    let [profile, report, data @ ..] = data else { return };
    let profile = match profile % 3 {
        0 => Profile::AeadAes128Gcm,
        1 => Profile::AeadAes256Gcm,
        _ => Profile::Aes128CmSha1_80,
    };
    let keying = [9; 88];
    let keying = keying.get(..profile.keying_len()).unwrap_or_default();
    let (Ok((mut sender, _)), Ok((_, mut receiver))) =
        (from_exported(profile, keying, true), from_exported(profile, keying, false))
    else {
        return;
    };
    let mut forged = data.to_vec();
    assert!(receiver.unprotect(&mut forged).is_err());
    let mut forged = data.to_vec();
    assert!(receiver.unprotect_rtcp(&mut forged).is_err());
    let mut plain = if report % 2 == 0 { vec![0x80, 96, 0, 1] } else { vec![0x80, 200, 0, 1] };
    plain.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2]);
    plain.extend_from_slice(data);
    let mut packet = plain.clone();
    let opened = if report % 2 == 0 {
        assert_eq!(sender.protect(1, 2, &mut packet, 0, 12), Ok(()));
        receiver.unprotect(&mut packet)
    } else {
        assert_eq!(sender.protect_rtcp(&mut packet, 0), Ok(()));
        receiver.unprotect_rtcp(&mut packet)
    };
    assert_eq!(opened, Ok(plain.len()));
    assert_eq!(packet.get(..plain.len()), Some(plain.as_slice()));
}

/// Bytes as they arrive from the peer's own address, in each state of a session. The first byte
/// chooses state, version and role.
///
/// A session that is connected stays so, and its media go through; one that is not never sends
/// more than a bounded answer, and before a check none at all.
pub fn dtls_records(data: &[u8]) {
    let [choice, data @ ..] = data else { return };
    let version = if choice & 4 == 0 { Version::Dtls12 } else { Version::Auto };
    let active = choice & 8 != 0;
    let Some((mut server, mut client)) = sessions(version, active) else { return };
    let mut now = Instant::now();
    let wanted = match choice & 3 {
        0 => State::Checking,
        1 => State::AwaitsHello,
        2 => State::Handshaking(1),
        _ => State::Connected,
    };
    for _ in 0..200 {
        if server.state() == wanted
            || (wanted == State::AwaitsHello && server.state() != State::Checking)
        {
            break;
        }
        now += Duration::from_millis(10);
        client.handle_timeout(now);
        server.handle_timeout(now);
        while let Some(mut transmit) = client.poll_transmit() {
            server.handle(now, client_addr(), via(), &mut transmit.bytes);
            if server.state() == wanted {
                break;
            }
        }
        while let Some(mut transmit) = server.poll_transmit() {
            client.handle(now, server_addr(), via(), &mut transmit.bytes);
        }
    }
    let connected = server.is_connected() && client.is_connected();
    let mut answered = 0;
    for piece in pieces(data) {
        let mut bytes = piece.to_vec();
        let got = server.handle(now, client_addr(), via(), &mut bytes);
        assert!(!matches!(got, Incoming::Rtp(_) | Incoming::Rtcp(_) | Incoming::Data(_)));
        while let Some(transmit) = server.poll_transmit() {
            answered += transmit.bytes.len();
        }
        now += Duration::from_millis(1);
        server.handle_timeout(now);
        while server.poll_transmit().is_some() {}
    }
    if server.state() == State::Checking {
        assert_eq!(answered, 0);
    }
    // A flight is 2 kB at most, and what provokes another is longer than a record's header.
    assert!(answered <= 4_096 * (1 + data.len() / 13), "{answered} for {}", data.len());
    if connected {
        assert!(server.is_connected());
        let mut packet = vec![0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 7];
        if let Some(sender) = client.srtp_sender() {
            assert_eq!(sender.protect(1, 2, &mut packet, 0, 12), Ok(()));
        }
        let got = server.handle(now, client_addr(), via(), &mut packet);
        assert!(matches!(got, Incoming::Rtp(_)), "{got:?}");
    }
    server.close(now);
    let mut late = [0x80; 40];
    let got = server.handle(now, client_addr(), via(), &mut late);
    assert_eq!(got, Incoming::Dropped(Drop::Closed));
}

fn server_addr() -> SocketAddr {
    (Ipv4Addr::new(203, 0, 113, 1), 8_000).into()
}

fn client_addr() -> SocketAddr {
    (Ipv4Addr::new(198, 51, 100, 7), 40_000).into()
}

fn via() -> Via {
    Via::Udp(server_addr())
}

fn sessions(version: Version, active: bool) -> Option<(Transport, Transport)> {
    static IDENTITIES: OnceLock<Option<[Identity; 2]>> = OnceLock::new();
    let made =
        IDENTITIES.get_or_init(|| Some([rtc::identity::make().ok()?, rtc::identity::make().ok()?]));
    let [ours, theirs] = made.as_ref()?;
    let credentials = |name: &str| Credentials {
        ufrag: name.to_owned(),
        pwd: format!("{name} and 22 more characters"),
    };
    let roles = [Setup::Passive, Setup::Active];
    let server = TransportConfig {
        role: Role::Lite,
        local: credentials("server"),
        remote: credentials("client"),
        setup: *roles.get(usize::from(active))?,
        version,
        identity: ours.clone(),
        peer_fingerprint: theirs.fingerprint(),
        dtls: true,
        encrypt: true,
        consent: Duration::from_secs(30),
        seed: 1,
    };
    let client = TransportConfig {
        role: Role::Client(vec![(server_addr(), via())]),
        local: server.remote.clone(),
        remote: server.local.clone(),
        setup: *roles.get(usize::from(!active))?,
        identity: theirs.clone(),
        peer_fingerprint: ours.fingerprint(),
        ..server.clone()
    };
    let now = Instant::now();
    Some((Transport::new(server, now), Transport::new(client, now)))
}
