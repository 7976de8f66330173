//! A real browser, with the players that web pages use.

use std::path::Path;

use e2e::program::{command, run};
use e2e::{Result, Sample, Start, ensure, need};

/// Opens the live stream in a headless Chromium; the script beside fails unless the picture moves.
fn plays(name: &str, player: &str, url: fn(&e2e::Server) -> String) -> Result<()> {
    need!("ffmpeg", "node", "chromium");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    ensure!(
        folder.join("node_modules").is_dir(),
        "the players are missing: run `npm ci` in tests/e2e/browser"
    );
    let server = Start::bare(name).ready()?;
    let _publisher = Sample::H264Aac.publish(&server, &server.rtmp("live/livestream"))?;
    server.wait_stream("livestream")?;
    let mut watch = command("node", ["watch.mjs", player, &url(&server), "5"]);
    watch.current_dir(folder);
    run(watch, &server.dir, "browser", e2e::PATIENCE * 2)?.well()?;
    Ok(())
}

#[test]
fn hls_js_shows_a_moving_picture() -> Result<()> {
    plays("browser-hls", "hls", |server| server.http("live/livestream.m3u8"))
}

#[test]
fn mpegts_js_shows_a_moving_picture_over_http() -> Result<()> {
    plays("browser-flv", "mpegts", |server| server.http("live/livestream.flv"))
}

#[test]
fn mpegts_js_shows_a_moving_picture_over_websocket() -> Result<()> {
    let url = |server: &e2e::Server| server.http("live/livestream.flv").replace("http://", "ws://");
    plays("browser-ws", "mpegts", url)
}
