//! Pair tests: a client session against a server session, in memory; and real clients, replayed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod captures;
mod pair;
mod scenes;
