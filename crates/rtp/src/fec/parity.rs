//! Parity over several packets, of which one may be lost: ULPFEC (RFC 5109, level 0) and FlexFEC
//! as browsers speak it (draft-ietf-payload-flexible-fec-scheme-03, one stream, flexible mask).
//!
//! Both are the exclusive or of what follows the fixed header, and of the header's fields; they
//! differ in how they tell which packets those were.

use thiserror::Error;

use crate::octets::{u16_at, u32_at, u64_at};
use crate::packet::FIXED_HEADER;

#[cfg(test)]
mod tests;

/// From the first to the last packet that ULPFEC's long mask can name.
pub const MAX_ULP_SPAN: u16 = 48;

/// From the first to the last packet that FlexFEC's longest mask can name.
pub const MAX_FLEX_SPAN: u16 = 109;

/// Why a repair packet cannot be read, used or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FecError {
    /// Fewer bytes than its header needs: the sender's fault.
    #[error("repair packet of {0} bytes ends within its header")]
    Short(usize),
    /// A kind that is not spoken here: retransmission, a fixed mask, several streams, no packets.
    #[error("repair packet of a kind that is not known")]
    Kind,
    /// Not all packets but the missing one were given, or others: the caller's fault.
    #[error("repair needs {needed} packets, {given} of them were given")]
    Packets {
        /// How many it is made of, less one.
        needed: u32,
        /// How many of those were given.
        given: u32,
    },
    /// What would come out is longer than the repair packet: some packet given was not the one
    /// that was sent.
    #[error("repaired packet would have {length} bytes, the repair has {there}")]
    Length {
        /// By the parity of the lengths.
        length: usize,
        /// Bytes of parity.
        there: usize,
    },
    /// The packets to protect lie too far apart, or there are none, or one is no packet: the
    /// caller's fault.
    #[error("packets that one repair packet cannot protect")]
    Span,
}

/// A repair packet, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair<'a> {
    /// Whose packets; ULPFEC does not tell.
    pub ssrc: Option<u32>,
    /// The sequence number that the mask begins with.
    pub base: u16,
    /// From the top: whether the packet so many after `base` is protected.
    mask: u128,
    parity: Parity,
    body: &'a [u8],
}

/// Exclusive or of the headers' fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parity {
    /// P, X, CC; then M and payload type.
    head: [u8; 2],
    timestamp: u32,
    /// Of the lengths after the fixed header.
    length: u16,
}

impl Parity {
    /// None if it is no packet.
    fn add(&mut self, packet: &[u8]) -> Option<()> {
        let after = packet.len().checked_sub(FIXED_HEADER)?;
        let [first, second] = *packet.first_chunk()?;
        let [head, kind] = &mut self.head;
        *head ^= first & 0x3F;
        *kind ^= second;
        self.timestamp ^= u32_at(packet, 4)?;
        self.length ^= u16::try_from(after).ok()?;
        Some(())
    }
}

fn xor(into: &mut [u8], from: &[u8]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into ^= from;
    }
}

impl<'a> Repair<'a> {
    /// Reads the payload of a ULPFEC packet (RFC 5109 §7.3, §7.4).
    ///
    /// # Errors
    /// If it is too short, or protects nothing.
    pub fn parse_ulp(payload: &'a [u8]) -> Result<Self, FecError> {
        let short = FecError::Short(payload.len());
        let read = || {
            let [first, second] = *payload.first_chunk()?;
            let long = first & 0x40 != 0;
            let high = u128::from(u16_at(payload, 12)?) << 112;
            let low = if long { u128::from(u32_at(payload, 14)?) << 80 } else { 0 };
            let protected = usize::from(u16_at(payload, 10)?);
            let body = payload.get(if long { 18 } else { 14 }..)?;
            let parity = Parity {
                head: [first & 0x3F, second],
                timestamp: u32_at(payload, 4)?,
                length: u16_at(payload, 8)?,
            };
            let body = body.get(..protected)?;
            Some(Self { ssrc: None, base: u16_at(payload, 2)?, mask: high | low, parity, body })
        };
        read().ok_or(short)?.known()
    }

    /// Reads the payload of a FlexFEC packet (draft, §4.2.2.1).
    ///
    /// # Errors
    /// If it is too short, protects nothing, or is of a kind that browsers do not send.
    pub fn parse_flex(payload: &'a [u8]) -> Result<Self, FecError> {
        let short = FecError::Short(payload.len());
        let read = || {
            let [first, second] = *payload.first_chunk()?;
            let plain = first & 0xC0 == 0 && *payload.get(8)? == 1;
            let start = u128::from(u16_at(payload, 18)?);
            let mut mask = (start & 0x7FFF) << 113;
            let (mut end, mut last) = (20, start & 0x8000 != 0);
            if !last {
                let more = u128::from(u32_at(payload, 20)?);
                mask |= (more & 0x7FFF_FFFF) << 82;
                (end, last) = (24, more & 0x8000_0000 != 0);
            }
            if !last {
                let more = u128::from(u64_at(payload, 24)?);
                mask |= (more & (u128::from(u64::MAX) >> 1)) << 19;
                (end, last) = (32, more >> 63 != 0);
            }
            let parity = Parity {
                head: [first & 0x3F, second],
                timestamp: u32_at(payload, 4)?,
                length: u16_at(payload, 2)?,
            };
            let (ssrc, base) = (Some(u32_at(payload, 12)?), u16_at(payload, 16)?);
            let body = payload.get(end..)?;
            let mask = if plain && last { mask } else { 0 };
            Some(Self { ssrc, base, mask, parity, body })
        };
        read().ok_or(short)?.known()
    }

    fn known(self) -> Result<Self, FecError> {
        if self.mask == 0 { Err(FecError::Kind) } else { Ok(self) }
    }

    /// The packets it is made of, at most 109, in order.
    pub fn sequences(&self) -> impl Iterator<Item = u16> + use<> {
        let (mut mask, mut next) = (self.mask, self.base);
        std::iter::from_fn(move || {
            if mask == 0 {
                return None;
            }
            let skip = mask.leading_zeros();
            // Two shifts: the mask may end with its last bit.
            mask = mask << skip << 1;
            let sequence = next.wrapping_add(u16::try_from(skip).unwrap_or(0));
            next = sequence.wrapping_add(1);
            Some(sequence)
        })
    }

    fn protects(&self, sequence: u16) -> bool {
        let at = u32::from(sequence.wrapping_sub(self.base));
        at < 128 && (self.mask << at) >> 127 == 1
    }

    /// Appends the packet `missing` of the stream `ssrc`, made of all `others` that
    /// [`Repair::sequences`] names, whole and decrypted. Costs an exclusive or of all their bytes.
    ///
    /// # Errors
    /// If some of the others are not given, or the outcome has an impossible length; `out` is as
    /// it was then.
    pub fn recover<'b>(
        &self,
        missing: u16,
        ssrc: u32,
        others: impl IntoIterator<Item = &'b [u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), FecError> {
        let start = out.len();
        let made = self.rebuild(missing, ssrc, others, out);
        if made.is_err() {
            out.truncate(start);
        }
        made
    }

    fn rebuild<'b>(
        &self,
        missing: u16,
        ssrc: u32,
        others: impl IntoIterator<Item = &'b [u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), FecError> {
        let start = out.len();
        out.resize(start + FIXED_HEADER, 0);
        out.extend_from_slice(self.body);
        let (mut parity, mut seen) = (self.parity, 0u128);
        for packet in others {
            let sequence = u16_at(packet, 2).filter(|sequence| self.protects(*sequence));
            let bit = sequence.map_or(0, |sequence| {
                1u128 << (127 - u32::from(sequence.wrapping_sub(self.base)).min(127))
            });
            if bit == 0 || seen & bit != 0 || parity.add(packet).is_none() {
                continue;
            }
            seen |= bit;
            if let Some(body) = out.get_mut(start + FIXED_HEADER..) {
                xor(body, packet.get(FIXED_HEADER..).unwrap_or_default());
            }
        }
        let (needed, given) = (self.mask.count_ones() - 1, seen.count_ones());
        let at = u32::from(missing.wrapping_sub(self.base)).min(127);
        if needed != given || !self.protects(missing) || (seen << at) >> 127 == 1 {
            return Err(FecError::Packets { needed, given });
        }
        let length = usize::from(parity.length);
        if length > self.body.len() {
            return Err(FecError::Length { length, there: self.body.len() });
        }
        out.truncate(start + FIXED_HEADER + length);
        let [head, kind] = parity.head;
        let [s0, s1] = missing.to_be_bytes();
        let [t0, t1, t2, t3] = parity.timestamp.to_be_bytes();
        let [c0, c1, c2, c3] = ssrc.to_be_bytes();
        let header = [0x80 | head, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3];
        if let Some(place) = out.get_mut(start..start + FIXED_HEADER) {
            place.copy_from_slice(&header);
        }
        Ok(())
    }
}

/// Base, mask and parity of packets, and the longest body.
fn gather(packets: &[&[u8]], most: u16) -> Result<(u16, u128, Parity, usize), FecError> {
    let base = packets.first().and_then(|packet| u16_at(packet, 2)).ok_or(FecError::Span)?;
    let (mut mask, mut parity, mut longest) = (0u128, Parity::default(), 0);
    for packet in packets {
        let at = u16_at(packet, 2).ok_or(FecError::Span)?.wrapping_sub(base);
        let bit = 1u128.checked_shl(127 - u32::from(at.min(127))).unwrap_or(0);
        if at >= most || mask & bit != 0 {
            return Err(FecError::Span);
        }
        mask |= bit;
        parity.add(packet).ok_or(FecError::Span)?;
        longest = longest.max(packet.len() - FIXED_HEADER);
    }
    Ok((base, mask, parity, longest))
}

fn put_bodies(out: &mut Vec<u8>, packets: &[&[u8]], longest: usize) {
    let start = out.len();
    out.resize(start + longest, 0);
    if let Some(body) = out.get_mut(start..) {
        for packet in packets {
            xor(body, packet.get(FIXED_HEADER..).unwrap_or_default());
        }
    }
}

/// Appends the payload of a ULPFEC packet that protects `packets`, whole and not encrypted, of one
/// stream, the one with the lowest sequence number first, within [`MAX_ULP_SPAN`].
///
/// # Errors
/// If they are none, too far apart, twice the same or no packets; `out` is as it was then.
pub fn write_ulp(out: &mut Vec<u8>, packets: &[&[u8]]) -> Result<(), FecError> {
    let (base, mask, parity, longest) = gather(packets, MAX_ULP_SPAN)?;
    let protected = u16::try_from(longest).map_err(|_| FecError::Span)?;
    let long = mask << 16 != 0;
    let [head, kind] = parity.head;
    out.extend_from_slice(&[head | (u8::from(long) << 6), kind]);
    out.extend_from_slice(&base.to_be_bytes());
    out.extend_from_slice(&parity.timestamp.to_be_bytes());
    out.extend_from_slice(&parity.length.to_be_bytes());
    out.extend_from_slice(&protected.to_be_bytes());
    let mask = mask.to_be_bytes();
    out.extend_from_slice(mask.get(..if long { 6 } else { 2 }).unwrap_or_default());
    put_bodies(out, packets, longest);
    Ok(())
}

/// Appends the payload of a FlexFEC packet that protects `packets` of the stream `ssrc`; as
/// [`write_ulp`], within [`MAX_FLEX_SPAN`].
///
/// # Errors
/// As those of [`write_ulp`].
pub fn write_flex(out: &mut Vec<u8>, ssrc: u32, packets: &[&[u8]]) -> Result<(), FecError> {
    let (base, mask, parity, longest) = gather(packets, MAX_FLEX_SPAN)?;
    out.extend_from_slice(&parity.head);
    out.extend_from_slice(&parity.length.to_be_bytes());
    out.extend_from_slice(&parity.timestamp.to_be_bytes());
    out.extend_from_slice(&[1, 0, 0, 0]);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&base.to_be_bytes());
    // Each part has a bit before its mask that says whether it is the last one.
    let first = (mask >> 113) as u16;
    let second = (mask >> 82) as u32 & 0x7FFF_FFFF;
    let third = (mask >> 19) as u64 & (u64::MAX >> 1);
    let (end_first, end_second) = (mask << 15 == 0, mask << 46 == 0);
    out.extend_from_slice(&((u16::from(end_first) << 15) | first).to_be_bytes());
    if !end_first {
        out.extend_from_slice(&((u32::from(end_second) << 31) | second).to_be_bytes());
        if !end_second {
            out.extend_from_slice(&((1 << 63) | third).to_be_bytes());
        }
    }
    put_bodies(out, packets, longest);
    Ok(())
}
