//! What decides and tells: configuration, HTTP API, metrics, health, sampling.
//!
//! [`config`] turns text into a checked snapshot. [`api`] is the HTTP API of SRS and what belongs
//! beside it, as mounts on the HTTP ports that `gate` owns. [`sampler`] measures process, system
//! and traffic for it and cleans up behind streams that nobody uses.
//!
//! Nothing here is on the path of frames, and nothing here knows a protocol.

pub mod api;
pub mod config;
pub mod metrics;
pub mod sampler;
