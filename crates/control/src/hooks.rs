//! HTTP callbacks: web servers that are asked whether clients may come in, and told what happens.
//!
//! A thin translation: [`gate::Admission`] and [`gate::Event`] on one side, the requests of SRS on
//! the other. Questions are asked once and never again. Notifications are tried again with growing
//! pauses, wait in bounded queues, and keep their order within a session. All of it runs on the
//! control runtime; a shard merely awaits the answer to a question.
//!
//! The configuration in force at an event decides where it is told.

mod body;
mod call;
mod desk;
mod engine;
mod error;
mod event;
pub mod reply;
pub mod signature;
mod tls;

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

/// How often a flush looks whether all is told.
const LOOK: Duration = Duration::from_millis(10);

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

    fn ask(&self, hook: Hook, visit: &Arc<Visit>) -> Answer {
        let call = about(hook, visit)?;
        Some(Box::pin(self.engine.ask(call, visit)))
    }

    /// Tells what has happened. Never blocks.
    pub fn tell(&self, event: Event<'_>) {
        match event {
            Event::Segment(visit, segment) => self.segment(visit, &segment),
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
        let session = &visit.session.id;
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
            while self.engine.busy() > 0 {
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
        type Row = (&'static str, Count);
        let desks = self.engine.desks.all();
        let mut family = |name: &str, help: &str, label: &str, rows: &[Row]| {
            out.family(name, help, Type::Counter);
            for (vhost, hook, desk) in &desks {
                for (value, count) in rows {
                    let labels =
                        [("vhost", vhost.as_str()), ("hook", hook.name()), (label, *value)];
                    out.sample(name, &labels, desk.get(*count));
                }
            }
        };
        family(
            "millrace_hook_requests_total",
            "Requests of HTTP callbacks: ok, accepted; refused, a plain no; failed, no proper answer.",
            "result",
            &[
                ("ok", Count::RequestYes),
                ("refused", Count::RequestNo),
                ("failed", Count::RequestFailed),
            ],
        );
        family(
            "millrace_hook_decisions_total",
            "Sessions that HTTP callbacks were asked about: allowed, denied; *_unasked, there was \
             no answer and when_down decided; withdrawn, the client left meanwhile.",
            "decision",
            &[
                ("allowed", Count::Allowed),
                ("denied", Count::Denied),
                ("allowed_unasked", Count::AllowedUnasked),
                ("denied_unasked", Count::DeniedUnasked),
                ("withdrawn", Count::Withdrawn),
            ],
        );
        family(
            "millrace_hook_dropped_total",
            "Notifications that were given up: queue, too many waited; unanswered, no try was \
             answered; overtaken, a question about the session could not wait; shutdown.",
            "reason",
            &[
                ("queue", Count::DroppedQueue),
                ("unanswered", Count::DroppedUnanswered),
                ("overtaken", Count::DroppedOvertaken),
                ("shutdown", Count::DroppedShutdown),
            ],
        );
        let labels = |vhost: &str, hook: Hook| {
            [("vhost", vhost.to_owned()), ("hook", hook.name().to_owned())]
        };
        let name = "millrace_hook_retries_total";
        out.family(name, "Further tries of notifications.", Type::Counter);
        for (vhost, hook, desk) in &desks {
            let labels = labels(vhost, *hook);
            let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
            out.sample(name, &labels, desk.get(Count::Retry));
        }
        let name = "millrace_hook_waiting";
        out.family(name, "Notifications that wait or are on their way.", Type::Gauge);
        for (vhost, hook, desk) in &desks {
            let labels = labels(vhost, *hook);
            let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
            out.sample(name, &labels, desk.waiting());
        }
    }
}

/// A callback about a client on a stream; `None` where nobody wants it.
fn about(hook: Hook, visit: &Visit) -> Option<Call> {
    let body = || body::visit(hook, visit);
    Call::new(&visit.host, &visit.stream.key.vhost, hook, &visit.session.id, body)
}

impl Engine {
    /// Tells the end of something.
    fn tell(self: &Arc<Self>, control: &Handle, event: Event<'_>) {
        let call = match event {
            Event::Unpublished(visit) => about(Hook::Unpublish, visit),
            Event::Stopped(visit) => about(Hook::Stop, visit),
            Event::Closed(session) => closed(session),
            Event::Segment(..) => None,
        };
        if let Some(call) = call {
            self.notify(control, call);
        }
    }
}

fn closed(session: &SessionInfo) -> Option<Call> {
    let (host, detail) = (session.host()?, session.detail()?);
    let body = || body::close(&host.identity, session, detail);
    Call::new(host, &detail.vhost, Hook::Close, &session.id, body)
}
