//! What a run has shown: figures for programs, a table for people.

pub(crate) mod table;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::stats::{Stats, Times};
use crate::verify::Findings;

pub use table::table;

/// The whole result. Every field has its unit in its name.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was played, as written.
    pub play: Vec<String>,
    /// What was published, as written.
    pub publish: Option<String>,
    /// The measured window; shorter than planned if the run was interrupted, 0 if it never opened.
    pub window_s: f64,
    /// Interrupted before its end.
    pub interrupted: bool,
    /// Players.
    pub players: PlayerCounts,
    /// Publishers.
    pub publishers: PublisherCounts,
    /// Received in the window by all players, in megabits a second.
    pub mbit_per_s: f64,
    /// Received by all players in the whole run.
    pub bytes: u64,
    /// Rate of each player that was there at the end, in the window.
    pub kbit_per_s: Spread,
    /// From connect to the first picture or sound.
    pub first_frame_ms: Percentiles,
    /// Times without media.
    pub stalls: Stalls,
    /// From a publisher's send to a player's receive, by the stamps in the pictures; `None`
    /// without stamps.
    pub latency_ms: Option<Latency>,
    /// What the players that looked have found.
    pub verification: Verification,
    /// Segments of HLS fetched whole.
    pub segments: u64,
    /// What the server used; `None` without its process.
    pub server: Option<Server>,
    /// What this tool used.
    pub tool: Tool,
    /// What went wrong, in words, and how often.
    pub errors: BTreeMap<String, u64>,
    /// What casts doubt on the figures.
    pub warnings: Vec<String>,
}

/// How many players.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PlayerCounts {
    /// Wanted at once.
    pub asked: u64,
    /// Begun in all: more than wanted where players leave and others come.
    pub joined: u64,
    /// Left by plan.
    pub left: u64,
    /// Connected at the end.
    pub connected: u64,
    /// Had media up to the end.
    pub active: u64,
    /// Got less than nine tenths of the median of their address, or nothing; of HLS, stalled.
    pub starved: u64,
    /// Ended, or never came about, against their will.
    pub lost: u64,
    /// Looked at all that they received.
    pub verified: u64,
    /// Were made to read slowly.
    pub slow: u64,
}

/// How many publishers.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PublisherCounts {
    /// Wanted.
    pub asked: u64,
    /// Published up to the end.
    pub active: u64,
    /// Ended, or never came about, against their will.
    pub lost: u64,
    /// Pictures sent.
    pub pictures: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// How late the tool sent them.
    pub lateness_ms: Percentiles,
}

/// The least, the middle and the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// The most.
    pub max: f64,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many values.
    pub count: u64,
    /// The median.
    pub p50: f64,
    /// 90 in 100 are at most this.
    pub p90: f64,
    /// 99 in 100.
    pub p99: f64,
    /// 999 in 1,000.
    pub p999: f64,
    /// The most.
    pub max: f64,
}

impl Percentiles {
    pub(crate) fn of(times: &Times) -> Self {
        let times = times.inner();
        let at = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            count: times.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: if times.is_empty() { 0.0 } else { times.max() as f64 / 1000.0 },
        }
    }
}

/// Times without media, of players that had some before.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Stalls {
    /// How often, in the whole run.
    pub count: u64,
    /// Players that stalled in the window.
    pub players: u64,
    /// The longest.
    pub longest_ms: f64,
}

/// Delays from publisher to player.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Latency {
    /// All verified players.
    pub all: Percentiles,
    /// Those among the first tenth to join.
    pub first: Percentiles,
    /// Those among the last tenth.
    pub last: Percentiles,
    /// How many pictures took up to so many milliseconds; each bar is up to twice as long a time.
    pub histogram: Vec<Bar>,
}

/// One bar of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bar {
    /// Up to so long.
    pub up_to_ms: f64,
    /// How many.
    pub count: u64,
}

impl Latency {
    pub(crate) fn of(stats: &Stats) -> Option<Self> {
        let delays = &stats.delays;
        let all = Percentiles::of(&delays.all);
        if all.count == 0 {
            return None;
        }
        let mut histogram = Vec::new();
        let times = delays.all.inner();
        let (mut up_to_us, mut before) = (125u64, 0);
        while before < all.count {
            let upto = times.count_between(0, up_to_us).min(all.count);
            // No bars before the first value.
            if upto > 0 {
                histogram.push(Bar { up_to_ms: up_to_us as f64 / 1000.0, count: upto - before });
            }
            before = upto;
            let Some(next) = up_to_us.checked_mul(2) else { break };
            up_to_us = next;
        }
        let (first, last) = (Percentiles::of(&delays.first), Percentiles::of(&delays.last));
        Some(Self { all, first, last, histogram })
    }
}

/// What was checked and found.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Verification {
    /// Players that looked.
    pub players: u64,
    /// What they found.
    #[serde(flatten)]
    pub findings: Findings,
}

/// What the server used in the window.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Server {
    /// Its process.
    pub pid: u32,
    /// Processor seconds, all threads.
    pub cpu_s: f64,
    /// The same as a share of one core, in percent.
    pub core_percent: f64,
    /// Processor microseconds for each megabit that players received; none without players.
    pub us_per_mbit: Option<f64>,
    /// Resident memory before the first connection.
    pub rss_before_kb: u64,
    /// Resident memory at the end.
    pub rss_kb: u64,
    /// The difference, for each connected player; none without players.
    pub kb_per_player: Option<f64>,
}

/// What this tool used in the window.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tool {
    /// Threads that drove connections.
    pub threads: u32,
    /// The busiest of them, as a share of one core, in percent.
    pub busiest_percent: f64,
    /// All of them.
    pub core_percent: f64,
    /// How long a thread's loop took for a round: so late may a read have been.
    pub lag_ms: Percentiles,
    /// Resident memory at the end.
    pub rss_kb: u64,
    /// How busy each core of the machine was, whoever it was, in percent.
    pub cores_percent: Vec<f64>,
}

/// What a run can fail by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failing {
    /// Players or publishers were lost.
    Lost,
    /// Players starved.
    Starved,
    /// Players stalled.
    Stalled,
    /// Media was corrupt, out of order, or could not be read.
    Corrupt,
    /// Pictures were missing.
    Missing,
}

impl Failing {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Lost, Self::Starved, Self::Stalled, Self::Corrupt, Self::Missing];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Starved => "starved",
            Self::Stalled => "stalled",
            Self::Corrupt => "corrupt",
            Self::Missing => "missing",
        }
    }
}

impl Report {
    /// By what the run failed; nothing if all went well.
    pub fn failings(&self) -> Vec<Failing> {
        let found = &self.verification.findings;
        let nobody = self.players.asked > 0 && self.players.active == 0;
        let is = |failing: &Failing| match failing {
            Failing::Lost => self.players.lost + self.publishers.lost > 0,
            Failing::Starved => self.players.starved > 0 || (nobody && !self.interrupted),
            Failing::Stalled => self.stalls.count > 0,
            Failing::Corrupt => found.is_broken(),
            Failing::Missing => found.missing > 0,
        };
        Failing::ALL.into_iter().filter(is).collect()
    }

    /// The whole as JSON, on one line.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
