//! RTMP: the wire format, and sessions of both sides.
//!
//! [`wire`] holds pure codecs (handshake, chunks, messages, commands, addresses), [`session`] the
//! machines that stand on them: bytes and time in, bytes and events out. Nothing in either does
//! I/O, reads a clock or draws a random number, and no input makes them panic.
//!
//! Specification: "Adobe's Real Time Messaging Protocol", 1.0 (December 2012); Enhanced RTMP v2
//! changes only what is inside of the audio and video messages, which pass untouched here.

pub mod config;
mod connection;
mod events;
mod forward;
pub mod gate;
pub mod metadata;
pub mod packager;
pub mod session;
pub mod wire;

pub use gate::RtmpGate;
pub use packager::RtmpForm;
