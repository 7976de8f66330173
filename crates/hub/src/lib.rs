//! The media core: how a frame reaches ten thousand subscribers.
//!
//! A [`Stream`] exists once per process. Its [`Publisher`] pushes frames; each [`Shard`] (one
//! thread, one core) that has takers gets every frame once. There, for each wire form somebody
//! takes, a rendition packages the frame once into a contiguous byte log, which reaches back to
//! the last key frame. A [`Subscriber`] is an offset into that log and a socket; the pacer
//! decides when to walk the subscribers and hands each what it lacks in one `send`.
//!
//! The hub knows no protocol, no container and no codec syntax: a wire form is whatever a
//! [`Packager`] makes of a frame. Nothing here locks, allocates or wakes a task per subscriber
//! and frame. A stream is locked once per frame by its publisher, never by a subscriber's turn.

mod bell;
mod door;
mod frames;
mod histogram;
mod log;
mod pace;
mod registry;
mod rendition;
mod shard;
mod stream;
mod subscriber;

pub use door::{DoorOptions, TimeJitter};
pub use frames::{FrameReceiver, Received};
pub use histogram::Histogram;
pub use log::Log;
pub use pace::{Delivery, Pace};
pub use registry::{Hub, StreamEvent};
pub use rendition::{Form, Packager};
pub use shard::{Job, Sender, Shard, ShardHandle, ShardStats, start_shards, start_shards_with};
pub use stream::{
    Busy, EndPublish, Headers, PublishOptions, Publisher, PublisherOwner, Stream, StreamKey,
    StreamStats, Superseded, Takeover, TrackState, Vitals,
};
pub use subscriber::{Counters, End, SubscribeOptions, Subscriber};
