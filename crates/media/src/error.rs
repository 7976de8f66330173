//! What can be wrong with a bitstream.

use thiserror::Error;

/// Why a header or a configuration could not be read. Always the sender's fault.
///
/// Offsets count bytes from the start of what was given to the reader; within a parameter set
/// they count after emulation prevention bytes have been taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The bytes end before the structure does.
    #[error("{what} ends too early, at byte {offset}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where bytes were missing.
        offset: usize,
    },
    /// A field holds a value that is forbidden, reserved or beyond a limit of ours.
    #[error("{what} cannot be {value} (byte {offset})")]
    Invalid {
        /// The field.
        what: &'static str,
        /// What it held.
        value: u64,
        /// Where it stands.
        offset: usize,
    },
}
