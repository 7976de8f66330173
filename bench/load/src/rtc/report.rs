//! What a run has shown: figures for programs, a table for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::counts::Packets;
use crate::report::table::{end, percentiles};
use crate::report::{Failing, Percentiles, Server, Spread, Tool, Verification};

/// The whole result. Every field has its unit in its name.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was played, as written.
    pub play: Option<String>,
    /// What was published, as written.
    pub publish: Option<String>,
    /// The measured window; shorter than planned if the run was interrupted, 0 if it never opened.
    pub window_s: f64,
    /// Interrupted before its end.
    pub interrupted: bool,
    /// The network that was emulated; `None`: the true one alone.
    pub network: Option<Emulated>,
    /// Players.
    pub players: PlayerCounts,
    /// Publishers.
    pub publishers: PublisherCounts,
    /// Received in the window by all players, in megabits a second: whole datagrams, without the
    /// headers of UDP and IP.
    pub mbit_per_s: f64,
    /// RTP packets received in the window by all players, a second.
    pub packets_per_s: f64,
    /// Rate of each player that was there at the end, in the window.
    pub kbit_per_s: Spread,
    /// From the offer to the answer.
    pub answer_ms: Percentiles,
    /// From the answer to the end of the DTLS handshake.
    pub connected_ms: Percentiles,
    /// From the answer to the first RTP packet.
    pub first_packet_ms: Percentiles,
    /// From the answer to the first whole key picture.
    pub first_picture_ms: Percentiles,
    /// What came and what did not, in the window.
    pub window: Packets,
    /// The same in the whole run, joins included.
    pub whole: Packets,
    /// Lost on the way in the window, before repair.
    pub loss_percent: f64,
    /// Lost for good in the window.
    pub loss_after_repair_percent: f64,
    /// Times between whole pictures of over half a second, in the whole run.
    pub freezes: Freezes,
    /// From the move to another socket to the first media there.
    pub resumed_ms: Percentiles,
    /// From a publisher's stamp to the whole picture at a verified player; none without stamps.
    pub latency_ms: Percentiles,
    /// What the players that looked have found.
    pub verification: Verification,
    /// What the server used; `None` without its process.
    pub server: Option<Server>,
    /// What this tool used.
    pub tool: Tool,
    /// What went wrong, in words, and how often.
    pub errors: BTreeMap<String, u64>,
    /// What casts doubt on the figures.
    pub warnings: Vec<String>,
}

/// A network that was emulated, on every client's way, both directions.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Emulated {
    /// Datagrams lost, as asked.
    pub loss_percent: f64,
    /// How long each took.
    pub delay_ms: f64,
    /// Up to so much longer.
    pub jitter_ms: f64,
    /// Of the draws.
    pub seed: u64,
    /// Datagrams that passed.
    pub passed: u64,
    /// Datagrams that were lost in it.
    pub lost: u64,
}

/// How many players.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PlayerCounts {
    /// Wanted.
    pub asked: u64,
    /// Offers sent.
    pub joined: u64,
    /// Connected at the end.
    pub connected: u64,
    /// Had whole pictures up to the end, or media if there are none.
    pub active: u64,
    /// Got less than nine tenths of the median, or nothing.
    pub starved: u64,
    /// Ended, or never came about, against their will.
    pub lost: u64,
    /// Looked at all that they received.
    pub verified: u64,
    /// Took another socket.
    pub moved: u64,
    /// Of those, no media came there.
    pub astray: u64,
}

/// How many publishers, and what they did in the whole run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PublisherCounts {
    /// Wanted.
    pub asked: u64,
    /// Published up to the end.
    pub active: u64,
    /// Ended, or never came about, against their will.
    pub lost: u64,
    /// Packets sent, without retransmissions.
    pub packets: u64,
    /// Pictures sent.
    pub pictures: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Packets that the server asked for again, repetitions among them.
    pub nacks: u64,
    /// Retransmissions sent.
    pub retransmissions: u64,
    /// Asked for, and no longer kept.
    pub too_old: u64,
    /// Key pictures that the server asked for.
    pub plis: u64,
    /// How late the tool sent pictures and sounds.
    pub lateness_ms: Percentiles,
}

/// Times between whole pictures of over half a second.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Freezes {
    /// How many, those that last at the end included.
    pub count: u64,
    /// How long in all.
    pub total_ms: f64,
    /// The longest.
    pub longest_ms: f64,
}

impl Report {
    /// By what the run failed; nothing if all went well.
    pub fn failings(&self) -> Vec<Failing> {
        let found = &self.verification.findings;
        let nobody = self.players.asked > 0 && self.players.active == 0;
        let is = |failing: &Failing| match failing {
            Failing::Lost => self.players.lost + self.players.astray + self.publishers.lost > 0,
            Failing::Starved => self.players.starved > 0 || (nobody && !self.interrupted),
            Failing::Stalled => self.freezes.count > 0,
            Failing::Corrupt => found.is_broken(),
            // Sound is not asked for again, so that what an emulated network takes is gone.
            Failing::Missing => {
                let sure = self.network.is_none() && self.players.moved == 0;
                found.missing > 0 || sure && self.window.unrepaired > 0
            }
        };
        Failing::ALL.into_iter().filter(is).collect()
    }

    /// The whole as JSON, on one line.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The report as lines of text.
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(report, &mut text);
    text
}

fn write(r: &Report, t: &mut String) -> std::fmt::Result {
    if let Some(url) = &r.play {
        writeln!(t, "play        {url}")?;
    }
    if let Some(url) = &r.publish {
        writeln!(t, "publish     {url}")?;
    }
    let cut = if r.interrupted { ", interrupted" } else { "" };
    writeln!(t, "window      {:.1} s{cut}", r.window_s)?;
    if let Some(n) = &r.network {
        writeln!(
            t,
            "network     {} % loss, {} ms and up to {} ms more each way, seed {}; {} datagrams \
             passed, {} lost",
            n.loss_percent, n.delay_ms, n.jitter_ms, n.seed, n.passed, n.lost
        )?;
    }
    if r.publishers.asked > 0 {
        let p = &r.publishers;
        writeln!(
            t,
            "publishers  {} asked, {} active, {} lost; {} packets, {} pictures, {} bytes; {} asked \
             for again, {} retransmissions, {} too old; {} key pictures asked for; sent late p99 \
             {:.1} max {:.1} ms",
            p.asked,
            p.active,
            p.lost,
            p.packets,
            p.pictures,
            p.bytes,
            p.nacks,
            p.retransmissions,
            p.too_old,
            p.plis,
            p.lateness_ms.p99,
            p.lateness_ms.max
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
        match s.kb_per_player {
            Some(kb) => writeln!(t, ", {} kB with players, {kb:.1} kB a player", s.rss_kb)?,
            None => writeln!(t, ", {} kB after", s.rss_kb)?,
        }
    }
    end(&r.tool, &r.errors, &r.warnings, r.failings(), t)
}

fn players(r: &Report, t: &mut String) -> std::fmt::Result {
    let p = &r.players;
    writeln!(
        t,
        "players     {} asked, {} connected, {} active, {} starved, {} lost",
        p.asked, p.connected, p.active, p.starved, p.lost
    )?;
    let rate = &r.kbit_per_s;
    writeln!(
        t,
        "received    {:.1} Mbit/s, {:.0} packets/s; a player min {:.1} p50 {:.1} max {:.1} kbit/s",
        r.mbit_per_s, r.packets_per_s, rate.min, rate.p50, rate.max
    )?;
    for (name, times) in [
        ("answer      ", &r.answer_ms),
        ("connected   ", &r.connected_ms),
        ("first packet ", &r.first_packet_ms),
        ("key picture ", &r.first_picture_ms),
        ("latency     ", &r.latency_ms),
    ] {
        if times.count > 0 {
            writeln!(t, "{name}{}", percentiles(times))?;
        }
    }
    for (name, n) in [("packets     ", &r.window), ("  whole run ", &r.whole)] {
        writeln!(
            t,
            "{name}{} received, {} missing ({:.3} %), {} late by themselves, {} repaired, {} \
             of sound filled by redundancy, {} \
             never came ({:.3} %); {} asked for, {} retransmissions, {} repeated, {} key pictures \
             asked for",
            n.received,
            n.missing,
            n.loss_percent(),
            n.reordered,
            n.recovered,
            n.redundant,
            n.unrepaired,
            n.loss_after_repair_percent(),
            n.nacks,
            n.retransmissions,
            n.repeated,
            n.plis
        )?;
        if n.strange > 0 {
            writeln!(t, "            {} that belong to no stream or cannot be read", n.strange)?;
        }
    }
    let f = &r.freezes;
    writeln!(
        t,
        "freezes     {} ({:.0} ms in all, the longest {:.0} ms); {} pictures",
        f.count, f.total_ms, f.longest_ms, r.whole.pictures
    )?;
    if p.moved > 0 {
        writeln!(
            t,
            "moved       {} players, {} of them without media since; media again {}",
            p.moved,
            p.astray,
            percentiles(&r.resumed_ms)
        )?;
    }
    let (v, f) = (&r.verification, &r.verification.findings);
    writeln!(
        t,
        "verified    {} of {} players: {} frames, {} pictures compared; {} corrupt, {} missing, \
         {} repeated, {} out of order, {} times back, {} unreadable",
        v.players,
        p.asked,
        f.frames,
        f.stamped,
        f.corrupt,
        f.missing,
        f.repeated,
        f.reordered,
        f.backwards,
        f.unreadable
    )
}
