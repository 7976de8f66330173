//! Recordings, as their files are and as they are told of.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use e2e::program::{command, run};
use e2e::web::{Call, Say, Web};
use e2e::{
    PATIENCE, Program, Result, Sample, Server, Start, anyhow, ensure, http, let_run, need, probe,
    sync, until,
};
use rustix::process::Signal;

fn config(dvr: &str, more: &str) -> String {
    format!(
        "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
         http_api {{ enabled on; listen API;\n\
         raw_api {{ enabled on; allow_reload on; allow_update on; }} }}\n\
         http_server {{ enabled on; listen HTTP; dir DIR/html; }}\n\
         vhost __defaultVhost__ {{\n dvr {{ {dvr} }}\n{more} }}\n"
    )
}

const FLV: &str = "enabled on; dvr_path DIR/rec/[app]/[stream].[timestamp].flv;";
const MP4: &str = "enabled on; dvr_path DIR/rec/[app]/[stream].[timestamp].mp4;";

/// The files with that end, by their names.
fn files(server: &Server, end: &str) -> Vec<PathBuf> {
    let list = std::fs::read_dir(server.dir.join("rec/live")).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = list.map(|entry| entry.path()).collect();
    all.retain(|path| path.to_string_lossy().ends_with(end));
    all.sort();
    all
}

fn wait_files(server: &Server, end: &str, count: usize) -> Result<Vec<PathBuf>> {
    until(&format!("no {count} files {end}"), || {
        Some(files(server, end)).filter(|all| all.len() >= count)
    })
}

fn publish(server: &Server, sample: Sample, name: &str) -> Result<Program> {
    let publisher = sample.publish(server, &server.rtmp(name))?;
    let bare = name.split('?').next().unwrap_or(name);
    server.wait_stream(bare.rsplit('/').next().unwrap_or(bare))?;
    Ok(publisher)
}

/// Decodes all of it, without a complaint.
fn decodes(file: &Path, sample: Sample, server: &Server) -> Result<()> {
    let args = ["-v", "warning", "-xerror", "-i", &file.display().to_string(), "-f", "null", "-"];
    let name = format!("decode-{}", e2e::record::serial());
    let done = run(command(&sample.ffmpeg(), args), &server.dir, &name, PATIENCE)?.well()?;
    ensure!(done.stderr.trim().is_empty(), "{}: {}", file.display(), done.stderr);
    Ok(())
}

/// What the file says its length is, in seconds.
fn says(file: &Path, server: &Server) -> Result<f64> {
    let file = file.display().to_string();
    let args = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", &file];
    let name = format!("says-{}", e2e::record::serial());
    let done = run(command("ffprobe", args), &server.dir, &name, PATIENCE)?.well()?;
    Ok(done.stdout.trim().parse()?)
}

fn examine(file: &Path, sample: Sample, server: &Server) -> Result<probe::Probe> {
    let probe = probe::probe(&file.display().to_string(), sample, &server.dir)?;
    probe.holds(sample.video(), Some(sample.audio()))?;
    probe.runs_on(0.2)?;
    if sample.video().is_some() {
        let first = probe.track("video")?.packets.first().copied();
        ensure!(first.is_some_and(|packet| packet.key), "no key frame first");
    }
    Ok(probe)
}

#[test]
fn a_publish_is_one_file_and_is_told_of_before_its_end() -> Result<()> {
    need!("ffmpeg", "ffprobe");
    let missing = Arc::new(AtomicU64::new(0));
    let seen = missing.clone();
    let web = Web::start(move |call| {
        let file = Path::new(call.text("cwd")).join(call.text("file"));
        if call.action() == "on_dvr" && !file.is_file() {
            seen.fetch_add(1, Relaxed);
        }
        Say::Yes
    })?;
    let on = |name: &str| format!("on_{name} {};\n", web.url());
    let hooks = ["publish", "unpublish", "dvr"].map(on).concat();
    let exec = "exec { enabled on; record_done /bin/echo $basename $dirname [stream] > DIR/done; }";
    let more = format!("http_hooks {{ enabled on;\n{hooks} }}\n{exec}");
    // Relative to the working folder, as people write it.
    let dvr = "enabled on; dvr_path ./rec/[app]/[stream].[timestamp].flv;";
    let server = Start::config("dvr-session", &config(dvr, &more)).ready()?;
    let publisher = publish(&server, Sample::H264Aac, "live/s?token=x")?;
    wait_files(&server, ".flv.tmp", 1)?;
    let_run(5.0);
    let listed = server.api("/api/v2/recordings")?;
    let item = listed.pointer("/items/0").cloned().unwrap_or_default();
    let text = |key: &str| item.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    ensure!(text("stream") == "/live/s", "{listed}");
    ensure!(files(&server, ".flv").is_empty(), "it has its name before it is finished");
    drop(publisher);

    let told = web.wait("on_unpublish", |call| call.action() == "on_unpublish")?;
    let id = told.text("client_id");
    let story = web.story(id);
    ensure!(story == ["on_publish", "on_dvr", "on_unpublish"], "{story:?}");
    ensure!(missing.load(Relaxed) == 0, "a file was told of before it was there");
    let dvr = web.wait("on_dvr", |call| call.action() == "on_dvr")?;
    let body = dvr.body.as_object().ok_or_else(|| anyhow!("{dvr:?}"))?;
    let keys: Vec<&str> = body.keys().map(String::as_str).collect();
    let mut wanted = [
        "server_id",
        "service_id",
        "action",
        "client_id",
        "ip",
        "vhost",
        "app",
        "tcUrl",
        "stream",
        "param",
        "cwd",
        "file",
        "stream_url",
        "stream_id",
    ];
    wanted.sort_unstable();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    ensure!(sorted == wanted, "{keys:?}");
    ensure!(dvr.text("param") == "?token=x" && dvr.text("stream_url") == "/live/s", "{dvr:?}");
    ensure!(dvr.text("file") == text("file"), "{dvr:?} is not {listed}");
    ensure!(dvr.text("file").starts_with("./rec/live/s."), "{dvr:?}");

    let [file] = &files(&server, ".flv")[..] else { return Err(anyhow!("not one file")) };
    let probe = examine(file, Sample::H264Aac, &server)?;
    ensure!(probe.seconds() > 4.0, "{} s", probe.seconds());
    let said = says(file, &server)?;
    ensure!((said - probe.seconds()).abs() < 0.2, "says {said}, has {}", probe.seconds());
    decodes(file, Sample::H264Aac, &server)?;
    sync::kept(file, Sample::H264Aac, &server.dir)?;
    ensure!(files(&server, ".tmp").is_empty());
    let done = until("record_done", || {
        std::fs::read_to_string(server.dir.join("done")).ok().filter(|text| text.ends_with('\n'))
    })?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    ensure!(done == format!("{name} ./rec/live s\n"), "{done:?}");
    Ok(())
}

#[test]
fn segments_are_cut_at_key_frames_and_each_is_told_of_once() -> Result<()> {
    need!("ffmpeg", "ffprobe");
    let web = Web::start(|_| Say::Yes)?;
    let hooks = format!("http_hooks {{ enabled on; on_dvr {}; }}", web.url());
    for (name, path) in [("dvr-segments-flv", FLV), ("dvr-segments-mp4", MP4)] {
        let dvr = format!("{path} dvr_plan segment; dvr_duration 2;");
        let server = Start::config(name, &config(&dvr, &hooks)).ready()?;
        let end = if path == FLV { ".flv" } else { ".mp4" };
        let publisher = publish(&server, Sample::H264Aac, &format!("live/{name}"))?;
        wait_files(&server, end, 3)?;
        drop(publisher);
        until("the last is not finished", || files(&server, ".tmp").is_empty().then_some(()))?;
        let all = files(&server, end);
        let is_own = |call: &Call| call.action() == "on_dvr" && call.text("stream") == name;
        until("not each was told of", || {
            (web.calls().iter().filter(|call| is_own(call)).count() == all.len()).then_some(())
        })?;
        let (_, whole) = all.split_last().ok_or_else(|| anyhow!("no file"))?;
        for file in whole {
            let probe = examine(file, Sample::H264Aac, &server)?;
            let seconds = probe.seconds();
            ensure!((1.8..=3.1).contains(&seconds), "{} has {seconds} s", file.display());
            let first = probe.track("video")?.packets.first().map(|p| p.dts);
            ensure!(first.is_some_and(|at| at < 0.1), "{} begins at {first:?}", file.display());
            decodes(file, Sample::H264Aac, &server)?;
        }
    }
    Ok(())
}

/// The kinds of the outermost boxes.
fn boxes(file: &Path) -> Result<Vec<String>> {
    let bytes = std::fs::read(file)?;
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some(head) = bytes.get(at..at + 16) {
        let [a, b, c, d, k, i, n, e, l @ ..] = head else { break };
        let short = u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
        let long = l.try_into().map(u64::from_be_bytes)?;
        at += usize::try_from(if short == 1 { long } else { short })?;
        all.push(String::from_utf8_lossy(&[*k, *i, *n, *e]).into_owned());
    }
    Ok(all)
}

fn mp4(sample: Sample) -> Result<()> {
    need!("ffmpeg", "ffprobe");
    if sample.enhanced() {
        need!("newer ffmpeg");
    }
    let name = format!("dvr-mp4-{sample:?}").to_lowercase();
    let server = Start::config(&name, &config(MP4, "")).ready()?;
    let publisher = publish(&server, sample, "live/s")?;
    wait_files(&server, ".mp4.tmp", 1)?;
    let_run(6.0);
    drop(publisher);
    let all = wait_files(&server, ".mp4", 1)?;
    let [file] = &all[..] else { return Err(anyhow!("{all:?}")) };
    ensure!(boxes(file)? == ["ftyp", "mdat", "moov"], "{:?}", boxes(file)?);
    let probe = examine(file, sample, &server)?;
    ensure!(probe.seconds() > 4.0, "{} s", probe.seconds());
    ensure!(probe.warnings.is_empty(), "{}", probe.warnings);
    let said = says(file, &server)?;
    ensure!((said - probe.seconds()).abs() < 0.3, "says {said}, has {}", probe.seconds());
    decodes(file, sample, &server)?;
    if sample.video().is_some() {
        sync::kept(file, sample, &server.dir)?;
    }
    Ok(())
}

#[test]
fn mp4_of_h264_and_aac_is_a_plain_file() -> Result<()> {
    mp4(Sample::H264Aac)
}

#[test]
fn mp4_of_b_frames_is_a_plain_file() -> Result<()> {
    mp4(Sample::BFrames)
}

#[test]
fn mp4_of_sound_alone_is_a_plain_file() -> Result<()> {
    mp4(Sample::Aac)
}

#[test]
fn mp4_of_mp3_is_a_plain_file() -> Result<()> {
    mp4(Sample::H264Mp3)
}

#[test]
fn mp4_of_hevc_is_a_plain_file() -> Result<()> {
    mp4(Sample::HevcAac)
}

#[test]
fn mp4_of_av1_is_a_plain_file() -> Result<()> {
    mp4(Sample::Av1Aac)
}

#[test]
fn mp4_of_vp9_and_opus_is_a_plain_file() -> Result<()> {
    mp4(Sample::Vp9Opus)
}

#[test]
fn a_reload_switches_it_on_and_off_for_a_live_stream() -> Result<()> {
    need!("ffmpeg", "ffprobe");
    let server = Start::config("dvr-reload", &config("enabled off;", "")).ready()?;
    let _publisher = publish(&server, Sample::H264Aac, "live/s")?;
    for round in 1..=2 {
        server.rewrite(&config(FLV, ""))?;
        server.reload()?;
        wait_files(&server, ".flv.tmp", 1)?;
        let_run(2.0);
        server.rewrite(&config("enabled off;", ""))?;
        server.reload()?;
        let all = wait_files(&server, ".flv", round)?;
        until("it is still written", || files(&server, ".tmp").is_empty().then_some(()))?;
        let last = all.last().ok_or_else(|| anyhow!("no file"))?;
        examine(last, Sample::H264Aac, &server)?;
    }
    // Another plan ends the file and begins the next.
    server.rewrite(&config(FLV, ""))?;
    server.reload()?;
    wait_files(&server, ".flv.tmp", 1)?;
    let_run(2.0);
    server.rewrite(&config(MP4, ""))?;
    server.reload()?;
    wait_files(&server, ".flv", 3)?;
    wait_files(&server, ".mp4.tmp", 1)?;
    let_run(2.0);
    // The end of the server is the end of the file.
    let dir = server.dir.clone();
    ensure!(server.stop()?.success(), "the server did not end well");
    let list = std::fs::read_dir(dir.join("rec/live"))?.flatten();
    let names: Vec<String> =
        list.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    ensure!(names.iter().filter(|name| name.ends_with(".mp4")).count() == 1, "{names:?}");
    ensure!(!names.iter().any(|name| name.ends_with(".tmp")), "{names:?}");
    Ok(())
}

#[test]
fn the_list_says_which_streams_and_the_raw_api_changes_it() -> Result<()> {
    need!("ffmpeg");
    let dvr = format!("{FLV} dvr_apply live/a;");
    let server = Start::config("dvr-apply", &config(&dvr, "")).ready()?;
    let _a = publish(&server, Sample::Aac, "live/a")?;
    let _b = publish(&server, Sample::Aac, "live/b")?;
    wait_files(&server, ".tmp", 1)?;
    let of = |name: &str, end: &str| {
        let begins = |path: &PathBuf| {
            path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&format!("{name}.")))
        };
        files(&server, end).iter().filter(|path| begins(path)).count()
    };
    let_run(1.5);
    ensure!((of("a", ".tmp"), of("b", ".tmp")) == (1, 0), "{:?}", files(&server, ""));
    let update = |param: &str| -> Result<String> {
        let path = format!(
            "/api/v1/raw?rpc=update&scope=dvr&value=__defaultVhost__&param={param}&data=live/b"
        );
        Ok(http::get(server.api_address()?, &path)?.text())
    };
    ensure!(update("enable")? == r#"{"code":0}"#);
    until("live/b is not recorded", || (of("b", ".tmp") == 1).then_some(()))?;
    ensure!(of("a", ".flv") == 0, "the other began anew");
    let_run(1.0);
    ensure!(update("disable")? == r#"{"code":0}"#);
    until("live/b is still recorded", || (of("b", ".flv") == 1).then_some(()))?;
    ensure!(of("a", ".tmp") == 1);
    Ok(())
}

#[test]
fn what_a_crash_leaves_can_be_played() -> Result<()> {
    need!("ffmpeg", "ffprobe");
    for (name, path, end) in [("dvr-crash-flv", FLV, ".flv"), ("dvr-crash-mp4", MP4, ".mp4")] {
        let mut server = Start::config(name, &config(path, "")).ready()?;
        let publisher = publish(&server, Sample::H264Aac, "live/s")?;
        wait_files(&server, ".tmp", 1)?;
        let_run(6.0);
        server.signal(Signal::KILL)?;
        server.ends()?;
        drop(publisher);
        ensure!(files(&server, end).is_empty(), "half a file has its name");
        let all = files(&server, ".tmp");
        let [left] = &all[..] else { return Err(anyhow!("{all:?}")) };
        let probe = examine(left, Sample::H264Aac, &server)?;
        ensure!(probe.seconds() > 3.0, "only {} s are left", probe.seconds());
    }
    Ok(())
}

#[test]
fn an_appended_file_goes_on_in_the_next_publish() -> Result<()> {
    need!("ffmpeg", "ffprobe");
    let dvr = "enabled on; dvr_plan append; dvr_path DIR/rec/[app]/[stream].flv;";
    let server = Start::config("dvr-append", &config(dvr, "")).ready()?;
    let mut before = 0.0;
    for _ in 0..2 {
        let publisher = publish(&server, Sample::H264Aac, "live/s")?;
        wait_files(&server, ".tmp", 1)?;
        let_run(3.0);
        drop(publisher);
        let all = wait_files(&server, ".flv", 1)?;
        let [file] = &all[..] else { return Err(anyhow!("{all:?}")) };
        let probe = examine(file, Sample::H264Aac, &server)?;
        let said = says(file, &server)?;
        ensure!(probe.seconds() > before + 1.5, "{} s after {before} s", probe.seconds());
        ensure!((said - probe.seconds()).abs() < 0.2, "says {said}, has {}", probe.seconds());
        before = probe.seconds();
    }
    Ok(())
}

#[test]
fn a_file_that_is_there_stays_and_the_stream_goes_on() -> Result<()> {
    need!("ffmpeg");
    let dvr = "enabled on; dvr_path DIR/rec/[app]/[stream].flv;";
    let server = Start::config("dvr-exists", &config(dvr, "")).ready()?;
    let file = server.dir.join("rec/live/s.flv");
    std::fs::create_dir_all(server.dir.join("rec/live"))?;
    std::fs::write(&file, "mine")?;
    let _publisher = publish(&server, Sample::H264Aac, "live/s")?;
    server.wait_log("3082")?;
    let_run(1.5);
    ensure!(server.stream("s")?.is_some(), "the stream has gone");
    ensure!(std::fs::read(&file)? == b"mine");
    ensure!(server.log().matches("3082").count() == 1, "it is told again and again");
    Ok(())
}

/// A small file system of its own. Dropped, it is gone.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, kb: u32) -> Result<Option<Self>> {
        std::fs::create_dir_all(at)?;
        let size = format!("size={kb}k");
        let dir = at.parent().unwrap_or(at);
        let mut mount = command("mount", ["-t", "tmpfs", "-o", &size, "tmpfs"]);
        mount.arg(at);
        let done = run(mount, dir, "mount", PATIENCE)?;
        Ok(done.status.success().then(|| Self(at.to_owned())))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_ends_the_recording_and_not_the_stream_and_space_begins_it_again() -> Result<()> {
    need!("ffmpeg", "ffprobe");
    for (name, path, end) in [("dvr-full-flv", FLV, ".flv"), ("dvr-full-mp4", MP4, ".mp4")] {
        let server = Start::config(name, &config(path, "")).ready()?;
        let Some(_small) = Small::mount(&server.dir.join("rec"), 300)? else {
            e2e::pass_over("no right to mount a small file system");
            return Ok(());
        };
        let _publisher = publish(&server, Sample::H264Aac, "live/s")?;
        server.wait_log("the disk is full")?;
        let all = wait_files(&server, end, 1)?;
        let first = all.first().ok_or_else(|| anyhow!("no file"))?;
        examine(first, Sample::H264Aac, &server)?;
        decodes(first, Sample::H264Aac, &server)?;
        ensure!(server.stream("s")?.is_some(), "the stream has gone");
        let copy = server.dir.join("first");
        std::fs::rename(first, &copy).or_else(|_| {
            std::fs::copy(first, &copy)?;
            std::fs::remove_file(first)
        })?;
        until("it does not begin again", || {
            let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |m| m.len());
            files(&server, ".tmp").iter().any(|path| size(path) > 20_000).then_some(())
        })?;
        let metrics = http::get(server.api_address()?, "/metrics")?.text();
        let failed = metrics.lines().find(|l| l.contains(r#"recordings_total{result="failed"}"#));
        ensure!(failed.is_some_and(|line| !line.ends_with(" 0")), "{failed:?}");
    }
    Ok(())
}
