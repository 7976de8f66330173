//! One access unit.

use bitflags::bitflags;
use bytes::Bytes;

use crate::{Codec, Kind, Timestamp};

bitflags! {
    /// What is special about a frame.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Flags: u8 {
        /// A decoder can start here: IDR or other random access point. Video only.
        const KEY = 1;
        /// Not media: the payload is the track's configuration (see [`Codec`]) or, on a
        /// [`Kind::Data`] track, the stream's metadata. Kept and replayed to new takers.
        const CONFIG = 1 << 1;
        /// No other frame refers to this one; it may be dropped alone.
        const DISPOSABLE = 1 << 2;
        /// The timeline was re-anchored before this frame; what came before does not continue.
        const DISCONTINUITY = 1 << 3;
        /// End of the coded sequence (FLV `SequenceEnd`); the payload is empty.
        const END = 1 << 4;
    }
}

/// One access unit of one track: immutable, protocol-free, cheap to clone.
///
/// The payload is reference counted; a clone copies no media. How the payload is laid out
/// depends on the codec and is told at [`Codec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The coding of the payload; also tells the [`Kind`].
    pub codec: Codec,
    /// Which of the stream's tracks of that kind: 0 is the main one, the only one most streams have.
    pub track: u8,
    /// See [`Flags`].
    pub flags: Flags,
    /// The name the publisher's container gave the coding: a four-character code as a big-endian
    /// number (`0x68766331` is `hvc1`), or the container's small number (below 256). A muxer that
    /// knows the tag writes it back, so that players get what the publisher sent; 0 means none.
    pub tag: u32,
    /// Decoding time. Never decreases within a track once the stream's timeline has been applied.
    pub dts: Timestamp,
    /// Presentation time. Equals `dts` for audio and data, and for video without B-frames.
    pub pts: Timestamp,
    /// The access unit, or the configuration.
    pub payload: Bytes,
}

impl Frame {
    /// Video, audio or data.
    pub const fn kind(&self) -> Kind {
        self.codec.kind()
    }

    /// A decoder can start at this frame.
    pub const fn is_key(&self) -> bool {
        self.flags.contains(Flags::KEY)
    }

    /// The payload is a configuration or metadata, not media.
    pub const fn is_config(&self) -> bool {
        self.flags.contains(Flags::CONFIG)
    }

    /// A frame with media in it (neither configuration nor end of sequence).
    pub const fn is_media(&self) -> bool {
        !self.flags.intersects(Flags::CONFIG.union(Flags::END))
    }

    /// `pts - dts` in microseconds; negative offsets occur in the wild and are kept.
    pub const fn composition_us(&self) -> i64 {
        self.pts.micros_since(self.dts)
    }
}
