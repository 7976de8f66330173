//! To AAC-LC.

use bytes::Bytes;
use media::Codec;
use media::aac::{AudioConfig, LC};
use syom::EncodeOptions;

use super::{failed, tamed};
use crate::guard::guarded;
use crate::{AacOptions, Error};

/// Made with the first frame.
pub(crate) struct Encoder {
    options: AacOptions,
    inner: Option<Box<syom::Encoder>>,
    left: Vec<f32>,
    right: Vec<f32>,
}

impl Encoder {
    const HZ: u32 = 48_000;

    pub(crate) fn new(options: AacOptions) -> Self {
        Self { options, inner: None, left: Vec::new(), right: Vec::new() }
    }

    fn make(&self) -> Result<Box<syom::Encoder>, Error> {
        let bitrate = self.options.within_limits().bitrate;
        // Bits for what nobody can hear are better spent elsewhere: 2 dB in noise at 128 kbit/s.
        let options = EncodeOptions::raw().with_bitrate_bps(bitrate).with_ath(true);
        let made = guarded(|| syom::Encoder::new(Self::HZ, 2, &options))
            .ok_or_else(|| failed(Codec::Aac, "it panicked"))?
            .map_err(|why| failed(Codec::Aac, why))?;
        Ok(Box::new(made))
    }
}

impl super::Encoder for Encoder {
    const RATE: u32 = Self::HZ;
    const SAMPLES: usize = 1_024;

    fn codec(&self) -> Codec {
        Codec::Aac
    }

    fn delay(&self) -> usize {
        // The first half of the overlapping transform.
        Self::SAMPLES
    }

    fn config(&self) -> Option<Bytes> {
        Some(Bytes::from(AudioConfig::new(LC, Self::HZ, 2).encode()))
    }

    fn encode(&mut self, pcm: &[f32]) -> Result<Bytes, Error> {
        if self.inner.is_none() {
            self.inner = Some(self.make()?);
        }
        let encoder = self.inner.as_mut().ok_or(Error::Panicked(Codec::Aac))?;
        self.left.clear();
        self.right.clear();
        for pair in pcm.chunks_exact(2) {
            if let &[left, right] = pair {
                self.left.push(tamed(left));
                self.right.push(tamed(right));
            }
        }
        let mut unit = None;
        let planes = [self.left.as_slice(), self.right.as_slice()];
        let fed = guarded(|| {
            encoder.feed(&planes, |frame| {
                unit = Some(Bytes::copy_from_slice(frame.payload));
                Ok(())
            })
        });
        let why = match (fed, unit) {
            (Some(Ok(_)), Some(unit)) => return Ok(unit),
            (Some(Ok(_)), None) => "it gave no frame".to_owned(),
            (Some(Err(why)), _) => why.to_string(),
            (None, _) => "it panicked".to_owned(),
        };
        self.inner = None;
        Err(failed(Codec::Aac, why))
    }

    fn reset(&mut self) {
        self.inner = None;
    }
}
