//! DVR: streams as files, FLV or MP4.
//!
//! A task on a shard takes the frames of a stream ([`hub::FrameReceiver`]) and hands them in
//! batches to a thread that writes ([`writer`]). What is in which file is decided there, by a
//! machine without clock and disk ([`take`]). Nothing on the path of frames waits for a disk: what
//! may wait is bounded, and what finds no room is dropped and counted.
//!
//! A file has `.tmp` behind its name until it is finished.

pub mod config;
pub mod disk;
mod recorder;
pub mod take;
pub mod writer;

pub use config::{DvrConfig, Format, Plan};
pub use disk::{Disk, FileError, Files};
pub use recorder::Recorder;
pub use take::{Event, Take};
