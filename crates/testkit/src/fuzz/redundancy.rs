//! Redundant sound of a publisher, whatever it claims.

use std::collections::BTreeSet;

use rtp::fec::red::{MAX_REDUNDANT, Recovery, Restored};

/// Payloads under numbers that the input chooses: none is told twice as long as the numbers go on,
/// each has its bytes from the packet it came in, and no packet tells more than it may carry.
pub fn redundancy(data: &[u8]) {
    let mut recovery = Recovery::new();
    let mut told = BTreeSet::new();
    let (mut number, mut highest) = (0x1_0000u64, 0x1_0000u64);
    for piece in super::pieces(data) {
        let Some((&step, payload)) = piece.split_first() else { continue };
        // Mostly on by little, at times back a little.
        number = (number + u64::from(step & 0x1f)).saturating_sub(u64::from(step >> 5));
        number = number.max(highest.saturating_sub(40));
        highest = highest.max(number);
        if step == 0xff {
            assert!(!recovery.plain(number) || told.insert(number), "told twice");
            continue;
        }
        let mut count = 0;
        let each = |restored: Restored<'_>| {
            count += 1;
            assert!(restored.sequence <= number && number - restored.sequence <= 0x10);
            assert!(payload.len() > restored.data.len(), "more is made than was there");
            assert!(told.insert(restored.sequence), "told twice");
        };
        let read =
            recovery.take(number, 0, payload.first().map_or(0, |pt| pt & 0x7f), payload, each);
        assert!(read.is_ok() || count == 0, "damage brings nothing");
        assert!(count <= MAX_REDUNDANT + 1);
    }
}
