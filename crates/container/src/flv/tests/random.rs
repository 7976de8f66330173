//! Random frames and random bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Codec and tag pairs that FLV publishers give, with a composition time or not.
const VIDEO: &[(Codec, u32, bool)] = &[
    (Codec::H264, 7, true),
    (Codec::H265, 12, true),
    (Codec::Av1, 13, true),
    (Codec::H264, 0x6176_6331, true),
    (Codec::H265, 0x6876_6331, true),
    (Codec::Av1, 0x6176_3031, false),
    (Codec::Vp9, 0x7670_3039, false),
    (Codec::Vp8, 0x7670_3038, false),
];

const AUDIO: &[(Codec, u32)] = &[
    (Codec::Aac, 0xaf),
    (Codec::Aac, 0x6d70_3461),
    (Codec::Mp3, 0x2e6d_7033),
    (Codec::Opus, 0x4f70_7573),
    (Codec::Flac, 0x664c_6143),
    (Codec::Ac3, 0x6163_2d33),
    (Codec::Eac3, 0x6563_2d33),
];

fn flags(key: Flags) -> impl Strategy<Value = Flags> {
    select(vec![Flags::empty(), key, Flags::CONFIG, Flags::END])
}

fn payload() -> impl Strategy<Value = Bytes> {
    // A first byte that no start code has.
    (1u8.., vec(any::<u8>(), 22..80)).prop_map(|(first, mut bytes)| {
        bytes.insert(0, first);
        Bytes::from(bytes)
    })
}

prop_compose! {
    fn video_frame()(
        (codec, tag, timed) in select(VIDEO),
        flags in flags(Flags::KEY),
        track in 0u8..16,
        dts in 0i64..0x7fff_ffff,
        cts in -0x80_0000i64..0x80_0000,
        payload in payload(),
    ) -> Frame {
        // A second track has only the enhanced form, which alone has all packets untimed.
        let tag = if track > 0 { super::super::coding::fourcc_of(codec).unwrap() } else { tag };
        let timed = timed && if tag > 0xff {
            codec != Codec::Av1 && !flags.intersects(Flags::CONFIG | Flags::END)
        } else { true };
        let dts = Timestamp::from_millis(dts);
        let pts = if timed { dts.offset(cts * 1000) } else { dts };
        let payload = if flags.contains(Flags::END) { Bytes::new() } else { payload };
        Frame { codec, track, flags, tag, dts, pts, payload }
    }
}

prop_compose! {
    fn audio_frame()(
        (codec, tag) in select(AUDIO),
        flags in flags(Flags::empty()),
        track in 0u8..16,
        dts in 0i64..0x7fff_ffff,
        payload in payload(),
    ) -> Frame {
        let tag = if track > 0 { super::super::coding::fourcc_of(codec).unwrap() } else { tag };
        // Legacy audio ends with an empty message, which says no codec.
        let flags = if tag == 0xaf { flags.difference(Flags::END) } else { flags };
        let dts = Timestamp::from_millis(dts);
        let payload = if flags.contains(Flags::END) { Bytes::new() } else { payload };
        Frame { codec, track, flags, tag, dts, pts: dts, payload }
    }
}

fn kind() -> impl Strategy<Value = TagKind> {
    select(vec![TagKind::Audio, TagKind::Video, TagKind::Script])
}

/// Bytes that often get past the first checks.
fn likely_body() -> impl Strategy<Value = Vec<u8>> {
    let first = select(vec![0x17u8, 0x27, 0x1c, 0x90, 0x91, 0x93, 0x94, 0x95, 0x96, 0x97, 0xaf]);
    let name = select(vec![*b"avc1", *b"hvc1", *b"Opus", *b"vvc1", [0, 0x11, b'O', b'p']]);
    (first, vec(0u8..8, 0..8), name, vec(any::<u8>(), 0..64))
        .prop_map(|(first, middle, name, rest)| concat(&[&[first], &middle, &name, &rest]))
}

proptest! {
    #[test]
    fn frames_survive_the_way_through_a_body(frame in prop_oneof![video_frame(), audio_frame()]) {
        let (kind, bytes) = body(&frame).unwrap();
        let mut out = Vec::new();
        Demuxer::new().push(kind, frame.dts, bytes.into(), &mut out).unwrap();
        prop_assert_eq!(out, vec![frame]);
    }

    #[test]
    fn frames_survive_the_way_through_a_file(
        frames in vec(prop_oneof![video_frame(), audio_frame()], 0..12),
        pieces in vec(1usize..64, 1..8),
    ) {
        let mut file = FileHeader { has_audio: true, has_video: true }.encode().to_vec();
        for frame in &frames {
            let len = file.len() + tag_len(frame).unwrap();
            prop_assert!(write_tag(frame, &mut file));
            prop_assert_eq!(file.len(), len);
        }
        let mut reader = Reader::new();
        let mut demuxer = Demuxer::new();
        let mut out = Vec::new();
        let mut rest = file.as_slice();
        for piece in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (head, tail) = rest.split_at((*piece).min(rest.len()));
            rest = tail;
            reader.push(head);
            while let Some(tag) = reader.pull().unwrap() {
                let dts = tag.dts();
                demuxer.push(tag.kind, dts, tag.body, &mut out).unwrap();
            }
        }
        prop_assert_eq!(out, frames);
    }

    #[test]
    fn random_bodies_never_panic_and_what_is_read_can_be_written_and_read_again(
        bodies in vec((kind(), prop_oneof![vec(any::<u8>(), 0..64), likely_body()]), 0..8),
    ) {
        let mut demuxer = Demuxer::new();
        for (kind, bytes) in bodies {
            let mut frames = Vec::new();
            demuxer.push(kind, AT, bytes.into(), &mut frames).ok();
            prop_assert!(frames.len() <= MAX_TRACKS);
            for frame in frames {
                let (kind, bytes) = body(&frame).unwrap();
                let mut again = Vec::new();
                let mut state = demuxer.clone();
                state.push(kind, frame.dts, bytes.into(), &mut again).unwrap();
                prop_assert_eq!(again, vec![frame]);
            }
        }
    }

    #[test]
    fn random_frames_never_panic_the_muxer(
        codec in select(vec![
            Codec::H264, Codec::H265, Codec::Av1, Codec::Vp6, Codec::OtherVideo, Codec::Aac,
            Codec::Pcm, Codec::Opus, Codec::OtherAudio, Codec::ScriptData, Codec::OtherData,
        ]),
        (track, tag, bits) in (any::<u8>(), prop_oneof![0u32..256, any::<u32>()], any::<u8>()),
        (dts, pts) in any::<(i64, i64)>(),
    ) {
        let frame = Frame {
            codec,
            track,
            tag,
            flags: Flags::from_bits_truncate(bits),
            dts: Timestamp::from_micros(dts),
            pts: Timestamp::from_micros(pts),
            payload: Bytes::new(),
        };
        let mut out = Vec::new();
        let written = write_tag(&frame, &mut out).then_some(out.len());
        prop_assert_eq!(written, tag_len(&frame));
        prop_assert_eq!(written.is_none(), out.is_empty());
    }

    #[test]
    fn random_bytes_never_panic_the_reader(
        header in any::<bool>(),
        pieces in vec(vec(any::<u8>(), 0..64), 0..16),
    ) {
        let mut reader = Reader::new();
        if header {
            reader.push(&FileHeader { has_audio: true, has_video: true }.encode());
        }
        for piece in pieces {
            reader.push(&piece);
            while !matches!(reader.pull(), Ok(None) | Err(ReadError::Signature { .. })) {
                if reader.pull().is_err_and(|error| error.is_final()) {
                    break;
                }
            }
        }
    }
}
