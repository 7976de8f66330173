//! VP8: the head of a frame.
//!
//! Decodes no frame. Entry type: [`FrameHeader`]. Specification: RFC 6386 section 9.1.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::ReadError;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameHeader {
    /// A decoder can start here.
    pub key: bool,
    /// Version (the profile), 0 to 3; up to 7 is let pass.
    pub profile: u8,
    /// Width and height in samples, up to 16,383; only key frames tell.
    pub size: Option<(u32, u32)>,
}

impl FrameHeader {
    /// Decodes the first 3 bytes of a frame, of a key frame the first 10.
    pub fn decode(frame: &[u8]) -> Result<Self, ReadError> {
        let truncated = ReadError::Truncated { what: "VP8 frame", offset: frame.len() };
        let &[tag, _, _] = frame.first_chunk::<3>().ok_or(truncated)?;
        let profile = tag >> 1 & 7;
        if tag & 1 != 0 {
            return Ok(Self { key: false, profile, size: None });
        }
        let &[_, _, _, a, b, c, w0, w1, h0, h1] = frame.first_chunk::<10>().ok_or(truncated)?;
        if [a, b, c] != [0x9d, 0x01, 0x2a] {
            let value = u64::from(u32::from_be_bytes([0, a, b, c]));
            return Err(ReadError::Invalid { what: "VP8 start code", value, offset: 3 });
        }
        // The two highest bits are the scale.
        let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
        Ok(Self { key: true, profile, size: Some((side(w0, w1), side(h0, h1))) })
    }
}

/// The frame is a key frame; false when it is damaged.
pub fn is_key(frame: &[u8]) -> bool {
    FrameHeader::decode(frame).is_ok_and(|header| header.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_frame_of_libvpx_tells_its_size() {
        let frame = [0x10, 0x62, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00, 0x00];
        let header = FrameHeader { key: true, profile: 0, size: Some((320, 180)) };
        assert_eq!(FrameHeader::decode(&frame), Ok(header));
        assert!(!is_key(&frame[..9]));
        assert!(!is_key(&[0x11, 0, 0]));
        assert!(!is_key(&[0x10, 0x62, 0, 1, 2, 3, 4, 5, 6, 7]));
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let _ = FrameHeader::decode(&bytes);
        }
    }
}
