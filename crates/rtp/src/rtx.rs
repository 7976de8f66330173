//! Retransmission in a stream of its own (RFC 4588 §4): the payload begins with the sequence number
//! that the packet had in the original stream.

use thiserror::Error;

use crate::octets::u16_at;
use crate::packet::{PacketError, header_len, set_kind, set_sequence, set_ssrc};

#[cfg(test)]
mod tests;

/// Bytes that a retransmission is longer than its original.
pub const OVERHEAD: usize = 2;

/// Why a packet cannot be retransmitted, or is no retransmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtxError {
    /// It is no RTP packet.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// Its payload is too short for a sequence number: browsers probe for bandwidth with such.
    #[error("retransmission without a packet in it")]
    Empty,
}

/// The stream that a packet goes to, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// SSRC there.
    pub ssrc: u32,
    /// Payload type there.
    pub payload_type: u8,
    /// Sequence number there.
    pub sequence: u16,
}

/// Appends `packet`, an original that is not encrypted, as a retransmission. CSRCs, extensions,
/// timestamp, marker and padding stay as they are.
///
/// # Errors
/// If `packet` is no RTP packet; `out` is unchanged then.
pub fn wrap(packet: &[u8], to: Target, out: &mut Vec<u8>) -> Result<(), RtxError> {
    let length = header_len(packet)?;
    let (header, payload) = packet
        .split_at_checked(length)
        .ok_or(PacketError::Short { length: packet.len(), needed: length })?;
    let start = out.len();
    out.extend_from_slice(header);
    // The number the original had becomes the head of the payload.
    out.extend_from_slice(header.get(2..4).unwrap_or(&[0, 0]));
    out.extend_from_slice(payload);
    if let Some(made) = out.get_mut(start..) {
        let marker = made.get(1).is_some_and(|second| second & 0x80 != 0);
        set_kind(made, to.payload_type, marker);
        set_sequence(made, to.sequence);
        set_ssrc(made, to.ssrc);
    }
    Ok(())
}

/// Makes the original of a decrypted retransmission, in place: the header moves by two bytes over
/// the number, so the original is what is given back. `ssrc` and `payload_type` are those of the
/// original stream.
///
/// # Errors
/// If it is no RTP packet, or has no packet in it ([`RtxError::Empty`]: nobody's fault).
pub fn unwrap(packet: &mut [u8], ssrc: u32, payload_type: u8) -> Result<&mut [u8], RtxError> {
    let length = header_len(packet)?;
    let padding = match packet.first() {
        Some(first) if first & 0x20 != 0 => packet.last().map_or(0, |count| usize::from(*count)),
        _ => 0,
    };
    // A number and nothing behind it is a probe, too.
    if packet.len().saturating_sub(length + padding) <= OVERHEAD {
        return Err(RtxError::Empty);
    }
    let original = u16_at(packet, length).ok_or(RtxError::Empty)?;
    packet.copy_within(..length, OVERHEAD);
    let made = packet.get_mut(OVERHEAD..).ok_or(RtxError::Empty)?;
    let marker = made.get(1).is_some_and(|second| second & 0x80 != 0);
    set_kind(made, payload_type, marker);
    set_sequence(made, original);
    set_ssrc(made, ssrc);
    Ok(made)
}
