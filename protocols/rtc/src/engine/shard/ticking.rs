//! What a shard does by the clock.

use std::rc::Rc;
use std::time::{Duration, Instant};

use gate::Close;

use super::super::peer::Peer;
use super::RtcShard;

/// Between two looks at what has its time: lost packets to ask for, viewers that catch up.
const TICK: Duration = Duration::from_millis(10);
/// Ticks between two looks at a viewer who keeps up: 100 ms.
const CALM_TURNS: usize = 10;
/// Between two looks at how much of the core walks take.
const GOVERN: Duration = Duration::from_secs(1);
/// Share of the core from which viewers are divided into more groups, and below which into fewer.
/// One group less costs a tenth more: from below the one no step leads beyond the other.
const BUSY: f64 = 0.5;
const CALM: f64 = 0.3;
/// A viewer waits for so many pictures at most: 120 ms at 25 pictures a second.
const MOST_GROUPS: usize = 4;

impl RtcShard {
    /// Into how many groups the viewers of a stream are divided: each picture serves one, in turn,
    /// with all it lacks. Pictures of about one size then leave in one call, and a viewer's keys are
    /// fetched into the processor's cache once for several pictures.
    pub(crate) fn groups(&self) -> usize {
        self.groups.get()
    }

    /// Notes time that a walk took.
    pub(crate) fn walked(&self, took: Duration) {
        self.walked.set(self.walked.get().saturating_add(took));
    }

    /// Once a second: as few groups as leave the shard time for others.
    fn govern(&self, now: Instant) {
        let since = now.saturating_duration_since(self.looked.get());
        if since < GOVERN {
            return;
        }
        self.looked.set(now);
        let share = self.walked.take().as_secs_f64() / since.as_secs_f64();
        let groups = self.groups.get();
        if share > BUSY && groups < MOST_GROUPS {
            self.groups.set(groups.saturating_add(1));
        } else if share < CALM && groups > 1 {
            self.groups.set(groups.saturating_sub(1));
        }
    }

    pub(super) async fn tick_loop(self: Rc<Self>) {
        loop {
            if self.peers.borrow().is_empty() {
                self.ticking.set(false);
                self.busy.notified().await;
            }
            self.ticking.set(true);
            tokio::time::sleep(TICK).await;
            let now = Instant::now();
            self.govern(now);
            let mut at = 0usize;
            loop {
                let Some(peer) = self.restless.borrow().get(at).cloned() else { break };
                if self.tick(&peer, now) && peer.is_restless() {
                    at = at.saturating_add(1);
                } else {
                    peer.stirred.set(false);
                    self.restless.borrow_mut().retain(|p| !Rc::ptr_eq(p, &peer));
                }
            }
            // Thousands who only watch have nothing to do most of the time: a tenth of them a turn.
            let turn = self.turn.get();
            self.turn.set(turn.wrapping_add(1));
            at = turn % CALM_TURNS;
            loop {
                let Some(peer) = self.peers.borrow().get(at).cloned() else { break };
                // One that ends leaves its place to the last one, which has its turn now or soon.
                self.tick(&peer, now);
                at = at.saturating_add(CALM_TURNS);
            }
            self.flush_marked();
        }
    }

    /// Lets a session take the time; `false`: it is over.
    fn tick(self: &Rc<Self>, peer: &Rc<Peer>, now: Instant) -> bool {
        let over = self
            .guard(|| peer.tick(self, now))
            .unwrap_or_else(|| Some(Close::us("a bug ended this session; it was logged")));
        if let Some(close) = &over {
            self.end(peer, close);
        }
        over.is_none()
    }

    /// The session is looked at with each tick until it is calm.
    pub(crate) fn stir(&self, peer: &Rc<Peer>) {
        if !peer.stirred.replace(true) {
            self.restless.borrow_mut().push(peer.clone());
        }
    }
}
