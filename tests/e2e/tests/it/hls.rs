//! HLS, read strictly.

use std::collections::BTreeMap;

use e2e::playlist::Playlist;
use e2e::program::{command, run};
use e2e::{Result, Sample, Server, Start, ensure, http, let_run, need, probe, ts, until};

const PATH: &str = "/live/livestream.m3u8";

/// Every segment of the playlist keeps the standard, and none breaks off from the one before.
fn segments_are_clean(server: &Server, playlist: &Playlist, sample: Sample) -> Result<()> {
    playlist.keeps_its_target()?;
    for segment in &playlist.segments {
        let answer = http::get(server.http_address()?, &segment.path)?;
        ensure!(answer.status == 200, "GET {}: {}", segment.path, answer.status);
        let kind = answer.header("content-type").unwrap_or_default().to_ascii_lowercase();
        ensure!(kind == "video/mp2t", "{} is {kind:?}", segment.path);
        ts::check(&answer.body, sample.video().is_some())
            .map_err(|e| e2e::anyhow!("{}: {e:#}", segment.path))?;
        let file = server.dir.join(format!("segment-{}.ts", e2e::record::serial()));
        std::fs::write(&file, &answer.body)?;
        let probe = probe::probe(&file.display().to_string(), sample, &server.dir)?;
        if sample.video().is_some() {
            let video = probe.track("video")?;
            ensure!(video.packets.first().is_some_and(|p| p.key), "no key frame first");
        }
        let said = segment.duration;
        let short = probe.seconds() <= said + 0.1;
        ensure!(short, "{} says {said} s and holds {:.2} s", segment.path, probe.seconds());
    }
    Ok(())
}

fn strict(name: &str, sample: Sample) -> Result<()> {
    need!("ffmpeg", "ffprobe");
    let server = Start::bare(name).ready()?;
    let _publisher = sample.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let playlist = Playlist::wait(&server, PATH, 3)?;
    ensure!(!playlist.ended, "a live playlist has no end");
    segments_are_clean(&server, &playlist, sample)?;
    let url = server.http(PATH.trim_start_matches('/'));
    let args = ["-v", "warning", "-show_streams", "-of", "json", &url];
    let run = run(command("ffprobe", args), &server.dir, "strict", e2e::PATIENCE)?.well()?;
    ensure!(run.stderr.trim().is_empty(), "ffprobe warns: {}", run.stderr);
    Ok(())
}

#[test]
fn a_strict_reader_has_no_complaint() -> Result<()> {
    strict("hls-strict", Sample::H264Aac)
}

#[test]
fn a_strict_reader_has_no_complaint_of_b_frames() -> Result<()> {
    strict("hls-strict-b", Sample::BFrames)
}

#[test]
fn a_strict_reader_has_no_complaint_of_audio_alone() -> Result<()> {
    strict("hls-strict-audio", Sample::Aac)
}

#[test]
fn the_first_playlist_is_held_until_it_has_a_segment() -> Result<()> {
    need!("ffmpeg");
    let server = Start::bare("hls-held").ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let playlist = Playlist::read(&server, PATH)?;
    ensure!(!playlist.segments.is_empty(), "an empty playlist was served");
    Ok(())
}

#[test]
fn a_playlist_moves_on_and_never_renames_a_segment() -> Result<()> {
    need!("ffmpeg");
    let server = Start::bare("hls-moves").ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    let mut known: BTreeMap<u64, String> = BTreeMap::new();
    let mut path = Playlist::wait(&server, PATH, 1)?.path;
    for _ in 0..8 {
        let playlist = Playlist::read(&server, &path)?;
        path.clone_from(&playlist.path);
        for (number, segment) in (playlist.first..).zip(&playlist.segments) {
            let name = known.entry(number).or_insert_with(|| segment.path.clone());
            ensure!(*name == segment.path, "segment {number} was {name}, is {}", segment.path);
        }
        let_run(0.7);
    }
    ensure!(known.len() >= 4, "only {} segments in 6 s", known.len());
    Ok(())
}

#[test]
fn a_publisher_that_comes_back_costs_one_discontinuity() -> Result<()> {
    need!("ffmpeg");
    let server = Start::bare("hls-discontinuity").ready()?;
    let url = server.rtmp("live/livestream");
    let first = Sample::H264Aac.publish(&server, &url)?;
    let before = Playlist::wait(&server, PATH, 2)?;
    drop(first);
    let_run(0.5);
    let _second = Sample::H264Aac.publish(&server, &url)?;
    let after = until("the playlist does not go on", || {
        let playlist = Playlist::read(&server, &before.path).ok()?;
        let last = playlist.first + playlist.segments.len() as u64;
        let was = before.first + before.segments.len() as u64;
        let marks = playlist.segments.iter().skip(1).filter(|s| s.discontinuity).count();
        (marks > 0 && last >= was + 3).then_some(playlist)
    })?;
    let marks = after.segments.iter().skip(1).filter(|s| s.discontinuity).count();
    ensure!(marks == 1, "{marks} discontinuities for one return");
    Ok(())
}

#[test]
fn a_page_of_another_origin_may_read_that_there_is_no_stream() -> Result<()> {
    let server = Start::bare("hls-none").env("SRS_VHOST_HTTP_REMUX_WAIT_TIMEOUT", "1").ready()?;
    let answer = http::get(server.http_address()?, "/live/nothing.m3u8")?;
    ensure!(answer.status == 404, "{}", answer.status);
    let allowed = answer.header("access-control-allow-origin");
    ensure!(allowed == Some("*"), "{:?}", answer.headers);
    ensure!(answer.text().contains("/live/nothing"), "404 without a reason: {}", answer.text());
    Ok(())
}

#[test]
fn a_reload_switches_it_on_and_off_and_on_for_a_live_stream() -> Result<()> {
    need!("ffmpeg");
    let config = |hls: &str| {
        format!(
            "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
             http_api {{ enabled on; listen API; }}\n\
             http_server {{ enabled on; listen HTTP; dir DIR/html; }}\n\
             vhost __defaultVhost__ {{ http_remux {{ enabled on; wait_timeout 0.2; }}\n\
             hls {{ enabled {hls}; hls_ctx off; hls_fragment 1; hls_window 2; hls_path DIR/html; }} }}\n"
        )
    };
    let server = Start::config("hls-reload", &config("off")).ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let status = || Some(http::get(server.http_address().ok()?, PATH).ok()?.status);
    ensure!(status() == Some(404), "HLS is off");
    for _ in 0..2 {
        server.rewrite(&config("on"))?;
        server.reload()?;
        until("there is no playlist", || (status()? == 200).then_some(()))?;
        Playlist::wait(&server, PATH, 3)?.keeps_its_target()?;
        server.rewrite(&config("off"))?;
        server.reload()?;
        until("there still is a playlist", || (status()? == 404).then_some(()))?;
    }
    Ok(())
}
