//! Our own client's offer, and how it takes the answer.

use media::Codec;
use rtp::sdp::SessionDescription;

use super::{Intent, NegotiateError, Negotiated, Options, Ours};

/// What our client would do.
#[derive(Clone, Debug)]
pub struct OfferAsk {
    /// Publish or play, seen from us.
    pub intent: Intent,
    /// Codings of sound, the preferred first; empty for no section of sound.
    pub audio: Vec<Codec>,
    /// Codings of pictures, the preferred first; empty for no section of pictures.
    pub video: Vec<Codec>,
    /// What we bring.
    pub ours: Ours,
    /// What may be agreed on. `ice_lite` and `setup` are not used: a client makes the checks and
    /// offers `actpass`.
    pub options: Options,
}

/// The description to send; keep it for [`accept_answer`].
pub fn offer(_ask: &OfferAsk) -> SessionDescription {
    SessionDescription::default()
}

/// What holds when `answer` came for `offered`, which [`offer`] made from `ask`. Directions and
/// numbers of sources are seen from us.
pub fn accept_answer(
    _ask: &OfferAsk,
    _offered: &SessionDescription,
    _answer: &SessionDescription,
) -> Result<Negotiated, NegotiateError> {
    Err(NegotiateError::NoMedia)
}
