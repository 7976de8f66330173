//! The engine on real loopback sockets: shards, a toy wire form, a toy publisher.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, unreachable_pub)]

mod delivery;
mod faults;
mod lag;
mod publishing;
mod rig;
mod shards;
