//! MP4 files (ISO/IEC 14496-12), written as they come in and complete at every moment.
//!
//! [`Muxer`] appends fragments (`moof` and `mdat`), so that a file which was cut anywhere plays up
//! to its last whole fragment. At the end it appends one plain index over all samples, a `moov`
//! like that of any other MP4 file, and tells sixteen bytes to be written over the place that was
//! kept free at the beginning: they turn everything between into the one `mdat` that the index
//! points into. Nothing is copied or moved for that, whatever the file's length.
//!
//! ```text
//! while it grows   ftyp  free  moov(empty, mvex)  moof mdat  moof mdat ...
//! when it is done  ftyp  mdat[ ...................................... ]  moov
//! ```
//!
//! Carried: H.264, HEVC, AV1, VP9; AAC, MP3, Opus; the main track of each kind. What a file holds
//! is settled when its first fragment is written: see [`Muxer::fits`].

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod boxes;
mod entry;
mod tables;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use media::{Codec, Flags, Frame, Kind, Timestamp, mp3, opus};

use boxes::{FullBox, boxed, full};
use entry::Entry;
use tables::Tables;

/// A fragment is written when it spans this (1 s): what a cut loses. At half, the fragments' heads
/// are 1 % of a stream of 300 kbit/s; at double, twice as much is lost.
const FRAGMENT_US: i64 = 1_000_000;

/// Or when it holds this many bytes (4 MiB): memory, and the largest single write.
const FRAGMENT_BYTES: usize = 4 << 20;

/// Samples of one track that the index at the end is made of: 22 hours of 50 pictures a second,
/// 64 MB at worst. A file that grows beyond stays as it is, in fragments.
const SAMPLES_MAX: usize = 4_000_000;

/// Ticks of a video track's clock in a second.
const VIDEO_SCALE: u32 = 90_000;

/// Ticks of the clock of the whole file.
const MOVIE_SCALE: u32 = 1000;

/// Sound is timed by its samples as long as the publisher's times differ from that by no more
/// (50 ms): RTMP has whole milliseconds, which would make a click of each frame's border.
const DRIFT_US: i64 = 50_000;

/// Bytes of the place that is kept free for the head of the one `mdat`.
const FREE: usize = 16;

/// Sync frames of one MP3 frame that are counted; a publisher sends one.
const MP3_FRAMES_MAX: usize = 32;

/// Why a frame did not get into the file. The muxer goes on; the caller may log a reason that
/// differs from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeftOut {
    /// The coding is not carried.
    #[error("{0} is not carried in MP4")]
    Codec(Codec),
    /// Only the main track of each kind is carried.
    #[error("track {0} is not carried, only the main one")]
    Track(u8),
    /// Media came before the configuration that it needs.
    #[error("{0} frame before its configuration")]
    NoConfiguration(Codec),
    /// The configuration cannot be read or is too long.
    #[error("bad {0} configuration")]
    BadConfiguration(Codec),
    /// The file's tracks are settled, and this is none of them.
    #[error("{0} came after the file's tracks were settled")]
    Late(Codec),
}

/// Bytes to be written over what is at that place of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Offset from the beginning of the file.
    pub at: u64,
    /// What stands there then.
    pub bytes: [u8; FREE],
}

/// One access unit in the file.
#[derive(Clone, Copy, Debug)]
struct Sample {
    size: u32,
    duration: u32,
    /// Presentation minus decoding time, in ticks.
    composition: i32,
    key: bool,
}

/// The last access unit of a track: its duration is known when the next comes.
#[derive(Debug)]
struct Pending {
    ticks: i64,
    composition: i32,
    key: bool,
    payload: Bytes,
}

#[derive(Debug)]
struct Track {
    id: u32,
    entry: Entry,
    scale: u32,
    pending: Option<Pending>,
    /// Ticks of the first sample, from the beginning of the file.
    start: i64,
    /// Ticks behind the last sample that is in a fragment.
    written: i64,
    /// The fragment that grows.
    samples: Vec<Sample>,
    data: Vec<u8>,
    tables: Tables,
    last_duration: u32,
}

/// Makes a file of the frames of one stream.
///
/// Keeps a second of media, and per sample 4 to 16 bytes for the index.
#[derive(Debug, Default)]
pub struct Muxer {
    /// Video, audio.
    configs: [Option<(Codec, Bytes)>; 2],
    tracks: [Option<Track>; 2],
    /// The stream's time at which the file begins.
    base: Option<Timestamp>,
    /// When the fragment that grows began.
    since: Option<Timestamp>,
    sequence: u32,
    /// Bytes given out so far.
    offset: u64,
    /// Where the place that is kept free lies.
    free: u64,
}

impl Muxer {
    /// A file without anything in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the file can take what the frame brings: a configuration other than the one in use,
    /// or a track that was not there when the tracks were settled, belongs in another file.
    pub fn fits(&self, frame: &Frame) -> bool {
        let Some(index) = index_of(frame) else { return true };
        if frame.track != 0 || Entry::carried(frame.codec).is_none() {
            return true;
        }
        match self.tracks.get(index).and_then(Option::as_ref) {
            Some(track) if frame.is_config() => {
                track.entry.codec == frame.codec && track.entry.config == frame.payload
            }
            Some(track) => !frame.is_media() || track.entry.codec == frame.codec,
            None => {
                let config = self.config_of(index, frame.codec);
                self.sequence == 0 || !frame.is_media() || Entry::new(frame, config).is_err()
            }
        }
    }

    fn config_of(&self, index: usize, codec: Codec) -> Option<&Bytes> {
        let config = self.configs.get(index).and_then(Option::as_ref);
        config.filter(|(of, _)| *of == codec).map(|(_, bytes)| bytes)
    }

    /// Microseconds from the file's beginning to the end of its last sample.
    pub fn duration_us(&self) -> i64 {
        let ends = self.tracks.iter().flatten().map(|track| {
            let ticks = track.pending.as_ref().map_or(track.written, |last| last.ticks);
            Timestamp::from_ticks(ticks, track.scale).as_micros()
        });
        ends.max().unwrap_or(0)
    }

    /// Takes one frame, in the order of the stream, and appends to `out` the fragment that it ends,
    /// if it does. Copies the payload once.
    ///
    /// # Errors
    /// The frame was left out for this reason; going on is right.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), LeftOut> {
        let Some(index) = index_of(frame) else { return Ok(()) };
        if frame.track != 0 {
            return Err(LeftOut::Track(frame.track));
        }
        if frame.flags.contains(Flags::END) {
            return Ok(());
        }
        if Entry::carried(frame.codec).is_none() {
            return Err(LeftOut::Codec(frame.codec));
        }
        if frame.is_config() {
            if let Some(config) = self.configs.get_mut(index) {
                *config = Some((frame.codec, frame.payload.clone()));
            }
            return Ok(());
        }
        let since = *self.since.get_or_insert(frame.dts);
        let bytes = self.tracks.iter().flatten().map(|track| track.data.len());
        let full = bytes.fold(0, usize::saturating_add) >= FRAGMENT_BYTES;
        if full || frame.dts.micros_since(since) >= FRAGMENT_US {
            self.fragment(out);
            self.since = Some(frame.dts);
        }
        self.add(index, frame)
    }

    fn add(&mut self, index: usize, frame: &Frame) -> Result<(), LeftOut> {
        let fresh = match self.tracks.get(index) {
            Some(None) => {
                let entry = Entry::new(frame, self.config_of(index, frame.codec))?;
                if self.sequence > 0 {
                    return Err(LeftOut::Late(frame.codec));
                }
                let scale = if index == 0 { VIDEO_SCALE } else { entry.sample_rate };
                let id = u32::try_from(index).unwrap_or(0).saturating_add(1);
                Some(Track::new(id, entry, scale))
            }
            _ => None,
        };
        let Some(slot) = self.tracks.get_mut(index) else { return Ok(()) };
        if fresh.is_some() {
            *slot = fresh;
        }
        let Some(track) = slot else { return Ok(()) };
        if track.entry.codec != frame.codec {
            return Err(LeftOut::Late(frame.codec));
        }
        let base = *self.base.get_or_insert(frame.dts);
        track.add(frame, base);
        Ok(())
    }

    /// Ends the file: appends the last fragment and the index. What is returned must be written to
    /// its place when all of `out` is on disk; without it, or without any of this, the file plays
    /// as well, as fragments. `None`: there is no index, for nothing was recorded, or too much.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Option<Patch> {
        for track in self.tracks.iter_mut().flatten() {
            let duration = track.last_duration.max(1);
            track.settle(i64::from(duration));
        }
        self.fragment(out);
        if self.sequence == 0 || self.tracks.iter().flatten().any(|t| t.tables.is_full()) {
            return None;
        }
        let size = self.offset.saturating_sub(self.free);
        let at = out.len();
        self.index(out);
        self.offset = self.offset.saturating_add(grown(out, at));
        let mut bytes = [0; FREE];
        let head = [&[0, 0, 0, 1][..], b"mdat", &size.to_be_bytes()].concat();
        bytes.copy_from_slice(head.get(..FREE)?);
        Some(Patch { at: self.free, bytes })
    }

    /// Writes what has gathered.
    fn fragment(&mut self, out: &mut Vec<u8>) {
        if self.tracks.iter().flatten().all(|track| track.samples.is_empty()) {
            return;
        }
        let at = out.len();
        if self.sequence == 0 {
            self.begin(out);
        }
        self.sequence = self.sequence.saturating_add(1);
        // The lengths of the head do not depend on the offsets in it.
        let mut head = Vec::new();
        self.moof(&mut head, 0);
        let body = head.len().saturating_add(8);
        head.clear();
        self.moof(&mut head, body);
        out.extend_from_slice(&head);
        let mut place = self.offset.saturating_add(grown(out, at)).saturating_add(8);
        boxed(out, b"mdat", |out| {
            for track in self.tracks.iter_mut().flatten() {
                out.extend_from_slice(&track.data);
                track.close_run(place);
                place = place.saturating_add(track.data.len() as u64);
                track.data.clear();
            }
        });
        self.offset = self.offset.saturating_add(grown(out, at));
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        let at = out.len();
        boxed(out, b"ftyp", |out| {
            out.extend_from_slice(b"isom\0\0\x02\0isomiso2avc1mp41iso5iso6");
        });
        self.free = grown(out, at);
        boxed(out, b"free", |out| out.extend_from_slice(&[0; FREE - 8]));
        boxed(out, b"moov", |out| {
            boxes::movie_header(out, MOVIE_SCALE, 0);
            for track in self.tracks.iter().flatten() {
                track.trak(out, false);
            }
            boxed(out, b"mvex", |out| {
                for track in self.tracks.iter().flatten() {
                    full(out, FullBox::new(b"trex"), |out| {
                        for word in [track.id, 1, 0, 0, 0] {
                            out.extend_from_slice(&word.to_be_bytes());
                        }
                    });
                }
            });
        });
    }

    fn moof(&self, out: &mut Vec<u8>, body: usize) {
        boxed(out, b"moof", |out| {
            full(out, FullBox::new(b"mfhd"), |out| {
                out.extend_from_slice(&self.sequence.to_be_bytes());
            });
            let mut place = body;
            for track in self.tracks.iter().flatten().filter(|t| !t.samples.is_empty()) {
                track.traf(out, place);
                place = place.saturating_add(track.data.len());
            }
        });
    }

    fn index(&self, out: &mut Vec<u8>) {
        boxed(out, b"moov", |out| {
            let ends = self.tracks.iter().flatten().map(Track::movie_duration);
            boxes::movie_header(out, MOVIE_SCALE, ends.max().unwrap_or(0));
            for track in self.tracks.iter().flatten() {
                track.trak(out, true);
            }
        });
    }
}

fn index_of(frame: &Frame) -> Option<usize> {
    match frame.kind() {
        Kind::Video => Some(0),
        Kind::Audio => Some(1),
        Kind::Data => None,
    }
}

fn grown(out: &[u8], from: usize) -> u64 {
    out.len().saturating_sub(from) as u64
}

/// The samples of a frame's sound at the track's rate, where that can be told.
fn samples_of(frame: &Frame, entry: &Entry) -> Option<i64> {
    match frame.codec {
        Codec::Aac => Some(i64::from(entry.frame_samples)),
        Codec::Mp3 => {
            let (mut rest, mut sum) = (&*frame.payload, 0i64);
            for _ in 0..MP3_FRAMES_MAX {
                let Ok(header) = mp3::FrameHeader::decode(rest) else { break };
                sum = sum.saturating_add(i64::from(header.samples));
                rest = rest.get(header.frame_length.max(1)..).unwrap_or_default();
            }
            (sum > 0).then_some(sum)
        }
        Codec::Opus => Some(i64::from(opus::Packet::decode(&frame.payload).ok()?.samples)),
        _ => None,
    }
}

impl Track {
    fn new(id: u32, entry: Entry, scale: u32) -> Self {
        Self {
            id,
            entry,
            scale,
            pending: None,
            start: -1,
            written: 0,
            samples: Vec::new(),
            data: Vec::new(),
            tables: Tables::new(SAMPLES_MAX),
            last_duration: 0,
        }
    }

    fn is_video(&self) -> bool {
        self.entry.codec.kind() == Kind::Video
    }

    fn add(&mut self, frame: &Frame, base: Timestamp) {
        let us = frame.dts.micros_since(base).max(0);
        let mut ticks = Timestamp::from_micros(us).as_ticks(self.scale);
        if let Some(last) = &self.pending {
            let least = last.ticks.saturating_add(1);
            let counted = last.ticks.saturating_add(i64::from(self.entry.frame_ticks));
            let drift = i64::from(self.scale).saturating_mul(DRIFT_US) / 1_000_000;
            if !self.is_video()
                && self.entry.frame_ticks > 0
                && counted.saturating_sub(ticks).saturating_abs() <= drift
            {
                ticks = counted;
            }
            ticks = ticks.max(least);
            let duration = ticks.saturating_sub(last.ticks);
            self.settle(duration);
        } else {
            self.start = ticks;
            self.written = ticks;
        }
        self.entry.frame_ticks =
            samples_of(frame, &self.entry).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        if self.last_duration == 0 {
            self.last_duration = self.entry.frame_ticks;
        }
        let composition = Timestamp::from_micros(frame.composition_us()).as_ticks(self.scale);
        let composition = composition.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        self.pending = Some(Pending {
            ticks,
            composition: i32::try_from(composition).unwrap_or(0),
            key: !self.is_video() || frame.is_key(),
            payload: frame.payload.clone(),
        });
    }

    /// Puts the access unit that waited into the fragment.
    fn settle(&mut self, duration: i64) {
        let Some(last) = self.pending.take() else { return };
        let duration = u32::try_from(duration.max(0)).unwrap_or(u32::MAX);
        self.last_duration = duration;
        let size = u32::try_from(last.payload.len()).unwrap_or(u32::MAX);
        self.data.extend_from_slice(&last.payload);
        self.samples.push(Sample { size, duration, composition: last.composition, key: last.key });
    }

    /// The samples of the fragment lie at `place` of the file now.
    fn close_run(&mut self, place: u64) {
        for sample in &self.samples {
            self.written = self.written.saturating_add(i64::from(sample.duration));
        }
        self.tables.add(&self.samples, place);
        self.samples.clear();
    }

    fn movie_duration(&self) -> u64 {
        let ms = Timestamp::from_ticks(self.written, self.scale).as_millis();
        u64::try_from(ms).unwrap_or(0)
    }

    fn traf(&self, out: &mut Vec<u8>, place: usize) {
        boxed(out, b"traf", |out| {
            // Offsets count from the start of the moof.
            full(out, FullBox::new(b"tfhd").flags(0x02_0000), |out| {
                out.extend_from_slice(&self.id.to_be_bytes());
            });
            full(out, FullBox::new(b"tfdt").version(1), |out| {
                out.extend_from_slice(&self.written.to_be_bytes());
            });
            // Data offset; duration, size, flags and composition time of each sample.
            full(out, FullBox::new(b"trun").version(1).flags(0x0f01), |out| {
                let count = u32::try_from(self.samples.len()).unwrap_or(u32::MAX);
                let place = u32::try_from(place).unwrap_or(u32::MAX);
                out.extend_from_slice(&count.to_be_bytes());
                out.extend_from_slice(&place.to_be_bytes());
                for sample in &self.samples {
                    // Depends on none, or on others and is no sync sample.
                    let flags: u32 = if sample.key { 0x0200_0000 } else { 0x0101_0000 };
                    out.extend_from_slice(&sample.duration.to_be_bytes());
                    out.extend_from_slice(&sample.size.to_be_bytes());
                    out.extend_from_slice(&flags.to_be_bytes());
                    out.extend_from_slice(&sample.composition.to_be_bytes());
                }
            });
        });
    }

    /// The track's box: with the index, or empty for a file in fragments.
    fn trak(&self, out: &mut Vec<u8>, indexed: bool) {
        let (movie, media) = match indexed {
            true => (self.movie_duration(), self.tables.duration()),
            false => (0, 0),
        };
        boxed(out, b"trak", |out| {
            boxes::track_header(out, self.id, movie, self.entry.size);
            let start = Timestamp::from_ticks(self.start, self.scale).as_millis();
            if indexed && start > 0 {
                boxes::edit_list(out, start, movie.saturating_sub(start.unsigned_abs()));
            }
            boxed(out, b"mdia", |out| {
                boxes::media_header(out, self.scale, media);
                boxes::handler(out, self.is_video());
                boxed(out, b"minf", |out| {
                    boxes::media_information(out, self.is_video());
                    boxed(out, b"stbl", |out| {
                        full(out, FullBox::new(b"stsd"), |out| {
                            out.extend_from_slice(&1u32.to_be_bytes());
                            self.entry.encode(out);
                        });
                        match indexed {
                            true => self.tables.encode(out),
                            false => Tables::new(0).encode(out),
                        }
                    });
                });
            });
        });
    }
}
