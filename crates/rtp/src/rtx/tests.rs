use proptest::prelude::*;

use super::*;
use crate::extension::Form;
use crate::packet::{Header, Packet, pad};

fn original(payload: &[u8], padding: u8) -> Vec<u8> {
    let header = Header { marker: true, payload_type: 96, sequence: 7, timestamp: 8, ssrc: 9 };
    let mut out = Vec::new();
    header.write_with(&mut out, Form::OneByte, |writer| {
        writer.mid(1, "0");
    });
    out.extend_from_slice(payload);
    pad(&mut out, 0, padding);
    out
}

const TARGET: Target = Target { ssrc: 99, payload_type: 97, sequence: 65_535 };

#[test]
fn the_number_of_the_original_heads_the_payload() {
    let mut out = vec![1];
    wrap(&original(b"abc", 0), TARGET, &mut out).unwrap();
    let packet = Packet::parse(&out[1..]).unwrap();
    assert_eq!(packet.payload, b"\0\x07abc");
    let header =
        Header { marker: true, payload_type: 97, sequence: 65_535, timestamp: 8, ssrc: 99 };
    assert_eq!(packet.header(), header);
    assert_eq!(packet.extensions().get(1), Some(&b"0"[..]));
}

#[test]
fn probes_and_junk_are_no_retransmissions() {
    for payload in [&b""[..], b"\0", b"\0\x07"] {
        for padding in [0, 4] {
            let mut packet = original(payload, padding);
            assert_eq!(unwrap(&mut packet, 1, 2), Err(RtxError::Empty));
        }
    }
    // Padding that claims more than the packet.
    let mut packet = original(b"abcdef", 4);
    *packet.last_mut().unwrap() = 255;
    assert_eq!(unwrap(&mut packet, 1, 2), Err(RtxError::Empty));
    let mut out = Vec::new();
    assert!(matches!(wrap(&[0x80; 5], TARGET, &mut out), Err(RtxError::Packet(_))));
    assert!(matches!(unwrap(&mut [0x80; 5], 1, 2), Err(RtxError::Packet(_))));
    assert!(out.is_empty());
}

proptest! {
    #[test]
    fn what_is_wrapped_is_unwrapped_to_the_same_bytes(
        payload in proptest::collection::vec(any::<u8>(), 1..200), padding in 0u8..20,
    ) {
        let original = original(&payload, padding);
        let mut wrapped = Vec::new();
        wrap(&original, TARGET, &mut wrapped).unwrap();
        prop_assert_eq!(wrapped.len(), original.len() + OVERHEAD);
        let unwrapped = unwrap(&mut wrapped, 9, 96).unwrap();
        prop_assert_eq!(&*unwrapped, &original[..]);
    }

    #[test]
    fn any_bytes_are_unwrapped_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let length = bytes.len();
        if let Ok(made) = unwrap(&mut bytes, 1, 2) {
            prop_assert_eq!(made.len(), length - OVERHEAD);
        }
    }
}
