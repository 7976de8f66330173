use proptest::prelude::*;

use super::*;
use crate::extension::Element;

fn header() -> Header {
    Header {
        marker: true,
        payload_type: 111,
        sequence: 0xFFFE,
        timestamp: 0xDEAD_BEEF,
        ssrc: 0x0102_0304,
    }
}

#[test]
fn a_fixed_header_has_its_fields_where_the_rfc_puts_them() {
    let mut out = vec![0xAA];
    header().write(&mut out);
    out.extend_from_slice(b"hi");
    let bytes = &out[1..];
    assert_eq!(bytes, b"\x80\xEF\xFF\xFE\xDE\xAD\xBE\xEF\x01\x02\x03\x04hi");
    let packet = Packet::parse(bytes).unwrap();
    assert_eq!(packet.header(), header());
    assert_eq!(packet.payload, b"hi");
    assert_eq!((packet.header_len, packet.padding, packet.extension), (12, 0, None));
    assert!(packet.csrcs.is_empty());
    assert_eq!(peek_ssrc(bytes), Some(0x0102_0304));
    assert_eq!(peek_sequence(bytes), Some(0xFFFE));
}

#[test]
fn csrcs_extension_and_padding_are_told_apart_from_the_payload() {
    let mut bytes = vec![0xB2, 0x60, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    bytes.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 8]);
    bytes.extend_from_slice(&[0xBE, 0xDE, 0, 1, 0x10, 0x55, 0, 0]);
    bytes.extend_from_slice(b"xyz\0\0\x03");
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.csrcs.iter().collect::<Vec<_>>(), [7, 8]);
    assert_eq!(packet.csrcs.len(), 2);
    assert_eq!(packet.extension, Some((0xBEDE, &[0x10, 0x55, 0, 0][..])));
    assert_eq!(packet.extensions().get(1), Some(&[0x55][..]));
    assert_eq!((packet.payload, packet.padding), (&b"xyz"[..], 3));
    assert_eq!(packet.header_len, 28);
    assert_eq!(header_len(&bytes), Ok(28));
    assert!(!packet.padding_only());
}

#[test]
fn a_packet_of_nothing_but_padding_is_told() {
    let mut out = Vec::new();
    header().write(&mut out);
    pad(&mut out, 0, 0);
    assert!(!Packet::parse(&out).unwrap().padding_only());
    pad(&mut out, 0, 200);
    let packet = Packet::parse(&out).unwrap();
    assert!(packet.padding_only());
    assert_eq!((packet.payload, packet.padding), (&[][..], 200));
}

#[test]
fn claims_of_more_than_there_is_are_refused() {
    let good = [0x80, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    let with = |first: u8, more: &[u8]| {
        let mut bytes = good.to_vec();
        bytes[0] = first;
        bytes.extend_from_slice(more);
        bytes
    };
    assert_eq!(Packet::parse(&[]), Err(PacketError::Short { length: 0, needed: 12 }));
    assert_eq!(Packet::parse(&good[..11]), Err(PacketError::Short { length: 11, needed: 12 }));
    assert_eq!(Packet::parse(&with(0x40, &[])), Err(PacketError::Version(1)));
    let csrcs = with(0x8F, &[0; 59]);
    assert_eq!(Packet::parse(&csrcs), Err(PacketError::Short { length: 71, needed: 72 }));
    let no_extension = with(0x90, &[]);
    assert_eq!(Packet::parse(&no_extension), Err(PacketError::Short { length: 12, needed: 16 }));
    let huge = with(0x90, &[0xBE, 0xDE, 0xFF, 0xFF, 1, 2, 3, 4]);
    let needed = 16 + 4 * 65_535;
    assert_eq!(Packet::parse(&huge), Err(PacketError::Short { length: 20, needed }));
    for (tail, padding) in [(&[0u8][..], 0), (&[1, 3], 3), (&[], 0)] {
        let payload = tail.len();
        let error = PacketError::Padding { padding, payload };
        assert_eq!(Packet::parse(&with(0xA0, tail)), Err(error));
    }
}

#[test]
fn rtcp_is_known_by_its_second_byte() {
    for second in 0..=255u8 {
        let rtcp = is_rtcp(&[0x80, second]);
        assert_eq!(rtcp, (192..=223).contains(&second), "{second}");
    }
    assert!(!is_rtcp(&[0x80]));
}

#[test]
fn fields_are_replaced_in_place() {
    let mut out = Vec::new();
    header().write(&mut out);
    set_kind(&mut out, 96, false);
    assert!(set_sequence(&mut out, 7));
    assert!(set_timestamp(&mut out, 8));
    assert!(set_ssrc(&mut out, 9));
    let expected = Header { marker: false, payload_type: 96, sequence: 7, timestamp: 8, ssrc: 9 };
    assert_eq!(Packet::parse(&out).unwrap().header(), expected);
    assert!(!set_ssrc(&mut out[..11], 1));
    set_extension_bit(&mut [], true);
}

#[test]
fn an_extension_sets_the_bit_and_none_leaves_it() {
    let mut out = vec![1, 2, 3];
    header().write_with(&mut out, Form::OneByte, |_| {});
    assert_eq!(Packet::parse(&out[3..]).unwrap().extension, None);
    let mut out = vec![1, 2, 3];
    let mut at = None;
    header().write_with(&mut out, Form::OneByte, |writer| {
        writer.mid(4, "v0");
        at = writer.reserve_transport_cc(3);
    });
    assert!(crate::extension::patch_transport_cc(&mut out, at.unwrap(), 0x1234));
    let packet = Packet::parse(&out[3..]).unwrap();
    let elements: Vec<_> = packet.extensions().collect();
    let expected = [Element { id: 4, data: b"v0" }, Element { id: 3, data: &[0x12, 0x34] }];
    assert_eq!(elements, expected);
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32,
        payload in proptest::collection::vec(any::<u8>(), 0..100), padding: u8,
        elements in proptest::collection::vec(
            (1u8..15, proptest::collection::vec(any::<u8>(), 1..17)), 0..8),
    ) {
        let header = Header { marker, payload_type, sequence, timestamp, ssrc };
        let mut out = Vec::new();
        header.write_with(&mut out, Form::OneByte, |writer| {
            for (id, data) in &elements {
                assert!(writer.push(*id, data));
            }
        });
        out.extend_from_slice(&payload);
        pad(&mut out, 0, padding);
        let packet = Packet::parse(&out).unwrap();
        prop_assert_eq!(packet.header(), header);
        prop_assert_eq!(packet.payload, &payload[..]);
        prop_assert_eq!(packet.padding, padding);
        let read: Vec<_> = packet.extensions().map(|e| (e.id, e.data.to_vec())).collect();
        prop_assert_eq!(read, elements);
    }

    #[test]
    fn any_bytes_are_refused_or_add_up(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(packet) = Packet::parse(&bytes) {
            let whole = packet.header_len + packet.payload.len() + usize::from(packet.padding);
            prop_assert_eq!(whole, bytes.len());
            prop_assert!(packet.extensions().count() <= bytes.len());
        }
    }
}
