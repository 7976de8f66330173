use bytes::Bytes;
use proptest::prelude::*;
use rtmp::session::client::{self, Role};
use rtmp::session::server::{self, PublishKind};
use rtmp::session::{Close, Limits};
use rtmp::wire::chunk::encode_message;
use rtmp::wire::message::Media;

use crate::pair::{Pair, Policy, config};

fn media_of(events: &[server::Event]) -> Vec<(Media, u32, Bytes)> {
    events
        .iter()
        .filter_map(|event| match event {
            server::Event::Media { media, timestamp_ms, body, .. } => {
                Some((*media, *timestamp_ms, body.clone()))
            }
            _ => None,
        })
        .collect()
}

fn publish(role: Role, complex: bool, piece: usize) {
    let config = client::ClientConfig { complex_handshake: complex, ..config(role) };
    let mut pair = Pair::new(config, piece, Policy::Accept);
    pair.run();
    assert!(matches!(pair.client_events[0], client::Event::Connected { .. }));
    assert_eq!(pair.client_events[1], client::Event::PublishStarted);
    let [server::Event::ConnectAsked(connect), server::Event::PublishAsked(asked)] =
        &pair.server_events[..]
    else {
        panic!("{:?}", pair.server_events);
    };
    assert_eq!((connect.tc_url.as_str(), connect.app.as_str()), ("rtmp://127.0.0.1/live", "live"));
    let kind = if role == Role::PublishFmle { PublishKind::Fmle } else { PublishKind::Flash };
    assert_eq!((asked.kind, asked.url.stream.as_str()), (kind, "livestream"));
    assert_eq!(asked.url.param, "?token=x");

    let metadata = b"\x02\x00\x0aonMetaData\x05";
    let sent = [
        (Media::Data, 0, Bytes::from_static(metadata)),
        (Media::Audio, 0, Bytes::from(vec![0xaf; 7])),
        (Media::Video, 0x00ff_fffe, Bytes::from(vec![0x17; 200])),
        (Media::Video, 0x00ff_ffff, Bytes::from(vec![0x27; 130_000])),
        (Media::Video, u32::MAX, Bytes::from(vec![0x27; 70_000])),
        (Media::Audio, 3, Bytes::from(vec![0xaf; 60_001])),
    ];
    for (media, timestamp_ms, body) in &sent {
        pair.client.send_media(*media, *timestamp_ms, body).unwrap();
    }
    pair.run();
    assert_eq!(media_of(&pair.server_events), sent);
    pair.client.stop();
    pair.run();
    assert_eq!(*pair.server_events.last().unwrap(), server::Event::Unpublish { msid: 1 });
}

#[test]
fn what_is_published_arrives_whatever_the_role_and_the_split() {
    for role in [Role::PublishFmle, Role::PublishFlash] {
        for piece in [1, 2, 3, 127, 1460, 65_536] {
            publish(role, piece % 2 == 0, piece);
        }
    }
}

#[test]
fn a_player_starts_and_gets_media_at_every_split() {
    for piece in (1..200).chain([1460, 4096, 65_536]) {
        let mut pair = Pair::new(config(Role::Play), piece, Policy::Accept);
        pair.run();
        assert_eq!(
            pair.client_events.iter().skip(1).cloned().collect::<Vec<_>>(),
            [
                client::Event::Status {
                    level: "status".into(),
                    code: "NetStream.Play.Reset".into(),
                    description: "Playing and resetting stream.".into(),
                },
                client::Event::PlayStarted,
            ]
        );
        assert_eq!(pair.server.buffer_length_ms(1), 3000);
        assert_eq!(pair.server.poll_timeout(), None);
        assert_eq!(pair.client.poll_timeout(), None);
        pair.client_events.clear();

        let mut log = Vec::new();
        for (media, time, length) in
            [(Media::Data, 0, 20), (Media::Audio, 0, 4), (Media::Video, 0x0100_0000, 60_005)]
        {
            let body = vec![7u8; length];
            let (cid, kind, size) = (media.cid(), media.type_id(), pair.server.chunk_size());
            encode_message(&mut log, cid, kind, time, 1, &[&body], size).unwrap();
        }
        for part in log.chunks(piece) {
            pair.client.handle_bytes(part);
        }
        pair.run();
        let lengths: Vec<_> = pair
            .client_events
            .iter()
            .map(|event| match event {
                client::Event::Media { media, timestamp_ms, body } => {
                    (*media, *timestamp_ms, body.len())
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            lengths,
            [(Media::Data, 0, 20), (Media::Audio, 0, 4), (Media::Video, 0x0100_0000, 60_005),]
        );
        assert!(pair.server.heap_bytes() < 600, "{} bytes", pair.server.heap_bytes());
        pair.client.stop();
        pair.run();
        assert_eq!(*pair.server_events.last().unwrap(), server::Event::StopPlay { msid: 1 });
    }
}

#[test]
fn a_player_acknowledges_what_it_gets() {
    let mut pair = Pair::new(config(Role::Play), 65_536, Policy::Accept);
    pair.run();
    let mut log = Vec::new();
    encode_message(&mut log, 6, 9, 0, 1, &[&vec![0; 2_000_000]], 60_000).unwrap();
    pair.client.handle_bytes(&log);
    let ack = pair.client.poll_transmit().unwrap();
    assert_eq!(ack[..12], [2, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0]);
    pair.server.handle_bytes(pair.now, &ack);
    assert!(!pair.server.is_closed());
}

#[test]
fn a_pause_and_an_end_reach_the_player() {
    let mut pair = Pair::new(config(Role::Play), 99, Policy::Accept);
    pair.run();
    pair.client_events.clear();
    pair.server.unpublish_notify(1);
    pair.server.stream_eof(1);
    pair.run();
    assert!(matches!(&pair.client_events[..], [
        client::Event::Status { code, .. },
        client::Event::StreamEof,
    ] if code == "NetStream.Play.UnpublishNotify"));
}

fn refused(role: Role, policy: Policy) -> Vec<client::Event> {
    let mut pair = Pair::new(config(role), 50, policy);
    pair.run();
    assert!(pair.client.is_closed());
    pair.client_events
}

fn status(code: &str, description: &str) -> client::Event {
    let level = "error".into();
    client::Event::Status { level, code: code.into(), description: description.into() }
}

#[test]
fn refusals_are_told_with_their_code() {
    let closed = client::Event::Closed(Close::Refused);
    assert_eq!(
        refused(Role::Play, Policy::Reject),
        [status("NetConnection.Connect.Rejected", "not today"), closed.clone()]
    );
    assert_eq!(
        refused(Role::PublishFmle, Policy::Refuse)[1..],
        [status("NetStream.Publish.BadName", "busy"), closed.clone()]
    );
    assert_eq!(
        refused(Role::Play, Policy::Refuse)[1..],
        [status("NetStream.Play.StreamNotFound", "no"), closed]
    );
}

#[test]
fn redirects_are_told_with_their_target_and_confirmed() {
    let redirect = client::Event::Redirect {
        tc_url: "rtmp://elsewhere/live".into(),
        url: Some("rtmp://elsewhere/live/livestream?token=x".into()),
    };
    for policy in [Policy::RedirectConnect, Policy::RedirectPlay] {
        let mut pair = Pair::new(config(Role::Play), 50, policy);
        pair.run();
        let events = &pair.client_events;
        let closed = client::Event::Closed(Close::Redirected);
        assert_eq!(events[events.len() - 2..], [redirect.clone(), closed]);
        let last = pair.server_events.last();
        assert_eq!(last, Some(&server::Event::Closed(Close::Redirected)));
    }
}

#[test]
fn a_client_gives_up_in_time() {
    let mut pair = Pair::new(config(Role::Play), 50, Policy::Accept);
    let deadline = pair.client.poll_timeout().unwrap();
    assert_eq!(deadline - pair.now, Limits::IDENTIFY);
    pair.client.handle_timeout(deadline);
    assert_eq!(pair.client.poll_event(), Some(client::Event::Closed(Close::HandshakeTimeout)));
    assert_eq!(pair.client.poll_event(), None);
}

#[test]
fn an_edge_tells_of_itself_behind_the_command_object() {
    use container::amf::Value;
    let args = Value::object([("srs_sig", "x".into())]);
    let config = client::ClientConfig {
        args: Some(args.clone()),
        page_url: Some("http://page.example".into()),
        ..config(Role::Play)
    };
    let mut pair = Pair::new(config, 500, Policy::Accept);
    pair.run();
    let server::Event::ConnectAsked(connect) = &pair.server_events[0] else { panic!() };
    assert_eq!(connect.args.as_ref(), Some(&args));
    assert_eq!(connect.page_url.as_deref(), Some("http://page.example"));
}

proptest! {
    #[test]
    fn no_bytes_of_a_server_make_the_client_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        piece in 1usize..2000,
        started in any::<bool>(),
    ) {
        let mut pair = Pair::new(config(Role::Play), 65_536, Policy::Accept);
        if started {
            pair.run();
        }
        for part in bytes.chunks(piece) {
            pair.client.handle_bytes(part);
        }
    }
}
