//! AAC: AudioSpecificConfig and ADTS headers.
//!
//! Tells profile, rate and channels and moves raw access units into and out of ADTS; decodes no
//! sound. Entry types: [`AudioConfig`] and [`AdtsHeader`].
//!
//! Specifications: ISO/IEC 14496-3 sections 1.6.2.1 (AudioSpecificConfig), 1.6.5 (SBR and PS
//! signalling), 4.4.1.1 (program configuration), 1.A.2.2 (ADTS); ISO/IEC 13818-7.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::ReadError;
use crate::bits::BitReader;

/// Bytes of an ADTS header without a check sum.
pub const ADTS_HEADER: usize = 7;

/// The longest frame that an ADTS header can announce, header and all.
pub const ADTS_MAX_FRAME: usize = 0x1fff;

/// Samples of one access unit for each channel, unless the configuration says 960.
pub const FRAME_SAMPLES: u32 = 1024;

/// Sample rates by their index (table 1.18).
pub const SAMPLE_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Object type of the Main profile.
pub const MAIN: u8 = 1;
/// Object type of Low Complexity, which nearly everybody sends.
pub const LC: u8 = 2;
/// Object type of Scalable Sample Rate.
pub const SSR: u8 = 3;
/// Object type of spectral band replication: HE-AAC.
pub const SBR: u8 = 5;
/// Object type of parametric stereo: HE-AAC version 2.
pub const PS: u8 = 29;

/// An AudioSpecificConfig.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AudioConfig {
    /// Object type of the core coding, [`LC`] as a rule; never [`SBR`] or [`PS`].
    pub object_type: u8,
    /// Sample rate of the core coding in Hz.
    pub core_rate: u32,
    /// The channel configuration: 0 means that the channels are spelled out.
    pub channel_config: u8,
    /// Channels of the core coding; 0 when they could not be told.
    pub core_channels: u8,
    /// An access unit has 960 samples, not 1024.
    pub short_frames: bool,
    /// Sample rate with spectral band replication, where it is signalled to be there.
    pub sbr_rate: Option<u32>,
    /// The extension is signalled first, where decoders without it stop (hierarchical), and
    /// not behind the rest, where they go on (compatible).
    pub hierarchical: bool,
    /// Parametric stereo is signalled to be there.
    pub ps: bool,
}

impl AudioConfig {
    /// A plain configuration. The channel configuration is 1 to 7 for mono to 7.1.
    pub const fn new(object_type: u8, core_rate: u32, channel_config: u8) -> Self {
        Self {
            object_type,
            core_rate,
            channel_config,
            core_channels: channels_of(channel_config),
            short_frames: false,
            sbr_rate: None,
            hierarchical: false,
            ps: false,
        }
    }

    /// Decodes a configuration. Damage behind the channel configuration is overlooked, because
    /// decoders do the same.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut r = BitReader::new("AudioSpecificConfig", bytes);
        let mut object_type = read_object_type(&mut r)?;
        let core_rate = read_rate(&mut r)?;
        let channel_config = r.read_u8(4)?;
        let mut config = Self::new(object_type, core_rate, channel_config);
        if matches!(object_type, SBR | PS) {
            config.hierarchical = true;
            config.ps = object_type == PS;
            config.sbr_rate = Some(read_rate(&mut r)?);
            object_type = read_object_type(&mut r)?;
            config.object_type = object_type;
            if object_type == 22 {
                r.skip(4)?;
            }
        }
        if object_type == 0 || matches!(object_type, SBR | PS) {
            return Err(r.invalid("AAC object type", u64::from(object_type), 0));
        }
        // What follows only refines; many encoders cut it short.
        let _ = config.read_rest(&mut r);
        Ok(config)
    }

    fn read_rest(&mut self, r: &mut BitReader<'_>) -> Result<(), ReadError> {
        if !matches!(self.object_type, 1..=4 | 6 | 7 | 17 | 19..=23) {
            return Ok(());
        }
        self.short_frames = r.flag()?;
        if r.flag()? {
            r.skip(14)?;
        }
        let extension = r.flag()?;
        if self.channel_config == 0 {
            self.core_channels = read_program_channels(r)?;
        }
        if matches!(self.object_type, 6 | 20) {
            r.skip(3)?;
        }
        if extension {
            match self.object_type {
                22 => r.skip(16)?,
                17 | 19 | 20 | 23 => r.skip(3)?,
                _ => {}
            }
            r.skip(1)?;
        }
        // Object types from 17 on carry error protection here; none of them is sent with SBR.
        if self.sbr_rate.is_none()
            && self.object_type < 17
            && r.read(11)? == 0x2b7
            && read_object_type(r)? == SBR
            && r.flag()?
        {
            self.sbr_rate = Some(read_rate(r)?);
            self.ps = r.remaining() >= 12 && r.read(11)? == 0x548 && r.flag()?;
        }
        Ok(())
    }

    /// The configuration's bytes. Channels that were spelled out, and the core coder delay, are
    /// not written: keep the publisher's own bytes where they matter.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = BitWriter::default();
        if self.hierarchical
            && let Some(rate) = self.sbr_rate
        {
            w.object_type(if self.ps { PS } else { SBR });
            w.rate(self.core_rate);
            w.put(u32::from(self.channel_config), 4);
            w.rate(rate);
            w.object_type(self.object_type);
        } else {
            w.object_type(self.object_type);
            w.rate(self.core_rate);
            w.put(u32::from(self.channel_config), 4);
        }
        w.put(u32::from(self.short_frames), 1);
        w.put(0, 2);
        if !self.hierarchical
            && let Some(rate) = self.sbr_rate
        {
            w.put(0x2b7, 11);
            w.object_type(SBR);
            w.put(1, 1);
            w.rate(rate);
            if self.ps {
                w.put(0x548, 11);
                w.put(1, 1);
            }
        }
        w.bytes
    }

    /// Sample rate of the sound that comes out, in Hz.
    pub fn sample_rate(&self) -> u32 {
        self.sbr_rate.unwrap_or(self.core_rate)
    }

    /// Channels of the sound that comes out; 0 when they could not be told.
    pub const fn channels(&self) -> u8 {
        if self.ps && self.core_channels == 1 { 2 } else { self.core_channels }
    }

    /// Samples of one access unit for each channel, at [`core_rate`](Self::core_rate).
    pub const fn frame_samples(&self) -> u32 {
        if self.short_frames { 960 } else { FRAME_SAMPLES }
    }

    /// The profile as the API prints it; `Other` for what has no name there. Without signalling
    /// this is the core's, for which `LC` may hide HE.
    pub const fn profile_name(&self) -> &'static str {
        match (self.object_type, self.sbr_rate) {
            (LC, Some(_)) if self.ps => "HEv2",
            (LC, Some(_)) => "HE",
            (MAIN, _) => "Main",
            (LC, None) => "LC",
            (SSR, _) => "SSR",
            _ => "Other",
        }
    }

    /// The ADTS header of one access unit of `payload` bytes. `mpeg2` sets the ID bit: the header
    /// then begins `ff f9`, otherwise `ff f1`. `None` when ADTS cannot say it: another object
    /// type than 1 to 4, an odd sample rate, more than [`ADTS_MAX_FRAME`] bytes.
    ///
    /// The header names the core coding; ADTS leaves SBR and PS to the decoder. Channels that are
    /// spelled out are written as configuration 0.
    pub fn adts(&self, payload: usize, mpeg2: bool) -> Option<[u8; ADTS_HEADER]> {
        let rate_index = SAMPLE_RATES.iter().position(|rate| *rate == self.core_rate)?;
        let header = AdtsHeader {
            mpeg2,
            object_type: self.object_type,
            rate_index: rate_index as u8,
            channel_config: self.channel_config,
            has_crc: false,
            frame_length: payload.checked_add(ADTS_HEADER)?,
            blocks: 1,
        };
        header.encode()
    }
}

/// The header of an ADTS frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdtsHeader {
    /// The ID bit: ISO/IEC 13818-7, not 14496-3.
    pub mpeg2: bool,
    /// Object type, 1 to 4.
    pub object_type: u8,
    /// Index into [`SAMPLE_RATES`].
    pub rate_index: u8,
    /// Channel configuration, 0 to 7.
    pub channel_config: u8,
    /// A check sum of two bytes follows the header.
    pub has_crc: bool,
    /// Bytes of the frame, this header included.
    pub frame_length: usize,
    /// Raw data blocks in the frame, 1 to 4.
    pub blocks: u8,
}

impl AdtsHeader {
    /// Decodes the seven bytes at the start of a frame.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut r = BitReader::new("ADTS header", bytes);
        let sync = r.read(12)?;
        if sync != 0xfff {
            return Err(r.invalid("ADTS sync word", u64::from(sync), 0));
        }
        let mpeg2 = r.flag()?;
        let layer = r.read(2)?;
        if layer != 0 {
            return Err(r.invalid("ADTS layer", u64::from(layer), 1));
        }
        let has_crc = !r.flag()?;
        let object_type = r.read_u8(2)?.saturating_add(1);
        let rate_index = r.read_u8(4)?;
        if usize::from(rate_index) >= SAMPLE_RATES.len() {
            return Err(r.invalid("ADTS sample rate index", u64::from(rate_index), 2));
        }
        r.skip(1)?;
        let channel_config = r.read_u8(3)?;
        r.skip(4)?;
        let frame_length = r.read(13)? as usize;
        r.skip(11)?;
        let blocks = r.read_u8(2)?.saturating_add(1);
        let header =
            Self { mpeg2, object_type, rate_index, channel_config, has_crc, frame_length, blocks };
        if frame_length < header.length() {
            return Err(r.invalid("ADTS frame length", frame_length as u64, 3));
        }
        Ok(header)
    }

    /// The header's bytes; `None` when a field does not fit.
    pub fn encode(&self) -> Option<[u8; ADTS_HEADER]> {
        if !(1..=4).contains(&self.object_type)
            || usize::from(self.rate_index) >= SAMPLE_RATES.len()
            || self.channel_config > 7
            || self.frame_length > ADTS_MAX_FRAME
            || !(1..=4).contains(&self.blocks)
        {
            return None;
        }
        let profile = self.object_type.wrapping_sub(1);
        let length = self.frame_length as u32;
        Some([
            0xff,
            0xf0 | u8::from(self.mpeg2) << 3 | u8::from(!self.has_crc),
            profile << 6 | self.rate_index << 2 | self.channel_config >> 2,
            (self.channel_config & 3) << 6 | (length >> 11) as u8,
            (length >> 3) as u8,
            // Buffer fullness is all ones: variable bit rate.
            (length << 5) as u8 | 0x1f,
            0xfc | self.blocks.wrapping_sub(1),
        ])
    }

    /// Bytes before the first raw data block: 7, with a check sum 9.
    pub const fn length(&self) -> usize {
        if self.has_crc { 9 } else { ADTS_HEADER }
    }

    /// Sample rate in Hz.
    pub fn sample_rate(&self) -> u32 {
        SAMPLE_RATES.get(usize::from(self.rate_index)).copied().unwrap_or(0)
    }

    /// The configuration that raw access units out of this frame need.
    pub fn config(&self) -> AudioConfig {
        AudioConfig::new(self.object_type, self.sample_rate(), self.channel_config)
    }
}

/// Channels of a channel configuration (table 1.19); 0 for those that say nothing.
const fn channels_of(channel_config: u8) -> u8 {
    match channel_config {
        1..=6 => channel_config,
        7 | 12 | 14 => 8,
        11 => 7,
        13 => 24,
        _ => 0,
    }
}

fn read_object_type(r: &mut BitReader<'_>) -> Result<u8, ReadError> {
    match r.read_u8(5)? {
        31 => Ok(r.read_u8(6)?.saturating_add(32)),
        other => Ok(other),
    }
}

fn read_rate(r: &mut BitReader<'_>) -> Result<u32, ReadError> {
    let offset = r.offset();
    let index = r.read(4)?;
    let rate = match index {
        15 => r.read(24)?,
        _ => SAMPLE_RATES.get(index as usize).copied().unwrap_or(0),
    };
    if rate == 0 {
        return Err(r.invalid("AAC sample rate index", u64::from(index), offset));
    }
    Ok(rate)
}

/// The channels that a program configuration element spells out.
fn read_program_channels(r: &mut BitReader<'_>) -> Result<u8, ReadError> {
    r.skip(10)?;
    let mut elements = 0u32;
    for _ in 0..3 {
        elements = elements.saturating_add(r.read(4)?);
    }
    let low_frequency = r.read_u8(2)?;
    r.skip(7)?;
    for bits in [4, 4, 3] {
        if r.flag()? {
            r.skip(bits)?;
        }
    }
    let mut channels = low_frequency;
    for _ in 0..elements {
        channels = channels.saturating_add(1).saturating_add(u8::from(r.flag()?));
        r.skip(4)?;
    }
    // What is left of the element does not matter to anyone who only counts.
    Ok(channels)
}

/// Writes bits into bytes, the last one filled up with zeros.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    used: u32,
}

impl BitWriter {
    fn put(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let shift = 7u32.saturating_sub(self.used % 8);
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << shift;
            }
            self.used = self.used.wrapping_add(1);
        }
    }

    fn object_type(&mut self, object_type: u8) {
        match object_type.checked_sub(32) {
            Some(high) => {
                self.put(31, 5);
                self.put(u32::from(high), 6);
            }
            None => self.put(u32::from(object_type), 5),
        }
    }

    fn rate(&mut self, rate: u32) {
        match SAMPLE_RATES.iter().position(|known| *known == rate) {
            Some(index) => self.put(index as u32, 4),
            None => {
                self.put(15, 4);
                self.put(rate, 24);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_configuration_is_low_complexity_stereo() {
        let config = AudioConfig::decode(&[0x12, 0x10]).unwrap();
        assert_eq!((config.profile_name(), config.sample_rate()), ("LC", 44_100));
        assert_eq!((config.channels(), config.frame_samples()), (2, 1024));
        assert_eq!(config.encode(), [0x12, 0x10]);
        assert_eq!(config, AudioConfig::new(LC, 44_100, 2));
    }

    #[test]
    fn an_extension_that_says_no_sbr_is_low_complexity() {
        let config = AudioConfig::decode(&[0x11, 0x90, 0x56, 0xe5, 0x00]).unwrap();
        assert_eq!((config.profile_name(), config.sample_rate()), ("LC", 48_000));
    }

    #[test]
    fn high_efficiency_is_told_from_both_ways_of_signalling() {
        // Compatible: LC 22050 stereo, extension 0x2b7, SBR, 44100.
        let config = AudioConfig::decode(&[0x13, 0x90, 0x56, 0xe5, 0xa0]).unwrap();
        assert_eq!((config.profile_name(), config.sample_rate()), ("HE", 44_100));
        assert_eq!((config.core_rate, config.hierarchical), (22_050, false));
        // Hierarchical: object type 5, core 24000, stereo, 48000, LC.
        let config = AudioConfig::decode(&[0x2b, 0x11, 0x88, 0x00]).unwrap();
        assert_eq!((config.profile_name(), config.sample_rate()), ("HE", 48_000));
        assert!(config.hierarchical);
        // Hierarchical: object type 29, core 22050, mono, 44100, LC.
        let config = AudioConfig::decode(&[0xeb, 0x8a, 0x08, 0x00]).unwrap();
        assert_eq!((config.profile_name(), config.channels()), ("HEv2", 2));
        assert_eq!((config.core_rate, config.sample_rate()), (22_050, 44_100));
    }

    #[test]
    fn a_frequency_may_be_spelled_out() {
        let config = AudioConfig { core_rate: 12_345, ..AudioConfig::new(LC, 44_100, 1) };
        let read = AudioConfig::decode(&config.encode()).unwrap();
        assert_eq!(read.sample_rate(), 12_345);
        assert_eq!(read.adts(10, true), None, "ADTS has no words for it");
    }

    #[test]
    fn channels_that_are_spelled_out_are_counted() {
        let mut w = BitWriter::default();
        w.put(2, 5);
        w.put(3, 4);
        w.put(0, 4);
        w.put(0, 3);
        // Tag, object, rate; one front pair and one front single; a back pair; one LFE.
        for (value, bits) in [(0, 4), (1, 2), (3, 4), (2, 4), (0, 4), (1, 4), (1, 2), (0, 7)] {
            w.put(value, bits);
        }
        w.put(0, 3);
        for pair in [1, 0, 1] {
            w.put(pair, 1);
            w.put(0, 4);
        }
        assert_eq!(AudioConfig::decode(&w.bytes).unwrap().channels(), 6);
    }

    #[test]
    fn rubbish_is_refused() {
        assert!(AudioConfig::decode(&[]).is_err());
        assert!(AudioConfig::decode(&[0x12]).is_err());
        assert!(AudioConfig::decode(&[0, 0]).is_err());
        assert!(AudioConfig::decode(&[0x16, 0x90]).is_err(), "reserved sample rate");
    }

    #[test]
    fn adts_of_an_encoder_is_read() {
        let bytes = [0xff, 0xf1, 0x4c, 0x80, 0x24, 0xff, 0xfc];
        let header = AdtsHeader::decode(&bytes).unwrap();
        assert_eq!((header.frame_length, header.length()), (0x127, 7));
        assert_eq!(header.config(), AudioConfig::new(LC, 48_000, 2));
        assert_eq!(header.encode(), Some(bytes));
        assert_eq!(header.config().adts(0x120, false), Some(bytes));
        assert_eq!(&header.config().adts(0x120, true).unwrap()[..2], [0xff, 0xf9]);
        assert!(AdtsHeader::decode(&bytes[..6]).is_err());
        assert!(AdtsHeader::decode(&[0xff, 0xf1, 0x4c, 0x80, 0, 0x5f, 0xfc]).is_err());
    }

    #[test]
    fn a_frame_too_long_for_adts_is_refused() {
        let config = AudioConfig::new(LC, 48_000, 2);
        assert!(config.adts(ADTS_MAX_FRAME - 7, true).is_some());
        assert_eq!(config.adts(ADTS_MAX_FRAME - 6, true), None);
        assert_eq!(config.adts(usize::MAX, true), None);
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_decoders(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = AudioConfig::decode(&bytes);
            let _ = AdtsHeader::decode(&bytes);
        }

        #[test]
        fn configurations_survive_a_round_trip(
            object_type in prop::sample::select(vec![1u8, 2, 3, 4, 7]),
            rate in prop_oneof![prop::sample::select(SAMPLE_RATES.to_vec()), 1u32..(1 << 24)],
            channel_config in 1u8..8, short_frames in any::<bool>(),
            sbr in prop::option::of(prop::sample::select(SAMPLE_RATES.to_vec())),
            hierarchical in any::<bool>(), ps in any::<bool>(),
        ) {
            let config = AudioConfig {
                short_frames,
                sbr_rate: sbr,
                hierarchical: hierarchical && sbr.is_some(),
                ps: ps && sbr.is_some(),
                ..AudioConfig::new(object_type, rate, channel_config)
            };
            prop_assert_eq!(AudioConfig::decode(&config.encode()).unwrap(), config);
        }

        #[test]
        fn adts_headers_survive_a_round_trip(
            mpeg2 in any::<bool>(), object_type in 1u8..5, rate_index in 0u8..13,
            channel_config in 0u8..8, has_crc in any::<bool>(), frame_length in 9usize..0x2000,
            blocks in 1u8..5,
        ) {
            let header = AdtsHeader {
                mpeg2, object_type, rate_index, channel_config, has_crc, frame_length, blocks,
            };
            prop_assert_eq!(AdtsHeader::decode(&header.encode().unwrap()), Ok(header));
        }
    }
}
