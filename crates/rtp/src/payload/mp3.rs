//! MPEG audio (RFC 2250 section 3.5).

use bytes::{BufMut, BytesMut};
use media::Frame;
use media::mp3::{FrameHeader, HEADER};

use super::error::{invalid, truncated};
use super::nal::{check_room, even};
use super::{DepacketizeError, Joined, Options, PacketizeError, Payloads, Pushed};

/// Bytes of the header: 16 bits of zero, 16 bits of offset into the frame.
const OFFSET: usize = 4;

/// The clock of MPEG audio over RTP, whatever the sample rate.
const CLOCK: u32 = 90_000;

#[derive(Debug)]
pub(super) struct Cutter {
    max: usize,
}

impl Cutter {
    pub(super) const fn new(options: Options) -> Self {
        Self { max: options.max_payload }
    }

    pub(super) fn push(
        &mut self,
        frame: &Frame,
        out: &mut Payloads,
    ) -> Result<Pushed, PacketizeError> {
        if frame.is_config() {
            return Ok(Pushed::Config);
        }
        if frame.payload.is_empty() {
            return Ok(Pushed::Nothing);
        }
        let room = self.max.saturating_sub(OFFSET);
        let mark = out.mark();
        let (mut rest, mut ticks) = (frame.payload.as_ref(), 0u32);
        while !rest.is_empty() {
            // As many whole frames as fit into one payload; else one, in fragments.
            let (mut length, mut duration) = (0usize, 0u32);
            while let Some((more, samples)) = first_frame(rest.get(length..).unwrap_or_default()) {
                if length > 0 && length.saturating_add(more) > room {
                    break;
                }
                length = length.saturating_add(more);
                duration = duration.saturating_add(samples);
            }
            let (piece, later) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = later;
            if piece.len() > usize::from(u16::MAX) {
                let size = piece.len();
                let max = usize::from(u16::MAX);
                return Err(PacketizeError::TooLarge { what: "MP3 frame", size, max });
            }
            let mut offset = 0u16;
            for fragment in piece.chunks(even(piece.len(), room)) {
                let start = out.bytes().len();
                let tail = out.tail();
                tail.put_u16(0);
                tail.put_u16(offset);
                tail.put_slice(fragment);
                out.seal_later(start, ticks);
                offset = offset.wrapping_add(fragment.len() as u16);
            }
            ticks = ticks.wrapping_add(duration);
        }
        out.frame_done(mark, false);
        Ok(Pushed::Packaged)
    }
}

/// Bytes and duration of the frame that stands first; all there is when that cannot be told.
fn first_frame(bytes: &[u8]) -> Option<(usize, u32)> {
    if bytes.is_empty() {
        return None;
    }
    let header = FrameHeader::decode(bytes).ok();
    Some(header.filter(|header| header.frame_length <= bytes.len()).map_or(
        (bytes.len(), 0),
        |header| {
            let ticks = header.samples.saturating_mul(CLOCK).checked_div(header.sample_rate);
            (header.frame_length, ticks.unwrap_or(0))
        },
    ))
}

#[derive(Debug, Default)]
pub(super) struct Joiner {
    /// Bytes of the frame at hand.
    whole: usize,
}

impl Joiner {
    pub(super) fn surely_first(payload: &[u8]) -> bool {
        payload.get(2..4) == Some(&[0, 0])
    }

    pub(super) const fn is_whole(&self, buffered: usize) -> bool {
        buffered >= self.whole
    }

    pub(super) const fn clear(&mut self) {
        self.whole = 0;
    }

    pub(super) fn add(
        &mut self,
        payload: &[u8],
        buffer: &mut BytesMut,
    ) -> Result<(), DepacketizeError> {
        let Some((&[_, _, high, low], media)) = payload.split_first_chunk::<OFFSET>() else {
            return Err(truncated("MPEG audio header", payload.len()));
        };
        if media.is_empty() {
            return Err(truncated("MPEG audio frame", OFFSET));
        }
        let offset = usize::from(u16::from_be_bytes([high, low]));
        match (buffer.is_empty(), offset) {
            (true, 0) => {
                // Of what cannot be read no more is waited for.
                let header = media.get(..HEADER).and_then(|head| FrameHeader::decode(head).ok());
                self.whole = header.map_or(0, |header| header.frame_length);
            }
            (true, _) => return Err(DepacketizeError::NoStart),
            (false, 0) => return Err(DepacketizeError::Unfinished),
            (false, _) if offset != buffer.len() => {
                return Err(invalid("offset of an MPEG audio fragment", offset as u64, 2));
            }
            _ => {}
        }
        check_room(buffer, media.len())?;
        buffer.put_slice(media);
        Ok(())
    }

    pub(super) fn finish(&self, buffer: &BytesMut) -> Result<Joined, DepacketizeError> {
        if buffer.is_empty() {
            return Ok(Joined::Nothing);
        }
        if !self.is_whole(buffer.len()) {
            return Err(DepacketizeError::Unfinished);
        }
        Ok(Joined::Unit { key: false, config: None })
    }
}
