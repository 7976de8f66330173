//! Payloads as transport streams want them: Annex B, ADTS, and Opus' control header.

use media::aac::AudioConfig;
use media::h264::{self, AvcConfig};
use media::h265::{self, HevcConfig};
use media::nal::LengthPrefixed;
use media::opus::OpusHead;
use media::{Codec, Frame};
use smallvec::SmallVec;

use super::mux::LeftOut;

/// Access unit delimiters: "any kind of slice may follow".
const AUD_H264: &[u8] = &[0, 0, 0, 1, 0x09, 0xf0];
const AUD_H265: &[u8] = &[0, 0, 0, 1, 0x46, 0x01, 0x50];
const START_CODE: &[u8] = &[0, 0, 0, 1];

/// What a NAL unit is, as far as a muxer cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nal {
    Delimiter,
    /// VPS, SPS, PPS: bits of a set.
    ParameterSet(u8),
    Other,
}

const VPS: u8 = 1;
const SPS: u8 = 2;
const PPS: u8 = 4;

fn classify(codec: Codec, unit: &[u8]) -> Nal {
    if codec == Codec::H265 {
        return match h265::NalType::of(unit) {
            h265::NalType::Aud => Nal::Delimiter,
            h265::NalType::Vps => Nal::ParameterSet(VPS),
            h265::NalType::Sps => Nal::ParameterSet(SPS),
            h265::NalType::Pps => Nal::ParameterSet(PPS),
            _ => Nal::Other,
        };
    }
    match h264::NalType::of(unit) {
        h264::NalType::Aud => Nal::Delimiter,
        h264::NalType::Sps => Nal::ParameterSet(SPS),
        h264::NalType::Pps => Nal::ParameterSet(PPS),
        _ => Nal::Other,
    }
}

/// The parameter sets of a video track.
#[derive(Debug, Default)]
pub(super) struct VideoSetup {
    /// Bytes of the length in front of each NAL unit; 0 before a configuration.
    length_size: u8,
    /// The parameter sets, each behind a start code.
    sets: Vec<u8>,
}

/// What [`VideoSetup::write`] is going to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct VideoPlan {
    insert: bool,
    /// Bytes in all.
    pub(super) size: usize,
}

impl VideoSetup {
    /// Takes a configuration record; `None` when it cannot be read (the one before stays).
    pub(super) fn configure(&mut self, codec: Codec, record: &[u8]) -> Option<()> {
        let mut sets = Vec::new();
        let mut add = |unit: &[u8]| {
            sets.extend_from_slice(START_CODE);
            sets.extend_from_slice(unit);
        };
        let length_size = match codec {
            Codec::H264 => {
                let config = AvcConfig::decode(record).ok()?;
                config.sps.iter().chain(&config.pps).for_each(|unit| add(unit));
                config.length_size
            }
            Codec::H265 => {
                let config = HevcConfig::decode(record).ok()?;
                for kind in [h265::NalType::Vps, h265::NalType::Sps, h265::NalType::Pps] {
                    config.units(kind.number()).for_each(|unit| add(unit));
                }
                config.length_size
            }
            _ => return None,
        };
        *self = Self { length_size, sets };
        Some(())
    }

    pub(super) fn is_configured(&self) -> bool {
        self.length_size != 0
    }

    /// Measures an access unit; `None` when there is nothing in it.
    pub(super) fn plan(&self, frame: &Frame) -> Result<Option<VideoPlan>, LeftOut> {
        let codec = frame.codec;
        if self.length_size == 0 {
            return Err(LeftOut::NoConfiguration(codec));
        }
        let mut size = 0usize;
        let mut seen = 0;
        for nal in LengthPrefixed::new(&frame.payload, self.length_size) {
            let nal = nal.map_err(|_| LeftOut::BadFrame(codec))?;
            match classify(codec, nal) {
                Nal::Delimiter => continue,
                Nal::ParameterSet(kind) => seen |= kind,
                Nal::Other => {}
            }
            size = size.saturating_add(START_CODE.len()).saturating_add(nal.len());
        }
        if size == 0 {
            return Ok(None);
        }
        let wanted = if codec == Codec::H265 { VPS | SPS | PPS } else { SPS | PPS };
        let insert = frame.is_key() && seen & wanted != wanted;
        if insert {
            size = size.saturating_add(self.sets.len());
        }
        size = size.saturating_add(delimiter(codec).len());
        Ok(Some(VideoPlan { insert, size }))
    }

    /// Hands out the access unit in Annex B form, piece by piece: the delimiter, the parameter
    /// sets of the configuration if the frame lacks them at a key frame, the NAL units.
    pub(super) fn write(&self, frame: &Frame, plan: VideoPlan, mut write: impl FnMut(&[u8])) {
        write(delimiter(frame.codec));
        if plan.insert {
            write(&self.sets);
        }
        for nal in LengthPrefixed::new(&frame.payload, self.length_size).flatten() {
            if classify(frame.codec, nal) != Nal::Delimiter {
                write(START_CODE);
                write(nal);
            }
        }
    }
}

fn delimiter(codec: Codec) -> &'static [u8] {
    if codec == Codec::H265 { AUD_H265 } else { AUD_H264 }
}

/// What is written in front of an audio frame. The longest is Opus' for a frame that fills a
/// PES packet, which is rare enough for the heap.
pub(super) type Head = SmallVec<[u8; 16]>;

/// The configuration of an audio track.
#[derive(Debug, Default)]
pub(super) struct AudioSetup {
    aac: Option<AudioConfig>,
    channels: u8,
}

impl AudioSetup {
    /// Channels, as Opus' descriptor says them.
    pub(super) fn channels(&self) -> u8 {
        if self.channels == 0 { 2 } else { self.channels }
    }

    /// Takes a configuration; `None` when it cannot be read or said in ADTS.
    pub(super) fn configure(&mut self, codec: Codec, record: &[u8]) -> Option<()> {
        match codec {
            Codec::Aac => {
                let config = AudioConfig::decode(record).ok()?;
                config.adts(0, true)?;
                self.aac = Some(config);
            }
            Codec::Opus if record.is_empty() => {}
            Codec::Opus => self.channels = OpusHead::decode(record).ok()?.channels,
            _ => {}
        }
        Some(())
    }

    /// An AAC configuration is there.
    pub(super) fn is_configured(&self) -> bool {
        self.aac.is_some()
    }

    /// The bytes that go in front of a frame of `bytes` bytes.
    pub(super) fn head(&self, codec: Codec, bytes: usize) -> Result<Head, LeftOut> {
        let mut head = Head::new();
        match codec {
            Codec::Aac => {
                let config = self.aac.ok_or(LeftOut::NoConfiguration(codec))?;
                let header = config.adts(bytes, true).ok_or(LeftOut::TooLarge { bytes })?;
                head.extend_from_slice(&header);
            }
            Codec::Opus => write_opus_control(bytes, &mut head),
            _ => {}
        }
        Ok(head)
    }
}

/// The control header of one Opus packet: an 11-bit mark, no trims, the size in bytes of 255.
fn write_opus_control(bytes: usize, head: &mut Head) {
    head.extend_from_slice(&[0x7f, 0xe0]);
    let mut left = bytes;
    while left >= 255 {
        head.push(255);
        left = left.saturating_sub(255);
    }
    head.push(left as u8);
}
