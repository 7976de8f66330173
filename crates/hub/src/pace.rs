//! When the pacer sends: the choice between one send per message, per video frame, or per k
//! video frames. Pure arithmetic over measured figures; the clock belongs to the caller.

use std::time::Duration;

/// How one virtual host wants its players served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// As early as the load of the core allows.
    #[default]
    Adaptive,
    /// `min_latency on`: each video frame at once, audio with it.
    MinLatency,
    /// `mw_latency` and `mw_msgs`: messages are gathered and leave together.
    Merge {
        /// How long a message may wait, to within the pacer's timer (10 ms). Zero where only the
        /// number counts.
        latency: Duration,
        /// Where so many messages take longer to come than `latency`, wait for that time instead,
        /// as estimated from their usual distance; at most 2 s. Zero where only the time counts.
        msgs: u32,
    },
    /// `send_min_interval`: one message at a time with this pause.
    Drip(Duration),
}

/// What the pacer does with new messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Each read's worth of messages goes out at once.
    #[default]
    Message,
    /// All subscribers at each video frame.
    Frame,
    /// One of `k` groups at each video frame, in turn.
    Groups(u32),
}

impl Pace {
    /// How many video frames it takes to serve everybody once.
    pub fn k(self) -> u32 {
        match self {
            Self::Message | Self::Frame => 1,
            Self::Groups(k) => k.max(1),
        }
    }
}

/// Share of the core that walking may take while every message goes at once. At half, a handful of
/// viewers loses the lowest delay for nothing; at double, 100 viewers cost a tenth of a core.
const MESSAGE_SHARE: f64 = 0.02;
/// Share up to which every video frame goes to everybody. At a tenth, 1,000 common viewers stand at
/// the very border, and cross it back and forth.
const FRAME_SHARE: f64 = 0.08;
/// Share that walking may take at all before groups grow. The other half is for publishers,
/// joins and the kernel's receive path.
const GROUP_SHARE: f64 = 0.50;
/// A step back to costlier pacing needs this much room below the threshold, so that the pace
/// does not flutter.
const STEP_BACK: f64 = 0.75;
/// The same between numbers of groups, whose cost is measured while they are in use.
const STEP_BACK_GROUPS: f64 = 0.95;
/// Groups never grow beyond this: 16 frames are 640 ms at 25 fps.
pub(crate) const MAX_GROUPS: u32 = 16;
/// Cost of a send before one was measured, in seconds.
const GUESS_SEND_S: f64 = 8e-6;
/// Cost of a byte within a send, in seconds: copying it, and the receiving half of loopback. Each
/// pace sends the same bytes, so this part does not shrink as groups grow. Measured as 0.3 us/kB;
/// at half, a core full of viewers is thought to be helped by waiting longer; at double, groups
/// stay too small for it.
const BYTE_S: f64 = 3e-10;

/// Sends that would be made in a second under each pace, summed over the adaptive renditions of a
/// shard, and those that fixed pacing makes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Demand {
    /// Subscribers times messages.
    pub(crate) message: f64,
    /// Subscribers times video frames (or 40 ms ticks).
    pub(crate) frame: f64,
    /// Sends of renditions that are not adaptive.
    pub(crate) fixed: f64,
    /// Bytes, of all.
    pub(crate) bytes: f64,
}

/// The load controller of a shard.
#[derive(Clone, Debug)]
pub(crate) struct Governor {
    send_s: f64,
    pace: Pace,
}

impl Default for Governor {
    fn default() -> Self {
        Self { send_s: GUESS_SEND_S, pace: Pace::Message }
    }
}

impl Governor {
    /// Takes in what walking cost in the last period.
    pub(crate) fn measured(&mut self, sends: u64, bytes: u64, spent: Duration) {
        // Few sends say little: one that met an interrupt would be a tenfold error.
        if sends >= 50 {
            let each = (spent.as_secs_f64() - bytes as f64 * BYTE_S) / sends as f64;
            self.send_s += (each.clamp(1e-6, 1e-4) - self.send_s) * 0.3;
        }
    }

    /// Chooses the cheapest-delay pace whose predicted share of the core is allowed.
    pub(crate) fn decide(&mut self, demand: Demand) -> Pace {
        let share = |sends: f64| (sends + demand.fixed) * self.send_s + demand.bytes * BYTE_S;
        let room = |from: bool, limit: f64| if from { limit } else { limit * STEP_BACK };
        let at_message = self.pace == Pace::Message;
        let at_frame = matches!(self.pace, Pace::Message | Pace::Frame);
        let k_now = self.pace.k();
        self.pace = if share(demand.message) <= room(at_message, MESSAGE_SHARE) {
            Pace::Message
        } else if share(demand.frame) <= room(at_frame, FRAME_SHARE) {
            Pace::Frame
        } else {
            let fits = |k: u32| {
                let limit = GROUP_SHARE * if k >= k_now { 1.0 } else { STEP_BACK_GROUPS };
                share(demand.frame / f64::from(k)) <= limit
            };
            Pace::Groups((2..MAX_GROUPS).find(|k| fits(*k)).unwrap_or(MAX_GROUPS))
        };
        self.pace
    }
}

/// Cost of one read of a publisher and of what follows from it, in seconds.
const READ_S: f64 = 5e-6;
/// Share of the core that reading may take before publishers are read less often. At half, a
/// hundred publishers are delayed for nothing; at double, a thousand take half of what there is.
const READ_SHARE: f64 = 0.1;
/// Pauses between two reads of a publisher, in milliseconds, shortest first.
const READ_PAUSES: [u32; 5] = [0, 20, 40, 80, 160];

/// How long the messages of one publisher gather in the kernel before they are read: as short as
/// the number of publishers allows, zero for few. `messages` a second come of all of them.
pub(crate) fn read_pause(messages: f64, publishers: usize) -> Duration {
    let share = |ms: u32| {
        let most = publishers as f64 * 1000.0 / f64::from(ms);
        messages.min(most) * READ_S
    };
    let fits = READ_PAUSES.into_iter().find(|ms| share(*ms) <= READ_SHARE);
    let longest = READ_PAUSES.last().copied().unwrap_or(0);
    Duration::from_millis(fits.unwrap_or(longest).into())
}

/// Groups for a wanted merge time, from the spacing of video frames.
pub(crate) fn groups_for(latency: Duration, interval: Duration) -> u32 {
    let interval = interval.max(Duration::from_millis(5)).as_micros();
    let k = latency.as_micros() / interval;
    u32::try_from(k).unwrap_or(u32::MAX).clamp(1, 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewers(n: f64) -> Demand {
        Demand { message: n * 68.0, frame: n * 25.0, fixed: 0.0, bytes: n * 72e3 }
    }

    #[test]
    fn one_viewer_gets_every_message_at_once() {
        assert_eq!(Governor::default().decide(viewers(1.0)), Pace::Message);
    }

    #[test]
    fn pace_coarsens_with_the_number_of_viewers_and_comes_back() {
        let mut g = Governor::default();
        assert_eq!(g.decide(viewers(200.0)), Pace::Frame);
        assert_eq!(g.decide(viewers(1000.0)), Pace::Groups(2));
        assert_eq!(g.decide(viewers(4000.0)), Pace::Groups(2));
        assert_eq!(g.decide(viewers(10_000.0)), Pace::Groups(8));
        assert_eq!(g.decide(viewers(10.0)), Pace::Message);
    }

    #[test]
    fn pace_does_not_flutter_around_a_threshold() {
        let mut g = Governor::default();
        let n = FRAME_SHARE / (GUESS_SEND_S * 25.0 + BYTE_S * 72e3);
        assert_eq!(g.decide(viewers(n * 1.01)), Pace::Groups(2));
        assert_eq!(g.decide(viewers(n * 0.99)), Pace::Groups(2));
        assert_eq!(g.decide(viewers(n * 0.70)), Pace::Frame);
    }

    #[test]
    fn groups_shrink_again_when_sends_turn_out_cheap() {
        let mut g = Governor::default();
        let demand = viewers(10_000.0);
        let mut k = g.decide(demand).k();
        assert_eq!(k, 8);
        // What walking costs at 5 us a send and 0.3 us a kB, whatever the pace.
        for _ in 0..40 {
            let sends = demand.frame / f64::from(k) / 2.0;
            let spent = sends * 5e-6 + demand.bytes / 2.0 * BYTE_S;
            let (sends, bytes) = (sends as u64, (demand.bytes / 2.0) as u64);
            g.measured(sends, bytes, Duration::from_secs_f64(spent));
            k = g.decide(demand).k();
        }
        assert_eq!(k, 5, "the smallest number that leaves half of the core");
    }

    #[test]
    fn publishers_are_read_at_once_until_they_are_many() {
        let pause = |n: usize| read_pause(n as f64 * 68.0, n).as_millis();
        assert_eq!([1, 100, 290].map(pause), [0, 0, 0]);
        assert_eq!([400, 800, 1000, 5000].map(pause), [20, 40, 80, 160]);
        assert_eq!(pause(1_000_000), 160);
    }

    #[test]
    fn overload_is_bounded() {
        assert_eq!(Governor::default().decide(viewers(1e9)), Pace::Groups(MAX_GROUPS));
    }

    #[test]
    fn a_merge_time_becomes_a_number_of_frames() {
        assert_eq!(groups_for(Duration::from_millis(350), Duration::from_millis(40)), 8);
        assert_eq!(groups_for(Duration::ZERO, Duration::from_millis(40)), 1);
        assert_eq!(groups_for(Duration::from_secs(3600), Duration::ZERO), 256);
    }
}
