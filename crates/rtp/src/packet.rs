//! RTP packets (RFC 3550 §5.1): a borrowed reader, an owned fixed header, and what is changed in
//! place when a packet goes on to a viewer.

use thiserror::Error;

use crate::extension::{ExtensionWriter, Extensions, Form};
use crate::octets::{put_u16, put_u32, u16_at, u32_at};

#[cfg(test)]
mod tests;

/// Bytes of the fixed header, before CSRCs and extension.
pub const FIXED_HEADER: usize = 12;

/// Why bytes are no RTP packet. Always the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PacketError {
    /// Fewer bytes than the header claims or needs.
    #[error("RTP packet of {length} bytes ends before its header, which needs {needed}")]
    Short {
        /// Bytes there are.
        length: usize,
        /// Bytes the header needs.
        needed: usize,
    },
    /// A version other than 2.
    #[error("RTP version {0}, not 2")]
    Version(u8),
    /// The padding count is zero or more than what follows the header.
    #[error("RTP padding of {padding} bytes in a payload of {payload}")]
    Padding {
        /// The count in the last byte.
        padding: u8,
        /// Bytes after the header.
        payload: usize,
    },
}

/// One RTP packet, borrowed. Made by [`Packet::parse`]; costs no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The M bit; its meaning is the payload format's.
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Wraps at 65,536; see [`crate::seq::Extender16`].
    pub sequence: u16,
    /// In ticks of the payload's clock; wraps; see [`crate::seq::Extender32`].
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Contributing sources, at most 15.
    pub csrcs: Csrcs<'a>,
    /// What the X bit announces: "defined by profile" and the body, a multiple of four bytes.
    pub extension: Option<(u16, &'a [u8])>,
    /// What follows the header, padding taken away.
    pub payload: &'a [u8],
    /// Bytes of padding that were taken away, with the count itself; 0: none.
    pub padding: u8,
    /// Bytes before the payload: fixed header, CSRCs and extension.
    pub header_len: usize,
}

impl<'a> Packet<'a> {
    /// Reads a packet that is decrypted already.
    ///
    /// # Errors
    /// If the version is not 2, or the header or the padding claim more than there is.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PacketError> {
        let header_len = header_len(bytes)?;
        let short = PacketError::Short { length: bytes.len(), needed: header_len };
        let Some((&[first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3], _)) =
            bytes.split_first_chunk::<FIXED_HEADER>()
        else {
            return Err(short);
        };
        let (Some(head), Some(body)) = (bytes.get(..header_len), bytes.get(header_len..)) else {
            return Err(short);
        };
        let csrc_end = FIXED_HEADER + 4 * usize::from(first & 0x0F);
        let extension = if first & 0x10 != 0 {
            u16_at(head, csrc_end).zip(head.get(csrc_end + 4..))
        } else {
            None
        };
        let padding = if first & 0x20 != 0 { body.last().copied().unwrap_or(0) } else { 0 };
        let bad_padding = PacketError::Padding { padding, payload: body.len() };
        if first & 0x20 != 0 && padding == 0 {
            return Err(bad_padding);
        }
        let payload = body
            .len()
            .checked_sub(usize::from(padding))
            .and_then(|len| body.get(..len))
            .ok_or(bad_padding)?;
        Ok(Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7F,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            csrcs: Csrcs(head.get(FIXED_HEADER..csrc_end).unwrap_or_default()),
            extension,
            payload,
            padding,
            header_len,
        })
    }

    /// Whether nothing but padding follows the header (bandwidth probes, keep-alives).
    pub const fn padding_only(&self) -> bool {
        self.payload.is_empty() && self.padding != 0
    }

    /// The elements of the header extension (RFC 8285); none if there is none.
    pub fn extensions(&self) -> Extensions<'a> {
        match self.extension {
            Some((profile, body)) => Extensions::new(profile, body),
            None => Extensions::empty(),
        }
    }

    /// The fixed header, to be changed and written anew.
    pub const fn header(&self) -> Header {
        Header {
            marker: self.marker,
            payload_type: self.payload_type,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        }
    }
}

/// The contributing sources of a packet, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Csrcs<'a>(&'a [u8]);

impl Csrcs<'_> {
    /// How many, 0 to 15.
    pub const fn len(&self) -> usize {
        self.0.len() / 4
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.as_chunks::<4>().0.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// Bytes before the payload. Works on encrypted packets too: SRTP leaves the header readable
/// (RFC 3711 §3.1).
///
/// # Errors
/// If the version is not 2, or the header claims more than there is.
#[inline]
pub fn header_len(bytes: &[u8]) -> Result<usize, PacketError> {
    let length = bytes.len();
    let Some(&first) = bytes.first() else {
        return Err(PacketError::Short { length, needed: FIXED_HEADER });
    };
    if first >> 6 != 2 {
        return Err(PacketError::Version(first >> 6));
    }
    let mut needed = FIXED_HEADER + 4 * usize::from(first & 0x0F);
    if first & 0x10 != 0 {
        let at = needed + 2;
        needed += 4;
        if let Some(words) = u16_at(bytes, at) {
            needed += 4 * usize::from(words);
        }
    }
    if length < needed { Err(PacketError::Short { length, needed }) } else { Ok(needed) }
}

/// Whether a datagram that is RTP or RTCP is RTCP (RFC 5761 §4): packet types 192 to 223, which
/// are payload types 64 to 95 with the marker set. Looks at the second byte only.
#[inline]
pub fn is_rtcp(bytes: &[u8]) -> bool {
    matches!(bytes.get(1), Some(192..=223))
}

/// The fixed header without CSRCs: what is written for a viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The M bit.
    pub marker: bool,
    /// 0 to 127; the upper bit is ignored.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// In ticks of the payload's clock.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
}

impl Header {
    /// Appends the 12 bytes, without extension.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        let marker = u8::from(self.marker) << 7;
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [c0, c1, c2, c3] = self.ssrc.to_be_bytes();
        let kind = marker | (self.payload_type & 0x7F);
        out.extend_from_slice(&[0x80, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3]);
    }

    /// Appends the 12 bytes and the extension elements that `fill` pushes; the X bit is set if it
    /// pushed any.
    #[inline]
    pub fn write_with(
        &self,
        out: &mut Vec<u8>,
        form: Form,
        fill: impl FnOnce(&mut ExtensionWriter<'_>),
    ) {
        let start = out.len();
        self.write(out);
        let mut writer = ExtensionWriter::new(out, form);
        fill(&mut writer);
        if writer.finish() > 0
            && let Some(packet) = out.get_mut(start..)
        {
            set_extension_bit(packet, true);
        }
    }
}

/// Sets or clears the X bit of the packet that begins `packet`. Nothing happens to an empty slice.
#[inline]
pub fn set_extension_bit(packet: &mut [u8], on: bool) {
    if let Some(first) = packet.first_mut() {
        *first = (*first & !0x10) | (u8::from(on) << 4);
    }
}

/// Replaces payload type and marker of the packet that begins `packet`.
#[inline]
pub fn set_kind(packet: &mut [u8], payload_type: u8, marker: bool) {
    if let Some(second) = packet.get_mut(1) {
        *second = (u8::from(marker) << 7) | (payload_type & 0x7F);
    }
}

/// Replaces the sequence number; tells whether the packet was long enough.
#[inline]
pub fn set_sequence(packet: &mut [u8], sequence: u16) -> bool {
    put_u16(packet, 2, sequence)
}

/// Replaces the timestamp; tells whether the packet was long enough.
#[inline]
pub fn set_timestamp(packet: &mut [u8], timestamp: u32) -> bool {
    put_u32(packet, 4, timestamp)
}

/// Replaces the SSRC; tells whether the packet was long enough.
#[inline]
pub fn set_ssrc(packet: &mut [u8], ssrc: u32) -> bool {
    put_u32(packet, 8, ssrc)
}

/// The SSRC of an RTP packet, without reading the rest; for finding the stream it belongs to.
#[inline]
pub fn peek_ssrc(packet: &[u8]) -> Option<u32> {
    u32_at(packet, 8)
}

/// The sequence number of an RTP packet, without reading the rest.
#[inline]
pub fn peek_sequence(packet: &[u8]) -> Option<u16> {
    u16_at(packet, 2)
}

/// Appends `count` bytes of padding to the packet that begins at `out[from..]` and sets its P bit
/// (RFC 3550 §5.1). `count` 0 does nothing.
pub fn pad(out: &mut Vec<u8>, from: usize, count: u8) {
    if count == 0 {
        return;
    }
    let Some(first) = out.get_mut(from) else { return };
    *first |= 0x20;
    out.resize(out.len() + usize::from(count) - 1, 0);
    out.push(count);
}
