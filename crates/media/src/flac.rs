//! FLAC: the STREAMINFO block.
//!
//! Entry type: [`StreamInfo`]. Reads no other metadata and no frames. Specification: RFC 9639
//! sections 6, 8.1 and 8.2.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::ReadError;
use crate::bits::BitReader;

/// Bytes of the block without its header.
pub const STREAM_INFO: usize = 34;

/// What the STREAMINFO block tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamInfo {
    /// Fewest samples of a block.
    pub min_block: u16,
    /// Most samples of a block; equal to `min_block` when all are the same.
    pub max_block: u16,
    /// In Hz, 1 to 1,048,575.
    pub sample_rate: u32,
    /// 1 to 8.
    pub channels: u8,
    /// Bits of a sample, 4 to 32.
    pub bits: u8,
}

impl StreamInfo {
    /// Decodes the block alone, or `fLaC` and the block behind its header.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        let (block, framed) = match bytes.strip_prefix(b"fLaC") {
            Some(rest) => {
                let truncated = ReadError::Truncated { what: "FLAC block", offset: bytes.len() };
                let (&[kind, _, _, _], block) = rest.split_first_chunk::<4>().ok_or(truncated)?;
                // The highest bit marks the last block.
                if kind & 0x7f != 0 {
                    let value = u64::from(kind & 0x7f);
                    return Err(ReadError::Invalid { what: "first FLAC block", value, offset: 4 });
                }
                (block, true)
            }
            None => (bytes, false),
        };
        if block.len() < STREAM_INFO {
            return Err(ReadError::Truncated { what: "STREAMINFO", offset: bytes.len() });
        }
        let mut r = BitReader::new("STREAMINFO", block);
        let min_block = r.read(16)? as u16;
        let max_block = r.read(16)? as u16;
        r.skip(48)?;
        let sample_rate = r.read(20)?;
        let channels = r.read_u8(3)?.saturating_add(1);
        let bits = r.read_u8(5)?.saturating_add(1);
        if sample_rate == 0 {
            let offset = if framed { 18 } else { 10 };
            return Err(ReadError::Invalid { what: "FLAC sample rate", value: 0, offset });
        }
        if bits < 4 {
            let (value, offset) = (u64::from(bits), if framed { 20 } else { 12 });
            return Err(ReadError::Invalid { what: "FLAC bits per sample", value, offset });
        }
        Ok(Self { min_block, max_block, sample_rate, channels, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// libFLAC's layout as written by FFmpeg, 48 kHz stereo.
    const HEAD: [u8; 42] = [
        0x66, 0x4c, 0x61, 0x43, 0x00, 0x00, 0x00, 0x22, 0x12, 0x00, 0x12, 0x00, 0x00, 0x0c, 0x70,
        0x00, 0x51, 0x10, 0x0b, 0xb8, 0x02, 0xf0, 0x00, 0x00, 0x25, 0x80, 0xd9, 0xb8, 0x1d, 0xe0,
        0x11, 0xfe, 0xf6, 0x94, 0xf3, 0xe1, 0xd3, 0x36, 0x94, 0xc8, 0xae, 0x61,
    ];

    #[test]
    fn stream_information_is_read_with_and_without_its_frame() {
        let info = StreamInfo {
            min_block: 4608,
            max_block: 4608,
            sample_rate: 48_000,
            channels: 2,
            bits: 16,
        };
        assert_eq!(StreamInfo::decode(&HEAD), Ok(info));
        assert_eq!(StreamInfo::decode(&HEAD[8..]), Ok(info));
        for end in 0..HEAD.len() {
            assert!(StreamInfo::decode(&HEAD[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn another_block_or_no_rate_is_refused() {
        let mut other = HEAD;
        other[4] = 4;
        assert!(StreamInfo::decode(&other).is_err());
        assert!(StreamInfo::decode(&[0; 34]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let _ = StreamInfo::decode(&bytes);
        }
    }
}
