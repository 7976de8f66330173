//! Players who come, look at the first picture, stay for a while and go.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use container::flv::{Reader, TagKind};
use rand::Rng;
use rand::rngs::StdRng;
use rtmp::session::client::{Event, Role};
use rtmp::wire::message::Media;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::first::{First, FirstTs, segment};
use super::{FLAPPERS, STEADY, Scene, Tally};
use crate::http::{Live, ask};
use crate::net::{Manner, Rtmp, dial, drain};
use crate::{Result, ensure};

/// Longest wait for the first picture of a steady stream, which has one each second. A machine
/// that is busy with other tests may need seconds for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// Lives in seconds.
const SHORTEST: f64 = 0.1;
const LONGEST: f64 = 10.0;
const KINDS: [&str; 5] = ["RTMP", "HTTP-FLV", "WS-FLV", "HTTP-TS", "HLS"];
/// Pause of a player of HLS between two playlists.
const POLL: Duration = Duration::from_millis(900);

/// One player, from its connection to its end.
pub(super) async fn visit(scene: &Scene, mut rng: StdRng, number: usize) {
    let tally = &scene.tally;
    Tally::add(&tally.visits);
    let steady = rng.random_ratio(7, 10);
    let name = if steady {
        STEADY[rng.random_range(0..STEADY.len())].to_owned()
    } else {
        super::flap::name(rng.random_range(0..FLAPPERS))
    };
    // Most lives are short: 2.6 s on the average.
    let life = SHORTEST + (LONGEST - SHORTEST) * rng.random::<f64>().powi(3);
    let life = Duration::from_secs_f64(life);
    // Some leave when their time is over, wherever they are: in a handshake, before a picture.
    let hasty = rng.random_ratio(1, 4);
    let kind = number % KINDS.len();
    let wait = if hasty || !steady { life } else { PATIENCE };
    let begun = Instant::now();
    let met = timeout(wait, meet(scene, &mut rng, kind, &name)).await;
    match met {
        Ok(Ok(Met::Connection(mut tcp))) => {
            Tally::add(&tally.served);
            drain(&mut tcp, life.saturating_sub(begun.elapsed())).await;
        }
        Ok(Ok(Met::Playlist(path))) => {
            Tally::add(&tally.served);
            while begun.elapsed() + POLL < life {
                sleep(POLL).await;
                if let Err(e) = follow(scene, &mut rng, &path, &name, steady).await {
                    tally.wrong(format!("HLS of {name}: {e}"));
                }
            }
        }
        Ok(Ok(Met::Nobody)) if !steady => Tally::add(&tally.unserved),
        Ok(Ok(Met::Nobody)) => tally.wrong(format!("{} of {name}: 404", KINDS[kind])),
        // A publisher that leaves may take its players along.
        Ok(Err(e)) if !steady && e.kind() != io::ErrorKind::InvalidData => {
            Tally::add(&tally.unserved);
        }
        Ok(Err(e)) => tally.wrong(format!("{} of {name}: {e}", KINDS[kind])),
        Err(_) if hasty || !steady => Tally::add(&tally.unserved),
        Err(_) => tally.wrong(format!("{} of {name}: no picture in {PATIENCE:?}", KINDS[kind])),
    }
}

enum Met {
    /// Media flows.
    Connection(TcpStream),
    /// It is fetched by playlists from there.
    Playlist(String),
    /// There is no such stream now.
    Nobody,
}

/// Connects and waits for the first picture.
async fn meet(scene: &Scene, rng: &mut StdRng, kind: usize, name: &str) -> io::Result<Met> {
    let manner = Manner { reset: rng.random(), ..Manner::default() };
    let path = |extension: &str| format!("/live/{name}.{extension}");
    match kind {
        0 => {
            let mut first = First::default();
            let mut rtmp = Rtmp::start(scene.rtmp, Role::Play, "live", name, rng, manner).await?;
            loop {
                let (kind, body) = match rtmp.next().await? {
                    Event::Media { media: Media::Video, body, .. } => (TagKind::Video, body),
                    Event::Closed(close) => return Err(io::Error::other(close.to_string())),
                    _ => continue,
                };
                if first.body(kind, &body)? {
                    return Ok(Met::Connection(rtmp.tcp));
                }
            }
        }
        1 | 2 => {
            let mut first = First::default();
            let mut live = Live::open(scene.http, &path("flv"), kind == 2, rng, manner).await?;
            let (mut reader, mut bytes) = (Reader::new(), Vec::new());
            loop {
                live.read(&mut bytes).await?;
                reader.push(&bytes);
                bytes.clear();
                let odd = |e| io::Error::new(io::ErrorKind::InvalidData, e);
                while let Some(tag) = reader.pull().map_err(odd)? {
                    if tag.kind == TagKind::Video && first.body(tag.kind, &tag.body)? {
                        return Ok(Met::Connection(live.tcp));
                    }
                }
            }
        }
        3 => {
            let mut first = FirstTs::default();
            let mut live = Live::open(scene.http, &path("ts"), false, rng, manner).await?;
            let mut bytes = Vec::new();
            loop {
                live.read(&mut bytes).await?;
                if first.bytes(&bytes)? {
                    return Ok(Met::Connection(live.tcp));
                }
                bytes.clear();
            }
        }
        _ => {
            let Some(master) = fetch(scene, rng, &path("m3u8")).await? else {
                return Ok(Met::Nobody);
            };
            let Some(playlist) = entries(&master, "").pop() else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an empty master playlist"));
            };
            follow(scene, rng, &playlist, name, false).await?;
            Ok(Met::Playlist(playlist))
        }
    }
}

/// One turn of a player of HLS: the playlist, and the newest segment in it.
async fn follow(
    scene: &Scene,
    rng: &mut StdRng,
    playlist: &str,
    name: &str,
    steady: bool,
) -> io::Result<()> {
    let Some(text) = fetch(scene, rng, playlist).await? else {
        let gone = io::Error::new(io::ErrorKind::NotFound, "the playlist is gone");
        return if steady { Err(gone) } else { Ok(()) };
    };
    let Some(newest) = entries(&text, "/live/").pop() else { return Ok(()) };
    match fetch_bytes(scene, rng, &newest).await? {
        (200, bytes) => {
            Tally::add(&scene.tally.segments);
            // Streams that flap have segments of sound alone, and codecs that TS does not know.
            if !STEADY.contains(&name) {
                return Ok(());
            }
            segment(&bytes).map_err(|e| {
                // What it stands behind tells why it was cut there.
                let tail: Vec<_> = String::from_utf8_lossy(&text)
                    .lines()
                    .rev()
                    .take(6)
                    .map(str::to_owned)
                    .collect();
                io::Error::new(e.kind(), format!("{newest}: {e}; the playlist ends {tail:?}"))
            })
        }
        (404, _) if !steady => Ok(()),
        (status, _) => Err(io::Error::other(format!("{newest}: {status}"))),
    }
}

/// What a playlist names, as paths.
fn entries(text: &[u8], folder: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|l| if l.starts_with('/') { l.to_owned() } else { format!("{folder}{l}") }).collect()
}

/// A playlist; `None` when it is not there.
async fn fetch(scene: &Scene, rng: &mut StdRng, path: &str) -> io::Result<Option<Vec<u8>>> {
    match fetch_bytes(scene, rng, path).await? {
        (200, body) if body.starts_with(b"#EXTM3U") => Ok(Some(body)),
        (200, _) => Err(io::Error::new(io::ErrorKind::InvalidData, "200, and no playlist")),
        (404, _) => Ok(None),
        (status, _) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{path}: {status}"))),
    }
}

async fn fetch_bytes(scene: &Scene, rng: &mut StdRng, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut tcp = dial(scene.http, rng, Manner::default()).await?;
    let host = scene.http;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    tcp.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await?;
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "an answer that is none");
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(odd)?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(odd)?;
    Ok((status, answer.split_off(end + 4)))
}

/// Steady streams have playlists some seconds after they began.
pub(super) fn wait_for_hls(http: SocketAddr) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    for name in STEADY {
        let path = format!("/live/{name}.m3u8?hls_ctx=soak");
        while !ask(http, "GET", &path).is_ok_and(|(status, text)| {
            status == 200 && text.lines().any(|line| line.contains(".ts"))
        }) {
            ensure!(Instant::now() < end, "no segment of {name} in {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    Ok(())
}

impl Tally {
    /// For people.
    pub(super) fn visits_text(&self) -> String {
        format!(
            "{}, {} got media, {} found nobody or were hasty; {} segments",
            self.visits.load(Relaxed),
            self.served.load(Relaxed),
            self.unserved.load(Relaxed),
            self.segments.load(Relaxed)
        )
    }
}
