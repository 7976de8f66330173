//! `cargo xtask counts`: how many instructions each hot path takes, against what it took before.
//!
//! valgrind counts the same on a busy machine as on a quiet one, so a change of some percent is
//! seen where a timer would see noise. It is a report: what grew is marked, and nothing fails.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::shell::{ask, call, cargo, root, target_dir};
use crate::tools;

/// Growth that is marked. The hub's cases vary by up to 2 % (threads, keys of hash maps), all
/// others by less than 0.1 %.
const LOUD_PERCENT: f64 = 5.0;
/// Rounds that both runs do first: what is built once is in neither difference.
const WARM: u64 = 2;
const BASELINE: &str = "bench/counts.txt";
const HEAD: &str = "\
# Instructions for one unit of each case of bench/micro, as `cargo xtask counts --update` wrote them.
# What they mean: bench/README.md.
";

#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Make what is counted now the baseline
    #[arg(long)]
    update: bool,
    /// Only cases whose name contains this
    #[arg(value_name = "NAME", conflicts_with = "update")]
    filter: Option<String>,
}

struct Case {
    name: String,
    unit: String,
    rounds: u64,
}

/// One line of the table.
struct Row {
    case: Case,
    count: f64,
    before: Option<f64>,
}

impl Row {
    fn percent(&self) -> Option<f64> {
        self.before.map(|before| (self.count / before - 1.0) * 100.0)
    }

    fn is_loud(&self) -> bool {
        self.percent().is_some_and(|p| p > LOUD_PERCENT)
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    tools::for_counts()?;
    let mut build = cargo(&["build", "--profile", "counts", "-p", "micro", "--bin", "micro"]);
    // Incremental builds are cut otherwise, and count otherwise.
    call(build.env("CARGO_INCREMENTAL", "0"))?;
    let binary = target_dir()?.join("counts").join("micro");
    let baseline = match std::fs::read_to_string(path()) {
        Ok(text) => read(&text)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e).context(BASELINE),
    };
    let mut rows = Vec::new();
    for case in cases(&binary)? {
        if options.filter.as_ref().is_some_and(|part| !case.name.contains(part.as_str())) {
            continue;
        }
        let count = count(&binary, &case)?;
        let before = baseline.iter().find(|(name, _)| *name == case.name).map(|(_, c)| *c);
        rows.push(Row { case, count, before });
    }
    ensure!(!rows.is_empty(), "no case of that name");
    print!("{}", table(&rows));
    if options.update {
        std::fs::write(path(), written(&rows)).context(BASELINE)?;
        println!("{BASELINE} is written");
    } else if options.filter.is_none() {
        for (name, _) in &baseline {
            if rows.iter().all(|row| row.case.name != *name) {
                println!("{name} is gone; `cargo xtask counts --update` forgets it");
            }
        }
    }
    Ok(())
}

fn path() -> PathBuf {
    root().join(BASELINE)
}

/// The table that the binary prints: name, unit, rounds.
fn cases(binary: &Path) -> Result<Vec<Case>> {
    let text = ask(&mut Command::new(binary)).context("the cases cannot be listed")?;
    let case = |line: &str| {
        let mut words = line.split(' ');
        let (name, unit, rounds) = (words.next()?, words.next()?, words.next()?);
        Some(Case { name: name.into(), unit: unit.into(), rounds: rounds.parse().ok()? })
    };
    text.lines().map(case).collect::<Option<_>>().context("a list of cases that is none")
}

/// Instructions for one unit: the difference of a long run and a short one, so that the start, the
/// end and the making of the stream are not in it.
fn count(binary: &Path, case: &Case) -> Result<f64> {
    let (units, instructions) = collect(binary, case, WARM)?;
    let (more_units, more) = collect(binary, case, WARM + case.rounds)?;
    let units = more_units.saturating_sub(units);
    ensure!(units > 0, "{} does nothing", case.name);
    Ok(more.saturating_sub(instructions) as f64 / units as f64)
}

/// Units done and instructions executed in so many rounds.
fn collect(binary: &Path, case: &Case, rounds: u64) -> Result<(u64, u64)> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(binary);
    valgrind.args([&case.name, &rounds.to_string()]);
    // The environment lies on the stack, and moves what is behind it.
    let path = std::env::var_os("PATH").unwrap_or_default();
    valgrind.env_clear().env("PATH", path).env("LC_ALL", "C");
    let out = valgrind.output().context("valgrind cannot be started")?;
    let said = String::from_utf8_lossy(&out.stderr);
    let done = || {
        let units = String::from_utf8_lossy(&out.stdout).trim().parse().ok()?;
        Some((units, collected(&said)?))
    };
    done().with_context(|| format!("{} in valgrind ({}):\n{said}", case.name, out.status))
}

/// The number in `==1== Collected : 3480066`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

fn table(rows: &[Row]) -> String {
    let mut out = format!(
        "\n{:24} {:>12} {:>12} {:>9}  a unit is a\n",
        "case", "instructions", "baseline", "change"
    );
    for row in rows {
        let Case { name, unit, .. } = &row.case;
        let before = row.before.map_or_else(|| "none".into(), |b| format!("{b:.1}"));
        let change = row.percent().map_or_else(String::new, |p| format!("{p:+.1} %"));
        let mark = if row.is_loud() { "   <== GREW" } else { "" };
        let _ =
            writeln!(out, "{name:24} {:12.1} {before:>12} {change:>9}  {unit}{mark}", row.count);
    }
    let loud: Vec<_> = rows.iter().filter(|r| r.is_loud()).map(|r| r.case.name.as_str()).collect();
    if loud.is_empty() {
        let _ = writeln!(out, "no case grew by more than {LOUD_PERCENT} %");
    } else {
        let _ = writeln!(
            out,
            "!!! GREW by more than {LOUD_PERCENT} %: {}. If that is meant, say why in the commit \
             and run `cargo xtask counts --update`.",
            loud.join(", ")
        );
    }
    out
}

fn written(rows: &[Row]) -> String {
    let lines = rows.iter().map(|row| format!("{} {:.1}\n", row.case.name, row.count));
    HEAD.chars().chain(lines.collect::<String>().chars()).collect()
}

/// Names and counts of the baseline.
fn read(text: &str) -> Result<Vec<(String, f64)>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    let entry = |(index, line): (usize, &str)| {
        let entry = line.split_once(' ').and_then(|(n, c)| Some((n.into(), c.parse().ok()?)));
        entry.with_context(|| format!("{BASELINE}:{}: not `case count`", index + 1))
    };
    lines.map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, count: f64, before: Option<f64>) -> Row {
        let case = Case { name: name.into(), unit: "frame".into(), rounds: 1 };
        Row { case, count, before }
    }

    #[test]
    fn what_grew_is_marked_and_nothing_else() {
        let rows =
            [row("a", 106.0, Some(100.0)), row("b", 104.0, Some(100.0)), row("c", 9.0, None)];
        let table = table(&rows);
        assert_eq!(table.matches("<== GREW").count(), 1);
        assert!(table.contains("+6.0 %") && table.contains("GREW by more than 5 %: a."), "{table}");
        assert!(super::table(&rows[1..]).contains("no case grew"));
    }

    #[test]
    fn the_baseline_reads_as_it_was_written() {
        let text = written(&[row("rtmp/a", 1234.56, None), row("b", 2.0, None)]);
        let read = read(&text).unwrap();
        assert_eq!(read, [("rtmp/a".to_owned(), 1234.6), ("b".to_owned(), 2.0)]);
        assert!(super::read("a b").unwrap_err().to_string().contains("counts.txt:1"));
    }

    #[test]
    fn the_total_is_found_in_what_valgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 3480066\n==7==\n";
        assert_eq!(collected(said), Some(3_480_066));
        assert_eq!(collected("==7== Fatal error"), None);
    }
}
