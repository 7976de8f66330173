//! Opus: identification header and the table-of-contents byte of a packet.
//!
//! Entry types: [`OpusHead`] and [`Packet`]. Specifications: RFC 7845 section 5.1; RFC 6716
//! section 3.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use bytes::Bytes;

use crate::ReadError;

/// The rate of all Opus timing, in Hz.
pub const SAMPLE_RATE: u32 = 48_000;

/// The longest packet that is allowed, in samples at [`SAMPLE_RATE`]: 120 ms.
const MAX_SAMPLES: u32 = 5_760;

/// The longest frame, in bytes (RFC 6716 §3.2.1).
const MAX_FRAME: usize = 1275;

const MAGIC: &[u8; 8] = b"OpusHead";

/// The `OpusHead` identification header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpusHead {
    /// 1 to 255.
    pub channels: u8,
    /// Samples at [`SAMPLE_RATE`] to leave out at the start.
    pub pre_skip: u16,
    /// Sample rate before encoding in Hz, for information; 0 for not told.
    pub input_rate: u32,
    /// Gain to apply, in 1/256 dB.
    pub gain: i16,
    /// 0 mono or stereo, 1 Vorbis order, 255 none; others.
    pub mapping_family: u8,
}

impl OpusHead {
    /// Decodes a header. The mapping table of other families than 0 is not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        let truncated = ReadError::Truncated { what: "OpusHead", offset: bytes.len() };
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(truncated)?;
        if magic != MAGIC {
            let value = u64::from_be_bytes(*magic);
            return Err(ReadError::Invalid { what: "OpusHead magic", value, offset: 0 });
        }
        let &[version, channels, p0, p1, r0, r1, r2, r3, g0, g1, mapping_family] =
            rest.first_chunk::<11>().ok_or(truncated)?;
        // The upper half is the major version, which must be 0.
        if version > 15 {
            let value = u64::from(version);
            return Err(ReadError::Invalid { what: "OpusHead version", value, offset: 8 });
        }
        if channels == 0 || mapping_family == 0 && channels > 2 {
            let value = u64::from(channels);
            return Err(ReadError::Invalid { what: "Opus channels", value, offset: 9 });
        }
        Ok(Self {
            channels,
            pre_skip: u16::from_le_bytes([p0, p1]),
            input_rate: u32::from_le_bytes([r0, r1, r2, r3]),
            gain: i16::from_le_bytes([g0, g1]),
            mapping_family,
        })
    }

    /// The header's bytes, for mapping family 0; `None` for others, which need a table.
    pub fn encode(&self) -> Option<[u8; 19]> {
        if self.mapping_family != 0 || !matches!(self.channels, 1 | 2) {
            return None;
        }
        let [p0, p1] = self.pre_skip.to_le_bytes();
        let [r0, r1, r2, r3] = self.input_rate.to_le_bytes();
        let [g0, g1] = self.gain.to_le_bytes();
        let [m0, m1, m2, m3, m4, m5, m6, m7] = *MAGIC;
        Some([m0, m1, m2, m3, m4, m5, m6, m7, 1, self.channels, p0, p1, r0, r1, r2, r3, g0, g1, 0])
    }
}

/// What the head of a packet tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// 1 or 2.
    pub channels: u8,
    /// Frames in the packet, 1 to 48.
    pub frames: u8,
    /// Samples of the packet at [`SAMPLE_RATE`], 120 to 5,760.
    pub samples: u32,
}

impl Packet {
    /// Decodes the table-of-contents byte and, where it has one, the frame count behind it.
    pub fn decode(packet: &[u8]) -> Result<Self, ReadError> {
        let truncated = ReadError::Truncated { what: "Opus packet", offset: packet.len() };
        let &toc = packet.first().ok_or(truncated)?;
        let config = toc >> 3;
        let per_frame: u32 = match config {
            0..=11 => match config & 3 {
                0 => 480,
                1 => 960,
                2 => 1920,
                _ => 2880,
            },
            12..=15 => {
                if config & 1 == 0 {
                    480
                } else {
                    960
                }
            }
            _ => 120 << (config & 3),
        };
        let frames = match toc & 3 {
            0 => 1,
            1 | 2 => 2,
            _ => packet.get(1).ok_or(truncated)? & 0x3f,
        };
        let samples = per_frame.saturating_mul(u32::from(frames));
        if samples == 0 || samples > MAX_SAMPLES {
            let value = u64::from(frames);
            return Err(ReadError::Invalid { what: "Opus frame count", value, offset: 1 });
        }
        Ok(Self { channels: if toc & 4 == 0 { 1 } else { 2 }, frames, samples })
    }
}

/// Puts two packets of one frame each into one packet (RFC 6716 §3.2.3 and §3.2.4). `None` when they
/// are not of one kind, or hold more than one frame already, or are empty: then they stay two.
/// One allocation.
pub fn join(first: &[u8], second: &[u8]) -> Option<Bytes> {
    let (toc, one) = first.split_first()?;
    let (same, two) = second.split_first()?;
    if toc != same || toc & 3 != 0 || one.len() > MAX_FRAME || two.len() > MAX_FRAME {
        return None;
    }
    let mut both = Vec::with_capacity(first.len().saturating_add(second.len()).saturating_add(2));
    if one.len() == two.len() {
        both.push(toc | 1);
    } else {
        both.push(toc | 2);
        // Lengths of 252 and more take two bytes: the low two bits, and the rest in fours.
        match u8::try_from(one.len()).ok().filter(|len| *len < 252) {
            Some(len) => both.push(len),
            None => {
                let low = u8::try_from(one.len() & 3).unwrap_or(0);
                let fours = one.len().checked_sub(252_usize.saturating_add(usize::from(low)))? / 4;
                both.push(252_u8.saturating_add(low));
                both.push(u8::try_from(fours).ok()?);
            }
        }
    }
    both.extend_from_slice(one);
    both.extend_from_slice(two);
    Some(both.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// libopus, stereo.
    const HEAD: [u8; 19] = [
        0x4f, 0x70, 0x75, 0x73, 0x48, 0x65, 0x61, 0x64, 0x01, 0x02, 0x38, 0x01, 0x80, 0xbb, 0x00,
        0x00, 0x00, 0x00, 0x00,
    ];

    #[test]
    fn the_head_of_libopus_is_read() {
        let head = OpusHead::decode(&HEAD).unwrap();
        assert_eq!((head.channels, head.pre_skip, head.input_rate), (2, 312, 48_000));
        assert_eq!(head.encode(), Some(HEAD));
        for end in 0..HEAD.len() {
            assert!(OpusHead::decode(&HEAD[..end]).is_err());
        }
    }

    #[test]
    fn two_packets_become_one_that_lasts_as_long() {
        let packet = |len: usize, fill: u8| [vec![0xfc], vec![fill; len]].concat();
        for (one, two) in [(120, 120), (100, 120), (251, 3), (252, 3), (1275, 1), (0, 7)] {
            let (a, b) = (packet(one, 1), packet(two, 2));
            let both = join(&a, &b).unwrap();
            assert_eq!(Packet::decode(&both).unwrap().samples, 1920);
            assert!(both.ends_with(&b[1..]));
            let head = both.len() - one - two;
            assert_eq!(&both[head..head + one], &a[1..]);
            if one != two {
                let len = match both[1] {
                    len @ ..252 => usize::from(len),
                    len => usize::from(len) + 4 * usize::from(both[2]),
                };
                assert_eq!(len, one);
            }
        }
        assert_eq!(join(&packet(9, 1), &[0x78, 1]), None, "of another kind");
        assert_eq!(join(&[0xfd, 1, 2], &[0xfd, 1, 2]), None, "two frames already");
        assert_eq!(join(&[], &[0xfc]), None);
    }

    #[test]
    fn heads_that_promise_the_impossible_are_refused() {
        for (at, value) in [(0, b'o'), (8, 0x10), (9, 0), (9, 3)] {
            let mut head = HEAD;
            head[at] = value;
            assert!(OpusHead::decode(&head).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_duration_of_a_packet_follows_its_first_bytes() {
        let told = |bytes: &[u8]| Packet::decode(bytes).map(|p| (p.samples, p.channels)).ok();
        assert_eq!(told(&[0xfc, 1]), Some((960, 2)), "CELT, 20 ms");
        assert_eq!(told(&[0xe0]), Some((120, 1)), "CELT, 2.5 ms");
        assert_eq!(told(&[0x18]), Some((2880, 1)), "SILK, 60 ms");
        assert_eq!(told(&[0x79]), Some((1920, 1)), "hybrid, twice 20 ms");
        assert_eq!(told(&[0xfb, 6]), Some((5760, 1)), "CELT, six times 20 ms");
        assert_eq!(told(&[0xfb, 7]), None, "more than 120 ms");
        assert_eq!(told(&[0xfb, 0]), None);
        assert_eq!(told(&[0xfb]), None);
        assert_eq!(told(&[]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_decoders(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
            let _ = OpusHead::decode(&bytes);
            let _ = Packet::decode(&bytes);
        }

        #[test]
        fn heads_survive_a_round_trip(
            channels in 1u8..3, pre_skip in any::<u16>(), input_rate in any::<u32>(),
            gain in any::<i16>(),
        ) {
            let head = OpusHead { channels, pre_skip, input_rate, gain, mapping_family: 0 };
            prop_assert_eq!(OpusHead::decode(&head.encode().unwrap()), Ok(head));
        }
    }
}
