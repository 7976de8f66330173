//! Reports to a central server that this one is there (`heartbeat`).
//!
//! [`run`] is one task of the control runtime. One report is on its way at a time; what comes back
//! is not looked at. That the other side cannot be reached is said once, and once that it can be
//! again; between them a counter goes on.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gate::Host;
use gate::conf::{Config, Section};
use serde_json::{Map, Value, json};

use crate::api::json::text;
use crate::api::v1::system::summary;
use crate::hooks::call::{Wires, agent, shown};
use crate::hooks::post::Post;
use crate::metrics::text::{Text, Type};
use crate::sampler::Figures;

/// For one report, as with SRS.
const LIMIT: Duration = Duration::from_secs(30);
/// How often the task looks whether a report is due, and whether a reload has changed that.
const TICK: Duration = Duration::from_secs(1);

/// What came of the reports.
#[derive(Debug, Default)]
pub(crate) struct Beats {
    ok: AtomicU64,
    failed: AtomicU64,
}

impl Beats {
    /// Adds the figures to `/metrics`.
    pub(crate) fn render(&self, out: &mut Text) {
        let name = "millrace_heartbeats_total";
        let help = "Reports to a central server: ok, answered; failed, not answered.";
        out.family(name, help, Type::Counter);
        for (result, count) in [("ok", &self.ok), ("failed", &self.failed)] {
            out.sample(name, &[("result", result)], count.load(Relaxed));
        }
    }
}

/// What the configuration says about reports. A change makes one due at once.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    url: String,
    interval: Duration,
    device_id: String,
    summaries: bool,
    ports: bool,
    authorization: Option<String>,
}

impl Plan {
    /// `None`: nobody wants reports.
    fn read(config: &Config) -> Option<Self> {
        let section = config.root().section("heartbeat");
        if !section.bool("enabled") {
            return None;
        }
        Some(Self {
            url: section.str("url").to_owned(),
            // The loader refuses less.
            interval: section.seconds("interval").max(TICK),
            device_id: section.str("device_id").to_owned(),
            summaries: section.bool("summaries"),
            ports: section.bool("ports"),
            authorization: authorization(&section),
        })
    }
}

fn authorization(section: &Section<'_>) -> Option<String> {
    if !section.bool("auth.enabled") {
        return None;
    }
    Some(match section.str("auth.type") {
        "bearer" => format!("Bearer {}", section.str("auth.token")),
        _ => {
            let pair = format!("{}:{}", section.str("auth.username"), section.str("auth.password"));
            format!("Basic {}", STANDARD.encode(pair))
        }
    })
}

/// Reports for as long as it is polled; spawn it on [`Host::control`] when all ports are open.
pub async fn run(host: Arc<Host>, figures: Arc<Figures>) {
    let wires = Wires::default();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last: Option<(Plan, Instant)> = None;
    let mut fine: Option<bool> = None;
    loop {
        ticks.tick().await;
        let config = host.config();
        let Some(plan) = Plan::read(&config) else {
            (last, fine) = (None, None);
            continue;
        };
        if last.as_ref().is_some_and(|(old, at)| *old == plan && at.elapsed() < plan.interval) {
            continue;
        }
        let begun = Instant::now();
        let agent = agent(&host.identity);
        let post = Post {
            url: &plan.url,
            agent: &agent,
            authorization: plan.authorization.as_deref(),
            content_type: "application/json",
            headers: &[],
            ca_file: "",
            body: body(&plan, &host, &config, &figures).into(),
        };
        let sent = post.send(&wires, LIMIT).await;
        let beats = &figures.heartbeats;
        let count = if sent.is_ok() { &beats.ok } else { &beats.failed };
        count.fetch_add(1, Relaxed);
        let changed = fine != Some(sent.is_ok());
        fine = Some(sent.is_ok());
        let url = shown(&plan.url);
        match sent {
            Err(e) if changed => tracing::warn!(
                "heartbeat: {url} is not told that this server is there, until it is said here \
                 again: {e}"
            ),
            Ok(_) if changed => tracing::info!(
                "heartbeat: {url} is told every {} s that this server is there",
                plan.interval.as_secs()
            ),
            _ => {}
        }
        last = Some((plan, begun));
    }
}

/// The report, key by key in the order of SRS.
fn body(plan: &Plan, host: &Host, config: &Config, figures: &Figures) -> String {
    let id = &host.identity;
    let mut map = Map::new();
    for (key, value) in [
        ("device_id", plan.device_id.as_str()),
        ("ip", &own_address(config)),
        ("server", &id.server_id),
        ("service", &id.service_id),
        ("pid", &id.pid),
    ] {
        map.insert(key.to_owned(), json!(value));
    }
    if plan.summaries {
        map.insert("summaries".to_owned(), json!({ "data": summary(host, figures) }));
    }
    if plan.ports {
        let root = config.root();
        let words = |path: &str| json!(root.list(path));
        map.insert("rtmp".to_owned(), words("listen"));
        for (key, block) in [("http", "http_server"), ("api", "http_api")] {
            if root.bool(&format!("{block}.enabled")) {
                map.insert(key.to_owned(), words(&format!("{block}.listen")));
            }
        }
    }
    text(&Value::Object(map))
}

/// The address that this machine is known by: `SRS_DEVICE_IP`, or the one that `stats.network`
/// counts off; empty where there is none.
fn own_address(config: &Config) -> String {
    if let Some(told) = config.variable("SRS_DEVICE_IP") {
        return told.to_owned();
    }
    let index = usize::try_from(config.root().int("stats.network")).unwrap_or(0);
    let all = addresses();
    all.get(index).or(all.first()).map(IpAddr::to_string).unwrap_or_default()
}

/// Addresses of the interfaces that are up, those of IPv4 first, loopback last.
fn addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let mut all: Vec<IpAddr> = interfaces
        .filter(|one| one.flags.contains(nix::net::if_::InterfaceFlags::IFF_UP))
        .filter_map(|one| {
            let address = one.address?;
            let four = address.as_sockaddr_in().map(|at| IpAddr::V4(at.ip()));
            four.or_else(|| address.as_sockaddr_in6().map(|at| IpAddr::V6(at.ip())))
        })
        .collect();
    all.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::stub;

    fn report(pairs: &[(&str, &str)]) -> Value {
        let stub = stub(pairs);
        let config = stub.host.config();
        let plan = Plan::read(&config).unwrap();
        serde_json::from_str(&body(&plan, &stub.host, &config, &stub.figures)).unwrap()
    }

    #[test]
    fn nobody_is_told_unless_it_is_enabled() {
        assert_eq!(Plan::read(&stub(&[]).host.config()), None);
    }

    #[test]
    fn ports_are_told_of_what_is_enabled_alone() {
        let mut pairs = vec![
            ("heartbeat.enabled", "on"),
            ("heartbeat.ports", "on"),
            ("listen", "1935 127.0.0.1:1936"),
            ("http_server.listen", "8080"),
            ("http_api.enabled", "on"),
        ];
        let told = report(&pairs);
        assert_eq!(told["rtmp"], json!(["1935", "127.0.0.1:1936"]));
        assert_eq!((&told["api"], told.get("http")), (&json!(["1985"]), None));
        pairs.push(("http_server.enabled", "on"));
        assert_eq!(report(&pairs)["http"], json!(["8080"]));
    }

    #[test]
    fn the_summary_is_that_of_the_api() {
        let told = report(&[("heartbeat.enabled", "on"), ("heartbeat.summaries", "on")]);
        assert!(told["summaries"]["data"]["self"]["srs_uptime"].is_u64(), "{told}");
        assert!(told.get("rtmp").is_none());
    }

    #[test]
    fn it_identifies_as_configured() {
        let of = |pairs: &[(&str, &str)]| {
            let mut all = vec![("heartbeat.enabled", "on")];
            all.extend(pairs);
            Plan::read(&stub(&all).host.config()).unwrap().authorization
        };
        assert_eq!(of(&[("heartbeat.auth.token", "t")]), None);
        let on = ("heartbeat.auth.enabled", "on");
        let basic = of(&[
            on,
            ("heartbeat.auth.username", "Aladdin"),
            ("heartbeat.auth.password", "opensesame"),
        ]);
        assert_eq!(basic.unwrap(), "Basic QWxhZGRpbjpvcGVuc2VzYW1l");
        let bearer = of(&[on, ("heartbeat.auth.type", "bearer"), ("heartbeat.auth.token", "t")]);
        assert_eq!(bearer.unwrap(), "Bearer t");
    }
}
