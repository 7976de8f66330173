//! The state machines: `handle_*` takes bytes and time, `poll_*` gives.

pub mod data;
pub mod dtls;
pub mod ice;
pub mod transport;
