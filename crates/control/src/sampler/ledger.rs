//! Traffic by virtual host and stream, and totals that outlive the streams they came from.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use gate::SessionInfo;
use gate::identity::random_id;
use gate::session::Rate;
use hub::{Counters, Stream};

use super::health::{Taken, Window};

/// Running totals of streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) recv: u64,
    pub(crate) send: u64,
    pub(crate) dropped_inbox: u64,
    pub(crate) dropped_lag: u64,
    pub(crate) discontinuities: u64,
}

impl Totals {
    fn of(stream: &Stream) -> Self {
        let s = &stream.stats;
        Self {
            recv: s.recv_bytes.load(Relaxed),
            send: s.send_bytes.load(Relaxed),
            dropped_inbox: s.dropped_inbox.load(Relaxed),
            dropped_lag: s.dropped_lag.load(Relaxed),
            discontinuities: s.discontinuities.load(Relaxed),
        }
    }

    fn add(&mut self, other: Self) {
        self.recv = self.recv.wrapping_add(other.recv);
        self.send = self.send.wrapping_add(other.send);
        self.dropped_inbox = self.dropped_inbox.wrapping_add(other.dropped_inbox);
        self.dropped_lag = self.dropped_lag.wrapping_add(other.dropped_lag);
        self.discontinuities = self.discontinuities.wrapping_add(other.discontinuities);
    }
}

/// What the API tells of a virtual host.
#[derive(Clone, Debug)]
pub(crate) struct VhostFigures {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) clients: usize,
    pub(crate) streams: usize,
    pub(crate) totals: Totals,
    pub(crate) kbps: (u64, u64),
}

struct Vhost {
    id: String,
    /// Of streams that are gone.
    gone: Totals,
    rate: Rate,
}

impl Default for Vhost {
    fn default() -> Self {
        Self { id: format!("vid-{}", random_id(7)), gone: Totals::default(), rate: Rate::default() }
    }
}

/// The books. Grows with the number of configured virtual hosts and of live streams and
/// sessions, never with time.
#[derive(Default)]
pub(crate) struct Ledger {
    vhosts: BTreeMap<String, Vhost>,
    streams: HashMap<u64, (Rate, Window)>,
    sessions: HashMap<Arc<str>, (Arc<Counters>, Taken)>,
    /// Jumps of players that are gone.
    gone_jumps: u64,
}

/// A stream as people think of it: somebody publishes it or is on it. Others are only
/// remembered for a moment.
pub(crate) fn is_listed(stream: &Stream) -> bool {
    stream.is_active() || stream.stats.clients.load(Relaxed) > 0
}

impl Ledger {
    fn vhost(&mut self, name: &str) -> &mut Vhost {
        self.vhosts.entry(name.to_owned()).or_default()
    }

    /// The id of a virtual host, the same for the life of the process.
    pub(crate) fn vhost_id(&mut self, name: &str) -> String {
        self.vhost(name).id.clone()
    }

    /// Keeps the totals of streams that nobody will write to any more.
    pub(crate) fn keep(&mut self, gone: &[Arc<Stream>]) {
        for stream in gone {
            self.vhost(&stream.key.vhost).gone.add(Totals::of(stream));
            self.streams.remove(&stream.id);
        }
    }

    pub(crate) fn sample(&mut self, streams: &[Arc<Stream>], sessions: &[Arc<SessionInfo>]) {
        let at = Instant::now();
        for stream in streams {
            let now = Totals::of(stream);
            let (rate, window) = self.streams.entry(stream.id).or_default();
            rate.sample(now.recv, now.send);
            window.sample(stream, at);
            self.vhost(&stream.key.vhost);
        }
        let mut of_vhost = live_by_vhost(streams);
        for (name, vhost) in &mut self.vhosts {
            let mut now = vhost.gone;
            now.add(of_vhost.remove(name.as_str()).unwrap_or_default());
            vhost.rate.sample(now.recv, now.send);
        }
        let mut before = std::mem::take(&mut self.sessions);
        for info in sessions {
            let known = before.remove(&info.id).filter(|(c, _)| Arc::ptr_eq(c, &info.counters));
            let mut taken = known.map(|(_, taken)| taken).unwrap_or_default();
            taken.sample(info);
            self.sessions.insert(info.id.clone(), (info.counters.clone(), taken));
        }
        let left: u64 = before.values().map(|(c, _)| c.lag_jumps.load(Relaxed)).sum();
        self.gone_jumps = self.gone_jumps.wrapping_add(left);
    }

    /// `(recv, send)` of a stream in kbit/s over up to 30 s.
    pub(crate) fn stream_kbps(&self, id: u64) -> (u64, u64) {
        self.streams.get(&id).map_or((0, 0), |(rate, _)| rate.kbps())
    }

    /// The last two samples of a stream; empty before the first.
    pub(crate) fn window(&self, id: u64) -> Window {
        self.streams.get(&id).map(|(_, window)| window.clone()).unwrap_or_default()
    }

    /// The last two samples of a session; empty before the first.
    pub(crate) fn taken(&self, id: &str) -> Taken {
        self.sessions.get(id).map(|(_, taken)| *taken).unwrap_or_default()
    }

    /// Every virtual host that has been used.
    pub(crate) fn vhosts(&mut self, streams: &[Arc<Stream>]) -> Vec<VhostFigures> {
        for stream in streams {
            self.vhost(&stream.key.vhost);
        }
        let mut of_vhost = live_by_vhost(streams);
        let of = |(name, vhost): (&String, &Vhost)| {
            let mut totals = vhost.gone;
            totals.add(of_vhost.remove(name.as_str()).unwrap_or_default());
            let here = || streams.iter().filter(|s| *s.key.vhost == **name && is_listed(s));
            VhostFigures {
                id: vhost.id.clone(),
                name: name.clone(),
                clients: here().map(|s| s.stats.clients.load(Relaxed)).sum(),
                streams: here().count(),
                totals,
                kbps: vhost.rate.kbps(),
            }
        };
        self.vhosts.iter().map(of).collect()
    }

    /// Totals of all streams since the process began.
    pub(crate) fn totals(&self, streams: &[Arc<Stream>]) -> Totals {
        let mut all = Totals::default();
        self.vhosts.values().for_each(|v| all.add(v.gone));
        streams.iter().for_each(|s| all.add(Totals::of(s)));
        all
    }

    /// Times that players were moved forward, since the process began. Players that came and went
    /// between two samples are not in it.
    pub(crate) fn lag_jumps(&self, sessions: &[Arc<SessionInfo>]) -> u64 {
        let known: u64 = self.sessions.values().map(|(c, _)| c.lag_jumps.load(Relaxed)).sum();
        let new = sessions.iter().filter(|s| !self.sessions.contains_key(&s.id));
        let new: u64 = new.map(|s| s.counters.lag_jumps.load(Relaxed)).sum();
        self.gone_jumps.wrapping_add(known).wrapping_add(new)
    }
}

fn live_by_vhost(streams: &[Arc<Stream>]) -> HashMap<&str, Totals> {
    let mut of_vhost: HashMap<&str, Totals> = HashMap::new();
    for stream in streams {
        of_vhost.entry(&stream.key.vhost).or_default().add(Totals::of(stream));
    }
    of_vhost
}
