//! WebRTC where publishers differ: one follows another, and some send sound or pictures alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::program::{Program, command, run};
use e2e::{Context, Result, Sample, Server, Start, ensure, need, until};
use serde_json::Value;

use crate::webrtc::{browser, is_well, number, report, watch, whep, whip};

/// How long after another publisher began its picture and its sound must have come.
const SOON: f64 = 5_000.0;

fn epoch_ms() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1_000.0)
}

/// What a viewer had seen and heard at some moments: epoch milliseconds, pictures, energy, skew.
fn looks(report: &Value) -> Result<Vec<(f64, f64, f64, Option<f64>)>> {
    let began = number(report, "/began")?;
    let looks = report["looks"].as_array().context("no looks")?;
    looks
        .iter()
        .map(|look| {
            let skew = look["skew"].as_f64();
            Ok((
                began + number(look, "/ms")?,
                number(look, "/frames")?,
                number(look, "/energy")?,
                skew,
            ))
        })
        .collect()
}

/// Pictures and sound came soon after `from`.
fn goes_on(report: &Value, from: f64, what: &str) -> Result<()> {
    let looks = looks(report)?;
    let before = looks.iter().rev().find(|look| look.0 <= from).context("it began too late")?;
    let soon = |look: &&(f64, f64, f64, Option<f64>)| look.0 > from && look.0 <= from + SOON;
    let seen = looks.iter().filter(soon).any(|look| look.1 > before.1);
    let heard = looks.iter().filter(soon).any(|look| look.2 > before.2);
    ensure!(seen && heard, "{what}: seen {seen}, heard {heard} within {SOON} ms: {report}");
    Ok(())
}

/// The median of how far sound and picture were apart in the 5 s before `until`.
fn skew_before(report: &Value, until: f64) -> Result<f64> {
    let looks = looks(report)?;
    let last = looks.iter().filter(|look| look.0 <= until && look.0 > until - 5_000.0);
    let mut skews: Vec<f64> = last.filter_map(|look| look.3).collect();
    skews.sort_by(f64::total_cmp);
    skews.get(skews.len() / 2).copied().context("nothing is known of sound and picture")
}

#[test]
fn a_viewer_stays_while_publishers_of_rtmp_and_webrtc_take_turns() -> Result<()> {
    need!("ffmpeg", "node", "chromium");
    let server = Start::bare("webrtc-turns").ready()?;
    let url = server.rtmp("live/livestream");
    let first = Sample::H264Aac.publish(&server, &url)?;
    server.wait_stream("livestream")?;
    let viewer = browser(&["play", &whep(&server, "livestream")?, "90"])?;
    let mut viewer = Program::start(viewer, &server.dir, "viewer")?;
    server.wait_log("WebRTC connected")?;
    std::thread::sleep(Duration::from_secs(10));
    drop(first);
    let camera = browser(&["publish", &whip(&server, "livestream")?, "30", "h264"])?;
    let camera = run(camera, &server.dir, "camera", e2e::PATIENCE * 3)?;
    let camera = report(&camera.stdout).context("the camera")?;
    ensure!(camera["verdict"] == "ok", "{camera}");
    let left = epoch_ms()?;
    let _second = Sample::H264Aac.publish(&server, &url)?;
    let ended = until("the viewer does not end", || viewer.ended().ok().flatten())?;
    let seen = report(&viewer.output())?;
    ensure!(ended.success() && seen["verdict"] == "ok", "{seen}");
    goes_on(&seen, number(&camera, "/began")?, "RTMP to WebRTC")?;
    goes_on(&seen, left, "WebRTC to RTMP")?;
    let end = looks(&seen)?.last().context("no looks")?.0;
    for (until, what) in [(left - 2_000.0, "of WebRTC"), (end, "of RTMP after it")] {
        let skew = skew_before(&seen, until)?;
        ensure!(skew.abs() < 40.0, "the publisher {what}: {skew} ms apart: {seen}");
    }
    Ok(())
}

/// The codecs that a player is told, once they are all there.
fn codecs(server: &Server, url: &str, wanted: &[&str]) -> Result<()> {
    let mut told = String::new();
    let there = until("", || {
        let mut probe = command("ffprobe", ["-v", "error", "-show_entries", "stream=codec_name"]);
        probe.args(["-of", "csv=p=0", url]);
        told = run(probe, &server.dir, "probe", e2e::PATIENCE).ok()?.stdout;
        let mut codecs: Vec<&str> = told.lines().collect();
        codecs.sort_unstable();
        (codecs == wanted).then_some(())
    });
    there.with_context(|| format!("{url}: not {wanted:?} but {told}"))
}

/// So many seconds of it decode without a fault.
fn decodes(server: &Server, name: &str, url: &str) -> Result<()> {
    let mut decode = command("ffmpeg", ["-v", "error", "-xerror", "-i", url, "-t", "3"]);
    decode.args(["-f", "null", "-"]);
    run(decode, &server.dir, name, e2e::PATIENCE)?.well()?;
    Ok(())
}

#[test]
fn a_browser_that_publishes_sound_or_pictures_alone_plays_on_every_wire() -> Result<()> {
    need!("ffmpeg", "ffprobe", "node", "chromium");
    let server = Start::bare("webrtc-alone").ready()?;
    for (alone, codec) in [("sound", "aac"), ("pictures", "h264")] {
        let camera = browser(&["publish", &whip(&server, alone)?, "30", "h264", alone])?;
        let mut camera = Program::start(camera, &server.dir, &format!("camera-{alone}"))?;
        server.wait_stream(alone)?;
        // The player asks for both.
        let args = ["play", &whep(&server, alone)?, "4", alone];
        let seen = run(browser(&args)?, &server.dir, "viewer", e2e::PATIENCE * 2)?;
        let seen = report(&seen.stdout).with_context(|| seen.stderr.clone())?;
        ensure!(seen["verdict"] == "ok", "{alone}: {seen}");
        for url in
            [server.rtmp(&format!("live/{alone}")), server.http(&format!("live/{alone}.flv"))]
        {
            codecs(&server, &url, &[codec])?;
            decodes(&server, "decode", &url)?;
        }
        let ended = until("the browser does not end", || camera.ended().ok().flatten())?;
        let told = report(&camera.output())?;
        ensure!(ended.success() && told["verdict"] == "ok", "{told}");
    }
    Ok(())
}

#[test]
fn a_browser_plays_sound_or_pictures_alone_of_an_encoder() -> Result<()> {
    need!("ffmpeg", "node", "chromium");
    let server = Start::bare("webrtc-alone-rtmp").ready()?;
    for (alone, drop) in [("sound", "-vn"), ("pictures", "-an")] {
        let url = server.rtmp(&format!("live/{alone}"));
        let _publisher = Sample::H264Aac.publish_with(&server, &url, &[drop])?;
        server.wait_stream(alone)?;
        // What never has a picture is known to have none after 2.5 s.
        std::thread::sleep(Duration::from_secs(4));
        let args = ["play", &whep(&server, alone)?, "5", alone];
        let seen = run(browser(&args)?, &server.dir, alone, e2e::PATIENCE * 2)?;
        let seen = report(&seen.stdout).with_context(|| seen.stderr.clone())?;
        ensure!(seen["verdict"] == "ok" && seen["gone"] == 200, "{alone}: {seen}");
    }
    Ok(())
}

#[test]
fn one_of_two_viewers_leaves_and_comes_again() -> Result<()> {
    need!("node", "chromium");
    let server = Start::bare("webrtc-again").ready()?;
    let camera = browser(&["publish", &whip(&server, "camera")?, "60", "vp8"])?;
    let _camera = Program::start(camera, &server.dir, "camera")?;
    server.wait_stream("camera")?;
    let url = whep(&server, "camera")?;
    let mut stays = Program::start(browser(&["play", &url, "20"])?, &server.dir, "stays")?;
    for time in ["first", "second"] {
        is_well(&watch(&server, time, "play", &url, 4)?)?;
    }
    let ended = until("the viewer does not end", || stays.ended().ok().flatten())?;
    let seen = report(&stays.output())?;
    ensure!(ended.success(), "{seen}");
    is_well(&seen)?;
    ensure!(number(&seen, "/video/totalFreezesDuration")? < 1.0, "{seen}");
    Ok(())
}
