//! What a protocol is built of.
//!
//! A protocol crate implements [`Gate`]. It is given a [`Host`], through which it opens
//! sessions, asks for admission and reaches streams; a section of the [`conf`]iguration; a
//! [`ListenerSet`] for its ports, or a [`http::Mount`] on the HTTP ports that are there already.
//! It never sees another protocol, nor the parts that decide (API, hooks, authentication).

pub mod admission;
pub mod conf;
pub mod dial;
pub mod forward;
pub mod host;
pub mod http;

pub mod identity;
pub mod limits;
pub mod listen;
pub mod options;
pub mod path;
pub mod player;
pub mod recordings;
pub mod redact;
mod remedy;
pub mod session;
pub mod socket;
pub mod tls;
pub mod visit;

use std::sync::Arc;

use futures_util::future::BoxFuture;

pub use admission::{Admission, Answer, Event, Intent, OpenDoor, Refusal, Segment};
pub use forward::{Forward, Forwarding};
pub use host::{Host, HostParts};
pub use identity::Identity;
pub use limits::Limits;
pub use listen::{Guest, Inherited, ListenerSet, Served, Wanted};
pub use player::Player;
pub use session::{Close, Detail, Fault, Session, SessionInfo, Sessions};
pub use socket::Socket;
pub use visit::{ClientHold, PlayAsked, PlayGrant, Publication, Visit};

/// Changes of one gate that are ready to be made and can no longer fail.
pub trait Prepared: Send {
    /// Makes the changes. Returns what changed, a line each, for the log.
    fn commit(self: Box<Self>) -> Vec<String>;
}

/// Why a gate cannot take a configuration. The old one stays in force.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// An address cannot be listened at.
    #[error("cannot listen for {what} at {address}: {error}")]
    Bind {
        /// What would have been served there.
        what: &'static str,
        /// The address as configured.
        address: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// A file that access rules need cannot be used: which, and why.
    #[error("{0}")]
    Access(String),
}

/// A protocol, or what serves several of them (the HTTP ports).
pub trait Gate: Send + Sync {
    /// Its one name: folder, configuration key, log target, metric label.
    fn name(&self) -> &'static str;

    /// Checks that `config` can be put in force and does all of the work that can fail (binding
    /// ports, reading certificates), without changing what is in force. Called at start and at
    /// each reload.
    fn prepare<'a>(
        &'a self,
        host: &'a Arc<Host>,
        config: &'a Arc<conf::Config>,
    ) -> BoxFuture<'a, Result<Box<dyn Prepared>, PrepareError>>;

    /// Another process is about to be started that shares our ports, and takes over; `false`: it
    /// could not, and this one goes on. Listening sockets need nothing of it. Who receives datagrams
    /// sees to it that those of the sessions that are here still come here.
    fn expect_successor(&self, _expected: bool) {}

    /// Stops taking new sessions; those that are there go on. Nothing, where none are taken.
    fn close_listeners(&self) {}

    /// Further descriptors of its listening sockets, for a process that takes over. None, where it
    /// listens at none.
    fn sockets(&self) -> Vec<std::net::TcpListener> {
        Vec::new()
    }
}
