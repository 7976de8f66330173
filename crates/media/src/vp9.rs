//! VP9: configuration record and the head of the uncompressed frame header.
//!
//! Decodes no frame and does not take superframes apart: the first frame's header stands first.
//! Entry types: [`VpConfig`] and [`FrameHeader`].
//!
//! Specifications: VP9 Bitstream and Decoding Process section 6.2; VP Codec ISO Media File
//! Format Binding.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::ReadError;
use crate::bits::BitReader;

/// The `vpcC` record, which VP8 shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VpConfig {
    /// 0 to 3.
    pub profile: u8,
    /// Ten times the level; 0 for not known.
    pub level: u8,
    /// Bits of a sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// `chromaSubsampling`: 0 and 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_subsampling: u8,
    /// Samples use the full range.
    pub full_range: bool,
    /// ISO/IEC 23001-8.
    pub colour_primaries: u8,
    /// ISO/IEC 23001-8.
    pub transfer: u8,
    /// ISO/IEC 23001-8.
    pub matrix: u8,
}

impl VpConfig {
    /// Decodes the record, with or without the four bytes of version and flags that stand
    /// before it in a file. Initialization data, which VP8 and VP9 do not have, is left out.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        // No record begins so: the bit depth, in the third byte, is never 0.
        let body = bytes.strip_prefix(&[1, 0, 0, 0]).unwrap_or(bytes);
        let mut r = BitReader::new("vpcC", body);
        let profile = r.read_u8(8)?;
        if profile > 3 {
            return Err(r.invalid("VP profile", u64::from(profile), 0));
        }
        let level = r.read_u8(8)?;
        let bit_depth = r.read_u8(4)?;
        if !matches!(bit_depth, 8 | 10 | 12) {
            return Err(r.invalid("VP bit depth", u64::from(bit_depth), 2));
        }
        Ok(Self {
            profile,
            level,
            bit_depth,
            chroma_subsampling: r.read_u8(3)?,
            full_range: r.flag()?,
            colour_primaries: r.read_u8(8)?,
            transfer: r.read_u8(8)?,
            matrix: r.read_u8(8)?,
        })
    }

    /// The record that belongs to a key frame of VP9; `None` of another frame. Level and colour
    /// are told as not known.
    pub const fn of_vp9(header: &FrameHeader) -> Option<Self> {
        let Some(picture) = header.picture else { return None };
        Some(Self {
            bit_depth: picture.bit_depth,
            chroma_subsampling: picture.chroma_subsampling,
            full_range: picture.full_range,
            ..Self::unspecified(header.profile)
        })
    }

    /// The record that belongs to VP8, which has 8 bits and 4:2:0 always.
    pub const fn of_vp8(header: &crate::vp8::FrameHeader) -> Self {
        Self::unspecified(header.profile)
    }

    const fn unspecified(profile: u8) -> Self {
        // 2 is "unspecified" in all three tables of ISO/IEC 23001-8.
        Self {
            profile,
            level: 0,
            bit_depth: 8,
            chroma_subsampling: 1,
            full_range: false,
            colour_primaries: 2,
            transfer: 2,
            matrix: 2,
        }
    }

    /// The body of the record: eight bytes, without version and flags.
    pub fn encode(&self) -> [u8; 8] {
        let packed =
            self.bit_depth << 4 | (self.chroma_subsampling & 7) << 1 | u8::from(self.full_range);
        [self.profile, self.level, packed, self.colour_primaries, self.transfer, self.matrix, 0, 0]
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameHeader {
    /// 0 to 3.
    pub profile: u8,
    /// A decoder can start here.
    pub key: bool,
    /// Bits of a sample and the size; only key frames tell.
    pub picture: Option<Picture>,
}

/// What a key frame tells of its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Picture {
    /// Bits of a sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// Width in samples, 1 to 65,536.
    pub width: u32,
    /// Height in samples, 1 to 65,536.
    pub height: u32,
    /// `chromaSubsampling` as in [`VpConfig`].
    pub chroma_subsampling: u8,
    /// Samples use the full range.
    pub full_range: bool,
}

impl FrameHeader {
    /// Decodes the head of a frame or superframe.
    pub fn decode(frame: &[u8]) -> Result<Self, ReadError> {
        let mut r = BitReader::new("VP9 frame", frame);
        let marker = r.read(2)?;
        if marker != 2 {
            return Err(r.invalid("VP9 frame marker", u64::from(marker), 0));
        }
        let low = r.read_u8(1)?;
        let profile = r.read_u8(1)? << 1 | low;
        if profile == 3 && r.flag()? {
            return Err(r.invalid("VP9 profile", 4, 0));
        }
        let shows_existing = r.flag()?;
        if shows_existing || r.flag()? {
            return Ok(Self { profile, key: false, picture: None });
        }
        r.skip(2)?;
        let sync = r.read(24)?;
        if sync != 0x49_83_42 {
            return Err(r.invalid("VP9 sync code", u64::from(sync), 1));
        }
        let bit_depth = match profile {
            0 | 1 => 8,
            _ => {
                if r.flag()? {
                    12
                } else {
                    10
                }
            }
        };
        let srgb = r.read(3)? == 7;
        let spelled_out = matches!(profile, 1 | 3);
        let full_range = srgb || r.flag()?;
        let chroma_subsampling = match (spelled_out, srgb) {
            (true, true) => {
                r.skip(1)?;
                3
            }
            (true, false) => match r.read(3)? >> 1 {
                0 => 3,
                2 => 2,
                // Half the height alone has no number; profiles 1 and 3 forbid half of both.
                _ => 1,
            },
            (false, _) => 1,
        };
        let width = r.read(16)?.saturating_add(1);
        let height = r.read(16)?.saturating_add(1);
        let picture = Picture { bit_depth, width, height, chroma_subsampling, full_range };
        Ok(Self { profile, key: true, picture: Some(picture) })
    }
}

/// The frame, or the first of the superframe, is a key frame; false when it is damaged.
pub fn is_key(frame: &[u8]) -> bool {
    FrameHeader::decode(frame).is_ok_and(|header| header.key)
}

/// The profile's name.
pub const fn profile_name(profile: u8) -> &'static str {
    match profile {
        0 => "Profile 0",
        1 => "Profile 1",
        2 => "Profile 2",
        3 => "Profile 3",
        _ => "Other",
    }
}

/// The level's name; `Other` for what is not known.
pub const fn level_name(level: u8) -> &'static str {
    match level {
        10 => "1",
        11 => "1.1",
        20 => "2",
        21 => "2.1",
        30 => "3",
        31 => "3.1",
        40 => "4",
        41 => "4.1",
        50 => "5",
        51 => "5.1",
        52 => "5.2",
        60 => "6",
        61 => "6.1",
        62 => "6.2",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn key_frames_of_libvpx_tell_profile_and_size() {
        let frame = [0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0b, 0x36, 0x04, 0x38];
        let told = Picture {
            bit_depth: 8,
            width: 320,
            height: 180,
            chroma_subsampling: 1,
            full_range: false,
        };
        let picture = Some(told);
        let header = FrameHeader { profile: 0, key: true, picture };
        assert_eq!(FrameHeader::decode(&frame), Ok(header));
        assert_eq!(VpConfig::of_vp9(&header).unwrap().encode(), [0, 0, 0x82, 2, 2, 2, 0, 0]);
        // 4:4:4.
        let frame = [0xa2, 0x49, 0x83, 0x42, 0x00, 0x02, 0x7e, 0x01, 0x66, 0xc0, 0x87];
        let picture = Some(Picture { chroma_subsampling: 3, ..told });
        let header = FrameHeader { profile: 1, key: true, picture };
        assert_eq!(FrameHeader::decode(&frame), Ok(header));
        assert_eq!(VpConfig::of_vp9(&header).unwrap().chroma_subsampling, 3);
        assert_eq!(VpConfig::of_vp9(&FrameHeader { key: false, picture: None, ..header }), None);
        assert!(!is_key(&[0x86, 0x00]));
        assert!(!is_key(&[0x8a]));
        assert!(!is_key(&[0x82, 0, 0, 0, 0, 0]));
        assert!(FrameHeader::decode(&[]).is_err());
    }

    #[test]
    fn a_record_is_read_with_and_without_its_file_header() {
        let bytes = [1, 0, 0, 0, 0, 0x0b, 0x82, 2, 2, 2, 0, 0];
        let config = VpConfig::decode(&bytes).unwrap();
        assert_eq!((config.profile, level_name(config.level), config.bit_depth), (0, "1.1", 8));
        assert_eq!(config.encode(), bytes[4..]);
        assert_eq!(VpConfig::decode(&bytes[4..]), Ok(config));
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_decoders(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            let _ = VpConfig::decode(&bytes);
            let _ = FrameHeader::decode(&bytes);
        }

        #[test]
        fn records_survive_a_round_trip(
            profile in 0u8..4, level in any::<u8>(), chroma_subsampling in 0u8..8,
            bit_depth in prop::sample::select(vec![8u8, 10, 12]), full_range in any::<bool>(),
            colour_primaries in any::<u8>(), transfer in any::<u8>(), matrix in any::<u8>(),
        ) {
            let config = VpConfig {
                profile, level, bit_depth, chroma_subsampling, full_range, colour_primaries,
                transfer, matrix,
            };
            prop_assert_eq!(VpConfig::decode(&config.encode()), Ok(config));
        }
    }
}
