//! The segments that a sliding playlist shows.

use std::collections::VecDeque;

/// A segment in the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// Its number.
    pub sequence: u64,
    /// Its length in microseconds.
    pub duration_us: i64,
    /// It does not continue the segment before.
    pub discontinuity: bool,
    /// What the caller made of it.
    pub item: T,
}

/// Keeps the newest segments of a live stream and counts what RFC 8216 wants counted.
///
/// From the newest back, segments stay listed until their sum first exceeds the window (the one
/// that exceeds it stays too) and is at least three target durations (RFC 8216 section 6.2.2).
/// What leaves the list lingers for the time the same section demands, so that a player that has
/// just read the old list still finds it; then [`push`](Self::push) gives it back to be deleted.
#[derive(Clone, Debug)]
pub struct Window<T> {
    window_us: i64,
    floor_us: i64,
    listed: VecDeque<Entry<T>>,
    lingering: VecDeque<Entry<T>>,
    target_s: u64,
    discontinuities: u64,
}

impl<T> Window<T> {
    /// An empty window of `window_us`. The target duration never falls below `floor_us`.
    pub fn new(window_us: i64, floor_us: i64) -> Self {
        Self {
            window_us,
            floor_us,
            listed: VecDeque::new(),
            lingering: VecDeque::new(),
            target_s: whole_seconds(floor_us),
            discontinuities: 0,
        }
    }

    /// Applies another window and floor from the next segment on. The target duration only grows.
    pub fn resize(&mut self, window_us: i64, floor_us: i64) {
        self.window_us = window_us;
        self.floor_us = floor_us;
    }

    /// Adds the newest segment and returns those that nobody needs any more, oldest first.
    pub fn push(&mut self, entry: Entry<T>) -> Vec<Entry<T>> {
        let longest = entry.duration_us.max(self.floor_us);
        self.target_s = self.target_s.max(whole_seconds(longest));
        self.listed.push_back(entry);
        let least = i64::try_from(self.target_s).unwrap_or(i64::MAX).saturating_mul(3_000_000);
        let mut rest = sum(&self.listed);
        while let Some(oldest) = self.listed.front() {
            rest = rest.saturating_sub(oldest.duration_us);
            if rest <= self.window_us || rest < least {
                break;
            }
            self.discontinuities =
                self.discontinuities.saturating_add(u64::from(oldest.discontinuity));
            self.lingering.extend(self.listed.pop_front());
        }
        let mut gone = Vec::new();
        let listed = sum(&self.listed);
        let mut since = sum(&self.lingering);
        while let Some(oldest) = self.lingering.front() {
            since = since.saturating_sub(oldest.duration_us);
            if since < listed {
                break;
            }
            gone.extend(self.lingering.pop_front());
        }
        gone
    }

    /// Takes the newest listed segment back: it could not be kept.
    pub fn retract(&mut self) -> Option<Entry<T>> {
        self.listed.pop_back()
    }

    /// The listed segments, oldest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry<T>> {
        self.listed.iter()
    }

    /// The number of the first listed segment (`EXT-X-MEDIA-SEQUENCE`); 0 while there is none.
    pub fn media_sequence(&self) -> u64 {
        self.listed.front().map_or(0, |entry| entry.sequence)
    }

    /// How many discontinuities lie before the first listed segment
    /// (`EXT-X-DISCONTINUITY-SEQUENCE`).
    pub fn discontinuity_sequence(&self) -> u64 {
        self.discontinuities
    }

    /// Whole seconds that no segment exceeds (`EXT-X-TARGETDURATION`); never falls.
    pub fn target_duration(&self) -> u64 {
        self.target_s
    }

    /// Empties the window and returns everything that was in it, oldest first. The counts stay,
    /// as if the segments had left one by one.
    pub fn clear(&mut self) -> Vec<Entry<T>> {
        let marks = self.listed.iter().filter(|entry| entry.discontinuity).count();
        self.discontinuities = self.discontinuities.saturating_add(marks as u64);
        self.lingering.drain(..).chain(self.listed.drain(..)).collect()
    }
}

fn sum<T>(entries: &VecDeque<Entry<T>>) -> i64 {
    entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.duration_us))
}

fn whole_seconds(us: i64) -> u64 {
    u64::try_from(us).unwrap_or(0).div_ceil(1_000_000)
}
