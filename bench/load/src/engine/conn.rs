//! One connection with all that belongs to it.

use std::net::SocketAddr;

use gate::http::client::Origin;

use super::Common;
use super::joins::Joins;
use crate::clock::Now;
use crate::fault::Fault;
use crate::link::Link;
use crate::plan::{Plan, Players, spread};
use crate::role::{HlsPlayer, LivePlayer, Publisher, Role, RtmpPlayer};
use crate::stats::{Group, Tally};
use crate::target::{Pattern, Target, Wire};

/// One connection.
pub(super) struct Conn {
    pub(super) link: Link,
    pub(super) role: Role,
    pub(super) tally: Tally,
    /// What waits to be sent.
    pub(super) out: Vec<u8>,
    /// Tells it from earlier ones of the same slot.
    pub(super) generation: u32,
    /// The timer that is armed for the role.
    pub(super) alarm_ns: Option<u64>,
    /// The connection stands, and the role knows.
    pub(super) greeted: bool,
    /// Does not read for a while.
    pub(super) paused: bool,
    /// Something came meanwhile.
    pub(super) unread: bool,
}

impl Conn {
    /// Begins to connect for a slot.
    pub(super) fn new(
        common: &Common,
        thread: u32,
        joins: &Joins,
        slot: usize,
        generation: u32,
        now: Now,
    ) -> Result<Self, Fault> {
        let plan = &common.plan;
        let index = joins.index(slot);
        let seed = seed(now.ns, thread, generation);
        let (pattern, role, tally) = if joins.is_player(slot) {
            let players = plan.players.as_ref().ok_or_else(nobody)?;
            let pattern = players.url(index).ok_or_else(nobody)?;
            let tally = tally(plan, players, index, now);
            let target = pattern.target(players.stream(index));
            (pattern, player(&target, tally.verified, seed, now)?, tally)
        } else {
            let publishers = plan.publishers.as_ref().ok_or_else(nobody)?;
            let url = publishers.url.target(index).to_string();
            let (clip, stamp) = (publishers.clip.clone(), publishers.stamp);
            let role = Role::Publisher(Box::new(Publisher::new(&url, seed, now, clip, stamp)?));
            (&publishers.url, role, Tally::new(now.ns, Group::Middle, false, false))
        };
        let link = connect(common, index, pattern, &pattern.origin())?;
        Ok(Self {
            link,
            role,
            tally,
            out: Vec::new(),
            generation,
            alarm_ns: None,
            greeted: false,
            paused: false,
            unread: false,
        })
    }
}

/// Begins to connect to a place that belongs to a pattern.
fn connect(common: &Common, index: u32, pattern: &Pattern, origin: &Origin) -> Result<Link, Fault> {
    let elsewhere = || Fault::Redirected(origin.authority());
    let ip = match origin.host.parse() {
        Ok(ip) => ip,
        Err(_) if origin.host == pattern.host() => pattern.address().ip(),
        // A name that was not asked for: nobody looks it up in the middle of a measurement.
        Err(_) => return Err(elsewhere()),
    };
    let tls = match &common.tls {
        Some(config) if origin.tls => Some((config, origin.host.as_str())),
        None if origin.tls => return Err(elsewhere()),
        _ => None,
    };
    let sources = &common.plan.sources;
    let from = sources.get((index as usize).checked_rem(sources.len()).unwrap_or_default());
    Link::connect(SocketAddr::new(ip, origin.port), from.copied(), tls)
}

impl Conn {
    /// Connects anew, as the role wishes.
    pub(super) fn relink(
        &mut self,
        common: &Common,
        joins: &Joins,
        slot: usize,
        origin: &Origin,
    ) -> Result<(), Fault> {
        let index = joins.index(slot);
        let pattern = common.plan.players.as_ref().and_then(|p| p.url(index));
        self.link = connect(common, index, pattern.ok_or_else(nobody)?, origin)?;
        self.greeted = false;
        Ok(())
    }
}

fn player(target: &Target, verified: bool, seed: [u8; 32], now: Now) -> Result<Role, Fault> {
    match target.wire {
        Wire::Rtmp => Ok(Role::Rtmp(Box::new(RtmpPlayer::new(&target.to_string(), seed, now)?))),
        Wire::Flv | Wire::WsFlv | Wire::Ts => {
            Ok(Role::Live(Box::new(LivePlayer::new(target, seed, now))))
        }
        Wire::Hls => Ok(Role::Hls(Box::new(HlsPlayer::new(target, verified, now)))),
    }
}

fn tally(plan: &Plan, players: &Players, index: u32, now: Now) -> Tally {
    // A tenth of the players, at least one, at either end.
    let tenth = players.count.div_ceil(10);
    let group = if index < tenth {
        Group::First
    } else if index >= players.count - tenth {
        Group::Last
    } else {
        Group::Middle
    };
    let verified = spread(index, players.verified(plan.threads), players.count);
    // Turned by half, so that the first and the last, whose delays count, are not among them.
    let turned = (u64::from(index) + u64::from(players.count / 2)) % u64::from(players.count);
    let slow = players.slow > 0 && spread(turned as u32, players.slow, players.count);
    Tally::new(now.ns, group, verified, slow)
}

fn nobody() -> Fault {
    Fault::Local("a slot without a connection".to_owned())
}

/// Different for each connection. It needs no secrecy: it fills handshakes and masks.
fn seed(now_ns: u64, thread: u32, generation: u32) -> [u8; 32] {
    let mut state = now_ns ^ u64::from(thread) << 48 ^ u64::from(generation) << 20;
    let mut seed = [0; 32];
    for part in seed.as_chunks_mut::<8>().0 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        *part = (z ^ z >> 31).to_le_bytes();
    }
    seed
}
