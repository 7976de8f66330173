//! H.265: configuration record, sequence parameter sets, unit types, names.
//!
//! Reads what a server needs to tell, to start a decoder and to cut a stream; decodes no
//! pictures. Entry types: [`HevcConfig`] and [`Sps`].
//!
//! Specifications: ITU-T H.265 sections 7.3.1, 7.3.2.2, 7.3.3, annexes A and E; ISO/IEC
//! 14496-15 section 8.3.3.1.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use bytes::{BufMut, Bytes};

use crate::ReadError;
use crate::bits::BitReader;
pub use crate::nal::{
    AnnexB, LengthPrefixed, is_annex_b, put_annex_b, to_annex_b, to_length_prefixed,
};

mod slice;
mod sps;
pub use slice::{PpsHead, SliceHead, SliceType};
pub use sps::{MAX_SIDE, Sps};

/// The kind of a NAL unit (table 7-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NalType {
    /// Slice of a picture that is no random access point, by its number (0 to 15).
    Slice(u8),
    /// Slice of an intra random access picture, by its number (16 to 23): BLA, IDR, CRA.
    Irap(u8),
    /// Video parameter set.
    Vps,
    /// Sequence parameter set.
    Sps,
    /// Picture parameter set.
    Pps,
    /// Access unit delimiter.
    Aud,
    /// End of sequence.
    EndOfSequence,
    /// End of bitstream.
    EndOfStream,
    /// Filler data.
    Filler,
    /// Supplemental enhancement information before the picture.
    PrefixSei,
    /// Supplemental enhancement information behind the picture.
    SuffixSei,
    /// Any other, by its number.
    Other(u8),
}

impl NalType {
    /// Of a unit without length or start code; one without a whole header counts as
    /// `Other(63)`.
    pub fn of(unit: &[u8]) -> Self {
        if unit.len() < 2 {
            return Self::Other(63);
        }
        match unit.first().map_or(63, |byte| byte >> 1 & 0x3f) {
            slice @ 0..=15 => Self::Slice(slice),
            irap @ 16..=23 => Self::Irap(irap),
            32 => Self::Vps,
            33 => Self::Sps,
            34 => Self::Pps,
            35 => Self::Aud,
            36 => Self::EndOfSequence,
            37 => Self::EndOfStream,
            38 => Self::Filler,
            39 => Self::PrefixSei,
            40 => Self::SuffixSei,
            other => Self::Other(other),
        }
    }

    /// The number in the unit's header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Slice(number) | Self::Irap(number) | Self::Other(number) => number,
            Self::Vps => 32,
            Self::Sps => 33,
            Self::Pps => 34,
            Self::Aud => 35,
            Self::EndOfSequence => 36,
            Self::EndOfStream => 37,
            Self::Filler => 38,
            Self::PrefixSei => 39,
            Self::SuffixSei => 40,
        }
    }

    /// Part of a coded picture.
    pub const fn is_slice(self) -> bool {
        matches!(self, Self::Slice(_) | Self::Irap(_))
    }
}

/// The unit is a slice of an intra random access picture: IDR, CRA or BLA.
pub fn is_irap(unit: &[u8]) -> bool {
    matches!(NalType::of(unit), NalType::Irap(_))
}

/// The access unit, its units behind lengths, is a random access picture. False when it is
/// damaged before its first slice. Looks no further than the first slice.
pub fn is_key(access_unit: &[u8], length_size: u8) -> bool {
    LengthPrefixed::new(access_unit, length_size)
        .map_while(Result::ok)
        .find(|unit| NalType::of(unit).is_slice())
        .is_some_and(is_irap)
}

/// What a parameter set says of the profile the whole sequence keeps to
/// (`profile_tier_level`, section 7.3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProfileTierLevel {
    /// `general_profile_space`, 0 to 3.
    pub profile_space: u8,
    /// The High tier, not Main.
    pub high_tier: bool,
    /// `general_profile_idc`, 0 to 31.
    pub profile: u8,
    /// `general_profile_compatibility_flag`s, number 0 in the highest bit.
    pub compatibility: u32,
    /// The 48 bits of constraints that follow.
    pub constraints: u64,
    /// `general_level_idc`: thirty times the level.
    pub level: u8,
}

impl ProfileTierLevel {
    /// Reads the 96 bits that stand in parameter sets and, just so, in `hvcC`.
    fn read(r: &mut BitReader<'_>) -> Result<Self, ReadError> {
        Ok(Self {
            profile_space: r.read_u8(2)?,
            high_tier: r.flag()?,
            profile: r.read_u8(5)?,
            compatibility: r.read(32)?,
            constraints: u64::from(r.read(16)?) << 32 | u64::from(r.read(32)?),
            level: r.read_u8(8)?,
        })
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.profile_space << 6 | u8::from(self.high_tier) << 5 | self.profile & 31);
        out.put_u32(self.compatibility);
        out.put_uint(self.constraints & 0xffff_ffff_ffff, 6);
        out.push(self.level);
    }
}

/// The `hvcC` record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HevcConfig {
    /// General profile, tier and level.
    pub general: ProfileTierLevel,
    /// `min_spatial_segmentation_idc`, 12 bits.
    pub min_segmentation: u16,
    /// `parallelismType`, 2 bits.
    pub parallelism: u8,
    /// 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits of a luma sample, 8 to 15.
    pub luma_depth: u8,
    /// Bits of a chroma sample, 8 to 15.
    pub chroma_depth: u8,
    /// Average frame rate in frames per 256 seconds; 0 for none told.
    pub average_fps: u16,
    /// `constantFrameRate`, 2 bits.
    pub constant_fps: u8,
    /// Temporal layers, 0 to 7; 0 for not known.
    pub temporal_layers: u8,
    /// A switch up is possible at every sub-layer.
    pub temporal_nested: bool,
    /// Bytes of the length before each unit: 1, 2 or 4.
    pub length_size: u8,
    /// Units by type, in the order of the record.
    pub arrays: Vec<UnitArray>,
}

/// Units of one type within `hvcC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitArray {
    /// The number of the type: 32 VPS, 33 SPS, 34 PPS, 39 and 40 SEI.
    pub kind: u8,
    /// All units of that type are here and none is in the stream.
    pub complete: bool,
    /// The units, without length.
    pub units: Vec<Bytes>,
}

impl HevcConfig {
    /// Decodes a record. Units are copied.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut r = BitReader::new("hvcC", bytes);
        // Version 0 was written by early encoders.
        let version = r.read(8)?;
        if version > 1 {
            return Err(r.invalid("hvcC version", u64::from(version), 0));
        }
        let general = ProfileTierLevel::read(&mut r)?;
        r.skip(4)?;
        let min_segmentation = r.read(12)? as u16;
        r.skip(6)?;
        let parallelism = r.read_u8(2)?;
        r.skip(6)?;
        let chroma_format = r.read_u8(2)?;
        r.skip(5)?;
        let luma_depth = r.read_u8(3)?.saturating_add(8);
        r.skip(5)?;
        let chroma_depth = r.read_u8(3)?.saturating_add(8);
        let average_fps = r.read(16)? as u16;
        let constant_fps = r.read_u8(2)?;
        let temporal_layers = r.read_u8(3)?;
        let temporal_nested = r.flag()?;
        let length_size = r.read_u8(2)?.saturating_add(1);
        if length_size == 3 {
            return Err(r.invalid("hvcC length size", 3, 21));
        }
        let mut arrays = Vec::new();
        for _ in 0..r.read(8)? {
            let complete = r.flag()?;
            r.skip(1)?;
            let kind = r.read_u8(6)?;
            let mut units = Vec::new();
            for _ in 0..r.read(16)? {
                let length = r.read(16)? as usize;
                let start = r.offset();
                r.skip(length.saturating_mul(8))?;
                let unit = bytes.get(start..r.offset()).unwrap_or_default();
                units.push(Bytes::copy_from_slice(unit));
            }
            arrays.push(UnitArray { kind, complete, units });
        }
        Ok(Self {
            general,
            min_segmentation,
            parallelism,
            chroma_format,
            luma_depth,
            chroma_depth,
            average_fps,
            constant_fps,
            temporal_layers,
            temporal_nested,
            length_size,
            arrays,
        })
    }

    /// Builds the record that belongs to these parameter sets (each without start code), with
    /// lengths of four bytes. Fails when the first sequence parameter set cannot be read.
    pub fn from_parameter_sets(
        vps: &[Bytes],
        sps: &[Bytes],
        pps: &[Bytes],
    ) -> Result<Self, ReadError> {
        let missing = ReadError::Truncated { what: "SPS", offset: 0 };
        let read = Sps::decode(sps.first().ok_or(missing)?)?;
        let array =
            |kind, units: &[Bytes]| UnitArray { kind, complete: true, units: units.to_vec() };
        Ok(Self {
            general: read.general,
            min_segmentation: 0,
            parallelism: 0,
            chroma_format: read.chroma_format,
            luma_depth: read.luma_depth,
            chroma_depth: read.chroma_depth,
            average_fps: 0,
            constant_fps: 0,
            temporal_layers: read.temporal_layers,
            temporal_nested: read.temporal_nested,
            length_size: 4,
            arrays: vec![array(32, vps), array(33, sps), array(34, pps)],
        })
    }

    /// The record's bytes. Arrays and units beyond what the counts can say, and units longer
    /// than 65,535 bytes, are left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![1];
        self.general.put(&mut out);
        out.put_u16(0xf000 | self.min_segmentation & 0xfff);
        out.push(0xfc | self.parallelism & 3);
        out.push(0xfc | self.chroma_format & 3);
        out.push(0xf8 | self.luma_depth.saturating_sub(8) & 7);
        out.push(0xf8 | self.chroma_depth.saturating_sub(8) & 7);
        out.put_u16(self.average_fps);
        let length = self.length_size.clamp(1, 4).wrapping_sub(1);
        let nested = u8::from(self.temporal_nested);
        let layers = self.temporal_layers & 7;
        out.push(self.constant_fps << 6 | layers << 3 | nested << 2 | length);
        let arrays = || self.arrays.iter().take(255);
        out.push(arrays().count() as u8);
        for array in arrays() {
            out.push(u8::from(array.complete) << 7 | array.kind & 0x3f);
            let units = || array.units.iter().filter(|unit| unit.len() <= 0xffff).take(0xffff);
            out.put_u16(units().count() as u16);
            for unit in units() {
                out.put_u16(unit.len() as u16);
                out.extend_from_slice(unit);
            }
        }
        out
    }

    /// All parameter sets of one type: 32 VPS, 33 SPS, 34 PPS.
    pub fn units(&self, kind: u8) -> impl Iterator<Item = &Bytes> {
        self.arrays.iter().filter(move |array| array.kind == kind).flat_map(|array| &array.units)
    }
}

/// The profile as the API prints it; `Other` for what has no name there.
pub const fn profile_name(profile: u8) -> &'static str {
    match profile {
        1 => "Main",
        2 => "Main10",
        3 => "Main Still Picture",
        4 => "Rext",
        _ => "Other",
    }
}

/// The level as the API prints it; `Other` for what has no name there.
pub const fn level_name(level: u8) -> &'static str {
    match level {
        30 => "1",
        60 => "2",
        63 => "2.1",
        90 => "3",
        93 => "3.1",
        120 => "4",
        123 => "4.1",
        150 => "5",
        153 => "5.1",
        156 => "5.2",
        180 => "6",
        183 => "6.1",
        186 => "6.2",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests;
