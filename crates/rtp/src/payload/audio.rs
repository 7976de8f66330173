//! Sound whose frames travel as they are: Opus (RFC 7587), G.711 (RFC 3551).

use bytes::{BufMut, BytesMut};
use media::{Codec, Frame};

use super::nal::check_room;
use super::{DepacketizeError, Options, PacketizeError, Payloads, Pushed};

#[derive(Debug)]
pub(super) struct Cutter {
    max: usize,
    /// Bytes are samples and may be parted anywhere.
    divisible: bool,
}

impl Cutter {
    pub(super) const fn new(codec: Codec, options: Options) -> Self {
        Self { max: options.max_payload, divisible: matches!(codec, Codec::G711A | Codec::G711U) }
    }

    pub(super) fn push(
        &mut self,
        frame: &Frame,
        out: &mut Payloads,
    ) -> Result<Pushed, PacketizeError> {
        if frame.is_config() {
            return Ok(Pushed::Config);
        }
        let media = &frame.payload;
        if media.is_empty() {
            return Ok(Pushed::Nothing);
        }
        if media.len() > self.max && !self.divisible {
            let size = media.len();
            return Err(PacketizeError::TooLarge { what: "Opus packet", size, max: self.max });
        }
        let mark = out.mark();
        let mut ticks = 0u32;
        for piece in media.chunks(self.max) {
            let start = out.bytes().len();
            out.tail().put_slice(piece);
            out.seal_later(start, ticks);
            ticks = ticks.wrapping_add(piece.len() as u32);
        }
        // The marker would tell of silence before this; that is not known.
        out.frame_done(mark, false);
        Ok(Pushed::Packaged)
    }
}

/// Takes a payload, which is a whole frame.
pub(super) fn add(payload: &[u8], buffer: &mut BytesMut) -> Result<(), DepacketizeError> {
    check_room(buffer, payload.len())?;
    buffer.put_slice(payload);
    Ok(())
}
