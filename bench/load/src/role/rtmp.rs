//! A player of RTMP.

use container::flv::TagKind;
use rtmp::session::client::{Event, Role};
use rtmp::session::{Client, ClientConfig, Close};
use rtmp::wire::message::Media;
use rtmp::wire::url::StreamUrl;

use super::Scene;
use crate::clock::Now;
use crate::fault::Fault;

/// A player that throws media away cannot see the server's pings. It answers every so often
/// unasked, which servers that wait for an answer take for one.
const PONG_NS: u64 = 10_000_000_000;

/// A player.
pub(crate) struct RtmpPlayer {
    client: Client,
    /// What the server said last that was no media.
    said: String,
    pong_ns: u64,
}

/// A client of the stream at `url`.
pub(super) fn client(url: &str, role: Role, seed: [u8; 32], now: Now) -> Result<Client, Fault> {
    let url = StreamUrl::parse(url, "").map_err(|e| Fault::Protocol(format!("{url}: {e}")))?;
    let mut config = ClientConfig::new(url, role);
    // A signed handshake costs both sides, and no server needs it.
    config.complex_handshake = false;
    Ok(Client::new(now.instant, seed, config))
}

/// The fault that a session's end is.
pub(super) fn fault(close: Close, said: &str) -> Fault {
    match close {
        Close::Refused => Fault::Denied(said.to_owned()),
        Close::Redirected => Fault::Redirected(said.to_owned()),
        Close::HandshakeTimeout | Close::IdentifyTimeout => Fault::HandshakeTimeout,
        other => Fault::Protocol(other.to_string()),
    }
}

/// The fault that a connection's end is.
pub(super) fn closed(said: &str) -> Fault {
    Fault::Closed(if said.is_empty() { "without a word" } else { said }.to_owned())
}

impl RtmpPlayer {
    pub(crate) fn new(url: &str, seed: [u8; 32], now: Now) -> Result<Self, Fault> {
        let client = client(url, Role::Play, seed, now)?;
        Ok(Self { client, said: String::new(), pong_ns: now.ns })
    }

    pub(super) fn flush(&mut self, scene: &mut Scene<'_>) {
        if let Some(bytes) = self.client.poll_transmit() {
            scene.out.extend_from_slice(&bytes);
        }
    }

    pub(super) fn bytes(&mut self, input: &[u8], scene: &mut Scene<'_>) -> Result<(), Fault> {
        self.client.handle_bytes(input);
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Media { media, timestamp_ms, body } => {
                    let kind = match media {
                        Media::Audio => TagKind::Audio,
                        Media::Video => TagKind::Video,
                        Media::Data => continue,
                    };
                    let tally = &mut *scene.tally;
                    let Some(checker) = &mut tally.checker else { continue };
                    let findings = &mut scene.stats.findings;
                    let seen = checker.flv(kind, timestamp_ms, body, scene.clip, findings);
                    tally.saw(seen, scene.now.ns, scene.stats);
                }
                Event::Status { code, description, .. } => {
                    self.said = format!("{code} {description}").trim().to_owned();
                }
                Event::Redirect { tc_url, url } => self.said = url.unwrap_or(tc_url),
                Event::Closed(close) => return Err(fault(close, &self.said)),
                Event::Connected { .. }
                | Event::PublishStarted
                | Event::PlayStarted
                | Event::StreamEof => {}
            }
        }
        self.flush(scene);
        Ok(())
    }

    pub(super) fn skipped(&mut self, bytes: usize, scene: &mut Scene<'_>) {
        self.client.skip_bytes(bytes);
        scene.tally.fed(scene.now.ns, scene.now.ns, scene.stats);
        if scene.now.ns.saturating_sub(self.pong_ns) >= PONG_NS {
            self.pong_ns = scene.now.ns;
            self.client.send_ping_response((scene.now.ns / 1_000_000) as u32);
        }
        self.flush(scene);
    }

    pub(super) fn ended(&self) -> Fault {
        closed(&self.said)
    }

    pub(super) fn leave(&mut self, scene: &mut Scene<'_>) {
        self.client.stop();
        self.flush(scene);
    }
}

/// Milliseconds in nanoseconds.
pub(super) const fn millis(ms: u64) -> u64 {
    ms.saturating_mul(1_000_000)
}
