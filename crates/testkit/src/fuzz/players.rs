//! What servers send to our players: answers of HTTP, bodies, frames of a WebSocket, playlists;
//! and the stamps in pictures.

use std::time::{Duration, Instant};

use gate::http::client::{Address, Decoder, Part};
use hls::playlist::decode as playlists;
use hls::session::client as hls_client;
use httpflv::session::client as live_client;
use load::stamp::{Stamp, checksum, read};
use media::Codec;
use media::nal::{AnnexB, LengthPrefixed};

use super::pieces;

/// What the bytes of one connection say, as far as it does not depend on the cuts.
#[derive(Debug, Default, PartialEq)]
struct Answers {
    statuses: Vec<u16>,
    body: Vec<u8>,
    ends: usize,
    failed: bool,
}

fn answers<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Answers {
    let mut decoder = Decoder::new();
    let mut all = Answers::default();
    decoder.expect();
    for part in parts {
        let mut rest = part;
        loop {
            let Ok((taken, found)) = decoder.decode(rest) else {
                all.failed = true;
                return all;
            };
            assert!(taken <= rest.len(), "took bytes that were not there");
            rest = rest.get(taken..).unwrap_or_default();
            match found {
                None => break,
                Some(Part::Head(answer)) => all.statuses.push(answer.status.as_u16()),
                Some(Part::Body(bytes)) => {
                    assert!(!bytes.is_empty(), "an empty piece of a body");
                    all.body.extend_from_slice(bytes);
                }
                Some(Part::End) => {
                    all.ends += 1;
                    decoder.expect();
                }
            }
        }
        assert!(rest.is_empty(), "bytes were left over");
    }
    all
}

/// Answers are the same however they are cut; a player of a live body takes any bytes, in the
/// clear and as a WebSocket.
pub fn live_client(data: &[u8]) {
    let (whole, cut) = (answers([data].into_iter()), answers(pieces(data)));
    assert_eq!(whole, cut, "the cuts matter");
    let Ok(address) = Address::parse("http://h/live/x.flv") else { return };
    for (websocket, form) in [
        (false, live_client::Form::Flv),
        (false, live_client::Form::Ts),
        (true, live_client::Form::Flv),
    ] {
        let now = Instant::now();
        let config = live_client::ClientConfig {
            websocket,
            ..live_client::ClientConfig::new(address.clone(), form)
        };
        let mut client = live_client::Client::new(now, [5; 16], &config);
        // The answer that lets the rest in: the key of that seed is known.
        let head: &[u8] = if websocket {
            b"HTTP/1.1 101 Switching Protocols\r\n\
              Sec-WebSocket-Accept: mtrmuZY3BxRKBPnydQEtsPLgJiA=\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\n\r\n"
        };
        if data.first().is_some_and(|byte| byte & 1 == 0) {
            client.handle_bytes(head);
        }
        for piece in pieces(data.get(1..).unwrap_or_default()) {
            client.handle_bytes(piece);
            while client.poll_event().is_some() {}
            let said = client.poll_transmit().unwrap_or_default();
            assert!(said.len() <= 1024 + piece.len() * 8, "says {} bytes", said.len());
        }
        client.handle_end();
        client.handle_timeout(now + Duration::from_secs(3600));
        let last = std::iter::from_fn(|| client.poll_event()).last();
        let over = matches!(last, None | Some(live_client::Event::Closed(_)));
        assert!(over, "something follows the end");
    }
}

/// Any text is a playlist or none; a player of it asks for no more than one thing at a time, and
/// ends in one way.
pub fn hls_client(data: &[u8]) {
    if let Ok(playlists::Playlist::Media(media)) = playlists::decode(data) {
        let edge = media.live_edge();
        assert!((media.media_sequence..=media.end()).contains(&edge), "joins outside of the list");
    }
    if let (Ok(base), Ok(text)) = (Address::parse("http://h/a/b"), std::str::from_utf8(data))
        && let Ok(address) = base.join(text)
    {
        assert_eq!(Address::parse(&address.to_string()), Ok(address), "lost on the way back");
    }
    let mut now = Instant::now();
    let Ok(address) = Address::parse("http://h/live/x.m3u8") else { return };
    let config = hls_client::ClientConfig::new(address);
    let mut client = hls_client::Client::new(now, config);
    // What comes is an answer to each request, or bytes as they are.
    let bare = data.first().is_some_and(|byte| byte & 1 == 1);
    for (number, piece) in pieces(data).take(200).enumerate() {
        if bare {
            client.handle_bytes(now, piece);
        } else {
            let text = if number == 0 { data } else { piece };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
            client.handle_bytes(now, &[head.as_bytes(), text].concat());
        }
        now += Duration::from_millis(number as u64 * 100);
        client.handle_timeout(now);
        let said = client.poll_transmit().unwrap_or_default();
        let requests = said.windows(5).filter(|w| w == b"GET /").count();
        assert!(requests <= 3, "{requests} requests at once");
        if number % 7 == 6 {
            client.handle_end(now);
        }
    }
    client.handle_end(now);
    let events: Vec<_> = std::iter::from_fn(|| client.poll_event()).collect();
    let closes = events.iter().filter(|e| matches!(e, hls_client::Event::Closed(_))).count();
    assert!(closes <= 1, "ended {closes} times");
}

/// Any unit is a stamp or none; what is one reads back.
pub fn stamp(data: &[u8]) {
    for codec in [Codec::H264, Codec::H265] {
        if let Some(stamp) = Stamp::decode(data, codec) {
            let unit = stamp.encode(codec).unwrap_or_default();
            assert_eq!(Stamp::decode(&unit, codec), Some(stamp), "lost on the way back");
        }
        let _ = read(AnnexB::new(data), codec);
        let _ = read(LengthPrefixed::new(data, 4).map_while(Result::ok), codec);
    }
    if let Some((last, rest)) = data.split_last()
        && *last != 0
    {
        let turned = [rest, &[last ^ 0x80]].concat();
        assert!(*last == 0x80 || checksum(&turned) != checksum(data), "a turned bit is not seen");
    }
}
