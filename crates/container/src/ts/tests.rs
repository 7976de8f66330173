use bytes::Bytes;
use media::{Codec, Flags, Frame, Timestamp};
use proptest::prelude::*;

use super::validate::{Validator, Violation};
use super::*;

const SPS: &[u8] = &[0x67, 0x64, 0, 0x1f, 0xac, 0xd9];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb];
const ASC: &[u8] = &[0x12, 0x10]; // AAC LC, 44100 Hz, stereo

fn avcc() -> Vec<u8> {
    let mut record = vec![1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, SPS.len() as u8];
    record.extend_from_slice(SPS);
    record.extend_from_slice(&[1, 0, PPS.len() as u8]);
    record.extend_from_slice(PPS);
    record
}

fn hvcc() -> Vec<u8> {
    let mut record = vec![1; 21];
    record.extend_from_slice(&[3, 3]);
    for (kind, nal) in [(32u8, [0x40, 1, 0xaa]), (33, [0x42, 1, 0xbb]), (34, [0x44, 1, 0xcc])] {
        record.extend_from_slice(&[0x80 | kind, 0, 1, 0, 3]);
        record.extend_from_slice(&nal);
    }
    record
}

fn frame(codec: Codec, flags: Flags, dts: i64, pts: i64, payload: impl Into<Bytes>) -> Frame {
    let (dts, pts) = (Timestamp::from_90k(dts), Timestamp::from_90k(pts));
    Frame { codec, track: 0, flags, tag: 0, dts, pts, payload: payload.into() }
}

fn config(codec: Codec, record: impl Into<Bytes>) -> Frame {
    frame(codec, Flags::CONFIG, 0, 0, record)
}

fn nals(nals: &[&[u8]]) -> Vec<u8> {
    let mut payload = Vec::new();
    for nal in nals {
        payload.extend_from_slice(&(nal.len() as u32).to_be_bytes());
        payload.extend_from_slice(nal);
    }
    payload
}

fn picture(ticks: i64, key: bool, size: usize) -> Frame {
    let mut nal = vec![if key { 0x65 } else { 0x41 }];
    nal.resize(size.max(1), 0x55);
    let flags = if key { Flags::KEY } else { Flags::empty() };
    frame(Codec::H264, flags, ticks, ticks, nals(&[&nal]))
}

fn sound(ticks: i64, size: usize) -> Frame {
    frame(Codec::Aac, Flags::empty(), ticks, ticks, vec![0x21; size])
}

fn read(bytes: &[u8]) -> Vec<Event> {
    let (mut demuxer, mut events) = (Demuxer::new(), Vec::new());
    demuxer.push(bytes, &mut events);
    demuxer.flush(&mut events);
    events
}

fn units(bytes: &[u8]) -> Vec<AccessUnit> {
    read(bytes)
        .into_iter()
        .filter_map(|event| match event {
            Event::AccessUnit(unit) => Some(unit),
            Event::Fault(fault) => panic!("{fault}"),
            _ => None,
        })
        .collect()
}

fn valid(bytes: &[u8]) -> validate::Facts {
    let (facts, violations) = Validator::new().segment(bytes, false);
    assert_eq!(violations, []);
    facts
}

fn both(muxer: &mut Muxer) -> Vec<u8> {
    let mut out = Vec::new();
    muxer.push(&config(Codec::H264, avcc()), &mut out).unwrap();
    muxer.push(&config(Codec::Aac, ASC), &mut out).unwrap();
    assert!(out.is_empty());
    out
}

#[test]
fn crc_of_the_standard_check_string_is_the_published_one() {
    assert_eq!(crc32(b"123456789"), 0x0376_e6e7);
}

#[test]
fn a_key_frame_is_preceded_by_tables_and_parameter_sets_of_the_configuration() {
    let mut muxer = Muxer::new(TsConfig::default());
    let mut out = both(&mut muxer);
    muxer.push(&picture(900, true, 20), &mut out).unwrap();
    muxer.push(&sound(900, 30), &mut out).unwrap();
    let facts = valid(&out);
    let declared: Vec<_> = facts.streams.iter().map(|s| (s.pid, s.stream_type)).collect();
    assert_eq!(declared, [(PID_VIDEO, 0x1b), (PID_AAC, 0x0f)]);
    let mut expected = vec![0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1];
    expected.extend_from_slice(SPS);
    expected.extend_from_slice(&[0, 0, 0, 1]);
    expected.extend_from_slice(PPS);
    expected.extend_from_slice(&[0, 0, 0, 1, 0x65]);
    let data = &facts.units[0].0.data;
    assert_eq!(&data[..expected.len()], expected);
    assert_eq!(data.len(), expected.len() + 19);
    assert_eq!(facts.units[1].0.data[..7], [0xff, 0xf9, 0x50, 0x80, 0x04, 0xbf, 0xfc]);
}

#[test]
fn a_delimiter_and_parameter_sets_that_are_there_are_not_doubled() {
    let mut muxer = Muxer::new(TsConfig::default());
    let mut out = both(&mut muxer);
    let payload = nals(&[&[9, 0x10], SPS, PPS, &[0x65, 1, 2]]);
    muxer.push(&frame(Codec::H264, Flags::KEY, 0, 0, payload), &mut out).unwrap();
    let unit = &units(&out)[0];
    assert_eq!(unit.data.len(), 6 + 4 + SPS.len() + 4 + PPS.len() + 4 + 3);
}

#[test]
fn every_push_appends_whole_packets_and_each_key_frame_is_an_entry() {
    let mut muxer = Muxer::new(TsConfig::default());
    let mut out = both(&mut muxer);
    let mut entries = Vec::new();
    for n in 0..100i64 {
        if n % 10 == 0 {
            entries.push(out.len());
        }
        muxer
            .push(&picture(n * 3600, n % 10 == 0, 10 + (n as usize * 37) % 900), &mut out)
            .unwrap();
        assert_eq!(out.len() % PACKET, 0);
        muxer.push(&sound(n * 3600 + 10, 1 + (n as usize * 13) % 400), &mut out).unwrap();
        assert_eq!(out.len() % PACKET, 0);
    }
    for entry in entries {
        assert!(is_entry(&out[entry..]));
        valid(&out[entry..]);
    }
}

#[test]
fn hevc_goes_as_type_0x24_with_its_three_parameter_sets() {
    let mut muxer = Muxer::new(TsConfig::default());
    let mut out = Vec::new();
    muxer.push(&config(Codec::H265, hvcc()), &mut out).unwrap();
    muxer.push(&config(Codec::Aac, ASC), &mut out).unwrap();
    let payload = nals(&[&[0x26, 1, 7, 7, 7]]);
    muxer.push(&frame(Codec::H265, Flags::KEY, 0, 3600, payload), &mut out).unwrap();
    muxer.push(&sound(0, 5), &mut out).unwrap();
    let facts = valid(&out);
    assert_eq!(facts.streams[0].stream_type, 0x24);
    assert_eq!((facts.units[0].1, facts.units[0].2), (3600, 0));
}

#[test]
fn other_audio_codings_have_their_types_and_descriptors() {
    for (codec, body, pid, kind) in [
        (Codec::Mp3, vec![0xff, 0xfb, 0x90, 0], PID_MP3, 0x03),
        (Codec::Ac3, vec![0x0b, 0x77, 1, 2], PID_AC3, 0x81),
        (Codec::Eac3, vec![0x0b, 0x77, 3, 4], PID_EAC3, 0x87),
        (Codec::Opus, vec![0xfc; 600], PID_OPUS, 0x06),
    ] {
        let mut muxer = Muxer::new(TsConfig { video: None, audio: None, audio_batch_us: 0 });
        let mut out = Vec::new();
        muxer.push(&frame(codec, Flags::empty(), 0, 0, body.clone()), &mut out).unwrap();
        let facts = valid(&out);
        assert_eq!(
            facts.streams,
            [ElementaryStream { pid, stream_type: kind, codec: Some(codec) }]
        );
        let data = &facts.units[0].0.data;
        if codec == Codec::Opus {
            assert_eq!(data[..5], [0x7f, 0xe0, 255, 255, 90]);
            assert_eq!(data[5..], body);
        } else {
            assert_eq!(data, &body);
        }
    }
}

#[test]
fn what_a_transport_stream_has_no_place_for_is_left_out_with_its_reason() {
    let mut muxer = Muxer::new(TsConfig::default());
    let mut out = Vec::new();
    muxer.push(&config(Codec::Aac, ASC), &mut out).unwrap();
    let av1 = frame(Codec::Av1, Flags::KEY, 0, 0, vec![1, 2]);
    assert_eq!(muxer.push(&av1, &mut out), Err(LeftOut::Codec(Codec::Av1)));
    let mut second = sound(0, 4);
    second.track = 1;
    assert_eq!(muxer.push(&second, &mut out), Err(LeftOut::Track(1)));
    muxer.push(&sound(0, 9), &mut out).unwrap();
    let facts = valid(&out);
    assert_eq!(facts.streams.len(), 1);
}

#[test]
fn media_that_cannot_be_framed_is_left_out_and_the_next_is_taken() {
    let mut muxer = Muxer::new(TsConfig::default());
    let mut out = Vec::new();
    let key = picture(0, true, 9);
    assert_eq!(muxer.push(&key, &mut out), Err(LeftOut::NoConfiguration(Codec::H264)));
    assert_eq!(muxer.push(&sound(0, 9), &mut out), Err(LeftOut::NoConfiguration(Codec::Aac)));
    let bad = config(Codec::H264, vec![1, 2]);
    assert_eq!(muxer.push(&bad, &mut out), Err(LeftOut::BadConfiguration(Codec::H264)));
    let mut out = both(&mut muxer);
    let broken = frame(Codec::H264, Flags::KEY, 0, 0, vec![0, 0, 0, 9, 0x65]);
    assert_eq!(muxer.push(&broken, &mut out), Err(LeftOut::BadFrame(Codec::H264)));
    assert_eq!(muxer.push(&sound(0, 9000), &mut out), Err(LeftOut::TooLarge { bytes: 9000 }));
    muxer.push(&key, &mut out).unwrap();
    muxer.push(&sound(0, 9), &mut out).unwrap();
    valid(&out);
}

#[test]
fn audio_alone_carries_the_clock_and_repeats_the_tables() {
    let mut muxer = Muxer::new(TsConfig { video: None, ..TsConfig::default() });
    let mut out = Vec::new();
    muxer.push(&config(Codec::Aac, ASC), &mut out).unwrap();
    for n in 0..200 {
        muxer.push(&sound(n * 2090, 50), &mut out).unwrap();
    }
    let facts = valid(&out);
    assert_eq!((facts.pcrs, facts.units.len()), (200, 200));
    let pats = read(&out).iter().filter(|event| **event == Event::Pat).count();
    assert_eq!(pats, 1 + 200 * 2090 / 45_980);
}

#[test]
fn batched_audio_makes_one_pes_packet_and_flush_brings_the_rest() {
    let mut muxer = Muxer::new(TsConfig { video: None, audio_batch_us: 720_000, audio: None });
    let mut out = Vec::new();
    muxer.push(&config(Codec::Aac, ASC), &mut out).unwrap();
    for n in 0..100 {
        muxer.push(&sound(n * 2090, 50), &mut out).unwrap();
    }
    muxer.flush(&mut out);
    let facts = valid(&out);
    let sizes: Vec<_> = facts.units.iter().map(|(unit, ..)| unit.data.len() / 57).collect();
    assert_eq!(sizes, [33, 33, 33, 1]);
    assert_eq!(facts.units[1].1, 33 * 2090);
}

#[test]
fn slow_pictures_do_not_starve_the_clock() {
    let mut muxer = Muxer::new(TsConfig { audio: None, ..TsConfig::default() });
    let mut out = Vec::new();
    muxer.push(&config(Codec::H264, avcc()), &mut out).unwrap();
    for n in 0..4 {
        muxer.push(&picture(n * 90_000, n == 0, 50), &mut out).unwrap();
    }
    assert!(valid(&out).pcrs > 30);
}

#[test]
fn a_video_track_that_stalls_leaves_its_clock_to_the_audio() {
    let mut muxer = Muxer::new(TsConfig::default());
    let mut out = both(&mut muxer);
    muxer.push(&picture(0, true, 50), &mut out).unwrap();
    for n in 0..100 {
        muxer.push(&sound(n * 2090, 50), &mut out).unwrap();
    }
    muxer.push(&picture(100 * 2090, true, 50), &mut out).unwrap();
    valid(&out);
}

#[test]
fn a_track_that_was_guessed_wrong_leaves_the_map_and_the_start_can_be_mended() {
    let mut muxer = Muxer::new(TsConfig::default());
    let mut out = Vec::new();
    muxer.push(&config(Codec::Aac, ASC), &mut out).unwrap();
    muxer.psi(&mut out);
    let listing = muxer.listing();
    assert!(listing.is_guess());
    for n in 0..100 {
        muxer.push(&sound(n * 2090, 50), &mut out).unwrap();
    }
    let (_, violations) = Validator::new().segment(&out, false);
    assert!(violations.contains(&Violation::MapChange));
    muxer.relist(listing, &mut out);
    valid(&out);
}

#[test]
fn a_guess_that_comes_true_changes_nothing_in_the_map() {
    let mut muxer = Muxer::new(TsConfig { video: None, ..TsConfig::default() });
    let mut out = Vec::new();
    muxer.psi(&mut out);
    muxer.push(&config(Codec::Aac, ASC), &mut out).unwrap();
    muxer.push(&sound(0, 9), &mut out).unwrap();
    assert_eq!(out.len(), 3 * PACKET);
    muxer.lead();
    muxer.push(&sound(2000, 9), &mut out).unwrap();
    assert_eq!(out.len(), 6 * PACKET);
    valid(&out[3 * PACKET..]);
}

#[test]
fn a_change_of_coding_bumps_the_version_of_the_map() {
    let mut muxer = Muxer::new(TsConfig::default());
    let mut out = both(&mut muxer);
    muxer.push(&picture(0, true, 9), &mut out).unwrap();
    muxer.push(&sound(0, 9), &mut out).unwrap();
    muxer
        .push(&frame(Codec::Mp3, Flags::empty(), 2000, 2000, vec![0xff, 0xfb, 1]), &mut out)
        .unwrap();
    let pmts: Vec<u8> =
        out.chunks(PACKET).filter(|p| p[1..3] == [0x50, 0x01]).map(|p| p[10] >> 1 & 0x1f).collect();
    assert_eq!(pmts, [0, 1]);
    assert_eq!(units(&out).last().unwrap().pid, PID_MP3);
}

#[test]
fn a_picture_too_large_for_the_length_field_says_zero() {
    let mut muxer = Muxer::new(TsConfig::default());
    let mut out = both(&mut muxer);
    muxer.push(&picture(0, true, 300_000), &mut out).unwrap();
    muxer.push(&picture(3600, false, 1000), &mut out).unwrap();
    muxer.push(&sound(0, 9), &mut out).unwrap();
    let facts = valid(&out);
    assert!(facts.units.iter().any(|(unit, ..)| unit.data.len() > 300_000));
}

#[test]
fn a_clock_that_steps_back_is_marked() {
    let mut muxer = Muxer::new(TsConfig::default());
    let mut out = both(&mut muxer);
    for (at, key) in [(900_000, true), (903_600, false), (0, true), (3600, false)] {
        muxer.push(&picture(at, key, 50), &mut out).unwrap();
        muxer.push(&sound(at, 50), &mut out).unwrap();
    }
    valid(&out);
    let jumps =
        read(&out).iter().filter(|e| matches!(e, Event::Pcr { discontinuity: true, .. })).count();
    assert_eq!(jumps, 1);
}

#[test]
fn equal_decoding_times_are_moved_apart() {
    let mut muxer = Muxer::new(TsConfig::default());
    let mut out = both(&mut muxer);
    for at in [0, 0, 0, 3600] {
        muxer.push(&picture(at, at == 0, 50), &mut out).unwrap();
        muxer.push(&sound(at, 50), &mut out).unwrap();
    }
    let facts = valid(&out);
    assert_eq!(facts.span(media::Kind::Video), Some((0, 3600)));
}

#[test]
fn a_lost_packet_is_reported_and_costs_one_access_unit() {
    let mut muxer = Muxer::new(TsConfig::default());
    let mut out = both(&mut muxer);
    for n in 0..3 {
        muxer.push(&picture(n * 3600, n == 0, 1000), &mut out).unwrap();
    }
    let hole = 9 * PACKET;
    let broken = [&out[..hole], &out[hole + PACKET..]].concat();
    let events = read(&broken);
    let faults: Vec<_> = events.iter().filter(|e| matches!(e, Event::Fault(_))).collect();
    assert!(matches!(faults[..], [Event::Fault(Fault::Continuity { pid: PID_VIDEO, .. })]));
    assert_eq!(events.iter().filter(|e| matches!(e, Event::AccessUnit(_))).count(), 2);
}

#[test]
fn rubbish_between_packets_is_skipped() {
    let mut muxer = Muxer::new(TsConfig::default());
    let mut out = both(&mut muxer);
    for n in 0..20 {
        muxer.push(&picture(n * 3600, n == 0, 100), &mut out).unwrap();
    }
    let cut = 5 * PACKET;
    let dirty = [&[0x47, 1, 2][..], &out[..cut], &[1, 2, 0x47, 3], &out[cut..]].concat();
    let events = read(&dirty);
    let lost = Event::Fault(Fault::SyncLost { offset: cut as u64 + 3 });
    assert_eq!(events.iter().filter(|e| matches!(e, Event::Fault(_))).collect::<Vec<_>>(), [&lost]);
    assert_eq!(events.iter().filter(|e| matches!(e, Event::AccessUnit(_))).count(), 20);
}

#[derive(Clone, Debug)]
struct Shot {
    video: bool,
    key: bool,
    step: i64,
    offset: i64,
    size: usize,
}

fn shots() -> impl Strategy<Value = Vec<Shot>> {
    let shot = (any::<bool>(), any::<bool>(), 1i64..20_000, 0i64..20_000, 1usize..3_000)
        .prop_map(|(video, key, step, offset, size)| Shot { video, key, step, offset, size });
    prop::collection::vec(shot, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn demuxing_gives_back_the_access_units_and_times_even_over_the_wrap(
        shots in shots(),
        start in prop::sample::select(vec![0i64, -5_000, (1 << 33) - 50_000, (1 << 34) - 9, 1 << 40]),
        piece in 1usize..700,
    ) {
        let mut muxer = Muxer::new(TsConfig::default());
        let mut out = both(&mut muxer);
        let mut now = start;
        let mut expected = Vec::new();
        for shot in &shots {
            now += shot.step;
            // Through microseconds and back: what the frame really says.
            let frame = if shot.video {
                let mut frame = picture(now, shot.key, shot.size);
                frame.pts = Timestamp::from_90k(now + shot.offset);
                frame
            } else {
                sound(now, shot.size)
            };
            muxer.push(&frame, &mut out).unwrap();
            let tail = if shot.video { frame.payload.slice(4..) } else { frame.payload.clone() };
            expected.push((frame.codec, frame.pts.as_90k(), frame.dts.as_90k(), tail));
        }
        let (mut demuxer, mut events) = (Demuxer::new(), Vec::new());
        for piece in out.chunks(piece) {
            demuxer.push(piece, &mut events);
        }
        demuxer.flush(&mut events);
        for codec in [Codec::H264, Codec::Aac] {
            let wanted: Vec<_> = expected.iter().filter(|e| e.0 == codec).collect();
            let units: Vec<_> = events.iter().filter_map(|event| match event {
                Event::AccessUnit(unit) if unit.codec == codec => Some(unit),
                _ => None,
            }).collect();
            prop_assert_eq!(units.len(), wanted.len());
            for (unit, (_, pts, dts, tail)) in units.into_iter().zip(wanted) {
                prop_assert_eq!(unit.pts, Some(*pts as u64 & CLOCK_MASK));
                prop_assert_eq!(unit.dts, Some(*dts as u64 & CLOCK_MASK));
                prop_assert!(unit.data.ends_with(tail));
            }
        }
        prop_assert!(!events.iter().any(|event| matches!(event, Event::Fault(_))));
        let (_, violations) = Validator::new().segment(&out, false);
        let real: Vec<_> = violations.into_iter().filter(|v| !matches!(v,
            Violation::NoKeyFrame | Violation::Phantom { .. } | Violation::MapChange)).collect();
        prop_assert_eq!(real, vec![]);
    }

    #[test]
    fn any_bytes_can_be_demuxed(
        bytes in prop::collection::vec(any::<u8>(), 0..2_000), piece in 1usize..300,
    ) {
        let (mut demuxer, mut events) = (Demuxer::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            demuxer.push(piece, &mut events);
        }
        demuxer.flush(&mut events);
    }

    #[test]
    fn packets_of_rubbish_can_be_demuxed(
        packets in prop::collection::vec(
            (prop::sample::select(vec![0u16, PID_PMT, PID_VIDEO, PID_AAC, 0x1fff]), any::<u8>(),
             any::<bool>(), prop::collection::vec(any::<u8>(), 184)), 1..40),
    ) {
        let mut muxer = Muxer::new(TsConfig::default());
        let mut out = both(&mut muxer);
        muxer.push(&picture(0, true, 500), &mut out).unwrap();
        for (pid, control, start, body) in packets {
            let [high, low] = (pid | if start { 0x4000 } else { 0 }).to_be_bytes();
            out.extend_from_slice(&[SYNC, high, low, control & 0x3f]);
            out.extend_from_slice(&body);
        }
        let events = read(&out);
        let access_units = events.iter().filter(|e| matches!(e, Event::AccessUnit(_))).count();
        prop_assert!(access_units <= 41);
    }

    #[test]
    fn damaged_streams_can_be_demuxed(
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
    ) {
        let mut muxer = Muxer::new(TsConfig::default());
        let mut out = both(&mut muxer);
        for n in 0..10 {
            muxer.push(&picture(n * 3600, n % 3 == 0, 500), &mut out).unwrap();
            muxer.push(&sound(n * 3600, 100), &mut out).unwrap();
        }
        for (at, value) in hits {
            let at = at.index(out.len());
            out[at] = value;
        }
        read(&out);
    }
}
