//! WebRTC with a real browser: it publishes its camera and plays what others publish.

use std::path::Path;

use e2e::program::{Program, command, run};
use e2e::{Context, Result, Sample, Server, Start, ensure, need, until};
use serde_json::Value;

pub(crate) fn browser(arguments: &[&str]) -> Result<std::process::Command> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    ensure!(
        folder.join("node_modules").is_dir(),
        "the browser's driver is missing: run `npm ci` in tests/e2e/browser"
    );
    let mut command = command("node", [&["rtc.mjs"], arguments].concat());
    command.current_dir(folder);
    Ok(command)
}

/// What the browser saw; the last line of what the script prints.
pub(crate) fn report(text: &str) -> Result<Value> {
    let line = text.lines().rev().find(|line| line.starts_with('{')).context("no report")?;
    Ok(serde_json::from_str(line)?)
}

pub(crate) fn watch(
    server: &Server,
    name: &str,
    mode: &str,
    url: &str,
    seconds: u32,
) -> Result<Value> {
    let command = browser(&[mode, url, &seconds.to_string()])?;
    let run = run(command, &server.dir, name, e2e::PATIENCE * 3)?;
    report(&run.stdout).with_context(|| format!("{}\n{}", run.stderr, server.log()))
}

pub(crate) fn number(report: &Value, pointer: &str) -> Result<f64> {
    report
        .pointer(pointer)
        .and_then(Value::as_f64)
        .with_context(|| format!("no {pointer}: {report}"))
}

/// Moving picture, sound that was heard, nothing lost on a loopback.
pub(crate) fn is_well(report: &Value) -> Result<()> {
    ensure!(report["verdict"] == "ok", "{report}");
    ensure!(number(report, "/video/framesDecoded")? >= 50.0, "{report}");
    ensure!(number(report, "/audio/totalAudioEnergy")? > 0.0, "{report}");
    ensure!(report["gone"] == 200, "the session was not ended by DELETE: {report}");
    Ok(())
}

pub(crate) fn whep(server: &Server, stream: &str) -> Result<String> {
    Ok(format!("http://{}/rtc/v1/whep/?app=live&stream={stream}", server.api_address()?))
}

pub(crate) fn whip(server: &Server, stream: &str) -> Result<String> {
    Ok(format!("http://{}/rtc/v1/whip/?app=live&stream={stream}", server.api_address()?))
}

#[test]
fn a_browser_plays_what_an_encoder_publishes_by_rtmp() -> Result<()> {
    need!("ffmpeg", "node", "chromium");
    let server = Start::bare("webrtc-play").ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let report = watch(&server, "play", "play", &whep(&server, "livestream")?, 25)?;
    is_well(&report)?;
    ensure!(report.pointer("/video/codec") == Some(&"video/H264".into()), "{report}");
    ensure!(report.pointer("/audio/codec") == Some(&"audio/opus".into()), "{report}");
    // The browser moves sound and picture together step by step once it has sender reports of both.
    let skews = report["skews"].as_array().context("no skews")?;
    let mut last: Vec<f64> = skews.iter().rev().take(9).filter_map(Value::as_f64).collect();
    last.sort_by(f64::total_cmp);
    let median = last.get(last.len() / 2).context("no sender reports of sound and picture came")?;
    ensure!(median.abs() < 40.0, "sound and picture are {median} ms apart: {skews:?}");
    Ok(())
}

#[test]
fn what_a_browser_publishes_plays_on_every_wire() -> Result<()> {
    need!("ffmpeg", "ffprobe", "node", "chromium");
    let server = Start::bare("webrtc-publish").ready()?;
    let camera = browser(&["publish", &whip(&server, "camera")?, "40", "h264"])?;
    let mut camera = Program::start(camera, &server.dir, "camera")?;
    server.wait_stream("camera")?;
    let seen = watch(&server, "viewer", "play", &whep(&server, "camera")?, 5)?;
    is_well(&seen)?;
    let urls = [
        server.rtmp("live/camera"),
        server.http("live/camera.flv"),
        server.http("live/camera.m3u8"),
    ];
    for (at, url) in urls.iter().enumerate() {
        let file = server.dir.join(format!("camera-{at}.mkv"));
        let until_there = || {
            let mut record = command("ffmpeg", ["-v", "error", "-y", "-i", url, "-t", "4"]);
            record.args(["-c", "copy"]).arg(&file);
            let done = run(record, &server.dir, &format!("record-{at}"), e2e::PATIENCE).ok()?;
            done.status.success().then_some(())
        };
        until(&format!("{url} cannot be recorded"), until_there)?;
        let mut decode = command("ffmpeg", ["-v", "error", "-xerror", "-i"]);
        decode.arg(&file).args(["-f", "null", "-"]);
        run(decode, &server.dir, &format!("decode-{at}"), e2e::PATIENCE)?.well()?;
        let mut probe = command("ffprobe", ["-v", "error", "-show_entries", "stream=codec_name"]);
        probe.args(["-of", "csv=p=0"]).arg(&file);
        let codecs = run(probe, &server.dir, &format!("probe-{at}"), e2e::PATIENCE)?.stdout;
        ensure!(codecs.contains("h264") && codecs.contains("aac"), "{url}: {codecs}");
    }
    let ended = until("the browser does not end", || camera.ended().ok().flatten())?;
    let told = report(&camera.output())?;
    ensure!(ended.success() && told["verdict"] == "ok", "{told}");
    ensure!(told["gone"] == 200, "{told}");
    let mut told = String::new();
    let over = until("the stream outlives its publisher", || {
        let stream = server.stream("camera");
        told = format!("{stream:?}");
        let stream = stream.ok()??;
        (stream.pointer("/publish/active") == Some(&Value::Bool(false))).then_some(())
    });
    over.with_context(|| format!("the API says {told}"))
}

#[test]
fn a_restart_of_ice_goes_unnoticed() -> Result<()> {
    need!("ffmpeg", "node", "chromium");
    let server = Start::bare("webrtc-restart").ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let report = watch(&server, "restart", "restart", &whep(&server, "livestream")?, 10)?;
    is_well(&report)?;
    ensure!(report["etag"].as_str().is_some_and(|etag| !etag.is_empty()), "{report}");
    ensure!(number(&report, "/video/totalFreezesDuration")? < 0.5, "{report}");
    server.wait_log("the client restarts ICE")
}

#[test]
fn a_browser_publishes_several_sizes_and_another_gets_the_largest_that_fits() -> Result<()> {
    need!("node", "chromium");
    let server = Start::bare("webrtc-simulcast").ready()?;
    let camera = browser(&["publish", &whip(&server, "camera")?, "30", "vp8", "simulcast"])?;
    let camera = Program::start(camera, &server.dir, "camera")?;
    server.wait_stream("camera")?;
    let seen = watch(&server, "viewer", "play", &whep(&server, "camera")?, 12)?;
    is_well(&seen).with_context(|| camera.output())?;
    ensure!(number(&seen, "/video/frameWidth")? >= 320.0, "{seen}");
    Ok(())
}
