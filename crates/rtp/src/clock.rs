//! One timeline for all tracks of a publisher, out of their RTP timestamps and sender reports
//! (RFC 3550 §6.4.1).

use crate::rtcp::ntp_micros;
use crate::seq::Extender32;

#[cfg(test)]
mod tests;

/// Tracks of one publisher. At half of it a room's guest with simulcast, screen and sound of both
/// might not fit; at double nobody is known who needs it.
pub const MAX_TRACKS: usize = 32;

/// Most that the mapping of a track moves from one frame to the next, unless it is off by more than
/// [`JUMP_US`].
const SLEW_US: i64 = 5_000;

/// ... nor by more than this part of the time between the frames, so that time never stands still.
const SLEW_PART: i64 = 4;

/// Off by more than this, it is better to jump ahead at once than to be out of step for long. Back
/// it goes by half the time between frames, since the timeline must not run backwards.
const JUMP_US: i64 = 1_000_000;

/// A track whose reports and arrivals disagree by more than this has reports that mean nothing
/// (some senders count from their start, each track for itself).
const DISBELIEF_US: i64 = 10_000_000;

/// Timestamps that go back by more than this begin anew. Reordered pictures go back by a few
/// frames.
const BACK_US: i64 = 2_000_000;

/// Timestamps that go ahead of real time by more than this begin anew.
const AHEAD_US: i64 = 3_000_000;

/// A period of which the fastest arrival is kept, to see clocks drift through network jitter.
const WINDOW_US: u64 = 5_000_000;

/// Below so much observation a drift is noise.
const DRIFT_AFTER_US: i64 = 30_000_000;

/// The shared timeline follows our own clock when it is further from it than at the beginning by
/// more than this...
const FOLLOW_AFTER_US: i64 = 20_000;

/// ... by at most this with each sender report: 100 to 500 ppm as they usually come.
const FOLLOW_US: i64 = 500;

/// A track of a [`Mapper`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackId(u8);

/// Timestamps of several tracks onto one timeline, that of the `now_us` given in, in microseconds.
///
/// The first frame of a track lies where it came. Until its first sender report a track follows its
/// fastest arrivals. From then on its place is what reports say: the first report of any track ties
/// the publisher's wall clock to the timeline where that track is already, so nothing moves; other
/// tracks slide over to it with their own reports. Timestamps of one track in order are mapped in
/// order, whatever reports say, and those of one frame to the same time.
///
/// Costs some additions a packet, and no allocation but in [`Mapper::add_track`].
#[derive(Clone, Debug, Default)]
pub struct Mapper {
    tracks: Vec<Track>,
    /// Timeline less publisher's wall clock, both in microseconds.
    wall_offset: Option<i64>,
    resets: u64,
    disbelieved: u64,
}

#[derive(Clone, Debug)]
struct Track {
    clock_rate: u32,
    /// For the timestamps in sender reports.
    extender: Extender32,
    state: Option<State>,
    /// A report that came before any packet: wall clock and timestamp.
    early: Option<(i64, u32)>,
}

/// Offsets are timeline less media time, in microseconds.
#[derive(Clone, Copy, Debug)]
struct State {
    /// In use.
    offset: i64,
    /// By the last sender report.
    truth: Option<i64>,
    /// Last frame: media time, arrival and where it was mapped.
    media_us: i64,
    arrived_us: i64,
    mapped_us: i64,
    /// Wall clock less media time, by the last report.
    wall_media: Option<i64>,
    /// How far the truth lay from arrivals when it was first told.
    initial_lag: Option<i64>,
    arrivals: Arrivals,
}

/// The least of arrival less media time, by periods.
#[derive(Clone, Copy, Debug)]
struct Arrivals {
    window_ends_us: u64,
    current: i64,
    previous: i64,
    /// Moment and value of the first whole period, and of the last.
    first: Option<(i64, i64)>,
    last: (i64, i64),
}

impl Arrivals {
    const fn new(offset: i64, now_us: u64) -> Self {
        Self {
            window_ends_us: now_us.saturating_add(WINDOW_US),
            current: offset,
            previous: offset,
            first: None,
            last: (0, 0),
        }
    }

    fn note(&mut self, offset: i64, now_us: u64) {
        if now_us < self.window_ends_us {
            self.current = self.current.min(offset);
            return;
        }
        let ended = (micros(self.window_ends_us), self.current);
        self.first.get_or_insert(ended);
        self.last = ended;
        self.previous = self.current;
        self.current = offset;
        self.window_ends_us = now_us.saturating_add(WINDOW_US);
    }

    fn least(&self) -> i64 {
        self.current.min(self.previous)
    }

    /// Parts per million by which the media clock runs fast.
    fn drift_ppm(&self) -> Option<i32> {
        let (began, first) = self.first?;
        let (ended, last) = self.last;
        let span = ended - began;
        if span < DRIFT_AFTER_US {
            return None;
        }
        let ppm = i128::from(first - last) * 1_000_000 / i128::from(span);
        i32::try_from(ppm).ok()
    }
}

impl Mapper {
    /// Without tracks.
    pub const fn new() -> Self {
        Self { tracks: Vec::new(), wall_offset: None, resets: 0, disbelieved: 0 }
    }

    /// Adds a track (of simulcast: each layer) whose timestamps run at `clock_rate` ticks a second.
    /// None beyond [`MAX_TRACKS`] or if the rate is 0.
    pub fn add_track(&mut self, clock_rate: u32) -> Option<TrackId> {
        if self.tracks.len() >= MAX_TRACKS || clock_rate == 0 {
            return None;
        }
        let id = u8::try_from(self.tracks.len()).ok()?;
        let extender = Extender32::new();
        self.tracks.push(Track { clock_rate, extender, state: None, early: None });
        Some(TrackId(id))
    }

    /// Maps the timestamp of a packet or frame that came at `now_us`. Give them as they come, or at
    /// least once a frame.
    #[inline]
    pub fn map(&mut self, id: TrackId, timestamp: u32, now_us: u64) -> i64 {
        let now = micros(now_us);
        let Some(track) = self.tracks.get_mut(usize::from(id.0)) else { return now };
        let media = track.media_us(track.extender.peek(timestamp));
        if let Some(state) = &mut track.state {
            if media == state.media_us {
                return state.mapped_us;
            }
            let step = media.saturating_sub(state.media_us);
            let elapsed = now.saturating_sub(state.arrived_us);
            if step >= -BACK_US && step <= elapsed.saturating_add(AHEAD_US) {
                track.extender.extend(timestamp);
                return state.advance(media, step, now_us);
            }
        }
        self.resets += u64::from(track.state.is_some());
        let mapped = track.begin(timestamp, now_us);
        if let Some((wall, rtp)) = track.early.take() {
            self.believe(id, wall, rtp);
        }
        mapped
    }

    /// Takes a sender report of a track: the NTP time and the timestamp it tells.
    pub fn on_sender_report(&mut self, track: TrackId, ntp: u64, timestamp: u32) {
        // Zero: the sender has no wall clock (RFC 3550 §6.4.1).
        if ntp == 0 {
            return;
        }
        let wall = micros(ntp_micros(ntp));
        let Some(known) = self.tracks.get_mut(usize::from(track.0)) else { return };
        if known.state.is_none() {
            known.early = Some((wall, timestamp));
            return;
        }
        self.believe(track, wall, timestamp);
    }

    fn believe(&mut self, id: TrackId, wall: i64, timestamp: u32) {
        let at = usize::from(id.0);
        let Some(track) = self.tracks.get(at) else { return };
        let Some(state) = track.state else { return };
        let wall_media = wall.saturating_sub(track.media_us(track.extender.peek(timestamp)));
        let moved = state.wall_media.map_or(0, |before| wall_media.saturating_sub(before));
        if moved.abs() > JUMP_US {
            // The publisher set its wall clock. That is no reason to move anything here, and the
            // other tracks will tell the same.
            self.wall_offset = self.wall_offset.map(|offset| offset.saturating_sub(moved));
            for other in self.tracks.iter_mut().filter_map(|track| track.state.as_mut()) {
                other.wall_media = other.wall_media.map(|wall| wall.saturating_add(moved));
            }
        }
        let least = state.arrivals.least();
        let truth = |offset: i64| wall_media.saturating_add(offset);
        let lag = |offset: i64| truth(offset).saturating_sub(least);
        let anchor = state.offset.saturating_sub(wall_media);
        let mut offset = *self.wall_offset.get_or_insert(anchor);
        if lag(offset).abs() > DISBELIEF_US {
            let others = self.tracks.iter().enumerate().filter(|(other, _)| *other != at);
            let mut truths = others.filter_map(|(_, track)| track.state?.truth);
            if truths.next().is_some() {
                self.disbelieved += 1;
                if let Some(state) = self.state_mut(at) {
                    state.truth = None;
                    state.wall_media = Some(wall_media);
                }
                return;
            }
            // Nobody else is tied to the old beginning: the publisher as a whole began anew.
            offset = anchor;
        }
        let initial = state.initial_lag.unwrap_or(lag(offset));
        let excess = lag(offset).saturating_sub(initial);
        if excess.abs() > FOLLOW_AFTER_US {
            offset = offset.saturating_sub(excess.clamp(-FOLLOW_US, FOLLOW_US));
        }
        self.wall_offset = Some(offset);
        if let Some(state) = self.state_mut(at) {
            state.truth = Some(truth(offset));
            state.wall_media = Some(wall_media);
            state.initial_lag = Some(initial);
        }
    }

    fn state_mut(&mut self, at: usize) -> Option<&mut State> {
        self.tracks.get_mut(at)?.state.as_mut()
    }

    /// Whether the track's place on the timeline is told by sender reports.
    pub fn is_synchronized(&self, track: TrackId) -> bool {
        let known = self.tracks.get(usize::from(track.0));
        known.and_then(|track| track.state).is_some_and(|state| state.truth.is_some())
    }

    /// By how much the track's media clock runs fast against ours, in parts per million; negative:
    /// slow. None before half a minute.
    pub fn drift_ppm(&self, track: TrackId) -> Option<i32> {
        self.tracks.get(usize::from(track.0))?.state?.arrivals.drift_ppm()
    }

    /// How often the timestamps of a track began anew.
    pub const fn resets(&self) -> u64 {
        self.resets
    }

    /// Sender reports that could not be true.
    pub const fn disbelieved(&self) -> u64 {
        self.disbelieved
    }
}

impl Track {
    fn media_us(&self, ticks: i64) -> i64 {
        media::Timestamp::from_ticks(ticks, self.clock_rate).as_micros()
    }

    /// Begins at this frame, or begins anew; gives where it is mapped to.
    fn begin(&mut self, timestamp: u32, now_us: u64) -> i64 {
        let now = micros(now_us);
        self.extender.reset();
        let ticks = self.extender.extend(timestamp);
        let media_us = self.media_us(ticks);
        // Anew: as far from the last frame as it came after it, so that nothing runs backwards.
        let mapped_us = self.state.map_or(now, |before| {
            let elapsed = now.saturating_sub(before.arrived_us).max(1);
            before.mapped_us.saturating_add(elapsed)
        });
        self.state = Some(State {
            offset: mapped_us.saturating_sub(media_us),
            truth: None,
            media_us,
            arrived_us: now,
            mapped_us,
            wall_media: None,
            initial_lag: None,
            arrivals: Arrivals::new(now.saturating_sub(media_us), now_us),
        });
        mapped_us
    }
}

impl State {
    /// Goes on to a frame `step` later, or takes a late one.
    fn advance(&mut self, media_us: i64, step: i64, now_us: u64) -> i64 {
        if step <= 0 {
            return media_us.saturating_add(self.offset);
        }
        let now = micros(now_us);
        self.arrivals.note(now.saturating_sub(media_us), now_us);
        let target = self.truth.unwrap_or_else(|| self.arrivals.least());
        let off = target.saturating_sub(self.offset);
        let most = if off > JUMP_US {
            off
        } else if off < -JUMP_US {
            step / 2
        } else {
            SLEW_US.min(step / SLEW_PART)
        };
        self.offset = self.offset.saturating_add(off.clamp(-most, most));
        self.media_us = media_us;
        self.arrived_us = now;
        self.mapped_us = media_us.saturating_add(self.offset);
        self.mapped_us
    }
}

fn micros(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}
