//! WebRTC where publishers differ: one follows another, and some send sound or pictures alone.

use std::net::UdpSocket;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::program::{Program, command, run};
use e2e::{Context, Result, Sample, Server, Start, ensure, need, until};
use serde_json::Value;

use crate::webrtc::{browser, is_well, number, report, watch, whep, whip};

/// How long after another publisher began its picture and its sound must have come.
const SOON: f64 = 5_000.0;

fn epoch_ms() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1_000.0)
}

/// What a viewer had seen and heard by a moment.
struct Look {
    epoch_ms: f64,
    pictures: f64,
    energy: f64,
    skew_ms: Option<f64>,
}

fn looks(report: &Value) -> Result<Vec<Look>> {
    let began = number(report, "/began")?;
    let looks = report["looks"].as_array().context("no looks")?;
    let look = |look: &Value| {
        Ok(Look {
            epoch_ms: began + number(look, "/ms")?,
            pictures: number(look, "/frames")?,
            energy: number(look, "/energy")?,
            skew_ms: look["skew"].as_f64(),
        })
    };
    looks.iter().map(look).collect()
}

/// Pictures and sound came soon after `from`.
fn goes_on(report: &Value, from: f64, what: &str) -> Result<()> {
    let looks = looks(report)?;
    let before = looks.iter().rev().find(|look| look.epoch_ms <= from);
    let before = before.context("it began too late")?;
    let soon = |look: &&Look| look.epoch_ms > from && look.epoch_ms <= from + SOON;
    let seen = looks.iter().filter(soon).any(|look| look.pictures > before.pictures);
    let heard = looks.iter().filter(soon).any(|look| look.energy > before.energy);
    ensure!(seen && heard, "{what}: seen {seen}, heard {heard} within {SOON} ms: {report}");
    Ok(())
}

/// The median of how far sound and picture were apart in the 5 s before `until`.
fn skew_before(report: &Value, until: f64) -> Result<f64> {
    let looks = looks(report)?;
    let last = looks.iter().filter(|look| (until - 5_000.0..=until).contains(&look.epoch_ms));
    let mut skews: Vec<f64> = last.filter_map(|look| look.skew_ms).collect();
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
    let end = looks(&seen)?.last().context("no looks")?.epoch_ms;
    for (until, what) in [(left - 2_000.0, "of WebRTC"), (end, "of RTMP after it")] {
        let skew = skew_before(&seen, until)?;
        ensure!(skew.abs() < 40.0, "the publisher {what}: {skew} ms apart: {seen}");
    }
    Ok(())
}

#[test]
fn a_viewer_stays_while_publishers_of_other_codings_take_turns() -> Result<()> {
    need!("ffmpeg", "newer ffmpeg", "node", "chromium");
    let server = Start::bare("webrtc-other-codings").ready()?;
    let first = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let viewer = browser(&["play", &whep(&server, "livestream")?, "75"])?;
    let mut viewer = Program::start(viewer, &server.dir, "viewer")?;
    let told = |what: &str| {
        until(&format!("the API does not say of the viewer: {what}"), || {
            let clients = server.api("/api/v2/clients").ok()?.to_string();
            clients.contains(what).then_some(())
        })
    };
    server.wait_log("WebRTC connected")?;
    told("; video H264")?;
    std::thread::sleep(Duration::from_secs(5));
    drop(first);
    for (coding, what) in [("vp8", "; video VP8"), ("vp9", "; video VP9")] {
        let camera = browser(&["publish", &whip(&server, "livestream")?, "12", coding])?;
        let mut camera = Program::start(camera, &server.dir, coding)?;
        told(what)?;
        let ended = until("the browser does not end", || camera.ended().ok().flatten())?;
        let camera = report(&camera.output())?;
        ensure!(ended.success() && camera["verdict"] == "ok", "{camera}");
    }
    // Chromium takes no HEVC without a decoder in hardware.
    let hevc = Sample::HevcAac.publish(&server, &server.rtmp("live/livestream"))?;
    told("; no video: the publisher sends HEVC now, which the client did not offer")?;
    drop(hevc);
    let last = epoch_ms()?;
    let _again = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    let ended = until("the viewer does not end", || viewer.ended().ok().flatten())?;
    let seen = report(&viewer.output())?;
    ensure!(ended.success() && seen["verdict"] == "ok", "{seen}");
    goes_on(&seen, last, "HEVC to H.264 of RTMP")?;
    ensure!(seen.pointer("/video/codec") == Some(&"video/H264".into()), "{seen}");
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
        // Time for the metadata, which name what there is; 2.5 s of sound would tell, too.
        std::thread::sleep(Duration::from_millis(500));
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

/// WebRTC without HLS, which would take every stream from its beginning.
const NO_HLS: &str = "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
    http_api { enabled on; listen API; }\nhttp_server { enabled on; listen HTTP; }\n\
    rtc_server { enabled on; listen RTC_PORT; candidate 127.0.0.1; MORE }\n\
    vhost __defaultVhost__ { rtc { enabled on; rtmp_to_rtc on; rtc_to_rtmp on; }\n\
    http_remux { enabled on; mount [vhost]/[app]/[stream].flv; } }\n";

#[test]
fn who_comes_later_hears_the_sound_of_the_first_picture_though_nobody_listened_before() -> Result<()>
{
    need!("ffmpeg", "ffprobe", "node", "chromium");
    let server = Start::config("webrtc-nobody", &NO_HLS.replace("MORE", "")).ready()?;
    let camera = browser(&["publish", &whip(&server, "camera")?, "60", "h264"])?;
    let _camera = Program::start(camera, &server.dir, "camera")?;
    server.wait_stream("camera")?;
    // Sound is made for nobody during the first 5 s; then it waits.
    std::thread::sleep(Duration::from_secs(9));
    for time in ["first", "again"] {
        let url = server.http("live/camera.flv");
        let mut probe = command("ffprobe", ["-v", "error", "-read_intervals", "%+10", &url]);
        probe.args(["-show_entries", "packet=codec_type,pts_time", "-of", "csv=p=0"]);
        let told = run(probe, &server.dir, time, e2e::PATIENCE)?.well()?.stdout;
        let times = |kind: &str| -> Vec<f64> {
            let lines = told.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(','));
            lines.filter_map(|time| time.trim_end_matches(',').parse().ok()).collect()
        };
        let (seen, heard) = (times("video"), times("audio"));
        let first = |times: &[f64]| times.first().copied().context("one medium is missing");
        let late = first(&heard)? - first(&seen)?;
        ensure!(late < 0.3, "{time}: sound begins {late} s after the pictures: {told}");
        let longest = heard.windows(2).map(|two| two[1] - two[0]).fold(0.0, f64::max);
        ensure!(longest < 0.1, "{time}: {longest} s without sound: {told}");
        std::thread::sleep(Duration::from_secs(7));
    }
    Ok(())
}

#[test]
fn what_a_browser_sends_is_copied_in_the_clear_where_that_is_asked_for() -> Result<()> {
    need!("node", "chromium");
    let hole = UdpSocket::bind("127.0.0.1:0")?;
    hole.set_read_timeout(Some(Duration::from_secs(1)))?;
    let more = format!("black_hole {{ enabled on; addr {}; }}", hole.local_addr()?);
    let server = Start::config("webrtc-hole", &NO_HLS.replace("MORE", &more)).ready()?;
    let camera = browser(&["publish", &whip(&server, "camera")?, "20", "h264"])?;
    let _camera = Program::start(camera, &server.dir, "camera")?;
    let (mut pictures, mut clear, mut reports) = (0u32, 0u32, 0u32);
    let mut room = [0; 2_000];
    let end = Instant::now() + e2e::PATIENCE;
    while (pictures < 20 || reports < 2) && Instant::now() < end {
        let Ok(len) = hole.recv(&mut room) else { continue };
        let Some(packet) = room.get(..len).filter(|packet| packet.len() > 16) else { continue };
        ensure!(packet[0] >> 6 == 2, "no RTP: {packet:?}");
        if packet[1] == 200 {
            reports += 1;
            // Seconds of NTP, which encryption would hide.
            let seconds = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
            ensure!(seconds > 3_900_000_000, "the report is encrypted");
        }
        // Of sound the packets are short.
        if packet[1] < 192 && packet.len() > 300 {
            let words = if packet[0] & 0x10 != 0 { 1 + usize::from(packet[15]) } else { 0 };
            let nal = packet.get(12 + 4 * words).map_or(0, |byte| byte & 0x1f);
            pictures += 1;
            clear += u32::from(matches!(nal, 1 | 5 | 6 | 7 | 8 | 24 | 28));
        }
    }
    ensure!(pictures >= 20 && clear == pictures, "{clear} of {pictures} are in the clear");
    ensure!(reports >= 2, "no reports came");
    Ok(())
}

#[test]
fn a_browser_plays_av1_and_vp9_of_enhanced_rtmp_and_of_hevc_the_sound() -> Result<()> {
    need!("ffmpeg", "newer ffmpeg", "node", "chromium");
    let server = Start::bare("webrtc-enhanced").ready()?;
    for (sample, codec) in [(Sample::Av1Aac, "video/AV1"), (Sample::Vp9Opus, "video/VP9")] {
        let name = format!("{sample:?}");
        let _publisher = sample.publish(&server, &server.rtmp(&format!("live/{name}")))?;
        server.wait_stream(&name)?;
        let seen = watch(&server, &name, "play", &whep(&server, &name)?, 5)?;
        is_well(&seen)?;
        ensure!(seen.pointer("/video/codec") == Some(&codec.into()), "{seen}");
    }
    let _publisher = Sample::HevcAac.publish(&server, &server.rtmp("live/hevc"))?;
    server.wait_stream("hevc")?;
    // As long as nothing is known of the stream, anything may come.
    std::thread::sleep(Duration::from_secs(2));
    let viewer = browser(&["play", &whep(&server, "hevc")?, "10", "sound"])?;
    let mut viewer = Program::start(viewer, &server.dir, "hevc")?;
    let why = "no video: the stream has HEVC, which the client does not take";
    until("the API does not say what the viewer does not get", || {
        let clients = server.api("/api/v2/clients").ok()?.to_string();
        clients.contains(why).then_some(())
    })?;
    let ended = until("the viewer does not end", || viewer.ended().ok().flatten())?;
    let seen = report(&viewer.output())?;
    ensure!(ended.success() && seen["verdict"] == "ok", "{seen}");
    let answer = seen["sdp"].as_str().context("no answer")?;
    ensure!(answer.contains("the stream has HEVC"), "the answer gives no reason: {answer}");
    Ok(())
}

#[test]
fn av1_and_vp9_of_a_browser_travel_by_enhanced_rtmp() -> Result<()> {
    need!("ffmpeg", "ffprobe", "newer ffmpeg", "node", "chromium");
    let newer = std::env::var("MILLRACE_NEWER_FFMPEG")?;
    let server = Start::bare("webrtc-codecs").ready()?;
    for codec in ["av1", "vp9"] {
        let camera = browser(&["publish", &whip(&server, codec)?, "20", codec])?;
        let mut camera = Program::start(camera, &server.dir, &format!("camera-{codec}"))?;
        server.wait_stream(codec)?;
        let urls =
            [server.rtmp(&format!("live/{codec}")), server.http(&format!("live/{codec}.flv"))];
        for (at, url) in urls.iter().enumerate() {
            let file = server.dir.join(format!("{codec}-{at}.mkv"));
            let recorded = || {
                let mut record = command(&newer, ["-v", "error", "-y", "-i", url, "-t", "3"]);
                record.args(["-c", "copy"]).arg(&file);
                let done = run(record, &server.dir, "record", e2e::PATIENCE).ok()?;
                done.status.success().then_some(())
            };
            until(&format!("{url} cannot be recorded"), recorded)?;
            let mut decode = command(&newer, ["-v", "error", "-xerror", "-i"]);
            decode.arg(&file).args(["-fps_mode", "passthrough", "-f", "null", "-"]);
            run(decode, &server.dir, "decode", e2e::PATIENCE)?.well()?;
            let mut probe = command("ffprobe", ["-v", "error", "-count_packets", "-show_entries"]);
            probe.args(["stream=codec_name,nb_read_packets", "-of", "csv=p=0"]).arg(&file);
            let told = run(probe, &server.dir, "probe", e2e::PATIENCE)?.stdout;
            let packets = |name: &str| {
                let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(','));
                line.and_then(|count| count.trim().parse().ok()).unwrap_or(0u32)
            };
            ensure!(packets(codec) >= 40 && packets("aac") >= 100, "{url}: {told}");
        }
        let ended = until("the browser does not end", || camera.ended().ok().flatten())?;
        let told = report(&camera.output())?;
        ensure!(ended.success() && told["verdict"] == "ok", "{told}");
    }
    Ok(())
}

#[test]
fn opus_that_is_kept_travels_by_enhanced_flv_and_in_transport_streams() -> Result<()> {
    need!("ffmpeg", "newer ffmpeg", "node", "chromium");
    let newer = std::env::var("MILLRACE_NEWER_FFMPEG")?;
    let keep = NO_HLS.replace("rtc_to_rtmp on;", "rtc_to_rtmp on; keep_opus on;");
    let keep = keep.replace("MORE", "").replace(".flv;", ".ts;");
    let server = Start::config("webrtc-opus", &keep).ready()?;
    let camera = browser(&["publish", &whip(&server, "camera")?, "40", "h264"])?;
    let _camera = Program::start(camera, &server.dir, "camera")?;
    server.wait_stream("camera")?;
    let (ts, rtmp) = (server.http("live/camera.ts"), server.rtmp("live/camera"));
    for (ffmpeg, url) in [("ffmpeg", ts), (&newer, rtmp)] {
        let mut decode = command(ffmpeg, ["-xerror", "-i", &url, "-t", "3", "-f", "null", "-"]);
        decode.arg("-hide_banner");
        let told = run(decode, &server.dir, "decode", e2e::PATIENCE)?.well()?.stderr;
        let comes = |what| told.contains(what);
        ensure!(comes("Video: h264") && comes("Audio: opus"), "{url}: {told}");
        ensure!(comes("48000 Hz, stereo"), "{url}: {told}");
    }
    Ok(())
}

#[test]
fn a_browser_is_asked_for_a_key_frame_as_often_as_pli_for_rtmp_says() -> Result<()> {
    need!("ffprobe", "node", "chromium");
    let often = NO_HLS.replace("rtc_to_rtmp on;", "rtc_to_rtmp on; pli_for_rtmp 2;");
    let server = Start::config("webrtc-pli", &often.replace("MORE", "")).ready()?;
    let camera = browser(&["publish", &whip(&server, "camera")?, "40", "h264"])?;
    let _camera = Program::start(camera, &server.dir, "camera")?;
    server.wait_stream("camera")?;
    // A browser sends a key frame first, and then only those that it is asked for.
    std::thread::sleep(Duration::from_secs(3));
    let url = server.http("live/camera.flv");
    let probed = |name: &str, span: &str| -> Result<Vec<f64>> {
        let mut probe = command("ffprobe", ["-v", "error", "-read_intervals", span, &url]);
        probe.args(["-select_streams", "v", "-show_entries", "packet=pts_time,flags"]);
        probe.args(["-of", "csv=p=0"]);
        let told = run(probe, &server.dir, name, e2e::PATIENCE)?.well()?.stdout;
        let keys = told.lines().filter_map(|line| line.split_once(",K"));
        Ok(keys.filter_map(|(time, _)| time.parse().ok()).collect())
    };
    let keys = probed("long", "%+11")?;
    ensure!(keys.len() >= 4, "too few key frames: {keys:?}");
    let apart: Vec<f64> = keys.windows(2).map(|two| two[1] - two[0]).collect();
    // It answers within some pictures, and the clock looks each 10 ms.
    ensure!(apart.iter().all(|gap| (1.5..3.5).contains(gap)), "{apart:?}");
    Ok(())
}
