//! A player: what it does with packets, and what it says about them.

use media::Kind;
use rtc::negotiate::Negotiated;
use rtc::session::transport::{Incoming, Transport, Via};
use rtp::extension::{self, Extensions};
use rtp::rtcp::{Compound, Rtcp, write};
use rtp::{nack, rtx, twcc};
use smallvec::SmallVec;

use super::counts::Counts;
use super::source::{Head, Source};
use crate::clock::Now;

/// Between reports of the receiver.
const REPORT_NS: u64 = 1_000_000_000;
/// A key picture is asked for no more often, as browsers do it.
const PLI_NS: u64 = 300_000_000;
/// Length of a fixed RTP header.
const HEADER: usize = 12;

/// See the module.
pub(super) struct Player {
    sources: SmallVec<[Source; 2]>,
    ssrc: u32,
    transport_cc: Option<u8>,
    recorder: Option<Box<twcc::Recorder>>,
    next_report_ns: u64,
    answered_ns: u64,
    pub(super) first_ns: u64,
    first_picture: bool,
    pub(super) bytes: u64,
    pub(super) bytes_at_window: u64,
    /// Moved to another socket then; until media comes there.
    pub(super) moved_ns: Option<u64>,
}

impl Player {
    pub(super) fn new(
        negotiated: &Negotiated,
        round_trip_us: u64,
        verified: bool,
        answered_ns: u64,
        seed: u64,
    ) -> Self {
        let mut options =
            nack::Options { min_hold_us: 0, max_hold_us: 0, ..nack::Options::default() };
        // What the connectivity checks of a browser would have told.
        options.initial_rtt_us = round_trip_us.max(options.min_retry_us);
        let accepted = negotiated.media.iter().filter(|media| media.refused.is_none());
        let transport_cc = accepted.clone().find_map(|media| media.extensions.twcc);
        Self {
            sources: accepted.filter_map(|m| Source::new(m, options, verified)).collect(),
            ssrc: (seed as u32) | 1,
            transport_cc,
            recorder: transport_cc.map(|_| Box::new(twcc::Recorder::new(twcc::Options::default()))),
            // Spread, so that thousands do not report at once.
            next_report_ns: answered_ns + REPORT_NS / 2 + seed % REPORT_NS,
            answered_ns,
            first_ns: 0,
            first_picture: false,
            bytes: 0,
            bytes_at_window: 0,
            moved_ns: None,
        }
    }

    /// Time since the last whole picture, of one that had any.
    pub(super) fn stands_still_ns(&self, now_ns: u64) -> Option<u64> {
        let video = self.sources.iter().find(|source| source.kind == Kind::Video)?;
        let last_ns = video.pictures.last_ns;
        (last_ns > 0).then(|| now_ns.saturating_sub(last_ns))
    }

    /// An RTP packet, as it came. No allocation, unless the player is verified.
    #[inline]
    pub(super) fn packet(
        &mut self,
        packet: &mut [u8],
        way: (std::net::SocketAddr, Via),
        transport: &mut Transport,
        now: Now,
        counts: &mut Counts,
    ) {
        let Some(&[_, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3]) =
            packet.first_chunk::<HEADER>()
        else {
            counts.packets.strange += 1;
            return;
        };
        counts.packets.received += 1;
        if self.first_ns == 0 {
            self.first_ns = now.ns;
            counts.first_packet.note_ns(now.ns.saturating_sub(self.answered_ns));
        }
        if let Some(moved_ns) = self.moved_ns.take() {
            counts.resumed.note_ns(now.ns.saturating_sub(moved_ns));
        }
        self.arrival(packet, now.ns);
        let mut head = Head {
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
        };
        let ssrc = u32::from_be_bytes([c0, c1, c2, c3]);
        let Some(source) = find(&mut self.sources, ssrc, head.payload_type) else {
            counts.packets.strange += 1;
            return;
        };
        let retransmitted = source.rtx == Some(ssrc);
        if !retransmitted && !source.wants_payload(head.sequence, head.payload_type) {
            return source.packet(head, None, false, now.ns, counts);
        }
        let Incoming::Rtp(clear) = transport.handle(now.instant, way.0, way.1, packet) else {
            counts.packets.strange += 1;
            return;
        };
        if retransmitted {
            counts.packets.retransmissions += 1;
            let Some(original) = source.original(head.payload_type) else { return };
            // One without a packet in it only asks how fast the way is.
            let Ok(clear) = rtx::unwrap(clear, source.ssrc.unwrap_or_default(), original) else {
                return;
            };
            head.sequence = rtp::packet::peek_sequence(clear).unwrap_or_default();
            head.payload_type = original;
            let payload = payload(clear);
            source.packet(head, payload, true, now.ns, counts);
        } else {
            match payload(clear) {
                Some(payload) if source.kind == Kind::Audio => {
                    source.sound(head, payload, now.ns, counts);
                }
                payload => source.packet(head, payload, false, now.ns, counts),
            }
        }
        if !self.first_picture && source.pictures.last_ns > 0 {
            self.first_picture = true;
            counts.first_picture.note_ns(now.ns.saturating_sub(self.answered_ns));
        }
    }

    /// Notes the transport-wide number, if there is one.
    fn arrival(&mut self, packet: &[u8], now_ns: u64) {
        let (Some(id), Some(recorder)) = (self.transport_cc, &mut self.recorder) else { return };
        let Some(first) = packet.first().filter(|first| **first & 0x10 != 0) else { return };
        let at = HEADER + 4 * usize::from(first & 0x0f);
        let Some((&[p0, p1, l0, l1], body)) =
            packet.get(at..).and_then(|rest| rest.split_first_chunk::<4>())
        else {
            return;
        };
        let length = 4 * usize::from(u16::from_be_bytes([l0, l1]));
        let body = body.get(..length).unwrap_or_default();
        let found = Extensions::new(u16::from_be_bytes([p0, p1]), body).get(id);
        if let Some(number) = found.and_then(extension::transport_cc) {
            recorder.on_packet(number, now_ns / 1000);
        }
    }

    /// Reports of the server.
    pub(super) fn rtcp(&mut self, datagram: &[u8], now_ns: u64, counts: &mut Counts) {
        for packet in Compound::new(datagram).flatten() {
            if let Rtcp::SenderReport { info, .. } = packet {
                counts.packets.sender_reports += 1;
                if let Some(source) = self.sources.iter_mut().find(|s| s.ssrc == Some(info.ssrc)) {
                    source.stats.on_sender_report(info.ntp, now_ns / 1000);
                }
            }
        }
    }

    /// What is due: gives up what is too old, and writes into `out` what is to be said, one packet
    /// of RTCP; empty: nothing.
    pub(super) fn timer(
        &mut self,
        now_ns: u64,
        numbers: &mut Vec<u16>,
        out: &mut Vec<u8>,
        counts: &mut Counts,
    ) {
        let now_us = now_ns / 1000;
        out.clear();
        if now_ns >= self.next_report_ns {
            self.next_report_ns = now_ns + REPORT_NS;
            let mut blocks: SmallVec<[_; 2]> = SmallVec::new();
            for source in &mut self.sources {
                if let Some(ssrc) = source.ssrc.filter(|_| source.stats.received() > 0) {
                    blocks.push(source.stats.report(ssrc, now_us));
                }
            }
            write::receiver_report(out, self.ssrc, &blocks);
            write::sdes_cname(out, self.ssrc, b"millrace-bench");
        }
        for source in &mut self.sources {
            source.timer(now_ns, counts);
            let Some(ssrc) = source.ssrc else { continue };
            if source.asks && source.gaps.missing() > 0 {
                numbers.clear();
                source.gaps.poll(now_us, numbers);
                counts.packets.nacks += numbers.len() as u64;
                write::nack(out, self.ssrc, ssrc, numbers.iter().copied());
            }
            let wants_key = source.kind == Kind::Video && source.pictures.wants_key;
            // The first comes by itself; who has none after a while asks.
            let since_ns = source.pli_ns.max(self.first_ns);
            if wants_key && source.pli && self.first_ns > 0 && now_ns >= since_ns + PLI_NS {
                source.pli_ns = now_ns;
                counts.packets.plis += 1;
                write::pli(out, self.ssrc, ssrc);
            }
        }
        if let Some(recorder) = &mut self.recorder
            && recorder.next_timeout().is_some_and(|due| now_us >= due)
        {
            let media = self.sources.first().and_then(|s| s.ssrc).unwrap_or_default();
            recorder.write(out, self.ssrc, media, now_us);
        }
    }

    /// When [`timer`](Self::timer) has something to do.
    pub(super) fn due_ns(&self) -> u64 {
        let mut due_ns = self.next_report_ns;
        for source in &self.sources {
            due_ns = due_ns.min(source.due_ns());
            if source.kind == Kind::Video && source.pictures.wants_key && self.first_ns > 0 {
                due_ns = due_ns.min(source.pli_ns.max(self.first_ns) + PLI_NS);
            }
        }
        let feedback = self.recorder.as_ref().and_then(|recorder| recorder.next_timeout());
        feedback.map_or(due_ns, |us| due_ns.min(us * 1000))
    }
}

/// The stream a packet belongs to.
fn find(sources: &mut [Source], ssrc: u32, payload_type: u8) -> Option<&mut Source> {
    let known = sources.iter().position(|s| s.ssrc == Some(ssrc) || s.rtx == Some(ssrc));
    let place = known.or_else(|| {
        sources.iter().position(|source| source.ssrc.is_none() && source.has(payload_type))
    })?;
    let source = sources.get_mut(place)?;
    source.ssrc.get_or_insert(ssrc);
    Some(source)
}

fn payload(packet: &[u8]) -> Option<&[u8]> {
    rtp::packet::Packet::parse(packet).ok().map(|packet| packet.payload)
}
