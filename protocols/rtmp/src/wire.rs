//! What is on the wire: pure codecs without state beyond the format's own.

pub mod chunk;
pub mod handshake;
pub mod message;
pub mod url;
