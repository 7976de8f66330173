//! One packet on its way into the batch: header, payload, encryption.

use super::Way;
use super::mapping::Mapping;

/// Bytes of a fixed RTP header (RFC 3550 §5.1).
const HEADER: usize = 12;
/// Bytes of our header extension block: one element of transport-wide sequence number (RFC 8285).
const EXTENSION: usize = 8;

/// What its header says.
pub(super) struct Head {
    pub(super) marker: bool,
    pub(super) payload_type: u8,
    /// Extended sequence number: the index of SRTP.
    pub(super) index: u64,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    pub(super) extension: Option<(u8, u16)>,
    /// It may be padded: it will never be sent again with other bytes under the same number, which
    /// would break its encryption.
    pub(super) once: bool,
    /// Its payload gets other picture ids.
    pub(super) renumbered: Option<Mapping>,
}

/// Writes a packet into the batch; sends the batch first when it does not fit. `before` stands in
/// front of the payload: the number of what is sent again, or what redundancy adds.
#[inline]
pub(super) fn write(head: &Head, before: &[&[u8]], payload: &[u8], way: &mut Way<'_>) {
    let extended = if head.extension.is_some() { EXTENSION } else { 0 };
    let header = HEADER + extended;
    let more = before.iter().fold(0usize, |sum, piece| sum.saturating_add(piece.len()));
    let tag = way.srtp.map_or(0, |srtp| srtp.profile().tag_len());
    let mut size = header.saturating_add(more).saturating_add(payload.len()).saturating_add(tag);
    let padding = if head.once { way.batch.padding(size) } else { 0 };
    size = size.saturating_add(padding);
    if !way.batch.takes(size) {
        way.batch.flush(&way.road, way.tally);
    }
    let from = way.batch.bytes.len();
    let bytes = &mut way.batch.bytes;
    let mut fixed = [0u8; HEADER + EXTENSION];
    let [a, b, ..] = &mut fixed;
    *a = if extended > 0 { 0x90 } else { 0x80 };
    if padding > 0 {
        *a |= 0x20;
    }
    *b = (u8::from(head.marker) << 7) | (head.payload_type & 0x7f);
    // The low 16 bits are what travels.
    let [.., hi, lo] = head.index.to_be_bytes();
    put(&mut fixed, 2, &[hi, lo]);
    put(&mut fixed, 4, &head.timestamp.to_be_bytes());
    put(&mut fixed, 8, &head.ssrc.to_be_bytes());
    if let Some((id, number)) = head.extension {
        let [hi, lo] = number.to_be_bytes();
        put(&mut fixed, HEADER, &[0xbe, 0xde, 0, 1, (id << 4) | 1, hi, lo, 0]);
    }
    bytes.extend_from_slice(fixed.get(..header).unwrap_or(&fixed));
    for piece in before {
        bytes.extend_from_slice(piece);
    }
    let body = bytes.len();
    bytes.extend_from_slice(payload);
    if let Some(map) = &head.renumbered {
        map.renumber(bytes.get_mut(body..).unwrap_or_default());
    }
    if let Ok(count @ 1..) = u8::try_from(padding) {
        // The last byte says how many there are (RFC 3550 §5.1).
        bytes.resize(bytes.len().saturating_add(padding.saturating_sub(1)), 0);
        bytes.push(count);
    }
    if let Some(srtp) = way.srtp
        && srtp.protect(head.index, head.ssrc, bytes, from, header).is_err()
    {
        bytes.truncate(from);
        way.tally.failed = way.tally.failed.saturating_add(1);
        return;
    }
    way.batch.wrote(size);
}

fn put(into: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(room) = into.get_mut(at..at.saturating_add(bytes.len())) {
        room.copy_from_slice(bytes);
    }
}
