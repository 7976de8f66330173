use proptest::prelude::*;

use super::*;
use crate::rtcp::{Compound, Rtcp};

/// Feedback's body by hand: base 10, reference 5, count 3.
fn fci(count: u16, chunks: &[u16], deltas: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 10];
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&[0, 0, 5, 3]);
    for chunk in chunks {
        out.extend_from_slice(&chunk.to_be_bytes());
    }
    out.extend_from_slice(deltas);
    out
}

fn arrivals(fci: &[u8]) -> Vec<(u16, Option<i64>)> {
    let parsed = Parsed::parse(fci).unwrap();
    parsed.statuses().map(|status| (status.sequence, status.arrival_us)).collect()
}

/// Everything that is due, as (sequence, absolute arrival).
fn told(recorder: &mut Recorder, now_us: u64) -> Vec<(u16, Option<i64>)> {
    let mut all = Vec::new();
    let mut out = Vec::new();
    while recorder.write(&mut out, 1, 2, now_us) {
        assert!(out.len() <= 1_200 && out.len() % 4 == 0, "{}", out.len());
        let mut packets = Compound::new(&out);
        let Some(Ok(Rtcp::TransportCc(feedback))) = packets.next() else { panic!() };
        assert_eq!((feedback.sender, feedback.media, packets.next()), (1, 2, None));
        let parsed = Parsed::parse(feedback.fci).unwrap();
        let reference = i64::from(parsed.reference_time) * REFERENCE_US;
        let before = all.len();
        all.extend(
            parsed.statuses().map(|status| {
                (status.sequence, status.arrival_us.map(|arrival| reference + arrival))
            }),
        );
        assert_eq!(all.len() - before, usize::from(parsed.status_count), "none is cut off");
        out.clear();
    }
    all
}

#[test]
fn a_run_of_small_times_is_read() {
    let bytes = fci(3, &[0x2003], &[4, 8, 255]);
    let parsed = Parsed::parse(&bytes).unwrap();
    assert_eq!((parsed.base_sequence, parsed.reference_time, parsed.feedback_count), (10, 5, 3));
    let expected = [(10, Some(1_000)), (11, Some(3_000)), (12, Some(66_750))];
    assert_eq!(arrivals(&bytes), expected);
}

#[test]
fn vectors_of_one_and_of_two_bits_are_read() {
    // One bit: came, not, came, then eleven not. Two bits: large, small, not, reserved.
    let one = 0x8000 | 0b10_1000_0000_0000;
    let two = 0xC000 | 0b10_01_00_11_00_00_00;
    let bytes = fci(18, &[one, two], &[1, 2, 0xFF, 0xFC, 3]);
    let all = arrivals(&bytes);
    assert_eq!(all.len(), 18);
    let came: Vec<_> = all.into_iter().filter(|(_, arrival)| arrival.is_some()).collect();
    let expected = [(10, Some(250)), (12, Some(750)), (24, Some(-250)), (25, Some(500))];
    assert_eq!(came, expected);
}

#[test]
fn a_run_of_lost_packets_costs_no_times() {
    let bytes = fci(8_192, &[0x1FFF, 0x2001], &[1]);
    let all = arrivals(&bytes);
    assert_eq!(all.len(), 8_192);
    assert_eq!(all.iter().filter(|(_, arrival)| arrival.is_some()).count(), 1);
    assert_eq!(all.last(), Some(&(8_201, Some(250))));
}

#[test]
fn feedback_that_promises_too_much_is_refused() {
    assert_eq!(Parsed::parse(&[0; 7]), Err(TwccError::Short(7)));
    assert_eq!(Parsed::parse(&[0, 1]), Err(TwccError::Short(2)));
    assert_eq!(Parsed::parse(&fci(8_193, &[0x1FFF, 0x1FFF], &[])), Err(TwccError::Long(8_193)));
    let missing = TwccError::Chunks { told: 3, count: 4 };
    assert_eq!(Parsed::parse(&fci(4, &[0x2003], &[])), Err(missing));
    // Chunks of no packets cannot go on for ever.
    let empty = TwccError::Chunks { told: 0, count: 1 };
    assert_eq!(Parsed::parse(&fci(1, &[0; 50], &[])), Err(empty));
}

#[test]
fn times_that_are_missing_end_the_list() {
    let bytes = fci(3, &[0x2003], &[4]);
    assert_eq!(arrivals(&bytes), [(10, Some(1_000))]);
    let bytes = fci(3, &[0x4003], &[0, 4, 9]);
    assert_eq!(arrivals(&bytes), [(10, Some(1_000))]);
    assert_eq!(arrivals(&fci(0, &[], &[])), []);
}

#[test]
fn the_reference_time_goes_on_over_its_wrap_both_ways() {
    let mut reference = ReferenceTime::new();
    assert_eq!(reference.extend(0xFF_FFFF), 0xFF_FFFF * REFERENCE_US);
    assert_eq!(reference.extend(0), 0x100_0000 * REFERENCE_US);
    assert_eq!(reference.extend(0xFF_FFFE), 0xFF_FFFE * REFERENCE_US);
    assert_eq!(reference.extend(1), 0x100_0001 * REFERENCE_US);
}

#[test]
fn feedback_is_due_an_interval_after_the_first_arrival() {
    let mut recorder = Recorder::new(Options::default());
    assert_eq!(recorder.next_timeout(), None);
    recorder.on_packet(65_535, 1_000_000);
    recorder.on_packet(0, 1_010_100);
    assert_eq!(recorder.next_timeout(), Some(1_100_000));
    assert_eq!(told(&mut recorder, 1_099_999), []);
    let expected = [(65_535, Some(1_000_000)), (0, Some(1_010_000))];
    assert_eq!(told(&mut recorder, 1_100_000), expected);
    assert_eq!(recorder.next_timeout(), None);
    assert_eq!(told(&mut recorder, 2_000_000), [], "nothing is told twice");
}

#[test]
fn losses_are_told_and_what_comes_late_is_told_after_all() {
    let mut recorder = Recorder::new(Options::default());
    for sequence in [1, 2, 4] {
        recorder.on_packet(sequence, 1_000_000);
    }
    let first = told(&mut recorder, 1_100_000);
    assert_eq!(first[2], (3, None));
    recorder.on_packet(3, 1_150_000);
    recorder.on_packet(3, 1_160_000);
    recorder.on_packet(5, 1_160_000);
    let expected = [(3, Some(1_150_000)), (4, Some(1_000_000)), (5, Some(1_160_000))];
    assert_eq!(told(&mut recorder, 1_300_000), expected);
}

#[test]
fn times_too_far_apart_are_told_in_two_packets() {
    let mut recorder = Recorder::new(Options { interval_us: 60_000_000 });
    recorder.on_packet(1, 1_000_000);
    recorder.on_packet(2, 1_100_000);
    recorder.on_packet(3, 20_000_000);
    recorder.on_packet(4, 12_000_000);
    let expected = [1_000_000, 1_100_000, 20_000_000, 12_000_000];
    let all = told(&mut recorder, 100_000_000);
    assert_eq!(all.iter().map(|(_, at)| at.unwrap()).collect::<Vec<_>>(), expected);
}

#[test]
fn the_reference_time_wraps_in_what_is_written() {
    let wrap_us = (1u64 << 24) * 64_000;
    let mut recorder = Recorder::new(Options::default());
    let mut reference = ReferenceTime::new();
    let mut times = Vec::new();
    for (sequence, at) in [(1, wrap_us - 100_000), (2, wrap_us + 100_000)] {
        recorder.on_packet(sequence, at);
        let mut out = Vec::new();
        assert!(recorder.write(&mut out, 1, 2, at + 100_000));
        let parsed = Parsed::parse(&out[12..]).unwrap();
        let base = reference.extend(parsed.reference_time);
        times.push(base + parsed.statuses().next().unwrap().arrival_us.unwrap());
    }
    assert_eq!(times[1] - times[0], 200_000);
}

#[test]
fn a_jump_forgets_what_was_and_a_new_count_from_below_is_followed() {
    let mut recorder = Recorder::new(Options::default());
    recorder.on_packet(40_000, 1_000_000);
    recorder.on_packet(50_000, 1_000_000);
    assert_eq!(told(&mut recorder, 1_100_000), [(50_000, Some(1_000_000))]);
    for sequence in 30_000..30_200 {
        recorder.on_packet(sequence, 2_000_000);
    }
    let all = told(&mut recorder, 3_000_000);
    assert_eq!(all.len(), 101, "all but those that could have been late");
    assert_eq!(all[0], (30_099, Some(2_000_000)));
}

#[test]
fn a_packet_older_than_what_is_remembered_is_passed_over() {
    let mut recorder = Recorder::new(Options::default());
    for sequence in 0..3_000 {
        recorder.on_packet(sequence, 1_000_000);
    }
    told(&mut recorder, 2_000_000);
    recorder.on_packet(10, 2_000_000);
    assert_eq!(recorder.next_timeout(), None);
}

#[test]
fn a_hole_longer_than_a_packet_can_tell_is_left_out() {
    let mut recorder = Recorder::new(Options::default());
    recorder.on_packet(1, 1_000_000);
    told(&mut recorder, 1_100_000);
    recorder.on_packet(1_202, 1_200_000);
    let all = told(&mut recorder, 1_300_000);
    assert_eq!(all.last(), Some(&(1_202, Some(1_200_000))));
    assert!(all.iter().filter(|(_, arrival)| arrival.is_some()).count() == 1);
}

proptest! {
    #[test]
    fn what_is_recorded_is_told_exactly(
        start: u16,
        packets in proptest::collection::vec((0u8..4, 0u64..80_000, 0u64..20_000_000), 1..1_200),
        calm: bool,
    ) {
        let mut recorder = Recorder::new(Options { interval_us: 0 });
        let mut expected = Vec::new();
        let mut now = 5_000_000_000;
        for (at, (fate, step, leap)) in packets.iter().enumerate() {
            now += if !calm && leap % 50 == 0 { *leap } else { step / 250 * 250 };
            now = now / 250 * 250;
            let sequence = start.wrapping_add(at as u16);
            // The first and the last always come: what is around them is not told.
            let came = *fate > 0 || at == 0 || at + 1 == packets.len();
            if came {
                recorder.on_packet(sequence, now);
            }
            expected.push((sequence, came.then_some(now as i64)));
        }
        // Long holes may be left out.
        prop_assert_eq!(told(&mut recorder, u64::MAX), expected);
    }

    #[test]
    fn any_bytes_are_refused_or_walked_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(parsed) = Parsed::parse(&bytes) {
            prop_assert!(parsed.statuses().count() <= usize::from(MAX_STATUSES));
        }
    }

    #[test]
    fn an_honest_head_before_any_chunks_is_walked(
        count in 0u16..2_000, chunks in proptest::collection::vec(any::<u16>(), 0..40),
        deltas in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        if let Ok(parsed) = Parsed::parse(&fci(count, &chunks, &deltas)) {
            prop_assert!(parsed.statuses().count() <= usize::from(count));
        }
    }
}
