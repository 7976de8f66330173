//! Codec ids, sound formats, FourCCs, and the numbers of the headers.

use media::{Codec, Flags};

/// Set in the first byte of an enhanced video body (`isExVideoHeader`).
pub(super) const EX_VIDEO: u8 = 0x80;
/// Sound format of an enhanced audio body.
pub(super) const EX_AUDIO: u8 = 9;

pub(super) const SEQUENCE_START: u8 = 0;
pub(super) const CODED_FRAMES: u8 = 1;
pub(super) const SEQUENCE_END: u8 = 2;
pub(super) const CODED_FRAMES_X: u8 = 3;
pub(super) const VIDEO_METADATA: u8 = 4;
pub(super) const MPEG2TS_SEQUENCE_START: u8 = 5;
pub(super) const VIDEO_MULTITRACK: u8 = 6;
pub(super) const MULTICHANNEL_CONFIG: u8 = 4;
pub(super) const AUDIO_MULTITRACK: u8 = 5;
pub(super) const MOD_EX: u8 = 7;

pub(super) const FRAME_KEY: u8 = 1;
pub(super) const FRAME_INTER: u8 = 2;
pub(super) const FRAME_DISPOSABLE: u8 = 3;
pub(super) const FRAME_GENERATED_KEY: u8 = 4;
pub(super) const FRAME_COMMAND: u8 = 5;

/// Codec of a legacy video codec id.
pub(super) const fn of_video_id(id: u8) -> Codec {
    match id {
        2 => Codec::H263,
        4 | 5 => Codec::Vp6,
        7 => Codec::H264,
        12 => Codec::H265,
        13 => Codec::Av1,
        _ => Codec::OtherVideo,
    }
}

/// A legacy codec id whose bodies have a packet type and a composition time.
pub(super) const fn has_packet_type(id: u8) -> bool {
    matches!(id, 7 | 12 | 13)
}

/// Codec of a legacy sound format.
pub(super) const fn of_sound_format(format: u8) -> Codec {
    match format {
        0 | 3 => Codec::Pcm,
        2 | 14 => Codec::Mp3,
        4..=6 => Codec::Nellymoser,
        7 => Codec::G711A,
        8 => Codec::G711U,
        10 => Codec::Aac,
        11 => Codec::Speex,
        _ => Codec::OtherAudio,
    }
}

const fn fourcc(name: [u8; 4]) -> u32 {
    u32::from_be_bytes(name)
}

const AVC1: u32 = fourcc(*b"avc1");
const HVC1: u32 = fourcc(*b"hvc1");
const AV01: u32 = fourcc(*b"av01");
const VP08: u32 = fourcc(*b"vp08");
const VP09: u32 = fourcc(*b"vp09");
const MP4A: u32 = fourcc(*b"mp4a");
const MP3: u32 = fourcc(*b".mp3");
const OPUS: u32 = fourcc(*b"Opus");
const FLAC: u32 = fourcc(*b"fLaC");
const AC_3: u32 = fourcc(*b"ac-3");
const EC_3: u32 = fourcc(*b"ec-3");

/// Codec of an enhanced video FourCC.
pub(super) const fn of_video_fourcc(fourcc: u32) -> Option<Codec> {
    match fourcc {
        AVC1 => Some(Codec::H264),
        HVC1 => Some(Codec::H265),
        AV01 => Some(Codec::Av1),
        VP08 => Some(Codec::Vp8),
        VP09 => Some(Codec::Vp9),
        _ => None,
    }
}

/// Codec of an enhanced audio FourCC.
pub(super) const fn of_audio_fourcc(fourcc: u32) -> Option<Codec> {
    match fourcc {
        MP4A => Some(Codec::Aac),
        MP3 => Some(Codec::Mp3),
        OPUS => Some(Codec::Opus),
        FLAC => Some(Codec::Flac),
        AC_3 => Some(Codec::Ac3),
        EC_3 => Some(Codec::Eac3),
        _ => None,
    }
}

/// The FourCC that says `codec` in an enhanced body.
pub(super) const fn fourcc_of(codec: Codec) -> Option<u32> {
    match codec {
        Codec::H264 => Some(AVC1),
        Codec::H265 => Some(HVC1),
        Codec::Av1 => Some(AV01),
        Codec::Vp8 => Some(VP08),
        Codec::Vp9 => Some(VP09),
        Codec::Aac => Some(MP4A),
        Codec::Mp3 => Some(MP3),
        Codec::Opus => Some(OPUS),
        Codec::Flac => Some(FLAC),
        Codec::Ac3 => Some(AC_3),
        Codec::Eac3 => Some(EC_3),
        _ => None,
    }
}

/// The legacy video codec id for a frame that no FLV publisher tagged.
///
/// HEVC and AV1 have ids by Chinese practice only; what other containers bring is written in
/// the enhanced form, which has a specification.
pub(super) const fn usual_video_id(codec: Codec) -> Option<u8> {
    match codec {
        Codec::H264 => Some(7),
        Codec::H263 => Some(2),
        Codec::Vp6 => Some(4),
        _ => None,
    }
}

/// The first byte of a legacy audio body for a frame that no FLV publisher tagged.
///
/// AAC and MP3 players take the rate from the codec, so the byte says 44 kHz stereo as all do.
/// Speex is 16 kHz mono and G.711 8 kHz mono by FLV E.4.2.1, whatever their bits say.
pub(super) const fn usual_sound_byte(codec: Codec) -> Option<u8> {
    match codec {
        Codec::Aac => Some(0xaf),
        Codec::Mp3 => Some(0x2f),
        Codec::G711A => Some(0x72),
        Codec::G711U => Some(0x82),
        Codec::Speex => Some(0xb6),
        Codec::Nellymoser => Some(0x62),
        // The byte 0 itself is a format (8-bit PCM at 5.5 kHz), and a tag of 0 may be it.
        Codec::Pcm => Some(0),
        _ => None,
    }
}

/// Length-prefixed NAL units, and with them a composition time in `CodedFrames`.
pub(super) const fn has_nal_units(codec: Codec) -> bool {
    matches!(codec, Codec::H264 | Codec::H265)
}

/// Flags of a media frame of this frame type.
pub(super) const fn flags_of(frame_type: u8) -> Flags {
    match frame_type {
        FRAME_KEY | FRAME_GENERATED_KEY => Flags::KEY,
        FRAME_DISPOSABLE => Flags::DISPOSABLE,
        _ => Flags::empty(),
    }
}

/// The frame type that encoders write for a frame with these flags.
pub(super) const fn frame_type_of(flags: Flags) -> u8 {
    if flags.intersects(Flags::KEY.union(Flags::CONFIG).union(Flags::END)) {
        FRAME_KEY
    } else if flags.contains(Flags::DISPOSABLE) {
        FRAME_DISPOSABLE
    } else {
        FRAME_INTER
    }
}
