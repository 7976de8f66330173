//! What is published here and goes to other servers, too: decides what goes where (`forward`).
//!
//! Each publication on a virtual host that forwards has its destinations: those of the
//! configuration, or those that the backend names when it is asked. Each becomes a
//! [`Forwarding`] for the protocol that takes it. A reload that changes the section is compared
//! with what runs: what stays goes on undisturbed. Nothing here is on the path of frames.

mod books;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::future::BoxFuture;
use gate::conf::{Config, VhostSection};
use gate::dial::Dial;
use gate::forward::{Handle, State};
use gate::{Event, Forward, Forwarding, Gate, Host, PrepareError, Prepared, Visit};
use hub::{Stream, StreamEvent};

use crate::hooks::Hooks;
use crate::hooks::reply::MAX_URLS;
use crate::metrics::text::Text;
use books::Books;

/// All forwardings of the process. Cheap to clone.
#[derive(Clone)]
pub struct Forwards(Arc<Shared>);

struct Shared {
    hooks: Hooks,
    /// The protocols that can push streams.
    roles: OnceLock<Vec<Arc<dyn Forward>>>,
    /// All publications, by the number of the stream: a reload may have any of them forwarded.
    live: Mutex<HashMap<u64, Live>>,
    books: Books,
    dial: Arc<Dial>,
}

/// A publication, and what runs for it.
struct Live {
    visit: Arc<Visit>,
    /// `None`: it goes nowhere.
    settings: Option<Settings>,
    /// Tells this decision from later ones.
    decision: Arc<()>,
    running: HashMap<Way, Handle>,
}

/// A destination, and the query that the stream has there.
type Way = (String, String);

/// What a virtual host says about forwarding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Settings {
    destinations: Vec<String>,
    backend: String,
    ca_file: String,
}

impl Settings {
    /// `None`: it does not forward.
    fn read(vhost: &VhostSection<'_>) -> Option<Self> {
        let own = |text: &str| text.to_owned();
        vhost.bool("forward.enabled").then(|| Self {
            destinations: vhost.list("forward.destination").into_iter().map(own).collect(),
            backend: own(vhost.str("forward.backend")),
            ca_file: own(vhost.str("forward.ca_file")),
        })
    }

    fn of(config: &Config, stream: &Stream) -> Option<Self> {
        Self::read(&config.vhost(&stream.key.vhost)?)
    }
}

impl Forwards {
    /// Forwardings whose backends are asked by `hooks`.
    pub fn new(hooks: Hooks) -> Self {
        Self(Arc::new(Shared {
            hooks,
            roles: OnceLock::new(),
            live: Mutex::default(),
            books: Books::default(),
            dial: Arc::default(),
        }))
    }

    /// Names the protocols that can push streams. Once, at start.
    pub fn set_roles(&self, roles: Vec<Arc<dyn Forward>>) {
        let _ = self.0.roles.set(roles);
    }

    /// Begins to forward what is published. Never blocks.
    pub fn tell(&self, event: Event<'_>) {
        let Event::Published(visit) = event else { return };
        let settings = Settings::of(&visit.host.config(), &visit.stream);
        let mut live = self.0.live();
        // One that is there was taken over: what goes the same way goes on.
        let mut before = live.remove(&visit.stream.id);
        let running = before.as_mut().filter(|_| settings.is_some());
        let running = running.map(|before| std::mem::take(&mut before.running));
        let (visit, decision) = (visit.clone(), Arc::default());
        let stream = visit.stream.id;
        live.insert(
            stream,
            Live { visit, settings, decision, running: running.unwrap_or_default() },
        );
        drop(live);
        // Its session may end with it, which is told to others.
        drop(before);
        self.decide(stream);
    }

    /// To be told of what happens to streams: what is published no more goes nowhere.
    pub fn on_stream(&self, event: &StreamEvent) {
        if let StreamEvent::Unpublished(stream) = event
            // Somebody else may publish it by now, and takes the entry over.
            && !stream.is_active()
        {
            let gone = self.0.live().remove(&stream.id);
            drop(gone);
        }
    }

    /// Finds out where a publication goes, and has it so.
    fn decide(&self, stream: u64) {
        let live = self.0.live();
        let Some(entry) = live.get(&stream) else { return };
        let Some(settings) = entry.settings.clone() else { return };
        let decision = entry.decision.clone();
        let (host, session) = (entry.visit.host.clone(), entry.visit.session.id.clone());
        let from_outside = !settings.backend.is_empty();
        let asked = from_outside.then(|| self.0.hooks.destinations(&entry.visit));
        drop(live);
        let this = self.clone();
        host.control.clone().spawn(async move {
            let destinations = match asked {
                Some(asked) => asked.await,
                None => Some(settings.destinations),
            };
            let Some(destinations) = destinations else {
                tracing::warn!(%session, "forward: nothing new, as the backend gave no list");
                return;
            };
            for task in this.0.apply(stream, &decision, destinations, from_outside) {
                this.start(&host, task).await;
            }
        });
    }

    /// Hands a forwarding to its protocol, on the shard that has least to do.
    async fn start(&self, host: &Host, task: Forwarding) {
        let roles = self.0.roles.get().into_iter().flatten();
        let Some(role) = roles.into_iter().find(|role| role.takes(&task.destination)) else {
            let to = crate::hooks::call::shown(&task.destination);
            tracing::error!(
                session = %task.publisher,
                "forward: {} cannot go to {to}: no protocol of this server pushes there",
                task.stream.key
            );
            return;
        };
        let role = role.clone();
        host.least_loaded().run(Box::new(move |shard| role.begin(&shard, task))).await;
    }

    /// Compares what runs with a configuration that is in force from now on.
    fn reload(&self, config: &Config) {
        let mut again = Vec::new();
        let mut over = Vec::new();
        let mut live = self.0.live();
        for (id, entry) in live.iter_mut() {
            let settings = Settings::of(config, &entry.visit.stream);
            if settings == entry.settings {
                continue;
            }
            entry.decision = Arc::default();
            match settings {
                Some(_) => again.push(*id),
                None => over.extend(std::mem::take(&mut entry.running)),
            }
            entry.settings = settings;
        }
        drop(live);
        drop(over);
        for id in again {
            self.decide(id);
        }
    }

    /// Adds the figures to `/metrics`.
    pub(crate) fn render(&self, out: &mut Text) {
        let mut now = Vec::new();
        for entry in self.0.live().values() {
            let vhost = &entry.visit.stream.key.vhost;
            now.extend(entry.running.iter().map(|((to, _), handle)| {
                (vhost.to_string(), books::label(to), handle.progress.clone())
            }));
        }
        self.0.books.render(out, &now);
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, HashMap<u64, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what is not wanted any more, and gives what is to be started.
    fn apply(
        &self,
        stream: u64,
        decision: &Arc<()>,
        mut destinations: Vec<String>,
        from_outside: bool,
    ) -> Vec<Forwarding> {
        let mut live = self.live();
        let Some(entry) = live.get_mut(&stream).filter(|e| Arc::ptr_eq(&e.decision, decision))
        else {
            return Vec::new();
        };
        destinations.truncate(MAX_URLS);
        let param = entry.visit.detail().param.clone();
        let mut wanted: Vec<Way> = Vec::new();
        for way in destinations.into_iter().map(|to| (to, param.clone())) {
            if !wanted.contains(&way) {
                wanted.push(way);
            }
        }
        let over = |handle: &Handle| handle.progress.state() == State::Over;
        let ended: Vec<_> =
            entry.running.extract_if(|way, handle| !wanted.contains(way) || over(handle)).collect();
        let mut new = Vec::new();
        for way in wanted {
            if entry.running.contains_key(&way) {
                continue;
            }
            let vhost = &entry.visit.stream.key.vhost;
            let tally = self.books.of(vhost, &books::label(&way.0));
            let (mut task, handle) =
                Forwarding::new(&entry.visit, way.0.clone(), self.dial.clone(), tally);
            task.from_outside = from_outside;
            let ca_file = entry.settings.as_ref().map(|settings| &settings.ca_file);
            task.ca_file = ca_file.cloned().unwrap_or_default();
            entry.running.insert(way, handle);
            new.push(task);
        }
        drop(live);
        drop(ended);
        new
    }
}

struct Ready(Forwards, Arc<Config>);

impl Prepared for Ready {
    fn commit(self: Box<Self>) -> Vec<String> {
        self.0.reload(&self.1);
        Vec::new()
    }
}

impl Gate for Forwards {
    fn name(&self) -> &'static str {
        "forward"
    }

    fn prepare<'a>(
        &'a self,
        _: &'a Arc<Host>,
        config: &'a Arc<Config>,
    ) -> BoxFuture<'a, Result<Box<dyn Prepared>, PrepareError>> {
        let ready: Box<dyn Prepared> = Box::new(Ready(self.clone(), config.clone()));
        Box::pin(std::future::ready(Ok(ready)))
    }
}
