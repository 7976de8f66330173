use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000;

fn generator() -> Generator {
    let mut generator = Generator::new(Options::default());
    generator.set_rtt(50 * MS);
    generator
}

fn asked(generator: &mut Generator, now_us: u64) -> Vec<u16> {
    let mut out = Vec::new();
    generator.poll(now_us, &mut out);
    out
}

#[test]
fn packets_in_order_ask_for_nothing() {
    let mut generator = generator();
    for sequence in 0x1_FFF0..0x2_0010 {
        assert_eq!(generator.on_packet(sequence, 0), Seen::Next);
    }
    assert_eq!(generator.next_timeout(), None);
    assert!(asked(&mut generator, 10_000 * MS).is_empty());
    assert_eq!(generator.counters(), Counters::default());
}

#[test]
fn a_gap_is_asked_for_after_half_a_round_trip() {
    let mut generator = generator();
    generator.on_packet(0x1_FFFE, 0);
    assert_eq!(generator.on_packet(0x2_0001, 100 * MS), Seen::Gap(2));
    assert_eq!(generator.next_timeout(), Some(125 * MS));
    assert!(asked(&mut generator, 125 * MS - 1).is_empty());
    assert_eq!(asked(&mut generator, 125 * MS), [0xFFFF, 0]);
    assert_eq!(generator.counters().asked, 2);
}

#[test]
fn a_reordered_packet_is_never_asked_for() {
    let mut generator = generator();
    generator.on_packet(100, 0);
    generator.on_packet(102, 0);
    assert_eq!(generator.on_packet(101, 5 * MS), Seen::Recovered(0));
    assert_eq!(generator.next_timeout(), None);
    assert_eq!(generator.on_packet(101, 6 * MS), Seen::Stale, "a duplicate");
    let counters = generator.counters();
    assert_eq!((counters.asked, counters.reordered, counters.missed), (0, 1, 1));
}

#[test]
fn many_later_packets_shorten_the_wait_to_its_least() {
    let mut generator = generator();
    generator.on_packet(100, 0);
    for sequence in 102..=109 {
        generator.on_packet(sequence, 0);
    }
    assert_eq!(generator.next_timeout(), Some(10 * MS));
    assert_eq!(asked(&mut generator, 10 * MS), [101]);
}

#[test]
fn the_wait_has_a_least_and_a_most() {
    for (rtt, hold) in [(1, 10), (30, 15), (500, 40)] {
        let mut generator = generator();
        generator.set_rtt(rtt * MS);
        generator.on_packet(1, 0);
        generator.on_packet(3, 0);
        assert_eq!(generator.next_timeout(), Some(hold * MS));
    }
}

#[test]
fn repetitions_follow_by_a_little_more_than_the_round_trip_and_end() {
    let mut generator = generator();
    generator.set_rtt(100 * MS);
    generator.on_packet(1, 0);
    generator.on_packet(3, 0);
    let mut times = Vec::new();
    while let Some(at) = generator.next_timeout() {
        if !asked(&mut generator, at).is_empty() {
            times.push(at / MS);
        }
    }
    assert_eq!(times, [40, 150, 260, 370, 480, 590, 700, 810, 920]);
    let counters = generator.counters();
    assert_eq!((counters.asked, counters.given_up, counters.recovered), (9, 1, 0));
    assert_eq!(generator.on_packet(2, 2_000 * MS), Seen::Stale);
}

#[test]
fn no_more_is_asked_for_than_the_tries_allow() {
    let mut generator = generator();
    generator.set_rtt(1);
    generator.on_packet(1, 0);
    generator.on_packet(3, 0);
    let mut times = Vec::new();
    while let Some(at) = generator.next_timeout() {
        if !asked(&mut generator, at).is_empty() {
            times.push(at / MS);
        }
    }
    assert_eq!(times, (0..20).map(|n| 10 + 20 * n).collect::<Vec<_>>());
}

/// When `sequence` is asked for the second time, counted from the first.
fn distance(generator: &mut Generator, sequence: u64, now: u64) -> u64 {
    generator.on_packet(sequence + 1, now);
    let mut next = || {
        let at = generator.next_timeout().expect("it is missing");
        asked(generator, at);
        at
    };
    let first = next();
    next() - first
}

#[test]
fn answers_tell_the_round_trip() {
    let mut generator = Generator::new(Options::default());
    generator.on_packet(1, 0);
    generator.on_packet(3, 0);
    asked(&mut generator, 40 * MS);
    generator.on_packet(2, 80 * MS);
    assert_eq!(distance(&mut generator, 4, 1_000 * MS), 44 * MS, "40 ms and a tenth");
}

#[test]
fn an_answer_right_after_a_repetition_is_one_to_the_request_before() {
    let mut generator = Generator::new(Options::default());
    generator.set_rtt(40 * MS);
    generator.on_packet(1, 0);
    generator.on_packet(3, 0);
    asked(&mut generator, 20 * MS);
    asked(&mut generator, 64 * MS);
    generator.on_packet(2, 70 * MS);
    // 7 parts of 40 ms and one of 50.
    assert_eq!(distance(&mut generator, 4, 1_000 * MS), 45_375);
}

#[test]
fn an_answer_of_which_nobody_knows_to_what_tells_nothing() {
    let mut generator = Generator::new(Options::default());
    generator.set_rtt(40 * MS);
    generator.on_packet(1, 0);
    generator.on_packet(3, 0);
    asked(&mut generator, 20 * MS);
    asked(&mut generator, 64 * MS);
    generator.on_packet(2, 94 * MS);
    assert_eq!(distance(&mut generator, 4, 1_000 * MS), 44 * MS);
}

#[test]
fn after_a_second_a_packet_is_given_up_whatever_the_round_trip() {
    let mut generator = generator();
    generator.set_rtt(400 * MS);
    generator.on_packet(1, 0);
    generator.on_packet(3, 0);
    let mut last = 0;
    while let Some(at) = generator.next_timeout() {
        asked(&mut generator, at);
        last = at;
    }
    assert_eq!(last, 1_000 * MS);
    assert_eq!(generator.counters().asked, 3);
    assert_eq!(generator.counters().given_up, 1);
}

#[test]
fn what_was_asked_for_and_came_is_counted_once() {
    let mut generator = generator();
    generator.on_packet(1, 0);
    generator.on_packet(3, 0);
    asked(&mut generator, 40 * MS);
    asked(&mut generator, 200 * MS);
    assert_eq!(generator.on_packet(2, 210 * MS), Seen::Recovered(2));
    let counters = generator.counters();
    assert_eq!((counters.asked, counters.recovered, counters.reordered), (2, 1, 0));
}

#[test]
fn a_jump_of_thousands_is_a_new_beginning() {
    let mut generator = generator();
    generator.on_packet(100, 0);
    generator.on_packet(102, 0);
    assert_eq!(generator.on_packet(5_000, 0), Seen::Reset);
    assert_eq!(generator.next_timeout(), None);
    assert_eq!(generator.on_packet(5_001, 0), Seen::Next);
    let counters = generator.counters();
    assert_eq!((counters.asked, counters.resets, counters.given_up), (0, 1, 1));
    assert_eq!(generator.on_packet(5_002 + MAX_GAP, 0), Seen::Gap(MAX_GAP), "still a loss");
}

#[test]
fn one_packet_far_behind_is_a_stray_and_two_in_a_row_are_a_new_beginning() {
    let mut generator = generator();
    generator.on_packet(50_000, 0);
    assert_eq!(generator.on_packet(20_000, 0), Seen::Stale);
    assert_eq!(generator.on_packet(50_001, 0), Seen::Next);
    assert_eq!(generator.on_packet(20_001, 0), Seen::Reset);
    assert_eq!(generator.on_packet(20_002, 0), Seen::Next);
    assert_eq!(generator.counters().resets, 1);
}

#[test]
fn the_oldest_is_given_up_when_too_much_is_missing() {
    let options = Options { max_missing: 10, ..Options::default() };
    let mut generator = Generator::new(options);
    generator.on_packet(1_000, 0);
    generator.on_packet(1_016, 0);
    assert_eq!(generator.missing(), 10);
    assert_eq!(generator.counters().given_up, 5);
    assert_eq!(asked(&mut generator, 500 * MS), (1_006..1_016).collect::<Vec<_>>());
}

#[test]
fn what_nobody_waits_for_is_forgotten() {
    let mut generator = generator();
    generator.on_packet(1, 0);
    generator.on_packet(5, 0);
    generator.forget_before(4);
    assert_eq!(asked(&mut generator, 500 * MS), [4]);
    assert_eq!(generator.counters().given_up, 2);
}

proptest! {
    #[test]
    fn everything_missed_ends_in_exactly_one_way(
        packets in proptest::collection::vec((0u64..3_000, 0u64..30_000), 1..300),
    ) {
        let mut generator = generator();
        let mut now = 0;
        for (sequence, wait) in packets {
            now += wait;
            generator.on_packet(0x1_F000 + sequence, now);
            let before = generator.counters().asked;
            let asked = asked(&mut generator, now);
            prop_assert_eq!(generator.counters().asked - before, asked.len() as u64);
            prop_assert!(generator.missing() <= Options::default().max_missing);
            if let Some(at) = generator.next_timeout() {
                prop_assert!(at > now, "what was due was done");
            }
        }
        let counters = generator.counters();
        let ended = counters.recovered + counters.reordered + counters.given_up;
        prop_assert_eq!(counters.missed, ended + generator.missing() as u64);
    }
}
