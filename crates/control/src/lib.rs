//! The control plane: what decides and tells, and never carries media.
//!
//! [`config`] turns files and environment into a checked snapshot, [`reload`] replaces it while
//! the server runs; [`log`] and [`process`] are how the server appears to its operator. Runs on a
//! small runtime of its own; a gate is known here only as `dyn Gate`.

pub mod config;
pub mod log;
pub mod process;
pub mod reload;
