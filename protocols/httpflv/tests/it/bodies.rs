//! Bodies over HTTP/1.x: how they begin, go on and end.

use container::flv::TagKind;
use gate::session::Kick;
use media::aac::AdtsHeader;
use media::{Codec, Flags};

use crate::client::{Client, Flv, tags};
use crate::rig::{AVC, Rig, configs, frame, media};

const DEFAULT: &str = "__defaultVhost__";

async fn live() -> (Rig, crate::rig::Publishing) {
    let rig = Rig::start(&[], "/nonexistent").await;
    let publishing = rig.publish(DEFAULT, "live", "s").await;
    publishing.push(configs()).await;
    publishing.push(media(0, 3, 1)).await;
    (rig, publishing)
}

#[tokio::test]
async fn a_stream_flows_in_chunks_from_the_last_key_frame_on() {
    let (rig, publishing) = live().await;
    publishing.push(media(1000, 2, 7)).await;
    let mut client = Client::get(rig.addr, "/live/s.flv?token=x").await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    assert_eq!(head.get("Content-Type"), Some("video/x-flv"));
    assert_eq!(head.get("Transfer-Encoding"), Some("chunked"));
    assert_eq!(head.get("Cache-Control"), Some("no-cache"));
    assert_eq!(head.get("Access-Control-Allow-Origin"), Some("*"));
    let mut flv = Flv::default();
    let found = flv.until_mark(&mut client, 7).await;
    let kinds: Vec<TagKind> = found.iter().map(|t| t.kind).collect();
    assert_eq!(kinds, [TagKind::Audio, TagKind::Video, TagKind::Video]);
    assert_eq!(&found[1].body[5..], AVC);
    assert!(found.iter().all(|t| t.timestamp == 1000));

    publishing.push(media(1080, 1, 9)).await;
    flv.until_mark(&mut client, 9).await;

    let sessions = rig.host.sessions.all();
    let detail = sessions[0].detail().expect("identified");
    assert_eq!((detail.kind, &*detail.name, &*detail.param), ("flv-play", "s.flv", "?token=x"));
    assert_eq!((&*detail.tc_url, &*detail.vhost), ("http://localhost/live", DEFAULT));
}

#[tokio::test]
async fn a_kicked_viewer_gets_a_whole_end() {
    let (rig, _publishing) = live().await;
    let mut client = Client::get(rig.addr, "/live/s.flv").await;
    client.head().await;
    Flv::default().until_mark(&mut client, 1).await;
    rig.host.sessions.all()[0].kick(Kick::Api);
    while client.chunk().await.is_some() {}
    assert!(client.rest().await.is_empty(), "nothing behind the last chunk");
}

#[tokio::test]
async fn old_clients_get_the_bare_body() {
    let (rig, _publishing) = live().await;
    let mut client = Client::ask(rig.addr, "GET /live/s.flv HTTP/1.0", &["Host: x"]).await;
    let head = client.head().await;
    assert_eq!((head.status, head.get("Transfer-Encoding")), (200, None));
    client.until(13 + 11).await;
    rig.host.sessions.all()[0].kick(Kick::Api);
    let found = tags(&client.rest().await);
    assert_eq!(found.first().map(|t| t.kind), Some(TagKind::Audio));
    assert!(found.len() > 2);
}

#[tokio::test]
async fn a_client_that_wants_to_close_still_gets_chunks() {
    let (rig, _publishing) = live().await;
    let lines = ["Host: x", "Connection: close"];
    let mut client = Client::ask(rig.addr, "GET /live/s.flv HTTP/1.1", &lines).await;
    assert_eq!(client.head().await.get("Transfer-Encoding"), Some("chunked"));
    Flv::default().until_mark(&mut client, 1).await;
}

#[tokio::test]
async fn viewers_outlive_their_publisher() {
    let (rig, publishing) = live().await;
    let mut client = Client::get(rig.addr, "/live/s.flv").await;
    client.head().await;
    let mut flv = Flv::default();
    flv.until_mark(&mut client, 1).await;
    drop(publishing);
    let key = hub::StreamKey::new(DEFAULT, "live", "s");
    let stream = rig.host.hub.find(&key).expect("a viewer is on it");
    let mut changed = stream.watch();
    while stream.is_active() {
        changed.changed().await.expect("watched");
    }
    let again = rig.publish(DEFAULT, "live", "s").await;
    again.push(configs()).await;
    again.push(media(0, 2, 2)).await;
    let found = flv.until_mark(&mut client, 2).await;
    let config = found.iter().find(|t| t.kind == TagKind::Video && t.body[1] == 0);
    assert_eq!(config.map(|t| &t.body[5..]), Some(AVC), "the new publisher's configuration");
}

#[tokio::test]
async fn a_transport_stream_begins_with_its_tables() {
    let (rig, _publishing) = live().await;
    let mut client = Client::get(rig.addr, "/live/s.ts").await;
    let head = client.head().await;
    assert_eq!((head.status, head.get("Content-Type")), (200, Some("video/MP2T")));
    let chunk = client.chunk().await.expect("a chunk");
    assert_eq!(&chunk[..3], [0x47, 0x40, 0x00]);
    assert_eq!(chunk.len() % 188, 0);
}

#[tokio::test]
async fn audio_alone_is_served_in_its_own_format_only() {
    let rig = Rig::start(&[("fast_cache", "10")], "/nonexistent").await;
    let publishing = rig.publish(DEFAULT, "live", "radio").await;
    publishing.push(configs()[..1].to_vec()).await;
    let sound = |i: i64| frame(Codec::Aac, Flags::empty(), i * 23, &[0x21, i as u8, 0x03]);
    publishing.push((0..20).map(sound).collect()).await;
    let mut first = Client::get(rig.addr, "/live/radio.aac").await;
    assert_eq!(first.head().await.get("Content-Type"), Some("audio/x-aac"));
    publishing.push(vec![sound(20)]).await;
    let chunk = first.chunk().await.expect("the first listener makes the log");
    assert_eq!(chunk[8], 20);

    let mut second = Client::get(rig.addr, "/live/radio.aac").await;
    second.head().await;
    let chunk = second.chunk().await.expect("what is kept");
    assert_eq!(AdtsHeader::decode(&chunk).map(|h| h.frame_length), Ok(10));
    assert_eq!(chunk[8], 20);

    let mut client = Client::get(rig.addr, "/live/radio.mp3").await;
    assert_eq!(client.head().await.status, 404);
    assert!(String::from_utf8_lossy(&client.bytes).contains("AAC"));
}
