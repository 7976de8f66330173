//! MPEG transport streams: frames to packets and back.
//!
//! [`Muxer`] turns [`media::Frame`]s into 188-byte packets for HLS, HTTP-TS and SRT; [`Demuxer`]
//! turns packets into access units and tells what is wrong with them; [`validate`] reads a
//! stream as strictly as a hardware decoder would and is what the tests trust.
//!
//! One program, at most one video and one audio track. There is no multiplexing to a constant
//! rate, no encryption and no service information beyond PAT and PMT.
//!
//! Specification: ISO/IEC 13818-1 (ITU-T H.222.0); ETSI TS 101 154 for AC-3 and E-AC-3; the
//! Opus mapping of the IETF draft that ffmpeg and GStreamer follow.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod demux;
mod elementary;
mod mux;
mod packet;
mod psi;
pub mod validate;

pub use demux::{AccessUnit, Demuxer, Event, Fault};
pub use mux::{LeftOut, Listing, Muxer, TsConfig};
pub use psi::{ElementaryStream, crc32};

/// Size of a packet. Fixed by the specification (2.4.3.2).
pub const PACKET: usize = 188;

/// First byte of every packet.
pub const SYNC: u8 = 0x47;

/// PTS, DTS and the PCR base count 90 kHz ticks modulo 2^33 (26.5 hours).
pub const CLOCK_MASK: u64 = (1 << 33) - 1;

/// The PID of the program map. The number that players of SRS streams have always seen.
pub const PID_PMT: u16 = 0x1001;

/// The PID of the video track, whatever its coding.
pub const PID_VIDEO: u16 = 0x100;

/// The PID of an AAC track.
pub const PID_AAC: u16 = 0x101;

/// The PID of an MP3 track.
pub const PID_MP3: u16 = 0x102;

/// The PID of an AC-3 track.
pub const PID_AC3: u16 = 0x103;

/// The PID of an E-AC-3 track.
pub const PID_EAC3: u16 = 0x104;

/// The PID of an Opus track.
pub const PID_OPUS: u16 = 0x105;

/// Longest time between two PCRs, in 90 kHz ticks: 100 ms (ISO/IEC 13818-1, 2.7.2).
pub const PCR_INTERVAL_MAX: i64 = 9_000;

/// Whether these packets begin with the tables, so that a reader may start here: what a
/// [`Muxer`] wrote for a key frame, or for audio alone each half second.
pub fn is_entry(packets: &[u8]) -> bool {
    matches!(packets, [SYNC, 0x40, 0, ..])
}

#[cfg(test)]
mod tests;
