//! Who publishes, and what players notice of it.

use std::time::Duration;

use e2e::own::{self, Clip, Piece};
use e2e::playlist::Playlist;
use e2e::server::Server;
use e2e::{Context, Result, Sample, Start, all_of, ensure, http, let_run, need, probe, until};
use rtmp::wire::message::Media;
use rustix::process::Signal;
use serde_json::Value;

/// A configuration with everything on and short segments; more directives fit into the vhost.
fn config(vhosts: &str) -> String {
    format!(
        "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
         http_api {{ enabled on; listen API; }}\n\
         http_server {{ enabled on; listen HTTP; dir DIR/html; }}\n{vhosts}\n"
    )
}

fn vhost(name: &str) -> String {
    format!(
        "vhost {name} {{ http_remux {{ enabled on; mount [vhost]/[app]/[stream].flv; }}\n\
         hls {{ enabled on; hls_path DIR/html; hls_fragment 1; }} }}\n"
    )
}

fn publisher_id(server: &Server) -> Result<String> {
    let stream = server.wait_stream("livestream")?;
    let id = stream.pointer("/publish/cid").and_then(Value::as_str);
    Ok(id.context("a published stream names its publisher")?.to_owned())
}

#[test]
fn players_stay_while_the_publisher_comes_back() -> Result<()> {
    need!("ffmpeg", "ffprobe");
    let server = Start::bare("publishers-back").ready()?;
    let url = server.rtmp("live/livestream");
    let first = Sample::H264Aac.publish(&server, &url)?;
    server.wait_stream("livestream")?;
    let file = server.dir.join("across.flv");
    let mut bytes = Vec::new();
    let at = server.http_address()?;
    let live = std::thread::scope(|scope| -> Result<_> {
        let reader = scope.spawn(|| {
            let time = Duration::from_secs(14);
            http::stream(at, "/live/livestream.flv", &[], time, &mut |part| {
                bytes.extend_from_slice(part);
                Ok(())
            })
        });
        let_run(4.0);
        drop(first);
        until("the stream still has a publisher", || {
            let active = server.stream("livestream").ok()??.pointer("/publish/active").cloned();
            (active == Some(Value::Bool(false))).then_some(())
        })?;
        let second = Sample::BFrames.publish(&server, &url)?;
        let live = reader.join().map_err(|_| e2e::anyhow!("the player panicked"))??;
        drop(second);
        Ok(live)
    })?;
    ensure!(!live.closed, "the player was disconnected when the publisher left");
    std::fs::write(&file, &bytes)?;
    let probe = probe::probe(&file.display().to_string(), Sample::H264Aac, &server.dir)?;
    let video = probe.track("video")?;
    // The second publisher's frames are reordered, the first one's are not.
    let plain = video.packets.iter().take(25).all(|p| p.pts - p.dts < 0.001);
    let reordered = video.packets.iter().rev().take(25).any(|p| p.pts - p.dts > 0.001);
    ensure!(plain && reordered, "the recording does not hold both publishers");
    for pair in video.packets.windows(2) {
        let [a, b] = pair else { continue };
        ensure!(b.dts >= a.dts, "time falls from {} to {} at the change", a.dts, b.dts);
    }
    Ok(())
}

#[test]
fn a_second_publisher_is_refused_while_the_first_one_lives() -> Result<()> {
    need!("ffmpeg");
    let server = Start::bare("publishers-second").ready()?;
    let url = server.rtmp("live/livestream");
    let mut first = Sample::H264Aac.publish(&server, &url)?;
    let before = publisher_id(&server)?;
    let second = Sample::H264Mp3.publish(&server, &url)?.finish(e2e::PATIENCE)?;
    ensure!(!second.status.success(), "the second publisher was let in");
    let said = second.stderr.to_ascii_lowercase();
    ensure!(
        said.contains("server error") || said.contains("badname"),
        "the second publisher was not told why: {said}"
    );
    ensure!(publisher_id(&server)? == before, "the first publisher lost its stream");
    ensure!(first.ended()?.is_none(), "the first publisher was disconnected");
    Ok(())
}

/// What the status code is that a second publisher is told.
#[test]
fn a_second_publisher_is_told_bad_name() -> Result<()> {
    need!("ffmpeg");
    let server = Start::bare("publishers-bad-name").ready()?;
    let clip = Clip::of(Sample::H264Aac)?;
    let first = own::publish(&server, "live/livestream", clip, |_, at| at)?;
    server.wait_stream("livestream")?;
    let codes = own::refused(&server, "live/livestream")?;
    ensure!(codes == ["NetStream.Publish.BadName"], "it was told {codes:?}");
    ensure!(first.alive(), "the first publisher was disconnected");
    Ok(())
}

/// Watches by RTMP and HTTP-FLV for that long while `meanwhile` happens; both players must stay.
fn watched(
    server: &Server,
    seconds: u64,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<[Vec<Piece>; 2]> {
    let time = Duration::from_secs(seconds);
    let at = server.http_address()?;
    std::thread::scope(|scope| {
        let rtmp = scope.spawn(|| own::play(server, "live/livestream", time));
        let http = scope.spawn(|| -> Result<_> {
            let mut flv = Vec::new();
            let live = http::stream(at, "/live/livestream.flv", &[], time, &mut |part| {
                flv.extend_from_slice(part);
                Ok(())
            })?;
            ensure!(live.status == 200 && !live.closed, "the HTTP player was ended: {live:?}");
            own::pieces(&flv)
        });
        let happened = meanwhile();
        let join = |run: std::thread::ScopedJoinHandle<'_, Result<Vec<Piece>>>| {
            run.join().map_err(|_| e2e::anyhow!("a player panicked"))?
        };
        let both = [join(rtmp)?, join(http)?];
        happened.map(|()| both)
    })
}

#[test]
fn a_publisher_that_fell_silent_is_replaced_and_its_players_stay() -> Result<()> {
    need!("ffmpeg");
    let server = Start::bare("publishers-stale").ready()?;
    let url = server.rtmp("live/livestream");
    let first = Sample::H264Aac.publish(&server, &url)?;
    let before = publisher_id(&server)?;
    let players = watched(&server, 10, || {
        let_run(3.0);
        // A camera behind a dead link: its connection stands, nothing comes.
        first.signal(Signal::STOP)?;
        let_run(1.5);
        let mut second = Sample::H264Aac.publish(&server, &url)?;
        until("the silent publisher keeps the stream", || {
            publisher_id(&server).ok().filter(|now| *now != before)
        })?;
        let_run(6.0);
        ensure!(second.ended()?.is_none(), "the new publisher was thrown out again");
        Ok(())
    })?;
    for pieces in players {
        own::runs_on(&pieces, 5000)?;
        ensure!(pieces.len() > 450, "only {} pieces came", pieces.len());
    }
    Ok(())
}

/// The distinct configurations of the video, in the order in which they came.
fn video_configurations(pieces: &[Piece]) -> Vec<bytes::Bytes> {
    // Plain H.264, or the SequenceStart of Enhanced RTMP.
    let video = pieces.iter().filter(|p| p.media == Media::Video);
    let configs =
        video.filter(|p| p.is_config() || p.body.first().is_some_and(|b| b & 0x8F == 0x80));
    let mut bodies: Vec<_> = configs.map(|p| p.body.clone()).collect();
    bodies.dedup();
    bodies
}

#[test]
fn a_new_size_and_a_new_codec_reach_every_player() -> Result<()> {
    need!("ffmpeg", "ffprobe", "newer ffmpeg");
    let server = Start::bare("publishers-change").env("SRS_VHOST_HLS_HLS_WINDOW", "60").ready()?;
    let publish = |clip| own::publish(&server, "live/livestream", clip, |_, at| at);
    let first = publish(Clip::of(Sample::H264Aac)?)?;
    server.wait_stream("livestream")?;
    let players = watched(&server, 15, || {
        let_run(4.0);
        drop(first);
        let wider = publish(Clip::card()?)?;
        let_run(5.0);
        drop(wider);
        let _other = publish(Clip::of(Sample::HevcAac)?)?;
        let_run(6.5);
        Ok(())
    })?;
    for pieces in &players {
        own::runs_on(pieces, 1000)?;
        let configs = video_configurations(pieces);
        ensure!(configs.len() == 3, "{} configurations came: {configs:?}", configs.len());
    }
    let playlist = Playlist::read(&server, "/live/livestream.m3u8")?;
    let mut seen = Vec::new();
    for segment in &playlist.segments {
        let file = server.dir.join(format!("segment-{}.ts", e2e::record::serial()));
        std::fs::write(&file, http::get(server.http_address()?, &segment.path)?.body)?;
        let probe = probe::probe(&file.display().to_string(), Sample::H264Aac, &server.dir)?;
        let video = probe.track("video")?;
        let width = video.entry.get("width").and_then(Value::as_u64);
        let what = (video.codec.clone(), width);
        if seen.last() != Some(&what) {
            ensure!(seen.is_empty() || segment.discontinuity, "no mark before {}", segment.path);
            seen.push(what);
        }
    }
    let due = [("h264", 320), ("h264", 640), ("hevc", 320)];
    let due: Vec<_> =
        due.iter().map(|(codec, width)| ((*codec).to_owned(), Some(*width))).collect();
    ensure!(seen == due, "the segments hold {seen:?}");
    Ok(())
}

#[test]
fn two_vhosts_keep_their_streams_apart() -> Result<()> {
    need!("ffmpeg", "ffprobe");
    let text = config(&(vhost("a.test") + &vhost("b.test")));
    let server = Start::config("publishers-vhosts", &text).ready()?;
    let rows = [("a.test", Sample::H264Aac, "aac"), ("b.test", Sample::H264Mp3, "mp3")];
    let mut publishers = Vec::new();
    for (name, sample, _) in rows {
        let url = server.rtmp(&format!("live?vhost={name}/livestream"));
        publishers.push(sample.publish(&server, &url)?);
    }
    until("there are not two streams", || {
        let list = server.api("/api/v1/streams/").ok()?;
        (list.get("streams")?.as_array()?.len() == 2).then_some(())
    })?;
    all_of(&rows, |(name, sample, audio)| {
        let host = [("Host", *name)];
        let mut flv = Vec::new();
        let time = Duration::from_secs(4);
        let at = server.http_address()?;
        let live = http::stream(at, "/live/livestream.flv", &host, time, &mut |part| {
            flv.extend_from_slice(part);
            Ok(())
        })?;
        ensure!(live.status == 200, "GET with Host {name}: {}", live.status);
        let file = server.dir.join(format!("{name}.flv"));
        std::fs::write(&file, flv)?;
        let probe = probe::probe(&file.display().to_string(), *sample, &server.dir)?;
        probe.holds(Some("h264"), Some(audio))
    })
}

#[test]
fn a_vhost_that_is_not_configured_is_refused() -> Result<()> {
    need!("ffmpeg");
    let server = Start::config("publishers-unknown", &config(&vhost("a.test"))).ready()?;
    let url = server.rtmp("live?vhost=other.test/livestream");
    let run = Sample::H264Aac.publish(&server, &url)?.finish(e2e::PATIENCE)?;
    ensure!(!run.status.success(), "published to a vhost that is not there");
    Ok(())
}

#[test]
fn a_stream_that_is_not_there_is_told_as_404() -> Result<()> {
    let text = config(
        "vhost __defaultVhost__ { http_remux { enabled on; mount [vhost]/[app]/[stream].flv; } }",
    );
    let server = Start::config("publishers-none", &text).ready()?;
    let answer = http::get(server.http_address()?, "/live/nothing.flv")?;
    ensure!(answer.status == 404, "{}", answer.status);
    ensure!(!answer.body.is_empty(), "404 without a reason");
    Ok(())
}
