//! Readers who stop for seconds, read byte by byte, and go on.
//!
//! A server may leave frames out for them, or cut them off when they take nothing for too long. But
//! what comes must come in order, whole, and go on at a key picture behind each gap.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use container::flv::{Reader, TagKind};
use rand::Rng;
use rand::rngs::StdRng;
use rtmp::session::client::{Event, Role};
use rtmp::wire::message::Media;
use tokio::time::{Instant, sleep, timeout};

use super::{STEADY, Scene, Tally};
use crate::healthy::{Track, stamp_of};
use crate::http::Live;
use crate::net::{Manner, Rtmp};

/// As small as the kernel makes it: a server's send is full within a second.
const RECEIVE: u32 = 4096;

/// Comes back until the time is over.
pub(super) async fn dawdle(scene: Arc<Scene>, mut rng: StdRng, number: usize) {
    while !scene.over() {
        let life = Duration::from_secs(rng.random_range(6..30));
        let life = life.min(scene.until.saturating_duration_since(std::time::Instant::now()));
        Tally::add(&scene.tally.dawdlers);
        let mut reader = Dawdler { scene: &scene, tracks: Default::default() };
        match timeout(life, reader.read(&mut rng, number)).await {
            Ok(Err(e)) if e.kind() == io::ErrorKind::InvalidData => {
                scene.tally.wrong(format!("a slow reader: {e}"));
            }
            Ok(_) => Tally::add(&scene.tally.cut),
            Err(_) => {}
        }
        sleep(Duration::from_millis(rng.random_range(0..500))).await;
    }
}

struct Dawdler<'a> {
    scene: &'a Scene,
    tracks: [Track; 2],
}

/// How to read for a while.
#[derive(Clone, Copy)]
struct Habit {
    until: Instant,
    /// Bytes at a time, and the pause behind them.
    most: usize,
    pause: Duration,
}

impl Habit {
    fn new(rng: &mut StdRng) -> Self {
        let (most, pause, time) = match rng.random_range(0..3) {
            0 => (1, Duration::from_millis(rng.random_range(2_000..9_000)), 1_000),
            1 => (1, Duration::from_millis(2), 2_000),
            _ => (usize::MAX, Duration::ZERO, 3_000),
        };
        Self { until: Instant::now() + Duration::from_millis(time), most, pause }
    }

    /// What holds for the next read.
    async fn wait(&mut self, rng: &mut StdRng) -> usize {
        if Instant::now() >= self.until {
            *self = Self::new(rng);
        }
        if !self.pause.is_zero() {
            sleep(self.pause).await;
        }
        self.most
    }
}

impl Dawdler<'_> {
    /// Ends with an error only.
    async fn read(&mut self, rng: &mut StdRng, number: usize) -> io::Result<()> {
        let manner = Manner { receive: Some(RECEIVE), reset: rng.random() };
        let name = STEADY[number % STEADY.len()];
        let mut habit = Habit::new(rng);
        if number.is_multiple_of(3) {
            let mut rtmp =
                Rtmp::start(self.scene.rtmp, Role::Play, "live", name, rng, manner).await?;
            loop {
                let most = habit.wait(rng).await;
                // All that one read brought, so that the pause is one of reads.
                match rtmp.next_most(most).await? {
                    Event::Media { media: Media::Video, body, .. } => self.frame(true, &body)?,
                    Event::Media { media: Media::Audio, body, .. } => self.frame(false, &body)?,
                    Event::Closed(close) => return Err(io::Error::other(close.to_string())),
                    _ => {}
                }
            }
        }
        let path = format!("/live/{name}.flv");
        let mut live = Live::open(self.scene.http, &path, number % 3 == 1, rng, manner).await?;
        let (mut reader, mut bytes) = (Reader::new(), Vec::new());
        loop {
            let most = habit.wait(rng).await;
            live.read_most(most, &mut bytes).await?;
            reader.push(&bytes);
            bytes.clear();
            let odd = |e| io::Error::new(io::ErrorKind::InvalidData, e);
            while let Some(tag) = reader.pull().map_err(odd)? {
                match tag.kind {
                    TagKind::Video => self.frame(true, &tag.body)?,
                    TagKind::Audio => self.frame(false, &tag.body)?,
                    TagKind::Script => {}
                }
            }
        }
    }

    fn frame(&mut self, video: bool, body: &Bytes) -> io::Result<()> {
        let Some((number, _)) = stamp_of(body) else { return Ok(()) };
        self.scene.tally.dawdled.fetch_add(1, Relaxed);
        let (missing, disorder) = self.tracks[usize::from(video)].next(number);
        let odd = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        if disorder {
            return odd(format!("frame {number} out of order"));
        }
        let key = body.first().is_some_and(|first| first >> 4 == 1);
        if video && missing > 0 && !key {
            return odd(format!("{missing} pictures left out, and {number} is no key picture"));
        }
        Ok(())
    }
}
