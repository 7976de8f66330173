//! H.265: what the fragments and aggregates look like, and who is sent what.

use media::h265::HevcConfig;

use super::*;

/// Parameter sets of x265, Main, 320x180.
const VPS: &[u8] = &[
    0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03,
    0x00, 0x00, 0x03, 0x00, 0x3c, 0x95, 0x98, 0x09,
];
const SPS: &[u8] = &[
    0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03,
    0x00, 0x3c, 0xa0, 0x0a, 0x08, 0x0b, 0x9f, 0x79, 0x65, 0x66, 0x92, 0x4c, 0xaf, 0x01, 0x68, 0x08,
    0x00, 0x00, 0x03, 0x00, 0x08, 0x00, 0x00, 0x03, 0x00, 0xc8, 0x40,
];
const PPS: &[u8] = &[0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40];

/// Types of slices.
const TRAIL: u8 = 1;
const RASL: u8 = 9;
const IDR: u8 = 19;
const CRA: u8 = 21;

fn hevc_config() -> Frame {
    let set = |set| [Bytes::from_static(set)];
    let record = HevcConfig::from_parameter_sets(&set(VPS), &set(SPS), &set(PPS)).unwrap();
    config(Codec::H265, record.encode())
}

/// A slice: the first of a picture (P, of an IRAP picture I) or a later one.
fn slice(kind: u8, first: bool, size: usize, seed: u32) -> Vec<u8> {
    let head = match (kind >= 16, first) {
        (true, true) => 0xaf,
        (false, true) => 0xd0,
        (_, false) => 0x50,
    };
    let mut unit = vec![kind << 1, 1, head];
    unit.extend(noise(seed, size));
    unit
}

fn picture(number: usize, kind: u8, sizes: &[usize]) -> Frame {
    let mut payload = Vec::new();
    for (at, size) in sizes.iter().enumerate() {
        put_unit(&mut payload, &slice(kind, at == 0, *size, (number * 31 + at) as u32));
    }
    let flags = if kind >= 16 { Flags::KEY } else { Flags::empty() };
    frame(Codec::H265, flags, number, payload)
}

fn pictures() -> impl Strategy<Value = Vec<Frame>> {
    let sizes = prop::collection::vec(prop_oneof![0usize..80, 0usize..4_000], 1..5);
    prop::collection::vec((prop::bool::weighted(0.25), sizes), 1..12).prop_map(|plan| {
        let plan = plan.into_iter().enumerate();
        let kind = |key| if key { IDR } else { TRAIL };
        plan.map(|(at, (key, sizes))| picture(at, kind(key || at == 0), &sizes)).collect()
    })
}

proptest! {
    #[test]
    fn pictures_come_back(frames in pictures(), max in 64usize..=1_400) {
        check_round_trip(Some(&hevc_config()), &frames, max);
    }

    #[test]
    fn with_packets_lost_only_what_can_be_decoded_comes_back(
        frames in pictures(), max in 64usize..=1_400, lost in losses(),
    ) {
        check_loss(Some(&hevc_config()), &frames, max, &lost);
    }

    #[test]
    fn fragments_are_of_equal_size_but_the_last(size in 1usize..30_000, max in 64usize..=1_400) {
        let packets = cut(None, &[picture(0, TRAIL, &[size])], options(max));
        let sizes: Vec<_> = packets.iter().map(|packet| packet.payload.len()).collect();
        let (last, others) = sizes.split_last().unwrap();
        prop_assert!(others.iter().all(|other| *other == sizes[0]));
        prop_assert!(*last <= sizes[0]);
        prop_assert!(sizes.len() == 1 || sizes.len() == (size + 1).div_ceil(max - 3));
    }
}

#[test]
fn parameter_sets_go_before_every_random_access_picture_that_has_none() {
    let packets = cut(Some(&hevc_config()), &[picture(0, CRA, &[5])], Options::default());
    let mut expected = vec![0x60, 0x01];
    for unit in [VPS, SPS, PPS, &slice(CRA, true, 5, 0)] {
        expected.extend((unit.len() as u16).to_be_bytes());
        expected.extend(unit);
    }
    assert_eq!(packets[0].payload, expected);
    assert_eq!(packets.len(), 1);
}

#[test]
fn the_header_of_an_aggregate_takes_the_lowest_layers() {
    let mut payload = Vec::new();
    put_unit(&mut payload, &[0x02, 0x0a, 0xd0, 1]); // layer 1, temporal 2
    put_unit(&mut payload, &[0x02, 0x13, 0x50, 1]); // layer 2, temporal 3
    let packets = cut(None, &[frame(Codec::H265, Flags::empty(), 0, payload)], Options::default());
    assert_eq!(packets[0].payload[..2], [0x60, 0x0a]);
}

#[test]
fn b_pictures_are_left_out_where_pictures_are_shown_in_another_order() {
    let mut packetizer = Packetizer::new(Codec::H265, Options::default()).unwrap();
    let mut out = Payloads::new();
    packetizer.push(&hevc_config(), &mut out).unwrap();
    let mut payload = Vec::new();
    put_unit(&mut payload, &[0x00, 0x01, 0xe0, 0x24]);
    let b_picture = frame(Codec::H265, Flags::empty(), 0, payload);
    // A low-delay encoder's, which refers to the past alone.
    assert_eq!(packetizer.push(&b_picture, &mut out), Ok(Pushed::Packaged));
    let mut reordered = picture(1, TRAIL, &[9]);
    reordered.pts = reordered.pts.offset(40_000);
    assert_eq!(packetizer.push(&reordered, &mut out), Ok(Pushed::Packaged));
    assert_eq!(packetizer.push(&b_picture, &mut out), Ok(Pushed::BPicture));
}

#[test]
fn pictures_that_refer_to_what_came_before_the_start_are_left_out() {
    let frames = [
        picture(0, CRA, &[9]),
        picture(1, RASL, &[9]),
        picture(2, TRAIL, &[9]),
        picture(3, CRA, &[9]),
        picture(4, RASL, &[9]),
    ];
    let packets = cut(Some(&hevc_config()), &frames, Options::default());
    let (units, depacketizer) = join(Codec::H265, &packets);
    let times: Vec<_> = units.iter().map(|unit| unit.timestamp / STEP).collect();
    assert_eq!(times, [0, 2, 3, 4], "the second CRA picture continues a stream");
    assert_eq!(depacketizer.stats().before_key, 1);
}

#[test]
fn hostile_payloads_are_refused_by_name() {
    let paci = DepacketizeError::Unsupported { what: "PACI packet of H.265" };
    let length = "length of an aggregated unit";
    for (payloads, error) in [
        (&[&[0x62, 1, 0x13, 1][..]][..], DepacketizeError::NoStart),
        (&[&[0x62, 1, 0x93, 0xaf], &[0x02, 1, 0xd0]], DepacketizeError::Unfinished),
        (&[&[0x62, 1, 0x93, 0xaf], &[0x62, 1, 0x93, 0xaf]], DepacketizeError::Unfinished),
        (&[&[0x62, 1, 0x93, 0xaf]], DepacketizeError::Unfinished),
        (&[&[0x02, 1, 0x50]], DepacketizeError::NoStart),
        (&[&[0x02, 1]], error::truncated("slice header", 2)),
        (&[&[0x02]], error::truncated("NAL header", 1)),
        (&[&[0x62, 1]], error::truncated("FU header", 2)),
        (&[&[0x62, 1, 0xb1, 1]], error::invalid("NAL type within FU", 49, 2)),
        (&[&[0x60, 1]], error::truncated("aggregation packet", 2)),
        (&[&[0x60, 1, 0, 0]], error::invalid(length, 0, 2)),
        (&[&[0x60, 1, 0, 1, 9]], error::invalid("NAL type within an aggregate", 63, 0)),
        (&[&[0x60, 1, 0, 3, 0x60, 1, 9]], error::invalid("NAL type within an aggregate", 48, 0)),
        (&[&[0x60, 1, 0, 9, 1]], error::invalid(length, 9, 2)),
        (&[&[0x64, 1, 0]], paci),
        (&[&[0x7e, 1, 0]], error::invalid("NAL type", 63, 0)),
    ] {
        let mut depacketizer = Depacketizer::new(Codec::H265).unwrap();
        let mut outcome = Ok(());
        for (at, payload) in payloads.iter().enumerate() {
            let marker = at + 1 == payloads.len();
            let meta = PacketMeta { seq: at as u64, timestamp: 0, marker, lost_before: false };
            outcome = outcome.and(depacketizer.push(payload, meta));
        }
        assert_eq!(outcome, Err(error), "{payloads:x?}");
        assert_eq!(depacketizer.pull(), None);
    }
}
