//! Opus, MP3 and G.711 to AAC.

use media::{Codec, Frame};

use crate::Error;
use crate::chain::Chain;
use crate::encode::aac::Encoder;

/// How AAC is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AacOptions {
    /// In bits a second, 16,000 to 512,000; what lies beyond is taken to the limit.
    pub bitrate: u32,
}

impl Default for AacOptions {
    fn default() -> Self {
        Self { bitrate: 128_000 }
    }
}

impl AacOptions {
    pub(crate) fn within_limits(self) -> Self {
        Self { bitrate: self.bitrate.clamp(16_000, 512_000) }
    }
}

/// One track of Opus, MP3 or G.711 into AAC-LC of 48 kHz, stereo, 1,024 samples a frame.
///
/// Lives as long as its track. Opus packets may last 2.5 ms to 120 ms. What is missing between
/// two packets by their timestamps is concealed up to 100 ms (or taken from the next packet, if
/// it carries its forerunner), and silence beyond. Output timestamps are 21.33 ms apart without
/// exception, except at a frame that carries [`media::Flags::DISCONTINUITY`]; the first is that
/// of the first input frame, and the encoder's delay is taken out by leaving out the first
/// 21.3 ms of the sound.
pub struct ToAac(Chain<Encoder>);

impl ToAac {
    /// Made cheaply: decoder and encoder come with the first frame.
    pub fn new(options: AacOptions) -> Self {
        let accepts =
            |codec| matches!(codec, Codec::Opus | Codec::Mp3 | Codec::G711A | Codec::G711U);
        Self(Chain::new(Encoder::new(options), accepts))
    }

    /// Takes one frame, configurations included, and appends what it completes: a configuration
    /// before the first frame, then whole frames.
    ///
    /// Costs the decoding and the encoding, all on the calling thread.
    ///
    /// # Errors
    ///
    /// See [`Error`]. `out` may have got frames nevertheless (silence in place of a damaged
    /// frame), and the next frame may be pushed.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<Frame>) -> Result<(), Error> {
        self.0.push(frame, out)
    }

    /// Forgets everything but the options: sound and time. A configuration will be given again.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}
