//! Streams that have run for long before the test began.

use e2e::{Result, Sample, Start, Wire, all_of, ensure, need, probe, sync};

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
