//! What is done to the server. Each attack runs until its time is over and leaves nothing behind
//! on our side; what it left on the server's is what this program is for.

pub(crate) mod api;
pub(crate) mod forge;
pub(crate) mod http;
pub(crate) mod idle;
pub(crate) mod mutate;
pub(crate) mod publishers;
pub(crate) mod reload;
pub(crate) mod rtc;
pub(crate) mod rtmp;
pub(crate) mod slow;
pub(crate) mod viewers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout_at};

use crate::Plan;

/// An attack that has been started.
pub(crate) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One way to treat a server badly.
pub struct Attack {
    /// Its name for people and for `--only`.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    /// It needs the server's configuration file.
    pub needs_config: bool,
    /// It needs the server's port of WebRTC.
    pub needs_rtc: bool,
    pub(crate) run: fn(Arc<Cx>) -> Running,
}

/// All of them.
pub const ALL: &[Attack] = &[
    attack("rtmp-noise", "random bytes before, in and after the handshake", rtmp::noise),
    attack("rtmp-mutants", "damaged recordings of real clients", rtmp::mutants),
    attack("rtmp-bombs", "giant lengths, deep AMF, many chunk streams, odd sizes", rtmp::bombs),
    attack("rtmp-restless", "sessions that change their mind with every call", rtmp::restless),
    attack(
        "http-garbage",
        "broken heads, smuggling, escapes, bad HTTP/2, on both ports",
        http::garbage,
    ),
    attack("websocket", "bad frames on live WebSockets", http::websocket),
    attack("half-open", "handshakes and heads at one byte a second", slow::half_open),
    attack("never-read", "players who stop reading, clients who only ask", slow::never_read),
    attack("flapping", "publishers that come and go 20 times a second", publishers::flap),
    attack(
        "shape-shifting",
        "codecs, sizes, clocks and lengths that change all the time",
        publishers::shift,
    ),
    attack("join-leave", "200 players a second who come and leave", viewers::join_leave),
    attack("hls-contexts", "made-up players, marks and streams of HLS", viewers::contexts),
    attack("kicks", "clients kicked off through the API as they come", api::kicks),
    attack("flood", "more connections than the server takes", slow::flood),
    Attack {
        name: "reload",
        what: "SIGHUP with good, other and broken configurations",
        needs_config: true,
        needs_rtc: false,
        run: reload::reload,
    },
    webrtc("rtc-garbage", "random datagrams of every first byte", rtc::garbage),
    webrtc("rtc-stun", "checks that are nearly right, and floods of right ones", rtc::stun),
    webrtc("rtc-handshakes", "handshakes damaged, cut, repeated and replayed", rtc::handshakes),
    webrtc("rtc-media", "publishers whose packets lie, repeat and jump", rtc::media),
    webrtc("rtc-reports", "reports that ask for everything, again and again", rtc::reports),
    webrtc("rtc-pending", "sessions that are asked for and left alone", rtc::pending),
    webrtc("rtc-offers", "hostile offers, guessed tokens, slow bodies", rtc::offers),
    webrtc("rtc-restarts", "restarts of ICE in a loop", rtc::restarts),
    webrtc("rtc-sources", "viewers who send from other viewers' addresses", forge::sources),
    webrtc("rtc-idle", "ICE over TCP: thousands of silent connections", idle::connections),
    webrtc("rtc-connections", "ICE over TCP: silent, half, unread, left over", rtc::connections),
];

const fn webrtc(name: &'static str, what: &'static str, run: fn(Arc<Cx>) -> Running) -> Attack {
    Attack { name, what, needs_config: false, needs_rtc: true, run }
}

const fn attack(name: &'static str, what: &'static str, run: fn(Arc<Cx>) -> Running) -> Attack {
    Attack { name, what, needs_config: false, needs_rtc: false, run }
}

/// What an attack did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Connections, requests or signals.
    pub(crate) tried: AtomicU64,
    /// Those that the server refused or cut short: mostly its good right.
    pub(crate) refused: AtomicU64,
    /// Bytes sent.
    pub(crate) bytes: AtomicU64,
    leaks: Mutex<Vec<String>>,
}

impl Tally {
    /// The server has told something that it must not tell.
    pub(crate) fn leak(&self, what: String) {
        let mut leaks = self.leaks.lock().unwrap_or_else(PoisonError::into_inner);
        if leaks.len() < 20 {
            leaks.push(what);
        }
    }

    pub(crate) fn leaks(&self) -> Vec<String> {
        self.leaks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn tried(&self) {
        self.tried.fetch_add(1, Relaxed);
    }

    pub(crate) fn result<T, E>(&self, result: &Result<T, E>) {
        if result.is_err() {
            self.refused.fetch_add(1, Relaxed);
        }
    }
}

/// What an attack needs.
#[derive(Clone, Debug)]
pub(crate) struct Cx {
    pub(crate) rtmp: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) api: SocketAddr,
    pub(crate) rtc: Option<SocketAddr>,
    pub(crate) pid: u32,
    pub(crate) config: Option<PathBuf>,
    pub(crate) connections: usize,
    pub(crate) until: Instant,
    pub(crate) tally: Arc<Tally>,
    seed: u64,
}

impl Cx {
    pub(crate) fn new(plan: &Plan, seed: u64, until: Instant) -> Arc<Self> {
        Arc::new(Self {
            rtmp: plan.rtmp,
            http: plan.http,
            api: plan.api,
            rtc: plan.rtc,
            pid: plan.pid,
            config: plan.config.clone(),
            connections: plan.connections,
            until,
            tally: Arc::default(),
            seed,
        })
    }

    /// The same with other choices and an earlier end.
    pub(crate) fn shorter(&self, rng: &mut StdRng, time: Duration) -> Arc<Self> {
        let until = self.until.min(Instant::now() + time);
        Arc::new(Self { until, seed: rng.random(), ..self.clone() })
    }

    pub(crate) fn rng(&self) -> StdRng {
        StdRng::seed_from_u64(self.seed)
    }

    pub(crate) fn over(&self) -> bool {
        Instant::now() >= self.until
    }
}

/// Starts `one` so many times a second, with at most `most` at once, and ends them all when the
/// time is over.
pub(crate) async fn pour<F, T>(
    cx: Arc<Cx>,
    per_second: u32,
    most: usize,
    one: impl Fn(Arc<Cx>, StdRng, u64) -> F,
) where
    F: Future<Output = std::io::Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let mut rng = cx.rng();
    let mut running = JoinSet::new();
    let mut every = tokio::time::interval(Duration::from_secs(1) / per_second.max(1));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    while !cx.over() {
        every.tick().await;
        while running.try_join_next().is_some() {}
        if running.len() >= most {
            let _ = timeout_at(cx.until.into(), running.join_next()).await;
            continue;
        }
        let done = one(cx.clone(), StdRng::seed_from_u64(rng.random()), number);
        number += 1;
        let (until, tally) = (cx.until, cx.tally.clone());
        tally.tried();
        running.spawn(async move {
            if let Ok(result) = timeout_at(until.into(), done).await {
                tally.result(&result);
            }
        });
    }
    running.shutdown().await;
}
