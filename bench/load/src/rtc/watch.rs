//! What a verified player does with what it gets: decrypted payloads in order, put together into
//! pictures and sounds.

use std::collections::BTreeMap;

use media::Codec;
use rtp::payload::{Depacketizer, PacketMeta};

use super::counts::Counts;
use crate::verify::Checker;

/// Packets held, at most: as many as [`super::tracker::Tracker`] has wait behind a gap.
const MOST: usize = 2048;

struct Held {
    timestamp: i64,
    marker: bool,
    payload: Vec<u8>,
}

/// The memory of one stream.
pub(super) struct Watch {
    held: BTreeMap<u64, Held>,
    spare: Vec<Vec<u8>>,
    depacketizer: Option<Depacketizer>,
    checker: Checker,
    last: Option<i64>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            held: BTreeMap::new(),
            spare: Vec::new(),
            depacketizer: None,
            checker: Checker::new(false),
            last: None,
        }
    }

    /// A payload came.
    pub(super) fn hold(&mut self, sequence: u64, timestamp: i64, marker: bool, bytes: &[u8]) {
        let mut payload = self.spare.pop().unwrap_or_default();
        payload.clear();
        payload.extend_from_slice(bytes);
        self.held.insert(sequence, Held { timestamp, marker, payload });
        while self.held.len() > MOST {
            self.held.pop_first();
        }
    }

    /// It is that packet's turn.
    pub(super) fn packet(&mut self, seq: u64, codec: Codec, now_ns: u64, counts: &mut Counts) {
        // What was given up is of no more use.
        while let Some(first) = self.held.first_entry().filter(|first| *first.key() < seq) {
            self.spare.push(first.remove().payload);
        }
        let Some(Held { timestamp, marker, payload }) = self.held.remove(&seq) else { return };
        let known = self.depacketizer.take().filter(|d| d.codec() == codec);
        // The stream may have been begun in the middle of a picture, or its first packet lost.
        let lost_before = known.is_none();
        let Some(mut depacketizer) = known.or_else(|| Depacketizer::new(codec).ok()) else {
            counts.findings.unreadable += 1;
            return;
        };
        let meta = PacketMeta { seq, timestamp, marker, lost_before };
        let read = depacketizer.push(&payload, meta);
        counts.findings.unreadable += u64::from(read.is_err());
        while let Some(unit) = depacketizer.pull() {
            counts.findings.frames += 1;
            if self.last.replace(unit.timestamp).is_some_and(|last| unit.timestamp <= last) {
                counts.findings.backwards += 1;
            }
            let sent_ns = self.checker.unit(&unit.payload, codec, &mut counts.findings);
            if let Some(delay) = sent_ns.and_then(|sent_ns| now_ns.checked_sub(sent_ns))
                && counts.in_window
            {
                counts.latency.note_ns(delay);
            }
        }
        self.depacketizer = Some(depacketizer);
        self.spare.push(payload);
    }

    /// The stream begins anew.
    pub(super) fn restart(&mut self) {
        self.held.clear();
        self.depacketizer = None;
        self.last = None;
    }
}
