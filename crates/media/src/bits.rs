//! Reading bits: the ground under all codec headers.
//!
//! [`BitReader`] checks every step against the end of its bytes. [`rbsp`] takes emulation
//! prevention out of the head of a NAL unit. Not meant for slice data: headers are short, and
//! so the reader is simple rather than fast.
//!
//! Specifications: ITU-T H.264 sections 7.2, 7.4.1 and 9.1; the same in ITU-T H.265.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use smallvec::SmallVec;

use crate::ReadError;

/// How much of a NAL unit is unescaped for reading, in bytes.
///
/// The longest sequence parameter set that encoders write (all scaling lists, HRD and VUI) has
/// about 1 kB. At half, exotic sets fit still; doubling only costs time on hostile input.
pub const RBSP_LIMIT: usize = 4096;

/// The head of a NAL unit without emulation prevention.
pub type Rbsp = SmallVec<[u8; 128]>;

/// The first [`RBSP_LIMIT`] bytes of a NAL unit with `00 00 03` turned into `00 00`.
///
/// Copies; allocates when more than 128 bytes come out.
pub fn rbsp(nal: &[u8]) -> Rbsp {
    let mut out = Rbsp::new();
    let mut zeros = 0u8;
    for &byte in nal.iter().take(RBSP_LIMIT) {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros.saturating_add(1) } else { 0 };
        out.push(byte);
    }
    out
}

/// Reads big-endian bit fields and never beyond its bytes.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    /// In bits; at most eight times the length of `bytes`.
    position: usize,
}

impl<'a> BitReader<'a> {
    /// At the first bit of `bytes`; `what` names the structure in errors.
    pub const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, position: 0 }
    }

    /// The byte in which the next bit lies.
    pub const fn offset(&self) -> usize {
        self.position / 8
    }

    /// Bits not read yet.
    pub const fn remaining(&self) -> usize {
        self.bytes.len().saturating_mul(8).saturating_sub(self.position)
    }

    /// The next `count` bits, at most 32.
    pub fn read(&mut self, count: u32) -> Result<u32, ReadError> {
        let count = count.min(32);
        let end = self.end_of(count as usize)?;
        let last = end.div_ceil(8);
        let mut value = 0u64;
        for &byte in self.bytes.get(self.offset()..last).unwrap_or_default() {
            value = value << 8 | u64::from(byte);
        }
        self.position = end;
        let spare = last.saturating_mul(8).saturating_sub(end);
        let mask = (1u64 << count).wrapping_sub(1);
        Ok((value >> spare & mask) as u32)
    }

    /// The next `count` bits, at most 8, as a byte.
    pub fn read_u8(&mut self, count: u32) -> Result<u8, ReadError> {
        Ok(self.read(count.min(8))? as u8)
    }

    /// The next bit.
    pub fn flag(&mut self) -> Result<bool, ReadError> {
        Ok(self.read(1)? != 0)
    }

    /// Leaves out `count` bits.
    pub fn skip(&mut self, count: usize) -> Result<(), ReadError> {
        self.position = self.end_of(count)?;
        Ok(())
    }

    /// An unsigned Exp-Golomb number; more than 32 bits are refused.
    pub fn ue(&mut self) -> Result<u32, ReadError> {
        let start = self.offset();
        let mut zeros = 0u32;
        while !self.flag()? {
            zeros = zeros.saturating_add(1);
            if zeros > 31 {
                return Err(self.invalid("Exp-Golomb length", u64::from(zeros), start));
            }
        }
        let base = (1u32 << zeros).wrapping_sub(1);
        Ok(base.saturating_add(self.read(zeros)?))
    }

    /// An unsigned Exp-Golomb number that may not exceed `max`; `what` names it in the error.
    pub fn ue_to(&mut self, what: &'static str, max: u32) -> Result<u32, ReadError> {
        let start = self.offset();
        let value = self.ue()?;
        if value > max { Err(self.invalid(what, u64::from(value), start)) } else { Ok(value) }
    }

    /// A signed Exp-Golomb number.
    pub fn se(&mut self) -> Result<i32, ReadError> {
        let code = self.ue()?;
        let half = (code / 2) as i32;
        Ok(if code % 2 == 1 { half.saturating_add(1) } else { half.saturating_neg() })
    }

    /// The error for a bad value read at byte `offset`.
    pub const fn invalid(&self, what: &'static str, value: u64, offset: usize) -> ReadError {
        ReadError::Invalid { what, value, offset }
    }

    fn end_of(&self, count: usize) -> Result<usize, ReadError> {
        if count > self.remaining() {
            return Err(ReadError::Truncated { what: self.what, offset: self.bytes.len() });
        }
        Ok(self.position.saturating_add(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_cross_byte_borders() {
        let mut r = BitReader::new("test", &[0b1010_0101, 0xff, 0x00, 0x12, 0x34, 0x56]);
        assert_eq!(r.read(3), Ok(0b101));
        assert_eq!(r.read(9), Ok(0b0_0101_1111));
        assert_eq!(r.read(32), Ok(0xf001_2345));
        assert_eq!(r.remaining(), 4);
        assert_eq!(r.read(5), Err(ReadError::Truncated { what: "test", offset: 6 }));
        assert_eq!(r.read(4), Ok(6));
        assert_eq!(r.read(0), Ok(0));
    }

    #[test]
    fn exp_golomb_follows_the_table_of_the_standard() {
        // 1 010 011 00100 00111
        let mut r = BitReader::new("test", &[0b1010_0110, 0b0100_0011, 0b1000_0000]);
        assert_eq!([r.ue(), r.ue(), r.ue(), r.ue(), r.ue()], [Ok(0), Ok(1), Ok(2), Ok(3), Ok(6)]);
        let mut r = BitReader::new("test", &[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        assert_eq!([r.se(), r.se(), r.se(), r.se(), r.se()], [Ok(0), Ok(1), Ok(-1), Ok(2), Ok(-2)]);
    }

    #[test]
    fn endless_zeros_are_refused() {
        assert!(matches!(
            BitReader::new("test", &[0; 16]).ue(),
            Err(ReadError::Invalid { value: 32, .. })
        ));
        assert!(matches!(BitReader::new("test", &[0; 2]).ue(), Err(ReadError::Truncated { .. })));
        assert!(BitReader::new("test", &[0b0010_0000]).ue_to("number", 2).is_err());
    }

    #[test]
    fn emulation_prevention_is_taken_out_and_bounded() {
        assert_eq!(rbsp(&[0, 0, 3, 0, 0, 3, 1, 3, 0, 3]).as_slice(), [0, 0, 0, 0, 1, 3, 0, 3]);
        assert_eq!(rbsp(&[0, 0, 0, 3, 7]).as_slice(), [0, 0, 0, 7]);
        assert_eq!(rbsp(&vec![1; 1 << 20]).len(), RBSP_LIMIT);
    }

    proptest! {
        #[test]
        fn any_reading_plan_ends_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            plan in prop::collection::vec(0u32..70, 0..40),
        ) {
            let mut r = BitReader::new("test", &bytes);
            for n in plan {
                let _ = match n {
                    0..40 => r.read(n).map(|_| ()),
                    40..50 => r.ue().map(|_| ()),
                    50..60 => r.se().map(|_| ()),
                    _ => r.skip(n as usize),
                };
            }
            rbsp(&bytes);
        }

        #[test]
        fn bits_come_out_as_they_went_in(value in any::<u64>(), cut in 0u32..=32) {
            let bytes = value.to_be_bytes();
            let mut r = BitReader::new("test", &bytes);
            let high = u64::from(r.read(cut).unwrap());
            let mid = u64::from(r.read(32).unwrap());
            let low = u64::from(r.read(32 - cut).unwrap());
            prop_assert_eq!(high << (64 - cut).min(63) >> u32::from(cut == 0) | mid << (32 - cut) | low, value);
        }
    }
}
