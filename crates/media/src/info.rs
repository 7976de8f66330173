//! What a track is, told in the words of the API.
//!
//! One door to all readers of this crate, for those who want to tell and not to package:
//! [`CodecInfo::decode`] for a configuration, [`CodecInfo::decode_frame`] for codings that tell
//! in their frames. Keeps nothing and decodes no media.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::aac::AudioConfig;
use crate::{Codec, Kind, ReadError, ac3, av1, flac, h264, h265, mp3, opus, vp8, vp9};

/// What is known of a track's coding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CodecInfo {
    /// Pictures.
    Video(VideoInfo),
    /// Sound.
    Audio(AudioInfo),
    /// Timed data, of which nothing more can be told.
    Data(Codec),
}

/// What is known of a video track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VideoInfo {
    /// The coding.
    pub codec: Codec,
    /// Profile by name, `Other` when it has none or is not known.
    pub profile: &'static str,
    /// Level by name, `Other` when it has none or is not known.
    pub level: &'static str,
    /// Width in samples; 0 when not told.
    pub width: u32,
    /// Height in samples; 0 when not told.
    pub height: u32,
    /// Frames a second, when told.
    pub fps: Option<f64>,
}

/// What is known of an audio track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioInfo {
    /// The coding.
    pub codec: Codec,
    /// Profile by name, `Other` when it has none or is not known.
    pub profile: &'static str,
    /// In Hz, of the sound that comes out; 0 when not told.
    pub sample_rate: u32,
    /// Of the sound that comes out; 0 when not told.
    pub channels: u8,
}

impl CodecInfo {
    /// Nothing known but the coding.
    pub const fn unknown(codec: Codec) -> Self {
        match codec.kind() {
            Kind::Video => Self::Video(VideoInfo {
                codec,
                profile: "Other",
                level: "Other",
                width: 0,
                height: 0,
                fps: None,
            }),
            Kind::Audio => {
                Self::Audio(AudioInfo { codec, profile: "Other", sample_rate: 0, channels: 0 })
            }
            Kind::Data => Self::Data(codec),
        }
    }

    /// From a configuration as [`Codec`] says how each lies. Codings that have none come out as
    /// [`unknown`](Self::unknown). Errors are the publisher's fault.
    ///
    /// Not for every frame: copies parameter sets.
    pub fn decode(codec: Codec, config: &[u8]) -> Result<Self, ReadError> {
        match codec {
            Codec::H264 => h264_info(config),
            Codec::H265 => h265_info(config),
            Codec::Av1 => {
                let config = av1::Av1Config::decode(config)?;
                // The record may leave the sequence header to the stream.
                Ok(match config.sequence_header() {
                    Ok(header) => av1_info(&header),
                    Err(_) => Self::Video(VideoInfo {
                        codec,
                        profile: av1::profile_name(config.profile),
                        level: av1::level_name(config.level),
                        width: 0,
                        height: 0,
                        fps: None,
                    }),
                })
            }
            Codec::Vp8 | Codec::Vp9 => {
                let config = vp9::VpConfig::decode(config)?;
                Ok(Self::Video(VideoInfo {
                    codec,
                    profile: vp9::profile_name(config.profile),
                    level: vp9::level_name(config.level),
                    width: 0,
                    height: 0,
                    fps: None,
                }))
            }
            Codec::Aac => {
                let config = AudioConfig::decode(config)?;
                Ok(Self::Audio(AudioInfo {
                    codec,
                    profile: config.profile_name(),
                    sample_rate: config.sample_rate(),
                    channels: config.channels(),
                }))
            }
            Codec::Opus => {
                let head = opus::OpusHead::decode(config)?;
                Ok(Self::plain_audio(codec, opus::SAMPLE_RATE, head.channels))
            }
            Codec::Flac => {
                let info = flac::StreamInfo::decode(config)?;
                Ok(Self::plain_audio(codec, info.sample_rate, info.channels))
            }
            _ => Ok(Self::unknown(codec)),
        }
    }

    /// From a media frame, for codings whose frames tell: MP3, AC-3, Enhanced AC-3, Opus, VP8,
    /// VP9 and AV1 (of these three, key frames). Others, and frames that tell nothing, come out
    /// as [`unknown`](Self::unknown).
    pub fn decode_frame(codec: Codec, frame: &[u8]) -> Result<Self, ReadError> {
        match codec {
            Codec::Mp3 => {
                let header = mp3::FrameHeader::decode(frame)?;
                Ok(Self::plain_audio(codec, header.sample_rate, header.channels))
            }
            Codec::Ac3 | Codec::Eac3 => {
                let frame = ac3::SyncFrame::decode(frame)?;
                Ok(Self::plain_audio(codec, frame.sample_rate, frame.channels))
            }
            Codec::Opus => {
                let packet = opus::Packet::decode(frame)?;
                Ok(Self::plain_audio(codec, opus::SAMPLE_RATE, packet.channels))
            }
            Codec::Vp8 => {
                let header = vp8::FrameHeader::decode(frame)?;
                let told = header.size.map(|(width, height)| VideoInfo {
                    codec,
                    profile: vp9::profile_name(header.profile),
                    level: "Other",
                    width,
                    height,
                    fps: None,
                });
                Ok(told.map_or(Self::unknown(codec), Self::Video))
            }
            Codec::Vp9 => {
                let header = vp9::FrameHeader::decode(frame)?;
                let told = header.picture.map(|picture| VideoInfo {
                    codec,
                    profile: vp9::profile_name(header.profile),
                    level: "Other",
                    width: picture.width,
                    height: picture.height,
                    fps: None,
                });
                Ok(told.map_or(Self::unknown(codec), Self::Video))
            }
            Codec::Av1 => {
                for obu in av1::Obus::new(frame) {
                    let obu = obu?;
                    if obu.kind == av1::ObuType::SequenceHeader {
                        return Ok(av1_info(&av1::SequenceHeader::decode(obu.payload)?));
                    }
                }
                Ok(Self::unknown(codec))
            }
            _ => Ok(Self::unknown(codec)),
        }
    }

    /// The coding.
    pub const fn codec(&self) -> Codec {
        match self {
            Self::Video(info) => info.codec,
            Self::Audio(info) => info.codec,
            Self::Data(codec) => *codec,
        }
    }

    const fn plain_audio(codec: Codec, sample_rate: u32, channels: u8) -> Self {
        Self::Audio(AudioInfo { codec, profile: "Other", sample_rate, channels })
    }
}

fn h264_info(config: &[u8]) -> Result<CodecInfo, ReadError> {
    let config = h264::AvcConfig::decode(config)?;
    // A record without parameter sets leaves them to the stream.
    let sps = config.sps.first().map(|sps| h264::Sps::decode(sps)).transpose()?;
    Ok(CodecInfo::Video(VideoInfo {
        codec: Codec::H264,
        profile: h264::profile_name(config.profile, config.constraints),
        level: h264::level_name(config.level),
        width: sps.map_or(0, |sps| sps.width),
        height: sps.map_or(0, |sps| sps.height),
        fps: sps.and_then(|sps| sps.fps),
    }))
}

fn h265_info(config: &[u8]) -> Result<CodecInfo, ReadError> {
    let config = h265::HevcConfig::decode(config)?;
    let sps = config.units(33).next().map(|sps| h265::Sps::decode(sps)).transpose()?;
    Ok(CodecInfo::Video(VideoInfo {
        codec: Codec::H265,
        profile: h265::profile_name(config.general.profile),
        level: h265::level_name(config.general.level),
        width: sps.map_or(0, |sps| sps.width),
        height: sps.map_or(0, |sps| sps.height),
        fps: sps.and_then(|sps| sps.fps),
    }))
}

fn av1_info(header: &av1::SequenceHeader) -> CodecInfo {
    CodecInfo::Video(VideoInfo {
        codec: Codec::Av1,
        profile: av1::profile_name(header.profile),
        level: av1::level_name(header.level),
        width: header.width,
        height: header.height,
        fps: header.fps,
    })
}

/// Frames a second, if the numbers make a believable rate: above zero and at most 1000, which
/// is more than any camera that streams.
pub(crate) fn frame_rate(scale: f64, units: f64) -> Option<f64> {
    let rate = scale / units;
    (rate.is_finite() && rate > 0.0 && rate <= 1000.0).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Codec; 22] = [
        Codec::H264,
        Codec::H265,
        Codec::Av1,
        Codec::Vp8,
        Codec::Vp9,
        Codec::Vp6,
        Codec::H263,
        Codec::OtherVideo,
        Codec::Aac,
        Codec::Mp3,
        Codec::Opus,
        Codec::Flac,
        Codec::Ac3,
        Codec::Eac3,
        Codec::G711A,
        Codec::G711U,
        Codec::Speex,
        Codec::Pcm,
        Codec::Nellymoser,
        Codec::OtherAudio,
        Codec::ScriptData,
        Codec::OtherData,
    ];

    fn audio(codec: Codec, profile: &'static str, sample_rate: u32, channels: u8) -> CodecInfo {
        CodecInfo::Audio(AudioInfo { codec, profile, sample_rate, channels })
    }

    #[test]
    fn configurations_tell_the_api_what_it_prints() {
        let avc = [
            0x01, 0x64, 0x00, 0x1f, 0xff, 0xe1, 0x00, 0x22, 0x67, 0x64, 0x00, 0x1f, 0xac, 0xb4,
            0x02, 0x80, 0x2d, 0xd8, 0x08, 0x80, 0x00, 0x00, 0x03, 0x00, 0x80, 0x00, 0x00, 0x19,
            0x30, 0x10, 0x00, 0xf4, 0x20, 0x00, 0x3d, 0x09, 0xc9, 0x44, 0x00, 0xf1, 0x83, 0x2a,
            0x01, 0x00, 0x04, 0x68, 0xef, 0x3c, 0xb0, 0xfd, 0xf8, 0xf8, 0x00,
        ];
        let info = VideoInfo {
            codec: Codec::H264,
            profile: "High",
            level: "3.1",
            width: 1280,
            height: 720,
            fps: Some(25.0),
        };
        assert_eq!(CodecInfo::decode(Codec::H264, &avc), Ok(CodecInfo::Video(info)));
        let lc = audio(Codec::Aac, "LC", 44_100, 2);
        assert_eq!(CodecInfo::decode(Codec::Aac, &[0x12, 0x10]), Ok(lc));
        assert!(CodecInfo::decode(Codec::Aac, &[]).is_err());
    }

    #[test]
    fn a_record_without_parameter_sets_tells_what_it_has() {
        let info = CodecInfo::decode(Codec::H264, &[1, 77, 0, 40, 0xff, 0xe0, 0]);
        let Ok(CodecInfo::Video(info)) = info else { panic!("{info:?}") };
        assert_eq!((info.profile, info.level, info.width), ("Main", "4", 0));
    }

    #[test]
    fn frames_tell_where_there_is_no_configuration() {
        let told = |codec, frame: &[u8]| CodecInfo::decode_frame(codec, frame).unwrap();
        let mp3 = told(Codec::Mp3, &[0xff, 0xfb, 0x94, 0x00]);
        assert_eq!(mp3, audio(Codec::Mp3, "Other", 48_000, 2));
        let ac3 = told(Codec::Ac3, &[0x0b, 0x77, 0x1e, 0x8b, 0x1c, 0x40, 0xeb, 0xf8]);
        assert_eq!(ac3, audio(Codec::Ac3, "Other", 48_000, 6));
        assert_eq!(told(Codec::Opus, &[0xfc]), audio(Codec::Opus, "Other", 48_000, 2));
        assert_eq!(told(Codec::Vp8, &[0x11, 0, 0]), CodecInfo::unknown(Codec::Vp8));
        assert_eq!(told(Codec::Speex, &[]), audio(Codec::Speex, "Other", 0, 0));
    }

    #[test]
    fn rates_beyond_belief_are_not_told() {
        assert_eq!(frame_rate(50.0, 2.0), Some(25.0));
        assert_eq!(frame_rate(50.0, 0.0), None);
        assert_eq!(frame_rate(0.0, 0.0), None);
        assert_eq!(frame_rate(90_000.0, 1.0), None);
    }

    proptest! {
        #[test]
        fn no_bytes_upset_any_reader(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            for codec in ALL {
                for info in [CodecInfo::decode(codec, &bytes), CodecInfo::decode_frame(codec, &bytes)] {
                    prop_assert!(info.is_err() || info.unwrap().codec() == codec);
                }
            }
        }
    }
}
