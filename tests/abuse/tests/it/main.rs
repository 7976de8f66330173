//! Attacks and the soak of the real binary, short ones as part of the normal tests.

mod descriptors;
mod marks;
mod short;
mod soak;
