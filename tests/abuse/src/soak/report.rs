//! What came of it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::{Idle, Plan, Tally, Trend};
use crate::healthy::Seen;
use crate::report::Faults;
use crate::{Context, Result};

/// What memory may stay above the idle start.
const BACK: f64 = 0.10;
/// A connection of ours that is still closing.
const DESCRIPTORS_SPARE: u64 = 2;

/// The figures, and what they say of the server.
#[derive(Debug)]
pub struct Report {
    pub(super) tally: Arc<Tally>,
    pub(super) start: Idle,
    pub(super) after_churn: Idle,
    pub(super) after_crowd: Option<Idle>,
    pub(super) trend: Trend,
    pub(super) peak_kb: u64,
    pub(super) peak_descriptors: u64,
    pub(super) crowd_kb: u64,
    crowd: usize,
    seconds: f64,
    seed: u64,
    /// What the steady viewers saw.
    frames: u64,
    missing: u64,
    disorder: u64,
    mistimed: u64,
    cut: u64,
    words: Vec<String>,
    /// Sessions that ended, by the log; lines that must not be there.
    closed: u64,
    bad_lines: Vec<String>,
    bad: u64,
}

impl Report {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            tally: Arc::default(),
            start: Idle::default(),
            after_churn: Idle::default(),
            after_crowd: None,
            trend: Trend::default(),
            peak_kb: 0,
            peak_descriptors: 0,
            crowd_kb: 0,
            crowd: plan.crowd,
            seconds: plan.time.as_secs_f64(),
            seed: plan.seed,
            frames: 0,
            missing: 0,
            disorder: 0,
            mistimed: 0,
            cut: 0,
            words: Vec::new(),
            closed: 0,
            bad_lines: Vec::new(),
            bad: 0,
        }
    }

    pub(super) fn add_seen(&mut self, all: &[Arc<Seen>]) {
        for seen in all {
            self.frames += seen.frames.load(Relaxed);
            self.missing += seen.missing.load(Relaxed);
            self.disorder += seen.disorder.load(Relaxed);
            self.mistimed += seen.mistimed.load(Relaxed);
            self.cut += seen.cut.load(Relaxed);
            self.words.extend(seen.words());
        }
    }

    pub(super) fn read_logs(&mut self, plan: &Plan) -> Result<()> {
        for path in &plan.logs {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            for line in BufReader::new(file).split(b'\n') {
                let line = line?;
                let line = String::from_utf8_lossy(&line);
                self.line(&line);
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &str) {
        if line.contains("client disconnect") {
            self.closed += 1;
        }
        if line.contains("ERROR") || line.contains("panicked") {
            self.bad += 1;
            if self.bad_lines.len() < 10 {
                self.bad_lines.push(line.to_owned());
            }
        }
    }

    fn end(&self) -> &Idle {
        self.after_crowd.as_ref().unwrap_or(&self.after_churn)
    }

    /// All that the server did wrong.
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::new();
        let mut check = |good: bool, fault: String| {
            if !good {
                faults.push(fault);
            }
        };
        check(self.frames > 0, "the steady viewers saw nothing".into());
        check(self.missing == 0, format!("{} steady frames are missing", self.missing));
        check(self.disorder == 0, format!("{} steady frames out of order", self.disorder));
        check(self.mistimed == 0, format!("{} steady frames have wrong times", self.mistimed));
        check(self.cut == 0, format!("steady sessions were cut off {} times", self.cut));
        let wrong = self.tally.wrong.load(Relaxed);
        check(wrong == 0, format!("{wrong} players, publishers or readers were served wrongly"));
        check(self.tally.served.load(Relaxed) > 0, "no player was served".into());
        check(self.bad == 0, format!("{} lines of the log tell of errors or panics", self.bad));
        let trend = &self.trend;
        check(
            !trend.is_leak(),
            format!("memory rose by {:.0} kB, {:.0} are none", trend.rise(), trend.allowed()),
        );
        let after = |when| format!("after the {when}");
        let mut ends = vec![(after("churn"), &self.after_churn)];
        ends.extend(self.after_crowd.as_ref().map(|idle| (after("crowd"), idle)));
        for (when, idle) in ends {
            let (before, now) = (&self.start.process, &idle.process);
            let most = before.rss_kb as f64 * (1.0 + BACK);
            check(
                now.rss_kb as f64 <= most,
                format!("{when} {} kB stay resident; idle start {}", now.rss_kb, before.rss_kb),
            );
            check(
                now.descriptors <= before.descriptors + DESCRIPTORS_SPARE,
                format!(
                    "{when} {} descriptors; idle start {}",
                    now.descriptors, before.descriptors
                ),
            );
            let m = &idle.metrics;
            check(m.is_empty(), format!("{when} somebody seems to be left: {m:?}"));
            check(m.panics == 0, format!("{when} {} panics", m.panics));
            check(
                m.lag_jumps == 0 || m.dropped_lag > 0,
                format!("{when} {} jumps of laggards, and nothing jumped over", m.lag_jumps),
            );
        }
        let opened = self.end().metrics.sessions_total;
        check(
            opened == self.closed,
            format!("{opened} sessions were opened, and {} ends were logged", self.closed),
        );
        faults
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut t = String::from("\n| figure | |\n| --- | --- |\n");
        // Writing to a String cannot fail.
        let mut row = |name: &str, value: String| _ = writeln!(t, "| {name:30} | {value} |");
        let tally = &self.tally;
        let mb = |kb: u64| format!("{:.1}", kb as f64 / 1024.0);
        row("churn", format!("{:.0} s, seed {}", self.seconds, self.seed));
        row("players", tally.visits_text());
        row(
            "publications, rivals refused",
            format!("{}, {}", tally.flaps.load(Relaxed), tally.refused.load(Relaxed)),
        );
        row(
            "slow readers",
            format!(
                "{}, {} cut off, {} frames",
                tally.dawdlers.load(Relaxed),
                tally.cut.load(Relaxed),
                tally.dawdled.load(Relaxed)
            ),
        );
        row("served wrongly", tally.wrong.load(Relaxed).to_string());
        row(
            "steady viewers",
            format!(
                "{} frames; {} missing, {} out of order, {} mistimed, {} cut off",
                self.frames, self.missing, self.disorder, self.mistimed, self.cut
            ),
        );
        let trend = &self.trend;
        row(
            "memory while they came and went",
            format!("{} to {} MB", mb(trend.range.0), mb(trend.range.1)),
        );
        row(
            "its floor",
            format!(
                "{:.1} MB, slope {:+.2} ± {:.2} kB/s over {:.0} s: {:+.0} kB, {:.0} allowed",
                trend.mean / 1024.0,
                trend.slope,
                trend.error,
                trend.span,
                trend.rise(),
                trend.allowed()
            ),
        );
        row("memory at its peak", format!("{} MB", mb(self.peak_kb)));
        let idle = |idle: &Idle| {
            let more = idle.process.rss_kb as f64 / self.start.process.rss_kb.max(1) as f64;
            let (now, alone) = (mb(idle.process.rss_kb), mb(idle.alone_kb));
            format!("{now} MB ({:+.1} %); {alone} before the knock", (more - 1.0) * 100.0)
        };
        row("memory at the idle start", idle(&self.start));
        row("after the churn", idle(&self.after_churn));
        if let Some(after) = &self.after_crowd {
            row(&format!("with a crowd of {}", self.crowd), format!("{} MB", mb(self.crowd_kb)));
            row("after the crowd", idle(after));
        }
        let d = |idle: &Idle| idle.process.descriptors;
        row(
            "descriptors idle, peak, end",
            format!("{}, {}, {}", d(&self.start), self.peak_descriptors, d(self.end())),
        );
        let m = &self.end().metrics;
        row("sessions opened, ends logged", format!("{}, {}", m.sessions_total, self.closed));
        row(
            "jumps of laggards, dropped",
            format!("{}, {} for lag, {} for load", m.lag_jumps, m.dropped_lag, m.dropped_inbox),
        );
        t.push('\n');
        let words = tally.words.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for word in self.words.iter().chain(words.iter()).chain(&self.bad_lines) {
            let _ = writeln!(t, "note: {word}");
        }
        let faults = self.faults();
        for fault in &faults {
            let _ = writeln!(t, "FAULT: {fault}");
        }
        t.push_str(if faults.is_empty() { "PASS\n" } else { "FAIL\n" });
        t
    }
}
