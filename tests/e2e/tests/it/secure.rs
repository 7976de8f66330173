//! TLS: RTMPS, HTTPS, and certificates that change.

use std::path::Path;

use e2e::program::{command, run};
use e2e::{Result, Sample, Start, ensure, let_run, need, probe, until};

const CONFIG: &str = "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
    rtmps { enabled on; listen RTMPS; key DIR-keys/server.key; cert DIR-keys/server.crt; }\n\
    http_api { enabled on; listen API; }\n\
    http_server { enabled on; listen HTTP; dir DIR/html;\n\
    https { enabled on; listen HTTPS; key DIR-keys/server.key; cert DIR-keys/server.crt; } }\n\
    vhost __defaultVhost__ {\n    http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }\n\
    hls { enabled on; hls_path DIR/html; hls_fragment 1; }\n}\n";

/// A certificate for that name, made on the spot and put in place at once, as tools do.
pub(crate) fn certificate(dir: &Path, name: &str) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut openssl = command("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes"]);
    openssl.args(["-days", "30", "-subj", &format!("/CN={name}"), "-keyout"]);
    openssl.arg(dir.join("new.key")).arg("-out").arg(dir.join("new.crt"));
    run(openssl, dir, "openssl", e2e::PATIENCE)?.well()?;
    std::fs::rename(dir.join("new.key"), dir.join("server.key"))?;
    std::fs::rename(dir.join("new.crt"), dir.join("server.crt"))?;
    Ok(())
}

fn start(name: &str) -> Result<e2e::Server> {
    certificate(&e2e::folder()?.join("run").join(format!("{name}-keys")), "first.test")?;
    Start::config(name, CONFIG).ready()
}

/// The name in the certificate that the port shows.
fn shown(dir: &Path, port: u16) -> Result<String> {
    let at = format!("127.0.0.1:{port}");
    let run = run(command("openssl", ["s_client", "-connect", &at]), dir, "shown", e2e::PATIENCE)?;
    let subject = run.stdout.lines().find(|l| l.starts_with("subject="));
    Ok(subject.unwrap_or_default().to_owned())
}

#[test]
fn rtmps_and_https_carry_what_rtmp_and_http_carry() -> Result<()> {
    need!("ffmpeg", "ffprobe", "openssl", "curl");
    let server = start("secure-all")?;
    let rtmps = format!("rtmps://127.0.0.1:{}/live/livestream", server.ports.rtmps);
    let https = format!("https://127.0.0.1:{}/live/livestream", server.ports.https);
    let mut publisher = Sample::H264Aac.publish(&server, &rtmps)?;
    server.wait_stream("livestream")?;
    for (number, url) in
        [rtmps.clone(), format!("{https}.flv"), format!("{https}.m3u8")].iter().enumerate()
    {
        let file = server.dir.join(format!("{number}.mkv"));
        let mut ffmpeg = command("ffmpeg", ["-v", "error", "-y"]);
        if url.starts_with("https") {
            ffmpeg.args(["-tls_verify", "0"]);
        }
        ffmpeg.args(["-i", url, "-map", "0", "-c", "copy", "-t", "4"]).arg(&file);
        run(ffmpeg, &server.dir, &format!("ffmpeg-{number}"), e2e::PATIENCE)?.well()?;
        let probe = probe::probe(&file.display().to_string(), Sample::H264Aac, &server.dir)?;
        probe.holds(Some("h264"), Some("aac"))?;
        ensure!(probe.seconds() >= 2.0, "{url}: only {:.1} s came", probe.seconds());
    }
    for version in ["--http1.1", "--http2"] {
        let args = ["-sk", version, "--max-time", "3", "-o", "/dev/null", "-w"];
        let mut curl = command("curl", args);
        curl.args(["%{http_code} %{size_download}", &format!("{https}.flv")]);
        let said = run(curl, &server.dir, "curl", e2e::PATIENCE)?.stdout;
        let (status, size) = said.split_once(' ').unwrap_or_default();
        ensure!(status == "200", "curl {version}: {said}");
        ensure!(size.parse().unwrap_or(0) > 50_000, "curl {version} got {size} bytes");
    }
    ensure!(publisher.ended()?.is_none(), "the publisher was disconnected");
    Ok(())
}

#[test]
fn a_certificate_is_replaced_while_people_watch() -> Result<()> {
    need!("ffmpeg", "openssl");
    let server = start("secure-replaced")?;
    let rtmps = format!("rtmps://127.0.0.1:{}/live/livestream", server.ports.rtmps);
    let mut publisher = Sample::H264Aac.publish(&server, &rtmps)?;
    server.wait_stream("livestream")?;
    let ports = [server.ports.rtmps, server.ports.https];
    for port in ports {
        let name = shown(&server.dir, port)?;
        ensure!(name.contains("first.test"), "{port} shows {name:?}");
    }
    let keys = server.dir.with_file_name("secure-replaced-keys");
    certificate(&keys, "second.test")?;
    for port in ports {
        until(&format!("{port} never shows the new certificate"), || {
            shown(&server.dir, port).ok().filter(|name| name.contains("second.test"))
        })?;
    }
    // One that cannot be read leaves the one that works.
    std::fs::write(keys.join("server.crt"), "nonsense")?;
    server.reload()?;
    let_run(2.0);
    let name = shown(&server.dir, server.ports.https)?;
    ensure!(name.contains("second.test"), "a bad certificate took over: {name:?}");
    ensure!(publisher.ended()?.is_none(), "the publisher was disconnected");
    Ok(())
}
