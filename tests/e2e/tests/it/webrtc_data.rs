//! Data channels with a real browser: echo, and what a stream has besides sound and pictures.

use std::fmt::Write as _;

use e2e::program::{Program, command, run};
use e2e::{Context, Result, Sample, Server, Start, ensure, need, until};
use serde_json::Value;

use crate::webrtc::{browser, is_well, number, report, whep, whip};
use crate::webrtc_stacks::aiortc_plays;

fn plays(server: &Server, name: &str, url: &str, seconds: &str) -> Result<Value> {
    let command = browser(&["play", url, seconds, "data"])?;
    let run = run(command, &server.dir, name, e2e::PATIENCE * 3)?;
    report(&run.stdout).with_context(|| format!("{}\n{}", run.stderr, server.log()))
}

/// What came in the channel of that type.
fn told<'a>(seen: &'a Value, kind: &str) -> Vec<&'a Value> {
    let all = seen.get("told").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(|one| one.get("type") == Some(&kind.into())).collect()
}

/// All lie at a picture's time, but those of before pictures run and of after the last.
fn lie_at_pictures(texts: &[&Value]) -> Result<()> {
    let shown = |one: &&&Value| one.get("within") == Some(&Value::Bool(true));
    let timed: Vec<_> = texts.iter().filter(shown).collect();
    ensure!(timed.len() >= 4, "too few lie within what was shown: {texts:?}");
    let mut away = timed.iter().map(|text| number(text, "/away")).collect::<Result<Vec<_>>>()?;
    away.sort_by(f64::total_cmp);
    // Two pictures of 25 in a second. A browser that starves leaves single pictures out, and the
    // nearest that it showed may then be further away.
    ensure!(away.get(away.len() / 2).is_some_and(|median| *median <= 7_200.0), "{timed:?}");
    ensure!(away.last().is_some_and(|most| *most <= 45_000.0), "{timed:?}");
    Ok(())
}

/// Echoes of all sizes came back, and in order.
fn talked(seen: &Value) -> Result<()> {
    ensure!(number(seen, "/talk/well")? == 16.0, "{seen}");
    ensure!(seen.pointer("/talk/inOrder") == Some(&Value::Bool(true)), "{seen}");
    ensure!(number(seen, "/talk/most")? == 65_536.0, "{seen}");
    Ok(())
}

#[test]
fn a_player_talks_and_is_told_the_metadata_and_texts_of_an_encoder() -> Result<()> {
    need!("ffmpeg", "node", "chromium");
    let server = Start::bare("webrtc-data").ready()?;
    let mut lines = String::new();
    for n in 0..100 {
        let at = |ms| format!("00:{:02}:{:02},{ms}", n / 60, n % 60);
        write!(lines, "{}\n{} --> {}\nline {n}\n\n", n + 1, at("000"), at("900"))?;
    }
    let texts = server.dir.join("texts.srt");
    std::fs::write(&texts, lines)?;
    let mut ffmpeg = command("ffmpeg", ["-v", "error", "-re", "-stream_loop", "-1", "-i"]);
    ffmpeg.arg(Sample::H264Aac.file()?).args(["-re", "-i"]).arg(&texts);
    ffmpeg.args(["-map", "0:v", "-map", "0:a", "-map", "1", "-c", "copy", "-c:s", "text"]);
    ffmpeg.args(["-metadata", "title=of the day", "-f", "flv", &server.rtmp("live/livestream")]);
    let publisher = Program::start(ffmpeg, &server.dir, "texts")?;
    server.wait_stream("livestream")?;
    let url = whep(&server, "livestream")?;
    let player = browser(&["play", &url, "12", "data"])?;
    let mut player = Program::start(player, &server.dir, "player")?;
    let noted = || {
        let clients = server.api("/api/v2/clients").ok()?.to_string();
        clients.contains("data channels: 3").then_some(())
    };
    until("the API does not tell of data channels", noted)?;
    until("the browser does not end", || player.ended().ok().flatten())?;
    let seen = report(&player.output()).with_context(|| {
        format!("{}\n{}\n{}", player.output(), publisher.output(), server.log())
    })?;
    is_well(&seen)?;
    talked(&seen)?;
    let metadata = told(&seen, "onMetaData");
    let first = metadata.first().with_context(|| format!("no metadata: {seen}"))?;
    ensure!(first["data"]["width"] == 320 && first["data"]["title"] == "of the day", "{first}");
    let texts = told(&seen, "onTextData");
    ensure!(texts.len() >= 6, "{}", seen["told"]);
    ensure!(texts.iter().all(|one| one["data"]["text"].as_str().is_some()), "{texts:?}");
    lie_at_pictures(&texts)
}

#[test]
fn what_a_publisher_says_in_its_channel_reaches_players_of_webrtc_and_of_flv() -> Result<()> {
    need!("node", "chromium", "ffmpeg");
    let server = Start::bare("webrtc-data-publish").ready()?;
    let camera = browser(&["publish", &whip(&server, "camera")?, "40", "h264", "data"])?;
    let camera = Program::start(camera, &server.dir, "camera")?;
    server.wait_stream("camera")?;
    let seen = plays(&server, "player", &whep(&server, "camera")?, "6")?;
    is_well(&seen).with_context(|| camera.output())?;
    talked(&seen)?;
    let (texts, scores) = (told(&seen, "onTextData"), told(&seen, "onScore"));
    ensure!(texts.len() >= 4 && scores.len() >= 4, "{}", seen["told"]);
    ensure!(texts.iter().all(|one| one["data"]["text"].as_str().is_some()), "{texts:?}");
    ensure!(scores.iter().all(|one| one["data"]["n"].is_u64()), "{scores:?}");
    ensure!(scores.iter().any(|one| one["rtp"]["video"].is_u64()), "{scores:?}");
    let file = server.dir.join("camera.flv");
    let mut record = command("ffmpeg", ["-v", "error", "-y", "-t", "4", "-i"]);
    record.arg(server.http("live/camera.flv")).args(["-map", "0", "-c", "copy"]).arg(&file);
    run(record, &server.dir, "record", e2e::PATIENCE)?;
    let bytes = until("nothing was recorded", || std::fs::read(&file).ok())?;
    let holds = bytes.windows(10).any(|part| part == b"onTextData");
    ensure!(holds, "the FLV of {} bytes has no texts", bytes.len());
    Ok(())
}

#[test]
fn where_data_channels_are_off_their_section_is_refused_and_media_play() -> Result<()> {
    need!("ffmpeg", "node", "chromium");
    let config = "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
        http_api { enabled on; listen API; }\n\
        rtc_server { enabled on; listen RTC_PORT; candidate 127.0.0.1; }\n\
        vhost __defaultVhost__ { rtc { enabled on; rtmp_to_rtc on; data_channel off; } }\n";
    let server = Start::config("webrtc-data-off", config).ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let seen = plays(&server, "player", &whep(&server, "livestream")?, "5")?;
    let sdp = seen["sdp"].as_str().context("no answer")?;
    ensure!(sdp.contains("m=application 0 "), "{sdp}");
    ensure!(number(&seen, "/video/framesDecoded")? > 0.0, "{seen}");
    Ok(())
}

#[test]
fn another_stack_talks_and_is_told_metadata() -> Result<()> {
    need!("ffmpeg", "python3", "aiortc");
    let server = Start::bare("webrtc-data-aiortc").ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let url = whep(&server, "livestream")?;
    let seen = aiortc_plays(&server, "aiortc", &url, &["video", "audio", "data"])?;
    ensure!(seen["echoes"] == 6, "{seen}");
    ensure!(seen["told"] == serde_json::json!(["onMetaData"]), "{seen}");
    Ok(())
}
