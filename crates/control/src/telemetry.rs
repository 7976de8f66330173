//! Traces and metrics for OpenTelemetry, by OTLP over HTTP (protocol buffers); off by default.
//!
//! [`Telemetry`] is told of the ends of sessions, of callbacks and of requests to the API, and keeps
//! a span of each in a bounded queue; [`run`] is one task of the control runtime that sends what has
//! gathered, and the figures of `/metrics`, every `interval`. A collector that is dead or hangs
//! costs what waits in the queue, and a counter. Nothing here is on the path of frames: a session
//! is told of when it is over, from then on its span is a matter of the control plane.
//!
//! Which spans belong together is not kept but computed: trace and number of a session's span are a
//! digest of its id and the time at which it began, under a secret of the process.
//!
//! Specification: OTLP 1.x with binary protobuf encoding; W3C Trace Context, level 1.

mod export;
mod figures;
mod proto;
mod span;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use futures_util::future::BoxFuture;
use gate::conf::Config;
use gate::identity::random_id;
use gate::session::Witness;
use gate::{Close, Event, Fault, Gate, Host, PrepareError, Prepared, SessionInfo, Visit, redact};
use sha2::{Digest, Sha256};

use crate::metrics::text::{Text, Type};
pub use export::run;
use proto::Value;
use span::Span;
pub(crate) use span::{Context, Kind};

/// Spans that wait to be sent: at 200 sessions a second, a second callback each, ten seconds'
/// worth. A span has some 500 bytes.
const QUEUE: usize = 4096;

/// The header `traceparent` as it is understood; `None` where it is none. What the fuzzer tries.
pub fn traceparent(header: &str) -> Option<String> {
    Context::parse(header).map(|context| context.traceparent())
}

/// What is counted of the exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    const ALL: [Self; 2] = [Self::Traces, Self::Metrics];

    const fn word(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }
}

/// What the process tells OpenTelemetry. Cheap to clone; one that was made by `default` is off.
#[derive(Clone, Default)]
pub struct Telemetry(Arc<Shared>);

struct Shared {
    on: AtomicBool,
    /// Of 2^64 traces so many are exported.
    share: AtomicU64,
    secret: String,
    serial: AtomicU64,
    /// The same moment on both clocks: spans tell the time of day.
    began: (Instant, SystemTime),
    spans: Mutex<VecDeque<Span>>,
    /// Since when clients publish or play, by where the visit lies in memory: its end is told
    /// before that is given back.
    visits: Mutex<HashMap<usize, Instant>>,
    dropped: AtomicU64,
    /// Exports that went well and that failed, by signal.
    exports: [[AtomicU64; 2]; 2],
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            on: AtomicBool::new(false),
            share: AtomicU64::new(u64::MAX),
            secret: random_id(32),
            serial: AtomicU64::new(0),
            began: (Instant::now(), SystemTime::now()),
            spans: Mutex::default(),
            visits: Mutex::default(),
            dropped: AtomicU64::new(0),
            exports: Default::default(),
        }
    }
}

impl Shared {
    fn visits(&self) -> MutexGuard<'_, HashMap<usize, Instant>> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn digest(&self, what: &str, number: u128) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(&self.secret);
        digest.update(number.to_le_bytes());
        digest.update(what);
        digest.finalize().into()
    }

    fn context(&self, digest: &[u8; 32]) -> Context {
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        trace.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
        span.iter_mut().zip(digest.iter().skip(16)).for_each(|(to, from)| *to = *from);
        // As samplers by trace id have it: the lower half is the draw.
        let mut draw = [0; 8];
        draw.iter_mut().zip(trace.iter().skip(8)).for_each(|(to, from)| *to = *from);
        let sampled = u64::from_be_bytes(draw) <= self.share.load(Relaxed);
        Context { trace, span, sampled: sampled && self.share.load(Relaxed) > 0 }
    }

    /// A context that nobody else has.
    fn fresh(&self) -> Context {
        let serial = self.serial.fetch_add(1, Relaxed);
        self.context(&self.digest("", u128::from(serial)))
    }

    fn wall(&self, at: Instant) -> SystemTime {
        let (instant, wall) = self.began;
        // Sessions cannot be older than the process, nor later than now.
        wall.checked_add(at.saturating_duration_since(instant)).unwrap_or(wall)
    }
}

/// Something that goes on.
pub(crate) struct Open {
    telemetry: Telemetry,
    pub(crate) context: Context,
    parent: Option<[u8; 8]>,
    begun: Instant,
    name: String,
    kind: Kind,
    attributes: Vec<(&'static str, Value)>,
    error: Option<String>,
}

impl Open {
    pub(crate) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.attributes.push((key, value.into()));
    }

    pub(crate) fn fail(&mut self, error: impl Into<String>) {
        self.error = Some(error.into());
    }
}

/// It ends when it is dropped, so that what is given up has an end, too.
impl Drop for Open {
    fn drop(&mut self) {
        let shared = &self.telemetry.0;
        self.telemetry.push(Span {
            context: self.context,
            parent: self.parent,
            name: std::mem::take(&mut self.name),
            kind: self.kind,
            begun: shared.wall(self.begun),
            ended: shared.wall(Instant::now()),
            attributes: std::mem::take(&mut self.attributes),
            error: self.error.take(),
        });
    }
}

impl Telemetry {
    /// Whether anybody wants to know.
    pub(crate) fn is_on(&self) -> bool {
        self.0.on.load(Relaxed)
    }

    /// The span of a session.
    fn session(&self, id: &str, opened: Instant) -> Context {
        let since = opened.saturating_duration_since(self.0.began.0).as_nanos();
        // Apart from the numbers that single spans have.
        self.0.context(&self.0.digest(id, since | 1 << 127))
    }

    /// Begins a part of a session; `None` while nobody wants to know.
    pub(crate) fn part(&self, name: &str, kind: Kind, id: &str, opened: Instant) -> Option<Open> {
        if !self.is_on() {
            return None;
        }
        let session = self.session(id, opened);
        let mut open = self.open(name, kind, Some(session));
        open.set("session.id", id);
        Some(open)
    }

    /// Begins the answer to a request, which may be a part of what the caller does.
    pub(crate) fn request(&self, name: &str, traceparent: Option<&str>) -> Option<Open> {
        let parent = traceparent.and_then(Context::parse);
        self.is_on().then(|| self.open(name, Kind::Server, parent))
    }

    fn open(&self, name: &str, kind: Kind, parent: Option<Context>) -> Open {
        let mut context = self.0.fresh();
        if let Some(parent) = parent {
            context = Context { span: context.span, ..parent };
        }
        Open {
            telemetry: self.clone(),
            context,
            parent: parent.map(|parent| parent.span),
            begun: Instant::now(),
            name: name.to_owned(),
            kind,
            attributes: Vec::new(),
            error: None,
        }
    }

    fn push(&self, span: Span) {
        if !span.context.sampled || !self.is_on() {
            return;
        }
        let mut spans = self.0.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() >= QUEUE {
            drop(spans);
            self.0.dropped.fetch_add(1, Relaxed);
            return;
        }
        spans.push_back(span);
    }

    fn take(&self) -> Vec<Span> {
        let mut spans = self.0.spans.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *spans).into()
    }

    fn is_full(&self) -> bool {
        let spans = self.0.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.len() >= QUEUE / 2
    }

    /// Takes note of when clients publish and play. Never blocks.
    pub fn tell(&self, event: Event<'_>) {
        match event {
            Event::Published(visit) | Event::Played(visit) if self.is_on() => {
                self.0.visits().insert(key(visit), Instant::now());
            }
            Event::Unpublished(visit) => self.left(visit, "publish"),
            Event::Stopped(visit) => self.left(visit, "play"),
            Event::Published(_)
            | Event::Played(_)
            | Event::Closed(_)
            | Event::Segment(..)
            | Event::Recorded(..) => {}
        }
    }

    fn left(&self, visit: &Arc<Visit>, name: &str) {
        let Some(begun) = self.0.visits().remove(&key(visit)) else { return };
        let session = &visit.session;
        let Some(mut open) = self.part(name, Kind::Internal, &session.id, session.opened) else {
            return;
        };
        open.begun = begun;
        let stream = &visit.stream.key;
        open.set("millrace.vhost", &*stream.vhost);
        open.set("millrace.app", &*stream.app);
        open.set("millrace.stream", &*stream.name);
        open.set("millrace.gate", session.gate);
    }

    /// Adds the figures to `/metrics`.
    pub(crate) fn render(&self, out: &mut Text) {
        let name = "millrace_opentelemetry_exports_total";
        let help = "Exports by OTLP: ok, taken; failed, the collector gave no proper answer and \
                    what was sent is lost.";
        out.family(name, help, Type::Counter);
        for (signal, counts) in Signal::ALL.iter().zip(&self.0.exports) {
            for (result, count) in ["ok", "failed"].iter().zip(counts) {
                let labels = [("signal", signal.word()), ("result", result)];
                out.sample(name, &labels, count.load(Relaxed));
            }
        }
        let help = "Spans that found the queue full.";
        let dropped = self.0.dropped.load(Relaxed);
        out.one("millrace_opentelemetry_dropped_spans_total", help, Type::Counter, dropped);
    }

    fn count(&self, signal: Signal, ok: bool) -> u64 {
        let counts = self.0.exports.get(signal as usize);
        let count = counts.and_then(|counts| counts.get(usize::from(!ok)));
        count.map_or(0, |count| count.fetch_add(1, Relaxed).saturating_add(1))
    }

    fn set(&self, config: &Config) {
        let root = config.root();
        let ratio = root.float("opentelemetry.sample_ratio").clamp(0.0, 1.0);
        // The cast saturates: all of them at 1.
        self.0.share.store((ratio * u64::MAX as f64) as u64, Relaxed);
        self.0.on.store(root.bool("opentelemetry.enabled"), Relaxed);
        if !self.is_on() {
            self.0.visits().clear();
            drop(self.take());
        }
    }
}

fn key(visit: &Arc<Visit>) -> usize {
    Arc::as_ptr(visit).addr()
}

/// Whose fault, in a word.
const fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Peer => "peer",
        Fault::Us => "us",
        Fault::Upstream => "upstream",
        Fault::Nobody => "nobody",
    }
}

impl Witness for Telemetry {
    fn closed(&self, session: &SessionInfo, close: &Close) {
        if !self.is_on() {
            return;
        }
        let detail = session.detail();
        let kind = detail.map_or("", |detail| detail.kind);
        let dialled = kind == "rtmp-forward";
        let mut attributes: Vec<(&'static str, Value)> = vec![
            ("session.id", (&*session.id).into()),
            ("millrace.gate", session.gate.into()),
            ("network.peer.address", session.peer.ip().to_canonical().to_string().into()),
            ("network.peer.port", u64::from(session.peer.port()).into()),
            ("client.address", session.ip().to_canonical().to_string().into()),
            ("millrace.reason", close.reason.as_str().into()),
            ("millrace.fault", fault(close.fault).into()),
            ("millrace.code", u64::from(close.code).into()),
            ("millrace.received_bytes", session.counters.recv_bytes.load(Relaxed).into()),
            ("millrace.sent_bytes", session.counters.send_bytes.load(Relaxed).into()),
        ];
        if let Some(detail) = detail {
            for (key, text) in [
                ("millrace.kind", detail.kind),
                ("millrace.vhost", &detail.vhost),
                ("millrace.app", &detail.app),
                ("millrace.stream", &detail.name),
                ("millrace.tc_url", &*redact::address(&detail.tc_url)),
            ] {
                attributes.push((key, text.into()));
            }
        }
        let error = match close.fault {
            Fault::Us | Fault::Upstream => Some(close.reason.clone()),
            Fault::Peer | Fault::Nobody => None,
        };
        self.push(Span {
            context: self.session(&session.id, session.opened),
            parent: None,
            name: format!("{} session", session.gate),
            kind: if dialled { Kind::Client } else { Kind::Server },
            begun: self.0.wall(session.opened),
            ended: self.0.wall(Instant::now()),
            attributes,
            error,
        });
    }
}

struct Ready(Telemetry, Arc<Config>);

impl Prepared for Ready {
    fn commit(self: Box<Self>) -> Vec<String> {
        self.0.set(&self.1);
        Vec::new()
    }
}

impl Gate for Telemetry {
    fn name(&self) -> &'static str {
        "opentelemetry"
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

#[cfg(test)]
mod tests;
