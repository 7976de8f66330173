//! The HTTP API, in the shapes that tools written for SRS read.

use e2e::own::{self, Clip};
use e2e::playlist::Playlist;
use e2e::server::Server;
use e2e::{Context, Result, Sample, Start, Wire, ensure, http, need, until};
use serde_json::Value;

/// A path in the answer, and the kind of value there.
type Field = (&'static str, fn(&Value) -> bool);

const HEAD: &[Field] = &[
    ("/code", |v| v == &Value::from(0)),
    ("/server", Value::is_string),
    ("/service", Value::is_string),
    ("/pid", Value::is_string),
];

const VERSIONS: &[Field] = &[
    ("/data/major", Value::is_u64),
    ("/data/minor", Value::is_u64),
    ("/data/revision", Value::is_u64),
    ("/data/version", Value::is_string),
];

const SUMMARIES: &[Field] = &[
    ("/data/ok", Value::is_boolean),
    ("/data/now_ms", Value::is_u64),
    ("/data/self/version", Value::is_string),
    ("/data/self/pid", Value::is_u64),
    ("/data/self/mem_kbyte", Value::is_u64),
    ("/data/self/cpu_percent", Value::is_number),
    ("/data/self/srs_uptime", Value::is_u64),
    ("/data/system/cpu_percent", Value::is_number),
    ("/data/system/mem_ram_kbyte", Value::is_u64),
    ("/data/system/cpus", Value::is_u64),
    ("/data/system/ilde_time", Value::is_number),
    ("/data/system/conn_srs", Value::is_u64),
];

const VHOST: &[Field] = &[
    ("/vhosts/0/id", Value::is_string),
    ("/vhosts/0/name", |v| v == "__defaultVhost__"),
    ("/vhosts/0/enabled", Value::is_boolean),
    ("/vhosts/0/clients", |v| v.as_u64() >= Some(1)),
    ("/vhosts/0/streams", |v| v == &Value::from(1)),
    ("/vhosts/0/kbps/recv_30s", Value::is_number),
    ("/vhosts/0/hls/enabled", Value::is_boolean),
];

const STREAM: &[Field] = &[
    ("/streams/0/id", Value::is_string),
    ("/streams/0/name", |v| v == "livestream"),
    ("/streams/0/vhost", Value::is_string),
    ("/streams/0/app", |v| v == "live"),
    ("/streams/0/url", |v| v == "/live/livestream"),
    ("/streams/0/live_ms", Value::is_u64),
    ("/streams/0/clients", |v| v.as_u64() >= Some(1)),
    ("/streams/0/recv_bytes", |v| v.as_u64() > Some(0)),
    ("/streams/0/publish/active", |v| v == &Value::from(true)),
    ("/streams/0/publish/cid", Value::is_string),
    ("/streams/0/video/codec", |v| v == "H264"),
    ("/streams/0/video/profile", |v| v == "High"),
    ("/streams/0/video/level", Value::is_string),
    ("/streams/0/video/width", |v| v == &Value::from(320)),
    ("/streams/0/video/height", |v| v == &Value::from(180)),
    ("/streams/0/audio/codec", |v| v == "AAC"),
    ("/streams/0/audio/sample_rate", |v| v == &Value::from(44100)),
    ("/streams/0/audio/channel", |v| v == &Value::from(2)),
    ("/streams/0/audio/profile", |v| v == "LC"),
];

const CLIENT: &[Field] = &[
    ("/clients/0/id", Value::is_string),
    ("/clients/0/vhost", Value::is_string),
    ("/clients/0/stream", Value::is_string),
    ("/clients/0/ip", |v| v == "127.0.0.1"),
    ("/clients/0/tcUrl", Value::is_string),
    ("/clients/0/url", |v| v == "/live/livestream"),
    ("/clients/0/name", |v| v == "livestream"),
    ("/clients/0/type", |v| v == "fmle-publish"),
    ("/clients/0/publish", |v| v == &Value::from(true)),
    ("/clients/0/alive", Value::is_number),
];

fn has(server: &Server, path: &str, fields: &[Field]) -> Result<()> {
    let answer = server.api(path)?;
    for (field, fits) in HEAD.iter().chain(fields) {
        let value =
            answer.pointer(field).with_context(|| format!("{path}: no {field}: {answer}"))?;
        ensure!(fits(value), "{path}: {field} is {value}");
    }
    Ok(())
}

#[test]
fn answers_have_the_known_shapes() -> Result<()> {
    need!("ffmpeg");
    let server = Start::bare("api-shapes").ready()?;
    has(&server, "/api/v1/versions", VERSIONS)?;
    has(&server, "/api/v1/summaries", SUMMARIES)?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    until("the codecs never show", || {
        let stream = server.stream("livestream").ok()??;
        (stream.pointer("/video/width").is_some() && stream.pointer("/audio/codec").is_some())
            .then_some(())
    })?;
    has(&server, "/api/v1/vhosts/", VHOST)?;
    has(&server, "/api/v1/streams/", STREAM)?;
    has(&server, "/api/v1/clients/", CLIENT)?;
    for (list, one, missing) in
        [("vhosts", "vhost", 2014), ("streams", "stream", 2048), ("clients", "client", 2049)]
    {
        let all = server.api(&format!("/api/v1/{list}/"))?;
        let id = all.pointer(&format!("/{list}/0/id")).and_then(Value::as_str).context("an id")?;
        let single = server.api(&format!("/api/v1/{list}/{id}"))?;
        let same = single.get(one).and_then(|s| s.get("id")).and_then(Value::as_str);
        ensure!(same == Some(id), "/api/v1/{list}/{id}: {single}");
        let none = server.api(&format!("/api/v1/{list}/no-such-id"))?;
        ensure!(none.get("code") == Some(&missing.into()), "an unknown {one}: {none}");
    }
    Ok(())
}

#[test]
fn compact_json_and_a_redirect_to_the_slash() -> Result<()> {
    let server = Start::bare("api-text").ready()?;
    let answer = http::get(server.api_address()?, "/api/v1/versions")?;
    ensure!(answer.header("content-type") == Some("application/json"), "{:?}", answer.headers);
    ensure!(answer.text().starts_with("{\"code\":0,\"server\":\""), "{}", answer.text());
    ensure!(!answer.text().contains("\": "), "spaces in {}", answer.text());
    let moved = http::get(server.api_address()?, "/api/v1/streams")?;
    ensure!(moved.status == 302, "{}", moved.status);
    ensure!(moved.header("location").is_some_and(|l| l.ends_with("/api/v1/streams/")), "{moved:?}");
    let jsonp = http::get(server.api_address()?, "/api/v1/versions?callback=show.it")?;
    ensure!(jsonp.text().starts_with("show.it({"), "{}", jsonp.text());
    let ask =
        http::ask(server.api_address()?, "GET", "/api/v1/versions", &[("Origin", "http://x")])?;
    ensure!(ask.header("access-control-allow-origin") == Some("*"), "{:?}", ask.headers);
    Ok(())
}

#[test]
fn health_and_metrics_are_there() -> Result<()> {
    let server = Start::bare("api-health").ready()?;
    for path in ["/healthz", "/readyz"] {
        ensure!(http::get(server.api_address()?, path)?.status == 200, "{path}");
    }
    let metrics = http::get(server.api_address()?, "/metrics")?;
    ensure!(metrics.status == 200, "{}", metrics.status);
    for name in ["srs_streams", "srs_clients", "srs_send_bytes_total", "srs_receive_bytes_total"] {
        ensure!(metrics.text().contains(name), "no {name} in {}", metrics.text());
    }
    Ok(())
}

#[test]
fn a_client_that_is_kicked_off_goes() -> Result<()> {
    need!("ffmpeg");
    let server = Start::bare("api-kick").ready()?;
    let publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let gone = std::thread::scope(|scope| -> Result<bool> {
        let time = std::time::Duration::from_secs(30);
        let at = server.http_address()?;
        let player = scope
            .spawn(move || http::stream(at, "/live/livestream.flv", &[], time, &mut |_| Ok(())));
        kick(&server, "flv-play")?;
        let live = player.join().map_err(|_| e2e::anyhow!("the player panicked"))?;
        // A body that is cut off and one that is ended are both an end.
        Ok(live.is_err() || live.is_ok_and(|l| l.closed))
    })?;
    ensure!(gone, "the player was not disconnected");
    kick(&server, "fmle-publish")?;
    let run = publisher.finish(e2e::PATIENCE)?;
    ensure!(!run.status.success(), "the publisher did not notice");
    let none = http::ask(server.api_address()?, "DELETE", "/api/v1/clients/none", &[])?;
    ensure!(none.text().contains("2049"), "{}", none.text());
    Ok(())
}

#[test]
fn viewers_by_rtmp_and_hls_are_kicked_off_too() -> Result<()> {
    need!("ffmpeg");
    let server = Start::bare("api-kick-viewers").ready()?;
    let clip = Clip::of(Sample::H264Aac)?;
    let publisher = own::publish(&server, "live/livestream", clip, |_, at| at)?;
    server.wait_stream("livestream")?;
    let time = std::time::Duration::from_secs(30);
    let ended = std::thread::scope(|scope| -> Result<bool> {
        let player = scope.spawn(|| own::play(&server, "live/livestream", time));
        kick(&server, "rtmp-play")?;
        Ok(player.join().map_err(|_| e2e::anyhow!("the player panicked"))?.is_err())
    })?;
    ensure!(ended, "the RTMP player was not disconnected");
    let playlist = Playlist::wait(&server, "/live/livestream.m3u8", 1)?;
    ensure!(playlist.path.contains("hls_ctx"), "no session in {}", playlist.path);
    kick(&server, "hls-play")?;
    let again = http::get(server.http_address()?, &playlist.path)?;
    ensure!(again.status != 200, "a viewer that was kicked off goes on: {}", again.text());
    ensure!(publisher.alive(), "the publisher was disconnected");
    Ok(())
}

fn kick(server: &Server, kind: &str) -> Result<()> {
    let id = until(&format!("there is no {kind}"), || {
        Some(server.clients(kind).ok()?.first()?.get("id")?.as_str()?.to_owned())
    })?;
    let path = format!("/api/v1/clients/{id}");
    let answer = http::ask(server.api_address()?, "DELETE", &path, &[])?;
    ensure!(answer.text().contains("\"code\":0"), "DELETE {path}: {}", answer.text());
    until(&format!("{kind} {id} is still listed"), || {
        let left = server.clients(kind).ok()?;
        left.iter().all(|c| c.get("id").and_then(Value::as_str) != Some(&id)).then_some(())
    })
}

#[test]
fn players_are_listed_with_their_kind() -> Result<()> {
    need!("ffmpeg");
    let server = Start::bare("api-kinds").ready()?;
    let sample = Sample::H264Aac;
    let _publisher = sample.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    std::thread::scope(|scope| -> Result<()> {
        let play = |wire: Wire| wire.record(&server, "live/livestream", sample, 6);
        let plays = [Wire::Rtmp, Wire::Ts, Wire::Hls].map(|wire| scope.spawn(move || play(wire)));
        for kind in ["rtmp-play", "flv-play", "hls-play"] {
            until(&format!("no {kind} is listed"), || server.clients(kind).ok()?.pop())?;
        }
        for play in plays {
            play.join().map_err(|_| e2e::anyhow!("a player panicked"))??;
        }
        Ok(())
    })
}
