//! What a connection does: handshakes, commands, chunks, tags.

use std::sync::Arc;
use std::time::Instant;

use container::flv::{Demuxer, FileHeader, Reader, TagKind, write_tag};
use rtmp::session::client::Role;
use rtmp::session::server::{ConnectOptions, Event};
use rtmp::session::{Client, ClientConfig, Limits, Server};
use rtmp::wire::chunk::{self, Decoder};
use rtmp::wire::handshake;
use rtmp::wire::message::encode_set_chunk_size;
use rtmp::wire::url::StreamUrl;

use crate::Round;
use crate::stream::{Body, bodies, configs, frames};

const CLIENT: [u8; 32] = [9; 32];
const SERVER: [u8; 32] = [7; 32];
/// Bytes of a read in which a session gets its stream: one packet of Ethernet.
const READ: usize = 1460;

/// The server's side of the complex handshake.
pub(crate) fn handshake() -> Round {
    let (mut first, mut answer, mut second) = (Vec::new(), Vec::new(), Vec::new());
    let mut client = handshake::Client::new(CLIENT, true);
    client.start(&mut first);
    handshake::Server::new(SERVER).handle_bytes(&first, &mut answer).expect("C0 and C1");
    client.handle_bytes(&answer, &mut second).expect("S0, S1 and S2");
    Box::new(move || {
        answer.clear();
        let mut server = handshake::Server::new(SERVER);
        server.handle_bytes(&first, &mut answer).expect("C0 and C1");
        assert!(server.handle_bytes(&second, &mut answer).expect("C2").done);
        1
    })
}

/// What a client sends, turn by turn, until its role has started; and the client.
fn turns(role: Role, now: Instant) -> (Vec<Vec<u8>>, Client) {
    let url = StreamUrl::parse("rtmp://127.0.0.1/live", "livestream?token=x").expect("a URL");
    let mut client = Client::new(now, CLIENT, ClientConfig::new(url, role));
    let mut server = Server::new(now, SERVER, Arc::new(Limits::default()));
    let mut turns = Vec::new();
    loop {
        let up = client.poll_transmit();
        if let Some(bytes) = &up {
            server.handle_bytes(now, bytes);
            answer(&mut server, now);
            turns.push(bytes.clone());
        }
        let down = server.poll_transmit();
        if let Some(bytes) = &down {
            client.handle_bytes(bytes);
            while client.poll_event().is_some() {}
        }
        if up.is_none() && down.is_none() {
            return (turns, client);
        }
    }
}

/// Says yes to all that is asked; gives how many parts of a stream came.
fn answer(server: &mut Server, now: Instant) -> u64 {
    let mut media = 0;
    while let Some(event) = server.poll_event() {
        match event {
            Event::ConnectAsked(_) => server.accept_connect(now, &ConnectOptions::default()),
            Event::PublishAsked(asked) => server.accept_publish(now, asked.msid),
            Event::PlayAsked(asked) => server.accept_play(now, asked.msid),
            Event::Media { .. } => media += 1,
            Event::Closed(close) => panic_on(&close),
            _ => {}
        }
    }
    media
}

#[allow(clippy::panic, reason = "a session that ends early has nothing to measure")]
fn panic_on(close: &rtmp::session::Close) {
    panic!("the session ended: {close:?}");
}

fn greet(turns: &[Vec<u8>], now: Instant) -> Server {
    let mut server = Server::new(now, SERVER, Arc::new(Limits::default()));
    for bytes in turns {
        server.handle_bytes(now, bytes);
        answer(&mut server, now);
        while server.poll_transmit().is_some() {}
    }
    server
}

/// From the first byte of a player to the start of its playback.
pub(crate) fn session_play() -> Round {
    let now = Instant::now();
    let (turns, _) = turns(Role::Play, now);
    Box::new(move || {
        let server = greet(&turns, now);
        assert!(server.wants_input(), "the session goes on");
        1
    })
}

/// The stream through a publisher's session: chunks, acknowledgements, events.
pub(crate) fn session_publish() -> Round {
    let now = Instant::now();
    let (turns, mut client) = turns(Role::PublishFmle, now);
    let mut server = greet(&turns, now);
    let bodies = bodies();
    for body in &bodies {
        client.send_media(body.media(), body.ms(), &body.bytes).expect("a short message");
    }
    let mut bytes = Vec::new();
    while let Some(part) = client.poll_transmit() {
        bytes.extend(part);
    }
    Box::new(move || {
        let mut media = 0;
        for read in bytes.chunks(READ) {
            server.handle_bytes(now, read);
            media += answer(&mut server, now);
            while server.poll_transmit().is_some() {}
        }
        assert_eq!(media, bodies.len() as u64);
        media
    })
}

/// The stream as encoders cut it: a whole header first, then the time as a difference (fmt 1).
fn chunked(bodies: &[Body], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut last = [None::<u32>; 32];
    for body in bodies {
        let (media, ms) = (body.media(), body.ms());
        let cid = u8::try_from(media.cid()).expect("a short chunk stream id");
        let length = u32::try_from(body.bytes.len()).expect("a short message").to_be_bytes();
        let slot = &mut last[usize::from(cid)];
        let time = ms.saturating_sub(slot.unwrap_or(0)).to_be_bytes();
        out.push(if slot.is_some() { 0x40 | cid } else { cid });
        out.extend([&time[1..], &length[1..], &[media.type_id()]].concat());
        if slot.is_none() {
            out.extend(1u32.to_le_bytes());
        }
        *slot = Some(ms);
        for (index, part) in body.bytes.chunks(size).enumerate() {
            if index > 0 {
                out.push(0xc0 | cid);
            }
            out.extend(part);
        }
    }
    out
}

/// Chunks of `size` bytes, in reads of `read` bytes.
pub(crate) fn chunks(size: u32, read: usize) -> Round {
    let bodies = bodies();
    let bytes = chunked(&bodies, size as usize);
    let mut decoder = Decoder::new(chunk::Limits::default());
    let mut set = Vec::new();
    encode_set_chunk_size(&mut set, size, chunk::DEFAULT_CHUNK_SIZE);
    decoder.decode(&set).expect("a chunk size");
    Box::new(move || {
        let mut messages = 0;
        for mut rest in bytes.chunks(read) {
            loop {
                let (used, message) = decoder.decode(rest).expect("whole chunks");
                rest = &rest[used..];
                match message {
                    Some(_) => messages += 1,
                    None if rest.is_empty() => break,
                    None => {}
                }
            }
        }
        assert_eq!(messages, bodies.len() as u64);
        messages
    })
}

/// Message bodies to frames.
pub(crate) fn demux() -> Round {
    let bodies = bodies();
    let mut demuxer = Demuxer::new();
    let mut out = Vec::new();
    Box::new(move || {
        let mut frames = 0;
        for body in &bodies {
            out.clear();
            demuxer.push(body.kind, body.at, body.bytes.clone(), &mut out).expect("good bodies");
            frames += out.len();
        }
        assert_eq!(frames, bodies.len());
        frames as u64
    })
}

/// An FLV file to tags.
pub(crate) fn read_file() -> Round {
    let mut file = FileHeader { has_audio: true, has_video: true }.encode().to_vec();
    let frames: Vec<_> = configs().into_iter().chain(frames()).collect();
    for frame in &frames {
        assert!(write_tag(frame, &mut file), "AVC and AAC go into FLV");
    }
    Box::new(move || {
        let mut reader = Reader::new();
        let mut tags = 0;
        for part in file.chunks(READ) {
            reader.push(part);
            while let Some(tag) = reader.pull().expect("a good file") {
                tags += u64::from(tag.kind != TagKind::Script);
            }
        }
        assert_eq!(tags, frames.len() as u64);
        tags
    })
}
