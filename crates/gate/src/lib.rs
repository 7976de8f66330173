//! Being written.

pub mod conf;
