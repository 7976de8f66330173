//! A crowd that comes, receives and leaves: does its memory come back?
//!
//! The stream it watches is small, so that this program can read for all of them. A small crowd
//! knocks before memory is weighed: see [`super::empty`].

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtmp::session::client::{Event, Role};
use rtmp::session::{Client, ClientConfig};
use rtmp::wire::message::Media;
use rtmp::wire::url::StreamUrl;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, interval, sleep};

use super::{Plan, Tally};
use crate::net::{Manner, Rtmp, dial};
use crate::watch::Process;
use crate::{Context, Result, ensure};

const NAME: &str = "soak-crowd";
/// Joins a second.
const RATE: u64 = 1000;
/// How long they stay once all are there: several pictures for each.
const STAY: Duration = Duration::from_secs(2);
/// How long all of them may take to get their first media, beside the joining itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pictures of the stream a second, and their size: 14 kbit/s.
const PERIOD: Duration = Duration::from_millis(200);
const PICTURE: usize = 300;
/// Each viewer reads into the same buffer.
const BUFFER: usize = 64 * 1024;

/// Lets them come and go; gives the server's memory, kB, while all were there.
pub(super) async fn come_and_go(plan: &Plan, n: usize, tally: &Arc<Tally>) -> Result<u64> {
    let (plan, tally) = (plan.clone(), tally.clone());
    // All of them live on one thread, and so may share a buffer.
    let all = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, crowd(&plan, n, &tally))
    });
    let gone = tokio::task::spawn_blocking(|| all.join()).await?;
    gone.map_err(|_| anyhow::anyhow!("the crowd panicked"))?
}

async fn crowd(plan: &Plan, n: usize, tally: &Arc<Tally>) -> Result<u64> {
    let (over, came) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let mut rng = StdRng::seed_from_u64(plan.seed ^ 0xc0_4d);
    let publisher =
        tokio::task::spawn_local(publish(plan.rtmp, StdRng::seed_from_u64(rng.random())));
    let mut all = JoinSet::new();
    let buffer = Rc::new(RefCell::new(vec![0; BUFFER]));
    let mut every = interval(Duration::from_secs(1) / RATE as u32 * 10);
    for number in 0..n {
        if number.is_multiple_of(10) {
            every.tick().await;
        }
        let viewer = Viewer {
            to: if number.is_multiple_of(2) { plan.rtmp } else { plan.http },
            rtmp: number.is_multiple_of(2),
            reset: number.is_multiple_of(4) || number % 4 == 1,
            over: over.clone(),
            came: came.clone(),
            buffer: buffer.clone(),
        };
        let (own, tally) = (StdRng::seed_from_u64(rng.random()), tally.clone());
        all.spawn_local(async move {
            if let Err(e) = viewer.watch(own).await {
                tally.wrong(format!("a viewer of the crowd: {e}"));
            }
        });
    }
    let end = Instant::now() + PATIENCE;
    while came.get() < n && Instant::now() < end {
        sleep(Duration::from_millis(50)).await;
    }
    if came.get() < n {
        tally.wrong(format!("{} of {n} viewers of a crowd got media", came.get()));
    }
    sleep(STAY).await;
    let process = Process::read(plan.pid).context("the server has died")?;
    over.set(true);
    while all.join_next().await.is_some() {}
    ensure!(!publisher.is_finished(), "the publisher of the crowd was cut off");
    publisher.abort();
    Ok(process.rss_kb)
}

async fn publish(to: SocketAddr, mut rng: StdRng) -> io::Result<()> {
    let manner = Manner::default();
    let mut rtmp = Rtmp::start(to, Role::PublishFmle, "live", NAME, &mut rng, manner).await?;
    let clip = testcard::clip(2);
    rtmp.send(Media::Video, 0, &[&[0x17, 0, 0, 0, 0], clip.avc_config()].concat()).await?;
    let mut every = interval(PERIOD);
    let start = Instant::now();
    for number in 0u64.. {
        every.tick().await;
        let key = number.is_multiple_of(5);
        let mut body = vec![if key { 0x17 } else { 0x27 }, 1, 0, 0, 0, 0, 0];
        body.extend_from_slice(&(PICTURE as u16).to_be_bytes());
        body.push(if key { 0x65 } else { 0x41 });
        body.resize(9 + PICTURE - 1, 0x9a);
        rtmp.send(Media::Video, start.elapsed().as_millis() as u32, &body).await?;
        rtmp.hear()?;
    }
    Ok(())
}

struct Viewer {
    to: SocketAddr,
    rtmp: bool,
    reset: bool,
    over: Rc<Cell<bool>>,
    /// How many have got media.
    came: Rc<Cell<usize>>,
    buffer: Rc<RefCell<Vec<u8>>>,
}

impl Viewer {
    /// Joins, receives until the crowd leaves.
    async fn watch(self, mut rng: StdRng) -> io::Result<()> {
        let manner = Manner { reset: self.reset, ..Manner::default() };
        let mut tcp = dial(self.to, &mut rng, manner).await?;
        if self.rtmp {
            self.greet(&mut tcp, &mut rng).await?;
        } else {
            let head = format!("GET /live/{NAME}.flv HTTP/1.1\r\nHost: {}\r\n\r\n", self.to);
            tcp.write_all(head.as_bytes()).await?;
        }
        // More than the head, the configuration and one picture: media flows.
        let (mut got, mut counted) = (0, false);
        while !self.over.get() {
            let Ok(ready) = tokio::time::timeout(Duration::from_secs(1), tcp.readable()).await
            else {
                continue;
            };
            ready?;
            match tcp.try_read(&mut self.buffer.borrow_mut()) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            if got > 1000 + PICTURE && !counted {
                counted = true;
                self.came.set(self.came.get() + 1);
            }
        }
        Ok(())
    }

    /// An RTMP session up to its playback; what follows is read and thrown away.
    async fn greet(&self, tcp: &mut TcpStream, rng: &mut StdRng) -> io::Result<()> {
        let url = StreamUrl::parse(&format!("rtmp://{}/live", self.to), NAME);
        let config = ClientConfig::new(url.map_err(io::Error::other)?, Role::Play);
        let mut client = Client::new(std::time::Instant::now(), rng.random(), config);
        loop {
            while let Some(bytes) = client.poll_transmit() {
                tcp.write_all(&bytes).await?;
            }
            while let Some(event) = client.poll_event() {
                match event {
                    Event::PlayStarted => return Ok(()),
                    Event::Closed(close) => return Err(io::Error::other(close.to_string())),
                    _ => {}
                }
            }
            tcp.readable().await?;
            let mut buffer = self.buffer.borrow_mut();
            match tcp.try_read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => client.handle_bytes(buffer.get(..n).unwrap_or_default()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
    }
}
