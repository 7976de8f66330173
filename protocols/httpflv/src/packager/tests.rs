#![allow(clippy::arithmetic_side_effects)]

use std::time::Duration;

use bytes::Bytes;
use container::flv::{FileHeader, Reader, TagKind, write_tag};
use container::ts::validate::{Validator, Violation};
use hub::{Headers, Packager};
use media::aac::AdtsHeader;
use media::{Codec, Flags, Frame, Kind, Timestamp};
use proptest::prelude::*;

use super::*;

const AVC: &[u8] =
    &[1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 4, 0x67, 0x42, 0xc0, 0x1e, 1, 0, 2, 0x68, 0xce];
const AAC: &[u8] = &[0x12, 0x10];
const AS_GUESSED: Tracks = Tracks { guess: true, audio: true, video: true, drop: true };

fn frame(codec: Codec, flags: Flags, ms: i64, payload: &[u8]) -> Frame {
    let dts = Timestamp::from_millis(ms);
    let payload = Bytes::copy_from_slice(payload);
    Frame { codec, track: 0, flags, tag: 0, dts, pts: dts, payload }
}

fn avc_config(ms: i64) -> Frame {
    frame(Codec::H264, Flags::CONFIG, ms, AVC)
}

fn aac_config(ms: i64) -> Frame {
    frame(Codec::Aac, Flags::CONFIG, ms, AAC)
}

fn picture(ms: i64, key: bool) -> Frame {
    let (flags, nal) = if key { (Flags::KEY, 0x65) } else { (Flags::empty(), 0x41) };
    let mut payload = vec![0, 0, 0, 200, nal];
    payload.resize(204, ms as u8);
    frame(Codec::H264, flags, ms, &payload)
}

fn sound(ms: i64) -> Frame {
    frame(Codec::Aac, Flags::empty(), ms, &[ms as u8 | 0x21; 40])
}

fn mp3(ms: i64) -> Frame {
    frame(Codec::Mp3, Flags::empty(), ms, &[0xff, 0xfb, 0x90, ms as u8])
}

fn headers(configs: &[Frame]) -> Headers {
    Headers {
        metadata: Some(std::sync::Arc::new(frame(
            Codec::ScriptData,
            Flags::CONFIG,
            0,
            b"\x02\0\0",
        ))),
        configs: configs.iter().cloned().map(std::sync::Arc::new).collect(),
        generation: 1,
        has_video: configs.iter().any(|f| f.kind() == Kind::Video),
        has_audio: configs.iter().any(|f| f.kind() == Kind::Audio),
    }
}

fn wire(format: Format, framing: Framing) -> Wire {
    Wire { format, framing, tracks: AS_GUESSED, fast_cache: Duration::ZERO }
}

/// A stream of both kinds: 25 pictures a second, a key frame every half, sound between.
fn stream(pictures: i64) -> Vec<Frame> {
    let mut frames = vec![aac_config(0), avc_config(0)];
    for i in 0..pictures {
        frames.push(picture(i * 40, i % 12 == 0));
        frames.push(sound(i * 40 + 10));
        frames.push(sound(i * 40 + 30));
    }
    frames
}

/// What the log holds: each message with its time.
fn log(packager: &mut dyn Packager, frames: &[Frame]) -> Vec<(Timestamp, Vec<u8>)> {
    let mut messages = Vec::new();
    for frame in frames {
        let mut out = Vec::new();
        packager.push(frame, &mut out);
        if !out.is_empty() {
            messages.push((frame.dts, out));
        }
    }
    messages
}

fn prelude(packager: &mut dyn Packager, headers: &Headers, at: Option<Timestamp>) -> Vec<u8> {
    let mut out = Vec::new();
    packager.prelude(headers, at, &mut out);
    out
}

/// Takes the framing off; panics where it is wrong.
fn unwrap(framing: Framing, mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while !bytes.is_empty() {
        let (at, len, behind) = match framing {
            Framing::Raw => return bytes.to_vec(),
            Framing::Chunked => {
                let line = bytes.windows(2).position(|w| w == b"\r\n").expect("a line");
                let digits = std::str::from_utf8(&bytes[..line]).expect("text");
                (line + 2, usize::from_str_radix(digits, 16).expect("hex"), 2)
            }
            Framing::WebSocket => {
                assert_eq!(bytes[0], 0x82);
                match bytes[1] {
                    126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 0),
                    127 => panic!("too long for a test"),
                    n => (2, usize::from(n), 0),
                }
            }
        };
        assert!(len > 0, "an empty message");
        body.extend_from_slice(&bytes[at..at + len]);
        if behind > 0 {
            assert_eq!(&bytes[at + len..at + len + behind], b"\r\n");
        }
        bytes = &bytes[at + len + behind..];
    }
    body
}

fn tags(body: &[u8]) -> (FileHeader, Vec<(TagKind, u32, Bytes)>) {
    let mut reader = Reader::new();
    reader.push(body);
    let mut tags = Vec::new();
    while let Some(tag) = reader.pull().expect("valid FLV") {
        tags.push((tag.kind, tag.timestamp, tag.body));
    }
    assert_eq!(reader.buffered(), 0, "the body ends within a tag");
    (reader.header().expect("a file header"), tags)
}

#[test]
fn a_joiner_at_any_message_reads_on_in_every_framing() {
    let frames = stream(30);
    let headers = headers(&frames[..2]);
    for framing in [Framing::Raw, Framing::Chunked, Framing::WebSocket] {
        let mut packager = wire(Format::Flv, framing).packager(&Seed::default());
        let messages = log(&mut *packager, &frames);
        for (i, (at, _)) in messages.iter().enumerate() {
            let mut bytes = prelude(&mut *packager, &headers, Some(*at));
            messages[i..].iter().for_each(|(_, m)| bytes.extend_from_slice(m));
            let (header, tags) = tags(&unwrap(framing, &bytes));
            assert!(header.has_audio && header.has_video);
            let kinds: Vec<TagKind> = tags.iter().take(3).map(|t| t.0).collect();
            assert_eq!(kinds, [TagKind::Script, TagKind::Audio, TagKind::Video]);
            let begin = u32::try_from(at.as_millis()).expect("small");
            assert_eq!(tags[0].1, 0, "metadata has no time");
            assert!(tags[1..3].iter().all(|t| t.1 == begin), "headers carry the joiner's time");
            assert_eq!(&tags[1].2[..], [0xaf, 0, 0x12, 0x10]);
            assert_eq!(&tags[2].2[5..], AVC);
        }
    }
}

#[test]
fn a_configuration_without_media_is_announced_only_when_its_media_comes() {
    let mut packager = wire(Format::Flv, Framing::Raw).packager(&Seed::default());
    let headers = headers(&[aac_config(0), avc_config(0)]);
    let mut frames = vec![aac_config(0), avc_config(0)];
    frames.extend((0..20).map(|i| sound(i * 20)));
    log(&mut *packager, &frames);
    let (header, found) = tags(&prelude(&mut *packager, &headers, None));
    assert_eq!(header, FileHeader { has_audio: true, has_video: false });
    assert!(found.iter().all(|t| t.0 != TagKind::Video));

    let late = log(&mut *packager, &[picture(400, true)]);
    let mut body = FileHeader { has_audio: true, has_video: true }.encode().to_vec();
    body.extend_from_slice(&late[0].1);
    let (_, found) = tags(&body);
    assert_eq!(found.len(), 2, "the configuration stands before the first picture");
    assert_eq!((&found[0].2[5..], found[0].1), (AVC, 400));
    let (header, found) = tags(&prelude(&mut *packager, &headers, None));
    assert!(header.has_video && found.iter().any(|t| t.0 == TagKind::Video));
}

#[test]
fn what_the_publisher_before_sent_is_not_announced_for_the_next() {
    let only_audio = headers(&[aac_config(0)]);
    let mut packager = wire(Format::Flv, Framing::Raw).packager(&Seed::default());
    log(&mut *packager, &stream(3));
    log(&mut *packager, &[aac_config(500), sound(500), sound(520)]);
    let (header, _) = tags(&prelude(&mut *packager, &only_audio, None));
    assert_eq!(header, FileHeader { has_audio: true, has_video: false });

    let mut packager = wire(Format::Ts, Framing::Raw).packager(&Seed::default());
    log(&mut *packager, &stream(3));
    log(&mut *packager, &[aac_config(500), sound(500), sound(520)]);
    let mut bytes = prelude(&mut *packager, &only_audio, None);
    log(&mut *packager, &[sound(540), sound(560)]).iter().for_each(|(_, m)| bytes.extend(m));
    let (facts, violations) = Validator::new().segment(&bytes, false);
    assert!(violations.is_empty(), "{violations:?}");
    let declared: Vec<Codec> = facts.streams.iter().filter_map(|s| s.codec).collect();
    assert_eq!(declared, [Codec::Aac]);
}

#[test]
fn without_guessing_the_header_says_what_is_configured_and_the_rest_is_dropped() {
    let frames = stream(5);
    let headers = headers(&frames[..2]);
    let tracks = Tracks { guess: false, audio: true, video: false, drop: true };
    let wire = Wire { tracks, ..wire(Format::Flv, Framing::Raw) };
    let mut packager = wire.packager(&Seed::default());
    let messages = log(&mut *packager, &frames);
    let mut body = prelude(&mut *packager, &headers, None);
    messages.iter().for_each(|(_, m)| body.extend_from_slice(m));
    let (header, found) = tags(&body);
    assert_eq!(header, FileHeader { has_audio: true, has_video: false });
    assert!(found.iter().all(|t| t.0 != TagKind::Video));

    let kept = Wire { tracks: Tracks { drop: false, ..tracks }, ..wire };
    let mut packager = kept.packager(&Seed::default());
    assert_eq!(log(&mut *packager, &frames).len(), frames.len());
    assert_ne!(kept.variant(), wire.variant());
}

#[test]
fn a_jump_over_a_new_configuration_gets_the_configurations_only() {
    let mut packager = wire(Format::Flv, Framing::Chunked).packager(&Seed::default());
    log(&mut *packager, &stream(2));
    let mut out = Vec::new();
    let headers = headers(&[aac_config(0), avc_config(0)]);
    packager.resume(&headers, Timestamp::from_millis(700), &mut out);
    let mut body = FileHeader { has_audio: true, has_video: true }.encode().to_vec();
    body.extend(unwrap(Framing::Chunked, &out));
    let (_, found) = tags(&body);
    let kinds: Vec<(TagKind, u32)> = found.iter().map(|t| (t.0, t.1)).collect();
    assert_eq!(kinds, [(TagKind::Audio, 700), (TagKind::Video, 700)]);
}

#[test]
fn a_transport_stream_joined_at_a_key_frame_is_valid_from_its_first_packet() {
    let frames = stream(40);
    let headers = headers(&frames[..2]);
    for framing in [Framing::Raw, Framing::Chunked, Framing::WebSocket] {
        let mut packager = wire(Format::Ts, framing).packager(&Seed::default());
        let messages = log(&mut *packager, &frames);
        for key in [0i64, 480, 960, 1440] {
            let at = Timestamp::from_millis(key);
            let begin = messages.iter().position(|(t, _)| *t == at).expect("the key frame");
            let mut bytes = prelude(&mut *packager, &headers, Some(at));
            messages[begin..].iter().for_each(|(_, m)| bytes.extend_from_slice(m));
            let (facts, violations) = Validator::new().segment(&unwrap(framing, &bytes), false);
            assert!(violations.is_empty(), "joined at {key}: {violations:?}");
            assert!(facts.count(Kind::Video) > 0 && facts.count(Kind::Audio) > 0);
        }
    }
}

#[test]
fn a_transport_stream_made_in_mid_stream_knows_the_configurations() {
    let frames = stream(13);
    let key = frames.iter().rposition(Frame::is_key).expect("a key frame");
    let seed = Seed { headers: headers(&frames[..2]), seen: Seen { audio: true, video: true } };
    let mut packager = wire(Format::Ts, Framing::Raw).packager(&seed);
    let messages = log(&mut *packager, &frames[key..]);
    let mut bytes = prelude(&mut *packager, &seed.headers, Some(messages[0].0));
    messages.iter().for_each(|(_, m)| bytes.extend_from_slice(m));
    let (facts, violations) = Validator::new().segment(&bytes, false);
    assert!(violations.is_empty(), "{violations:?}");
    assert_eq!(facts.count(Kind::Audio), 2);
}

#[test]
fn a_joiner_between_key_frames_gets_the_tables_that_continue_the_log() {
    let frames = stream(10);
    let headers = headers(&frames[..2]);
    let mut packager = wire(Format::Ts, Framing::Raw).packager(&Seed::default());
    let messages = log(&mut *packager, &frames);
    let tables = prelude(&mut *packager, &headers, Some(messages[9].0));
    assert_eq!(tables.len(), 376);
    assert_eq!(&tables[..3], [0x47, 0x40, 0]);
    // The next tables in the log count on from these.
    let next = log(&mut *packager, &[picture(400, true)]);
    assert_eq!(next[0].1[3] & 0x0f, (tables[3] + 1) & 0x0f);
}

#[test]
fn a_joiner_behind_the_message_with_the_tables_gets_them_though_their_time_is_its_own() {
    let frames: Vec<Frame> =
        std::iter::once(aac_config(0)).chain((0..3).map(|i| sound(i * 23))).collect();
    let mut packager = wire(Format::Ts, Framing::Raw).packager(&Seed::default());
    let mut messages = log(&mut *packager, &frames);
    // Sound alone has no key frames: the joiner begins at the head, whose time is the newest
    // message's. Until that one brings tables again, look.
    let mut ms = 69;
    while messages.last().is_some_and(|(_, m)| m[..3] != [0x47, 0x40, 0]) {
        messages.extend(log(&mut *packager, &[sound(ms)]));
        ms += 23;
    }
    let newest = messages.last().map(|m| m.0);
    let tables = prelude(&mut *packager, &headers(&frames[..1]), newest);
    assert_eq!(tables.get(..3), Some(&[0x47, 0x40, 0][..]), "{} bytes", tables.len());
}

#[test]
fn packets_are_counted_on_when_the_next_publisher_sends_less() {
    let frames = stream(13);
    let mut packager = wire(Format::Ts, Framing::Raw).packager(&Seed::default());
    let mut bytes: Vec<u8> = log(&mut *packager, &frames).into_iter().flat_map(|m| m.1).collect();
    let mut less = Headers { generation: 2, ..headers(&[aac_config(1000)]) };
    less.has_audio = true;
    // Somebody joins, and the packager learns of the new publisher.
    prelude(&mut *packager, &less, Some(Timestamp::from_millis(1000)));
    let sounds: Vec<Frame> = (0..30).map(|i| sound(1000 + i * 23)).collect();
    bytes.extend(log(&mut *packager, &sounds).into_iter().flat_map(|m| m.1));
    let mut last = std::collections::HashMap::new();
    for packet in bytes.chunks_exact(188) {
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let counter = packet[3] & 0x0f;
        if packet[3] & 0x10 != 0
            && let Some(before) = last.insert(pid, counter)
        {
            assert_eq!(counter, (before + 1) & 0x0f, "PID {pid}");
        }
    }
    assert_eq!(last.len(), 4, "tables, pictures and sound");
}

#[test]
fn whoever_joins_while_sound_alone_takes_a_stream_over_gets_its_tables_at_once() {
    let mut packager = wire(Format::Ts, Framing::Raw).packager(&Seed::default());
    log(&mut *packager, &stream(13));
    let mut less = Headers { generation: 2, ..headers(&[aac_config(1000)]) };
    less.has_audio = true;
    // Before the first frame of the new publisher, and behind it at a time before.
    let before = Some(Timestamp::from_millis(490));
    let early = prelude(&mut *packager, &less, before);
    let next = log(&mut *packager, &[sound(1000)]).remove(0).1;
    let late = prelude(&mut *packager, &less, before);
    assert_eq!(early.len(), 376);
    assert_eq!(early, late);
    assert_eq!(early, next[..376], "what they are given stands in the stream too");
    let (facts, violations) = Validator::new().segment(&[early, next].concat(), false);
    assert!(violations.is_empty(), "{violations:?}");
    assert_eq!((facts.count(Kind::Video), facts.count(Kind::Audio)), (0, 1));
}

#[test]
fn sound_beside_pictures_that_a_transport_stream_cannot_carry_is_joined_with_tables() {
    let av1 = |ms, flags| frame(Codec::Av1, flags, ms, &[0x12, 0]);
    let configs = [aac_config(0), av1(0, Flags::CONFIG)];
    let mut frames = configs.to_vec();
    for ms in (0..2000).step_by(40) {
        frames.push(av1(ms, if ms % 1000 == 0 { Flags::KEY } else { Flags::empty() }));
        frames.push(sound(ms));
    }
    let mut packager = wire(Format::Ts, Framing::Raw).packager(&Seed::default());
    let messages = log(&mut *packager, &frames);
    // The key picture is not there, nor tables in front of it; newer ones have come since.
    let at = Timestamp::from_millis(1000);
    let begin = messages.iter().position(|m| m.0 == at).expect("the sound beside the key picture");
    let mut bytes = prelude(&mut *packager, &headers(&configs), Some(at));
    messages[begin..].iter().for_each(|(_, m)| bytes.extend_from_slice(m));
    let (facts, violations) = Validator::new().segment(&bytes, false);
    assert!(!violations.contains(&Violation::NoTables), "{violations:?}");
    assert_eq!((facts.count(Kind::Video), facts.count(Kind::Audio)), (0, 25));
}

fn adts_frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let header = AdtsHeader::decode(bytes).expect("an ADTS header");
        assert_eq!(header.sample_rate(), 44_100);
        found.push(bytes[header.length()]);
        bytes = &bytes[header.frame_length..];
    }
    found
}

#[test]
fn a_listener_gets_the_last_seconds_at_once_and_nothing_twice() {
    let wire =
        Wire { fast_cache: Duration::from_millis(100), ..wire(Format::Aac, Framing::Chunked) };
    let mut packager = wire.packager(&Seed::default());
    let mut frames = vec![aac_config(0)];
    frames.extend((0..50).map(|i| sound(i * 20)));
    let messages = log(&mut *packager, &frames);
    let headers = headers(&frames[..1]);
    let payloads = |from: i64, to: i64| (from..to).map(|i| (i * 20) as u8 | 0x21).collect();

    // At the head: what is kept, up to the newest.
    let head = prelude(&mut *packager, &headers, messages.last().map(|m| m.0));
    let want: Vec<u8> = payloads(45, 50);
    assert_eq!(adts_frames(&unwrap(Framing::Chunked, &head)), want);

    // Joined earlier: what is kept up to there, then the log.
    let mut bytes = prelude(&mut *packager, &headers, Some(messages[47].0));
    messages[47..].iter().for_each(|(_, m)| bytes.extend_from_slice(m));
    let want: Vec<u8> = payloads(45, 50);
    assert_eq!(adts_frames(&unwrap(Framing::Chunked, &bytes)), want);

    // Joined at the newest message, because a key frame stood in front of it.
    packager.push(&picture(1000, true), &mut Vec::new());
    let newest = log(&mut *packager, &[sound(1000)]);
    let mut bytes = prelude(&mut *packager, &headers, Some(newest[0].0));
    bytes.extend_from_slice(&newest[0].1);
    let want: Vec<u8> = payloads(46, 51);
    assert_eq!(adts_frames(&unwrap(Framing::Chunked, &bytes)), want);
}

#[test]
fn an_mp3_body_begins_with_an_empty_tag_and_holds_no_other_coding() {
    let mut packager = wire(Format::Mp3, Framing::Raw).packager(&Seed::default());
    let messages = log(&mut *packager, &[mp3(0), sound(10), picture(20, true), mp3(26)]);
    assert_eq!(messages.len(), 2);
    let body = prelude(&mut *packager, &Headers::default(), None);
    assert_eq!(body.len(), 20);
    assert!(body.starts_with(b"ID3\x03\0\0\0\0\0\x0a"));
}

#[test]
fn different_wires_never_share_a_log() {
    let mut seen = std::collections::HashSet::new();
    for framing in [Framing::Raw, Framing::Chunked, Framing::WebSocket] {
        for bits in 0..16u8 {
            let tracks = Tracks {
                guess: bits & 1 != 0,
                audio: bits & 2 != 0,
                video: bits & 4 != 0,
                drop: bits & 8 != 0,
            };
            for ms in [0, 1, 500, 60_000] {
                let fast_cache = Duration::from_millis(ms);
                let wire = Wire { format: Format::Aac, framing, tracks, fast_cache };
                assert!(seen.insert(wire.variant()));
            }
        }
    }
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let codec = prop::sample::select(vec![
        Codec::H264,
        Codec::H265,
        Codec::Av1,
        Codec::Aac,
        Codec::Mp3,
        Codec::Opus,
        Codec::G711A,
        Codec::ScriptData,
        Codec::OtherVideo,
        Codec::OtherData,
    ]);
    let payload = prop::collection::vec(any::<u8>(), 0..300);
    (codec, 0u8..3, any::<u8>(), any::<u32>(), -1000i64..100_000_000, payload).prop_map(
        |(codec, track, flags, tag, ms, payload)| Frame {
            track,
            tag,
            ..frame(codec, Flags::from_bits_truncate(flags), ms, &payload)
        },
    )
}

proptest! {
    #[test]
    fn no_frames_break_a_body(
        frames in prop::collection::vec(any_frame(), 0..40),
        begin in 0usize..40,
        guess in any::<bool>(),
        drop in any::<bool>(),
    ) {
        let tracks = Tracks { guess, drop, audio: true, video: false };
        for format in Format::ALL {
            for framing in [Framing::Raw, Framing::Chunked, Framing::WebSocket] {
                let fast_cache = Duration::from_secs(1);
                let wire = Wire { format, framing, tracks, fast_cache };
                let mut packager = wire.packager(&Seed::default());
                let messages = log(&mut *packager, &frames);
                let configs: Vec<Frame> =
                    frames.iter().filter(|f| f.is_config()).take(4).cloned().collect();
                let at = messages.get(begin).map(|m| m.0);
                let mut bytes = prelude(&mut *packager, &headers(&configs), at);
                messages.iter().skip(begin).for_each(|(_, m)| bytes.extend_from_slice(m));
                let body = unwrap(framing, &bytes);
                match format {
                    Format::Flv => { tags(&body); }
                    Format::Ts => prop_assert!(body.chunks(188).all(|p| p.len() == 188 && p[0] == 0x47)),
                    Format::Aac | Format::Mp3 => {}
                }
            }
        }
    }

    #[test]
    fn what_is_pushed_comes_out_as_it_went_in(frames in prop::collection::vec(any_frame(), 0..30)) {
        let tracks = Tracks { drop: false, ..AS_GUESSED };
        let wire = Wire { tracks, ..wire(Format::Flv, Framing::WebSocket) };
        let mut packager = wire.packager(&Seed::default());
        let mut direct = Vec::new();
        let mut wrapped = Vec::new();
        for frame in &frames {
            let metadata = frame.codec == Codec::ScriptData && frame.is_config();
            let dts = if metadata { Timestamp::ZERO } else { frame.dts };
            write_tag(&Frame { dts, ..frame.clone() }, &mut direct);
            packager.push(frame, &mut wrapped);
        }
        prop_assert_eq!(unwrap(Framing::WebSocket, &wrapped), direct);
    }
}
