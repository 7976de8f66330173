//! A player of HLS.

use container::ts::Demuxer;
use gate::http::client::Origin;
use hls::session::client::{Close, Event};
use hls::session::{Client, ClientConfig};

use super::Scene;
use super::live::address;
use crate::clock::{Now, nanos};
use crate::fault::Fault;
use crate::target::Target;

/// A player.
pub(crate) struct HlsPlayer {
    client: Client,
    demuxer: Demuxer,
    found: Vec<container::ts::Event>,
    /// It has a connection, or the one that was asked for first.
    connected: bool,
    /// Wants another connection.
    wanted: Option<Origin>,
}

impl HlsPlayer {
    pub(crate) fn new(target: &Target, verified: bool, now: Now) -> Self {
        let mut config = ClientConfig::new(address(target));
        config.bodies = verified;
        Self {
            client: Client::new(now.instant, config),
            demuxer: Demuxer::new(),
            found: Vec::new(),
            connected: false,
            wanted: None,
        }
    }

    /// Where it wants to be connected to instead, if anywhere.
    pub(super) const fn take_wanted(&mut self) -> Option<Origin> {
        self.wanted.take()
    }

    pub(super) fn bytes(&mut self, input: &[u8], scene: &mut Scene<'_>) -> Result<(), Fault> {
        self.client.handle_bytes(scene.now.instant, input);
        self.events(scene)
    }

    pub(super) fn ended(&mut self, scene: &mut Scene<'_>) -> Result<(), Fault> {
        self.client.handle_end(scene.now.instant);
        self.events(scene)
    }

    pub(super) fn timer(&mut self, scene: &mut Scene<'_>) -> Result<(), Fault> {
        self.client.handle_timeout(scene.now.instant);
        self.events(scene)
    }

    pub(super) fn due_ns(&self, now: Now) -> Option<u64> {
        self.client.poll_timeout().map(|at| now.ns_of(at))
    }

    pub(super) fn events(&mut self, scene: &mut Scene<'_>) -> Result<(), Fault> {
        while let Some(event) = self.client.poll_event() {
            match event {
                // The first one is there already.
                Event::Connect(_) if !self.connected => self.connected = true,
                Event::Connect(origin) => {
                    scene.out.clear();
                    self.wanted = Some(origin);
                }
                Event::Segment { discontinuity, .. } => {
                    // Each segment begins with its tables and may be read alone.
                    self.demuxer = Demuxer::new();
                    if let Some(checker) = scene.tally.checker.as_mut().filter(|_| discontinuity) {
                        checker.restart_times();
                    }
                    if scene.tally.first_ns == 0 {
                        scene.tally.fed(scene.now.ns, scene.now.ns, scene.stats);
                    }
                }
                Event::Data(bytes) => {
                    self.demuxer.push(&bytes, &mut self.found);
                    self.check(scene);
                }
                Event::SegmentEnd { duration, .. } => {
                    self.demuxer.flush(&mut self.found);
                    self.check(scene);
                    scene.stats.segments += 1;
                    let until_ns = scene.tally.fed_ns.max(scene.now.ns) + nanos(duration);
                    scene.tally.fed(scene.now.ns, until_ns, scene.stats);
                }
                Event::Refused { status, .. } => {
                    scene.stats.error(&Fault::Segment(status));
                }
                Event::Missed { from, to } => {
                    scene.stats.error(&Fault::Missed(to - from));
                }
                Event::Restarted => {}
                Event::Closed(close) => return Err(fault(close)),
            }
        }
        if let Some(bytes) = self.client.poll_transmit() {
            scene.out.extend_from_slice(&bytes);
        }
        Ok(())
    }

    fn check(&mut self, scene: &mut Scene<'_>) {
        for event in self.found.drain(..) {
            let Some(checker) = &mut scene.tally.checker else { continue };
            let seen = checker.ts(&event, scene.clip, &mut scene.stats.findings);
            scene.tally.saw(seen, scene.now.ns, scene.stats);
        }
    }
}

fn fault(close: Close) -> Fault {
    match close {
        Close::Status(status) | Close::Segments(status) => Fault::Status(status),
        Close::Timeout => Fault::HandshakeTimeout,
        Close::Ended | Close::Cut => Fault::Closed(close.to_string()),
        other => Fault::Protocol(other.to_string()),
    }
}
