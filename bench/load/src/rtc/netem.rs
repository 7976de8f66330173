//! A bad network within the process: loss, delay and jitter on each datagram.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use super::plan::Network;
use crate::clock::nanos;

/// Buffers kept for further datagrams, at most. At half of it a second of 10,000 packets allocates
/// anew; at double it holds megabytes for nothing.
const SPARE: usize = 4096;

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It passes at once.
    Now,
    /// It never comes.
    Lost,
    /// It comes then, in nanoseconds of the monotonic clock.
    At(u64),
}

/// A datagram on its way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) at_ns: u64,
    order: u64,
    pub(super) slot: usize,
    /// To us; else to the server.
    pub(super) inward: bool,
    /// The server.
    pub(super) peer: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

impl Ord for Held {
    /// The earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_ns, other.order).cmp(&(self.at_ns, self.order))
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The network of one thread.
pub(super) struct Net {
    /// Of 2^32.
    loss: u64,
    delay_ns: u64,
    jitter_ns: u64,
    rate: u64,
    queue_ns: u64,
    /// Until when the way to each client is busy.
    busy_ns: Vec<u64>,
    state: u64,
    order: u64,
    heap: BinaryHeap<Held>,
    spare: Vec<Vec<u8>>,
    pub(super) lost: u64,
    pub(super) passed: u64,
}

impl Net {
    /// The same for all threads but for the draws.
    pub(super) fn new(network: &Network, thread: u32) -> Self {
        Self {
            loss: (network.loss.clamp(0.0, 1.0) * 4_294_967_296.0) as u64,
            delay_ns: nanos(network.delay),
            jitter_ns: nanos(network.jitter),
            rate: network.rate,
            queue_ns: nanos(network.queue),
            busy_ns: Vec::new(),
            state: network.seed ^ (u64::from(thread) << 40),
            order: 0,
            heap: BinaryHeap::new(),
            spare: Vec::new(),
            lost: 0,
            passed: 0,
        }
    }

    /// What becomes of a datagram of so many bytes for a client: its way may be too thin.
    pub(super) fn inward(&mut self, slot: usize, bytes: usize, now_ns: u64) -> Fate {
        if self.rate == 0 {
            return self.draw(now_ns);
        }
        if self.busy_ns.len() <= slot {
            self.busy_ns.resize(slot + 1, 0);
        }
        let Some(busy_ns) = self.busy_ns.get_mut(slot) else { return Fate::Lost };
        let from_ns = now_ns.max(*busy_ns);
        if from_ns - now_ns > self.queue_ns {
            self.lost += 1;
            return Fate::Lost;
        }
        // Headers of IP and UDP take their part of the way.
        let bits = (bytes as u64 + 28) * 8;
        let there_ns = from_ns + bits * 1_000_000_000 / self.rate;
        *busy_ns = there_ns;
        match self.draw(now_ns) {
            Fate::Lost => Fate::Lost,
            Fate::Now => Fate::At(there_ns),
            Fate::At(at_ns) => Fate::At(at_ns + (there_ns - now_ns)),
        }
    }

    /// Draws what becomes of the next datagram.
    pub(super) fn draw(&mut self, now_ns: u64) -> Fate {
        let drawn = splitmix(&mut self.state);
        if drawn >> 32 < self.loss {
            self.lost += 1;
            return Fate::Lost;
        }
        self.passed += 1;
        if self.delay_ns == 0 && self.jitter_ns == 0 {
            return Fate::Now;
        }
        let extra = (drawn & 0xffff_ffff).wrapping_mul(self.jitter_ns >> 16) >> 16;
        Fate::At(now_ns + self.delay_ns + extra)
    }

    /// Keeps a datagram until its time.
    pub(super) fn hold(
        &mut self,
        at_ns: u64,
        slot: usize,
        inward: bool,
        peer: SocketAddr,
        datagram: &[u8],
    ) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(datagram);
        self.order += 1;
        self.heap.push(Held { at_ns, order: self.order, slot, inward, peer, bytes });
    }

    /// When the next one arrives.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.heap.peek().map(|held| held.at_ns)
    }

    /// One that has arrived.
    pub(super) fn arrived(&mut self, now_ns: u64) -> Option<Held> {
        if self.next_ns()? > now_ns {
            return None;
        }
        self.heap.pop()
    }

    /// Takes the buffer of one that was delivered.
    pub(super) fn done(&mut self, held: Held) {
        if self.spare.len() < SPARE {
            self.spare.push(held.bytes);
        }
    }
}

/// The next number of a row that needs no secrecy (Steele, Lea, Flood 2014).
pub(super) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn network(loss: f64, delay: u64, jitter: u64) -> Network {
        let millis = Duration::from_millis;
        let rate = 0;
        let queue = millis(200);
        Network { loss, delay: millis(delay), jitter: millis(jitter), rate, queue, seed: 7 }
    }

    #[test]
    fn so_many_are_lost_as_asked_and_the_same_each_time() {
        let draw = |thread| {
            let mut net = Net::new(&network(0.05, 0, 0), thread);
            (0..100_000).map(|now| net.draw(now) == Fate::Lost).collect::<Vec<_>>()
        };
        let first = draw(0);
        let lost = first.iter().filter(|lost| **lost).count();
        assert!((4_700..5_300).contains(&lost), "{lost}");
        assert_eq!(first, draw(0));
        assert_ne!(first, draw(1));
    }

    #[test]
    fn a_thin_way_delays_and_then_loses_what_is_too_much() {
        let mut net = Net::new(&Network { rate: 800_000, ..network(0.0, 50, 0) }, 0);
        // A datagram of 1,000 bytes takes 10 ms, and 20 of them fit into the queue.
        let fates: Vec<_> = (0..30).map(|_| net.inward(3, 972, 0)).collect();
        assert_eq!(fates.first(), Some(&Fate::At(60_000_000)));
        assert_eq!(fates.get(20), Some(&Fate::At(260_000_000)));
        assert_eq!(fates.get(21..), Some(&[Fate::Lost; 9][..]));
        assert_eq!(net.inward(4, 972, 0), Fate::At(60_000_000), "each has a way of its own");
        assert_eq!(net.inward(3, 972, 500_000_000), Fate::At(560_000_000));
    }

    #[test]
    fn datagrams_come_in_the_order_of_their_times_within_delay_and_jitter() {
        let mut net = Net::new(&network(0.0, 50, 20), 0);
        let peer = "127.0.0.1:1".parse().unwrap();
        for n in 0..200u8 {
            let Fate::At(at_ns) = net.draw(1_000) else { panic!("not held") };
            assert!((50_001_000..=70_001_000).contains(&at_ns), "{at_ns}");
            net.hold(at_ns, 0, true, peer, &[n]);
        }
        assert!(net.arrived(50_000_999).is_none());
        let mut times = Vec::new();
        while let Some(held) = net.arrived(u64::MAX) {
            times.push(held.at_ns);
            net.done(held);
        }
        assert_eq!(times.len(), 200);
        assert!(times.is_sorted());
    }
}
