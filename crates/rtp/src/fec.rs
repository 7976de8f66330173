//! Redundancy that repairs losses without a round trip.

pub mod red;
