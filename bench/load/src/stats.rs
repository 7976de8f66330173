//! What one thread counts, and what one connection has behind it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::{CreationError, Histogram};

use crate::fault::Fault;
use crate::verify::{Checker, Findings, Seen};

/// Different texts of errors that are told apart; the rest is counted together.
const MAX_KINDS: usize = 40;
/// Where texts beyond them are counted.
const OTHERS: &str = "others";

/// Times in microseconds, to three digits; it grows as it must.
#[derive(Clone, Debug)]
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Result<Self, CreationError> {
        Ok(Self(Histogram::new(3)?))
    }

    pub(crate) fn note_ns(&mut self, ns: u64) {
        // Fails where a growing histogram would outgrow the address space.
        let _ = self.0.record(ns / 1000);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let _ = self.0.add(&other.0);
    }

    pub(crate) const fn inner(&self) -> &Histogram<u64> {
        &self.0
    }
}

/// Where in the order of joining a player stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    First,
    Middle,
    Last,
}

/// Delays from the publisher to the player.
#[derive(Clone, Debug)]
pub(crate) struct Delays {
    pub(crate) all: Times,
    pub(crate) first: Times,
    pub(crate) last: Times,
}

impl Delays {
    fn new() -> Result<Self, CreationError> {
        Ok(Self { all: Times::new()?, first: Times::new()?, last: Times::new()? })
    }

    fn note(&mut self, group: Group, ns: u64) {
        self.all.note_ns(ns);
        match group {
            Group::First => self.first.note_ns(ns),
            Group::Last => self.last.note_ns(ns),
            Group::Middle => {}
        }
    }
}

/// What one thread counts.
#[derive(Clone, Debug)]
pub(crate) struct Stats {
    /// Players that began to connect, those that churned in among them.
    pub(crate) joined: u64,
    /// Players that were told to leave.
    pub(crate) left: u64,
    /// Players that ended, or never came about, against our will.
    pub(crate) lost: u64,
    pub(crate) publishers_lost: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) stalls: u64,
    /// The longest time without media, in nanoseconds.
    pub(crate) longest_stall_ns: u64,
    pub(crate) findings: Findings,
    pub(crate) delays: Delays,
    pub(crate) first_frame: Times,
    /// Bytes that players received in the window.
    pub(crate) window_bytes: u64,
    /// Bytes that players received in all.
    pub(crate) bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) sent_pictures: u64,
    /// How late publishers sent, in the window.
    pub(crate) lateness: Times,
    /// How long the loop took for a round, in the window: so much later than it could have been
    /// was the last read of the round.
    pub(crate) lag: Times,
    /// Segments that HLS players fetched whole.
    pub(crate) segments: u64,
    pub(crate) in_window: bool,
}

impl Stats {
    pub(crate) fn new() -> Result<Self, CreationError> {
        Ok(Self {
            joined: 0,
            left: 0,
            lost: 0,
            publishers_lost: 0,
            errors: BTreeMap::new(),
            stalls: 0,
            longest_stall_ns: 0,
            findings: Findings::default(),
            delays: Delays::new()?,
            first_frame: Times::new()?,
            window_bytes: 0,
            bytes: 0,
            sent_bytes: 0,
            sent_pictures: 0,
            lateness: Times::new()?,
            lag: Times::new()?,
            segments: 0,
            in_window: false,
        })
    }

    pub(crate) fn error(&mut self, fault: &Fault) {
        let text = fault.to_string();
        let known = self.errors.contains_key(&text) || self.errors.len() < MAX_KINDS;
        let key = if known { text } else { OTHERS.to_owned() };
        *self.errors.entry(key).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.joined += other.joined;
        self.left += other.left;
        self.lost += other.lost;
        self.publishers_lost += other.publishers_lost;
        for (text, count) in &other.errors {
            *self.errors.entry(text.clone()).or_default() += count;
        }
        self.stalls += other.stalls;
        self.longest_stall_ns = self.longest_stall_ns.max(other.longest_stall_ns);
        self.findings.add(&other.findings);
        self.delays.all.add(&other.delays.all);
        self.delays.first.add(&other.delays.first);
        self.delays.last.add(&other.delays.last);
        self.first_frame.add(&other.first_frame);
        self.window_bytes += other.window_bytes;
        self.bytes += other.bytes;
        self.sent_bytes += other.sent_bytes;
        self.sent_pictures += other.sent_pictures;
        self.lateness.add(&other.lateness);
        self.lag.add(&other.lag);
        self.segments += other.segments;
    }
}

/// What one player has behind it.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) opened_ns: u64,
    /// When the first media came; 0 before.
    pub(crate) first_ns: u64,
    /// Until when there was media: the last that came, or what a player of HLS still has to show.
    pub(crate) fed_ns: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_at_window: u64,
    /// Stalls since the window began.
    pub(crate) stalls: u32,
    stalled: bool,
    pub(crate) group: Group,
    /// Looks at all that comes.
    pub(crate) verified: bool,
    /// Made to read slowly.
    pub(crate) slow: bool,
    /// There for verified players, and for others until their first media.
    pub(crate) checker: Option<Box<Checker>>,
}

impl Tally {
    pub(crate) fn new(now_ns: u64, group: Group, verified: bool, slow: bool) -> Self {
        Self {
            opened_ns: now_ns,
            first_ns: 0,
            fed_ns: 0,
            bytes: 0,
            bytes_at_window: 0,
            stalls: 0,
            stalled: false,
            group,
            verified,
            slow,
            checker: Some(Box::new(Checker::new(slow))),
        }
    }

    /// Media flows, and nobody will look at it: it may be thrown away.
    pub(crate) const fn counts_only(&self) -> bool {
        self.first_ns > 0 && !self.verified
    }

    /// One piece of media came.
    pub(crate) fn saw(&mut self, seen: Seen, now_ns: u64, stats: &mut Stats) {
        if !seen.media {
            return;
        }
        self.fed(now_ns, now_ns, stats);
        if let Some(sent_ns) = seen.sent_ns
            && stats.in_window
            && !self.slow
            && self.verified
            && let Some(delay) = now_ns.checked_sub(sent_ns)
        {
            stats.delays.note(self.group, delay);
        }
        if !self.verified {
            self.checker = None;
        }
    }

    /// There is media until `until_ns`, from now on.
    pub(crate) fn fed(&mut self, now_ns: u64, until_ns: u64, stats: &mut Stats) {
        if self.first_ns == 0 {
            self.first_ns = now_ns;
            stats.first_frame.note_ns(now_ns.saturating_sub(self.opened_ns));
        } else if self.stalled {
            let gap = now_ns.saturating_sub(self.fed_ns);
            stats.longest_stall_ns = stats.longest_stall_ns.max(gap);
            self.stalled = false;
        }
        self.fed_ns = self.fed_ns.max(until_ns);
    }

    /// Asked now and then: whether media has been missing for longer than `limit_ns`.
    pub(crate) fn check_stall(&mut self, now_ns: u64, limit_ns: u64, stats: &mut Stats) {
        let gap = now_ns.saturating_sub(self.fed_ns);
        if self.first_ns == 0 || self.slow || gap <= limit_ns {
            return;
        }
        stats.longest_stall_ns = stats.longest_stall_ns.max(gap);
        if !self.stalled {
            self.stalled = true;
            self.stalls += 1;
            stats.stalls += 1;
        }
    }

    pub(crate) const fn is_stalled(&self) -> bool {
        self.stalled
    }
}

/// What the progress line shows of one thread.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    pub(crate) joined: AtomicU64,
    pub(crate) connected: AtomicU64,
    pub(crate) active: AtomicU64,
    pub(crate) publishing: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) stalls: AtomicU64,
    pub(crate) broken: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

impl Gauge {
    pub(crate) fn set(field: &AtomicU64, value: u64) {
        field.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(field: &AtomicU64) -> u64 {
        field.load(Ordering::Relaxed)
    }
}
