//! The head of a slice, and what of a picture parameter set it takes to read it.
//!
//! Specification: ITU-T H.265 sections 7.3.2.3.1 and 7.3.6.1, table 7-7.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use super::NalType;
use crate::ReadError;
use crate::bits::{BitReader, rbsp};

/// Bytes of a unit that are looked at: the header, two Exp-Golomb numbers and single bits. At
/// half, a legal head with emulation prevention would not be read.
const HEAD: usize = 24;

/// What a slice predicts from (table 7-7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SliceType {
    /// From two pictures, which may lie in the future. Low-delay encoders write such slices, too,
    /// and refer to the past alone.
    B,
    /// From one picture at a time.
    P,
    /// From itself alone.
    I,
}

/// The head of a picture parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PpsHead {
    /// Its number, 0 to 63.
    pub id: u8,
    /// `num_extra_slice_header_bits`, 0 to 7.
    pub extra_slice_bits: u8,
}

impl PpsHead {
    /// Decodes the head of a unit. Reads no more than 24 bytes and allocates nothing.
    pub fn decode(unit: &[u8]) -> Result<Self, ReadError> {
        let head = rbsp(unit.get(..HEAD).unwrap_or(unit));
        let mut r = BitReader::new("PPS", &head);
        r.skip(16)?;
        let id = r.ue_to("PPS id", 63)? as u8;
        r.ue_to("SPS id", 15)?;
        r.skip(2)?;
        Ok(Self { id, extra_slice_bits: r.read_u8(3)? })
    }
}

/// The head of a slice segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SliceHead {
    /// `first_slice_segment_in_pic_flag`.
    pub first: bool,
    /// The picture parameter set it refers to, 0 to 63.
    pub pps: u8,
    /// `slice_type`; only the first segment of a picture tells without a sequence parameter set.
    pub slice_type: Option<SliceType>,
}

impl SliceHead {
    /// Decodes the head of a slice segment; `extra_bits` tells
    /// [`PpsHead::extra_slice_bits`] of a picture parameter set by its number. Reads no more than
    /// 24 bytes and allocates nothing.
    pub fn decode(unit: &[u8], extra_bits: impl FnOnce(u8) -> u8) -> Result<Self, ReadError> {
        let kind = NalType::of(unit);
        if !kind.is_slice() {
            let value = u64::from(kind.number());
            return Err(ReadError::Invalid { what: "NAL type of a slice", value, offset: 0 });
        }
        let head = rbsp(unit.get(..HEAD).unwrap_or(unit));
        let mut r = BitReader::new("slice header", &head);
        r.skip(16)?;
        let first = r.flag()?;
        if matches!(kind, NalType::Irap(_)) {
            r.skip(1)?;
        }
        let pps = r.ue_to("PPS id", 63)? as u8;
        if !first {
            return Ok(Self { first, pps, slice_type: None });
        }
        r.skip(usize::from(extra_bits(pps)))?;
        let slice_type = Some(match r.ue_to("slice type", 2)? {
            0 => SliceType::B,
            1 => SliceType::P,
            _ => SliceType::I,
        });
        Ok(Self { first, pps, slice_type })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slices_of_x265_tell_their_type() {
        let of = |unit: &[u8]| SliceHead::decode(unit, |_| 0).unwrap().slice_type;
        assert_eq!(of(&[0x26, 0x01, 0xaf, 0x1d]), Some(SliceType::I), "IDR_W_RADL");
        assert_eq!(of(&[0x02, 0x01, 0xd0, 0x97]), Some(SliceType::P), "TRAIL_R");
        assert_eq!(of(&[0x00, 0x01, 0xe0, 0x24]), Some(SliceType::B), "TRAIL_N");
        assert_eq!(of(&[0x02, 0x01, 0x50, 0x97]), None, "not the first segment");
    }

    #[test]
    fn extra_bits_that_the_parameter_set_tells_are_left_out() {
        // First segment, PPS 1 (010), two extra bits, then B (1).
        let unit = [0x02, 0x01, 0b1010_1110];
        let head = SliceHead::decode(&unit, |pps| if pps == 1 { 2 } else { 0 }).unwrap();
        assert_eq!(head, SliceHead { first: true, pps: 1, slice_type: Some(SliceType::B) });
        // PPS 1 (010) of SPS 0 (1), two flags, two extra bits.
        let pps = PpsHead::decode(&[0x44, 0x01, 0b0101_0001, 0b0000_0000]).unwrap();
        assert_eq!(pps, PpsHead { id: 1, extra_slice_bits: 2 });
        let pps = PpsHead::decode(&[0x44, 0x01, 0xc1, 0x72, 0xb4]).unwrap();
        assert_eq!(pps, PpsHead { id: 0, extra_slice_bits: 0 }, "of x265");
    }

    #[test]
    fn what_is_no_slice_or_too_short_is_refused() {
        assert!(SliceHead::decode(&[], |_| 0).is_err());
        assert!(SliceHead::decode(&[0x02, 0x01], |_| 0).is_err());
        assert!(SliceHead::decode(&[0x42, 0x01, 0xd0], |_| 0).is_err());
        assert!(PpsHead::decode(&[0x44, 0x01]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_readers(
            bytes in prop::collection::vec(any::<u8>(), 0..40), extra in any::<u8>(),
        ) {
            let _ = SliceHead::decode(&bytes, |_| extra);
            let _ = PpsHead::decode(&bytes);
        }
    }
}
