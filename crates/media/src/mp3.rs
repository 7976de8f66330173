//! MPEG audio layers I to III: the frame header.
//!
//! Entry type: [`FrameHeader`]. Reads no side information, no Xing header and no ID3 tag.
//! Specifications: ISO/IEC 11172-3 section 2.4.1.3; ISO/IEC 13818-3 section 2.4.2.3; the
//! half rates below it ("MPEG 2.5") have no standard.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::ReadError;

/// Bytes of a header.
pub const HEADER: usize = 4;

/// kbit/s by table row and index; index 0 is free format, 15 is forbidden.
const BITRATES: [[u16; 15]; 5] = [
    [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// Which standard a frame follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// MPEG-1: 32 to 48 kHz.
    Mpeg1,
    /// MPEG-2: 16 to 24 kHz.
    Mpeg2,
    /// MPEG 2.5: 8 to 12 kHz.
    Mpeg25,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameHeader {
    /// Which standard.
    pub version: Version,
    /// 1, 2 or 3.
    pub layer: u8,
    /// In bits a second.
    pub bitrate: u32,
    /// In Hz.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Bytes of the frame, this header included.
    pub frame_length: usize,
    /// Samples of the frame for each channel.
    pub samples: u32,
}

impl FrameHeader {
    /// Decodes the four bytes at the start of a frame. Free format is refused: its length stands
    /// nowhere.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        let truncated = ReadError::Truncated { what: "MP3 header", offset: bytes.len() };
        let &[a, b, c, d] = bytes.first_chunk::<HEADER>().ok_or(truncated)?;
        let invalid = |what, value: u8, offset| {
            Err(ReadError::Invalid { what, value: u64::from(value), offset })
        };
        if a != 0xff || b & 0xe0 != 0xe0 {
            return invalid("MP3 sync word", b, 0);
        }
        let (version, half) = match b >> 3 & 3 {
            0 => (Version::Mpeg25, 2),
            2 => (Version::Mpeg2, 1),
            3 => (Version::Mpeg1, 0),
            other => return invalid("MPEG audio version", other, 1),
        };
        let layer = match b >> 1 & 3 {
            0 => return invalid("MPEG audio layer", 0, 1),
            bits => 4u8.saturating_sub(bits),
        };
        let row = match (version, layer) {
            (Version::Mpeg1, 1) => 0,
            (Version::Mpeg1, 2) => 1,
            (Version::Mpeg1, _) => 2,
            (_, 1) => 3,
            (_, _) => 4,
        };
        let index = c >> 4;
        let kbits = BITRATES.get(row).and_then(|row: &[u16; 15]| row.get(usize::from(index)));
        let bitrate = match kbits {
            Some(&kbits) if kbits > 0 => u32::from(kbits).saturating_mul(1000),
            _ => return invalid("MP3 bit rate index", index, 2),
        };
        let full_rate: u32 = match c >> 2 & 3 {
            0 => 44_100,
            1 => 48_000,
            2 => 32_000,
            other => return invalid("MP3 sample rate index", other, 2),
        };
        let sample_rate = full_rate >> half;
        let padding = u32::from(c >> 1 & 1);
        let samples: u32 = match (layer, version) {
            (1, _) => 384,
            (3, Version::Mpeg2 | Version::Mpeg25) => 576,
            _ => 1152,
        };
        // Layer I counts in slots of four bytes.
        let (slot, per_slot): (u32, u32) =
            if layer == 1 { (4, samples / 32) } else { (1, samples / 8) };
        let slots = per_slot.saturating_mul(bitrate).checked_div(sample_rate);
        let length = slots.unwrap_or(0).saturating_add(padding).saturating_mul(slot);
        Ok(Self {
            version,
            layer,
            bitrate,
            sample_rate,
            channels: if d >> 6 == 3 { 1 } else { 2 },
            frame_length: length as usize,
            samples,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_of_lame_are_read() {
        let header = FrameHeader::decode(&[0xff, 0xfb, 0x94, 0x00]).unwrap();
        assert_eq!((header.version, header.layer), (Version::Mpeg1, 3));
        assert_eq!((header.bitrate, header.sample_rate), (128_000, 48_000));
        assert_eq!((header.channels, header.frame_length, header.samples), (2, 384, 1152));
        let header = FrameHeader::decode(&[0xff, 0xf3, 0x80, 0x64]).unwrap();
        assert_eq!((header.version, header.bitrate), (Version::Mpeg2, 64_000));
        assert_eq!((header.sample_rate, header.samples), (22_050, 576));
        assert_eq!((header.channels, header.frame_length), (2, 208));
    }

    #[test]
    fn padding_counts_a_slot_of_the_layer() {
        let length = |bytes: [u8; 4]| FrameHeader::decode(&bytes).unwrap().frame_length;
        assert_eq!(length([0xff, 0xfb, 0x90, 0x00]), 417);
        assert_eq!(length([0xff, 0xfb, 0x92, 0x00]), 418);
        assert_eq!(length([0xff, 0xff, 0x40, 0x00]), 136, "layer I, 128 kbit/s");
        assert_eq!(length([0xff, 0xff, 0x42, 0x00]), 140);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [
            [0xff, 0x1b, 0x94, 0], // sync
            [0xff, 0xeb, 0x94, 0], // version
            [0xff, 0xf9, 0x94, 0], // layer 0, as in ADTS
            [0xff, 0xfb, 0x04, 0], // free format
            [0xff, 0xfb, 0xf4, 0], // bit rate
            [0xff, 0xfb, 0x9c, 0], // sample rate
        ] {
            assert!(FrameHeader::decode(&bytes).is_err(), "{bytes:x?}");
        }
        assert!(FrameHeader::decode(&[0xff, 0xfb, 0x94]).is_err());
    }

    proptest! {
        #[test]
        fn every_header_that_is_read_has_a_length(bytes in any::<[u8; 4]>()) {
            if let Ok(header) = FrameHeader::decode(&bytes) {
                prop_assert!((24..=2_881).contains(&header.frame_length));
                prop_assert!(header.sample_rate >= 8_000);
            }
        }
    }
}
