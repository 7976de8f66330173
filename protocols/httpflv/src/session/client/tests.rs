//! A client against bytes as servers send them.

use container::flv::TagKind;
use proptest::prelude::*;

use super::*;
use crate::wire::Framing;

fn config(websocket: bool, form: Form) -> ClientConfig {
    let address = Address::parse("http://h:8080/live/x.flv?k=v").unwrap();
    ClientConfig { websocket, ..ClientConfig::new(address, form) }
}

fn client(websocket: bool, form: Form) -> (Client, String) {
    let mut client = Client::new(Instant::now(), [7; 16], &config(websocket, form));
    let request = String::from_utf8(client.poll_transmit().unwrap()).unwrap();
    (client, request)
}

/// A header, one tag of script data with each of the bodies.
fn flv(bodies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut parts = vec![b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec()];
    for body in bodies {
        let [_, a, b, c] = (body.len() as u32).to_be_bytes();
        let mut tag = vec![18, a, b, c, 0, 0, 5, 0, 0, 0, 0];
        tag.extend(body);
        tag.extend((body.len() as u32 + 11).to_be_bytes());
        parts.push(tag);
    }
    parts
}

fn head(websocket: bool, framing: Framing) -> Vec<u8> {
    if websocket {
        let accept = derive_accept_key(base64(&[7; 16]).as_bytes());
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .into_bytes()
    } else if framing == Framing::Chunked {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()
    } else {
        b"HTTP/1.1 200 OK\r\n\r\n".to_vec()
    }
}

fn events(client: &mut Client) -> Vec<Event> {
    std::iter::from_fn(|| client.poll_event()).collect()
}

fn closed(client: &mut Client) -> Option<Close> {
    match events(client).pop() {
        Some(Event::Closed(close)) => Some(close),
        _ => None,
    }
}

proptest! {
    #[test]
    fn tags_come_out_of_every_framing_however_the_bytes_are_cut(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..6),
        framing in prop::sample::select(vec![Framing::Raw, Framing::Chunked, Framing::WebSocket]),
        cut in 1usize..120,
    ) {
        let websocket = framing == Framing::WebSocket;
        let mut input = head(websocket, framing);
        for part in flv(&bodies) {
            framing.wrap(part.len(), &mut input, |out| out.extend_from_slice(&part));
        }
        input.extend(framing.end());
        let (mut client, _) = client(websocket, Form::Flv);
        let mut found = Vec::new();
        for piece in input.chunks(cut) {
            client.handle_bytes(piece);
            found.extend(events(&mut client));
        }
        client.handle_end();
        found.extend(events(&mut client));
        let last = found.pop();
        prop_assert!(matches!(last, Some(Event::Closed(Close::Ended))), "{:?}", last);
        prop_assert!(matches!(found.remove(0), Event::Started));
        let tags: Vec<Vec<u8>> = found
            .into_iter()
            .map(|event| match event {
                Event::Tag(tag) => {
                    assert_eq!((tag.kind, tag.timestamp), (TagKind::Script, 5));
                    tag.body.to_vec()
                }
                other => panic!("{other:?}"),
            })
            .collect();
        prop_assert_eq!(tags, bodies);
    }

    #[test]
    fn no_bytes_make_it_panic(
        input in prop::collection::vec(any::<u8>(), 0..200), websocket in any::<bool>(),
    ) {
        let (mut client, _) = client(websocket, Form::Flv);
        client.handle_bytes(&head(websocket, Framing::Raw));
        client.handle_bytes(&input);
        client.handle_end();
        while client.poll_event().is_some() {}
    }
}

#[test]
fn the_request_asks_for_what_was_configured() {
    let (_, request) = client(false, Form::Flv);
    assert!(request.starts_with("GET /live/x.flv?k=v HTTP/1.1\r\nHost: h:8080\r\n"), "{request}");
    assert!(!request.contains("Upgrade"));
    let (_, request) = client(true, Form::Flv);
    assert!(request.contains("Sec-WebSocket-Key: BwcHBwcHBwcHBwcHBwcHBw==\r\n"), "{request}");
    // The example of RFC 6455, section 1.3.
    assert_eq!(base64(b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
}

#[test]
fn a_ping_is_answered_and_a_close_is_the_end() {
    let (mut client, _) = client(true, Form::Flv);
    client.handle_bytes(&head(true, Framing::WebSocket));
    client.handle_bytes(b"\x89\x02hi");
    let pong = client.poll_transmit().unwrap();
    assert_eq!((pong[0], pong[1], pong.len()), (0x8a, 0x82, 8));
    client.handle_bytes(Framing::WebSocket.end());
    assert_eq!(client.poll_transmit().unwrap()[0], 0x88);
    assert_eq!(closed(&mut client), Some(Close::Ended));
}

#[test]
fn every_way_to_say_no_is_told() {
    let answered = |websocket, answer: &str| {
        let (mut client, _) = client(websocket, Form::Flv);
        client.handle_bytes(answer.as_bytes());
        closed(&mut client)
    };
    let no = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answered(false, no), Some(Close::Status(404)));
    assert_eq!(answered(true, no), Some(Close::Status(404)));
    let away = "HTTP/1.1 302 Found\r\nLocation: http://b/x.flv\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answered(false, away), Some(Close::Redirected("http://b/x.flv".to_owned())));
    assert_eq!(answered(true, "HTTP/1.1 200 OK\r\n\r\n"), Some(Close::NoWebSocket));
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n";
    assert_eq!(answered(true, wrong), Some(Close::NoWebSocket));
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n<html>no stream</html>";
    assert!(matches!(answered(false, page), Some(Close::Flv(_))));
}

#[test]
fn silence_and_cuts_are_told_apart_from_an_end() {
    let begun = Instant::now();
    let (mut waiting, _) = client(false, Form::Ts);
    waiting.handle_timeout(begun);
    assert!(waiting.poll_event().is_none());
    waiting.handle_timeout(begun + Duration::from_secs(60));
    assert_eq!(closed(&mut waiting), Some(Close::Timeout));
    let (mut cut, _) = client(false, Form::Ts);
    cut.handle_bytes(&head(false, Framing::Chunked));
    assert_eq!(cut.poll_timeout(), None);
    cut.handle_end();
    assert_eq!(closed(&mut cut), Some(Close::Cut));
    let (mut unanswered, _) = client(false, Form::Ts);
    unanswered.handle_end();
    assert_eq!(closed(&mut unanswered), Some(Close::Cut));
}
