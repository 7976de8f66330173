//! AC-3 and Enhanced AC-3: the head of a sync frame.
//!
//! Entry type: [`SyncFrame`]. Checks no check sum. Specification: ETSI TS 102 366 sections 4.3,
//! 4.4 and annex E section E.1.2.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::ReadError;
use crate::bits::BitReader;

/// kbit/s by half of the frame size code (table 4.13).
const BITRATES: [u16; 19] =
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];

const RATES: [u32; 3] = [48_000, 44_100, 32_000];

/// Full-range channels by `acmod`.
const CHANNELS: [u8; 8] = [2, 1, 2, 3, 3, 4, 4, 5];

/// The head of a sync frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyncFrame {
    /// Enhanced AC-3.
    pub enhanced: bool,
    /// In Hz.
    pub sample_rate: u32,
    /// All channels, the low-frequency one included.
    pub channels: u8,
    /// There is a low-frequency channel.
    pub lfe: bool,
    /// Bytes of the frame, all of it.
    pub frame_length: usize,
    /// Samples of the frame for each channel: 256 to 1536.
    pub samples: u32,
    /// An Enhanced AC-3 frame that only adds to the one before (dependent substream).
    pub dependent: bool,
}

impl SyncFrame {
    /// Decodes the head of a frame: 6 to 8 bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut r = BitReader::new("AC-3 frame", bytes);
        let sync = r.read(16)?;
        if sync != 0x0b77 {
            return Err(r.invalid("AC-3 sync word", u64::from(sync), 0));
        }
        // The version stands at the same place in both, so that decoders can tell.
        let mut at_version = r.clone();
        at_version.skip(24)?;
        match at_version.read(5)? {
            0..=10 => Self::read_plain(r),
            11..=16 => Self::read_enhanced(r),
            version => Err(r.invalid("AC-3 bit stream version", u64::from(version), 5)),
        }
    }

    fn read_plain(mut r: BitReader<'_>) -> Result<Self, ReadError> {
        r.skip(16)?;
        let rate_code = r.read(2)?;
        let sample_rate = rate(&r, rate_code)?;
        let size_code = r.read(6)?;
        let kbits = BITRATES.get(size_code as usize / 2).copied().map_or(0, u32::from);
        if kbits == 0 {
            return Err(r.invalid("AC-3 frame size code", u64::from(size_code), 4));
        }
        // In words of 16 bits, of which 44.1 kHz alone needs uneven numbers.
        let words = match rate_code {
            0 => kbits.saturating_mul(2),
            1 => (kbits.saturating_mul(320) / 147).saturating_add(size_code & 1),
            _ => kbits.saturating_mul(3),
        };
        r.skip(5)?;
        r.skip(3)?;
        let mode = r.read(3)?;
        if mode & 1 != 0 && mode != 1 {
            r.skip(2)?;
        }
        if mode & 4 != 0 {
            r.skip(2)?;
        }
        if mode == 2 {
            r.skip(2)?;
        }
        let lfe = r.flag()?;
        Ok(Self {
            enhanced: false,
            sample_rate,
            channels: channels(mode, lfe),
            lfe,
            frame_length: words.saturating_mul(2) as usize,
            samples: 1536,
            dependent: false,
        })
    }

    fn read_enhanced(mut r: BitReader<'_>) -> Result<Self, ReadError> {
        let kind = r.read(2)?;
        if kind == 3 {
            return Err(r.invalid("E-AC-3 stream type", 3, 2));
        }
        r.skip(3)?;
        let words = r.read(11)?.saturating_add(1);
        let rate_code = r.read(2)?;
        let (sample_rate, blocks) = if rate_code == 3 {
            // Half rates always have six blocks.
            (rate(&r, r.clone().read(2)?)? / 2, {
                r.skip(2)?;
                6
            })
        } else {
            let blocks = match r.read(2)? {
                0 => 1,
                1 => 2,
                2 => 3,
                _ => 6,
            };
            (rate(&r, rate_code)?, blocks)
        };
        let mode = r.read(3)?;
        let lfe = r.flag()?;
        Ok(Self {
            enhanced: true,
            sample_rate,
            channels: channels(mode, lfe),
            lfe,
            frame_length: words.saturating_mul(2) as usize,
            samples: 256u32.saturating_mul(blocks),
            dependent: kind == 1,
        })
    }
}

fn rate(r: &BitReader<'_>, code: u32) -> Result<u32, ReadError> {
    let reserved = r.invalid("AC-3 sample rate code", u64::from(code), 4);
    RATES.get(code as usize).copied().ok_or(reserved)
}

fn channels(mode: u32, lfe: bool) -> u8 {
    CHANNELS.get(mode as usize).copied().unwrap_or(0).saturating_add(u8::from(lfe))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_of_ffmpeg_are_read() {
        // 5.1 at 384 kbit/s.
        let frame = SyncFrame::decode(&[0x0b, 0x77, 0x1e, 0x8b, 0x1c, 0x40, 0xeb, 0xf8]).unwrap();
        assert_eq!((frame.enhanced, frame.sample_rate, frame.channels), (false, 48_000, 6));
        assert_eq!((frame.frame_length, frame.samples, frame.lfe), (1536, 1536, true));
        // Stereo at 192 kbit/s.
        let frame = SyncFrame::decode(&[0x0b, 0x77, 0x01, 0x7f, 0x34, 0x87, 0xc0, 0x00]).unwrap();
        assert_eq!((frame.enhanced, frame.sample_rate, frame.channels), (true, 48_000, 2));
        assert_eq!((frame.frame_length, frame.samples, frame.lfe), (768, 1536, false));
    }

    #[test]
    fn frame_lengths_at_44100_hz_are_those_of_the_table() {
        for (code, words) in [(0, 69), (1, 70), (8, 139), (20, 417), (21, 418), (37, 1394)] {
            let frame = SyncFrame::decode(&[0x0b, 0x77, 0, 0, 0x40 | code, 0x40, 0x40, 0]).unwrap();
            assert_eq!((frame.sample_rate, frame.frame_length), (44_100, words * 2), "code {code}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [
            &[0x0b, 0x76, 0, 0, 0, 0x40, 0, 0][..],
            &[0x0b, 0x77, 0, 0, 0xc0, 0x40, 0, 0],
            &[0x0b, 0x77, 0, 0, 0x3f, 0x40, 0, 0],
            &[0x0b, 0x77, 0, 0, 0, 0x88, 0, 0],
            &[0x0b, 0x77, 0xc1, 0x7f, 0x34, 0x87, 0, 0],
            &[0x0b, 0x77, 0x01, 0x7f, 0xf4, 0x87, 0, 0],
            &[0x0b, 0x77, 0, 0, 0],
        ] {
            assert!(SyncFrame::decode(bytes).is_err(), "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn every_frame_that_is_read_has_a_length(
            rest in prop::collection::vec(any::<u8>(), 0..10),
        ) {
            let bytes = [&[0x0b, 0x77][..], &rest].concat();
            if let Ok(frame) = SyncFrame::decode(&bytes) {
                prop_assert!((2..=4096).contains(&frame.frame_length));
                prop_assert!((1..=6).contains(&frame.channels));
            }
            let _ = SyncFrame::decode(&rest);
        }
    }
}
