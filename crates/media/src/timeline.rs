//! Order in time: from the clocks of encoders to one timeline that only goes on.
//!
//! Two steps stand at the door of every protocol. [`ClockUnwrap`] turns a wrapping counter of
//! the wire into an `i64`. [`Timeline`] then corrects what encoders do to their clocks: jumps,
//! resets of one track or of all, jitter, and the new clock of every new publisher.
//!
//! It deliberately knows no wall-clock time and reorders nothing: a frame goes out where it
//! came in, at worst with its time moved.
//!
//! Specifications: RTMP 1.0 section 5.3.1 (32-bit milliseconds), ISO/IEC 13818-1 section
//! 2.4.3.7 (33-bit time stamps at 90 kHz). The corrections follow no specification.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::{Kind, Timestamp};

mod unwrap;
pub use unwrap::ClockUnwrap;

/// A backward step up to this many microseconds is jitter: the frame is clamped, the clock kept.
///
/// Interleaving and millisecond rounding step back by less than 100 ms; at half of this, bursty
/// hardware encoders would be re-anchored all day; at double, a frozen picture becomes visible.
const JITTER: i64 = 250_000;

/// A forward gap up to this many microseconds is believed without further proof.
///
/// Covers slide shows and muted tracks. At half, slide shows of one picture in two seconds become
/// discontinuities when pushed faster than real time; at double, HLS gets overlong segments.
const REACH: i64 = 3_000_000;

/// How long, in media time and in wall time, a jump of one track waits for the others to follow.
///
/// Must exceed the interleaving of the worst muxers (1 to 2 s); at double, two unrelated resets
/// could be taken for one.
const COMPANION: i64 = 5_000_000;

/// How near to the head, in microseconds, a track must land to share another track's new offset.
const NEAR: i64 = 1_000_000;

/// What the door does to a publisher's times (`time_jitter` in the configuration).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Starts at zero, never goes back, mends jumps, goes on when a new publisher comes.
    #[default]
    Full,
    /// Only subtracts the time of each publisher's first audio or video frame.
    Zero,
    /// Leaves everything as it came.
    Off,
}

/// What [`Timeline::apply`] made of a frame's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The decoding time on the stream's timeline. The presentation time moves along: add the
    /// composition offset that the frame came with.
    pub dts: Timestamp,
    /// The track was re-anchored before this frame, or a new publisher's clock begins with it.
    /// True on exactly one frame of each track each time.
    pub discontinuity: bool,
}

/// The door correction of one stream, shared by all its tracks and outliving its publishers.
///
/// Media frames go through [`apply`](Self::apply) in the order in which they arrived.
/// Configurations carry no dependable time (encoders send them with 0 at any hour): do not
/// apply it to them, give them [`last`](Self::last).
///
/// With [`Policy::Full`] the times put out never decrease within a track, whatever comes in.
/// Tracks that jump together keep exactly the relation that the encoder's new clock has; a
/// track that jumps alone goes on where it was, so that sound and picture stay together.
///
/// Cost: a search through the tracks, two or three as a rule and at most 256 of each kind, by
/// the type of the index. No allocation up to four tracks.
#[derive(Clone, Debug)]
pub struct Timeline {
    policy: Policy,
    tracks: SmallVec<[Track; 4]>,
    /// The latest time put out on an audio or video track.
    head: i64,
    /// When `head` last moved.
    head_at: Option<Instant>,
    /// No frame of the present publisher goes below.
    floor: i64,
    /// Time of the present publisher's first audio or video frame.
    first: Option<i64>,
    /// Time of the present publisher's first data frame, for as long as there is nothing better.
    first_data: Option<i64>,
}

/// How a track was last re-anchored, for the other tracks to follow.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    head: i64,
    at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Track {
    kind: Kind,
    index: u8,
    /// The present publisher has not sent a frame of this track yet.
    begins: bool,
    /// Some publisher has.
    seen: bool,
    /// What is added to input times.
    offset: i64,
    /// The highest input on the present offset.
    high: i64,
    /// The last output.
    out: i64,
    /// When the last frame came.
    at: Instant,
    /// Usual distance of two frames; 0 when unknown.
    step: i64,
    /// How far behind the head its frames usually arrive.
    lag: i64,
    /// The last jump.
    anchor: Option<Anchor>,
    /// The inputs on both sides of the last odd forward gap, for as long as the frame behind it
    /// may turn out to be a stray one.
    gap: Option<(i64, i64)>,
}

impl Timeline {
    /// A timeline on which nothing has happened yet.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            tracks: SmallVec::new(),
            head: 0,
            head_at: None,
            floor: 0,
            first: None,
            first_data: None,
        }
    }

    /// The present policy.
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// The latest time put out on any audio or video track; zero before the first.
    pub const fn head(&self) -> Timestamp {
        Timestamp::from_micros(self.head)
    }

    /// The time last put out on this track, or where it would begin: what a configuration that
    /// arrives now should carry.
    pub fn last(&self, kind: Kind, track: u8) -> Timestamp {
        let known = self.tracks.iter().find(|t| t.kind == kind && t.index == track && t.seen);
        Timestamp::from_micros(known.map_or(self.head, |t| t.out.max(self.floor)))
    }

    /// A new publisher's clock begins with the next frame.
    ///
    /// With [`Policy::Full`] the output goes on from the head; with [`Policy::Zero`] it starts
    /// at zero again; with [`Policy::Off`] nothing changes. Each track that has been heard
    /// before reports one discontinuity.
    pub fn republish(&mut self) {
        for track in &mut self.tracks {
            track.begins = true;
            track.anchor = None;
            track.gap = None;
            track.lag = 0;
        }
        self.first = None;
        self.first_data = None;
        if self.policy == Policy::Full {
            self.floor = self.head;
        } else {
            self.head = 0;
        }
    }

    /// Puts one media frame onto the timeline. `now` is when it arrived, on the clock that
    /// every call uses; a step back of it counts as no time.
    pub fn apply(&mut self, kind: Kind, track: u8, dts: Timestamp, now: Instant) -> Applied {
        let input = dts.as_micros();
        let known = self.tracks.iter().position(|t| t.kind == kind && t.index == track);
        let mut t = known
            .and_then(|i| self.tracks.get(i).copied())
            .unwrap_or_else(|| Track::new(kind, track, self.floor, now));
        let discontinuity = match self.policy {
            Policy::Off => {
                t.out = input;
                t.begins && t.seen
            }
            Policy::Zero => {
                t.out = self.zero(kind, input);
                t.begins && t.seen
            }
            Policy::Full if kind == Kind::Data => {
                let discontinuity = t.begins && t.seen;
                t.out = self.follow(input).max(t.out).max(self.floor);
                discontinuity
            }
            Policy::Full => self.correct(&mut t, input, now),
        };
        t.begins = false;
        t.seen = true;
        t.at = now;
        if kind != Kind::Data {
            self.first.get_or_insert(input);
            if t.out > self.head || self.head_at.is_none() {
                self.head = t.out;
                self.head_at = Some(now);
            }
        }
        match known.and_then(|i| self.tracks.get_mut(i)) {
            Some(slot) => *slot = t,
            None => self.tracks.push(t),
        }
        Applied { dts: Timestamp::from_micros(t.out), discontinuity }
    }

    fn zero(&mut self, kind: Kind, input: i64) -> i64 {
        let first = match (kind, self.first) {
            (_, Some(first)) => first,
            (Kind::Data, None) => *self.first_data.get_or_insert(input),
            (_, None) => input,
        };
        input.saturating_sub(first)
    }

    /// Where a data frame goes. Data has no clock of its own: many encoders stamp it with 0 at
    /// any hour, so a time far from the head means "now".
    fn follow(&mut self, input: i64) -> i64 {
        let lead = self.tracks.iter().filter(|t| t.leads()).max_by_key(|t| t.at);
        match lead {
            Some(lead) => {
                let there = input.saturating_add(lead.offset);
                if distance(there, self.head) > REACH { self.head } else { there }
            }
            None => {
                let first = *self.first_data.get_or_insert(input);
                input.saturating_sub(first).saturating_add(self.floor)
            }
        }
    }

    /// Moves an audio or video track on to `input`; true when its clock was anchored anew.
    fn correct(&self, t: &mut Track, input: i64, now: Instant) -> bool {
        if t.begins {
            let discontinuity = t.seen;
            t.offset = self
                .begun_offset(input, now)
                .unwrap_or_else(|| self.target(t).saturating_sub(input));
            t.high = input;
            t.put_out(input, self.floor, self.head);
            return discontinuity;
        }
        let step = input.saturating_sub(t.high);
        let there = input.saturating_add(t.offset);
        let elapsed = micros(now.saturating_duration_since(t.at));
        let stray = t.gap.is_some_and(|(before, _)| input >= before.saturating_sub(JITTER));
        let jumped = if step < 0 {
            step < -JITTER && !stray
        } else {
            // Where another track has already been, this one may follow.
            step > REACH.saturating_add(elapsed) && there > self.head.saturating_add(REACH)
        };
        if jumped {
            let offset = self.companion_offset(t, input, now);
            t.offset = offset.unwrap_or_else(|| self.target(t).saturating_sub(input));
            t.anchor = Some(Anchor { head: self.head, at: now });
            t.gap = None;
            t.high = input;
        } else if step < -JITTER {
            // Back from a stray frame: the clock was right all along.
            t.gap = None;
            t.high = input;
        } else if step > 0 {
            t.learn_step(step, input, there > self.head.saturating_add(JITTER));
            t.high = input;
        }
        t.put_out(input, self.floor, self.head);
        jumped
    }

    /// Where a track goes on that has no clock to go by: at the head, less the distance at which
    /// it usually follows it, or one frame behind its own last, whichever is later.
    fn target(&self, t: &Track) -> i64 {
        let after_own = if t.seen { t.out.saturating_add(t.step) } else { self.floor };
        self.head.saturating_sub(t.lag).max(after_own)
    }

    /// The offset of the track that the present publisher has last sent, if it puts a track
    /// that only begins where it can be.
    fn begun_offset(&self, input: i64, now: Instant) -> Option<i64> {
        let lead = self.tracks.iter().filter(|t| t.leads()).max_by_key(|t| t.at)?;
        let there = input.saturating_add(lead.offset);
        let quiet = self.head_at.map_or(0, |at| micros(now.saturating_duration_since(at)));
        let latest = self.head.saturating_add(REACH).saturating_add(quiet);
        let earliest = self.head.saturating_sub(REACH);
        (earliest..=latest).contains(&there).then_some(lead.offset)
    }

    /// The offset of another track that has jumped just now, if this one has jumped with it.
    fn companion_offset(&self, t: &Track, input: i64, now: Instant) -> Option<i64> {
        let recent = |other: &&Track| {
            other.anchor.is_some_and(|anchor| {
                micros(now.saturating_duration_since(anchor.at)) <= COMPANION
                    && self.head.saturating_sub(anchor.head) <= COMPANION
            })
        };
        self.tracks
            .iter()
            .filter(|other| (other.kind, other.index) != (t.kind, t.index) && other.leads())
            .filter(|other| other.offset != t.offset)
            .filter(recent)
            .filter(|other| distance(input.saturating_add(other.offset), self.head) <= NEAR)
            .max_by_key(|other| other.anchor.map(|anchor| anchor.at))
            .map(|other| other.offset)
    }
}

impl Track {
    fn new(kind: Kind, index: u8, floor: i64, now: Instant) -> Self {
        Self {
            kind,
            index,
            begins: true,
            seen: false,
            offset: 0,
            high: 0,
            out: if kind == Kind::Data { i64::MIN } else { floor },
            at: now,
            step: 0,
            lag: 0,
            anchor: None,
            gap: None,
        }
    }

    /// Its offset is that of the present publisher's clock.
    fn leads(&self) -> bool {
        self.kind != Kind::Data && !self.begins
    }

    fn put_out(&mut self, input: i64, floor: i64, head: i64) {
        self.out = input.saturating_add(self.offset).max(self.out).max(floor);
        // Falls slowly, so that one early frame does not hide how the tracks are interleaved.
        let lag = head.saturating_sub(self.out).clamp(0, NEAR);
        self.lag = lag.max(self.lag.saturating_sub(self.lag / 16));
    }

    /// Takes a forward step into the usual frame distance and notes odd ones.
    fn learn_step(&mut self, step: i64, input: i64, ahead: bool) {
        if self.gap.is_some_and(|(_, behind)| input.saturating_sub(behind) > NEAR) {
            self.gap = None;
        }
        if self.step == 0 {
            self.step = step.min(REACH);
            return;
        }
        if ahead && step > self.step.saturating_mul(2).saturating_add(JITTER) {
            self.gap = Some((self.high, input));
        }
        // A gap must not pass for a frame rate.
        let most = self.step.saturating_mul(4).clamp(100_000, REACH);
        let sample = step.min(most);
        self.step = self.step.saturating_add(sample.saturating_sub(self.step) / 8).max(1);
    }
}

fn distance(a: i64, b: i64) -> i64 {
    a.saturating_sub(b).saturating_abs()
}

fn micros(d: Duration) -> i64 {
    i64::try_from(d.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
