//! Streams that have run for long before the test began.

use std::time::Duration;

use e2e::own::{self, Clip};
use e2e::playlist::Playlist;
use e2e::{Result, Sample, Server, Start, Wire, all_of, ensure, http, need, probe, sync};
use rtmp::wire::message::Media;

/// Publishes with all timestamps moved by `offset` seconds and plays across whatever happens.
fn begins_at(name: &str, offset: &str) -> Result<()> {
    need!("ffmpeg", "ffprobe");
    let server = Start::bare(name).ready()?;
    let sample = Sample::BFrames;
    let url = server.rtmp("live/livestream");
    let moved = ["-output_ts_offset", offset];
    let _publisher = sample.publish_with(&server, &url, &moved)?;
    server.wait_stream("livestream")?;
    all_of(&[Wire::Rtmp, Wire::Flv, Wire::Ts, Wire::Hls], |wire| {
        let file = wire.record(&server, "live/livestream", sample, 9)?;
        let probe = probe::probe(&file.display().to_string(), sample, &server.dir)?;
        probe.holds(Some("h264"), Some("aac"))?;
        probe.runs_on(0.15)?;
        ensure!(probe.seconds() >= 4.0, "only {:.1} s of media", probe.seconds());
        sync::kept(&file, sample, &server.dir)
    })
}

/// Above 2^24 ms RTMP and FLV switch to extended timestamps.
#[test]
fn a_stream_of_25_hours_plays_on() -> Result<()> {
    begins_at("timestamps-25h", "90000")
}

/// 2^24 ms is crossed while the players watch.
#[test]
fn the_step_to_extended_timestamps_is_not_noticed() -> Result<()> {
    begins_at("timestamps-extended", "16773")
}

/// ffmpeg writes 31 bits of a timestamp: 2^31 ms, 24.8 days, is crossed while the players watch.
#[test]
fn timestamps_that_wrap_are_not_noticed() -> Result<()> {
    begins_at("timestamps-wrap", "2147479")
}

const STREAM: &str = "live/livestream";

/// 25 hours, in milliseconds.
const A_DAY_AND_MORE: u64 = 90_000_000;

/// Publishes with that clock and watches for 12 s by RTMP and HTTP-FLV with a player that keeps
/// every timestamp, and by HLS. The times of the players run on, HLS goes on with so many
/// discontinuities.
fn watched(
    name: &str,
    sample: Sample,
    marks: std::ops::RangeInclusive<usize>,
    clock: impl Fn(Media, u64) -> u64 + Send + 'static,
) -> Result<Server> {
    let server = Start::bare(name).env("SRS_VHOST_HLS_HLS_WINDOW", "60").ready()?;
    let time = Duration::from_secs(12);
    let publisher = own::publish(&server, STREAM, Clip::of(sample)?, clock)?;
    server.wait_stream("livestream")?;
    let at = server.http_address()?;
    let mut flv = Vec::new();
    let (rtmp, live) = std::thread::scope(|scope| {
        let rtmp = scope.spawn(|| own::play(&server, STREAM, time));
        let live = http::stream(at, "/live/livestream.flv", &[], time, &mut |part| {
            flv.extend_from_slice(part);
            Ok(())
        });
        (rtmp.join(), live)
    });
    let rtmp = rtmp.map_err(|_| e2e::anyhow!("the player panicked"))??;
    ensure!(!live?.closed, "the HTTP player was disconnected");
    for (wire, pieces) in [("RTMP", rtmp), ("HTTP-FLV", own::pieces(&flv)?)] {
        let runs = own::runs_on(&pieces, 500);
        runs.map_err(|e| e2e::anyhow!("{wire}: {e:#}"))?;
        ensure!(pieces.len() > 600, "{wire}: only {} pieces in 12 s", pieces.len());
    }
    let playlist = Playlist::read(&server, "/live/livestream.m3u8")?;
    playlist.keeps_its_target()?;
    let found = playlist.segments.iter().skip(1).filter(|s| s.discontinuity).count();
    ensure!(marks.contains(&found), "{found} discontinuities: {playlist:?}");
    ensure!(playlist.segments.len() >= 9, "HLS stopped: {playlist:?}");
    // Whatever happened to the clock, sound and picture are together again.
    let after = Wire::Flv.record(&server, STREAM, sample, 6)?;
    sync::kept(&after, sample, &server.dir)?;
    ensure!(publisher.alive(), "the publisher was disconnected");
    drop(publisher);
    Ok(server)
}

/// A clock that begins 5 s before that number of milliseconds: time runs on as if nothing were.
fn crosses(name: &str, ms: u64) -> Result<()> {
    need!("ffmpeg", "ffprobe");
    let sample = Sample::BFrames;
    let server = watched(name, sample, 0..=0, move |_, at| ms - 5000 + at)?;
    let _publisher =
        own::publish(&server, "live/again", Clip::of(sample)?, move |_, at| ms - 5000 + at)?;
    server.wait_stream("again")?;
    all_of(&[Wire::Rtmp, Wire::Flv, Wire::Ts, Wire::Hls], |wire| {
        let file = wire.record(&server, "live/again", sample, 9)?;
        let probe = probe::probe(&file.display().to_string(), sample, &server.dir)?;
        probe.runs_on(0.15)?;
        ensure!(probe.seconds() >= 4.0, "only {:.1} s of media", probe.seconds());
        sync::kept(&file, sample, &server.dir)
    })
}

/// Where signed 32-bit arithmetic ends: 24.8 days.
#[test]
fn the_31st_bit_of_the_clock_is_not_noticed() -> Result<()> {
    crosses("timestamps-31-bits", 1 << 31)
}

/// Where RTMP's own clock begins anew: 49.7 days.
#[test]
fn the_clock_may_begin_anew_after_49_days() -> Result<()> {
    crosses("timestamps-32-bits", 1 << 32)
}

#[test]
fn the_25th_hour_is_not_noticed() -> Result<()> {
    crosses("timestamps-25-hours", A_DAY_AND_MORE)
}

#[test]
fn a_video_clock_that_resets_alone_costs_one_discontinuity() -> Result<()> {
    need!("ffmpeg");
    watched("timestamps-video-reset", Sample::H264Aac, 1..=1, |media, at| match media {
        Media::Video if at >= 5000 => at - 5000,
        _ => A_DAY_AND_MORE + at,
    })?;
    Ok(())
}

#[test]
fn a_leap_of_an_hour_costs_one_discontinuity() -> Result<()> {
    need!("ffmpeg");
    watched("timestamps-leap", Sample::H264Aac, 1..=1, |_, at| {
        if at >= 5000 { at + 3_600_000 } else { at }
    })?;
    Ok(())
}

#[test]
fn a_clock_that_goes_back_by_10_seconds_costs_one_discontinuity() -> Result<()> {
    need!("ffmpeg");
    watched("timestamps-back", Sample::H264Aac, 1..=1, |_, at| {
        if at >= 5000 { 20_000 + at - 10_000 } else { 20_000 + at }
    })?;
    Ok(())
}
