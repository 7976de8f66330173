//! Who may publish and play: the rules of each virtual host, the same for every protocol.
//!
//! [`Access`] is asked by the host before a session reaches a stream. It looks at `security`
//! (addresses), `refer` (web pages) and `auth` (stream keys, signed URLs, tokens), in this order;
//! each that is on must agree. Rules are compiled when a configuration is put in force and stay
//! as they are for whoever was let in by them. No reason of a refusal holds a secret.
//!
//! Limits on numbers are kept by [`gate::Host`], which knows who is there. Callbacks are not of
//! this module. To compose: ask [`Access::check`] first, it costs the least.

mod fetch;
mod glob;
mod hide;
mod jwt;
mod key;
mod net;
mod query;
mod refer;
mod rules;
mod security;
mod sign;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use gate::conf::Config;
use gate::host::strip_extension;
use gate::{Gate, Host, Intent, PrepareError, Prepared, Refusal};
use tokio::runtime::Handle;

use crate::config::FileLoader;
use jwt::jwks::Jwks;
use query::Query;
use rules::{Answer, Rules};

pub use glob::Glob;
pub(crate) use hide::hide;
pub use net::{Net, NetError};
pub(crate) use rules::{inspect, inspect_files};
pub use rules::{judge, key_set_size, signing_secret};
pub use sign::{Named, SignError, Wish, named, sign_url};

/// The SRS error code of a refusal for want of credentials.
const NO_CREDENTIALS: u32 = 1052;

/// What somebody wants to do with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Send it.
    Publish,
    /// Get it.
    Play,
}

impl Direction {
    /// `publish` or `play`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }

    /// From its word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Publish, Self::Play].into_iter().find(|direction| direction.word() == word)
    }
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// What is asked for, as the rules see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) direction: Direction,
    /// The virtual host that serves.
    pub(crate) vhost: &'a str,
    pub(crate) app: &'a str,
    /// Without file extension.
    pub(crate) stream: &'a str,
    pub(crate) query: Query<'a>,
    /// The peer of the connection; what a proxy tells is not believed.
    pub(crate) ip: IpAddr,
    pub(crate) page: &'a str,
    /// Seconds since 1970.
    pub(crate) now: u64,
}

impl<'a> Asked<'a> {
    fn of(intent: &'a Intent, direction: Direction) -> Self {
        let detail = &intent.detail;
        Self {
            direction,
            vhost: &detail.vhost,
            app: &detail.app,
            stream: strip_extension(&detail.name),
            query: Query::new(&detail.param),
            ip: intent.peer.ip().to_canonical(),
            page: &detail.page_url,
            now: now(),
        }
    }
}

/// Seconds since 1970 by the wall clock.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What one method of authentication says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Granted,
    /// Nothing of its kind was shown.
    Absent,
    Denied {
        /// Other credentials may help.
        unauthorized: bool,
        reason: String,
    },
}

impl Verdict {
    fn unauthorized(reason: &str) -> Self {
        Self::Denied { unauthorized: true, reason: reason.to_owned() }
    }

    fn forbidden(reason: &str) -> Self {
        Self::Denied { unauthorized: false, reason: reason.to_owned() }
    }

    #[cfg(test)]
    fn is_granted(&self) -> bool {
        *self == Self::Granted
    }
}

fn denied(rule: &'static str, code: u32, reason: String) -> Refusal {
    Refusal::Access { rule, code, unauthorized: false, reason }
}

type Compiled = HashMap<String, Arc<Rules>>;

struct Inner {
    /// By the name of the virtual host.
    rules: ArcSwap<Compiled>,
    files: Box<dyn FileLoader + Send + Sync>,
    /// Key sets that are being kept fresh, by URL and interval.
    sets: Mutex<HashMap<(String, Duration), Weak<Jwks>>>,
}

/// The rules in force. A handle: clones are one and the same.
///
/// It is a [`Gate`] too, without sockets, so that a reload compiles new rules where all else is
/// prepared, and a key that cannot be read keeps the old configuration in force. Name it before
/// the other gates: whoever comes before the first commit is refused.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

impl Access {
    /// Without rules yet: refuses everybody. `files` reads the key files.
    pub fn new(files: Box<dyn FileLoader + Send + Sync>) -> Self {
        Self(Arc::new(Inner { rules: ArcSwap::default(), files, sets: Mutex::default() }))
    }

    /// Whether what `intent` asks for is allowed by the rules of its virtual host, whose name has
    /// been resolved. Waits for nothing, save that a token of an unknown key waits up to 3 s for
    /// a fresh set of keys.
    ///
    /// # Errors
    /// [`Refusal`], with the rule that says no.
    pub async fn check(&self, intent: &Intent, direction: Direction) -> Result<(), Refusal> {
        let rules = self.0.rules.load().get(&intent.detail.vhost).cloned();
        let Some(rules) = rules else {
            return Err(Refusal::Vhost(intent.detail.vhost.clone()));
        };
        let asked = Asked::of(intent, direction);
        match rules.check(&asked) {
            Answer::Done(done) => done,
            Answer::UnknownKey(jwks, _) => {
                // Also where nobody waited: the set may have come between.
                jwks.refresh().await;
                rules.check(&asked).anyway()
            }
        }
    }

    /// Compiles the rules of a configuration, reads its key files, and begins to fetch its key
    /// sets. Nothing is in force yet.
    fn compile(&self, config: &Config, control: &Handle) -> Result<Compiled, String> {
        let mut compiled = Compiled::new();
        for vhost in config.vhosts() {
            let start = |url: &str, every: Duration| self.key_set(url, every, control);
            let rules = Rules::compile(&vhost, &*self.0.files, &start)?;
            compiled.insert(vhost.name().to_owned(), Arc::new(rules));
        }
        Ok(compiled)
    }

    /// The set of this URL: the one that is there already, so that a reload loses no keys.
    fn key_set(&self, url: &str, every: Duration, control: &Handle) -> Arc<Jwks> {
        let mut sets = self.0.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.retain(|_, set| set.strong_count() > 0);
        let key = (url.to_owned(), every);
        if let Some(set) = sets.get(&key).and_then(Weak::upgrade) {
            return set;
        }
        let set = Jwks::start(url.to_owned(), every, control);
        sets.insert(key, Arc::downgrade(&set));
        set
    }
}

struct Ready {
    access: Access,
    compiled: Compiled,
}

impl Prepared for Ready {
    fn commit(self: Box<Self>) -> Vec<String> {
        self.access.0.rules.store(Arc::new(self.compiled));
        Vec::new()
    }
}

impl Gate for Access {
    fn name(&self) -> &'static str {
        "access"
    }

    fn prepare<'a>(
        &'a self,
        host: &'a Arc<Host>,
        config: &'a Arc<Config>,
    ) -> BoxFuture<'a, Result<Box<dyn Prepared>, PrepareError>> {
        let compiled = self.compile(config, &host.control).map_err(PrepareError::Access);
        let ready = compiled.map(|compiled| -> Box<dyn Prepared> {
            Box::new(Ready { access: self.clone(), compiled })
        });
        Box::pin(std::future::ready(ready))
    }
}

/// An asking from 192.0.2.1 at the time 1000.
#[cfg(test)]
fn asked<'a>(direction: Direction, app: &'a str, stream: &'a str, param: &'a str) -> Asked<'a> {
    Asked {
        direction,
        vhost: "v.test",
        app,
        stream,
        query: Query::new(param),
        ip: IpAddr::from([192, 0, 2, 1]),
        page: "",
        now: 1_000,
    }
}
