//! Asking again for what did not come: the receiver's side of generic NACK (RFC 4585 §6.2.1).

use std::collections::VecDeque;

#[cfg(test)]
mod tests;

/// A jump of more sequence numbers than this, either way, is a new beginning of the sender and not
/// a loss. At half of it a 20 Mbit/s stream would count a loss of 250 ms as a new beginning; at
/// double more would be asked for than a publisher still keeps (browsers: some 600 to 1,000).
pub const MAX_GAP: u64 = 1_000;

/// An answer that took longer tells nothing of the path: at half, a path over a satellite and back
/// would be asked too often; at double, one stray packet delays all repetitions by a second.
const MAX_RTT_US: u64 = 1_000_000;

/// How to ask. Times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Nothing is asked for sooner than this after its gap was seen.
    pub min_hold_us: u64,
    /// Half a round trip is waited for reordered packets, but no longer than this.
    pub max_hold_us: u64,
    /// When so many later packets have come, reordering is no longer believed in: `min_hold_us`
    /// is enough.
    pub reorder_packets: u64,
    /// Repetitions follow no faster than this.
    pub min_retry_us: u64,
    /// How much later than a round trip each repetition follows, in percent of it: an answer on its
    /// way should not be asked for again. At half, a busy sender answers much twice; at double, one
    /// attempt less fits into the half second in which a picture is missed.
    pub retry_slack: u8,
    /// Round trip until one was told or an answer has shown it.
    pub initial_rtt_us: u64,
    /// Requests for one packet, the first included.
    pub max_tries: u8,
    /// After this no more is asked for a packet.
    pub max_age_us: u64,
    /// Packets missed at once; the oldest is given up for a new one.
    pub max_missing: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            min_hold_us: 10_000,
            max_hold_us: 40_000,
            reorder_packets: 8,
            min_retry_us: 20_000,
            retry_slack: 10,
            initial_rtt_us: 100_000,
            // Over a short path 400 ms: as long as a client takes that changes its network.
            max_tries: 20,
            max_age_us: 1_000_000,
            // As many as one gap can have.
            max_missing: 1_000,
        }
    }
}

/// What a packet meant for its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The first, or the next one.
    Next,
    /// Later than the next: so many are missing now.
    Gap(u64),
    /// It was missing; asked for so many times (0: it was only late).
    Recovered(u8),
    /// It came before, or was given up already.
    Stale,
    /// A jump: everything missing was forgotten, counting begins here.
    Reset,
}

/// What happened so far. Numbers of packets, but `asked`: of requests, repetitions included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Found missing.
    pub missed: u64,
    /// Asked for.
    pub asked: u64,
    /// Came after they were asked for.
    pub recovered: u64,
    /// Came late without being asked for.
    pub reordered: u64,
    /// Given up.
    pub given_up: u64,
    /// Jumps of the sequence.
    pub resets: u64,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    sequence: u64,
    since_us: u64,
    asked_us: u64,
    tries: u8,
}

/// What is missing of one received stream, and when to ask for it.
///
/// Feed it with [`Generator::on_packet`], wake it at [`Generator::next_timeout`] by
/// [`Generator::poll`]. Costs nothing but a comparison while packets come in order; memory is at
/// most `max_missing` times 32 bytes.
#[derive(Clone, Debug)]
pub struct Generator {
    options: Options,
    highest: Option<u64>,
    /// By sequence number.
    missing: VecDeque<Missing>,
    rtt_us: u64,
    /// It was told or seen, and is not the first guess any more.
    measured: bool,
    /// What a packet far behind would be followed by, were it a new beginning.
    suspect: Option<u64>,
    counters: Counters,
}

impl Generator {
    /// For one stream (one SSRC).
    pub const fn new(options: Options) -> Self {
        Self {
            options,
            highest: None,
            missing: VecDeque::new(),
            rtt_us: options.initial_rtt_us,
            measured: false,
            suspect: None,
            counters: Counters {
                missed: 0,
                asked: 0,
                recovered: 0,
                reordered: 0,
                given_up: 0,
                resets: 0,
            },
        }
    }

    /// Takes a new round trip time; 0 is ignored. Without it the answers to requests tell it.
    pub const fn set_rtt(&mut self, rtt_us: u64) {
        if rtt_us > 0 {
            self.rtt_us = rtt_us;
            self.measured = true;
        }
    }

    /// Notes a packet, original or retransmitted, by its extended sequence number.
    #[inline]
    pub fn on_packet(&mut self, sequence: u64, now_us: u64) -> Seen {
        let Some(highest) = self.highest else {
            self.highest = Some(sequence);
            return Seen::Next;
        };
        if sequence == highest.wrapping_add(1) {
            self.highest = Some(sequence);
            return Seen::Next;
        }
        if sequence > highest {
            self.ahead(sequence, highest, now_us)
        } else {
            self.behind(sequence, now_us)
        }
    }

    fn ahead(&mut self, sequence: u64, highest: u64, now_us: u64) -> Seen {
        let gap = sequence - highest - 1;
        if gap > MAX_GAP {
            return self.restart(sequence);
        }
        self.highest = Some(sequence);
        self.counters.missed += gap;
        for sequence in highest + 1..sequence {
            self.missing.push_back(Missing { sequence, since_us: now_us, asked_us: 0, tries: 0 });
        }
        while self.missing.len() > self.options.max_missing {
            self.missing.pop_front();
            self.counters.given_up += 1;
        }
        Seen::Gap(gap)
    }

    fn behind(&mut self, sequence: u64, now_us: u64) -> Seen {
        if let Ok(at) = self.missing.binary_search_by_key(&sequence, |missing| missing.sequence) {
            let Some(missing) = self.missing.remove(at) else { return Seen::Stale };
            if missing.tries == 0 {
                self.counters.reordered += 1;
            } else {
                self.counters.recovered += 1;
                self.answered(&missing, now_us);
            }
            return Seen::Recovered(missing.tries);
        }
        // One packet far behind is a stray; two in a row are a sender that began anew
        // (RFC 3550 A.1).
        if self.highest.is_some_and(|highest| highest - sequence > MAX_GAP) {
            if self.suspect == Some(sequence) {
                return self.restart(sequence);
            }
            self.suspect = Some(sequence + 1);
        }
        Seen::Stale
    }

    fn restart(&mut self, sequence: u64) -> Seen {
        self.counters.given_up += self.missing.len() as u64;
        self.counters.resets += 1;
        self.missing.clear();
        self.highest = Some(sequence);
        self.suspect = None;
        Seen::Reset
    }

    /// Gives up everything before `sequence`, because nobody waits for it any more.
    pub fn forget_before(&mut self, sequence: u64) {
        while self.missing.front().is_some_and(|missing| missing.sequence < sequence) {
            self.missing.pop_front();
            self.counters.given_up += 1;
        }
    }

    /// When [`Generator::poll`] has something to do; None: nothing is missing. May lie in the past.
    pub fn next_timeout(&self) -> Option<u64> {
        self.missing.iter().map(|missing| self.due(missing).min(self.dead(missing))).min()
    }

    /// Appends to `out` what is to be asked for now, in order, and gives up what is too old. At
    /// most `max_missing` numbers.
    pub fn poll(&mut self, now_us: u64, out: &mut Vec<u16>) {
        if self.missing.is_empty() {
            return;
        }
        let mut missing = std::mem::take(&mut self.missing);
        missing.retain_mut(|missing| {
            if now_us >= self.dead(missing) {
                self.counters.given_up += 1;
                return false;
            }
            if now_us >= self.due(missing) {
                missing.tries = missing.tries.saturating_add(1);
                missing.asked_us = now_us;
                self.counters.asked += 1;
                out.push(missing.sequence as u16);
            }
            true
        });
        self.missing = missing;
    }

    /// When to ask for it next.
    fn due(&self, missing: &Missing) -> u64 {
        let options = &self.options;
        if missing.tries == 0 {
            let later = self.highest.map_or(0, |highest| highest - missing.sequence);
            let hold = if later >= options.reorder_packets {
                options.min_hold_us
            } else {
                (self.rtt_us / 2).min(options.max_hold_us).max(options.min_hold_us)
            };
            return missing.since_us.saturating_add(hold);
        }
        missing.asked_us.saturating_add(self.distance())
    }

    /// Between a request and the next: a round trip and a little. The same each time: losses that
    /// have nothing to do with load are not mended by patience.
    fn distance(&self) -> u64 {
        let percent = 100 + u64::from(self.options.retry_slack);
        (self.rtt_us.saturating_mul(percent) / 100).max(self.options.min_retry_us)
    }

    /// An answer tells the round trip. One that comes right after a repetition answers what was
    /// asked before it (RFC 6298 §3 would pass it over, and a round trip that is believed to be
    /// too short would stay so).
    fn answered(&mut self, missing: &Missing, now_us: u64) {
        let mut took = now_us.saturating_sub(missing.asked_us);
        if missing.tries > 1 {
            if took >= self.rtt_us / 2 {
                return;
            }
            took = took.saturating_add(self.distance());
        }
        let took = took.clamp(1, MAX_RTT_US);
        self.rtt_us = if self.measured { (7 * self.rtt_us + took) / 8 } else { took };
        self.measured = true;
    }

    /// When it is given up: too old, or not even the last request was answered.
    fn dead(&self, missing: &Missing) -> u64 {
        let old = missing.since_us.saturating_add(self.options.max_age_us);
        if missing.tries >= self.options.max_tries {
            old.min(missing.asked_us.saturating_add(self.distance()))
        } else {
            old
        }
    }

    /// Packets missing now.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// What happened so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }
}
