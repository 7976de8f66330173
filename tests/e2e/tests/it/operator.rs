//! What an operator does by the API: with the token, the second face, its events and metrics.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use e2e::own::{self, Clip};
use e2e::server::Server;
use e2e::{Context, Result, Sample, Start, bail, ensure, http, need, program};
use serde_json::Value;

const CONFIG: &str = "listen RTMP; daemon off; srs_log_tank console; pid DIR/srs.pid;
http_api { enabled on; listen API; }
http_server { enabled on; listen HTTP; dir DIR; }
heartbeat { auth { password s3cret; } }
vhost __defaultVhost__ { http_remux { enabled on; } }
";

/// Somebody else asks: a proxy on this machine says so.
const STRANGER: (&str, &str) = ("X-Forwarded-For", "10.0.0.9");

fn json(answer: &http::Answer) -> Result<Value> {
    serde_json::from_slice(&answer.body).with_context(|| answer.text())
}

#[test]
fn the_token_is_printed_at_the_first_start_and_opens_the_api() -> Result<()> {
    let server = Start::config("operator-token", CONFIG).ready()?;
    let file = server.dir.join("srs.token");
    let token = std::fs::read_to_string(&file)?.trim().to_owned();
    ensure!(file.metadata()?.permissions().mode() & 0o777 == 0o600, "others can read the token");
    server.wait_log(&token)?;
    let api = server.api_address()?;
    let reload = |headers: &[(&str, &str)]| http::ask(api, "POST", "/api/v2/reload", headers);
    ensure!(reload(&[STRANGER])?.status == 403, "a stranger may reload");
    let bearer = format!("Bearer {token}");
    let answer = reload(&[STRANGER, ("Authorization", &bearer)])?;
    ensure!(answer.status == 200, "{}", answer.text());
    server.wait_log("audit: reload through the API: nothing changed, by=token")?;
    let log = server.log();
    let printed = log.matches(&token).count();
    ensure!(printed == 1, "the token is printed {printed} times: {log}");
    Ok(())
}

#[test]
fn a_dry_run_tells_what_a_reload_then_does() -> Result<()> {
    let server = Start::config("operator-reload", CONFIG).ready()?;
    let api = server.api_address()?;
    server.rewrite(
        &CONFIG.replace("s3cret", "0ther").replace("daemon off;", "daemon off; chunk_size 4096;"),
    )?;
    let ask = |query: &str| http::ask(api, "POST", &format!("/api/v2/reload{query}"), &[]);
    let config = |path: &str| -> Result<Value> {
        json(&http::get(api, &format!("/api/v2/config?path={path}"))?)
    };
    for (query, after) in [("?dry_run=true", 0), ("", 1), ("", 1)] {
        let answer = ask(query)?;
        ensure!(answer.status == 200, "{}", answer.text());
        let text = answer.text();
        ensure!(!text.contains("s3cret") && !text.contains("0ther"), "a secret: {text}");
        let total = config("chunk_size")?.get("total").and_then(Value::as_u64);
        ensure!(total == Some(after), "{query}: {total:?} after {text}");
    }
    let answer = json(&http::get(api, "/api/v2/config?path=heartbeat")?)?;
    ensure!(answer.pointer("/items/0/value/0") == Some(&"***".into()), "{answer}");
    server.rewrite(&format!("{CONFIG}nonsense on;\n"))?;
    let answer = ask("?dry_run=true")?;
    ensure!(answer.status == 422 && answer.text().contains("nonsense"), "{}", answer.text());
    Ok(())
}

#[test]
fn updates_as_with_srs_3_hold_until_the_next_reload() -> Result<()> {
    let raw = "raw_api { enabled on; allow_reload on; allow_query on; allow_update on; }";
    let config = CONFIG.replace("listen API;", &format!("listen API; {raw}"));
    let server = Start::config("operator-update", &config).ready()?;
    let api = server.api_address()?;
    let code = |query: &str| -> Result<Option<u64>> {
        let answer = json(&http::get(api, &format!("/api/v1/raw?rpc={query}"))?)?;
        Ok(answer.get("code").and_then(Value::as_u64))
    };
    let vhosts =
        || -> Result<String> { Ok(http::get(api, "/api/v1/raw?rpc=query&scope=minimal")?.text()) };
    let update = |rest: &str| code(&format!("update&scope=vhost&value=a.test&param={rest}"));
    ensure!(update("create")? == Some(0), "create");
    server
        .wait_log("audit: update through the API: vhost of vhost a.test added, by=this machine")?;
    ensure!(vhosts()?.contains(r#"{"name":"a.test","enabled":true}"#), "{}", vhosts()?);
    ensure!(update("create")? == Some(1063), "made twice");
    ensure!(update("delete")? == Some(1063), "deleted while it is on");
    ensure!(update("disable")? == Some(0), "disable");
    ensure!(update("update&data=b.test")? == Some(0), "rename");
    ensure!(vhosts()?.contains(r#"{"name":"b.test","enabled":false}"#), "{}", vhosts()?);
    ensure!(code("update&scope=chunk_size&value=4096")? == Some(0), "chunk_size");
    ensure!(!server.log().contains("[DEBUG]"), "the log tells too much");
    ensure!(code("update&scope=srs_log_level&value=info")? == Some(0), "srs_log_level");
    vhosts()?;
    server.wait_log("[DEBUG]")?;
    ensure!(code("update&scope=chunk_size&value=many")? == Some(1063), "chunk_size many");
    ensure!(vhosts()?.contains(r#""chunk_size":4096"#), "{}", vhosts()?);
    ensure!(code("reload")? == Some(0), "reload");
    let after = vhosts()?;
    ensure!(!after.contains("b.test") && !after.contains("4096"), "the file counts: {after}");
    Ok(())
}

#[test]
fn events_tell_who_comes_and_goes() -> Result<()> {
    let server = Start::config("operator-events", CONFIG).ready()?;
    let api = server.api_address()?;
    let clip = Clip::of(Sample::H264Aac)?;
    let mut publisher = None;
    let mut text = String::new();
    let heard = |text: &str, event: &str| text.contains(&format!("\nevent: {event}\n"));
    let _ = http::stream(api, "/api/v2/events", &[], e2e::PATIENCE, &mut |bytes| {
        text.push_str(&String::from_utf8_lossy(bytes));
        if publisher.is_none() && text.contains("event: hello") {
            publisher = Some(own::publish(&server, "live/livestream", clip.clone(), |_, at| at)?);
        }
        if heard(&text, "stream.published") && heard(&text, "client.joined") {
            bail!("heard");
        }
        Ok(())
    });
    ensure!(heard(&text, "stream.published"), "{text}");
    ensure!(text.contains(r#""name":"livestream""#), "{text}");
    Ok(())
}

#[test]
fn a_stream_that_is_well_is_told_to_be_well() -> Result<()> {
    let config = CONFIG
        .replace("heartbeat", "exporter { enabled on; listen HTTPS; streams on; }\nheartbeat");
    let server = Start::config("operator-health", &config).ready()?;
    let clip = Clip::of(Sample::H264Aac)?;
    let _publisher = own::publish(&server, "live/livestream", clip, |_, at| at)?;
    let stream = e2e::until("the stream is never measured", || {
        let all = json(&http::get(server.api_address().ok()?, "/api/v2/streams").ok()?).ok()?;
        let stream = all.pointer("/items/0")?.clone();
        stream.pointer("/health/frame_rate")?.as_f64().map(|_| stream)
    })?;
    ensure!(stream.pointer("/health/gop_frames").and_then(Value::as_u64) > Some(1), "{stream}");
    ensure!(stream.pointer("/health/discontinuities") == Some(&0.into()), "{stream}");
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], server.ports.https));
    let metrics = http::get(at, "/metrics")?.text();
    for name in
        ["millrace_stream_frame_rate{", "millrace_residence_seconds_bucket{", "srs_streams 1"]
    {
        ensure!(metrics.contains(name), "no {name} in {metrics}");
    }
    ensure!(http::get(at, "/api/v2/streams")?.status == 404, "the port of metrics has the API");
    Ok(())
}

#[test]
fn schemathesis_finds_nothing() -> Result<()> {
    need!("schemathesis");
    let server = Start::config("operator-schemathesis", CONFIG).ready()?;
    try_all(&server)
}

fn try_all(server: &Server) -> Result<()> {
    let dir = std::env::var_os("MILLRACE_SCHEMATHESIS").context("schemathesis")?;
    let document = format!("http://{}/api/v2/openapi.json", server.api_address()?);
    let script = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())";
    let phases = "examples,coverage,fuzzing";
    // Events have no end; the seed makes two runs alike.
    let mut run = program::command(
        "python3",
        [
            "-c",
            script,
            "run",
            &document,
            "--exclude-path",
            "/api/v2/events",
            "--exclude-path",
            "/api/v2/rooms/{app}/events",
            "--checks",
            "all",
            "--max-examples",
            "20",
            "--phases",
            phases,
            "--seed",
            "1",
        ],
    );
    run.env("PYTHONPATH", dir).current_dir(&server.dir);
    program::run(run, &server.dir, "schemathesis", Duration::from_secs(300))?.well()?;
    Ok(())
}
