//! VP8 (RFC 7741).

use bytes::{BufMut, Bytes, BytesMut};
use media::vp8::FrameHeader;
use media::vp9::VpConfig;
use media::{Flags, Frame};

use super::error::truncated;
use super::nal::check_room;
use super::vpx::{self, PictureIds};
use super::{DepacketizeError, Joined, Options, PacketizeError, Payloads, Pushed};

/// Bytes of the descriptor that is written: flags, extension flags, a picture id of 15 bits.
const DESCRIPTOR: usize = 4;

/// What stands before the media in a payload (section 4.2). Positions count from the start of
/// the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) length: usize,
    /// The first payload of a frame: the start of its first partition.
    pub(super) starts: bool,
    /// No other frame refers to this one.
    pub(super) non_reference: bool,
    /// The picture id, where it stands, and whether it has 15 bits or 7.
    pub(super) picture_id: Option<(u16, usize, bool)>,
    /// `TL0PICIDX` and where it stands.
    pub(super) tl0: Option<(u8, usize)>,
    /// Temporal layer, and whether a switch up is possible here.
    pub(super) layer: Option<(u8, bool)>,
    pub(super) key_index: Option<u8>,
}

impl Descriptor {
    pub(super) fn decode(payload: &[u8]) -> Result<Self, DepacketizeError> {
        let mut at = 0usize;
        let mut next = || {
            let byte = payload.get(at).copied().ok_or(truncated("VP8 descriptor", at));
            at = at.saturating_add(1);
            byte.map(|byte| (byte, at.saturating_sub(1)))
        };
        let (first, _) = next()?;
        let extension = if first & 0x80 != 0 { next()?.0 } else { 0 };
        let mut picture_id = None;
        if extension & 0x80 != 0 {
            picture_id = Some(vpx::picture_id(&mut next)?);
        }
        let tl0 = if extension & 0x40 != 0 { Some(next()?) } else { None };
        let (mut layer, mut key_index) = (None, None);
        if extension & 0x30 != 0 {
            let (byte, _) = next()?;
            layer = (extension & 0x20 != 0).then_some((byte >> 6, byte & 0x20 != 0));
            key_index = (extension & 0x10 != 0).then_some(byte & 0x1f);
        }
        Ok(Self {
            length: at,
            starts: first & 0x17 == 0x10,
            non_reference: first & 0x20 != 0,
            picture_id,
            tl0,
            layer,
            key_index,
        })
    }
}

#[derive(Debug)]
pub(super) struct Cutter {
    max: usize,
    picture_ids: PictureIds,
}

impl Cutter {
    pub(super) fn new(options: Options) -> Self {
        Self { max: options.max_payload, picture_ids: PictureIds::default() }
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
        let [high, low] = self.picture_ids.next();
        let non_reference = if frame.flags.contains(Flags::DISPOSABLE) { 0x20 } else { 0 };
        let room = self.max.saturating_sub(DESCRIPTOR);
        vpx::cut(&frame.payload, room, 0, out, |first, _, out| {
            let start_bit = if first { 0x10 } else { 0 };
            out.put_slice(&[0x80 | non_reference | start_bit, 0x80, high, low]);
        });
        Ok(Pushed::Packaged)
    }
}

#[derive(Debug, Default)]
pub(super) struct Joiner {
    /// Picture id of the frame at hand.
    picture_id: Option<u16>,
    config: Bytes,
}

impl Joiner {
    pub(super) fn surely_first(payload: &[u8]) -> bool {
        Descriptor::decode(payload).is_ok_and(|descriptor| descriptor.starts)
    }

    pub(super) fn add(
        &mut self,
        payload: &[u8],
        buffer: &mut BytesMut,
    ) -> Result<(), DepacketizeError> {
        let descriptor = Descriptor::decode(payload)?;
        let media = payload.get(descriptor.length..).unwrap_or_default();
        if media.is_empty() {
            return Err(truncated("VP8 frame", descriptor.length));
        }
        let picture_id = descriptor.picture_id.map(|(id, ..)| id);
        if buffer.is_empty() {
            if !descriptor.starts {
                return Err(DepacketizeError::NoStart);
            }
            self.picture_id = picture_id;
        } else if descriptor.starts || self.picture_id != picture_id {
            return Err(DepacketizeError::Unfinished);
        }
        check_room(buffer, media.len())?;
        buffer.put_slice(media);
        Ok(())
    }

    pub(super) fn finish(&mut self, buffer: &BytesMut) -> Result<Joined, DepacketizeError> {
        if buffer.is_empty() {
            return Ok(Joined::Nothing);
        }
        let header = FrameHeader::decode(buffer)?;
        if !header.key {
            return Ok(Joined::Unit { key: false, config: None });
        }
        let record = VpConfig::of_vp8(&header).encode();
        let config = super::changed(&mut self.config, &record);
        Ok(Joined::Unit { key: true, config })
    }
}
