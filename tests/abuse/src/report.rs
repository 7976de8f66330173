//! What came of it: one table for people, one JSON for programs, and the faults.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::attack::Cx;
use crate::watch::{Base, Metrics};
use crate::{Plan, healthy};

/// Memory may stay above where it was by a quarter and this much: heaps keep some pages.
const MEMORY_SPARE_KB: u64 = 20 * 1024;
/// Descriptors may stay above where they were by this many: a connection of ours that is closing.
const DESCRIPTORS_SPARE: u64 = 4;

/// Delay from the publisher's `send` to the viewer's `recv`, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delay {
    pub(crate) frames: usize,
    pub(crate) p50: u32,
    pub(crate) p99: u32,
    pub(crate) max: u32,
}

impl Delay {
    pub(crate) fn of(all: &[u32]) -> Self {
        let mut all = all.to_vec();
        all.sort_unstable();
        let at = |percent: usize| {
            let index = all.len().saturating_mul(percent) / 100;
            all.get(index.min(all.len().saturating_sub(1))).copied().unwrap_or(0)
        };
        Self { frames: all.len(), p50: at(50), p99: at(99), max: at(100) }
    }

    fn json(self) -> Value {
        json!({"frames": self.frames, "p50_us": self.p50, "p99_us": self.p99, "max_us": self.max})
    }

    fn text(self) -> String {
        let ms = |us: u32| f64::from(us) / 1000.0;
        format!(
            "p50 {:.1} ms, p99 {:.1} ms, max {:.0} ms",
            ms(self.p50),
            ms(self.p99),
            ms(self.max)
        )
    }
}

#[derive(Clone, Debug, Default)]
struct Row {
    name: String,
    tried: u64,
    refused: u64,
    bytes: u64,
    peak_kb: u64,
    delay: Delay,
}

/// What was wrong, in words; empty is good.
pub type Faults = Vec<String>;

/// The outcome of [`run`](crate::run).
#[derive(Debug)]
pub struct Report {
    seed: u64,
    pub(crate) attacked_for: Duration,
    panics_before: u64,
    base: Base,
    rows: Vec<Row>,
    pub(crate) alive: bool,
    pub(crate) healthz: bool,
    pub(crate) after: Option<Base>,
    pub(crate) peak_kb: u64,
    pub(crate) peak_descriptors: u64,
    pub(crate) viewers: usize,
    pub(crate) published: u64,
    pub(crate) frames: u64,
    pub(crate) missing: u64,
    pub(crate) disorder: u64,
    pub(crate) mistimed: u64,
    pub(crate) cut: u64,
    pub(crate) delay_before: Delay,
    pub(crate) delay_during: Delay,
    pub(crate) delay_mixed: Delay,
    pub(crate) delay_after: Delay,
    /// How late a thread of this program woke up that had nothing else to do.
    pub(crate) lateness: Delay,
    /// What healthy viewers and attacks found wrong, in words.
    pub(crate) words: Vec<String>,
    leaks: Vec<String>,
}

impl Report {
    pub(crate) fn new(plan: &Plan, first: &Metrics, base: &Base) -> Self {
        Self {
            seed: plan.seed,
            attacked_for: Duration::ZERO,
            panics_before: first.panics,
            base: *base,
            rows: Vec::new(),
            alive: true,
            healthz: false,
            after: None,
            peak_kb: 0,
            peak_descriptors: 0,
            viewers: 0,
            published: 0,
            frames: 0,
            missing: 0,
            disorder: 0,
            mistimed: 0,
            cut: 0,
            delay_before: Delay::default(),
            delay_during: Delay::default(),
            delay_mixed: Delay::default(),
            delay_after: Delay::default(),
            lateness: Delay::default(),
            words: Vec::new(),
            leaks: Vec::new(),
        }
    }

    /// Notes one attack; gives a line about it.
    pub(crate) fn attacked(&mut self, name: &str, cx: &Cx, peak_kb: u64) -> String {
        use std::sync::atomic::Ordering::Relaxed;
        let tally = &cx.tally;
        let row = Row {
            name: name.to_owned(),
            tried: tally.tried.load(Relaxed),
            refused: tally.refused.load(Relaxed),
            bytes: tally.bytes.load(Relaxed),
            peak_kb,
            delay: Delay::default(),
        };
        let line = format!(
            "{name}: {} times, {} cut short, {} kB sent, memory up to {} MB",
            row.tried,
            row.refused,
            row.bytes / 1000,
            peak_kb / 1024
        );
        self.rows.push(row);
        self.leaks.extend(cx.tally.leaks());
        line
    }

    pub(crate) fn mixed(&mut self, cx: &Cx, peak_kb: u64) {
        self.attacked("mixed", cx, peak_kb);
    }

    pub(crate) fn delay_of(&mut self, name: &str, delay: Delay) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.name == name) {
            row.delay = delay;
        }
        let mixed = self.delay_mixed;
        if let Some(row) = self.rows.iter_mut().find(|row| row.name == "mixed") {
            row.delay = mixed;
        }
    }

    /// All that the server did wrong.
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::new();
        let mut check = |good: bool, fault: String| {
            if !good {
                faults.push(fault);
            }
        };
        check(self.alive, "the server died".into());
        check(self.healthz, "/healthz does not answer 200 at the end".into());
        let name = healthy::NAME;
        check(self.missing == 0, format!("{} frames of {name} are missing", self.missing));
        check(self.disorder == 0, format!("{} frames of {name} out of order", self.disorder));
        check(self.mistimed == 0, format!("{} frames of {name} have wrong times", self.mistimed));
        check(self.cut == 0, format!("healthy sessions were cut off {} times", self.cut));
        check(self.frames > 0, "healthy viewers saw nothing".into());
        for leak in &self.leaks {
            check(false, leak.clone());
        }
        let Some(after) = &self.after else { return faults };
        let panics = after.metrics.panics.saturating_sub(self.panics_before);
        check(panics == 0, format!("{panics} sessions panicked"));
        let (before, now) = (&self.base.process, &after.process);
        let memory = before.rss_kb + before.rss_kb / 4 + MEMORY_SPARE_KB;
        check(
            now.rss_kb <= memory,
            format!("memory went from {} kB to {} kB", before.rss_kb, now.rss_kb),
        );
        check(
            now.descriptors <= before.descriptors + DESCRIPTORS_SPARE,
            format!("descriptors went from {} to {}", before.descriptors, now.descriptors),
        );
        let (before, now) = (&self.base.metrics, &after.metrics);
        check(
            now.clients <= before.clients,
            format!("sessions went from {} to {}", before.clients, now.clients),
        );
        check(
            now.connections <= before.connections + DESCRIPTORS_SPARE,
            format!("connections went from {} to {}", before.connections, now.connections),
        );
        faults
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut t = String::from("\n");
        let after = self.after.unwrap_or_default();
        let (b, a) = (&self.base, &after);
        // Writing to a String cannot fail.
        let mut row = |name: &str, value: String| _ = writeln!(t, "| {name:28} | {value} |");
        row("", "figure".into());
        row("---", "---".into());
        row(
            "attacked for",
            format!("{:.0} s, seed {}", self.attacked_for.as_secs_f64(), self.seed),
        );
        row("server alive, /healthz", format!("{}, {}", self.alive, self.healthz));
        row("panics", format!("{}", a.metrics.panics.saturating_sub(self.panics_before)));
        let mb = |kb: u64| kb as f64 / 1024.0;
        let (x, y, z) = (mb(b.process.rss_kb), mb(self.peak_kb), mb(a.process.rss_kb));
        row("memory before, peak, after", format!("{x:.1}, {y:.1}, {z:.1} MB"));
        let (x, y, z) = (b.process.descriptors, self.peak_descriptors, a.process.descriptors);
        row("descriptors before/peak/after", format!("{x}, {y}, {z}"));
        row("threads before, after", format!("{}, {}", b.process.threads, a.process.threads));
        row("sessions before, after", format!("{}, {}", b.metrics.clients, a.metrics.clients));
        row("streams before, after", format!("{}, {}", b.metrics.streams, a.metrics.streams));
        let served = a.metrics.sessions_total.saturating_sub(b.metrics.sessions_total);
        row("sessions served meanwhile", served.to_string());
        let refused = a.metrics.refused.saturating_sub(b.metrics.refused);
        row("connections refused by limits", refused.to_string());
        row("healthy viewers", format!("{}, {} frames", self.viewers, self.frames));
        row(
            "missing, out of order, cut off",
            format!("{}, {}, {}", self.missing, self.disorder, self.cut),
        );
        row("delay before", self.delay_before.text());
        row("delay during", self.delay_during.text());
        row("delay after", self.delay_after.text());
        row("the machine's own lateness", self.lateness.text());
        t.push_str("\n| attack | times | cut short | sent MB | peak MB | p50 ms | p99 ms |\n");
        t.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
        for r in &self.rows {
            let _ = writeln!(
                t,
                "| {} | {} | {} | {:.1} | {} | {:.1} | {:.1} |",
                r.name,
                r.tried,
                r.refused,
                r.bytes as f64 / 1e6,
                r.peak_kb / 1024,
                f64::from(r.delay.p50) / 1000.0,
                f64::from(r.delay.p99) / 1000.0,
            );
        }
        t.push('\n');
        for word in &self.words {
            let _ = writeln!(t, "note: {word}");
        }
        let faults = self.faults();
        for fault in &faults {
            let _ = writeln!(t, "FAULT: {fault}");
        }
        t.push_str(if faults.is_empty() { "PASS\n" } else { "FAIL\n" });
        t
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let after = self.after.unwrap_or_default();
        let side = |base: &Base| {
            json!({
                "rss_kb": base.process.rss_kb,
                "descriptors": base.process.descriptors,
                "threads": base.process.threads,
                "sessions": base.metrics.clients,
                "connections": base.metrics.connections,
                "streams": base.metrics.streams,
                "sessions_total": base.metrics.sessions_total,
                "refused_total": base.metrics.refused,
                "dropped_inbox": base.metrics.dropped_inbox,
            })
        };
        let attacks: Vec<Value> = self
            .rows
            .iter()
            .map(|r| {
                json!({
                    "name": r.name, "tried": r.tried, "cut_short": r.refused, "bytes": r.bytes,
                    "peak_rss_kb": r.peak_kb, "delay": r.delay.json(),
                })
            })
            .collect();
        json!({
            "seed": self.seed,
            "seconds": self.attacked_for.as_secs_f64(),
            "alive": self.alive,
            "healthz": self.healthz,
            "panics": after.metrics.panics.saturating_sub(self.panics_before),
            "before": side(&self.base),
            "after": side(&after),
            "peak_rss_kb": self.peak_kb,
            "peak_descriptors": self.peak_descriptors,
            "healthy": {
                "viewers": self.viewers, "published": self.published, "frames": self.frames,
                "missing": self.missing, "out_of_order": self.disorder, "mistimed": self.mistimed, "cut_off": self.cut,
                "delay_before": self.delay_before.json(),
                "delay_during": self.delay_during.json(),
                "delay_after": self.delay_after.json(),
                "machine_lateness": self.lateness.json(),
            },
            "attacks": attacks,
            "notes": self.words,
            "faults": self.faults(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_delays() {
        let delay = Delay::of(&(1..=200).rev().collect::<Vec<u32>>());
        assert_eq!((delay.p50, delay.p99, delay.max), (101, 199, 200));
        assert_eq!(Delay::of(&[]).p99, 0);
    }
}
