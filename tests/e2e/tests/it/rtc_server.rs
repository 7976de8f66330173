//! `rtc_server { }`: what a start, a reload and an upgrade do to WebRTC.

use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use e2e::http::{self, Answer};
use e2e::program::Program;
use e2e::{Context, Result, Sample, Server, Start, ensure, need, until};
use rustix::process::Signal;

use crate::upgrade::{Successor, upgrade};
use crate::webrtc::{browser, is_well, number, report, watch, whep};

/// `SERVER` stands for the directives of `rtc_server`.
const CONFIG: &str = "listen RTMP;\ndaemon off;\nsrs_log_tank console;\npid DIR/server.pid;\n\
    http_api { enabled on; listen API; }\nrtc_server { SERVER }\n\
    vhost __defaultVhost__ {\n    rtc { enabled on; rtmp_to_rtc on; }\n}\n";

fn with(server: &str) -> String {
    CONFIG.replace("SERVER", server)
}

const ON: &str = "enabled on; listen RTC_PORT; candidate 127.0.0.1;";

/// What a browser offered that wants to play.
fn offer() -> Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocols/rtc/testdata/sdp");
    Ok(std::fs::read_to_string(root.join("chromium-play.sdp"))?)
}

fn ask(server: &Server) -> Result<Answer> {
    // As a proxy asks for somebody outside: a client of this machine would be told the loopback.
    let headers = [("content-type", "application/sdp"), ("x-forwarded-for", "198.51.100.5")];
    let path = "/rtc/v1/whep/?app=live&stream=livestream";
    http::post(server.api_address()?, path, &headers, offer()?.as_bytes())
}

/// Nobody has that port of datagrams.
fn is_free(port: u16) -> bool {
    UdpSocket::bind(("127.0.0.1", port)).is_ok()
}

#[test]
fn webrtc_goes_on_and_off_and_elsewhere_by_reload() -> Result<()> {
    need!("ffmpeg", "node", "chromium");
    let server = Start::config("rtc-reload", &with("enabled off;")).ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let port = server.ports.rtc;
    ensure!(is_free(port), "it listens though it is off");
    let refused = ask(&server)?;
    ensure!(refused.status != 201 && refused.text().contains("rtc_server.enabled"), "{refused:?}");

    server.rewrite(&with(ON))?;
    server.reload()?;
    server.wait_log("WebRTC clients are told: udp 127.0.0.1")?;
    ensure!(!is_free(port), "it does not listen");
    is_well(&watch(&server, "on", "play", &whep(&server, "livestream")?, 3)?)?;

    // Who plays stays when the port moves; who comes is told the new one.
    let before = server.log().matches("WebRTC connected").count();
    let stays = browser(&["play", &whep(&server, "livestream")?, "12"])?;
    let mut stays = Program::start(stays, &server.dir, "stays")?;
    until("the viewer does not come", || {
        (server.log().matches("WebRTC connected").count() > before).then_some(())
    })?;
    let further = server.ports.rtmps;
    let moved = ON.replace("RTC_PORT", &format!("127.0.0.1:{further}"));
    server.rewrite(&with(&moved))?;
    server.reload()?;
    server.wait_log(&format!("stopped receiving WebRTC at UDP 127.0.0.1:{port}"))?;
    let answer = ask(&server)?;
    ensure!(answer.text().contains(&format!("127.0.0.1 {further} typ host")), "{answer:?}");
    is_well(&watch(&server, "moved", "play", &whep(&server, "livestream")?, 3)?)?;
    let ended = until("the viewer does not end", || stays.ended().ok().flatten())?;
    let seen = report(&stays.output())?;
    ensure!(ended.success(), "{seen}");
    is_well(&seen)?;
    until("the old port is not given back", || is_free(port).then_some(()))?;

    server.rewrite(&with("enabled off;"))?;
    server.reload()?;
    server.wait_log(&format!("stopped receiving WebRTC at UDP 127.0.0.1:{further}"))?;
    ensure!(ask(&server)?.status != 201, "it answers though it is off");
    Ok(())
}

#[test]
fn a_taken_port_stops_a_server_with_a_file_and_no_server_without_one() -> Result<()> {
    let without = Start::bare("rtc-taken-fileless");
    let taken = UdpSocket::bind(("127.0.0.1", 0))?;
    let port = taken.local_addr()?;
    let server = without.env("SRS_RTC_SERVER_LISTEN", &port.to_string()).ready()?;
    server.wait_log("no WebRTC: cannot listen for WebRTC over UDP")?;
    let refused = ask(&server)?;
    ensure!(refused.status != 201, "{refused:?}");
    ensure!(!server.log().contains("(WHEP: browsers)"), "the banner tells what is not served");
    let on = format!("enabled on; listen {port};");
    let mut server = Start::config("rtc-taken", &with(&on)).start()?;
    let status = server.ends()?;
    ensure!(!status.success(), "{}", server.log());
    ensure!(server.log().contains("cannot listen for WebRTC over UDP"), "{}", server.log());
    // Which line asks for it, and what to do.
    ensure!(server.log().contains("`rtc_server.listen` ("), "{}", server.log());
    ensure!(server.log().contains("millrace.conf:6:26"), "{}", server.log());
    ensure!(server.log().contains("choose another port"), "{}", server.log());
    Ok(())
}

#[test]
fn the_start_says_where_to_publish_and_play_and_what_has_no_effect() -> Result<()> {
    let server = Start::bare("rtc-banner").ready()?;
    let door = format!("http://{}/rtc/v1", server.api_address()?);
    server.wait_log(&format!("{door}/whip/?app=live&stream=livestream"))?;
    server.wait_log(&format!("{door}/whep/?app=live&stream=livestream"))?;
    server.wait_log("WebRTC clients are told:")?;
    let odd = format!("{ON} ecdsa off;");
    let server = Start::config("rtc-complaints", &with(&odd)).ready()?;
    server.wait_log("rtc_server.ecdsa off: there is no RSA")
}

#[test]
fn an_address_has_no_more_sessions_than_it_may() -> Result<()> {
    let server =
        Start::config("rtc-per-ip", &with(&format!("{ON} max_sessions_per_ip 2;"))).ready()?;
    let first = ask(&server)?;
    ensure!(first.status == 201, "{first:?}");
    ensure!(ask(&server)?.status == 201, "the second is refused");
    let third = ask(&server)?;
    ensure!(third.status == 503 && third.text().contains("max_sessions_per_ip"), "{third:?}");
    let place = first.header("location").context("no location")?.to_owned();
    let gone = http::ask(server.api_address()?, "DELETE", &place, &[])?;
    ensure!(gone.status == 200, "{gone:?}");
    ensure!(ask(&server)?.status == 201, "the place of who has left is not given back");
    Ok(())
}

/// A STUN server that calls everybody 203.0.113.7:9000, until told to stop.
fn stun(socket: UdpSocket, stop: Arc<AtomicBool>) -> std::io::Result<u32> {
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut answered = 0;
    let mut bytes = [0; 1500];
    while !stop.load(Relaxed) {
        let Ok((len, from)) = socket.recv_from(&mut bytes) else { continue };
        let Some(([0, 1, _, _], rest)) = bytes.get(..len).and_then(<[u8]>::split_first_chunk::<4>)
        else {
            continue;
        };
        let Some(head) = rest.first_chunk::<16>() else { continue };
        let mut answer = vec![1, 1, 0, 12];
        answer.extend_from_slice(head);
        answer.extend_from_slice(&[0, 0x20, 0, 8, 0, 1]);
        answer.extend_from_slice(&(9000u16 ^ 0x2112).to_be_bytes());
        answer.extend_from_slice(&[203 ^ 0x21, 0x12, 113 ^ 0xa4, 7 ^ 0x42]);
        socket.send_to(&answer, from)?;
        answered += 1;
    }
    Ok(answered)
}

#[test]
fn a_stun_server_tells_the_public_address_and_clients_are_told() -> Result<()> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    let at = socket.local_addr()?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let asked = std::thread::spawn(move || stun(socket, told));
    let server = Start::config("rtc-stun", &with("enabled off;")).ready()?;
    let on = format!("enabled on; listen {}; api_as_candidates off;", server.ports.rtc);
    server.rewrite(&with(&on))?;
    server.reload()?;
    server.wait_log("WebRTC receives at UDP")?;
    ensure!(!ask(&server)?.text().contains("203.0.113.7"), "who told it?");
    server.rewrite(&with(&format!("{on} stun_server {at};")))?;
    server.reload()?;
    server.wait_log("our public address, by the STUN server")?;
    let answer = ask(&server)?.text();
    ensure!(answer.contains("203.0.113.7 9000 typ"), "{answer}");
    server.rewrite(&with(&on))?;
    server.reload()?;
    until("the address is told for ever", || {
        (!ask(&server).ok()?.text().contains("203.0.113.7")).then_some(())
    })?;
    stop.store(true, Relaxed);
    let count = asked.join().map_err(|_| e2e::anyhow!("the STUN server panicked"))??;
    ensure!(count >= 1, "it was not asked");
    Ok(())
}

#[test]
fn a_viewer_plays_on_through_an_upgrade_and_a_new_one_reaches_the_new_process() -> Result<()> {
    need!("ffmpeg", "node", "chromium");
    let mut server = Start::config("rtc-upgrade", &with(ON)).ready()?;
    let successor = Successor(server.dir.join("server.pid"));
    let old = successor.pid().context("no pid file")?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let camera =
        format!("http://{}/rtc/v1/whep/?app=live&stream=livestream", server.api_address()?);
    let stays = browser(&["play", &camera, "25"])?;
    let mut stays = Program::start(stays, &server.dir, "stays")?;
    server.wait_log("WebRTC connected")?;
    e2e::let_run(3.0);
    let asked = upgrade(&server.dir, "upgrade")?;
    ensure!(asked.status.success(), "{}{}", asked.stdout, asked.stderr);
    ensure!(successor.pid().is_some_and(|new| new != old), "process {old} still serves");
    // The new process has streams of its own.
    let _further = Sample::H264Aac.publish(&server, &server.rtmp("live/further"))?;
    server.wait_stream("further")?;
    let seen = watch(&server, "comes", "play", &whep(&server, "further")?, 4)?;
    is_well(&seen)?;
    let ended = until("the viewer does not end", || stays.ended().ok().flatten())?;
    let seen = report(&stays.output())?;
    ensure!(ended.success() && seen["verdict"] == "ok", "{seen}\n{}", server.log());
    for kind in ["video", "audio"] {
        let lost = number(&seen, &format!("/{kind}/packetsLost"))?;
        ensure!(lost <= 0.0, "{lost} packets of {kind} were lost: {seen}");
    }
    ensure!(number(&seen, "/video/framesDecoded")? > 400.0, "{seen}");
    server.signal(Signal::TERM)?;
    server.ends()?;
    Ok(())
}

/// A socket that shares its port, as those of another server do.
fn sharing() -> Result<UdpSocket> {
    use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};
    let fd = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    sockopt::set_socket_reuseport(&fd, true)?;
    bind(&fd, &std::net::SocketAddr::from(([127, 0, 0, 1], 0)))?;
    Ok(fd.into())
}

#[test]
fn who_took_over_from_another_process_still_sees_that_a_port_is_taken() -> Result<()> {
    let mut server = Start::config("rtc-upgrade-taken", &with(ON)).ready()?;
    let successor = Successor(server.dir.join("server.pid"));
    ensure!(upgrade(&server.dir, "upgrade")?.status.success(), "{}", server.log());
    server.ends()?;
    let taken = sharing()?;
    let elsewhere = format!("enabled on; listen {}; candidate 127.0.0.1;", taken.local_addr()?);
    server.rewrite(&with(&elsewhere))?;
    let new = successor.pid().and_then(|pid| i32::try_from(pid).ok());
    let new = new.and_then(rustix::process::Pid::from_raw).context("no successor")?;
    rustix::process::kill_process(new, Signal::HUP)?;
    server.wait_log("cannot listen for WebRTC over UDP")?;
    // And what it has from the other it gives up and takes again.
    for (directives, told) in
        [("enabled off;", "stopped receiving WebRTC"), (ON, "WebRTC receives at UDP")]
    {
        let count = || server.log().matches(told).count();
        let before = count();
        server.rewrite(&with(directives))?;
        rustix::process::kill_process(new, Signal::HUP)?;
        until(told, || (count() > before).then_some(()))?;
    }
    Ok(())
}
