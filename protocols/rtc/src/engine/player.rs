//! A viewer: a number in the packet log, and what its own headers need.

use media::Codec;
use rtp::gcc::Estimator;
use smallvec::SmallVec;

use super::batch::{Batch, Road, Tally};
use super::log::{AUDIO, Entry, PacketLog};
use crate::wire::srtp;

mod burst;
mod flight;
mod mapping;
mod repair;
mod sound;
#[cfg(test)]
mod tests;
mod thin;
mod write;

use burst::Burst;
use mapping::Mapping;
use repair::Repair;
use thin::Thin;
use write::{Head, write};

/// First sequence numbers lie in this range: far enough from zero that what was sent just before
/// the first packet has a number, too, and far enough from the wrap that a viewer who lost the
/// first packets still guesses the rollover counter right (RFC 3711 §3.3.1).
pub(crate) const FIRST_SEQ: std::ops::Range<u64> = 4_096..28_000;
/// Most packets of one turn, unless a third of what is lacking is more, of a viewer of whose path
/// nothing is known. One that lacks more gets the rest with the next ticks, so that no burst fills a
/// queue on its way: 30 Mbit/s.
const TURN: u64 = 32;
/// So many packets go at once, whatever is believed of the path: 9 kB. At half of it small pictures
/// would wait, at double a slow path gets its whole queue in one burst.
const FREE: u64 = 8;
/// Halves of the estimate at which packets are sent: a picture should not take as long as the time
/// to the next, and pictures come in between. Browsers have the same 2.5.
const AHEAD: u64 = 5;
/// Turns in a second.
const TICKS: u64 = 100;
/// Bytes of a packet beside its payload: headers of RTP, UDP and IP, extension and tag.
pub(crate) const BESIDE: usize = 12 + 8 + 8 + 20 + 16;
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

/// Ticks per second of the timestamps of a coding.
const fn clock_of(codec: Codec) -> u32 {
    match codec {
        Codec::Opus => 48_000,
        Codec::G711A | Codec::G711U => 8_000,
        _ => 90_000,
    }
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
    /// How what is sent now lies in the log, and how what was sent before it lay: lost packets are
    /// asked for across a change of size.
    now: Option<Mapping>,
    before: Option<Mapping>,
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
    /// Pictures were left out since the last that was sent.
    skips: bool,
    /// Agreed on for sound.
    redundancy: Option<sound::Redundancy>,
    pub(crate) packets: u64,
    pub(crate) octets: u64,
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
            now: None,
            before: None,
            next: first,
            next_rtx: first_rtx,
            last_time: 0,
            last_us: 0,
            clock: clock_of(if lane == AUDIO { Codec::Opus } else { Codec::H264 }),
            told: None,
            started: false,
            skips: false,
            redundancy: None,
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
    fn begin(&mut self, log: &PacketLog, entry: &Entry, payload: &[u8], now_us: u64) -> bool {
        let codec = log.codec(entry.lane);
        let Some(format) = self.formats.iter().find(|f| Some(f.codec) == codec) else {
            return false;
        };
        let same_coding = self.payload_type == format.payload_type;
        self.payload_type = format.payload_type;
        self.clock = clock_of(format.codec);
        self.rtx = self.rtx_ssrc.zip(format.rtx);
        self.before = self.now.filter(|_| same_coding);
        let shift = self.next.wrapping_sub(entry.seq);
        let mut map = Mapping::new(format.codec, entry.lane, self.next, shift);
        if let Some(before) = self.now.filter(|_| self.packets > 0) {
            // Of another source no moment is the same.
            let same = before
                .is_of_source()
                .then(|| log.same_moment(entry.lane, entry.timestamp, before.lane))
                .flatten();
            map.time = match same {
                // Another size of the same picture.
                Some(time) => before.time.wrapping_add(time.wrapping_sub(entry.timestamp)),
                // Times of another source have another zero. The relation to the wall clock, of
                // which the viewer keeps an average over 20 reports, is to stay what it was.
                None => self.goes_on(log, entry, now_us).wrapping_sub(entry.timestamp),
            };
            if same_coding {
                map.continues(&before, log, self.next.wrapping_sub(1), payload);
            }
        }
        self.now = Some(map);
        self.started = true;
        self.skips = false;
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

    /// Goes on behind what was left out, as if it had not been.
    fn go_on(&mut self, log: &PacketLog, entry: &Entry, payload: &[u8]) {
        self.skips = false;
        let Some(before) = self.now else { return };
        let shift = self.next.wrapping_sub(entry.seq);
        let mut map = Mapping::new(before.codec, before.lane, self.next, shift);
        map.time = before.time;
        map.continues(&before, log, self.next.wrapping_sub(1), payload);
        (self.before, self.now) = (self.now, Some(map));
    }

    /// The viewer's RTP timestamp of a time of the log.
    pub(crate) fn time(&self, timestamp: u32) -> u32 {
        timestamp.wrapping_add(self.now.map_or(0, |map| map.time))
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
    /// The first packet whose sound it may get: sound may be ahead of pictures.
    heard: u64,
    /// Its path carries less than the stream.
    thin: Option<Box<Thin>>,
    /// Pictures that it did not get on purpose.
    pub(crate) left_out: u64,
    /// What is to be repaired; there from the first wish on.
    repair: Option<Box<Repair>>,
    pub(crate) jumped: u64,
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
            heard: 0,
            thin: None,
            left_out: 0,
            repair: None,
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
        if self.thin.is_some() {
            return self.walk_thin(log, way);
        }
        let head = log.head();
        let end = if head.saturating_sub(self.cursor) <= FREE { head } else { self.turn(log) };
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

    /// Where a turn of a viewer ends that lacks more than it gets at once.
    fn turn(&self, log: &PacketLog) -> u64 {
        let head = log.head();
        let burst = self.burst.as_ref().filter(|burst| burst.holds(self.cursor));
        let tick = match (burst, &self.estimator) {
            (burst, Some(estimator)) => {
                let path = estimator.bitrate().saturating_mul(AHEAD) / 2 / 8 / TICKS;
                path.min(burst.map_or(u64::MAX, |burst| burst.tick))
            }
            (Some(burst), None) => burst.tick,
            (None, None) => {
                let lacks = head.saturating_sub(self.cursor);
                return head.min(self.cursor.saturating_add(TURN.max(lacks / 3)));
            }
        };
        let lacks = log.bytes_from(self.cursor);
        // Within a second or so it has all, whatever is believed.
        let left = lacks.saturating_sub(tick.max(lacks / TICKS));
        // Until feedback has come the estimate is a guess.
        let known = self.estimator.as_ref().is_some_and(|known| known.insight().rtt_us > 0);
        let mut end = self.cursor.saturating_add(if known { 1 } else { FREE });
        while end < head && log.bytes_from(end) > left {
            end = end.saturating_add(1);
        }
        end.min(head)
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
            if let Some(now) = &mut line.now {
                now.ends();
            }
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
            if number < self.heard {
                return;
            }
            self.heard = number.saturating_add(1);
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
        if !line.started && !line.begin(log, entry, payload, self.now_us) {
            return;
        }
        if line.skips && entry.lane != AUDIO {
            line.go_on(log, entry, payload);
        }
        let Some(map) = line.now else { return };
        let seq = entry.seq.wrapping_add(map.shift);
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
        line.octets = line.octets.wrapping_add(u64::from(entry.len));
        if self.drop_next > 0 {
            self.drop_next = self.drop_next.saturating_sub(1);
            return;
        }
        let carried = line.carried(log, entry, seq);
        // A packet that may be sent again as it is must not carry what changes with each sending.
        let mut flight = self.repair.as_mut().and_then(|repair| repair.flight(self.now_us));
        let followed = (self.estimator.is_some() || flight.is_some()) && line.rtx.is_some();
        let extension = self.transport_cc.filter(|_| followed);
        let head = Head {
            marker: entry.marker,
            payload_type: line.payload_type,
            index: seq,
            timestamp,
            ssrc: line.ssrc,
            extension: extension.map(|id| (id, self.transport_seq)),
            once: line.rtx.is_some(),
            renumbered: Some(map).filter(Mapping::renumbers),
        };
        if extension.is_some() {
            if let Some(estimator) = &mut self.estimator {
                let bytes = payload.len().saturating_add(BESIDE);
                estimator.on_sent(self.transport_seq, bytes, self.now_us);
            }
            if let Some(flight) = &mut flight {
                flight.sent(self.transport_seq, seq);
            }
            self.transport_seq = self.transport_seq.wrapping_add(1);
        }
        if let Some(carried) = carried {
            let payload_type = carried.payload_type;
            return write(&Head { payload_type, ..head }, &carried.pieces(), payload, way);
        }
        write(&head, &[], payload, way);
    }

    /// Its lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        [&self.audio, &self.video].into_iter().flatten()
    }

    /// The same, to change them.
    pub(crate) fn lines_mut(&mut self) -> impl Iterator<Item = &mut Line> {
        [&mut self.audio, &mut self.video].into_iter().flatten()
    }
}

#[cfg(test)]
mod source_change;
