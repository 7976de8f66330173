//! Black-box tests of the server, one binary of them.
//!
//! The name of each test is what must be true. Every test has a server of its own.

mod access;
mod account;
mod api;
mod bench;
mod bench_rtc;
mod browser;
mod callbacks;
mod checkers;
mod clients;
mod dvr;
mod forward;
mod hls;
mod limits;
mod matrix;
mod operator;
mod process;
mod publishers;
mod reloads;
mod rtc_server;
mod secure;
mod telemetry;
mod timestamps;
mod upgrade;
mod webrtc;
mod webrtc_data;
mod webrtc_publishers;
mod webrtc_stacks;
