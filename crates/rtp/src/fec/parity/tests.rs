use proptest::prelude::*;

use super::*;
use crate::packet::{Header, Packet, pad};

fn packet(sequence: u16, payload: &[u8], padding: u8) -> Vec<u8> {
    let timestamp = u32::from(sequence) * 3_000;
    let marker = sequence.is_multiple_of(3);
    let header = Header { marker, payload_type: 96, sequence, timestamp, ssrc: 9 };
    let mut out = Vec::new();
    header.write(&mut out);
    out.extend_from_slice(payload);
    pad(&mut out, 0, padding);
    out
}

type Write = fn(&mut Vec<u8>, &[&[u8]]) -> Result<(), FecError>;
type Parse = for<'a> fn(&'a [u8]) -> Result<Repair<'a>, FecError>;

const KINDS: [(Write, Parse, u16); 2] = [
    (write_ulp, |bytes| Repair::parse_ulp(bytes), MAX_ULP_SPAN),
    (|out, packets| write_flex(out, 9, packets), |bytes| Repair::parse_flex(bytes), MAX_FLEX_SPAN),
];

#[test]
fn ulpfec_of_one_packet_has_its_fields_where_the_rfc_puts_them() {
    let mut out = Vec::new();
    write_ulp(&mut out, &[&packet(6, b"abc", 0)]).unwrap();
    assert_eq!(out, b"\x00\xE0\x00\x06\x00\x00\x46\x50\x00\x03\x00\x03\x80\x00abc");
}

#[test]
fn flexfec_of_one_packet_has_its_fields_where_the_draft_puts_them() {
    let mut out = Vec::new();
    write_flex(&mut out, 9, &[&packet(6, b"abc", 0)]).unwrap();
    let expected =
        b"\x00\xE0\x00\x03\x00\x00\x46\x50\x01\x00\x00\x00\x00\x00\x00\x09\x00\x06\xC0\x00abc";
    assert_eq!(out, expected);
    assert_eq!(Repair::parse_flex(&out).unwrap().ssrc, Some(9));
}

#[test]
fn a_lost_packet_comes_back_over_each_length_of_mask() {
    for (write, parse, span) in KINDS {
        for apart in [1, 14, 15, 16, 45, 46, 47, 108].into_iter().filter(|apart| apart < &span) {
            let first = packet(65_535, b"some", 0);
            let last = packet(65_535u16.wrapping_add(apart), b"longer payload", 7);
            let mut out = Vec::new();
            write(&mut out, &[&first, &last]).unwrap();
            let repair = parse(&out).unwrap();
            let sequences: Vec<_> = repair.sequences().collect();
            assert_eq!(sequences, [65_535, 65_535u16.wrapping_add(apart)], "{apart}");
            let mut made = vec![1];
            repair.recover(sequences[1], 9, [&first[..]], &mut made).unwrap();
            assert_eq!(made[1..], last, "{apart}");
            made.clear();
            repair.recover(65_535, 9, [&last[..]], &mut made).unwrap();
            assert_eq!(made, first, "{apart}");
        }
    }
}

#[test]
fn packets_too_far_apart_or_twice_or_none_are_not_protected() {
    for (write, _, span) in KINDS {
        let mut out = Vec::new();
        let (first, far) = (packet(1, b"a", 0), packet(1 + span, b"b", 0));
        assert_eq!(write(&mut out, &[]), Err(FecError::Span));
        assert_eq!(write(&mut out, &[&first, &far]), Err(FecError::Span));
        assert_eq!(write(&mut out, &[&first, &first]), Err(FecError::Span));
        assert_eq!(write(&mut out, &[&first, &first[..11]]), Err(FecError::Span));
        assert!(out.is_empty());
    }
}

#[test]
fn with_a_packet_too_few_or_a_wrong_one_nothing_is_made() {
    for (write, parse, _) in KINDS {
        let all: Vec<_> = (1..=3).map(|sequence| packet(sequence, b"payload", 0)).collect();
        let mut out = Vec::new();
        write(&mut out, &[&all[0], &all[1], &all[2]]).unwrap();
        let repair = parse(&out).unwrap();
        let mut made = vec![7];
        let mut given = |missing, packets: &[&[u8]]| {
            let error = repair.recover(missing, 9, packets.iter().copied(), &mut made);
            assert_eq!(made, [7]);
            error
        };
        let too_few = Err(FecError::Packets { needed: 2, given: 1 });
        assert_eq!(given(2, &[&all[0]]), too_few);
        assert_eq!(given(2, &[&all[0], &all[0]]), too_few, "twice is once");
        assert_eq!(given(2, &[&all[0], &packet(9, b"x", 0)]), too_few);
        let wrong = Err(FecError::Packets { needed: 2, given: 2 });
        assert_eq!(given(4, &[&all[0], &all[1]]), wrong, "not one of them");
        assert_eq!(given(2, &[&all[0], &all[1]]), wrong, "it is there");
        let other = packet(3, &[0; 300], 0);
        assert!(matches!(given(2, &[&all[0], &other]), Err(FecError::Length { .. })));
    }
}

#[test]
fn kinds_that_are_not_spoken_and_short_ones_are_refused() {
    assert_eq!(Repair::parse_ulp(&[0; 13]), Err(FecError::Short(13)));
    assert_eq!(Repair::parse_ulp(&[0; 14]), Err(FecError::Kind), "it protects nothing");
    let mut flex = Vec::new();
    write_flex(&mut flex, 9, &[&packet(6, b"abc", 0)]).unwrap();
    assert_eq!(Repair::parse_flex(&flex[..19]), Err(FecError::Short(19)));
    for (at, value) in [(0, 0x80), (0, 0x40), (8, 2), (8, 0)] {
        let mut other = flex.clone();
        other[at] = value;
        assert_eq!(Repair::parse_flex(&other), Err(FecError::Kind));
    }
    let mut endless = flex;
    endless[18] = 0x40;
    endless.resize(40, 0);
    assert_eq!(Repair::parse_flex(&endless), Err(FecError::Kind), "no part is the last");
    let mut long = Vec::new();
    write_ulp(&mut long, &[&packet(6, b"abc", 0)]).unwrap();
    assert_eq!(Repair::parse_ulp(&long[..16]), Err(FecError::Short(16)));
}

proptest! {
    #[test]
    fn any_one_of_a_group_comes_back(
        start: u16, lost: proptest::sample::Index,
        group in proptest::collection::btree_map(
            0u16..48, (proptest::collection::vec(any::<u8>(), 0..60), 0u8..9), 1..20),
    ) {
        let packets: Vec<_> = group
            .iter()
            .map(|(at, (payload, padding))| packet(start.wrapping_add(*at), payload, *padding))
            .collect();
        let borrowed: Vec<_> = packets.iter().map(Vec::as_slice).collect();
        let lost = lost.index(packets.len());
        for (write, parse, _) in KINDS {
            let mut out = Vec::new();
            write(&mut out, &borrowed).unwrap();
            let repair = parse(&out).unwrap();
            let sequences: Vec<_> = repair.sequences().collect();
            let expected: Vec<_> =
                packets.iter().map(|bytes| Packet::parse(bytes).unwrap().sequence).collect();
            prop_assert_eq!(&sequences, &expected);
            let others = borrowed.iter().enumerate().filter(|(at, _)| *at != lost);
            let mut made = Vec::new();
            repair.recover(sequences[lost], 9, others.map(|(_, bytes)| *bytes), &mut made).unwrap();
            prop_assert_eq!(&made, &packets[lost]);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_name_packets(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        for (_, parse, span) in KINDS {
            if let Ok(repair) = parse(&bytes) {
                let sequences: Vec<_> = repair.sequences().collect();
                prop_assert!((1..=usize::from(span)).contains(&sequences.len()));
                let mut out = Vec::new();
                let _ = repair.recover(sequences[0], 1, [&bytes[..]], &mut out);
                prop_assert!(out.len() <= FIXED_HEADER + bytes.len());
            }
        }
    }
}
