//! Containers: bytes to [`media::Frame`] and back.
//!
//! Pure code: no I/O, no clock. [`amf`] reads and writes the values that RTMP commands and FLV
//! script tags are made of, [`flv`] tags (Enhanced RTMP included), [`mp4`] files, [`ts`] MPEG transport
//! streams, and [`segment`] cuts a stream into segments for HLS and its relatives.

pub mod amf;
pub mod flv;
pub mod mp4;
pub mod segment;
pub mod ts;
