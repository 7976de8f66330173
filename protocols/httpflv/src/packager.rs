//! Frames to the messages of a live body.
//!
//! Entry: [`Wire`], which names what a viewer gets and makes the [`hub::Packager`] for it. One
//! packager serves all viewers of a stream on a shard that get the same. Pure: no clock, no
//! socket; a message depends on nothing but the frames.

#![deny(clippy::arithmetic_side_effects)]

mod audio;
mod flv;
mod ts;

use std::time::Duration;

use hub::{Form, Headers, Packager};
use media::{Codec, Frame, Kind, Timestamp};

use crate::wire::Framing;

/// Longest span of audio that may be kept for new listeners. At double, a listener who asked for
/// live radio hears the minute before last.
pub const MAX_FAST_CACHE: Duration = Duration::from_secs(60);

/// The formats that a stream is served in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// FLV tags behind a file header.
    Flv,
    /// MPEG-TS packets.
    Ts,
    /// ADTS frames.
    Aac,
    /// MP3 frames behind an empty ID3 tag.
    Mp3,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Flv, Self::Ts, Self::Aac, Self::Mp3];

    /// The ending of the address, with its dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Flv => ".flv",
            Self::Ts => ".ts",
            Self::Aac => ".aac",
            Self::Mp3 => ".mp3",
        }
    }

    /// By the ending of a path.
    pub fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| path.ends_with(format.extension()))
    }

    /// For `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Flv => "video/x-flv",
            Self::Ts => "video/MP2T",
            Self::Aac => "audio/x-aac",
            Self::Mp3 => "audio/mpeg",
        }
    }

    /// The one coding that the format carries, if it carries one only.
    pub const fn only(self) -> Option<Codec> {
        match self {
            Self::Flv | Self::Ts => None,
            Self::Aac => Some(Codec::Aac),
            Self::Mp3 => Some(Codec::Mp3),
        }
    }

    const fn form_name(self) -> &'static str {
        match self {
            Self::Flv => "http-flv",
            Self::Ts => "http-ts",
            Self::Aac => "http-aac",
            Self::Mp3 => "http-mp3",
        }
    }
}

/// Which kinds a body is said to hold, and what becomes of frames that contradict it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tracks {
    /// Say what the stream has by now; the two below then count only while nothing is known.
    pub guess: bool,
    /// There is audio.
    pub audio: bool,
    /// There is video.
    pub video: bool,
    /// Leave out what was said not to be there. With `guess` these are the configurations of a
    /// kind that sends no media: a player would wait for the media for ever.
    pub drop: bool,
}

impl Tracks {
    fn says(self, kind: Kind) -> bool {
        match kind {
            Kind::Audio => self.audio,
            Kind::Video => self.video,
            Kind::Data => true,
        }
    }

    /// Whether frames of this kind go out at all.
    fn carries(self, kind: Kind) -> bool {
        self.guess || !self.drop || self.says(kind)
    }
}

/// Which kinds have sent media (not only configurations).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// An audio frame came.
    pub audio: bool,
    /// A video frame came.
    pub video: bool,
}

impl Seen {
    fn of(self, kind: Kind) -> bool {
        match kind {
            Kind::Audio => self.audio,
            Kind::Video => self.video,
            Kind::Data => true,
        }
    }

    fn note(&mut self, kind: Kind) {
        match kind {
            Kind::Audio => self.audio = true,
            Kind::Video => self.video = true,
            Kind::Data => {}
        }
    }
}

/// What a packager is told of a stream that runs already, since it sees only the frames to come.
#[derive(Clone, Debug, Default)]
pub struct Seed {
    /// The stream's configurations.
    pub headers: Headers,
    /// What has sent media.
    pub seen: Seen,
}

impl Seed {
    /// Of a stream as it is now.
    pub fn of(stream: &hub::Stream) -> Self {
        let mut seen = Seen::default();
        for track in stream.tracks().iter().filter(|track| track.frames > 0) {
            seen.note(track.codec.kind());
        }
        Self { headers: (*stream.headers()).clone(), seen }
    }
}

/// What a viewer gets. Viewers with equal ones share a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wire {
    /// Format of the body.
    pub format: Format,
    /// What stands around each message.
    pub framing: Framing,
    /// Which kinds are announced.
    pub tracks: Tracks,
    /// Audio formats: so much of what was heard last is sent at once. At most
    /// [`MAX_FAST_CACHE`]; whole milliseconds count.
    pub fast_cache: Duration,
}

impl Wire {
    /// The hub's name for it. `seed` is called at the first taker only.
    pub fn form(self, seed: impl FnOnce() -> Seed + 'static) -> Form {
        Form {
            name: self.format.form_name(),
            variant: self.variant(),
            make: Box::new(move || self.packager(&seed())),
        }
    }

    /// A packager for it.
    pub fn packager(self, seed: &Seed) -> Box<dyn Packager> {
        match self.format {
            Format::Flv => Box::new(flv::FlvPackager::new(self, seed)),
            Format::Ts => Box::new(ts::TsPackager::new(self, seed)),
            Format::Aac => Box::new(audio::AacPackager::new(self, seed)),
            Format::Mp3 => Box::new(audio::Mp3Packager::new(self)),
        }
    }

    fn variant(self) -> u64 {
        let framing = match self.framing {
            Framing::Raw => 0u64,
            Framing::Chunked => 1,
            Framing::WebSocket => 2,
        };
        let Tracks { guess, audio, video, drop } = self.tracks;
        let tracks =
            u64::from(guess) | u64::from(audio) << 1 | u64::from(video) << 2 | u64::from(drop) << 3;
        let cache = match self.format {
            Format::Aac | Format::Mp3 => u64::from(self.cache_ms()),
            Format::Flv | Format::Ts => 0,
        };
        framing | tracks << 2 | cache << 8
    }

    fn cache_ms(self) -> u32 {
        u32::try_from(self.fast_cache.min(MAX_FAST_CACHE).as_millis()).unwrap_or(0)
    }
}

/// The frame at another time: configurations take that of the message they stand before.
fn at_time(frame: &Frame, at: Option<Timestamp>) -> Frame {
    let at = at.unwrap_or(frame.dts);
    Frame { dts: at, pts: at, ..frame.clone() }
}

#[cfg(test)]
mod tests;
