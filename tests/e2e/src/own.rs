//! A publisher and a player of RTMP with any clock, on the project's own client.
//!
//! ffmpeg mends timestamps on their way in and out, and never says which status code it was
//! refused with. This sends what it is told to send and keeps what came, to the bit.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use container::flv::{Reader, Tag};
use rtmp::session::client::{Event, Role};
use rtmp::session::{Client, ClientConfig};
use rtmp::wire::message::Media;
use rtmp::wire::url::StreamUrl;

use crate::{Context, PATIENCE, Result, Sample, Server, anyhow, bail, ensure};

/// A clip to publish: its tags in order, and how long one round of it takes.
#[derive(Clone, Debug)]
pub struct Clip {
    tags: Arc<Vec<Tag>>,
    round: u64,
}

impl Clip {
    /// One of the samples, as its file has it.
    pub fn of(sample: Sample) -> Result<Self> {
        Self::read(&std::fs::read(sample.file()?)?)
    }

    /// The built-in test card: 640x360, while the samples are 320x180.
    pub fn card() -> Result<Self> {
        Self::read(&testcard::flv())
    }

    fn read(flv: &[u8]) -> Result<Self> {
        let tags = tags(flv)?;
        let last = tags.iter().map(|t| u64::from(t.timestamp)).max().context("an empty clip")?;
        // Every clip lasts whole seconds of picture.
        Ok(Self {
            tags: Arc::new(tags),
            round: last / 1000 * 1000 + if last % 1000 > 500 { 1000 } else { 0 },
        })
    }
}

/// All whole tags of an FLV file, however it ends.
pub fn tags(flv: &[u8]) -> Result<Vec<Tag>> {
    let mut reader = Reader::new();
    reader.push(flv);
    let mut tags = Vec::new();
    while let Some(tag) = reader.pull()? {
        tags.push(tag);
    }
    Ok(tags)
}

/// One connection of our client; dropped, it closes without a word.
#[derive(Debug)]
pub struct Own {
    client: Client,
    socket: TcpStream,
}

impl Own {
    /// Connects; what follows comes of [`turn`](Self::turn).
    pub fn connect(server: &Server, name: &str, role: Role) -> Result<Self> {
        let (app, name) = name.rsplit_once('/').context("app/stream")?;
        let url = StreamUrl::parse(&server.rtmp(app), name)?;
        let socket = TcpStream::connect((url.host.as_str(), url.port))?;
        socket.set_nodelay(true)?;
        let client = Client::new(Instant::now(), [7; 32], ClientConfig::new(url, role));
        Ok(Self { client, socket })
    }

    /// Sends what waits, reads what comes within `wait`, and gives what happened.
    pub fn turn(&mut self, wait: Duration) -> Result<Vec<Event>> {
        self.send()?;
        self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        let mut buffer = [0; 64 * 1024];
        match self.socket.read(&mut buffer) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(n) => self.client.handle_bytes(buffer.get(..n).unwrap_or_default()),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.into()),
        }
        self.send()?;
        Ok(std::iter::from_fn(|| self.client.poll_event()).collect())
    }

    fn send(&mut self) -> Result<()> {
        while let Some(bytes) = self.client.poll_transmit() {
            self.socket.write_all(&bytes)?;
        }
        Ok(())
    }
}

/// A publisher at work on a thread of its own; dropped, it leaves.
#[derive(Debug)]
pub struct Publisher {
    leave: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Publisher {
    /// Whether it still publishes.
    pub fn alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Publishes `clip` in a loop at the speed of life. `clock` says which timestamp stands on what is
/// sent so many milliseconds after the first frame; the wire keeps its lowest 32 bits.
pub fn publish(
    server: &Server,
    name: &str,
    clip: Clip,
    clock: impl Fn(Media, u64) -> u64 + Send + 'static,
) -> Result<Publisher> {
    let mut own = Own::connect(server, name, Role::PublishFmle)?;
    let end = Instant::now() + PATIENCE;
    while !own.turn(Duration::from_millis(50))?.contains(&Event::PublishStarted) {
        ensure!(Instant::now() < end, "publishing never started");
    }
    let leave = Arc::new(AtomicBool::new(false));
    let told = leave.clone();
    let thread = std::thread::spawn(move || run(own, &clip, &clock, &told));
    Ok(Publisher { leave, thread: Some(thread) })
}

fn run(
    mut own: Own,
    clip: &Clip,
    clock: &dyn Fn(Media, u64) -> u64,
    leave: &AtomicBool,
) -> Result<()> {
    let begun = Instant::now();
    for round in 0.. {
        for tag in clip.tags.iter() {
            let at = round * clip.round + u64::from(tag.timestamp);
            loop {
                if leave.load(Ordering::Relaxed) {
                    own.client.stop();
                    return own.send();
                }
                let due = begun + Duration::from_millis(at);
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let events = own.turn(left.min(Duration::from_millis(100)))?;
                ensure!(!own.client.is_closed(), "the server ended it: {events:?}");
            }
            let media = tag.kind.into();
            let ms = clock(media, at) & u64::from(u32::MAX);
            own.client.send_media(media, u32::try_from(ms)?, &tag.body)?;
            own.send()?;
        }
    }
    Ok(())
}

/// A part of a stream, as a player gets it.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Audio, video or data.
    pub media: Media,
    /// Its 32-bit timestamp.
    pub ms: u32,
    /// As in an FLV tag.
    pub body: Bytes,
}

impl Piece {
    /// The codec's configuration, of the plain H.264 and AAC kind.
    pub fn is_config(&self) -> bool {
        let start = (self.body.first().copied().unwrap_or(0), self.body.get(1).copied());
        match self.media {
            Media::Video => start == (0x17, Some(0)),
            Media::Audio => start.0 >> 4 == 10 && start.1 == Some(0),
            Media::Data => false,
        }
    }
}

/// Plays by RTMP for a while. Fails if the server ends it.
pub fn play(server: &Server, name: &str, time: Duration) -> Result<Vec<Piece>> {
    let mut own = Own::connect(server, name, Role::Play)?;
    let end = Instant::now() + time;
    let mut pieces = Vec::new();
    while Instant::now() < end {
        for event in own.turn(Duration::from_millis(50))? {
            match event {
                Event::Media { media, timestamp_ms, body } => {
                    pieces.push(Piece { media, ms: timestamp_ms, body });
                }
                Event::Closed(why) => bail!("the player was ended: {why}"),
                _ => {}
            }
        }
    }
    Ok(pieces)
}

/// The pieces of an FLV file.
pub fn pieces(flv: &[u8]) -> Result<Vec<Piece>> {
    let piece = |tag: Tag| Piece { media: tag.kind.into(), ms: tag.timestamp, body: tag.body };
    Ok(tags(flv)?.into_iter().map(piece).collect())
}

/// Tries to publish; gives all the status codes it was told until the server closed.
pub fn refused(server: &Server, name: &str) -> Result<Vec<String>> {
    let mut own = Own::connect(server, name, Role::PublishFmle)?;
    let end = Instant::now() + PATIENCE;
    let mut codes = Vec::new();
    while Instant::now() < end {
        let Ok(events) = own.turn(Duration::from_millis(50)) else { return Ok(codes) };
        for event in events {
            match event {
                Event::PublishStarted => bail!("it may publish"),
                Event::Status { code, .. } => codes.push(code),
                Event::Closed(_) => return Ok(codes),
                _ => {}
            }
        }
    }
    Err(anyhow!("neither refused nor let in; told {codes:?}"))
}

/// Whether the server lets a publisher or a player in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It may begin. It has left again.
    LetIn,
    /// It was told no, or cut off: the status code and the words, where there were any.
    Refused(Option<(String, String)>),
}

/// Asks to publish or to play, and leaves.
pub fn knock(server: &Server, name: &str, publish: bool) -> Result<Entry> {
    let role = if publish { Role::PublishFmle } else { Role::Play };
    let mut own = Own::connect(server, name, role)?;
    let end = Instant::now() + PATIENCE;
    let mut said = None;
    while Instant::now() < end {
        let Ok(events) = own.turn(Duration::from_millis(50)) else {
            return Ok(Entry::Refused(said));
        };
        for event in events {
            match event {
                Event::PublishStarted | Event::PlayStarted => {
                    own.client.stop();
                    own.send()?;
                    return Ok(Entry::LetIn);
                }
                Event::Status { level, code, description } if level == "error" => {
                    said = Some((code, description));
                }
                Event::Closed(_) => return Ok(Entry::Refused(said)),
                _ => {}
            }
        }
    }
    Err(anyhow!("neither refused nor let in; told {said:?}"))
}

/// Fails unless the times of each kind never fall and never leap by more than `most`.
pub fn runs_on(pieces: &[Piece], most: u32) -> Result<()> {
    for media in [Media::Audio, Media::Video] {
        let own: Vec<&Piece> = pieces.iter().filter(|p| p.media == media).collect();
        ensure!(own.len() >= 10, "{media:?}: only {} pieces", own.len());
        for pair in own.windows(2) {
            let [a, b] = pair else { continue };
            let step = b.ms.wrapping_sub(a.ms);
            let head = |p: &Piece| p.body.slice(..p.body.len().min(8));
            let (x, y) = (head(a), head(b));
            ensure!(
                step <= most,
                "{media:?}: {} ms {y:02x?} comes after {} ms {x:02x?}",
                b.ms,
                a.ms
            );
        }
    }
    Ok(())
}
