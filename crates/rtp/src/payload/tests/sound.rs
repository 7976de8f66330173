//! G.711, MP3 and AAC.

use super::*;

fn sounds(codec: Codec, sizes: impl Strategy<Value = usize>) -> impl Strategy<Value = Vec<Frame>> {
    prop::collection::vec((sizes, any::<u32>()), 1..30).prop_map(move |sizes| {
        let sizes = sizes.into_iter().enumerate();
        sizes
            .map(|(at, (size, seed))| frame(codec, Flags::empty(), at, noise(seed, size)))
            .collect()
    })
}

/// MPEG-1 layer III, 48 kHz, 320 kbit/s: 960 bytes, 24 ms.
fn mp3_frame(seed: u32) -> Vec<u8> {
    [vec![0xff, 0xfb, 0xe4, 0x00], noise(seed, 956)].concat()
}

fn mp3_frames() -> impl Strategy<Value = Vec<Frame>> {
    prop::collection::vec(any::<u32>(), 1..20).prop_map(|seeds| {
        let seeds = seeds.into_iter().enumerate();
        seeds.map(|(at, seed)| frame(Codec::Mp3, Flags::empty(), at, mp3_frame(seed))).collect()
    })
}

proptest! {
    #[test]
    fn samples_come_back_each_at_its_time(
        codec in prop::sample::select(vec![Codec::G711A, Codec::G711U]),
        size in 1usize..3_000, max in 64usize..=1_400,
    ) {
        let sound = frame(codec, Flags::empty(), 0, noise(1, size));
        let packets = cut(None, std::slice::from_ref(&sound), options(max));
        let (units, _) = join(codec, &packets);
        let mut came = Vec::new();
        for unit in units {
            prop_assert_eq!(unit.timestamp, came.len() as i64);
            came.extend_from_slice(&unit.payload);
        }
        prop_assert_eq!(came, &sound.payload[..]);
    }

    #[test]
    fn access_units_of_aac_come_back(
        frames in sounds(Codec::Aac, 1usize..3_000), max in 64usize..=1_400,
    ) {
        check_round_trip(None, &frames, max);
    }

    #[test]
    fn with_packets_lost_only_whole_access_units_of_aac_come_back(
        frames in sounds(Codec::Aac, 1usize..1_100), lost in losses(),
    ) {
        // Whole units alone: of fragments the first cannot be told once one is lost.
        check_loss(None, &frames, 1_180, &lost);
    }

    #[test]
    fn frames_of_mp3_come_back(frames in mp3_frames(), max in 64usize..=1_400) {
        check_round_trip(None, &frames, max);
    }

    #[test]
    fn with_packets_lost_only_whole_frames_of_mp3_come_back(
        frames in mp3_frames(), max in 64usize..=1_400, lost in losses(),
    ) {
        check_loss(None, &frames, max, &lost);
    }

    #[test]
    fn lost_fragments_of_aac_never_make_a_wrong_unit(
        frames in sounds(Codec::Aac, 1usize..3_000), max in 64usize..=1_400, lost in losses(),
    ) {
        let packets = cut(None, &frames, options(max));
        let mut depacketizer = Depacketizer::new(Codec::Aac).unwrap();
        let kept = packets.iter().enumerate();
        let kept = kept.filter(|(at, _)| *at > 0 && !lost.get(*at).copied().unwrap_or(false));
        for (place, (_, packet)) in kept.enumerate() {
            let meta = PacketMeta { lost_before: place == 0, ..packet.meta };
            depacketizer.push(&packet.payload, meta).unwrap();
            while let Some(unit) = depacketizer.pull() {
                prop_assert_eq!(&unit.payload, &frames[(unit.timestamp / STEP) as usize].payload);
            }
        }
    }
}

#[test]
fn several_frames_of_mp3_share_a_payload_and_later_ones_are_later() {
    let payload = [mp3_frame(1), mp3_frame(2), mp3_frame(3)].concat();
    let sound = frame(Codec::Mp3, Flags::empty(), 0, payload.clone());
    let mut packetizer = Packetizer::new(Codec::Mp3, options(2_000)).unwrap();
    let mut out = Payloads::new();
    packetizer.push(&sound, &mut out).unwrap();
    let seen: Vec<_> = out.iter().map(|(payload, bytes)| (payload.ticks, bytes.len())).collect();
    assert_eq!(seen, [(0, 4 + 2 * 960), (2 * 2_160, 4 + 960)]);
}

#[test]
fn a_payload_may_hold_several_access_units_of_aac() {
    let mut depacketizer = Depacketizer::new(Codec::Aac).unwrap();
    let meta = PacketMeta { seq: 0, timestamp: 5_000, marker: true, lost_before: false };
    depacketizer.push(&[0, 32, 0, 2 << 3, 0, 1 << 3, 7, 8, 9], meta).unwrap();
    let units: Vec<_> = std::iter::from_fn(|| depacketizer.pull()).collect();
    let seen: Vec<_> = units.iter().map(|unit| (unit.timestamp, &unit.payload[..])).collect();
    assert_eq!(seen, [(5_000, &[7, 8][..]), (6_024, &[9])]);
}

#[test]
fn hostile_payloads_are_refused_by_name() {
    let interleaved = DepacketizeError::Unsupported { what: "interleaved AAC" };
    for (codec, payload, error) in [
        (Codec::Mp3, &[0, 0, 0][..], error::truncated("MPEG audio header", 3)),
        (Codec::Mp3, &[0, 0, 0, 0], error::truncated("MPEG audio frame", 4)),
        (Codec::Mp3, &[0, 0, 0, 9, 1], DepacketizeError::NoStart),
        (Codec::Aac, &[0], error::truncated("AU headers", 1)),
        (Codec::Aac, &[0, 16, 0], error::truncated("AU headers", 3)),
        (Codec::Aac, &[0, 0, 1], error::truncated("AAC access unit", 3)),
        (Codec::Aac, &[0, 16, 0, 8], error::truncated("AAC access unit", 4)),
        (Codec::Aac, &[0, 16, 0, 0, 1], error::invalid("size of an access unit", 0, 2)),
        (Codec::Aac, &[0, 16, 0, 8, 1, 2], error::invalid("size of an access unit", 1, 2)),
        (Codec::Aac, &[0, 32, 0, 8, 0, 9, 1, 2], interleaved),
        (Codec::Aac, &[0, 32, 0, 8, 0, 80, 1, 2], error::invalid("size of an access unit", 11, 2)),
        (Codec::Aac, &[[2, 16].as_slice(), &[0, 8].repeat(33), &[0]].concat(), {
            DepacketizeError::TooMany { max: 32 }
        }),
    ] {
        let mut depacketizer = Depacketizer::new(codec).unwrap();
        let meta = PacketMeta { seq: 0, timestamp: 0, marker: true, lost_before: false };
        assert_eq!(depacketizer.push(payload, meta), Err(error), "{codec} {payload:x?}");
        assert_eq!(depacketizer.pull(), None);
    }
    let long = frame(Codec::Aac, Flags::empty(), 0, vec![1; 0x2000]);
    let error = PacketizeError::TooLarge { what: "AAC access unit", size: 0x2000, max: 0x1fff };
    let mut packetizer = Packetizer::new(Codec::Aac, Options::default()).unwrap();
    assert_eq!(packetizer.push(&long, &mut Payloads::new()), Err(error));
}
