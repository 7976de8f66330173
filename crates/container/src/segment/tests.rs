use media::Codec;
use proptest::prelude::*;

use super::*;

const RULES: CutRules =
    CutRules { target_us: 10_000_000, audio_us: 21_000_000, wait_keyframe: true };

fn frame(codec: Codec, flags: Flags, ms: i64) -> Frame {
    let dts = Timestamp::from_millis(ms);
    Frame { codec, track: 0, flags, tag: 0, dts, pts: dts, payload: Bytes::from_static(b"x") }
}

fn key(ms: i64) -> Frame {
    frame(Codec::H264, Flags::KEY, ms)
}

fn delta(ms: i64) -> Frame {
    frame(Codec::H264, Flags::empty(), ms)
}

fn sound(ms: i64) -> Frame {
    frame(Codec::Aac, Flags::empty(), ms)
}

fn config(codec: Codec, payload: &'static [u8]) -> Frame {
    Frame { payload: Bytes::from_static(payload), ..frame(codec, Flags::CONFIG, 0) }
}

/// Feeds frames in order of time; returns what was closed and opened.
fn run(cutter: &mut Cutter, frames: impl IntoIterator<Item = Frame>) -> (Vec<Closed>, Vec<Opened>) {
    let (mut closed, mut opened) = (Vec::new(), Vec::new());
    for frame in frames {
        let step = cutter.push(&frame);
        closed.extend(step.closed);
        opened.extend(step.opened);
    }
    (closed, opened)
}

/// Video at 25 fps with a key frame each `gop_ms`, audio each 20 ms, from `from` to `to`.
fn stream(from: i64, to: i64, gop_ms: i64) -> Vec<Frame> {
    (from / 20..to / 20)
        .map(|n| n * 20)
        .flat_map(|ms| {
            let picture = if ms % gop_ms == 0 { key(ms) } else { delta(ms) };
            let picture = (ms % 40 == 0).then_some(picture);
            picture.into_iter().chain([sound(ms)])
        })
        .collect()
}

#[test]
fn video_is_cut_at_the_first_key_frame_behind_the_target() {
    let mut cutter = Cutter::new(RULES, 7);
    let (closed, opened) = run(&mut cutter, stream(0, 40_000, 4_000));
    let lengths: Vec<_> = closed.iter().map(|c| (c.sequence, c.duration_us)).collect();
    assert_eq!(lengths, [(7, 12_000_000), (8, 12_000_000), (9, 12_000_000)]);
    assert!(opened.iter().all(|o| o.key));
    assert_eq!(closed.iter().map(|c| c.discontinuity).collect::<Vec<_>>(), [true, false, false]);
    let last = cutter.finish().unwrap();
    assert_eq!((last.sequence, last.duration_us), (10, 4_000_000));
}

#[test]
fn a_key_frame_a_millisecond_early_is_on_time() {
    let mut cutter = Cutter::new(RULES, 0);
    let (closed, _) = run(&mut cutter, [key(0), delta(5_000), key(9_999)]);
    assert_eq!(closed[0].duration_us, 9_999_000);
}

#[test]
fn audio_cuts_when_key_frames_are_overdue() {
    let mut cutter = Cutter::new(RULES, 0);
    let (closed, opened) = run(&mut cutter, stream(0, 45_000, 1_000_000));
    assert_eq!(closed.iter().map(|c| c.duration_us).collect::<Vec<_>>(), [21_000_000; 2]);
    assert!(!opened[1].key);
}

#[test]
fn audio_alone_is_cut_by_the_audio_rule() {
    let mut cutter = Cutter::new(RULES, 0);
    let (closed, _) = run(&mut cutter, (0..5_000).map(|n| sound(n * 20)));
    assert_eq!(closed.iter().map(|c| c.duration_us).collect::<Vec<_>>(), [21_000_000; 4]);
}

#[test]
fn without_keyframe_wait_any_picture_cuts() {
    let mut cutter = Cutter::new(CutRules { wait_keyframe: false, ..RULES }, 0);
    let (closed, _) = run(&mut cutter, stream(0, 11_000, 1_000_000));
    assert_eq!(closed[0].duration_us, 10_000_000);
}

#[test]
fn pictures_alone_without_key_frames_are_cut_before_they_fill_memory() {
    let mut cutter = Cutter::new(RULES, 0);
    let frames = (0..2_000).map(|n| if n == 0 { key(0) } else { delta(n * 40) });
    let (closed, _) = run(&mut cutter, frames);
    assert_eq!(closed.iter().map(|c| c.duration_us).collect::<Vec<_>>(), [30_000_000; 2]);
}

#[test]
fn pictures_before_the_first_key_frame_are_not_added() {
    let mut cutter = Cutter::new(RULES, 0);
    assert_eq!(cutter.push(&delta(0)), Step::default());
    assert!(cutter.push(&key(40)).opened.is_some());
    assert!(cutter.push(&delta(80)).add);
}

#[test]
fn a_republish_continues_the_numbers_and_is_marked() {
    let mut cutter = Cutter::new(RULES, 0);
    run(&mut cutter, stream(0, 15_000, 2_000));
    assert_eq!(cutter.finish().unwrap().sequence, 1);
    let (closed, opened) = run(&mut cutter, stream(0, 12_000, 2_000));
    assert_eq!((opened[0].sequence, closed[0].discontinuity), (2, true));
    assert!(!cutter.finish().unwrap().discontinuity);
    assert_eq!(cutter.finish(), None);
}

#[test]
fn a_changed_configuration_cuts_at_the_next_key_frame_and_a_repeated_one_does_not() {
    let mut cutter = Cutter::new(RULES, 0);
    cutter.push(&config(Codec::H264, b"one"));
    run(&mut cutter, stream(0, 1_000, 2_000));
    cutter.push(&config(Codec::H264, b"one"));
    let (closed, _) = run(&mut cutter, stream(1_000, 2_980, 2_000));
    assert_eq!(closed, []);
    cutter.push(&config(Codec::H264, b"two"));
    let (closed, _) = run(&mut cutter, stream(3_000, 5_000, 2_000));
    assert_eq!(closed[0].duration_us, 4_000_000);
    assert!(cutter.finish().unwrap().discontinuity);
}

#[test]
fn a_configuration_that_comes_after_the_other_tracks_media_breaks_nothing() {
    let mut cutter = Cutter::new(RULES, 0);
    run(&mut cutter, [sound(0), sound(500), config(Codec::H264, b"one")]);
    let (closed, _) = run(&mut cutter, [key(520), sound(530)]);
    assert_eq!(closed, []);
}

#[test]
fn a_marked_jump_costs_one_discontinuity_though_every_track_tells_of_it() {
    let mut cutter = Cutter::new(RULES, 0);
    let (closed, _) = run(&mut cutter, stream(0, 4_000, 2_000));
    assert_eq!(closed, []);
    let mut again = stream(100_000, 120_000, 2_000);
    again[0].flags |= Flags::DISCONTINUITY;
    again[1].flags |= Flags::DISCONTINUITY;
    let (closed, _) = run(&mut cutter, again);
    let marks: Vec<_> = closed.iter().map(|c| (c.duration_us, c.discontinuity)).collect();
    assert_eq!(marks, [(4_000_000, true), (10_000_000, true)]);
    assert!(!cutter.finish().unwrap().discontinuity);
}

#[test]
fn a_clock_that_resets_costs_one_discontinuity_and_cutting_goes_on() {
    let mut cutter = Cutter::new(RULES, 0);
    run(&mut cutter, stream(1_000_000, 1_004_000, 2_000));
    let (closed, _) = run(&mut cutter, stream(0, 40_000, 2_000));
    let marks: Vec<_> = closed.iter().map(|c| (c.duration_us, c.discontinuity)).collect();
    let expected =
        [(4_000_000, true), (10_000_000, true), (10_000_000, false), (10_000_000, false)];
    assert_eq!(marks, expected);
}

#[test]
fn tracks_whose_clocks_have_nothing_in_common_are_cut_all_the_same() {
    let mut cutter = Cutter::new(RULES, 0);
    let frames = stream(0, 50_000, 2_000).into_iter().map(|mut frame| {
        if frame.kind() == Kind::Audio {
            frame.dts = frame.dts.offset(1_000_000_000_000);
        }
        frame
    });
    let (closed, opened) = run(&mut cutter, frames);
    assert_eq!(closed.iter().map(|c| c.duration_us).collect::<Vec<_>>(), [10_000_000; 4]);
    assert!(opened.iter().all(|o| o.key));
}

#[test]
fn the_audio_clock_alone_may_reset() {
    let mut cutter = Cutter::new(RULES, 0);
    let frames = stream(0, 60_000, 2_000).into_iter().map(|mut frame| {
        if frame.kind() == Kind::Audio && frame.dts.as_millis() >= 25_000 {
            frame.dts = frame.dts.offset(-24_000_000);
        }
        frame
    });
    let (closed, _) = run(&mut cutter, frames);
    assert!(closed.len() >= 5);
    assert_eq!(closed.iter().filter(|c| c.discontinuity).count(), 2);
    assert!(closed.iter().all(|c| c.duration_us <= 12_000_000));
}

#[test]
fn a_segment_that_is_too_short_gives_back_its_number_and_its_mark() {
    let mut cutter = Cutter::new(RULES, 3);
    run(&mut cutter, [key(0), delta(40)]);
    let closed = cutter.finish().unwrap();
    assert_eq!((closed.sequence, closed.keep), (3, false));
    let (_, opened) = run(&mut cutter, stream(0, 200, 2_000));
    assert_eq!(opened[0].sequence, 3);
    assert!(cutter.finish().unwrap().discontinuity);
}

#[test]
fn nonsense_rules_still_cut() {
    let rules = CutRules::new(0, f64::NAN, -1.0, true);
    let mut cutter = Cutter::new(rules, 0);
    let (closed, _) = run(&mut cutter, stream(0, 2_000, 400));
    assert!(closed.iter().all(|c| c.duration_us >= CUT_MIN_US));
    assert!(!closed.is_empty());
}

#[test]
fn the_window_keeps_the_segment_that_first_exceeds_it_and_lets_the_others_linger() {
    let mut window = Window::new(60_000_000, 10_000_000);
    let mut gone = Vec::new();
    for sequence in 0..20 {
        let discontinuity = sequence % 4 == 0;
        let duration_us = 10_000_000;
        let entry = Entry { sequence, duration_us, discontinuity, item: () };
        gone.extend(window.push(entry).into_iter().map(|e| (sequence, e.sequence)));
    }
    assert_eq!(window.media_sequence(), 13);
    assert_eq!(window.entries().len(), 7);
    assert_eq!(window.discontinuity_sequence(), 4);
    assert_eq!(window.target_duration(), 10);
    // Segment 0 left the list when 7 came: it stays for its own length and that of the list.
    assert_eq!(gone[..2], [(14, 0), (15, 1)]);
    assert_eq!(window.clear().len(), 14);
    assert_eq!(window.discontinuity_sequence(), 5);
}

#[test]
fn a_short_window_still_lists_three_target_durations() {
    let mut window = Window::new(1_000_000, 4_000_000);
    for sequence in 0..20 {
        let entry = Entry { sequence, duration_us: 3_500_000, discontinuity: false, item: () };
        window.push(entry);
    }
    assert_eq!((window.target_duration(), window.entries().len()), (4, 4));
}

proptest! {
    #[test]
    fn whatever_the_clocks_do_durations_are_sane_and_numbers_run_on(
        frames in prop::collection::vec(
            (any::<bool>(), any::<bool>(), 0u8..8,
             prop_oneof![9 => 0i64..2_000, 1 => any::<i64>()]), 1..400),
    ) {
        let rules = CutRules { target_us: 2_000_000, audio_us: 4_000_000, wait_keyframe: true };
        let mut cutter = Cutter::new(rules, 0);
        let mut now = 0i64;
        let mut next = 0;
        let mut open = None;
        for (video, is_key, flag, step) in frames {
            now = if step < 2_000 { now.saturating_add(step) } else { step / 1_000_000 };
            let mut frame = match (video, is_key) {
                (true, true) => key(now),
                (true, false) => delta(now),
                _ => sound(now),
            };
            if flag == 0 {
                frame.flags |= Flags::DISCONTINUITY;
            }
            let step = cutter.push(&frame);
            if let Some(closed) = step.closed {
                prop_assert_eq!(Some(closed.sequence), open.take());
                prop_assert!(closed.duration_us >= 0);
                prop_assert_eq!(closed.keep, closed.duration_us >= SEGMENT_MIN_US);
                next = closed.sequence + u64::from(closed.keep);
            }
            if let Some(opened) = step.opened {
                prop_assert_eq!(open.replace(opened.sequence), None);
                prop_assert_eq!(opened.sequence, next);
            }
            prop_assert!(!step.add || open.is_some());
        }
    }
}
