//! Filling what was lost of a stream of sound from the redundancy of what came after it.

use super::{RedError, Redundant};

/// Packets behind the newest of which it is known whether they came: 1.3 s of 20 ms each. At half of
/// it a receiver that asks again over a satellite would get some twice; double is more than a word.
const WINDOW: u64 = 64;

/// One so far behind is of a sender that began anew; browsers reach back ten packets at most.
const FAR: u64 = 1_000;

/// A payload that is new, and what its own packet said, or would have said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored<'a> {
    /// Extended sequence number.
    pub sequence: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// The payload.
    pub data: &'a [u8],
    /// Its own packet did not come (so far): it was taken from a later one.
    pub recovered: bool,
}

/// What came of one stream of sound, with or without redundancy.
///
/// Each payload is told once, whether it comes in its own packet, in a later one, or both, and
/// whichever of them is first. Keeps nothing but numbers; a packet costs some comparisons.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recovery {
    highest: Option<u64>,
    /// Bit `n`: the packet `n` before the highest was here.
    seen: u64,
    recovered: u64,
}

impl Recovery {
    /// Nothing has come.
    pub const fn new() -> Self {
        Self { highest: None, seen: 0, recovered: 0 }
    }

    /// Takes a payload of redundant audio that came under this number (extended) and time, and
    /// tells what of it is new, in the order of the numbers. `payload_type` is that of the sound in
    /// it; other blocks are passed over, and so are those from before the first packet.
    ///
    /// Of earlier payloads only the distance in time is told (RFC 2198 §3), so they are counted back
    /// from the packet, one number each, as browsers send them.
    ///
    /// # Errors
    /// If the payload cannot be read: the sender's fault, and nothing of it is used.
    pub fn take<'a>(
        &mut self,
        sequence: u64,
        timestamp: u32,
        payload_type: u8,
        payload: &'a [u8],
        mut each: impl FnMut(Restored<'a>),
    ) -> Result<(), RedError> {
        let redundant = Redundant::parse(payload)?;
        let begun = self.highest;
        // The packet itself first: where it begins anew, what it carries along is of no use.
        let new = self.plain(sequence);
        let count = redundant.earlier().count() as u64;
        if begun.is_some_and(|highest| highest < sequence.saturating_add(FAR)) {
            for (back, block) in (1..=count).rev().zip(redundant.earlier()) {
                let number = sequence.saturating_sub(back);
                let fits = block.payload_type == payload_type && block.offset > 0;
                if fits && !block.data.is_empty() && self.mark(number) {
                    self.recovered = self.recovered.wrapping_add(1);
                    each(Restored {
                        sequence: number,
                        timestamp: timestamp.wrapping_sub(block.offset),
                        data: block.data,
                        recovered: true,
                    });
                }
            }
        }
        let own = redundant.primary;
        if new && own.payload_type == payload_type {
            each(Restored { sequence, timestamp, data: own.data, recovered: false });
        }
        Ok(())
    }

    /// Notes a packet without redundancy; `false`: what it carries was here before.
    pub fn plain(&mut self, sequence: u64) -> bool {
        match self.highest {
            Some(highest) if sequence.saturating_add(FAR) > highest => self.mark(sequence),
            _ => {
                self.highest = Some(sequence);
                // Nobody waits for what was before the beginning.
                self.seen = u64::MAX;
                true
            }
        }
    }

    /// Payloads that came only in a later packet, or there first.
    pub const fn recovered(&self) -> u64 {
        self.recovered
    }

    /// Notes a number; `false`: it was here, or is too old to tell.
    fn mark(&mut self, sequence: u64) -> bool {
        let Some(highest) = self.highest else { return false };
        if let Some(ahead) = sequence.checked_sub(highest).filter(|ahead| *ahead > 0) {
            self.highest = Some(sequence);
            self.seen = u32::try_from(ahead)
                .ok()
                .and_then(|ahead| self.seen.checked_shl(ahead))
                .unwrap_or(0)
                | 1;
            return true;
        }
        let back = highest.saturating_sub(sequence);
        if back >= WINDOW {
            return false;
        }
        let bit = 1 << back;
        let new = self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Block, write};
    use super::*;

    const OPUS: u8 = 111;

    /// The payload of a packet: its number, four bytes.
    fn data(sequence: u64) -> [u8; 4] {
        (sequence as u32).to_be_bytes()
    }

    fn time(sequence: u64) -> u32 {
        (sequence as u32).wrapping_mul(960)
    }

    fn packet(sequence: u64, earlier: u64) -> Vec<u8> {
        let datas: Vec<_> = (1..=earlier).rev().map(|n| (n, data(sequence - n))).collect();
        let block = |(n, data): &'_ (u64, [u8; 4])| (*n as u32 * 960, *data);
        let blocks: Vec<_> = datas.iter().map(block).collect();
        let blocks: Vec<_> = blocks
            .iter()
            .map(|(offset, data)| Block { payload_type: OPUS, offset: *offset, data })
            .collect();
        let mut out = Vec::new();
        write(&mut out, &blocks, OPUS, &data(sequence));
        out
    }

    fn take(recovery: &mut Recovery, sequence: u64, earlier: u64) -> Vec<(u64, bool)> {
        let mut told = Vec::new();
        recovery
            .take(sequence, time(sequence), OPUS, &packet(sequence, earlier), |restored| {
                assert_eq!(restored.data, data(restored.sequence));
                assert_eq!(restored.timestamp, time(restored.sequence));
                told.push((restored.sequence, restored.recovered));
            })
            .unwrap();
        told
    }

    #[test]
    fn a_lost_packet_comes_with_the_next() {
        let mut recovery = Recovery::new();
        assert_eq!(take(&mut recovery, 70_000, 1), [(70_000, false)]);
        assert_eq!(take(&mut recovery, 70_001, 1), [(70_001, false)]);
        assert_eq!(take(&mut recovery, 70_003, 1), [(70_002, true), (70_003, false)]);
        assert_eq!(take(&mut recovery, 70_002, 1), [], "late, and no longer missed");
        assert_eq!(
            take(&mut recovery, 70_006, 2),
            [(70_004, true), (70_005, true), (70_006, false)]
        );
        assert_eq!(recovery.recovered(), 3);
    }

    #[test]
    fn packets_without_redundancy_count_as_well() {
        let mut recovery = Recovery::new();
        assert!(recovery.plain(10));
        assert!(recovery.plain(11) && !recovery.plain(11));
        assert_eq!(take(&mut recovery, 12, 2), [(12, false)]);
        assert!(recovery.plain(14) && recovery.plain(13), "reordered");
        assert!(!recovery.plain(9), "before the beginning");
    }

    #[test]
    fn another_coding_and_damage_bring_nothing() {
        let mut recovery = Recovery::new();
        recovery.plain(10);
        let mut told = Vec::new();
        let packet = packet(12, 1);
        assert_eq!(recovery.take(12, 0, 0, &packet, |r| told.push(r.sequence)), Ok(()));
        assert!(recovery.take(13, 0, OPUS, &[0x80 | OPUS], |r| told.push(r.sequence)).is_err());
        assert_eq!(told, []);
    }

    #[test]
    fn who_begins_anew_far_behind_is_heard() {
        let mut recovery = Recovery::new();
        recovery.plain(100_000);
        assert_eq!(take(&mut recovery, 70_000, 2), [(70_000, false)]);
        assert_eq!(take(&mut recovery, 70_001, 2), [(70_001, false)]);
    }

    proptest! {
        #[test]
        fn each_payload_is_told_once_and_those_within_reach_always(
            lost in proptest::collection::vec(proptest::bool::weighted(0.3), 1..200),
            earlier in 0u64..3,
        ) {
            let mut recovery = Recovery::new();
            let first = 65_500u64;
            let mut told = std::collections::BTreeMap::new();
            let mut came = Vec::new();
            for (sequence, lost) in (first..).zip(&lost) {
                // What comes first is not lost: nobody knows of what is before it.
                if *lost && sequence > first {
                    continue;
                }
                came.push(sequence);
                for (sequence, recovered) in take(&mut recovery, sequence, earlier) {
                    prop_assert_eq!(told.insert(sequence, recovered), None, "told twice");
                }
            }
            for sequence in first..first + lost.len() as u64 {
                let own = came.contains(&sequence);
                let later = (1..=earlier).any(|n| came.contains(&(sequence + n)));
                prop_assert_eq!(told.get(&sequence).copied(), match (own, later) {
                    (true, _) => Some(false),
                    (false, true) => Some(true),
                    (false, false) => None,
                });
            }
        }
    }
}
