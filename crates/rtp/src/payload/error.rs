//! What can be wrong with frames and with payloads.

use media::{Codec, ReadError};
use thiserror::Error;

/// Why a frame could not be cut into payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PacketizeError {
    /// There is no payload format for this codec here.
    #[error("{0} cannot be sent over RTP")]
    Unsupported(Codec),
    /// The caller mixed tracks up.
    #[error("a frame of {got} was given to a packetizer of {wants}")]
    WrongCodec {
        /// The packetizer's.
        wants: Codec,
        /// The frame's.
        got: Codec,
    },
    /// Frame or configuration is damaged: the publisher's fault.
    #[error("the frame cannot be read: {0}")]
    Read(#[from] ReadError),
    /// Something that may not be cut is longer than a payload may be.
    #[error("{what} of {size} bytes does not fit into a payload of {max}")]
    TooLarge {
        /// What may not be cut.
        what: &'static str,
        /// Its bytes.
        size: usize,
        /// Bytes of the longest payload.
        max: usize,
    },
}

/// Why a payload could not be used. Always the publisher's fault, save
/// [`Unsupported`](Self::Unsupported) from [`Depacketizer::new`](super::Depacketizer::new).
///
/// Offsets count bytes from the start of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DepacketizeError {
    /// No depacketizer for this.
    #[error("{what} is not supported")]
    Unsupported {
        /// The codec, packet type or feature.
        what: &'static str,
    },
    /// The payload ends too early or holds a forbidden value.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A later fragment came where none had begun.
    #[error("a fragment goes on that never began")]
    NoStart,
    /// A fragment was not over when something else came.
    #[error("a fragment did not end")]
    Unfinished,
    /// A unit grew beyond [`MAX_UNIT`](super::MAX_UNIT).
    #[error("a unit grows beyond {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// A unit has more parts than any real one.
    #[error("a unit has more than {max} parts")]
    TooMany {
        /// The limit.
        max: usize,
    },
}

/// The payload ends before `what` does.
pub(super) const fn truncated(what: &'static str, offset: usize) -> DepacketizeError {
    DepacketizeError::Read(ReadError::Truncated { what, offset })
}

/// `what` may not be `value`.
pub(super) const fn invalid(what: &'static str, value: u64, offset: usize) -> DepacketizeError {
    DepacketizeError::Read(ReadError::Invalid { what, value, offset })
}
