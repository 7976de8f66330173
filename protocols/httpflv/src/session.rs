//! Sessions: what the client's side of a live body says and hears, without the connection.
//!
//! [`Client`] takes bytes and the time, and gives bytes, events and the time at which it wants to
//! be called again. It is what fetches from other servers and what plays for load tests; the
//! serving side has no session, since a log writes itself to the socket.

pub mod client;

pub use client::{Client, ClientConfig};
