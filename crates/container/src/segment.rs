//! Where a live stream is cut into segments, and which segments are kept.
//!
//! [`Cutter`] decides; it sees frames and never copies or keeps one. [`Window`] holds what was
//! cut, in whatever form the caller made of it, and does the arithmetic of a sliding playlist.
//! Both know neither a container nor a playlist format, so HLS, DASH and recording share them.
//!
//! The rules are those that users of SRS have tuned their `hls_*` values for, with RFC 8216
//! where those break it.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod window;

use bytes::Bytes;
use media::{Flags, Frame, Kind, Timestamp};

pub use window::{Entry, Window};

/// Segments shorter than this (100 ms) are dropped and their number is used again: players
/// stumble over them, and they only come of encoders that start over.
pub const SEGMENT_MIN_US: i64 = 100_000;

/// No segment is cut on purpose before it has this length (200 ms), whatever the rules say.
pub const CUT_MIN_US: i64 = 200_000;

/// A key frame that comes early by no more than this (5 ms) is on time: clocks of whole
/// milliseconds jitter, and waiting for the next key frame would double the segment.
const EARLY_US: i64 = 5_000;

/// A segment is cut at any frame when it reaches this many times its target: the publisher
/// sends neither key frames nor audio, and the segment must end before memory does.
const OVERLONG: i64 = 3;

/// A track whose first frame in a segment is further than this (3 s) from the segment's start
/// has a clock of its own; its progress is counted from its own first frame.
const SKEW_MAX_US: i64 = 3_000_000;

/// A track that goes back by more than this (500 ms) has a new clock. Frames are in order when
/// they come here, so any step back is a fault; small ones do no harm.
const STEP_BACK_US: i64 = 500_000;

/// A discontinuity that follows a segment's discontinuous start within this time (1 s) belongs to
/// it: each track brings its own notice.
const SAME_JUMP_US: i64 = 1_000_000;

/// When to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutRules {
    /// Microseconds after which the next key frame starts a new segment.
    pub target_us: i64,
    /// Microseconds after which the next audio frame does, key frame or not.
    pub audio_us: i64,
    /// Whether a video frame must be a key frame to start a segment.
    pub wait_keyframe: bool,
}

impl CutRules {
    /// From a fragment length in microseconds and the two ratios of the `hls_*` directives.
    /// Nonsense (zero, negative, not a number) becomes the shortest length that can be.
    pub fn new(fragment_us: i64, td_ratio: f64, aof_ratio: f64, wait_keyframe: bool) -> Self {
        let scaled = |ratio: f64| ((fragment_us as f64 * ratio) as i64).max(CUT_MIN_US);
        Self { target_us: scaled(td_ratio), audio_us: scaled(aof_ratio), wait_keyframe }
    }
}

/// The start of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number, one more than the one before.
    pub sequence: u64,
    /// Decoding time of its first frame.
    pub start: Timestamp,
    /// The first frame is a key frame of the video track.
    pub key: bool,
}

/// The end of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its number.
    pub sequence: u64,
    /// Microseconds from its first frame to the first of the next; at the end of a stream, to
    /// the end of its last frame. Never negative.
    pub duration_us: i64,
    /// Time or coding do not continue the segment before.
    pub discontinuity: bool,
    /// False: too short; throw it away, the number comes again.
    pub keep: bool,
}

/// What to do with a frame, in this order: end the segment, start one, add the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The segment that ends before the frame.
    pub closed: Option<Closed>,
    /// The segment that starts with it.
    pub opened: Option<Opened>,
    /// Whether the frame belongs in the segment; pictures that cannot be decoded because no key
    /// frame has come do not.
    pub add: bool,
}

/// The segment that grows.
#[derive(Clone, Copy, Debug)]
struct Current {
    sequence: u64,
    start: Timestamp,
    discontinuity: bool,
    /// Video, audio.
    parts: [Part; 2],
    /// The furthest progress of any track, the last frame's own length left out.
    reached_us: i64,
}

/// What a segment has of one track.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// What its progress is measured from.
    anchor: Option<Timestamp>,
    /// How far its last frame is into the segment.
    reached_us: i64,
}

/// What is known of one track.
#[derive(Clone, Debug, Default)]
struct Seen {
    config: Option<Bytes>,
    last: Option<Timestamp>,
    /// Distance of the last two frames: the best guess of the last one's length.
    step_us: i64,
}

/// Decides where segments begin and end.
///
/// Costs a few comparisons per frame; a configuration is kept by reference.
#[derive(Clone, Debug)]
pub struct Cutter {
    rules: CutRules,
    slack_us: i64,
    next: u64,
    current: Option<Current>,
    /// Video, audio.
    seen: [Seen; 2],
    /// The next segment to start does not continue the one before.
    broken: bool,
    /// A changed configuration waits for the next frame at which a segment may start.
    changed: bool,
    has_key: bool,
    hurried: bool,
}

impl Cutter {
    /// A cutter whose first segment gets the number `sequence` and, as that of any publish, is
    /// marked as discontinuous.
    pub fn new(rules: CutRules, sequence: u64) -> Self {
        Self {
            rules,
            slack_us: 0,
            next: sequence,
            current: None,
            seen: Default::default(),
            broken: true,
            changed: false,
            has_key: false,
            hurried: false,
        }
    }

    /// Applies other rules from the next frame on.
    pub fn set_rules(&mut self, rules: CutRules) {
        self.rules = rules;
    }

    /// Lengthens (or shortens) the target of the segments by `us`: how names that count time are
    /// kept in step with the clock.
    pub fn set_slack(&mut self, us: i64) {
        self.slack_us = us;
    }

    /// Lets the next media frame start a segment, whatever the rules say: the caller has no more
    /// room for this one.
    pub fn hurry(&mut self) {
        self.hurried = true;
    }

    /// The number that the next segment gets.
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Decides about one frame. Data tracks and secondary tracks are never added.
    pub fn push(&mut self, frame: &Frame) -> Step {
        let index = match frame.kind() {
            Kind::Video => 0,
            Kind::Audio => 1,
            Kind::Data => return Step::default(),
        };
        if frame.track != 0 || frame.flags.contains(Flags::END) {
            return Step::default();
        }
        if frame.is_config() {
            self.note_config(index, &frame.payload);
            return Step { add: true, ..Step::default() };
        }
        let video = index == 0;
        let jumped = self.note_time(index, frame);
        if video {
            // A decoder starts anew behind a discontinuity.
            self.has_key = frame.is_key() || (self.has_key && !jumped);
        }
        let mut step = Step::default();
        if let Some(mut current) = self.current {
            let reached = current.progress(index, frame.dts);
            if jumped && current.discontinuity && current.reached_us < SAME_JUMP_US {
                current.re_anchor(index, frame.dts);
                self.current = Some(current);
            } else if jumped {
                step.closed = self.close(0, true);
                self.broken = true;
            } else if self.changed && self.may_start(frame) {
                step.closed = self.change(reached);
            } else if self.is_due(frame, reached) {
                step.closed = self.close(reached, false);
            }
        }
        if video && !self.has_key {
            return step;
        }
        step.add = true;
        if self.current.is_none() {
            step.opened = Some(self.open(frame));
        }
        if let Some(current) = &mut self.current {
            current.add(index, frame.dts);
        }
        step
    }

    /// Takes back the number of the segment that was closed last: it could not be kept. The one
    /// that grows, or the next to start, gets that number and does not continue the one before.
    pub fn retract(&mut self) {
        self.next = self.next.saturating_sub(1);
        match &mut self.current {
            Some(current) => {
                current.sequence = current.sequence.saturating_sub(1);
                current.discontinuity = true;
            }
            None => self.broken = true,
        }
    }

    /// Ends the stream for now; the next frame starts a new publish, whose numbers continue.
    pub fn finish(&mut self) -> Option<Closed> {
        let closed = self.close(0, true);
        *self = Self { slack_us: self.slack_us, ..Self::new(self.rules, self.next) };
        closed
    }

    fn note_config(&mut self, index: usize, payload: &Bytes) {
        let Some(seen) = self.seen.get_mut(index) else { return };
        if let Some(old) = seen.config.replace(payload.clone())
            && old != payload
        {
            self.changed = true;
        }
    }

    /// Notes the track's time and tells whether it does not continue.
    fn note_time(&mut self, index: usize, frame: &Frame) -> bool {
        let forward = self.rules.target_us.saturating_mul(OVERLONG);
        let Some(seen) = self.seen.get_mut(index) else { return false };
        let step = seen.last.replace(frame.dts).map(|last| frame.dts.micros_since(last));
        let jumped = frame.flags.contains(Flags::DISCONTINUITY)
            || step.is_some_and(|step| step < -STEP_BACK_US || step > forward);
        seen.step_us = match step {
            Some(step) if !jumped => step.clamp(0, SKEW_MAX_US),
            _ => seen.step_us,
        };
        jumped
    }

    fn has_video(&self) -> bool {
        let [video, _] = &self.seen;
        video.config.is_some() || video.last.is_some()
    }

    /// A segment may start with this frame.
    fn may_start(&self, frame: &Frame) -> bool {
        match frame.kind() {
            Kind::Video => frame.is_key() || !self.rules.wait_keyframe,
            _ => !self.has_video(),
        }
    }

    fn is_due(&self, frame: &Frame, reached: i64) -> bool {
        if reached < CUT_MIN_US {
            return false;
        }
        let target = self.rules.target_us;
        let overlong = self.hurried || reached >= target.saturating_mul(OVERLONG);
        match frame.kind() {
            Kind::Video if self.may_start(frame) => {
                let wanted = target.saturating_add(self.slack_us).saturating_sub(EARLY_US);
                overlong || reached >= wanted
            }
            Kind::Audio => overlong || reached >= self.rules.audio_us,
            _ => overlong,
        }
    }

    /// Carries out a change of configuration at a frame where a segment may start.
    fn change(&mut self, reached: i64) -> Option<Closed> {
        self.changed = false;
        let current = self.current.as_mut()?;
        if reached < SEGMENT_MIN_US {
            current.discontinuity = true;
            return None;
        }
        let closed = self.close(reached, false);
        self.broken = true;
        closed
    }

    fn open(&mut self, frame: &Frame) -> Opened {
        let (sequence, start) = (self.next, frame.dts);
        self.next = self.next.saturating_add(1);
        let discontinuity = std::mem::take(&mut self.broken);
        self.changed &= !discontinuity;
        self.hurried = false;
        self.current = Some(Current {
            sequence,
            start,
            discontinuity,
            parts: Default::default(),
            reached_us: 0,
        });
        Opened { sequence, start, key: frame.is_key() }
    }

    /// Ends the segment where a frame stands that is `reached` into it, or (`last`) behind its last
    /// frame, of whose length nothing tells but the frames before it.
    fn close(&mut self, reached: i64, last: bool) -> Option<Closed> {
        let Current { sequence, discontinuity, reached_us, parts, .. } = self.current.take()?;
        let ends = parts
            .iter()
            .zip(&self.seen)
            .filter(|_| last)
            .map(|(part, seen)| part.reached_us.saturating_add(seen.step_us));
        let duration_us = ends.fold(reached_us.max(reached), i64::max);
        let keep = duration_us >= SEGMENT_MIN_US;
        if !keep {
            self.next = sequence;
            self.broken |= discontinuity;
        }
        Some(Closed { sequence, duration_us, discontinuity, keep })
    }
}

impl Current {
    /// How far `dts` is into the segment.
    fn progress(&self, index: usize, dts: Timestamp) -> i64 {
        match self.parts.get(index).and_then(|part| part.anchor) {
            Some(anchor) => dts.micros_since(anchor),
            None => {
                let since = dts.micros_since(self.start);
                if since.saturating_abs() > SKEW_MAX_US { self.reached_us } else { since }
            }
        }
    }

    fn add(&mut self, index: usize, dts: Timestamp) {
        let progress = self.progress(index, dts);
        self.reached_us = self.reached_us.max(progress);
        if let Some(part) = self.parts.get_mut(index) {
            part.anchor.get_or_insert(dts.offset(progress.saturating_neg()));
            part.reached_us = progress;
        }
    }

    /// Lets a track that the segment has already go on from `dts` where the segment stands.
    fn re_anchor(&mut self, index: usize, dts: Timestamp) {
        if let Some(part) = self.parts.get_mut(index).filter(|part| part.anchor.is_some()) {
            part.anchor = Some(dts.offset(self.reached_us.saturating_neg()));
        }
    }
}

#[cfg(test)]
mod tests;
