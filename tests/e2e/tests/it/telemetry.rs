//! OpenTelemetry: what a collector gets to see, and that one which is dead costs nothing.

use std::net::TcpListener;
use std::time::Duration;

use e2e::collector::{Collector, Span};
use e2e::own::{self, Clip, runs_on};
use e2e::web::{Say, Web};
use e2e::{Result, Server, Start, ensure, http, until};

fn config(collector: &str, web: &str, more: &str) -> String {
    format!(
        "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
         http_api {{ enabled on; listen API; }}\nhttp_server {{ enabled on; listen HTTP; }}\n\
         opentelemetry {{ enabled on; endpoint {collector}/; interval 1; {more} }}\n\
         vhost __defaultVhost__ {{ http_remux {{ enabled on; }}\n\
         http_hooks {{ enabled on; on_connect {web}; on_publish {web}; on_play {web}; on_stop {web}; }} }}\n"
    )
}

fn publish(server: &Server, name: &str) -> Result<own::Publisher> {
    own::publish(server, name, Clip::card()?, |_, at| at)
}

fn id(server: &Server, kind: &str) -> Result<String> {
    let mut found = None;
    until("nobody is listed", || {
        let all = server.clients(kind).ok()?;
        found = all.first()?.get("id")?.as_str().map(str::to_owned);
        found.clone()
    })
}

fn of<'a>(session: &'a str, name: &'a str) -> impl Fn(&Span) -> bool + 'a {
    move |span| span.get("session.id") == session && span.name == name
}

#[test]
fn a_collector_sees_sessions_their_parts_and_callbacks() -> Result<()> {
    let collector = Collector::start()?;
    let web = Web::start(|_| Say::Yes)?;
    let more = "service stage; attributes deployment.environment.name=test; \
                headers authorization=Bearer%20letmein;";
    let text = config(&collector.url(), &format!("{}?token=hidden1", web.url()), more);
    let server = Start::config("telemetry", &text).ready()?;
    let publisher = publish(&server, "live/s?key=hidden2")?;
    let session = id(&server, "fmle-publish")?;
    own::play(&server, "live/s", Duration::from_secs(1))?;
    drop(publisher);

    let root = collector.span("the session", of(&session, "rtmp session"))?;
    ensure!(root.parent.is_empty() && root.kind == 2 && root.error.is_none(), "{root:?}");
    for (key, value) in [
        ("millrace.gate", "rtmp"),
        ("millrace.kind", "fmle-publish"),
        ("millrace.vhost", "__defaultVhost__"),
        ("millrace.app", "live"),
        ("millrace.stream", "s"),
        ("network.peer.address", "127.0.0.1"),
        ("millrace.fault", "nobody"),
    ] {
        ensure!(root.get(key) == value, "{key}: {root:#?}");
    }
    // A program that is stopped closes its connection, or breaks it where bytes are on their way.
    let reason = root.get("millrace.reason");
    let left = ["the client closed the connection", "the connection broke"];
    ensure!(left.iter().any(|words| reason.starts_with(words)), "{root:#?}");
    ensure!(root.get("millrace.received_bytes").parse::<u64>()? > 10_000, "{root:#?}");
    let seconds = root.ended.saturating_sub(root.begun) as f64 / 1e9;
    ensure!((1.0..60.0).contains(&seconds), "it took {seconds} s");
    for (key, value) in [("service.name", "stage"), ("deployment.environment.name", "test")] {
        ensure!(root.resource.get(key).map(String::as_str) == Some(value), "{:?}", root.resource);
    }

    let part = collector.span("its publishing", of(&session, "publish"))?;
    ensure!(part.trace == root.trace && part.parent == root.id && part.kind == 1, "{part:?}");
    ensure!(root.begun <= part.begun && part.get("millrace.stream") == "s", "{part:?}");
    for name in ["on_connect", "on_publish"] {
        let hook = collector.span(name, of(&session, name))?;
        ensure!(hook.trace == root.trace && hook.parent == root.id && hook.kind == 3, "{hook:?}");
        ensure!(hook.get("millrace.outcome") == "yes" && hook.error.is_none(), "{hook:?}");
        ensure!(hook.get("url.full") == web.url(), "{hook:?}");
        ensure!(hook.begun >= root.begun && hook.ended <= part.begun.max(hook.ended), "{hook:?}");
        // The callback's server was told whose part its work is.
        let call = web.wait(name, |call| {
            call.action() == name && call.text("client_id") == session.as_str()
        })?;
        let wanted = format!("00-{}-{}-01", hook.trace, hook.id);
        ensure!(call.header("traceparent") == Some(wanted.as_str()), "{call:?} and not {wanted}");
    }
    let play = collector.span("the player's playing", |span| span.name == "play")?;
    ensure!(play.trace != root.trace, "two sessions are one trace");
    let all = format!("{:?}", collector.spans());
    ensure!(!all.contains("hidden"), "a secret is told: {all}");
    let heads = collector.heads();
    let fits = |head: &String| {
        head.contains("\r\nauthorization: bearer letmein\r\n")
            && head.contains("\r\ncontent-type: application/x-protobuf\r\n")
    };
    ensure!(heads.iter().all(fits), "{heads:?}");
    Ok(())
}

#[test]
fn a_session_that_is_refused_and_a_callback_that_says_no_are_told_as_such() -> Result<()> {
    let collector = Collector::start()?;
    let web = Web::start(|call| if call.action() == "on_publish" { Say::No } else { Say::Yes })?;
    let server =
        Start::config("telemetry-no", &config(&collector.url(), &web.url(), "")).ready()?;
    own::refused(&server, "live/s")?;
    let hook = collector.span("the callback", |span| span.name == "on_publish")?;
    ensure!(hook.get("millrace.outcome") == "no", "{hook:?}");
    ensure!(hook.error.as_deref() == Some("the reply has code 1"), "{hook:?}");
    let root = collector.span("the session", |span| span.id == hook.parent)?;
    ensure!(root.get("millrace.reason") == "the on_publish callback says no", "{root:?}");
    ensure!(!collector.spans().iter().any(|span| span.name == "publish"), "it never published");
    Ok(())
}

#[test]
fn requests_to_the_api_go_on_the_caller_s_trace_and_figures_come_along() -> Result<()> {
    let collector = Collector::start()?;
    let web = Web::start(|_| Say::Yes)?;
    let server =
        Start::config("telemetry-api", &config(&collector.url(), &web.url(), "")).ready()?;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let header = format!("00-{trace}-00f067aa0ba902b7-01");
    let path = "/api/v1/clients/nobody";
    http::ask(server.api_address()?, "GET", path, &[("traceparent", header.as_str())])?;
    let span = collector.span("the request", |span| span.trace == trace)?;
    ensure!(span.parent == "00f067aa0ba902b7" && span.kind == 2, "{span:?}");
    ensure!(span.name == "GET /api/v1/clients" && span.get("url.path") == path, "{span:?}");
    ensure!(span.get("http.response.status_code") == "200", "{span:?}");
    // Whoever monitors does not fill the traces.
    ensure!(!collector.spans().iter().any(|span| span.get("url.path") == "/readyz"));

    let _publisher = publish(&server, "live/s")?;
    until("the publisher is not counted", || {
        let metric = collector.metric("srs_clients").ok()?;
        (metric.kind == 5 && metric.points.first()?.1 >= 1.0).then_some(())
    })?;
    let received = collector.metric("millrace_vhost_receive_bytes_total")?;
    ensure!(received.kind == 7, "{received:?}");
    let vhost = received.points.first().and_then(|(labels, _)| labels.get("vhost"));
    ensure!(vhost.map(String::as_str) == Some("__defaultVhost__"), "{received:?}");
    let waits = collector.metric("millrace_admission_seconds")?;
    ensure!(waits.kind == 9 && waits.points.len() == 1, "{waits:?}");
    Ok(())
}

#[test]
fn a_collector_that_is_dead_or_hangs_costs_nothing_but_a_counter() -> Result<()> {
    let web = Web::start(|_| Say::Yes)?;
    let dead = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    for (name, at) in [("dead", dead), ("hangs", silent.local_addr()?)] {
        let text = config(&format!("http://{at}"), &web.url(), "");
        let server = Start::config(&format!("telemetry-{name}"), &text).ready()?;
        let publisher = publish(&server, "live/s")?;
        server.wait_stream("s")?;
        own::play(&server, "live/s", Duration::from_secs(1))?;
        until("nothing failed", || {
            let text = http::get(server.api_address().ok()?, "/metrics").ok()?.text();
            let name = "millrace_opentelemetry_exports_total{signal=\"traces\",result=\"failed\"} ";
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok());
            value.filter(|failed| *failed > 0)
        })?;
        server.wait_log("opentelemetry: traces do not get to")?;
        runs_on(&own::play(&server, "live/s", Duration::from_secs(3))?, 200)?;
        ensure!(publisher.alive(), "{name}: the publisher was ended");
        drop(publisher);
        ensure!(server.stop()?.success(), "{name}: it did not end well");
    }
    Ok(())
}

#[test]
fn without_it_nothing_is_sent_and_a_reload_switches_it_on() -> Result<()> {
    let collector = Collector::start()?;
    let web = Web::start(|_| Say::Yes)?;
    let on = config(&collector.url(), &web.url(), "");
    let off = on.replace("opentelemetry { enabled on;", "opentelemetry { enabled off;");
    let server = Start::config("telemetry-off", &off).ready()?;
    let publisher = publish(&server, "live/first")?;
    let call = web.wait("on_publish", |call| call.action() == "on_publish")?;
    ensure!(call.header("traceparent").is_none(), "{call:?}");
    drop(publisher);
    until("it does not leave", || server.clients("fmle-publish").ok()?.is_empty().then_some(()))?;
    server.rewrite(&on)?;
    server.reload()?;
    server.wait_log("reload config success")?;
    drop(publish(&server, "live/second")?);
    collector.span("the second", |span| span.get("millrace.stream") == "second")?;
    let first = |span: &Span| span.get("millrace.stream") == "first";
    ensure!(!collector.spans().iter().any(first), "what happened before is told");
    Ok(())
}
