//! AV1: aggregation, fragments, sizes taken out and put back.

use media::av1::{Av1Config, put_leb128};

use super::*;

/// The sequence header of libaom, Main, 320x180.
const SEQUENCE: &[u8] =
    &[0x0a, 0x0b, 0x00, 0x00, 0x00, 0x03, 0xb4, 0xcf, 0xec, 0xa6, 0xbe, 0xf7, 0x9c];

fn av1_config() -> Frame {
    config(Codec::Av1, Av1Config::from_sequence_header(SEQUENCE).unwrap().encode())
}

/// An OBU with its size.
fn put_obu(out: &mut Vec<u8>, kind: u8, extension: Option<u8>, body: &[u8]) {
    out.push(kind << 3 | 0x02 | if extension.is_some() { 0x04 } else { 0 });
    out.extend(extension);
    put_leb128(body.len() as u32, out);
    out.extend(body);
}

/// A temporal unit: a frame of its own kind, then tile groups.
fn picture(number: usize, key: bool, sizes: &[usize]) -> Frame {
    let mut payload = if key { SEQUENCE.to_vec() } else { Vec::new() };
    for (at, size) in sizes.iter().enumerate() {
        let mut body = if at == 0 { vec![if key { 0x10 } else { 0x30 }] } else { vec![] };
        body.extend(noise((number * 31 + at) as u32, *size));
        let extension = number.is_multiple_of(3).then_some(0x20);
        put_obu(&mut payload, if at == 0 { 6 } else { 4 }, extension, &body);
    }
    frame(Codec::Av1, if key { Flags::KEY } else { Flags::empty() }, number, payload)
}

fn pictures() -> impl Strategy<Value = Vec<Frame>> {
    let sizes = prop::collection::vec(prop_oneof![1usize..80, 1usize..4_000], 1..5);
    prop::collection::vec((prop::bool::weighted(0.25), sizes), 1..12).prop_map(|plan| {
        let plan = plan.into_iter().enumerate();
        plan.map(|(at, (key, sizes))| picture(at, key || at == 0, &sizes)).collect()
    })
}

proptest! {
    #[test]
    fn pictures_come_back(frames in pictures(), max in 64usize..=1_400) {
        check_round_trip(Some(&av1_config()), &frames, max);
    }

    #[test]
    fn with_packets_lost_only_what_can_be_decoded_comes_back(
        frames in pictures(), max in 64usize..=1_400, lost in losses(),
    ) {
        check_loss(Some(&av1_config()), &frames, max, &lost);
    }

    #[test]
    fn no_payload_but_the_first_of_a_picture_begins_with_an_obu(
        frames in pictures(), max in 64usize..=1_400,
    ) {
        for frame in frames {
            let packets = cut(Some(&av1_config()), &[frame], options(max));
            prop_assert_eq!(packets[0].payload[0] & 0x80, 0);
            prop_assert!(packets.iter().skip(1).all(|packet| packet.payload[0] & 0x80 != 0));
            prop_assert!(packets.iter().all(|packet| packet.payload.len() <= max));
        }
    }

    #[test]
    fn fragments_are_of_equal_size_but_the_last(size in 1usize..30_000, max in 64usize..=1_400) {
        let packets = cut(None, &[picture(1, false, &[size])], options(max));
        let sizes: Vec<_> = packets.iter().map(|packet| packet.payload.len()).collect();
        let (last, others) = sizes.split_last().unwrap();
        prop_assert!(others.iter().all(|other| *other == sizes[0]));
        prop_assert!(*last <= sizes[0]);
    }
}

fn joined(payloads: &[&[u8]]) -> Result<Vec<Unit>, DepacketizeError> {
    let mut depacketizer = Depacketizer::new(Codec::Av1).unwrap();
    for (at, payload) in payloads.iter().enumerate() {
        let marker = at + 1 == payloads.len();
        let meta = PacketMeta { seq: at as u64, timestamp: 0, marker, lost_before: false };
        depacketizer.push(payload, meta)?;
    }
    Ok(std::iter::from_fn(|| depacketizer.pull()).collect())
}

#[test]
fn the_sequence_header_goes_before_a_key_frame_that_has_none() {
    let mut payload = vec![0x12, 0x00]; // A temporal delimiter is not sent.
    put_obu(&mut payload, 6, None, &[0x10, 1, 2]);
    put_obu(&mut payload, 15, None, &[9]); // Nor is padding.
    let key = frame(Codec::Av1, Flags::KEY, 0, payload);
    let packets = cut(Some(&av1_config()), &[key], Options::default());
    let mut expected = vec![0x28, 12, 0x08];
    expected.extend(&SEQUENCE[2..]);
    expected.extend([0x30, 0x10, 1, 2]);
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].payload, expected);
    let (units, _) = join(Codec::Av1, &packets);
    let mut whole = SEQUENCE.to_vec();
    put_obu(&mut whole, 6, None, &[0x10, 1, 2]);
    assert_eq!(units[0].payload, whole);
    assert_eq!(units[0].config, Some(av1_config().payload));
}

#[test]
fn sizes_that_were_sent_all_the_same_are_made_short() {
    // A size in two bytes where one is enough; the sequence header counted, the frame not.
    let mut payload = vec![0x28, 13, 0x0a, 0x8b, 0x00];
    payload[1] = 14;
    payload.extend(&SEQUENCE[2..]);
    payload.extend([0x32, 0x83, 0x80, 0x00, 0x10, 1, 2]);
    let units = joined(&[&payload]).unwrap();
    let mut whole = SEQUENCE.to_vec();
    put_obu(&mut whole, 6, None, &[0x10, 1, 2]);
    assert_eq!(units[0].payload, whole);
}

#[test]
fn hostile_payloads_are_refused_by_name() {
    let length = "length of an OBU element";
    let number = |value, offset| error::invalid("LEB128 number", value, offset);
    for (payloads, error) in [
        (&[&[0x90, 0x30, 1][..]][..], DepacketizeError::NoStart),
        (&[&[0x50, 0x30, 1], &[0x10, 0x30, 1]], DepacketizeError::Unfinished),
        (&[&[0x50, 0x30, 1], &[0xd0, 1]], DepacketizeError::Unfinished),
        (&[&[0x10]], error::truncated("OBU element", 1)),
        (&[&[0x00, 0]], error::invalid(length, 0, 0)),
        (&[&[0x00, 9, 0x30]], error::invalid(length, 9, 0)),
        (&[&[0x20, 2, 0x30, 1]], error::invalid(length, 2, 0)),
        (&[&[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]], number((1 << 56) - 1, 7)),
        (&[&[0x00, 0xff, 0xff, 0xff, 0xff, 0x1f]], number((1 << 33) - 1, 4)),
        (&[&[0x00, 0xff, 0xff]], error::truncated("LEB128 number", 2)),
        (&[&[0x10, 0xb0, 1]], error::invalid("OBU forbidden bit", 1, 0)),
        (&[&[0x10, 0x32, 9, 1]], error::invalid("OBU size", 9, 0)),
        (&[&[0x10, 0x32, 1, 1, 1]], error::invalid("OBU size", 1, 0)),
    ] {
        assert_eq!(joined(payloads), Err(error), "{payloads:x?}");
    }
    let many = [vec![0x00], [1, 0x28].repeat(1_025)].concat();
    assert_eq!(joined(&[&many]), Err(DepacketizeError::TooMany { max: 1_024 }));
}
