//! How many may come, and what the others notice.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use e2e::own::{self, Clip};
use e2e::program::{command, run};
use e2e::{Ports, Result, Sample, Server, Start, ensure, http, need, until};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

fn config(more: &str) -> String {
    format!(
        "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n{more}\n\
         http_api {{ enabled on; listen API; }}\n\
         http_server {{ enabled on; listen HTTP; dir DIR/html; }}\n\
         vhost __defaultVhost__ {{ http_remux {{ enabled on; }} }}\n"
    )
}

/// A connection to the RTMP port from that address of this machine.
fn from(server: &Server, own: &str) -> Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &format!("{own}:0").parse::<SocketAddr>()?)?;
    connect(&socket, &format!("127.0.0.1:{}", server.ports.rtmp).parse::<SocketAddr>()?)?;
    Ok(TcpStream::from(socket))
}

/// Whether the server keeps it open; it says nothing first, so silence is what is hoped for.
fn kept(mut socket: &TcpStream) -> Result<bool> {
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    let read = socket.read(&mut [0]);
    Ok(read.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock))
}

fn kept_of(server: &Server, own: &str, count: usize) -> Result<(Vec<TcpStream>, usize)> {
    let sockets: Vec<_> = (0..count).map(|_| from(server, own)).collect::<Result<_>>()?;
    let mut left = 0;
    for socket in &sockets {
        left += usize::from(kept(socket)?);
    }
    Ok((sockets, left))
}

#[test]
fn beyond_max_connections_nobody_is_let_in_and_those_inside_notice_nothing() -> Result<()> {
    need!("ffmpeg");
    let server = Start::config("limits-all", &config("max_connections 8;")).ready()?;
    let clip = Clip::of(Sample::H264Aac)?;
    let publisher = own::publish(&server, "live/livestream", clip, |_, at| at)?;
    server.wait_stream("livestream")?;
    let (crowd, left) = kept_of(&server, "127.0.0.1", 20)?;
    ensure!((1..=7).contains(&left), "{left} of 20 were kept beside the publisher");
    ensure!(publisher.alive(), "the publisher was disconnected");
    drop(crowd);
    let played = until("nobody is let in after the crowd left", || {
        own::play(&server, "live/livestream", Duration::from_secs(2)).ok()
    })?;
    ensure!(played.len() > 50, "only {} pieces came", played.len());
    Ok(())
}

#[test]
fn one_address_may_not_take_every_place() -> Result<()> {
    let server = Start::config("limits-address", &config("max_connections_per_ip 3;")).ready()?;
    let (_first, left) = kept_of(&server, "127.0.0.2", 6)?;
    ensure!(left == 3, "{left} of 6 from one address were kept");
    let (_second, left) = kept_of(&server, "127.0.0.3", 2)?;
    ensure!(left == 2, "{left} of 2 from another address were kept");
    Ok(())
}

#[test]
fn a_request_for_nothing_waits_and_is_told_why() -> Result<()> {
    let text = config("")
        .replace("http_remux { enabled on; }", "http_remux { enabled on; wait_timeout 2; }");
    let server = Start::config("limits-wait", &text).ready()?;
    let at = server.http_address()?;
    let begun = std::time::Instant::now();
    let answer = http::get(at, "/live/nothing.flv")?;
    ensure!(answer.status == 404, "{}", answer.status);
    ensure!(answer.text().contains("nothing"), "404 does not name the stream: {}", answer.text());
    ensure!(begun.elapsed() >= Duration::from_secs(2), "it did not wait");
    Ok(())
}

#[test]
fn head_and_options_are_answered_without_a_body() -> Result<()> {
    need!("ffmpeg");
    let server = Start::config("limits-head", &config("")).ready()?;
    let clip = Clip::of(Sample::H264Aac)?;
    let _publisher = own::publish(&server, "live/livestream", clip, |_, at| at)?;
    server.wait_stream("livestream")?;
    let at = server.http_address()?;
    let head = http::ask(at, "HEAD", "/live/livestream.flv", &[])?;
    ensure!(head.status == 200, "HEAD: {}", head.status);
    ensure!(head.header("content-type") == Some("video/x-flv"), "HEAD: {:?}", head.headers);
    let asks = [("Origin", "http://page.test"), ("Access-Control-Request-Method", "GET")];
    let options = http::ask(at, "OPTIONS", "/live/livestream.flv", &asks)?;
    ensure!((200..300).contains(&options.status), "OPTIONS: {}", options.status);
    let allowed = options.header("access-control-allow-origin");
    ensure!(allowed == Some("*"), "OPTIONS: {:?}", options.headers);
    ensure!(options.body.is_empty(), "OPTIONS has a body: {}", options.text());
    Ok(())
}

/// What somebody wrote is demanded; the default, which nobody asked for, is only warned of.
#[test]
fn too_few_open_files_prevent_only_what_was_asked_for() -> Result<()> {
    let dir = e2e::folder()?.join("run/limits-files");
    std::fs::create_dir_all(&dir)?;
    let ports = Ports::free()?;
    let text = format!(
        "listen 127.0.0.1:{};\ndaemon off;\nsrs_log_tank console;\nmax_connections 1000;\n\
         vhost __defaultVhost__ {{ }}\n",
        ports.rtmp
    );
    std::fs::write(dir.join("written.conf"), &text)?;
    std::fs::write(dir.join("default.conf"), text.replace("max_connections 1000;", ""))?;
    for (name, goes_on) in [("written", false), ("default", true)] {
        let line = format!("ulimit -n 500; timeout 2 \"$0\" -c {name}.conf");
        let mut sh = command("sh", ["-c", &line]);
        sh.arg(e2e::binary()?).current_dir(&dir).env("NO_COLOR", "1");
        let run = run(sh, &dir, name, e2e::PATIENCE)?;
        let said = run.stdout + &run.stderr;
        ensure!(said.contains("1128 open files"), "{name}: {said}");
        let warned = said.contains("[WARN]");
        ensure!(warned == goes_on, "{name}: {said}");
    }
    Ok(())
}

#[test]
fn an_overloaded_server_refuses_who_comes_and_serves_who_is_there() -> Result<()> {
    let server = Start::config("limits-overload", &config("")).ready()?;
    let publisher = own::publish(&server, "live/livestream", Clip::card()?, |_, at| at)?;
    server.wait_stream("livestream")?;
    // Every load is too much by this, so that nothing depends on how fast the machine is.
    server.rewrite(&config("circuit_breaker { dying_threshold 0; dying_pulse 1; }"))?;
    server.reload()?;
    server.wait_log("new sessions are refused until that falls")?;
    let answer = http::get(server.http_address()?, "/live/livestream.flv")?;
    ensure!(answer.status == 503, "{}: {}", answer.status, answer.text());
    ensure!(answer.text().contains("overloaded"), "{}", answer.text());
    ensure!(own::publish(&server, "live/other", Clip::card()?, |_, at| at).is_err());
    let metrics = http::get(server.api_address()?, "/metrics")?.text();
    ensure!(metrics.contains("millrace_overload_level 3"), "{metrics}");
    ensure!(publisher.alive(), "the publisher was disconnected");
    server.rewrite(&config(""))?;
    server.reload()?;
    server.wait_log("have time to spare again")?;
    let played = own::play(&server, "live/livestream", Duration::from_secs(1))?;
    ensure!(played.len() > 20, "only {} pieces came", played.len());
    Ok(())
}
