//! Sound from one coding into another, for consumers that cannot take what was published.
//!
//! [`ToOpus`] turns AAC, MP3 and G.711 into Opus, [`ToAac`] turns Opus, MP3 and G.711 into AAC-LC,
//! [`ToG711`] turns any of them into A-law or mu-law. Each holds one track: frames in, frames out.
//! No I/O, no clock, no thread. Time comes from the frames alone:
//!
//! - Coded frames follow one another without a gap, each exactly as long as its samples.
//! - The publisher's timestamps lead. Where its sample clock and its timestamps drift apart, the
//!   sound is resampled by at most some parts in a thousand, so hours later sound and pictures
//!   still meet. Holes are filled with silence (Opus: concealed first), jumps start anew.
//! - The delay of the encoder is taken out: what a consumer hears at a frame's timestamp is what
//!   the publisher sent for that time.
//!
//! What comes in is hostile. A decoder that fails loses that frame; one that panics is caught,
//! thrown away and made anew, and the panic is an [`Error`].

mod chain;
mod decode;
mod encode;
mod error;
mod follow;
mod g711;
mod guard;
mod resample;
mod to_aac;
mod to_g711;
mod to_opus;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use to_aac::{AacOptions, ToAac};
pub use to_g711::ToG711;
pub use to_opus::{OpusOptions, ToOpus};
