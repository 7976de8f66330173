//! Audio alone: ADTS frames and MP3 frames, with some seconds kept for new listeners.

use std::collections::VecDeque;

use hub::{Headers, Packager};
use media::aac::{ADTS_HEADER, AudioConfig};
use media::{Codec, Flags, Frame, Kind, Timestamp};

use super::{Seed, Wire};
use crate::wire::Framing;

/// An empty ID3v2.3 tag: ten bytes of header, ten of padding (id3.org, ID3v2.3.0 section 3.1).
const ID3: [u8; 20] = [b'I', b'D', b'3', 3, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Bytes kept for new listeners, whatever the times say: a minute at 1 Mbit/s.
const MAX_RECENT: usize = 8 << 20;

/// What was heard last.
struct Recent {
    span_us: i64,
    frames: VecDeque<Frame>,
    bytes: usize,
    /// A key frame of video came behind the newest audio: the log is joined there.
    key_behind: bool,
    /// A key frame of video stands right in front of the newest audio.
    key_before: bool,
}

impl Recent {
    fn new(wire: Wire) -> Self {
        Self {
            span_us: i64::from(wire.cache_ms()).saturating_mul(1000),
            frames: VecDeque::new(),
            bytes: 0,
            key_behind: false,
            key_before: false,
        }
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    /// Keeps an audio frame that was written.
    fn push(&mut self, frame: &Frame) {
        self.key_before = std::mem::take(&mut self.key_behind);
        if self.span_us == 0 {
            return;
        }
        if frame.flags.contains(Flags::DISCONTINUITY) {
            self.clear();
        }
        self.bytes = self.bytes.saturating_add(frame.payload.len());
        self.frames.push_back(frame.clone());
        while let Some(first) = self.frames.front() {
            let old = frame.dts.micros_since(first.dts) >= self.span_us;
            if !old && self.bytes <= MAX_RECENT {
                break;
            }
            self.bytes = self.bytes.saturating_sub(first.payload.len());
            self.frames.pop_front();
        }
    }

    /// The frames in front of a listener's first message. `at` is its time; when that is the
    /// newest frame's the listener begins behind it, unless a key frame put the begin there.
    fn before(&self, at: Option<Timestamp>) -> impl Iterator<Item = &Frame> {
        let newest = self.frames.back().map(|frame| frame.dts);
        let at_head = newest.is_some() && newest == at && !self.key_before;
        self.frames.iter().filter(move |frame| at.is_some_and(|at| frame.dts < at || at_head))
    }
}

pub(super) struct AacPackager {
    framing: Framing,
    config: Option<AudioConfig>,
    generation: u64,
    recent: Recent,
}

impl AacPackager {
    pub(super) fn new(wire: Wire, seed: &Seed) -> Self {
        let mut made =
            Self { framing: wire.framing, config: None, generation: 0, recent: Recent::new(wire) };
        made.adopt(&seed.headers);
        made
    }

    fn adopt(&mut self, headers: &Headers) {
        self.generation = headers.generation;
        for config in headers.configs.iter().filter(|frame| is_main(frame, Codec::Aac)) {
            self.configure(&config.payload);
        }
    }

    fn configure(&mut self, payload: &[u8]) {
        let config = AudioConfig::decode(payload).ok();
        if config != self.config {
            self.config = config;
            self.recent.clear();
        }
    }
}

/// A frame of the coding's main track.
fn is_main(frame: &Frame, codec: Codec) -> bool {
    frame.codec == codec && frame.track == 0
}

fn is_key_frame(frame: &Frame) -> bool {
    frame.kind() == Kind::Video && frame.is_key()
}

fn write_adts(config: Option<AudioConfig>, frame: &Frame, out: &mut Vec<u8>) -> bool {
    let header = config.and_then(|config| config.adts(frame.payload.len(), false));
    let Some(header) = header else { return false };
    out.extend_from_slice(&header);
    out.extend_from_slice(&frame.payload);
    true
}

impl Packager for AacPackager {
    fn push(&mut self, frame: &Frame, out: &mut Vec<u8>) {
        self.recent.key_behind |= is_key_frame(frame);
        if !is_main(frame, Codec::Aac) {
            return;
        }
        if frame.is_config() {
            return self.configure(&frame.payload);
        }
        if !frame.is_media() || frame.payload.is_empty() {
            return;
        }
        let config = self.config;
        let mut written = false;
        self.framing.wrap(frame.payload.len().saturating_add(ADTS_HEADER), out, |out| {
            written = write_adts(config, frame, out);
        });
        if written {
            self.recent.push(frame);
        }
    }

    fn prelude(&mut self, headers: &Headers, at: Option<Timestamp>, out: &mut Vec<u8>) {
        if self.generation != headers.generation {
            self.adopt(headers);
        }
        self.framing.wrap(self.recent.bytes, out, |out| {
            for frame in self.recent.before(at) {
                write_adts(self.config, frame, out);
            }
        });
    }
}

pub(super) struct Mp3Packager {
    framing: Framing,
    recent: Recent,
}

impl Mp3Packager {
    pub(super) fn new(wire: Wire) -> Self {
        Self { framing: wire.framing, recent: Recent::new(wire) }
    }
}

impl Packager for Mp3Packager {
    fn push(&mut self, frame: &Frame, out: &mut Vec<u8>) {
        self.recent.key_behind |= is_key_frame(frame);
        if !is_main(frame, Codec::Mp3) || !frame.is_media() || frame.payload.is_empty() {
            return;
        }
        self.framing.wrap(frame.payload.len(), out, |out| out.extend_from_slice(&frame.payload));
        self.recent.push(frame);
    }

    fn prelude(&mut self, _: &Headers, at: Option<Timestamp>, out: &mut Vec<u8>) {
        self.framing.wrap(ID3.len().saturating_add(self.recent.bytes), out, |out| {
            out.extend_from_slice(&ID3);
            for frame in self.recent.before(at) {
                out.extend_from_slice(&frame.payload);
            }
        });
    }
}
