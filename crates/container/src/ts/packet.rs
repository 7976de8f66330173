//! PES packets laid into transport packets (ISO/IEC 13818-1, 2.4.3).

use super::{CLOCK_MASK, PACKET, SYNC};

const PAYLOAD: usize = PACKET - 4;
const FLAG_DISCONTINUITY: u8 = 0x80;
const FLAG_RANDOM_ACCESS: u8 = 0x40;
const FLAG_PCR: u8 = 0x10;

/// A program clock reference to write: 90 kHz ticks, not yet wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pcr {
    pub(super) ticks: i64,
    /// The clock does not continue the one before.
    pub(super) discontinuity: bool,
}

impl Pcr {
    /// The six bytes of the field; the 27 MHz extension is always 0.
    fn encode(self) -> [u8; 6] {
        let base = wrap(self.ticks);
        let [_, _, a, b, c, d, e, f] = ((base << 15) | (0x3f << 9)).to_be_bytes();
        [a, b, c, d, e, f]
    }
}

/// `ticks` modulo 2^33.
pub(super) const fn wrap(ticks: i64) -> u64 {
    (ticks as u64) & CLOCK_MASK
}

/// The five bytes of a PTS or DTS field (2.4.3.6); `prefix` is its leading four bits.
fn encode_time(prefix: u8, ticks: i64) -> [u8; 5] {
    let t = wrap(ticks);
    [
        prefix << 4 | ((t >> 29) as u8 & 0x0e) | 1,
        (t >> 22) as u8,
        (t >> 14) as u8 | 1,
        (t >> 7) as u8,
        (t << 1) as u8 | 1,
    ]
}

/// What a PES packet is to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct PesHeader {
    pub(super) pid: u16,
    pub(super) stream_id: u8,
    pub(super) pts: i64,
    pub(super) dts: i64,
    pub(super) pcr: Option<Pcr>,
    pub(super) random_access: bool,
    /// Bytes that will be written behind the header.
    pub(super) body: usize,
}

/// Lays one PES packet into transport packets as its bytes come, with no buffer between.
///
/// The length must be known before: stuffing stands in front of the bytes it makes room for.
pub(super) struct PesWriter<'a> {
    out: &'a mut Vec<u8>,
    pid: u16,
    cc: &'a mut u8,
    /// Bytes of the PES packet still to come.
    remaining: usize,
    /// Bytes of them that the current transport packet takes.
    room: usize,
}

impl<'a> PesWriter<'a> {
    /// Writes the header. Exactly `header.body` bytes must follow, then [`finish`](Self::finish).
    pub(super) fn begin(out: &'a mut Vec<u8>, cc: &'a mut u8, header: &PesHeader) -> Self {
        let has_dts = header.pts != header.dts;
        let times: u8 = if has_dts { 10 } else { 5 };
        let after_length = header.body.saturating_add(3).saturating_add(usize::from(times));
        // 0 says "up to the next header"; allowed for video only, and audio is kept below by
        // its callers.
        let length = u16::try_from(after_length).unwrap_or(0);
        // data_alignment_indicator: AC-3 and Opus want to know that a sync frame starts here.
        let marks = if header.stream_id == 0xbd { 0x84 } else { 0x80 };
        let mut bytes = [0u8; 19];
        let [high, low] = length.to_be_bytes();
        let flags = if has_dts { 0xc0 } else { 0x80 };
        let fixed = [0, 0, 1, header.stream_id, high, low, marks, flags, times];
        let pts = encode_time(if has_dts { 3 } else { 2 }, header.pts);
        let dts = encode_time(1, header.dts);
        for (slot, byte) in bytes.iter_mut().zip(fixed.into_iter().chain(pts).chain(dts)) {
            *slot = byte;
        }
        let head = bytes.get(..if has_dts { 19 } else { 14 }).unwrap_or_default();

        let remaining = head.len().saturating_add(header.body);
        out.reserve(remaining.div_ceil(PAYLOAD).saturating_add(1).saturating_mul(PACKET));
        let mut writer = Self { out, pid: header.pid, cc, remaining, room: 0 };
        let flags = if header.random_access { FLAG_RANDOM_ACCESS } else { 0 };
        writer.open_packet(true, flags, header.pcr);
        writer.write(head);
        writer
    }

    /// Appends a part of the body. What exceeds the promised length is not written.
    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.remaining > 0 {
            if self.room == 0 {
                self.open_packet(false, 0, None);
            }
            let take = bytes.len().min(self.room);
            let (now, later) = bytes.split_at_checked(take).unwrap_or((bytes, &[]));
            self.out.extend_from_slice(now);
            self.room = self.room.saturating_sub(take);
            self.remaining = self.remaining.saturating_sub(take);
            bytes = later;
        }
    }

    /// Ends the PES packet on a packet border.
    pub(super) fn finish(mut self) {
        debug_assert_eq!(self.remaining, 0, "a PES body was shorter than its header says");
        while self.remaining > 0 {
            self.write(&[0]);
        }
    }

    fn open_packet(&mut self, start: bool, flags: u8, pcr: Option<Pcr>) {
        let fields: usize = match pcr {
            Some(_) => 8,
            None if flags != 0 => 2,
            None => 0,
        };
        let stuffing = PAYLOAD.saturating_sub(fields).saturating_sub(self.remaining);
        let adaptation = fields.saturating_add(stuffing);
        let [high, low] = (self.pid | if start { 0x4000 } else { 0 }).to_be_bytes();
        let control = if adaptation > 0 { 0x30 } else { 0x10 };
        self.out.extend_from_slice(&[SYNC, high, low, control | (*self.cc & 0x0f)]);
        *self.cc = self.cc.wrapping_add(1) & 0x0f;
        write_adaptation(self.out, adaptation, flags, pcr);
        self.room = PAYLOAD.saturating_sub(adaptation);
    }
}

/// Appends an adaptation field of `size` bytes, its length byte included.
fn write_adaptation(out: &mut Vec<u8>, size: usize, flags: u8, pcr: Option<Pcr>) {
    let Some(length) = size.checked_sub(1) else { return };
    let end = out.len().saturating_add(size);
    out.push(length as u8);
    if length == 0 {
        return;
    }
    match pcr {
        Some(pcr) => {
            let jump = if pcr.discontinuity { FLAG_DISCONTINUITY } else { 0 };
            out.push(flags | FLAG_PCR | jump);
            out.extend_from_slice(&pcr.encode());
        }
        None => out.push(flags),
    }
    out.resize(end, 0xff);
}

/// Appends a packet that carries a PCR and nothing else; the continuity counter `next` (the one
/// the next payload gets) does not move for it.
pub(super) fn write_pcr(out: &mut Vec<u8>, pid: u16, next: u8, pcr: Pcr) {
    let [high, low] = pid.to_be_bytes();
    out.extend_from_slice(&[SYNC, high, low, 0x20 | (next.wrapping_sub(1) & 0x0f)]);
    write_adaptation(out, PAYLOAD, 0, Some(pcr));
}
