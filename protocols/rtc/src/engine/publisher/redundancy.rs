//! Sound of a publisher that carries what came before it (RFC 2198): what was lost is taken from what
//! came later.

use media::Codec;
use rtp::fec::red::{Recovery, Restored};
use rtp::packet::Packet;
use rtp::seq::Extender16;
use smallvec::SmallVec;

use super::Publishing;
use crate::engine::log::AUDIO;

/// What is known of such sound.
#[derive(Debug)]
pub(super) struct Redundancy {
    ssrc: u32,
    seqs: Extender16,
    recovery: Recovery,
}

impl Publishing {
    /// Takes a packet of sound if it carries others, or is here already; `false`: it is as any other.
    pub(super) fn unpacked(&mut self, packet: &Packet<'_>, now_us: u64) -> bool {
        let Some(media) = &self.audio else { return false };
        let carries = media.red == Some(packet.payload_type);
        let Some(opus) = media.payload(Codec::Opus).map(|payload| payload.pt) else { return false };
        let fresh = || {
            let recovery = Recovery::new();
            Box::new(Redundancy { ssrc: packet.ssrc, seqs: Extender16::new(), recovery })
        };
        let mut redundancy = match self.redundancy.take() {
            Some(known) if known.ssrc == packet.ssrc => known,
            _ if carries => fresh(),
            _ => return false,
        };
        let seq = redundancy.seqs.extend(packet.sequence);
        let taken = if carries {
            let mut found: SmallVec<[Restored<'_>; 4]> = SmallVec::new();
            let read =
                redundancy.recovery.take(seq, packet.timestamp, opus, packet.payload, |restored| {
                    found.push(restored)
                });
            if read.is_err() {
                self.refused = self.refused.saturating_add(1);
            }
            for restored in found {
                let [.., high, low] = restored.sequence.to_be_bytes();
                let own = Packet {
                    payload_type: opus,
                    sequence: u16::from_be_bytes([high, low]),
                    timestamp: restored.timestamp,
                    marker: packet.marker && !restored.recovered,
                    payload: restored.data,
                    ..*packet
                };
                // What another packet carried is no arrival as far as statistics go.
                self.accept(AUDIO, &own, restored.recovered, now_us);
            }
            true
        } else {
            !redundancy.recovery.plain(seq)
        };
        self.redundancy = Some(redundancy);
        taken
    }
}
