//! One stream of RTP that a player gets: pictures or sound.

use media::{Codec, Kind};
use rtc::negotiate::Media;
use rtp::fec::red::{Recovery, Restored};
use rtp::nack::{self, Generator};
use rtp::payload::scan;
use rtp::rtcp::ReceiverStats;
use rtp::seq::{Extender16, Extender32};
use smallvec::SmallVec;

use super::counts::Counts;
use super::tracker::{Pictures, Seen, Step, Tracker};
use super::watch::Watch;

/// A packet, as far as its header tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload_type: u8,
}

/// One packet in this many is decrypted whatever it is, so that the rollover counter of SRTP
/// (RFC 3711 §3.3.1) is known when a key picture must be found. It may miss eight of them.
const LOOK: u16 = 0x0fff;

/// Where nothing is asked for, a packet so far behind that comes yet counts as new: ten seconds of
/// sound.
const REMEMBERED: u64 = 500;

/// See the module.
pub(super) struct Source {
    pub(super) kind: Kind,
    /// None: the answer did not say; the first that comes with its payload type.
    pub(super) ssrc: Option<u32>,
    pub(super) rtx: Option<u32>,
    payload_types: Vec<(u8, Codec, Option<u8>)>,
    /// Redundant sound: its payload type, that of what is in it, and what came of it.
    red: Option<(u8, u8)>,
    recovery: Recovery,
    codec: Codec,
    extender: Extender16,
    times: Extender32,
    tracker: Tracker,
    pub(super) pictures: Pictures,
    /// What is missing; also where nothing may be asked for.
    pub(super) gaps: Generator,
    /// Whether the peer takes NACK.
    pub(super) asks: bool,
    pub(super) stats: ReceiverStats,
    pub(super) watch: Option<Box<Watch>>,
    pub(super) pli: bool,
    /// A key picture was last asked for then.
    pub(super) pli_ns: u64,
}

impl Source {
    pub(super) fn new(media: &Media, options: nack::Options, verified: bool) -> Option<Self> {
        let first = media.payloads.first()?;
        let remote = media.remote.first();
        let asks = media.payloads.iter().any(|payload| payload.feedback.nack);
        let of = |payload: &rtc::negotiate::Payload| (payload.pt, payload.codec, payload.rtx);
        Some(Self {
            kind: media.kind,
            ssrc: remote.map(|source| source.ssrc),
            rtx: remote.and_then(|source| source.rtx),
            payload_types: media.payloads.iter().map(of).collect(),
            red: media.red.filter(|_| media.kind == Kind::Audio).map(|red| (red, first.pt)),
            recovery: Recovery::new(),
            codec: first.codec,
            extender: Extender16::new(),
            times: Extender32::new(),
            tracker: Tracker::default(),
            pictures: Pictures::new(),
            gaps: Generator::new(options),
            asks,
            stats: ReceiverStats::new(first.clock),
            watch: verified.then(|| Box::new(Watch::new())),
            pli: first.feedback.pli,
            pli_ns: 0,
        })
    }

    /// Whether it is this stream's, by payload type.
    pub(super) fn has(&self, payload_type: u8) -> bool {
        self.payload_types.iter().any(|(pt, ..)| *pt == payload_type) || self.is_red(payload_type)
    }

    /// The payload type of what `rtx` retransmits.
    pub(super) fn original(&self, rtx: u8) -> Option<u8> {
        let of = self.payload_types.iter().find(|(_, _, own)| *own == Some(rtx));
        of.map(|(pt, ..)| *pt)
    }

    /// Whether the payload must be seen, not the header alone.
    pub(super) fn wants_payload(&self, sequence: u16, payload_type: u8) -> bool {
        self.watch.is_some()
            || self.is_red(payload_type)
            || (self.kind == Kind::Video && self.pictures.wants_key)
            || sequence & LOOK == 0
    }

    fn is_red(&self, payload_type: u8) -> bool {
        self.red.is_some_and(|(red, _)| red == payload_type)
    }

    /// A packet came that may carry what was in others before it.
    pub(super) fn sound(&mut self, head: Head, payload: &[u8], now_ns: u64, counts: &mut Counts) {
        let sequence = self.extender.peek(head.sequence);
        let Some((_, own)) = self.red.filter(|(red, _)| *red == head.payload_type) else {
            // What came along with a later one is no news.
            if self.red.is_none() || self.recovery.plain(sequence) {
                self.packet(head, Some(payload), false, now_ns, counts);
            } else {
                counts.packets.repeated += 1;
            }
            return;
        };
        let mut found: SmallVec<[Restored<'_>; 4]> = SmallVec::new();
        let read =
            self.recovery.take(sequence, head.timestamp, own, payload, |part| found.push(part));
        counts.packets.strange += u64::from(read.is_err());
        // The packet first, so that what it carries along fills a gap.
        for part in found.iter().rev() {
            let part_head = Head {
                sequence: part.sequence as u16,
                timestamp: part.timestamp,
                marker: head.marker && !part.recovered,
                payload_type: own,
            };
            let missing = self.gaps.missing();
            let before = counts.packets;
            self.packet(part_head, Some(part.data), part.recovered, now_ns, counts);
            if part.recovered && self.gaps.missing() < missing {
                // Neither late nor asked for.
                let packets = &mut counts.packets;
                packets.reordered = before.reordered;
                packets.recovered = before.recovered;
                packets.originals = before.originals;
                packets.redundant += 1;
            }
        }
    }

    /// A packet came, or came again as a retransmission.
    pub(super) fn packet(
        &mut self,
        head: Head,
        payload: Option<&[u8]>,
        retransmitted: bool,
        now_ns: u64,
        counts: &mut Counts,
    ) {
        let now_us = now_ns / 1000;
        let sequence = self.extender.extend(head.sequence);
        if !retransmitted {
            self.stats.on_packet(sequence, head.timestamp, now_us);
        }
        let seen = self.gaps.on_packet(sequence, now_us);
        let packets = &mut counts.packets;
        let fresh = match seen {
            nack::Seen::Next => true,
            nack::Seen::Gap(missing) => {
                packets.missing += missing;
                if !self.asks {
                    self.gaps.forget_before(sequence.saturating_sub(REMEMBERED));
                }
                true
            }
            nack::Seen::Recovered(0) => {
                packets.reordered += 1;
                true
            }
            nack::Seen::Recovered(_) => {
                packets.recovered += 1;
                false
            }
            nack::Seen::Stale => {
                packets.repeated += 1;
                return;
            }
            nack::Seen::Reset => {
                self.tracker.reset();
                self.pictures.wants_key = true;
                if let Some(watch) = &mut self.watch {
                    watch.restart();
                }
                true
            }
        };
        packets.originals += u64::from(fresh);
        if let Some((_, codec, _)) =
            self.payload_types.iter().find(|(pt, ..)| *pt == head.payload_type)
        {
            self.codec = *codec;
        }
        let video = self.kind == Kind::Video;
        let key = video && payload.is_some_and(|p| scan::starts_key_frame(self.codec, p));
        if let (Some(watch), Some(payload)) = (&mut self.watch, payload) {
            watch.hold(sequence, self.times.extend(head.timestamp), head.marker, payload);
        }
        let seen = Seen { marker: head.marker, key };
        let (tracker, mut rest) = self.split();
        tracker.put(sequence, seen, now_ns, &mut |step| rest.step(step, now_ns, counts));
    }

    /// Gives up what is too old.
    pub(super) fn timer(&mut self, now_ns: u64, counts: &mut Counts) {
        let (tracker, mut rest) = self.split();
        tracker.timer(now_ns, &mut |step| rest.step(step, now_ns, counts));
    }

    fn split(&mut self) -> (&mut Tracker, Rest<'_>) {
        let Self { tracker, pictures, watch, kind, codec, .. } = self;
        (tracker, Rest { pictures, watch: watch.as_deref_mut(), kind: *kind, codec: *codec })
    }

    /// When there is something to do, in nanoseconds.
    pub(super) fn due_ns(&self) -> u64 {
        let asks = self.asks && self.gaps.missing() > 0;
        let nack = if asks { self.gaps.next_timeout().map(|us| us * 1000) } else { None };
        let given_up = self.tracker.due_ns();
        nack.unwrap_or(u64::MAX).min(given_up.unwrap_or(u64::MAX))
    }
}

/// What follows from packets in order.
struct Rest<'a> {
    pictures: &'a mut Pictures,
    watch: Option<&'a mut Watch>,
    kind: Kind,
    codec: Codec,
}

impl Rest<'_> {
    fn step(&mut self, step: Step, now_ns: u64, counts: &mut Counts) {
        if let Step::Gone(count) = step {
            counts.packets.unrepaired += count;
        }
        if self.kind == Kind::Video {
            self.pictures.step(step, now_ns, counts);
        }
        if let (Some(watch), Step::Packet(sequence, _)) = (&mut self.watch, step) {
            watch.packet(sequence, self.codec, now_ns, counts);
        }
    }
}
