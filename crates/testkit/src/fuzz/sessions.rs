//! What stands at the door: handshake, chunk stream, whole RTMP sessions, the configuration.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use container::amf;
use control::config::{self, Facts, FileLoader, Request, directives};
use rtmp::session::server::{ConnectOptions, Event};
use rtmp::session::{Limits, Server};
use rtmp::wire::message::Incoming;
use rtmp::wire::{chunk as chunks, handshake as shakes};

use super::pieces;

/// A server's handshake over any bytes in any pieces; it takes no more than it is given.
pub fn handshake(data: &[u8]) {
    let mut server = shakes::Server::new([7; 32]);
    let mut client = shakes::Client::new([9; 32], true);
    let mut out = Vec::new();
    client.start(&mut out);
    out.clear();
    for piece in pieces(data) {
        match server.handle_bytes(piece, &mut out) {
            Ok(progress) => {
                assert!(progress.consumed <= piece.len(), "took bytes that were not there");
                if progress.done {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    assert!(out.len() <= 1 + 2 * 1536, "a handshake answers with S0, S1 and S2");
    for piece in pieces(data) {
        match client.handle_bytes(piece, &mut out) {
            Ok(progress) if !progress.done => {}
            _ => break,
        }
    }
}

/// Messages come out the same however the input is cut, and never hold more than they may.
pub fn chunk(data: &[u8]) {
    let limits = chunks::Limits { message: 4096, held: 8192, chunk_streams: 16 };
    let whole = messages([data].into_iter(), limits);
    let cut = messages(pieces(data), limits);
    assert_eq!(whole, cut, "the cuts matter");
    for message in whole {
        let mut bytes = Vec::new();
        let parts = [message.body.as_ref()];
        let (kind, time, stream) = (message.type_id, message.timestamp_ms, message.stream_id);
        if chunks::encode_message(&mut bytes, 5, kind, time, stream, &parts, 128).is_err() {
            continue;
        }
        // Messages that steer the chunk stream are the decoder's own business.
        if !matches!(kind, 1 | 2) {
            let again = messages([bytes.as_slice()].into_iter(), chunks::Limits::default());
            assert_eq!(again.first(), Some(&message), "lost on the way back");
        }
        let _ = Incoming::decode(message, &amf::Limits::default());
    }
}

fn messages<'a>(
    parts: impl Iterator<Item = &'a [u8]>,
    limits: chunks::Limits,
) -> Vec<chunks::Message> {
    let mut decoder = chunks::Decoder::new(limits);
    let mut held = Vec::new();
    let mut messages = Vec::new();
    for part in parts {
        held.extend_from_slice(part);
        let mut taken = 0;
        while let Some(rest) = held.get(taken..) {
            match decoder.decode(rest) {
                Ok((0, None)) => break,
                Ok((used, message)) => {
                    assert!(used <= rest.len(), "took bytes that were not there");
                    assert!(decoder.held() <= limits.held, "holds more than it may");
                    taken += used;
                    messages.extend(message);
                }
                Err(_) => return messages,
            }
        }
        held.drain(..taken);
    }
    messages
}

/// A whole server session: the first 1 + 1536 + 1536 bytes are a good handshake, the rest is the
/// peer's; every question is answered, sometimes with no; time passes.
pub fn server_session(data: &[u8]) {
    let start = Instant::now();
    let mut server = Server::new(start, [3; 32], Arc::new(Limits::default()));
    let mut hello = vec![3; 1];
    hello.resize(1 + 2 * 1536, 0);
    server.handle_bytes(start, &hello);
    let mut now = start;
    for (number, piece) in pieces(data).enumerate() {
        now += Duration::from_millis(number as u64 % 16);
        server.handle_bytes(now, piece);
        answer(&mut server, now, number);
        let bound = Limits::UNAUTHENTICATED + chunks::Limits::HELD + (1 << 20);
        assert!(server.heap_bytes() <= bound, "holds {} bytes", server.heap_bytes());
        while server.poll_transmit().is_some() {}
        if server.poll_timeout().is_some_and(|at| at <= now) {
            server.handle_timeout(now);
        }
    }
    server.handle_timeout(now + Duration::from_secs(3600));
    answer(&mut server, now, 0);
}

fn answer(server: &mut Server, now: Instant, number: usize) {
    while let Some(event) = server.poll_event() {
        let no = number % 5 == 4;
        match event {
            Event::ConnectAsked(_) if no => server.reject_connect("no"),
            Event::ConnectAsked(_) => server.accept_connect(now, &ConnectOptions::default()),
            Event::PublishAsked(asked) if no => {
                server.refuse_publish(now, asked.msid, "NetStream.Publish.BadName", "no");
            }
            Event::PublishAsked(asked) => server.accept_publish(now, asked.msid),
            Event::PlayAsked(asked) if no => {
                server.refuse_play(now, asked.msid, "NetStream.Play.StreamNotFound", "no");
            }
            Event::PlayAsked(asked) => server.accept_play(now, asked.msid),
            _ => {}
        }
    }
}

/// One file; there are no others.
struct OneFile<'a>(&'a [u8]);

impl FileLoader for OneFile<'_> {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        if path == "millrace.conf" {
            Ok(self.0.to_vec())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

/// Any file loads, or is refused with at least one reason.
pub fn conf(data: &[u8]) {
    let request = Request {
        table: directives::table(&[]),
        file: Some("millrace.conf".into()),
        env_only: false,
        env: BTreeMap::new(),
        facts: Facts::default(),
    };
    if let Err(reasons) = config::load(request, &OneFile(data)) {
        assert!(!reasons.is_empty(), "refused without a reason");
    }
}
