//! What a payload is.

use std::fmt;

/// The three kinds of track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Timed data: script data, captions, cue points.
    Data,
}

impl Kind {
    /// All kinds, in the order in which their configurations go to a new taker.
    pub const ALL: [Self; 3] = [Self::Data, Self::Audio, Self::Video];
}

/// The coding of a track's payload.
///
/// How a payload lies in [`Frame::payload`](crate::Frame::payload), and what a configuration
/// ([`Flags::CONFIG`](crate::Flags::CONFIG)) holds:
///
/// | codec | payload | configuration |
/// |---|---|---|
/// | H264, H265 | NAL units, each behind a big-endian length of the size the configuration says | `avcC` / `hvcC` record (ISO/IEC 14496-15) |
/// | Av1 | one temporal unit, low-overhead OBUs, no temporal delimiter | `av1C` record |
/// | Vp8, Vp9 | one frame (a superframe for VP9) | `vpcC` record body |
/// | Aac | one raw access unit, no ADTS | AudioSpecificConfig (ISO/IEC 14496-3) |
/// | Mp3, Ac3, Eac3 | one or more whole sync frames | none |
/// | Opus | one packet | `OpusHead` (RFC 7845), or none |
/// | Flac | one frame | `fLaC` + STREAMINFO block, or STREAMINFO alone |
/// | G711A, G711U, Speex, Pcm, Nellymoser | as the publisher sent it | none |
/// | ScriptData | AMF0: a name and its values | the same, for `onMetaData` |
/// | H263, Vp6, OtherVideo, OtherAudio, OtherData | as the publisher sent it, relayed untouched | as sent |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// H.264 / AVC (ITU-T H.264).
    H264,
    /// H.265 / HEVC (ITU-T H.265).
    H265,
    /// AV1.
    Av1,
    /// VP8 (RFC 6386).
    Vp8,
    /// VP9.
    Vp9,
    /// On2 VP6, with or without alpha.
    Vp6,
    /// Sorenson H.263.
    H263,
    /// A video coding that is relayed without being understood.
    OtherVideo,
    /// AAC, any profile.
    Aac,
    /// MPEG-1/2 layer III.
    Mp3,
    /// Opus (RFC 6716).
    Opus,
    /// FLAC (RFC 9639).
    Flac,
    /// AC-3 (ETSI TS 102 366).
    Ac3,
    /// Enhanced AC-3.
    Eac3,
    /// G.711 A-law.
    G711A,
    /// G.711 mu-law.
    G711U,
    /// Speex.
    Speex,
    /// Linear PCM.
    Pcm,
    /// Nellymoser Asao.
    Nellymoser,
    /// An audio coding that is relayed without being understood.
    OtherAudio,
    /// AMF0 script data: `onMetaData`, cue points, captions.
    ScriptData,
    /// Data that is relayed without being understood.
    OtherData,
}

impl Codec {
    /// Which kind of track carries it.
    pub const fn kind(self) -> Kind {
        match self {
            Self::H264
            | Self::H265
            | Self::Av1
            | Self::Vp8
            | Self::Vp9
            | Self::Vp6
            | Self::H263
            | Self::OtherVideo => Kind::Video,
            Self::Aac
            | Self::Mp3
            | Self::Opus
            | Self::Flac
            | Self::Ac3
            | Self::Eac3
            | Self::G711A
            | Self::G711U
            | Self::Speex
            | Self::Pcm
            | Self::Nellymoser
            | Self::OtherAudio => Kind::Audio,
            Self::ScriptData | Self::OtherData => Kind::Data,
        }
    }

    /// Its usual name, as the API prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::H265 => "HEVC",
            Self::Av1 => "AV1",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Vp6 => "VP6",
            Self::H263 => "H263",
            Self::Aac => "AAC",
            Self::Mp3 => "MP3",
            Self::Opus => "Opus",
            Self::Flac => "FLAC",
            Self::Ac3 => "AC3",
            Self::Eac3 => "EAC3",
            Self::G711A => "G711A",
            Self::G711U => "G711U",
            Self::Speex => "Speex",
            Self::Pcm => "PCM",
            Self::Nellymoser => "Nellymoser",
            Self::ScriptData => "ScriptData",
            Self::OtherVideo | Self::OtherAudio | Self::OtherData => "Other",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
