//! A viewer: a number in the packet log, and what its own headers need.

use rtp::seq;

use super::batch::{Batch, Path, Tally};
use super::log::{AUDIO, Entry, LANES, PacketLog};
use super::socket::Socket;
use crate::wire::srtp;

/// Bytes of a fixed RTP header (RFC 3550 §5.1).
const HEADER: usize = 12;
/// Bytes of our header extension block: one element of transport-wide sequence number (RFC 8285).
const EXTENSION: usize = 8;
/// First sequence numbers lie in this range: far enough from zero that what was sent just before
/// the first packet has a number, too, and far enough from the wrap that a viewer who lost the
/// first packets still guesses the rollover counter right (RFC 3711 §3.3.1).
pub(crate) const FIRST_SEQ: std::ops::Range<u64> = 4_096..28_000;
/// Most packets of one turn. A viewer that lacks more (a group of pictures, when it joins) gets the
/// rest with the next ticks, so that no burst fills a queue on its way.
const TURN: usize = 96;
/// Bytes that a viewer's retransmissions may take at once, and that come back each second: they
/// must not outgrow what they mend. Half of it is 1 Mbit/s.
const RESEND_BYTES: u32 = 256 * 1024;

/// An outgoing line of media: one SSRC of the viewer.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its SSRC.
    pub(crate) ssrc: u32,
    /// The payload type that the viewer gave the coding.
    pub(crate) payload_type: u8,
    /// Retransmission (RFC 4588): SSRC and payload type.
    pub(crate) rtx: Option<(u32, u8)>,
    /// The lane of the log that feeds it.
    pub(crate) lane: u8,
    /// What is added to the log's numbers, modulo.
    shift: u64,
    shift_time: u32,
    /// Behind the highest number that was sent.
    next: u64,
    next_rtx: u64,
    last_time: u32,
    started: bool,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
}

impl Line {
    /// A line that has sent nothing. `first` and `first_rtx` from [`FIRST_SEQ`].
    pub(crate) fn new(
        ssrc: u32,
        payload_type: u8,
        rtx: Option<(u32, u8)>,
        lane: u8,
        first: u64,
        first_rtx: u64,
    ) -> Self {
        Self {
            ssrc,
            payload_type,
            rtx,
            lane,
            shift: 0,
            shift_time: 0,
            next: first,
            next_rtx: first_rtx,
            last_time: 0,
            started: false,
            packets: 0,
            octets: 0,
        }
    }

    /// What follows has no connection with what was sent: its numbers continue all the same.
    pub(crate) fn restart(&mut self) {
        self.started = false;
    }

    /// Whether it has ever sent.
    pub(crate) fn has_sent(&self) -> bool {
        self.packets > 0
    }

    fn begin(&mut self, entry: &Entry) {
        self.shift = self.next.wrapping_sub(entry.seq);
        if self.packets > 0 {
            // Times of another source have another zero: one tick behind what was there keeps the
            // viewer's buffer in order, and sender reports tell the truth.
            self.shift_time = self.last_time.wrapping_add(1).wrapping_sub(entry.timestamp);
        }
        self.started = true;
    }

    /// The viewer's RTP timestamp of a time of the log.
    pub(crate) fn time(&self, timestamp: u32) -> u32 {
        timestamp.wrapping_add(self.shift_time)
    }
}

/// See the module.
pub(crate) struct Player {
    /// Next packet of the log.
    pub(crate) cursor: u64,
    pub(crate) audio: Option<Line>,
    pub(crate) video: Option<Line>,
    /// Identifier of the header extension for transport-wide numbers, and the next number.
    pub(crate) transport_cc: Option<u8>,
    pub(crate) transport_seq: u16,
    /// Packets to leave out on purpose (a test of loss, asked for through the API).
    pub(crate) drop_next: u32,
    /// Waits for a picture that a decoder can begin with.
    pub(crate) wants_key: bool,
    resend: u32,
    resend_at_us: u64,
    pub(crate) resent: u64,
    pub(crate) not_resent: u64,
    pub(crate) jumped: u64,
}

/// What every send needs.
pub(crate) struct Way<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) path: Path,
    /// `None`: the client asked for plain RTP.
    pub(crate) srtp: Option<&'a srtp::Sender>,
    pub(crate) batch: &'a mut Batch,
    pub(crate) tally: &'a mut Tally,
}

impl Player {
    /// A viewer that begins at `cursor`.
    pub(crate) fn new(cursor: u64, audio: Option<Line>, video: Option<Line>) -> Self {
        Self {
            cursor,
            audio,
            video,
            transport_cc: None,
            transport_seq: 0,
            drop_next: 0,
            wants_key: true,
            resend: RESEND_BYTES,
            resend_at_us: 0,
            resent: 0,
            not_resent: 0,
            jumped: 0,
        }
    }

    /// Sends what the viewer lacks, at most one turn's worth. `true`: there is more. The cost of a
    /// packet is its header, its encryption, and its part of a system call.
    pub(crate) fn walk(&mut self, log: &PacketLog, way: &mut Way<'_>) -> bool {
        if self.cursor < log.first() {
            self.jump(log);
        }
        let head = log.head();
        let end = head.min(self.cursor.saturating_add(TURN as u64));
        // Pictures first: sound is shorter, so it may ride at the end of their call.
        for sound in [false, true] {
            let mut number = self.cursor;
            while number < end {
                if let Some((entry, payload)) = log.get(number)
                    && (entry.lane == AUDIO) == sound
                {
                    self.send(entry, payload, way);
                }
                number = number.saturating_add(1);
            }
        }
        way.batch.flush(way.socket, way.path, way.tally);
        self.cursor = end;
        end < head
    }

    /// What it was about to get is gone: on at the last key frame.
    fn jump(&mut self, log: &PacketLog) {
        self.jumped = self.jumped.saturating_add(1);
        self.cursor = log.join();
        for line in [&mut self.audio, &mut self.video].into_iter().flatten() {
            line.restart();
        }
        self.wants_key = true;
    }

    #[inline]
    fn send(&mut self, entry: &Entry, payload: &[u8], way: &mut Way<'_>) {
        let line = if entry.lane == AUDIO { &mut self.audio } else { &mut self.video };
        let Some(line) = line.as_mut().filter(|line| line.lane == entry.lane) else { return };
        if entry.lane != AUDIO && self.wants_key {
            if !entry.key {
                return;
            }
            self.wants_key = false;
        }
        if !line.started {
            line.begin(entry);
        }
        let seq = entry.seq.wrapping_add(line.shift);
        // Behind what was sent first: nobody waits for it.
        if seq > u64::MAX / 2 {
            return;
        }
        line.next = line.next.max(seq.saturating_add(1));
        let timestamp = line.time(entry.timestamp);
        line.last_time = timestamp;
        line.packets = line.packets.wrapping_add(1);
        line.octets = line.octets.wrapping_add(u32::from(entry.len));
        if self.drop_next > 0 {
            self.drop_next = self.drop_next.saturating_sub(1);
            return;
        }
        // A packet that may be sent again as it is must not carry what changes with each sending.
        let extension = self.transport_cc.filter(|_| line.rtx.is_some());
        let head = Head {
            marker: entry.marker,
            payload_type: line.payload_type,
            index: seq,
            timestamp,
            ssrc: line.ssrc,
            extension: extension.map(|id| (id, self.transport_seq)),
        };
        if extension.is_some() {
            self.transport_seq = self.transport_seq.wrapping_add(1);
        }
        write(&head, None, payload, way);
    }

    /// Sends again what the viewer says it did not get. What is not in the log any more, and what
    /// exceeds the viewer's share, it does not get.
    pub(crate) fn resend(
        &mut self,
        log: &PacketLog,
        ssrc: u32,
        lost: impl Iterator<Item = u16>,
        now_us: u64,
        way: &mut Way<'_>,
    ) {
        let since = now_us.saturating_sub(self.resend_at_us).min(1_000_000);
        let back = since.saturating_mul(u64::from(RESEND_BYTES)) / 1_000_000;
        self.resend_at_us = now_us;
        let back = u32::try_from(back).unwrap_or(RESEND_BYTES);
        self.resend = self.resend.saturating_add(back).min(RESEND_BYTES);
        let lines = [&mut self.audio, &mut self.video];
        let Some(line) = lines.into_iter().flatten().find(|line| line.ssrc == ssrc) else { return };
        for short in lost {
            let seq = seq::nearest(line.next, short);
            let found = log.find(line.lane, seq.wrapping_sub(line.shift));
            let Some((entry, payload)) = found.and_then(|number| log.get(number)) else {
                self.not_resent = self.not_resent.saturating_add(1);
                continue;
            };
            let Some(left) = self.resend.checked_sub(u32::from(entry.len)) else {
                self.not_resent = self.not_resent.saturating_add(1);
                continue;
            };
            self.resend = left;
            self.resent = self.resent.saturating_add(1);
            let mut head = Head {
                marker: entry.marker,
                payload_type: line.payload_type,
                index: seq,
                timestamp: line.time(entry.timestamp),
                ssrc: line.ssrc,
                extension: None,
            };
            let Some((ssrc, payload_type)) = line.rtx else {
                write(&head, None, payload, way);
                continue;
            };
            head.ssrc = ssrc;
            head.payload_type = payload_type;
            head.index = line.next_rtx;
            head.extension = self.transport_cc.map(|id| (id, self.transport_seq));
            line.next_rtx = line.next_rtx.saturating_add(1);
            if self.transport_cc.is_some() {
                self.transport_seq = self.transport_seq.wrapping_add(1);
            }
            write(&head, Some(short), payload, way);
        }
        way.batch.flush(way.socket, way.path, way.tally);
    }

    /// Its lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        [&self.audio, &self.video].into_iter().flatten()
    }
}

struct Head {
    marker: bool,
    payload_type: u8,
    /// Extended sequence number: the index of SRTP.
    index: u64,
    timestamp: u32,
    ssrc: u32,
    extension: Option<(u8, u16)>,
}

/// Writes a packet into the batch; sends the batch first when it does not fit.
#[inline]
fn write(head: &Head, original: Option<u16>, payload: &[u8], way: &mut Way<'_>) {
    let extended = if head.extension.is_some() { EXTENSION } else { 0 };
    let header = HEADER + extended;
    let osn = if original.is_some() { 2 } else { 0 };
    let tag = way.srtp.map_or(0, srtp::Sender::rtp_overhead);
    let size = header.saturating_add(osn).saturating_add(payload.len()).saturating_add(tag);
    if !way.batch.takes(size) {
        way.batch.flush(way.socket, way.path, way.tally);
    }
    let from = way.batch.bytes.len();
    let bytes = &mut way.batch.bytes;
    let mut fixed = [0u8; HEADER + EXTENSION];
    let [a, b, ..] = &mut fixed;
    *a = if extended > 0 { 0x90 } else { 0x80 };
    *b = (u8::from(head.marker) << 7) | (head.payload_type & 0x7f);
    // The low 16 bits are what travels.
    let [.., hi, lo] = head.index.to_be_bytes();
    put(&mut fixed, 2, &[hi, lo]);
    put(&mut fixed, 4, &head.timestamp.to_be_bytes());
    put(&mut fixed, 8, &head.ssrc.to_be_bytes());
    if let Some((id, number)) = head.extension {
        let [hi, lo] = number.to_be_bytes();
        put(&mut fixed, HEADER, &[0xbe, 0xde, 0, 1, (id << 4) | 1, hi, lo, 0]);
    }
    bytes.extend_from_slice(fixed.get(..header).unwrap_or(&fixed));
    if let Some(osn) = original {
        bytes.extend_from_slice(&osn.to_be_bytes());
    }
    bytes.extend_from_slice(payload);
    if let Some(srtp) = way.srtp
        && srtp.protect(head.index, head.ssrc, bytes, from, header).is_err()
    {
        bytes.truncate(from);
        way.tally.failed = way.tally.failed.saturating_add(1);
        return;
    }
    way.batch.wrote(size);
}

fn put(into: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(room) = into.get_mut(at..at.saturating_add(bytes.len())) {
        room.copy_from_slice(bytes);
    }
}

/// Lanes that a viewer can be fed from.
pub(crate) const fn is_lane(lane: u8) -> bool {
    (lane as usize) < LANES
}
