//! Marks of HLS, which players may choose themselves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use abuse::{Context, Result, ensure};
use e2e::{Server, Start, http};
use rtmp::session::client::{Event, Role};
use rtmp::session::{Client, ClientConfig};
use rtmp::wire::url::StreamUrl;

/// Publishes `live/NAME` without media; the publication lives as long as what is returned.
fn publish(server: &Server, name: &str) -> Result<TcpStream> {
    let url = StreamUrl::parse(&server.rtmp("live"), name)?;
    let mut client =
        Client::new(Instant::now(), [7; 32], ClientConfig::new(url, Role::PublishFmle));
    let mut tcp = TcpStream::connect(("127.0.0.1", server.ports.rtmp))?;
    let mut buffer = [0; 4096];
    loop {
        while let Some(bytes) = client.poll_transmit() {
            tcp.write_all(&bytes)?;
        }
        match client.poll_event() {
            Some(Event::PublishStarted) => return Ok(tcp),
            Some(_) => {}
            None => {
                let n = tcp.read(&mut buffer)?;
                ensure!(n > 0, "the server closed the connection");
                client.handle_bytes(buffer.get(..n).unwrap_or_default());
            }
        }
    }
}

#[test]
fn a_player_who_takes_the_id_of_a_publisher_for_its_mark_does_not_take_its_place() -> Result<()> {
    let server = Start::bare(module_path!()).ready()?;
    let _publisher = publish(&server, "victim")?;
    let publishers = server.clients("fmle-publish")?;
    let id = publishers
        .first()
        .context("no publisher")?
        .get("id")
        .and_then(|id| id.as_str())
        .context("no id")?
        .to_owned();
    let path = format!("/live/victim.m3u8?hls_ctx={id}&token=x");
    let answer = http::get(server.http_address()?, &path)?;
    ensure!(answer.status == 200, "{}", answer.status);
    let text = answer.text();
    ensure!(text.contains("hls_ctx=") && !text.contains(&id), "the same mark again: {text}");
    ensure!(server.clients("fmle-publish")?.len() == 1, "the publisher is listed no more");
    ensure!(server.clients("hls-play")?.len() == 1, "the player is not listed");
    Ok(())
}
