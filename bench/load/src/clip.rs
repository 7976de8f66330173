//! What publishers send: the tags of an FLV file, prepared to be stamped, in a loop.

use std::collections::HashMap;

use bytes::Bytes;
use container::flv::{Demuxer, ReadError, Reader, Tag, TagKind};
use media::nal::LengthPrefixed;
use media::{Codec, Frame, Kind};

use crate::stamp::{self, Stamp, Sum};

/// Distinct sounds that are remembered by their checksum; beyond it sound is not checked. An hour
/// of AAC has 155,000.
const MAX_SOUNDS: usize = 500_000;

/// Why a file cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    File {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// It is no FLV file.
    #[error("not an FLV file that can be published: {0}")]
    Flv(#[from] ReadError),
    /// It has no picture and no sound.
    #[error("the file has no picture and no sound")]
    Empty,
}

/// One message to publish.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it is.
    pub kind: TagKind,
    /// Milliseconds since the clip began.
    pub at_ms: u32,
    /// The message body.
    pub body: Bytes,
    /// Not media: metadata or a configuration.
    pub config: bool,
    mark: Option<Mark>,
}

/// Where a stamp goes into a picture, and what it says of it.
#[derive(Clone, Copy, Debug)]
struct Mark {
    codec: Codec,
    /// Offset in the body.
    at: usize,
    length_size: u8,
    checksum: u64,
}

/// A clip that is published in a loop, by as many as wanted at once.
#[derive(Debug)]
pub struct Clip {
    parts: Vec<Part>,
    round_ms: u64,
    /// How often each sound's checksum occurs.
    sounds: Option<HashMap<u64, u32>>,
    stamps: bool,
}

impl Clip {
    /// The built-in test card: ten seconds of 640x360 H.264 with AAC. Costs some 10 ms.
    ///
    /// # Errors
    /// None that a build without a fault has.
    pub fn built_in() -> Result<Self, ClipError> {
        Self::from_flv(&testcard::flv())
    }

    /// An FLV file.
    ///
    /// # Errors
    /// It cannot be read, or is no FLV file with media.
    pub fn from_file(path: &str) -> Result<Self, ClipError> {
        let bytes = std::fs::read(path)
            .map_err(|error| ClipError::File { path: path.to_owned(), error })?;
        Self::from_flv(&bytes)
    }

    /// The bytes of an FLV file. Tags of unknown kinds are left out.
    ///
    /// # Errors
    /// It is no FLV file with media.
    pub fn from_flv(bytes: &[u8]) -> Result<Self, ClipError> {
        let mut reader = Reader::new();
        reader.push(bytes);
        let mut prepare = Prepare::default();
        let mut parts = Vec::new();
        loop {
            match reader.pull() {
                Ok(Some(tag)) => parts.extend(prepare.part(tag)),
                Ok(None) => break,
                Err(error) if error.is_final() => return Err(error.into()),
                Err(_) => {}
            }
        }
        let round_ms = round(&parts).ok_or(ClipError::Empty)?;
        let stamps = parts.iter().any(|part| part.mark.is_some());
        let sounds = (prepare.sounds.len() <= MAX_SOUNDS).then_some(prepare.sounds);
        Ok(Self { parts, round_ms, sounds, stamps })
    }

    /// Its messages, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// What each round adds to the times, in milliseconds.
    pub const fn round_ms(&self) -> u64 {
        self.round_ms
    }

    /// Whether its pictures can be stamped: H.264 and H.265 can.
    pub const fn can_stamp(&self) -> bool {
        self.stamps
    }

    /// Whether the clip has a sound of this checksum; `None` where it has no sound or too many.
    pub fn has_sound(&self, checksum: u64) -> Option<bool> {
        let sounds = self.sounds.as_ref().filter(|sounds| !sounds.is_empty())?;
        Some(sounds.contains_key(&checksum))
    }
}

impl Part {
    /// Whether [`write`](Self::write) puts a stamp into it.
    pub const fn is_stamped(&self) -> bool {
        self.mark.is_some()
    }

    /// Writes the message body with a stamp into `out`, which is cleared. One copy.
    pub fn write(&self, sent_ns: u64, number: u32, publisher: u32, out: &mut Vec<u8>) {
        out.clear();
        let Some(mark) = self.mark else {
            out.extend_from_slice(&self.body);
            return;
        };
        let stamp = Stamp { sent_ns, number, publisher, checksum: mark.checksum };
        let unit = stamp.encode(mark.codec).unwrap_or_default();
        let (before, after) = self.body.split_at_checked(mark.at).unwrap_or((&self.body, &[]));
        out.extend_from_slice(before);
        let length = (unit.len() as u32).to_be_bytes();
        let skip = 4usize.saturating_sub(usize::from(mark.length_size));
        out.extend_from_slice(length.get(skip..).unwrap_or(&length));
        out.extend_from_slice(&unit);
        out.extend_from_slice(after);
    }
}

/// The size of the lengths before units, by the configuration of a track.
pub(crate) fn length_size(config: &Frame) -> Option<u8> {
    let at = match config.codec {
        Codec::H264 => 4,
        Codec::H265 => 21,
        _ => return None,
    };
    Some((config.payload.get(at)? & 3) + 1)
}

#[derive(Default)]
struct Prepare {
    demuxer: Demuxer,
    length_size: Option<u8>,
    sounds: HashMap<u64, u32>,
}

impl Prepare {
    fn part(&mut self, tag: Tag) -> Option<Part> {
        let mut frames: Vec<Frame> = Vec::new();
        self.demuxer.push(tag.kind, tag.dts(), tag.body.clone(), &mut frames).ok()?;
        let config = !frames.iter().any(Frame::is_media) || tag.kind == TagKind::Script;
        let mut mark = None;
        if let [frame] = frames.as_slice() {
            match frame.kind() {
                Kind::Video if frame.is_config() => {
                    self.length_size = length_size(frame).or(self.length_size);
                }
                Kind::Video if frame.is_media() => mark = self.mark(&tag, frame),
                Kind::Audio if frame.is_media() => {
                    *self.sounds.entry(stamp::checksum(&frame.payload)).or_default() += 1;
                }
                _ => {}
            }
        }
        Some(Part { kind: tag.kind, at_ms: tag.timestamp, body: tag.body, config, mark })
    }

    /// The place before the first slice.
    fn mark(&self, tag: &Tag, frame: &Frame) -> Option<Mark> {
        let (codec, length_size) = (frame.codec, self.length_size.unwrap_or(4));
        let start = tag.body.len().checked_sub(frame.payload.len())?;
        let mut first = None;
        let mut sum = Sum::default();
        for unit in LengthPrefixed::new(&frame.payload, length_size) {
            let unit = unit.ok()?;
            if stamp::is_slice(unit, codec) {
                // Units are slices of the payload, so their places tell the offset.
                let offset = unit.as_ptr().addr() - frame.payload.as_ptr().addr();
                first.get_or_insert((start + offset).saturating_sub(usize::from(length_size)));
                sum.add(unit);
            }
        }
        let at = first?;
        Some(Mark { codec, at, length_size, checksum: sum.value() })
    }
}

/// How long a round is: to the end of the last picture, or of the last sound where there is none.
fn round(parts: &[Part]) -> Option<u64> {
    let of = |kind| {
        let mut times = parts.iter().filter(|p| p.kind == kind && !p.config).map(|p| p.at_ms);
        let first = times.next()?;
        let (mut last, mut count) = (first, 0u64);
        for at in times {
            last = last.max(at);
            count += 1;
        }
        let gap = u64::from(last - first).checked_div(count).unwrap_or(40).max(1);
        Some(u64::from(last) + gap)
    };
    let end = of(TagKind::Video).or_else(|| of(TagKind::Audio))?;
    // The next round may not begin before the last of this one.
    let last = parts.iter().map(|p| u64::from(p.at_ms) + 1).max()?;
    Some(end.max(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_clip_lasts_ten_seconds_and_all_its_pictures_take_stamps() {
        let clip = Clip::built_in().unwrap();
        assert_eq!(clip.round_ms(), 10_000);
        let pictures = clip.parts().iter().filter(|p| p.kind == TagKind::Video && !p.config);
        assert_eq!(pictures.clone().count(), 250);
        assert!(pictures.clone().all(Part::is_stamped));
        assert_eq!(clip.has_sound(stamp::checksum(b"no sound of it")), Some(false));
    }

    #[test]
    fn a_stamped_picture_says_when_it_was_sent_and_agrees_with_itself() {
        let clip = Clip::built_in().unwrap();
        let part = clip.parts().iter().find(|p| p.is_stamped()).unwrap();
        let mut body = Vec::new();
        part.write(77, 5, 9, &mut body);
        let units = LengthPrefixed::new(&body[5..], 4).map(Result::unwrap);
        let (found, sum) = stamp::read(units, Codec::H264);
        let found = found.unwrap();
        assert_eq!((found.sent_ns, found.number, found.publisher), (77, 5, 9));
        assert_eq!(found.checksum, sum);
    }

    #[test]
    fn what_is_no_film_is_refused() {
        assert!(matches!(Clip::from_flv(b"GIF89a"), Err(ClipError::Flv(_))));
        assert!(matches!(Clip::from_flv(b"FLV\x01\x05\0\0\0\x09\0\0\0\0"), Err(ClipError::Empty)));
        assert!(matches!(Clip::from_file("/nowhere/x.flv"), Err(ClipError::File { .. })));
    }
}
