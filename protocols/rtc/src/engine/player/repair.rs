//! Sending again what a viewer did not get.
//!
//! Each wish is answered at once, and a moment later once more: a lost answer costs a round trip
//! until it is asked for again, a second copy a few bytes. Where one packet in twenty is lost, one
//! answer in four hundred is lost twice. A wish that is lost is made up for by feedback: see
//! [`Flight`].

use std::collections::VecDeque;

use rtp::twcc::Parsed;
use smallvec::SmallVec;

use super::flight::Flight;
use super::mapping::Mapping;
use super::write::{Head, write};
use super::{BESIDE, Line, Player, Way};
use crate::engine::log::{AUDIO, PacketLog};

/// Bytes that a viewer's answered wishes may take at once, and that come back each second: they
/// must not outgrow what they mend. Half of it is 1 Mbit/s.
const RESEND_BYTES: u32 = 256 * 1024;
/// Second copies take at most one part in so many of what is sent for the first time: 25 %. At half
/// of the share a tenth of the packets lost leaves most without a second copy, at double a link that
/// is full gets half as much again.
const EXTRA_SHARE: u64 = 4;
/// Bytes of second copies that may be saved up: a key frame of 8 Mbit/s and its neighbours. At half,
/// of a burst that is lost half is sent twice; at double, a full link gets twice the burst.
const EXTRA_BYTES: u32 = 64 * 1024;
/// Second copies that wait, at most. At half of it a lost burst of 64 packets outgrows it, at double
/// a viewer who loses takes 3 kB more.
const MOST_OWED: usize = 128;
/// From an answer to its second copy, at the least: what is lost together is lost within a few
/// milliseconds. At half of it one tick serves both, at double the second is hardly sooner than the
/// answer to the next wish on a short path.
const APART_US: u64 = 6_000;

/// Packets are numbered transport-wide, and feedback comes, for so long after the last wish. At half
/// of it a loss now and then finds nothing noted, at double viewers without losses pay for it longer.
const CALM_US: u64 = 30_000_000;
/// Packets that one feedback may have sent again: 64 in 100 ms are 5 Mbit/s. At half, a lost key frame
/// would be asked for instead, at double nothing is gained.
const MOST_TOLD: usize = 64;

/// A second copy that is to be sent.
#[derive(Clone, Copy, Debug)]
struct Owed {
    due_us: u64,
    sound: bool,
    seq: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Repair {
    /// Bytes left for answers, and since when.
    left: u32,
    at_us: u64,
    /// The last wish.
    wish_us: u64,
    /// Bytes left for second copies, and what had been sent when that was counted.
    extra: u32,
    octets: u64,
    owed: VecDeque<Owed>,
    flight: Flight,
    told: Repaired,
}

/// Packets that were sent again since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repaired {
    /// Asked for, and sent.
    pub(crate) answered: u64,
    /// Second copies.
    pub(crate) again: u64,
    /// Not asked for: feedback told that they did not come.
    pub(crate) unasked: u64,
    /// Asked for, and not sent: too old, or beyond the viewer's share.
    pub(crate) refused: u64,
    /// Bytes of both kinds.
    pub(crate) bytes: u64,
}

impl Repair {
    fn new(octets: u64, now_us: u64) -> Box<Self> {
        Box::new(Self {
            left: RESEND_BYTES,
            at_us: now_us,
            wish_us: now_us,
            extra: EXTRA_BYTES / 2,
            octets,
            owed: VecDeque::new(),
            flight: Flight::new(),
            told: Repaired::default(),
        })
    }

    /// Where packets are noted, as long as some are lost.
    pub(super) fn flight(&mut self, now_us: u64) -> Option<&mut Flight> {
        (now_us < self.wish_us.saturating_add(CALM_US)).then_some(&mut self.flight)
    }

    /// Fills both shares.
    fn earn(&mut self, octets: u64, now_us: u64) {
        let since = now_us.saturating_sub(self.at_us).min(1_000_000);
        let back = since.saturating_mul(u64::from(RESEND_BYTES)) / 1_000_000;
        self.at_us = now_us;
        let back = u32::try_from(back).unwrap_or(RESEND_BYTES);
        self.left = self.left.saturating_add(back).min(RESEND_BYTES);
        let sent = octets.wrapping_sub(self.octets) / EXTRA_SHARE;
        // What the division left over counts the next time.
        self.octets = self.octets.wrapping_add(sent.wrapping_mul(EXTRA_SHARE));
        let sent = u32::try_from(sent).unwrap_or(EXTRA_BYTES);
        self.extra = self.extra.saturating_add(sent).min(EXTRA_BYTES);
    }
}

impl Player {
    /// Sends again what the viewer says it did not get, and notes that a second copy is to follow.
    /// What is not in the log any more, and what exceeds the viewer's share, it does not get.
    pub(crate) fn resend(
        &mut self,
        log: &PacketLog,
        ssrc: u32,
        lost: impl Iterator<Item = u16>,
        now_us: u64,
        way: &mut Way<'_>,
    ) {
        let Some(line) = self.lines().find(|line| line.ssrc == ssrc) else { return };
        let (sound, next) = (line.lane == AUDIO, line.next);
        let octets = self.octets();
        let repair = self.repair.get_or_insert_with(|| Repair::new(octets, now_us));
        repair.earn(octets, now_us);
        repair.wish_us = now_us;
        for short in lost {
            let seq = nearest(next, short);
            let cost = self.cost(log, sound, seq);
            let Some(repair) = &mut self.repair else { return };
            let cost =
                cost.filter(|cost| self.thin.as_mut().is_none_or(|thin| thin.affords(*cost)));
            let Some((cost, left)) = cost.and_then(|c| Some((c, repair.left.checked_sub(c)?)))
            else {
                repair.told.refused = repair.told.refused.saturating_add(1);
                continue;
            };
            repair.left = left;
            repair.told.answered = repair.told.answered.saturating_add(1);
            if self.thin.is_none()
                && repair.owed.len() < MOST_OWED
                && let Some(extra) = repair.extra.checked_sub(cost)
            {
                repair.extra = extra;
                let due_us = now_us.saturating_add(APART_US);
                repair.owed.push_back(Owed { due_us, sound, seq });
            }
            self.send_again(log, sound, seq, now_us, way);
        }
        way.batch.flush(&way.road, way.tally);
    }

    /// Takes transport-wide feedback: what did not come is sent again, within the share of second
    /// copies.
    pub(crate) fn told(
        &mut self,
        log: &PacketLog,
        feedback: &Parsed<'_>,
        now_us: u64,
        way: &mut Way<'_>,
    ) {
        // On a thin path the queue loses what it cannot hold, whatever is sent again.
        let thin = self.thin.is_some();
        let (octets, next) = (self.octets(), self.video.as_ref().map_or(0, |line| line.next));
        let Some(repair) = self.repair.as_mut().filter(|_| !thin) else { return };
        repair.earn(octets, now_us);
        let mut lost: SmallVec<[u16; 16]> = SmallVec::new();
        for status in feedback.statuses() {
            if let Some(seq) = repair.flight.told(status.sequence, status.arrival_us.is_some())
                && lost.len() < MOST_TOLD
            {
                lost.push(seq);
            }
        }
        for short in lost {
            let seq = nearest(next, short);
            let Some(cost) = self.cost(log, false, seq) else { continue };
            let Some(repair) = &mut self.repair else { return };
            let Some(extra) = repair.extra.checked_sub(cost) else { break };
            repair.extra = extra;
            repair.told.unasked = repair.told.unasked.saturating_add(1);
            self.send_again(log, false, seq, now_us, way);
        }
        way.batch.flush(&way.road, way.tally);
    }

    /// Whether second copies wait: then [`Self::mend`] is to be called soon.
    pub(crate) fn owes(&self) -> bool {
        self.repair.as_ref().is_some_and(|repair| !repair.owed.is_empty())
    }

    /// Sends the second copies that are due.
    pub(crate) fn mend(&mut self, log: &PacketLog, now_us: u64, way: &mut Way<'_>) {
        while let Some(repair) = &mut self.repair
            && let Some(owed) = repair.owed.pop_front_if(|owed| owed.due_us <= now_us)
        {
            repair.told.again = repair.told.again.saturating_add(1);
            self.send_again(log, owed.sound, owed.seq, now_us, way);
        }
        way.batch.flush(&way.road, way.tally);
    }

    /// What was sent again so far.
    pub(crate) fn repaired(&self) -> Repaired {
        self.repair.as_ref().map_or_else(Repaired::default, |repair| repair.told)
    }

    /// Bytes of payload that were sent for the first time.
    fn octets(&self) -> u64 {
        self.lines().fold(0, |sum, line| sum.saturating_add(line.octets))
    }

    /// Bytes that sending a packet again takes; `None`: it is not there.
    fn cost(&self, log: &PacketLog, sound: bool, seq: u64) -> Option<u32> {
        let line = if sound { &self.audio } else { &self.video };
        let line = line.as_ref().filter(|line| line.started)?;
        let (entry, _) = log.get(line.find(log, seq)?.0)?;
        Some(u32::from(entry.len).saturating_add(BESIDE_U32))
    }

    fn send_again(
        &mut self,
        log: &PacketLog,
        sound: bool,
        seq: u64,
        now_us: u64,
        way: &mut Way<'_>,
    ) {
        let line = if sound { &mut self.audio } else { &mut self.video };
        let Some(line) = line.as_mut().filter(|line| line.started) else { return };
        let Some((number, map)) = line.find(log, seq) else { return };
        let Some((entry, payload)) = log.get(number) else { return };
        // Behind the share: the time of a packet of the first group is counted out.
        let burst = self.burst.as_ref().filter(|burst| !sound && burst.holds(number));
        let told = burst.map_or(entry.timestamp, |burst| burst.of(log, map.lane, number));
        let mut head = Head {
            marker: entry.marker,
            payload_type: line.payload_type,
            index: seq,
            timestamp: told.wrapping_add(map.time),
            ssrc: line.ssrc,
            extension: None,
            once: false,
            renumbered: Some(map).filter(Mapping::renumbers),
        };
        let Some((ssrc, payload_type)) = line.rtx else {
            return write(&head, &[], payload, way);
        };
        let [.., high, low] = seq.to_be_bytes();
        if let Some(repair) = &mut self.repair {
            let bytes = payload.len().saturating_add(BESIDE) as u64;
            repair.told.bytes = repair.told.bytes.saturating_add(bytes);
        }
        head.ssrc = ssrc;
        head.payload_type = payload_type;
        head.index = line.next_rtx;
        line.next_rtx = line.next_rtx.saturating_add(1);
        let flight = self.repair.as_mut().and_then(|repair| repair.flight(now_us));
        if self.estimator.is_some() || flight.is_some() {
            head.extension = self.transport_cc.map(|id| (id, self.transport_seq));
        }
        if head.extension.is_some() {
            if let Some(estimator) = &mut self.estimator {
                let bytes = payload.len().saturating_add(BESIDE);
                estimator.on_sent(self.transport_seq, bytes, now_us);
            }
            if let Some(flight) = flight {
                flight.sent(self.transport_seq, seq);
            }
            self.transport_seq = self.transport_seq.wrapping_add(1);
        }
        write(&head, &[&[high, low]], payload, way);
    }
}

const BESIDE_U32: u32 = BESIDE as u32;

impl Line {
    /// The log's number of what was sent under this number, and how it was.
    fn find(&self, log: &PacketLog, seq: u64) -> Option<(u64, Mapping)> {
        if self.is_once_only(seq) {
            return None;
        }
        let holds = |map: &Mapping| seq >= map.from;
        let map = self.now.filter(holds).or_else(|| self.before.filter(holds))?;
        Some((log.find(map.lane, seq.wrapping_sub(map.shift))?, map))
    }
}

/// The extended number nearest to `around` that ends in `short`.
fn nearest(around: u64, short: u16) -> u64 {
    let candidate = (around & !0xffff) | u64::from(short);
    if candidate > around.saturating_add(0x8000) {
        candidate.checked_sub(0x1_0000).unwrap_or(candidate)
    } else if candidate.saturating_add(0x8000) < around {
        candidate.saturating_add(0x1_0000)
    } else {
        candidate
    }
}
