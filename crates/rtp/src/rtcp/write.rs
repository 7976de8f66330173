//! Writers: each appends one whole RTCP packet to a buffer, so that calls in a row make a compound.
//!
//! What must come first in a compound is the caller's to know: a report, then SDES
//! (RFC 3550 §6.1), unless reduced size was negotiated (RFC 5506).

use super::{APP, BYE, PSFB, RR, RTPFB, ReportBlock, SDES, SR, SenderInfo, XR};
use crate::octets::put_u16;

/// Report blocks that one packet can carry (RFC 3550 §6.4.1): a field of five bits.
pub const MAX_REPORTS: usize = 31;

/// Bytes of a CNAME that is written; the rest is cut off. The length is one byte.
const MAX_TEXT: usize = 255;

/// Appends the first word with a length to be filled in; gives where it lies.
fn open(out: &mut Vec<u8>, packet_type: u8, count: usize) -> usize {
    let at = out.len();
    let count = u8::try_from(count & 0x1F).unwrap_or(0);
    out.extend_from_slice(&[0x80 | count, packet_type, 0, 0]);
    at
}

/// Fills in the length of what was opened at `at`. The body must be whole words.
fn close(out: &mut [u8], at: usize) {
    let words = out.len().saturating_sub(at + 4) / 4;
    put_u16(out, at + 2, u16::try_from(words).unwrap_or(u16::MAX));
}

fn put(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn blocks(out: &mut Vec<u8>, reports: &[ReportBlock]) {
    for block in reports.iter().take(MAX_REPORTS) {
        put(out, block.ssrc);
        let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7F_FFFF) & 0x00FF_FFFF;
        put(out, (u32::from(block.fraction_lost) << 24) | lost.cast_unsigned());
        put(out, block.highest);
        put(out, block.jitter);
        put(out, block.last_sr);
        put(out, block.delay_since_last_sr);
    }
}

/// Sender report (RFC 3550 §6.4.1); the first [`MAX_REPORTS`] blocks.
pub fn sender_report(out: &mut Vec<u8>, info: &SenderInfo, reports: &[ReportBlock]) {
    let at = open(out, SR, reports.len().min(MAX_REPORTS));
    put(out, info.ssrc);
    out.extend_from_slice(&info.ntp.to_be_bytes());
    put(out, info.rtp);
    put(out, info.packets);
    put(out, info.octets);
    blocks(out, reports);
    close(out, at);
}

/// Receiver report (RFC 3550 §6.4.2); the first [`MAX_REPORTS`] blocks.
pub fn receiver_report(out: &mut Vec<u8>, sender: u32, reports: &[ReportBlock]) {
    let at = open(out, RR, reports.len().min(MAX_REPORTS));
    put(out, sender);
    blocks(out, reports);
    close(out, at);
}

/// Source description with a canonical name (RFC 3550 §6.5.1), of which 255 bytes are written.
pub fn sdes_cname(out: &mut Vec<u8>, ssrc: u32, cname: &[u8]) {
    let cname = cname.get(..MAX_TEXT).unwrap_or(cname);
    let at = open(out, SDES, 1);
    put(out, ssrc);
    out.extend_from_slice(&[1, u8::try_from(cname.len()).unwrap_or(0)]);
    out.extend_from_slice(cname);
    let end = at + (out.len() - at + 1).next_multiple_of(4);
    out.resize(end, 0);
    close(out, at);
}

/// Goodbye without a reason (RFC 3550 §6.6); the first 31 sources.
pub fn bye(out: &mut Vec<u8>, ssrcs: &[u32]) {
    let at = open(out, BYE, ssrcs.len().min(MAX_REPORTS));
    for ssrc in ssrcs.iter().take(MAX_REPORTS) {
        put(out, *ssrc);
    }
    close(out, at);
}

/// Generic NACK (RFC 4585 §6.2.1). Numbers that follow each other within 16 share a pair, so give
/// them in order. Writes nothing for no numbers; beyond [`super::MAX_NACK_PAIRS`] pairs the rest
/// is left out. Gives how many numbers were taken.
pub fn nack(
    out: &mut Vec<u8>,
    sender: u32,
    media: u32,
    sequences: impl IntoIterator<Item = u16>,
) -> usize {
    let mut sequences = sequences.into_iter();
    let Some(mut first) = sequences.next() else { return 0 };
    let at = open(out, RTPFB, 1);
    put(out, sender);
    put(out, media);
    let (mut mask, mut pairs, mut taken) = (0u32, 1, 1);
    for sequence in sequences {
        let ahead = sequence.wrapping_sub(first);
        match ahead {
            0 => {}
            1..=16 => mask |= 1 << (ahead - 1),
            _ if pairs == super::MAX_NACK_PAIRS => break,
            _ => {
                put(out, (u32::from(first) << 16) | mask);
                (first, mask) = (sequence, 0);
                pairs += 1;
            }
        }
        taken += 1;
    }
    put(out, (u32::from(first) << 16) | mask);
    close(out, at);
    taken
}

/// Picture loss indication (RFC 4585 §6.3.1).
pub fn pli(out: &mut Vec<u8>, sender: u32, media: u32) {
    let at = open(out, PSFB, 1);
    put(out, sender);
    put(out, media);
    close(out, at);
}

/// Full intra request of one source (RFC 5104 §4.3.1); `number` counts new requests, a repetition
/// keeps it.
pub fn fir(out: &mut Vec<u8>, sender: u32, media: u32, number: u8) {
    let at = open(out, PSFB, 4);
    put(out, sender);
    put(out, 0);
    put(out, media);
    put(out, u32::from(number) << 24);
    close(out, at);
}

/// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03) in bits per second, rounded
/// down to 18 significant bits; the first 255 streams.
pub fn remb(out: &mut Vec<u8>, sender: u32, bitrate: u64, ssrcs: &[u32]) {
    let at = open(out, PSFB, 15);
    put(out, sender);
    put(out, 0);
    out.extend_from_slice(b"REMB");
    let exponent = (64 - bitrate.leading_zeros()).saturating_sub(18);
    let mantissa = u32::try_from(bitrate >> exponent).unwrap_or(0x3_FFFF);
    let count = u8::try_from(ssrcs.len()).unwrap_or(u8::MAX);
    put(out, (u32::from(count) << 24) | (exponent << 18) | mantissa);
    for ssrc in ssrcs.iter().take(usize::from(count)) {
        put(out, *ssrc);
    }
    close(out, at);
}

/// Extended report with the receiver's reference time (RFC 3611 §4.4), NTP 32.32.
pub fn xr_rrtr(out: &mut Vec<u8>, sender: u32, ntp: u64) {
    let at = open(out, XR, 0);
    put(out, sender);
    put(out, 0x0400_0002);
    out.extend_from_slice(&ntp.to_be_bytes());
    close(out, at);
}

/// Extended report that answers reference times (RFC 3611 §4.5): of each receiver its SSRC, the
/// middle 32 bits of its time, and how long ago that came in 1/65,536 s. Writes nothing for none.
/// The first 31 receivers.
pub fn xr_dlrr(out: &mut Vec<u8>, sender: u32, items: &[(u32, u32, u32)]) {
    let items = items.get(..MAX_REPORTS).unwrap_or(items);
    if items.is_empty() {
        return;
    }
    let at = open(out, XR, 0);
    put(out, sender);
    put(out, 0x0500_0000 | (3 * u32::try_from(items.len()).unwrap_or(0)));
    for (ssrc, last, delay) in items {
        put(out, *ssrc);
        put(out, *last);
        put(out, *delay);
    }
    close(out, at);
}

/// Application-defined packet (RFC 3550 §6.7); `data` is filled up with zeros to whole words.
pub fn app(out: &mut Vec<u8>, ssrc: u32, subtype: u8, name: [u8; 4], data: &[u8]) {
    let at = open(out, APP, usize::from(subtype));
    put(out, ssrc);
    out.extend_from_slice(&name);
    out.extend_from_slice(data);
    out.resize(out.len() - data.len() + data.len().next_multiple_of(4), 0);
    close(out, at);
}

/// Begins transport-wide feedback; [`crate::twcc::Recorder`] writes what follows.
pub(crate) fn open_transport_cc(out: &mut Vec<u8>, sender: u32, media: u32) -> usize {
    let at = open(out, RTPFB, 15);
    put(out, sender);
    put(out, media);
    at
}

/// Ends a packet that was opened at `at`, padding it to whole words.
///
/// The count is of the bytes that were missing, 1 to 3, as browsers write and read it, though
/// padding should be whole words itself (RFC 3550 §6.4.1).
pub(crate) fn close_padded(out: &mut Vec<u8>, at: usize) {
    let length = out.len() - at;
    let missing = length.next_multiple_of(4) - length;
    if missing > 0 {
        out.resize(out.len() + missing - 1, 0);
        out.push(u8::try_from(missing).unwrap_or(0));
        if let Some(first) = out.get_mut(at) {
            *first |= 0x20;
        }
    }
    close(out, at);
}
