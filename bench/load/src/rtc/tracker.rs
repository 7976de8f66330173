//! Packets in order, and which pictures are whole, from sequence numbers and markers alone.

use super::counts::Counts;

/// Packets that may wait behind a gap. At half of it a second of 10 Mbit/s would not fit; at
/// double each player that ever lost a packet takes two kilobytes more.
const WINDOW: u64 = 2048;

/// A missing packet is given up after this, in nanoseconds: a little after [`rtp::nack`] ceases to
/// ask for it.
pub(super) const GIVE_UP_NS: u64 = 1_100_000_000;

/// A longer time between two whole pictures is a freeze.
pub(super) const FREEZE_NS: u64 = 500_000_000;

const HAVE: u8 = 1;
const MARKER: u8 = 2;
const KEY: u8 = 4;

/// What is known of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The last one of a picture.
    pub(super) marker: bool,
    /// A key picture begins in it.
    pub(super) key: bool,
}

/// What comes next of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A packet.
    Packet(u64, Seen),
    /// So many are gone for good.
    Gone(u64),
}

/// Puts the packets of one stream in order, without their bytes. Costs a comparison for a packet
/// in order; memory is taken at the first gap.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    /// The number awaited; 0 before the first, which no extended number is.
    next: u64,
    /// How many are there behind the gap.
    waiting: u64,
    /// When the first of them came.
    since_ns: u64,
    flags: Vec<u8>,
    /// When each came, in milliseconds; wraps after 49 days.
    times: Vec<u32>,
}

impl Tracker {
    /// Takes a packet that did not come before, and tells what follows.
    pub(super) fn put(
        &mut self,
        sequence: u64,
        seen: Seen,
        now_ns: u64,
        each: &mut impl FnMut(Step),
    ) {
        if self.next == 0 || (sequence == self.next && self.waiting == 0) {
            self.next = sequence + 1;
            return each(Step::Packet(sequence, seen));
        }
        if sequence < self.next {
            return;
        }
        while sequence >= self.next + WINDOW {
            if self.waiting == 0 {
                each(Step::Gone(sequence - self.next));
                self.next = sequence + 1;
                return each(Step::Packet(sequence, seen));
            }
            self.give_up(now_ns, each);
        }
        if self.flags.is_empty() {
            self.flags.resize(WINDOW as usize, 0);
            self.times.resize(WINDOW as usize, 0);
        }
        if self.waiting == 0 {
            self.since_ns = now_ns;
        }
        let place = (sequence % WINDOW) as usize;
        if let Some((flags, time)) = self.flags.get_mut(place).zip(self.times.get_mut(place)) {
            self.waiting += u64::from(*flags == 0);
            *time = millis(now_ns);
            *flags = HAVE | if seen.marker { MARKER } else { 0 } | if seen.key { KEY } else { 0 };
        }
        self.go_on(now_ns, each);
    }

    /// Passes on what is there from the awaited number on.
    fn go_on(&mut self, now_ns: u64, each: &mut impl FnMut(Step)) {
        let from = self.next;
        while self.waiting > 0 {
            let Some(flags) = self.flags.get_mut((self.next % WINDOW) as usize) else { return };
            let flags = std::mem::take(flags);
            if flags == 0 {
                if self.next > from {
                    self.wait(now_ns);
                }
                return;
            }
            self.waiting -= 1;
            let seen = Seen { marker: flags & MARKER != 0, key: flags & KEY != 0 };
            each(Step::Packet(self.next, seen));
            self.next += 1;
        }
    }

    /// How many are missing before the first that is there.
    fn gap(&self) -> u64 {
        let there = |sequence: &u64| {
            let flags = self.flags.get((sequence % WINDOW) as usize);
            flags.is_some_and(|flags| *flags != 0)
        };
        let first = (self.next..self.next + WINDOW).find(there);
        first.map_or(0, |first| first - self.next)
    }

    /// A gap is as old as the first packet behind it.
    fn wait(&mut self, now_ns: u64) {
        let place = ((self.next + self.gap()) % WINDOW) as usize;
        let came = self.times.get(place).copied().unwrap_or_default();
        let ago = millis(now_ns).wrapping_sub(came);
        self.since_ns = now_ns.saturating_sub(u64::from(ago) * 1_000_000);
    }

    /// Gives up the packets before the first that is there.
    fn give_up(&mut self, now_ns: u64, each: &mut impl FnMut(Step)) {
        let gone = self.gap();
        self.next += gone;
        each(Step::Gone(gone));
        self.go_on(now_ns, each);
    }

    /// Gives up what is too old.
    pub(super) fn timer(&mut self, now_ns: u64, each: &mut impl FnMut(Step)) {
        while self.due_ns().is_some_and(|due| now_ns >= due) {
            self.give_up(now_ns, each);
        }
    }

    /// When [`timer`](Self::timer) has something to do.
    pub(super) const fn due_ns(&self) -> Option<u64> {
        if self.waiting > 0 { Some(self.since_ns + GIVE_UP_NS) } else { None }
    }

    /// The stream begins anew.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

const fn millis(ns: u64) -> u32 {
    (ns / 1_000_000) as u32
}

/// Which pictures can be shown. One that refers to something lost cannot: after a loss the next
/// key picture is waited for.
#[derive(Debug)]
pub(super) struct Pictures {
    pub(super) wants_key: bool,
    key: bool,
    broken: bool,
    /// The last whole picture; 0 before the first.
    pub(super) last_ns: u64,
}

impl Pictures {
    pub(super) const fn new() -> Self {
        Self { wants_key: true, key: false, broken: false, last_ns: 0 }
    }

    /// True: a picture is whole, and can be shown.
    pub(super) fn step(&mut self, step: Step, now_ns: u64, counts: &mut Counts) -> bool {
        let seen = match step {
            Step::Gone(_) => {
                self.broken = true;
                self.wants_key = true;
                return false;
            }
            Step::Packet(_, seen) => seen,
        };
        if seen.key && !self.key {
            // Whatever is missing before it belongs to another picture.
            self.broken = false;
        }
        self.key |= seen.key;
        if !seen.marker {
            return false;
        }
        let key = std::mem::take(&mut self.key);
        let broken = std::mem::take(&mut self.broken);
        if broken || self.wants_key && !key {
            return false;
        }
        self.wants_key = false;
        if self.last_ns > 0 && now_ns.saturating_sub(self.last_ns) > FREEZE_NS {
            counts.froze(now_ns - self.last_ns);
        }
        self.last_ns = now_ns;
        counts.packets.pictures += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Seen = Seen { marker: false, key: false };
    const LAST: Seen = Seen { marker: true, key: false };
    const FIRST_OF_KEY: Seen = Seen { marker: false, key: true };

    fn put(tracker: &mut Tracker, sequence: u64, now_ns: u64) -> Vec<Step> {
        let mut steps = Vec::new();
        tracker.put(sequence, PLAIN, now_ns, &mut |step| steps.push(step));
        steps
    }

    #[test]
    fn what_waits_behind_a_gap_follows_when_the_gap_is_filled() {
        let mut tracker = Tracker::default();
        assert_eq!(put(&mut tracker, 70_000, 1), [Step::Packet(70_000, PLAIN)]);
        assert_eq!(put(&mut tracker, 70_002, 2), []);
        assert_eq!(put(&mut tracker, 70_003, 3), []);
        assert_eq!(tracker.due_ns(), Some(2 + GIVE_UP_NS));
        let filled = (70_001..70_004).map(|n| Step::Packet(n, PLAIN)).collect::<Vec<_>>();
        assert_eq!(put(&mut tracker, 70_001, 4), filled);
        assert_eq!(tracker.due_ns(), None);
        assert_eq!(put(&mut tracker, 70_001, 5), []);
        assert_eq!(put(&mut tracker, 70_004, 5), [Step::Packet(70_004, PLAIN)]);
    }

    #[test]
    fn a_gap_is_given_up_in_time_or_when_too_much_waits_behind_it() {
        let mut tracker = Tracker::default();
        put(&mut tracker, 1, 1);
        put(&mut tracker, 4, 10);
        let mut steps = Vec::new();
        tracker.timer(9 + GIVE_UP_NS, &mut |step| steps.push(step));
        assert_eq!(steps, []);
        tracker.timer(10 + GIVE_UP_NS, &mut |step| steps.push(step));
        assert_eq!(steps, [Step::Gone(2), Step::Packet(4, PLAIN)]);
        put(&mut tracker, 6, 20);
        put(&mut tracker, 8, 5_000_000);
        let mut steps = Vec::new();
        tracker.timer(5_000_000 + GIVE_UP_NS, &mut |step| steps.push(step));
        let two = [Step::Gone(1), Step::Packet(6, PLAIN), Step::Gone(1), Step::Packet(8, PLAIN)];
        assert_eq!(steps, two, "each gap is as old as the packet behind it");
        tracker.reset();
        put(&mut tracker, 4, 10);
        put(&mut tracker, 6, 20);
        let steps = put(&mut tracker, 5 + WINDOW, 30);
        assert_eq!(steps, [Step::Gone(1), Step::Packet(6, PLAIN)]);
        let steps = put(&mut tracker, 5 * WINDOW, 40);
        assert_eq!(steps.first(), Some(&Step::Gone(WINDOW - 2)));
        assert_eq!(steps.last(), Some(&Step::Packet(5 * WINDOW, PLAIN)));
    }

    #[test]
    fn after_a_loss_only_a_key_picture_can_be_shown_and_the_time_until_then_is_a_freeze() {
        let mut counts = Counts::new().unwrap();
        let mut pictures = Pictures::new();
        let mut step = |step, now_ms: u64| pictures.step(step, now_ms * 1_000_000, &mut counts);
        assert!(!step(Step::Packet(1, LAST), 10), "no key picture came");
        assert!(!step(Step::Packet(2, FIRST_OF_KEY), 20));
        assert!(step(Step::Packet(3, LAST), 20));
        assert!(step(Step::Packet(4, LAST), 60));
        assert!(!step(Step::Gone(1), 100));
        assert!(!step(Step::Packet(6, LAST), 100));
        assert!(!step(Step::Packet(7, LAST), 140));
        assert!(!step(Step::Packet(8, FIRST_OF_KEY), 700));
        assert!(step(Step::Packet(9, LAST), 700));
        assert_eq!((counts.packets.pictures, counts.packets.freezes), (3, 1));
        assert_eq!((counts.packets.frozen_us, counts.longest_freeze_us), (640_000, 640_000));
    }
}
