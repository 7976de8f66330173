//! What a player finds in the media that it gets: order, times, and whether it is what was sent.

use bytes::Bytes;
use container::flv::{Demuxer, TagKind};
use container::ts;
use media::nal::{AnnexB, LengthPrefixed};
use media::{Codec, Frame, Kind, Timestamp};
use serde::Serialize;

use crate::clip::{Clip, length_size};
use crate::stamp::{self, Stamp};

/// What was found, over all players that look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Pictures and sounds that were looked at.
    pub frames: u64,
    /// Pictures that carried a stamp, so that their content was compared with what was sent.
    pub stamped: u64,
    /// Sounds that were compared with those of the clip.
    pub sounds: u64,
    /// Pictures and sounds whose content is not what was sent.
    pub corrupt: u64,
    /// Pictures that a player did not get, between two that it got.
    pub missing: u64,
    /// The same of players that were made to read slowly: there the server must skip.
    pub skipped: u64,
    /// Pictures that came again.
    pub repeated: u64,
    /// Pictures that came behind later ones.
    pub reordered: u64,
    /// Times that went back within a track.
    pub backwards: u64,
    /// Pieces that could not be read.
    pub unreadable: u64,
}

impl Findings {
    pub(crate) fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.stamped += other.stamped;
        self.sounds += other.sounds;
        self.corrupt += other.corrupt;
        self.missing += other.missing;
        self.skipped += other.skipped;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
        self.backwards += other.backwards;
        self.unreadable += other.unreadable;
    }

    /// Found what no server may do to a stream.
    pub const fn is_broken(&self) -> bool {
        self.corrupt + self.repeated + self.reordered + self.backwards + self.unreadable > 0
    }
}

/// What one piece of media was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// A picture or a sound, no configuration.
    pub(crate) media: bool,
    /// When the picture was sent, if it says so.
    pub(crate) sent_ns: Option<u64>,
}

/// The memory of one player's stream.
#[derive(Debug)]
pub(crate) struct Checker {
    demuxer: Demuxer,
    frames: Vec<Frame>,
    length_size: u8,
    /// The last time of picture and sound, in the wire's ticks.
    times: [Option<u64>; 2],
    /// The publisher and the number that its next picture has.
    expected: Option<(u32, u32)>,
    /// Made to read slowly: what it misses is its own fault.
    slow: bool,
}

impl Checker {
    pub(crate) fn new(slow: bool) -> Self {
        Self {
            demuxer: Demuxer::new(),
            frames: Vec::new(),
            length_size: 4,
            times: [None; 2],
            expected: None,
            slow,
        }
    }

    /// One message body of RTMP or FLV. No allocation, but for what the demuxer must copy.
    pub(crate) fn flv(
        &mut self,
        kind: TagKind,
        time_ms: u32,
        body: Bytes,
        clip: Option<&Clip>,
        findings: &mut Findings,
    ) -> Seen {
        if kind == TagKind::Script || body.is_empty() {
            return Seen::default();
        }
        let mut frames = std::mem::take(&mut self.frames);
        let dts = Timestamp::from_millis(i64::from(time_ms));
        if self.demuxer.push(kind, dts, body, &mut frames).is_err() {
            findings.unreadable += 1;
        }
        let mut seen = Seen::default();
        for frame in frames.drain(..) {
            if !frame.is_media() {
                self.length_size = length_size(&frame).unwrap_or(self.length_size);
                continue;
            }
            seen.media = true;
            findings.frames += 1;
            match frame.kind() {
                Kind::Video => {
                    self.time(0, u64::from(time_ms), 1 << 32, findings);
                    let mut whole = true;
                    let units = LengthPrefixed::new(&frame.payload, self.length_size)
                        .map_while(|unit| unit.inspect_err(|_| whole = false).ok());
                    if matches!(frame.codec, Codec::H264 | Codec::H265) {
                        let (stamp, sum) = stamp::read(units, frame.codec);
                        findings.unreadable += u64::from(!whole);
                        seen.sent_ns = self.picture(stamp, sum, findings).or(seen.sent_ns);
                    }
                }
                Kind::Audio => {
                    self.time(1, u64::from(time_ms), 1 << 32, findings);
                    sound(&frame.payload, clip, findings);
                }
                Kind::Data => {}
            }
        }
        self.frames = frames;
        seen
    }

    /// What a demuxer of MPEG-TS gave.
    pub(crate) fn ts(
        &mut self,
        event: &ts::Event,
        clip: Option<&Clip>,
        findings: &mut Findings,
    ) -> Seen {
        let unit = match event {
            ts::Event::AccessUnit(unit) => unit,
            ts::Event::Fault(_) => {
                findings.unreadable += 1;
                return Seen::default();
            }
            _ => return Seen::default(),
        };
        let mut seen = Seen { media: true, sent_ns: None };
        findings.frames += 1;
        let track = usize::from(unit.codec.kind() == Kind::Audio);
        if let Some(dts) = unit.dts {
            self.time(track, dts, ts::CLOCK_MASK + 1, findings);
        }
        match unit.codec {
            Codec::H264 | Codec::H265 => {
                let (stamp, sum) = stamp::read(AnnexB::new(&unit.data), unit.codec);
                seen.sent_ns = self.picture(stamp, sum, findings);
            }
            Codec::Aac => adts(&unit.data, |frame| sound(frame, clip, findings)),
            _ => {}
        }
        seen
    }

    /// One access unit as it lies in the media layout behind RTP: when it was sent, if it says so.
    pub(crate) fn unit(
        &mut self,
        unit: &[u8],
        codec: Codec,
        findings: &mut Findings,
    ) -> Option<u64> {
        if !matches!(codec, Codec::H264 | Codec::H265) {
            return None;
        }
        let mut whole = true;
        let units =
            LengthPrefixed::new(unit, 4).map_while(|unit| unit.inspect_err(|_| whole = false).ok());
        let (stamp, sum) = stamp::read(units, codec);
        findings.unreadable += u64::from(!whole);
        self.picture(stamp, sum, findings)
    }

    /// The times begin anew: a discontinuity that was announced.
    pub(crate) const fn restart_times(&mut self) {
        self.times = [None; 2];
    }

    /// Times count up modulo `wrap`; more than half of it ahead is behind.
    fn time(&mut self, track: usize, time: u64, wrap: u64, findings: &mut Findings) {
        let Some(slot) = self.times.get_mut(track) else { return };
        if let Some(last) = slot.replace(time)
            && time.wrapping_sub(last) % wrap > wrap / 2
        {
            findings.backwards += 1;
        }
    }

    fn picture(&mut self, stamp: Option<Stamp>, sum: u64, findings: &mut Findings) -> Option<u64> {
        let stamp = stamp?;
        findings.stamped += 1;
        findings.corrupt += u64::from(stamp.checksum != sum);
        let next = (stamp.publisher, stamp.number.wrapping_add(1));
        let Some((publisher, expected)) = self.expected else {
            self.expected = Some(next);
            return Some(stamp.sent_ns);
        };
        // Another session of the publisher, or another publisher, counts anew.
        let ahead = stamp.number.wrapping_sub(expected);
        if publisher != stamp.publisher || ahead == 0 {
            self.expected = Some(next);
        } else if ahead < u32::MAX / 2 {
            let missing = if self.slow { &mut findings.skipped } else { &mut findings.missing };
            *missing += u64::from(ahead);
            self.expected = Some(next);
        } else if ahead == u32::MAX {
            findings.repeated += 1;
        } else {
            findings.reordered += 1;
        }
        Some(stamp.sent_ns)
    }
}

fn sound(payload: &[u8], clip: Option<&Clip>, findings: &mut Findings) {
    if let Some(known) = clip.and_then(|clip| clip.has_sound(stamp::checksum(payload))) {
        findings.sounds += 1;
        findings.corrupt += u64::from(!known);
    }
}

/// The raw blocks of an ADTS stream (ISO/IEC 14496-3, 1.A.2.2); what is none is one block, which
/// no clip has.
fn adts(mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
    while !bytes.is_empty() {
        let Some(&[0xff, b, _, c, d, e, _]) = bytes.first_chunk::<7>() else {
            return each(bytes);
        };
        let header = if b & 1 == 1 { 7 } else { 9 };
        let length = usize::from(c & 3) << 11 | usize::from(d) << 3 | usize::from(e >> 5);
        let (Some(block), Some(rest)) = (bytes.get(header..length), bytes.get(length..)) else {
            return each(bytes);
        };
        each(block);
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Play {
        checker: Checker,
        findings: Findings,
        clip: Clip,
        sent: u32,
    }

    impl Play {
        fn new(slow: bool) -> Self {
            let mut play = Self {
                checker: Checker::new(slow),
                findings: Findings::default(),
                clip: Clip::built_in().unwrap(),
                sent: 0,
            };
            let configs: Vec<_> = play.clip.parts().iter().take(3).cloned().collect();
            for part in configs {
                play.give(part.kind, 0, part.body);
            }
            play
        }

        fn give(&mut self, kind: TagKind, at_ms: u32, body: Bytes) -> Seen {
            self.checker.flv(kind, at_ms, body, Some(&self.clip), &mut self.findings)
        }

        /// The `n`th picture, stamped.
        fn picture(&self, n: u32, publisher: u32) -> (u32, Bytes) {
            let part = self.clip.parts().iter().filter(|p| p.is_stamped()).nth(n as usize).unwrap();
            let mut body = Vec::new();
            part.write(1000, n, publisher, &mut body);
            (part.at_ms, body.into())
        }

        fn see(&mut self, n: u32) -> Seen {
            self.sent += 1;
            let (at_ms, body) = self.picture(n, 1);
            self.give(TagKind::Video, at_ms, body)
        }
    }

    #[test]
    fn a_stream_as_it_was_sent_has_nothing_wrong() {
        let mut play = Play::new(false);
        for n in 5..20 {
            assert_eq!(play.see(n), Seen { media: true, sent_ns: Some(1000) });
        }
        let sounds = play.clip.parts().iter().filter(|p| p.kind == TagKind::Audio && !p.config);
        let sounds: Vec<_> = sounds.take(9).cloned().collect();
        for sound in sounds {
            play.give(sound.kind, sound.at_ms, sound.body);
        }
        let good = Findings { frames: 24, stamped: 15, sounds: 9, ..Findings::default() };
        assert_eq!(play.findings, good);
    }

    #[test]
    fn a_turned_byte_in_picture_or_sound_is_corrupt() {
        let mut play = Play::new(false);
        let (at_ms, body) = play.picture(0, 1);
        let mut body = body.to_vec();
        let last = body.len() - 9;
        body[last] ^= 4;
        play.give(TagKind::Video, at_ms, body.into());
        assert_eq!(play.findings.corrupt, 1);
        let sound = play.clip.parts().iter().rfind(|p| p.kind == TagKind::Audio).unwrap().clone();
        let mut body = sound.body.to_vec();
        body[20] ^= 4;
        play.give(TagKind::Audio, sound.at_ms, body.into());
        assert_eq!((play.findings.corrupt, play.findings.sounds), (2, 1));
    }

    #[test]
    fn what_is_lost_doubled_or_late_is_told_apart() {
        let mut play = Play::new(false);
        for n in [0, 1, 4, 4, 3, 5] {
            play.see(n);
        }
        let f = play.findings;
        assert_eq!((f.missing, f.repeated, f.reordered, f.backwards), (2, 1, 1, 1));
        let mut slow = Play::new(true);
        slow.see(0);
        slow.see(9);
        assert_eq!((slow.findings.missing, slow.findings.skipped), (0, 8));
    }

    #[test]
    fn another_publisher_counts_anew() {
        let mut play = Play::new(false);
        play.see(100);
        let (_, body) = play.picture(0, 2);
        play.give(TagKind::Video, 9_000, body);
        assert!(!play.findings.is_broken() && play.findings.missing == 0);
    }

    #[test]
    fn times_may_wrap_and_not_go_back() {
        let (mut checker, mut f) = (Checker::new(false), Findings::default());
        for time in [u64::from(u32::MAX) - 5, 3, 3, 40] {
            checker.time(0, time, 1 << 32, &mut f);
        }
        assert_eq!(f.backwards, 0);
        checker.time(0, 39, 1 << 32, &mut f);
        assert_eq!(f.backwards, 1);
    }

    #[test]
    fn blocks_of_adts_are_cut_at_their_lengths() {
        let mut bytes = Vec::new();
        for body in [&[1u8, 2, 3][..], &[4]] {
            let len = body.len() + 7;
            bytes.extend([0xff, 0xf1, 0x50, 0x80, (len >> 3) as u8, (len as u8 & 7) << 5, 0xfc]);
            bytes.extend(body);
        }
        bytes.push(9);
        let mut blocks = Vec::new();
        adts(&bytes, |block| blocks.push(block.to_vec()));
        assert_eq!(blocks, [vec![1, 2, 3], vec![4], vec![9]]);
    }
}
