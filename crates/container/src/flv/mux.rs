//! Frames to message bodies.

use std::ops::Deref;

use media::{Codec, Flags, Frame, Kind};

use super::coding::{
    AUDIO_MULTITRACK, CODED_FRAMES, CODED_FRAMES_X, EX_AUDIO, EX_VIDEO, FRAME_DISPOSABLE,
    FRAME_INTER, SEQUENCE_END, SEQUENCE_START, VIDEO_MULTITRACK, fourcc_of, frame_type_of,
    has_nal_units, has_packet_type, of_audio_fourcc, of_sound_format, of_video_fourcc, of_video_id,
    usual_sound_byte, usual_video_id,
};
use super::{AUDIO_BODY, TagKind, VIDEO_BODY};

/// The bytes that go before a frame's payload in a message body, on the stack.
///
/// Dereferences to the bytes, of which there may be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyHeader {
    kind: TagKind,
    len: u8,
    bytes: [u8; Self::CAPACITY],
}

impl BodyHeader {
    /// The longest header: first byte, multitrack byte, FourCC, track id, composition time.
    pub const CAPACITY: usize = 10;

    const fn new(kind: TagKind) -> Self {
        Self { kind, len: 0, bytes: [0; Self::CAPACITY] }
    }

    fn with(mut self, bytes: &[u8]) -> Self {
        for &byte in bytes {
            if let Some(slot) = self.bytes.get_mut(usize::from(self.len)) {
                *slot = byte;
                self.len = self.len.saturating_add(1);
            }
        }
        self
    }

    /// The FLV tag type, which is also the RTMP message type id.
    pub const fn kind(&self) -> TagKind {
        self.kind
    }
}

impl Deref for BodyHeader {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// What goes before `frame.payload` to make a message body of it: write the header, then the
/// payload. `None` when FLV cannot carry the frame: a codec that FLV has no name for, a
/// second track of such a codec, a configuration for a codec that has none there.
///
/// The publisher's form is kept as [`Frame::tag`] has it (see the module's text). Frames of
/// tracks above 0 go as `OneTrack` multitrack packets. Composition times beyond 24 bits of
/// milliseconds (2.3 hours) are clamped; codecs other than H.264 and HEVC have none in the
/// enhanced form. Neither allocates nor copies the payload.
pub fn body_header(frame: &Frame) -> Option<BodyHeader> {
    match (frame.codec, frame.tag) {
        (Codec::ScriptData, _) => Some(BodyHeader::new(TagKind::Script)),
        (Codec::OtherVideo | Codec::OtherData, VIDEO_BODY) => Some(BodyHeader::new(TagKind::Video)),
        (Codec::OtherAudio | Codec::OtherData, AUDIO_BODY) => Some(BodyHeader::new(TagKind::Audio)),
        _ => match frame.kind() {
            Kind::Video => video_header(frame),
            Kind::Audio => audio_header(frame),
            Kind::Data => None,
        },
    }
}

fn video_header(frame: &Frame) -> Option<BodyHeader> {
    let header = BodyHeader::new(TagKind::Video);
    let packet_type = packet_type_of(frame.flags);
    let tagged = u8::try_from(frame.tag).ok().filter(|&tag| {
        tag & 0x8f != 0 && tag & 0x80 == 0 && of_video_id(tag & 0x0f) == frame.codec
    });
    let enhanced = of_video_fourcc(frame.tag) == Some(frame.codec);
    let legacy = tagged.or_else(|| usual_video_id(frame.codec).filter(|_| !enhanced));
    if let (Some(tag), 0) = (legacy, frame.track) {
        let frame_type = match (tag >> 4, frame_type_of(frame.flags)) {
            // Foreign frames that nothing refers to: type 3 is for H.263, and players know it less.
            (0, FRAME_DISPOSABLE) if tagged.is_none() => FRAME_INTER,
            (0, usual) => usual,
            (kept, _) => kept,
        };
        let id = tag & 0x0f;
        let header = header.with(&[frame_type << 4 | id]);
        return if has_packet_type(id) {
            Some(header.with(&[packet_type]).with(&composition_time(frame)))
        } else if packet_type == CODED_FRAMES {
            Some(header)
        } else {
            None
        };
    }
    let fourcc = fourcc_of(frame.codec)?.to_be_bytes();
    let upper = EX_VIDEO | frame_type_of(frame.flags) << 4;
    let cts = composition_time(frame);
    let timed = packet_type == CODED_FRAMES && has_nal_units(frame.codec);
    let packet_type = if timed && cts == [0; 3] { CODED_FRAMES_X } else { packet_type };
    let header = if frame.track == 0 {
        header.with(&[upper | packet_type]).with(&fourcc)
    } else {
        header.with(&[upper | VIDEO_MULTITRACK, packet_type]).with(&fourcc).with(&[frame.track])
    };
    Some(if timed && packet_type == CODED_FRAMES { header.with(&cts) } else { header })
}

fn audio_header(frame: &Frame) -> Option<BodyHeader> {
    let header = BodyHeader::new(TagKind::Audio);
    let packet_type = packet_type_of(frame.flags);
    let tagged = u8::try_from(frame.tag).ok().filter(|&tag| {
        tag != 0 && tag >> 4 != EX_AUDIO && of_sound_format(tag >> 4) == frame.codec
    });
    let enhanced = of_audio_fourcc(frame.tag) == Some(frame.codec);
    let legacy = tagged.or_else(|| usual_sound_byte(frame.codec).filter(|_| !enhanced));
    if let (Some(first), 0) = (legacy, frame.track) {
        return match packet_type {
            // The legacy form ends a track with an empty message.
            SEQUENCE_END => Some(header),
            _ if frame.codec == Codec::Aac => Some(header.with(&[first, packet_type])),
            CODED_FRAMES => Some(header.with(&[first])),
            _ => None,
        };
    }
    let fourcc = fourcc_of(frame.codec)?.to_be_bytes();
    let upper = EX_AUDIO << 4;
    Some(if frame.track == 0 {
        header.with(&[upper | packet_type]).with(&fourcc)
    } else {
        header.with(&[upper | AUDIO_MULTITRACK, packet_type]).with(&fourcc).with(&[frame.track])
    })
}

const fn packet_type_of(flags: Flags) -> u8 {
    if flags.contains(Flags::CONFIG) {
        SEQUENCE_START
    } else if flags.contains(Flags::END) {
        SEQUENCE_END
    } else {
        CODED_FRAMES
    }
}

/// Signed 24 bits of milliseconds. The difference of the rounded times, so that a player that
/// adds it to the rounded `dts` gets the rounded `pts`.
fn composition_time(frame: &Frame) -> [u8; 3] {
    const MAX: i64 = 0x7f_ffff;
    const MIN: i64 = -0x80_0000;
    let ms = frame.pts.as_millis().saturating_sub(frame.dts.as_millis()).clamp(MIN, MAX);
    let [.., a, b, c] = ms.to_be_bytes();
    [a, b, c]
}
