//! Reading big-endian numbers at a place of a slice, without a panic and without a cursor.

/// The 16-bit number that begins at `at`.
#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The 24-bit number that begins at `at`.
#[inline]
pub(crate) fn u24_at(bytes: &[u8], at: usize) -> Option<u32> {
    let [a, b, c] = *bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes([0, a, b, c]))
}

/// The 32-bit number that begins at `at`.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The 64-bit number that begins at `at`.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Writes `value` over the two bytes at `at`; tells whether they were there.
#[inline]
pub(crate) fn put_u16(bytes: &mut [u8], at: usize, value: u16) -> bool {
    match bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        Some(place) => {
            *place = value.to_be_bytes();
            true
        }
        None => false,
    }
}

/// Writes `value` over the four bytes at `at`; tells whether they were there.
#[inline]
pub(crate) fn put_u32(bytes: &mut [u8], at: usize, value: u32) -> bool {
    match bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        Some(place) => {
            *place = value.to_be_bytes();
            true
        }
        None => false,
    }
}
