//! Load: many players and publishers at once, and what they tell of a server.
//!
//! [`run`] takes a [`Plan`] and gives a [`Report`]: who got what, how late by the stamps in the
//! pictures, whether it is what was sent, and what the server's process used for it. The clients
//! are the sans-IO sessions of the protocols; here are their sockets, by the thousand on one
//! thread.
//!
//! A player is *verified*, and then every frame is decoded and compared, or *counted*, and then its
//! bytes are thrown away in the kernel once media flows. The report says how many were which.
//!
//! It prints nothing and handles no signals: that is the command line's.

pub mod clip;
mod clock;
mod engine;
mod fault;
mod link;
pub mod plan;
mod proc;
pub mod report;
mod role;
pub mod rtc;
mod run;
pub mod stamp;
mod stats;
pub mod target;
mod tls;
mod verify;

pub use clip::{Clip, ClipError};
pub use plan::{Plan, PlanError, Players, Publishers, Verify};
pub use proc::TooFewFiles;
pub use report::{Failing, Report, table};
pub use run::{Progress, RunError, run};
pub use target::{Pattern, TargetError};
pub use tls::{TlsError, Trust};
pub use verify::Findings;
