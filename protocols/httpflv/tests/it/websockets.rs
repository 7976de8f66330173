//! The same streams over WebSocket.

use gate::session::Kick;

use crate::client::{Client, tags};
use crate::rig::{Publishing, Rig, configs, media};

const UPGRADE: &[&str] = &[
    "Host: localhost",
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol: flv, other",
];

async fn watch() -> (Rig, Publishing, Client) {
    let rig = Rig::start(&[], "/nonexistent").await;
    let publishing = rig.publish("__defaultVhost__", "live", "s").await;
    publishing.push(configs()).await;
    publishing.push(media(0, 3, 1)).await;
    let client = Client::ask(rig.addr, "GET /live/s.flv HTTP/1.1", UPGRADE).await;
    (rig, publishing, client)
}

#[tokio::test]
async fn messages_are_binary_and_make_one_flv() {
    let (rig, publishing, mut client) = watch().await;
    let head = client.head().await;
    assert_eq!(head.status, 101);
    // RFC 6455 section 1.3 has this pair.
    assert_eq!(head.get("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(head.get("Sec-WebSocket-Protocol"), Some("flv"));
    publishing.push(media(120, 2, 5)).await;
    let mut body = Vec::new();
    while tags(&body).last().is_none_or(|t| t.body.get(t.body.len() - 2) != Some(&5)) {
        let (opcode, payload) = client.message().await;
        assert_eq!(opcode, 2);
        body.extend(payload);
    }
    rig.host.sessions.all()[0].kick(Kick::Api);
    loop {
        if let (8, payload) = client.message().await {
            assert_eq!(payload, 1001u16.to_be_bytes());
            break;
        }
    }
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn a_ping_is_answered_between_two_messages_and_a_close_ends_it() {
    let (_rig, publishing, mut client) = watch().await;
    client.head().await;
    client.say(9, b"still there?").await;
    publishing.push(media(120, 3, 6)).await;
    let mut body = Vec::new();
    loop {
        match client.message().await {
            (10, payload) => {
                assert_eq!(payload, b"still there?");
                break;
            }
            (2, payload) => body.extend(payload),
            (other, _) => panic!("opcode {other}"),
        }
    }
    client.say(8, &1000u16.to_be_bytes()).await;
    loop {
        match client.message().await {
            (8, payload) => {
                assert_eq!(payload, 1000u16.to_be_bytes());
                break;
            }
            (2, payload) => body.extend(payload),
            (other, _) => panic!("opcode {other}"),
        }
    }
    assert!(!tags(&body).is_empty());
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn a_client_that_breaks_the_rules_is_told_which_and_let_go() {
    for (bytes, code) in [(&[0x82u8, 0x01, 0x00][..], 1002u16), (&[0x82, 0xfe, 0xff, 0xff], 1009)] {
        let (_rig, _publishing, mut client) = watch().await;
        client.head().await;
        client.send(bytes).await;
        loop {
            if let (8, payload) = client.message().await {
                assert_eq!(payload, code.to_be_bytes());
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_bad_handshake_is_refused_in_words() {
    let (rig, _publishing, _client) = watch().await;
    let old = ["Host: x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 8"];
    let mut client = Client::ask(rig.addr, "GET /live/s.flv HTTP/1.1", &old).await;
    let head = client.head().await;
    assert_eq!((head.status, head.get("Sec-WebSocket-Version")), (426, Some("13")));
    let keyless = [old[0], old[1], old[2], "Sec-WebSocket-Version: 13"];
    let mut client = Client::ask(rig.addr, "GET /live/s.flv HTTP/1.1", &keyless).await;
    assert_eq!(client.head().await.status, 400);
}
