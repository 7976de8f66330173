//! The corpora of the fuzz targets, replayed.
#![allow(clippy::unwrap_used, reason = "a missing seed is a failed test")]

mod replay;
