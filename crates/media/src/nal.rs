//! NAL units: how H.264 and H.265 cut their streams, and the change between the two ways.
//!
//! Inside, units lie behind their length (ISO/IEC 14496-15 section 5.3); on the wire of
//! MPEG-TS and of many encoders they lie behind start codes (ITU-T H.264 annex B). Both are
//! iterated in place, without a copy.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use bytes::BufMut;

use crate::ReadError;

/// How many NAL units an access unit may have before iteration stops.
///
/// Real ones have one per slice and a handful of others; encoders with a slice per row of
/// macroblocks reach 270 at 4320 lines. At half those would break.
pub const MAX_UNITS: usize = 512;

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Iterates over units behind big-endian lengths of 1, 2, 3 or 4 bytes. Empty units are left out.
///
/// Yields one error and then ends when a length exceeds what is there, when the length size is
/// another, or beyond [`MAX_UNITS`].
#[derive(Clone, Debug)]
pub struct LengthPrefixed<'a> {
    bytes: &'a [u8],
    offset: usize,
    length_size: u8,
    units: usize,
}

impl<'a> LengthPrefixed<'a> {
    /// Over one access unit.
    pub const fn new(bytes: &'a [u8], length_size: u8) -> Self {
        Self { bytes, offset: 0, length_size, units: 0 }
    }

    fn cut(&mut self) -> Result<&'a [u8], ReadError> {
        let size = usize::from(self.length_size);
        let offset = self.offset;
        if !(1..=4).contains(&size) {
            let value = u64::from(self.length_size);
            return Err(ReadError::Invalid { what: "NAL length size", value, offset });
        }
        let truncated = ReadError::Truncated { what: "NAL length", offset };
        let (prefix, rest) = self.bytes.split_at_checked(size).ok_or(truncated)?;
        let length = prefix.iter().fold(0usize, |n, &byte| n << 8 | usize::from(byte));
        let too_long = ReadError::Invalid { what: "NAL length", value: length as u64, offset };
        let (unit, rest) = rest.split_at_checked(length).ok_or(too_long)?;
        self.bytes = rest;
        self.offset = offset.saturating_add(size).saturating_add(length);
        self.units = self.units.saturating_add(1);
        if self.units > MAX_UNITS {
            let value = self.units as u64;
            return Err(ReadError::Invalid { what: "number of NAL units", value, offset });
        }
        Ok(unit)
    }
}

impl<'a> Iterator for LengthPrefixed<'a> {
    type Item = Result<&'a [u8], ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.bytes.is_empty() {
            match self.cut() {
                Ok([]) => {}
                Ok(unit) => return Some(Ok(unit)),
                Err(error) => {
                    self.bytes = &[];
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// Iterates over units behind start codes `00 00 01`. Bytes before the first start code, zeros
/// behind units, and empty units are left out; ends after [`MAX_UNITS`].
///
/// Cost: one pass, three bytes a step where the picture data allow it.
#[derive(Clone, Debug)]
pub struct AnnexB<'a> {
    /// What follows the next unit's start code.
    rest: Option<&'a [u8]>,
    units: usize,
}

impl<'a> AnnexB<'a> {
    /// Over one access unit or any longer piece of an elementary stream.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: split_at_start_code(bytes).1, units: 0 }
    }
}

impl<'a> Iterator for AnnexB<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(rest) = self.rest {
            let (unit, after) = split_at_start_code(rest);
            self.rest = after;
            let end =
                unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last.saturating_add(1));
            let Some(unit) = unit.get(..end).filter(|unit| !unit.is_empty()) else { continue };
            self.units = self.units.saturating_add(1);
            if self.units >= MAX_UNITS {
                self.rest = None;
            }
            return Some(unit);
        }
        None
    }
}

/// What is before the first `00 00 01`, and, if there is one, what is behind it.
fn split_at_start_code(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut at = 0usize;
    while let Some(&[a, b, c]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<3>()) {
        if c > 1 {
            at = at.saturating_add(3);
        } else if (a, b, c) == (0, 0, 1) {
            let (unit, rest) = bytes.split_at(at);
            return (unit, rest.get(3..));
        } else {
            at = at.saturating_add(1);
        }
    }
    (bytes, None)
}

/// Whether these bytes begin with a start code, as an access unit in Annex B form does.
///
/// An access unit behind four-byte lengths looks so only if its first unit has one byte, which
/// none has.
pub fn is_annex_b(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0, 0, 1]) || bytes.starts_with(&START_CODE)
}

/// Appends the units of `annex_b` behind four-byte lengths. Copies the media once.
pub fn to_length_prefixed(annex_b: &[u8], out: &mut impl BufMut) {
    for unit in AnnexB::new(annex_b) {
        // A unit of 4 GiB cannot come: messages are limited far below.
        out.put_u32(u32::try_from(unit.len()).unwrap_or(u32::MAX));
        out.put_slice(unit);
    }
}

/// Appends the units of `bytes`, which lie behind lengths, behind four-byte start codes. Copies
/// the media once. On an error the units before the fault have been appended.
pub fn to_annex_b(bytes: &[u8], length_size: u8, out: &mut impl BufMut) -> Result<(), ReadError> {
    for unit in LengthPrefixed::new(bytes, length_size) {
        put_annex_b(unit?, out);
    }
    Ok(())
}

/// Appends one unit behind a four-byte start code.
pub fn put_annex_b(unit: &[u8], out: &mut impl BufMut) {
    out.put_slice(&START_CODE);
    out.put_slice(unit);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn annex_b_is_cut_at_start_codes_of_both_lengths() {
        let bytes =
            [9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 0, 0, 0, 0, 1, 0, 0, 1, 0x65, 0, 0, 2, 0];
        let units: Vec<_> = AnnexB::new(&bytes).collect();
        assert_eq!(units, [&[0x67, 1][..], &[0x68], &[0x65, 0, 0, 2]]);
        assert_eq!(AnnexB::new(&[1, 2, 3]).next(), None);
        assert_eq!(AnnexB::new(&[0, 0, 1]).next(), None);
    }

    #[test]
    fn lengths_of_every_size_are_read() {
        for (size, bytes) in [
            (1u8, &[2, 7, 8, 0, 1, 9][..]),
            (2, &[0, 2, 7, 8, 0, 0, 0, 1, 9]),
            (4, &[0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 1, 9]),
        ] {
            let units: Result<Vec<_>, _> = LengthPrefixed::new(bytes, size).collect();
            assert_eq!(units, Ok(vec![&[7, 8][..], &[9]]), "size {size}");
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_one_error_and_the_end() {
        let mut units = LengthPrefixed::new(&[0, 1, 5, 0, 9, 5], 2);
        assert_eq!(units.next(), Some(Ok(&[5][..])));
        let error = ReadError::Invalid { what: "NAL length", value: 9, offset: 3 };
        assert_eq!(units.next(), Some(Err(error)));
        assert_eq!(units.next(), None);
        assert!(matches!(LengthPrefixed::new(&[0], 2).next(), Some(Err(_))));
        assert!(matches!(LengthPrefixed::new(&[0], 0).next(), Some(Err(_))));
    }

    #[test]
    fn more_units_than_any_picture_has_are_refused() {
        let bytes = [1, 7].repeat(MAX_UNITS + 5);
        assert!(LengthPrefixed::new(&bytes, 1).any(|unit| unit.is_err()));
        let bytes = [0, 0, 1, 7].repeat(MAX_UNITS + 5);
        assert_eq!(AnnexB::new(&bytes).count(), MAX_UNITS);
    }

    proptest! {
        #[test]
        fn units_survive_the_way_there_and_back(
            units in prop::collection::vec(prop::collection::vec(4u8.., 1..50), 0..20),
        ) {
            let mut annex_b = Vec::new();
            for unit in &units {
                put_annex_b(unit, &mut annex_b);
            }
            let mut prefixed = bytes::BytesMut::new();
            to_length_prefixed(&annex_b, &mut prefixed);
            let read: Result<Vec<_>, _> = LengthPrefixed::new(&prefixed, 4).collect();
            prop_assert_eq!(read.unwrap(), units.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let mut back = Vec::new();
            to_annex_b(&prefixed, 4, &mut back).unwrap();
            prop_assert_eq!(back, annex_b);
        }

        #[test]
        fn the_cut_agrees_with_a_slow_search(bytes in prop::collection::vec(0u8..3, 0..80)) {
            let slow = bytes.windows(3).position(|w| w == [0, 0, 1]);
            let (before, after) = split_at_start_code(&bytes);
            prop_assert_eq!(after.map(|_| before.len()), slow);
        }

        #[test]
        fn any_bytes_can_be_iterated(
            bytes in prop::collection::vec(any::<u8>(), 0..200), size in 0u8..6,
        ) {
            let mut out = Vec::new();
            let _ = to_annex_b(&bytes, size, &mut out);
            to_length_prefixed(&bytes, &mut out);
        }
    }
}
