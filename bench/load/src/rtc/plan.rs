//! What a run is to do.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use gate::http::client::Address;

use super::clip::RtcClip;
use crate::plan::{PlanError, Verify};
use crate::target::NUMBER;

/// Players that one thread verifies unless told otherwise: a hundred at 0.6 Mbit/s cost it some
/// two percent of a core.
pub const VERIFIED_PER_THREAD: u32 = 100;

/// Why a URL cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither scheme nor host that there is a client for.
    #[error(
        "{0}: want http://host:port/rtc/v1/whep/?app=live&stream=livestream, or the like of WHIP"
    )]
    Form(String),
    /// The name of the host leads nowhere.
    #[error("cannot resolve {host}: {error}")]
    Resolve {
        /// The host.
        host: String,
        /// Why.
        error: String,
    },
}

/// An endpoint of WHIP or WHEP, which may hold `{i}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    text: String,
    address: SocketAddr,
}

impl Url {
    /// Reads a URL and looks its host up.
    ///
    /// # Errors
    /// The URL is no plain HTTP, or its host is not known.
    pub fn new(text: &str) -> Result<Self, UrlError> {
        let form = || UrlError::Form(text.to_owned());
        let first = Address::parse(&text.replace(NUMBER, "0")).map_err(|_| form())?;
        if first.origin.tls {
            return Err(form());
        }
        let host = first.origin.host.as_str();
        let fail = |error: String| UrlError::Resolve { host: host.to_owned(), error };
        let mut found =
            (host, first.origin.port).to_socket_addrs().map_err(|e| fail(e.to_string()))?;
        let address = found.next().ok_or_else(|| fail("no address".to_owned()))?;
        Ok(Self { text: text.to_owned(), address })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where its host is.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has a place for a number.
    pub fn has_number(&self) -> bool {
        self.text.contains(NUMBER)
    }

    /// The `n`th: the `Host` of the request and its target.
    pub(super) fn target(&self, n: u32) -> Option<(String, String)> {
        let address = Address::parse(&self.text.replace(NUMBER, &n.to_string())).ok()?;
        Some((address.origin.authority(), address.path))
    }
}

/// Those that play.
#[derive(Clone, Debug)]
pub struct Players {
    /// What they play.
    pub url: Url,
    /// How many.
    pub count: u32,
    /// How many streams `{i}` counts, from 0; players take them in turn.
    pub streams: u32,
    /// Who looks at what comes.
    pub verify: Verify,
}

impl Players {
    /// How many look at what comes.
    pub fn verified(&self, threads: u32) -> u32 {
        match self.verify {
            Verify::All => self.count,
            Verify::None => 0,
            Verify::Some(n) => n.min(self.count),
            Verify::Auto => self.count.min(VERIFIED_PER_THREAD.saturating_mul(threads)),
        }
    }
}

/// Those that publish.
#[derive(Clone, Debug)]
pub struct Publishers {
    /// What they publish, `{i}` being the number of the publisher.
    pub url: Url,
    /// How many.
    pub count: u32,
    /// The media.
    pub clip: Arc<RtcClip>,
}

/// What lies between each client and the server, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Network {
    /// Datagrams that are lost, 0 to 1.
    pub loss: f64,
    /// How long each datagram takes.
    pub delay: Duration,
    /// Up to so much longer; such datagrams may overtake each other.
    pub jitter: Duration,
    /// What the way to each client carries, bits a second; 0: anything.
    pub rate: u64,
    /// A datagram that would wait for longer than this because of it is lost.
    pub queue: Duration,
    /// Equal seeds give equal draws, one for each datagram in the order they pass.
    pub seed: u64,
}

impl Network {
    /// Whether anything is there at all.
    pub fn is_there(&self) -> bool {
        self.loss > 0.0 || !self.delay.is_zero() || !self.jitter.is_zero() || self.rate > 0
    }

    /// A round trip over it at the least, and half of what jitter adds, in microseconds.
    pub(super) fn round_trip_us(&self) -> u64 {
        u64::try_from((self.delay * 2 + self.jitter).as_micros()).unwrap_or(u64::MAX)
    }
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who plays.
    pub players: Option<Players>,
    /// Who publishes.
    pub publishers: Option<Publishers>,
    /// Sessions begun a second.
    pub rate: f64,
    /// From the last publisher's start to the first player's.
    pub lead: Duration,
    /// From the last player's start to the window.
    pub settle: Duration,
    /// The window in which rates, losses and the server's costs are measured.
    pub window: Duration,
    /// Threads; each drives its share of sessions.
    pub threads: u32,
    /// Local addresses to send from, in turn; none leaves it to the system.
    pub sources: Vec<IpAddr>,
    /// The server's process.
    pub pid: Option<u32>,
    /// From the answer to the first media, and of the HTTP request.
    pub patience: Duration,
    /// What lies between.
    pub network: Network,
    /// Each player takes another socket, once, after so long.
    pub move_after: Option<Duration>,
}

impl Plan {
    /// A plan with the usual numbers and nobody in it.
    pub fn new() -> Self {
        Self {
            players: None,
            publishers: None,
            rate: 100.0,
            lead: Duration::from_secs(2),
            settle: Duration::from_secs(4),
            window: Duration::from_secs(10),
            threads: 1,
            sources: Vec::new(),
            pid: None,
            patience: Duration::from_secs(10),
            network: Network::default(),
            move_after: None,
        }
    }

    /// # Errors
    /// What does not fit together.
    pub fn check(&self) -> Result<(), PlanError> {
        let positive = |value: f64, what| {
            if value > 0.0 { Ok(()) } else { Err(PlanError::Zero(what)) }
        };
        if self.players.is_none() && self.publishers.is_none() {
            return Err(PlanError::Nothing);
        }
        positive(self.rate, "the rate of joins")?;
        positive(self.window.as_secs_f64(), "the duration")?;
        positive(f64::from(self.threads), "the number of threads")?;
        if let Some(publishers) = &self.publishers {
            positive(f64::from(publishers.count), "the number of publishers")?;
            if publishers.count > 1 && !publishers.url.has_number() {
                return Err(PlanError::OneName(publishers.count));
            }
        }
        if let Some(players) = &self.players {
            positive(f64::from(players.count), "the number of players")?;
            positive(f64::from(players.streams), "the number of streams")?;
        }
        Ok(())
    }

    pub(super) fn player_count(&self) -> u32 {
        self.players.as_ref().map_or(0, |p| p.count)
    }

    pub(super) fn publisher_count(&self) -> u32 {
        self.publishers.as_ref().map_or(0, |p| p.count)
    }

    /// From the start to the first player.
    pub(super) fn lead_in(&self) -> Duration {
        match self.publisher_count().checked_sub(1) {
            None => Duration::ZERO,
            Some(before) => Duration::from_secs_f64(f64::from(before) / self.rate) + self.lead,
        }
    }

    /// From the start to the window.
    pub fn ramp(&self) -> Duration {
        let players = f64::from(self.player_count()) / self.rate;
        self.lead_in() + Duration::from_secs_f64(players) + self.settle
    }

    /// Open files that it takes at once.
    pub fn descriptors(&self) -> u64 {
        // Standard streams, /proc, and a thread's epoll, waker and requests.
        let own = 16 + u64::from(self.threads) * 16;
        u64::from(self.player_count()) + u64::from(self.publisher_count()) + own
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_whep_keeps_its_query_and_takes_a_number() {
        let url = Url::new("http://127.0.0.1:1985/rtc/v1/whep/?app=live&stream=s{i}").unwrap();
        let (host, path) = url.target(7).unwrap();
        assert_eq!(host, "127.0.0.1:1985");
        assert_eq!(path, "/rtc/v1/whep/?app=live&stream=s7");
        assert!(url.has_number());
        assert!(matches!(Url::new("https://127.0.0.1/whep/live/x"), Err(UrlError::Form(_))));
        assert!(matches!(Url::new("rtmp://127.0.0.1/live/x"), Err(UrlError::Form(_))));
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        assert_eq!(Plan::new().check(), Err(PlanError::Nothing));
        let url = Url::new("http://127.0.0.1/whip/live/x").unwrap();
        let clip = Arc::new(RtcClip::built_in().unwrap());
        let publishers = Some(Publishers { url, count: 2, clip });
        let plan = Plan { publishers, ..Plan::new() };
        assert_eq!(plan.check(), Err(PlanError::OneName(2)));
    }
}
