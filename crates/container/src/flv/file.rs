//! The framing of FLV files and HTTP-FLV (FLV specification, E.2 to E.4.1).

use bytes::{Buf, Bytes, BytesMut};
use media::{Frame, Timestamp};

use super::{TagKind, body_header};

/// Bytes before a tag's body.
const TAG_HEADER: usize = 11;
/// Bytes of the size field behind each tag.
const PREVIOUS_TAG_SIZE: usize = 4;
/// Bytes of a version 1 file header.
const FILE_HEADER: usize = 9;
/// Longest body: the size field has 24 bits, so that a reader never holds more than 16 MiB
/// of one tag.
pub(super) const MAX_BODY: usize = 0xff_ffff;
/// Furthest begin of the first tag that is believed. Version 1 has 9 and nothing was ever
/// added; the bound keeps a reader from skipping gigabytes in silence.
const MAX_DATA_OFFSET: u32 = 1024;
/// Timestamps are written with the top bit clear: many players read them as signed.
const TIMESTAMP_MASK: i64 = 0x7fff_ffff;

/// What a file says about itself before its first tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// There will be audio tags. Players wait for what is promised here.
    pub has_audio: bool,
    /// There will be video tags.
    pub has_video: bool,
}

impl FileHeader {
    /// Bytes of an encoded header.
    pub const LEN: usize = 13;

    /// The nine header bytes and the first PreviousTagSize, which is zero: all that goes
    /// before the first tag.
    pub const fn encode(self) -> [u8; Self::LEN] {
        let flags = (self.has_audio as u8) << 2 | self.has_video as u8;
        [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]
    }

    /// Reads the nine header bytes and tells where the first PreviousTagSize begins.
    /// `None` means that more bytes are needed.
    ///
    /// # Errors
    ///
    /// Not an FLV file, or one of another version.
    pub fn decode(data: &[u8]) -> Result<Option<(Self, usize)>, ReadError> {
        let signature = data.get(..data.len().min(3)).unwrap_or_default();
        if !b"FLV".starts_with(signature) {
            let mut value = [0; 3];
            for (to, from) in value.iter_mut().zip(signature) {
                *to = *from;
            }
            return Err(ReadError::Signature { value });
        }
        let Some(&[_, _, _, version, flags, a, b, c, d]) = data.first_chunk::<FILE_HEADER>() else {
            return Ok(None);
        };
        if version != 1 {
            return Err(ReadError::Version { value: version });
        }
        let offset = u32::from_be_bytes([a, b, c, d]);
        if !(9..=MAX_DATA_OFFSET).contains(&offset) {
            return Err(ReadError::DataOffset { value: offset });
        }
        let header = Self { has_audio: flags & 4 != 0, has_video: flags & 1 != 0 };
        Ok(Some((header, usize::try_from(offset).unwrap_or(FILE_HEADER))))
    }
}

/// One tag of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What the body is.
    pub kind: TagKind,
    /// Milliseconds, all 32 bits as written; unwrapping is the caller's.
    pub timestamp: u32,
    /// The message body, for [`Demuxer::push`](super::Demuxer::push).
    pub body: Bytes,
}

impl Tag {
    /// The timestamp on a timeline that has not wrapped.
    pub fn dts(&self) -> Timestamp {
        Timestamp::from_millis(i64::from(self.timestamp))
    }
}

/// Why a file cannot be read, or a tag of it was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The data does not begin with `FLV`. Final.
    #[error("not FLV: begins with {value:02x?}")]
    Signature {
        /// The first three bytes.
        value: [u8; 3],
    },
    /// A version other than 1. Final.
    #[error("FLV version {value}")]
    Version {
        /// The version.
        value: u8,
    },
    /// The first tag is said to begin inside the header or far away. Final.
    #[error("FLV data offset {value}")]
    DataOffset {
        /// The offset.
        value: u32,
    },
    /// A tag of unknown type, or encrypted (bit 5). It has been skipped; reading goes on.
    #[error("FLV tag type {value}")]
    TagType {
        /// The whole type byte.
        value: u8,
    },
}

impl ReadError {
    /// Nothing more will be read; otherwise the next [`Reader::pull`] goes on behind the tag.
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::TagType { .. })
    }
}

/// Reads a file or stream of tags from pieces of any size.
///
/// Push bytes, then pull until `None`. Memory grows with the bytes that were pushed and
/// never by what a length field claims. PreviousTagSize fields are skipped, not checked: many
/// writers get them wrong, and nothing depends on them.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    state: State,
    header: Option<FileHeader>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Header,
    /// Bytes of a file header and PreviousTagSize that are still to be skipped.
    Skip(usize),
    Tags,
    Failed(ReadError),
}

impl Reader {
    /// At the begin of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes; copies them.
    pub fn push(&mut self, data: &[u8]) {
        if !matches!(self.state, State::Failed(_)) {
            self.buffer.extend_from_slice(data);
        }
    }

    /// The file header, once it has been read by [`pull`](Self::pull).
    pub const fn header(&self) -> Option<FileHeader> {
        self.header
    }

    /// Bytes pushed and not yet pulled. Not zero at the end of a file means that it was cut.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole tag; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; when it [is final](ReadError::is_final) each further call returns it again.
    pub fn pull(&mut self) -> Result<Option<Tag>, ReadError> {
        loop {
            match self.state {
                State::Failed(error) => return Err(error),
                State::Header => match FileHeader::decode(&self.buffer) {
                    Ok(None) => return Ok(None),
                    Ok(Some((header, offset))) => {
                        self.header = Some(header);
                        self.state = State::Skip(offset.saturating_add(PREVIOUS_TAG_SIZE));
                    }
                    Err(error) => {
                        self.buffer = BytesMut::new();
                        self.state = State::Failed(error);
                    }
                },
                State::Skip(len) if self.buffer.len() < len => return Ok(None),
                State::Skip(len) => {
                    self.buffer.advance(len);
                    self.state = State::Tags;
                }
                State::Tags => return self.pull_tag(),
            }
        }
    }

    fn pull_tag(&mut self) -> Result<Option<Tag>, ReadError> {
        let Some(&[id, s0, s1, s2, t0, t1, t2, t3, ..]) = self.buffer.first_chunk::<TAG_HEADER>()
        else {
            return Ok(None);
        };
        let len = usize::try_from(u32::from_be_bytes([0, s0, s1, s2])).unwrap_or(MAX_BODY);
        let whole = TAG_HEADER.saturating_add(len).saturating_add(PREVIOUS_TAG_SIZE);
        if self.buffer.len() < whole {
            return Ok(None);
        }
        // The two upper bits are reserved; bit 5 marks encryption, so that type is unknown.
        let Some(kind) = TagKind::from_id(id & 0x3f) else {
            self.buffer.advance(whole);
            return Err(ReadError::TagType { value: id });
        };
        self.buffer.advance(TAG_HEADER);
        let body = self.buffer.split_to(len).freeze();
        self.buffer.advance(PREVIOUS_TAG_SIZE);
        Ok(Some(Tag { kind, timestamp: u32::from_be_bytes([t3, t0, t1, t2]), body }))
    }
}

/// Bytes of the whole tag that [`write_tag`] would append, for framings that say the length
/// first (HTTP chunks, WebSocket); `None` where it would write nothing.
pub fn tag_len(frame: &Frame) -> Option<usize> {
    let body = body_header(frame)?.len().saturating_add(frame.payload.len());
    (body <= MAX_BODY).then(|| body.saturating_add(TAG_HEADER).saturating_add(PREVIOUS_TAG_SIZE))
}

/// Appends one whole tag: header, body, PreviousTagSize. Copies the payload once.
///
/// The timestamp is `dts` in milliseconds, of which 31 bits are written: a stream older than
/// 24.8 days begins again at zero. `false`, with nothing written, when FLV cannot carry the
/// frame (see [`body_header`]) or the body is 16 MiB or longer.
pub fn write_tag(frame: &Frame, out: &mut Vec<u8>) -> bool {
    let Some(header) = body_header(frame) else {
        return false;
    };
    let body = header.len().saturating_add(frame.payload.len());
    if body > MAX_BODY {
        return false;
    }
    let tag = body.saturating_add(TAG_HEADER);
    let [.., s0, s1, s2] = body.to_be_bytes();
    let [.., t3, t0, t1, t2] = (frame.dts.as_millis() & TIMESTAMP_MASK).to_be_bytes();
    let [.., p0, p1, p2, p3] = tag.to_be_bytes();
    out.reserve(tag.saturating_add(PREVIOUS_TAG_SIZE));
    out.extend_from_slice(&[header.kind().id(), s0, s1, s2, t0, t1, t2, t3, 0, 0, 0]);
    out.extend_from_slice(&header);
    out.extend_from_slice(&frame.payload);
    out.extend_from_slice(&[p0, p1, p2, p3]);
    true
}
