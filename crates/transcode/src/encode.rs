//! Encoders: a fixed number of samples in, one frame out.

pub(crate) mod aac;
pub(crate) mod g711;
pub(crate) mod opus;

use bytes::Bytes;
use media::Codec;

use crate::Error;

/// One coding that comes out.
pub(crate) trait Encoder {
    /// Of the sound it takes, in Hz.
    const RATE: u32;
    /// Samples of one frame for each of two channels.
    const SAMPLES: usize;

    /// What comes out.
    fn codec(&self) -> Codec;

    /// How many samples later than it went in the sound comes out of a decoder.
    fn delay(&self) -> usize;

    /// The configuration that goes before the first frame, if the coding has one.
    fn config(&self) -> Option<Bytes>;

    /// Encodes [`SAMPLES`](Self::SAMPLES) pairs of samples, interleaved. After an error the next
    /// call begins anew.
    fn encode(&mut self, pcm: &[f32]) -> Result<Bytes, Error>;

    /// Forgets the sound so far.
    fn reset(&mut self);
}

fn failed(codec: Codec, why: impl ToString) -> Error {
    Error::Encode { codec, why: why.to_string().into_boxed_str() }
}

/// What an encoder can take: a number, and within full scale.
fn tamed(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 }
}
