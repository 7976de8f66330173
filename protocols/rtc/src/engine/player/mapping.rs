//! How a part of the log lies in what a viewer gets: the numbers that are added.

use media::Codec;
use rtp::payload::scan;

use crate::engine::log::PacketLog;

/// See the module. Everything is added modulo.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    pub(super) codec: Codec,
    pub(super) lane: u8,
    /// The viewer's first number under it.
    pub(super) from: u64,
    /// To sequence numbers.
    pub(super) shift: u64,
    /// To timestamps.
    pub(super) time: u32,
    /// To picture ids of VP8 and VP9, and to `TL0PICIDX`: each size of a publisher counts by itself,
    /// and a decoder that sees a leap takes it for a loss.
    picture: u16,
    tl0: u8,
}

/// Bits of a picture id.
const PICTURE_BITS: u16 = 0x7fff;

impl Mapping {
    /// With the numbers of the log.
    pub(super) const fn new(codec: Codec, lane: u8, from: u64, shift: u64) -> Self {
        Self { codec, lane, from, shift, time: 0, picture: 0, tl0: 0 }
    }

    /// Counts pictures on from what was sent last, under `before` with the number `last`. `payload`
    /// is the first under this one.
    pub(super) fn continues(&mut self, before: &Self, log: &PacketLog, last: u64, payload: &[u8]) {
        (self.picture, self.tl0) = (before.picture, before.tl0);
        let number = log.find(before.lane, last.wrapping_sub(before.shift));
        let sent = number.and_then(|number| log.get(number));
        let sent = sent.and_then(|(_, payload)| scan::picture(before.codec, payload));
        let (Some(sent), Some(next)) = (sent, scan::picture(self.codec, payload)) else { return };
        if let (Some(sent), Some(next)) = (sent.picture_id, next.picture_id) {
            let shown = sent.wrapping_add(before.picture).wrapping_add(1);
            self.picture = shown.wrapping_sub(next) & PICTURE_BITS;
        }
        if let (Some(sent), Some(next)) = (sent.tl0, next.tl0) {
            self.tl0 = sent.wrapping_add(before.tl0).wrapping_add(1).wrapping_sub(next);
        }
    }

    /// What was sent under it is another source's, or gone: nothing of it is sent again, and its
    /// times say nothing about those that follow.
    pub(super) const fn ends(&mut self) {
        self.from = u64::MAX;
    }

    /// Whether it is of the source whose packets come now.
    pub(super) const fn is_of_source(&self) -> bool {
        self.from != u64::MAX
    }

    /// Whether payloads have other numbers than in the log.
    pub(super) const fn renumbers(&self) -> bool {
        self.picture != 0 || self.tl0 != 0
    }

    /// Writes the viewer's numbers into a payload.
    pub(super) fn renumber(&self, payload: &mut [u8]) {
        if let Some(picture) = scan::picture(self.codec, payload) {
            let id = picture.picture_id.unwrap_or(0).wrapping_add(self.picture) & PICTURE_BITS;
            let tl0 = picture.tl0.unwrap_or(0).wrapping_add(self.tl0);
            scan::rewrite(self.codec, payload, id, tl0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::log::New;

    /// A VP8 payload with an id of 15 bits.
    fn vp8(id: u16, tl0: u8) -> [u8; 7] {
        let [high, low] = id.to_be_bytes();
        [0x90, 0xe0, high | 0x80, low, tl0, 0x20, 0x10]
    }

    fn push(log: &mut PacketLog, lane: u8, seq: u64, payload: &[u8]) {
        log.push(New { lane, seq, timestamp: 0, marker: true, key: true, payload });
    }

    fn shown(map: &Mapping, payload: &[u8]) -> (u16, u8) {
        let mut payload = payload.to_vec();
        map.renumber(&mut payload);
        let picture = scan::picture(Codec::Vp8, &payload).unwrap();
        (picture.picture_id.unwrap(), picture.tl0.unwrap())
    }

    #[test]
    fn pictures_count_on_across_changes_of_size() {
        let mut log = PacketLog::default();
        push(&mut log, 1, 100, &vp8(0x7ffe, 255));
        push(&mut log, 2, 900, &vp8(55, 7));
        push(&mut log, 1, 101, &vp8(0x7fff, 0));
        push(&mut log, 2, 901, &vp8(56, 8));
        // The viewer's numbers begin at 5000.
        let small = Mapping::new(Codec::Vp8, 1, 5_000, 4_900);
        assert!(!small.renumbers());
        assert_eq!(shown(&small, &vp8(0x7ffe, 255)), (0x7ffe, 255));
        let mut large = Mapping::new(Codec::Vp8, 2, 5_001, 5_001 - 901);
        large.continues(&small, &log, 5_000, &vp8(56, 8));
        assert!(large.renumbers());
        assert_eq!(shown(&large, &vp8(56, 8)), (0x7fff, 0));
        assert_eq!(shown(&large, &vp8(57, 9)), (0, 1), "ids have 15 bits");
        // And back: what was sent last is the large one's.
        let mut back = Mapping::new(Codec::Vp8, 1, 5_002, 5_002 - 102);
        back.continues(&large, &log, 5_001, &vp8(0, 1));
        assert_eq!(shown(&back, &vp8(0, 1)), (0, 1));
        assert!(!back.renumbers(), "by chance it is as it was");
    }

    #[test]
    fn what_was_sent_last_may_be_gone() {
        let log = PacketLog::default();
        let mut before = Mapping::new(Codec::Vp8, 1, 0, 0);
        before.picture = 3;
        let mut map = Mapping::new(Codec::Vp8, 2, 10, 0);
        map.continues(&before, &log, 9, &vp8(1, 1));
        assert_eq!(shown(&map, &vp8(1, 1)), (4, 1));
    }

    #[test]
    fn other_codings_stay_as_they_are() {
        let log = PacketLog::default();
        let mut map = Mapping::new(Codec::H264, 1, 0, 0);
        map.continues(&Mapping::new(Codec::H264, 2, 0, 0), &log, 9, &[0x65, 1, 2]);
        assert!(!map.renumbers());
    }
}
