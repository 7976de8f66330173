//! The framings of a live body, and the few frames that a WebSocket client may send.
//!
//! Pure: bytes in, bytes out. Entry: [`Framing`] for what we send, [`websocket::Inbox`] for what
//! comes back.

#![deny(clippy::arithmetic_side_effects)]

mod framing;
pub mod websocket;

pub use framing::Framing;
