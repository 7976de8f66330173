//! What a run is to do.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clip::Clip;
use crate::target::{Pattern, Wire};
use crate::tls::Trust;

/// Which players look at what they receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// All up to a thousand a thread; of more, a thousand a thread, spread evenly over the order
    /// of joining, the first and the last always among them.
    #[default]
    Auto,
    /// Every player.
    All,
    /// None: bytes are counted, and the first media of each player is decoded.
    None,
    /// So many, spread evenly.
    Some(u32),
}

/// Players that one thread verifies unless told otherwise. A thousand at 575 kbit/s cost it about
/// a tenth of a core.
pub const VERIFIED_PER_THREAD: u32 = 1000;

/// Those that play.
#[derive(Clone, Debug)]
pub struct Players {
    /// What they play, in turn.
    pub urls: Vec<Pattern>,
    /// How many.
    pub count: u32,
    /// How many streams `{i}` counts, from 0; players take them in turn.
    pub streams: u32,
    /// Who looks at what comes.
    pub verify: Verify,
    /// So many a second leave and are replaced.
    pub churn: f64,
    /// Each stays so long and is replaced.
    pub stay: Option<Duration>,
    /// So many of them, spread evenly, stop reading now and then.
    pub slow: u32,
    /// How long those do not read.
    pub slow_for: Duration,
    /// How long they read in between.
    pub slow_every: Duration,
}

/// Those that publish.
#[derive(Clone, Debug)]
pub struct Publishers {
    /// What they publish, `{i}` being the number of the publisher.
    pub url: Pattern,
    /// How many.
    pub count: u32,
    /// The media.
    pub clip: Arc<Clip>,
    /// Stamp the pictures.
    pub stamp: bool,
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who plays.
    pub players: Option<Players>,
    /// Who publishes.
    pub publishers: Option<Publishers>,
    /// Connections begun a second, of each kind.
    pub rate: f64,
    /// From the last publisher's start to the first player's.
    pub lead: Duration,
    /// From the last player's start to the window.
    pub settle: Duration,
    /// The window in which rates, delays and the server's costs are measured.
    pub window: Duration,
    /// Threads; each drives its share of connections.
    pub threads: u32,
    /// Local addresses to connect from, in turn; none leaves it to the system.
    pub sources: Vec<IpAddr>,
    /// Whom TLS trusts.
    pub trust: Trust,
    /// The server's process.
    pub pid: Option<u32>,
    /// Without media for longer than this, a player stalls.
    pub stall: Duration,
    /// From connect to the first media; for HLS, whose first segment must be made first, a minute
    /// more.
    pub patience: Duration,
}

/// Why a plan cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Neither players nor publishers.
    #[error("nothing to do: no players and no publishers")]
    Nothing,
    /// Something that must be more than nothing.
    #[error("{0} must be more than 0")]
    Zero(&'static str),
    /// Several publishers, and one name.
    #[error("{0} publishers need {{i}} in the URL: each its own stream")]
    OneName(u32),
    /// More slow players than players.
    #[error("{slow} slow players of {count} in all")]
    Slow {
        /// Asked for.
        slow: u32,
        /// There are.
        count: u32,
    },
}

impl Plan {
    /// A plan with the usual numbers and nobody in it.
    pub fn new() -> Self {
        Self {
            players: None,
            publishers: None,
            rate: 500.0,
            lead: Duration::from_secs(2),
            settle: Duration::from_secs(4),
            window: Duration::from_secs(10),
            threads: 1,
            sources: Vec::new(),
            trust: Trust::System,
            pid: None,
            stall: Duration::from_secs(3),
            patience: Duration::from_secs(10),
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
        positive(self.stall.as_secs_f64(), "the stall time")?;
        if let Some(publishers) = &self.publishers {
            positive(f64::from(publishers.count), "the number of publishers")?;
            if publishers.count > 1 && !publishers.url.has_number() {
                return Err(PlanError::OneName(publishers.count));
            }
        }
        if let Some(players) = &self.players {
            positive(f64::from(players.count), "the number of players")?;
            positive(f64::from(players.streams), "the number of streams")?;
            positive(players.urls.len() as f64, "the number of URLs")?;
            if players.slow > players.count {
                return Err(PlanError::Slow { slow: players.slow, count: players.count });
            }
        }
        Ok(())
    }

    pub(crate) fn player_count(&self) -> u32 {
        self.players.as_ref().map_or(0, |p| p.count)
    }

    pub(crate) fn publisher_count(&self) -> u32 {
        self.publishers.as_ref().map_or(0, |p| p.count)
    }

    /// From the start to the first player.
    pub(crate) fn lead_in(&self) -> Duration {
        match &self.publishers {
            None => Duration::ZERO,
            Some(p) => Duration::from_secs_f64(f64::from(p.count - 1) / self.rate) + self.lead,
        }
    }

    /// From the start to the window.
    pub fn ramp(&self) -> Duration {
        let players = f64::from(self.player_count()) / self.rate;
        self.lead_in() + Duration::from_secs_f64(players) + self.settle
    }

    /// Open files that it takes at once.
    pub fn descriptors(&self) -> u64 {
        // Standard streams, /proc, and an epoll and its waker a thread.
        let own = 16 + u64::from(self.threads) * 4;
        u64::from(self.player_count()) + u64::from(self.publisher_count()) + own
    }

    /// Whether any connection is inside TLS.
    pub(crate) fn uses_tls(&self) -> bool {
        let publish = self.publishers.iter().map(|p| &p.url);
        let play = self.players.iter().flat_map(|p| &p.urls);
        publish.chain(play).any(|url| url.tls())
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

impl Players {
    /// Players of these addresses, with the usual numbers.
    pub fn new(urls: Vec<Pattern>, count: u32) -> Self {
        Self {
            urls,
            count,
            streams: 1,
            verify: Verify::Auto,
            churn: 0.0,
            stay: None,
            slow: 0,
            slow_for: Duration::from_secs(5),
            slow_every: Duration::from_secs(15),
        }
    }

    /// The address of the `i`th player.
    pub(crate) fn url(&self, i: u32) -> Option<&Pattern> {
        self.urls.get(self.url_index(i))
    }

    /// Which of the addresses the `i`th player has: those with the same may be compared.
    pub(crate) fn url_index(&self, i: u32) -> usize {
        i as usize % self.urls.len().max(1)
    }

    /// The stream of the `i`th player: all addresses of a stream in turn, then the next stream.
    pub(crate) fn stream(&self, i: u32) -> u32 {
        i / (self.urls.len() as u32).max(1) % self.streams.max(1)
    }

    /// How many look at what comes.
    pub fn verified(&self, threads: u32) -> u32 {
        match self.verify {
            Verify::All => self.count,
            Verify::None => 0,
            Verify::Some(n) => n.min(self.count),
            Verify::Auto => self.count.min(VERIFIED_PER_THREAD.saturating_mul(threads)),
        }
    }

    /// Whether any of them plays HLS.
    pub fn any_hls(&self) -> bool {
        self.urls.iter().any(|url| url.wire() == Wire::Hls)
    }
}

/// Whether `i` is one of `chosen` that are spread evenly over `count`, the first and the last
/// among them.
pub(crate) fn spread(i: u32, chosen: u32, count: u32) -> bool {
    if chosen >= count {
        return true;
    }
    let (i, chosen, count) = (u64::from(i), u64::from(chosen), u64::from(count));
    match chosen {
        0 => false,
        1 => i == 0,
        // The k-th of them stands at k * (count - 1) / (chosen - 1).
        _ => {
            let k = (i * (chosen - 1)).div_ceil(count - 1);
            k < chosen && k * (count - 1) / (chosen - 1) == i
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_are_as_many_as_asked_with_first_and_last() {
        for count in [1, 2, 3, 10, 999, 1000, 19_000] {
            for chosen in [0, 1, 2, 3, 7, 500, 1000] {
                let list: Vec<u32> = (0..count).filter(|i| spread(*i, chosen, count)).collect();
                assert_eq!(list.len() as u32, chosen.min(count), "{chosen} of {count}");
                if chosen > 1 {
                    assert_eq!((list.first(), list.last()), (Some(&0), Some(&(count - 1))));
                }
            }
        }
    }

    #[test]
    fn players_take_addresses_first_and_streams_then() {
        let urls = ["rtmp://127.0.0.1/live/s{i}", "http://127.0.0.1/live/s{i}.flv"];
        let urls = urls.map(|u| Pattern::new(u).unwrap()).to_vec();
        let players = Players { streams: 2, ..Players::new(urls, 8) };
        let list: Vec<_> = (0..5).map(|i| (players.url_index(i), players.stream(i))).collect();
        assert_eq!(list, [(0, 0), (1, 0), (0, 1), (1, 1), (0, 0)]);
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        assert_eq!(Plan::new().check(), Err(PlanError::Nothing));
        let url = Pattern::new("rtmp://127.0.0.1/live/x").unwrap();
        let mut plan = Plan::new();
        plan.players = Some(Players::new(vec![url.clone()], 0));
        assert_eq!(plan.check(), Err(PlanError::Zero("the number of players")));
        let clip = Arc::new(Clip::built_in().unwrap());
        plan.players = None;
        plan.publishers = Some(Publishers { url, count: 2, clip, stamp: true });
        assert_eq!(plan.check(), Err(PlanError::OneName(2)));
    }
}
