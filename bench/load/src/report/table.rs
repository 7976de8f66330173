//! The report for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Failing, Latency, Percentiles, Report, Tool};

/// The widest bar of a histogram.
const BAR: u64 = 40;

/// The report as lines of text.
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(report, &mut text);
    text
}

fn write(r: &Report, t: &mut String) -> std::fmt::Result {
    for url in &r.play {
        writeln!(t, "play        {url}")?;
    }
    if let Some(url) = &r.publish {
        writeln!(t, "publish     {url}")?;
    }
    let cut = if r.interrupted { ", interrupted" } else { "" };
    writeln!(t, "window      {:.1} s{cut}", r.window_s)?;
    if r.publishers.asked > 0 {
        let p = &r.publishers;
        writeln!(
            t,
            "publishers  {} asked, {} active, {} lost; {} pictures, {}; sent late p50 {:.1} p99 \
             {:.1} max {:.1} ms",
            p.asked,
            p.active,
            p.lost,
            p.pictures,
            bytes(p.bytes),
            p.lateness_ms.p50,
            p.lateness_ms.p99,
            p.lateness_ms.max,
        )?;
    }
    if r.players.asked > 0 {
        players(r, t)?;
    }
    if let Some(s) = &r.server {
        write!(t, "server      ")?;
        if let Some(us) = s.us_per_mbit {
            write!(t, "{us:.1} us/Mbit, ")?;
        }
        write!(t, "{:.1} % of a core; memory {} kB before", s.core_percent, s.rss_before_kb)?;
        match (s.kb_per_player, Some(&r.publishers).filter(|p| p.active > 0)) {
            (Some(kb), _) => writeln!(t, ", {} kB with players, {kb:.1} kB a player", s.rss_kb)?,
            (None, Some(p)) => {
                let grown = s.rss_kb.saturating_sub(s.rss_before_kb) as f64;
                let each = grown / p.active as f64;
                writeln!(t, ", {} kB with publishers, {each:.1} kB a publisher", s.rss_kb)?;
            }
            (None, None) => writeln!(t, ", {} kB after", s.rss_kb)?,
        }
    }
    end(&r.tool, &r.errors, &r.warnings, r.failings(), t)
}

/// What stands under every report: the tool's own use, what went wrong, and the result.
pub(crate) fn end(
    tool: &Tool,
    errors: &BTreeMap<String, u64>,
    warnings: &[String],
    failings: Vec<Failing>,
    t: &mut String,
) -> std::fmt::Result {
    let cores: Vec<String> = tool.cores_percent.iter().map(|c| format!("{c:.0}")).collect();
    writeln!(
        t,
        "this tool   {:.1} % of a core in {} thread{} (the busiest {:.1} %), loop p99 {:.1} max \
         {:.1} ms, {} kB; cores busy {} %",
        tool.core_percent,
        tool.threads,
        plural(u64::from(tool.threads)),
        tool.busiest_percent,
        tool.lag_ms.p99,
        tool.lag_ms.max,
        tool.rss_kb,
        cores.join(" "),
    )?;
    for (what, count) in errors {
        writeln!(t, "error       {count} times: {what}")?;
    }
    for warning in warnings {
        writeln!(t, "warning     {warning}")?;
    }
    let failings: Vec<_> = failings.into_iter().map(Failing::name).collect();
    if failings.is_empty() {
        writeln!(t, "result      well")
    } else {
        writeln!(t, "result      failed by: {}", failings.join(", "))
    }
}

fn players(r: &Report, t: &mut String) -> std::fmt::Result {
    let p = &r.players;
    write!(
        t,
        "players     {} asked, {} connected, {} active, {} starved, {} lost",
        p.asked, p.connected, p.active, p.starved, p.lost
    )?;
    if p.left > 0 {
        write!(t, "; {} joined and {} left in all", p.joined, p.left)?;
    }
    if p.slow > 0 {
        write!(t, "; {} slow", p.slow)?;
    }
    writeln!(t)?;
    let rate = &r.kbit_per_s;
    writeln!(
        t,
        "received    {:.1} Mbit/s, {} in all; a player min {:.1} p50 {:.1} max {:.1} kbit/s",
        r.mbit_per_s,
        bytes(r.bytes),
        rate.min,
        rate.p50,
        rate.max
    )?;
    if r.segments > 0 {
        writeln!(t, "segments    {}", r.segments)?;
    }
    writeln!(t, "first frame {}", percentiles(&r.first_frame_ms))?;
    let s = &r.stalls;
    writeln!(
        t,
        "stalls      {} ({} players in the window), the longest {:.0} ms",
        s.count, s.players, s.longest_ms
    )?;
    if let Some(latency) = &r.latency_ms {
        delays(latency, t)?;
    }
    let (v, f) = (&r.verification, &r.verification.findings);
    writeln!(
        t,
        "verified    {} of {} players: {} frames, {} pictures and {} sounds compared; {} corrupt, \
         {} missing, {} repeated, {} out of order, {} times back, {} unreadable",
        v.players,
        p.asked,
        f.frames,
        f.stamped,
        f.sounds,
        f.corrupt,
        f.missing,
        f.repeated,
        f.reordered,
        f.backwards,
        f.unreadable
    )?;
    if f.skipped > 0 {
        writeln!(t, "            {} pictures skipped for slow players", f.skipped)?;
    }
    Ok(())
}

fn delays(latency: &Latency, t: &mut String) -> std::fmt::Result {
    writeln!(t, "latency     {}", percentiles(&latency.all))?;
    if latency.first.count > 0 {
        writeln!(t, "  joined first {}", percentiles(&latency.first))?;
    }
    if latency.last.count > 0 {
        writeln!(t, "  joined last  {}", percentiles(&latency.last))?;
    }
    let most = latency.histogram.iter().map(|bar| bar.count).max().unwrap_or(1).max(1);
    for bar in &latency.histogram {
        let marks = (bar.count * BAR).div_ceil(most) as usize;
        let line = format!("  <= {:>9.3} ms {:>9} {}", bar.up_to_ms, bar.count, "#".repeat(marks));
        writeln!(t, "{}", line.trim_end())?;
    }
    Ok(())
}

pub(crate) fn percentiles(p: &Percentiles) -> String {
    format!(
        "p50 {:.2} p90 {:.2} p99 {:.2} p99.9 {:.2} max {:.2} ms ({})",
        p.p50, p.p90, p.p99, p.p999, p.max, p.count
    )
}

/// Bytes in the unit that fits.
fn bytes(n: u64) -> String {
    let n = n as f64;
    match n {
        ..1e6 => format!("{:.1} kB", n / 1e3),
        ..1e9 => format!("{:.1} MB", n / 1e6),
        _ => format!("{:.2} GB", n / 1e9),
    }
}

const fn plural(n: u64) -> &'static str {
    if n == 1 { "" } else { "s" }
}
