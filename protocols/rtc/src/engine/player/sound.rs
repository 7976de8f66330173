//! Sound that carries what came before it (RFC 2198), for viewers who lose some of it.

use media::Codec;
use rtp::fec::red;

use super::{Line, Player};
use crate::engine::log::{AUDIO, Entry, PacketLog};

/// Earlier payloads in a packet, at most.
const MOST: usize = 2;
/// Losses from which one earlier payload is added, and two, in 256ths: 1.2 and 10 %. One leaves a lost
/// packet of 400 at 5 %, two one of 1,000 at 10 %. At half of these shares a viewer pays for what it
/// does not hear, at double it hears the gaps.
const ONE: u8 = 3;
const TWO: u8 = 26;
/// They go on for so long after the last loss: at half of it a loss a minute comes twice before it is
/// met, at double nothing is gained.
const CALM_US: u64 = 20_000_000;

/// Redundancy of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Redundancy {
    /// Its payload type.
    payload_type: u8,
    /// Earlier payloads in each packet now.
    blocks: u8,
    until_us: u64,
    /// The first number that may have been sent so: such packets are never sent again as they were.
    since: Option<u64>,
}

impl Redundancy {
    /// Agreed on under this payload type, and not in use.
    pub(super) const fn new(payload_type: u8) -> Self {
        Self { payload_type, blocks: 0, until_us: 0, since: None }
    }
}

/// What is put in front of a payload.
pub(super) struct Carried<'a> {
    pub(super) payload_type: u8,
    headers: [u8; 4 * MOST + 1],
    used: usize,
    earlier: [&'a [u8]; MOST],
}

impl<'a> Carried<'a> {
    /// The pieces, in their order.
    pub(super) fn pieces(&self) -> [&[u8]; MOST + 1] {
        let [older, old] = self.earlier;
        [self.headers.get(..self.used).unwrap_or_default(), older, old]
    }
}

impl Line {
    /// Agrees on redundancy under this payload type.
    pub(crate) const fn set_redundancy(&mut self, payload_type: u8) {
        self.redundancy = Some(Redundancy::new(payload_type));
    }

    /// What a packet is to carry along, of payloads that were sent before it.
    pub(super) fn carried<'a>(
        &mut self,
        log: &'a PacketLog,
        entry: &Entry,
        seq: u64,
    ) -> Option<Carried<'a>> {
        // The browser's RED is of Opus alone (its `fmtp` names it).
        self.now.filter(|map| map.codec == Codec::Opus)?;
        let redundancy = self.redundancy.as_mut().filter(|redundancy| redundancy.blocks > 0)?;
        redundancy.since.get_or_insert(seq);
        let (from, own) = (self.now.map_or(seq, |map| map.from), self.payload_type);
        let mut carried = Carried {
            payload_type: redundancy.payload_type,
            headers: [0; 4 * MOST + 1],
            used: 0,
            earlier: [&[]; MOST],
        };
        for back in (1..=u64::from(redundancy.blocks).min(MOST as u64)).rev() {
            let earlier = entry.seq.checked_sub(back).filter(|_| seq.saturating_sub(back) >= from);
            let earlier = earlier.and_then(|seq| log.get(log.find(AUDIO, seq)?));
            let block = earlier.and_then(|(earlier, data)| {
                let offset = entry.timestamp.wrapping_sub(earlier.timestamp);
                let block = red::Block { payload_type: own, offset, data };
                Some((red::header(&block).filter(|_| offset > 0)?, data))
            });
            let place = usize::try_from(back).ok().and_then(|back| MOST.checked_sub(back));
            match block.zip(place.and_then(|place| carried.earlier.get_mut(place))) {
                Some(((header, data), place)) => {
                    *place = data;
                    put(&mut carried.headers, &mut carried.used, &header);
                }
                // A receiver counts back from the packet: none may be missing in between.
                None => {
                    carried.used = 0;
                    carried.earlier = [&[]; MOST];
                }
            }
        }
        put(&mut carried.headers, &mut carried.used, &[own & 0x7f]);
        Some(carried)
    }

    /// Whether a packet was sent with what it cannot be sent with again: under one number there must
    /// never be two contents, which would break the encryption.
    pub(super) fn is_once_only(&self, seq: u64) -> bool {
        self.rtx.is_none()
            && self.redundancy.and_then(|red| red.since).is_some_and(|since| seq >= since)
    }
}

fn put(into: &mut [u8], used: &mut usize, bytes: &[u8]) {
    let end = used.saturating_add(bytes.len());
    if let Some(room) = into.get_mut(*used..end) {
        room.copy_from_slice(bytes);
        *used = end;
    }
}

impl Player {
    /// Takes what a report says of the sound, in 256ths.
    pub(crate) fn sound_lost(&mut self, fraction: u8, now_us: u64) {
        let thin = self.thin.is_some();
        let Some(redundancy) = self.audio.as_mut().and_then(|line| line.redundancy.as_mut()) else {
            return;
        };
        let wanted = match fraction {
            // What is lost for want of room is not brought back by sending more.
            _ if thin => 0,
            TWO.. => 2,
            ONE.. => 1,
            _ => 0,
        };
        if wanted > 0 {
            redundancy.until_us = now_us.saturating_add(CALM_US);
            redundancy.blocks = redundancy.blocks.max(wanted);
        } else if thin || now_us >= redundancy.until_us {
            redundancy.blocks = 0;
        }
    }

    /// Earlier payloads in each packet of sound now.
    pub(crate) fn redundancy(&self) -> u8 {
        self.audio.as_ref().and_then(|line| line.redundancy).map_or(0, |red| red.blocks)
    }
}
