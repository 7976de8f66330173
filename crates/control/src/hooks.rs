//! HTTP callbacks: web servers that are asked whether clients may come in, and told what happens.
//!
//! A thin translation: [`gate::Admission`] and [`gate::Event`] on one side, the requests of SRS on
//! the other. Questions are asked once and never again. Notifications are tried again with growing
//! pauses, wait in bounded queues, and keep their order within a session. All of it runs on the
//! control runtime; a shard merely awaits the answer to a question.
//!
//! The configuration in force at an event decides where it is told.

mod body;
pub(crate) mod call;
mod desk;
mod engine;
mod error;
mod event;
pub(crate) mod post;
pub mod reply;
pub mod signature;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gate::{Answer, Event, Segment, SessionInfo, Visit};
use tokio::runtime::Handle;

use call::Call;
use desk::Count;
use engine::Engine;
use event::Hook;

use crate::metrics::text::{Text, Type};
use crate::telemetry::Telemetry;

/// How often a flush looks whether all is told.
const LOOK: Duration = Duration::from_millis(10);
/// Looks on end after which nothing more is expected.
const QUIET: u32 = 5;

/// All callbacks of the process. Cheap to clone.
#[derive(Clone)]
pub struct Hooks {
    engine: Arc<Engine>,
    /// The working directory, which paths of segments are relative to.
    cwd: Arc<str>,
}

impl Hooks {
    /// Callbacks that tell `cwd` as the working directory.
    pub fn new(cwd: Option<PathBuf>) -> Self {
        let cwd = cwd.unwrap_or_default().to_string_lossy().into();
        Self { engine: Arc::default(), cwd }
    }

    /// The same, whose requests are told to OpenTelemetry. Before the first is made.
    #[must_use]
    pub fn with_telemetry(self, telemetry: Telemetry) -> Self {
        Self { engine: Arc::new(Engine::telling(telemetry)), ..self }
    }

    /// `on_connect`: may the connection stay?
    pub fn connect(&self, visit: &Arc<Visit>) -> Answer {
        self.ask(Hook::Connect, visit)
    }

    /// `on_publish`: may it publish?
    pub fn publish(&self, visit: &Arc<Visit>) -> Answer {
        self.ask(Hook::Publish, visit)
    }

    /// `on_play`: may it play?
    pub fn play(&self, visit: &Arc<Visit>) -> Answer {
        self.ask(Hook::Play, visit)
    }

    /// `on_forward`: where does what it publishes go? `None` where the backend gives no list. The
    /// client may leave while its answer is awaited.
    pub fn destinations(
        &self,
        visit: &Visit,
    ) -> impl Future<Output = Option<Vec<String>>> + Send + use<> {
        let (engine, call) = (self.engine.clone(), about(Hook::Forward, visit));
        async move { engine.destinations(call?).await }
    }

    fn ask(&self, hook: Hook, visit: &Arc<Visit>) -> Answer {
        let call = about(hook, visit)?;
        Some(Box::pin(self.engine.ask(call, visit)))
    }

    /// Tells what has happened. Never blocks.
    pub fn tell(&self, event: Event<'_>) {
        match event {
            // They were asked about.
            Event::Published(_) | Event::Played(_) => {}
            Event::Segment(visit, segment) => self.segment(visit, &segment),
            Event::Recorded(visit, file) => {
                let (host, vhost) = (&visit.host, &*visit.stream.key.vhost);
                let body = || body::dvr(visit, file, &self.cwd);
                if let Some(call) = Call::new(host, vhost, Hook::Dvr, &visit.session, body) {
                    self.engine.notify(&host.control, call);
                }
            }
            Event::Unpublished(visit) | Event::Stopped(visit) => {
                self.engine.tell(&visit.host.control, event);
            }
            Event::Closed(session) => {
                if let Some(host) = session.host() {
                    self.engine.tell(&host.control, event);
                }
            }
        }
    }

    fn segment(&self, visit: &Visit, segment: &Segment<'_>) {
        let (host, vhost) = (&visit.host, &*visit.stream.key.vhost);
        let session = &visit.session;
        let body = || body::hls(visit, segment, &self.cwd);
        if let Some(call) = Call::new(host, vhost, Hook::Hls, session, body) {
            self.engine.notify(&host.control, call);
        }
        if let Some(mut call) = Call::new(host, vhost, Hook::HlsNotify, session, String::new) {
            for url in &mut call.urls {
                *url = body::notify_url(url, visit, segment);
            }
            self.engine.notify(&host.control, call);
        }
    }

    /// Waits, for `limit` at most, until everything was told; at the end of the process, when all
    /// sessions have gone. What is left is dropped, and counted.
    pub async fn flush(&self, limit: Duration) {
        let told = async {
            // The last segment of a stream may still be on its way to the disk.
            let mut quiet = 0;
            while quiet < QUIET && !self.engine.desks.all().is_empty() {
                quiet = if self.engine.busy() > 0 { 0 } else { quiet + 1 };
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(limit, told).await.is_err() {
            let left = self.engine.busy();
            let dropped = self.engine.give_up();
            tracing::warn!(
                sessions = left,
                waiting = dropped,
                "the server stops before all callbacks were made"
            );
        }
    }

    /// Adds the figures to `/metrics`.
    pub(crate) fn render(&self, out: &mut Text) {
        for family in FAMILIES {
            out.family(family.name, family.help, Type::Counter);
            for (vhost, hook, desk) in self.engine.desks.all() {
                if family.questions.is_some_and(|questions| questions != hook.is_question()) {
                    continue;
                }
                for (value, count) in family.rows {
                    let mut labels = vec![("vhost", vhost.as_str()), ("hook", hook.name())];
                    if !family.label.is_empty() {
                        labels.push((family.label, value));
                    }
                    out.sample(family.name, &labels, desk.get(*count));
                }
            }
        }
        let name = "millrace_hook_waiting";
        out.family(name, "Notifications that wait or are on their way.", Type::Gauge);
        for (vhost, hook, desk) in self.engine.desks.all() {
            if !hook.is_question() {
                out.sample(name, &[("vhost", &vhost), ("hook", hook.name())], desk.waiting());
            }
        }
    }
}

/// Counters of callbacks, one sample for each of `rows`.
struct Family {
    name: &'static str,
    help: &'static str,
    /// Of questions only, or of notifications only.
    questions: Option<bool>,
    label: &'static str,
    rows: &'static [(&'static str, Count)],
}

const FAMILIES: &[Family] = &[
    Family {
        name: "millrace_hook_requests_total",
        help: "Requests of HTTP callbacks: ok, accepted; refused, a plain no; failed, no proper \
               answer.",
        questions: None,
        label: "result",
        rows: &[
            ("ok", Count::RequestYes),
            ("refused", Count::RequestNo),
            ("failed", Count::RequestFailed),
        ],
    },
    Family {
        name: "millrace_hook_decisions_total",
        help: "Sessions that HTTP callbacks were asked about: allowed, denied; *_unasked, there \
               was no answer and when_down decided; withdrawn, the client left meanwhile.",
        questions: Some(true),
        label: "decision",
        rows: &[
            ("allowed", Count::Allowed),
            ("denied", Count::Denied),
            ("allowed_unasked", Count::AllowedUnasked),
            ("denied_unasked", Count::DeniedUnasked),
            ("withdrawn", Count::Withdrawn),
        ],
    },
    Family {
        name: "millrace_hook_dropped_total",
        help: "Notifications that were given up: queue, too many waited; unanswered, no try was \
               answered; overtaken, a question about the session could not wait; shutdown.",
        questions: Some(false),
        label: "reason",
        rows: &[
            ("queue", Count::DroppedQueue),
            ("unanswered", Count::DroppedUnanswered),
            ("overtaken", Count::DroppedOvertaken),
            ("shutdown", Count::DroppedShutdown),
        ],
    },
    Family {
        name: "millrace_hook_retries_total",
        help: "Further tries of notifications.",
        questions: Some(false),
        label: "",
        rows: &[("", Count::Retry)],
    },
];

/// A callback about a client on a stream; `None` where nobody wants it.
fn about(hook: Hook, visit: &Visit) -> Option<Call> {
    let body = || body::visit(hook, visit);
    Call::new(&visit.host, &visit.stream.key.vhost, hook, &visit.session, body)
}

impl Engine {
    /// Tells the end of something.
    fn tell(self: &Arc<Self>, control: &Handle, event: Event<'_>) {
        let call = match event {
            Event::Unpublished(visit) => about(Hook::Unpublish, visit),
            Event::Stopped(visit) => about(Hook::Stop, visit),
            Event::Closed(session) => closed(session),
            Event::Published(_) | Event::Played(_) | Event::Segment(..) | Event::Recorded(..) => {
                None
            }
        };
        if let Some(call) = call {
            self.notify(control, call);
        }
    }
}

fn closed(session: &SessionInfo) -> Option<Call> {
    let (host, detail) = (session.host()?, session.detail()?);
    let body = || body::close(&host.identity, session, detail);
    Call::new(host, &detail.vhost, Hook::Close, session, body)
}
