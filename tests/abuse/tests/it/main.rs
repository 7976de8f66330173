//! A short attack on the real binary, as part of the normal tests.

mod marks;
mod short;
