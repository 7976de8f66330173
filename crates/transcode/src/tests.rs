//! Whole ways, there and back, within the process.

use std::f64::consts::TAU;

use bytes::Bytes;
use media::aac::{AudioConfig, LC};
use media::{Codec, Flags, Frame, Timestamp};
use proptest::prelude::*;

use crate::chain::Chain;
use crate::decode::{Decoder, Sound};
use crate::g711::Law;
use crate::{AacOptions, Error, OpusOptions, ToAac, ToG711, ToOpus};

fn frame(codec: Codec, pts: Timestamp, payload: impl Into<Bytes>) -> Frame {
    Frame { codec, track: 0, flags: Flags::empty(), tag: 0, dts: pts, pts, payload: payload.into() }
}

fn config(codec: Codec, payload: impl Into<Bytes>) -> Frame {
    Frame { flags: Flags::CONFIG, ..frame(codec, Timestamp::ZERO, payload) }
}

/// The loudness at 48 kHz of what is heard, by 10 ms from `from` on; and where its frames begin.
struct Heard {
    /// Left channel, sample 0 at time `origin`.
    samples: Vec<f32>,
    origin: Timestamp,
}

impl Heard {
    /// Decodes frames of one coding and lays each at its timestamp.
    fn of(frames: &[Frame]) -> Self {
        let origin = frames.iter().find(|frame| frame.is_media()).unwrap().pts;
        let mut decoder = Decoder::new(frames[0].codec).unwrap();
        let mut samples = Vec::new();
        for frame in frames {
            if frame.is_config() {
                decoder.configure(&frame.payload).unwrap();
                continue;
            }
            let mut sound = Sound::default();
            decoder.decode(frame, &mut sound).unwrap();
            let at = Timestamp::from_micros(frame.pts.micros_since(origin)).as_ticks(sound.rate);
            samples.resize(at as usize, 0.0);
            samples.extend_from_slice(&sound.left);
        }
        Self { samples, origin }
    }

    /// Power between two times in milliseconds.
    fn power(&self, from: i64, to: i64) -> f64 {
        let at = |ms: i64| ((ms * 1_000 - self.origin.as_micros()) * 48 / 1_000) as usize;
        let span = &self.samples[at(from)..at(to)];
        span.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / span.len() as f64
    }

    /// When the sound first becomes loud after `from`, in microseconds.
    fn onset(&self, from: i64) -> i64 {
        let first = ((from * 1_000 - self.origin.as_micros()) * 48 / 1_000) as usize;
        let at = self.samples[first..].iter().position(|s| s.abs() > 0.15).unwrap();
        self.origin.as_micros() + ((first + at) as i64) * 1_000 / 48
    }
}

/// Silence, but for a tone of 1 kHz that begins at every full second and lasts 200 ms.
fn beep(at: f64) -> f32 {
    let within = at.rem_euclid(1.0);
    if within < 0.2 { (0.5 * (within * 1_000.0 * TAU).sin()) as f32 } else { 0.0 }
}

/// AAC of beeps, stereo, made here; frame k is heard at its timestamp.
fn aac_beeps(rate: u32, count: usize) -> Vec<Frame> {
    let options = syom::EncodeOptions::raw();
    let mut encoder = syom::Encoder::new(rate, 2, &options).unwrap();
    let mut frames = vec![config(Codec::Aac, AudioConfig::new(LC, rate, 2).encode())];
    for block in 0..count {
        let pcm: Vec<f32> =
            (0..1_024).map(|at| beep((block * 1_024 + at) as f64 / f64::from(rate))).collect();
        encoder
            .feed(&[&pcm, &pcm], |unit| {
                let pts = Timestamp::from_ticks(block as i64 * 1_024 - 1_024, rate);
                frames.push(frame(Codec::Aac, pts, unit.payload.to_vec()));
                Ok(())
            })
            .unwrap();
    }
    frames
}

/// Opus of beeps in packets of `samples`, made here; packet k is heard at its timestamp.
fn opus_beeps(samples: usize, channels: usize, count: usize) -> Vec<Frame> {
    let application = opus_pure::Application::Audio;
    let mut encoder = opus_pure::OpusEncoder::new(48_000, channels, application).unwrap();
    let delay = encoder.lookahead() as i64;
    let packets = (0..count).map(|packet| {
        let pcm: Vec<f32> = (0..samples)
            .flat_map(|at| {
                let at = beep((packet * samples + at) as f64 / 48_000.0);
                std::iter::repeat_n(at, channels)
            })
            .collect();
        let mut bytes = [0; 1_500];
        let len = encoder.encode(&pcm, samples, &mut bytes).unwrap();
        let pts = Timestamp::from_ticks((packet * samples) as i64 - delay, 48_000);
        frame(Codec::Opus, pts, bytes[..len].to_vec())
    });
    packets.collect()
}

fn to_opus(frames: &[Frame]) -> Vec<Frame> {
    let mut transcoder = ToOpus::new(OpusOptions::default());
    let mut out = Vec::new();
    for frame in frames {
        transcoder.push(frame, &mut out).unwrap();
    }
    out
}

fn to_aac(frames: &[Frame]) -> Vec<Frame> {
    let mut transcoder = ToAac::new(AacOptions::default());
    let mut out = Vec::new();
    for frame in frames {
        transcoder.push(frame, &mut out).unwrap();
    }
    out
}

/// Every frame follows the one before without a gap, but for those that say so.
fn assert_unbroken(frames: &[Frame], samples: i64) {
    let media: Vec<_> = frames.iter().filter(|frame| frame.is_media()).collect();
    let mut anchor = (0, media[0].pts);
    for (at, frame) in media.iter().enumerate() {
        if frame.flags.contains(Flags::DISCONTINUITY) {
            anchor = (at, frame.pts);
        }
        let since = Timestamp::from_ticks((at - anchor.0) as i64 * samples, 48_000);
        assert_eq!(frame.pts, anchor.1.offset(since.as_micros()), "frame {at}");
        assert_eq!(frame.dts, frame.pts);
    }
}

#[test]
fn transcoders_can_move_between_threads() {
    fn movable<T: Send>() {}
    movable::<ToOpus>();
    movable::<ToAac>();
    movable::<ToG711>();
}

#[test]
fn aac_becomes_opus_that_is_heard_at_the_same_time() {
    for rate in [48_000, 44_100, 32_000, 22_050] {
        let frames = aac_beeps(rate, (rate * 5 / 1_024) as usize);
        let out = to_opus(&frames);
        assert_eq!(&out[0].payload[..8], b"OpusHead");
        assert!(out[0].is_config() && out[1..].iter().all(Frame::is_media));
        assert_eq!(out[1].pts, frames[1].pts);
        assert_unbroken(&out, 960);
        let heard = Heard::of(&out);
        for second in 1..4i64 {
            let late = heard.onset(second * 1_000 - 100) - second * 1_000_000;
            assert!(late.abs() < 1_500, "{rate} Hz, {second} s: {late} us late");
            let power = heard.power(second * 1_000 + 20, second * 1_000 + 180);
            assert!((0.10..0.14).contains(&power), "{rate} Hz: {power}");
            assert!(heard.power(second * 1_000 + 300, second * 1_000 + 900) < 1e-5);
        }
    }
}

#[test]
fn opus_of_any_length_becomes_aac_that_is_heard_at_the_same_time() {
    for (samples, channels) in
        [(120, 2), (240, 1), (480, 2), (960, 1), (960, 2), (1_920, 2), (2_880, 1), (5_760, 2)]
    {
        let frames = opus_beeps(samples, channels, 5 * 48_000 / samples);
        let out = to_aac(&frames);
        assert!(out[0].is_config());
        let told = AudioConfig::decode(&out[0].payload).unwrap();
        assert_eq!((told.sample_rate(), told.channels()), (48_000, 2));
        assert_eq!(out[1].pts, frames[0].pts);
        assert_unbroken(&out, 1_024);
        let heard = Heard::of(&out);
        for second in 1..4i64 {
            let late = heard.onset(second * 1_000 - 100) - second * 1_000_000;
            assert!(late.abs() < 1_500, "{samples} samples: {late} us late");
            let power = heard.power(second * 1_000 + 20, second * 1_000 + 180);
            assert!((0.10..0.14).contains(&power), "{samples} samples: {power}");
        }
    }
}

#[test]
fn timestamps_in_milliseconds_change_no_sample() {
    let exact = aac_beeps(48_000, 200);
    let mut rounded = exact.clone();
    for frame in &mut rounded {
        frame.pts = Timestamp::from_millis(frame.pts.as_micros().div_euclid(1_000));
        frame.dts = frame.pts;
    }
    let payloads = |frames: &[Frame]| {
        to_opus(frames).into_iter().map(|frame| frame.payload).collect::<Vec<_>>()
    };
    assert!(payloads(&exact) == payloads(&rounded));
}

#[test]
fn a_clock_that_runs_fast_is_followed_without_a_break() {
    // Two minutes in which the timestamps gain 1,000 parts in a million; hours are in `follow`.
    let mut chain = Chain::new(crate::encode::g711::Encoder(Law::A), |_| true);
    let mut out = Vec::new();
    for count in 0..3_000i64 {
        let pts = Timestamp::from_micros(count * 40_040);
        out.clear();
        chain.push(&frame(Codec::G711A, pts, vec![0xd5; 320]), &mut out).unwrap();
        assert!(out.iter().all(|frame| !frame.flags.contains(Flags::DISCONTINUITY)));
        if let Some(newest) = out.last() {
            // 40 ms went in, less than 20 ms wait for a frame, 4 ms are in the filter.
            let behind = pts.as_micros() + 40_000 - (newest.pts.as_micros() + 20_000);
            assert!((-7_000..31_000).contains(&behind), "{behind} us behind after {count}");
        }
    }
}

#[test]
fn a_hole_becomes_silence_and_the_rest_stays_in_its_place() {
    let mut frames = aac_beeps(48_000, 260);
    // 300 ms from 2.5 s on.
    frames.retain(|frame| !(2_500_000..2_800_000).contains(&frame.pts.as_micros()));
    let out = to_opus(&frames);
    assert_unbroken(&out, 960);
    assert!(!out.iter().any(|frame| frame.flags.contains(Flags::DISCONTINUITY)));
    let heard = Heard::of(&out);
    let late = heard.onset(2_900) - 3_000_000;
    assert!(late.abs() < 1_500, "{late} us late");
}

#[test]
fn a_jump_starts_anew_and_says_so() {
    for jump_ms in [3_600_000, -5_000_000] {
        let mut frames = aac_beeps(48_000, 240);
        for frame in frames.iter_mut().filter(|frame| frame.pts >= Timestamp::from_millis(2_500)) {
            frame.pts = frame.pts.offset(jump_ms * 1_000);
        }
        let out = to_opus(&frames);
        let told = out.iter().filter(|frame| frame.flags.contains(Flags::DISCONTINUITY)).count();
        assert_eq!(told, 1);
        assert_unbroken(&out, 960);
        let at = out.iter().position(|f| f.flags.contains(Flags::DISCONTINUITY)).unwrap();
        let late = Heard::of(&out[at..]).onset(jump_ms + 2_900) - (jump_ms + 3_000) * 1_000;
        assert!(late.abs() < 1_500, "{late} us late");
    }
}

#[test]
fn lost_packets_are_concealed_and_long_losses_are_silent() {
    // A tone without an end, so that what is concealed can be heard.
    let tone = |at: usize| (0.5 * (at as f64 * 440.0 / 48_000.0 * TAU).sin()) as f32;
    let application = opus_pure::Application::Audio;
    let mut encoder = opus_pure::OpusEncoder::new(48_000, 2, application).unwrap();
    let frames: Vec<Frame> = (0..150)
        .map(|packet| {
            let pcm: Vec<f32> = (0..960).flat_map(|at| [tone(packet * 960 + at); 2]).collect();
            let mut bytes = [0; 1_500];
            let len = encoder.encode(&pcm, 960, &mut bytes).unwrap();
            frame(Codec::Opus, Timestamp::from_millis(packet as i64 * 20), bytes[..len].to_vec())
        })
        .collect();
    let without = |from: usize, to: usize| {
        let kept: Vec<Frame> = [&frames[..from], &frames[to..]].concat();
        let out = to_aac(&kept);
        assert_unbroken(&out, 1_024);
        Heard::of(&out)
    };
    let whole = without(0, 0).power(1_000, 1_060);
    let short = without(50, 53);
    assert!(short.power(1_005, 1_035) > whole / 8.0, "60 ms are concealed");
    let long = without(50, 75);
    assert!(long.power(1_100, 1_400) < whole / 1_000.0, "500 ms are silent");
    assert!((long.power(1_600, 2_500) / whole - 1.0).abs() < 0.1);
}

#[test]
fn telephones_can_talk_to_everybody() {
    let aac = aac_beeps(48_000, 240);
    let mut telephone = ToG711::mu_law();
    let mut coded = Vec::new();
    for frame in &aac {
        telephone.push(frame, &mut coded).unwrap();
    }
    assert!(coded.iter().all(|frame| frame.payload.len() == 160 && frame.is_media()));
    for out in [to_opus(&coded), to_aac(&coded)] {
        let heard = Heard::of(&out);
        let late = heard.onset(2_900) - 3_000_000;
        assert!(late.abs() < 2_000, "{late} us late");
        assert!(heard.power(3_020, 3_180) > 0.1);
    }
}

#[test]
fn damage_costs_one_frame_and_no_time() {
    let mut frames = aac_beeps(48_000, 240);
    // Cut short in the middle of a beep.
    let cut = frames[98].payload.len() / 3;
    frames[98].payload.truncate(cut);
    let mut transcoder = ToOpus::new(OpusOptions::default());
    let mut out = Vec::new();
    let failed = frames.iter().filter(|frame| transcoder.push(frame, &mut out).is_err()).count();
    assert_eq!(failed, 1);
    assert_unbroken(&out, 960);
    let late = Heard::of(&out).onset(2_900) - 3_000_000;
    assert!(late.abs() < 1_500, "{late} us late");
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let mut out = Vec::new();
    let mut transcoder = ToOpus::new(OpusOptions::default());
    let mut push = |frame: Frame| transcoder.push(&frame, &mut out);
    let at = Timestamp::ZERO;
    assert_eq!(push(frame(Codec::H264, at, vec![1])), Err(Error::Codec(Codec::H264)));
    assert_eq!(push(frame(Codec::Aac, at, vec![1])), Err(Error::NoConfig(Codec::Aac)));
    assert!(matches!(push(config(Codec::Aac, vec![])), Err(Error::Config { .. })));
    push(config(Codec::Aac, vec![0x11, 0x90])).unwrap();
    let large = push(frame(Codec::Aac, at, vec![0; 20_000]));
    assert_eq!(large, Err(Error::TooLarge { codec: Codec::Aac, len: 20_000, limit: 12_288 }));
    let head = media::opus::OpusHead {
        channels: 6,
        pre_skip: 0,
        input_rate: 0,
        gain: 0,
        mapping_family: 1,
    };
    assert!(head.encode().is_none());
    assert!(out.is_empty());
}

#[test]
fn after_a_reset_all_is_told_again() {
    let frames = aac_beeps(48_000, 60);
    let mut transcoder = ToOpus::new(OpusOptions::default());
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for frame in &frames {
        transcoder.push(frame, &mut first).unwrap();
    }
    transcoder.reset();
    for frame in &frames {
        transcoder.push(frame, &mut second).unwrap();
    }
    assert!(first == second);
}

#[test]
fn the_end_is_passed_on() {
    let mut frames = aac_beeps(48_000, 60);
    let mut end = frame(Codec::Aac, frames[60].pts, Bytes::new());
    end.flags = Flags::END;
    frames.push(end);
    let out = to_opus(&frames);
    let last = out.last().unwrap();
    assert_eq!((last.codec, last.flags), (Codec::Opus, Flags::END));
}

#[test]
fn mp3_becomes_opus() {
    // Six frames of 96 bytes, 24 kHz, behind one byte that chooses MP3.
    let seed = include_bytes!("../../../fuzz/corpus/transcode_aac/mp3_24k");
    let frames: Vec<Frame> = (0..6)
        .map(|at| {
            let pts = Timestamp::from_millis(at as i64 * 24);
            frame(Codec::Mp3, pts, seed[1 + at * 96..1 + (at + 1) * 96].to_vec())
        })
        .collect();
    let out = to_opus(&frames);
    assert_unbroken(&out, 960);
    // 144 ms, less the encoder's delay, a frame that waits and what is in the filter.
    assert_eq!(out.iter().filter(|frame| frame.is_media()).count(), 6);
}

proptest! {
    #[test]
    fn whatever_the_timestamps_say_the_output_is_unbroken(
        steps in prop::collection::vec((-3_000_000i64..3_000_000, any::<bool>()), 1..40),
    ) {
        let mut chain = Chain::new(crate::encode::g711::Encoder(Law::A), |_| true);
        let (mut out, mut at) = (Vec::new(), 0);
        for (step, smooth) in steps {
            at += if smooth { 20_000 } else { step };
            let pts = Timestamp::from_micros(at);
            chain.push(&frame(Codec::G711A, pts, vec![0xd5; 160]), &mut out).unwrap();
        }
        let mut due: Option<Timestamp> = None;
        for frame in &out {
            if let Some(due) = due.filter(|_| !frame.flags.contains(Flags::DISCONTINUITY)) {
                prop_assert_eq!(frame.pts, due);
            }
            due = Some(frame.pts.offset(20_000));
        }
    }
}
