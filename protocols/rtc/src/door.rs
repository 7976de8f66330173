//! The HTTP side: WHIP, WHEP and the calls of SRS.

pub mod candidates;
pub mod desk;

/// Longest offer or fragment, bytes. Offers of browsers with all their codecs are 10 kB; at half,
/// one of a call with many tracks may not fit, at double, a parser works on what nobody sends.
pub const MAX_OFFER: usize = 64 * 1024;
