//! What servers say that we dialled.

use std::time::Instant;

use rtmp::session::client::{Event, Role};
use rtmp::session::{Client, ClientConfig};
use rtmp::wire::message::Media;
use rtmp::wire::url::StreamUrl;

use super::pieces;

/// A session of RTMP from the client's side, behind a plain handshake: how the answers are cut does
/// not matter, nothing comes after the end, and media goes out only where it may.
pub fn client_session(data: &[u8]) {
    for role in [Role::PublishFlash, Role::PublishFmle, Role::Play] {
        let whole = session(role, [data].into_iter());
        let cut = session(role, pieces(data));
        assert_eq!(whole, cut, "the cuts matter");
        if let Some(at) = whole.iter().position(|event| matches!(event, Event::Closed(_))) {
            assert_eq!(at.saturating_add(1), whole.len(), "something comes after the end");
        }
    }
}

fn session<'a>(role: Role, parts: impl Iterator<Item = &'a [u8]>) -> Vec<Event> {
    let Ok(url) = StreamUrl::parse("rtmp://h/live", "s?k=v") else { return Vec::new() };
    let mut config = ClientConfig::new(url, role);
    config.complex_handshake = false;
    let mut client = Client::new(Instant::now(), [3; 32], config);
    let mut hello = vec![3];
    hello.resize(1 + 2 * 1536, 0);
    client.handle_bytes(&hello);
    let mut events = Vec::new();
    let mut started = false;
    for part in parts {
        client.handle_bytes(part);
        while let Some(event) = client.poll_event() {
            started |= event == Event::PublishStarted;
            events.push(event);
        }
        while client.poll_transmit().is_some() {}
        let sent = client.send_media(Media::Audio, 0, &[0xaf, 1]);
        let out = client.poll_transmit().is_some();
        assert!(sent.is_ok() && out == (started && !client.is_closed()), "media out of turn");
    }
    events
}
