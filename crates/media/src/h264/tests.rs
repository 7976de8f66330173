use super::*;
use proptest::prelude::*;

/// x264, High, 1280x720, 25 fps.
const HIGH_720P: &[u8] = &[
    0x01, 0x64, 0x00, 0x1f, 0xff, 0xe1, 0x00, 0x22, 0x67, 0x64, 0x00, 0x1f, 0xac, 0xb4, 0x02, 0x80,
    0x2d, 0xd8, 0x08, 0x80, 0x00, 0x00, 0x03, 0x00, 0x80, 0x00, 0x00, 0x19, 0x30, 0x10, 0x00, 0xf4,
    0x20, 0x00, 0x3d, 0x09, 0xc9, 0x44, 0x00, 0xf1, 0x83, 0x2a, 0x01, 0x00, 0x04, 0x68, 0xef, 0x3c,
    0xb0, 0xfd, 0xf8, 0xf8, 0x00,
];
/// x264, Baseline, 320x180 (cropped from 192 lines), 25 fps.
const BASELINE_180P: &[u8] = &[
    0x01, 0x42, 0xc0, 0x0c, 0xff, 0xe1, 0x00, 0x19, 0x67, 0x42, 0xc0, 0x0c, 0xd9, 0x01, 0x41, 0x9f,
    0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0xa4,
    0x80, 0x01, 0x00, 0x05, 0x68, 0xcb, 0x83, 0xcb, 0x20,
];
/// x264, High 10, 320x180, 25 fps.
const HIGH10_180P: &[u8] = &[
    0x01, 0x6e, 0x00, 0x0c, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x6e, 0x00, 0x0c, 0xa6, 0xcd, 0x94, 0x14,
    0x19, 0xf9, 0xf0, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x14,
    0x29, 0x96, 0x01, 0x00, 0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xfa, 0xfa, 0x00,
];
/// x264, Main, 1920x1080 interlaced, 25 fps.
const MAIN_1080I: &[u8] = &[
    0x01, 0x4d, 0x40, 0x28, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x4d, 0x40, 0x28, 0xec, 0xa0, 0x3c, 0x02,
    0x27, 0xef, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x21, 0xf1, 0x62,
    0xd9, 0x60, 0x01, 0x00, 0x05, 0x68, 0xfb, 0xa3, 0xcb, 0x20,
];

#[test]
fn records_of_x264_tell_profile_size_and_rate() {
    for (bytes, profile, level, width, height, depth) in [
        (HIGH_720P, "High", "3.1", 1280, 720, 8),
        (BASELINE_180P, "Baseline(Constrained)", "1.2", 320, 180, 8),
        (HIGH10_180P, "High(10)", "1.2", 320, 180, 10),
        (MAIN_1080I, "Main", "4", 1920, 1080, 8),
    ] {
        let config = AvcConfig::decode(bytes).unwrap();
        assert_eq!(profile_name(config.profile, config.constraints), profile);
        assert_eq!(level_name(config.level), level);
        assert_eq!((config.length_size, config.sps.len(), config.pps.len()), (4, 1, 1));
        let sps = Sps::decode(&config.sps[0]).unwrap();
        assert_eq!((sps.width, sps.height, sps.luma_depth), (width, height, depth), "{profile}");
        assert_eq!(sps.fps, Some(25.0), "{profile}");
        assert_eq!(config.encode(), bytes, "{profile}");
        let built = AvcConfig::from_parameter_sets(&config.sps, &config.pps).unwrap();
        assert_eq!(built, config, "{profile}");
    }
}

#[test]
fn a_high_record_without_its_high_part_is_taken() {
    let config = AvcConfig::decode(&HIGH_720P[..HIGH_720P.len() - 4]).unwrap();
    assert_eq!(config.high, None);
}

#[test]
fn a_record_cut_anywhere_is_an_error_and_never_worse() {
    for end in 0..HIGH_720P.len() - 4 {
        assert!(AvcConfig::decode(&HIGH_720P[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn an_sps_that_crops_everything_is_refused() {
    // Baseline, 16x16, cropped by 8 units of two samples on the left.
    let bits = "01100111 01000010 00000000 00001010 1 1 1 1 010 0 1 1 1 0 1 0001001 1 1 1 0 1";
    let bits: Vec<u8> = bits.bytes().filter(|b| *b != b' ').map(|b| b - b'0').collect();
    let unit: Vec<u8> = bits
        .chunks(8)
        .map(|c| c.iter().enumerate().fold(0, |byte, (i, bit)| byte | bit << (7 - i)))
        .collect();
    assert!(matches!(Sps::decode(&unit), Err(ReadError::Invalid { what: "picture size", .. })));
}

#[test]
fn an_access_unit_is_key_when_its_first_slice_is_idr() {
    let idr = [0, 2, 0x67, 1, 0, 2, 0x06, 1, 0, 3, 0x65, 1, 2];
    let other = [0, 2, 0x67, 1, 0, 3, 0x41, 1, 2, 0, 3, 0x65, 1, 2];
    assert!(is_key(&idr, 2));
    assert!(!is_key(&other, 2));
    assert!(!is_key(&idr[..9], 2));
    assert!(!is_key(&[], 4));
}

#[test]
fn names_are_those_of_the_api() {
    assert_eq!(profile_name(66, 0), "Baseline");
    assert_eq!(profile_name(110, 0x10), "High(10+Intra)");
    assert_eq!(profile_name(122, 0), "High(422)");
    assert_eq!(profile_name(244, 0), "High(444+Predictive)");
    assert_eq!(profile_name(1, 0), "Other");
    assert_eq!((level_name(10), level_name(22), level_name(52)), ("1", "2.2", "Other"));
}

proptest! {
    #[test]
    fn no_bytes_upset_the_decoders(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = AvcConfig::decode(&bytes);
        let _ = Sps::decode(&bytes);
        is_key(&bytes, 4);
    }

    #[test]
    fn a_damaged_sps_does_not_upset_the_decoder(at in 1usize..26, with in any::<u8>()) {
        let mut unit = HIGH10_180P[8..34].to_vec();
        unit[at] = with;
        let _ = Sps::decode(&unit);
    }

    #[test]
    fn records_survive_a_round_trip(
        profile in any::<u8>(), constraints in any::<u8>(), level in any::<u8>(),
        length_size in prop::sample::select(vec![1u8, 2, 4]),
        sps in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..5),
        pps in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..40),
        depth in 8u8..15,
    ) {
        let high = has_high_part(profile).then(|| HighConfig {
            chroma_format: 2,
            luma_depth: depth,
            chroma_depth: 8,
            sps_extensions: pps.iter().take(2).cloned().map(Bytes::from).collect(),
        });
        let config = AvcConfig {
            profile, constraints, level, length_size,
            sps: sps.into_iter().map(Bytes::from).collect(),
            pps: pps.into_iter().map(Bytes::from).collect(),
            high,
        };
        prop_assert_eq!(AvcConfig::decode(&config.encode()).unwrap(), config);
    }
}
