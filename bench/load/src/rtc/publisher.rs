//! A publisher: a clip in a loop, and what players ask for again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use media::Kind;
use rtc::negotiate::Negotiated;
use rtc::session::transport::Transport;
use rtp::extension::Form;
use rtp::fec::red;
use rtp::packet::Header;
use rtp::rtcp::{Compound, Rtcp, SenderInfo, write};

use super::clip::{Part, RtcClip};
use super::counts::Counts;
use crate::fault::Fault;

/// Packets that can be sent again: what browsers keep of a second or two. At half of it a round
/// trip of half a second at 10 Mbit/s is not covered, at double memory doubles for nothing.
const KEPT: usize = 1024;
/// Between sender reports.
const REPORT_NS: u64 = 1_000_000_000;
/// A picture asked for sooner after another one is not begun anew.
const PLI_NS: u64 = 500_000_000;
/// Seconds from 1900 to 1970.
const NTP_OFFSET: u64 = 2_208_988_800;

/// What it takes to write a packet again.
#[derive(Clone, Copy, Debug)]
struct Kept {
    index: u64,
    part: usize,
    payload: usize,
    timestamp: u32,
}

/// One stream of RTP.
struct Line {
    kind: Kind,
    mid: String,
    mid_id: Option<u8>,
    twcc_id: Option<u8>,
    ssrc: u32,
    payload_type: u8,
    clock: u64,
    rtx: Option<(u32, u8)>,
    /// Of redundant sound: each block carries the one before it.
    red: Option<u8>,
    /// The extended number of the next packet, and of the next retransmission.
    next: u64,
    next_rtx: u64,
    packets: u32,
    octets: u32,
    kept: VecDeque<Kept>,
}

/// See the module.
pub(super) struct Publisher {
    clip: Arc<RtcClip>,
    lines: Vec<Line>,
    part: usize,
    /// When the round that runs began; 0: not connected yet.
    round_ns: u64,
    /// Of the first round.
    begun_ns: u64,
    next_report_ns: u64,
    twcc: u16,
    skipped_ns: u64,
    wants_key: bool,
    wall: Duration,
    packet: Vec<u8>,
}

impl Publisher {
    pub(super) fn new(
        negotiated: &Negotiated,
        clip: Arc<RtcClip>,
        seed: u64,
    ) -> Result<Self, Fault> {
        let mut lines = Vec::new();
        for media in negotiated.media.iter().filter(|media| media.refused.is_none()) {
            let wanted = |codec| media.kind == Kind::Audio || Some(codec) == clip.codec();
            let payload = media.payloads.iter().find(|payload| wanted(payload.codec));
            let (Some(payload), Some(ssrc)) = (payload, media.ssrc) else { continue };
            lines.push(Line {
                kind: media.kind,
                mid: media.mid.clone(),
                mid_id: media.extensions.mid,
                twcc_id: media.extensions.twcc,
                ssrc,
                payload_type: payload.pt,
                clock: u64::from(payload.clock),
                rtx: media.rtx_ssrc.zip(payload.rtx),
                red: media.red.filter(|_| media.kind == Kind::Audio),
                next: 1000 + (seed & 0x3fff),
                next_rtx: 1000 + (seed >> 20 & 0x3fff),
                packets: 0,
                octets: 0,
                kept: VecDeque::with_capacity(KEPT),
            });
        }
        if lines.is_empty() {
            return Err(Fault::Protocol("the answer takes neither pictures nor sound".to_owned()));
        }
        Ok(Self {
            clip,
            lines,
            part: 0,
            round_ns: 0,
            begun_ns: 0,
            next_report_ns: 0,
            twcc: 0,
            skipped_ns: 0,
            wants_key: false,
            wall: Duration::ZERO,
            packet: Vec::with_capacity(2048),
        })
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.begun_ns > 0
    }

    /// When the next picture or sound, or report, is due.
    pub(super) fn due_ns(&self) -> u64 {
        let next = self.clip.parts().get(self.part).map_or(0, |part| part.at_us * 1000);
        (self.round_ns + next).min(self.next_report_ns)
    }

    /// A moment in ticks of a clock that began with the first round.
    fn ticks(&self, clock: u64, at_ns: u64) -> u32 {
        let since = u128::from(at_ns.saturating_sub(self.begun_ns));
        (since * u128::from(clock) / 1_000_000_000) as u32
    }

    /// Sends all that is due.
    pub(super) fn timer(
        &mut self,
        now_ns: u64,
        transport: &Transport,
        counts: &mut Counts,
        send: &mut impl FnMut(&[u8]),
    ) {
        if self.begun_ns == 0 {
            (self.begun_ns, self.round_ns) = (now_ns, now_ns);
            self.next_report_ns = now_ns + REPORT_NS / 10;
            self.wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        }
        let clip = self.clip.clone();
        loop {
            if self.wants_key {
                self.skip_to_key(now_ns);
            }
            let Some(part) = clip.parts().get(self.part) else { break };
            let due_ns = self.round_ns + part.at_us * 1000;
            if due_ns > now_ns {
                break;
            }
            if counts.in_window {
                counts.lateness.note_ns(now_ns - due_ns);
            }
            self.send_part(part, transport, counts, send);
            self.part += 1;
            if self.part >= clip.parts().len() {
                self.part = 0;
                self.round_ns += clip.round_us() * 1000;
            }
        }
    }

    /// Somebody asked for a key picture: the clip goes on at its next one, at once.
    fn skip_to_key(&mut self, now_ns: u64) {
        self.wants_key = false;
        if now_ns < self.skipped_ns + PLI_NS {
            return;
        }
        self.skipped_ns = now_ns;
        let parts = self.clip.parts();
        let ahead = parts.iter().enumerate().skip(self.part).find(|(_, part)| part.key);
        let (place, part) = match ahead {
            Some(found) => found,
            None => match parts.iter().enumerate().find(|(_, part)| part.key) {
                Some(found) => found,
                None => return,
            },
        };
        self.part = place;
        self.round_ns = now_ns.saturating_sub(part.at_us * 1000);
    }

    fn send_part(
        &mut self,
        part: &Part,
        transport: &Transport,
        counts: &mut Counts,
        send: &mut impl FnMut(&[u8]),
    ) {
        let Some(place) = self.lines.iter().position(|line| line.kind == part.kind) else { return };
        let clock = self.lines.get(place).map_or(1, |line| line.clock);
        let timestamp = self.ticks(clock, self.round_ns + part.shown_us * 1000);
        counts.sent.pictures += u64::from(part.kind == Kind::Video);
        for (payload, of) in part.payloads.iter().enumerate() {
            let Some(line) = self.lines.get_mut(place) else { return };
            let timestamp = timestamp.wrapping_add(of.ticks);
            let kept = Kept { index: line.next, part: self.part, payload, timestamp };
            line.next += 1;
            if line.kept.len() >= KEPT {
                line.kept.pop_front();
            }
            line.kept.push_back(kept);
            line.packets = line.packets.wrapping_add(1);
            line.octets = line.octets.wrapping_add(of.range.len() as u32);
            if let Some(packet) = self.write(place, kept, false, transport) {
                counts.sent.packets += 1;
                counts.sent.bytes += packet.len() as u64;
                send(packet);
            }
        }
    }

    /// Writes and encrypts a packet, or its retransmission.
    fn write(&mut self, place: usize, kept: Kept, again: bool, t: &Transport) -> Option<&[u8]> {
        let line = self.lines.get_mut(place)?;
        let payload = self.clip.parts().get(kept.part)?.payloads.get(kept.payload)?;
        let rtx = line.rtx.filter(|_| again);
        // The same number twice, with other bytes, would give the keys away.
        if again && rtx.is_none() {
            return None;
        }
        let (ssrc, payload_type) =
            rtx.unwrap_or((line.ssrc, line.red.unwrap_or(line.payload_type)));
        let index = match rtx {
            Some(_) => {
                line.next_rtx += 1;
                line.next_rtx
            }
            None => kept.index,
        };
        let header = Header {
            marker: payload.marker,
            payload_type,
            sequence: index as u16,
            timestamp: kept.timestamp,
            ssrc,
        };
        self.twcc = self.twcc.wrapping_add(1);
        self.packet.clear();
        header.write_with(&mut self.packet, Form::OneByte, |extension| {
            if let Some(id) = line.mid_id {
                extension.mid(id, &line.mid);
            }
            if let Some(id) = line.twcc_id {
                extension.transport_cc(id, self.twcc);
            }
        });
        let header_len = self.packet.len();
        if rtx.is_some() {
            self.packet.extend_from_slice(&(kept.index as u16).to_be_bytes());
        } else if line.red.is_some() {
            let own = line.payload_type;
            // The last that is kept is this one.
            let before = line.kept.iter().rev().nth(1);
            let data = before.and_then(|before| {
                let part = self.clip.parts().get(before.part)?;
                Some((before.timestamp, self.clip.bytes(part.payloads.get(before.payload)?)))
            });
            let earlier = data.and_then(|(timestamp, data)| {
                let offset = kept.timestamp.wrapping_sub(timestamp);
                let block = red::Block { payload_type: own, offset, data };
                Some((red::header(&block).filter(|_| offset > 0)?, data))
            });
            let (header, data) = earlier.unzip();
            self.packet.extend_from_slice(header.as_ref().map_or(&[][..], |header| header));
            self.packet.push(own);
            self.packet.extend_from_slice(data.unwrap_or_default());
        }
        self.packet.extend_from_slice(self.clip.bytes(payload));
        if let Some(sender) = t.srtp_sender() {
            sender.protect(index, ssrc, &mut self.packet, 0, header_len).ok()?;
        }
        Some(&self.packet)
    }

    /// What the server says.
    pub(super) fn rtcp(
        &mut self,
        datagram: &[u8],
        transport: &Transport,
        counts: &mut Counts,
        send: &mut impl FnMut(&[u8]),
    ) {
        for packet in Compound::new(datagram).flatten() {
            match packet {
                Rtcp::Nack { media, sequences, .. } => {
                    for sequence in sequences {
                        counts.sent.asked += 1;
                        self.again(media, sequence, transport, counts, send);
                    }
                }
                Rtcp::Pli { .. } | Rtcp::Fir { .. } => {
                    counts.sent.plis += 1;
                    self.wants_key = true;
                }
                _ => {}
            }
        }
    }

    fn again(
        &mut self,
        media: u32,
        sequence: u16,
        transport: &Transport,
        counts: &mut Counts,
        send: &mut impl FnMut(&[u8]),
    ) {
        let Some(place) = self.lines.iter().position(|line| line.ssrc == media) else { return };
        let line = self.lines.get(place);
        let behind = line.map_or(0, |line| usize::from((line.next as u16).wrapping_sub(sequence)));
        let kept = line.and_then(|line| {
            let at = line.kept.len().checked_sub(behind)?;
            line.kept.get(at).copied()
        });
        let Some(kept) = kept else {
            counts.sent.too_old += 1;
            return;
        };
        if let Some(packet) = self.write(place, kept, true, transport) {
            counts.sent.retransmissions += 1;
            counts.sent.bytes += packet.len() as u64;
            send(packet);
        }
    }

    /// Writes a report of each stream into `out` when it is due; else leaves it empty.
    pub(super) fn report(&mut self, now_ns: u64, out: &mut Vec<u8>) {
        out.clear();
        if self.begun_ns == 0 || now_ns < self.next_report_ns {
            return;
        }
        self.next_report_ns = now_ns + REPORT_NS;
        let since_ns = now_ns.saturating_sub(self.begun_ns);
        let wall = self.wall + Duration::from_nanos(since_ns);
        let fraction = (u64::from(wall.subsec_nanos()) << 32) / 1_000_000_000;
        let ntp = (wall.as_secs().wrapping_add(NTP_OFFSET) << 32) | fraction;
        for line in self.lines.iter().filter(|line| line.packets > 0) {
            let info = SenderInfo {
                ssrc: line.ssrc,
                ntp,
                rtp: self.ticks(line.clock, now_ns),
                packets: line.packets,
                octets: line.octets,
            };
            write::sender_report(out, &info, &[]);
            write::sdes_cname(out, line.ssrc, b"millrace-bench");
        }
    }
}
