//! Sends what has gathered.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use gate::Host;
use gate::conf::Config;
use percent_encoding::percent_decode_str;

use super::proto::Value;
use super::span::nanos;
use super::{Signal, Telemetry, figures, span};
use crate::hooks::call::{Wires, shown};
use crate::hooks::post::{Answer, Post};
use crate::metrics;
use crate::sampler::Figures;

/// For one export, as the exporters of OpenTelemetry have it.
const LIMIT: Duration = Duration::from_secs(10);
/// For the last one, when the server stops.
const LAST: Duration = Duration::from_secs(1);
/// How often it is looked whether one is due.
const TICK: Duration = Duration::from_secs(1);
/// Headers and attributes that are taken; collectors want one or two.
const MOST: usize = 64;

/// What the configuration says.
struct Plan {
    endpoint: String,
    headers: Vec<(String, String)>,
    resource: Vec<(String, Value)>,
    interval: Duration,
    ca_file: String,
    version: String,
}

/// Pairs as the environment of OpenTelemetry has them: `name=value,name=value`, values with escapes.
fn pairs(words: &[&str]) -> Vec<(String, String)> {
    let all = words.iter().flat_map(|word| word.split(','));
    let pair = |text: &str| {
        let (name, value) = text.trim().split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8_lossy().into_owned();
        (!name.trim().is_empty()).then(|| (name.trim().to_owned(), value))
    };
    all.filter_map(pair).take(MOST).collect()
}

impl Plan {
    /// `None`: nothing is sent.
    fn read(config: &Config, host: &Host) -> Option<Self> {
        let section = config.root().section("opentelemetry");
        if !section.bool("enabled") {
            return None;
        }
        let identity = &host.identity;
        let mut resource: Vec<(String, Value)> = vec![
            ("service.name".to_owned(), section.str("service").into()),
            ("service.version".to_owned(), identity.version.into()),
            ("service.instance.id".to_owned(), identity.service_id.as_str().into()),
            ("millrace.server_id".to_owned(), identity.server_id.as_str().into()),
            ("process.pid".to_owned(), u64::from(std::process::id()).into()),
        ];
        let own = pairs(&section.list("attributes")).into_iter();
        // What the operator says of the server counts.
        for (name, value) in own {
            resource.retain(|(known, _)| *known != name);
            resource.push((name, value.into()));
        }
        Some(Self {
            endpoint: section.str("endpoint").trim_end_matches('/').to_owned(),
            headers: pairs(&section.list("headers")),
            resource,
            interval: section.seconds("interval").max(TICK),
            ca_file: section.str("ca_file").to_owned(),
            version: identity.version.to_owned(),
        })
    }
}

/// Sends for as long as it is polled; spawn it on [`Host::control`].
pub async fn run(host: Arc<Host>, telemetry: Telemetry, figures: Arc<Figures>) {
    let wires = Wires::default();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        ticks.tick().await;
        let Some(plan) = Plan::read(&host.config(), &host) else { continue };
        let due = last.elapsed() >= plan.interval;
        if !due && !telemetry.is_full() {
            continue;
        }
        telemetry.send_traces(&wires, &plan, LIMIT).await;
        if due {
            last = Instant::now();
            telemetry.send_metrics(&wires, &plan, &host, &figures).await;
        }
    }
}

impl Telemetry {
    /// Sends the spans that have gathered, at the end of the process, when all sessions have gone.
    pub async fn flush(&self, host: &Host) {
        if let Some(plan) = Plan::read(&host.config(), host) {
            self.send_traces(&Wires::default(), &plan, LAST).await;
        }
    }

    async fn send_traces(&self, wires: &Wires, plan: &Plan, limit: Duration) {
        let spans = self.take();
        if !spans.is_empty() {
            let body = span::request(&plan.resource, &plan.version, &spans);
            drop(spans);
            self.send(Signal::Traces, wires, plan, body, limit).await;
        }
    }

    async fn send_metrics(&self, wires: &Wires, plan: &Plan, host: &Host, from: &Figures) {
        let (began, now) = (nanos(self.0.began.1), nanos(SystemTime::now()));
        let families = metrics::families(host, from);
        let body = figures::request(&plan.resource, &plan.version, &families, began, now);
        drop(families);
        self.send(Signal::Metrics, wires, plan, body, LIMIT).await;
    }

    async fn send(
        &self,
        signal: Signal,
        wires: &Wires,
        plan: &Plan,
        body: Vec<u8>,
        limit: Duration,
    ) {
        let url = format!("{}/v1/{}", plan.endpoint, signal.word());
        let agent = format!("OTel-OTLP-Exporter-millrace/{}", plan.version);
        let post = Post {
            url: &url,
            agent: &agent,
            authorization: None,
            content_type: "application/x-protobuf",
            headers: &plan.headers,
            ca_file: &plan.ca_file,
            body: body.into(),
        };
        let sent = post.send(wires, limit).await;
        let ok = matches!(&sent, Ok(Answer { status }) if (200..300).contains(status));
        let total = self.count(signal, ok);
        // The first says what is wrong, the powers of two that it goes on.
        if ok || !total.is_power_of_two() {
            return;
        }
        let why = match sent {
            Ok(Answer { status }) => format!("status {status}"),
            Err(error) => error.to_string(),
        };
        let (url, what) = (shown(&url), signal.word());
        tracing::warn!(total, "opentelemetry: {what} do not get to {url} and are lost: {why}");
    }
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn pairs_are_read_from_words_and_from_commas() {
        let wanted = [("a", "b c"), ("d", "e=f"), ("g", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs(&["a=b%20c,d=e=f", "g="]), wanted);
        assert_eq!(pairs(&["", ",,", "=x", "none"]), []);
        let many = "a=b,".repeat(1000);
        assert_eq!(pairs(&[&many]).len(), super::MOST);
    }
}
