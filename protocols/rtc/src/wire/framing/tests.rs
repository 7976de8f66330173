use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn packets_survive_any_cuts(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..12),
        cut in 1..50usize,
    ) {
        let mut stream = Vec::new();
        for packet in &packets {
            prop_assert!(write(packet, &mut stream));
        }
        let mut reader = Reader::default();
        let mut got = Vec::new();
        for mut piece in stream.chunks(cut) {
            while let Some(packet) = reader.next(&mut piece).unwrap() {
                got.push(packet.to_vec());
            }
            prop_assert!(piece.is_empty());
        }
        let expected: Vec<_> = packets.into_iter().filter(|packet| !packet.is_empty()).collect();
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn a_packet_that_is_too_long_ends_the_connection_before_it_is_kept() {
    let mut reader = Reader::default();
    let mut input = [0xff, 0xff, 1, 2, 3].as_slice();
    assert_eq!(reader.next(&mut input), Err(FramingError::TooLong(65_535)));
    assert!(!write(&[0; 65_536], &mut Vec::new()));
}
