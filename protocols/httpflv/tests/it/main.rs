//! Loopback tests: shards, the HTTP ports and this gate in one process, and a client that looks at
//! every byte.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod client;
mod rig;

mod bodies;
mod requests;
mod secure;
mod websockets;
