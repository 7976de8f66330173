//! Sessions: a player of HLS, without the connection.

pub mod client;

pub use client::{Client, ClientConfig};
