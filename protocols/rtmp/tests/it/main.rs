//! Pair tests: a client session against a server session, in memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod pair;
mod scenes;
