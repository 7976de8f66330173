//! A strict look at an MPEG-TS segment (ISO/IEC 13818-1), independent of the server's own code.

use std::collections::BTreeMap;

use crate::{Context, Result, ensure};

/// What [`check`] found out on its way.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Elementary streams: PID and stream type.
    pub streams: BTreeMap<u16, u8>,
    /// PCRs, in 90 kHz ticks, in order.
    pub clocks: Vec<u64>,
}

/// ISO/IEC 13818-1, 2.7.2: a clock reference at least each 100 ms.
const MAX_CLOCK_GAP: u64 = 9_000;

/// Checks one segment: whole packets, PAT and PMT first, no continuity break, clock references
/// on the announced PID and close together.
///
/// `clock_gap` off leaves the last one out: audio alone has its clock on PES starts.
pub fn check(bytes: &[u8], clock_gap: bool) -> Result<Segment> {
    ensure!(!bytes.is_empty(), "an empty segment");
    ensure!(bytes.len().is_multiple_of(188), "{} bytes are not whole packets", bytes.len());
    let mut segment = Segment::default();
    let mut counters: BTreeMap<u16, u8> = BTreeMap::new();
    let (mut pmt, mut clock) = (None, None);
    for (number, packet) in bytes.chunks_exact(188).enumerate() {
        let at = |i: usize| packet.get(i).copied().unwrap_or_default();
        ensure!(at(0) == 0x47, "packet {number} has no sync byte");
        let pid = u16::from_be_bytes([at(1) & 0x1F, at(2)]);
        let start = at(1) & 0x40 != 0;
        let adaptation = at(3) & 0x20 != 0;
        let payload = at(3) & 0x10 != 0;
        let counter = at(3) & 0x0F;
        match number {
            0 => ensure!(pid == 0, "the first packet is of PID {pid}, not a PAT"),
            1 => ensure!(Some(pid) == pmt, "the second packet is of PID {pid}, not the PMT"),
            _ => {}
        }
        if payload && let Some(last) = counters.insert(pid, counter) {
            let due = (last + 1) & 0x0F;
            ensure!(counter == due, "PID {pid}: counter {counter} after {last} (packet {number})");
        }
        let skip = if adaptation { 5 + usize::from(at(4)) } else { 4 };
        if adaptation && at(4) > 0 && at(5) & 0x10 != 0 {
            ensure!(Some(pid) == clock, "a clock reference on PID {pid}, not on {clock:?}");
            let ticks = u64::from(u32::from_be_bytes([at(6), at(7), at(8), at(9)])) << 1
                | u64::from(at(10) >> 7);
            if let Some(last) = segment.clocks.last() {
                let gap = ticks.wrapping_sub(*last) & 0x1_FFFF_FFFF;
                let near = !clock_gap || gap <= MAX_CLOCK_GAP;
                ensure!(near, "{} ms between clock references", gap / 90);
            }
            segment.clocks.push(ticks);
        }
        if payload && start && (pid == 0 || Some(pid) == pmt) {
            let table = section(packet.get(skip..).unwrap_or_default())
                .with_context(|| format!("the table in packet {number}"))?;
            let word = |i: usize| -> u16 {
                let byte = |i: usize| table.get(i).copied().unwrap_or_default();
                u16::from_be_bytes([byte(i), byte(i + 1)])
            };
            if pid == 0 {
                pmt = Some(word(10) & 0x1FFF);
            } else {
                clock = Some(word(8) & 0x1FFF);
                let mut i = 12 + usize::from(word(10) & 0x0FFF);
                while i + 5 <= table.len().saturating_sub(4) {
                    let kind = table.get(i).copied().unwrap_or_default();
                    segment.streams.insert(word(i + 1) & 0x1FFF, kind);
                    i += 5 + usize::from(word(i + 3) & 0x0FFF);
                }
            }
        }
    }
    ensure!(!segment.streams.is_empty(), "the PMT names no stream");
    ensure!(!segment.clocks.is_empty(), "no clock reference at all");
    Ok(segment)
}

/// The section that starts in this payload, checked by its length and its CRC.
fn section(payload: &[u8]) -> Result<&[u8]> {
    let pointer = usize::from(*payload.first().context("no pointer field")?);
    let table = payload.get(1 + pointer..).context("the pointer leaves the packet")?;
    let [_, high, low, ..] = table else { crate::bail!("a section of {} bytes", table.len()) };
    let length = 3 + usize::from(u16::from_be_bytes([high & 0x0F, *low]));
    let table = table.get(..length).context("the section leaves the packet")?;
    ensure!(crc(table) == 0, "the CRC is wrong");
    Ok(table)
}

/// CRC-32/MPEG-2; zero over a section with its own CRC at the end.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            crc = if crc & 0x8000_0000 != 0 { (crc << 1) ^ 0x04C1_1DB7 } else { crc << 1 };
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(crc(b"123456789"), 0x0376_E6E7);
    }

    #[test]
    fn what_is_no_transport_stream_is_told() {
        assert!(check(&[], true).is_err());
        assert!(check(&[0; 188], true).is_err());
        assert!(check(&[0x47; 187], true).is_err());
    }
}
