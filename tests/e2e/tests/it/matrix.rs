//! Every kind of media in, every wire out.
//!
//! A new codec is a row; a new protocol is a [`Wire`] and a row.

use e2e::{Result, Sample, Server, Start, Wire, all_of, ensure, need, probe, sync};

/// What a sample must look like on a wire: the codecs of video and audio.
type Row = (Wire, Option<&'static str>, Option<&'static str>);

const H264_AAC: &[Row] = &[
    (Wire::Rtmp, Some("h264"), Some("aac")),
    (Wire::Flv, Some("h264"), Some("aac")),
    (Wire::WsFlv, Some("h264"), Some("aac")),
    (Wire::Ts, Some("h264"), Some("aac")),
    (Wire::Aac, None, Some("aac")),
    (Wire::Hls, Some("h264"), Some("aac")),
];

const AAC: &[Row] = &[
    (Wire::Rtmp, None, Some("aac")),
    (Wire::Flv, None, Some("aac")),
    (Wire::WsFlv, None, Some("aac")),
    (Wire::Ts, None, Some("aac")),
    (Wire::Aac, None, Some("aac")),
    (Wire::Hls, None, Some("aac")),
];

const H264_MP3: &[Row] = &[
    (Wire::Rtmp, Some("h264"), Some("mp3")),
    (Wire::Flv, Some("h264"), Some("mp3")),
    (Wire::WsFlv, Some("h264"), Some("mp3")),
    (Wire::Ts, Some("h264"), Some("mp3")),
    (Wire::Mp3, None, Some("mp3")),
    (Wire::Hls, Some("h264"), Some("mp3")),
];

const MP3: &[Row] = &[
    (Wire::Rtmp, None, Some("mp3")),
    (Wire::Flv, None, Some("mp3")),
    (Wire::Ts, None, Some("mp3")),
    (Wire::Mp3, None, Some("mp3")),
    (Wire::Hls, None, Some("mp3")),
];

const HEVC_AAC: &[Row] = &[
    (Wire::Rtmp, Some("hevc"), Some("aac")),
    (Wire::Flv, Some("hevc"), Some("aac")),
    (Wire::WsFlv, Some("hevc"), Some("aac")),
    (Wire::Ts, Some("hevc"), Some("aac")),
    (Wire::Aac, None, Some("aac")),
    (Wire::Hls, Some("hevc"), Some("aac")),
];

/// AV1 has no place in a transport stream that players agree on.
const AV1_AAC: &[Row] = &[
    (Wire::Rtmp, Some("av1"), Some("aac")),
    (Wire::Flv, Some("av1"), Some("aac")),
    (Wire::WsFlv, Some("av1"), Some("aac")),
    (Wire::Aac, None, Some("aac")),
];

/// Neither VP9 nor Opus has a place in a transport stream.
const VP9_OPUS: &[Row] = &[
    (Wire::Rtmp, Some("vp9"), Some("opus")),
    (Wire::Flv, Some("vp9"), Some("opus")),
    (Wire::WsFlv, Some("vp9"), Some("opus")),
];

const H264_FLAC: &[Row] = &[
    (Wire::Rtmp, Some("h264"), Some("flac")),
    (Wire::Flv, Some("h264"), Some("flac")),
    (Wire::WsFlv, Some("h264"), Some("flac")),
];

const H264_AC3: &[Row] = &[
    (Wire::Rtmp, Some("h264"), Some("ac3")),
    (Wire::Flv, Some("h264"), Some("ac3")),
    (Wire::WsFlv, Some("h264"), Some("ac3")),
];

/// Publishes the sample, plays it on every wire at once, and checks each recording: the codecs,
/// that time runs on, that sound and picture stay within 40 ms, and that nobody stalls.
fn every_wire(name: &str, sample: Sample, rows: &[Row]) -> Result<()> {
    need!("ffmpeg", "ffprobe");
    if sample.enhanced() {
        need!("newer ffmpeg");
    }
    let server = Start::bare(name).ready()?;
    let _publisher = sample.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    all_of(rows, |row| one_wire(&server, sample, *row))
}

fn one_wire(server: &Server, sample: Sample, (wire, video, audio): Row) -> Result<()> {
    let file = wire.record(server, "live/livestream", sample, 6)?;
    let probe = probe::probe(&file.display().to_string(), sample, &server.dir)?;
    probe.holds(video, audio)?;
    // Timestamps of milliseconds over frames of 40 ms and 23 ms; the loop of the publisher adds
    // up to one frame.
    probe.runs_on(0.15)?;
    ensure!(probe.seconds() >= 3.0, "only {:.1} s of media in 6 s", probe.seconds());
    if let Some(video) = probe.tracks.iter().find(|t| t.kind == "video") {
        ensure!(video.packets.first().is_some_and(|p| p.key), "does not begin with a key frame");
        let size = (video.entry.get("width"), video.entry.get("height"));
        ensure!(size == (Some(&320.into()), Some(&180.into())), "the picture is {size:?}");
        let reordered = video.packets.iter().any(|p| p.pts - p.dts > 0.001);
        if sample == Sample::BFrames {
            ensure!(reordered, "the B-frames lost their presentation times");
        }
        if video.codec == "h264" {
            sync::kept(&file, sample, &server.dir)?;
        }
    }
    Ok(())
}

#[test]
fn h264_and_aac_play_on_every_wire() -> Result<()> {
    every_wire("matrix-h264-aac", Sample::H264Aac, H264_AAC)
}

#[test]
fn h264_with_b_frames_plays_on_every_wire() -> Result<()> {
    every_wire("matrix-b-frames", Sample::BFrames, H264_AAC)
}

#[test]
fn aac_alone_plays_on_every_wire() -> Result<()> {
    every_wire("matrix-aac", Sample::Aac, AAC)
}

#[test]
fn h264_and_mp3_play_on_every_wire() -> Result<()> {
    every_wire("matrix-h264-mp3", Sample::H264Mp3, H264_MP3)
}

#[test]
fn mp3_alone_plays_on_every_wire() -> Result<()> {
    every_wire("matrix-mp3", Sample::Mp3, MP3)
}

#[test]
fn hevc_over_enhanced_rtmp_plays_on_every_wire() -> Result<()> {
    every_wire("matrix-hevc-aac", Sample::HevcAac, HEVC_AAC)
}

#[test]
fn av1_over_enhanced_rtmp_plays_by_rtmp_and_flv() -> Result<()> {
    every_wire("matrix-av1-aac", Sample::Av1Aac, AV1_AAC)
}

#[test]
fn vp9_and_opus_over_enhanced_rtmp_play_by_rtmp_and_flv() -> Result<()> {
    every_wire("matrix-vp9-opus", Sample::Vp9Opus, VP9_OPUS)
}

#[test]
fn flac_over_enhanced_rtmp_plays_by_rtmp_and_flv() -> Result<()> {
    every_wire("matrix-h264-flac", Sample::H264Flac, H264_FLAC)
}

#[test]
fn ac3_over_enhanced_rtmp_plays_by_rtmp_and_flv() -> Result<()> {
    every_wire("matrix-h264-ac3", Sample::H264Ac3, H264_AC3)
}

#[test]
fn ipv6_serves_like_ipv4() -> Result<()> {
    need!("ffmpeg", "ffprobe");
    let server = Start::bare("matrix-ipv6").host("::1").ready()?;
    let sample = Sample::H264Aac;
    let _publisher = sample.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    all_of(&[Wire::Rtmp, Wire::Flv, Wire::Hls], |wire| {
        let file = wire.record(&server, "live/livestream", sample, 4)?;
        let probe = probe::probe(&file.display().to_string(), sample, &server.dir)?;
        probe.holds(Some("h264"), Some("aac"))
    })
}
