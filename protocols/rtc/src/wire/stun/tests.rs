use proptest::prelude::*;

use super::*;

/// The transaction of RFC 5769 §2.1 to §2.3.
const TRANSACTION: Transaction =
    [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn sample_request() -> Vec<u8> {
    hex("00 01 00 58 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
         80 22 00 10 53 54 55 4e 20 74 65 73 74 20 63 6c 69 65 6e 74
         00 24 00 04 6e 00 01 ff 80 29 00 08 93 2f f9 b1 51 26 3b 36
         00 06 00 09 65 76 74 6a 3a 68 36 76 59 20 20 20
         00 08 00 14 9a ea a7 0c bf d8 cb 56 78 1e f2 b5 b2 d3 f2 49 c1 b5 71 a2
         80 28 00 04 e5 7a 3b cf")
}

#[test]
fn the_sample_request_of_rfc_5769_is_read() {
    let bytes = sample_request();
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.class, Class::Request);
    assert_eq!(message.transaction, TRANSACTION);
    assert_eq!(message.software, Some(b"STUN test client".as_slice()));
    assert_eq!(message.priority, Some(0x6e00_01ff));
    assert_eq!(message.controlled, Some(0x932f_f9b1_5126_3b36));
    assert_eq!(message.fragments(), Some(("evtj", "h6vY")));
    assert!(message.fingerprint);
    assert!(message.verify(PASSWORD));
    assert!(!message.verify(b"VOkJxbRl1RmTxUk/WvJxBu"));
    assert_eq!(username(&bytes), Some(("evtj", "h6vY")));
}

#[test]
fn the_sample_answers_of_rfc_5769_are_read() {
    let four = hex("01 01 00 3c 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
        80 22 00 0b 74 65 73 74 20 76 65 63 74 6f 72 20 00 20 00 08 00 01 a1 47 e1 12 a6 43
        00 08 00 14 2b 91 f5 99 fd 9e 90 c3 8c 74 89 f9 2a f9 ba 53 f0 6b e7 d7
        80 28 00 04 c0 7d 4c 96");
    let six = hex("01 01 00 48 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae
        80 22 00 0b 74 65 73 74 20 76 65 63 74 6f 72 20
        00 20 00 14 00 02 a1 47 01 13 a9 fa a5 d3 f1 79 bc 25 f4 b5 be d2 b9 d9
        00 08 00 14 a3 82 95 4e 4b e6 7b f1 17 84 c9 7c 82 92 c2 75 bf e3 ed 41
        80 28 00 04 c8 fb 0b 4c");
    for (bytes, mapped) in
        [(four, "192.0.2.1:32853"), (six, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
    {
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.class, Class::Success);
        assert_eq!(message.mapped, Some(mapped.parse().unwrap()));
        assert!(message.fingerprint && message.verify(PASSWORD));
        assert_eq!(username(&bytes), None);
    }
}

#[test]
fn the_long_term_request_of_rfc_5769_is_read() {
    let bytes = hex("00 01 00 60 21 12 a4 42 78 ad 34 33 c6 ad 72 c0 29 da 41 2e
        00 06 00 12 e3 83 9e e3 83 88 e3 83 aa e3 83 83 e3 82 af e3 82 b9 00 00
        00 15 00 1c 66 2f 2f 34 39 39 6b 39 35 34 64 36 4f 4c 33 34 6f 4c 39 46 53 54 76 79
        36 34 73 41 00 14 00 0b 65 78 61 6d 70 6c 65 2e 6f 72 67 00
        00 08 00 14 f6 70 24 65 6d d6 4a 3e 02 b8 e0 71 2e 85 c9 a2 8c a8 96 66");
    let message = Message::decode(&bytes).unwrap();
    assert!(!message.fingerprint);
    assert!(message.unknown.is_empty());
    // MD5 of user, realm and password.
    assert!(message.verify(&hex("e8ca7ad59d5eb0518e312911d2dab2a9")));
    assert_eq!(message.fragments(), None);
}

#[test]
fn what_is_unknown_and_must_not_be_is_told() {
    let writer = Writer::new(Class::Request, TRANSACTION).username("a", "b");
    let bytes = writer.attribute(0x7777, &[1]).attribute(0xc057, &[0, 1, 0, 2]).finish(None);
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.unknown.as_slice(), [0x7777]);
    assert!(!message.has_integrity() && !message.verify(b""));
}

#[test]
fn what_follows_the_integrity_is_not_believed() {
    let mut bytes = Writer::new(Class::Request, TRANSACTION).finish(Some(PASSWORD));
    bytes.truncate(bytes.len() - 8);
    let writer = Writer { bytes, transaction: TRANSACTION }.use_candidate().username("a", "b");
    let bytes = writer.finish(None);
    let message = Message::decode(&bytes).unwrap();
    assert!(message.verify(PASSWORD));
    assert!(!message.use_candidate);
    assert_eq!(message.username, None);
}

#[test]
fn too_many_attributes_are_refused() {
    let mut writer = Writer::new(Class::Request, TRANSACTION);
    for _ in 0..=MAX_ATTRIBUTES {
        writer = writer.attribute(0x8000, &[]);
    }
    let bytes = writer.finish(None);
    assert_eq!(Message::decode(&bytes), Err(StunError::TooMany));
    assert_eq!(username(&bytes), None);
}

#[test]
fn an_address_of_ipv4_in_ipv6_is_told_as_ipv4() {
    let address = "[::ffff:192.0.2.7]:9".parse().unwrap();
    let bytes = Writer::new(Class::Success, TRANSACTION).mapped(address).finish(None);
    let mapped = Message::decode(&bytes).unwrap().mapped;
    assert_eq!(mapped, Some("192.0.2.7:9".parse().unwrap()));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        transaction: Transaction,
        receiver in "[a-zA-Z0-9+/]{4,40}",
        sender in "[a-zA-Z0-9+/]{4,40}",
        password in "[a-zA-Z0-9+/]{22,64}",
        priority: u32,
        tie: u64,
        nominate: bool,
        code in 300..700u16,
        address: std::net::SocketAddr,
    ) {
        let mut writer = Writer::new(Class::Request, transaction)
            .username(&receiver, &sender)
            .priority(priority)
            .controlling(tie)
            .error(code, "Reason")
            .mapped(address);
        if nominate {
            writer = writer.use_candidate();
        }
        let bytes = writer.finish(Some(password.as_bytes()));
        let message = Message::decode(&bytes).unwrap();
        prop_assert_eq!(message.transaction, transaction);
        prop_assert_eq!(message.fragments(), Some((receiver.as_str(), sender.as_str())));
        prop_assert_eq!(username(&bytes), message.fragments());
        prop_assert_eq!(message.priority, Some(priority));
        prop_assert_eq!(message.controlling, Some(tie));
        prop_assert_eq!(message.use_candidate, nominate);
        prop_assert_eq!(message.error, Some(code));
        let canonical = std::net::SocketAddr::new(address.ip().to_canonical(), address.port());
        prop_assert_eq!(message.mapped, Some(canonical));
        prop_assert!(message.fingerprint && message.verify(password.as_bytes()));
    }

    #[test]
    fn no_flipped_bit_passes_for_signed(place: prop::sample::Index, bit in 0..8u32) {
        let mut bytes = sample_request();
        let at = place.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(Message::decode(&bytes).is_err_and(|_| true)
            || !Message::decode(&bytes).unwrap().verify(PASSWORD)
            // The checksum's own type, turned into one that may be ignored.
            || !Message::decode(&bytes).unwrap().fingerprint);
    }

    #[test]
    fn any_bytes_are_taken_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        let _ = Message::decode(&bytes);
        if bytes.len() >= 20 {
            bytes[0] = 0;
            bytes[1] = 1;
            let len = ((bytes.len() - 20) as u16).to_be_bytes();
            bytes[2..4].copy_from_slice(&len);
            bytes[4..8].copy_from_slice(&COOKIE.to_be_bytes());
            if let Ok(message) = Message::decode(&bytes) {
                prop_assert_eq!(username(&bytes), message.fragments().filter(|_| message.username.is_some()));
            }
        }
    }
}
