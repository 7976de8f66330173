//! VP9 (RFC 9628). Written in non-flexible mode, without layers; read in any.

use bytes::{BufMut, Bytes, BytesMut};
use media::Frame;
use media::vp9::{FrameHeader, VpConfig};
use smallvec::SmallVec;

use super::error::{invalid, truncated};
use super::nal::check_room;
use super::vpx::{self, PictureIds};
use super::{DepacketizeError, Joined, Options, PacketizeError, Payloads, Pushed};

/// Bytes of the descriptor that each payload has: flags and a picture id of 15 bits.
const DESCRIPTOR: usize = 3;

/// Frames in a superframe at most (VP9 Bitstream annex B): one for each spatial layer.
const MAX_LAYERS: usize = 8;

/// What stands before the media in a payload (section 4.2). Positions count from the start of
/// the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) length: usize,
    /// Refers to earlier pictures.
    pub(super) inter_predicted: bool,
    /// The first payload of a layer's frame.
    pub(super) starts: bool,
    /// The last payload of a layer's frame.
    pub(super) ends: bool,
    /// Carries a scalability structure.
    pub(super) has_structure: bool,
    /// The picture id, where it stands, and whether it has 15 bits or 7.
    pub(super) picture_id: Option<(u16, usize, bool)>,
    pub(super) layer: Option<Layer>,
    /// `TL0PICIDX` and where it stands.
    pub(super) tl0: Option<(u8, usize)>,
}

/// Layer indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) temporal: u8,
    /// A switch up to this temporal layer is possible here.
    pub(super) switching_up: bool,
    pub(super) spatial: u8,
}

impl Descriptor {
    pub(super) fn decode(payload: &[u8]) -> Result<Self, DepacketizeError> {
        let mut at = 0usize;
        let mut next = || {
            let byte = payload.get(at).copied().ok_or(truncated("VP9 descriptor", at));
            at = at.saturating_add(1);
            byte.map(|byte| (byte, at.saturating_sub(1)))
        };
        let (first, _) = next()?;
        let has = |bit: u8| first & bit != 0;
        let flexible = has(0x10);
        let mut picture_id = None;
        if has(0x80) {
            picture_id = Some(vpx::picture_id(&mut next)?);
        }
        let (mut layer, mut tl0) = (None, None);
        if has(0x20) {
            let (byte, _) = next()?;
            layer = Some(Layer {
                temporal: byte >> 5,
                switching_up: byte & 0x10 != 0,
                spatial: byte >> 1 & 7,
            });
            if !flexible {
                tl0 = Some(next()?);
            }
        }
        if flexible && has(0x40) {
            let mut references = 1u64;
            while next()?.0 & 1 != 0 {
                references = references.wrapping_add(1);
                if references > 3 {
                    return Err(invalid("number of VP9 references", references, 0));
                }
            }
        }
        if has(0x02) {
            let (structure, _) = next()?;
            let layers = usize::from(structure >> 5).saturating_add(1);
            let sizes = if structure & 0x10 != 0 { layers.saturating_mul(4) } else { 0 };
            for _ in 0..sizes {
                next()?;
            }
            let pictures = if structure & 0x08 != 0 { next()?.0 } else { 0 };
            for _ in 0..pictures {
                let (byte, _) = next()?;
                for _ in 0..byte >> 2 & 3 {
                    next()?;
                }
            }
        }
        Ok(Self {
            length: at,
            inter_predicted: has(0x40),
            starts: has(0x08),
            ends: has(0x04),
            has_structure: has(0x02),
            picture_id,
            layer,
            tl0,
        })
    }

    /// The first payload of a picture: of its lowest spatial layer.
    pub(super) fn starts_picture(&self) -> bool {
        self.starts && self.layer.is_none_or(|layer| layer.spatial == 0)
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
        let header = FrameHeader::decode(&frame.payload)?;
        // One layer of this size, its references not described: V, Y.
        let mut structure = SmallVec::<[u8; 5]>::new();
        if let Some(picture) = header.picture {
            structure.push(0x10);
            for side in [picture.width, picture.height] {
                let told = u16::try_from(side).unwrap_or(u16::MAX);
                structure.extend_from_slice(&told.to_be_bytes());
            }
        }
        let refers = if header.key { 0 } else { 0x40 };
        let described = if structure.is_empty() { 0 } else { 0x02 };
        let [high, low] = self.picture_ids.next();
        let room = self.max.saturating_sub(DESCRIPTOR);
        vpx::cut(&frame.payload, room, structure.len(), out, |first, last, out| {
            let begins = if first { 0x08 | described } else { 0 };
            let ends = if last { 0x04 } else { 0 };
            out.put_slice(&[0x80 | refers | begins | ends, high, low]);
            if first {
                out.put_slice(&structure);
            }
        });
        Ok(Pushed::Packaged)
    }
}

#[derive(Debug, Default)]
pub(super) struct Joiner {
    /// Picture id of the picture at hand.
    picture_id: Option<u16>,
    /// Where each layer's frame ends.
    ends: SmallVec<[usize; 4]>,
    /// A layer's frame has begun and not ended.
    open: bool,
    config: Bytes,
}

impl Joiner {
    pub(super) fn surely_first(payload: &[u8]) -> bool {
        Descriptor::decode(payload).is_ok_and(|descriptor| descriptor.starts_picture())
    }

    pub(super) fn clear(&mut self) {
        self.ends.clear();
        self.open = false;
    }

    pub(super) fn add(
        &mut self,
        payload: &[u8],
        buffer: &mut BytesMut,
    ) -> Result<(), DepacketizeError> {
        let descriptor = Descriptor::decode(payload)?;
        let media = payload.get(descriptor.length..).unwrap_or_default();
        if media.is_empty() {
            return Err(truncated("VP9 frame", descriptor.length));
        }
        let picture_id = descriptor.picture_id.map(|(id, ..)| id);
        if buffer.is_empty() {
            if !descriptor.starts_picture() {
                return Err(DepacketizeError::NoStart);
            }
            self.picture_id = picture_id;
        } else if self.picture_id != picture_id || self.open == descriptor.starts {
            let error =
                if self.open { DepacketizeError::Unfinished } else { DepacketizeError::NoStart };
            return Err(error);
        }
        check_room(buffer, media.len())?;
        buffer.put_slice(media);
        self.open = !descriptor.ends;
        if descriptor.ends {
            if self.ends.len() >= MAX_LAYERS {
                return Err(DepacketizeError::TooMany { max: MAX_LAYERS });
            }
            self.ends.push(buffer.len());
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, buffer: &mut BytesMut) -> Result<Joined, DepacketizeError> {
        if self.open {
            return Err(DepacketizeError::Unfinished);
        }
        if buffer.is_empty() {
            return Ok(Joined::Nothing);
        }
        let header = FrameHeader::decode(buffer)?;
        self.put_index(buffer);
        let Some(config) = VpConfig::of_vp9(&header) else {
            return Ok(Joined::Unit { key: false, config: None });
        };
        let config = super::changed(&mut self.config, &config.encode());
        Ok(Joined::Unit { key: true, config })
    }

    /// Several layers' frames become a superframe by the index behind them (annex B).
    fn put_index(&self, buffer: &mut BytesMut) {
        if self.ends.len() < 2 {
            return;
        }
        let marker = 0b1101_1000 | self.ends.len().saturating_sub(1) as u8;
        buffer.put_u8(marker);
        let mut start = 0usize;
        for &end in &self.ends {
            buffer.put_u32_le(end.saturating_sub(start) as u32);
            start = end;
        }
        buffer.put_u8(marker);
    }
}
