//! What one thread counts.

use std::collections::BTreeMap;

use hdrhistogram::CreationError;
use serde::Serialize;

use crate::fault::Fault;
use crate::stats::Times;
use crate::verify::Findings;

/// Different texts of errors that are told apart; the rest is counted together.
const MAX_KINDS: usize = 40;

/// Packets, as players saw them. Numbers only grow, so two of these taken at two times tell of
/// what lies between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Packets {
    /// RTP packets that came, retransmissions among them.
    pub received: u64,
    /// Bytes of all datagrams that came.
    pub bytes: u64,
    /// Original packets that came, late ones among them.
    pub originals: u64,
    /// Numbers left out when later ones came.
    pub missing: u64,
    /// Of those, came later by themselves.
    pub reordered: u64,
    /// Of those, came after they were asked for.
    pub recovered: u64,
    /// Of those, taken from what a later packet carried along (sound, RFC 2198).
    pub redundant: u64,
    /// Of those, given up.
    pub unrepaired: u64,
    /// Came twice, or after they were given up.
    pub repeated: u64,
    /// Retransmissions that came, as streams of their own.
    pub retransmissions: u64,
    /// Sequence numbers asked for, repetitions among them.
    pub nacks: u64,
    /// Key pictures asked for.
    pub plis: u64,
    /// Whole pictures that a decoder can show.
    pub pictures: u64,
    /// Times between two of them of over half a second.
    pub freezes: u64,
    /// How long those were in all, in microseconds.
    pub frozen_us: u64,
    /// RTP of no source that was agreed on, or that could not be decrypted or read.
    pub strange: u64,
    /// RTCP packets with a sender report.
    pub sender_reports: u64,
}

impl Packets {
    /// Goes over all fields together with those of `other`.
    fn zip(&mut self, other: &Self, each: fn(u64, u64) -> u64) {
        let fields = [
            (&mut self.received, other.received),
            (&mut self.bytes, other.bytes),
            (&mut self.originals, other.originals),
            (&mut self.missing, other.missing),
            (&mut self.reordered, other.reordered),
            (&mut self.recovered, other.recovered),
            (&mut self.redundant, other.redundant),
            (&mut self.unrepaired, other.unrepaired),
            (&mut self.repeated, other.repeated),
            (&mut self.retransmissions, other.retransmissions),
            (&mut self.nacks, other.nacks),
            (&mut self.plis, other.plis),
            (&mut self.pictures, other.pictures),
            (&mut self.freezes, other.freezes),
            (&mut self.frozen_us, other.frozen_us),
            (&mut self.strange, other.strange),
            (&mut self.sender_reports, other.sender_reports),
        ];
        for (field, other) in fields {
            *field = each(*field, other);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.zip(other, u64::saturating_add);
    }

    /// What was counted since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        let mut since = *self;
        since.zip(before, u64::saturating_sub);
        since
    }

    fn percent(&self, lost: u64) -> f64 {
        let sent = (self.originals + self.missing).saturating_sub(self.reordered);
        lost as f64 * 100.0 / sent.max(1) as f64
    }

    /// Lost on the way, in percent of what was sent.
    pub fn loss_percent(&self) -> f64 {
        self.percent(self.missing.saturating_sub(self.reordered))
    }

    /// Lost for good.
    pub fn loss_after_repair_percent(&self) -> f64 {
        self.percent(self.unrepaired)
    }
}

/// What publishers did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) pictures: u64,
    pub(super) asked: u64,
    pub(super) retransmissions: u64,
    pub(super) too_old: u64,
    pub(super) plis: u64,
}

/// What one thread counts.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    pub(super) joined: u64,
    pub(super) lost: u64,
    pub(super) publishers_lost: u64,
    pub(super) moved: u64,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) packets: Packets,
    pub(super) at_window: Packets,
    pub(super) sent: Sent,
    pub(super) longest_freeze_us: u64,
    /// From the offer to the answer.
    pub(super) answer: Times,
    /// From the answer to DTLS being done.
    pub(super) connected: Times,
    /// From the answer to the first RTP packet.
    pub(super) first_packet: Times,
    /// From the answer to the first whole key picture.
    pub(super) first_picture: Times,
    /// From a player's move to the first media at its new socket.
    pub(super) resumed: Times,
    /// From a publisher's stamp to the whole picture.
    pub(super) latency: Times,
    pub(super) lag: Times,
    pub(super) lateness: Times,
    pub(super) findings: Findings,
    pub(super) in_window: bool,
    /// Datagrams that the emulated network let pass, and lost.
    pub(super) passed: u64,
    pub(super) dropped: u64,
}

impl Counts {
    pub(super) fn new() -> Result<Self, CreationError> {
        Ok(Self {
            joined: 0,
            lost: 0,
            publishers_lost: 0,
            moved: 0,
            errors: BTreeMap::new(),
            packets: Packets::default(),
            at_window: Packets::default(),
            sent: Sent::default(),
            longest_freeze_us: 0,
            answer: Times::new()?,
            connected: Times::new()?,
            first_packet: Times::new()?,
            first_picture: Times::new()?,
            resumed: Times::new()?,
            latency: Times::new()?,
            lag: Times::new()?,
            lateness: Times::new()?,
            findings: Findings::default(),
            in_window: false,
            passed: 0,
            dropped: 0,
        })
    }

    pub(super) fn error(&mut self, fault: &Fault) {
        let text = fault.to_string();
        let known = self.errors.contains_key(&text) || self.errors.len() < MAX_KINDS;
        let key = if known { text } else { "others".to_owned() };
        *self.errors.entry(key).or_default() += 1;
    }

    /// A time between two whole pictures.
    pub(super) fn froze(&mut self, ns: u64) {
        self.packets.freezes += 1;
        self.packets.frozen_us += ns / 1000;
        self.longest_freeze_us = self.longest_freeze_us.max(ns / 1000);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.joined += other.joined;
        self.lost += other.lost;
        self.publishers_lost += other.publishers_lost;
        self.moved += other.moved;
        for (text, count) in &other.errors {
            *self.errors.entry(text.clone()).or_default() += count;
        }
        self.packets.add(&other.packets);
        self.at_window.add(&other.at_window);
        let (sent, more) = (&mut self.sent, &other.sent);
        sent.packets += more.packets;
        sent.bytes += more.bytes;
        sent.pictures += more.pictures;
        sent.asked += more.asked;
        sent.retransmissions += more.retransmissions;
        sent.too_old += more.too_old;
        sent.plis += more.plis;
        self.longest_freeze_us = self.longest_freeze_us.max(other.longest_freeze_us);
        for (times, more) in [
            (&mut self.answer, &other.answer),
            (&mut self.connected, &other.connected),
            (&mut self.first_packet, &other.first_packet),
            (&mut self.first_picture, &other.first_picture),
            (&mut self.resumed, &other.resumed),
            (&mut self.latency, &other.latency),
            (&mut self.lag, &other.lag),
            (&mut self.lateness, &other.lateness),
        ] {
            times.add(more);
        }
        self.findings.add(&other.findings);
        self.passed += other.passed;
        self.dropped += other.dropped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_late_by_itself_was_not_lost() {
        let packets = Packets {
            originals: 95,
            missing: 6,
            reordered: 1,
            recovered: 4,
            redundant: 0,
            unrepaired: 1,
            ..Packets::default()
        };
        assert_eq!(packets.loss_percent(), 5.0);
        assert_eq!(packets.loss_after_repair_percent(), 1.0);
        assert_eq!(Packets::default().loss_percent(), 0.0);
    }
}
