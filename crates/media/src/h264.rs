//! H.264: configuration record, sequence parameter sets, unit types, names.
//!
//! Reads what a server needs to tell, to start a decoder and to cut a stream; decodes no
//! pictures. Entry types: [`AvcConfig`] and [`Sps`].
//!
//! Specifications: ITU-T H.264 sections 7.3.1, 7.3.2.1, annexes A and E; ISO/IEC 14496-15
//! section 5.3.3.1.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use bytes::{BufMut, Bytes};
use smallvec::SmallVec;

use crate::ReadError;
use crate::bits::{BitReader, rbsp};
pub use crate::nal::{
    AnnexB, LengthPrefixed, is_annex_b, put_annex_b, to_annex_b, to_length_prefixed,
};

mod slice;
pub use slice::{SliceHead, SliceType, is_b_slice};

/// The widest and highest picture that is believed: what containers can say in 16 bits.
pub const MAX_SIDE: u32 = 65_535;

/// The kind of a NAL unit (table 7-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NalType {
    /// Slice of a picture that is not an IDR picture.
    Slice,
    /// Slice data partition A, B or C.
    Partition,
    /// Slice of an IDR picture.
    Idr,
    /// Supplemental enhancement information.
    Sei,
    /// Sequence parameter set.
    Sps,
    /// Picture parameter set.
    Pps,
    /// Access unit delimiter.
    Aud,
    /// End of sequence.
    EndOfSequence,
    /// End of stream.
    EndOfStream,
    /// Filler data.
    Filler,
    /// Sequence parameter set extension.
    SpsExtension,
    /// Any other, by its number.
    Other(u8),
}

impl NalType {
    /// Of a unit without length or start code; an empty one counts as `Other(0)`.
    pub fn of(unit: &[u8]) -> Self {
        match unit.first().map_or(0, |byte| byte & 0x1f) {
            1 => Self::Slice,
            2..=4 => Self::Partition,
            5 => Self::Idr,
            6 => Self::Sei,
            7 => Self::Sps,
            8 => Self::Pps,
            9 => Self::Aud,
            10 => Self::EndOfSequence,
            11 => Self::EndOfStream,
            12 => Self::Filler,
            13 => Self::SpsExtension,
            other => Self::Other(other),
        }
    }

    /// Part of a coded picture.
    pub const fn is_slice(self) -> bool {
        matches!(self, Self::Slice | Self::Partition | Self::Idr)
    }
}

/// The unit is a slice of an IDR picture.
pub fn is_idr(unit: &[u8]) -> bool {
    NalType::of(unit) == NalType::Idr
}

/// The access unit, its units behind lengths, is an IDR picture. False when it is damaged before
/// its first slice. Looks no further than the first slice.
pub fn is_key(access_unit: &[u8], length_size: u8) -> bool {
    LengthPrefixed::new(access_unit, length_size)
        .map_while(Result::ok)
        .find(|unit| NalType::of(unit).is_slice())
        .is_some_and(is_idr)
}

/// The number of a picture parameter set, 0 to 255 (section 7.3.2.2).
pub fn pps_id(unit: &[u8]) -> Result<u8, ReadError> {
    let head = rbsp(unit.get(..8).unwrap_or(unit));
    let mut r = BitReader::new("PPS", &head);
    r.skip(8)?;
    Ok(r.ue_to("PPS id", 255)? as u8)
}

/// The `avcC` record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvcConfig {
    /// `profile_idc`.
    pub profile: u8,
    /// Constraint flags, set 0 in the highest bit.
    pub constraints: u8,
    /// `level_idc`: ten times the level.
    pub level: u8,
    /// Bytes of the length before each unit: 1, 2 or 4.
    pub length_size: u8,
    /// Sequence parameter sets, at most 31.
    pub sps: SmallVec<[Bytes; 1]>,
    /// Picture parameter sets, at most 255.
    pub pps: SmallVec<[Bytes; 1]>,
    /// What follows for the High profiles.
    pub high: Option<HighConfig>,
}

/// The part of `avcC` that only the High profiles have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HighConfig {
    /// 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits of a luma sample.
    pub luma_depth: u8,
    /// Bits of a chroma sample.
    pub chroma_depth: u8,
    /// Sequence parameter set extensions.
    pub sps_extensions: SmallVec<[Bytes; 1]>,
}

impl AvcConfig {
    /// Decodes a record. Parameter sets are copied. A High part that is missing or damaged is
    /// left out, because many encoders forget it.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut r = BitReader::new("avcC", bytes);
        let version = r.read(8)?;
        if version != 1 {
            return Err(r.invalid("avcC version", u64::from(version), 0));
        }
        let profile = r.read_u8(8)?;
        let constraints = r.read_u8(8)?;
        let level = r.read_u8(8)?;
        r.skip(6)?;
        let length_size = r.read_u8(2)?.saturating_add(1);
        if length_size == 3 {
            return Err(r.invalid("avcC length size", 3, 4));
        }
        r.skip(3)?;
        let count = r.read(5)?;
        let sps = read_sets(&mut r, bytes, count)?;
        let count = r.read(8)?;
        let pps = read_sets(&mut r, bytes, count)?;
        let high = has_high_part(profile).then(|| HighConfig::decode(&mut r, bytes).ok()).flatten();
        Ok(Self { profile, constraints, level, length_size, sps, pps, high })
    }

    /// Builds the record that belongs to these parameter sets (each without start code), with
    /// lengths of four bytes. Fails when the first sequence parameter set cannot be read.
    pub fn from_parameter_sets(sps: &[Bytes], pps: &[Bytes]) -> Result<Self, ReadError> {
        let missing = ReadError::Truncated { what: "SPS", offset: 0 };
        let first = sps.first().ok_or(missing)?;
        let read = Sps::decode(first)?;
        let high = has_high_part(read.profile).then(|| HighConfig {
            chroma_format: read.chroma_format,
            luma_depth: read.luma_depth,
            chroma_depth: read.chroma_depth,
            sps_extensions: SmallVec::new(),
        });
        Ok(Self {
            profile: read.profile,
            constraints: read.constraints,
            level: read.level,
            length_size: 4,
            sps: sps.iter().take(31).cloned().collect(),
            pps: pps.iter().take(255).cloned().collect(),
            high,
        })
    }

    /// The record's bytes. Sets beyond what the counts can say, or longer than 65,535 bytes,
    /// are left out.
    pub fn encode(&self) -> Vec<u8> {
        let length = self.length_size.clamp(1, 4).wrapping_sub(1);
        let mut out = vec![1, self.profile, self.constraints, self.level, 0xfc | length];
        put_sets(&mut out, &self.sps, 0xe0, 31);
        put_sets(&mut out, &self.pps, 0, 255);
        if let Some(high) = &self.high {
            out.push(0xfc | high.chroma_format & 3);
            out.push(0xf8 | high.luma_depth.saturating_sub(8) & 7);
            out.push(0xf8 | high.chroma_depth.saturating_sub(8) & 7);
            put_sets(&mut out, &high.sps_extensions, 0, 255);
        }
        out
    }
}

impl HighConfig {
    fn decode(r: &mut BitReader<'_>, bytes: &[u8]) -> Result<Self, ReadError> {
        r.skip(6)?;
        let chroma_format = r.read_u8(2)?;
        r.skip(5)?;
        let luma_depth = r.read_u8(3)?.saturating_add(8);
        r.skip(5)?;
        let chroma_depth = r.read_u8(3)?.saturating_add(8);
        let count = r.read(8)?;
        let sps_extensions = read_sets(r, bytes, count)?;
        Ok(Self { chroma_format, luma_depth, chroma_depth, sps_extensions })
    }
}

const fn has_high_part(profile: u8) -> bool {
    matches!(profile, 100 | 110 | 122 | 144 | 244)
}

/// `count` sets behind 16-bit lengths; `r` stands at a byte border of `bytes`.
fn read_sets(
    r: &mut BitReader<'_>,
    bytes: &[u8],
    count: u32,
) -> Result<SmallVec<[Bytes; 1]>, ReadError> {
    let mut sets = SmallVec::new();
    for _ in 0..count {
        let length = r.read(16)? as usize;
        let start = r.offset();
        r.skip(length.saturating_mul(8))?;
        let set = bytes.get(start..r.offset()).unwrap_or_default();
        sets.push(Bytes::copy_from_slice(set));
    }
    Ok(sets)
}

fn put_sets(out: &mut Vec<u8>, sets: &[Bytes], marker: u8, most: usize) {
    let fitting = || sets.iter().filter(|set| set.len() <= 0xffff).take(most);
    out.push(marker | fitting().count() as u8);
    for set in fitting() {
        out.put_u16(set.len() as u16);
        out.extend_from_slice(set);
    }
}

/// What is of use from a sequence parameter set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sps {
    /// `profile_idc`.
    pub profile: u8,
    /// Constraint flags, set 0 in the highest bit.
    pub constraints: u8,
    /// `level_idc`: ten times the level.
    pub level: u8,
    /// 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits of a luma sample, 8 to 14.
    pub luma_depth: u8,
    /// Bits of a chroma sample, 8 to 14.
    pub chroma_depth: u8,
    /// Width after cropping, in samples.
    pub width: u32,
    /// Height after cropping, in samples.
    pub height: u32,
    /// Frames a second, when the usability information tells.
    pub fps: Option<f64>,
}

impl Sps {
    /// Decodes a unit without start code. Damage within the usability information only costs
    /// the frame rate. Bounded by [`RBSP_LIMIT`](crate::bits::RBSP_LIMIT).
    pub fn decode(unit: &[u8]) -> Result<Self, ReadError> {
        let kind = unit.first().map_or(0, |byte| byte & 0x1f);
        if kind != 7 {
            let value = u64::from(kind);
            return Err(ReadError::Invalid { what: "NAL type of an SPS", value, offset: 0 });
        }
        let bytes = rbsp(unit);
        let mut r = BitReader::new("SPS", &bytes);
        r.skip(8)?;
        let profile = r.read_u8(8)?;
        let constraints = r.read_u8(8)?;
        let level = r.read_u8(8)?;
        r.ue_to("SPS id", 31)?;
        let (mut chroma_format, mut luma_depth, mut chroma_depth) = (1, 8, 8);
        let mut separate_planes = false;
        if matches!(
            profile,
            100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135
        ) {
            chroma_format = r.ue_to("chroma format", 3)? as u8;
            separate_planes = chroma_format == 3 && r.flag()?;
            luma_depth = r.ue_to("luma bit depth", 6)?.saturating_add(8) as u8;
            chroma_depth = r.ue_to("chroma bit depth", 6)?.saturating_add(8) as u8;
            r.flag()?;
            if r.flag()? {
                skip_scaling_lists(&mut r, if chroma_format == 3 { 12 } else { 8 })?;
            }
        }
        r.ue_to("frame number size", 12)?;
        match r.ue_to("picture order count type", 2)? {
            0 => {
                r.ue_to("picture order count size", 12)?;
            }
            1 => {
                r.flag()?;
                r.se()?;
                r.se()?;
                for _ in 0..r.ue_to("reference frames in a cycle", 255)? {
                    r.se()?;
                }
            }
            _ => {}
        }
        r.ue()?;
        r.flag()?;
        let columns = r.ue_to("width in macroblocks", MAX_SIDE / 16)?.saturating_add(1);
        let rows = r.ue_to("height in map units", MAX_SIDE / 16)?.saturating_add(1);
        let frames_only = r.flag()?;
        if !frames_only {
            r.flag()?;
        }
        r.flag()?;
        let field_factor = if frames_only { 1 } else { 2 };
        let mut width = columns.saturating_mul(16);
        let mut height = rows.saturating_mul(16).saturating_mul(field_factor);
        if r.flag()? {
            let planes = if separate_planes { 0 } else { chroma_format };
            let unit_x = if matches!(planes, 1 | 2) { 2u32 } else { 1 };
            let unit_y = field_factor.saturating_mul(if planes == 1 { 2 } else { 1 });
            let across = r.ue()?.saturating_add(r.ue()?).saturating_mul(unit_x);
            let down = r.ue()?.saturating_add(r.ue()?).saturating_mul(unit_y);
            let too_much = |what, value: u32| r.invalid(what, u64::from(value), r.offset());
            width = width.checked_sub(across).ok_or_else(|| too_much("cropping", across))?;
            height = height.checked_sub(down).ok_or_else(|| too_much("cropping", down))?;
        }
        if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
            let size = u64::from(width) << 32 | u64::from(height);
            return Err(r.invalid("picture size", size, r.offset()));
        }
        let fps = read_fps(&mut r).ok().flatten();
        Ok(Self {
            profile,
            constraints,
            level,
            chroma_format,
            luma_depth,
            chroma_depth,
            width,
            height,
            fps,
        })
    }
}

fn skip_scaling_lists(r: &mut BitReader<'_>, lists: usize) -> Result<(), ReadError> {
    for list in 0..lists {
        if !r.flag()? {
            continue;
        }
        let (mut last, mut next) = (8i32, 8i32);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = last.wrapping_add(r.se()?) & 0xff;
            }
            last = if next == 0 { last } else { next };
        }
    }
    Ok(())
}

/// The frame rate of the usability information (annex E), up to which it is read.
fn read_fps(r: &mut BitReader<'_>) -> Result<Option<f64>, ReadError> {
    if !r.flag()? {
        return Ok(None);
    }
    // A sample aspect ratio of 255 is spelled out.
    if r.flag()? && r.read(8)? == 255 {
        r.skip(32)?;
    }
    if r.flag()? {
        r.flag()?;
    }
    if r.flag()? {
        r.skip(4)?;
        if r.flag()? {
            r.skip(24)?;
        }
    }
    if r.flag()? {
        r.ue()?;
        r.ue()?;
    }
    if !r.flag()? {
        return Ok(None);
    }
    let units = r.read(32)?;
    let scale = r.read(32)?;
    // A tick is a field, and a frame has two.
    Ok(crate::info::frame_rate(f64::from(scale), f64::from(units) * 2.0))
}

/// The profile as the API prints it; `Other` for what has no name there.
pub const fn profile_name(profile: u8, constraints: u8) -> &'static str {
    let set1 = constraints & 0x40 != 0;
    let intra = constraints & 0x10 != 0;
    match (profile, intra) {
        (66, _) if set1 => "Baseline(Constrained)",
        (66, _) => "Baseline",
        (77, _) => "Main",
        (88, _) => "Extended",
        (100, _) => "High",
        (110, false) => "High(10)",
        (110, true) => "High(10+Intra)",
        (122, false) => "High(422)",
        (122, true) => "High(422+Intra)",
        (144, _) => "High(444)",
        (244, false) => "High(444+Predictive)",
        (244, true) => "High(444+Intra)",
        _ => "Other",
    }
}

/// The level as the API prints it; `Other` for what has no name there.
pub const fn level_name(level: u8) -> &'static str {
    match level {
        10 => "1",
        11 => "1.1",
        12 => "1.2",
        13 => "1.3",
        20 => "2",
        21 => "2.1",
        22 => "2.2",
        30 => "3",
        31 => "3.1",
        32 => "3.2",
        40 => "4",
        41 => "4.1",
        50 => "5",
        51 => "5.1",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests;
