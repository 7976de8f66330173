//! The engine on real loopback sockets: shards, a toy wire form, a toy publisher.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, unreachable_pub)]
// Delivery and lag run twice: with plain sends and in batches.
#![allow(clippy::duplicate_mod)]

mod batches;
mod faults;
mod plain;
mod publishing;
mod rig;
mod shards;
