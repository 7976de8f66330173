//! Cutting messages into chunks.

use super::{EXTENDED, MAX_MESSAGE_LENGTH};

/// A message of more than [`MAX_MESSAGE_LENGTH`] bytes; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message of {0} bytes does not fit 24 bits")]
pub struct TooLong(pub usize);

/// Appends one message as a fmt 0 chunk and its fmt 3 continuations.
///
/// `cid` is 2 to 65599 (others are clamped), `timestamp_ms` is in milliseconds and wraps at 2^32;
/// from 0xFFFFFF on it stands in every chunk. The body is the parts one after another, so a tag
/// header and a payload need not be joined first. A `chunk_size` of 0 counts as 1.
///
/// Cost: at most one growth of `out`, and one copy of the payload.
///
/// # Errors
///
/// [`TooLong`], the caller's.
pub fn encode_message(
    out: &mut Vec<u8>,
    cid: u32,
    type_id: u8,
    timestamp_ms: u32,
    stream_id: u32,
    parts: &[&[u8]],
    chunk_size: u32,
) -> Result<(), TooLong> {
    let total = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
    let length = match u32::try_from(total) {
        Ok(length) if length <= MAX_MESSAGE_LENGTH => length,
        _ => return Err(TooLong(total)),
    };
    let chunk_size = chunk_size.max(1) as usize;
    let extended = timestamp_ms >= EXTENDED;

    // The header of a continuation: up to 3 bytes of basic header and the time again.
    let mut continuation = [0u8; 7];
    let basic = encode_basic(cid, &mut continuation);
    let mut continuation_size = basic;
    if extended {
        let time = timestamp_ms.to_be_bytes();
        for (to, from) in continuation.iter_mut().skip(basic).zip(time) {
            *to = from;
        }
        continuation_size = basic.saturating_add(4);
    }
    let continuation = continuation.get(..continuation_size).unwrap_or_default();

    let chunks = total.div_ceil(chunk_size).max(1);
    let headers = chunks.saturating_mul(continuation_size).saturating_add(11);
    out.reserve(total.saturating_add(headers));

    let [first, others @ ..] = continuation else { return Ok(()) };
    out.push(first & 0x3f);
    out.extend_from_slice(others.get(..basic.saturating_sub(1)).unwrap_or_default());
    let [_, time @ ..] = timestamp_ms.min(EXTENDED).to_be_bytes();
    out.extend_from_slice(&time);
    let [_, length @ ..] = length.to_be_bytes();
    out.extend_from_slice(&length);
    out.push(type_id);
    out.extend_from_slice(&stream_id.to_le_bytes());
    if extended {
        out.extend_from_slice(&timestamp_ms.to_be_bytes());
    }

    let mut room = chunk_size;
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            if room == 0 {
                out.extend_from_slice(continuation);
                room = chunk_size;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            out.extend_from_slice(now);
            room = room.saturating_sub(now.len());
            rest = later;
        }
    }
    Ok(())
}

/// Writes the basic header of fmt 3 and gives its size.
fn encode_basic(cid: u32, header: &mut [u8; 7]) -> usize {
    let [first, second, third, ..] = header;
    *first = 0xc0;
    match cid {
        0..64 => {
            *first |= (cid & 0x3f).max(2) as u8;
            1
        }
        64..320 => {
            *second = (cid.saturating_sub(64) & 0xff) as u8;
            2
        }
        _ => {
            let [low, high, ..] = cid.saturating_sub(64).min(0xffff).to_le_bytes();
            *first |= 1;
            *second = low;
            *third = high;
            3
        }
    }
}
