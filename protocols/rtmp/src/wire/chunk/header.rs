//! Chunk headers: basic header, message header in four formats, extended timestamp.

use super::{EXTENDED, Error};

/// The fields that a message has, as of the last header of its chunk stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Header {
    /// Of the current message; wraps.
    pub(super) timestamp: u32,
    /// What the last header that carried a time said: absolute for fmt 0, else the difference.
    field: u32,
    /// That time did not fit 24 bits.
    extended: bool,
    /// That time was absolute.
    absolute: bool,
    pub(super) length: u32,
    pub(super) type_id: u8,
    pub(super) stream_id: u32,
}

/// A header that was read.
pub(super) struct Parsed {
    pub(super) cid: u32,
    /// The place of the chunk stream among the known ones.
    pub(super) index: Option<usize>,
    pub(super) header: Header,
    /// Bytes it took.
    pub(super) size: usize,
}

/// fmt, chunk stream id and size of the basic header; `None` if it is cut.
pub(super) fn decode_basic(bytes: &[u8]) -> Option<(u8, u32, usize)> {
    let first = *bytes.first()?;
    let fmt = first >> 6;
    match first & 0x3f {
        0 => Some((fmt, u32::from(*bytes.get(1)?).wrapping_add(64), 2)),
        1 => {
            let low = *bytes.get(1)?;
            let high = *bytes.get(2)?;
            Some((fmt, u32::from(u16::from_le_bytes([low, high])).wrapping_add(64), 3))
        }
        cid => Some((fmt, u32::from(cid), 1)),
    }
}

/// The whole header; `None` if it is cut. `previous` is the last header of its chunk stream and
/// whether a message is open there.
pub(super) fn decode(
    bytes: &[u8],
    fmt: u8,
    cid: u32,
    basic: usize,
    index: Option<usize>,
    previous: Option<(&Header, bool)>,
) -> Result<Option<Parsed>, Error> {
    let open = previous.is_some_and(|(_, open)| open);
    let mut header = match previous {
        Some((header, _)) => *header,
        None if fmt >= 2 => return Err(Error::Start { cid, fmt }),
        // fmt 1 as the first: librtmp's pings on chunk stream 2 are sent so.
        None => Header::default(),
    };
    if open && fmt == 0 {
        return Err(Error::Interrupted { cid, fmt });
    }
    let mut rest = bytes.get(basic..).unwrap_or_default();
    if fmt <= 2 {
        let Some(field) = take::<3>(&mut rest) else { return Ok(None) };
        header.field = u24(field);
        header.extended = header.field == EXTENDED;
        header.absolute = fmt == 0;
    }
    if fmt <= 1 {
        let Some(length) = take::<3>(&mut rest) else { return Ok(None) };
        let to = u24(length);
        if open && to != header.length {
            return Err(Error::LengthChange { cid, from: header.length, to });
        }
        header.length = to;
        let Some([type_id]) = take::<1>(&mut rest) else { return Ok(None) };
        header.type_id = type_id;
    }
    if fmt == 0 {
        let Some(id) = take::<4>(&mut rest) else { return Ok(None) };
        // The one little-endian field of the format.
        header.stream_id = u32::from_le_bytes(id);
    }
    let done = |header: Header, rest: &[u8]| {
        let size = bytes.len().saturating_sub(rest.len());
        Ok(Some(Parsed { cid, index, header, size }))
    };
    if fmt == 3 && open {
        if header.extended {
            let Some(repeated) = is_repeated(rest, &header) else { return Ok(None) };
            if repeated {
                rest = rest.get(4..).unwrap_or_default();
            }
        }
        return done(header, rest);
    }
    if open {
        // fmt 1 or 2 inside a message: its time is ignored, as the message has one already.
        if header.extended && take::<4>(&mut rest).is_none() {
            return Ok(None);
        }
        if let Some((before, _)) = previous {
            header.timestamp = before.timestamp;
            header.field = before.field;
            header.extended = before.extended;
            header.absolute = before.absolute;
        }
        return done(header, rest);
    }
    if header.extended {
        let Some(field) = take::<4>(&mut rest) else { return Ok(None) };
        let field = u32::from_be_bytes(field);
        if fmt == 3 {
            // A new message "as before": the same difference again, or else the time itself,
            // which is what senders write that put the absolute time everywhere.
            let same_difference = !header.absolute && field == header.field;
            header.timestamp =
                if same_difference { header.timestamp.wrapping_add(field) } else { field };
            return done(header, rest);
        }
        header.field = field;
    }
    header.timestamp = match fmt {
        0 => header.field,
        _ => header.timestamp.wrapping_add(header.field),
    };
    done(header, rest)
}

/// Whether a continuation starts with the extended timestamp again; `None` if what is there
/// cannot tell yet. Waits only while the bytes agree: those of a cut payload may be the last
/// to come for a while.
fn is_repeated(rest: &[u8], header: &Header) -> Option<bool> {
    let seen = rest.get(..rest.len().min(4)).unwrap_or_default();
    let field = header.field.to_be_bytes();
    let timestamp = header.timestamp.to_be_bytes();
    if !field.starts_with(seen) && !timestamp.starts_with(seen) {
        return Some(false);
    }
    (seen.len() == 4).then_some(true)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn u24([a, b, c]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}
