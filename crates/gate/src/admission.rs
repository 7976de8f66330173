//! Who may publish and play, and what came of it. Gates ask; the control plane answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use http::StatusCode;

use crate::session::{Detail, SessionInfo};
use crate::visit::Visit;

/// What a session asks for.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Session id.
    pub session: String,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Everything it said.
    pub detail: Detail,
}

/// A refusal: what a person reads, and the code that SRS clients know.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// No virtual host of that name, no default one, or it is disabled.
    #[error("there is no virtual host `{0}`, and no __defaultVhost__")]
    Vhost(String),
    /// Somebody publishes the stream already.
    #[error("the stream is already being published by session {0}")]
    Busy(String),
    /// Rules say no.
    #[error("{reason}")]
    Denied {
        /// SRS error code.
        code: u32,
        /// Which rule, for the client and the log.
        reason: String,
    },
    /// An access rule of the virtual host says no.
    #[error("{reason}")]
    Access {
        /// Which kind of rule: `security`, `refer`, `auth` and the like. A metric's label.
        rule: &'static str,
        /// SRS error code.
        code: u32,
        /// Other credentials may help.
        unauthorized: bool,
        /// What is wrong, for the client and the log. Holds no secret.
        reason: String,
    },
    /// A limit of the virtual host is reached.
    #[error("no place left: {limit} is {most}")]
    Full {
        /// The directive.
        limit: &'static str,
        /// What it says.
        most: usize,
    },
    /// The server is shutting down or full.
    #[error("the server takes no new sessions: {0}")]
    Unavailable(&'static str),
}

impl Refusal {
    /// The code of compat §13.
    pub fn code(&self) -> u32 {
        match self {
            Self::Vhost(_) => 2014,
            Self::Busy(_) => 1028,
            Self::Denied { code, .. } | Self::Access { code, .. } => *code,
            Self::Full { .. } | Self::Unavailable(_) => 1074,
        }
    }

    /// What an HTTP client is told.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Vhost(_) => StatusCode::NOT_FOUND,
            Self::Busy(_) => StatusCode::CONFLICT,
            Self::Access { unauthorized: true, .. } => StatusCode::UNAUTHORIZED,
            Self::Denied { .. } | Self::Access { .. } => StatusCode::FORBIDDEN,
            Self::Full { .. } | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// One word for the metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Vhost(_) => "vhost",
            Self::Busy(_) => "busy",
            Self::Denied { .. } => "denied",
            Self::Access { rule, .. } => rule,
            Self::Full { .. } => "limit",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// Refusals since the start by direction and [`Refusal::label`]: a handful of words, so it does
/// not grow.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Refusals {
    /// Counts one; `direction` is `publish` or `play`.
    pub fn count(&self, direction: &'static str, refusal: &Refusal) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry((direction, refusal.label())).or_insert(0);
        *count = count.saturating_add(1);
    }

    /// Direction, word and number, in their order.
    pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|((direction, label), n)| (*direction, *label, *n)).collect()
    }
}

/// An answer that takes time; `None`: yes, and nobody had to be asked. Dropping it withdraws the
/// question.
pub type Answer = Option<BoxFuture<'static, Result<(), Refusal>>>;

/// A part of a stream that was made into a file or a piece of memory, ready to be fetched.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Its number within the stream.
    pub sequence: u64,
    /// Its length in microseconds.
    pub duration_us: i64,
    /// The folder that the paths below are relative to, as configured.
    pub folder: &'a str,
    /// Its file.
    pub path: &'a str,
    /// Its URI as the playlist has it.
    pub uri: &'a str,
    /// The playlist's file.
    pub playlist: &'a str,
}

/// Something that has happened and cannot be refused. Each is told once, in the order in which it
/// happened to its session.
#[derive(Clone, Copy)]
pub enum Event<'a> {
    /// A publisher was let in and has the stream. Its [`Unpublished`](Self::Unpublished) follows.
    Published(&'a Arc<Visit>),
    /// A player was let in. Its [`Stopped`](Self::Stopped) follows.
    Played(&'a Arc<Visit>),
    /// A publisher has gone, and what was made of its stream is complete.
    Unpublished(&'a Arc<Visit>),
    /// A player has gone, or plays something else.
    Stopped(&'a Arc<Visit>),
    /// A connection is over, of those that [`Admission::connect`] was asked about.
    Closed(&'a SessionInfo),
    /// A segment of what a publisher sends is out.
    Segment(&'a Visit, Segment<'a>),
    /// A recording of what a publisher sends is finished: its file, as the configuration names it.
    Recorded(&'a Visit, &'a str),
}

/// Decides on what sessions ask for, and is told what happens to them. One for all protocols, so
/// authentication is the same on each (P8). Called by [`Host`](crate::Host) on shards: nothing here
/// may block, and what takes time belongs on the control runtime.
pub trait Admission: Send + Sync {
    /// Rules of the house, before anything else. The session is not listed yet.
    fn admit(&self, _: &Intent) -> Answer {
        None
    }
    /// May the connection stay? Asked once per connection, when it first wants a stream; only of
    /// protocols whose connections outlive their streams (RTMP).
    fn connect(&self, _: &Arc<Visit>) -> Answer {
        None
    }
    /// May it publish? Asked before the client is told, and before the stream is taken: it may be
    /// busy all the same.
    fn publish(&self, _: &Arc<Visit>) -> Answer {
        None
    }
    /// May it play? Asked before the player gets anything of the stream.
    fn play(&self, _: &Arc<Visit>) -> Answer {
        None
    }
    /// Takes note of what has happened.
    fn tell(&self, _: Event<'_>) {}
}

/// Lets everybody in: what a configuration without rules means.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenDoor;

impl Admission for OpenDoor {}
