//! A viewer: a number in the packet log, and what its own headers need.

use media::Codec;
use rtp::gcc::Estimator;
use smallvec::SmallVec;

use super::batch::{Batch, Road, Tally};
use super::log::{AUDIO, Entry, PacketLog};
use crate::wire::srtp;

/// Bytes of a fixed RTP header (RFC 3550 §5.1).
const HEADER: usize = 12;
/// Bytes of our header extension block: one element of transport-wide sequence number (RFC 8285).
const EXTENSION: usize = 8;
/// First sequence numbers lie in this range: far enough from zero that what was sent just before
/// the first packet has a number, too, and far enough from the wrap that a viewer who lost the
/// first packets still guesses the rollover counter right (RFC 3711 §3.3.1).
pub(crate) const FIRST_SEQ: std::ops::Range<u64> = 4_096..28_000;
/// Most packets of one turn, unless a third of what is lacking is more. A viewer that lacks more (a
/// group of pictures, when it joins) gets the rest with the next ticks, 10 ms apart, so that no
/// burst fills a queue on its way: 30 Mbit/s.
const TURN: u64 = 32;
/// Bytes of a packet beside its payload: headers of RTP, UDP and IP, extension and tag.
const BESIDE: usize = BESIDE_U32 as usize;
const BESIDE_U32: u32 = 12 + 8 + 8 + 20 + 16;
/// Ticks of 90 kHz between pictures that are sent faster than life: 1 ms.
const BURST_STEP: u32 = 90;
/// Bytes that a viewer's retransmissions may take at once, and that come back each second: they
/// must not outgrow what they mend. Half of it is 1 Mbit/s.
const RESEND_BYTES: u32 = 256 * 1024;

/// The part of a second that the wall's time of a new source may lie off its arrival to be believed.
/// At half, what an encoder holds back is taken for a wrong clock; at double, the jitter buffer of a
/// browser takes longer to forget the step than its average of sender reports would.
const NEAR_PART: u32 = 2;

/// A coding that a viewer takes, and the payload types that it gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) codec: Codec,
    pub(crate) payload_type: u8,
    /// Of retransmissions.
    pub(crate) rtx: Option<u8>,
}

/// An outgoing line of media: one SSRC of the viewer.
#[derive(Debug)]
pub(crate) struct Line {
    /// The codings that were agreed on; anything else it does not get.
    formats: SmallVec<[Format; 2]>,
    /// Its SSRC.
    pub(crate) ssrc: u32,
    /// The payload type of what is sent now.
    payload_type: u8,
    /// Retransmission (RFC 4588) of what is sent now: SSRC and payload type.
    rtx: Option<(u32, u8)>,
    rtx_ssrc: Option<u32>,
    /// The lane of the log that feeds it.
    pub(crate) lane: u8,
    /// What is added to the log's numbers, modulo.
    shift: u64,
    shift_time: u32,
    /// The lane that was sent last, whose times the shift is for.
    sent: Option<u8>,
    /// Behind the highest number that was sent.
    next: u64,
    next_rtx: u64,
    last_time: u32,
    /// When that was sent, microseconds, and ticks per second.
    last_us: u64,
    clock: u32,
    /// What its last sender report said: 64-bit NTP time and timestamp.
    told: Option<(u64, u32)>,
    started: bool,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
}

impl Line {
    /// A line that has sent nothing. `first` and `first_rtx` from [`FIRST_SEQ`].
    pub(crate) fn new(
        formats: SmallVec<[Format; 2]>,
        ssrc: u32,
        rtx_ssrc: Option<u32>,
        lane: u8,
        first: u64,
        first_rtx: u64,
    ) -> Self {
        Self {
            formats,
            ssrc,
            payload_type: 0,
            rtx: None,
            rtx_ssrc,
            lane,
            shift: 0,
            shift_time: 0,
            sent: None,
            next: first,
            next_rtx: first_rtx,
            last_time: 0,
            last_us: 0,
            clock: if lane == AUDIO { 48_000 } else { 90_000 },
            told: None,
            started: false,
            packets: 0,
            octets: 0,
        }
    }

    /// Notes what a sender report says.
    pub(crate) fn tell(&mut self, ntp: u64, timestamp: u32) {
        self.told = Some((ntp, timestamp));
    }

    /// Whether it has sent anything of what is published now.
    pub(crate) fn has_sent(&self) -> bool {
        self.started && self.packets > 0
    }

    /// Begins to send what is of this coding; `false`: it was not agreed on.
    fn begin(&mut self, log: &PacketLog, entry: &Entry, now_us: u64) -> bool {
        let codec = log.codec(entry.lane);
        let Some(format) = self.formats.iter().find(|f| Some(f.codec) == codec) else {
            return false;
        };
        self.payload_type = format.payload_type;
        self.rtx = self.rtx_ssrc.zip(format.rtx);
        self.shift = self.next.wrapping_sub(entry.seq);
        if self.packets > 0 {
            let same =
                self.sent.and_then(|lane| log.same_moment(entry.lane, entry.timestamp, lane));
            self.shift_time = match same {
                // Another size of the same picture.
                Some(time) => self.shift_time.wrapping_add(time.wrapping_sub(entry.timestamp)),
                // Times of another source have another zero. The relation to the wall clock, of
                // which the viewer keeps an average over 20 reports, is to stay what it was.
                None => self.goes_on(log, entry, now_us).wrapping_sub(entry.timestamp),
            };
        }
        self.sent = Some(entry.lane);
        self.started = true;
        true
    }

    /// Where another source's first packet goes: as far behind what was there as it came later or,
    /// when the wall's time of both is known and does not say quite another thing, by that.
    fn goes_on(&self, log: &PacketLog, entry: &Entry, now_us: u64) -> u32 {
        let later = u128::from(now_us.saturating_sub(self.last_us));
        let ticks = later.saturating_mul(u128::from(self.clock)) / 1_000_000;
        let ticks = u32::try_from(ticks & u128::from(u32::MAX)).unwrap_or(0).max(1);
        let came = self.last_time.wrapping_add(ticks);
        let by_wall = || {
            let (ntp, timestamp) = self.told?;
            let apart = log.ntp_of(entry.lane, entry.timestamp)?.wrapping_sub(ntp).cast_signed();
            let ticks = i128::from(apart).saturating_mul(i128::from(self.clock)) >> 32;
            let [.., a, b, c, d] = ticks.to_be_bytes();
            Some(timestamp.wrapping_add(u32::from_be_bytes([a, b, c, d])))
        };
        let is_near = |time: &u32| {
            let off = time.wrapping_sub(came).cast_signed();
            let ahead = time.wrapping_sub(self.last_time).cast_signed();
            ahead > 0 && off.unsigned_abs() <= self.clock / NEAR_PART
        };
        by_wall().filter(is_near).unwrap_or(came)
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
    /// The size of picture that it is to get from its next key frame on.
    pub(crate) target: Option<u8>,
    /// What the path to it carries; only where there are sizes to choose from.
    pub(crate) estimator: Option<Box<Estimator>>,
    /// The clock, as of the last turn, microseconds.
    pub(crate) now_us: u64,
    /// Packets to leave out on purpose (a test of loss, asked for through the API).
    pub(crate) drop_next: u32,
    /// Waits for a picture that a decoder can begin with.
    pub(crate) wants_key: bool,
    burst: Option<Burst>,
    resend: u32,
    resend_at_us: u64,
    pub(crate) resent: u64,
    pub(crate) not_resent: u64,
    pub(crate) jumped: u64,
}

/// The group of pictures that a viewer gets when it joins, so that it sees something at once.
///
/// Its pictures are the past. With their own times a browser would show them at their own pace and
/// stay behind for good; so they are told to lie a millisecond apart, the last one at its true
/// time, and the browser runs through them.
#[derive(Clone, Copy, Debug)]
struct Burst {
    /// Its packets, the end excluded.
    from: u64,
    to: u64,
    /// Pictures in it, and the true time of the last.
    pictures: u32,
    last: u32,
    /// Pictures that were begun so far, and the time of the newest in the log.
    begun: u32,
    newest: Option<u32>,
}

impl Burst {
    fn new(log: &PacketLog, lane: u8, from: u64, to: u64) -> Option<Self> {
        let mut burst = Self { from, to, pictures: 0, last: 0, begun: 0, newest: None };
        let mut newest = None;
        for number in from..to {
            let Some((entry, _)) = log.get(number).filter(|(e, _)| e.lane == lane) else {
                continue;
            };
            if newest != Some(entry.timestamp) {
                newest = Some(entry.timestamp);
                burst.pictures = burst.pictures.saturating_add(1);
                burst.last = entry.timestamp;
            }
        }
        (burst.pictures > 1).then_some(burst)
    }

    /// The time that the `nth` picture (from 1) is told to have.
    fn time(&self, nth: u32) -> u32 {
        let left = self.pictures.saturating_sub(nth);
        self.last.wrapping_sub(left.wrapping_mul(BURST_STEP))
    }

    /// The time of the next packet to be sent.
    fn next(&mut self, entry: &Entry) -> u32 {
        if self.newest != Some(entry.timestamp) {
            self.newest = Some(entry.timestamp);
            self.begun = self.begun.saturating_add(1);
        }
        self.time(self.begun)
    }

    /// The time that packet `number` was sent with.
    fn of(&self, log: &PacketLog, lane: u8, number: u64) -> u32 {
        let upto = Self::new(log, lane, self.from, number.saturating_add(1));
        self.time(upto.map_or(1, |upto| upto.pictures))
    }

    fn holds(&self, number: u64) -> bool {
        (self.from..self.to).contains(&number)
    }
}

/// What every send needs.
pub(crate) struct Way<'a> {
    pub(crate) road: Road<'a>,
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
            target: None,
            estimator: None,
            now_us: 0,
            drop_next: 0,
            wants_key: true,
            burst: None,
            resend: RESEND_BYTES,
            resend_at_us: 0,
            resent: 0,
            not_resent: 0,
            jumped: 0,
        }
    }

    /// Takes its place: at the last key frame, which it then gets faster than life, or at the head.
    pub(crate) fn place(&mut self, log: &PacketLog, from_key: bool) {
        let head = log.head();
        self.cursor = if from_key { log.join() } else { head };
        self.wants_key = true;
        self.burst = None;
        if let Some(line) = self.video.as_ref().filter(|_| self.cursor < head) {
            self.burst = Burst::new(log, line.lane, self.cursor, head);
        }
    }

    /// Packets between what it has and what there is.
    pub(crate) fn behind(&self, log: &PacketLog) -> u64 {
        log.head().saturating_sub(self.cursor)
    }

    /// Sends what the viewer lacks, at most one turn's worth. `true`: there is more. The cost of a
    /// packet is its header, its encryption, and its part of a system call.
    pub(crate) fn walk(&mut self, log: &PacketLog, way: &mut Way<'_>) -> bool {
        if self.cursor < log.first() {
            self.jump(log);
        }
        let head = log.head();
        let lacks = head.saturating_sub(self.cursor);
        let end = head.min(self.cursor.saturating_add(TURN.max(lacks / 3)));
        // A block of sound, which is shorter, rides at the end of each picture's call; the rest of
        // the sound follows. Within a line the order stays.
        let mut sound = self.cursor;
        let mut number = self.cursor;
        while number < end {
            if let Some((entry, _)) = log.get(number)
                && entry.lane != AUDIO
            {
                let last = entry.marker;
                self.send(log, number, way);
                if last {
                    sound = self.send_sound(log, sound, end, way);
                }
            }
            number = number.saturating_add(1);
        }
        while sound < end {
            sound = self.send_sound(log, sound, end, way);
        }
        way.batch.flush(&way.road, way.tally);
        self.cursor = end;
        end < head
    }

    /// Sends the first block of sound at or behind `from`; gives where the next one may be.
    fn send_sound(&mut self, log: &PacketLog, from: u64, end: u64, way: &mut Way<'_>) -> u64 {
        let mut number = from;
        while number < end {
            let here = number;
            number = number.saturating_add(1);
            if log.get(here).is_some_and(|(entry, _)| entry.lane == AUDIO) {
                self.send(log, here, way);
                break;
            }
        }
        number
    }

    /// What it was about to get is gone: on at the last key frame.
    fn jump(&mut self, log: &PacketLog) {
        self.jumped = self.jumped.saturating_add(1);
        for line in self.lines_mut() {
            line.started = false;
        }
        self.place(log, true);
    }

    /// What follows comes from another source, with its own numbers and times.
    pub(crate) fn restart(&mut self) {
        for line in self.lines_mut() {
            line.started = false;
            line.sent = None;
        }
        self.wants_key = true;
        self.burst = None;
    }

    #[inline]
    fn send(&mut self, log: &PacketLog, number: u64, way: &mut Way<'_>) {
        let Some((entry, payload)) = log.get(number) else { return };
        if self.target == Some(entry.lane) && entry.key {
            self.target = None;
            if let Some(line) = &mut self.video {
                line.lane = entry.lane;
                line.started = false;
            }
        }
        let line = if entry.lane == AUDIO { &mut self.audio } else { &mut self.video };
        let Some(line) = line.as_mut().filter(|line| line.lane == entry.lane) else { return };
        let burst = self.burst.as_mut().filter(|burst| burst.holds(number));
        if entry.lane == AUDIO {
            // Sound of the past cannot be run through.
            if burst.is_some() {
                return;
            }
        } else if self.wants_key {
            if !entry.key {
                return;
            }
            self.wants_key = false;
        }
        if !line.started && !line.begin(log, entry, self.now_us) {
            return;
        }
        let seq = entry.seq.wrapping_add(line.shift);
        // Behind what was sent first: nobody waits for it.
        if seq > u64::MAX / 2 {
            return;
        }
        line.next = line.next.max(seq.saturating_add(1));
        let told = burst.map_or(entry.timestamp, |burst| burst.next(entry));
        let timestamp = line.time(told);
        line.last_time = timestamp;
        line.last_us = self.now_us;
        line.packets = line.packets.wrapping_add(1);
        line.octets = line.octets.wrapping_add(u32::from(entry.len));
        if self.drop_next > 0 {
            self.drop_next = self.drop_next.saturating_sub(1);
            return;
        }
        // A packet that may be sent again as it is must not carry what changes with each sending.
        let estimated = self.estimator.is_some() && line.rtx.is_some();
        let extension = self.transport_cc.filter(|_| estimated);
        let head = Head {
            marker: entry.marker,
            payload_type: line.payload_type,
            index: seq,
            timestamp,
            ssrc: line.ssrc,
            extension: extension.map(|id| (id, self.transport_seq)),
            once: line.rtx.is_some(),
        };
        if let Some(estimator) = self.estimator.as_mut().filter(|_| extension.is_some()) {
            estimator.on_sent(
                self.transport_seq,
                payload.len().saturating_add(BESIDE),
                self.now_us,
            );
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
            let seq = nearest(line.next, short);
            let number = log.find(line.lane, seq.wrapping_sub(line.shift));
            let found = number.and_then(|number| Some((number, log.get(number)?)));
            let Some((number, (entry, payload))) = found.filter(|_| line.started) else {
                self.not_resent = self.not_resent.saturating_add(1);
                continue;
            };
            let cost = u32::from(entry.len).saturating_add(BESIDE_U32);
            let Some(left) = self.resend.checked_sub(cost) else {
                self.not_resent = self.not_resent.saturating_add(1);
                continue;
            };
            self.resend = left;
            // Behind the share: the time of a packet of the first group is counted out.
            let burst = self.burst.as_ref().filter(|b| line.lane != AUDIO && b.holds(number));
            let told = burst.map_or(entry.timestamp, |b| b.of(log, line.lane, number));
            self.resent = self.resent.saturating_add(1);
            let mut head = Head {
                marker: entry.marker,
                payload_type: line.payload_type,
                index: seq,
                timestamp: line.time(told),
                ssrc: line.ssrc,
                extension: None,
                once: false,
            };
            let Some((ssrc, payload_type)) = line.rtx else {
                write(&head, None, payload, way);
                continue;
            };
            head.ssrc = ssrc;
            head.payload_type = payload_type;
            head.index = line.next_rtx;
            line.next_rtx = line.next_rtx.saturating_add(1);
            if let Some(estimator) = &mut self.estimator {
                head.extension = self.transport_cc.map(|id| (id, self.transport_seq));
                estimator.on_sent(self.transport_seq, payload.len().saturating_add(BESIDE), now_us);
                self.transport_seq = self.transport_seq.wrapping_add(1);
            }
            write(&head, Some(short), payload, way);
        }
        way.batch.flush(&way.road, way.tally);
    }

    /// Its lines.
    pub(crate) fn lines_mut(&mut self) -> impl Iterator<Item = &mut Line> {
        [&mut self.audio, &mut self.video].into_iter().flatten()
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
    /// It may be padded: it will never be sent again with other bytes under the same number, which
    /// would break its encryption.
    once: bool,
}

/// Writes a packet into the batch; sends the batch first when it does not fit.
#[inline]
fn write(head: &Head, original: Option<u16>, payload: &[u8], way: &mut Way<'_>) {
    let extended = if head.extension.is_some() { EXTENSION } else { 0 };
    let header = HEADER + extended;
    let osn = if original.is_some() { 2 } else { 0 };
    let tag = way.srtp.map_or(0, |srtp| srtp.profile().tag_len());
    let mut size = header.saturating_add(osn).saturating_add(payload.len()).saturating_add(tag);
    let padding = if head.once { way.batch.padding(size) } else { 0 };
    size = size.saturating_add(padding);
    if !way.batch.takes(size) {
        way.batch.flush(&way.road, way.tally);
    }
    let from = way.batch.bytes.len();
    let bytes = &mut way.batch.bytes;
    let mut fixed = [0u8; HEADER + EXTENSION];
    let [a, b, ..] = &mut fixed;
    *a = if extended > 0 { 0x90 } else { 0x80 };
    if padding > 0 {
        *a |= 0x20;
    }
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
    if let Ok(count @ 1..) = u8::try_from(padding) {
        // The last byte says how many there are (RFC 3550 §5.1).
        bytes.resize(bytes.len().saturating_add(padding.saturating_sub(1)), 0);
        bytes.push(count);
    }
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

#[cfg(test)]
mod source_change;
