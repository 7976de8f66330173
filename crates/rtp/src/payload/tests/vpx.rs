//! VP8 and VP9: descriptors, and frames that come back.

use super::*;

/// The head of a frame of 320x180: a key frame or another.
fn head(codec: Codec, key: bool) -> &'static [u8] {
    match (codec, key) {
        (Codec::Vp8, true) => &[0x10, 0x62, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00],
        (Codec::Vp8, false) => &[0x11, 0x62, 0x00],
        (_, true) => &[0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0b, 0x36, 0x04, 0x38],
        (_, false) => &[0x86, 0x00],
    }
}

fn record(codec: Codec) -> Frame {
    config(codec, vec![0, 0, 0x82, 2, 2, 2, 0, 0])
}

fn picture(codec: Codec, number: usize, key: bool, size: usize) -> Frame {
    let mut payload = head(codec, key).to_vec();
    payload.extend(noise(number as u32 * 7 + 1, size));
    frame(codec, if key { Flags::KEY } else { Flags::empty() }, number, payload)
}

fn pictures() -> impl Strategy<Value = Vec<Frame>> {
    let size = prop_oneof![0usize..80, 0usize..6_000];
    let plan = prop::collection::vec((prop::bool::weighted(0.25), size), 1..12);
    (prop::sample::select(vec![Codec::Vp8, Codec::Vp9]), plan).prop_map(|(codec, plan)| {
        let plan = plan.into_iter().enumerate();
        plan.map(|(at, (key, size))| picture(codec, at, key || at == 0, size)).collect()
    })
}

proptest! {
    #[test]
    fn pictures_come_back(frames in pictures(), max in 64usize..=1_400) {
        check_round_trip(Some(&record(frames[0].codec)), &frames, max);
    }

    #[test]
    fn with_packets_lost_only_what_can_be_decoded_comes_back(
        frames in pictures(), max in 64usize..=1_400, lost in losses(),
    ) {
        check_loss(Some(&record(frames[0].codec)), &frames, max, &lost);
    }

    #[test]
    fn payloads_are_of_equal_size_but_the_last(
        codec in prop::sample::select(vec![Codec::Vp8, Codec::Vp9]), key in any::<bool>(),
        size in 1usize..30_000, max in 64usize..=1_400,
    ) {
        let packets = cut(None, &[picture(codec, 0, key, size)], options(max));
        let sizes: Vec<_> = packets.iter().map(|packet| packet.payload.len()).collect();
        let (last, others) = sizes.split_last().unwrap();
        prop_assert!(others.iter().all(|other| *other == sizes[0]));
        prop_assert!(*last <= sizes[0]);
    }
}

#[test]
fn descriptors_of_vp8_tell_start_and_picture() {
    let key = picture(Codec::Vp8, 0, true, 90);
    let mut other = picture(Codec::Vp8, 1, false, 5);
    other.flags = Flags::DISPOSABLE;
    let packets = cut(None, &[key, other], options(64));
    let heads: Vec<_> = packets.iter().map(|packet| packet.payload[..4].to_vec()).collect();
    assert_eq!(heads, [[0x90, 0x80, 0x80, 0], [0x80, 0x80, 0x80, 0], [0xb0, 0x80, 0x80, 1]]);
}

#[test]
fn descriptors_of_vp9_tell_borders_and_size() {
    let frames = [picture(Codec::Vp9, 0, true, 90), picture(Codec::Vp9, 1, false, 5)];
    let packets = cut(None, &frames, options(64));
    let heads: Vec<_> = packets.iter().map(|packet| packet.payload[..3].to_vec()).collect();
    assert_eq!(heads, [[0x8a, 0x80, 0], [0x84, 0x80, 0], [0xcc, 0x80, 1]]);
    assert_eq!(packets[0].payload[3..8], [0x10, 0x01, 0x40, 0x00, 0xb4]);
}

#[test]
fn layers_of_vp9_become_a_superframe() {
    let mut depacketizer = Depacketizer::new(Codec::Vp9).unwrap();
    let base = picture(Codec::Vp9, 0, true, 3).payload;
    // I, L, B, E; picture 5; spatial layers 0 and 1.
    let mut first = vec![0xac, 5, 0x00, 0];
    first.extend(&base);
    let second = [0xac, 5, 0x03, 0, 0x86, 0x00, 7];
    for (seq, payload) in [&first[..], &second].into_iter().enumerate() {
        let marker = seq == 1;
        let meta = PacketMeta { seq: seq as u64, timestamp: 0, marker, lost_before: false };
        depacketizer.push(payload, meta).unwrap();
    }
    let unit = depacketizer.pull().unwrap();
    let mut expected = base.to_vec();
    expected.extend([0x86, 0x00, 7]);
    expected.extend([0xd9, base.len() as u8, 0, 0, 0, 3, 0, 0, 0, 0xd9]);
    assert_eq!(unit.payload, expected);
    assert!(unit.key);
}

#[test]
fn hostile_payloads_are_refused_by_name() {
    let vp8 = "VP8 descriptor";
    let vp9 = "VP9 descriptor";
    for (codec, payloads, error) in [
        (Codec::Vp8, &[&[0x80][..]][..], error::truncated(vp8, 1)),
        (Codec::Vp8, &[&[0x90, 0x80]], error::truncated(vp8, 2)),
        (Codec::Vp8, &[&[0x90, 0x80, 0x80]], error::truncated(vp8, 3)),
        (Codec::Vp8, &[&[0x90, 0x70, 1]], error::truncated(vp8, 3)),
        (Codec::Vp8, &[&[0x10]], error::truncated("VP8 frame", 1)),
        (Codec::Vp8, &[&[0x00, 1]], DepacketizeError::NoStart),
        (Codec::Vp8, &[&[0x11, 1]], DepacketizeError::NoStart),
        (Codec::Vp8, &[&[0x10, 1], &[0x10, 1]], DepacketizeError::Unfinished),
        (Codec::Vp8, &[&[0x90, 0x80, 1, 1], &[0x80, 0x80, 2, 1]], DepacketizeError::Unfinished),
        (Codec::Vp9, &[&[0x8a, 0x80]], error::truncated(vp9, 2)),
        (Codec::Vp9, &[&[0x0a, 0xff]], error::truncated(vp9, 2)),
        (Codec::Vp9, &[&[0x0a, 0x08, 255]], error::truncated(vp9, 3)),
        (Codec::Vp9, &[&[0x5c, 1, 1, 1]], error::invalid("number of VP9 references", 4, 0)),
        (Codec::Vp9, &[&[0x0c]], error::truncated("VP9 frame", 1)),
        (Codec::Vp9, &[&[0x04, 0x86]], DepacketizeError::NoStart),
        (Codec::Vp9, &[&[0x08, 0x86]], DepacketizeError::Unfinished),
        (Codec::Vp9, &[&[0x08, 0x86], &[0x08, 0x86]], DepacketizeError::Unfinished),
    ] {
        let mut depacketizer = Depacketizer::new(codec).unwrap();
        let mut outcome = Ok(());
        for (at, payload) in payloads.iter().enumerate() {
            let marker = at + 1 == payloads.len();
            let meta = PacketMeta { seq: at as u64, timestamp: 0, marker, lost_before: false };
            outcome = outcome.and(depacketizer.push(payload, meta));
        }
        assert_eq!(outcome, Err(error), "{codec} {payloads:x?}");
        assert_eq!(depacketizer.pull(), None);
    }
}
