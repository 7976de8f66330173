//! H.264: what the fragments and aggregates look like, and who is sent what.

use media::h264::AvcConfig;

use super::*;

/// High profile, 320x180, of x264.
const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x0d, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
    0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

fn avc_config() -> Frame {
    let set = Bytes::from_static;
    let record = AvcConfig::from_parameter_sets(&[set(SPS)], &[set(PPS)]).unwrap();
    config(Codec::H264, record.encode())
}

/// A slice of `size` bytes; the first of a picture or a later one.
fn slice(header: u8, first: bool, size: usize, seed: u32) -> Vec<u8> {
    // first_mb 0 or 1, then slice type 0 (P) or, of an IDR picture, 7 (I).
    let head = match (header & 0x1f == 5, first) {
        (true, true) => [0x88, 0x84],
        (true, false) => [0x42, 0x21],
        (false, true) => [0x98, 0x24],
        (false, false) => [0x46, 0x48],
    };
    let mut unit = vec![header];
    unit.extend(head);
    unit.extend(noise(seed, size));
    unit
}

fn picture(number: usize, key: bool, sizes: &[usize]) -> Frame {
    let mut payload = Vec::new();
    for (at, size) in sizes.iter().enumerate() {
        let header = if key { 0x65 } else { 0x41 };
        put_unit(&mut payload, &slice(header, at == 0, *size, (number * 31 + at) as u32));
    }
    let flags = if key { Flags::KEY } else { Flags::empty() };
    frame(Codec::H264, flags, number, payload)
}

fn pictures() -> impl Strategy<Value = Vec<Frame>> {
    let sizes = prop::collection::vec(prop_oneof![0usize..80, 0usize..4_000], 1..5);
    prop::collection::vec((prop::bool::weighted(0.25), sizes), 1..12).prop_map(|plan| {
        let plan = plan.into_iter().enumerate();
        plan.map(|(at, (key, sizes))| picture(at, key || at == 0, &sizes)).collect()
    })
}

proptest! {
    #[test]
    fn pictures_come_back(frames in pictures(), max in 64usize..=1_400) {
        check_round_trip(Some(&avc_config()), &frames, max);
    }

    #[test]
    fn with_packets_lost_only_what_can_be_decoded_comes_back(
        frames in pictures(), max in 64usize..=1_400, lost in losses(),
    ) {
        check_loss(Some(&avc_config()), &frames, max, &lost);
    }

    #[test]
    fn fragments_are_of_equal_size_but_the_last(size in 1usize..30_000, max in 64usize..=1_400) {
        let packets = cut(None, &[picture(0, false, &[size])], options(max));
        let sizes: Vec<_> = packets.iter().map(|packet| packet.payload.len()).collect();
        let (last, others) = sizes.split_last().unwrap();
        prop_assert!(others.iter().all(|other| *other == sizes[0]));
        prop_assert!(*last <= sizes[0]);
        prop_assert!(sizes.len() == 1 || sizes.len() == (size + 2).div_ceil(max - 2));
    }
}

/// What is sent for one access unit, the parameter sets known.
fn sent(options: Options, units: &[&[u8]]) -> (Result<Pushed, PacketizeError>, Vec<Vec<u8>>) {
    let mut payload = Vec::new();
    units.iter().for_each(|unit| put_unit(&mut payload, unit));
    let mut packetizer = Packetizer::new(Codec::H264, options).unwrap();
    let mut out = Payloads::new();
    packetizer.push(&avc_config(), &mut out).unwrap();
    let pushed = packetizer.push(&frame(Codec::H264, Flags::empty(), 0, payload), &mut out);
    (pushed, out.iter().map(|(_, bytes)| bytes.to_vec()).collect())
}

#[test]
fn parameter_sets_go_before_every_idr_picture_that_has_none() {
    let idr = [0x65, 0x88, 0x84, 1];
    let (_, payloads) = sent(Options::default(), &[&idr]);
    let mut stap = vec![0x78];
    for unit in [SPS, PPS, &idr] {
        stap.extend((unit.len() as u16).to_be_bytes());
        stap.extend(unit);
    }
    assert_eq!(payloads, [stap.clone()]);
    let (_, payloads) = sent(Options::default(), &[SPS, PPS, &idr]);
    assert_eq!(payloads, [stap], "not twice");
    let (_, payloads) = sent(Options::default(), &[&[0x41, 0x9a, 0x24]]);
    assert_eq!(payloads, [[0x41, 0x9a, 0x24]]);
}

#[test]
fn delimiters_and_filler_are_left_out_and_sei_on_demand() {
    let units: [&[u8]; 4] = [&[9, 0xf0], &[6, 5, 1, 0], &[12, 0xff], &[0x41, 0x9a, 0x24]];
    assert_eq!(sent(Options::default(), &units).1, [[0x41, 0x9a, 0x24]]);
    let keep = Options { keep_sei: true, ..Options::default() };
    assert_eq!(sent(keep, &units).1, [[0x58, 0, 4, 6, 5, 1, 0, 0, 3, 0x41, 0x9a, 0x24]]);
    let timing: [&[u8]; 2] = [&[6, 1, 2, 0, 0x40, 0x80], &[0x41, 0x9a, 0x24]];
    assert_eq!(sent(keep, &timing).1, [[0x41, 0x9a, 0x24]], "no viewer reads it");
    assert_eq!(sent(Options::default(), &units[..3]).0, Ok(Pushed::Nothing));
    assert_eq!(sent(Options::default(), &[&[28, 1], &[24]]).0, Ok(Pushed::Nothing));
}

#[test]
fn b_pictures_are_left_out_unless_kept() {
    let b_picture: [&[u8]; 1] = [&[0x01, 0x9e, 0x41]];
    let (pushed, payloads) = sent(Options::default(), &b_picture);
    assert_eq!((pushed, payloads.len()), (Ok(Pushed::BPicture), 0));
    let keep = Options { keep_b_frames: true, ..Options::default() };
    assert_eq!(sent(keep, &b_picture), (Ok(Pushed::Packaged), vec![vec![0x01, 0x9e, 0x41]]));
}

#[test]
fn mode_0_sends_each_unit_alone_and_refuses_what_does_not_fit() {
    let options =
        Options { packetization_mode: PacketizationMode::SingleNal, ..Options::default() };
    let idr = [0x65, 0x88, 0x84, 1];
    assert_eq!(sent(options, &[&idr]).1, [SPS, PPS, &idr]);
    let long = slice(0x65, true, 1_200, 1);
    let error = PacketizeError::TooLarge { what: "NAL unit", size: 1_203, max: 1_180 };
    assert_eq!(sent(options, &[&idr, &long]), (Err(error), vec![]));
}

#[test]
fn a_damaged_frame_is_refused_whole() {
    let mut packetizer = Packetizer::new(Codec::H264, Options::default()).unwrap();
    let mut out = Payloads::new();
    let bytes = [0, 0, 0, 3, 0x41, 0x9a, 0x24, 0, 0, 0, 9, 1];
    let pushed = packetizer.push(&frame(Codec::H264, Flags::KEY, 0, bytes.to_vec()), &mut out);
    assert!(matches!(pushed, Err(PacketizeError::Read(_))));
    assert!(out.is_empty() && out.bytes().is_empty());
    let record = config(Codec::H264, vec![9]);
    assert!(matches!(packetizer.push(&record, &mut out), Err(PacketizeError::Read(_))));
}

#[test]
fn a_picture_of_eight_megabytes_passes_and_leaves_no_great_buffer() {
    let huge = picture(0, true, &[8 << 20]);
    check_round_trip(Some(&avc_config()), std::slice::from_ref(&huge), 1_200);
    let mut packetizer = Packetizer::new(Codec::H264, Options::default()).unwrap();
    let mut out = Payloads::new();
    packetizer.push(&huge, &mut out).unwrap();
    assert!(out.bytes().len() > 8 << 20);
    out.clear();
    assert!(out.is_empty());
}

fn joined(payloads: &[&[u8]]) -> Result<(), DepacketizeError> {
    let mut depacketizer = Depacketizer::new(Codec::H264).unwrap();
    for (at, payload) in payloads.iter().enumerate() {
        let marker = at + 1 == payloads.len();
        let meta = PacketMeta { seq: at as u64, timestamp: 0, marker, lost_before: false };
        depacketizer.push(payload, meta)?;
    }
    assert_eq!(depacketizer.pull(), None);
    Ok(())
}

#[test]
fn hostile_payloads_are_refused_by_name() {
    let unsupported = DepacketizeError::Unsupported { what: "interleaved mode of H.264" };
    for (payloads, error) in [
        (&[&[0x7c, 0x05, 1][..]][..], DepacketizeError::NoStart),
        (&[&[0x7c, 0x85, 0x88], &[0x41, 0x9a]], DepacketizeError::Unfinished),
        (&[&[0x7c, 0x85, 0x88], &[0x7c, 0x85, 0x88]], DepacketizeError::Unfinished),
        (&[&[0x7c, 0x85, 0x88], &[0x7c, 0x05, 0x88]], DepacketizeError::Unfinished),
        (&[&[0x41, 0x46, 0x48]], DepacketizeError::NoStart),
        (&[&[0x7c]], error::truncated("FU-A header", 1)),
        (&[&[0x7c, 0x9c, 1]], error::invalid("NAL type within FU-A", 28, 1)),
        (&[&[0x78]], error::truncated("STAP-A", 1)),
        (&[&[0x78, 0]], error::truncated("length of an aggregated unit", 1)),
        (&[&[0x78, 0, 0]], error::invalid("length of an aggregated unit", 0, 1)),
        (&[&[0x78, 0, 1, 9, 0, 9, 1]], error::invalid("length of an aggregated unit", 9, 4)),
        (&[&[0x78, 0, 4, 0x78, 0, 1, 9]], error::invalid("NAL type within STAP-A", 24, 0)),
        (&[&[0x79, 0, 0, 0, 1, 9]], unsupported),
        (&[&[0x7f]], error::invalid("NAL type", 31, 0)),
        (&[&[0x60]], error::invalid("NAL type", 0, 0)),
    ] {
        assert_eq!(joined(payloads), Err(error), "{payloads:x?}");
    }
}

#[test]
fn a_unit_cannot_grow_without_end() {
    let mut depacketizer = Depacketizer::new(Codec::H264).unwrap();
    let mut payload = vec![0x7c, 0x85, 0x88];
    payload.resize(60_000, 1);
    let mut refused = None;
    for seq in 0..300 {
        let meta = PacketMeta { seq, timestamp: 0, marker: false, lost_before: false };
        if let Err(error) = depacketizer.push(&payload, meta) {
            refused = Some((seq, error));
            break;
        }
        payload[1] = 0x05;
    }
    assert_eq!(refused, Some((279, DepacketizeError::TooLarge { max: MAX_UNIT })));
}

#[test]
fn parameter_sets_beside_the_stream_count_and_changes_are_told() {
    let mut depacketizer = Depacketizer::new(Codec::H264).unwrap();
    let mut seq = 0;
    let mut push = |depacketizer: &mut Depacketizer, payload: &[u8], timestamp, marker| {
        seq += 1;
        let meta = PacketMeta { seq, timestamp, marker, lost_before: false };
        depacketizer.push(payload, meta).unwrap();
        depacketizer.pull()
    };
    let idr = [0x65, 0x88, 0x84, 1];
    assert_eq!(push(&mut depacketizer, &idr, 0, true), None, "no decoder could start here");
    assert!(depacketizer.needs_key());
    depacketizer.learn(SPS);
    depacketizer.learn(PPS);
    depacketizer.learn(&idr);
    let unit = push(&mut depacketizer, &idr, 1, true).unwrap();
    assert_eq!(unit.config, Some(avc_config().payload));
    // Some cameras send the sets with a marker of their own, or at another time.
    assert_eq!(push(&mut depacketizer, SPS, 2, true), None);
    let other = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc1];
    assert_eq!(push(&mut depacketizer, &other, 2, true), None);
    let unit = push(&mut depacketizer, &idr, 3, true).unwrap();
    let record = AvcConfig::decode(&unit.config.unwrap()).unwrap();
    assert_eq!((&record.sps[0][..], &record.pps[0][..]), (SPS, &other[..]));
    assert_eq!(push(&mut depacketizer, &idr, 4, true).unwrap().config, None);
}
