//! Whether a viewer's path carries the stream, as its reports tell.
//!
//! Losses alone mean little: a radio link loses one packet in five whatever is sent. A path that is
//! too thin has a queue that is full, so that the round trip is longer than it has been, or loses
//! about what is too much; and it stops losing when less is sent. Where that does not help, the path
//! was not the reason, and all is sent again.

/// Reports closer together than this are taken with the next: fewer packets are dice.
const LEAST_US: u64 = 400_000;
/// Losses in 256ths: of one that may carry more, of a path that may be too thin, and of one that is, whatever the round trip.
const FEW: u16 = 8;
const SOME: u16 = 26;
const MOST: u16 = 90;
/// A round trip longer than the shortest by so much tells of a queue: at half, a busy radio link
/// would; at double, short queues of routers (50 to 200 ms) would not.
const QUEUE_US: u64 = 100_000;
/// One that is longer than this may be one of a queue that was full from the beginning on.
const LONG_US: u64 = 150_000;
/// Reports until the first judgement.
const FIRST: u8 = 3;
/// Reports in a row that tell of a queue: some may be of a machine that was busy.
const QUEUED: u8 = 5;
/// So often less is sent without losing less, before it is believed that this does not help.
const IN_VAIN: u8 = 2;
/// Reports after less is sent until that shows: one is under way, and the queue has to run empty.
const OLD: u8 = 2;
/// By this part of it grows what is believed, with each good report, and near what was too much.
const GROWTH: u64 = 8;
const NEAR_GROWTH: u64 = 40;
/// After losses that had another reason all is sent for so long.
const SPARED_US: u64 = 300_000_000;
/// Less is never believed: sound and a few pictures.
const LEAST_BPS: u64 = 100_000;

/// What is known of a viewer's path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Judge {
    /// Shortest round trip so far; 0: unknown.
    least_rtt_us: u64,
    /// Losses, averaged over some reports, in 256ths, and how many there were (saturating).
    lost: u16,
    reports: u8,
    /// Reports in a row that tell of a queue.
    queued: u8,
    at_us: u64,
    /// Bytes that the stream had had for the viewer by then.
    had: u64,
    in_vain: u8,
    /// Losses when pictures began to be left out.
    lost_at_first: u16,
    /// What the stream has, bits a second, averaged over a group of pictures or two.
    stream: u64,
    /// The most that was believed when it was too much; 0: none yet.
    limit: u64,
    /// Reports that tell of the time before less was sent.
    old: u8,
    spared_until_us: u64,
}

/// A report, and what was sent meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// Share of the picture's packets that were lost, in 256ths.
    pub(super) lost: u8,
    /// The round trip, if it is known.
    pub(super) rtt_us: Option<u64>,
    /// Bytes that the stream has had for this viewer so far.
    pub(super) had: u64,
    pub(super) now_us: u64,
}

impl Judge {
    /// Takes a report. `thin`: what the path is believed to carry, if that is less than the stream;
    /// gives what it is to be from now on.
    pub(super) fn hear(&mut self, heard: &Heard, thin: Option<u64>) -> Option<u64> {
        let since = heard.now_us.saturating_sub(self.at_us);
        if since < LEAST_US {
            return thin;
        }
        if let Some(rtt) = heard.rtt_us {
            let least = if self.least_rtt_us == 0 { rtt } else { self.least_rtt_us.min(rtt) };
            self.least_rtt_us = least.max(1);
        }
        let rate = |now: u64, before: u64| {
            now.saturating_sub(before).saturating_mul(8_000_000) / since.max(1)
        };
        let stream = rate(heard.had, self.had);
        // The first has what was there before.
        self.stream = match self.reports {
            0 => 0,
            1 => stream,
            _ => (self.stream * 3 + stream) / 4,
        };
        (self.at_us, self.had) = (heard.now_us, heard.had);
        self.reports = self.reports.saturating_add(1);
        let now = u16::from(heard.lost);
        self.lost = if self.reports == 1 { now } else { (self.lost * 3 + now) / 4 };
        let queue =
            heard.rtt_us.is_some_and(|rtt| rtt > self.least_rtt_us.saturating_add(QUEUE_US));
        self.queued = if queue { self.queued.saturating_add(1) } else { 0 };
        match thin {
            None => self.begin(heard),
            Some(bps) => self.go_on(heard, queue, bps),
        }
    }

    fn begin(&mut self, heard: &Heard) -> Option<u64> {
        if self.reports < FIRST || heard.now_us < self.spared_until_us || self.lost < SOME {
            return None;
        }
        let long = heard.rtt_us.is_some_and(|rtt| rtt > LONG_US);
        if self.queued < QUEUED && !long && self.lost < MOST {
            return None;
        }
        self.in_vain = 0;
        self.old = OLD;
        self.lost_at_first = self.lost;
        self.limit = 0;
        // What was sent beside the stream, to mend it, made it lose more than it lacks.
        Some(arrived(self.stream, self.lost).max(self.stream / 4).max(LEAST_BPS))
    }

    fn go_on(&mut self, heard: &Heard, queue: bool, bps: u64) -> Option<u64> {
        let lost = u16::from(heard.lost);
        if self.old > 0 {
            self.old = self.old.saturating_sub(1);
            return Some(bps);
        }
        if !queue && lost < SOME {
            self.in_vain = 0;
            if lost >= FEW {
                return Some(bps);
            }
            let near = bps >= self.limit / 8 * 7 && self.limit > 0;
            let more = bps.saturating_add(bps / if near { NEAR_GROWTH } else { GROWTH });
            // With room for what is lost and sent again.
            let fits = self.stream > 0 && more > self.stream.saturating_add(self.stream / 5);
            if fits {
                self.lost = 0;
            }
            return (!fits).then_some(more);
        }
        // A queue proves little: a viewer's machine that is busy answers late as well.
        if self.lost <= self.lost_at_first / 4 * 3 {
            self.in_vain = 0;
        } else {
            self.in_vain = self.in_vain.saturating_add(1);
            if self.in_vain >= IN_VAIN {
                self.spared_until_us = heard.now_us.saturating_add(SPARED_US);
                return None;
            }
        }
        self.old = OLD;
        self.limit = bps;
        Some(arrived(bps, lost).max(LEAST_BPS))
    }
}

/// Nine tenths of what came of this: the queue has to run empty.
fn arrived(bps: u64, lost: u16) -> u64 {
    let came = 256u64.saturating_sub(u64::from(lost));
    bps.saturating_mul(came) / 256 / 10 * 9
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: u64 = 1_000_000;

    /// A viewer behind a path: one report a second.
    struct Viewer {
        judge: Judge,
        thin: Option<u64>,
        at: u64,
        had: u64,
    }

    impl Viewer {
        fn new() -> Self {
            Self { judge: Judge::default(), thin: None, at: 0, had: 0 }
        }

        fn second(&mut self, lost: u8, rtt_ms: u64) -> Option<u64> {
            self.at += 1_000_000;
            self.had += STREAM / 8;
            let heard =
                Heard { lost, rtt_us: Some(rtt_ms * 1_000), had: self.had, now_us: self.at };
            self.thin = self.judge.hear(&heard, self.thin);
            self.thin
        }

        /// A second on a path that carries so much, with a queue of 200 ms that fills at once.
        fn on(&mut self, carries: u64) -> Option<u64> {
            let sends = self.thin.unwrap_or(STREAM).min(STREAM);
            let over = sends.saturating_sub(carries);
            self.second((over * 256 / sends) as u8, if over > 0 { 250 } else { 50 })
        }
    }

    #[test]
    fn random_losses_do_not_make_a_path_thin() {
        for lost in [13, 51] {
            let mut viewer = Viewer::new();
            for _ in 0..600 {
                assert_eq!(viewer.second(lost, 100), None);
            }
        }
    }

    #[test]
    fn a_full_queue_and_losses_make_it_thin_until_it_carries_all_again() {
        let mut viewer = Viewer::new();
        viewer.second(0, 50);
        for _ in 0..10 {
            viewer.on(600_000);
        }
        for _ in 0..100 {
            let believed = viewer.on(600_000).expect("it is thin");
            assert!((400_000..=660_000).contains(&believed), "{believed}");
        }
        let seconds = (0..60).take_while(|_| viewer.on(2_000_000).is_some()).count();
        assert!(seconds < 30, "{seconds}");
    }

    #[test]
    fn losses_of_more_than_a_third_do_whatever_the_round_trip() {
        let mut viewer = Viewer::new();
        for _ in 0..3 {
            viewer.second(102, 20);
        }
        assert!(viewer.thin.is_some());
    }

    #[test]
    fn where_less_does_not_help_all_is_sent_again() {
        let mut viewer = Viewer::new();
        let seconds = (0..60).position(|_| viewer.second(100, 60).is_some()).expect("it was tried");
        assert!(seconds < 5, "{seconds}");
        let seconds = (0..60).position(|_| viewer.second(100, 60).is_none()).expect("it was ended");
        assert!(seconds < 15, "{seconds}");
        for _ in 0..250 {
            assert_eq!(viewer.second(100, 60), None, "not so soon again");
        }
    }

    #[test]
    fn a_viewer_that_answers_late_and_loses_by_chance_is_tried_once() {
        let mut viewer = Viewer::new();
        viewer.second(51, 100);
        let thin = (0..120).filter(|_| viewer.second(51, 260).is_some()).count();
        assert!((1..10).contains(&thin), "{thin} s");
    }

    #[test]
    fn reports_that_crowd_count_as_one() {
        let mut judge = Judge::default();
        let heard = Heard { lost: 255, rtt_us: None, had: 0, now_us: 1_000_000 };
        for now_us in (1_000_000..1_390_000).step_by(10_000) {
            assert_eq!(judge.hear(&Heard { now_us, ..heard }, None), None);
        }
    }
}
