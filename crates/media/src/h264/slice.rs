//! The head of a slice: where it begins and of what type it is.
//!
//! Specification: ITU-T H.264 section 7.3.3, table 7-6.

use super::NalType;
use crate::ReadError;
use crate::bits::{BitReader, rbsp};

/// Bytes of a unit that are looked at: two Exp-Golomb numbers of at most 63 bits each, the unit's
/// header, and emulation prevention between them. At half, a damaged but legal number would not
/// be read; more would only be copied in vain.
const HEAD: usize = 24;

/// What a slice predicts from (table 7-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SliceType {
    /// From one picture at a time.
    P,
    /// From two, which may lie in the future.
    B,
    /// From itself alone.
    I,
    /// As P, for switching between streams.
    Sp,
    /// As I, for switching between streams.
    Si,
}

/// The first two fields of a slice header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SliceHead {
    /// `first_mb_in_slice`: 0 at the first slice of a picture or field.
    pub first_mb: u32,
    /// `slice_type`.
    pub slice_type: SliceType,
}

impl SliceHead {
    /// Decodes the head of a slice, of data partition A too. Reads no more than 24 bytes and
    /// allocates nothing.
    pub fn decode(unit: &[u8]) -> Result<Self, ReadError> {
        let first = unit.first().map_or(0, |byte| byte & 0x1f);
        if !matches!(first, 1 | 2 | 5) {
            let value = u64::from(first);
            return Err(ReadError::Invalid { what: "NAL type of a slice", value, offset: 0 });
        }
        let head = rbsp(unit.get(..HEAD).unwrap_or(unit));
        let mut r = BitReader::new("slice header", &head);
        r.skip(8)?;
        let first_mb = r.ue()?;
        let slice_type = match r.ue_to("slice type", 9)? % 5 {
            0 => SliceType::P,
            1 => SliceType::B,
            2 => SliceType::I,
            3 => SliceType::Sp,
            _ => SliceType::Si,
        };
        Ok(Self { first_mb, slice_type })
    }
}

/// The unit is a slice that may predict from the future. False when it is damaged or no slice.
pub fn is_b_slice(unit: &[u8]) -> bool {
    matches!(NalType::of(unit), NalType::Slice | NalType::Partition)
        && SliceHead::decode(unit).is_ok_and(|head| head.slice_type == SliceType::B)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A slice's head: header, `first_mb` and `slice_type` as Exp-Golomb, and rubbish behind.
    fn slice(first_mb: u32, slice_type: u32) -> Vec<u8> {
        let mut bits = vec![];
        for value in [first_mb, slice_type] {
            let code = u64::from(value) + 1;
            let length = 64 - code.leading_zeros();
            bits.extend(std::iter::repeat_n(0u8, length as usize - 1));
            bits.extend((0..length).rev().map(|bit| (code >> bit & 1) as u8));
        }
        bits.resize(bits.len().next_multiple_of(8), 1);
        let mut unit = vec![0x41];
        let mut zeros = 0;
        for byte in bits.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)) {
            if zeros >= 2 && byte <= 3 {
                unit.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            unit.push(byte);
        }
        unit
    }

    #[test]
    fn slices_of_x264_tell_their_type() {
        // IDR, P and B of `libx264 -bf 2`.
        let of = |unit: &[u8]| SliceHead::decode(unit).unwrap();
        assert_eq!(of(&[0x65, 0x88, 0x84]), SliceHead { first_mb: 0, slice_type: SliceType::I });
        assert_eq!(of(&[0x41, 0x9a, 0x24]), SliceHead { first_mb: 0, slice_type: SliceType::P });
        assert_eq!(of(&[0x01, 0x9e, 0x41]), SliceHead { first_mb: 0, slice_type: SliceType::B });
        assert!(is_b_slice(&[0x01, 0x9e, 0x41]));
        assert!(!is_b_slice(&[0x65, 0x9e, 0x41]), "an IDR picture is never B");
        assert!(!is_b_slice(&[0x06, 0x9e, 0x41]));
    }

    #[test]
    fn numbers_behind_emulation_prevention_are_read() {
        let unit = slice(1 << 24, 6);
        assert!(unit.windows(3).any(|three| three == [0, 0, 3]), "{unit:x?}");
        let head = SliceHead { first_mb: 1 << 24, slice_type: SliceType::B };
        assert_eq!(SliceHead::decode(&unit), Ok(head));
    }

    #[test]
    fn what_is_no_slice_or_too_short_is_refused() {
        assert!(SliceHead::decode(&[]).is_err());
        assert!(SliceHead::decode(&[0x41]).is_err());
        assert!(SliceHead::decode(&[0x67, 0x88]).is_err());
        assert!(SliceHead::decode(&slice(0, 10)).is_err());
    }

    proptest! {
        #[test]
        fn any_head_is_read_back(first_mb in 0u32..(1 << 30), slice_type in 0u32..10) {
            let head = SliceHead::decode(&slice(first_mb, slice_type)).unwrap();
            prop_assert_eq!(head.first_mb, first_mb);
            prop_assert_eq!(head.slice_type == SliceType::B, slice_type % 5 == 1);
        }

        #[test]
        fn no_bytes_upset_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = SliceHead::decode(&bytes);
            is_b_slice(&bytes);
        }
    }
}
