//! Opus, AAC and MP3 to G.711.

use media::{Codec, Frame};

use crate::Error;
use crate::chain::Chain;
use crate::encode::g711::Encoder;
use crate::g711::Law;

/// One track of Opus, AAC or MP3 into G.711: 8 kHz, one channel, 20 ms (160 bytes) a frame.
///
/// Lives as long as its track. Timestamps as with [`ToOpus`](crate::ToOpus); G.711 has no delay
/// and no configuration.
pub struct ToG711(Chain<Encoder>);

impl ToG711 {
    /// Into A-law ([`Codec::G711A`]), as telephones outside of America and Japan have it.
    pub fn a_law() -> Self {
        Self::new(Law::A)
    }

    /// Into mu-law ([`Codec::G711U`]).
    pub fn mu_law() -> Self {
        Self::new(Law::Mu)
    }

    fn new(law: Law) -> Self {
        let accepts = |codec| matches!(codec, Codec::Aac | Codec::Mp3 | Codec::Opus);
        Self(Chain::new(Encoder(law), accepts))
    }

    /// Takes one frame, configurations included, and appends what it completes.
    ///
    /// # Errors
    ///
    /// See [`Error`]. `out` may have got frames nevertheless, and the next frame may be pushed.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<Frame>) -> Result<(), Error> {
        self.0.push(frame, out)
    }

    /// Forgets everything: configuration, sound, time.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}
