//! What a viewer reports, and what follows.

use std::rc::Rc;
use std::time::Instant;

use rtp::rtcp::{self, Compound, Rtcp};
use rtp::twcc;

use super::judge::Heard;
use super::{Body, Peer, Playing, Role};
use crate::engine::batch::Tally;
use crate::engine::log::{AUDIO, VIDEO};
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
                        self.on_report(&report, now_us);
                    }
                }
                Rtcp::TransportCc(feedback) => {
                    if self.statuses.take(statuses(feedback.fci), now_us)
                        && let Ok(parsed) = twcc::Parsed::parse(feedback.fci)
                    {
                        if let Some(estimator) = &mut self.player.estimator {
                            estimator.on_feedback(&parsed, now_us);
                        }
                        let stream = self.stream.clone();
                        self.player.told(&stream.log.borrow(), &parsed, now_us, way);
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

    /// Notes that a report of the pictures is sent now. What it tells is the time of the stream, not
    /// ours, so that the round trip cannot be taken from it.
    pub(super) fn reports(&mut self, ssrc: u32, ntp: u64, now_us: u64) {
        if self.player.video.as_ref().is_some_and(|line| line.ssrc == ssrc) {
            let [_, last] = self.reported;
            self.reported = [last, ((ntp >> 16) as u32, now_us)];
        }
    }

    /// From one of our reports to that of the viewer, without what that has waited.
    fn round_trip(&self, report: &rtcp::ReportBlock, now_us: u64) -> Option<u64> {
        let said = |(ntp, _): &&(u32, u64)| *ntp == report.last_sr && *ntp != 0;
        let (_, at_us) = self.reported.iter().rev().find(said)?;
        // Units of 1/65536 s.
        let waited = u64::from(report.delay_since_last_sr).saturating_mul(1_000_000) >> 16;
        now_us.checked_sub(*at_us)?.checked_sub(waited)
    }

    fn on_report(&mut self, report: &rtcp::ReportBlock, now_us: u64) {
        let rtt_us = self.round_trip(report, now_us);
        self.fraction_lost = report.fraction_lost;
        if self.player.audio.as_ref().is_some_and(|line| line.ssrc == report.ssrc) {
            self.player.sound_lost(report.fraction_lost, now_us);
        }
        let Some(line) = self.player.video.as_ref().filter(|line| line.ssrc == report.ssrc) else {
            return;
        };
        // As long as there is a smaller size, that is what helps.
        if self.stream.lane_for(0).is_some_and(|least| least != line.lane) {
            self.player.set_thin(None);
            return;
        }
        let had = {
            let log = self.stream.log.borrow();
            log.bytes_of(line.lane).saturating_add(log.bytes_of(AUDIO))
        };
        let heard = Heard { lost: report.fraction_lost, rtt_us, had, now_us };
        self.player.now_us = now_us;
        self.player.set_thin(self.judge.hear(&heard, self.player.thin()));
    }

    /// Says what the viewer does not get, and why.
    pub(super) fn note(&self, note: &mut String) {
        if let Some(bps) = self.player.thin() {
            note.push_str(&format!(
                "; pictures are left out: the path carries about {} kbit/s, less than the stream",
                bps / 1000
            ));
        }
    }

    /// Says at the end what was lost and mended, if anything was.
    pub(crate) fn tell(&self, session: &gate::Session) {
        let repaired = self.player.repaired();
        let (lost, left_out) = (repaired.answered + repaired.refused, self.player.left_out);
        if lost == 0 && left_out == 0 {
            return;
        }
        tracing::info!(
            session = %session.id, asked = lost, answered = repaired.answered,
            twice = repaired.again, unasked = repaired.unasked, bytes = repaired.bytes, left_out, plis = self.plis,
            redundancy = self.player.redundancy(),
            "what was lost on the way to the viewer"
        );
    }
}

impl Peer {
    /// Takes a viewer's reports.
    pub(super) fn reported(
        self: &Rc<Self>,
        shard: &RtcShard,
        now: Instant,
        packet: &[u8],
        body: &mut Body,
    ) {
        let (Role::Play(playing), Some(road)) = (&mut body.role, &body.road) else { return };
        let before = playing.player.thin().is_some();
        let mut tally = Tally::default();
        let mut batch = shard.batch();
        let mut way = Way {
            road: road.road(),
            srtp: body.transport.srtp_sender(),
            batch: &mut batch,
            tally: &mut tally,
        };
        playing.on_rtcp(packet, shard, now, &mut way);
        self.book(shard, playing, tally);
        if playing.player.owes() {
            shard.stir(self);
        }
        let after = playing.player.thin();
        if before != after.is_some() {
            match after {
                Some(bps) => tracing::info!(
                    session = %self.session.id, bps,
                    "the path carries less than the stream: pictures are left out"
                ),
                None => tracing::info!(
                    session = %self.session.id, left_out = playing.player.left_out,
                    "all pictures are sent again"
                ),
            }
            self.note(body);
        }
    }

    /// Sends what a viewer is to get once more and is due.
    pub(super) fn mend(&self, shard: &RtcShard, now: Instant, body: &mut Body) {
        let (Role::Play(playing), Some(road)) = (&mut body.role, &body.road) else { return };
        if !playing.player.owes() {
            return;
        }
        let mut tally = Tally::default();
        let mut batch = shard.batch();
        let mut way = Way {
            road: road.road(),
            srtp: body.transport.srtp_sender(),
            batch: &mut batch,
            tally: &mut tally,
        };
        let stream = playing.stream.clone();
        playing.player.mend(&stream.log.borrow(), shard.clock().us(now), &mut way);
        self.book(shard, playing, tally);
    }
}

/// Packets that a transport-wide feedback speaks of, by its own word (packet status count).
fn statuses(fci: &[u8]) -> u32 {
    match fci {
        [_, _, hi, lo, ..] => u32::from(u16::from_be_bytes([*hi, *lo])),
        _ => 1,
    }
}
