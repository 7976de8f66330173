//! A client of WebRTC: the server's own machines at the other end, with offers of a real browser.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtc::session::dtls::{Fingerprint, Identity, Setup, Version};
use rtc::session::ice::Credentials;
use rtc::session::transport::{Incoming, Role, Transport, TransportConfig, Via};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::{timeout, timeout_at};

use crate::net::{Manner, dial};

/// A browser's offers.
pub(crate) const PLAY: &str = include_str!("../../../protocols/rtc/testdata/sdp/chromium-play.sdp");
pub(crate) const PUBLISH: &str =
    include_str!("../../../protocols/rtc/testdata/sdp/chromium-publish.sdp");
/// SSRC of the picture in [`PUBLISH`].
pub(crate) const VIDEO: u32 = 2_231_627_014;
/// SSRC of the sound in [`PUBLISH`].
pub(crate) const AUDIO: u32 = 1_388_157_001;
/// What the offers are told to have.
const UFRAG: &str = "mR2d";
const PASSWORD: &str = "4pXkP2tYqhVw0l/8hN1cQ9dS";
/// Longest wait for an answer, or for a session to be connected.
const PATIENCE: Duration = Duration::from_secs(20);
/// Asked of the kernel, so that a pause of this program is not taken for loss.
const KERNEL_ROOM: usize = 4 << 20;

/// An answer of HTTP.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a field; empty if there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        let of = |line: &'_ str| {
            let (key, _) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(key.len() + 1)
        };
        self.head.lines().find_map(|line| of(line).map(|at| line[at..].trim())).unwrap_or_default()
    }
}

/// One request, one answer, one connection.
pub(crate) async fn ask(
    at: SocketAddr,
    rng: &mut StdRng,
    method: &str,
    path: &str,
    fields: &str,
    body: &[u8],
) -> io::Result<Answer> {
    let mut tcp = dial(at, rng, Manner::default()).await?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = async {
        tcp.write_all(&[head.as_bytes(), body].concat()).await?;
        let mut bytes = Vec::new();
        tcp.take(1 << 20).read_to_end(&mut bytes).await?;
        io::Result::Ok(bytes)
    };
    let bytes = timeout(PATIENCE, answer).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// Where a wish goes.
pub(crate) fn door(publish: bool, stream: &str) -> String {
    let way = if publish { "whip" } else { "whep" };
    format!("/rtc/v1/{way}/?app=live&stream={stream}")
}

pub(crate) const OFFER: &str = "Content-Type: application/sdp\r\n";

/// One certificate for all: making them is what would cost most.
fn identity() -> io::Result<Identity> {
    static MADE: OnceLock<Option<Identity>> = OnceLock::new();
    let made = MADE.get_or_init(|| rtc::identity::make().ok());
    made.clone().ok_or_else(|| io::Error::other("no certificate"))
}

fn offer(publish: bool) -> io::Result<String> {
    let print: Vec<_> = identity()?.fingerprint().0.iter().map(|b| format!("{b:02X}")).collect();
    let text = if publish { PUBLISH } else { PLAY };
    let line = |line: &str| match line.starts_with("a=fingerprint:") {
        true => format!("a=fingerprint:sha-256 {}\r\n", print.join(":")),
        false => format!("{line}\r\n"),
    };
    Ok(text.lines().map(line).collect())
}

/// The rest of the first line that begins so.
pub(crate) fn line<'a>(sdp: &'a str, start: &str) -> &'a str {
    sdp.lines().find_map(|line| line.trim_end().strip_prefix(start)).unwrap_or_default()
}

/// A session that was asked for.
pub(crate) struct Session {
    /// The path of its own, for PATCH and DELETE.
    pub(crate) location: String,
    pub(crate) etag: String,
    pub(crate) sdp: String,
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
}

impl Session {
    /// Asks for it.
    pub(crate) async fn open(
        at: SocketAddr,
        publish: bool,
        stream: &str,
        rng: &mut StdRng,
    ) -> io::Result<Self> {
        let offer = offer(publish)?;
        let path = door(publish, stream);
        let answer = ask(at, rng, "POST", &path, OFFER, offer.as_bytes()).await?;
        if answer.status != 201 {
            return Err(io::Error::other(format!("{}: {}", answer.status, answer.body)));
        }
        let location = answer.field("location");
        // An address, or the path alone.
        let path = match location.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
            None => location,
        };
        Ok(Self {
            location: path.to_owned(),
            etag: answer.field("etag").to_owned(),
            ufrag: line(&answer.body, "a=ice-ufrag:").to_owned(),
            pwd: line(&answer.body, "a=ice-pwd:").to_owned(),
            sdp: answer.body,
        })
    }

    /// The payload type that was agreed on.
    pub(crate) fn payload_type(&self, kind: &str) -> u8 {
        let formats = line(&self.sdp, &format!("m={kind} "));
        formats.split(' ').nth(2).and_then(|pt| pt.parse().ok()).unwrap_or(0)
    }

    /// The server's SSRC of retransmissions, where it has one.
    pub(crate) fn repairs(&self) -> Vec<(u32, u32)> {
        let of = |line: &str| {
            let mut two = line.trim_end().strip_prefix("a=ssrc-group:FID ")?.split(' ');
            Some((two.next()?.parse().ok()?, two.next()?.parse().ok()?))
        };
        self.sdp.lines().filter_map(of).collect()
    }

    /// The user name of a check to the server.
    pub(crate) const fn peer_ufrag() -> &'static str {
        UFRAG
    }
}

/// What came.
#[derive(Debug)]
pub(crate) enum Got {
    Rtp(Vec<u8>),
    Rtcp(Vec<u8>),
    Nothing,
}

/// A session and its socket.
pub(crate) struct Peer {
    pub(crate) session: Session,
    pub(crate) transport: Transport,
    pub(crate) udp: UdpSocket,
    server: SocketAddr,
    pub(crate) via: Via,
    room: Vec<u8>,
}

impl Peer {
    /// Asks for a session. `server`: its datagram port.
    pub(crate) async fn open(
        at: SocketAddr,
        server: SocketAddr,
        publish: bool,
        stream: &str,
        rng: &mut StdRng,
    ) -> io::Result<Self> {
        let session = Session::open(at, publish, stream, rng).await?;
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let _ = socket2::SockRef::from(&udp).set_recv_buffer_size(KERNEL_ROOM);
        udp.connect(server).await?;
        let via = Via::Udp(udp.local_addr()?);
        let print: Vec<u8> = line(&session.sdp, "a=fingerprint:sha-256 ")
            .split(':')
            .filter_map(|b| u8::from_str_radix(b, 16).ok())
            .collect();
        let config = TransportConfig {
            role: Role::Client(vec![(server, via)]),
            local: Credentials { ufrag: UFRAG.to_owned(), pwd: PASSWORD.to_owned() },
            remote: Credentials { ufrag: session.ufrag.clone(), pwd: session.pwd.clone() },
            setup: Setup::Active,
            version: if rng.random() { Version::Dtls12 } else { Version::Auto },
            identity: identity()?,
            peer_fingerprint: Fingerprint(*print.first_chunk().unwrap_or(&[0; 32])),
            dtls: true,
            encrypt: true,
            consent: Duration::from_secs(30),
            seed: rng.random(),
        };
        let mut transport = Transport::new(config, Instant::now());
        transport.handle_timeout(Instant::now());
        Ok(Self { session, transport, udp, server, via, room: vec![0; 4096] })
    }

    /// Runs until media may flow.
    pub(crate) async fn connect(&mut self) -> io::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !self.transport.is_connected() {
            if Instant::now() >= end {
                return Err(io::Error::other(format!("not connected: {}", self.transport.state())));
            }
            self.turn(end).await?;
        }
        Ok(())
    }

    /// Sends what there is to send.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        while let Some(transmit) = self.transport.poll_transmit() {
            refused(self.udp.send(&transmit.bytes).await)?;
        }
        while self.transport.poll_event().is_some() {}
        Ok(())
    }

    /// Waits for the next datagram, no longer than `until`.
    pub(crate) async fn turn(&mut self, until: Instant) -> io::Result<Got> {
        self.flush().await?;
        let deadline = self.transport.deadline().ok_or_else(|| {
            io::Error::new(io::ErrorKind::ConnectionReset, "the session was closed")
        })?;
        let got = timeout_at(deadline.min(until).into(), self.udp.recv(&mut self.room)).await;
        let now = Instant::now();
        let Ok(read) = got else {
            if deadline <= now {
                self.transport.handle_timeout(now);
            }
            return Ok(Got::Nothing);
        };
        let n = refused(read)?;
        let bytes = &mut self.room[..n];
        let got = match self.transport.handle(now, self.server, self.via, bytes) {
            Incoming::Rtp(packet) => Got::Rtp(packet.to_vec()),
            Incoming::Rtcp(packet) => Got::Rtcp(packet.to_vec()),
            _ => Got::Nothing,
        };
        self.flush().await?;
        Ok(got)
    }

    /// Takes what is there already.
    pub(crate) async fn hear(&mut self) -> io::Result<Vec<Got>> {
        let mut all = Vec::new();
        loop {
            match self.turn(Instant::now()).await? {
                Got::Nothing if all.len() < 64 => break,
                Got::Nothing => {}
                got => all.push(got),
            }
            if all.len() >= 256 {
                break;
            }
        }
        Ok(all)
    }

    /// Protects an RTP packet whose fixed header is written.
    pub(crate) fn sealed(&self, index: u64, ssrc: u32, header: usize, packet: &[u8]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        if let Some(sender) = self.transport.srtp_sender() {
            let _ = sender.protect(index, ssrc, &mut packet, 0, header);
        }
        packet
    }

    /// Protects and sends reports.
    pub(crate) async fn report(&mut self, mut packet: Vec<u8>) -> io::Result<usize> {
        self.transport.protect_rtcp(&mut packet, 0).map_err(io::Error::other)?;
        refused(self.udp.send(&packet).await)
    }

    /// Ends the session as a good client does.
    pub(crate) async fn leave(mut self, at: SocketAddr) {
        self.transport.close(Instant::now());
        let _ = self.flush().await;
        let mut rng = StdRng::seed_from_u64(1);
        let _ = ask(at, &mut rng, "DELETE", &self.session.location, "", b"").await;
    }
}

/// A closed port is told by the kernel later; the network says nothing.
pub(crate) fn refused(done: io::Result<usize>) -> io::Result<usize> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(0),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
        done => done,
    }
}

/// The fixed header of an RTP packet (RFC 3550 §5.1).
pub(crate) fn header(marker: bool, pt: u8, seq: u64, timestamp: u32, ssrc: u32) -> Vec<u8> {
    let mut out = vec![0x80, (u8::from(marker) << 7) | (pt & 0x7f)];
    out.extend_from_slice(&(seq as u16).to_be_bytes());
    out.extend_from_slice(&timestamp.to_be_bytes());
    out.extend_from_slice(&ssrc.to_be_bytes());
    out
}
