//! What connections do: each is a player of some wire, or a publisher.
//!
//! A role takes bytes and the time and appends bytes to send; the sockets are the engine's.

mod hls;
mod live;
mod publisher;
mod rtmp;

pub(crate) use hls::HlsPlayer;
pub(crate) use live::LivePlayer;
pub(crate) use publisher::Publisher;
pub(crate) use rtmp::RtmpPlayer;

use gate::http::client::Origin;

use crate::clip::Clip;
use crate::clock::Now;
use crate::fault::Fault;
use crate::stats::{Stats, Tally};

/// The first segment must be made before it can be had: up to three times ten seconds, and twice
/// that for servers that cut long ones.
const HLS_PATIENCE_NS: u64 = 60_000_000_000;

/// What a role is given with each call.
pub(crate) struct Scene<'a> {
    pub(crate) now: Now,
    pub(crate) tally: &'a mut Tally,
    pub(crate) stats: &'a mut Stats,
    /// What is published, where this run does that.
    pub(crate) clip: Option<&'a Clip>,
    /// Bytes for the server.
    pub(crate) out: &'a mut Vec<u8>,
}

/// One connection's business.
pub(crate) enum Role {
    Rtmp(Box<RtmpPlayer>),
    Live(Box<LivePlayer>),
    Hls(Box<HlsPlayer>),
    Publisher(Box<Publisher>),
}

impl Role {
    /// The connection stands.
    pub(crate) fn connected(&mut self, scene: &mut Scene<'_>) -> Result<(), Fault> {
        match self {
            Self::Hls(player) => return player.events(scene),
            Self::Rtmp(player) => player.flush(scene),
            Self::Live(player) => player.flush(scene),
            Self::Publisher(publisher) => publisher.flush(scene),
        }
        Ok(())
    }

    /// Bytes came.
    pub(crate) fn bytes(&mut self, input: &[u8], scene: &mut Scene<'_>) -> Result<(), Fault> {
        match self {
            Self::Rtmp(player) => player.bytes(input, scene),
            Self::Live(player) => player.bytes(input, scene),
            Self::Hls(player) => player.bytes(input, scene),
            Self::Publisher(publisher) => publisher.bytes(input, scene),
        }
    }

    /// So many bytes came and were thrown away.
    pub(crate) fn skipped(&mut self, bytes: usize, scene: &mut Scene<'_>) {
        match self {
            Self::Rtmp(player) => player.skipped(bytes, scene),
            Self::Live(player) => player.skipped(scene),
            Self::Hls(_) | Self::Publisher(_) => {}
        }
    }

    /// Whether bytes may be thrown away instead.
    pub(crate) const fn may_skip(&self, tally: &Tally) -> bool {
        match self {
            Self::Rtmp(_) | Self::Live(_) => tally.counts_only(),
            Self::Hls(_) | Self::Publisher(_) => false,
        }
    }

    /// The other side closed.
    pub(crate) fn ended(&mut self, scene: &mut Scene<'_>) -> Result<(), Fault> {
        match self {
            Self::Rtmp(player) => Err(player.ended()),
            Self::Live(player) => player.ended(scene),
            Self::Hls(player) => player.ended(scene),
            Self::Publisher(publisher) => Err(publisher.ended()),
        }
    }

    /// The time has come, or come again.
    pub(crate) fn timer(&mut self, scene: &mut Scene<'_>) -> Result<(), Fault> {
        match self {
            Self::Rtmp(_) | Self::Live(_) => Ok(()),
            Self::Hls(player) => player.timer(scene),
            Self::Publisher(publisher) => publisher.timer(scene),
        }
    }

    /// When it wants to be called, if at all; in nanoseconds of the monotonic clock.
    pub(crate) fn due_ns(&self, now: Now) -> Option<u64> {
        match self {
            Self::Rtmp(_) | Self::Live(_) => None,
            Self::Hls(player) => player.due_ns(now),
            Self::Publisher(publisher) => publisher.due_ns(),
        }
    }

    /// Has begun what it is there for.
    pub(crate) const fn flows(&self, tally: &Tally) -> bool {
        match self {
            Self::Publisher(publisher) => publisher.started(),
            _ => tally.first_ns > 0,
        }
    }

    pub(crate) const fn is_player(&self) -> bool {
        !matches!(self, Self::Publisher(_))
    }

    /// What it may take to the first media beyond the usual, in nanoseconds.
    pub(crate) const fn more_patience_ns(&self) -> u64 {
        match self {
            Self::Hls(_) => HLS_PATIENCE_NS,
            _ => 0,
        }
    }

    /// Where it wants to be connected to instead, if anywhere.
    pub(crate) const fn take_wanted(&mut self) -> Option<Origin> {
        match self {
            Self::Hls(player) => player.take_wanted(),
            _ => None,
        }
    }

    /// May want to be called at a time.
    pub(crate) const fn has_timer(&self) -> bool {
        matches!(self, Self::Hls(_) | Self::Publisher(_))
    }

    /// Media comes in segments.
    pub(crate) const fn takes_segments(&self) -> bool {
        matches!(self, Self::Hls(_))
    }

    /// It leaves of its own will: what is polite to say.
    pub(crate) fn leave(&mut self, scene: &mut Scene<'_>) {
        match self {
            Self::Rtmp(player) => player.leave(scene),
            Self::Live(player) => player.leave(scene),
            Self::Hls(_) => {}
            Self::Publisher(publisher) => publisher.leave(scene),
        }
    }
}
