//! HLS with MPEG-TS segments (RFC 8216).
//!
//! Pure so far as time and files go: [`Packager`] takes the frames of one stream and tells, as
//! [`Output`]s, which files should be there; [`Disk`] and [`Store`] carry that out under a folder
//! or in memory. [`context`] has the players' sessions. Sockets, threads and clocks are the
//! business of [`gate`] alone. [`session`] is the other side: a player, without its connection.
//!
//! A playlist and its segments are named by paths relative to one root, without `..`, so the same
//! names serve on disk, in memory and in URLs.

pub mod config;
pub mod context;
pub mod delivery;
pub mod disk;
pub mod gate;
mod guard;
pub mod packager;
pub mod path;
pub mod playlist;
mod segmenter;
pub mod session;
pub mod store;
mod template;
pub mod validate;
pub mod writer;

pub use self::gate::HlsGate;
pub use config::{HlsConfig, OnError, Storage};
pub use delivery::Delivery;
pub use disk::{Disk, DiskError};
pub use packager::{Output, Packager, SegmentDone};
pub use path::{PathError, StreamName, WallTime};
pub use store::Store;
