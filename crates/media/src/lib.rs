//! The ground floor: what a live stream is made of, whatever protocol carries it.
//!
//! A [`Frame`] is one access unit of one track, immutable and cheap to clone. Time is a
//! [`Timestamp`] in microseconds. [`Codec`] names what a payload is; the readers beside it
//! ([`h264`], [`aac`] and so on) tell profile, size and sample rate of a configuration.
//!
//! Nothing here does I/O, reads a clock or draws a random number: bytes and times are
//! arguments. Nothing here knows a protocol or a container.

pub mod aac;
pub mod ac3;
pub mod av1;
pub mod bits;
pub mod codec;
pub mod error;
pub mod flac;
pub mod frame;
pub mod h264;
pub mod h265;
pub mod info;
pub mod mp3;
pub mod nal;
pub mod opus;
pub mod time;
pub mod timeline;
pub mod vp8;
pub mod vp9;

pub use codec::{Codec, Kind};
pub use error::ReadError;
pub use frame::{Flags, Frame};
pub use info::CodecInfo;
pub use time::Timestamp;
pub use timeline::{ClockUnwrap, Timeline};
