//! What VP8 (RFC 7741) and VP9 (RFC 9628) have in common: picture ids, and frames in pieces.

use bytes::BufMut;

use super::nal::even;
use super::{DepacketizeError, Payloads};

/// The picture ids of what is written: 15 bits that go on and wrap.
#[derive(Debug, Default)]
pub(super) struct PictureIds(u16);

impl PictureIds {
    /// The next one as it is written: a bit that says that there are 15, and these.
    pub(super) const fn next(&mut self) -> [u8; 2] {
        let id = self.0;
        self.0 = id.wrapping_add(1) & 0x7fff;
        (id | 0x8000).to_be_bytes()
    }
}

/// Reads a picture id of 15 or 7 bits: the id, where it stands, and whether it has 15. `next` gives
/// bytes and their positions.
pub(super) fn picture_id(
    mut next: impl FnMut() -> Result<(u8, usize), DepacketizeError>,
) -> Result<(u16, usize, bool), DepacketizeError> {
    let (high, place) = next()?;
    if high & 0x80 == 0 {
        return Ok((u16::from(high), place, false));
    }
    let (low, _) = next()?;
    Ok((u16::from_be_bytes([high & 0x7f, low]), place, true))
}

/// Cuts a frame into payloads, all of one size but the last, which is not larger. `room`: bytes
/// behind a descriptor; `beside`: what the first descriptor has more than the others. `describe`
/// writes a descriptor and is told whether it is of the first, and whether of the last.
pub(super) fn cut(
    frame: &[u8],
    room: usize,
    beside: usize,
    out: &mut Payloads,
    mut describe: impl FnMut(bool, bool, &mut Vec<u8>),
) {
    let mark = out.mark();
    let size = even(frame.len().saturating_add(beside), room);
    let (mut rest, mut first) = (frame, true);
    while !rest.is_empty() {
        let beside = if first { beside } else { 0 };
        let here = size.saturating_sub(beside).clamp(1, rest.len());
        let (piece, later) = rest.split_at_checked(here).unwrap_or((rest, &[]));
        rest = later;
        let start = out.bytes().len();
        let tail = out.tail();
        describe(first, rest.is_empty(), tail);
        tail.put_slice(piece);
        out.seal(start);
        first = false;
    }
    out.frame_done(mark, true);
}
