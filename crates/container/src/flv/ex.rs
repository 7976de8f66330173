//! The enhanced headers: ModEx, Multitrack, FourCC. The same for audio and video, but for one number.

use bytes::Bytes;

use super::coding::{
    AUDIO_MULTITRACK, EX_AUDIO, FRAME_COMMAND, MOD_EX, VIDEO_METADATA, VIDEO_MULTITRACK,
};
use super::{Error, MAX_MOD_EX, MAX_TRACKS, TagKind};

/// Reads a body front to back; slices share it.
pub(super) struct Cursor {
    body: Bytes,
    offset: usize,
}

impl Cursor {
    pub(super) const fn new(body: Bytes) -> Self {
        Self { body, offset: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offset >= self.body.len()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let tail = self.body.get(self.offset..).unwrap_or_default();
        let Some((head, _)) = tail.split_first_chunk::<N>() else {
            return Err(Error::Truncated { offset: self.offset, need: N });
        };
        let head = *head;
        self.offset = self.offset.saturating_add(N);
        Ok(head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn u24(&mut self) -> Result<u32, Error> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_be_bytes([0, a, b, c]))
    }

    /// Signed 24 bits: a composition time in milliseconds.
    pub(super) fn i24(&mut self) -> Result<i32, Error> {
        let [a, b, c] = self.array()?;
        Ok(i32::from_be_bytes([a, b, c, 0]) >> 8)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn take(&mut self, len: usize) -> Result<Bytes, Error> {
        let end = self.offset.checked_add(len).filter(|&end| end <= self.body.len());
        let Some(end) = end else {
            return Err(Error::Truncated { offset: self.offset, need: len });
        };
        let taken = self.body.slice(self.offset..end);
        self.offset = end;
        Ok(taken)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> Bytes {
        let rest = self.body.slice(self.offset.min(self.body.len())..);
        self.offset = self.body.len();
        rest
    }
}

/// One track's share of an enhanced message.
pub(super) struct Part {
    pub(super) packet_type: u8,
    pub(super) fourcc: u32,
    pub(super) track: u8,
    pub(super) data: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// No multitrack header.
    Plain,
    /// One track behind a multitrack header.
    OneTrack,
    /// Several tracks of one codec.
    ManyTracks,
    /// Several tracks, each with its codec.
    ManyCodecs,
}

/// An enhanced message after its header; walks over the tracks.
pub(super) struct Parts {
    cursor: Cursor,
    layout: Layout,
    packet_type: u8,
    fourcc: u32,
    count: usize,
    /// TimestampOffsetNano, all of them together.
    pub(super) nanos: u32,
}

impl Parts {
    /// Reads from behind the `first` byte up to the first track.
    pub(super) fn open(kind: TagKind, first: u8, mut cursor: Cursor) -> Result<Self, Error> {
        let (packet_type, nanos) = mod_ex(first & 0x0f, &mut cursor)?;
        let video = kind == TagKind::Video;
        if video && packet_type != VIDEO_METADATA && (first >> 4) & 7 == FRAME_COMMAND {
            return Err(Error::Command { value: cursor.u8()? });
        }
        let multitrack = if video { VIDEO_MULTITRACK } else { AUDIO_MULTITRACK };
        let mut parts =
            Self { cursor, layout: Layout::Plain, packet_type, fourcc: 0, count: 0, nanos };
        if packet_type == multitrack {
            let byte = parts.cursor.u8()?;
            parts.layout = match byte >> 4 {
                0 => Layout::OneTrack,
                1 => Layout::ManyTracks,
                2 => Layout::ManyCodecs,
                value => return Err(Error::MultitrackType { value }),
            };
            parts.packet_type = byte & 0x0f;
            if parts.packet_type == multitrack || parts.packet_type == MOD_EX {
                return Err(Error::PacketType { kind, value: parts.packet_type });
            }
        }
        if parts.layout != Layout::ManyCodecs {
            parts.fourcc = parts.cursor.u32()?;
        }
        Ok(parts)
    }

    /// The message has one track only, so that its body says all about it.
    pub(super) const fn is_single(&self) -> bool {
        matches!(self.layout, Layout::Plain | Layout::OneTrack)
    }

    /// The next track's share, `None` at the end of the body.
    pub(super) fn pull(&mut self) -> Result<Option<Part>, Error> {
        let done = if self.is_single() { self.count > 0 } else { self.cursor.is_empty() };
        if done {
            return Ok(None);
        }
        if self.count >= MAX_TRACKS {
            return Err(Error::TooManyTracks);
        }
        self.count = self.count.saturating_add(1);
        let fourcc = match self.layout {
            Layout::ManyCodecs => self.cursor.u32()?,
            _ => self.fourcc,
        };
        let track = match self.layout {
            Layout::Plain => 0,
            _ => self.cursor.u8()?,
        };
        let data = if self.is_single() {
            self.cursor.rest()
        } else {
            let size = self.cursor.u24()?;
            self.cursor.take(usize::try_from(size).unwrap_or(usize::MAX))?
        };
        Ok(Some(Part { packet_type: self.packet_type, fourcc, track, data }))
    }
}

/// Resolves the `ModEx` packets: the packet type behind them and the nanoseconds they add.
fn mod_ex(mut packet_type: u8, cursor: &mut Cursor) -> Result<(u8, u32), Error> {
    const TIMESTAMP_OFFSET_NANO: u8 = 0;
    let mut nanos = 0u32;
    let mut count = 0usize;
    while packet_type == MOD_EX {
        if count >= MAX_MOD_EX {
            return Err(Error::TooManyModEx);
        }
        count = count.saturating_add(1);
        let mut size = usize::from(cursor.u8()?).saturating_add(1);
        if size == 256 {
            size = usize::from(u16::from_be_bytes(cursor.array()?)).saturating_add(1);
        }
        let offset = cursor.offset;
        let data = cursor.take(size)?;
        let byte = cursor.u8()?;
        if byte >> 4 == TIMESTAMP_OFFSET_NANO {
            let Some(&[a, b, c]) = data.first_chunk() else {
                return Err(Error::Truncated { offset, need: 3 });
            };
            nanos = nanos.saturating_add(u32::from_be_bytes([0, a, b, c]));
        }
        packet_type = byte & 0x0f;
    }
    Ok((packet_type, nanos))
}

/// A body for one track of a message that had several: what the packet would be alone.
pub(super) fn body_of(kind: TagKind, first: u8, part: &Part) -> Bytes {
    let mut body = Vec::with_capacity(part.data.len().saturating_add(7));
    let (upper, multitrack) = match kind {
        TagKind::Audio => (EX_AUDIO << 4, AUDIO_MULTITRACK),
        TagKind::Video | TagKind::Script => (first & 0xf0, VIDEO_MULTITRACK),
    };
    if part.track == 0 {
        body.push(upper | part.packet_type);
        body.extend_from_slice(&part.fourcc.to_be_bytes());
    } else {
        body.extend_from_slice(&[upper | multitrack, part.packet_type]);
        body.extend_from_slice(&part.fourcc.to_be_bytes());
        body.push(part.track);
    }
    body.extend_from_slice(&part.data);
    body.into()
}
