//! The state machines: `handle_*` takes bytes and time, `poll_*` gives.

pub mod dtls;
pub mod ice;
pub mod transport;
