use super::*;
use proptest::prelude::*;

const V: Kind = Kind::Video;
const A: Kind = Kind::Audio;
const HOUR: i64 = 3_600_000;

/// Drives a timeline with a wall clock that follows what the test says, in milliseconds.
struct Bench {
    timeline: Timeline,
    start: Instant,
    wall: u64,
    last: Vec<(Kind, i64)>,
}

impl Bench {
    fn new(policy: Policy) -> Self {
        Self { timeline: Timeline::new(policy), start: Instant::now(), wall: 0, last: Vec::new() }
    }

    /// The time put out and whether a discontinuity was, with the monotony of the track checked.
    fn put(&mut self, kind: Kind, ms: i64) -> (i64, bool) {
        let now = self.start + Duration::from_millis(self.wall);
        let applied = self.timeline.apply(kind, 0, Timestamp::from_millis(ms), now);
        let out = applied.dts.as_millis();
        if self.timeline.policy() == Policy::Full {
            let before = self.last.iter().rev().find(|(k, _)| *k == kind);
            assert!(before.is_none_or(|(_, last)| out >= *last), "{kind:?} went back to {out}");
        }
        self.last.push((kind, out));
        (out, applied.discontinuity)
    }

    /// `ms` of 25 fps video and 20 ms audio, interleaved by time, stamped from `video`/`audio`.
    /// Returns (video out - video in, audio out - audio in) at its end and the discontinuities.
    fn play(&mut self, ms: i64, video: i64, audio: i64) -> (i64, i64, usize) {
        let (mut dv, mut da, mut jumps) = (0, 0, 0);
        for t in (0..ms).step_by(20) {
            if t % 40 == 0 {
                let (out, jump) = self.put(V, video + t);
                dv = out - (video + t);
                jumps += usize::from(jump);
            }
            let (out, jump) = self.put(A, audio + t);
            da = out - (audio + t);
            jumps += usize::from(jump);
            self.wall += 20;
        }
        (dv, da, jumps)
    }
}

#[test]
fn a_steady_stream_starts_at_zero_and_is_otherwise_untouched() {
    let mut b = Bench::new(Policy::Full);
    assert_eq!(b.play(5000, 7_000, 7_000), (-7_000, -7_000, 0));
    assert_eq!(b.last[0], (V, 0));
}

#[test]
fn off_changes_nothing_and_zero_only_the_start() {
    let wild = [5_000, 5_040, 100, 9_000_000, 3];
    let mut off = Bench::new(Policy::Off);
    let mut zero = Bench::new(Policy::Zero);
    for ms in wild {
        assert_eq!(off.put(V, ms), (ms, false));
        assert_eq!(zero.put(V, ms), (ms - 5_000, false));
    }
    zero.timeline.republish();
    assert_eq!(zero.put(V, 77), (0, true));
    assert_eq!(zero.put(V, 97), (20, false));
}

#[test]
fn both_tracks_an_hour_ahead_cost_one_discontinuity_each_and_keep_their_relation() {
    let mut b = Bench::new(Policy::Full);
    b.play(2_000, 0, 0);
    let (dv, da, jumps) = b.play(2_000, HOUR + 7, HOUR);
    assert_eq!((dv, jumps), (da, 2), "one offset for both");
    assert!((2_000 - HOUR - 10..=2_000 - HOUR + 40).contains(&dv), "{dv}");
}

#[test]
fn both_tracks_back_ten_seconds_keep_their_relation() {
    let mut b = Bench::new(Policy::Full);
    b.play(20_000, 0, 0);
    let (dv, da, jumps) = b.play(2_000, 10_000, 10_003);
    assert_eq!((dv, jumps), (da, 2));
    assert!((10_000..=10_040).contains(&dv), "{dv}");
}

#[test]
fn the_second_track_may_follow_a_jump_seconds_later() {
    let mut b = Bench::new(Policy::Full);
    b.play(2_000, 0, 0);
    b.put(V, HOUR);
    for t in (2_000..2_800).step_by(20) {
        b.put(A, t);
    }
    let (out, jump) = b.put(A, HOUR + 790);
    let offset = out - (HOUR + 790);
    assert!(jump);
    assert_eq!(b.put(V, HOUR + 800).0 - (HOUR + 800), offset);
}

#[test]
fn a_video_clock_that_resets_alone_goes_on_within_a_frame_of_the_sound() {
    for lead in [0, 200, 800] {
        let mut b = Bench::new(Policy::Full);
        // The encoder sends its sound `lead` ms ahead of its pictures.
        b.play(10_000, 0, lead);
        let (dv, da, jumps) = b.play(4_000, 0, 10_000 + lead);
        assert_eq!(jumps, 1, "lead {lead}");
        assert_eq!(da, 0);
        assert!((dv - 10_000).abs() <= 40, "lead {lead}: video is off by {}", dv - 10_000);
    }
}

#[test]
fn many_lone_resets_do_not_add_up() {
    let mut b = Bench::new(Policy::Full);
    b.play(5_000, 0, 0);
    for n in 1..200 {
        let (dv, _, jumps) = b.play(1_000, 0, 4_000 + n * 1_000);
        assert_eq!(jumps, 1, "round {n}");
        assert!((dv - 4_000 - n * 1_000).abs() <= 40, "round {n}: {dv}");
    }
}

#[test]
fn resets_to_unrelated_clocks_are_anchored_apart() {
    let mut b = Bench::new(Policy::Full);
    b.play(10_000, 0, 0);
    let (dv, da, jumps) = b.play(2_000, HOUR, 50);
    assert_eq!(jumps, 2);
    assert!((dv + HOUR - (da + 50)).abs() <= 40, "{dv} {da}");
}

#[test]
fn a_companion_too_far_from_the_head_is_anchored_alone() {
    let mut b = Bench::new(Policy::Full);
    b.play(10_000, 0, 0);
    b.put(V, HOUR);
    assert_eq!(b.put(A, HOUR - 2_000), (10_000, true));
    let mut b = Bench::new(Policy::Full);
    b.play(10_000, 0, 0);
    b.put(V, HOUR);
    assert_eq!(b.put(A, HOUR + 900), (10_900, true), "near enough to share");
}

#[test]
fn a_step_back_soon_after_a_shared_jump_is_not_taken_for_the_same_jump() {
    let mut b = Bench::new(Policy::Full);
    b.play(2_000, 0, 0);
    b.play(2_000, HOUR, HOUR);
    let (out, jump) = b.put(A, HOUR + 1_600);
    assert!(jump);
    assert!(b.put(A, HOUR + 1_620).0 > out, "the sound must not freeze");
}

#[test]
fn a_new_publisher_never_goes_below_the_old_one_on_any_track() {
    let mut b = Bench::new(Policy::Full);
    b.put(V, 0);
    b.put(A, 0);
    b.put(A, 1_000);
    b.timeline.republish();
    b.put(A, 5_500);
    assert_eq!(b.put(V, 3_000), (1_000, true), "a track that was behind the head");
    let mut b = Bench::new(Policy::Full);
    b.put(A, 0);
    b.put(A, 1_000);
    b.timeline.republish();
    b.put(A, 5_500);
    assert_eq!(b.put(V, 3_500), (1_000, false), "a track that the old one did not have");
}

#[test]
fn small_steps_back_are_clamped_and_leave_the_clock_alone() {
    let mut b = Bench::new(Policy::Full);
    b.put(A, 0);
    b.put(A, 400);
    assert_eq!(b.put(A, 200), (400, false));
    assert_eq!(b.put(A, 390), (400, false));
    assert_eq!(b.put(A, 420), (420, false));
}

#[test]
fn a_clock_that_creeps_back_does_not_freeze_the_stream_for_ever() {
    let mut b = Bench::new(Policy::Full);
    b.put(V, 10_000);
    b.put(V, 10_040);
    let jumps = (1..50).filter(|n| b.put(V, 10_040 - n * 100).1).count();
    assert!(jumps > 5, "{jumps}");
    assert!(b.timeline.head().as_millis() > 100);
}

#[test]
fn one_stray_frame_neither_parts_sound_and_picture_nor_jumps() {
    let mut b = Bench::new(Policy::Full);
    b.play(5_000, 0, 0);
    b.put(V, 7_500);
    let (dv, da, jumps) = b.play(5_000, 5_000, 5_000);
    assert_eq!((dv, da, jumps), (0, 0, 0));
}

#[test]
fn equal_times_stay_equal() {
    let mut b = Bench::new(Policy::Full);
    for _ in 0..100 {
        assert_eq!(b.put(V, 5), (0, false));
    }
}

#[test]
fn sound_alone_is_mended_too() {
    let mut b = Bench::new(Policy::Full);
    for t in (0..2_000).step_by(20) {
        assert_eq!(b.put(A, t), (t, false));
    }
    assert_eq!(b.put(A, 0), (2_000, true));
    assert_eq!(b.put(A, 20), (2_020, false));
}

#[test]
fn a_slide_show_of_one_frame_a_second_has_no_discontinuity() {
    for real_time in [0, 1_000] {
        let mut b = Bench::new(Policy::Full);
        for t in 0..100 {
            assert_eq!(b.put(V, t * 1_000), (t * 1_000, false));
            b.wall += real_time;
        }
    }
}

#[test]
fn a_gap_is_believed_when_the_wall_clock_or_another_track_saw_it() {
    let mut b = Bench::new(Policy::Full);
    b.play(1_000, 0, 0);
    b.wall += 60_000;
    assert_eq!(b.play(1_000, 61_000, 61_000), (0, 0, 0));
    for t in (62_000..90_000).step_by(20) {
        b.put(A, t);
    }
    assert_eq!(b.put(V, 90_000), (90_000, false));
}

#[test]
fn a_gap_that_nothing_explains_is_a_jump() {
    let mut b = Bench::new(Policy::Full);
    b.play(1_000, 0, 0);
    assert_eq!(b.put(V, 5_000), (1_000, true));
}

#[test]
fn a_new_publisher_goes_on_where_the_old_one_stopped() {
    let mut b = Bench::new(Policy::Full);
    b.play(10_000, 0, 0);
    for _ in 0..3 {
        let before = b.timeline.head().as_millis();
        b.timeline.republish();
        b.wall += 600_000;
        let (dv, da, jumps) = b.play(10_000, 0, 7);
        assert_eq!((dv, jumps), (da, 2));
        assert!((before..=before + 40).contains(&dv), "{dv} after {before}");
    }
}

#[test]
fn a_new_publisher_of_badly_interleaved_tracks_freezes_none() {
    let mut b = Bench::new(Policy::Full);
    b.play(10_000, 0, 800);
    b.timeline.republish();
    let first = b.put(V, 0).0;
    assert_eq!(first, 10_780);
    assert_eq!([b.put(A, 0).0, b.put(A, 20).0], [first, first + 20]);
}

#[test]
fn a_track_that_begins_late_keeps_the_relation_of_the_encoder() {
    let mut b = Bench::new(Policy::Full);
    b.put(V, 5_000);
    b.put(V, 5_040);
    assert_eq!(b.put(A, 5_700), (700, false));
    let mut b = Bench::new(Policy::Full);
    b.put(V, 5_000);
    assert_eq!(b.put(A, 4_960), (0, false), "nothing goes below the start");
    assert_eq!(b.put(A, 5_020), (20, false));
    let mut b = Bench::new(Policy::Full);
    b.put(V, 5_000);
    b.put(V, 7_000);
    assert_eq!(b.put(A, HOUR), (2_000, false), "a clock of its own starts at the head");
}

#[test]
fn data_stamped_with_zero_goes_to_the_head_and_moves_nothing() {
    let mut b = Bench::new(Policy::Full);
    assert_eq!(b.put(Kind::Data, 0), (0, false));
    b.play(10_000, HOUR, HOUR);
    assert_eq!(b.put(Kind::Data, 0), (9_980, false));
    assert_eq!(b.put(Kind::Data, HOUR + 9_990), (9_990, false));
    assert_eq!(b.play(1_000, HOUR + 10_000, HOUR + 10_000), (-HOUR, -HOUR, 0));
}

#[test]
fn data_alone_keeps_its_own_time() {
    let mut b = Bench::new(Policy::Full);
    assert_eq!(b.put(Kind::Data, 500), (0, false));
    assert_eq!(b.put(Kind::Data, 900), (400, false));
}

#[test]
fn a_configuration_takes_the_time_of_its_track() {
    let mut b = Bench::new(Policy::Full);
    assert_eq!(b.timeline.last(V, 0), Timestamp::ZERO);
    b.put(A, 0);
    b.put(A, 500);
    b.put(V, 400);
    assert_eq!(b.timeline.last(V, 0).as_millis(), 400);
    assert_eq!(b.timeline.last(V, 1).as_millis(), 500);
}

/// A stream of `hours` in steps of a second, stamped through a wire counter.
fn long(hours: i64, step: i64, counter: fn(i64) -> u64) {
    let mut clock = ClockUnwrap::rtmp_millis();
    let mut b = Bench::new(Policy::Full);
    let mut t = 0;
    while t < hours * HOUR {
        let video = clock.unwrap(counter(t));
        assert_eq!(b.put(V, video), (t, false));
        let audio = clock.unwrap(counter(t + 10));
        assert_eq!(b.put(A, audio), (t + 10, false));
        t += step;
        b.wall += step as u64;
        b.last.clear();
    }
}

#[test]
fn twenty_five_hours_and_fifty_days_pass_unnoticed_by_wraps_of_any_width() {
    long(25, 1_000, |t| t as u64);
    long(25, 1_000, |t| t as u64 & 0xff_ffff);
    long(50 * 24, 20_000, |t| t as u64 & 0xffff_ffff);
    long(50 * 24, 20_000, |t| t as u64 & 0x7fff_ffff);
    long(25, 1_000, |t| (t as u64 + (1 << 32) - 5_000) & 0xffff_ffff);
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => -500_000i64..500_000,
        4 => 0i64..20_000_000,
        1 => any::<i64>(),
        1 => Just(i64::MAX),
        1 => Just(i64::MIN),
    ]
}

proptest! {
    #[test]
    fn no_track_ever_goes_back(
        frames in prop::collection::vec(
            (0usize..3, 0u8..3, any_time(), any::<bool>(), 0u64..10_000, 0u8..40), 0..200),
    ) {
        let mut timeline = Timeline::new(Policy::Full);
        let start = Instant::now();
        let mut wall = 0;
        let mut clock = 0i64;
        let mut last = std::collections::HashMap::new();
        for (kind, track, time, relative, pause, event) in frames {
            wall += pause;
            clock = if relative { clock.saturating_add(time) } else { time };
            if event == 0 {
                timeline.republish();
            }
            let now = start + Duration::from_millis(wall);
            let kind = Kind::ALL[kind];
            let applied = timeline.apply(kind, track, Timestamp::from_micros(clock), now);
            let floor = last.insert((kind, track), applied.dts).unwrap_or(Timestamp::ZERO);
            prop_assert!(applied.dts >= floor);
        }
    }

    #[test]
    fn a_plausible_stream_is_only_shifted(
        start in -1_000_000_000i64..1_000_000_000_000,
        steps in prop::collection::vec((any::<bool>(), 0i64..1_000_000), 1..100),
    ) {
        let mut timeline = Timeline::new(Policy::Full);
        let now = Instant::now();
        let mut time = start;
        for (video, step) in steps {
            let kind = if video { V } else { A };
            let applied = timeline.apply(kind, 0, Timestamp::from_micros(time), now);
            prop_assert_eq!(applied.dts.as_micros(), time - start);
            prop_assert!(!applied.discontinuity);
            time += step;
        }
    }
}
