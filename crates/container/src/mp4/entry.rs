//! Sample entries: what a track's payloads are (ISO/IEC 14496-12 section 8.5.2, 14496-14, -15, the
//! bindings of AV1, VP9 and Opus).

use bytes::Bytes;
use media::aac::AudioConfig;
use media::opus::OpusHead;
use media::vp9::VpConfig;
use media::{Codec, CodecInfo, Frame, Kind};

use super::LeftOut;
use super::boxes::{FullBox, boxed, full, words};

/// Longest configuration (64 KiB). Real ones have some hundred bytes.
const CONFIG_MAX: usize = 64 << 10;

/// Opus is always timed at this rate.
const OPUS_RATE: u32 = 48_000;

/// Samples that decoders of Opus need to settle, where the publisher tells nothing: what libopus
/// uses at 48 kHz.
const OPUS_PRE_SKIP: u16 = 312;

/// What a track is.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) codec: Codec,
    /// As the publisher sent it; empty where the coding has none.
    pub(super) config: Bytes,
    /// Of pictures.
    pub(super) size: Option<(u16, u16)>,
    /// Of sound, in Hz; 1 at least.
    pub(super) sample_rate: u32,
    channels: u16,
    /// Samples of one access unit, where all have as many.
    pub(super) frame_samples: u32,
    /// Of the last access unit.
    pub(super) frame_ticks: u32,
}

impl Entry {
    /// The name of its sample entry, for codings that are carried.
    pub(super) const fn carried(codec: Codec) -> Option<&'static [u8; 4]> {
        Some(match codec {
            Codec::H264 => b"avc1",
            Codec::H265 => b"hvc1",
            Codec::Av1 => b"av01",
            Codec::Vp9 => b"vp09",
            Codec::Aac | Codec::Mp3 => b"mp4a",
            Codec::Opus => b"Opus",
            _ => return None,
        })
    }

    /// From a track's first frame and its configuration.
    pub(super) fn new(frame: &Frame, config: Option<&Bytes>) -> Result<Self, LeftOut> {
        let codec = frame.codec;
        let bad = LeftOut::BadConfiguration(codec);
        let info = match (codec, config) {
            // It may come without.
            (Codec::Mp3, _) | (Codec::Opus, None) => {
                CodecInfo::decode_frame(codec, &frame.payload).map_err(|_| bad)?
            }
            (_, None) => return Err(LeftOut::NoConfiguration(codec)),
            (_, Some(config)) if config.len() > CONFIG_MAX => return Err(bad),
            // Decoders read more out of parameter sets than we do; a size of nothing is put right
            // by the stream.
            (Codec::H264 | Codec::H265, Some(config)) if !config.is_empty() => {
                CodecInfo::decode(codec, config).unwrap_or(CodecInfo::unknown(codec))
            }
            (_, Some(config)) => CodecInfo::decode(codec, config).map_err(|_| bad)?,
        };
        let config = config.cloned().unwrap_or_default();
        let mut entry = Self {
            codec,
            config,
            size: None,
            sample_rate: 1,
            channels: 0,
            frame_samples: 0,
            frame_ticks: 0,
        };
        match info {
            CodecInfo::Video(video) => {
                let side = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
                let mut size = (side(video.width), side(video.height));
                // Some tell it in their key frames alone.
                if size == (0, 0)
                    && let Ok(CodecInfo::Video(told)) =
                        CodecInfo::decode_frame(codec, &frame.payload)
                {
                    size = (side(told.width), side(told.height));
                }
                entry.size = Some(size);
            }
            CodecInfo::Audio(audio) => {
                entry.sample_rate = audio.sample_rate.max(1);
                entry.channels = u16::from(audio.channels);
            }
            CodecInfo::Data(_) => return Err(bad),
        }
        if codec == Codec::Aac {
            let config = AudioConfig::decode(&entry.config).map_err(|_| bad)?;
            let core = config.core_rate.max(1);
            // With spectral band replication one access unit has twice the samples.
            let times = entry.sample_rate.checked_div(core).unwrap_or(1).clamp(1, 2);
            entry.frame_samples = config.frame_samples().saturating_mul(times);
        }
        Ok(entry)
    }

    /// Appends the sample entry.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let Some(name) = Self::carried(self.codec) else { return };
        boxed(out, name, |out| {
            // Reserved; the data are in this file.
            out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
            match self.codec.kind() {
                Kind::Video => self.video(out),
                _ => self.audio(out),
            }
        });
    }

    fn video(&self, out: &mut Vec<u8>) {
        let (width, height) = self.size.unwrap_or_default();
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(&width.to_be_bytes());
        out.extend_from_slice(&height.to_be_bytes());
        // 72 dots an inch.
        words(out, &[0x0048_0000, 0x0048_0000, 0]);
        out.extend_from_slice(&1u16.to_be_bytes());
        out.extend_from_slice(&[0; 32]);
        // Colour, without alpha; no palette.
        out.extend_from_slice(&[0, 0x18, 0xff, 0xff]);
        match self.codec {
            Codec::H264 => boxed(out, b"avcC", |out| out.extend_from_slice(&self.config)),
            Codec::H265 => boxed(out, b"hvcC", |out| out.extend_from_slice(&self.config)),
            Codec::Av1 => boxed(out, b"av1C", |out| out.extend_from_slice(&self.config)),
            _ => full(out, FullBox::new(b"vpcC").version(1), |out| {
                if let Ok(config) = VpConfig::decode(&self.config) {
                    out.extend_from_slice(&config.encode());
                }
            }),
        }
    }

    fn audio(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&self.channels.to_be_bytes());
        out.extend_from_slice(&[0, 16, 0, 0, 0, 0]);
        // 16 bits; higher rates are told by the configuration alone.
        let rate = u16::try_from(self.sample_rate).unwrap_or(0);
        out.extend_from_slice(&rate.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        match self.codec {
            Codec::Opus => self.opus(out),
            _ => self.descriptor(out),
        }
    }

    fn opus(&self, out: &mut Vec<u8>) {
        let plain = OpusHead {
            channels: u8::try_from(self.channels).unwrap_or(2).clamp(1, 2),
            pre_skip: OPUS_PRE_SKIP,
            input_rate: OPUS_RATE,
            gain: 0,
            mapping_family: 0,
        };
        let head = OpusHead::decode(&self.config).unwrap_or(plain);
        // Behind the 19 bytes of the head lies the table of channels.
        let table = self.config.get(18..).filter(|_| head.mapping_family != 0);
        boxed(out, b"dOps", |out| {
            out.extend_from_slice(&[0, head.channels]);
            out.extend_from_slice(&head.pre_skip.to_be_bytes());
            out.extend_from_slice(&head.input_rate.to_be_bytes());
            out.extend_from_slice(&head.gain.to_be_bytes());
            out.extend_from_slice(table.unwrap_or(&[0]));
        });
    }

    /// `esds` (ISO/IEC 14496-1 section 7.2.6).
    fn descriptor(&self, out: &mut Vec<u8>) {
        let object = match (self.codec, self.sample_rate) {
            (Codec::Aac, _) => 0x40,
            // MP3 of MPEG-2 has the halved rates.
            (_, ..32_000) => 0x69,
            _ => 0x6b,
        };
        full(out, FullBox::new(b"esds"), |out| {
            tagged(out, 3, |out| {
                out.extend_from_slice(&[0, 0, 0]);
                tagged(out, 4, |out| {
                    // Audio stream; buffer and rates are not told.
                    out.extend_from_slice(&[object, 0x15]);
                    out.extend_from_slice(&[0; 11]);
                    if self.codec == Codec::Aac {
                        tagged(out, 5, |out| out.extend_from_slice(&self.config));
                    }
                });
                tagged(out, 6, |out| out.push(2));
            });
        });
    }
}

/// Appends a descriptor with a length of four bytes.
fn tagged(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    out.extend_from_slice(&[0x80, 0x80, 0x80, 0]);
    body(out);
    let size = out.len().saturating_sub(at).saturating_sub(4);
    let digit = |shift: u32| (size >> shift & 0x7f) as u8;
    let length = [digit(21) | 0x80, digit(14) | 0x80, digit(7) | 0x80, digit(0)];
    if let Some(place) = out.get_mut(at..at.saturating_add(4)) {
        place.copy_from_slice(&length);
    }
}
