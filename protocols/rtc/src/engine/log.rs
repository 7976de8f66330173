//! The packet log of a stream on a shard: RTP payloads, packaged once for all viewers.
//!
//! It is to WebRTC what a rendition log is to TCP: a viewer is a number in it. A viewer's packet is
//! its own header in front of the log's payload, so nothing here knows SSRCs, encryption or
//! addresses. It reaches back to the last key frame, for those who join, and a while further, for
//! those who lost something.

use std::collections::VecDeque;

use media::Codec;

use super::player::BESIDE;

/// Lines of packets with a numbering of their own: sound, and up to three sizes of the picture.
pub(crate) const LANES: usize = 4;
/// The lane of the sound; the others are pictures, the smallest first.
pub(crate) const AUDIO: u8 = 0;
/// The first lane of pictures, and the only one unless the publisher sends several sizes.
pub(crate) const VIDEO: u8 = 1;

/// Packets that stay for retransmission, whatever the key frames do: 2 s of 8 Mbit/s. At half, a
/// lossy path of high delay asks in vain; at double, nothing is gained but memory.
const HISTORY: u64 = 2048;
/// Most packets of a group of pictures that is kept for those who join: 18 s of 8 Mbit/s.
const MAX_JOIN: u64 = 16 * 1024;
/// Most bytes of the whole.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Numbers in the index by sequence number: twice the history, since lanes share it.
const SLOTS: usize = 4096;
/// Packets among which the newest of a lane is looked for: more than a key frame has.
const NEWEST: usize = 512;
/// Bytes of garbage before what is left is moved down.
const SLACK: usize = 256 * 1024;

/// What the log knows of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    at: u64,
    /// Bytes of payload.
    pub(crate) len: u16,
    /// Which line of packets.
    pub(crate) lane: u8,
    /// The marker bit: last of its picture.
    pub(crate) marker: bool,
    /// First packet of a picture that a decoder can begin with (of a block of sound: always).
    pub(crate) key: bool,
    /// The lane's extended sequence number.
    pub(crate) seq: u64,
    /// RTP timestamp, in the lane's clock.
    pub(crate) timestamp: u32,
}

/// Where a lane's clock stands against the wall: what sender reports say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sync {
    /// 64-bit NTP time.
    pub(crate) ntp: u64,
    /// The RTP timestamp of that moment.
    pub(crate) timestamp: u32,
    /// When that was, by our clock, microseconds.
    pub(crate) at_us: u64,
    /// Ticks per second.
    pub(crate) clock: u32,
}

#[derive(Default)]
struct Lane {
    /// Packet numbers by sequence number, modulo.
    by_seq: Vec<u64>,
    sync: Option<Sync>,
    codec: Option<Codec>,
    /// Bytes so far, with the headers that a viewer gets, and the newest timestamp.
    bytes: u64,
    newest: u32,
}

/// See the module.
pub(crate) struct PacketLog {
    bytes: Vec<u8>,
    /// Position of the first byte in `bytes`, counted from the beginning of the stream.
    base: u64,
    entries: VecDeque<Entry>,
    /// Number of the first entry.
    first: u64,
    /// First packet of what a viewer who joins gets.
    join: Option<u64>,
    lanes: [Lane; LANES],
}

impl Default for PacketLog {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            base: 0,
            entries: VecDeque::new(),
            first: 1,
            join: None,
            lanes: Default::default(),
        }
    }
}

/// One packet for [`PacketLog::push`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct New<'a> {
    pub(crate) lane: u8,
    pub(crate) seq: u64,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) key: bool,
    pub(crate) payload: &'a [u8],
}

impl PacketLog {
    /// Number of the packet that comes next.
    pub(crate) fn head(&self) -> u64 {
        self.first.saturating_add(self.entries.len() as u64)
    }

    /// Number of the oldest packet there is.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Where a viewer begins: at the last key frame, or with the next packet.
    pub(crate) fn join(&self) -> u64 {
        self.join.filter(|n| *n >= self.first).unwrap_or_else(|| self.head())
    }

    /// The packet of that number, if it is still there.
    #[inline]
    pub(crate) fn get(&self, number: u64) -> Option<(&Entry, &[u8])> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let entry = self.entries.get(index)?;
        let from = usize::try_from(entry.at.checked_sub(self.base)?).ok()?;
        let payload = self.bytes.get(from..from.checked_add(usize::from(entry.len))?)?;
        Some((entry, payload))
    }

    /// Bytes of payload from this packet to the head.
    pub(crate) fn bytes_from(&self, number: u64) -> u64 {
        let end = self.base.saturating_add(self.bytes.len() as u64);
        self.get(number).map_or(0, |(entry, _)| end.saturating_sub(entry.at))
    }

    /// Bytes that a lane has had so far, with the headers that a viewer gets.
    pub(crate) fn bytes_of(&self, lane: u8) -> u64 {
        self.lanes.get(usize::from(lane)).map_or(0, |lane| lane.bytes)
    }

    /// The timestamp that came last in a lane.
    pub(crate) fn newest(&self, lane: u8) -> u32 {
        self.lanes.get(usize::from(lane)).map_or(0, |lane| lane.newest)
    }

    /// The packet that has this sequence number in its lane.
    pub(crate) fn find(&self, lane: u8, seq: u64) -> Option<u64> {
        let slots = &self.lanes.get(usize::from(lane))?.by_seq;
        let number = *slots.get(slot(seq))?;
        self.get(number).filter(|(e, _)| e.seq == seq && e.lane == lane).map(|_| number)
    }

    /// Appends a packet. Payloads of more than 64 kB do not exist in UDP and are not taken.
    pub(crate) fn push(&mut self, new: New<'_>) {
        let (Ok(len), Some(lane)) =
            (u16::try_from(new.payload.len()), self.lanes.get_mut(usize::from(new.lane)))
        else {
            return;
        };
        let number = self.first.saturating_add(self.entries.len() as u64);
        lane.bytes = lane.bytes.saturating_add(u64::from(len)).saturating_add(BESIDE as u64);
        lane.newest = new.timestamp;
        if lane.by_seq.is_empty() {
            lane.by_seq.resize(SLOTS, 0);
        }
        if let Some(at) = lane.by_seq.get_mut(slot(new.seq)) {
            *at = number;
        }
        if new.key
            && new.lane != AUDIO
            && self.join.is_none_or(|join| !self.same_picture(join, &new))
        {
            self.join = Some(number);
        }
        let at = self.base.saturating_add(self.bytes.len() as u64);
        self.bytes.extend_from_slice(new.payload);
        self.entries.push_back(Entry {
            at,
            len,
            lane: new.lane,
            marker: new.marker,
            key: new.key,
            seq: new.seq,
            timestamp: new.timestamp,
        });
    }

    /// Whether the joining point already is the picture that `new` belongs to.
    fn same_picture(&self, join: u64, new: &New<'_>) -> bool {
        self.get(join).is_some_and(|(e, _)| e.lane == new.lane && e.timestamp == new.timestamp)
    }

    /// Those who join from here on begin with what comes next.
    pub(crate) fn clear_join(&mut self) {
        self.join = None;
    }

    /// Another source begins: nothing of what is known of the lanes holds any more. A clock of the
    /// old one beside timestamps of the new one would tell viewers nonsense.
    pub(crate) fn begin_anew(&mut self) {
        self.join = None;
        for lane in &mut self.lanes {
            lane.codec = None;
            lane.sync = None;
        }
    }

    /// Says what a lane carries; `None`: nothing now.
    pub(crate) fn set_codec(&mut self, lane: u8, codec: Option<Codec>) {
        if let Some(lane) = self.lanes.get_mut(usize::from(lane)) {
            lane.codec = codec;
        }
    }

    /// What a lane carries.
    pub(crate) fn codec(&self, lane: u8) -> Option<Codec> {
        self.lanes.get(usize::from(lane))?.codec
    }

    /// Notes where a lane's clock stands.
    pub(crate) fn set_sync(&mut self, lane: u8, sync: Sync) {
        if let Some(lane) = self.lanes.get_mut(usize::from(lane)) {
            lane.sync = Some(sync);
        }
    }

    /// Where a lane's clock stands, once that is known.
    pub(crate) fn sync(&self, lane: u8) -> Option<Sync> {
        self.lanes.get(usize::from(lane))?.sync
    }

    /// The time of the newest packet of a lane, of the last ones.
    pub(crate) fn newest_time(&self, lane: u8) -> Option<u32> {
        let newest = self.entries.iter().rev().take(NEWEST).find(|entry| entry.lane == lane);
        newest.map(|entry| entry.timestamp)
    }

    /// The wall's time of a timestamp of a lane, once its clock is known: 64-bit NTP.
    pub(crate) fn ntp_of(&self, lane: u8, timestamp: u32) -> Option<u64> {
        let sync = self.sync(lane)?;
        let ahead = timestamp.wrapping_sub(sync.timestamp).cast_signed();
        let apart = (i64::from(ahead) << 32) / i64::from(sync.clock.max(1));
        Some(sync.ntp.wrapping_add_signed(apart))
    }

    /// The time in lane `to` of the moment that is `timestamp` in lane `from`: by sender reports,
    /// once both lanes have them.
    pub(crate) fn same_moment(&self, from: u8, timestamp: u32, to: u8) -> Option<u32> {
        let (from, to) = (self.sync(from)?, self.sync(to)?);
        if from.clock != to.clock {
            return None;
        }
        let ahead = i64::from(timestamp.wrapping_sub(from.timestamp).cast_signed());
        let apart = from.ntp.wrapping_sub(to.ntp).cast_signed();
        // 32.32 fixed point seconds to ticks.
        let apart = i128::from(apart).saturating_mul(i128::from(from.clock)) >> 32;
        let ticks = apart.saturating_add(i128::from(ahead));
        let [.., a, b, c, d] = ticks.to_be_bytes();
        Some(to.timestamp.wrapping_add(u32::from_be_bytes([a, b, c, d])))
    }

    /// Forgets what nobody needs any more; call it once after a batch of packets.
    pub(crate) fn trim(&mut self) {
        let head = self.head();
        if self.join.is_some_and(|join| head.saturating_sub(join) > MAX_JOIN)
            || self.bytes.len() > MAX_BYTES
        {
            self.join = None;
        }
        let mut keep = head.saturating_sub(HISTORY);
        if let Some(join) = self.join {
            keep = keep.min(join);
        }
        while self.first < keep {
            if self.entries.pop_front().is_none() {
                break;
            }
            self.first = self.first.saturating_add(1);
        }
        let start = self
            .entries
            .front()
            .map_or_else(|| self.base.saturating_add(self.bytes.len() as u64), |entry| entry.at);
        let garbage = usize::try_from(start.saturating_sub(self.base)).unwrap_or(0);
        let left = self.bytes.len().saturating_sub(garbage);
        if garbage >= SLACK.max(left) {
            self.bytes.drain(..garbage.min(self.bytes.len()));
            self.base = start;
            let want = self.bytes.len().saturating_mul(2).max(SLACK);
            if self.bytes.capacity() > want.saturating_mul(4) {
                self.bytes.shrink_to(want);
            }
        }
    }
}

fn slot(seq: u64) -> usize {
    usize::try_from(seq % SLOTS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(seq: u64, timestamp: u32, key: bool) -> New<'static> {
        New { lane: VIDEO, seq, timestamp, marker: false, key, payload: &[7; 1000] }
    }

    #[test]
    fn a_packet_is_found_by_its_number_and_by_its_sequence_number() {
        let mut log = PacketLog::default();
        for seq in 65_530..65_550 {
            log.push(video(seq, 0, false));
            log.push(New { lane: AUDIO, payload: &[1], ..video(seq, 0, false) });
        }
        let number = log.find(VIDEO, 65_537).expect("it is there");
        let (entry, payload) = log.get(number).expect("it is there");
        assert_eq!((entry.seq, entry.lane, payload.len()), (65_537, VIDEO, 1000));
        let number = log.find(AUDIO, 65_537).expect("it is there");
        assert_eq!(log.get(number).map(|(e, p)| (e.lane, p)), Some((AUDIO, &[1u8][..])));
        assert_eq!(log.find(VIDEO, 65_550), None);
        assert_eq!(log.find(3, 65_537), None);
    }

    #[test]
    fn a_viewer_begins_at_the_first_packet_of_the_last_key_frame() {
        let mut log = PacketLog::default();
        assert_eq!(log.join(), log.head());
        log.push(video(1, 0, true));
        log.push(video(2, 0, false));
        let second = log.head();
        log.push(video(3, 3000, true));
        // Parameter sets and slices of one picture may all look like its beginning.
        log.push(video(4, 3000, true));
        assert_eq!(log.join(), second);
        log.clear_join();
        assert_eq!(log.join(), log.head());
    }

    #[test]
    fn what_is_old_goes_but_not_the_group_of_pictures() {
        let mut log = PacketLog::default();
        log.push(video(0, 0, true));
        for seq in 1..5000 {
            log.push(video(seq, 0, false));
            log.trim();
        }
        assert_eq!(log.join(), 1);
        log.push(video(5000, 1, true));
        log.trim();
        assert_eq!(log.join(), 5001);
        assert_eq!(log.head() - log.first(), HISTORY);
        assert!(log.bytes.len() < 5_000_000, "{}", log.bytes.len());
        assert_eq!(log.get(log.first()).map(|(e, _)| e.seq), Some(5001 - HISTORY));
    }

    #[test]
    fn a_group_without_end_is_not_kept() {
        let mut log = PacketLog::default();
        log.push(video(0, 0, true));
        for seq in 1..60_000 {
            log.push(video(seq, 0, false));
            log.trim();
        }
        assert_eq!(log.join(), log.head());
        assert!(log.head() - log.first() <= HISTORY);
    }
}
