//! Being written.

pub mod config;
