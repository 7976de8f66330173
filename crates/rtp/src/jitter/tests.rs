use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000;

fn reorder() -> Reorder<u64> {
    Reorder::new(Options { max_delay_us: 100 * MS, max_packets: 50, max_bytes: 10_000 })
}

fn push(reorder: &mut Reorder<u64>, sequence: u64, now_us: u64) -> Pushed {
    reorder.push(sequence, 100, sequence, now_us)
}

fn ready(reorder: &mut Reorder<u64>, now_us: u64) -> Vec<(u64, u64)> {
    std::iter::from_fn(|| reorder.pop(now_us))
        .inspect(|ordered| assert_eq!(ordered.sequence, ordered.item))
        .map(|ordered| (ordered.sequence, ordered.lost_before))
        .collect()
}

#[test]
fn packets_in_order_wait_for_nothing() {
    let mut reorder = reorder();
    for sequence in 0xFFF0..0x1_0010 {
        assert_eq!(push(&mut reorder, sequence, 5), Pushed::Taken);
        assert_eq!(ready(&mut reorder, 5), [(sequence, 0)]);
        assert!(reorder.is_empty());
        assert_eq!(reorder.next_timeout(), None);
    }
    assert_eq!(reorder.counters(), Counters::default());
}

#[test]
fn a_late_packet_lets_those_behind_it_go() {
    let mut reorder = reorder();
    for sequence in [10, 13, 12] {
        push(&mut reorder, sequence, 0);
    }
    assert_eq!(ready(&mut reorder, 0), [(10, 0)]);
    push(&mut reorder, 11, 20 * MS);
    assert_eq!(ready(&mut reorder, 20 * MS), [(11, 0), (12, 0), (13, 0)]);
    let counters = reorder.counters();
    assert_eq!((counters.reordered, counters.lost), (2, 0));
}

#[test]
fn a_gap_is_given_up_after_the_delay_and_told() {
    let mut reorder = reorder();
    push(&mut reorder, 10, 0);
    push(&mut reorder, 14, 5 * MS);
    push(&mut reorder, 13, 60 * MS);
    assert_eq!(ready(&mut reorder, 60 * MS), [(10, 0)]);
    assert_eq!(reorder.next_timeout(), Some(105 * MS), "as long as the first behind it waits");
    assert_eq!(ready(&mut reorder, 105 * MS - 1), []);
    assert_eq!(ready(&mut reorder, 105 * MS), [(13, 2), (14, 0)]);
    assert_eq!(push(&mut reorder, 12, 106 * MS), Pushed::Late);
    let counters = reorder.counters();
    assert_eq!((counters.lost, counters.late, counters.forced), (2, 1, 0));
}

#[test]
fn each_gap_has_a_time_of_its_own() {
    let mut reorder = reorder();
    push(&mut reorder, 10, 0);
    push(&mut reorder, 12, 0);
    push(&mut reorder, 14, 50 * MS);
    assert_eq!(ready(&mut reorder, 100 * MS), [(10, 0), (12, 1)]);
    assert_eq!(reorder.next_timeout(), Some(150 * MS));
    assert_eq!(ready(&mut reorder, 150 * MS), [(14, 1)]);
}

#[test]
fn duplicates_are_dropped_whether_held_or_gone() {
    let mut reorder = reorder();
    push(&mut reorder, 10, 0);
    push(&mut reorder, 12, 0);
    assert_eq!(push(&mut reorder, 12, 0), Pushed::Duplicate);
    ready(&mut reorder, 0);
    assert_eq!(push(&mut reorder, 10, 0), Pushed::Late);
    assert_eq!((reorder.len(), reorder.bytes()), (1, 100));
    assert_eq!(reorder.counters().duplicates, 1);
}

#[test]
fn too_many_packets_or_bytes_give_the_gap_up_at_once() {
    for (bytes, held) in [(1, 51), (300, 34)] {
        let mut reorder = reorder();
        reorder.push(10, bytes, 10, 0);
        ready(&mut reorder, 0);
        let mut count = 0;
        let first = loop {
            reorder.push(12 + count, bytes, 12 + count, 0);
            count += 1;
            let ready = ready(&mut reorder, 0);
            if let Some(first) = ready.first() {
                assert_eq!(ready.len() as u64, count);
                break *first;
            }
        };
        assert_eq!((first, count), ((12, 1), held));
        assert_eq!((reorder.bytes(), reorder.counters().forced), (0, 1));
    }
}

#[test]
fn a_jump_of_thousands_waits_for_nothing() {
    let mut reorder = reorder();
    push(&mut reorder, 10, 0);
    ready(&mut reorder, 0);
    push(&mut reorder, 10_000, 0);
    let ordered = reorder.pop(0).unwrap();
    assert_eq!((ordered.sequence, ordered.lost_before, ordered.reset), (10_000, 0, true));
    push(&mut reorder, 10_001, 0);
    assert!(!reorder.pop(0).unwrap().reset);
    assert_eq!((reorder.counters().resets, reorder.counters().lost), (1, 0));
}

#[test]
fn a_sender_that_counts_anew_from_below_is_followed_from_its_second_packet() {
    let mut reorder = reorder();
    push(&mut reorder, 50_000, 0);
    ready(&mut reorder, 0);
    assert_eq!(push(&mut reorder, 20_000, 0), Pushed::Late);
    assert_eq!(push(&mut reorder, 20_001, 0), Pushed::Taken);
    let ordered = reorder.pop(0).unwrap();
    assert_eq!((ordered.sequence, ordered.reset), (20_001, true));
    assert_eq!(reorder.next_sequence(), Some(20_002));
}

#[test]
fn a_shorter_delay_counts_at_once() {
    let mut reorder = reorder();
    push(&mut reorder, 10, 0);
    push(&mut reorder, 12, 0);
    reorder.set_max_delay(20 * MS);
    assert_eq!(ready(&mut reorder, 20 * MS), [(10, 0), (12, 1)]);
}

proptest! {
    #[test]
    fn what_goes_out_is_in_order_complete_and_bounded(
        packets in proptest::collection::vec((0u64..400, 0u64..20_000), 1..400),
    ) {
        let mut reorder = reorder();
        let mut now = 0;
        let mut before: Option<u64> = None;
        let (mut taken, mut out) = (0u64, 0u64);
        for (at, (offset, wait)) in packets.into_iter().enumerate() {
            now += wait;
            let sequence = 0x1_FF00 + at as u64 + offset % 20;
            taken += u64::from(push(&mut reorder, sequence, now) == Pushed::Taken);
            while let Some(ordered) = reorder.pop(now) {
                if let Some(before) = before {
                    prop_assert_eq!(ordered.sequence, before + 1 + ordered.lost_before);
                }
                before = Some(ordered.sequence);
                out += 1;
            }
            prop_assert!(reorder.len() <= 50 && reorder.bytes() <= 10_000);
            if let Some(at) = reorder.next_timeout() {
                prop_assert!(at > now);
            }
        }
        prop_assert_eq!(taken, out + reorder.len() as u64);
    }
}
