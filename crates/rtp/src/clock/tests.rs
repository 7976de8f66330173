use proptest::prelude::*;

use super::*;

const START_US: u64 = 50_000_000;

/// A publisher of picture (90 kHz, each 33,333 us) and sound (48 kHz, each 20,000 us), whose
/// arrivals have a delay of their own each.
struct Publisher {
    mapper: Mapper,
    tracks: [Line; 2],
    /// Wall clock at the start, in microseconds since 1900.
    wall_us: i64,
    /// By how much its clocks run fast.
    ppm: i64,
    random: u64,
    jitter_us: u64,
}

struct Line {
    id: TrackId,
    rate: i64,
    every_us: i64,
    /// Timestamp at the start.
    first: u32,
    delay_us: i64,
    captured_us: i64,
    mapped: Vec<(i64, i64)>,
}

impl Publisher {
    fn new(delays_us: [i64; 2]) -> Self {
        let mut mapper = Mapper::new();
        let line = |id, rate, every_us, first, delay_us| Line {
            id,
            rate,
            every_us,
            first,
            delay_us,
            captured_us: 0,
            mapped: Vec::new(),
        };
        let picture = mapper.add_track(90_000).unwrap();
        let sound = mapper.add_track(48_000).unwrap();
        let tracks = [
            line(picture, 90_000, 33_333, u32::MAX - 90_000, delays_us[0]),
            line(sound, 48_000, 20_000, 7, delays_us[1]),
        ];
        let wall_us = 3_900_000_000_000_000;
        Self { mapper, tracks, wall_us, ppm: 0, random: 88_172_645_463_325_252, jitter_us: 0 }
    }

    fn fast(&self, us: i64) -> i64 {
        us + us * self.ppm / 1_000_000
    }

    fn timestamp(&self, track: usize, captured_us: i64) -> u32 {
        let line = &self.tracks[track];
        line.first.wrapping_add((self.fast(captured_us) * line.rate / 1_000_000) as u32)
    }

    fn jitter(&mut self) -> i64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        if self.jitter_us == 0 { 0 } else { (self.random % self.jitter_us) as i64 }
    }

    fn report(&mut self, track: usize, captured_us: i64) {
        let wall = u128::try_from(self.wall_us + self.fast(captured_us)).unwrap();
        // Rounded up, as the reader rounds down.
        let ntp = ((wall << 32) / 1_000_000 + 1) as u64;
        let timestamp = self.timestamp(track, captured_us);
        self.mapper.on_sender_report(self.tracks[track].id, ntp, timestamp);
    }

    /// Sends frames of both up to a moment; notes (captured, mapped).
    fn run_to(&mut self, until_us: i64) {
        for track in 0..2 {
            self.tracks[track].mapped.clear();
            while self.tracks[track].captured_us < until_us {
                let captured = self.tracks[track].captured_us;
                let timestamp = self.timestamp(track, captured);
                let arrival = captured + self.tracks[track].delay_us + self.jitter();
                let now = START_US.checked_add_signed(arrival).unwrap();
                let mapped = self.mapper.map(self.tracks[track].id, timestamp, now);
                self.tracks[track].mapped.push((captured, mapped));
                self.tracks[track].captured_us += self.tracks[track].every_us;
            }
        }
        for line in &self.tracks {
            assert!(line.mapped.is_sorted_by(|a, b| a.1 < b.1), "runs backwards");
        }
    }

    /// Sound less picture: how far two things captured at once come to lie apart.
    fn skew_us(&self) -> i64 {
        let lag = |line: &Line| {
            let (captured, mapped) = *line.mapped.last().unwrap();
            mapped - captured
        };
        lag(&self.tracks[1]) - lag(&self.tracks[0])
    }

    /// The largest step between frames that differs from what it should be.
    fn roughest_us(&self) -> i64 {
        let steps = self.tracks.iter().flat_map(|line| {
            line.mapped.windows(2).map(|pair| ((pair[1].1 - pair[0].1) - line.every_us).abs())
        });
        steps.max().unwrap_or(0)
    }
}

#[test]
fn without_reports_a_track_lies_where_it_came() {
    let mut publisher = Publisher::new([80_000, 20_000]);
    publisher.run_to(3_000_000);
    let (captured, mapped) = publisher.tracks[0].mapped[0];
    assert_eq!((captured, mapped), (0, START_US as i64 + 80_000));
    assert!((publisher.skew_us() + 60_000).abs() < 100, "{}", publisher.skew_us());
    assert!(!publisher.mapper.is_synchronized(publisher.tracks[0].id));
}

#[test]
fn reports_bring_sound_and_picture_together_smoothly() {
    let mut publisher = Publisher::new([180_000, 20_000]);
    publisher.jitter_us = 15_000;
    publisher.run_to(2_000_000);
    publisher.report(0, 2_000_000);
    publisher.report(1, 2_000_000);
    publisher.run_to(6_000_000);
    assert!(publisher.skew_us().abs() < 1_000, "{}", publisher.skew_us());
    assert!(publisher.roughest_us() <= 5_020, "{}", publisher.roughest_us());
    assert!(publisher.mapper.is_synchronized(publisher.tracks[1].id));
    assert_eq!(publisher.mapper.resets(), 0, "a wrap of timestamps is no new beginning");
}

#[test]
fn the_first_track_with_a_report_stays_where_it_is() {
    let mut publisher = Publisher::new([80_000, 20_000]);
    publisher.run_to(1_000_000);
    publisher.report(0, 1_000_000);
    publisher.run_to(2_000_000);
    let (captured, mapped) = *publisher.tracks[0].mapped.last().unwrap();
    assert!((mapped - captured - START_US as i64 - 80_000).abs() <= 20, "{mapped}");
}

#[test]
fn a_report_before_the_first_packet_counts() {
    let mut publisher = Publisher::new([80_000, 20_000]);
    publisher.report(0, 0);
    publisher.report(1, 0);
    publisher.run_to(2_000_000);
    assert!(publisher.skew_us().abs() < 1_000, "{}", publisher.skew_us());
}

#[test]
fn a_track_far_behind_its_truth_jumps_and_one_far_ahead_slows_down() {
    for delays in [[20_000, 3_020_000], [3_020_000, 20_000]] {
        let mut publisher = Publisher::new(delays);
        publisher.run_to(2_000_000);
        publisher.report(0, 2_000_000);
        publisher.report(1, 2_000_000);
        publisher.run_to(10_000_000);
        assert!(publisher.skew_us().abs() < 1_000, "{}", publisher.skew_us());
    }
}

#[test]
fn reports_that_cannot_be_true_are_not_believed() {
    let mut publisher = Publisher::new([80_000, 20_000]);
    publisher.run_to(1_000_000);
    publisher.report(0, 1_000_000);
    publisher.wall_us = 1_000_000;
    publisher.report(1, 1_000_000);
    publisher.run_to(3_000_000);
    assert!((publisher.skew_us() + 60_000).abs() < 100, "{}", publisher.skew_us());
    assert_eq!(publisher.mapper.disbelieved(), 1);
    publisher.mapper.on_sender_report(publisher.tracks[1].id, 0, 5);
    assert_eq!(publisher.mapper.disbelieved(), 1, "no wall clock is no lie");
}

#[test]
fn a_publisher_that_sets_its_wall_clock_moves_nothing() {
    let mut publisher = Publisher::new([80_000, 20_000]);
    publisher.run_to(1_000_000);
    publisher.report(0, 1_000_000);
    publisher.report(1, 1_000_000);
    publisher.run_to(5_000_000);
    publisher.wall_us += 3_600_000_000;
    publisher.report(1, 5_000_000);
    publisher.run_to(6_000_000);
    assert!(publisher.roughest_us() <= 20, "{}", publisher.roughest_us());
    publisher.report(0, 6_000_000);
    publisher.run_to(7_000_000);
    assert!(publisher.roughest_us() <= 20, "{}", publisher.roughest_us());
    assert!(publisher.skew_us().abs() < 1_000, "{}", publisher.skew_us());
}

#[test]
fn timestamps_that_begin_anew_go_on_where_they_were() {
    for jump in [1_000_000_000u32, 3_000_000_000, 500_000] {
        let mut publisher = Publisher::new([80_000, 20_000]);
        publisher.run_to(1_000_000);
        publisher.report(0, 1_000_000);
        publisher.report(1, 1_000_000);
        publisher.run_to(4_000_000);
        let before = publisher.tracks[0].mapped.last().unwrap().1;
        publisher.tracks[0].first = publisher.tracks[0].first.wrapping_add(jump);
        publisher.run_to(5_000_000);
        let after = publisher.tracks[0].mapped[0].1;
        assert!((after - before - 33_333).abs() < 20, "{}", after - before);
        assert_eq!(publisher.mapper.resets(), 1);
        publisher.report(0, 5_000_000);
        publisher.run_to(7_000_000);
        assert!(publisher.skew_us().abs() < 1_000, "{}", publisher.skew_us());
    }
}

#[test]
fn a_publisher_that_begins_all_its_clocks_anew_is_believed_again() {
    let mut publisher = Publisher::new([80_000, 20_000]);
    publisher.run_to(1_000_000);
    publisher.report(0, 1_000_000);
    publisher.report(1, 1_000_000);
    publisher.run_to(3_000_000);
    publisher.wall_us += 900_000_000;
    for line in &mut publisher.tracks {
        line.first = line.first.wrapping_sub(1_500_000_000);
    }
    publisher.run_to(4_000_000);
    publisher.report(0, 4_000_000);
    publisher.report(1, 4_000_000);
    publisher.run_to(7_000_000);
    assert!(publisher.skew_us().abs() < 1_000, "{}", publisher.skew_us());
    assert_eq!((publisher.mapper.resets(), publisher.mapper.disbelieved()), (2, 0));
}

#[test]
fn a_pause_and_a_stall_are_no_new_beginning() {
    let mut publisher = Publisher::new([20_000, 20_000]);
    publisher.run_to(1_000_000);
    // The picture pauses for a minute.
    publisher.tracks[0].captured_us += 60_000_000;
    publisher.run_to(62_000_000);
    // Everything is held up for five seconds and comes at once.
    let base = publisher.tracks[0].captured_us;
    for frame in 0..150 {
        let captured = base + frame * 33_333;
        let timestamp = publisher.timestamp(0, captured);
        let now = START_US.checked_add_signed(base + 5_000_000 + frame * 100).unwrap();
        publisher.mapper.map(publisher.tracks[0].id, timestamp, now);
    }
    assert_eq!(publisher.mapper.resets(), 0);
}

#[test]
fn a_clock_that_runs_fast_is_told_and_followed_without_skew() {
    let mut publisher = Publisher::new([80_000, 20_000]);
    publisher.ppm = 200;
    publisher.jitter_us = 5_000;
    for seconds in (2..1_200).step_by(2) {
        publisher.run_to(seconds * 1_000_000);
        publisher.report(0, seconds * 1_000_000);
        publisher.report(1, seconds * 1_000_000);
        assert!(seconds < 6 || publisher.skew_us().abs() < 2_000, "{}", publisher.skew_us());
    }
    for line in &publisher.tracks {
        let drift = publisher.mapper.drift_ppm(line.id).unwrap();
        assert!((180..=220).contains(&drift), "{drift}");
        let (captured, mapped) = *line.mapped.last().unwrap();
        // Unfollowed it would be 240 ms by now.
        let lag = mapped - captured - START_US as i64 - 80_000;
        assert!(lag.abs() < 60_000, "{lag}");
    }
}

#[test]
fn packets_of_one_frame_and_late_ones_have_their_place() {
    let mut mapper = Mapper::new();
    let track = mapper.add_track(90_000).unwrap();
    let first = mapper.map(track, 1_000_000, 0);
    assert_eq!(mapper.map(track, 1_000_000, 20_000), first);
    let second = mapper.map(track, 1_009_000, 100_000);
    assert_eq!(second, first + 100_000);
    assert_eq!(mapper.map(track, 1_004_500, 110_000), first + 50_000);
    assert_eq!(mapper.map(track, 1_009_000, 120_000), second);
}

#[test]
fn there_is_an_end_to_tracks() {
    let mut mapper = Mapper::new();
    assert_eq!(mapper.add_track(0), None);
    for _ in 0..MAX_TRACKS {
        assert!(mapper.add_track(90_000).is_some());
    }
    assert_eq!(mapper.add_track(90_000), None);
}

proptest! {
    #[test]
    fn whatever_is_told_time_runs_on(
        events in proptest::collection::vec(
            (any::<bool>(), 0u8..10, 0u64..100_000, any::<u64>(), any::<u32>()), 1..300),
    ) {
        let mut mapper = Mapper::new();
        let tracks = [mapper.add_track(90_000).unwrap(), mapper.add_track(48_000).unwrap()];
        let mut now = START_US;
        let mut state = [(0u32, i64::MIN); 2];
        for (which, kind, wait, ntp, timestamp) in events {
            now += wait;
            let which = usize::from(which);
            if kind == 0 {
                mapper.on_sender_report(tracks[which], ntp, timestamp);
                continue;
            }
            let (last, mapped) = state[which];
            let next = if kind == 1 { timestamp } else { last.wrapping_add(timestamp % 9_000 + 8) };
            let new = mapper.map(tracks[which], next, now);
            // One that lies before the last is a late one, if not a new beginning.
            if next.wrapping_sub(last).cast_signed() > 0 || mapped == i64::MIN {
                prop_assert!(new > mapped, "{} after {}", new, mapped);
            }
            if new > mapped {
                state[which] = (next, new);
            }
        }
    }
}
