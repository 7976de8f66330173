//! `/metrics` in the text format of Prometheus (version 0.0.4).
//!
//! [`render`] collects the figures at the moment they are asked for: nothing is registered and
//! nothing is counted twice. Names that begin with `srs_` are those of SRS's exporter; ours begin
//! with `millrace_`. Counters never go back, also when the stream they came from has gone.

pub(crate) mod text;
mod traffic;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use gate::Host;

use crate::api::build_date;
use crate::sampler::Figures;
use crate::sampler::ledger::is_listed;
use text::Type::{Counter, Gauge, Histogram};
use text::{Family, Text};

/// The whole text.
pub fn render(host: &Host, figures: &Figures) -> String {
    let mut out = Text::default();
    fill(&mut out, host, figures);
    out.finish()
}

/// The same, not as text.
pub(crate) fn families(host: &Host, figures: &Figures) -> Vec<Family> {
    let mut out = Text::keeping();
    fill(&mut out, host, figures);
    out.into_families()
}

fn fill(out: &mut Text, host: &Host, figures: &Figures) {
    let streams = host.hub.all();
    let sessions = host.sessions.all();
    let sample = figures.sample();
    let (totals, lag_jumps) = {
        let ledger = figures.ledger();
        (ledger.totals(&streams), ledger.lag_jumps(&sessions))
    };
    let live = streams.iter().filter(|s| is_listed(s)).count() as u64;
    let active = streams.iter().filter(|s| s.is_active()).count() as u64;

    identity(out, host);
    let percent = sample.process_percent * 100.0;
    out.one(
        "srs_cpu_percent",
        "Processor use of the server, 100 is one processor.",
        Gauge,
        percent,
    );
    out.one("srs_memory", "Resident memory of the server in kB.", Gauge, sample.rss_kb);
    out.one("srs_send_bytes_total", "Bytes sent to players.", Counter, totals.send);
    out.one("srs_receive_bytes_total", "Bytes received from publishers.", Counter, totals.recv);
    out.one("srs_streams", "Live streams.", Gauge, live);
    out.one("srs_clients", "Publishers and players.", Gauge, sessions.len() as u64);
    let all = host.sessions.total.load(Relaxed);
    out.one("srs_clients_total", "Sessions since the start.", Counter, all);
    let errors = host.sessions.errors.load(Relaxed);
    out.one("srs_clients_errs_total", "Sessions that ended by an error.", Counter, errors);

    let uptime = figures.uptime().as_secs_f64();
    out.one("millrace_uptime_seconds", "Seconds since the start.", Gauge, uptime);
    out.one("millrace_streams_published", "Streams with a publisher.", Gauge, active);
    out.family("millrace_clients", "Publishers and players by kind.", Gauge);
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for info in &sessions {
        let kind = info.detail().map_or("", |d| d.kind);
        let count = kinds.entry(if kind.is_empty() { "Unknown" } else { kind }).or_default();
        *count = count.saturating_add(1);
    }
    for (kind, count) in kinds {
        out.sample("millrace_clients", &[("kind", kind)], count);
    }
    let open = host.connections.load(Relaxed) as u64;
    out.one("millrace_connections", "Open TCP connections.", Gauge, open);
    let refused = host.refused.load(Relaxed);
    let help = "Connections refused by max_connections or max_connections_per_ip.";
    out.one("millrace_connections_refused_total", help, Counter, refused);
    let name = "millrace_refused_total";
    let help = "Wishes to publish or play that were refused: vhost, there is none; busy, somebody \
                publishes; security, refer, key, sign, jwt, that rule says no; auth, nothing was \
                shown; session, a file of HLS without one; denied, a callback says no; limit; \
                unavailable.";
    out.family(name, help, Counter);
    for (direction, reason, count) in host.refusals.all() {
        out.sample(name, &[("direction", direction), ("reason", reason)], count);
    }
    let name = "millrace_recordings_total";
    let help = "Recordings: finished, files that have their name; failed, ended early or not begun \
                as the disk did not take them; refused, their file is there already; lost_frames, \
                frames that the disk was too slow for.";
    out.family(name, help, Counter);
    for (result, count) in host.recordings.counts() {
        out.sample(name, &[("result", result)], count);
    }
    let open = host.recordings.len() as u64;
    out.one("millrace_recordings", "Files that are being recorded.", Gauge, open);
    let help = "Times a slow player was moved forward.";
    out.one("millrace_lag_jumps_total", help, Counter, lag_jumps);
    let name = "millrace_dropped_messages_total";
    let help = "Messages not delivered: lag, a slow player jumped over them; inbox, a shard had \
                too much to do.";
    out.family(name, help, Counter);
    out.sample(name, &[("reason", "lag")], totals.dropped_lag);
    out.sample(name, &[("reason", "inbox")], totals.dropped_inbox);
    let name = "millrace_dropped_datagrams_total";
    let help = "Datagrams that came to nothing, by gate and reason: stranger, of no session; \
                forged, without the password; inbox_full, a shard had too much to do; no_room, the \
                kernel took no more; and so on.";
    out.family(name, help, Counter);
    for (gate, reason, count) in host.drops() {
        out.sample(name, &[("gate", gate), ("reason", reason)], count);
    }
    let help = "Times the timeline of a stream was anchored anew.";
    out.one("millrace_discontinuities_total", help, Counter, totals.discontinuities);
    let listeners = figures.events.listeners() as u64;
    out.one("millrace_event_listeners", "Listeners of `/api/v2/events`.", Gauge, listeners);
    let help = "Events that listeners were too slow for.";
    out.one("millrace_events_lost_total", help, Counter, figures.events.lost());
    shards(out, host);
    let help = "0 calm, 1 high, 2 critical, 3 new sessions are refused (circuit_breaker).";
    out.one("millrace_overload_level", help, Gauge, u64::from(host.overload()));
    waits(out, host);
    traffic::vhosts(out, figures, &streams);
    if host.config().root().bool("exporter.streams") {
        traffic::streams(out, figures, &streams);
    }
    figures.hooks.render(out);
    figures.programs.render(out);
    if let Some(forwards) = &figures.forwards {
        forwards.render(out);
    }
    figures.heartbeats.render(out);
    figures.telemetry.render(out);
}

fn identity(out: &mut Text, host: &Host) {
    let uname = rustix::system::uname();
    let words = [
        ("sysname", uname.sysname()),
        ("nodename", uname.nodename()),
        ("release", uname.release()),
        ("version", uname.version()),
        ("machine", uname.machine()),
    ]
    .map(|(name, value)| (name, value.to_string_lossy()));
    let labels: Vec<(&str, &str)> = words.iter().map(|(n, v)| (*n, v.as_ref())).collect();
    out.family("srs_node_uname_info", "The machine.", Gauge);
    out.sample("srs_node_uname_info", &labels, 1u64);

    let id = &host.identity;
    let config = host.config();
    let root = config.root();
    let (major, minor, revision) = id.compat_version;
    let (version, major) = (format!("{major}.{minor}.{revision}"), major.to_string());
    let date = build_date();
    let code = format!("millrace/{}", id.version);
    let mut labels = vec![
        ("server", id.server_id.as_str()),
        ("service", &id.service_id),
        ("pid", &id.pid),
        ("build_date", &date),
        ("major", &major),
        ("version", &version),
        ("code", &code),
    ];
    let optional = ["label", "tag"].map(|name| (name, root.str(&format!("exporter.{name}"))));
    labels.extend(optional.into_iter().filter(|(_, value)| !value.is_empty()));
    out.family("srs_build_info", "The server.", Gauge);
    out.sample("srs_build_info", &labels, 1u64);
}

fn shards(out: &mut Text, host: &Host) {
    type Read = fn(&hub::ShardStats) -> u64;
    let figures: [(&str, &str, text::Type, Read); 13] = [
        ("sessions", "Sessions on the shard.", Gauge, |s| s.sessions.load(Relaxed) as u64),
        ("subscribers", "Players served from logs.", Gauge, |s| s.subscribers.load(Relaxed) as u64),
        ("renditions", "Wire forms packaged.", Gauge, |s| s.renditions.load(Relaxed) as u64),
        ("log_bytes", "Memory of the logs.", Gauge, |s| s.log_bytes.load(Relaxed) as u64),
        (
            "pace",
            "0: each message is sent at once; 1: each video frame; more: so many groups of players.",
            Gauge,
            |s| u64::from(s.pace.load(Relaxed)),
        ),
        (
            "read_pause_ms",
            "How long messages of a publisher gather before they are read; 0 with few publishers.",
            Gauge,
            |s| u64::from(s.read_pause_ms.load(Relaxed)),
        ),
        (
            "busy_permille",
            "Thousandths of a core that the worker took in the last half second.",
            Gauge,
            |s| u64::from(s.busy_permille.load(Relaxed)),
        ),
        ("sends_total", "Sends to players.", Counter, |s| s.sends.load(Relaxed)),
        ("sent_bytes_total", "Bytes of these.", Counter, |s| s.sent_bytes.load(Relaxed)),
        (
            "batches_total",
            "Calls to the kernel that carried several of these sends (io_uring).",
            Counter,
            |s| s.batches.load(Relaxed),
        ),
        ("batched_sends_total", "Sends carried by them.", Counter, |s| {
            s.batched_sends.load(Relaxed)
        }),
        ("walk_microseconds_total", "Time spent sending.", Counter, |s| s.walk_us.load(Relaxed)),
        ("panics_total", "Sessions ended by a bug.", Counter, |s| s.panics.load(Relaxed)),
    ];
    for (name, help, kind, read) in figures {
        let name = format!("millrace_shard_{name}");
        out.family(&name, help, kind);
        for shard in host.shards() {
            let id = shard.id().to_string();
            out.sample(&name, &[("shard", &id)], read(shard.stats()));
        }
    }
}

/// Microseconds to seconds.
const US: f64 = 1e-6;

fn waits(out: &mut Text, host: &Host) {
    let name = "millrace_admission_seconds";
    out.family(name, "From accept to the permission to publish or play.", Histogram);
    out.histogram(name, &[], &host.admitted_us, 8..25, US);
    type Of = fn(&hub::ShardStats) -> &hub::Histogram;
    let all: [(&str, &str, Of, std::ops::Range<usize>, f64); 2] = [
        (
            "millrace_residence_seconds",
            "Of each walk over players, how long its oldest frame had waited in the server.",
            |s| &s.waited_us,
            6..23,
            US,
        ),
        (
            "millrace_send_bytes",
            "Of each walk over players, the bytes of one send on average.",
            |s| &s.send_size,
            6..23,
            1.0,
        ),
    ];
    for (name, help, of, steps, unit) in all {
        out.family(name, help, Histogram);
        for shard in host.shards() {
            let id = shard.id().to_string();
            out.histogram(name, &[("shard", &id)], of(shard.stats()), steps.clone(), unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::{frame, publish, stub};

    #[test]
    fn every_sample_follows_the_type_of_its_family() {
        let stub = stub(&[("exporter.label", "a\"b"), ("exporter.streams", "on")]);
        let _stream = publish(&stub, "livestream", &[frame(100)]);
        let player = stub.host.sessions.open("rtmp", ([127, 0, 0, 1], 1).into());
        player.identify(gate::Detail { kind: "rtmp-play", ..Default::default() }, None);
        let text = render(&stub.host, &stub.figures);
        let mut typed = "";
        let mut families = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                typed = rest.split(' ').next().unwrap();
                assert!(!families.contains(&typed), "{typed} twice");
                families.push(typed);
                if rest.ends_with(" histogram") {
                    continue;
                }
                let is_total = typed.ends_with("_total");
                assert_eq!(is_total, rest.ends_with(" counter"), "{rest}");
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                let part = name.strip_prefix(typed).unwrap_or("?");
                assert!(["", "_bucket", "_sum", "_count"].contains(&part), "{line}");
                let value = line.rsplit(' ').next().unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        for name in [
            "srs_node_uname_info",
            "srs_build_info",
            "srs_cpu_percent",
            "srs_memory",
            "srs_send_bytes_total",
            "srs_receive_bytes_total",
            "srs_streams",
            "srs_clients",
            "srs_clients_total",
            "srs_clients_errs_total",
        ] {
            assert!(families.contains(&name), "{name}");
        }
        assert!(text.contains("srs_receive_bytes_total 100\n"), "{text}");
        assert!(text.contains("millrace_clients{kind=\"rtmp-play\"} 1\n"));
        assert!(text.contains("label=\"a\\\"b\""));
        assert!(text.contains("millrace_shard_pace{shard=\"0\"} "));
        assert!(text.contains("millrace_stream_published{vhost=\"__defaultVhost__\",app=\"live\",stream=\"livestream\"} 1\n"));
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn streams_are_told_one_by_one_only_when_asked_for() {
        let stub = stub(&[]);
        let _stream = publish(&stub, "livestream", &[frame(100)]);
        let text = render(&stub.host, &stub.figures);
        assert!(!text.contains("millrace_stream_"), "{text}");
        assert!(
            text.contains("millrace_vhost_receive_bytes_total{vhost=\"__defaultVhost__\"} 100\n")
        );
    }

    /// Names of metrics in an expression: words that begin as ours and SRS's do.
    fn metrics_in(expression: &str) -> Vec<&str> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = expression.split(|c: char| !is_word(c));
        words.filter(|w| w.starts_with("millrace_") || w.starts_with("srs_")).collect()
    }

    #[test]
    fn the_dashboard_asks_only_for_metrics_that_exist() {
        let stub = stub(&[("exporter.streams", "on")]);
        let _stream = publish(&stub, "livestream", &[frame(100)]);
        let player = stub.host.sessions.open("rtmp", ([127, 0, 0, 1], 1).into());
        player.identify(gate::Detail { kind: "rtmp-play", ..Default::default() }, None);
        let text = render(&stub.host, &stub.figures);
        let known: Vec<&str> = text.lines().filter_map(|l| l.split(['{', ' ']).next()).collect();
        let board = include_str!("../../../docs/grafana.json");
        let board: serde_json::Value = serde_json::from_str(board).unwrap();
        let mut seen = 0;
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = target["expr"].as_str().unwrap();
                let names = metrics_in(expression);
                assert!(!names.is_empty(), "{expression}");
                for name in names {
                    assert!(known.contains(&name), "{name} of {expression}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 20);
    }
}
