//! What is on the wire: pure codecs without state beyond the format's own.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod chunk;
pub mod handshake;
pub mod message;
pub mod url;
