//! The control plane: what decides and tells, and never carries media.
//!
//! [`access`] says who may publish and play; [`config`] turns files and environment into a checked snapshot, [`reload`] replaces it while
//! the server runs; [`log`] and [`process`] are how the server appears to its operator. [`api`] is
//! the HTTP API of SRS and what belongs beside it, [`metrics`] its figures for Prometheus, [`files`]
//! serves static files; [`admission`] says who may come in, and [`hooks`] asks and tells web servers
//! about it; [`exec`] runs programs beside streams; [`forward`] says what goes to other servers; [`heartbeat`] reports to a central server; `events` tells listeners what happens; [`sampler`] measures process, system and traffic
//! and cleans up behind
//! streams that nobody uses; [`telemetry`] tells OpenTelemetry.
//!
//! Runs on a small runtime of its own; a gate is known here only as `dyn Gate`.

pub mod access;
pub mod admission;
pub mod api;
pub mod breaker;
pub mod config;
mod events;
pub mod exec;
pub mod files;
pub mod forward;
pub mod heartbeat;
pub mod hooks;
pub mod log;
pub mod metrics;
pub mod process;
pub mod reload;
pub mod sampler;
pub mod telemetry;
