//! Frames of any protocol become packets, once for all viewers of a shard.

use std::sync::Arc;

use media::{Codec, Flags, Frame, Kind, opus};
use rtp::payload::{Options, Packetizer, Payloads};
use transcode::{OpusOptions, ToOpus};

use super::clock::{Clock, ntp_of_us};
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
    /// The wall's clock at a time of the stream, microseconds: the same for sound and pictures.
    anchor: Option<(u64, i64)>,
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
            let (wall_us, from_us) = *self.anchor.get_or_insert((now_us, media_us));
            let since = media_us.saturating_sub(from_us);
            let wall = clock.ntp(wall_us);
            let ntp = match u64::try_from(since) {
                Ok(since) => wall.wrapping_add(ntp_of_us(since)),
                Err(_) => wall.wrapping_sub(ntp_of_us(since.unsigned_abs())),
            };
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
