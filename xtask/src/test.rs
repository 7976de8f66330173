//! `cargo xtask test`: every check and every test, in the order in which they fail fastest.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::shell::{ask, call, call_and_keep, cargo, target_dir};
use crate::{counts, docs, tidy, tools};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave out the end-to-end tests
    #[arg(long, conflicts_with = "e2e_only")]
    quick: bool,
    /// Only the end-to-end tests
    #[arg(long)]
    e2e_only: bool,
    /// Also the tests that take minutes
    #[arg(long)]
    slow: bool,
    /// Length of the soak in minutes, instead of 20 with --slow and some seconds without
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// Drive the release binary end to end, not the one with debug assertions
    #[arg(long)]
    release: bool,
    /// Pass over end-to-end tests whose foreign program is missing, instead of failing
    #[arg(long)]
    allow_missing_tools: bool,
    /// Only tests whose name contains this
    #[arg(value_name = "NAME")]
    filter: Option<String>,
}

/// Where the soak leaves its report, in the folder of the end-to-end tests.
const SOAK: &str = "run/it-soak/report.txt";

/// One part of the run.
struct Part {
    name: &'static str,
    tests: Option<Tests>,
    took: Duration,
    fault: Option<anyhow::Error>,
}

/// What the summary lines of `cargo test` and `cargo nextest` add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tests {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Tests {
    fn executed(self) -> u64 {
        self.passed + self.failed
    }
}

fn run_all(options: &Options) -> Result<Vec<Part>> {
    let mut parts = Parts::default();
    let units = !options.e2e_only;
    let ends = !options.quick;
    parts.check("tools to build with", tools::for_build)?;
    if units && options.filter.is_none() {
        parts.check("lock file", || call(&mut cargo(&["fetch", "--locked"])))?;
        parts.check("formatting", || call(&mut cargo(&["fmt", "--all", "--check"])))?;
        parts.check("tidy", || tidy::run(None))?;
        parts.check("documents", || docs::run(true))?;
        parts.check("clippy", || {
            let lint = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
            call(&mut cargo(&lint))
        })?;
    }
    if units {
        parts.tests("unit and integration tests", || {
            let mut tests =
                test_command(&["--workspace", "--exclude", "e2e", "--exclude", "abuse"], options);
            if options.slow {
                tests.env("PROPTEST_CASES", "4096").env("MILLRACE_SLOW", "1");
            }
            tests
        })?;
        parts.tests("examples in the documentation", || {
            let mut tests = cargo(&["test", "--doc", "--workspace", "--exclude", "e2e"]);
            tests.args(options.filter.as_deref());
            tests
        })?;
    }
    if units && ends && options.filter.is_none() {
        // A report: it fails only where nothing can be counted.
        parts.check("instruction counts", || counts::run(&counts::Options::default()))?;
    }
    if ends {
        let target = target_dir()?;
        let mut env = Vec::new();
        let strict = !options.allow_missing_tools;
        parts.check("tools to test with", || {
            env = tools::for_e2e(&target, strict)?;
            Ok(())
        })?;
        let profile = if options.release { "release" } else { "debug" };
        parts.check("binary", || {
            let mut build = cargo(&["build", "-p", "millrace"]);
            if options.release {
                build.arg("--release");
            }
            call(&mut build)
        })?;
        let binary = target.join(profile).join("millrace");
        let soak = target.join("e2e").join(SOAK);
        let _ = std::fs::remove_file(&soak);
        parts.tests("end-to-end tests", || {
            let mut tests = test_command(&["-p", "e2e", "-p", "abuse"], options);
            tests.env("MILLRACE_BIN", &binary).envs(env.iter().cloned());
            tests.env("MILLRACE_E2E_DIR", target.join("e2e"));
            // A failed test tells its reason in words; where anyhow stood then helps nobody.
            tests.env("RUST_LIB_BACKTRACE", "0");
            if strict {
                tests.env("MILLRACE_STRICT", "1");
            }
            if options.slow {
                tests.env("MILLRACE_SLOW", "1");
            }
            if let Some(minutes) = options.minutes {
                tests.env("MILLRACE_SOAK_MINUTES", minutes.to_string());
            }
            tests
        })?;
        // Those who run the tests keep what a good test says to themselves.
        if let Ok(report) = std::fs::read_to_string(&soak) {
            println!("\n== the soak's report\n{report}");
        }
    }
    Ok(parts.0)
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let parts = run_all(options)?;
    let mut all = Tests::default();
    let mut report = String::from("\n");
    let mut faults = Vec::new();
    for part in &parts {
        let seconds = part.took.as_secs_f64();
        let verdict = if part.fault.is_some() { "FAILED" } else { "ok" };
        let _ = write!(report, "{:32} {verdict:7} {seconds:6.1} s", part.name);
        if let Some(tests) = part.tests {
            all.passed += tests.passed;
            all.failed += tests.failed;
            all.skipped += tests.skipped;
            let _ =
                write!(report, "  {} tests executed, {} passed", tests.executed(), tests.passed);
        }
        report.push('\n');
        if let Some(fault) = &part.fault {
            faults.push(format!("{}: {fault:#}", part.name));
        }
    }
    print!("{report}");
    for fault in &faults {
        println!("FAILED {fault}");
    }
    println!(
        "test result: {}. {} tests executed; {} passed; {} failed; {} skipped",
        if faults.is_empty() { "ok" } else { "FAILED" },
        all.executed(),
        all.passed,
        all.failed,
        all.skipped,
    );
    if !faults.is_empty() {
        bail!("{} of {} parts failed", faults.len(), parts.len());
    }
    if all.executed() == 0 {
        bail!("no test was executed");
    }
    Ok(())
}

#[derive(Default)]
struct Parts(Vec<Part>);

impl Parts {
    /// A part without tests. Later parts run even if it fails, so that one run tells every fault;
    /// only a missing tool ends the run at once.
    fn check(&mut self, name: &'static str, part: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("\n== {name}");
        let start = Instant::now();
        let fault = part().err();
        if let Some(fault) = &fault {
            println!("FAILED {name}: {fault:#}");
        }
        let tool = name.starts_with("tools") || name == "binary" || name == "lock file";
        if tool && let Some(fault) = fault {
            return Err(fault);
        }
        self.0.push(Part { name, tests: None, took: start.elapsed(), fault });
        Ok(())
    }

    fn tests(
        &mut self,
        name: &'static str,
        command: impl FnOnce() -> std::process::Command,
    ) -> Result<()> {
        println!("\n== {name}");
        let start = Instant::now();
        let (success, lines) = call_and_keep(&mut command())?;
        let tests = count(&lines);
        let fault = (!success).then(|| {
            anyhow::anyhow!(
                "{} of {} tests failed, or did not build",
                tests.failed,
                tests.executed()
            )
        });
        self.0.push(Part { name, tests: Some(tests), took: start.elapsed(), fault });
        Ok(())
    }
}

/// `cargo nextest` where it is installed (a process for each test, so a crash is one failure),
/// else plain `cargo test`.
fn test_command(packages: &[&str], options: &Options) -> std::process::Command {
    let nextest = ask(&mut cargo(&["nextest", "--version"])).is_some();
    let mut command = if nextest {
        let mut c = cargo(&["nextest", "run", "--no-fail-fast", "--status-level", "slow"]);
        c.args(["--final-status-level", "fail", "--no-tests", "pass"]);
        c
    } else {
        cargo(&["test", "--no-fail-fast", "--bins", "--lib", "--tests"])
    };
    command.args(packages).args(options.filter.as_deref());
    let e2e = packages.contains(&"e2e");
    // Those tests wait for media most of the time: more of them than cores do no harm.
    match (e2e, nextest) {
        (true, true) => _ = command.args(["--test-threads", "4"]),
        (true, false) => _ = command.args(["--", "--test-threads", "4"]),
        (false, _) => {}
    }
    command
}

/// Adds up the summary lines.
fn count(lines: &[String]) -> Tests {
    let mut all = Tests::default();
    for line in lines {
        let line = without_colours(line);
        // What a failed test printed is indented, and has a line of the same words.
        let numbers = if let Some(rest) = line.strip_prefix("test result: ") {
            rest
        } else if let Some(rest) = line.trim_start().strip_prefix("Summary [") {
            rest
        } else {
            continue;
        };
        all.passed += number_before(numbers, "passed");
        all.failed += number_before(numbers, "failed") + number_before(numbers, "timed out");
        all.skipped += number_before(numbers, "ignored") + number_before(numbers, "skipped");
    }
    all
}

/// The number that stands before `word`, as in `12 passed`.
fn number_before(text: &str, word: &str) -> u64 {
    let Some(before) = text.find(&format!(" {word}")).and_then(|at| text.get(..at)) else {
        return 0;
    };
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

fn without_colours(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut escape = false;
    for c in line.chars() {
        match (escape, c) {
            (false, '\x1b') => escape = true,
            (false, c) => out.push(c),
            (true, c) => escape = !c.is_ascii_alphabetic(),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_both_runners_are_counted() {
        let lines = [
            "test result: ok. 12 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out"
                .to_owned(),
            "     Summary [   0.004s] 7 tests run: 6 passed (1 slow), 1 failed, 3 skipped"
                .to_owned(),
            "\x1b[32;1m     Summary\x1b[0m [   0.004s] 5 tests run: 5 passed, 0 skipped".to_owned(),
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured".to_owned(),
            "test foo ... ok".to_owned(),
        ];
        assert_eq!(count(&lines), Tests { passed: 23, failed: 2, skipped: 5 });
    }
}
