//! AAC, MP3 and G.711 to Opus.

use media::{Codec, Frame};

use crate::Error;
use crate::chain::Chain;
use crate::encode::opus::Encoder;

/// How Opus is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusOptions {
    /// In bits a second, 8,000 to 320,000; what lies beyond is taken to the limit.
    pub bitrate: u32,
    /// How hard the encoder thinks, 0 to 10. 9 costs a seventh more than 5 over the whole way.
    pub complexity: u8,
    /// Loss that is expected on the way to the listener, in percent; from 1 on packets carry
    /// their forerunner once more where the coding allows it (in-band FEC).
    pub expected_loss: u8,
    /// All packets have one size. Costs about a twelfth of the bitrate in quality; for those who
    /// send packets side by side to thousands.
    pub constant: bool,
}

impl Default for OpusOptions {
    fn default() -> Self {
        Self { bitrate: 48_000, complexity: 9, expected_loss: 0, constant: false }
    }
}

impl OpusOptions {
    pub(crate) fn within_limits(self) -> Self {
        Self {
            bitrate: self.bitrate.clamp(8_000, 320_000),
            complexity: self.complexity.min(10),
            expected_loss: self.expected_loss.min(100),
            constant: self.constant,
        }
    }
}

/// One track of AAC, MP3 or G.711 into Opus of 48 kHz, stereo, 20 ms a frame.
///
/// Lives as long as its track. Memory is taken with the first frame. Output timestamps are 20 ms
/// apart without exception, except at a frame that carries [`media::Flags::DISCONTINUITY`]; the
/// first is that of the first input frame, and the encoder's delay is taken out by leaving out
/// the first 6.5 ms of the sound. `OpusHead` names that delay as pre-skip (RFC 7845 section 4.2).
pub struct ToOpus(Chain<Encoder>);

impl ToOpus {
    /// Made cheaply: decoder and encoder come with the first frame.
    pub fn new(options: OpusOptions) -> Self {
        let accepts =
            |codec| matches!(codec, Codec::Aac | Codec::Mp3 | Codec::G711A | Codec::G711U);
        Self(Chain::new(Encoder::new(options), accepts))
    }

    /// Takes one frame, configurations included, and appends what it completes: a configuration
    /// before the first frame, then whole frames. One frame of 1,024 samples gives one or two of
    /// 20 ms; the frame after a hole of up to 2 s gives the silence, too.
    ///
    /// Costs the decoding, the resampling and the encoding, all on the calling thread.
    ///
    /// # Errors
    ///
    /// See [`Error`]. `out` may have got frames nevertheless (silence in place of a damaged
    /// frame), and the next frame may be pushed.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<Frame>) -> Result<(), Error> {
        self.0.push(frame, out)
    }

    /// Forgets everything but the options: configuration, sound, time. The next frames must begin
    /// with a configuration, and a configuration will be given again.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}
