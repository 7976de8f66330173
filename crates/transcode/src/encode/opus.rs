//! To Opus.

use bytes::Bytes;
use media::Codec;
use media::opus::OpusHead;
use opus_pure::{Application, OpusEncoder, RateControl};

use super::{failed, tamed};
use crate::guard::guarded;
use crate::{Error, OpusOptions};

/// Room for one packet of 20 ms: 1,275 bytes and its first byte (RFC 6716 section 3.2.1).
const MAX_PACKET: usize = 1_276;
/// What the encoder looks ahead at 48 kHz: 2.5 ms of overlap and 4 ms that align its two layers.
const DELAY: u16 = 312;

/// Made with the first frame.
pub(crate) struct Encoder {
    options: OpusOptions,
    inner: Option<Box<OpusEncoder>>,
    pcm: Vec<f32>,
}

impl Encoder {
    pub(crate) fn new(options: OpusOptions) -> Self {
        Self { options, inner: None, pcm: Vec::new() }
    }

    fn make(&self) -> Result<Box<OpusEncoder>, Error> {
        let mut made = guarded(|| OpusEncoder::new(Self::HZ as i32, 2, Application::Audio))
            .ok_or(Error::Panicked(Codec::Opus))?
            .map_err(|why| failed(Codec::Opus, why))?;
        let options = self.options.within_limits();
        made.bitrate_bps = options.bitrate as i32;
        if options.constant {
            made.rate_control = RateControl::Cbr;
        }
        made.complexity = i32::from(options.complexity);
        made.use_inband_fec = options.expected_loss > 0;
        made.packet_loss_perc = i32::from(options.expected_loss);
        Ok(Box::new(made))
    }

    const HZ: u32 = 48_000;
}

impl super::Encoder for Encoder {
    const RATE: u32 = Self::HZ;
    const SAMPLES: usize = 960;

    fn codec(&self) -> Codec {
        Codec::Opus
    }

    fn delay(&self) -> usize {
        usize::from(DELAY)
    }

    fn config(&self) -> Option<Bytes> {
        let head = OpusHead {
            channels: 2,
            pre_skip: DELAY,
            input_rate: Self::HZ,
            gain: 0,
            mapping_family: 0,
        };
        head.encode().map(|bytes| Bytes::copy_from_slice(&bytes))
    }

    fn encode(&mut self, pcm: &[f32]) -> Result<Bytes, Error> {
        if self.inner.is_none() {
            self.inner = Some(self.make()?);
        }
        let encoder = self.inner.as_mut().ok_or(Error::Panicked(Codec::Opus))?;
        self.pcm.clear();
        self.pcm.extend(pcm.iter().copied().map(tamed));
        let mut packet = [0u8; MAX_PACKET];
        match guarded(|| encoder.encode(&self.pcm, Self::SAMPLES, &mut packet)) {
            Some(Ok(len)) => Ok(Bytes::copy_from_slice(packet.get(..len).unwrap_or_default())),
            Some(Err(why)) => {
                self.inner = None;
                Err(failed(Codec::Opus, why))
            }
            None => {
                self.inner = None;
                Err(failed(Codec::Opus, "it panicked"))
            }
        }
    }

    fn reset(&mut self) {
        self.inner = None;
    }
}
