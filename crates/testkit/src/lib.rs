//! What tests of several crates share; a dependency of tests alone.
//!
//! [`fuzz`] holds the body of every fuzz target, so that the corpora replay in the normal tests
//! through the very functions that the fuzzer runs.

pub mod fuzz;
