//! One publish of one stream into files: what goes into which file, and when a file ends. Knows
//! neither the clock nor the disk: times and [`Files`] are arguments.

use std::sync::Arc;

use container::{flv, mp4};
use gate::path::{StreamName, Values, WallTime};
use media::{Flags, Frame, Kind, Timestamp};

use crate::config::{DvrConfig, Format, Plan};
use crate::disk::{FileError, Files};

/// Configurations that are kept for the files to come: some tracks of each kind. A publisher with
/// more loses the rest of them at the next file.
const CONFIGS_MAX: usize = 32;

/// What is gathered is written at the latest when it reaches this (1 MiB), and at the end of each
/// batch. At half a key frame of 4K takes two writes; at double nothing is gained.
const BUFFER_MAX: usize = 1 << 20;

/// After a failure, this long (1 s) nothing is tried; each further failure doubles it, up to
/// [`PAUSE_MAX_US`]. A full disk would otherwise be asked for each key frame.
const PAUSE_US: i64 = 1_000_000;

/// Longest pause after failures: 30 s. Space that was made is used at the key frame after that.
const PAUSE_MAX_US: i64 = 30_000_000;

/// Something to be told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A file was begun, under its temporary name.
    Begun {
        /// The name that it will have, as the configuration makes it.
        file: String,
    },
    /// A file is finished and has its name.
    Finished {
        /// Its name, as the configuration makes it.
        file: String,
        /// Its length in microseconds.
        duration_us: i64,
        /// And in bytes.
        bytes: u64,
    },
    /// A file ended early or was not begun.
    Failed {
        /// Its name, as the configuration makes it.
        file: String,
        /// What was being done, and what came of it.
        error: FileError,
        /// The next try is not before so many microseconds have passed; `None`: not in this
        /// publish.
        pause_us: Option<i64>,
    },
    /// Frames of this sort are not in the file.
    LeftOut(mp4::LeftOut),
}

/// What makes the bytes of a file.
#[derive(Debug)]
enum Muxer {
    Flv(Box<flv::FileMuxer>),
    Mp4(Box<mp4::Muxer>),
}

#[derive(Debug)]
struct Open {
    muxer: Muxer,
    file: String,
    /// The stream's time of the first frame.
    start: Timestamp,
    /// Pictures that a decoder can begin with have come.
    has_key: bool,
    buffer: Vec<u8>,
}

/// Records one publish. Ends when it is told to ([`end`](Self::end)); dropped before, its file
/// keeps the temporary name.
#[derive(Debug)]
pub struct Take {
    config: DvrConfig,
    name: StreamName,
    service: String,
    configs: Vec<Arc<Frame>>,
    has_video: bool,
    open: Option<Open>,
    /// The first file of the publish, which may begin with sound.
    first: bool,
    /// Nothing more in this publish.
    over: bool,
    /// Not before this moment.
    retry_us: i64,
    pause_us: i64,
    told: Option<mp4::LeftOut>,
}

/// A moment: of the wall clock, which names are made of, and of one that never jumps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// The date and time.
    pub wall: WallTime,
    /// Microseconds of any clock that only goes forward.
    pub us: i64,
}

impl Take {
    /// Of the stream `name`; `service` is who writes, for the files' properties.
    pub fn new(config: DvrConfig, name: StreamName, service: &str) -> Self {
        Self {
            config,
            name,
            service: service.to_owned(),
            configs: Vec::new(),
            has_video: false,
            open: None,
            first: true,
            over: false,
            retry_us: i64::MIN,
            pause_us: PAUSE_US,
            told: None,
        }
    }

    /// Bytes that are gathered and not yet written.
    pub fn gathered(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.buffer.len())
    }

    /// Takes one frame, in the order of the stream. Copies its payload once.
    pub fn push(
        &mut self,
        frame: &Arc<Frame>,
        now: Moment,
        files: &mut dyn Files,
        out: &mut Vec<Event>,
    ) {
        self.has_video |= frame.kind() == Kind::Video;
        if self.over {
            return;
        }
        if frame.is_config() {
            self.book(frame);
        }
        if self.open.as_ref().is_some_and(|open| self.ends_before(open, frame)) {
            self.close(now, files, out);
        }
        if self.open.is_none() {
            if !frame.is_media() || !self.may_begin(frame, now) {
                return;
            }
            self.begin(frame, now, files, out);
        }
        let Some(open) = &mut self.open else { return };
        if frame.is_media() && frame.kind() == Kind::Video {
            open.has_key |= frame.is_key() || !self.config.wait_keyframe;
            if !open.has_key {
                return;
            }
        }
        let left_out = open.write(frame);
        if let Some(left_out) = left_out.filter(|new| self.told != Some(*new)) {
            self.told = Some(left_out);
            out.push(Event::LeftOut(left_out));
        }
        if self.gathered() >= BUFFER_MAX {
            self.flush(now, files, out);
        }
    }

    /// Frames were lost before this one: pictures are of no use until the next key frame.
    pub fn lost(&mut self) {
        if let Some(open) = &mut self.open {
            open.has_key = false;
        }
    }

    /// Writes what is gathered.
    pub fn flush(&mut self, now: Moment, files: &mut dyn Files, out: &mut Vec<Event>) {
        let Some(open) = &mut self.open else { return };
        if open.buffer.is_empty() {
            return;
        }
        match files.append(&open.buffer) {
            Ok(()) => {
                open.buffer.clear();
                self.pause_us = PAUSE_US;
            }
            Err(error) => self.fail(error, now, files, out),
        }
    }

    /// The publish is over, or is to be recorded no more: finishes the file.
    pub fn end(&mut self, now: Moment, files: &mut dyn Files, out: &mut Vec<Event>) {
        self.close(now, files, out);
        self.over = true;
    }

    fn book(&mut self, frame: &Arc<Frame>) {
        self.configs.retain(|old| old.kind() != frame.kind() || old.track != frame.track);
        if self.configs.len() < CONFIGS_MAX {
            self.configs.push(frame.clone());
        }
    }

    /// Whether the file ends, and the frame is not in it.
    fn ends_before(&self, open: &Open, frame: &Frame) -> bool {
        if let Muxer::Mp4(muxer) = &open.muxer
            && !muxer.fits(frame)
        {
            return true;
        }
        let length = i64::try_from(self.config.duration.as_micros()).unwrap_or(i64::MAX);
        self.config.plan == Plan::Segment
            && frame.is_media()
            && self.may_start(frame)
            && frame.dts.micros_since(open.start) >= length
    }

    /// A file may start with this frame.
    fn may_start(&self, frame: &Frame) -> bool {
        match frame.kind() {
            Kind::Video => frame.is_key() || !self.config.wait_keyframe,
            Kind::Audio => !self.has_video || !self.config.wait_keyframe,
            Kind::Data => false,
        }
    }

    fn may_begin(&self, frame: &Frame, now: Moment) -> bool {
        // An MP4 file settles its tracks soon after its beginning: pictures that are on their way
        // are waited for.
        let waits = self.has_video && self.config.format == Format::Mp4;
        let early = self.first && frame.kind() == Kind::Audio && !waits;
        now.us >= self.retry_us && (early || self.may_start(frame))
    }

    fn begin(&mut self, frame: &Frame, now: Moment, files: &mut dyn Files, out: &mut Vec<Event>) {
        let (path, file) = match self.file_name(now.wall) {
            Ok(names) => names,
            Err(error) => return self.refuse(self.config.template.clone(), error, now, out),
        };
        let begun = match self.config.plan {
            Plan::Append if self.config.format == Format::Flv => files.resume(&path),
            _ => Ok(None),
        };
        let resumed = match begun {
            Ok(Some(muxer)) => Some(Muxer::Flv(Box::new(muxer))),
            Ok(None) => match files.begin(&path) {
                Ok(()) => None,
                Err(error) => return self.refuse(file, error, now, out),
            },
            Err(error) => return self.refuse(file, error, now, out),
        };
        let muxer = resumed.unwrap_or_else(|| match self.config.format {
            Format::Mp4 => Muxer::Mp4(Box::default()),
            Format::Flv => {
                let muxer = flv::FileMuxer::new(&self.service, self.config.keep_times);
                Muxer::Flv(Box::new(muxer))
            }
        });
        out.push(Event::Begun { file: file.clone() });
        let (start, buffer) = (frame.dts, Vec::new());
        let mut open = Open { muxer, file, start, has_key: false, buffer };
        // Data first: a file's properties stand at its beginning.
        let order = |frame: &&Arc<Frame>| Kind::ALL.iter().position(|kind| *kind == frame.kind());
        let mut configs: Vec<_> = self.configs.iter().collect();
        configs.sort_by_key(order);
        for config in configs {
            let _ = open.write(config);
        }
        self.open = Some(open);
        self.first = false;
    }

    /// The path below the root, and the name as people know it.
    fn file_name(&self, wall: WallTime) -> Result<(String, String), FileError> {
        let values =
            Values { wall: Some(wall), timestamp: Some(wall.unix_ms), ..Values::names(&self.name) };
        let path = values.path(&self.config.template)?;
        let file = format!("{}/{path}", self.config.root.trim_end_matches('/'));
        Ok((path, file))
    }

    /// The file could not be begun.
    fn refuse(&mut self, file: String, error: FileError, now: Moment, out: &mut Vec<Event>) {
        self.over = error.is_final();
        let pause_us = (!self.over).then(|| self.pause(now));
        out.push(Event::Failed { file, error, pause_us });
    }

    fn pause(&mut self, now: Moment) -> i64 {
        let pause = self.pause_us;
        self.retry_us = now.us.saturating_add(pause);
        self.pause_us = pause.saturating_mul(2).min(PAUSE_MAX_US);
        self.first = false;
        pause
    }

    /// The disk does not take any more: what is there is made a file, as well as it can be.
    fn fail(&mut self, error: FileError, now: Moment, files: &mut dyn Files, out: &mut Vec<Event>) {
        let Some(open) = self.open.take() else { return };
        let _ = files.cut();
        if files.is_empty() {
            files.discard();
        } else {
            if let Muxer::Flv(muxer) = &open.muxer {
                for patch in muxer.finish(files.len()) {
                    let _ = files.patch(patch.at, &patch.bytes);
                }
            }
            let bytes = files.len();
            if files.finish().is_ok() {
                let (file, duration_us) = (open.file.clone(), open.muxer.duration_us());
                out.push(Event::Finished { file, duration_us, bytes });
            }
        }
        let pause_us = Some(self.pause(now));
        out.push(Event::Failed { file: open.file, error, pause_us });
    }

    fn close(&mut self, now: Moment, files: &mut dyn Files, out: &mut Vec<Event>) {
        let Some(open) = &mut self.open else { return };
        let patches: Vec<(u64, Vec<u8>)> = match &mut open.muxer {
            Muxer::Flv(muxer) => {
                let len = files.len().saturating_add(open.buffer.len() as u64);
                muxer.finish(len).into_iter().map(|p| (p.at, p.bytes)).collect()
            }
            Muxer::Mp4(muxer) => {
                let patch = muxer.finish(&mut open.buffer);
                patch.into_iter().map(|p| (p.at, p.bytes.to_vec())).collect()
            }
        };
        self.flush(now, files, out);
        let Some(open) = self.open.take() else { return };
        if files.is_empty() {
            return files.discard();
        }
        let bytes = files.len();
        let write = || {
            for (at, bytes) in &patches {
                files.patch(*at, bytes)?;
            }
            files.finish()
        };
        match { write }() {
            Ok(()) => {
                let duration_us = open.muxer.duration_us();
                out.push(Event::Finished { file: open.file, duration_us, bytes });
            }
            Err(error) => {
                let pause_us = Some(self.pause(now));
                out.push(Event::Failed { file: open.file, error, pause_us });
            }
        }
    }
}

impl Open {
    fn write(&mut self, frame: &Frame) -> Option<mp4::LeftOut> {
        match &mut self.muxer {
            Muxer::Flv(muxer) => {
                muxer.push(frame, &mut self.buffer);
                None
            }
            // Data are not a loss worth a word.
            Muxer::Mp4(_) if frame.flags.contains(Flags::END) => None,
            Muxer::Mp4(muxer) => muxer.push(frame, &mut self.buffer).err(),
        }
    }
}

impl Muxer {
    fn duration_us(&self) -> i64 {
        match self {
            Self::Flv(muxer) => muxer.duration_us(),
            Self::Mp4(muxer) => muxer.duration_us(),
        }
    }
}

#[cfg(test)]
mod tests;
