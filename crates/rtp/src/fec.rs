//! Redundancy that repairs losses without a round trip.

pub mod parity;
pub mod red;
