//! Callbacks, with real publishers and players.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use e2e::own::{self, Clip, Own};
use e2e::program::command;
use e2e::web::{Call, Say, Web};
use e2e::{Program, Result, Server, Start, ensure, http, need, until};
use rtmp::session::client::{Event, Role};

const TURN: Duration = Duration::from_millis(50);

fn config(web: &Web, more: &str) -> String {
    let on = |name: &str| format!("on_{name} {};\n", web.url());
    let all: String =
        ["connect", "close", "publish", "unpublish", "play", "stop", "hls"].map(on).concat();
    format!(
        "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
         http_api {{ enabled on; listen API; }}\n\
         http_server {{ enabled on; listen HTTP; dir DIR/html; }}\n\
         vhost __defaultVhost__ {{\n http_remux {{ enabled on; }}\n publish {{ takeover off; }}\n\
         hls {{ enabled on; hls_fragment 1; hls_window 3; hls_path DIR/html; }}\n\
         http_hooks {{ enabled on;\n{all}{more} }} }}\n"
    )
}

fn start(name: &str, web: &Web, more: &str) -> Result<Server> {
    Start::config(name, &config(web, more)).ready()
}

fn publish(server: &Server, name: &str) -> Result<own::Publisher> {
    own::publish(server, name, Clip::card()?, |_, at| at)
}

fn is(action: &'static str, stream: &'static str) -> impl Fn(&Call) -> bool {
    move |call| call.action() == action && call.text("stream").starts_with(stream)
}

/// Takes turns until `enough` is among what happened; gives all of it.
fn turns(own: &mut Own, what: &str, enough: impl Fn(&Event) -> bool) -> Result<Vec<Event>> {
    let mut all = Vec::new();
    until(what, || {
        all.extend(own.turn(TURN).ok()?);
        all.iter().any(&enough).then_some(())
    })?;
    Ok(all)
}

/// Takes turns until the server closes; gives the status codes that it said.
fn to_the_end(own: &mut Own) -> Result<Vec<String>> {
    let mut codes = Vec::new();
    until("the server does not close", || match own.turn(TURN) {
        Err(_) => Some(()),
        Ok(events) => {
            for event in &events {
                if let Event::Status { code, .. } = event {
                    codes.push(code.clone());
                }
            }
            events.iter().any(|e| matches!(e, Event::Closed(_))).then_some(())
        }
    })?;
    Ok(codes)
}

fn media(events: &[Event]) -> usize {
    events.iter().filter(|e| matches!(e, Event::Media { .. })).count()
}

#[test]
fn a_publisher_and_its_players_are_told_of_in_the_order_of_srs() -> Result<()> {
    let missing = Arc::new(AtomicU64::new(0));
    let seen = missing.clone();
    let web = Web::start(move |call| {
        // Whoever is told of a segment can read it.
        if call.action() == "on_hls" && !Path::new(call.text("file")).is_file() {
            seen.fetch_add(1, Relaxed);
        }
        Say::Yes
    })?;
    let server = start("callbacks-order", &web, "")?;
    let publisher = publish(&server, "live/s?token=x")?;
    let first = web.wait("on_publish", is("on_publish", "s"))?;
    ensure!(first.text("param") == "?token=x", "{first:?}");
    web.wait("on_hls", is("on_hls", "s"))?;

    let listed = server.clients("fmle-publish")?;
    let id = listed.first().and_then(|c| c.get("id")).and_then(|id| id.as_str());
    ensure!(id == Some(first.text("client_id")), "{listed:?} is not {first:?}");
    let stream = server.wait_stream("s")?;
    let id = stream.get("id").and_then(|id| id.as_str());
    ensure!(id == Some(first.text("stream_id")), "{stream:?} is not {first:?}");

    own::play(&server, "live/s?watch=1", Duration::from_secs(1))?;
    let is_rtmp = |call: &Call| call.text("param") == "?watch=1";
    let rtmp = web.wait("on_stop of RTMP", |c| c.action() == "on_stop" && is_rtmp(c))?;
    let id = rtmp.text("client_id").to_owned();
    until("on_close of RTMP", || (web.story(&id).len() == 4).then_some(()))?;
    ensure!(web.story(&id) == ["on_connect", "on_play", "on_stop", "on_close"]);

    let headers = [("X-Forwarded-For", "203.0.113.9, 10.0.0.1"), ("Referer", "http://page/")];
    let mut bytes = 0;
    let second = Duration::from_secs(1);
    http::stream(server.http_address()?, "/live/s.flv?flv=1", &headers, second, &mut |taken| {
        bytes += taken.len();
        Ok(())
    })?;
    ensure!(bytes > 10_000, "{bytes} bytes of FLV");
    let is_flv = |call: &Call| call.text("param") == "?flv=1";
    let flv = web.wait("on_stop of FLV", |c| c.action() == "on_stop" && is_flv(c))?;
    ensure!(flv.text("ip") == "203.0.113.9" && flv.text("stream") == "s", "{flv:?}");
    ensure!(flv.text("tcUrl") == "rtmp://__defaultVhost__/live", "{flv:?}");
    ensure!(web.story(flv.text("client_id")) == ["on_play", "on_stop"]);

    // A viewer of HLS plays from its first playlist on, and has stopped when it asks no more.
    let master = http::get(server.http_address()?, "/live/s.m3u8")?;
    let inner = master.text().lines().last().unwrap_or_default().to_owned();
    for _ in 0..2 {
        ensure!(http::get(server.http_address()?, &inner)?.status == 200, "GET {inner}");
    }
    let hls = web.wait("on_stop of HLS", is("on_stop", "s.m3u8"))?;
    ensure!(web.story(hls.text("client_id")) == ["on_play", "on_stop"]);

    drop(publisher);
    let id = first.text("client_id").to_owned();
    until("on_close of the publisher", || {
        web.story(&id).contains(&"on_close".to_owned()).then_some(())
    })?;
    let story = web.story(&id);
    let wanted = ["on_connect", "on_publish", "on_hls", "on_unpublish", "on_close"];
    ensure!(story == wanted, "{story:?}");
    ensure!(missing.load(Relaxed) == 0, "a segment was told of before it was there");
    let close = web.wait("on_close", |c| c.action() == "on_close" && c.text("client_id") == id)?;
    let count = |key: &str| close.body.get(key).and_then(serde_json::Value::as_u64).unwrap_or(0);
    ensure!(count("recv_bytes") > 10_000 && count("send_bytes") > 1000, "{close:?}");
    ensure!(server.stop()?.success(), "the server did not end well");
    Ok(())
}

#[test]
fn a_publisher_waits_for_the_answer_and_a_second_one_is_told_of_as_busy() -> Result<()> {
    let free = Arc::new(AtomicBool::new(false));
    let go = free.clone();
    let web = Web::start(move |call| {
        while call.action() == "on_publish" && !go.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        Say::Yes
    })?;
    let server = start("callbacks-wait", &web, "")?;
    let mut own = Own::connect(&server, "live/s", Role::PublishFmle)?;
    let mut events = Vec::new();
    until("on_publish", || {
        events.extend(own.turn(TURN).ok()?);
        web.calls().iter().any(is("on_publish", "s")).then_some(())
    })?;
    // The API shows it already, and it has not been told.
    ensure!(server.clients("fmle-publish")?.len() == 1, "it is not listed yet");
    for _ in 0..10 {
        events.extend(own.turn(TURN)?);
    }
    ensure!(!events.contains(&Event::PublishStarted), "it was told before the answer");
    free.store(true, Relaxed);
    turns(&mut own, "it is not told", |e| *e == Event::PublishStarted)?;

    let codes = own::refused(&server, "live/s")?;
    ensure!(codes.contains(&"NetStream.Publish.BadName".to_owned()), "{codes:?}");
    let first = web.wait("on_publish", is("on_publish", "s"))?;
    let other =
        |c: &Call| c.action() == "on_close" && c.text("client_id") != first.text("client_id");
    let second = web.wait("on_close of the second", other)?;
    let story = web.story(second.text("client_id"));
    ensure!(story == ["on_connect", "on_publish", "on_close"], "{story:?}");
    Ok(())
}

#[test]
fn a_player_is_told_that_it_plays_and_gets_nothing_before_the_answer() -> Result<()> {
    let free = Arc::new(AtomicBool::new(false));
    let go = free.clone();
    let web = Web::start(move |call| {
        while call.action() == "on_play" && !go.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        Say::Yes
    })?;
    let server = start("callbacks-play", &web, "")?;
    let _publisher = publish(&server, "live/s")?;
    let mut own = Own::connect(&server, "live/s", Role::Play)?;
    let events = turns(&mut own, "Play.Start", |e| *e == Event::PlayStarted)?;
    ensure!(media(&events) == 0, "media came before the answer");
    web.wait("on_play", is("on_play", "s"))?;
    for _ in 0..10 {
        ensure!(media(&own.turn(TURN)?) == 0, "media came before the answer");
    }
    free.store(true, Relaxed);
    turns(&mut own, "no media", |e| matches!(e, Event::Media { .. }))?;
    Ok(())
}

#[test]
fn a_player_that_is_refused_gets_nothing_by_any_protocol() -> Result<()> {
    let web = Web::start(|call| if call.action() == "on_play" { Say::No } else { Say::Yes })?;
    let server = start("callbacks-refuse", &web, "")?;
    let _publisher = publish(&server, "live/s")?;
    web.wait("on_hls", is("on_hls", "s"))?;

    let mut own = Own::connect(&server, "live/s", Role::Play)?;
    let codes = to_the_end(&mut own)?;
    ensure!(codes.contains(&"NetStream.Play.Failed".to_owned()), "{codes:?}");
    for path in ["/live/s.flv", "/live/s.m3u8", "/live/s.m3u8?hls_ctx=mine"] {
        let answer = http::get(server.http_address()?, path)?;
        ensure!(answer.status == 403, "{path}: {}", answer.status);
        ensure!(answer.text().trim() == "the on_play callback says no", "{}", answer.text());
    }
    let stopped = web.calls().iter().any(|call| call.action() == "on_stop");
    ensure!(!stopped, "who never played cannot stop");
    server.wait_log("the callback says no: the reply has code 1")?;
    Ok(())
}

#[test]
fn a_refused_connection_neither_publishes_nor_plays() -> Result<()> {
    let web = Web::start(|call| if call.action() == "on_connect" { Say::No } else { Say::Yes })?;
    let server = start("callbacks-connect", &web, "")?;
    own::refused(&server, "live/s")?;
    to_the_end(&mut Own::connect(&server, "live/s", Role::Play)?)?;
    let closed = || web.calls().iter().filter(|c| c.action() == "on_close").count();
    until("both are closed", || (closed() == 2).then_some(()))?;
    for call in web.calls() {
        ensure!(web.story(call.text("client_id")) == ["on_connect", "on_close"], "{call:?}");
    }
    Ok(())
}

#[test]
fn a_publisher_that_leaves_while_it_is_asked_about_is_gone_at_once() -> Result<()> {
    let web = Web::start(|call| match call.action() {
        "on_publish" => Say::Nothing,
        _ => Say::Yes,
    })?;
    let server = start("callbacks-leave", &web, "timeout 300;")?;
    let mut own = Own::connect(&server, "live/s", Role::PublishFmle)?;
    let call = until("on_publish", || {
        own.turn(TURN).ok()?;
        web.calls().into_iter().find(is("on_publish", "s"))
    })?;
    drop(own);
    let id = call.text("client_id").to_owned();
    until("on_close", || (web.story(&id).len() == 4).then_some(()))?;
    // Nobody knows what the answer would have been.
    ensure!(web.story(&id) == ["on_connect", "on_publish", "on_unpublish", "on_close"]);
    until("it is listed for ever", || {
        server.clients("fmle-publish").ok()?.is_empty().then_some(())
    })?;
    Ok(())
}

#[test]
fn the_web_server_of_the_documents_does_what_they_say() -> Result<()> {
    need!("python3");
    let dir = e2e::folder()?.join("run/callbacks-python-web");
    std::fs::create_dir_all(&dir)?;
    let plain = "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
                 http_api { enabled on; listen API; }\nvhost __defaultVhost__ { }\n";
    let to = Start::config("callbacks-python-to", plain).ready()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conf/hooks.py");
    let mut command = command("python3", [script]);
    command.env("HOOK_PORT", "0").env("HOOK_SECRET", "s3cret").env("HOOK_TOKEN", "letmein");
    command.env("HOOK_FORWARD", format!("127.0.0.1:{}", to.ports.rtmp));
    let python = Program::start(command, &dir, "python")?;
    let url = until("the web server does not start", || {
        let said = python.output();
        let url = said.strip_prefix("callbacks are taken at ")?.lines().next()?;
        Some(url.to_owned())
    })?;
    let config = |secret: &str| {
        format!(
            "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
             http_api {{ enabled on; listen API; }}\n\
             vhost __defaultVhost__ {{ forward {{ enabled on; backend {url}/f; }} http_hooks {{ enabled on; on_publish {url}/a; \
             on_unpublish {url}/a; secret {secret}; }} }}\n"
        )
    };
    let server = Start::config("callbacks-python", &config("s3cret")).ready()?;
    own::refused(&server, "live/s")?;
    own::refused(&server, "live/s?token=guess")?;
    let publisher = publish(&server, "live/s?token=letmein")?;
    to.wait_stream("s")?;
    drop(publisher);
    until("on_unpublish", || python.output().contains("on_unpublish").then_some(()))?;
    let said = python.output();
    ensure!(said.contains("1 there") && said.contains("0 there"), "{said}");
    // Whoever has not the secret is not believed.
    server.rewrite(&config("other"))?;
    server.reload()?;
    server.wait_log("reload config success")?;
    own::refused(&server, "live/s?token=letmein")?;
    server.wait_log("the callback says no: status 401")?;
    Ok(())
}

#[test]
fn whoever_is_kicked_off_while_it_is_asked_about_goes_at_once() -> Result<()> {
    let web = Web::start(|call| match call.action() {
        "on_play" => Say::Nothing,
        _ => Say::Yes,
    })?;
    let server = start("callbacks-kick", &web, "timeout 300;")?;
    let _publisher = publish(&server, "live/s")?;
    let mut player = Own::connect(&server, "live/s?by=rtmp", Role::Play)?;
    turns(&mut player, "Play.Start", |e| *e == Event::PlayStarted)?;
    let at = server.http_address()?;
    let ask = |path: &'static str| std::thread::spawn(move || http::get(at, path));
    let viewers = [ask("/live/s.flv?by=flv"), ask("/live/s.m3u8?by=hls")];
    for by in ["?by=rtmp", "?by=flv", "?by=hls"] {
        let of = |call: &Call, action| call.action() == action && call.text("param") == by;
        let call = web.wait("on_play", |call| of(call, "on_play"))?;
        let path = format!("/api/v1/clients/{}", call.text("client_id"));
        let answer = http::ask(server.api_address()?, "DELETE", &path, &[])?;
        ensure!(answer.status == 200 && answer.text().contains("\"code\":0"), "{answer:?}");
        web.wait("on_stop", |call| of(call, "on_stop"))?;
    }
    to_the_end(&mut player)?;
    for viewer in viewers {
        let answer = viewer.join().map_err(|_| e2e::anyhow!("a viewer panicked"))??;
        ensure!(answer.status == 403, "{}: {}", answer.status, answer.text());
    }
    Ok(())
}

#[test]
fn a_viewer_over_http_that_leaves_while_it_is_asked_about_is_gone_at_once() -> Result<()> {
    let web = Web::start(|call| match call.action() {
        "on_play" => Say::Nothing,
        _ => Say::Yes,
    })?;
    let server = start("callbacks-leave-http", &web, "timeout 300;")?;
    let _publisher = publish(&server, "live/s")?;
    for (path, name) in [("/live/s.flv", "s"), ("/live/s.m3u8", "s.m3u8")] {
        let mut viewer = std::net::TcpStream::connect(server.http_address()?)?;
        viewer.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())?;
        let named =
            move |call: &Call, action| call.action() == action && call.text("stream") == name;
        let asked = web.wait("on_play", |call| named(call, "on_play"))?;
        drop(viewer);
        web.wait("on_stop", |call| named(call, "on_stop"))?;
        ensure!(web.story(asked.text("client_id")) == ["on_play", "on_stop"], "{path}");
    }
    Ok(())
}

#[test]
fn a_web_server_that_hangs_resets_lies_floods_and_dies_delays_no_other_session() -> Result<()> {
    let web = Web::start(|call| match call.text("stream") {
        _ if call.action() != "on_publish" => Say::Yes,
        "hang" => Say::Nothing,
        "reset" => Say::Close,
        "lie" => Say::Garbage,
        "flood" => Say::Flood,
        "drip" => Say::Drip,
        _ => Say::Yes,
    })?;
    // No time-out comes to the aid of this test: what hangs, hangs until the end.
    let server = start("callbacks-misbehave", &web, "timeout 300; retries 0;")?;
    let steady = publish(&server, "live/steady")?;
    let mut player = Own::connect(&server, "live/steady", Role::Play)?;
    turns(&mut player, "no media", |e| matches!(e, Event::Media { .. }))?;
    // The player has something new after each thing that goes wrong.
    let mut goes_on = |what: &str| turns(&mut player, what, |e| matches!(e, Event::Media { .. }));

    let hung: Vec<Own> = ["live/hang", "live/drip"]
        .into_iter()
        .cycle()
        .take(20)
        .map(|name| {
            let mut own = Own::connect(&server, name, Role::PublishFmle)?;
            let asked = || web.calls().iter().filter(|c| c.action() == "on_publish").count();
            let before = asked();
            until("it is asked about", || {
                own.turn(TURN).ok()?;
                (asked() > before).then_some(())
            })?;
            Ok(own)
        })
        .collect::<Result<_>>()?;
    goes_on("20 hang")?;
    for name in ["live/reset", "live/lie", "live/flood"] {
        let codes = own::refused(&server, name)?;
        ensure!(codes.contains(&"NetStream.Publish.BadName".to_owned()), "{name}: {codes:?}");
        goes_on(name)?;
    }
    // While all those hang, another is let in, and plays.
    let other = publish(&server, "live/other")?;
    let played = own::play(&server, "live/other", Duration::from_secs(1))?;
    ensure!(played.len() > 20, "only {} pieces came", played.len());
    for mut own in hung {
        let told = own.turn(TURN)?;
        ensure!(!told.contains(&Event::PublishStarted), "it was let in without an answer");
    }

    drop(web);
    let codes = own::refused(&server, "live/late")?;
    ensure!(codes.contains(&"NetStream.Publish.BadName".to_owned()), "dead: {codes:?}");
    goes_on("the web server is dead")?;
    ensure!(steady.alive() && other.alive(), "a publisher was disconnected");
    let metrics = http::get(server.api_address()?, "/metrics")?.text();
    let failed = "millrace_hook_decisions_total{vhost=\"__defaultVhost__\",hook=\"on_publish\",decision=\"denied_unasked\"} 3";
    ensure!(metrics.contains(failed), "{metrics}");
    Ok(())
}

#[test]
fn while_the_web_server_is_down_the_policy_decides_and_a_reload_changes_it() -> Result<()> {
    let web = Web::start(|_| Say::Yes)?;
    let server = start("callbacks-policy", &web, "")?;
    let (deny, allow) = (config(&web, ""), config(&web, "when_down allow;"));
    drop(publish(&server, "live/before")?);
    drop(web);
    let codes = own::refused(&server, "live/s")?;
    ensure!(codes.contains(&"NetStream.Publish.BadName".to_owned()), "{codes:?}");
    server.rewrite(&allow)?;
    server.reload()?;
    server.wait_log("reload config success")?;
    let publisher = publish(&server, "live/s")?;
    ensure!(own::play(&server, "live/s", Duration::from_secs(1))?.len() > 20, "little came");
    server.wait_log("let in without an answer")?;
    server.rewrite(&deny)?;
    server.reload()?;
    until("the old policy comes back", || own::refused(&server, "live/t").ok())?;
    ensure!(publisher.alive(), "who is inside stays");
    Ok(())
}
