//! FLV and the message bodies that RTMP shares with it, Enhanced RTMP included.
//!
//! [`Demuxer`] turns the body of one audio, video or script message into [`media::Frame`]s;
//! [`body_header`] gives the few bytes that go before a frame's payload to make a body again.
//! [`Reader`], [`FileHeader`] and [`write_tag`] add the framing of FLV files and HTTP-FLV.
//!
//! It deliberately does not decode AMF, look into a codec beyond the size of its NAL unit
//! lengths, unwrap or correct timestamps, or remember configurations for late takers: that is
//! the business of [`amf`](crate::amf), of `media` and of the hub.
//!
//! # What becomes of each packet
//!
//! "FLV" is the Adobe Flash Video File Format Specification 10.1, annex E; "E-RTMP" is the Veovera
//! Enhanced RTMP v2 specification.
//!
//! | body | specification | frame |
//! |---|---|---|
//! | video codec id 7, packet type 0 / 1 / 2 | FLV E.4.3.2 | H264: `CONFIG` / media, composition time in `pts` / `END` |
//! | video codec id 12, 13 | none: Chinese practice, laid out like id 7 | H265, Av1: likewise |
//! | video codec id 2; 4, 5 | FLV E.4.3.1 | H263; Vp6: all that follows the first byte |
//! | other video codec ids | FLV E.4.3.1 | OtherVideo: all that follows the first byte (id 0: the whole body) |
//! | frame type 1, 4 / 3 / 2 and others | FLV E.4.3.1 | `KEY` / `DISPOSABLE` / none |
//! | frame type 5 (command) | FLV E.4.3.1 | dropped as [`Error::Command`]: it steers seeking, live has none |
//! | AAC packet type 0 / 1 | FLV E.4.2.2 | Aac: `CONFIG` / media |
//! | other sound formats | FLV E.4.2.1 | their codec: all that follows the first byte |
//! | empty audio message | E-RTMP, Enhanced Audio ("silence") | `END` of track 0, once its codec is known |
//! | SequenceStart | E-RTMP, ExVideoTagBody, ExAudioTagBody | `CONFIG` |
//! | CodedFrames | as above | media; composition time for `avc1` and `hvc1` only |
//! | CodedFramesX | ExVideoTagBody | media without composition time |
//! | SequenceEnd | as above | `END` |
//! | Metadata (`colorInfo`), MPEG2TSSequenceStart | E-RTMP, Metadata Frame; ExVideoTagBody | OtherData `CONFIG` with [`VIDEO_BODY`], see below |
//! | MultichannelConfig | ExAudioTagBody | OtherData `CONFIG` with [`AUDIO_BODY`], see below |
//! | ModEx | ExVideoTagHeader, ExAudioTagHeader | TimestampOffsetNano moves `dts` and `pts`; other types are skipped |
//! | Multitrack | the same two | one frame for each track, [`Frame::track`](media::Frame::track) is the track id |
//! | unknown FourCC | the same two | OtherVideo / OtherAudio with [`VIDEO_BODY`] / [`AUDIO_BODY`]: the whole body |
//! | reserved packet type | the same two | dropped as [`Error::PacketType`] |
//! | script data | FLV E.4.4 | ScriptData, `@setDataFrame` stripped; `onMetaData` is `CONFIG` |
//!
//! # `Frame::tag`
//!
//! What makes the way back exact. Legacy video: the codec id; its upper nibble holds the frame
//! type when that is not the one which the flags imply (a server-generated key frame is `0x47`).
//! Legacy audio: the whole first byte, `0xAF` for nearly all AAC. Enhanced: the FourCC.
//! [`VIDEO_BODY`] and [`AUDIO_BODY`] say that the payload is a whole message body.
//! A tag that another container gave and that means nothing in FLV is ignored; the codec's usual
//! form is written then (legacy for H.264, AAC and MP3, enhanced for HEVC, AV1, VP9, Opus, FLAC).
//!
//! Some spellings are not given back byte for byte, though they mean the same: `CodedFrames`
//! with composition time zero becomes `CodedFramesX` (as OBS and FFmpeg write it), `ModEx` is
//! resolved into the times, multitrack packets come back one track each (track 0 plain), an
//! enhanced frame type is written as the flags imply it, and a legacy end of sequence without
//! its composition time gets one.
//!
//! # Signals beside the media
//!
//! Metadata, MPEG2TSSequenceStart and MultichannelConfig belong to a media track but are neither
//! its media nor its configuration. They travel on [`Kind::Data`](media::Kind::Data) tracks of
//! their own so that late takers get them and nothing else is overwritten: data track 0 is script
//! data, 1 to 6 the metadata of video tracks 0 to 5, 7 MPEG-2 TS descriptors, 8 to 15 the
//! channel maps of audio tracks 0 to 7. Tracks beyond share the last number.

#![deny(clippy::arithmetic_side_effects)]

mod annexb;
mod coding;
mod demux;
mod ex;
mod file;
mod mux;
mod record;
#[cfg(test)]
mod tests;

use media::Codec;

pub use demux::{Demuxer, SET_DATA_FRAME};
pub use file::{FileHeader, ReadError, Reader, Tag, tag_len, write_tag};
pub use mux::{BodyHeader, body_header};
pub use record::{FileMuxer, Patch, RESUME_HEAD};

/// The three kinds of FLV tag; also the RTMP message type ids (AMF0 data for script).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TagKind {
    /// Sound.
    Audio = 8,
    /// Pictures.
    Video = 9,
    /// AMF0 data: `onMetaData`, cue points, captions.
    Script = 18,
}

impl TagKind {
    /// From a tag type or RTMP message type id; `None` for all that is not one of the three.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            8 => Some(Self::Audio),
            9 => Some(Self::Video),
            18 => Some(Self::Script),
            _ => None,
        }
    }

    /// The tag type as written.
    pub const fn id(self) -> u8 {
        self as u8
    }
}

/// [`Frame::tag`](media::Frame::tag) of a frame whose payload is a whole video message body,
/// written back as it is. No FourCC (none starts with a zero byte) and no small number.
pub const VIDEO_BODY: u32 = u32::from_be_bytes(*b"\0flv");

/// As [`VIDEO_BODY`], for a whole audio message body.
pub const AUDIO_BODY: u32 = u32::from_be_bytes(*b"\0fla");

/// Tracks of one kind that one stream may have; track ids are below it.
///
/// Renditions and angles need a handful. Each costs state here and in the hub, so that a
/// publisher must not choose among all 256; half would still do, double would do no harm.
pub const MAX_TRACKS: usize = 16;

/// `ModEx` packets before one packet.
///
/// The specification has one type; the same type twice makes no sense. Bounds the walk over a
/// body made of nothing else.
pub const MAX_MOD_EX: usize = 8;

/// Why a message body was refused. The peer's fault, and confined to that message: the caller
/// counts it, drops it and goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A video message, or a media packet of either kind, with nothing in it.
    #[error("empty {0:?} packet")]
    Empty(TagKind),
    /// The body ends inside a field.
    #[error("body ends at byte {offset}, {need} more needed")]
    Truncated {
        /// Where the field starts.
        offset: usize,
        /// How long it would be.
        need: usize,
    },
    /// A packet type that the specification reserves or does not allow here.
    #[error("{kind:?} packet type {value}")]
    PacketType {
        /// Audio or video.
        kind: TagKind,
        /// The packet type.
        value: u8,
    },
    /// A command frame (frame type 5); they steer seeking and have no media.
    #[error("video command {value}")]
    Command {
        /// 0 begins a seek, 1 ends it.
        value: u8,
    },
    /// A multitrack type beyond the three.
    #[error("multitrack type {value}")]
    MultitrackType {
        /// The four-bit type.
        value: u8,
    },
    /// A track id of [`MAX_TRACKS`] or more.
    #[error("track id {value}, the highest allowed is {}", MAX_TRACKS.saturating_sub(1))]
    TrackId {
        /// The track id.
        value: u8,
    },
    /// More than [`MAX_TRACKS`] tracks in one message.
    #[error("more than {MAX_TRACKS} tracks in one message")]
    TooManyTracks,
    /// More than [`MAX_MOD_EX`] modifiers before one packet.
    #[error("more than {MAX_MOD_EX} ModEx packets in a row")]
    TooManyModEx,
    /// A configuration that is too short to be one, or that is in Annex B form.
    #[error("not a configuration of {codec}: {len} bytes")]
    Config {
        /// The codec it is for.
        codec: Codec,
        /// Its length.
        len: usize,
    },
    /// An Annex B NAL unit that does not fit the length field that the configuration asks for.
    #[error("NAL unit of {len} bytes behind a {length_size}-byte length")]
    NalTooLong {
        /// Length of the NAL unit.
        len: usize,
        /// Bytes of the length field.
        length_size: u8,
    },
}

impl Error {
    /// A short fixed word for counters and logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Empty(_) => "empty",
            Self::Truncated { .. } => "truncated",
            Self::PacketType { .. } => "packet_type",
            Self::Command { .. } => "command",
            Self::MultitrackType { .. } => "multitrack_type",
            Self::TrackId { .. } => "track_id",
            Self::TooManyTracks => "too_many_tracks",
            Self::TooManyModEx => "too_many_mod_ex",
            Self::Config { .. } => "config",
            Self::NalTooLong { .. } => "nal_too_long",
        }
    }
}
