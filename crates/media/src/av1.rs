//! AV1: configuration record, sequence header, iteration over OBUs, key frames.
//!
//! Decodes no frame. Entry types: [`Av1Config`] and [`SequenceHeader`].
//!
//! Specifications: AV1 Bitstream and Decoding Process sections 4.10.5, 5.3, 5.5, 5.9.2 and annex
//! A; AV1 Codec ISO Media File Format Binding section 2.3.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use bytes::{BufMut, Bytes};

use crate::ReadError;
use crate::bits::BitReader;

/// How many OBUs a temporal unit may have before iteration stops.
///
/// A frame with a tile group for each of the 512 tiles that level 6.3 allows and its headers;
/// at half, such a frame would break.
pub const MAX_OBUS: usize = 1024;

/// The kind of an OBU (section 6.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ObuType {
    /// Sequence header.
    SequenceHeader,
    /// Temporal delimiter.
    TemporalDelimiter,
    /// Frame header.
    FrameHeader,
    /// Tile group.
    TileGroup,
    /// Metadata.
    Metadata,
    /// Frame: header and tile group in one.
    Frame,
    /// Repeated frame header.
    RedundantFrameHeader,
    /// Tile list.
    TileList,
    /// Padding.
    Padding,
    /// Any other, by its number.
    Other(u8),
}

/// One OBU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obu<'a> {
    /// Its kind.
    pub kind: ObuType,
    /// Temporal layer, 0 without an extension.
    pub temporal_id: u8,
    /// Spatial layer, 0 without an extension.
    pub spatial_id: u8,
    /// What stands behind header and size.
    pub payload: &'a [u8],
    /// All of it, as it came.
    pub whole: &'a [u8],
}

/// Iterates over the OBUs of a temporal unit in low-overhead form. An OBU without a size reaches
/// to the end.
///
/// Yields one error and then ends at a size beyond the end or beyond [`MAX_OBUS`].
#[derive(Clone, Debug)]
pub struct Obus<'a> {
    bytes: &'a [u8],
    offset: usize,
    count: usize,
}

impl<'a> Obus<'a> {
    /// Over one temporal unit.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, count: 0 }
    }

    fn cut(&mut self) -> Result<Obu<'a>, ReadError> {
        let offset = self.offset;
        self.count = self.count.saturating_add(1);
        if self.count > MAX_OBUS {
            let value = self.count as u64;
            return Err(ReadError::Invalid { what: "number of OBUs", value, offset });
        }
        let mut r = BitReader::new("OBU header", self.bytes);
        if r.flag()? {
            return Err(ReadError::Invalid { what: "OBU forbidden bit", value: 1, offset });
        }
        let kind = match r.read_u8(4)? {
            1 => ObuType::SequenceHeader,
            2 => ObuType::TemporalDelimiter,
            3 => ObuType::FrameHeader,
            4 => ObuType::TileGroup,
            5 => ObuType::Metadata,
            6 => ObuType::Frame,
            7 => ObuType::RedundantFrameHeader,
            8 => ObuType::TileList,
            15 => ObuType::Padding,
            other => ObuType::Other(other),
        };
        let extension = r.flag()?;
        let has_size = r.flag()?;
        r.skip(1)?;
        let (temporal_id, spatial_id) =
            if extension { (r.read_u8(3)?, r.read_u8(2)?) } else { (0, 0) };
        r.skip(if extension { 3 } else { 0 })?;
        let mut start = r.offset();
        let size = if has_size {
            let (size, length) = leb128(self.bytes.get(start..).unwrap_or_default())?;
            start = start.saturating_add(length);
            size as usize
        } else {
            self.bytes.len().saturating_sub(start)
        };
        let too_long = ReadError::Invalid { what: "OBU size", value: size as u64, offset };
        let end = start.checked_add(size).ok_or(too_long)?;
        let (whole, rest) = self.bytes.split_at_checked(end).ok_or(too_long)?;
        let payload = whole.get(start..).unwrap_or_default();
        self.bytes = rest;
        self.offset = offset.saturating_add(end);
        Ok(Obu { kind, temporal_id, spatial_id, payload, whole })
    }
}

impl<'a> Iterator for Obus<'a> {
    type Item = Result<Obu<'a>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let obu = self.cut();
        if obu.is_err() {
            self.bytes = &[];
        }
        Some(obu)
    }
}

/// A number in LEB128 and the bytes it took (section 4.10.5); more than 8 bytes or 32 bits are
/// refused.
pub fn leb128(bytes: &[u8]) -> Result<(u32, usize), ReadError> {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << at.saturating_mul(7);
        if byte & 0x80 == 0 {
            let too_large = ReadError::Invalid { what: "LEB128 number", value, offset: at };
            return Ok((u32::try_from(value).map_err(|_| too_large)?, at.saturating_add(1)));
        }
    }
    if bytes.len() < 8 {
        return Err(ReadError::Truncated { what: "LEB128 number", offset: bytes.len() });
    }
    Err(ReadError::Invalid { what: "LEB128 number", value, offset: 7 })
}

/// Appends a number in LEB128, in as few bytes as it takes: 1 to 5.
pub fn put_leb128(mut value: u32, out: &mut impl BufMut) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// The temporal unit shows a key frame first. False when it is damaged before its first frame.
pub fn is_key(temporal_unit: &[u8]) -> bool {
    let mut still = false;
    for obu in Obus::new(temporal_unit).map_while(Result::ok) {
        match obu.kind {
            ObuType::SequenceHeader => {
                still = SequenceHeader::decode(obu.payload).is_ok_and(|header| header.reduced);
            }
            ObuType::Frame | ObuType::FrameHeader => {
                // show_existing_frame, frame_type (0 is a key frame), show_frame.
                let bits = obu.payload.first().map_or(0xff, |byte| byte >> 4);
                return still || bits & 0b1111 == 0b0001;
            }
            _ => {}
        }
    }
    false
}

/// The `av1C` record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Av1Config {
    /// `seq_profile`, 0 to 2 (7 at most).
    pub profile: u8,
    /// `seq_level_idx_0`.
    pub level: u8,
    /// `seq_tier_0`: the High tier, not Main.
    pub high_tier: bool,
    /// Bits of a sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// No colour.
    pub monochrome: bool,
    /// Chroma has half the width.
    pub subsampling_x: bool,
    /// Chroma has half the height.
    pub subsampling_y: bool,
    /// `chroma_sample_position`, 2 bits.
    pub chroma_position: u8,
    /// `initial_presentation_delay_minus_one`, where told.
    pub presentation_delay: Option<u8>,
    /// OBUs to give to the decoder first: the sequence header.
    pub obus: Bytes,
}

impl Av1Config {
    /// Decodes a record. The OBUs are copied and not read.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut r = BitReader::new("av1C", bytes);
        let marker = r.read(8)?;
        if marker != 0x81 {
            return Err(r.invalid("av1C marker and version", u64::from(marker), 0));
        }
        let profile = r.read_u8(3)?;
        let level = r.read_u8(5)?;
        let high_tier = r.flag()?;
        let high_bit_depth = r.flag()?;
        let twelve_bit = r.flag()?;
        let monochrome = r.flag()?;
        let subsampling_x = r.flag()?;
        let subsampling_y = r.flag()?;
        let chroma_position = r.read_u8(2)?;
        r.skip(3)?;
        let told = r.flag()?;
        let delay = r.read_u8(4)?;
        Ok(Self {
            profile,
            level,
            high_tier,
            bit_depth: if !high_bit_depth {
                8
            } else if twelve_bit {
                12
            } else {
                10
            },
            monochrome,
            subsampling_x,
            subsampling_y,
            chroma_position,
            presentation_delay: told.then_some(delay),
            obus: Bytes::copy_from_slice(bytes.get(4..).unwrap_or_default()),
        })
    }

    /// Builds the record that belongs to a sequence header OBU, given with its header and size.
    pub fn from_sequence_header(obu: &[u8]) -> Result<Self, ReadError> {
        let missing = ReadError::Truncated { what: "sequence header", offset: 0 };
        let first = Obus::new(obu).next().ok_or(missing)??;
        let header = SequenceHeader::decode(first.payload)?;
        Ok(Self {
            profile: header.profile,
            level: header.level,
            high_tier: header.high_tier,
            bit_depth: header.bit_depth,
            monochrome: header.monochrome,
            subsampling_x: header.subsampling_x,
            subsampling_y: header.subsampling_y,
            chroma_position: header.chroma_position,
            presentation_delay: None,
            obus: Bytes::copy_from_slice(first.whole),
        })
    }

    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let flags = u8::from(self.high_tier) << 7
            | u8::from(self.bit_depth > 8) << 6
            | u8::from(self.bit_depth > 10) << 5
            | u8::from(self.monochrome) << 4
            | u8::from(self.subsampling_x) << 3
            | u8::from(self.subsampling_y) << 2
            | self.chroma_position & 3;
        let delay = self.presentation_delay.map_or(0, |delay| 0x10 | delay & 15);
        let mut out = vec![0x81, self.profile << 5 | self.level & 31, flags, delay];
        out.extend_from_slice(&self.obus);
        out
    }

    /// The sequence header among the OBUs.
    pub fn sequence_header(&self) -> Result<SequenceHeader, ReadError> {
        for obu in Obus::new(&self.obus) {
            let obu = obu?;
            if obu.kind == ObuType::SequenceHeader {
                return SequenceHeader::decode(obu.payload);
            }
        }
        Err(ReadError::Truncated { what: "sequence header", offset: self.obus.len() })
    }
}

/// What is of use from a sequence header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SequenceHeader {
    /// `seq_profile`: 0 Main, 1 High, 2 Professional.
    pub profile: u8,
    /// Level index of the first operating point.
    pub level: u8,
    /// Tier of the first operating point: High, not Main.
    pub high_tier: bool,
    /// `reduced_still_picture_header`: one picture, all of it key.
    pub reduced: bool,
    /// Greatest width in samples, 1 to 65,536.
    pub width: u32,
    /// Greatest height in samples, 1 to 65,536.
    pub height: u32,
    /// Bits of a sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// No colour.
    pub monochrome: bool,
    /// Chroma has half the width.
    pub subsampling_x: bool,
    /// Chroma has half the height.
    pub subsampling_y: bool,
    /// `chroma_sample_position`, 2 bits.
    pub chroma_position: u8,
    /// Frames a second, when the timing information tells of a constant rate.
    pub fps: Option<f64>,
}

impl SequenceHeader {
    /// Decodes the payload of a sequence header OBU.
    pub fn decode(payload: &[u8]) -> Result<Self, ReadError> {
        let mut r = BitReader::new("sequence header", payload);
        let profile = r.read_u8(3)?;
        if profile > 2 {
            return Err(r.invalid("AV1 profile", u64::from(profile), 0));
        }
        r.skip(1)?;
        let reduced = r.flag()?;
        let (mut level, mut high_tier, mut fps) = (0, false, None);
        if reduced {
            level = r.read_u8(5)?;
        } else {
            let mut delay_bits = None;
            if r.flag()? {
                fps = read_timing(&mut r)?;
                if r.flag()? {
                    delay_bits = Some(r.read(5)?.saturating_add(1) as usize);
                    r.skip(42)?;
                }
            }
            let display_delay = r.flag()?;
            for point in 0..=r.read(5)? {
                r.skip(12)?;
                let point_level = r.read_u8(5)?;
                let point_tier = point_level > 7 && r.flag()?;
                if let Some(bits) = delay_bits
                    && r.flag()?
                {
                    r.skip(bits.saturating_mul(2).saturating_add(1))?;
                }
                if display_delay && r.flag()? {
                    r.skip(4)?;
                }
                if point == 0 {
                    (level, high_tier) = (point_level, point_tier);
                }
            }
        }
        let width_bits = r.read(4)?.saturating_add(1);
        let height_bits = r.read(4)?.saturating_add(1);
        let width = r.read(width_bits)?.saturating_add(1);
        let height = r.read(height_bits)?.saturating_add(1);
        if !reduced && r.flag()? {
            r.skip(7)?;
        }
        r.skip(3)?;
        if !reduced {
            skip_tools(&mut r)?;
        }
        r.skip(3)?;
        let mut header = Self {
            profile,
            level,
            high_tier,
            reduced,
            width,
            height,
            bit_depth: 8,
            monochrome: false,
            subsampling_x: true,
            subsampling_y: true,
            chroma_position: 0,
            fps,
        };
        header.read_colour(&mut r)?;
        Ok(header)
    }

    fn read_colour(&mut self, r: &mut BitReader<'_>) -> Result<(), ReadError> {
        let high_bit_depth = r.flag()?;
        if high_bit_depth {
            self.bit_depth = if self.profile == 2 && r.flag()? { 12 } else { 10 };
        }
        self.monochrome = self.profile != 1 && r.flag()?;
        let described = r.flag()?;
        let description = if described { r.read(24)? } else { 0x02_02_02 };
        if self.monochrome {
            return r.skip(1);
        }
        // BT.709 primaries, sRGB transfer, identity matrix: always 4:4:4.
        if description == 0x01_0d_00 {
            (self.subsampling_x, self.subsampling_y) = (false, false);
            return Ok(());
        }
        r.skip(1)?;
        (self.subsampling_x, self.subsampling_y) = match self.profile {
            0 => (true, true),
            1 => (false, false),
            _ if self.bit_depth == 12 => {
                let x = r.flag()?;
                (x, x && r.flag()?)
            }
            _ => (true, false),
        };
        if self.subsampling_x && self.subsampling_y {
            self.chroma_position = r.read_u8(2)?;
        }
        Ok(())
    }
}

/// Timing information: the frame rate, if it is constant.
fn read_timing(r: &mut BitReader<'_>) -> Result<Option<f64>, ReadError> {
    let units = r.read(32)?;
    let scale = r.read(32)?;
    if !r.flag()? {
        return Ok(None);
    }
    // Unsigned variable length code: as Exp-Golomb.
    let ticks = f64::from(r.ue()?) + 1.0;
    Ok(crate::info::frame_rate(f64::from(scale), f64::from(units) * ticks))
}

/// Leaves out the flags of coding tools between block sizes and super-resolution.
fn skip_tools(r: &mut BitReader<'_>) -> Result<(), ReadError> {
    r.skip(4)?;
    let order_hint = r.flag()?;
    r.skip(if order_hint { 2 } else { 0 })?;
    // Screen content tools: chosen per frame, or one flag for all.
    let choose = r.flag()?;
    let screen_content = choose || r.flag()?;
    if screen_content && !r.flag()? {
        r.skip(1)?;
    }
    r.skip(if order_hint { 3 } else { 0 })
}

/// The profile's name.
pub const fn profile_name(profile: u8) -> &'static str {
    match profile {
        0 => "Main",
        1 => "High",
        2 => "Professional",
        _ => "Other",
    }
}

/// The level's name (annex A.3); `Other` for what is reserved or has no limit.
pub fn level_name(level: u8) -> &'static str {
    const NAMES: [&str; 24] = [
        "2.0", "2.1", "2.2", "2.3", "3.0", "3.1", "3.2", "3.3", "4.0", "4.1", "4.2", "4.3", "5.0",
        "5.1", "5.2", "5.3", "6.0", "6.1", "6.2", "6.3", "7.0", "7.1", "7.2", "7.3",
    ];
    NAMES.get(usize::from(level)).copied().unwrap_or("Other")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// libaom, 8 bits, 320x180.
    const AOM: [u8; 17] = [
        0x81, 0x00, 0x0c, 0x00, 0x0a, 0x0b, 0x00, 0x00, 0x00, 0x04, 0x3c, 0xfe, 0xcc, 0xda, 0xf9,
        0x00, 0x40,
    ];
    /// SVT-AV1, 10 bits, 320x180.
    const SVT: [u8; 17] = [
        0x81, 0x00, 0x4c, 0x00, 0x0a, 0x0b, 0x00, 0x00, 0x00, 0x04, 0x3c, 0xfe, 0xcc, 0x02, 0xf8,
        0x40, 0x40,
    ];
    /// The head of libaom's first temporal unit, its frame cut to three bytes.
    const KEY_UNIT: [u8; 20] = [
        0x12, 0x00, 0x0a, 0x0b, 0x00, 0x00, 0x00, 0x04, 0x3c, 0xfe, 0xcc, 0xda, 0xf9, 0x00, 0x40,
        0x32, 0x03, 0x14, 0x00, 0xa0,
    ];

    #[test]
    fn records_of_two_encoders_tell_size_and_depth() {
        for (bytes, depth) in [(AOM, 8), (SVT, 10)] {
            let config = Av1Config::decode(&bytes).unwrap();
            let header = config.sequence_header().unwrap();
            assert_eq!((header.width, header.height), (320, 180));
            assert_eq!((header.bit_depth, config.bit_depth), (depth, depth));
            assert_eq!((profile_name(header.profile), level_name(header.level)), ("Main", "2.0"));
            assert!(header.subsampling_x && header.subsampling_y && !header.monochrome);
            assert_eq!(config.encode(), bytes);
            assert_eq!(Av1Config::from_sequence_header(&config.obus).unwrap(), config);
        }
    }

    #[test]
    fn a_temporal_unit_is_cut_into_its_obus() {
        let obus: Result<Vec<_>, _> = Obus::new(&KEY_UNIT).collect();
        let obus = obus.unwrap();
        assert_eq!(
            obus.iter().map(|obu| (obu.kind, obu.payload.len())).collect::<Vec<_>>(),
            [(ObuType::TemporalDelimiter, 0), (ObuType::SequenceHeader, 11), (ObuType::Frame, 3)]
        );
        assert_eq!(obus[2].whole, &KEY_UNIT[15..]);
    }

    #[test]
    fn only_a_shown_key_frame_is_key() {
        assert!(is_key(&KEY_UNIT));
        for first in [0x80, 0x34, 0x04] {
            let mut unit = KEY_UNIT;
            unit[17] = first;
            assert!(!is_key(&unit), "{first:#x}");
        }
        assert!(!is_key(&KEY_UNIT[..15]));
        assert!(!is_key(&[]));
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(leb128(&[0xe5, 0x8e, 0x26, 9]), Ok((624_485, 3)));
        assert!(leb128(&[0x80]).is_err());
        assert!(leb128(&[0xff; 9]).is_err());
        assert!(leb128(&[0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
        assert!(matches!(
            Obus::new(&[0x32, 0x05, 1, 2]).next(),
            Some(Err(ReadError::Invalid { what: "OBU size", value: 5, .. }))
        ));
        let many = [0x12, 0].repeat(MAX_OBUS + 1);
        assert!(Obus::new(&many).any(|obu| obu.is_err()));
    }

    proptest! {
        #[test]
        fn leb128_numbers_survive_a_round_trip(value in any::<u32>()) {
            let mut bytes = Vec::new();
            put_leb128(value, &mut bytes);
            prop_assert_eq!(leb128(&bytes), Ok((value, bytes.len())));
            prop_assert!(bytes.len() == 1 || bytes.last() != Some(&0), "as few as it takes");
        }

        #[test]
        fn no_bytes_upset_the_decoders(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Av1Config::decode(&bytes).map(|config| config.sequence_header());
            let _ = SequenceHeader::decode(&bytes);
            let _ = Av1Config::from_sequence_header(&bytes);
            Obus::new(&bytes).count();
            is_key(&bytes);
        }

        #[test]
        fn records_survive_a_round_trip(
            profile in 0u8..8, level in 0u8..32, flags in prop::array::uniform4(any::<bool>()),
            bit_depth in prop::sample::select(vec![8u8, 10, 12]), chroma_position in 0u8..4,
            presentation_delay in prop::option::of(0u8..16),
            obus in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let config = Av1Config {
                profile, level, bit_depth, chroma_position, presentation_delay,
                high_tier: flags[0], monochrome: flags[1],
                subsampling_x: flags[2], subsampling_y: flags[3],
                obus: obus.into(),
            };
            prop_assert_eq!(Av1Config::decode(&config.encode()).unwrap(), config);
        }
    }
}
