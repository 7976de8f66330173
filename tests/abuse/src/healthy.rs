//! The publisher and the viewers who must not notice anything.
//!
//! They live on a thread of their own, so that what the attacks cost this program is not taken for
//! a delay of the server more than need be.

mod browsers;

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use container::flv::{Reader, TagKind};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtmp::session::client::{Event, Role};
use rtmp::wire::message::Media;
use tokio::time::{MissedTickBehavior, timeout};

use crate::attack::Attack;
use crate::http::Live;
use crate::net::{Manner, Rtmp};
use crate::report::{Delay, Report};
use crate::{Plan, Result, ensure};

/// The stream that they share.
pub(crate) const NAME: &str = "abuse-healthy";

/// Not measured: the start, and the time in which the server settles.
pub(crate) const BETWEEN: usize = 0;
/// The calm before.
pub(crate) const BEFORE: usize = 1;
/// The calm after.
pub(crate) const AFTER: usize = 2;
/// The mixture.
pub(crate) const MIXED: usize = 3;
/// The first of the attacks alone; the others follow in their order.
pub(crate) const FIRST_ATTACK: usize = 4;

/// 25 pictures a second, each with one block of sound.
const PERIOD: Duration = Duration::from_millis(40);
/// A key picture every second of the clock, whatever became of the pictures between: a group that a
/// pause of this machine stretched beyond `hls_aof_ratio` would rightly be cut within.
const KEY_EVERY: Duration = Duration::from_secs(1);
/// About 500 kbit/s.
const PICTURE: usize = 2_000;
const KEY_PICTURE: usize = 8_000;
const SOUND: usize = 200;
/// A viewer who gets nothing for so long is not served: frames are missing.
const SILENCE: Duration = Duration::from_secs(10);
/// Both clocks cut their milliseconds off where they please.
const MISTIMED_MS: i64 = 2;
/// Stands in front of each stamp.
const MARK: &[u8] = b"millrace-abuse:";
/// Number and time behind the mark, 16 hexadecimal digits each: no start code can come of them.
const STAMP: usize = MARK.len() + 32;

/// What was seen by all viewers together.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Frames that came.
    pub(crate) frames: AtomicU64,
    /// Frames that never came.
    pub(crate) missing: AtomicU64,
    /// Frames that came twice or late.
    pub(crate) disorder: AtomicU64,
    /// Frames whose timestamps are not as far apart as they were sent.
    pub(crate) mistimed: AtomicU64,
    /// Connections that the server closed or left without media, or that did not begin.
    pub(crate) cut: AtomicU64,
    /// Frames that were published.
    pub(crate) published: AtomicU64,
    /// Delays in microseconds by phase.
    delays: Mutex<Vec<Vec<u32>>>,
    /// What was wrong, in words; the first few.
    words: Mutex<Vec<String>>,
}

impl Seen {
    fn word(&self, word: String) {
        let mut words = self.words.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if words.len() < 20 {
            words.push(word);
        }
    }

    /// What was wrong, in words.
    pub(crate) fn words(&self) -> Vec<String> {
        self.words.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// The publisher and the viewers.
#[derive(Debug)]
pub(crate) struct Healthy {
    seen: Arc<Seen>,
    phase: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    viewers: usize,
}

struct Shared {
    plan: Plan,
    name: &'static str,
    seen: Arc<Seen>,
    phase: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    joined: AtomicUsize,
    start: Instant,
}

impl Shared {
    /// A frame came so many nanoseconds after it was sent.
    fn delayed(&self, nanos: u64) {
        let micros = u32::try_from(nanos / 1000).unwrap_or(u32::MAX);
        let phase = self.phase.load(Relaxed);
        let mut all = self.seen.delays.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if all.len() <= phase {
            all.resize(phase + 1, Vec::new());
        }
        all[phase].push(micros);
    }
}

impl Healthy {
    /// Publishes, joins all viewers and waits until each has media.
    pub(crate) fn start(plan: &Plan, name: &'static str) -> Result<Self> {
        let shared = Arc::new(Shared {
            plan: plan.clone(),
            name,
            seen: Arc::default(),
            phase: Arc::new(AtomicUsize::new(BETWEEN)),
            stop: Arc::default(),
            joined: AtomicUsize::new(0),
            start: Instant::now(),
        });
        let (seen, phase) = (shared.seen.clone(), shared.phase.clone());
        let browsers = if plan.rtc.is_some() { (plan.viewers + 1).max(2) } else { 0 };
        let (stop, viewers) = (shared.stop.clone(), plan.viewers * 3 + browsers);
        let inner = shared.clone();
        let thread = std::thread::Builder::new().name("healthy".into()).spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build()
            else {
                return;
            };
            runtime.block_on(serve(inner, browsers));
        })?;
        let this = Self { seen, phase, stop, thread: Some(thread), viewers };
        let end = Instant::now() + Duration::from_secs(30);
        while shared.joined.load(Relaxed) < viewers {
            let said = || format!("healthy viewers cannot join: {:?}", this.seen.words);
            ensure!(Instant::now() < end, said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(this)
    }

    /// How many viewers there are.
    pub(crate) fn viewers(&self) -> usize {
        self.viewers
    }

    /// From now on delays belong to this phase.
    pub(crate) fn phase(&self, phase: usize) {
        self.phase.store(phase, Relaxed);
    }

    /// Ends all of them and gives what they saw.
    pub(crate) fn stop(&mut self) -> Arc<Seen> {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.seen.clone()
    }

    /// Ends all of them and writes down what they saw.
    pub(crate) fn finish(mut self, report: &mut Report, attacks: &[&'static Attack]) {
        let seen = self.stop();
        let delays = std::mem::take(
            &mut *seen.delays.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        let of = |phase: usize| delays.get(phase).map_or(Delay::default(), |all| Delay::of(all));
        let during: Vec<u32> = delays.iter().skip(MIXED).flatten().copied().collect();
        report.delay_before = of(BEFORE);
        report.delay_during = Delay::of(&during);
        report.delay_mixed = of(MIXED);
        report.delay_after = of(AFTER);
        for (index, attack) in attacks.iter().enumerate() {
            report.delay_of(attack.name, of(FIRST_ATTACK + index));
        }
        report.viewers = self.viewers;
        report.frames = seen.frames.load(Relaxed);
        report.missing = seen.missing.load(Relaxed);
        report.disorder = seen.disorder.load(Relaxed);
        report.mistimed = seen.mistimed.load(Relaxed);
        report.cut = seen.cut.load(Relaxed);
        report.published = seen.published.load(Relaxed);
        report
            .words
            .append(&mut seen.words.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Drop for Healthy {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(shared: Arc<Shared>, browsers: usize) {
    let local = tokio::task::LocalSet::new();
    let mut publisher = local.spawn_local(publish(shared.clone()));
    for kind in 0..3 {
        for number in 0..shared.plan.viewers {
            local.spawn_local(view(shared.clone(), kind, number));
        }
    }
    for number in 0..browsers {
        local.spawn_local(browsers::view(shared.clone(), number));
    }
    let second = shared.clone();
    local.spawn_local(async move {
        while !second.stop.load(Relaxed) {
            let Err(e) = browsers::publish(second.clone()).await;
            if !second.stop.load(Relaxed) {
                second.seen.cut.fetch_add(1, Relaxed);
                second.seen.word(format!("the healthy publisher of WebRTC was cut off: {e}"));
            }
        }
    });
    local
        .run_until(async {
            loop {
                if let Ok(Ok(Err(e))) = timeout(Duration::from_millis(100), &mut publisher).await {
                    // A publisher that is cut off costs the viewers frames: that is told as such.
                    shared.seen.cut.fetch_add(1, Relaxed);
                    shared.seen.word(format!("the healthy publisher was cut off: {e}"));
                    publisher = tokio::task::spawn_local(publish(shared.clone()));
                }
                if shared.stop.load(Relaxed) {
                    break;
                }
            }
        })
        .await;
}

async fn publish(shared: Arc<Shared>) -> io::Result<Infallible> {
    let mut rng = StdRng::seed_from_u64(shared.plan.seed ^ 0x5eed);
    let to = shared.plan.rtmp;
    let role = Role::PublishFmle;
    let mut rtmp = Rtmp::start(to, role, "live", shared.name, &mut rng, Manner::default()).await?;
    let clip = testcard::clip(2);
    rtmp.send(Media::Video, 0, &[&[0x17, 0, 0, 0, 0], clip.avc_config()].concat()).await?;
    rtmp.send(Media::Audio, 0, &[&[0xaf, 0], clip.aac_config()].concat()).await?;
    let mut every = tokio::time::interval(PERIOD);
    // Late is late: the delay is the server's, not that of a clock that hurries after.
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let start = shared.start.elapsed();
    let mut next_key = start;
    loop {
        every.tick().await;
        let number = shared.seen.published.fetch_add(1, Relaxed);
        // One reading of the clock for both, so that a viewer can compare them.
        let now = shared.start.elapsed();
        let ms = now.saturating_sub(start).as_millis() as u32;
        let nanos = now.as_nanos() as u64;
        let stamp = || [MARK, format!("{number:016x}{nanos:016x}").as_bytes()].concat();
        let key = now >= next_key;
        if key {
            // Half a period early is on time: ticks jitter.
            next_key = now + KEY_EVERY - PERIOD / 2;
        }
        rtmp.send(Media::Video, ms, &picture(key, &stamp())).await?;
        rtmp.send(Media::Audio, ms, &sound(&stamp())).await?;
        rtmp.hear()?;
    }
}

/// One picture: user data with the stamp, and a slice that no decoder would like.
fn picture(key: bool, stamp: &[u8]) -> Vec<u8> {
    let mut body = vec![if key { 0x17 } else { 0x27 }, 1, 0, 0, 0];
    // Type 6, payload 5 (user_data_unregistered), 16 bytes of UUID, the stamp, the stop bit.
    let mut sei = vec![6, 5, (16 + STAMP) as u8];
    sei.extend_from_slice(&[0xab; 16]);
    sei.extend_from_slice(stamp);
    sei.push(0x80);
    let mut slice = vec![if key { 0x65 } else { 0x41 }];
    slice.resize(if key { KEY_PICTURE } else { PICTURE }, 0x9a);
    for unit in [sei, slice] {
        body.extend_from_slice(&(unit.len() as u32).to_be_bytes());
        body.extend_from_slice(&unit);
    }
    body
}

fn sound(stamp: &[u8]) -> Vec<u8> {
    let mut body = vec![0xaf, 1];
    body.extend_from_slice(stamp);
    body.resize(SOUND, 0x55);
    body
}

/// Number and time (in ns) of a frame; `None` for configurations and metadata.
pub(crate) fn stamp_of(body: &[u8]) -> Option<(u64, u64)> {
    let at = body.get(..128.min(body.len()))?.windows(MARK.len()).position(|w| w == MARK)?;
    let text = std::str::from_utf8(body.get(at + MARK.len()..at + STAMP)?).ok()?;
    let hex = |part: &str| u64::from_str_radix(part, 16).ok();
    Some((hex(text.get(..16)?)?, hex(text.get(16..)?)?))
}

/// What one viewer has seen of one track.
#[derive(Debug, Default)]
pub(crate) struct Track(Option<u64>);

impl Track {
    /// Missing frames in front of this one, and whether it is out of order.
    pub(crate) fn next(&mut self, number: u64) -> (u64, bool) {
        match self.0 {
            None => {
                self.0 = Some(number);
                (0, false)
            }
            Some(last) if number > last => {
                self.0 = Some(number);
                (number - last - 1, false)
            }
            Some(_) => (0, true),
        }
    }
}

struct Viewer {
    shared: Arc<Shared>,
    name: String,
    tracks: [Track; 2],
    joined: Option<u64>,
    /// How far the stream's clock was ahead of the publisher's at the first frame.
    ahead: Option<i64>,
}

impl Viewer {
    fn frame(&mut self, video: bool, ms: u32, body: &[u8]) {
        let Some((number, sent)) = stamp_of(body) else { return };
        let seen = &self.shared.seen;
        seen.frames.fetch_add(1, Relaxed);
        let (missing, disorder) = self.tracks[usize::from(video)].next(number);
        if missing > 0 {
            seen.missing.fetch_add(missing, Relaxed);
            let kind = if video { "pictures" } else { "blocks of sound" };
            seen.word(format!("{}: {missing} {kind} missing before {number}", self.name));
        }
        if disorder {
            seen.disorder.fetch_add(1, Relaxed);
            seen.word(format!("{}: frame {number} out of order", self.name));
        }
        let ahead = i64::from(ms) - i64::try_from(sent / 1_000_000).unwrap_or(i64::MAX);
        if (ahead - *self.ahead.get_or_insert(ahead)).abs() > MISTIMED_MS {
            seen.mistimed.fetch_add(1, Relaxed);
            seen.word(format!("{}: frame {number} has time {ms}, clock {ahead} ahead", self.name));
        }
        let now = self.shared.start.elapsed().as_nanos() as u64;
        let joined = *self.joined.get_or_insert_with(|| {
            self.shared.joined.fetch_add(1, Relaxed);
            now
        });
        // What was kept from before the viewer came was not delayed.
        if sent > joined {
            self.shared.delayed(now.saturating_sub(sent));
        }
    }

    async fn by_rtmp(&mut self, rng: &mut StdRng) -> io::Result<Infallible> {
        let to = self.shared.plan.rtmp;
        let mut rtmp =
            Rtmp::start(to, Role::Play, "live", self.shared.name, rng, Manner::default()).await?;
        self.ahead = None;
        loop {
            match silent(rtmp.next()).await? {
                Event::Media { media: Media::Video, timestamp_ms, body } => {
                    self.frame(true, timestamp_ms, &body);
                }
                Event::Media { media: Media::Audio, timestamp_ms, body } => {
                    self.frame(false, timestamp_ms, &body);
                }
                Event::Closed(close) => return Err(io::Error::other(close.to_string())),
                _ => {}
            }
        }
    }

    async fn by_http(&mut self, websocket: bool, rng: &mut StdRng) -> io::Result<Infallible> {
        self.ahead = None;
        let path = format!("/live/{}.flv", self.shared.name);
        let at = self.shared.plan.http;
        let open = Live::open(at, &path, websocket, rng, Manner::default());
        let mut live = silent(open).await?;
        let (mut reader, mut bytes) = (Reader::new(), Vec::new());
        loop {
            silent(live.read(&mut bytes)).await?;
            reader.push(&bytes);
            bytes.clear();
            while let Some(tag) = reader.pull().map_err(io::Error::other)? {
                match tag.kind {
                    TagKind::Video => self.frame(true, tag.timestamp, &tag.body),
                    TagKind::Audio => self.frame(false, tag.timestamp, &tag.body),
                    TagKind::Script => {}
                }
            }
        }
    }
}

async fn silent<T>(done: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(SILENCE, done).await.map_err(|_| io::Error::other("nothing came for 10 s"))?
}

/// Watches, and joins again whenever it is cut off (which is a fault of the server).
async fn view(shared: Arc<Shared>, kind: usize, number: usize) {
    let mut rng = StdRng::seed_from_u64(shared.plan.seed ^ ((kind * 1000 + number) as u64 + 77));
    let what = ["RTMP", "HTTP-FLV", "WebSocket-FLV"][kind];
    let name = format!("{what} viewer {number}");
    let tracks = Default::default();
    let mut viewer = Viewer { shared: shared.clone(), name, tracks, joined: None, ahead: None };
    // The publisher goes first; those who come at its heels wait on the server's side.
    tokio::time::sleep(Duration::from_millis(rng.random_range(300..900))).await;
    while !shared.stop.load(Relaxed) {
        let end = match kind {
            0 => viewer.by_rtmp(&mut rng).await,
            1 => viewer.by_http(false, &mut rng).await,
            _ => viewer.by_http(true, &mut rng).await,
        };
        let Err(e) = end;
        if shared.stop.load(Relaxed) {
            break;
        }
        shared.seen.cut.fetch_add(1, Relaxed);
        shared.seen.word(format!("{} was cut off: {e}", viewer.name));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_in_picture_and_sound() {
        let stamp = [MARK, b"000000000000002a00000000000000ff"].concat();
        assert_eq!(stamp_of(&picture(true, &stamp)), Some((42, 255)));
        assert_eq!(stamp_of(&picture(false, &stamp)), Some((42, 255)));
        assert_eq!(stamp_of(&sound(&stamp)), Some((42, 255)));
        assert_eq!(stamp_of(&[0x17, 0, 0, 0, 0, 1, 66]), None);
        assert_eq!(stamp_of(&stamp[..20]), None);
    }

    #[test]
    fn gaps_and_repetitions_are_told_apart() {
        let mut track = Track::default();
        assert_eq!(track.next(7), (0, false));
        assert_eq!(track.next(8), (0, false));
        assert_eq!(track.next(11), (2, false));
        assert_eq!(track.next(11), (0, true));
        assert_eq!(track.next(9), (0, true));
        assert_eq!(track.next(12), (0, false));
    }
}
