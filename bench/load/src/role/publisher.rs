//! A publisher: sends a clip in a loop, at the pace of its times.

use std::sync::Arc;

use container::flv::TagKind;
use rtmp::session::Client;
use rtmp::session::client::{Event, Role};
use rtmp::wire::message::Media;

use super::Scene;
use super::rtmp::{client, closed, fault, millis};
use crate::clip::Clip;
use crate::clock::{Now, now_ns};
use crate::fault::Fault;

/// Bytes that may wait for the server: ten seconds of 6 Mbit/s. Who reads so little does not want
/// the stream.
const MAX_WAITING: usize = 8 << 20;

/// A publisher.
pub(crate) struct Publisher {
    client: Client,
    said: String,
    clip: Arc<Clip>,
    stamp: bool,
    /// Tells this session's stamps from others.
    id: u32,
    /// When the clip began; 0 before the server agreed.
    begun_ns: u64,
    next: usize,
    round: u64,
    number: u32,
    body: Vec<u8>,
}

impl Publisher {
    pub(crate) fn new(
        url: &str,
        seed: [u8; 32],
        now: Now,
        clip: Arc<Clip>,
        stamp: bool,
    ) -> Result<Self, Fault> {
        let client = client(url, Role::PublishFmle, seed, now)?;
        let [a, b, c, d, ..] = seed;
        Ok(Self {
            client,
            said: String::new(),
            clip,
            stamp,
            id: u32::from_be_bytes([a, b, c, d]),
            begun_ns: 0,
            next: 0,
            round: 0,
            number: 0,
            body: Vec::new(),
        })
    }

    pub(super) const fn started(&self) -> bool {
        self.begun_ns > 0
    }

    pub(super) fn flush(&mut self, scene: &mut Scene<'_>) {
        if let Some(bytes) = self.client.poll_transmit() {
            scene.stats.sent_bytes += bytes.len() as u64;
            if scene.out.is_empty() {
                *scene.out = bytes;
            } else {
                scene.out.extend_from_slice(&bytes);
            }
        }
    }

    pub(super) fn bytes(&mut self, input: &[u8], scene: &mut Scene<'_>) -> Result<(), Fault> {
        self.client.handle_bytes(input);
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::PublishStarted => self.begun_ns = scene.now.ns,
                Event::Status { code, description, .. } => {
                    self.said = format!("{code} {description}").trim().to_owned();
                }
                Event::Redirect { tc_url, url } => self.said = url.unwrap_or(tc_url),
                Event::Closed(close) => return Err(fault(close, &self.said)),
                _ => {}
            }
        }
        self.flush(scene);
        Ok(())
    }

    /// When the next part is to be sent.
    pub(super) fn due_ns(&self) -> Option<u64> {
        let part = self.clip.parts().get(self.next)?;
        self.started().then(|| self.begun_ns + millis(self.time_ms(part.at_ms)))
    }

    fn time_ms(&self, at_ms: u32) -> u64 {
        self.round * self.clip.round_ms() + u64::from(at_ms)
    }

    /// Sends all that is due.
    pub(super) fn timer(&mut self, scene: &mut Scene<'_>) -> Result<(), Fault> {
        while let Some(due_ns) = self.due_ns().filter(|due| *due <= scene.now.ns) {
            let clip = self.clip.clone();
            let Some(part) = clip.parts().get(self.next) else { break };
            self.advance();
            // The server has the configurations from the first round.
            if part.config && due_ns > self.begun_ns && self.round > 0 {
                continue;
            }
            let media = Media::from(part.kind);
            // RTMP's times wrap at 32 bits.
            let time_ms = ((due_ns - self.begun_ns) / 1_000_000) as u32;
            let body = if self.stamp && part.is_stamped() {
                part.write(now_ns(), self.number, self.id, &mut self.body);
                self.number = self.number.wrapping_add(1);
                self.body.as_slice()
            } else {
                &part.body
            };
            if part.kind == TagKind::Video && !part.config {
                scene.stats.sent_pictures += 1;
            }
            let sent = self.client.send_media(media, time_ms, body);
            sent.map_err(|e| Fault::Local(e.to_string()))?;
            if scene.stats.in_window {
                scene.stats.lateness.note_ns(scene.now.ns - due_ns);
            }
        }
        self.flush(scene);
        if scene.out.len() > MAX_WAITING {
            return Err(Fault::NotRead);
        }
        Ok(())
    }

    fn advance(&mut self) {
        self.next += 1;
        if self.next >= self.clip.parts().len() {
            self.next = 0;
            self.round += 1;
        }
    }

    pub(super) fn ended(&self) -> Fault {
        closed(&self.said)
    }

    pub(super) fn leave(&mut self, scene: &mut Scene<'_>) {
        self.client.stop();
        self.flush(scene);
    }
}
