//! Measures process, system and traffic, for API and metrics, and cleans up behind streams.
//!
//! [`run`] is one task of the control runtime. Each second it lets the hub forget streams that
//! nobody uses; each five seconds it samples `/proc` and the traffic of sessions, streams and
//! virtual hosts; each `pithy_print_ms` it writes a line per session ([`lines`]). What it found
//! is in [`Figures`]. Nothing here is asked while frames are on their way.
//!
//! Where there is no `/proc` the system's figures stay zero and say so (`ok` is false).

pub(crate) mod health;
pub(crate) mod ledger;
mod lines;
pub mod proc;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use gate::Host;
use hub::Stream;

use crate::api::Reload;
use crate::events::Events;
use crate::exec::Programs;
use crate::forward::Forwards;
use crate::heartbeat::Beats;
use crate::hooks::Hooks;
use crate::telemetry::Telemetry;
use health::StreamHealth;
use ledger::Ledger;
use lines::Lines;

/// How long a stream that nobody uses is remembered. SRS's number; a player that reconnects
/// meets the same stream id.
const GRACE: Duration = Duration::from_secs(3);
/// The pulse of the task.
const TICK: Duration = Duration::from_secs(1);
/// Pulses between two samples: [`gate::session::Rate`] counts on five seconds.
const SAMPLE_TICKS: u32 = 5;

/// What the sampler found, and the books that traffic is kept in. One for the process.
pub struct Figures {
    started: Instant,
    sample: ArcSwap<proc::Sample>,
    ledger: Mutex<Ledger>,
    /// What happens, for those who listen.
    pub(crate) events: Events,
    /// The callbacks, which keep their own books.
    pub hooks: Hooks,
    /// Programs beside streams, which keep their own books.
    pub(crate) programs: Programs,
    /// What goes to other servers, which keeps its own books.
    pub(crate) forwards: Option<Forwards>,
    /// What is told to OpenTelemetry.
    pub(crate) telemetry: Telemetry,
    /// What came of the heartbeats.
    pub(crate) heartbeats: Beats,
}

impl Default for Figures {
    fn default() -> Self {
        Self::new(Hooks::new(None))
    }
}

impl Figures {
    /// Figures of a process that makes these callbacks.
    pub fn new(hooks: Hooks) -> Self {
        Self {
            started: Instant::now(),
            sample: ArcSwap::default(),
            ledger: Mutex::default(),
            events: Events::default(),
            hooks,
            programs: Programs::default(),
            forwards: None,
            telemetry: Telemetry::default(),
            heartbeats: Beats::default(),
        }
    }

    /// With the programs that this process runs.
    #[must_use]
    pub fn with_programs(mut self, programs: Programs) -> Self {
        self.programs = programs;
        self
    }

    /// With what goes from this process to other servers.
    #[must_use]
    pub fn with_forwards(mut self, forwards: Forwards) -> Self {
        self.forwards = Some(forwards);
        self
    }

    /// With what this process tells OpenTelemetry.
    #[must_use]
    pub fn with_telemetry(mut self, telemetry: Telemetry) -> Self {
        self.telemetry = telemetry;
        self
    }

    /// How long the server has been running.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Figures of process and system as they were last sampled; zeros before that.
    pub fn sample(&self) -> Arc<proc::Sample> {
        self.sample.load_full()
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a stream is doing now.
    pub(crate) fn stream_health(&self, stream: &Stream) -> StreamHealth {
        let window = self.ledger().window(stream.id);
        health::of_stream(stream, &window, Instant::now())
    }

    /// Samples process and system. Reads a handful of files in `/proc`: blocks for well under a
    /// millisecond.
    pub fn sample_system(&self, disks: &[String]) {
        let old = self.sample();
        self.sample.store(Arc::new(proc::Sample::take(&old, now_ms(), disks)));
    }

    /// Samples the traffic of sessions, streams and virtual hosts. Call it every five seconds.
    pub fn sample_traffic(&self, host: &Host) {
        let sessions = host.sessions.all();
        for info in &sessions {
            let recv = info.counters.recv_bytes.load(Relaxed);
            let send = info.counters.send_bytes.load(Relaxed);
            info.rate.lock().unwrap_or_else(PoisonError::into_inner).sample(recv, send);
        }
        self.ledger().sample(&host.hub.all(), &sessions);
    }

    /// Lets the hub forget streams that nobody uses, and keeps their totals.
    pub fn sweep(&self, host: &Host) {
        let gone = host.hub.sweep(GRACE);
        if !gone.is_empty() {
            self.ledger().keep(&gone);
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Samples and cleans up for as long as it is polled; spawn it on [`Host::control`].
pub async fn run(host: Arc<Host>, figures: Arc<Figures>, reloader: Arc<dyn Reload>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut lines = Lines::default();
    let mut told = Instant::now();
    for tick in 0u32.. {
        ticks.tick().await;
        figures.sweep(&host);
        figures.events.look(&host, &figures, || reloader.last());
        if tick % SAMPLE_TICKS == 0 {
            sample(&host, &figures).await;
        }
        let period = host.config().root().millis("pithy_print_ms");
        if !period.is_zero() && told.elapsed() >= period {
            told = Instant::now();
            lines.tell(host.sessions.all());
        }
    }
}

async fn sample(host: &Arc<Host>, figures: &Arc<Figures>) {
    figures.sample_traffic(host);
    let config = host.config();
    let root = config.root();
    if !root.bool("stats.enabled") {
        return;
    }
    let disks: Vec<String> = root.list("stats.disk").into_iter().map(str::to_owned).collect();
    let figures = figures.clone();
    if let Err(e) = tokio::task::spawn_blocking(move || figures.sample_system(&disks)).await {
        tracing::error!("bug: sampling the system panicked: {e}");
    }
}

#[cfg(test)]
mod tests;
