//! Who may publish and play. Gates ask; the control plane answers.

use std::net::SocketAddr;

use futures_util::future::BoxFuture;

use crate::session::Detail;

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
            Self::Denied { code, .. } => *code,
            Self::Unavailable(_) => 1074,
        }
    }
}

/// Decides on intents. One for all protocols, so authentication is the same on each (P8).
pub trait Admission: Send + Sync {
    /// May it publish?
    fn publish<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<(), Refusal>>;
    /// May it play?
    fn play<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<(), Refusal>>;
}

/// Lets everybody in: what a configuration without rules means.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenDoor;

impl Admission for OpenDoor {
    fn publish<'a>(&'a self, _: &'a Intent) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn play<'a>(&'a self, _: &'a Intent) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
