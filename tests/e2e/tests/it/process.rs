//! The command line, the configuration, signals.

use e2e::own::{self, Clip};
use e2e::server::run_binary;
use e2e::{Context, Result, Sample, Start, Wire, ensure, http, let_run, need, probe, until};
use rustix::process::Signal;
use serde_json::Value;

const GOOD: &str = "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
    http_api { enabled on; listen API; }\nhttp_server { enabled on; listen HTTP; dir DIR/html; }\n\
    vhost __defaultVhost__ {\n    http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }\n}\n";

#[test]
fn no_arguments_serve_on_the_usual_ports_and_say_so() -> Result<()> {
    let server = Start::bare("process-nothing").standard_ports().ready()?;
    let said = server.log();
    for address in ["rtmp://", ":8080/live/livestream.flv", ":8080/live/livestream.m3u8", "1985"] {
        ensure!(said.contains(address), "the banner does not say {address}:\n{said}");
    }
    ensure!(http::get(server.api_address()?, "/api/v1/versions")?.status == 200);
    ensure!(server.stop()?.success());
    Ok(())
}

#[test]
fn the_demo_is_a_stream_that_plays() -> Result<()> {
    need!("ffmpeg", "ffprobe");
    let server = Start::bare("process-demo").arg("demo").ready()?;
    server.wait_stream("livestream")?;
    for address in [server.rtmp("live/livestream"), server.http("live/livestream.flv")] {
        ensure!(server.log().contains(&address), "the demo does not say {address}");
    }
    for wire in [Wire::Rtmp, Wire::Flv, Wire::Hls] {
        let file = wire.record(&server, "live/livestream", Sample::H264Aac, 5)?;
        let probe = probe::probe(&file.display().to_string(), Sample::H264Aac, &server.dir)?;
        probe.holds(Some("h264"), Some("aac"))?;
        probe.runs_on(0.2)?;
    }
    ensure!(server.stop()?.success());
    Ok(())
}

#[test]
fn the_banner_names_what_is_served_and_nothing_else() -> Result<()> {
    let server = Start::config("process-banner", GOOD).ready()?;
    server.wait_log("/live/livestream.flv")?;
    for off in ["livestream.ts", "livestream.m3u8"] {
        ensure!(!server.log().contains(off), "the banner says {off}:\n{}", server.log());
    }
    Ok(())
}

#[test]
fn a_bad_configuration_is_told_whole_with_places_and_nearest_names() -> Result<()> {
    let bad = "listen 1935;\nvhost __defaultVhost__ {\n    hls {\n        hls_fragmant 4;\n    }\n\
               }\nhttp_api {\n    enabled maybe;\n}\n";
    let dir = e2e::folder()?.join("run/process-bad");
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("bad.conf"), bad)?;
    for args in [["-t", "-c", "bad.conf"].as_slice(), &["check", "bad.conf"], &["-tc", "bad.conf"]]
    {
        let run = run_binary("process-bad", args)?;
        let said = run.stdout + &run.stderr;
        ensure!(!run.status.success(), "{args:?} ends well");
        for part in ["bad.conf", "hls_fragmant", "hls_fragment", ":4", ":8", "maybe"] {
            ensure!(said.contains(part), "{args:?} does not say {part:?}:\n{said}");
        }
    }
    Ok(())
}

#[test]
fn a_good_configuration_passes_the_check() -> Result<()> {
    let dir = e2e::folder()?.join("run/process-good");
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("good.conf"), "listen 1935;\nvhost __defaultVhost__ {\n}\n")?;
    for args in [["-t", "-c", "good.conf"].as_slice(), &["check", "good.conf"]] {
        run_binary("process-good", args)?.well()?;
    }
    Ok(())
}

#[test]
fn version_and_help_go_to_standard_output() -> Result<()> {
    for flag in ["-v", "-V"] {
        let run = run_binary("process-version", &[flag])?.well()?;
        ensure!(run.stdout.chars().any(|c| c.is_ascii_digit()), "{flag}: {:?}", run.stdout);
    }
    let help = run_binary("process-version", &["-h"])?.well()?;
    ensure!(help.stdout.contains("demo") && help.stdout.contains("-c"), "{}", help.stdout);
    let wrong = run_binary("process-version", &["-c", "no-such-file.conf"])?;
    ensure!(!wrong.status.success(), "started without its configuration");
    ensure!((wrong.stdout + &wrong.stderr).contains("no-such-file.conf"), "does not name the file");
    Ok(())
}

#[test]
fn a_port_in_use_is_one_clear_line() -> Result<()> {
    let first = Start::config("process-port-a", GOOD).ready()?;
    let taken = format!("{}", first.ports.rtmp);
    let text = GOOD.replace("RTMP", &format!("127.0.0.1:{taken}"));
    let mut second = Start::config("process-port-b", &text).start()?;
    ensure!(!second.ends()?.success(), "a second server took the same port");
    ensure!(second.log().contains(&taken), "does not name the port:\n{}", second.log());
    Ok(())
}

#[test]
fn reload_changes_what_it_was_asked_to() -> Result<()> {
    need!("ffmpeg");
    let mut server = Start::config("process-reload", GOOD).ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    ensure!(http::get(server.http_address()?, "/live/livestream.m3u8")?.status == 404);
    let more = "hls { enabled on; hls_path DIR/html; hls_fragment 1; }\n    http_remux";
    server.rewrite(&GOOD.replace("http_remux", more))?;
    server.reload()?;
    until("HLS never appears", || {
        let answer = http::get(server.http_address().ok()?, "/live/livestream.m3u8").ok()?;
        (answer.status == 200).then_some(())
    })?;
    ensure!(server.alive()?, "the server ended");
    Ok(())
}

#[test]
fn a_reload_with_a_fault_changes_nothing() -> Result<()> {
    need!("ffmpeg");
    let mut server = Start::config("process-reload-bad", GOOD).ready()?;
    let mut publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    // A good change and a bad one: neither may happen.
    let bad = GOOD.replace("http_remux { enabled on;", "http_remux { enabled off; nonsense 1;");
    server.rewrite(&bad)?;
    server.reload()?;
    server.wait_log("nonsense")?;
    let mut came = 0;
    let time = std::time::Duration::from_secs(3);
    let at = server.http_address()?;
    let live = http::stream(at, "/live/livestream.flv", &[], time, &mut |part| {
        came += part.len();
        Ok(())
    })?;
    ensure!(live.status == 200 && came > 1000, "half of the reload happened");
    ensure!(server.alive()? && publisher.ended()?.is_none(), "the reload ended something");
    Ok(())
}

#[test]
fn a_quit_lets_players_finish() -> Result<()> {
    need!("ffmpeg");
    let grace = format!("grace_start_wait 200;\ngrace_final_wait 200;\n{GOOD}");
    let mut server = Start::config("process-quit", &grace).ready()?;
    let publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    server.signal(Signal::QUIT)?;
    until("still accepts", || {
        std::net::TcpStream::connect(("127.0.0.1", server.ports.rtmp)).err()
    })?;
    let_run(1.0);
    ensure!(server.alive()?, "ended while a publisher was at work");
    drop(publisher);
    ensure!(server.ends()?.success());
    Ok(())
}

#[test]
fn a_stop_ends_well_even_with_people_connected() -> Result<()> {
    need!("ffmpeg");
    let server = Start::config("process-stop", GOOD).ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    ensure!(server.stop()?.success());
    Ok(())
}

#[test]
fn the_log_is_opened_anew_on_usr1() -> Result<()> {
    let text =
        GOOD.replace("srs_log_tank console;", "srs_log_tank file;\nsrs_log_file DIR/the.log;");
    let server = Start::config("process-log", &text).ready()?;
    let log = server.dir.join("the.log");
    until("there is no log", || std::fs::metadata(&log).ok().filter(|m| m.len() > 0))?;
    std::fs::rename(&log, server.dir.join("the.log.1"))?;
    server.signal(Signal::USR1)?;
    until("no new log appears", || std::fs::metadata(&log).ok())?;
    Ok(())
}

#[test]
fn every_line_of_a_json_log_parses_and_players_name_their_publisher() -> Result<()> {
    need!("ffmpeg");
    let text = format!("log_format json;\npithy_print_ms 1000;\n{GOOD}");
    let server = Start::config("process-json", &text).ready()?;
    let clip = Clip::of(Sample::H264Aac)?;
    let _publisher = own::publish(&server, "live/livestream", clip, |_, at| at)?;
    let stream = server.wait_stream("livestream")?;
    let publisher = stream.pointer("/publish/cid").and_then(Value::as_str).unwrap_or_default();
    let at = server.http_address()?;
    let time = std::time::Duration::from_secs(3);
    std::thread::scope(|scope| -> Result<()> {
        let rtmp = scope.spawn(|| own::play(&server, "live/livestream", time));
        http::stream(at, "/live/livestream.flv", &[], time, &mut |_| Ok(()))?;
        rtmp.join().map_err(|_| e2e::anyhow!("the player panicked"))??;
        Ok(())
    })?;
    server.wait_log("disconnect")?;
    let log = std::fs::read_to_string(server.dir.join("server.out"))?;
    ensure!(log.lines().count() > 10, "the log has only: {log}");
    let mut of_players = std::collections::BTreeSet::new();
    for line in log.lines().filter(|l| !l.is_empty()) {
        let line: Value = serde_json::from_str(line).map_err(|e| e2e::anyhow!("{e} in {line}"))?;
        for field in ["time", "level", "message"] {
            ensure!(line.get(field).is_some_and(Value::is_string), "no {field}: {line}");
        }
        let text = |field: &str| line.get(field).and_then(Value::as_str).unwrap_or_default();
        if text("publisher") == publisher && text("session") != publisher {
            of_players.insert(text("session").to_owned());
        }
    }
    ensure!(of_players.len() == 2, "players that name their publisher: {of_players:?}");
    Ok(())
}

#[test]
fn a_second_server_with_the_same_pid_file_is_told_who_runs() -> Result<()> {
    let pid = e2e::folder()?.join("run/process-pid-file.pid");
    let text = format!("pid {};\n{GOOD}", pid.display());
    let first = Start::config("process-pid-a", &text).ready()?;
    let number = std::fs::read_to_string(&pid)?;
    let mut second = Start::config("process-pid-b", &text).start()?;
    ensure!(!second.ends()?.success(), "a second server took the same pid file");
    ensure!(second.log().contains(number.trim()), "does not say who runs:\n{}", second.log());
    ensure!(first.stop()?.success());
    ensure!(!pid.exists(), "the pid file stays when the server stops");
    Ok(())
}

#[test]
fn a_daemon_goes_to_the_background_and_is_stopped_by_its_pid_file() -> Result<()> {
    let text = GOOD
        .replace("daemon off;", "daemon on;\npid DIR/the.pid;")
        .replace("srs_log_tank console;", "srs_log_tank file;\nsrs_log_file DIR/the.log;");
    let mut server = Start::config("process-daemon", &text).start()?;
    let status = server.ends()?;
    ensure!(status.success(), "{status}: {}", server.log());
    until("the daemon never answers", || http::get(server.api_address().ok()?, "/healthz").ok())?;
    let pid = std::fs::read_to_string(server.dir.join("the.pid"))?;
    let pid = rustix::process::Pid::from_raw(pid.trim().parse()?).context("a pid")?;
    ensure!(std::fs::metadata(server.dir.join("the.log"))?.len() > 0, "an empty log");
    rustix::process::kill_process(pid, Signal::TERM)?;
    until("the daemon does not stop", || (!server.dir.join("the.pid").exists()).then_some(()))
}

#[test]
fn the_environment_alone_configures_a_server() -> Result<()> {
    need!("ffmpeg");
    let mut start = Start::bare("process-env").arg("-e");
    for (name, value) in [
        ("SRS_DAEMON", "off"),
        ("SRS_SRS_LOG_TANK", "console"),
        ("SRS_HTTP_API_ENABLED", "on"),
        ("SRS_HTTP_SERVER_ENABLED", "on"),
        ("SRS_VHOST_HTTP_REMUX_ENABLED", "on"),
    ] {
        start = start.env(name, value);
    }
    let server = start.ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    Wire::Flv.record(&server, "live/livestream", Sample::H264Aac, 2)?;
    Ok(())
}

#[test]
fn a_changed_file_is_reloaded_by_itself_where_that_is_on() -> Result<()> {
    need!("ffmpeg");
    let text = format!("inotify_auto_reload on;\n{GOOD}");
    let mut server = Start::config("process-inotify", &text).ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    server.rewrite(&text.replace("http_remux { enabled on;", "http_remux { enabled off;"))?;
    until("the change is never noticed", || {
        let time = std::time::Duration::from_millis(500);
        let at = server.http_address().ok()?;
        let live = http::stream(at, "/live/livestream.flv", &[], time, &mut |_| Ok(())).ok()?;
        (live.status == 404).then_some(())
    })?;
    ensure!(server.alive()?, "the server ended");
    Ok(())
}

#[test]
fn the_samples_in_conf_are_all_good() -> Result<()> {
    let conf = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conf");
    let mut checked = 0;
    for file in std::fs::read_dir(&conf)? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "conf") {
            let run = run_binary("process-samples", &["check", &path.display().to_string()])?;
            ensure!(run.status.success(), "{}: {}{}", path.display(), run.stdout, run.stderr);
            checked += 1;
        }
    }
    ensure!(checked > 0, "no samples in conf/");
    Ok(())
}
