//! What strangers and ill-meaning clients send to the datagram port, the port of ICE over TCP, and
//! the doors of WHIP and WHEP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use rtc::wire::stun::{Class, Writer};
use rtp::rtcp::{SenderInfo, write};
use tokio::io::AsyncWriteExt;
use tokio::net::UdpSocket;
use tokio::time::sleep;

use super::mutate::{damage, noise};
use super::{Cx, Running, pour};
use crate::healthy::NAME;
use crate::net::{Manner, dial};
use crate::rtc::{AUDIO, OFFER, PLAY, PUBLISH, Peer, Session, VIDEO, ask, door, header, refused};

/// Datagrams between two pauses of [`PAUSE`]: about 8,000 a second for each of a few sockets.
const BURST: usize = 40;
const PAUSE: Duration = Duration::from_millis(5);

pub(super) fn port(cx: &Cx) -> SocketAddr {
    cx.rtc.unwrap_or(cx.api)
}

async fn socket(cx: &Cx) -> io::Result<UdpSocket> {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    udp.connect(port(cx)).await?;
    Ok(udp)
}

async fn send(cx: &Cx, udp: &UdpSocket, bytes: &[u8]) -> io::Result<()> {
    cx.tally.sent(bytes.len());
    match udp.send(bytes).await {
        // Longer than a datagram may be.
        Err(e) if e.raw_os_error() == Some(90) => Ok(()),
        done => refused(done).map(drop),
    }
}

/// Random datagrams that look like each protocol of RFC 7983 in turn.
pub(crate) fn garbage(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 40, 4, |cx, mut rng, _| async move {
        let udp = socket(&cx).await?;
        for _ in 0..50 {
            for _ in 0..BURST {
                let mut bytes = noise(&mut rng, 1_400);
                let firsts = [0, 1, 20, 22, 23, 63, 64, 128, 144, 191, 255];
                if let Some(first) = bytes.first_mut() {
                    *first = firsts[rng.random_range(0..firsts.len())];
                }
                send(&cx, &udp, &bytes).await?;
            }
            sleep(PAUSE).await;
        }
        io::Result::Ok(())
    }))
}

fn check(rng: &mut StdRng, session: &Session) -> Vec<u8> {
    let name = Session::peer_ufrag();
    let mut writer = Writer::new(Class::Request, rng.random());
    writer = match rng.random_range(0..6) {
        0 => writer.username("nobody00", name),
        1 => writer.username(&session.ufrag, "else"),
        2 => writer.username(&"u".repeat(600), &"v".repeat(600)),
        _ => writer.username(&session.ufrag, name),
    };
    if rng.random() {
        writer = writer.priority(rng.random());
    }
    writer = match rng.random_range(0..4) {
        0 => writer.controlled(rng.random()),
        1 => writer,
        _ => writer.controlling(rng.random()),
    };
    if rng.random() {
        writer = writer.use_candidate();
    }
    let pwd = match rng.random_range(0..4) {
        0 => None,
        1 => Some(&b"not the password of it"[..]),
        _ => Some(session.pwd.as_bytes()),
    };
    let mut bytes = writer.finish(pwd);
    match rng.random_range(0..6) {
        0 => bytes = damage(rng, &bytes, 0),
        1 => {
            // An attribute that is longer than the message, or hundreds of empty ones.
            let many = [0x80, 0x55, 0, 0].repeat(rng.random_range(1..300));
            bytes.truncate(20);
            bytes.extend_from_slice(if rng.random() { &[0, 6, 0xff, 0xff] } else { &many });
            let len = (bytes.len() - 20) as u16;
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
        }
        2 => {
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
        }
        _ => {}
    }
    bytes
}

/// Checks that are nearly right, and right ones without end, from many addresses.
pub(crate) fn stun(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 20, 4, |cx, mut rng, _| async move {
        let session = Session::open(cx.api, false, NAME, &mut rng).await?;
        for _ in 0..12 {
            let udp = socket(&cx).await?;
            for _ in 0..5 {
                for _ in 0..BURST {
                    let bytes = check(&mut rng, &session);
                    send(&cx, &udp, &bytes).await?;
                }
                sleep(PAUSE).await;
            }
        }
        let _ = ask(cx.api, &mut rng, "DELETE", &session.location, "", b"").await;
        Ok(())
    }))
}

/// Handshakes that are damaged on their way, sent by strangers, begun anew and never ended.
pub(crate) fn handshakes(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 30, 24, |cx, mut rng, number| async move {
        let publish = number % 4 == 0;
        let name = if publish { &format!("abuse-rtc-dtls-{number}") } else { NAME };
        let mut peer = Peer::open(cx.api, port(&cx), publish, name, &mut rng).await?;
        let stranger = socket(&cx).await?;
        let mut kept: Vec<Vec<u8>> = Vec::new();
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            while let Some(transmit) = peer.transport.poll_transmit() {
                let bytes = transmit.bytes;
                let is_dtls = bytes.first().is_some_and(|b| (20..64).contains(b));
                if !is_dtls {
                    send(&cx, &peer.udp, &bytes).await?;
                    continue;
                }
                send(&cx, &stranger, &bytes).await?;
                kept.push(bytes.clone());
                match rng.random_range(0..8) {
                    0 => send(&cx, &peer.udp, &damage(&mut rng, &bytes, 0)).await?,
                    1 => send(&cx, &peer.udp, &damage(&mut rng, &bytes, 13)).await?,
                    2 => {
                        let cut = rng.random_range(0..=bytes.len());
                        send(&cx, &peer.udp, &bytes[..cut]).await?;
                    }
                    3 => {
                        // A fragment that speaks of a message of 16 MB, an alert, a new hello.
                        let mut lie = bytes.clone();
                        if let Some(length) = lie.get_mut(14..17) {
                            length.fill(0xff);
                        }
                        send(&cx, &peer.udp, &lie).await?;
                        let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];
                        send(&cx, &peer.udp, &alert).await?;
                        let old = &kept[rng.random_range(0..kept.len())];
                        send(&cx, &peer.udp, old).await?;
                    }
                    4 => {
                        for _ in 0..50 {
                            send(&cx, &peer.udp, &bytes).await?;
                        }
                    }
                    _ => {}
                }
                if rng.random_ratio(4, 5) {
                    send(&cx, &peer.udp, &bytes).await?;
                }
            }
            if peer.turn(Instant::now() + Duration::from_millis(20)).await.is_err() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if peer.transport.is_connected() {
                // Renegotiation, and messages that nobody wants.
                for old in kept.iter().cycle().skip(rng.random_range(0..9)).take(20) {
                    peer.transport.send_data(&noise(&mut rng, 1_000));
                    send(&cx, &peer.udp, old).await?;
                }
            }
        }
        if number % 2 == 0 {
            peer.leave(cx.api).await;
        }
        Ok(())
    }))
}

/// An RTP packet that no good client sends: header and payload.
fn absurd(rng: &mut StdRng, pt: u8, index: &mut u64, ssrc: u32) -> (Vec<u8>, usize) {
    *index = match rng.random_range(0..40) {
        0 => index.wrapping_add(rng.random_range(0..70_000)),
        1 => index.saturating_sub(rng.random_range(0..3_000)),
        _ => *index + 1,
    };
    let time =
        if rng.random_ratio(1, 20) { rng.random() } else { (*index as u32).wrapping_mul(3_000) };
    let mut packet = header(rng.random(), pt, *index, time, ssrc);
    if rng.random_ratio(1, 4) {
        packet[0] |= 0x10;
        let words = rng.random_range(0..60_u16);
        let profile: u16 = [0xbede, 0x1000, 0x100f, 0][rng.random_range(0..4)];
        packet.extend_from_slice(&profile.to_be_bytes());
        packet.extend_from_slice(&words.to_be_bytes());
        packet.extend((0..words * 4).map(|_| rng.random::<u8>()));
    }
    if rng.random_ratio(1, 30) {
        packet[0] |= 0x20;
    }
    let head = packet.len();
    let payload = match rng.random_range(0..9) {
        // FU-A that begins, goes on, ends without a beginning.
        0 => vec![0x7c, 0x85],
        1 => vec![0x7c, 0x05],
        2 => vec![0x7c, 0x45],
        // STAP-A whose lengths lie.
        3 => vec![0x78, 0xff, 0xff, 0x67, 0x42],
        4 => [&[0x78][..], &[0, 1, 0x65].repeat(300)].concat(),
        // Parameter sets, a key picture.
        5 => vec![0x67, 0x42, 0xc0, 0x1f, 0xff, 0xff, 0xff, 0xff],
        6 => vec![0x65; 40],
        7 => Vec::new(),
        _ => noise(rng, 1_000),
    };
    packet.extend_from_slice(&payload);
    if !matches!(payload.len(), 0 | 2) {
        packet.extend(noise(rng, 200));
    }
    (packet, head)
}

/// Publishers, known to the server, whose media lie: replayed, forged, of thousands of sources.
pub(crate) fn media(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 8, 8, |cx, mut rng, number| async move {
        let name = format!("abuse-rtc-media-{}", number % 24);
        let mut peer = Peer::open(cx.api, port(&cx), true, &name, &mut rng).await?;
        peer.connect().await?;
        let (video, audio) =
            (peer.session.payload_type("video"), peer.session.payload_type("audio"));
        let (mut index, mut last) = (rng.random_range(0..60_000), Vec::new());
        for _ in 0..200 {
            for _ in 0..8 {
                let (ssrc, pt) = match rng.random_range(0..10) {
                    0 => (rng.random(), video),
                    1 => (rng.random(), rng.random()),
                    2 => (AUDIO, audio),
                    3 => (632_943_048, video),
                    _ => (VIDEO, video),
                };
                let (packet, head) = absurd(&mut rng, pt, &mut index, ssrc);
                let sealed = peer.sealed(index, ssrc, head, &packet);
                match rng.random_range(0..12) {
                    0 => send(&cx, &peer.udp, &damage(&mut rng, &sealed, 0)).await?,
                    1 => send(&cx, &peer.udp, &last).await?,
                    _ => send(&cx, &peer.udp, &sealed).await?,
                }
                last = sealed;
            }
            let info = SenderInfo {
                ssrc: VIDEO,
                ntp: rng.random(),
                rtp: rng.random(),
                packets: rng.random(),
                octets: rng.random(),
            };
            let mut report = Vec::new();
            write::sender_report(&mut report, &info, &[]);
            write::bye(&mut report, &[rng.random(), VIDEO, AUDIO]);
            peer.report(report).await?;
            peer.hear().await?;
            sleep(PAUSE).await;
        }
        if number % 2 == 0 {
            peer.leave(cx.api).await;
        }
        Ok(())
    }))
}

/// Viewers and publishers whose reports ask for too much.
pub(crate) fn reports(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 10, 12, |cx, mut rng, number| async move {
        let publish = number % 4 == 0;
        let name = if publish { &format!("abuse-rtc-reports-{number}") } else { NAME };
        let mut peer = Peer::open(cx.api, port(&cx), publish, name, &mut rng).await?;
        peer.connect().await?;
        let ssrcs: Vec<u32> = peer
            .session
            .sdp
            .lines()
            .filter_map(|line| line.strip_prefix("a=ssrc:")?.split(' ').next()?.parse().ok())
            .collect();
        for _ in 0..200 {
            for _ in 0..10 {
                let ssrc = match ssrcs.len() {
                    0 => rng.random(),
                    n => ssrcs[rng.random_range(0..n)],
                };
                let mut out = Vec::new();
                write::receiver_report(&mut out, 1, &[]);
                match rng.random_range(0..7) {
                    0 => (0..64).for_each(|_| feedback(&mut rng, &mut out)),
                    1 => {
                        let from: u16 = rng.random();
                        write::nack(&mut out, 1, ssrc, (0..4_000).map(|n| from.wrapping_add(n)));
                    }
                    2 => (0..60).for_each(|n| write::fir(&mut out, 1, ssrc, n)),
                    3 => (0..60).for_each(|_| write::pli(&mut out, 1, ssrc)),
                    4 => write::bye(&mut out, &[ssrc, rng.random(), rng.random()]),
                    5 => write::remb(&mut out, 1, rng.random(), &[ssrc]),
                    _ => out = damage(&mut rng, &out.repeat(20), 0),
                }
                out.truncate(1_400);
                out.truncate(out.len() / 4 * 4);
                if out.len() >= 8 {
                    cx.tally.sent(peer.report(out).await?);
                }
            }
            peer.hear().await?;
            sleep(PAUSE).await;
        }
        if number % 2 == 0 {
            peer.leave(cx.api).await;
        }
        Ok(())
    }))
}

/// A congestion feedback of one run of 8,191 packets, 20 bytes in all.
fn feedback(rng: &mut StdRng, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x8f, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2]);
    out.extend_from_slice(&rng.random::<u16>().to_be_bytes());
    // So many in a run, none of which came.
    out.extend_from_slice(&8_191_u16.to_be_bytes());
    out.extend_from_slice(&[rng.random(), rng.random(), rng.random(), rng.random()]);
    out.extend_from_slice(&[0x1f, 0xff, 0, 0]);
}

/// Sessions that are asked for and left alone.
pub(crate) fn pending(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 300, 200, |cx, mut rng, number| async move {
        let publish = number % 3 == 0;
        let name = if publish { &format!("abuse-rtc-pending-{number}") } else { NAME };
        if number % 5 == 4 {
            // Gone before the answer.
            let mut tcp =
                dial(cx.api, &mut rng, Manner { reset: true, ..Manner::default() }).await?;
            let head = format!(
                "POST {} HTTP/1.1\r\nHost: a\r\n{OFFER}Content-Length: {}\r\n\r\n",
                door(publish, name),
                PLAY.len()
            );
            tcp.write_all(&[head.as_bytes(), PLAY.as_bytes()].concat()).await?;
            return Ok(());
        }
        Session::open(cx.api, publish, name, &mut rng).await.map(drop)
    }))
}

/// Offers that no browser makes, tokens that are guessed, bodies that come slowly.
pub(crate) fn offers(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 150, 300, |cx, mut rng, number| async move {
        let publish = rng.random();
        let name = format!("abuse-rtc-offers-{}", number % 50);
        let path = door(publish, if publish { &name } else { NAME });
        let text = damage(&mut rng, if publish { PUBLISH } else { PLAY }.as_bytes(), 0);
        let answer = match number % 8 {
            0 => {
                let guess = format!("{path}&action=delete&session=abcdefgh:mR2d&token=0123456789");
                let method = ["PATCH", "DELETE", "PUT", "OPTIONS"][rng.random_range(0..4)];
                ask(cx.api, &mut rng, method, &guess, "", &text).await?
            }
            1 => {
                let session = Session::open(cx.api, false, NAME, &mut rng).await?;
                let wrong = session.location.replace("token=", "token=0");
                for method in ["PATCH", "DELETE"] {
                    let answer =
                        ask(cx.api, &mut rng, method, &wrong, "", b"a=ice-ufrag:x").await?;
                    if answer.status < 400 {
                        cx.tally.leak(format!("{method} with a wrong token: {}", answer.status));
                    }
                }
                ask(cx.api, &mut rng, "DELETE", &session.location, "", b"").await?
            }
            2 => {
                let mut tcp = dial(cx.api, &mut rng, Manner::default()).await?;
                let head = format!(
                    "POST {path} HTTP/1.1\r\nHost: a\r\n{OFFER}Content-Length: 60000\r\n\r\nv=0"
                );
                tcp.write_all(head.as_bytes()).await?;
                loop {
                    sleep(Duration::from_secs(1)).await;
                    tcp.write_all(b"a").await?;
                    if tcp.try_read(&mut [0; 16]).is_ok_and(|n| n == 0) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
            3 => {
                let call = if publish { "/rtc/v1/publish/" } else { "/rtc/v1/play/" };
                ask(cx.api, &mut rng, "POST", call, "", &text).await?
            }
            4 => {
                // Hundreds of sections, thousands of lines.
                let many = String::from_utf8_lossy(&text).repeat(rng.random_range(2..12));
                ask(cx.api, &mut rng, "POST", &path, OFFER, many.as_bytes()).await?
            }
            _ => ask(cx.api, &mut rng, "POST", &path, OFFER, &text).await?,
        };
        cx.tally.sent(text.len());
        if answer.status >= 500 && answer.status != 503 {
            cx.tally.leak(format!("an offer was answered with {}: {}", answer.status, answer.body));
        }
        if answer.status >= 400 { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }))
}

/// Restarts of ICE without end, by clients who never follow them.
pub(crate) fn restarts(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 4, 6, |cx, mut rng, _| async move {
        let session = Session::open(cx.api, false, NAME, &mut rng).await?;
        for round in 0..150 {
            let fields = format!(
                "Content-Type: application/trickle-ice-sdpfrag\r\nIf-Match: {}\r\n",
                if round % 7 == 6 { &session.etag } else { "*" }
            );
            let body = format!(
                "a=ice-ufrag:r{round:03}\r\na=ice-pwd:{:024}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n",
                round
            );
            let body = body.as_bytes();
            ask(cx.api, &mut rng, "PATCH", &session.location, &fields, body).await?;
        }
        ask(cx.api, &mut rng, "DELETE", &session.location, "", b"").await.map(drop)
    }))
}

/// Connections of ICE over TCP: silent, half, endless, unread; also after their session has ended.
pub(crate) fn connections(cx: Arc<Cx>) -> Running {
    let most = (cx.connections / 4).clamp(20, 300);
    Box::pin(pour(cx, 60, most, |cx, mut rng, number| async move {
        let manner = Manner { receive: Some(4096), reset: true };
        match number % 4 {
            0 => {
                let _silent = dial(port(&cx), &mut rng, manner).await?;
                sleep(Duration::from_secs(12)).await;
            }
            1 => {
                let mut tcp = dial(port(&cx), &mut rng, manner).await?;
                tcp.write_all(&[0x20, 0, 1]).await?;
                for _ in 0..12 {
                    sleep(Duration::from_secs(1)).await;
                    tcp.write_all(&noise(&mut rng, 64)).await?;
                }
            }
            2 => {
                let mut tcp = dial(port(&cx), &mut rng, manner).await?;
                for _ in 0..200 {
                    tcp.write_all(&noise(&mut rng, 4_000)).await?;
                }
            }
            _ => {
                let session = Session::open(cx.api, false, NAME, &mut rng).await?;
                let mut all = Vec::new();
                for _ in 0..20 {
                    let mut tcp = dial(port(&cx), &mut rng, manner).await?;
                    let bytes = right(&mut rng, &session);
                    tcp.write_all(&bytes).await?;
                    all.push(tcp);
                }
                for round in 0..10 {
                    for tcp in &mut all {
                        // Nobody reads the answers.
                        let bytes = right(&mut rng, &session).repeat(20);
                        cx.tally.sent(bytes.len());
                        let _ = tcp.write_all(&bytes).await;
                    }
                    if round == 5 {
                        ask(cx.api, &mut rng, "DELETE", &session.location, "", b"").await?;
                    }
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
        io::Result::Ok(())
    }))
}

/// A check that is right, behind its length.
pub(super) fn right(rng: &mut StdRng, session: &Session) -> Vec<u8> {
    let bytes = Writer::new(Class::Request, rng.random())
        .username(&session.ufrag, Session::peer_ufrag())
        .priority(1)
        .controlling(7)
        .use_candidate()
        .finish(Some(session.pwd.as_bytes()));
    [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()
}
