//! WebRTC with other stacks than the browser's: aiortc, GStreamer's webrtcbin, and ffmpeg's own.

use std::path::Path;
use std::process::Command;

use e2e::program::{Program, command, run};
use e2e::{Context, Result, Sample, Server, Start, ensure, need, until};
use serde_json::Value;

use crate::webrtc::{browser, is_well, number, report, watch, whep, whip};

/// WebRTC by TCP and nothing else.
const TCP_ONLY: &str = "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
    http_api { enabled on; listen API; }\n\
    rtc_server { enabled on; listen RTC_PORT; candidate 127.0.0.1; protocol tcp;\n\
    tcp { enabled on; listen RTC_PORT; } }\n\
    vhost __defaultVhost__ { rtc { enabled on; rtmp_to_rtc on; rtc_to_rtmp on; } }\n";

fn aiortc(arguments: &[&str]) -> Result<Command> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/aiortc_client.py");
    let folder = std::env::var_os("MILLRACE_AIORTC").context("MILLRACE_AIORTC is not set")?;
    let mut command = command("python3", [script]);
    command.args(arguments).env("PYTHONPATH", folder);
    Ok(command)
}

/// Everything came, and the session was ended by its own token alone.
fn ended_well(seen: &Value) -> Result<()> {
    let verdict = seen.get("verdict").and_then(Value::as_str);
    ensure!(verdict == Some("ok"), "{seen}");
    let status = |name| seen.get(name).and_then(Value::as_u64);
    ensure!(status("forged") == Some(403), "a wrong token ended the session: {seen}");
    ensure!(status("gone") == Some(200), "the session was not ended by DELETE: {seen}");
    Ok(())
}

pub(crate) fn aiortc_plays(
    server: &Server,
    name: &str,
    url: &str,
    kinds: &[&str],
) -> Result<Value> {
    let command = aiortc(&[&["play", url, "3"], kinds].concat())?;
    let run = run(command, &server.dir, name, e2e::PATIENCE * 2)?;
    let seen = report(&run.stdout).with_context(|| format!("{}\n{}", run.stderr, server.log()))?;
    ended_well(&seen)?;
    Ok(seen)
}

/// The codecs that a player of RTMP or HTTP-FLV is told.
fn codecs(server: &Server, name: &str, url: &str) -> Result<String> {
    let ask = || {
        let mut probe = command("ffprobe", ["-v", "error", "-show_entries", "stream=codec_name"]);
        probe.args(["-of", "csv=p=0", url]);
        let text = run(probe, &server.dir, name, e2e::PATIENCE).ok()?.stdout;
        (text.lines().count() >= 2).then_some(text)
    };
    until(&format!("{url} has not both media"), ask)
}

fn is_h264_aac_everywhere(server: &Server, stream: &str) -> Result<()> {
    let urls = [server.rtmp(&format!("live/{stream}")), server.http(&format!("live/{stream}.flv"))];
    for url in urls {
        let told = codecs(server, "probe", &url)?;
        ensure!(told.contains("h264") && told.contains("aac"), "{url}: {told}");
    }
    Ok(())
}

#[test]
fn aiortc_plays_what_an_encoder_publishes_by_rtmp() -> Result<()> {
    need!("ffmpeg", "python3", "aiortc");
    let server = Start::bare("stacks-aiortc-play").ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let url = whep(&server, "livestream")?;
    let seen = aiortc_plays(&server, "both", &url, &[])?;
    ensure!(number(&seen, "/video/framesDecoded")? >= 50.0, "{seen}");
    ensure!(number(&seen, "/video/pictures")? >= 10.0, "the picture stands still: {seen}");
    ensure!(number(&seen, "/audio/totalAudioEnergy")? > 0.0, "no sound was heard: {seen}");
    let seen = aiortc_plays(&server, "sound", &url, &["audio"])?;
    ensure!(number(&seen, "/audio/totalAudioEnergy")? > 0.0, "no sound was heard: {seen}");
    let seen = aiortc_plays(&server, "picture", &url, &["video"])?;
    ensure!(number(&seen, "/video/pictures")? >= 10.0, "the picture stands still: {seen}");
    Ok(())
}

#[test]
fn what_aiortc_publishes_plays_by_rtmp_http_flv_and_in_a_browser() -> Result<()> {
    need!("ffprobe", "node", "chromium", "python3", "aiortc");
    let server = Start::bare("stacks-aiortc-publish").ready()?;
    let publish = aiortc(&["publish", &whip(&server, "camera")?, "25", "h264"])?;
    let mut camera = Program::start(publish, &server.dir, "camera")?;
    server.wait_stream("camera")?;
    is_well(&watch(&server, "viewer", "play", &whep(&server, "camera")?, 6)?)?;
    is_h264_aac_everywhere(&server, "camera")?;
    let ended = until("aiortc does not end", || camera.ended().ok().flatten())?;
    let told = report(&camera.output())?;
    ensure!(ended.success(), "{told}");
    ended_well(&told)
}

#[test]
fn vp8_of_aiortc_plays_in_a_browser_and_in_aiortc() -> Result<()> {
    need!("node", "chromium", "python3", "aiortc");
    let server = Start::bare("stacks-aiortc-vp8").ready()?;
    let publish = aiortc(&["publish", &whip(&server, "camera")?, "60", "vp8"])?;
    let _camera = Program::start(publish, &server.dir, "camera")?;
    server.wait_stream("camera")?;
    let url = whep(&server, "camera")?;
    let seen = watch(&server, "viewer", "play", &url, 6)?;
    is_well(&seen)?;
    ensure!(seen.pointer("/video/codec") == Some(&"video/VP8".into()), "{seen}");
    let seen = aiortc_plays(&server, "aiortc", &url, &[])?;
    ensure!(number(&seen, "/video/pictures")? >= 10.0, "the picture stands still: {seen}");
    Ok(())
}

#[test]
fn what_ffmpeg_publishes_by_whip_plays_by_rtmp_and_in_a_browser() -> Result<()> {
    need!("newer ffmpeg", "ffprobe", "node", "chromium");
    let server = Start::bare("stacks-ffmpeg").ready()?;
    let ffmpeg = std::env::var("MILLRACE_NEWER_FFMPEG")?;
    let mut publish = command(&ffmpeg, ["-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i"]);
    publish.args(["testsrc2=s=320x180:r=25", "-f", "lavfi", "-i", "sine=f=440:r=48000"]);
    publish.args(["-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "baseline"]);
    publish.args(["-g", "50", "-pix_fmt", "yuv420p", "-c:a", "libopus", "-ac", "2"]);
    publish.args(["-f", "whip", &whip(&server, "camera")?]);
    let camera = Program::start(publish, &server.dir, "camera")?;
    server.wait_stream("camera").with_context(|| camera.output())?;
    is_well(&watch(&server, "viewer", "play", &whep(&server, "camera")?, 6)?)?;
    is_h264_aac_everywhere(&server, "camera")
}

#[test]
fn a_viewer_that_comes_first_plays_once_there_is_a_publisher() -> Result<()> {
    need!("ffmpeg", "node", "chromium");
    let server = Start::bare("stacks-early").ready()?;
    let viewer = browser(&["play", &whep(&server, "livestream")?, "8"])?;
    let mut viewer = Program::start(viewer, &server.dir, "viewer")?;
    server.wait_log("WebRTC connected")?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    until("the browser does not end", || viewer.ended().ok().flatten())?;
    is_well(&report(&viewer.output())?)
}

#[test]
fn a_browser_plays_by_tcp_where_no_datagram_is_offered() -> Result<()> {
    need!("ffmpeg", "node", "chromium");
    plays_by_tcp("stacks-tcp", TCP_ONLY)
}

#[test]
fn a_browser_plays_by_the_very_port_that_it_asks_at() -> Result<()> {
    need!("ffmpeg", "node", "chromium");
    let shared =
        TCP_ONLY.replace("tcp { enabled on; listen RTC_PORT; }", "tcp { enabled on; listen API; }");
    plays_by_tcp("stacks-tcp-shared", &shared)
}

fn plays_by_tcp(name: &str, config: &str) -> Result<()> {
    let server = Start::config(name, config).ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let seen = watch(&server, "viewer", "play", &whep(&server, "livestream")?, 6)?;
    is_well(&seen)?;
    let answer = seen.get("sdp").and_then(serde_json::Value::as_str).context("no answer")?;
    ensure!(!answer.contains(" udp "), "datagrams are offered: {answer}");
    Ok(())
}

/// GStreamer with a certificate of ECDSA: its own are RSA, which our DTLS does not take.
fn webrtcbin(arguments: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/webrtcbin.py");
    // Debian's own: another Python does not find the bindings.
    let mut command = command("/usr/bin/python3", [script]);
    command.args(arguments);
    command
}

#[test]
fn webrtcbin_plays_what_an_encoder_publishes_by_rtmp() -> Result<()> {
    need!("ffmpeg", "webrtcbin");
    let server = Start::bare("stacks-webrtcbin-play").ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let play = webrtcbin(&["play", &whep(&server, "livestream")?, "3"]);
    let run = run(play, &server.dir, "viewer", e2e::PATIENCE * 2)?;
    let seen = report(&run.stdout).with_context(|| format!("{}\n{}", run.stderr, server.log()))?;
    ended_well(&seen)?;
    ensure!(number(&seen, "/video/framesDecoded")? >= 50.0, "{seen}");
    ensure!(number(&seen, "/audio/framesDecoded")? >= 50.0, "{seen}");
    Ok(())
}

#[test]
fn what_webrtcbin_publishes_plays_by_rtmp_http_flv_and_in_a_browser() -> Result<()> {
    need!("ffprobe", "node", "chromium", "webrtcbin");
    let server = Start::bare("stacks-webrtcbin-publish").ready()?;
    let url = whip(&server, "camera")?;
    let camera = webrtcbin(&["publish", &url, "60", "h264", "mono"]);
    let _camera = Program::start(camera, &server.dir, "camera")?;
    let plain = webrtcbin(&["publish", &whip(&server, "plain")?, "60", "vp8"]);
    let _plain = Program::start(plain, &server.dir, "plain")?;
    server.wait_stream("camera")?;
    is_well(&watch(&server, "viewer", "play", &whep(&server, "camera")?, 6)?)?;
    is_h264_aac_everywhere(&server, "camera")?;
    server.wait_stream("plain")?;
    let seen = watch(&server, "vp8", "play", &whep(&server, "plain")?, 6)?;
    is_well(&seen)?;
    ensure!(seen.pointer("/video/codec") == Some(&"video/VP8".into()), "{seen}");
    Ok(())
}
