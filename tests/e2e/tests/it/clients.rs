//! Programs that are not ffmpeg.

use e2e::program::{command, run};
use e2e::{Program, Result, Sample, Start, Wire, all_of, ensure, let_run, need, probe};
use rustix::process::Signal;

#[test]
fn rtmpdump_plays() -> Result<()> {
    need!("ffmpeg", "ffprobe", "rtmpdump");
    let server = Start::bare("clients-rtmpdump").ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let file = server.dir.join("dump.flv");
    let url = server.rtmp("live/livestream");
    let mut dump = command("rtmpdump", ["--live", "-r", &url, "-o"]);
    dump.arg(&file);
    let dump = Program::start(dump, &server.dir, "rtmpdump")?;
    let_run(6.0);
    dump.signal(Signal::INT)?;
    dump.finish(e2e::PATIENCE)?;
    let probe = probe::probe(&file.display().to_string(), Sample::H264Aac, &server.dir)?;
    probe.holds(Some("h264"), Some("aac"))?;
    ensure!(probe.seconds() >= 3.0, "only {:.1} s came", probe.seconds());
    Ok(())
}

#[test]
fn gstreamer_plays() -> Result<()> {
    need!("ffmpeg", "ffprobe", "gst-launch-1.0");
    let server = Start::bare("clients-gst-play").ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let file = server.dir.join("gst.flv");
    let location = format!("location={}", server.rtmp("live/livestream"));
    let sink = format!("location={}", file.display());
    let gst = command("gst-launch-1.0", ["-e", "rtmp2src", &location, "!", "filesink", &sink]);
    let gst = Program::start(gst, &server.dir, "gst-play")?;
    let_run(6.0);
    gst.signal(Signal::INT)?;
    gst.finish(e2e::PATIENCE)?;
    let probe = probe::probe(&file.display().to_string(), Sample::H264Aac, &server.dir)?;
    probe.holds(Some("h264"), Some("aac"))?;
    ensure!(probe.seconds() >= 3.0, "only {:.1} s came", probe.seconds());
    Ok(())
}

#[test]
fn gstreamer_publishes() -> Result<()> {
    need!("ffmpeg", "ffprobe", "gst-launch-1.0");
    let server = Start::bare("clients-gst-publish").ready()?;
    let pipeline = format!(
        "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1 ! \
         x264enc tune=zerolatency key-int-max=25 bitrate=300 ! h264parse ! \
         flvmux name=mux streamable=true ! rtmp2sink location={} \
         audiotestsrc is-live=true ! audio/x-raw,rate=44100 ! voaacenc ! aacparse ! mux.",
        server.rtmp("live/livestream")
    );
    let gst = command("gst-launch-1.0", pipeline.split_whitespace());
    let mut gst = Program::start(gst, &server.dir, "gst-publish")?;
    server.wait_stream("livestream")?;
    for wire in [Wire::Flv, Wire::Hls] {
        let file = wire.record(&server, "live/livestream", Sample::H264Aac, 4)?;
        let probe = probe::probe(&file.display().to_string(), Sample::H264Aac, &server.dir)?;
        probe.holds(Some("h264"), Some("aac"))?;
    }
    ensure!(gst.ended()?.is_none(), "the publisher was disconnected: {}", gst.output());
    Ok(())
}

/// VLC refuses to run as root; a test machine is often nothing else.
fn vlc(arguments: &[&str], dir: &std::path::Path) -> std::process::Command {
    let root = rustix::process::geteuid().is_root();
    let drop = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "cvlc"];
    let mut vlc = if root { command("setpriv", drop) } else { command("cvlc", [""; 0]) };
    vlc.args(["-I", "dummy", "--no-media-library", "--vout", "dummy", "--aout", "dummy"]);
    vlc.args(arguments).env("HOME", "/nonexistent").current_dir(dir);
    vlc
}

#[test]
fn vlc_plays_by_rtmp_flv_and_hls() -> Result<()> {
    need!("ffmpeg", "ffprobe", "cvlc", "setpriv");
    let server = Start::bare("clients-vlc").ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let rows = [
        ("rtmp", server.rtmp("live/livestream")),
        ("flv", server.http("live/livestream.flv")),
        ("hls", server.http("live/livestream.m3u8")),
    ];
    all_of(&rows, |(name, url)| {
        // It plays to its standard output: it may write nowhere else.
        let to = ["--run-time", "6", "--sout", "#std{access=file,mux=ts,dst=-}", url, "vlc://quit"];
        let name = format!("vlc-{name}");
        run(vlc(&to, &server.dir), &server.dir, &name, e2e::PATIENCE)?.well()?;
        let file = server.dir.join(format!("{name}.ts"));
        std::fs::rename(server.dir.join(format!("{name}.out")), &file)?;
        let probe = probe::probe(&file.display().to_string(), Sample::H264Aac, &server.dir)?;
        probe.holds(Some("h264"), Some("aac"))?;
        ensure!(probe.seconds() >= 4.0, "only {:.1} s came", probe.seconds());
        Ok(())
    })
}

#[test]
fn gstreamer_plays_hls_and_flv_over_http() -> Result<()> {
    need!("ffmpeg", "ffprobe", "gst-launch-1.0");
    let server = Start::bare("clients-gst-http").ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let rows = [("flv", "flvdemux"), ("m3u8", "hlsdemux ! tsdemux")];
    all_of(&rows, |(end, demux)| {
        let file = server.dir.join(format!("gst-{end}.mkv"));
        let pipeline = format!(
            "souphttpsrc location={} ! {demux} ! h264parse ! matroskamux streamable=true ! filesink location={}",
            server.http(&format!("live/livestream.{end}")),
            file.display()
        );
        // Without `-e`: hlsdemux does not pass on that the end was asked for.
        let gst = command("gst-launch-1.0", pipeline.split_whitespace());
        let gst = Program::start(gst, &server.dir, &format!("gst-{end}"))?;
        let_run(7.0);
        gst.signal(Signal::INT)?;
        gst.finish(e2e::PATIENCE)?;
        let probe = probe::probe(&file.display().to_string(), Sample::H264Aac, &server.dir)?;
        probe.holds(Some("h264"), None)?;
        ensure!(probe.seconds() >= 2.0, "only {:.1} s came", probe.seconds());
        Ok(())
    })
}
