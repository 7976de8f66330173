//! Captured connections of real clients, replayed against a server session.

use std::sync::Arc;
use std::time::Instant;

use container::amf::Value;
use proptest::prelude::*;
use rtmp::session::server::{ConnectOptions, Event, PublishKind};
use rtmp::session::{Limits, Server};
use rtmp::wire::message::Media;

/// Replays a capture in pieces of `piece` bytes; every wish is granted.
fn replay(capture: &[u8], piece: usize) -> (Vec<Event>, Server) {
    let now = Instant::now();
    let mut server = Server::new(now, [3; 32], Arc::new(Limits::default()));
    let mut events = Vec::new();
    for part in capture.chunks(piece) {
        server.handle_bytes(now, part);
        while let Some(event) = server.poll_event() {
            match &event {
                Event::ConnectAsked(_) => server.accept_connect(now, &ConnectOptions::default()),
                Event::PublishAsked(asked) => server.accept_publish(now, asked.msid),
                Event::PlayAsked(asked) => server.accept_play(now, asked.msid),
                _ => {}
            }
            events.push(event);
        }
        server.poll_transmit();
    }
    assert!(!server.is_closed());
    (events, server)
}

/// Replays it at several splits, which must not matter.
fn events_of(capture: &[u8]) -> Vec<Event> {
    let (events, _) = replay(capture, capture.len());
    for piece in [1, 2, 7, 100, 1460] {
        assert!(replay(capture, piece).0 == events, "a split of {piece} bytes matters");
    }
    events
}

fn published(capture: &[u8], stream: &str) -> Vec<(Media, u32, usize)> {
    let events = events_of(capture);
    let [Event::ConnectAsked(connect), Event::PublishAsked(asked), media @ .., last] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(connect.app, "live");
    assert_eq!((asked.kind, asked.url.stream.as_str()), (PublishKind::Fmle, stream));
    assert_eq!(*last, Event::Unpublish { msid: 1 });
    let media = media.iter().map(|event| match event {
        Event::Media { msid: 1, media, timestamp_ms, body } => (*media, *timestamp_ms, body.len()),
        other => panic!("{other:?}"),
    });
    media.collect()
}

#[test]
fn ffmpeg_publishes_past_the_24th_bit_of_time() {
    let media = published(ALL[0], "livestream");
    assert_eq!(media.len(), 142);
    let video: Vec<u32> = media
        .iter()
        .filter(|(media, ..)| *media == Media::Video)
        .map(|(_, time, _)| *time)
        .collect();
    // The first is the configuration; then 50 pictures 40 ms apart; then the end of the sequence.
    let pictures = &video[1..51];
    assert_eq!((pictures[0], pictures[49]), (16_776_000, 16_777_960));
    assert!(pictures.windows(2).all(|pair| pair[1] - pair[0] == 40), "{pictures:?}");
    assert!(pictures[49] > 0xff_ffff);
}

#[test]
fn gstreamer_publishes_by_both_of_its_elements() {
    let rtmp2 = include_bytes!("../../testdata/clients/gstreamer-1.22-rtmp2-publish.bin");
    assert_eq!(published(rtmp2, "gst2").len(), 33);
    let librtmp = include_bytes!("../../testdata/clients/gstreamer-1.22-librtmp-publish.bin");
    assert_eq!(published(librtmp, "gst1").len(), 33);
}

fn played(capture: &[u8]) -> (Option<Value>, String, Option<u32>) {
    let events = events_of(capture);
    let [Event::ConnectAsked(connect), Event::PlayAsked(asked), ..] = &events[..] else {
        panic!("{events:?}");
    };
    let (_, server) = replay(capture, 1460);
    assert!(server.heap_bytes() < 600, "{} bytes", server.heap_bytes());
    (connect.args.clone(), asked.url.name(), asked.duration_ms)
}

#[test]
fn ffmpeg_rtmpdump_and_gstreamer_play() {
    let ffmpeg = played(include_bytes!("../../testdata/clients/ffmpeg-5.1-play.bin"));
    assert_eq!(ffmpeg, (None, "livestream?token=x".into(), None));
    let rtmpdump = played(include_bytes!("../../testdata/clients/rtmpdump-2.4-play.bin"));
    let args = Value::object([("foo", "bar".into())]);
    assert_eq!(rtmpdump, (Some(args), "livestream".into(), Some(1000)));
    let gstreamer = played(include_bytes!("../../testdata/clients/gstreamer-1.22-rtmp2-play.bin"));
    assert_eq!(gstreamer, (None, "livestream".into(), None));
}

const ALL: [&[u8]; 6] = [
    include_bytes!("../../testdata/clients/ffmpeg-5.1-publish.bin"),
    include_bytes!("../../testdata/clients/ffmpeg-5.1-play.bin"),
    include_bytes!("../../testdata/clients/rtmpdump-2.4-play.bin"),
    include_bytes!("../../testdata/clients/gstreamer-1.22-rtmp2-publish.bin"),
    include_bytes!("../../testdata/clients/gstreamer-1.22-rtmp2-play.bin"),
    include_bytes!("../../testdata/clients/gstreamer-1.22-librtmp-publish.bin"),
];

/// Behind C0, C1 and C2, whose random bytes are not worth damaging.
const CHUNKS: usize = 3073;

proptest! {
    #[test]
    fn damaged_captures_never_panic_and_hold_little(
        which in 0..ALL.len(),
        damage in prop::collection::vec((0usize..600, any::<u8>(), 0u8..3), 1..12),
        piece in 1usize..3000,
    ) {
        let mut bytes = ALL[which].to_vec();
        for (at, value, how) in damage {
            let at = CHUNKS + at % (bytes.len() - CHUNKS);
            match how {
                0 => bytes[at] = value,
                1 => bytes.insert(at, value),
                _ => { bytes.remove(at); }
            }
        }
        let now = Instant::now();
        let mut server = Server::new(now, [3; 32], Arc::new(Limits::default()));
        for part in bytes.chunks(piece) {
            server.handle_bytes(now, part);
            while let Some(event) = server.poll_event() {
                match event {
                    Event::ConnectAsked(_) => {
                        server.accept_connect(now, &ConnectOptions::default());
                    }
                    Event::PublishAsked(asked) => server.accept_publish(now, asked.msid),
                    Event::PlayAsked(asked) => server.accept_play(now, asked.msid),
                    _ => {}
                }
            }
            server.poll_transmit();
            prop_assert!(server.heap_bytes() < 100_000);
        }
    }
}
