//! Frames of one stream in; segments and playlists out.

use std::time::Duration;

use bytes::Bytes;
use container::segment::{Closed, CutRules, Cutter, Entry, Window};
use container::ts::{LeftOut, Listing, Muxer, TsConfig};
use media::aac::AudioConfig;
use media::{Codec, Frame, Timestamp};

use crate::config::HlsConfig;
use crate::path::{PathError, StreamName, Values, WallTime, entry};
use crate::playlist;

/// Audio that is put into one PES packet while there is no video: 720 ms, as SRS does it. Half
/// would cost twice the headers, double would delay the first sound of a segment noticeably.
const AUDIO_BATCH_US: u32 = 720_000;

/// A segment that reaches this size (128 MiB) ends at the next frame: with ten-second segments
/// this is 100 Mbit/s, and memory must end somewhere.
const SEGMENT_BYTES_MAX: usize = 128 << 20;

/// A segment's buffer that has more than this to spare is shrunk before it is kept.
const SPARE_MAX: usize = 64 << 10;

/// Fragments by which the counter of `hls_ts_floor` may be ahead of or behind the clock before it
/// jumps to it.
const FLOOR_JUMP: i64 = 20;

/// Part of a fragment by which a segment is lengthened or shortened for each fragment that the
/// counter of `hls_ts_floor` is ahead of the clock or behind it.
const FLOOR_CORRECTION: f64 = 0.3;

/// Fragments of deviation that are corrected at once; more would make segments of nothing.
const FLOOR_STEP_MAX: i64 = 2;

/// Audio times that are counted from samples start anew when the publisher's differ from them
/// by more than this (100 ms): a gap, or another clock.
const SAMPLE_DRIFT_US: i64 = 100_000;

/// What is to be done, in this order. Paths are relative to one root and have no `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write a file: `bytes` to `temp`, then rename that to `path`, so that nobody ever reads
    /// half of it.
    Write {
        /// The file's name.
        path: String,
        /// Its name while it is being written, in the same folder.
        temp: String,
        /// All of it.
        bytes: Bytes,
    },
    /// Nobody needs the file any more.
    Remove {
        /// The file's name.
        path: String,
        /// Whether a copy on disk is to go as well (`hls_cleanup`); one in memory always goes.
        on_disk: bool,
    },
    /// A segment and the playlist that lists it are out: the matter of the hooks.
    Done(SegmentDone),
}

/// What hooks want to know of a finished segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentDone {
    /// Its number.
    pub sequence: u64,
    /// Its length in microseconds.
    pub duration_us: i64,
    /// Its file, relative to the root.
    pub path: String,
    /// Its URI as the playlist has it.
    pub uri: String,
    /// The playlist's file, relative to the root.
    pub playlist: String,
}

/// The segment that grows.
#[derive(Debug)]
struct Open {
    wall: WallTime,
    timestamp: i64,
    bytes: Vec<u8>,
    /// What its first tables declare, once they are written.
    listing: Option<Listing>,
}

/// A finished segment.
#[derive(Debug)]
struct Listed {
    path: String,
    uri: String,
}

/// Turns the frames of one stream into segments and playlists.
///
/// One packager belongs to one stream and outlives its publishers: numbers continue. It keeps the
/// segment that grows (at most 128 MiB) and the names of those in the window. Drop does nothing;
/// [`dispose`](Self::dispose) clears up.
#[derive(Debug)]
pub struct Packager {
    config: HlsConfig,
    name: StreamName,
    playlist: String,
    cutter: Cutter,
    muxer: Muxer,
    window: Window<Listed>,
    open: Option<Open>,
    samples: SampleClock,
    floor: Option<i64>,
    /// Size of the last segment: what the next one's buffer starts with.
    expected: usize,
}

impl Packager {
    /// A packager for the stream `name`, whose first segment is number 0.
    ///
    /// # Errors
    /// The templates and the stream's names make no path that could be written; a stream whose
    /// publisher chose such a name gets no HLS.
    pub fn new(config: HlsConfig, name: StreamName) -> Result<Self, PathError> {
        let playlist = Values::names(&name).path(&config.m3u8_file)?;
        probe(&name).path(&config.ts_file)?;
        let rules = rules(&config);
        let window = Window::new(micros(config.window), rules.target_us);
        Ok(Self {
            cutter: Cutter::new(rules, 0),
            muxer: muxer(&config),
            window,
            open: None,
            samples: SampleClock::default(),
            floor: None,
            expected: 0,
            playlist,
            config,
            name,
        })
    }

    /// How long the playlist is: for so long after the playlist is gone its segments are needed.
    pub fn listed(&self) -> Duration {
        let us = self.window.entries().fold(0i64, |sum, e| sum.saturating_add(e.duration_us));
        Duration::from_micros(u64::try_from(us).unwrap_or(0))
    }

    /// The playlist's path, relative to the root.
    pub fn playlist_path(&self) -> &str {
        &self.playlist
    }

    /// Applies what may change while the stream runs: lengths, ratios and window, the segments'
    /// names and their prefix, clean-up. The playlist's name stays; guessed codecs wait for the
    /// next publisher.
    ///
    /// # Errors
    /// As those of [`new`](Self::new); then everything stays as it was.
    pub fn configure(&mut self, config: &HlsConfig) -> Result<(), PathError> {
        probe(&self.name).path(&config.ts_file)?;
        let mut config = config.clone();
        config.m3u8_file.clone_from(&self.config.m3u8_file);
        let rules = rules(&config);
        self.cutter.set_rules(rules);
        self.window.resize(micros(config.window), rules.target_us);
        self.config = config;
        Ok(())
    }

    /// Takes one frame, in the order of the stream; `wall` is the time now.
    ///
    /// Copies the payload once. Appends to `out` only when a segment ends.
    ///
    /// # Errors
    /// The frame was left out for this reason; going on is right. Only a reason that differs from
    /// the one before is worth a line in the log.
    pub fn push(
        &mut self,
        frame: &Frame,
        wall: WallTime,
        out: &mut Vec<Output>,
    ) -> Result<(), LeftOut> {
        if !self.config.dts_directly
            && let Some(dts) = self.samples.place(frame)
        {
            return self.take(&Frame { dts, pts: dts, ..frame.clone() }, wall, out);
        }
        self.take(frame, wall, out)
    }

    /// The publisher has gone: ends the segment. The playlist stays; a new publisher may come.
    pub fn unpublish(&mut self, out: &mut Vec<Output>) {
        if let Some(closed) = self.cutter.finish() {
            self.close(closed, out);
        }
        self.open = None;
        self.muxer = muxer(&self.config);
        self.samples = SampleClock::default();
    }

    /// Takes the newest segment off the list again: it could be kept nowhere. Its number comes
    /// again, and the next segment does not continue the one before it. To be called at once, for
    /// each segment that the last orders brought.
    pub fn retract(&mut self) {
        if self.window.retract().is_some() {
            self.cutter.retract();
        }
    }

    /// Takes the playlist away, for the stream has ended; its segments stay for those who have just
    /// read it. Frames that come again bring it back.
    pub fn retire(&mut self, out: &mut Vec<Output>) {
        if self.window.entries().len() > 0 {
            out.push(Output::Remove { path: self.playlist.clone(), on_disk: true });
        }
    }

    /// Removes the playlist and every segment there is; the numbers go on if frames come again.
    pub fn dispose(&mut self, out: &mut Vec<Output>) {
        let gone = self.window.clear();
        if gone.is_empty() {
            return;
        }
        out.push(Output::Remove { path: self.playlist.clone(), on_disk: true });
        out.extend(
            gone.into_iter().map(|entry| Output::Remove { path: entry.item.path, on_disk: true }),
        );
    }

    fn take(
        &mut self,
        frame: &Frame,
        wall: WallTime,
        out: &mut Vec<Output>,
    ) -> Result<(), LeftOut> {
        // What will be left out must not cut either, or there would be segments with nothing in
        // them; the muxer still learns of it.
        if self.muxer.ready(frame).is_err() {
            return self.write(frame);
        }
        if self.open.as_ref().is_some_and(|open| open.bytes.len() > SEGMENT_BYTES_MAX) {
            self.cutter.hurry();
        }
        let step = self.cutter.push(frame);
        if let Some(closed) = step.closed {
            self.close(closed, out);
        }
        if step.opened.is_some() {
            self.begin(wall);
        }
        if step.add { self.write(frame) } else { Ok(()) }
    }

    /// Gives the frame to the muxer. Without a segment nothing is written: only configurations
    /// and frames that are left out come then.
    fn write(&mut self, frame: &Frame) -> Result<(), LeftOut> {
        let Some(open) = &mut self.open else { return self.muxer.push(frame, &mut Vec::new()) };
        let result = self.muxer.push(frame, &mut open.bytes);
        if open.listing.is_none() && !open.bytes.is_empty() {
            open.listing = Some(self.muxer.listing());
        }
        result
    }

    fn begin(&mut self, wall: WallTime) {
        let timestamp = if self.config.ts_floor {
            let fragment_ms = i64::try_from(self.config.fragment.as_millis()).unwrap_or(i64::MAX);
            let now = wall.unix_ms.div_euclid(fragment_ms.max(1));
            let next = self.floor.map_or(now.saturating_sub(1), |last| last.saturating_add(1));
            let ahead = next.saturating_sub(now);
            let behind = now.saturating_sub(1);
            let counter = if ahead.saturating_abs() > FLOOR_JUMP { behind } else { next };
            let ahead = counter.saturating_sub(now).clamp(-FLOOR_STEP_MAX, FLOOR_STEP_MAX);
            let slack = micros(self.config.fragment) as f64 * FLOOR_CORRECTION * ahead as f64;
            self.cutter.set_slack(slack as i64);
            self.floor = Some(counter);
            counter
        } else {
            self.cutter.set_slack(0);
            wall.unix_ms
        };
        self.muxer.lead();
        let bytes = Vec::with_capacity(self.expected);
        self.open = Some(Open { wall, timestamp, bytes, listing: None });
    }

    fn close(&mut self, closed: Closed, out: &mut Vec<Output>) {
        let Some(mut open) = self.open.take() else { return };
        let duration_ms = closed.duration_us.saturating_add(500) / 1000;
        // A playlist tells milliseconds; what it cannot tell must not lift the target duration.
        let duration_us = duration_ms.saturating_mul(1000);
        self.muxer.flush(&mut open.bytes);
        if !closed.keep {
            return;
        }
        if open.bytes.is_empty() {
            // Every frame was damaged: an empty file would stop players, tables do not.
            self.muxer.psi(&mut open.bytes);
        }
        self.muxer.relist(open.listing.unwrap_or(self.muxer.listing()), &mut open.bytes);
        self.expected = open.bytes.len().saturating_add(open.bytes.len() / 8);
        if open.bytes.capacity().saturating_sub(open.bytes.len()) > SPARE_MAX {
            open.bytes.shrink_to_fit();
        }
        let values = Values {
            name: &self.name,
            wall: Some(open.wall),
            timestamp: Some(open.timestamp),
            sequence: Some(closed.sequence),
            duration_ms: Some(duration_ms),
        };
        // Tried with the longest values before the template was taken.
        let Ok(path) = values.path(&self.config.ts_file) else { return };
        let uri = entry(&self.config.entry_prefix, &self.playlist, &path);
        let temp = format!("{path}.tmp");
        out.push(Output::Write { path: path.clone(), temp, bytes: open.bytes.into() });
        let gone = self.window.push(Entry {
            sequence: closed.sequence,
            duration_us,
            discontinuity: closed.discontinuity,
            item: Listed { path: path.clone(), uri: uri.clone() },
        });
        let text = playlist::encode(&self.window, |listed| &listed.uri);
        let temp = format!("{}.temp", self.playlist);
        out.push(Output::Write { path: self.playlist.clone(), temp, bytes: text.into() });
        for old in gone {
            // A template without a number writes the same file again and again.
            if !self.window.entries().any(|entry| entry.item.path == old.item.path) {
                let on_disk = self.config.cleanup;
                out.push(Output::Remove { path: old.item.path, on_disk });
            }
        }
        out.push(Output::Done(SegmentDone {
            sequence: closed.sequence,
            duration_us,
            path,
            uri,
            playlist: self.playlist.clone(),
        }));
    }
}

/// The longest values a segment's name can have: what fails for one segment fails with these.
fn probe(name: &StreamName) -> Values<'_> {
    Values {
        wall: Some(WallTime::default()),
        timestamp: Some(i64::MAX),
        sequence: Some(u64::MAX),
        duration_ms: Some(i64::MAX),
        ..Values::names(name)
    }
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn rules(config: &HlsConfig) -> CutRules {
    let HlsConfig { td_ratio, aof_ratio, wait_keyframe, .. } = *config;
    CutRules::new(micros(config.fragment), td_ratio, aof_ratio, wait_keyframe)
}

fn muxer(config: &HlsConfig) -> Muxer {
    Muxer::new(TsConfig {
        video: config.vcodec,
        audio: config.acodec,
        audio_batch_us: AUDIO_BATCH_US,
    })
}

/// Counts the times of AAC frames from their samples (`hls_dts_directly off`).
#[derive(Debug, Default)]
struct SampleClock {
    config: Option<AudioConfig>,
    /// Where counting began, and how many samples have passed since.
    base: Option<(Timestamp, i64)>,
}

impl SampleClock {
    /// The time that the frame gets; `None` when it keeps its own.
    fn place(&mut self, frame: &Frame) -> Option<Timestamp> {
        if frame.codec != Codec::Aac || frame.track != 0 {
            return None;
        }
        if frame.is_config() {
            self.config = AudioConfig::decode(&frame.payload).ok();
            self.base = None;
            return None;
        }
        let config = self.config.filter(|_| frame.is_media())?;
        let (base, passed) = self.base.unwrap_or((frame.dts, 0));
        let counted = base.offset(Timestamp::from_ticks(passed, config.core_rate).as_micros());
        let drift = frame.dts.micros_since(counted).saturating_abs();
        let (base, passed) = if drift > SAMPLE_DRIFT_US { (frame.dts, 0) } else { (base, passed) };
        let time = base.offset(Timestamp::from_ticks(passed, config.core_rate).as_micros());
        self.base = Some((base, passed.saturating_add(i64::from(config.frame_samples()))));
        Some(time)
    }
}

#[cfg(test)]
mod tests;
