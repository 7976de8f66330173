//! Frames of any protocol become packets, once for all viewers of a shard.

use std::sync::Arc;

use media::{Codec, Flags, Frame, Kind, opus};
use rtp::payload::{Options, Packetizer, Payloads};
use transcode::{OpusOptions, ToOpus};

use super::clock::Clock;
use super::log::{AUDIO, New, PacketLog, Sync, VIDEO};
use super::tracks::{becomes_opus, travels};

/// Most bytes of a packet's payload: with headers, our extension, a tag and the headers of IPv6
/// and UDP it fits into 1,280 bytes, which every path carries.
pub(crate) const MAX_PAYLOAD: usize = 1180;

/// How frames are made packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BridgeOptions {
    /// B pictures too. Browsers show them, but in the order in which they come.
    pub(crate) keep_b: bool,
    /// SEI too.
    pub(crate) keep_sei: bool,
    /// Of Opus that is made of other sound, bit/s.
    pub(crate) opus_bitrate: u32,
}

/// What a frame changed in the log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    /// Packets were added; pictures among them.
    pub(crate) packets: bool,
    pub(crate) video: bool,
    /// A lane carries another coding than before.
    pub(crate) codec: bool,
}

struct Line {
    codec: Codec,
    packetizer: Packetizer,
    clock: i64,
}

/// Where the stream's time lies against ours.
#[derive(Clone, Copy)]
struct Anchor {
    /// Our time less the stream's, microseconds.
    offset: i64,
    until_us: u64,
}

/// So long the frame that came soonest after its time says where the stream's time lies: those that
/// were cached for joiners come all at once, and only the last of them is new.
const ANCHOR_US: u64 = 500_000;

/// See the module.
pub(crate) struct Bridge {
    options: BridgeOptions,
    session: Arc<str>,
    video: Option<Line>,
    audio: Option<Line>,
    opus: Option<ToOpus>,
    /// Next sequence numbers. They go on when the publisher changes.
    next: [u64; 2],
    payloads: Payloads,
    /// A block of Opus that waits for the next one.
    half: Option<Frame>,
    sound: Vec<Frame>,
    /// The same for sound and pictures.
    anchor: Option<Anchor>,
    told: bool,
}

impl Bridge {
    /// For a stream whose name is `stream`.
    pub(crate) fn new(options: BridgeOptions, stream: Arc<str>) -> Self {
        Self {
            options,
            session: stream,
            video: None,
            audio: None,
            opus: None,
            next: [0; 2],
            payloads: Payloads::default(),
            half: None,
            sound: Vec::new(),
            anchor: None,
            told: false,
        }
    }

    /// Another publisher begins.
    pub(crate) fn restart(&mut self) {
        self.video = None;
        self.audio = None;
        self.opus = None;
        self.half = None;
        self.anchor = None;
        self.told = false;
    }

    /// Appends what a frame becomes. `crowd`: so many listen that two blocks of sound go into one
    /// packet.
    pub(crate) fn push(
        &mut self,
        frame: &Frame,
        crowd: bool,
        log: &mut PacketLog,
        clock: &Clock,
        now_us: u64,
    ) -> Change {
        if frame.track != 0 || frame.kind() == Kind::Data {
            return Change::default();
        }
        if frame.flags.contains(Flags::DISCONTINUITY) {
            self.anchor = None;
        }
        if becomes_opus(frame.codec) {
            return self.transcode(frame, crowd, log, clock, now_us);
        }
        if !travels(frame.codec) {
            self.tell(frame.codec);
            return Change::default();
        }
        self.pair(frame, crowd, log, clock, now_us)
    }

    /// Says once per publisher what viewers do not get.
    fn tell(&mut self, codec: Codec) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(stream = %self.session, %codec, "WebRTC cannot carry this: its players get the rest");
        }
    }

    /// Packages a frame; Opus, for a crowd, together with the next one.
    fn pair(
        &mut self,
        frame: &Frame,
        crowd: bool,
        log: &mut PacketLog,
        clock: &Clock,
        now_us: u64,
    ) -> Change {
        let sound = frame.codec == Codec::Opus && frame.is_media();
        match self.half.take_if(|_| sound) {
            Some(first) => {
                if let Some(payload) = opus::join(&first.payload, &frame.payload) {
                    let both = Frame { payload, ..first };
                    return self.package(&both, log, clock, now_us);
                }
                let one = self.package(&first, log, clock, now_us);
                let two = self.package(frame, log, clock, now_us);
                Change { codec: one.codec | two.codec, ..two }
            }
            None if crowd && sound => {
                self.half = Some(frame.clone());
                Change::default()
            }
            None => self.package(frame, log, clock, now_us),
        }
    }

    fn transcode(
        &mut self,
        frame: &Frame,
        crowd: bool,
        log: &mut PacketLog,
        clock: &Clock,
        now_us: u64,
    ) -> Change {
        let bitrate = self.options.opus_bitrate;
        let opus = self.opus.get_or_insert_with(|| {
            ToOpus::new(OpusOptions { bitrate, constant: true, ..OpusOptions::default() })
        });
        let mut sound = std::mem::take(&mut self.sound);
        if let Err(error) = opus.push(frame, &mut sound)
            && !std::mem::replace(&mut self.told, true)
        {
            tracing::warn!(stream = %self.session, %error, "sound cannot be made Opus");
        }
        let mut change = Change::default();
        for frame in sound.drain(..) {
            let one = self.pair(&frame, crowd, log, clock, now_us);
            change.packets |= one.packets;
            change.codec |= one.codec;
        }
        self.sound = sound;
        change
    }

    fn package(
        &mut self,
        frame: &Frame,
        log: &mut PacketLog,
        clock: &Clock,
        now_us: u64,
    ) -> Change {
        let audio = frame.kind() == Kind::Audio;
        let lane = if audio { AUDIO } else { VIDEO };
        let mut change = Change { video: !audio, ..Change::default() };
        let line = if audio { &mut self.audio } else { &mut self.video };
        if line.as_ref().is_none_or(|line| line.codec != frame.codec) {
            let options = Options {
                max_payload: MAX_PAYLOAD,
                keep_sei: self.options.keep_sei,
                keep_b_frames: self.options.keep_b,
                ..Options::default()
            };
            let Ok(packetizer) = Packetizer::new(frame.codec, options) else { return change };
            change.codec = log.codec(lane) != Some(frame.codec);
            log.set_codec(lane, Some(frame.codec));
            *line = Some(Line {
                codec: frame.codec,
                packetizer,
                clock: if audio { 48_000 } else { 90_000 },
            });
        }
        let Some(line) = line else { return change };
        self.payloads.clear();
        if let Err(error) = line.packetizer.push(frame, &mut self.payloads) {
            tracing::debug!(stream = %self.session, %error, "a frame cannot be made packets");
        }
        let ticks = |us: i64| ticks(us, line.clock);
        let timestamp = ticks(frame.pts.as_micros());
        let [audio_next, video_next] = &mut self.next;
        let next = if audio { audio_next } else { video_next };
        for (index, (payload, bytes)) in self.payloads.iter().enumerate() {
            log.push(New {
                lane,
                seq: *next,
                timestamp,
                marker: payload.marker,
                key: index == 0 && (audio || frame.is_key()),
                payload: bytes,
            });
            *next = next.saturating_add(1);
            change.packets = true;
        }
        if change.packets {
            let media_us = frame.dts.as_micros();
            let came = i64::try_from(now_us).unwrap_or(i64::MAX).saturating_sub(media_us);
            let until_us = now_us.saturating_add(ANCHOR_US);
            let anchor = self.anchor.get_or_insert(Anchor { offset: came, until_us });
            if now_us < anchor.until_us {
                anchor.offset = anchor.offset.min(came);
            }
            let ours = media_us.saturating_add(anchor.offset);
            let ntp = clock.ntp(u64::try_from(ours).unwrap_or(0));
            let clock = u32::try_from(line.clock).unwrap_or(90_000);
            log.set_sync(lane, Sync { ntp, timestamp: ticks(media_us), at_us: now_us, clock });
        }
        change
    }
}

/// The RTP timestamp of a media time: the low 32 bits are what travels.
pub(super) fn ticks(us: i64, clock: i64) -> u32 {
    let ticks = i128::from(us).saturating_mul(i128::from(clock)) / 1_000_000;
    let [.., a, b, c, d] = ticks.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Timestamp;

    fn sound(ms: i64) -> Frame {
        let dts = Timestamp::from_millis(ms);
        let payload = bytes::Bytes::from_static(&[0xfc, 1, 2, 3]);
        Frame { codec: Codec::Opus, track: 0, flags: Flags::KEY, tag: 0, dts, pts: dts, payload }
    }

    #[test]
    fn the_wall_clock_of_a_stream_is_that_of_its_newest_cached_frame() {
        let options = BridgeOptions { keep_b: false, keep_sei: true, opus_bitrate: 48_000 };
        let mut bridge = Bridge::new(options, "live/s".into());
        let (mut log, clock) = (PacketLog::default(), Clock::start());
        // Two seconds from the cache at once, then one frame each 20 ms as they are made.
        for ms in (0..2_000).step_by(20) {
            bridge.push(&sound(ms), false, &mut log, &clock, 10_000_000);
        }
        for n in 0..50u64 {
            let ms = 2_000 + i64::try_from(n).expect("small") * 20;
            bridge.push(&sound(ms), false, &mut log, &clock, 10_020_000 + n * 20_000);
        }
        let at = |ms: u32| log.ntp_of(AUDIO, ms * 48).expect("its clock is known");
        let off = at(3_000).wrapping_sub(clock.ntp(11_020_000)).cast_signed();
        assert!(off.unsigned_abs() < 1 << 20, "{off}");
    }
}
