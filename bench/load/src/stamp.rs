//! The mark that a publisher puts into each picture: when it was sent, its number, and a checksum
//! of the picture.
//!
//! It is a supplemental enhancement information message of the kind "user data unregistered"
//! (ITU-T H.264 and H.265, annex D), with a UUID of our own: decoders pass over it, servers carry
//! it like any other unit, and it looks the same behind lengths (RTMP, FLV) and behind start codes
//! (MPEG-TS). All its bytes have the top bit set, so nothing in it is ever taken for a start code
//! and no emulation prevention is needed.
//!
//! The checksum covers the slices alone. Parameter sets and delimiters may be added on the way;
//! MPEG-TS asks for it.

use media::Codec;

/// Ours, and none that has a byte below 0x80.
const UUID: [u8; 16] = [
    0xd1, 0x8e, 0xa7, 0xc4, 0x9b, 0xf2, 0xc5, 0x93, 0xb6, 0xee, 0x8d, 0xf0, 0xa9, 0x97, 0xca, 0xe3,
];

/// `user_data_unregistered`.
const PAYLOAD_TYPE: u8 = 5;
/// Times, numbers and the checksum: 192 bits, seven in a byte.
const FIELDS: usize = 28;
const PAYLOAD: usize = UUID.len() + FIELDS;
/// One-byte header, type, size, payload, trailing bits.
const H264_LEN: usize = PAYLOAD + 4;
/// The same with a header of two bytes.
const H265_LEN: usize = PAYLOAD + 5;

/// What a picture says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds of the machine's monotonic clock, which all its processes share.
    pub sent_ns: u64,
    /// Which picture of its publisher, counted from 0; wraps.
    pub number: u32,
    /// Tells one publisher, and one session of it, from another.
    pub publisher: u32,
    /// [`checksum`] of the picture's slices.
    pub checksum: u64,
}

impl Stamp {
    /// The unit to put before the first slice of the picture, without length or start code.
    /// `None` for codings that have no such messages.
    pub fn encode(&self, codec: Codec) -> Option<Vec<u8>> {
        let mut unit = Vec::with_capacity(H265_LEN);
        match codec {
            Codec::H264 => unit.push(6),
            Codec::H265 => unit.extend_from_slice(&[39 << 1, 1]),
            _ => return None,
        }
        unit.extend_from_slice(&[PAYLOAD_TYPE, PAYLOAD as u8]);
        unit.extend_from_slice(&UUID);
        let words =
            [self.sent_ns, u64::from(self.number) << 32 | u64::from(self.publisher), self.checksum];
        let (mut held, mut bits) = (0u128, 0u32);
        for word in words {
            held = held << 64 | u128::from(word);
            bits += 64;
            while bits >= 7 {
                bits -= 7;
                unit.push((held >> bits) as u8 | 0x80);
                held &= (1 << bits) - 1;
            }
        }
        // Three bits are left of 192.
        unit.push((held << (7 - bits)) as u8 | 0x80);
        unit.push(0x80);
        Some(unit)
    }

    /// Reads one unit, without length or start code; `None` if it is no stamp.
    pub fn decode(unit: &[u8], codec: Codec) -> Option<Self> {
        let payload = match (codec, unit) {
            (Codec::H264, [6, rest @ ..]) if unit.len() >= H264_LEN => rest,
            (Codec::H265, [0x4e, 1, rest @ ..]) if unit.len() >= H265_LEN => rest,
            _ => return None,
        };
        let fields = payload
            .strip_prefix(&[PAYLOAD_TYPE, PAYLOAD as u8])?
            .strip_prefix(&UUID)?
            .first_chunk::<FIELDS>()?;
        let mut words = [0u64; 3];
        let (mut held, mut bits) = (0u128, 0u32);
        let mut next = fields.iter();
        for word in &mut words {
            while bits < 64 {
                let byte = next.next().filter(|byte| **byte & 0x80 != 0)?;
                held = held << 7 | u128::from(byte & 0x7f);
                bits += 7;
            }
            bits -= 64;
            *word = (held >> bits) as u64;
            held &= (1 << bits) - 1;
        }
        let [sent_ns, names, checksum] = words;
        let (number, publisher) = ((names >> 32) as u32, names as u32);
        Some(Self { sent_ns, number, publisher, checksum })
    }
}

/// Whether a unit holds a part of the picture itself.
pub fn is_slice(unit: &[u8], codec: Codec) -> bool {
    let Some(first) = unit.first() else { return false };
    match codec {
        Codec::H264 => matches!(first & 0x1f, 1..=5),
        Codec::H265 => first >> 1 & 0x3f < 32,
        _ => false,
    }
}

/// What stands in a picture: its stamp, if it has one, and the checksum of its slices.
pub fn read<'a>(units: impl Iterator<Item = &'a [u8]>, codec: Codec) -> (Option<Stamp>, u64) {
    let mut stamp = None;
    let mut sum = Sum::default();
    for unit in units {
        if is_slice(unit, codec) {
            sum.add(unit);
        } else if stamp.is_none() {
            stamp = Stamp::decode(unit, codec);
        }
    }
    (stamp, sum.value())
}

/// The checksum of some bytes; see [`Sum`].
pub fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = Sum::default();
    sum.add(bytes);
    sum.value()
}

/// A checksum of parts, which are told apart: eight bytes a step, each step a bijection, so that a
/// change within one word never goes unseen and any other one time in 2^64. It is made for speed
/// and against accidents, not against forgers.
#[derive(Clone, Copy, Debug)]
pub struct Sum(u64);

impl Default for Sum {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Sum {
    /// Adds one part. Zeros at its end do not count: start codes swallow them.
    pub fn add(&mut self, part: &[u8]) {
        let end = part.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let part = part.get(..end).unwrap_or(part);
        let mut sum = self.step(part.len() as u64);
        let (words, rest) = part.as_chunks::<8>();
        for word in words {
            sum = Self(sum).step(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        self.0 = Self(sum).step(u64::from_le_bytes(last));
    }

    /// The checksum of what was added.
    pub const fn value(self) -> u64 {
        self.0
    }

    const fn step(self, word: u64) -> u64 {
        let mixed = (self.0 ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ mixed >> 32
    }
}

#[cfg(test)]
mod tests {
    use media::nal::{AnnexB, put_annex_b};
    use proptest::prelude::*;

    use super::*;

    fn any_stamp() -> impl Strategy<Value = Stamp> {
        (any::<u64>(), any::<u32>(), any::<u32>(), any::<u64>()).prop_map(
            |(sent_ns, number, publisher, checksum)| Stamp { sent_ns, number, publisher, checksum },
        )
    }

    proptest! {
        #[test]
        fn a_stamp_survives_both_ways_of_cutting_units(
            stamp in any_stamp(),
            codec in prop::sample::select(vec![Codec::H264, Codec::H265]),
        ) {
            let unit = stamp.encode(codec).unwrap();
            prop_assert_eq!(Stamp::decode(&unit, codec), Some(stamp));
            let mut annex_b = Vec::new();
            put_annex_b(&unit, &mut annex_b);
            put_annex_b(&[0x65, 0x88], &mut annex_b);
            let (found, _) = read(AnnexB::new(&annex_b), codec);
            prop_assert_eq!(found, Some(stamp));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Stamp::decode(&bytes, Codec::H264);
            let _ = Stamp::decode(&bytes, Codec::H265);
        }

        #[test]
        fn a_turned_bit_shows(
            bytes in prop::collection::vec(1u8.., 1..100), at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut turned = bytes.clone();
            turned[at.index(bytes.len())] ^= 1 << bit;
            prop_assert_ne!(checksum(&bytes), checksum(&turned));
        }
    }

    #[test]
    fn only_slices_count_and_their_borders_do() {
        let one: [&[u8]; 3] = [&[9, 0xf0], &[0x65, 1, 2], &[0x65, 3]];
        let with_sets: [&[u8]; 4] = [&[0x67, 7], &[0x68, 7], &[0x65, 1, 2], &[0x65, 3]];
        let moved: [&[u8]; 2] = [&[0x65, 1], &[0x65, 2, 3]];
        let sum = |units: &[&[u8]]| read(units.iter().copied(), Codec::H264).1;
        assert_eq!(sum(&one), sum(&with_sets));
        assert_ne!(sum(&one), sum(&moved));
    }
}
