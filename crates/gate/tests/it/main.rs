//! What protocols stand on, over real sockets: listeners, limits, players, HTTP.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, unreachable_pub)]

mod http;
mod limits;
mod listen;
mod player;
mod rig;
mod visits;
