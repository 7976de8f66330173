//! WebRTC: browsers publish and play, over one UDP port, by WHIP, WHEP and the calls of SRS.

pub mod config;
pub mod door;
mod engine;
mod gate;
pub mod identity;
pub mod negotiate;
pub mod session;
pub mod wire;

pub use gate::RtcGate;
