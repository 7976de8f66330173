//! The rows of the table that no protocol crate owns yet.
//!
//! Each file holds one owner's rows, so that they can move there as they are.

mod access;
mod api;
mod core;
mod dvr;
mod exec;
mod forward;
mod heartbeat;
mod hls;
mod hooks;
mod http;
mod links;
mod media_tools;
mod planned;
mod rtc;
mod rtmp;
mod telemetry;

use std::sync::Arc;

use gate::conf::{Directive, Table};

/// All rows that live here, in the order of the reference.
pub const PARTS: &[&[Directive]] = &[
    core::DIRECTIVES,
    rtmp::DIRECTIVES,
    http::DIRECTIVES,
    hls::DIRECTIVES,
    api::DIRECTIVES,
    access::DIRECTIVES,
    heartbeat::DIRECTIVES,
    telemetry::DIRECTIVES,
    exec::DIRECTIVES,
    forward::DIRECTIVES,
    dvr::DIRECTIVES,
    planned::DIRECTIVES,
    hooks::DIRECTIVES,
    rtc::DIRECTIVES,
    links::DIRECTIVES,
    media_tools::DIRECTIVES,
];

/// A table of these rows and those of `protocols`, which count where both have one.
pub fn table(protocols: &[&'static [Directive]]) -> Arc<Table> {
    Arc::new(Table::new(protocols.iter().chain(PARTS).copied()))
}
