//! Pair tests, loopback tests and fixtures of rtc.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod desk;
mod rig;

mod conversations;
mod requests;
