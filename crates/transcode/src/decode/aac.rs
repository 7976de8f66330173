//! AAC: LC, HE-AAC with spectral band replication, HE-AAC version 2 with parametric stereo.

use media::Codec;
use media::aac::AudioConfig;
use syom::DecodeOptions;

use super::{Sound, check_length, damaged, mixdown};
use crate::Error;
use crate::guard::guarded;

/// The longest access unit: 6,144 bits for each of 8 channels (ISO/IEC 14496-3, 4.5.3.2), and as
/// much again for data that rides along.
const MAX_UNIT: usize = 12_288;
/// The longest configuration: the extension descriptors that occur have some 60 bytes.
const MAX_CONFIG: usize = 512;
/// Sample rates in Hz that AAC knows by an index; others are not worth their filters.
const RATES: std::ops::RangeInclusive<u32> = 7_350..=96_000;

/// Made with the first configuration.
#[derive(Default)]
pub(crate) struct Decoder {
    config: Vec<u8>,
    inner: Option<Box<syom::Decoder>>,
}

impl Decoder {
    pub(super) fn configure(&mut self, config: &[u8]) -> Result<(), Error> {
        if self.inner.is_some() && self.config == config {
            return Ok(());
        }
        self.inner = None;
        check_length(Codec::Aac, config, MAX_CONFIG)?;
        let told = AudioConfig::decode(config).map_err(refused)?;
        if !RATES.contains(&told.core_rate) || !RATES.contains(&told.sample_rate()) {
            return Err(refused("its sample rate is out of range"));
        }
        self.config = config.to_vec();
        self.make()
    }

    fn make(&mut self) -> Result<(), Error> {
        let options = DecodeOptions::unbounded().with_max_sample_rate(*RATES.end());
        let made = guarded(|| syom::Decoder::from_asc(&self.config, options))
            .ok_or(Error::Panicked(Codec::Aac))?
            .map_err(refused)?;
        self.inner = Some(Box::new(made));
        Ok(())
    }

    pub(super) fn decode(&mut self, unit: &[u8], sound: &mut Sound) -> Result<(), Error> {
        if self.inner.is_none() && !self.config.is_empty() {
            // What failed or panicked was thrown away; its configuration was good.
            self.make()?;
        }
        let decoder = self.inner.as_mut().ok_or(Error::NoConfig(Codec::Aac))?;
        check_length(Codec::Aac, unit, MAX_UNIT)?;
        let decoded = guarded(|| {
            decoder.decode_au(unit, |frame| {
                sound.rate = frame.sample_rate;
                mixdown::mix(frame.planar, &frame.meta.channels, sound);
                Ok(())
            })
        });
        match decoded {
            Some(Ok(())) if RATES.contains(&sound.rate) || sound.len() == 0 => Ok(()),
            Some(Ok(())) => {
                self.inner = None;
                Err(damaged(Codec::Aac, "its sample rate is out of range"))
            }
            Some(Err(why)) => {
                self.inner = None;
                Err(damaged(Codec::Aac, why))
            }
            None => {
                self.inner = None;
                Err(Error::Panicked(Codec::Aac))
            }
        }
    }

    pub(super) fn reset(&mut self) {
        self.inner = None;
    }
}

fn refused(why: impl ToString) -> Error {
    Error::Config { codec: Codec::Aac, why: why.to_string().into_boxed_str() }
}
