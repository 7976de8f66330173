//! Each path, with bytes made by hand.

use super::*;
use TagKind::{Audio, Script, Video};

#[test]
fn legacy_h264_comes_back_byte_for_byte() {
    let config = there_and_back(Video, &concat(&[&[0x17, 0, 0, 0, 0], AVCC]));
    assert_eq!(config, frame(Codec::H264, 7, Flags::CONFIG, AVCC));

    let key = there_and_back(Video, &concat(&[&[0x17, 1, 0, 0, 80], NAL]));
    assert_eq!(key, Frame { pts: AT.offset(80_000), ..frame(Codec::H264, 7, Flags::KEY, NAL) });

    let inter = there_and_back(Video, &concat(&[&[0x27, 1, 0xff, 0xff, 0xd8], NAL]));
    assert_eq!(inter.composition_us(), -40_000);
    assert_eq!(inter.flags, Flags::empty());

    let disposable = there_and_back(Video, &concat(&[&[0x37, 1, 0, 0, 0], NAL]));
    assert_eq!((disposable.flags, disposable.tag), (Flags::DISPOSABLE, 7));

    let end = there_and_back(Video, &[0x17, 2, 0, 0, 0]);
    assert_eq!(end, frame(Codec::H264, 7, Flags::END, &[]));
}

#[test]
fn frame_types_that_the_flags_do_not_imply_are_kept_in_the_tag() {
    let generated = there_and_back(Video, &concat(&[&[0x47, 1, 0, 0, 0], NAL]));
    assert_eq!((generated.flags, generated.tag), (Flags::KEY, 0x47));
    let config = there_and_back(Video, &concat(&[&[0x27, 0, 0, 0, 0], AVCC]));
    assert_eq!((config.flags, config.tag), (Flags::CONFIG, 0x27));
    let reserved = there_and_back(Video, &concat(&[&[0x67, 1, 0, 0, 0], NAL]));
    assert_eq!(reserved.flags, Flags::empty());
}

#[test]
fn a_two_byte_end_of_sequence_is_understood() {
    assert_eq!(one(Video, &[0x17, 2]), frame(Codec::H264, 7, Flags::END, &[]));
}

#[test]
fn chinese_codec_ids_are_hevc_and_av1_in_the_layout_of_h264() {
    let config = there_and_back(Video, &concat(&[&[0x1c, 0, 0, 0, 0], HVCC]));
    assert_eq!(config, frame(Codec::H265, 12, Flags::CONFIG, HVCC));
    let inter = there_and_back(Video, &concat(&[&[0x2c, 1, 0, 0, 40], NAL]));
    assert_eq!((inter.codec, inter.composition_us()), (Codec::H265, 40_000));

    let config = there_and_back(Video, &[0x1d, 0, 0, 0, 0, 0x81, 0, 0x0c, 0]);
    assert_eq!((config.codec, config.tag, config.flags), (Codec::Av1, 13, Flags::CONFIG));
    let key = there_and_back(Video, &[0x1d, 1, 0, 0, 0, 0x12, 0]);
    assert_eq!((key.codec, key.flags), (Codec::Av1, Flags::KEY));
}

#[test]
fn codecs_that_are_not_looked_into_pass_untouched() {
    for (first, codec) in [
        (0x12, Codec::H263),
        (0x22, Codec::H263),
        (0x32, Codec::H263),
        (0x14, Codec::Vp6),
        (0x25, Codec::Vp6),
        (0x13, Codec::OtherVideo),
        (0x26, Codec::OtherVideo),
        (0x18, Codec::OtherVideo),
        (0x2f, Codec::OtherVideo),
        (0x10, Codec::OtherVideo),
        (0x20, Codec::OtherVideo),
    ] {
        let frame = there_and_back(Video, &[first, 0xde, 0xad]);
        assert_eq!(frame.codec, codec);
        assert_eq!(frame.is_key(), first >> 4 == 1);
    }
}

#[test]
fn video_commands_are_refused_with_their_number() {
    assert_eq!(demux(Video, &[0x57, 1]), Err(Error::Command { value: 1 }));
    assert_eq!(demux(Video, &[0xd0, 0]), Err(Error::Command { value: 0 }));
}

#[test]
fn the_length_size_is_read_from_the_configuration_and_used_for_annex_b() {
    let mut demuxer = Demuxer::new();
    let mut avcc = AVCC.to_vec();
    avcc[4] = 0xfd;
    push(&mut demuxer, Video, &concat(&[&[0x17, 0, 0, 0, 0], &avcc])).unwrap();
    let annex_b = [0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x65, 2, 3];
    let frames = push(&mut demuxer, Video, &annex_b).unwrap();
    assert_eq!(frames[0].payload.as_ref(), &[0, 2, 0x67, 1, 0, 3, 0x65, 2, 3]);
    assert_eq!(frames[0].flags, Flags::KEY);

    // `00 00 | 00 01 xx` adds up with two-byte lengths, and is left alone.
    let lengths = [0x27, 1, 0, 0, 0, 0, 0, 0, 1, 0x41];
    let frames = push(&mut demuxer, Video, &lengths).unwrap();
    assert_eq!(frames[0].payload.as_ref(), &lengths[5..]);
}

#[test]
fn annex_b_is_converted_in_enhanced_bodies_and_for_hevc_too() {
    let frame = one(Video, b"\x93hvc1\0\0\0\x01\x26\x01\0\0\x01\x02\x01");
    assert_eq!(frame.payload.as_ref(), b"\0\0\0\x02\x26\x01\0\0\0\x02\x02\x01");
    // AV1 has no start codes, so its bytes are not touched.
    there_and_back(Video, b"\x91av01\0\0\0\x01\x26\x01\0\0\x01\x02\x01");
}

#[test]
fn ordinary_payloads_share_the_memory_of_the_body() {
    for (kind, bytes) in [
        (Video, concat(&[&[0x17, 1, 0, 0, 0], NAL])),
        (Video, concat(&[b"\xa1hvc1\0\0\0", NAL])),
        (Audio, vec![0xaf, 1, 0x21, 0x10]),
        (Audio, b"\x91Opus\xfc".to_vec()),
        (Script, b"\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData\x05".to_vec()),
    ] {
        let body = Bytes::from(bytes);
        let mut frames = Vec::new();
        Demuxer::new().push(kind, AT, body.clone(), &mut frames).unwrap();
        let payload = &frames[0].payload;
        assert_eq!(payload.as_ptr(), body[body.len() - payload.len()..].as_ptr());
    }
}

#[test]
fn enhanced_video_comes_back_byte_for_byte() {
    for (name, codec, config) in [
        (b"avc1", Codec::H264, AVCC),
        (b"hvc1", Codec::H265, HVCC),
        (b"av01", Codec::Av1, &[0x81, 0, 0x0c, 0][..]),
        (b"vp09", Codec::Vp9, &[1, 0, 0, 0][..]),
        (b"vp08", Codec::Vp8, &[1, 0, 0, 0][..]),
    ] {
        let start = there_and_back(Video, &concat(&[&[0x90], name, config]));
        assert_eq!(start, frame(codec, tag_of(name), Flags::CONFIG, config));
        let end = there_and_back(Video, &concat(&[&[0x92], name]));
        assert_eq!(end, frame(codec, tag_of(name), Flags::END, &[]));
        if matches!(codec, Codec::H264 | Codec::H265) {
            let key = there_and_back(Video, &concat(&[&[0x93], name, NAL]));
            assert_eq!(key, frame(codec, tag_of(name), Flags::KEY, NAL));
            let inter = there_and_back(Video, &concat(&[&[0xa1], name, &[0, 0, 33], NAL]));
            assert_eq!(inter.composition_us(), 33_000);
            assert_eq!((inter.flags, inter.payload.as_ref()), (Flags::empty(), NAL));
        } else {
            let key = there_and_back(Video, &concat(&[&[0x91], name, &[1, 2, 3]]));
            assert_eq!(key, frame(codec, tag_of(name), Flags::KEY, &[1, 2, 3]));
            let inter = there_and_back(Video, &concat(&[&[0xb1], name, &[1]]));
            assert_eq!(inter.flags, Flags::DISPOSABLE);
        }
    }
}

#[test]
fn a_zero_composition_time_is_written_in_the_short_form() {
    let frame = one(Video, &concat(&[b"\x91hvc1\0\0\0", NAL]));
    assert_eq!(body(&frame), Some((Video, concat(&[b"\x93hvc1", NAL]))));
}

#[test]
fn unknown_fourccs_are_relayed_whole_but_flagged() {
    for (bytes, flags) in [
        (b"\x90vvc1config".as_slice(), Flags::CONFIG),
        (b"\x91vvc1\0\0\0data", Flags::KEY),
        (b"\xa3vvc1data", Flags::empty()),
        (b"\x92vvc1", Flags::END),
    ] {
        let frame = there_and_back(Video, bytes);
        assert_eq!((frame.codec, frame.tag), (Codec::OtherVideo, VIDEO_BODY));
        assert_eq!(frame.flags, flags);
    }
    let frame = there_and_back(Audio, b"\x90mhm1config");
    assert_eq!(
        (frame.codec, frame.tag, frame.flags),
        (Codec::OtherAudio, AUDIO_BODY, Flags::CONFIG)
    );
    let frame = there_and_back(Video, b"\x96\x01vvc1\x03data");
    assert_eq!((frame.codec, frame.track, frame.is_key()), (Codec::OtherVideo, 3, true));
}

#[test]
fn signals_beside_the_media_travel_on_data_tracks_of_their_own() {
    for (kind, bytes, track) in [
        // Metadata carries whatever frame type the encoder left there, command included.
        (Video, b"\xd4hvc1\x02\0\x09colorInfo\x03\0\0\x09".as_slice(), 1),
        (Video, b"\x96\x04hvc1\x02\x02\0\x09colorInfo\x03\0\0\x09", 3),
        (Video, b"\x95av01desc", 7),
        (Audio, b"\x94Opus\x01\x02\0\0\0\x03", 8),
        (Audio, b"\x95\x04Opus\x02\x01\x02\0\0\0\x03", 10),
    ] {
        let frame = there_and_back(kind, bytes);
        assert_eq!((frame.codec, frame.flags), (Codec::OtherData, Flags::CONFIG));
        assert_eq!(frame.track, track, "{bytes:?}");
    }
}

#[test]
fn reserved_packet_types_are_refused() {
    for (kind, bytes, value) in [
        (Video, b"\x98hvc1".as_slice(), 8),
        (Video, b"\x9fhvc1", 15),
        (Video, b"\x96\x06hvc1\0", 6),
        (Video, b"\x96\x07hvc1\0", 7),
        (Video, b"\x17\x03\0\0\0", 3),
        (Audio, b"\x93Opus\x01", 3),
        (Audio, b"\x96Opus\x01", 6),
        (Audio, b"\x95\x05Opus\0", 5),
        (Audio, b"\xaf\x02\x01", 2),
    ] {
        assert_eq!(demux(kind, bytes), Err(Error::PacketType { kind, value }), "{bytes:?}");
    }
}

#[test]
fn legacy_audio_comes_back_byte_for_byte_with_its_whole_first_byte() {
    let config = there_and_back(Audio, &[0xaf, 0, 0x12, 0x10]);
    assert_eq!(config, frame(Codec::Aac, 0xaf, Flags::CONFIG, &[0x12, 0x10]));
    let media = there_and_back(Audio, &[0xae, 1, 0x21]);
    assert_eq!(media, frame(Codec::Aac, 0xae, Flags::empty(), &[0x21]));
    for (first, codec) in [
        (0x00, Codec::Pcm),
        (0x1f, Codec::OtherAudio),
        (0x2f, Codec::Mp3),
        (0x3e, Codec::Pcm),
        (0x42, Codec::Nellymoser),
        (0x52, Codec::Nellymoser),
        (0x6e, Codec::Nellymoser),
        (0x72, Codec::G711A),
        (0x82, Codec::G711U),
        (0xb2, Codec::Speex),
        (0xc0, Codec::OtherAudio),
        (0xe2, Codec::Mp3),
        (0xff, Codec::OtherAudio),
    ] {
        let frame = there_and_back(Audio, &[first, 7, 8]);
        assert_eq!((frame.codec, frame.tag), (codec, u32::from(first)));
    }
}

#[test]
fn enhanced_audio_comes_back_byte_for_byte() {
    for (name, codec) in [
        (b"mp4a", Codec::Aac),
        (b".mp3", Codec::Mp3),
        (b"Opus", Codec::Opus),
        (b"fLaC", Codec::Flac),
        (b"ac-3", Codec::Ac3),
        (b"ec-3", Codec::Eac3),
    ] {
        let start = there_and_back(Audio, &concat(&[&[0x90], name, &[1, 2]]));
        assert_eq!(start, frame(codec, tag_of(name), Flags::CONFIG, &[1, 2]));
        let media = there_and_back(Audio, &concat(&[&[0x91], name, &[3]]));
        assert_eq!(media, frame(codec, tag_of(name), Flags::empty(), &[3]));
        let end = there_and_back(Audio, &concat(&[&[0x92], name]));
        assert_eq!(end, frame(codec, tag_of(name), Flags::END, &[]));
    }
    // Opus may start without a header (E-RTMP, ExAudioTagBody).
    assert!(there_and_back(Audio, b"\x90Opus").is_config());
}

#[test]
fn silence_ends_the_main_audio_track_once_it_is_known() {
    let mut demuxer = Demuxer::new();
    assert_eq!(push(&mut demuxer, Audio, &[]), Ok(vec![]));
    push(&mut demuxer, Audio, &[0xaf, 1, 0x21]).unwrap();
    let silence = push(&mut demuxer, Audio, &[]).unwrap();
    assert_eq!(silence, [frame(Codec::Aac, 0xaf, Flags::END, &[])]);
    assert_eq!(body(&silence[0]), Some((Audio, vec![])));
    push(&mut demuxer, Audio, b"\x91Opus\x01").unwrap();
    let silence = push(&mut demuxer, Audio, &[]).unwrap();
    assert_eq!(body(&silence[0]), Some((Audio, b"\x92Opus".to_vec())));
}

#[test]
fn mod_ex_adds_nanoseconds_to_both_times() {
    let frame = one(Video, &concat(&[b"\x97\x02\x03\xd0\x90\x01hvc1\0\0\x28", NAL]));
    assert_eq!(frame.dts, AT.offset(250));
    assert_eq!(frame.pts, AT.offset(40_250));
    assert_eq!(frame.payload.as_ref(), NAL);
    assert_eq!(body(&frame), Some((Video, concat(&[b"\x91hvc1\0\0\x28", NAL]))));

    let frame = one(Audio, b"\x97\x02\x03\xd0\x90\x01Opus\xfc");
    assert_eq!((frame.dts, frame.pts), (AT.offset(250), AT.offset(250)));
}

#[test]
fn mod_ex_of_unknown_type_and_of_long_size_is_skipped() {
    let mut bytes = b"\x97\xff\x01\x00".to_vec();
    bytes.extend_from_slice(&[0; 257]);
    // An unknown modifier, then a known one, then the packet.
    bytes.extend_from_slice(b"\x37\x02\x00\x03\xe8\x01av01data");
    let frame = one(Video, &bytes);
    assert_eq!((frame.dts, frame.payload.as_ref()), (AT.offset(1), &b"data"[..]));
}

#[test]
fn a_body_that_is_relayed_whole_keeps_its_mod_ex_and_its_time() {
    let frame = there_and_back(Video, b"\x97\x02\x03\xd0\x90\x01vvc1data");
    assert_eq!(frame.dts, AT);
}

#[test]
fn mod_ex_is_bounded_and_must_hold_what_it_says() {
    let mut bytes = vec![0x97];
    for _ in 0..=MAX_MOD_EX {
        bytes.extend_from_slice(&[2, 0, 0, 0, 0x07]);
    }
    assert_eq!(demux(Video, &bytes), Err(Error::TooManyModEx));
    assert_eq!(demux(Video, &[0x97, 1, 0, 0, 1]), Err(Error::Truncated { offset: 2, need: 3 }));
    assert_eq!(demux(Audio, &[0x97, 9, 0]), Err(Error::Truncated { offset: 2, need: 10 }));
}

#[test]
fn one_track_messages_come_back_byte_for_byte() {
    let start = there_and_back(Video, &concat(&[b"\x96\0avc1\x01", AVCC]));
    assert_eq!((start.track, start.codec, start.flags), (1, Codec::H264, Flags::CONFIG));
    let inter = there_and_back(Video, &concat(&[b"\xa6\x01avc1\x0f\0\0\x28", NAL]));
    assert_eq!((inter.track, inter.composition_us()), (15, 40_000));
    there_and_back(Video, &concat(&[b"\xa6\x03avc1\x01", NAL]));
    let audio = there_and_back(Audio, b"\x95\x01mp4a\x02\x21");
    assert_eq!((audio.track, audio.codec), (2, Codec::Aac));
    there_and_back(Audio, b"\x95\x02Opus\x01");
}

#[test]
fn the_length_size_belongs_to_a_track() {
    let mut demuxer = Demuxer::new();
    let mut avcc = AVCC.to_vec();
    avcc[4] = 0xfd;
    push(&mut demuxer, Video, &concat(&[b"\x96\0avc1\x01", &avcc])).unwrap();
    let annex_b = [0, 0, 0, 1, 0x65, 1, 2];
    let frames = push(&mut demuxer, Video, &concat(&[b"\x96\x03avc1\x01", &annex_b])).unwrap();
    assert_eq!(frames[0].payload.as_ref(), &[0, 3, 0x65, 1, 2]);
    let frames = push(&mut demuxer, Video, &concat(&[b"\x93avc1", &annex_b])).unwrap();
    assert_eq!(frames[0].payload.as_ref(), &[0, 0, 0, 3, 0x65, 1, 2]);
}

#[test]
fn many_tracks_become_one_frame_each() {
    let bytes = b"\x95\x11Opus\x00\x00\x00\x02ab\x01\x00\x00\x01c";
    let frames = demux(Audio, bytes).unwrap();
    let seen: Vec<_> = frames.iter().map(|f| (f.track, f.payload.as_ref())).collect();
    assert_eq!(seen, [(0, &b"ab"[..]), (1, &b"c"[..])]);
    assert_eq!(body(&frames[0]), Some((Audio, b"\x91Opusab".to_vec())));
    assert_eq!(body(&frames[1]), Some((Audio, b"\x95\x01Opus\x01c".to_vec())));
}

#[test]
fn many_codecs_each_bring_their_fourcc_and_unknown_ones_are_made_whole() {
    let bytes = b"\x96\x21av01\x00\x00\x00\x02abvvc1\x02\x00\x00\x01cvvc1\x00\x00\x00\x01d";
    let frames = demux(Video, bytes).unwrap();
    assert_eq!(frames[0], frame(Codec::Av1, tag_of(b"av01"), Flags::KEY, b"ab"));
    assert_eq!((frames[1].codec, frames[1].track), (Codec::OtherVideo, 2));
    assert_eq!(body(&frames[1]), Some((Video, b"\x96\x01vvc1\x02c".to_vec())));
    assert_eq!(body(&frames[2]), Some((Video, b"\x91vvc1d".to_vec())));
}

#[test]
fn a_bad_track_does_not_take_the_others_with_it() {
    let bytes = b"\x95\x11Opus\x10\x00\x00\x02ab\x01\x00\x00\x01c\x02\0\0\0";
    let mut frames = Vec::new();
    let result = Demuxer::new().push(Audio, AT, Bytes::from_static(bytes), &mut frames);
    assert_eq!(result, Err(Error::TrackId { value: 16 }));
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].track, frames[0].payload.as_ref()), (1, &b"c"[..]));
}

#[test]
fn tracks_are_limited_in_number_and_id() {
    assert_eq!(demux(Video, b"\x96\x01av01\x10x"), Err(Error::TrackId { value: 16 }));
    let mut bytes = b"\x95\x11Opus".to_vec();
    for _ in 0..=MAX_TRACKS {
        bytes.extend_from_slice(b"\0\0\0\x01x");
    }
    assert_eq!(demux(Audio, &bytes), Err(Error::TooManyTracks));
    assert_eq!(demux(Audio, b"\x95\x31Opus\0"), Err(Error::MultitrackType { value: 3 }));
}

#[test]
fn script_data_is_metadata_only_by_its_name() {
    let meta = b"\x02\0\x0aonMetaData\x08\0\0\0\0\0\0\x09";
    let plain = there_and_back(Script, meta);
    assert_eq!(plain, frame(Codec::ScriptData, 0, Flags::CONFIG, meta));
    let set = one(Script, &concat(&[b"\x02\0\x0d@setDataFrame", meta]));
    assert_eq!(set, plain);
    for name in [&b"\x02\0\x0aonTextData\x05"[..], b"\x02\0\x0aonCuePoint\x05", b"\x08"] {
        assert_eq!(there_and_back(Script, name).flags, Flags::empty());
    }
    assert_eq!(demux(Script, b""), Err(Error::Empty(Script)));
    assert_eq!(demux(Script, b"\x02\0\x0d@setDataFrame"), Err(Error::Empty(Script)));
}

#[test]
fn empty_media_and_configurations_that_are_none_are_refused() {
    assert_eq!(demux(Video, b""), Err(Error::Empty(Video)));
    assert_eq!(demux(Video, &[0x17, 1, 0, 0, 0]), Err(Error::Empty(Video)));
    assert_eq!(demux(Video, b"\x91av01"), Err(Error::Empty(Video)));
    assert_eq!(demux(Audio, &[0xaf, 1]), Err(Error::Empty(Audio)));
    // FFmpeg ends a FLAC track so.
    assert_eq!(demux(Audio, b"\x91fLaC"), Err(Error::Empty(Audio)));
    assert_eq!(demux(Audio, &[0xaf, 0]), Err(Error::Config { codec: Codec::Aac, len: 0 }));
    assert_eq!(
        demux(Video, &[0x17, 0, 0, 0, 0, 1, 2]),
        Err(Error::Config { codec: Codec::H264, len: 2 })
    );
    assert_eq!(
        demux(Video, &[0x17, 0, 0, 0, 0, 0, 0, 0, 1, 0x67, 0x64, 0, 0x1f]),
        Err(Error::Config { codec: Codec::H264, len: 8 })
    );
    assert_eq!(
        demux(Video, &[0x1c, 0, 0, 0, 0, 1]),
        Err(Error::Config { codec: Codec::H265, len: 1 })
    );
}

#[test]
fn every_truncated_header_is_an_error_and_does_not_spoil_what_follows() {
    let whole = concat(&[b"\x97\x02\x00\x03\xe8\x06\x11hvc1\x00\x00\x00\x09\x00\x00\x28", NAL]);
    let mut demuxer = Demuxer::new();
    for len in 0..whole.len() {
        push(&mut demuxer, Video, &whole[..len]).map(|f| assert!(f.is_empty())).ok();
        // Cut behind the FourCC it is a message of no tracks; elsewhere it is an error.
        assert_eq!(push(&mut demuxer, Video, &whole[..len]).is_ok(), len == 11, "{len}");
    }
    let frames = push(&mut demuxer, Video, &whole).unwrap();
    assert_eq!(frames[0].payload.as_ref(), NAL);
}

#[test]
fn frames_without_a_tag_get_the_usual_form() {
    let cases: &[(Codec, Flags, &[u8])] = &[
        (Codec::H264, Flags::KEY, &[0x17, 1, 0, 0, 0]),
        (Codec::H264, Flags::DISPOSABLE, &[0x27, 1, 0, 0, 0]),
        (Codec::H264, Flags::CONFIG, &[0x17, 0, 0, 0, 0]),
        (Codec::H265, Flags::KEY, b"\x93hvc1"),
        (Codec::Av1, Flags::empty(), b"\xa1av01"),
        (Codec::Vp9, Flags::CONFIG, b"\x90vp09"),
        (Codec::Vp8, Flags::KEY, b"\x91vp08"),
        (Codec::H263, Flags::KEY, &[0x12]),
        (Codec::Vp6, Flags::empty(), &[0x24]),
        (Codec::Aac, Flags::CONFIG, &[0xaf, 0]),
        (Codec::Aac, Flags::empty(), &[0xaf, 1]),
        (Codec::Mp3, Flags::empty(), &[0x2f]),
        (Codec::G711A, Flags::empty(), &[0x72]),
        (Codec::G711U, Flags::empty(), &[0x82]),
        (Codec::Speex, Flags::empty(), &[0xb6]),
        (Codec::Opus, Flags::empty(), b"\x91Opus"),
        (Codec::Flac, Flags::CONFIG, b"\x90fLaC"),
        (Codec::Ac3, Flags::empty(), b"\x91ac-3"),
        (Codec::Eac3, Flags::empty(), b"\x91ec-3"),
    ];
    for &(codec, flags, want) in cases {
        // 0x1b and 0x0f are MPEG-TS stream types, which mean nothing here.
        for tag in [0, 0x1b, 0x0f, tag_of(b"hev1")] {
            let header = body_header(&frame(codec, tag, flags, &[1])).unwrap();
            assert_eq!(&*header, want, "{codec:?} {flags:?} {tag:#x}");
        }
    }
}

#[test]
fn what_flv_cannot_say_gets_no_header() {
    for (codec, flags) in [
        (Codec::OtherVideo, Flags::KEY),
        (Codec::OtherAudio, Flags::empty()),
        (Codec::OtherData, Flags::empty()),
        (Codec::Mp3, Flags::CONFIG),
        (Codec::H263, Flags::END),
    ] {
        assert_eq!(body_header(&frame(codec, 0, flags, &[1])), None, "{codec:?}");
    }
    let speex = Frame { track: 1, ..frame(Codec::Speex, 0xb6, Flags::empty(), &[1]) };
    assert_eq!(body_header(&speex), None);
    // A second track of a codec with a FourCC goes enhanced, whatever its tag.
    let aac = Frame { track: 1, ..frame(Codec::Aac, 0xaf, Flags::empty(), &[1]) };
    assert_eq!(body(&aac), Some((Audio, b"\x95\x01mp4a\x01\x01".to_vec())));
}

#[test]
fn composition_times_beyond_the_field_are_clamped() {
    let mut late = frame(Codec::H264, 7, Flags::KEY, &[1]);
    late.pts = AT.offset(i64::MAX);
    assert_eq!(&*body_header(&late).unwrap(), &[0x17, 1, 0x7f, 0xff, 0xff]);
    late.pts = AT.offset(i64::MIN);
    assert_eq!(&*body_header(&late).unwrap(), &[0x17, 1, 0x80, 0, 0]);
}

#[test]
fn errors_have_a_word_and_a_sentence() {
    let error = demux(Video, b"\x96\x01av01\x10x").unwrap_err();
    assert_eq!(error.reason(), "track_id");
    assert_eq!(error.to_string(), "track id 16, the highest allowed is 15");
}
