use proptest::prelude::*;

use super::*;

const PROFILES: [Profile; 3] =
    [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The client's sender and receiver, and the server's.
fn both(profile: Profile) -> [(Sender, Receiver); 2] {
    let keying: Vec<u8> = (0..profile.keying_len() as u8).collect();
    [true, false].map(|client| from_exported(profile, &keying, client).unwrap())
}

fn rtp(index: u64, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend_from_slice(&(index as u16).to_be_bytes());
    packet.extend_from_slice(&[1, 2, 3, 4]);
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

fn rtcp(ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, (1 + payload.len() / 4) as u8];
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

fn protected(sender: &Sender, index: u64, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = rtp(index, ssrc, payload);
    sender.protect(index, ssrc, &mut packet, 0, 12).unwrap();
    packet
}

#[test]
fn packets_are_sealed_as_in_rfc_7714_16() {
    let salt = *hex("517569642070726f2071756f").first_chunk().unwrap();
    let key: Vec<u8> = (0..32).collect();
    let plain = hex("8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e697320646976697361\
                     20696e207061727465732074726573");
    let expected = [
        (
            16,
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a\
             51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            32,
            "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a02\
             76ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
    ];
    for (len, expected) in expected {
        let sender = Sender {
            profile: Profile::AeadAes128Gcm,
            rtp: Cipher::gcm(&key[..len], salt),
            rtcp: Cipher::gcm(&key[..len], salt),
            next_rtcp: 0,
        };
        let mut packet = vec![9, 9];
        packet.extend_from_slice(&plain);
        sender.protect(0xf17b, 0x5501_a0b2, &mut packet, 2, 12).unwrap();
        assert_eq!(packet[2..], hex(expected));
    }
}

#[test]
fn reports_are_sealed_as_in_rfc_7714_17() {
    let salt = *hex("517569642070726f2071756f").first_chunk().unwrap();
    let key: Vec<u8> = (0..16).collect();
    let mut sender = Sender {
        profile: Profile::AeadAes128Gcm,
        rtp: Cipher::gcm(&key, salt),
        rtcp: Cipher::gcm(&key, salt),
        next_rtcp: 0x5d4,
    };
    let mut packet = hex("81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
                          deadbeefdeadbeefdeadbeefdeadbeefdeadbeef");
    sender.protect_rtcp(&mut packet, 0).unwrap();
    let expected = "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d\
                    6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4";
    assert_eq!(packet, hex(expected));
}

#[test]
fn what_one_side_protects_the_other_opens_in_every_profile() {
    for profile in PROFILES {
        let [(mut client, mut client_in), (mut server, mut server_in)] = both(profile);
        for (sender, receiver) in [(&mut client, &mut server_in), (&mut server, &mut client_in)] {
            let mut packet = protected(sender, 5, 7, b"payload");
            assert_eq!(packet.len(), 12 + 7 + profile.tag_len());
            assert_ne!(&packet[12..19], b"payload");
            let len = receiver.unprotect(&mut packet).unwrap();
            assert_eq!(&packet[..len], rtp(5, 7, b"payload"));
            for _ in 0..3 {
                let mut report = vec![1];
                report.extend_from_slice(&rtcp(7, b"reports!"));
                sender.protect_rtcp(&mut report, 1).unwrap();
                assert_eq!(report.len(), 1 + 16 + profile.tag_len() + 4);
                let len = receiver.unprotect_rtcp(&mut report[1..]).unwrap();
                assert_eq!(&report[1..=len], rtcp(7, b"reports!"));
            }
        }
    }
}

#[test]
fn sequence_numbers_wrap_and_may_come_late() {
    for profile in PROFILES {
        let [(sender, _), (_, mut receiver)] = both(profile);
        for index in [65_530, 65_534, 65_540, 65_535, 65_531, 65_536, 90_000, 120_000, 131_080] {
            let mut packet = protected(&sender, index, 1, b"x");
            assert_eq!(receiver.unprotect(&mut packet), Ok(13), "{index} of {profile}");
        }
    }
}

#[test]
fn a_packet_is_taken_once() {
    for profile in PROFILES {
        let [(mut sender, _), (_, mut receiver)] = both(profile);
        for index in [100, 99, 101, 90, 1_123, 1_124] {
            let packet = protected(&sender, index, 1, b"x");
            assert!(receiver.unprotect(&mut packet.clone()).is_ok(), "{index}");
            let again = receiver.unprotect(&mut packet.clone());
            assert_eq!(again, Err(SrtpError::Replayed(index)));
        }
        let mut old = protected(&sender, 98, 1, b"x");
        assert_eq!(receiver.unprotect(&mut old), Err(SrtpError::Replayed(98)));
        let mut within = protected(&sender, 102, 1, b"x");
        assert!(receiver.unprotect(&mut within).is_ok());

        let mut report = rtcp(1, &[]);
        sender.protect_rtcp(&mut report, 0).unwrap();
        assert!(receiver.unprotect_rtcp(&mut report.clone()).is_ok());
        assert_eq!(receiver.unprotect_rtcp(&mut report), Err(SrtpError::Replayed(0)));
    }
}

#[test]
fn forged_sources_are_not_remembered_and_true_ones_are_bounded() {
    let [(sender, _), (_, mut receiver)] = both(Profile::AeadAes128Gcm);
    for ssrc in 0..1_000 {
        let mut forged = rtp(1, ssrc, &[0; 40]);
        assert_eq!(receiver.unprotect(&mut forged), Err(SrtpError::Authentication));
    }
    assert!(receiver.rtp_streams.is_empty());
    for ssrc in 0..MAX_STREAMS as u32 {
        assert!(receiver.unprotect(&mut protected(&sender, 1, ssrc, b"x")).is_ok());
    }
    let mut more = protected(&sender, 1, 1_000, b"x");
    assert_eq!(receiver.unprotect(&mut more), Err(SrtpError::TooManyStreams));
    assert!(receiver.unprotect(&mut protected(&sender, 2, 5, b"x")).is_ok());
}

#[test]
fn keys_that_are_used_up_protect_no_more() {
    let [(mut sender, _), _] = both(Profile::AeadAes128Gcm);
    let mut packet = rtp(0, 1, b"x");
    assert_eq!(sender.protect(1 << 48, 1, &mut packet, 0, 12), Err(SrtpError::Exhausted));
    sender.next_rtcp = 1 << 31;
    assert_eq!(sender.protect_rtcp(&mut rtcp(1, &[]), 0), Err(SrtpError::Exhausted));
}

#[test]
fn a_header_longer_than_the_packet_is_refused() {
    let [(sender, _), (_, mut receiver)] = both(Profile::Aes128CmSha1_80);
    assert_eq!(sender.protect(0, 1, &mut rtp(0, 1, b"x"), 0, 14), Err(SrtpError::Short(13)));
    assert_eq!(sender.protect(0, 1, &mut Vec::new(), 7, 12), Err(SrtpError::Short(0)));
    let mut packet = rtp(0, 1, &[0; 20]);
    packet[0] = 0x9f;
    assert_eq!(receiver.unprotect(&mut packet), Err(SrtpError::Short(32)));
    assert!(from_exported(Profile::AeadAes128Gcm, &[0; 55], true).is_err());
}

proptest! {
    #[test]
    fn whatever_is_protected_comes_back(
        profile in 0..3usize,
        index in 0..40_000u64,
        ssrc: u32,
        payload in proptest::collection::vec(any::<u8>(), 0..1_300),
    ) {
        let [(mut sender, _), (_, mut receiver)] = both(PROFILES[profile]);
        let mut packet = protected(&sender, index, ssrc, &payload);
        let len = receiver.unprotect(&mut packet).unwrap();
        prop_assert_eq!(&packet[..len], rtp(index, ssrc, &payload));
        let mut report = rtcp(ssrc, &payload);
        sender.protect_rtcp(&mut report, 0).unwrap();
        let len = receiver.unprotect_rtcp(&mut report).unwrap();
        prop_assert_eq!(&report[..len], rtcp(ssrc, &payload));
    }

    #[test]
    fn no_flipped_bit_gets_through_or_is_remembered(
        profile in 0..3usize,
        place: prop::sample::Index,
        bit in 0..8u32,
        report: bool,
    ) {
        let [(mut sender, _), (_, mut receiver)] = both(PROFILES[profile]);
        let mut good = if report { rtcp(9, &[5; 24]) } else { rtp(300, 9, &[5; 24]) };
        if report {
            sender.protect_rtcp(&mut good, 0).unwrap();
        } else {
            sender.protect(300, 9, &mut good, 0, 12).unwrap();
        }
        let mut bad = good.clone();
        bad[place.index(good.len())] ^= 1 << bit;
        if report {
            prop_assert!(receiver.unprotect_rtcp(&mut bad).is_err());
            prop_assert!(receiver.unprotect_rtcp(&mut good).is_ok());
        } else {
            prop_assert!(receiver.unprotect(&mut bad).is_err());
            prop_assert!(receiver.unprotect(&mut good).is_ok());
        }
    }
}

/// `cargo test --release -p rtc -- --ignored --nocapture nanoseconds`
#[test]
#[ignore = "measures and asserts nothing"]
fn nanoseconds_per_packet_of_1_000_bytes() {
    const ROUNDS: u64 = 400_000;
    for profile in PROFILES {
        let [(sender, _), (_, mut receiver)] = both(profile);
        let plain = rtp(0, 9, &[7; 988]);
        let mut packet = Vec::with_capacity(2_000);
        let begun = std::time::Instant::now();
        for index in 0..ROUNDS {
            packet.clear();
            packet.extend_from_slice(&plain);
            sender.protect(index, 9, &mut packet, 0, 12).unwrap();
            std::hint::black_box(&packet);
        }
        let sent = begun.elapsed().as_nanos() / u128::from(ROUNDS);
        let sealed: Vec<Vec<u8>> =
            (0..20_000).map(|index| protected(&sender, index, 9, &[7; 988])).collect();
        let begun = std::time::Instant::now();
        for mut packet in sealed {
            std::hint::black_box(receiver.unprotect(&mut packet).unwrap());
        }
        let taken = begun.elapsed().as_nanos() / 20_000;
        println!("{profile}: protect {sent} ns, unprotect {taken} ns");
    }
}
