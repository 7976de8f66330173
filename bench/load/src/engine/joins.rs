//! Who connects when: the slots of one thread, publishers first.

use std::collections::VecDeque;

use crate::clock::nanos;
use crate::plan::Plan;

/// The joins of one thread. Connection `i` of a kind is thread `i % threads`'s.
pub(super) struct Joins {
    thread: u32,
    threads: u32,
    publishers: usize,
    players: usize,
    next_publisher: usize,
    next_player: usize,
    start_ns: u64,
    players_ns: u64,
    step_ns: f64,
    /// From the whole ramp on, one player leaves each so often.
    churn_ns: Option<f64>,
    next_churn_ns: u64,
    /// Players in the order in which they joined.
    order: VecDeque<usize>,
}

impl Joins {
    pub(super) fn new(plan: &Plan, thread: u32, start_ns: u64) -> Self {
        let threads = plan.threads.max(1);
        let share = |count: u32| (count / threads + u32::from(thread < count % threads)) as usize;
        let churn = plan.players.as_ref().map_or(0.0, |p| p.churn);
        let step_ns = 1e9 / plan.rate;
        let players_ns = start_ns + nanos(plan.lead_in());
        let churn_ns = (churn > 0.0).then(|| 1e9 / churn * f64::from(threads));
        let whole_ns = players_ns + (step_ns * f64::from(plan.player_count())) as u64;
        Self {
            thread,
            threads,
            publishers: share(plan.publisher_count()),
            players: share(plan.player_count()),
            next_publisher: 0,
            next_player: 0,
            start_ns,
            players_ns,
            step_ns,
            churn_ns,
            next_churn_ns: whole_ns + churn_ns.unwrap_or(0.0) as u64,
            order: VecDeque::new(),
        }
    }

    pub(super) const fn slots(&self) -> usize {
        self.publishers + self.players
    }

    pub(super) const fn is_player(&self, slot: usize) -> bool {
        slot >= self.publishers
    }

    /// The number of a slot's connection among all threads' of its kind.
    pub(super) const fn index(&self, slot: usize) -> u32 {
        let own = if slot < self.publishers { slot } else { slot - self.publishers };
        own as u32 * self.threads + self.thread
    }

    pub(super) fn url_of(&self, slot: usize, plan: &Plan) -> usize {
        plan.players.as_ref().map_or(0, |p| p.url_index(self.index(slot)))
    }

    fn publisher_ns(&self) -> Option<u64> {
        let index = self.index(self.next_publisher);
        (self.next_publisher < self.publishers)
            .then(|| self.start_ns + (f64::from(index) * self.step_ns) as u64)
    }

    fn player_ns(&self) -> Option<u64> {
        let index = self.index(self.publishers + self.next_player);
        (self.next_player < self.players)
            .then(|| self.players_ns + (f64::from(index) * self.step_ns) as u64)
    }

    /// When the next connection begins.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let churn = self.churn_ns.filter(|_| !self.order.is_empty()).map(|_| self.next_churn_ns);
        [self.publisher_ns(), self.player_ns(), churn].into_iter().flatten().min()
    }

    /// A slot whose connection is due.
    pub(super) fn due(&mut self, now_ns: u64) -> Option<usize> {
        if self.publisher_ns().is_some_and(|at| at <= now_ns) {
            self.next_publisher += 1;
            return Some(self.next_publisher - 1);
        }
        if self.player_ns().is_some_and(|at| at <= now_ns) {
            let slot = self.publishers + self.next_player;
            self.next_player += 1;
            self.order.push_back(slot);
            return Some(slot);
        }
        None
    }

    /// The player that has been there longest, if one is due to leave.
    pub(super) fn churn_due(&mut self, now_ns: u64) -> Option<usize> {
        let step_ns = self.churn_ns?;
        if self.next_churn_ns > now_ns {
            return None;
        }
        let slot = self.order.pop_front()?;
        self.next_churn_ns += step_ns as u64;
        self.order.push_back(slot);
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::Players;
    use crate::target::Pattern;

    fn plan(count: u32, threads: u32, churn: f64) -> Plan {
        let url = Pattern::new("rtmp://127.0.0.1/live/x").unwrap();
        let players = Players { churn, ..Players::new(vec![url], count) };
        let lead = Duration::ZERO;
        Plan { players: Some(players), threads, rate: 10.0, lead, ..Plan::new() }
    }

    #[test]
    fn threads_share_all_players_and_keep_the_rate() {
        let plan = plan(7, 3, 0.0);
        let mut all = Vec::new();
        for thread in 0..3 {
            let mut joins = Joins::new(&plan, thread, 1000);
            while let Some(at_ns) = joins.next_ns() {
                assert_eq!(joins.due(at_ns - 1), None);
                let slot = joins.due(at_ns).unwrap();
                all.push((joins.index(slot), at_ns));
            }
        }
        all.sort_unstable();
        let due: Vec<_> = (0..7).map(|i| (i, 1000 + u64::from(i) * 100_000_000)).collect();
        assert_eq!(all, due);
    }

    #[test]
    fn churn_begins_behind_the_ramp_and_takes_the_oldest() {
        let mut joins = Joins::new(&plan(3, 1, 2.0), 0, 0);
        while joins.due(1_000_000_000).is_some() {}
        assert_eq!(joins.churn_due(700_000_000), None);
        let left: Vec<_> =
            (0..4).filter_map(|i| joins.churn_due(800_000_000 + i * 500_000_000)).collect();
        assert_eq!(left, [0, 1, 2, 0]);
    }
}
