//! FLV bodies: a file header, then tags.

use container::flv::{self, FileHeader};
use hub::{Headers, Packager};
use media::{Codec, Frame, Kind, Timestamp};

use super::{Seed, Seen, Tracks, Wire, at_time};
use crate::wire::Framing;

/// Metadata and configurations of a common stream, to guess the room that they need.
const USUAL_PRELUDE: usize = 1024;
/// Configurations withheld at once: those of one kind's tracks. More than the hub keeps of a
/// stream cannot come back from it.
const MAX_HELD: usize = 32;

pub(super) struct FlvPackager {
    framing: Framing,
    tracks: Tracks,
    seen: Seen,
    /// Configurations of kinds that have sent no media yet: they go out before the first.
    held: Vec<Frame>,
}

impl FlvPackager {
    pub(super) fn new(wire: Wire, seed: &Seed) -> Self {
        let mut made =
            Self { framing: wire.framing, tracks: wire.tracks, seen: seed.seen, held: Vec::new() };
        for config in &seed.headers.configs {
            if made.withholds(config.kind()) {
                made.hold(config);
            }
        }
        made
    }

    /// Whether configurations of this kind wait for its media.
    fn withholds(&self, kind: Kind) -> bool {
        self.tracks.guess && self.tracks.drop && !self.seen.of(kind)
    }

    fn hold(&mut self, config: &Frame) {
        self.held.retain(|held| held.kind() != config.kind() || held.track != config.track);
        if self.held.len() < MAX_HELD {
            self.held.push(config.clone());
        }
    }

    fn header(&self, headers: &Headers) -> FileHeader {
        let Seen { audio, video } = self.seen;
        let (has_audio, has_video) = if !self.tracks.guess {
            (self.tracks.audio, self.tracks.video)
        } else if self.tracks.drop && (audio || video) {
            (audio, video)
        } else if headers.has_audio || headers.has_video {
            (headers.has_audio, headers.has_video)
        } else {
            (self.tracks.audio, self.tracks.video)
        };
        FileHeader { has_audio, has_video }
    }

    fn configs<'a>(&'a self, headers: &'a Headers) -> impl Iterator<Item = &'a Frame> {
        headers
            .configs
            .iter()
            .map(|config| &**config)
            .filter(|config| self.tracks.carries(config.kind()) && !self.withholds(config.kind()))
    }
}

impl Packager for FlvPackager {
    fn push(&mut self, frame: &Frame, out: &mut Vec<u8>) {
        let kind = frame.kind();
        if !self.tracks.carries(kind) {
            return;
        }
        if self.withholds(kind) {
            if frame.is_config() {
                return self.hold(frame);
            }
            if !frame.is_media() {
                return;
            }
        }
        if frame.is_media() && !self.seen.of(kind) {
            self.seen.note(kind);
            let (now, later) =
                std::mem::take(&mut self.held).into_iter().partition(|held| held.kind() == kind);
            self.held = later;
            for config in now {
                self.write(&at_time(&config, Some(frame.dts)), out);
            }
        }
        self.write(frame, out);
    }

    fn prelude(&mut self, headers: &Headers, at: Option<Timestamp>, out: &mut Vec<u8>) {
        // A new publisher may send less than the one before.
        self.seen.audio &= headers.has_audio;
        self.seen.video &= headers.has_video;
        let header = self.header(headers).encode();
        self.framing.wrap(USUAL_PRELUDE, out, |out| {
            out.extend_from_slice(&header);
            if let Some(metadata) = &headers.metadata {
                flv::write_tag(&untimed(metadata), out);
            }
            for frame in self.configs(headers) {
                flv::write_tag(&at_time(frame, at), out);
            }
        });
    }

    fn resume(&mut self, headers: &Headers, at: Timestamp, out: &mut Vec<u8>) {
        self.framing.wrap(USUAL_PRELUDE, out, |out| {
            for config in self.configs(headers) {
                flv::write_tag(&at_time(config, Some(at)), out);
            }
        });
    }
}

impl FlvPackager {
    fn write(&self, frame: &Frame, out: &mut Vec<u8>) {
        if frame.codec == Codec::ScriptData && frame.is_config() && frame.dts != Timestamp::ZERO {
            return self.write(&untimed(frame), out);
        }
        let len = flv::tag_len(frame).unwrap_or(0);
        self.framing.wrap(len, out, |out| {
            flv::write_tag(frame, out);
        });
    }
}

/// Metadata is of no time. FFmpeg takes it for a subtitle at any time but zero.
fn untimed(metadata: &Frame) -> Frame {
    at_time(metadata, Some(Timestamp::ZERO))
}
