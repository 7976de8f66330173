//! What a viewer reports, and what follows.

use std::time::Instant;

use rtp::rtcp::{self, Compound, Rtcp};
use rtp::twcc;

use super::Playing;
use crate::engine::log::VIDEO;
use crate::engine::player::Way;
use crate::engine::shard::RtcShard;

/// The size of picture is looked at so often.
const SIZE_EVERY_US: u64 = 500_000;
/// A larger size is taken when it has fitted for so long.
const UP_AFTER_US: u64 = 3_000_000;
/// Packets that a viewer may tell the fate of in a second, and at once (transport-wide feedback): 4
/// times what a stream of 20 Mbit/s has. One feedback of 20 bytes may speak of 65,535.
pub(super) const STATUSES: u32 = 8_000;

impl Playing {
    /// Chooses among the sizes of picture that a publisher sends. Down at once, up when it has
    /// fitted for a while: each change costs the publisher a key frame.
    pub(super) fn choose_size(&mut self, now_us: u64) {
        if now_us < self.size_at_us {
            return;
        }
        self.size_at_us = now_us.saturating_add(SIZE_EVERY_US);
        let Some(estimator) = &self.player.estimator else { return };
        let believed = estimator.bitrate();
        let Some(lane) = self.stream.lane_for(believed / 10 * 9) else { return };
        let Some(line) = &self.player.video else { return };
        if lane == line.lane {
            self.fits_since_us = None;
            self.player.target = None;
            return;
        }
        let larger = self.stream.is_larger(lane, line.lane);
        let since = *self.fits_since_us.get_or_insert(now_us);
        if !larger || now_us.saturating_sub(since) >= UP_AFTER_US {
            self.player.target = Some(lane);
            self.stream.want_key(lane);
        }
    }

    pub(super) fn on_rtcp(
        &mut self,
        packet: &[u8],
        shard: &RtcShard,
        now: Instant,
        way: &mut Way<'_>,
    ) {
        let now_us = shard.clock().us(now);
        for item in Compound::new(packet) {
            let Ok(item) = item else { continue };
            match item {
                Rtcp::Nack { media, sequences, .. } => {
                    self.nacks = self.nacks.saturating_add(1);
                    let stream = self.stream.clone();
                    self.player.resend(&stream.log.borrow(), media, sequences, now_us, way);
                }
                Rtcp::Pli { .. } | Rtcp::Fir { .. } => {
                    self.plis = self.plis.saturating_add(1);
                    let lane = self.player.video.as_ref().map_or(VIDEO, |line| line.lane);
                    self.stream.want_key(lane);
                }
                Rtcp::ReceiverReport { reports, .. } | Rtcp::SenderReport { reports, .. } => {
                    for report in reports {
                        self.fraction_lost = report.fraction_lost;
                        let ntp = shard.clock().ntp(now_us);
                        if let Some(us) =
                            rtcp::round_trip_us(ntp, report.last_sr, report.delay_since_last_sr)
                        {
                            self.round_trip_us = Some(us);
                        }
                    }
                }
                Rtcp::TransportCc(feedback) => {
                    if let Some(estimator) = &mut self.player.estimator
                        && self.statuses.take(statuses(feedback.fci), now_us)
                        && let Ok(parsed) = twcc::Parsed::parse(feedback.fci)
                    {
                        estimator.on_feedback(&parsed, now_us);
                    }
                }
                Rtcp::Remb { bitrate, .. } => {
                    if let Some(estimator) = &mut self.player.estimator {
                        estimator.on_remb(bitrate);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Packets that a transport-wide feedback speaks of, by its own word (packet status count).
fn statuses(fci: &[u8]) -> u32 {
    match fci {
        [_, _, hi, lo, ..] => u32::from(u16::from_be_bytes([*hi, *lo])),
        _ => 1,
    }
}
