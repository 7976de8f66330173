//! Programs that run beside streams (`exec`).
//!
//! Those of `publish` and `play` live as long as the client they belong to: started again
//! [`PAUSE`](child::PAUSE) after they have ended, told to end when the client has gone, and killed
//! a second later. Those of `publish_done`, `play_done` and `record_done` run once. No shell is
//! between: a program gets a list of arguments, and what a client chose stays inside its argument.
//!
//! A shard merely makes the list. Files are opened and processes are started by the control
//! runtime.

mod child;
mod program;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gate::{Event, Visit};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::{Semaphore, watch};

use crate::metrics::text::{Text, Type};
use child::Job;
use program::{Program, Values};

/// Programs at the same time, of all publishers, and again of all players, who must not take the
/// places of the former. Each is a process; those beyond are not started.
const MOST: usize = 512;
/// How long programs may go on by themselves when the server stops.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(10);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Started,
    Failed,
    Ended,
    Terminated,
    Killed,
    Refused,
}

const COUNTS: [(&str, Count); 6] = [
    ("started", Count::Started),
    ("failed", Count::Failed),
    ("ended", Count::Ended),
    ("terminated", Count::Terminated),
    ("killed", Count::Killed),
    ("refused", Count::Refused),
];

/// All programs of the process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Programs(Arc<Shared>);

struct Shared {
    /// By the visit that the programs belong to; dropping the value tells them that it is over.
    ///
    /// The key is where the visit lies in memory: its end is told before that is given back.
    kept: Mutex<HashMap<usize, watch::Sender<()>>>,
    /// For programs of players, and of publishers.
    places: [Arc<Semaphore>; 2],
    /// The server stops.
    over: watch::Sender<bool>,
    counts: [AtomicU64; COUNTS.len()],
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            places: [(); 2].map(|()| Arc::new(Semaphore::new(MOST))),
            over: watch::Sender::new(false),
            counts: Default::default(),
        }
    }
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, HashMap<usize, watch::Sender<()>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, what: Count) {
        if let Some(count) = self.counts.get(what as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    fn running(&self) -> usize {
        let taken = |places: &Arc<Semaphore>| MOST.saturating_sub(places.available_permits());
        self.places.iter().map(taken).sum()
    }
}

impl Programs {
    /// Starts and ends what belongs to an event. Never blocks.
    pub fn tell(&self, event: Event<'_>) {
        match event {
            Event::Published(visit) => self.begin(visit, "publish"),
            Event::Played(visit) => self.begin(visit, "play"),
            Event::Unpublished(visit) => self.finish(visit, "publish_done"),
            Event::Stopped(visit) => self.finish(visit, "play_done"),
            Event::Recorded(visit, file) => {
                self.once(visit, "record_done", Some(file));
            }
            Event::Segment(..) | Event::Closed(_) => {}
        }
    }

    fn begin(&self, visit: &Arc<Visit>, when: &'static str) {
        let jobs = self.jobs(visit, when, None);
        if jobs.is_empty() {
            return;
        }
        let (here, gone) = watch::channel(());
        self.0.kept().insert(key(visit), here);
        for job in jobs {
            visit.host.control.spawn(job.keep(gone.clone()));
        }
    }

    fn finish(&self, visit: &Arc<Visit>, when: &'static str) {
        let here = self.0.kept().remove(&key(visit));
        drop(here);
        self.once(visit, when, None);
    }

    fn once(&self, visit: &Visit, when: &'static str, file: Option<&str>) {
        for job in self.jobs(visit, when, file) {
            visit.host.control.spawn(job.once(self.0.over.subscribe()));
        }
    }

    /// What the configuration in force wants to be run for `visit`.
    fn jobs(&self, visit: &Visit, when: &'static str, file: Option<&str>) -> Vec<Job> {
        let config = visit.host.config();
        let Some(vhost) = config.vhost(&visit.stream.key.vhost) else { return Vec::new() };
        if !vhost.bool("exec.enabled") {
            return Vec::new();
        }
        let lines = vhost.lines(&format!("exec.{when}"));
        if lines.is_empty() {
            return Vec::new();
        }
        let zone = match config.root().bool("utc_time") {
            true => TimeZone::UTC,
            false => TimeZone::system(),
        };
        let values = Values::of(visit, &Timestamp::now().to_zoned(zone));
        let values = match file {
            Some(file) => values.with_file(file),
            None => values,
        };
        let programs = lines.iter().filter_map(|words| Program::read(words, &values));
        programs.filter_map(|program| self.job(visit, when, program)).collect()
    }

    fn job(&self, visit: &Visit, when: &'static str, program: Program) -> Option<Job> {
        let session = visit.session.id.clone();
        let [players, publishers] = &self.0.places;
        let places = if visit.detail().publish { publishers } else { players };
        let Ok(place) = places.clone().try_acquire_owned() else {
            self.0.count(Count::Refused);
            tracing::warn!(
                %session,
                "exec {when}: {:?} is not started: {MOST} of its kind run already", program.path
            );
            return None;
        };
        Some(Job { program, when, session, shared: self.0.clone(), _place: place })
    }

    /// Ends all programs, at the end of the process, when all sessions have gone. Those that run
    /// once have two seconds to finish; no program is left after three.
    pub async fn end(&self) {
        self.0.kept().clear();
        let idle = async {
            while self.0.running() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(LAST_WORDS, idle).await.is_err() {
            tracing::info!("{} programs are ended with the server", self.0.running());
            self.0.over.send_replace(true);
            let ended = async {
                while self.0.running() > 0 {
                    tokio::time::sleep(LOOK).await;
                }
            };
            let _ = tokio::time::timeout(child::GRACE.saturating_mul(2), ended).await;
        }
    }

    /// Adds the figures to `/metrics`.
    pub(crate) fn render(&self, out: &mut Text) {
        let name = "millrace_exec_total";
        let help = "Programs beside streams: started; failed, could not be started; ended by \
                    themselves; terminated, as their client has gone; killed, as they did not \
                    heed that; refused, too many run.";
        out.family(name, help, Type::Counter);
        for ((event, _), count) in COUNTS.iter().zip(&self.0.counts) {
            out.sample(name, &[("event", event)], count.load(Relaxed));
        }
        let help = "Programs beside streams that run or wait to be started again.";
        out.one("millrace_exec_programs", help, Type::Gauge, self.0.running() as u64);
    }
}

fn key(visit: &Arc<Visit>) -> usize {
    Arc::as_ptr(visit).addr()
}
