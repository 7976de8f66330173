//! Figures of virtual hosts and of single streams.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hub::Stream;

use super::text::Text;
use super::text::Type::{Counter, Gauge};
use crate::sampler::Figures;
use crate::sampler::health::StreamHealth;
use crate::sampler::ledger::{VhostFigures, is_listed};

pub(super) fn vhosts(out: &mut Text, figures: &Figures, streams: &[Arc<Stream>]) {
    let all = figures.ledger().vhosts(streams);
    type Read = fn(&VhostFigures) -> u64;
    let families: [(&str, &str, super::text::Type, Read); 4] = [
        ("clients", "Publishers and players of a virtual host.", Gauge, |v| v.clients as u64),
        ("streams", "Live streams of a virtual host.", Gauge, |v| v.streams as u64),
        ("receive_bytes_total", "Bytes received from its publishers.", Counter, |v| v.totals.recv),
        ("send_bytes_total", "Bytes sent to its players.", Counter, |v| v.totals.send),
    ];
    for (name, help, kind, read) in families {
        let name = format!("millrace_vhost_{name}");
        out.family(&name, help, kind);
        for vhost in &all {
            out.sample(&name, &[("vhost", &vhost.name)], read(vhost));
        }
    }
}

pub(super) fn streams(out: &mut Text, figures: &Figures, streams: &[Arc<Stream>]) {
    let of = |s: &Arc<Stream>| (s.clone(), figures.stream_health(s));
    let all: Vec<(Arc<Stream>, StreamHealth)> =
        streams.iter().filter(|s| is_listed(s)).map(of).collect();
    type Read = fn(&Stream, &StreamHealth) -> f64;
    let families: [(&str, &str, super::text::Type, Read); 11] = [
        ("published", "Somebody publishes the stream.", Gauge, |s, _| {
            f64::from(u8::from(s.is_active()))
        }),
        ("clients", "Its publisher and players.", Gauge, |s, _| {
            s.stats.clients.load(Relaxed) as f64
        }),
        ("receive_bytes_total", "Bytes received from its publishers.", Counter, |s, _| {
            s.stats.recv_bytes.load(Relaxed) as f64
        }),
        ("send_bytes_total", "Bytes sent to its players.", Counter, |s, _| {
            s.stats.send_bytes.load(Relaxed) as f64
        }),
        ("frame_rate", "Pictures a second over the last five seconds.", Gauge, |_, h| {
            h.frame_rate.unwrap_or(0.0)
        }),
        ("speed", "Seconds of media that came in a second; 1 is live.", Gauge, |_, h| {
            h.speed.unwrap_or(0.0)
        }),
        ("jitter_seconds", "How unevenly frames arrive.", Gauge, |_, h| h.jitter_ms / 1000.0),
        ("gop_seconds", "From one key picture to the next.", Gauge, |_, h| h.gop_seconds),
        ("lag_dropped_total", "Messages that slow players jumped over.", Counter, |_, h| {
            h.dropped.lag as f64
        }),
        ("inbox_dropped_total", "Frames that a worker had no room for.", Counter, |_, h| {
            h.dropped.inbox as f64
        }),
        ("discontinuities_total", "Times its timestamps leapt.", Counter, |_, h| {
            h.discontinuities as f64
        }),
    ];
    for (name, help, kind, read) in families {
        let name = format!("millrace_stream_{name}");
        out.family(&name, help, kind);
        for (s, health) in &all {
            out.sample(&name, &labels(s), read(s, health));
        }
    }
    let name = "millrace_stream_verdict";
    out.family(name, "1 for what holds of its health: ok, encoder, network …", Gauge);
    for (s, health) in &all {
        let [vhost, app, stream] = labels(s);
        let verdict = ("verdict", health.verdict.word());
        out.sample(name, &[vhost, app, stream, verdict], 1u64);
    }
}

fn labels(s: &Stream) -> [(&str, &str); 3] {
    [("vhost", &s.key.vhost), ("app", &s.key.app), ("stream", &s.key.name)]
}
