//! NAL units that came in Annex B form where FLV wants lengths.

use bytes::Bytes;

use super::Error;

/// Whether `data` is in Annex B form (ITU-T H.264 annex B) and not length-prefixed.
///
/// A start code is also a length: `00 00 00 01` is 1, and `00 00 01 65` is 357, which small
/// frames have. So lengths are believed when they lead exactly to the end. Reads four
/// bytes of ordinary frames, and the lengths of those that begin like a start code.
pub(super) fn is_annex_b(data: &[u8], length_size: u8) -> bool {
    (data.starts_with(&[0, 0, 1]) || data.starts_with(&[0, 0, 0, 1]))
        && !lengths_add_up(data, length_size)
}

fn lengths_add_up(mut data: &[u8], length_size: u8) -> bool {
    while !data.is_empty() {
        let Some((length, rest)) = data.split_at_checked(usize::from(length_size)) else {
            return false;
        };
        let length = length.iter().fold(0usize, |sum, &byte| (sum << 8) | usize::from(byte));
        match rest.get(length..) {
            Some(rest) => data = rest,
            None => return false,
        }
    }
    true
}

/// Copies the NAL units of an Annex B access unit behind big-endian lengths of `length_size`
/// bytes. Empty units and the zero bytes between them are left out.
pub(super) fn to_lengths(data: &[u8], length_size: u8) -> Result<Bytes, Error> {
    // Three-byte start codes grow by one byte each; a few are usual.
    let mut out = Vec::with_capacity(data.len().saturating_add(16));
    let mut rest = after_start_code(data);
    while let Some(from) = rest {
        let end = find_start_code(from);
        let unit = trim_zeros(from.get(..end).unwrap_or(from));
        if !unit.is_empty() {
            push_length(unit.len(), length_size, &mut out)?;
            out.extend_from_slice(unit);
        }
        rest = from.get(end..).and_then(after_start_code);
    }
    Ok(out.into())
}

fn push_length(len: usize, length_size: u8, out: &mut Vec<u8>) -> Result<(), Error> {
    let too_long = Error::NalTooLong { len, length_size };
    let bytes = u32::try_from(len).map_err(|_| too_long)?.to_be_bytes();
    let skip = bytes.len().saturating_sub(usize::from(length_size));
    let (high, low) = bytes.split_at_checked(skip).ok_or(too_long)?;
    if high.iter().any(|&byte| byte != 0) {
        return Err(too_long);
    }
    out.extend_from_slice(low);
    Ok(())
}

/// What follows the first `00 00 01`.
fn after_start_code(data: &[u8]) -> Option<&[u8]> {
    data.get(find_start_code(data)..)?.get(3..)
}

/// Offset of the first `00 00 01`, or the length.
fn find_start_code(data: &[u8]) -> usize {
    data.windows(3).position(|window| window == [0, 0, 1]).unwrap_or(data.len())
}

/// Without the zero bytes that belong to the next start code or pad the end.
fn trim_zeros(mut unit: &[u8]) -> &[u8] {
    while let [head @ .., 0] = unit {
        unit = head;
    }
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_start_codes_are_replaced_by_lengths() {
        let data = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 1, 0x65, 4, 5, 0];
        assert!(is_annex_b(&data, 4));
        let want: &[u8] = &[0, 0, 0, 3, 0x67, 1, 2, 0, 0, 0, 2, 0x68, 3, 0, 0, 0, 3, 0x65, 4, 5];
        assert_eq!(to_lengths(&data, 4).unwrap(), want);
    }

    #[test]
    fn a_length_that_looks_like_a_start_code_is_believed_when_it_adds_up() {
        let mut data = vec![0, 0, 1, 0x01];
        data.extend_from_slice(&[7; 257]);
        assert!(!is_annex_b(&data, 4));
        assert!(!is_annex_b(&[0, 0, 0, 1, 9, 0, 0, 0, 1, 9], 4));
        data.push(1);
        assert!(is_annex_b(&data, 4));
    }

    #[test]
    fn a_unit_too_long_for_the_length_field_is_an_error() {
        let mut data = vec![0, 0, 1];
        data.extend_from_slice(&[7; 256]);
        assert_eq!(to_lengths(&data, 1), Err(Error::NalTooLong { len: 256, length_size: 1 }));
        assert_eq!(to_lengths(&data, 2).unwrap().get(..3), Some(&[1, 0, 7][..]));
    }
}
