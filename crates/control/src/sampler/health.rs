//! How streams and sessions are doing: figures of the last seconds, and a verdict in words.
//!
//! Everything here is made from counters that are sampled every five seconds, and from what the
//! hub keeps of a publisher; nobody on the path of frames does anything for it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gate::SessionInfo;
use hub::{Stream, Vitals};
use schemars::JsonSchema;
use serde::Serialize;

/// A publisher that has sent nothing for so long is in trouble: key pictures are rarer than frames.
const SILENT: Duration = Duration::from_secs(3);
/// Media that comes slower than this, in seconds a second, starves its players.
const SLOW: f64 = 0.9;
/// And faster than this is no live stream: a file that is read without a clock.
const FAST: f64 = 1.25;
/// Arrival more uneven than this is seen by players with a second of buffer. Our own reading in
/// batches makes up to 160 ms of it.
const UNEVEN_US: i64 = 250_000;
/// Key pictures further apart make viewers wait, and HLS segments long.
const LONG_GOP_US: i64 = 10_000_000;
/// A player further behind than this is in trouble.
const BEHIND_MS: u64 = 3000;

/// Where the cause of a trouble lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// No trouble.
    Ok,
    /// Nobody publishes.
    Idle,
    /// Not measured yet: that takes up to ten seconds.
    Starting,
    /// What the publisher sends is at fault.
    Encoder,
    /// The way to or from the server is too slow, or broken.
    Network,
    /// A player does not take what it is given.
    Player,
    /// This server has too much to do.
    Server,
}

impl Verdict {
    /// As it is written in JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Idle => "idle",
            Self::Starting => "starting",
            Self::Encoder => "encoder",
            Self::Network => "network",
            Self::Player => "player",
            Self::Server => "server",
        }
    }
}

/// What was left out of a stream on its way out, since the stream is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Dropped {
    /// Frames that a worker had no room for.
    pub(crate) inbox: u64,
    /// Messages that slow players jumped over.
    pub(crate) lag: u64,
}

/// How a stream is doing.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct StreamHealth {
    /// Where the cause of a trouble lies.
    pub(crate) verdict: Verdict,
    /// The reason, for a person.
    pub(crate) reason: String,
    /// Pictures a second over the last five seconds; frames of sound when there are no pictures.
    pub(crate) frame_rate: Option<f64>,
    /// Received from the publisher over the last five seconds, kbit/s.
    pub(crate) bit_rate_kbps: Option<u64>,
    /// Seconds of media that came in a second, over the last five: 1 is live.
    pub(crate) speed: Option<f64>,
    /// How unevenly frames arrive: smoothed, in milliseconds (RFC 3550).
    pub(crate) jitter_ms: f64,
    /// Pictures from one key picture to the next; 0 before two have come.
    pub(crate) gop_frames: u64,
    /// Seconds of media between these.
    pub(crate) gop_seconds: f64,
    /// By how much the publisher's clock runs faster than ours, in millionths; known after half a
    /// minute.
    pub(crate) clock_drift_ppm: Option<f64>,
    /// Milliseconds since the last frame came.
    pub(crate) silent_ms: Option<u64>,
    /// Times that the publisher's timestamps leapt, since the stream is known.
    pub(crate) discontinuities: u64,
    /// What was left out, by reason.
    pub(crate) dropped: Dropped,
}

/// How a session is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ClientHealth {
    /// Where the cause of a trouble lies.
    pub(crate) verdict: Verdict,
    /// The reason, for a person.
    pub(crate) reason: String,
    /// Milliseconds of media that a player is behind; null for publishers and HLS.
    pub(crate) lag_ms: Option<u64>,
    /// Times that the player was moved forward because it was too slow.
    pub(crate) jumps: u64,
    /// Messages that these left out.
    pub(crate) dropped: u64,
    /// Sent to it, or received from it, over the last five seconds, kbit/s.
    pub(crate) rate_kbps: Option<u64>,
}

/// Counters of a stream at one moment.
#[derive(Clone, Copy)]
struct Point {
    at: Instant,
    vitals: Vitals,
    recv: u64,
    dropped: Dropped,
    leaps: u64,
}

impl Point {
    fn of(stream: &Stream, at: Instant) -> Self {
        let s = &stream.stats;
        Self {
            at,
            vitals: stream.vitals(),
            recv: s.recv_bytes.load(Relaxed),
            dropped: Dropped {
                inbox: s.dropped_inbox.load(Relaxed),
                lag: s.dropped_lag.load(Relaxed),
            },
            leaps: s.discontinuities.load(Relaxed),
        }
    }
}

/// The last two samples of a stream.
#[derive(Clone, Default)]
pub(crate) struct Window {
    from: Option<Point>,
    to: Option<Point>,
}

impl Window {
    pub(crate) fn sample(&mut self, stream: &Stream, now: Instant) {
        self.from = self.to.replace(Point::of(stream, now));
    }

    /// Both, when one publisher sent all that lies between.
    fn pair(&self) -> Option<(&Point, &Point)> {
        let (from, to) = (self.from.as_ref()?, self.to.as_ref()?);
        let same = from.vitals.anchor.is_some()
            && to.vitals.pictures >= from.vitals.pictures
            && to.vitals.sounds >= from.vitals.sounds
            && (from.vitals.pictures > 0) == (to.vitals.pictures > 0);
        same.then_some((from, to))
    }
}

/// How a stream is doing at `now`.
pub(crate) fn of_stream(stream: &Stream, window: &Window, now: Instant) -> StreamHealth {
    let point = Point::of(stream, now);
    let vitals = point.vitals;
    let silent = vitals.head.map(|(_, at)| now.saturating_duration_since(at));
    let measured = Measured::of(window);
    let (verdict, reason) = judge(stream.is_active(), &vitals, silent, measured.as_ref());
    let round = |n: f64| (n * 100.0).round() / 100.0;
    StreamHealth {
        verdict,
        reason,
        frame_rate: measured.as_ref().map(|m| round(m.frame_rate)),
        bit_rate_kbps: measured.as_ref().map(|m| m.kbps),
        speed: measured.as_ref().map(|m| round(m.speed)),
        jitter_ms: round(vitals.jitter_us as f64 / 1000.0),
        gop_frames: vitals.gop_pictures,
        gop_seconds: round(vitals.gop_us as f64 / 1e6),
        clock_drift_ppm: vitals.drift_ppm().map(round),
        silent_ms: silent.map(|s| u64::try_from(s.as_millis()).unwrap_or(u64::MAX)),
        discontinuities: point.leaps,
        dropped: point.dropped,
    }
}

/// What the last two samples tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Measured {
    frame_rate: f64,
    kbps: u64,
    speed: f64,
    inbox: u64,
    lag: u64,
    leaps: u64,
    /// Sound came, and pictures, which there are, did not.
    frozen: bool,
}

impl Measured {
    fn of(window: &Window) -> Option<Self> {
        let (from, to) = window.pair()?;
        let seconds = to.at.saturating_duration_since(from.at).as_secs_f64().max(0.001);
        let (v, w) = (&from.vitals, &to.vitals);
        let pictures = w.pictures.saturating_sub(v.pictures);
        let sounds = w.sounds.saturating_sub(v.sounds);
        let frames = if w.pictures > 0 { pictures } else { sounds };
        let media = match (v.head, w.head) {
            (Some((a, _)), Some((b, _))) => b.micros_since(a) as f64 / 1e6,
            _ => 0.0,
        };
        let bits = to.recv.saturating_sub(from.recv).saturating_mul(8);
        Some(Self {
            frame_rate: frames as f64 / seconds,
            kbps: (bits as f64 / seconds / 1000.0) as u64,
            speed: media / seconds,
            inbox: to.dropped.inbox.saturating_sub(from.dropped.inbox),
            lag: to.dropped.lag.saturating_sub(from.dropped.lag),
            leaps: to.leaps.saturating_sub(from.leaps),
            frozen: w.pictures > 0 && pictures == 0 && sounds > 0,
        })
    }
}

fn judge(
    active: bool,
    vitals: &Vitals,
    silent: Option<Duration>,
    measured: Option<&Measured>,
) -> (Verdict, String) {
    if !active {
        return (Verdict::Idle, "nobody publishes".to_owned());
    }
    let frozen = measured.is_some_and(|m| m.frozen);
    if let Some(silent) = silent.filter(|s| *s >= SILENT && !frozen) {
        let text = format!(
            "nothing has come from the encoder for {:.1} s: its network is gone, or it hangs",
            silent.as_secs_f64()
        );
        return (Verdict::Network, text);
    }
    let Some(m) = measured else {
        return (Verdict::Starting, "measured in a few seconds".to_owned());
    };
    if m.inbox > 0 {
        let text = format!(
            "the server had too much to do: {} frames were not handed on in the last 5 s",
            m.inbox
        );
        return (Verdict::Server, text);
    }
    if m.leaps > 0 {
        let text = format!("the encoder's timestamps leapt {} times in the last 5 s", m.leaps);
        return (Verdict::Encoder, text);
    }
    if m.frozen {
        return (Verdict::Encoder, "sound comes, and pictures do not".to_owned());
    }
    if m.speed < SLOW {
        let text = format!(
            "{:.2} s of media come a second: the way from the encoder to the server is too slow",
            m.speed
        );
        return (Verdict::Network, text);
    }
    if m.speed > FAST {
        let text = format!(
            "{:.2} s of media come a second: the encoder does not send at the pace of time",
            m.speed
        );
        return (Verdict::Encoder, text);
    }
    if vitals.jitter_us > UNEVEN_US {
        let text = format!("frames come unevenly, by {} ms", vitals.jitter_us / 1000);
        return (Verdict::Network, text);
    }
    let open_gop = vitals.head.zip(vitals.key_at).map_or(0, |((at, _), key)| at.micros_since(key));
    let gop = vitals.gop_us.max(open_gop);
    if gop > LONG_GOP_US {
        let text = format!(
            "key pictures are {:.1} s apart: viewers wait for one, and segments are as long; 2 s \
             is usual",
            gop as f64 / 1e6
        );
        return (Verdict::Encoder, text);
    }
    if m.lag > 0 {
        let text = format!(
            "the stream is well; {} messages were left out for slow players in the last 5 s",
            m.lag
        );
        return (Verdict::Player, text);
    }
    (Verdict::Ok, "all is well".to_owned())
}

/// Two samples of a session: bytes of its direction, and messages left out.
#[derive(Clone, Copy, Default)]
pub(crate) struct Taken {
    bytes: [u64; 2],
    dropped: [u64; 2],
    samples: u8,
}

impl Taken {
    pub(crate) fn sample(&mut self, info: &SessionInfo) {
        let c = &info.counters;
        let publishes = info.detail().is_some_and(|d| d.publish);
        let bytes = if publishes { &c.recv_bytes } else { &c.send_bytes };
        self.bytes = [self.bytes[1], bytes.load(Relaxed)];
        self.dropped = [self.dropped[1], c.lag_dropped.load(Relaxed)];
        self.samples = self.samples.saturating_add(1);
    }

    fn kbps(&self) -> Option<u64> {
        let [from, to] = self.bytes;
        let ms = gate::session::Rate::EVERY_S.saturating_mul(1000);
        (self.samples > 1).then(|| to.saturating_sub(from).saturating_mul(8) / ms)
    }

    fn dropped(&self) -> u64 {
        let [from, to] = self.dropped;
        if self.samples > 1 { to.saturating_sub(from) } else { 0 }
    }
}

/// How a session is doing; `stream` is how its stream is, if it is on one.
pub(crate) fn of_client(
    info: &SessionInfo,
    taken: &Taken,
    stream: Option<&StreamHealth>,
) -> ClientHealth {
    let c = &info.counters;
    let publishes = info.detail().is_some_and(|d| d.publish);
    let lag = c.lag_ms.load(Relaxed);
    let (verdict, reason) = match stream {
        Some(health) if publishes => (health.verdict, health.reason.clone()),
        Some(health) => judge_player(taken, lag, health),
        None => (Verdict::Starting, "it has not asked for a stream yet".to_owned()),
    };
    ClientHealth {
        verdict,
        reason,
        lag_ms: (!publishes && info.gate != "hls").then_some(lag),
        jumps: c.lag_jumps.load(Relaxed),
        dropped: c.lag_dropped.load(Relaxed),
        rate_kbps: taken.kbps(),
    }
}

fn judge_player(taken: &Taken, lag_ms: u64, stream: &StreamHealth) -> (Verdict, String) {
    if stream.verdict == Verdict::Idle {
        return (Verdict::Idle, "it waits for a publisher".to_owned());
    }
    let dropped = taken.dropped();
    if dropped == 0 && lag_ms < BEHIND_MS {
        return match stream.verdict {
            Verdict::Ok | Verdict::Player | Verdict::Starting => {
                (Verdict::Ok, "all is well".to_owned())
            }
            verdict => (verdict, format!("the stream is in trouble: {}", stream.reason)),
        };
    }
    let behind = format!("it is {lag_ms} ms behind, and {dropped} messages were left out");
    match (taken.kbps(), stream.bit_rate_kbps) {
        (Some(0), _) => (Verdict::Player, format!("it takes nothing: {behind}")),
        (Some(takes), Some(comes)) if takes < comes => {
            let text = format!("it takes {takes} of {comes} kbit/s: {behind}");
            (Verdict::Network, text)
        }
        _ => (Verdict::Player, behind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Timestamp;

    fn well() -> Measured {
        Measured { frame_rate: 25.0, kbps: 2000, speed: 1.0, ..Measured::default() }
    }

    fn verdict(vitals: &Vitals, silent_ms: u64, measured: Option<Measured>) -> Verdict {
        let silent = Some(Duration::from_millis(silent_ms));
        judge(true, vitals, silent, measured.as_ref()).0
    }

    #[test]
    fn each_trouble_has_its_verdict() {
        let vitals = Vitals { gop_us: 2_000_000, jitter_us: 5000, ..Vitals::default() };
        let of = |m: Measured| verdict(&vitals, 40, Some(m));
        assert_eq!(of(well()), Verdict::Ok);
        assert_eq!(of(Measured { inbox: 3, ..well() }), Verdict::Server);
        assert_eq!(of(Measured { leaps: 1, ..well() }), Verdict::Encoder);
        assert_eq!(of(Measured { frozen: true, ..well() }), Verdict::Encoder);
        assert_eq!(of(Measured { speed: 0.7, ..well() }), Verdict::Network);
        assert_eq!(of(Measured { speed: 8.0, ..well() }), Verdict::Encoder);
        assert_eq!(of(Measured { lag: 12, ..well() }), Verdict::Player);
        assert_eq!(verdict(&vitals, 4000, Some(well())), Verdict::Network);
        assert_eq!(verdict(&vitals, 40, None), Verdict::Starting);
        assert_eq!(judge(false, &vitals, None, None).0, Verdict::Idle);
        let uneven = Vitals { jitter_us: 400_000, ..vitals };
        assert_eq!(verdict(&uneven, 40, Some(well())), Verdict::Network);
        let long = Vitals { gop_us: 20_000_000, ..vitals };
        assert_eq!(verdict(&long, 40, Some(well())), Verdict::Encoder);
    }

    #[test]
    fn a_key_picture_that_does_not_come_is_told_before_the_next_one() {
        let head = Some((Timestamp::from_millis(60_000), Instant::now()));
        let key_at = Some(Timestamp::from_millis(1000));
        let vitals = Vitals { head, key_at, gop_us: 2_000_000, ..Vitals::default() };
        assert_eq!(verdict(&vitals, 40, Some(well())), Verdict::Encoder);
    }

    #[test]
    fn a_player_that_takes_less_than_comes_has_a_slow_network() {
        let health = StreamHealth {
            verdict: Verdict::Ok,
            reason: String::new(),
            frame_rate: Some(25.0),
            bit_rate_kbps: Some(2000),
            speed: Some(1.0),
            jitter_ms: 0.0,
            gop_frames: 50,
            gop_seconds: 2.0,
            clock_drift_ppm: None,
            silent_ms: Some(10),
            discontinuities: 0,
            dropped: Dropped::default(),
        };
        let taken = |bytes: u64, dropped: u64| Taken {
            bytes: [0, bytes],
            dropped: [0, dropped],
            samples: 2,
        };
        let of = |bytes, dropped, lag| judge_player(&taken(bytes, dropped), lag, &health).0;
        assert_eq!(of(1_250_000, 0, 100), Verdict::Ok);
        assert_eq!(of(600_000, 40, 2500), Verdict::Network);
        assert_eq!(of(0, 0, 9000), Verdict::Player);
        assert_eq!(of(1_300_000, 40, 100), Verdict::Player);
        let idle = StreamHealth { verdict: Verdict::Idle, ..health.clone() };
        assert_eq!(judge_player(&taken(0, 0), 0, &idle).0, Verdict::Idle);
        let slow = StreamHealth { verdict: Verdict::Network, ..health };
        assert_eq!(judge_player(&taken(1, 0), 0, &slow).0, Verdict::Network);
    }
}
