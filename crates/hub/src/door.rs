//! What happens to a frame's time on its way in: correction, absolute time, A/V ordering.
//!
//! SRS corrects per player; here it is done once per stream, because a shared log has one
//! timeline. Configurations and data carry no clock of their own worth trusting (encoders stamp
//! them 0 in mid-stream): they take the time of the stream's head, and metadata time zero, since
//! players take metadata of any other time for a subtitle.

use std::time::Instant;

use media::timeline::{Policy, Timeline};
use media::{Flags, Frame, Kind, Timestamp};

use crate::stream::Vitals;

/// The `time_jitter` directive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeJitter {
    /// Start at zero, never step back, heal jumps.
    #[default]
    Full,
    /// Start at zero, nothing else.
    Zero,
    /// Leave times as they are.
    Off,
}

/// Per-stream time options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoorOptions {
    /// Correction policy.
    pub jitter: TimeJitter,
    /// Absolute time from the encoder: correction is off.
    pub atc: bool,
    /// Put audio and video into the order of their times before forwarding.
    pub mix_correct: bool,
}

impl DoorOptions {
    fn policy(&self) -> Policy {
        match self.jitter {
            _ if self.atc => Policy::Off,
            TimeJitter::Full => Policy::Full,
            TimeJitter::Zero => Policy::Zero,
            TimeJitter::Off => Policy::Off,
        }
    }
}

/// `mix_correct` lets frames go once it holds one of each kind, or this many of one kind. The
/// number is SRS's: 10 frames are 230 ms of AAC.
const MIX_DEPTH: usize = 10;

pub(crate) struct Door {
    options: DoorOptions,
    timeline: Timeline,
    head: Timestamp,
    held: Vec<Frame>,
    vitals: Vitals,
}

impl Door {
    pub(crate) fn new(options: &DoorOptions) -> Self {
        Self {
            options: options.clone(),
            timeline: Timeline::new(options.policy()),
            head: Timestamp::ZERO,
            held: Vec::new(),
            vitals: Vitals::default(),
        }
    }

    pub(crate) fn reconfigure(&mut self, options: &DoorOptions) {
        if options.policy() != self.options.policy() {
            self.timeline = Timeline::new(options.policy());
        }
        self.options = options.clone();
    }

    pub(crate) fn set_atc(&mut self, on: bool) {
        let options = DoorOptions { atc: on, ..self.options.clone() };
        self.reconfigure(&options);
    }

    /// A new publisher's clock begins; the stream's timeline goes on.
    pub(crate) fn republish(&mut self) {
        self.held.clear();
        self.timeline.republish();
        self.vitals = Vitals::default();
    }

    /// How the publisher is doing, by its own times.
    pub(crate) fn vitals(&self) -> Vitals {
        self.vitals
    }

    /// The publisher has gone, and its figures with it.
    pub(crate) fn forget_vitals(&mut self) {
        self.vitals = Vitals::default();
    }

    /// Gives out what is held back: no more comes.
    pub(crate) fn drain(&mut self, out: &mut impl Extend<Frame>) {
        out.extend(self.held.drain(..));
    }

    /// Frames that may go now, in order, into `out`.
    pub(crate) fn push(&mut self, mut frame: Frame, now: Instant, out: &mut impl Extend<Frame>) {
        self.vitals.observe(&frame, now);
        let kind = frame.kind();
        if !frame.is_media() || kind == Kind::Data {
            // The first data track is the stream's metadata; others describe pictures and sound.
            let metadata = kind == Kind::Data && frame.track == 0 && frame.is_config();
            frame.dts = if metadata { Timestamp::ZERO } else { self.head };
            frame.pts = frame.dts;
            if self.options.mix_correct && !frame.is_config() && !self.held.is_empty() {
                self.held.push(frame);
                self.release(out);
            } else {
                out.extend([frame]);
            }
            return;
        }
        let offset = frame.composition_us();
        let applied = self.timeline.apply(kind, frame.track, frame.dts, now);
        frame.dts = applied.dts;
        frame.pts = applied.dts.offset(offset);
        frame.flags.set(Flags::DISCONTINUITY, applied.discontinuity);
        self.head = self.head.max(frame.dts);
        if applied.discontinuity {
            self.head = frame.dts;
        }
        if !self.options.mix_correct {
            out.extend(self.held.drain(..).chain([frame]));
            return;
        }
        let at = self.held.partition_point(|f| f.dts <= frame.dts);
        self.held.insert(at, frame);
        self.release(out);
    }

    fn release(&mut self, out: &mut impl Extend<Frame>) {
        loop {
            let of = |k| self.held.iter().filter(|f| f.kind() == k).count();
            let (video, audio) = (of(Kind::Video), of(Kind::Audio));
            let ready = (video >= 1 && audio >= 1)
                || video >= MIX_DEPTH
                || audio >= MIX_DEPTH
                || self.held.len() > 2 * MIX_DEPTH;
            if !ready || self.held.is_empty() {
                return;
            }
            out.extend([self.held.remove(0)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use media::Codec;

    fn frame(codec: Codec, ms: i64) -> Frame {
        let dts = Timestamp::from_millis(ms);
        Frame {
            codec,
            track: 0,
            flags: Flags::empty(),
            tag: 0,
            dts,
            pts: dts.offset(40_000),
            payload: Bytes::from_static(b"x"),
        }
    }

    fn run(door: &mut Door, frames: &[Frame]) -> Vec<(Codec, i64)> {
        let now = Instant::now();
        let mut out = Vec::new();
        for f in frames {
            door.push(f.clone(), now, &mut out);
        }
        out.iter().map(|f| (f.codec, f.dts.as_millis())).collect()
    }

    #[test]
    fn mix_correct_puts_audio_and_video_into_the_order_of_their_times() {
        let options =
            DoorOptions { jitter: TimeJitter::Off, mix_correct: true, ..Default::default() };
        let mut door = Door::new(&options);
        let out = run(
            &mut door,
            &[
                frame(Codec::H264, 40),
                frame(Codec::H264, 80),
                frame(Codec::Aac, 20),
                frame(Codec::Aac, 60),
                frame(Codec::H264, 120),
            ],
        );
        let times: Vec<i64> = out.iter().map(|(_, t)| *t).collect();
        assert_eq!(times, [20, 40, 60]);
    }

    #[test]
    fn mix_correct_does_not_hold_a_stream_of_one_kind_for_ever() {
        let options =
            DoorOptions { jitter: TimeJitter::Off, mix_correct: true, ..Default::default() };
        let mut door = Door::new(&options);
        let frames: Vec<Frame> = (0..25).map(|i| frame(Codec::Aac, i * 23)).collect();
        assert_eq!(run(&mut door, &frames).len(), 25 - (MIX_DEPTH - 1));
    }

    #[test]
    fn mix_correct_holds_no_endless_run_of_data() {
        let options = DoorOptions { mix_correct: true, ..Default::default() };
        let mut door = Door::new(&options);
        let mut frames = vec![frame(Codec::H264, 0)];
        frames.extend((0..100).map(|i| frame(Codec::ScriptData, i)));
        assert_eq!(run(&mut door, &frames).len(), 101 - 2 * MIX_DEPTH);
    }

    #[test]
    fn what_mix_correct_held_comes_out_when_it_is_switched_off() {
        let options = DoorOptions { mix_correct: true, ..Default::default() };
        let mut door = Door::new(&options);
        assert!(run(&mut door, &[frame(Codec::H264, 0)]).is_empty());
        door.reconfigure(&DoorOptions::default());
        let out = run(&mut door, &[frame(Codec::H264, 40)]);
        assert_eq!(out, [(Codec::H264, 0), (Codec::H264, 40)]);
    }

    #[test]
    fn the_composition_offset_survives_correction() {
        let mut door = Door::new(&DoorOptions::default());
        let mut out = Vec::new();
        door.push(frame(Codec::H264, 90_000), Instant::now(), &mut out);
        assert_eq!(out[0].dts, Timestamp::ZERO);
        assert_eq!(out[0].composition_us(), 40_000);
    }

    #[test]
    fn a_configuration_takes_the_time_of_the_head() {
        let mut door =
            Door::new(&DoorOptions { jitter: TimeJitter::Off, ..DoorOptions::default() });
        let mut config = frame(Codec::H264, 0);
        config.flags = Flags::CONFIG;
        let out = run(&mut door, &[frame(Codec::H264, 5000), config]);
        assert_eq!(out[1].1, 5000);
    }
}
