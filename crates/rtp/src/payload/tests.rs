//! What holds for every format: frames come back as they were, or not at all.

use bytes::{BufMut, Bytes};
use media::{Codec, Flags, Frame, Timestamp};
use proptest::prelude::*;

use super::*;

mod av1;
mod captures;
mod h264;
mod h265;
mod sound;
mod vpx;

/// Ticks between two frames.
const STEP: i64 = 3_000;

pub(super) fn frame(codec: Codec, flags: Flags, number: usize, payload: impl Into<Bytes>) -> Frame {
    let time = Timestamp::from_90k(number as i64 * STEP);
    Frame { codec, track: 0, flags, tag: 0, dts: time, pts: time, payload: payload.into() }
}

pub(super) fn config(codec: Codec, record: impl Into<Bytes>) -> Frame {
    frame(codec, Flags::CONFIG, 0, record)
}

/// One RTP packet, as far as payload formats see it.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// Which frame it belongs to.
    pub(super) frame: usize,
    pub(super) payload: Vec<u8>,
    pub(super) meta: PacketMeta,
}

pub(super) fn options(max_payload: usize) -> Options {
    Options { max_payload, ..Options::default() }
}

/// Cuts all frames; the configuration, where there is one, goes first.
pub(super) fn cut(config: Option<&Frame>, frames: &[Frame], options: Options) -> Vec<Packet> {
    let mut packetizer = Packetizer::new(frames[0].codec, options).unwrap();
    let mut out = Payloads::new();
    if let Some(config) = config {
        assert_eq!(packetizer.push(config, &mut out), Ok(Pushed::Config));
        assert!(out.is_empty());
    }
    let mut packets: Vec<Packet> = Vec::new();
    for (number, frame) in frames.iter().enumerate() {
        out.clear();
        assert_eq!(packetizer.push(frame, &mut out), Ok(Pushed::Packaged));
        assert!(!out.is_empty());
        for (at, (payload, bytes)) in out.iter().enumerate() {
            assert!(!bytes.is_empty());
            assert!(bytes.len() <= options.max_payload, "{} bytes", bytes.len());
            assert_eq!(payload.starts_frame, at == 0);
            if frame.kind() == media::Kind::Video {
                assert_eq!(payload.marker, at + 1 == out.len(), "the marker ends the frame");
            }
            let meta = PacketMeta {
                seq: 1_000 + packets.len() as u64,
                timestamp: number as i64 * STEP + i64::from(payload.ticks),
                marker: payload.marker,
                lost_before: false,
            };
            packets.push(Packet { frame: number, payload: bytes.to_vec(), meta });
        }
    }
    packets
}

/// Joins packets; fails at the first that is not understood.
pub(super) fn join(codec: Codec, packets: &[Packet]) -> (Vec<Unit>, Depacketizer) {
    let mut depacketizer = Depacketizer::new(codec).unwrap();
    let mut units = Vec::new();
    for packet in packets {
        depacketizer.push(&packet.payload, packet.meta).unwrap();
        units.extend(std::iter::from_fn(|| depacketizer.pull()));
    }
    (units, depacketizer)
}

/// Frames come back as they were; of video the first is told a configuration.
pub(super) fn check_round_trip(config: Option<&Frame>, frames: &[Frame], max: usize) {
    let packets = cut(config, frames, options(max));
    let (units, _) = join(frames[0].codec, &packets);
    assert_eq!(units.len(), frames.len());
    for (number, (unit, frame)) in units.iter().zip(frames).enumerate() {
        assert_eq!(unit.payload, frame.payload, "frame {number}");
        assert_eq!(unit.key, frame.is_key());
        assert_eq!(unit.timestamp, number as i64 * STEP);
        assert_eq!(unit.config.as_ref(), config.filter(|_| number == 0).map(|c| &c.payload));
    }
}

/// With the packets lost that `lost` names, exactly those frames come back that a decoder can
/// use: whole, and behind a whole key frame with nothing lost between.
pub(super) fn check_loss(config: Option<&Frame>, frames: &[Frame], max: usize, lost: &[bool]) {
    let packets = cut(config, frames, options(max));
    let is_lost = |at: usize| lost.get(at).copied().unwrap_or(false);
    let mut kept: Vec<_> = packets
        .iter()
        .enumerate()
        .filter(|(at, _)| !is_lost(*at))
        .map(|(_, packet)| packet.clone())
        .collect();
    if let (true, Some(first)) = (is_lost(0), kept.first_mut()) {
        first.meta.lost_before = true;
    }
    let mut depacketizer = Depacketizer::new(frames[0].codec).unwrap();
    let mut came = Vec::new();
    for packet in &kept {
        // A fragment whose start was lost with the whole frame before is no error to be told.
        depacketizer.push(&packet.payload, packet.meta).unwrap();
        came.extend(std::iter::from_fn(|| depacketizer.pull()));
    }
    let video = frames[0].kind() == media::Kind::Video;
    let mut needs_key = video;
    let mut expected = Vec::new();
    for (number, frame) in frames.iter().enumerate() {
        let mut own = packets.iter().enumerate().filter(|(_, packet)| packet.frame == number);
        if own.any(|(at, _)| is_lost(at)) {
            needs_key = video;
        } else if frame.is_key() || !needs_key {
            needs_key = false;
            expected.push((number as i64 * STEP, &frame.payload));
        }
    }
    let came: Vec<_> = came.iter().map(|unit| (unit.timestamp, &unit.payload)).collect();
    assert_eq!(came, expected);
}

/// Bytes that look like media: every value occurs, long runs of zeros too.
pub(super) fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    (0..length).map(|_| if next() & 0x300 == 0 { 0 } else { (next() >> 8) as u8 }).collect()
}

/// Which packets are lost: mostly few, sometimes most.
pub(super) fn losses() -> impl Strategy<Value = Vec<bool>> {
    prop_oneof![Just(0.02), Just(0.2), Just(0.7)]
        .prop_flat_map(|share| prop::collection::vec(prop::bool::weighted(share), 0..300))
}

pub(super) fn put_unit(out: &mut Vec<u8>, unit: &[u8]) {
    out.put_u32(unit.len() as u32);
    out.put_slice(unit);
}

mod opus {
    use super::*;

    fn packets() -> impl Strategy<Value = Vec<Frame>> {
        prop::collection::vec((1usize..64, any::<u32>()), 1..40).prop_map(|sizes| {
            let frames = sizes.into_iter().enumerate();
            frames
                .map(|(at, (size, seed))| frame(Codec::Opus, Flags::empty(), at, noise(seed, size)))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn packets_come_back(frames in packets(), max in 64usize..=1_400) {
            check_round_trip(None, &frames, max);
        }

        #[test]
        fn a_lost_packet_costs_itself_alone(frames in packets(), lost in losses()) {
            check_loss(None, &frames, 1_180, &lost);
        }
    }

    #[test]
    fn a_packet_longer_than_a_payload_is_refused_and_the_next_goes_on() {
        let mut packetizer = Packetizer::new(Codec::Opus, Options::default()).unwrap();
        let mut out = Payloads::new();
        let long = frame(Codec::Opus, Flags::empty(), 0, vec![1; 1_181]);
        let error = PacketizeError::TooLarge { what: "Opus packet", size: 1_181, max: 1_180 };
        assert_eq!(packetizer.push(&long, &mut out), Err(error));
        assert!(out.is_empty());
        let good = frame(Codec::Opus, Flags::empty(), 0, vec![1; 1_180]);
        assert_eq!(packetizer.push(&good, &mut out), Ok(Pushed::Packaged));
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn sound_never_needs_a_key() {
        assert!(!Depacketizer::new(Codec::Opus).unwrap().needs_key());
        assert!(Depacketizer::new(Codec::H264).unwrap().needs_key());
    }
}

#[test]
fn codecs_without_a_format_and_mixed_up_tracks_are_refused() {
    let error = Packetizer::new(Codec::Vp6, Options::default()).unwrap_err();
    assert_eq!(error, PacketizeError::Unsupported(Codec::Vp6));
    assert!(Depacketizer::new(Codec::ScriptData).is_err());
    let mut packetizer = Packetizer::new(Codec::Opus, Options::default()).unwrap();
    let wrong = frame(Codec::Aac, Flags::empty(), 0, vec![1]);
    let error = PacketizeError::WrongCodec { wants: Codec::Opus, got: Codec::Aac };
    assert_eq!(packetizer.push(&wrong, &mut Payloads::new()), Err(error));
}

#[test]
fn units_that_nobody_pulls_are_bounded() {
    let mut depacketizer = Depacketizer::new(Codec::Opus).unwrap();
    for seq in 0..1_000 {
        let meta = PacketMeta { seq, timestamp: seq as i64, marker: false, lost_before: false };
        depacketizer.push(&[1, 2, 3], meta).unwrap();
    }
    assert_eq!(std::iter::from_fn(|| depacketizer.pull()).count(), 64);
    assert_eq!(depacketizer.stats().unpulled, 936);
}

#[test]
fn payloads_that_come_late_or_twice_are_left_out() {
    let mut depacketizer = Depacketizer::new(Codec::Opus).unwrap();
    for seq in [5, 6, 6, 4, 7] {
        let meta = PacketMeta { seq, timestamp: 0, marker: false, lost_before: false };
        depacketizer.push(&[seq as u8], meta).unwrap();
    }
    let came: Vec<_> = std::iter::from_fn(|| depacketizer.pull()).collect();
    assert_eq!(came.iter().map(|unit| unit.payload[0]).collect::<Vec<_>>(), [5, 6, 7]);
    assert_eq!(depacketizer.stats(), Stats { units: 3, late: 2, ..Stats::default() });
}
