//! To G.711.

use bytes::Bytes;
use media::Codec;

use crate::Error;
use crate::g711::{self, Law};

/// Nothing but the curve.
pub(crate) struct Encoder(pub(crate) Law);

impl super::Encoder for Encoder {
    const RATE: u32 = g711::RATE;
    const SAMPLES: usize = 160;

    fn codec(&self) -> Codec {
        match self.0 {
            Law::A => Codec::G711A,
            Law::Mu => Codec::G711U,
        }
    }

    fn delay(&self) -> usize {
        0
    }

    fn config(&self) -> Option<Bytes> {
        None
    }

    fn encode(&mut self, pcm: &[f32]) -> Result<Bytes, Error> {
        let mixed = pcm.chunks_exact(2).map(|pair| pair.iter().sum::<f32>() / 2.0);
        Ok(mixed.map(|sample| self.0.encode(sample)).collect())
    }

    fn reset(&mut self) {}
}
