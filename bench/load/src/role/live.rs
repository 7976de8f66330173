//! A player of an endless body: HTTP-FLV, WebSocket-FLV, HTTP-TS.

use gate::http::client::{Address, Origin};
use httpflv::session::client::{Close, Event, Form};
use httpflv::session::{Client, ClientConfig};

use super::Scene;
use crate::clock::Now;
use crate::fault::Fault;
use crate::target::{Target, Wire};

/// A player.
pub(crate) struct LivePlayer {
    /// Gone with its buffers once bytes are thrown away unread.
    client: Option<Client>,
}

/// The address of a target, as HTTP has it.
pub(super) fn address(target: &Target) -> Address {
    let origin = Origin { tls: target.tls, host: target.host.clone(), port: target.port };
    Address { origin, path: target.path.clone() }
}

impl LivePlayer {
    pub(crate) fn new(target: &Target, seed: [u8; 32], now: Now) -> Self {
        let form = if target.wire == Wire::Ts { Form::Ts } else { Form::Flv };
        let mut config = ClientConfig::new(address(target), form);
        config.websocket = target.wire == Wire::WsFlv;
        let key = *seed.first_chunk().unwrap_or(&[0; 16]);
        Self { client: Some(Client::new(now.instant, key, &config)) }
    }

    pub(super) fn flush(&mut self, scene: &mut Scene<'_>) {
        if let Some(bytes) = self.client.as_mut().and_then(Client::poll_transmit) {
            scene.out.extend_from_slice(&bytes);
        }
    }

    pub(super) fn bytes(&mut self, input: &[u8], scene: &mut Scene<'_>) -> Result<(), Fault> {
        if let Some(client) = &mut self.client {
            client.handle_bytes(input);
        }
        self.events(scene)
    }

    pub(super) fn ended(&mut self, scene: &mut Scene<'_>) -> Result<(), Fault> {
        let Some(client) = &mut self.client else {
            return Err(Fault::Closed("the body ended".to_owned()));
        };
        client.handle_end();
        self.events(scene)
    }

    fn events(&mut self, scene: &mut Scene<'_>) -> Result<(), Fault> {
        while let Some(event) = self.client.as_mut().and_then(Client::poll_event) {
            let tally = &mut *scene.tally;
            let findings = &mut scene.stats.findings;
            let seen = match event {
                Event::Started => continue,
                Event::Closed(close) => return Err(fault(close)),
                Event::Skipped(_) => {
                    findings.unreadable += 1;
                    continue;
                }
                Event::Tag(tag) => {
                    let Some(checker) = &mut tally.checker else { continue };
                    checker.flv(tag.kind, tag.timestamp, tag.body, scene.clip, findings)
                }
                Event::Ts(event) => {
                    let Some(checker) = &mut tally.checker else { continue };
                    checker.ts(&event, scene.clip, findings)
                }
            };
            tally.saw(seen, scene.now.ns, scene.stats);
        }
        self.flush(scene);
        Ok(())
    }

    pub(super) fn skipped(&mut self, scene: &mut Scene<'_>) {
        self.client = None;
        scene.tally.fed(scene.now.ns, scene.now.ns, scene.stats);
    }

    pub(super) fn leave(&mut self, scene: &mut Scene<'_>) {
        if let Some(client) = &mut self.client {
            client.stop();
            self.flush(scene);
        }
    }
}

fn fault(close: Close) -> Fault {
    match close {
        Close::Status(status) => Fault::Status(status),
        Close::Redirected(to) => Fault::Redirected(to),
        Close::Timeout => Fault::HandshakeTimeout,
        Close::Ended | Close::Cut => Fault::Closed(close.to_string()),
        other => Fault::Protocol(other.to_string()),
    }
}
