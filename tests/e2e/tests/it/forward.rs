//! Forwarding: what is published on one server is played on another.

use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use e2e::own::{self, Clip, runs_on};
use e2e::web::{Say, Web};
use e2e::{Context, Result, Sample, Server, Start, Wire, ensure, http, need, probe, until};
use serde_json::{Value, json};

use crate::secure::certificate;

const PLAIN: &str = "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
    http_api { enabled on; listen API; }\nvhost __defaultVhost__ { }\n";

fn config(forward: &str) -> String {
    PLAIN.replace("{ }", &format!("{{ forward {{ {forward} }} }}"))
}

fn at(server: &Server) -> String {
    format!("127.0.0.1:{}", server.ports.rtmp)
}

fn publish(server: &Server, name: &str) -> Result<own::Publisher> {
    own::publish(server, name, Clip::card()?, |_, at| at)
}

/// The id of the only publisher.
fn publisher(server: &Server) -> Result<String> {
    let all = server.clients("flash-publish")?;
    let [one] = all.as_slice() else { e2e::bail!("{} publishers", all.len()) };
    Ok(one.get("id").and_then(Value::as_str).context("an id")?.to_owned())
}

fn gone(server: &Server) -> Result<()> {
    until("it is still forwarded", || {
        server.clients("flash-publish").ok()?.is_empty().then_some(())
    })
}

fn metric(server: &Server, name: &str, to: &str) -> Result<f64> {
    let text = http::get(server.api_address()?, "/metrics")?.text();
    let line = format!("{name}{{vhost=\"__defaultVhost__\",destination=\"{to}\"");
    let value = text.lines().find(|l| l.starts_with(&line)).and_then(|l| l.rsplit(' ').next());
    Ok(value.with_context(|| format!("no {line} in {text}"))?.parse()?)
}

#[test]
fn a_stream_is_played_on_the_other_server_as_it_was_published() -> Result<()> {
    need!("ffmpeg", "ffprobe");
    let to = Start::config("forward-plain-to", PLAIN).ready()?;
    let on = format!("enabled on; destination {};", at(&to));
    let from = Start::config("forward-plain", &config(&on)).ready()?;
    for sample in [Sample::H264Aac, Sample::BFrames, Sample::Mp3] {
        let name = format!("live/{sample:?}");
        let program = sample.publish(&from, &from.rtmp(&format!("{name}?token=x")))?;
        to.wait_stream(&format!("{sample:?}"))?;
        let file = Wire::Rtmp.record(&to, &name, sample, 3)?;
        let probe = probe::probe(&file.display().to_string(), sample, &to.dir)?;
        probe.holds(sample.video(), Some(sample.audio()))?;
        probe.runs_on(0.5)?;
        drop(program);
        gone(&to)?;
    }
    // The query went along.
    to.wait_log("param=?token=***")?;
    ensure!(metric(&from, "millrace_forward_bytes_total", &at(&to))? > 100_000.0);
    ensure!(from.stop()?.success() && to.stop()?.success());
    Ok(())
}

#[test]
fn codecs_of_enhanced_rtmp_go_through_tls_untouched() -> Result<()> {
    need!("newer ffmpeg", "openssl");
    let keys = e2e::folder()?.join("run").join("forward-tls-to-keys");
    certificate(&keys, "127.0.0.1")?;
    let tls = "rtmps { enabled on; listen RTMPS; key DIR-keys/server.key; \
               cert DIR-keys/server.crt; }\n";
    let to = Start::config("forward-tls-to", &format!("{tls}{PLAIN}")).ready()?;
    let on = format!("enabled on; destination rtmps://127.0.0.1:{};", to.ports.rtmps);
    let from = Start::config("forward-tls", &config(&on)).ready()?;
    let _program = Sample::HevcAac.publish(&from, &from.rtmp("live/s"))?;
    to.wait_stream("s")?;
    let pieces = own::play(&to, "live/s", Duration::from_secs(3))?;
    runs_on(&pieces, 200)?;
    let ex = |fourcc: &[u8]| {
        pieces
            .iter()
            .any(|p| p.body.first().is_some_and(|b| b & 0x80 != 0) && &p.body[1..5] == fourcc)
    };
    ensure!(ex(b"hvc1"), "no picture of HEVC came as Enhanced RTMP has it");
    to.wait_log("secure=true")?;
    Ok(())
}

#[test]
fn dead_and_hanging_destinations_delay_nobody() -> Result<()> {
    let to = Start::config("forward-dead-to", PLAIN).ready()?;
    // One that takes connections and says nothing, and one where nobody listens.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let dead = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let silent_at = silent.local_addr()?;
    let on = format!("enabled on; destination {dead} {silent_at} {};", at(&to));
    let from = Start::config("forward-dead", &config(&on)).ready()?;
    let program = publish(&from, "live/s")?;
    to.wait_stream("s")?;
    runs_on(&own::play(&from, "live/s", Duration::from_secs(5))?, 200)?;
    runs_on(&own::play(&to, "live/s", Duration::from_secs(5))?, 200)?;
    ensure!(program.alive(), "the publisher was ended");
    from.wait_log("cannot connect: Connection refused")?;
    ensure!(metric(&from, "millrace_forward_failures_total", &dead.to_string())? >= 2.0);
    ensure!(metric(&from, "millrace_forward_connects_total", &silent_at.to_string())? == 0.0);
    // After ten seconds of silence it is dialled again.
    from.wait_log(&format!("does not get to {silent_at}: no handshake in time"))?;
    drop(program);
    until("what hangs is still listed", || {
        from.clients("rtmp-forward").ok()?.is_empty().then_some(())
    })?;
    ensure!(from.stop()?.success());
    Ok(())
}

#[test]
fn a_destination_that_stops_reading_is_given_up_and_the_publisher_goes_on() -> Result<()> {
    let to = Start::config("forward-stop-to", PLAIN).ready()?;
    // In front of the other server: passes everything, and at a word nothing more.
    let (port, stall) = proxy(to.ports.rtmp)?;
    let text = config(&format!("enabled on; destination 127.0.0.1:{port};"));
    let text = text.replace("forward {", "play { queue_length 2; } forward {");
    let from = Start::config("forward-stop", &text).ready()?;
    let program = publish(&from, "live/s")?;
    to.wait_stream("s")?;
    stall.store(true, std::sync::atomic::Ordering::Relaxed);
    runs_on(&own::play(&from, "live/s", Duration::from_secs(3))?, 200)?;
    from.wait_log("took no byte for 2 s")?;
    stall.store(false, std::sync::atomic::Ordering::Relaxed);
    until("it is not tried again", || {
        let name = "millrace_forward_connects_total";
        (metric(&from, name, &format!("127.0.0.1:{port}")).ok()? >= 2.0).then_some(())
    })?;
    ensure!(program.alive(), "the publisher was ended");
    Ok(())
}

/// A port that leads to another, until it is told to stall; then it reads nothing more from those
/// who are there.
fn proxy(to: u16) -> Result<(u16, std::sync::Arc<std::sync::atomic::AtomicBool>)> {
    use std::io::Write;
    use std::net::TcpStream;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // What the kernel takes for one that does not read: a second of the stream, not a minute.
    rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 16 * 1024)?;
    let port = listener.local_addr()?.port();
    let stall = std::sync::Arc::new(AtomicBool::new(false));
    let told = stall.clone();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut from in listener.incoming().map_while(std::result::Result::ok) {
            let Ok(mut there) = TcpStream::connect(("127.0.0.1", to)) else { return };
            let (Ok(mut back), Ok(mut answers)) = (from.try_clone(), there.try_clone()) else {
                return;
            };
            // What is stalled stays open, so that only its silence can be noticed.
            held.extend(from.try_clone().ok());
            let told = told.clone();
            std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = from.read(&mut buffer) {
                    if there.write_all(buffer.get(..n).unwrap_or_default()).is_err() {
                        return;
                    }
                    if told.load(Relaxed) {
                        let _ = there.shutdown(std::net::Shutdown::Both);
                        std::thread::sleep(e2e::PATIENCE);
                        return;
                    }
                }
            });
        }
    });
    Ok((port, stall))
}

#[test]
fn a_destination_that_was_restarted_gets_the_stream_again() -> Result<()> {
    let mut to = Start::config("forward-again-to", PLAIN).ready()?;
    let on = format!("enabled on; destination {};", at(&to));
    let from = Start::config("forward-again", &config(&on)).ready()?;
    let _program = publish(&from, "live/s")?;
    to.wait_stream("s")?;
    to.restart()?;
    to.wait_stream("s")?;
    let pieces = own::play(&to, "live/s", Duration::from_secs(2))?;
    runs_on(&pieces, 200)?;
    ensure!(pieces.iter().any(own::Piece::is_config), "no configuration came");
    ensure!(metric(&from, "millrace_forward_connects_total", &at(&to))? == 2.0);
    Ok(())
}

#[test]
fn a_reload_adds_and_removes_destinations_and_disturbs_no_other() -> Result<()> {
    let first = Start::config("forward-reload-first", PLAIN).ready()?;
    let second = Start::config("forward-reload-second", PLAIN).ready()?;
    let from = Start::config("forward-reload", PLAIN).ready()?;
    let program = publish(&from, "live/s")?;
    from.wait_stream("s")?;
    let change = |forward: &str| -> Result<()> {
        from.rewrite(&config(forward))?;
        from.reload()
    };
    change(&format!("enabled on; destination {};", at(&first)))?;
    first.wait_stream("s")?;
    let id = publisher(&first)?;
    change(&format!("enabled on; destination {} {};", at(&first), at(&second)))?;
    second.wait_stream("s")?;
    ensure!(publisher(&first)? == id, "what stayed in the list was disturbed");
    change(&format!("enabled on; destination {};", at(&second)))?;
    gone(&first)?;
    publisher(&second)?;
    change(&format!("enabled off; destination {};", at(&second)))?;
    gone(&second)?;
    ensure!(program.alive(), "the publisher was disturbed");
    Ok(())
}

#[test]
fn a_backend_decides_where_each_stream_goes() -> Result<()> {
    let to = Start::config("forward-backend-to", PLAIN).ready()?;
    let url = format!("rtmp://{}/other/renamed?key=secret1", at(&to));
    let web = Web::start(move |call| match call.text("stream") {
        "wanted" => Say::Json(json!({ "code": 0, "data": { "urls": [url] } })),
        "local" => Say::Json(json!({ "code": 0, "data": { "urls": [] } })),
        "garbage" => Say::Garbage,
        _ => Say::No,
    })?;
    let on = format!("enabled on; backend {};", web.url());
    let from = Start::config("forward-backend", &config(&on)).ready()?;
    let all: Vec<own::Publisher> = ["wanted?k=v", "local", "refused", "garbage"]
        .iter()
        .map(|name| publish(&from, &format!("live/{name}")))
        .collect::<Result<_>>()?;
    to.wait_stream("renamed")?;
    let call = web.wait("on_forward", |call| call.text("stream") == "wanted")?;
    ensure!(call.action() == "on_forward" && call.text("param") == "?k=v", "{call:?}");
    from.wait_log("the callback says no: the reply has code 1")?;
    from.wait_log("forward: nothing new, as the backend gave no list")?;
    for name in ["local", "refused", "garbage"] {
        from.wait_stream(name)?;
    }
    ensure!(all.iter().all(own::Publisher::alive), "a publisher was ended");
    ensure!(to.clients("flash-publish")?.len() == 1, "something else was forwarded");
    let log = from.log();
    ensure!(!log.contains("secret1") && !log.contains("renamed"), "the log tells a stream key");
    Ok(())
}

#[test]
fn one_that_is_kicked_off_stays_away_and_nothing_goes_to_itself() -> Result<()> {
    let to = Start::config("forward-kick-to", PLAIN).ready()?;
    let on = format!("enabled on; destination {} RTMP;", at(&to));
    let from = Start::config("forward-kick", &config(&on)).ready()?;
    let program = publish(&from, "live/s")?;
    to.wait_stream("s")?;
    from.wait_log("the destination is this server and this stream itself")?;
    let listed = from.clients("rtmp-forward")?;
    let id = listed.first().and_then(|c| c.get("id")).and_then(Value::as_str).context("an id")?;
    kick(&from, id)?;
    gone(&to)?;
    from.wait_log("kicked off through the API, until the stream is published anew")?;
    // Longer than the pause before another try.
    e2e::let_run(4.0);
    ensure!(to.clients("flash-publish")?.is_empty(), "it came back");
    ensure!(program.alive(), "the publisher was ended");
    drop(program);
    until("the stream does not end", || {
        from.clients("fmle-publish").ok()?.is_empty().then_some(())
    })?;
    let _again = publish(&from, "live/s")?;
    to.wait_stream("s")?;
    Ok(())
}

fn kick(server: &Server, id: &str) -> Result<()> {
    let path = format!("/api/v1/clients/{id}");
    let answer = http::ask(server.api_address()?, "DELETE", &path, &[])?;
    ensure!(answer.text().contains("\"code\":0"), "DELETE {path}: {}", answer.text());
    Ok(())
}
