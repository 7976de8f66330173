//! A short attack on the real binary, as part of the normal tests.

mod descriptors;
mod marks;
mod short;
