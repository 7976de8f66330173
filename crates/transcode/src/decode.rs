//! Decoders, each behind the same border: lengths are checked, panics caught.

mod aac;
mod mixdown;
mod mp3;
mod opus;

use media::{Codec, Frame};

use crate::Error;
use crate::g711::{self, Law};

/// The longest frame of G.711 that is taken: 1 s. Senders use 20 ms, or what FLV tags hold.
const MAX_G711: usize = 8_192;

/// Decoded sound of one frame, both channels. Reused from frame to frame.
#[derive(Debug, Default)]
pub(crate) struct Sound {
    pub(crate) left: Vec<f32>,
    pub(crate) right: Vec<f32>,
    /// In Hz.
    pub(crate) rate: u32,
    /// How much of it, in microseconds, belongs before the frame's timestamp: what was lost
    /// before it and concealed.
    pub(crate) lead_us: i64,
}

impl Sound {
    pub(crate) fn clear(&mut self) {
        self.left.clear();
        self.right.clear();
        self.lead_us = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.left.len().min(self.right.len())
    }

    /// Leaves out the first `count` samples.
    pub(crate) fn skip(&mut self, count: usize) {
        self.left.drain(..count.min(self.left.len()));
        self.right.drain(..count.min(self.right.len()));
    }

    /// Becomes `count` samples of silence.
    pub(crate) fn silence(&mut self, count: usize) {
        self.clear();
        self.left.resize(count, 0.0);
        self.right.resize(count, 0.0);
    }

    fn push_interleaved(&mut self, pcm: &[f32]) {
        for pair in pcm.chunks_exact(2) {
            if let &[left, right] = pair {
                self.left.push(left);
                self.right.push(right);
            }
        }
    }
}

/// A decoder for one coding.
pub(crate) enum Decoder {
    Aac(aac::Decoder),
    Mp3(mp3::Decoder),
    Opus(opus::Decoder),
    G711(Codec, Law),
}

impl Decoder {
    /// A decoder for `codec`, if there is one.
    pub(crate) fn new(codec: Codec) -> Option<Self> {
        match codec {
            Codec::Aac => Some(Self::Aac(aac::Decoder::default())),
            Codec::Mp3 => Some(Self::Mp3(mp3::Decoder::default())),
            Codec::Opus => Some(Self::Opus(opus::Decoder::default())),
            Codec::G711A => Some(Self::G711(codec, Law::A)),
            Codec::G711U => Some(Self::G711(codec, Law::Mu)),
            _ => None,
        }
    }

    pub(crate) const fn codec(&self) -> Codec {
        match self {
            Self::Aac(_) => Codec::Aac,
            Self::Mp3(_) => Codec::Mp3,
            Self::Opus(_) => Codec::Opus,
            Self::G711(codec, _) => *codec,
        }
    }

    /// Takes a configuration.
    pub(crate) fn configure(&mut self, payload: &[u8]) -> Result<(), Error> {
        match self {
            Self::Aac(decoder) => decoder.configure(payload),
            Self::Opus(decoder) => decoder.configure(payload),
            Self::Mp3(_) | Self::G711(..) => Ok(()),
        }
    }

    /// Decodes one frame into `sound`, which is empty. After an error `sound` may hold anything.
    pub(crate) fn decode(&mut self, frame: &Frame, sound: &mut Sound) -> Result<(), Error> {
        match self {
            Self::Aac(decoder) => decoder.decode(&frame.payload, sound),
            Self::Mp3(decoder) => decoder.decode(&frame.payload, sound),
            Self::Opus(decoder) => decoder.decode(frame, sound),
            Self::G711(codec, law) => {
                check_length(*codec, &frame.payload, MAX_G711)?;
                sound.rate = g711::RATE;
                sound.left.extend(frame.payload.iter().map(|byte| law.decode(*byte)));
                sound.right.extend_from_slice(&sound.left);
                Ok(())
            }
        }
    }

    /// Forgets the sound so far; a configuration stays.
    pub(crate) fn reset(&mut self) {
        match self {
            Self::Aac(decoder) => decoder.reset(),
            Self::Mp3(decoder) => *decoder = mp3::Decoder::default(),
            Self::Opus(decoder) => decoder.reset(),
            Self::G711(..) => {}
        }
    }
}

fn check_length(codec: Codec, payload: &[u8], limit: usize) -> Result<(), Error> {
    match payload.len() {
        len if len > limit => Err(Error::TooLarge { codec, len, limit }),
        _ => Ok(()),
    }
}

fn damaged(codec: Codec, why: impl ToString) -> Error {
    Error::Damaged { codec, why: why.to_string().into_boxed_str() }
}
