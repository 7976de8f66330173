//! The configuration as protocols see it: a typed, immutable snapshot.
//!
//! A [`Config`] is a tree of [`Node`]s, the process environment and a [`Table`] of
//! [`Directive`]s. The table says of each directive its type, default, environment variable,
//! when a change takes effect, and its documentation; the getters of [`Section`] put them
//! together: environment, then file, then default. Each protocol crate exports its rows as
//! `pub const DIRECTIVES: &[Directive]`; the binary assembles the table.
//!
//! [`diff`] compares two snapshots, for reload.
//!
//! Nothing here reads a file or the environment, and nothing here parses the grammar: that is
//! `control::config`. Nothing here names a protocol.

mod diff;
mod directive;
mod node;
mod section;
mod snapshot;
mod table;
mod value;

#[cfg(test)]
mod tests;

pub use diff::{Change, ChangeKind, diff};
pub use directive::{Directive, Env, Fallback, Kind, Reload, Status, Violation};
pub use node::{Arg, FileId, Node, Span, print};
pub use section::{Origin, Section, VhostSection};
pub use snapshot::{Config, DEFAULT_VHOST};
pub use table::Table;
pub use value::{BadListen, Fault, Listen, check, is_host};
