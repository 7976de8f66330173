//! File framing, and files that FFmpeg wrote.

use super::*;

const FIXTURES: &[(&str, &[u8])] = &[
    ("avc-aac", include_bytes!("../../../testdata/flv/avc-aac.flv")),
    ("h263-mp3", include_bytes!("../../../testdata/flv/h263-mp3.flv")),
    ("hevc-opus", include_bytes!("../../../testdata/flv/hevc-opus.flv")),
    ("av1-flac", include_bytes!("../../../testdata/flv/av1-flac.flv")),
    ("vp9-ac3", include_bytes!("../../../testdata/flv/vp9-ac3.flv")),
    ("multi", include_bytes!("../../../testdata/flv/multi.flv")),
];

fn fixture(name: &str) -> &'static [u8] {
    FIXTURES.iter().find(|(known, _)| *known == name).unwrap().1
}

fn tags_of(reader: &mut Reader) -> Vec<Tag> {
    std::iter::from_fn(|| reader.pull().unwrap()).collect()
}

fn frames_of(file: &[u8]) -> Vec<Frame> {
    let mut reader = Reader::new();
    reader.push(file);
    let mut demuxer = Demuxer::new();
    let mut frames = Vec::new();
    for tag in tags_of(&mut reader) {
        let dts = tag.dts();
        demuxer.push(tag.kind, dts, tag.body, &mut frames).unwrap();
    }
    assert_eq!(reader.buffered(), 0);
    frames
}

#[test]
fn files_by_ffmpeg_are_written_back_byte_for_byte() {
    for (name, file) in FIXTURES {
        let mut written = FileHeader { has_audio: true, has_video: true }.encode().to_vec();
        for frame in frames_of(file) {
            assert!(write_tag(&frame, &mut written), "{name}: {frame:?}");
        }
        assert!(written == *file, "{name}");
    }
}

#[test]
fn files_by_ffmpeg_hold_what_they_are_named_after() {
    for (name, video, audio) in [
        ("avc-aac", Codec::H264, Codec::Aac),
        ("h263-mp3", Codec::H263, Codec::Mp3),
        ("hevc-opus", Codec::H265, Codec::Opus),
        ("av1-flac", Codec::Av1, Codec::Flac),
        ("vp9-ac3", Codec::Vp9, Codec::Ac3),
        ("multi", Codec::H264, Codec::Aac),
    ] {
        let frames = frames_of(fixture(name));
        assert!(frames[0].is_config() && frames[0].codec == Codec::ScriptData, "{name}");
        let media = |codec| frames.iter().filter(move |f| f.codec == codec && f.is_media());
        assert!(media(video).next().unwrap().is_key(), "{name}");
        assert!(media(video).count() >= 5 && media(audio).count() >= 5, "{name}");
    }
}

#[test]
fn b_frames_of_ffmpeg_are_presented_in_another_order_than_decoded() {
    for name in ["avc-aac", "hevc-opus"] {
        let frames = frames_of(fixture(name));
        let pts: Vec<_> = frames
            .iter()
            .filter(|f| f.kind() == media::Kind::Video && f.is_media())
            .map(|f| f.pts)
            .collect();
        assert!(!pts.is_sorted(), "{name}");
    }
}

#[test]
fn two_tracks_of_each_kind_are_told_apart() {
    let frames = frames_of(fixture("multi"));
    for codec in [Codec::H264, Codec::Aac] {
        for track in [0, 1] {
            let of_track = |f: &&Frame| f.codec == codec && f.track == track;
            assert_eq!(frames.iter().filter(of_track).filter(|f| f.is_config()).count(), 1);
            assert!(frames.iter().filter(of_track).filter(|f| f.is_media()).count() >= 5);
        }
    }
}

#[test]
fn colour_information_and_channel_map_are_kept_for_late_takers() {
    let frames = frames_of(fixture("av1-flac"));
    let beside: Vec<_> = frames
        .iter()
        .filter(|f| f.codec == Codec::OtherData && f.is_config())
        .map(|f| (f.track, f.tag))
        .collect();
    // FFmpeg repeats the channel map when the STREAMINFO is final.
    assert_eq!(beside, [(8, AUDIO_BODY), (1, VIDEO_BODY), (8, AUDIO_BODY)]);
}

#[test]
fn a_file_in_two_pieces_reads_the_same_wherever_it_is_cut() {
    let file = fixture("avc-aac");
    let mut reader = Reader::new();
    reader.push(file);
    let whole = tags_of(&mut reader);
    for cut in 0..=file.len() {
        let (head, tail) = file.split_at(cut);
        let mut reader = Reader::new();
        reader.push(head);
        let mut tags = tags_of(&mut reader);
        reader.push(tail);
        tags.append(&mut tags_of(&mut reader));
        assert!(tags == whole, "cut at {cut}");
        assert_eq!(reader.header(), Some(FileHeader { has_audio: true, has_video: true }));
    }
}

#[test]
fn a_file_byte_by_byte_reads_the_same() {
    let file = fixture("multi");
    let mut reader = Reader::new();
    let mut tags = Vec::new();
    for byte in file {
        reader.push(&[*byte]);
        tags.append(&mut tags_of(&mut reader));
    }
    let mut reader = Reader::new();
    reader.push(file);
    assert!(tags == tags_of(&mut reader));
}

#[test]
fn the_header_tells_which_kinds_will_come() {
    for (has_audio, has_video, flags) in
        [(true, true, 5), (true, false, 4), (false, true, 1), (false, false, 0)]
    {
        let header = FileHeader { has_audio, has_video };
        let bytes = header.encode();
        assert_eq!(bytes, [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]);
        assert_eq!(FileHeader::decode(&bytes), Ok(Some((header, 9))));
        assert_eq!(FileHeader::decode(&bytes[..8]), Ok(None));
    }
}

#[test]
fn a_longer_header_is_skipped() {
    let mut file = b"FLV\x01\x05\0\0\0\x0bxx\0\0\0\0".to_vec();
    write_tag(&frame(Codec::Aac, 0xaf, Flags::empty(), &[1]), &mut file);
    let mut reader = Reader::new();
    reader.push(&file);
    assert_eq!(tags_of(&mut reader).len(), 1);
}

#[test]
fn what_is_not_flv_is_refused_for_good_and_not_kept() {
    for (bytes, error) in [
        (&b"FLX"[..], ReadError::Signature { value: *b"FLX" }),
        (b"G", ReadError::Signature { value: [b'G', 0, 0] }),
        (b"FLV\x02\x05\0\0\0\x09", ReadError::Version { value: 2 }),
        (b"FLV\x01\x05\0\0\0\x08", ReadError::DataOffset { value: 8 }),
        (b"FLV\x01\x05\xff\0\0\0", ReadError::DataOffset { value: 0xff00_0000 }),
    ] {
        let mut reader = Reader::new();
        reader.push(bytes);
        assert_eq!(reader.pull(), Err(error));
        assert!(error.is_final());
        reader.push(&[0; 1000]);
        assert_eq!(reader.pull(), Err(error));
        assert_eq!(reader.buffered(), 0);
    }
}

#[test]
fn a_tag_of_unknown_type_is_skipped() {
    let mut file = FileHeader { has_audio: true, has_video: false }.encode().to_vec();
    file.extend_from_slice(&[0x28, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xee, 0, 0, 0, 12]);
    write_tag(&frame(Codec::Aac, 0xaf, Flags::empty(), &[1]), &mut file);
    let mut reader = Reader::new();
    reader.push(&file);
    let error = reader.pull().unwrap_err();
    assert_eq!(error, ReadError::TagType { value: 0x28 });
    assert!(!error.is_final());
    assert_eq!(reader.pull().unwrap().unwrap().body.as_ref(), &[0xaf, 1, 1]);
}

#[test]
fn a_claimed_length_does_not_buy_memory() {
    let mut reader = Reader::new();
    reader.push(&FileHeader { has_audio: true, has_video: true }.encode());
    reader.push(&[9, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(reader.pull(), Ok(None));
    assert_eq!(reader.buffered(), 11);
}

#[test]
fn a_tag_is_written_whole() {
    let mut sound = frame(Codec::Aac, 0xaf, Flags::empty(), &[0x21, 0x10]);
    sound.dts = Timestamp::from_millis(0x0102_0304);
    let mut out = vec![0xee];
    assert!(write_tag(&sound, &mut out));
    assert_eq!(
        out,
        [0xee, 8, 0, 0, 4, 0x02, 0x03, 0x04, 0x01, 0, 0, 0, 0xaf, 1, 0x21, 0x10, 0, 0, 0, 15]
    );
}

#[test]
fn timestamps_are_written_with_31_bits() {
    for (ms, want) in
        [(0x7fff_ffff, 0x7fff_ffff), (0x8000_0000, 0), (0x1_8000_0005, 5), (-1, 0x7fff_ffff)]
    {
        let mut sound = frame(Codec::Aac, 0xaf, Flags::empty(), &[1]);
        sound.dts = Timestamp::from_millis(ms);
        let mut file = FileHeader { has_audio: true, has_video: false }.encode().to_vec();
        write_tag(&sound, &mut file);
        let mut reader = Reader::new();
        reader.push(&file);
        assert_eq!(reader.pull().unwrap().unwrap().timestamp, want);
    }
}

#[test]
fn a_body_too_long_for_the_size_field_is_not_written() {
    let payload = vec![0; super::super::file::MAX_BODY - 1];
    let mut out = Vec::new();
    assert!(!write_tag(&frame(Codec::Aac, 0xaf, Flags::empty(), &payload), &mut out));
    assert!(out.is_empty());
    assert!(write_tag(&frame(Codec::Mp3, 0x2f, Flags::empty(), &payload), &mut out));
    assert!(!write_tag(&frame(Codec::OtherVideo, 0, Flags::KEY, &[1]), &mut out));
}
