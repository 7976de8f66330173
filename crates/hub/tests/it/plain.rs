//! Delivery and lag with plain sends.

use crate::rig;

#[path = "delivery.rs"]
mod delivery;
#[path = "lag.rs"]
mod lag;
