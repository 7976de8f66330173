use proptest::prelude::*;

use super::*;

#[test]
fn a_packet_without_earlier_payloads_is_its_own() {
    let red = Redundant::parse(b"\x6Fopus").unwrap();
    assert_eq!(red.primary, Block { payload_type: 111, offset: 0, data: b"opus" });
    assert_eq!(red.earlier().next(), None);
}

#[test]
fn earlier_payloads_are_told_with_their_distance() {
    // 960 ticks before, 3 bytes; 0x3C0 << 10 | 3 = 0x0F0003.
    let red = Redundant::parse(b"\xEF\x0F\x00\x03\x6Foldnew").unwrap();
    let old = Block { payload_type: 111, offset: 960, data: b"old" };
    assert_eq!(red.earlier().collect::<Vec<_>>(), [old]);
    assert_eq!(red.primary.data, b"new");
}

#[test]
fn headers_that_do_not_end_or_claim_too_much_are_refused() {
    assert_eq!(Redundant::parse(b""), Err(RedError::Headers(0)));
    assert_eq!(Redundant::parse(&[0xEF, 0, 0]), Err(RedError::Headers(3)));
    assert_eq!(Redundant::parse(&[0xEF, 0, 0, 1]), Err(RedError::Headers(4)));
    let short = RedError::Short { claimed: 2, left: 1 };
    assert_eq!(Redundant::parse(&[0xEF, 0, 0, 2, 0x6F, 1]), Err(short));
    assert_eq!(Redundant::parse(&[0xFF; 400]), Err(RedError::Many));
}

#[test]
fn what_a_header_cannot_tell_is_left_out() {
    let long = [0; MAX_LENGTH + 1];
    let earlier = [
        Block { payload_type: 1, offset: MAX_OFFSET + 1, data: b"a" },
        Block { payload_type: 2, offset: 960, data: &long },
        Block { payload_type: 3, offset: MAX_OFFSET, data: &long[1..] },
    ];
    let mut out = Vec::new();
    assert_eq!(write(&mut out, &earlier, 111, b"own"), 1);
    let red = Redundant::parse(&out).unwrap();
    assert_eq!(red.earlier().collect::<Vec<_>>(), [earlier[2]]);
    assert_eq!(red.primary.data, b"own");
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        earlier in proptest::collection::vec(
            (0u8..128, 0u32..0x4000, proptest::collection::vec(any::<u8>(), 0..40)), 0..16),
        kind in 0u8..128, own in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let earlier: Vec<_> = earlier
            .iter()
            .map(|(payload_type, offset, data)| Block {
                payload_type: *payload_type, offset: *offset, data,
            })
            .collect();
        let mut out = Vec::new();
        prop_assert_eq!(write(&mut out, &earlier, kind, &own), earlier.len());
        let red = Redundant::parse(&out).unwrap();
        prop_assert_eq!(red.earlier().collect::<Vec<_>>(), earlier);
        prop_assert_eq!(red.primary, Block { payload_type: kind, offset: 0, data: &own });
    }

    #[test]
    fn any_bytes_are_refused_or_add_up(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(red) = Redundant::parse(&bytes) {
            let blocks = red.earlier().count();
            let all: usize = red.earlier().map(|block| block.data.len() + 4).sum();
            prop_assert!(blocks <= MAX_REDUNDANT);
            prop_assert_eq!(all + 1 + red.primary.data.len(), bytes.len());
        }
    }
}
