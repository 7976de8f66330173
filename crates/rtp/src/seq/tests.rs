use proptest::prelude::*;

use super::*;

#[test]
fn the_first_number_has_room_below_it() {
    let mut extender = Extender16::new();
    assert_eq!(extender.highest(), None);
    assert_eq!(extender.extend(3), 0x1_0003);
    assert_eq!(extender.extend(0xFFFF), 0xFFFF);
    assert_eq!(extender.highest(), Some(0x1_0003));
}

#[test]
fn a_wrap_goes_on_in_the_next_round() {
    let mut extender = Extender16::new();
    for value in [0xFFFD, 0xFFFF, 0xFFFE, 1, 0, 2] {
        extender.extend(value);
    }
    assert_eq!(extender.highest(), Some(0x2_0002));
    assert_eq!(extender.peek(0xFFFF), 0x1_FFFF);
    assert_eq!(extender.peek(3), 0x2_0003);
    assert_eq!(extender.highest(), Some(0x2_0002), "a look changes nothing");
    extender.reset();
    assert_eq!(extender.highest(), None);
}

#[test]
fn half_a_round_is_the_limit_both_ways() {
    let mut extender = Extender16::new();
    extender.extend(0x8000);
    assert_eq!(extender.peek(0xFFFF), 0x1_FFFF);
    assert_eq!(extender.peek(0), 0x1_0000);
    assert_eq!(extender.peek(1), 0x1_0001);
    let mut extender = Extender16::new();
    extender.extend(0);
    assert_eq!(extender.extend(0x8000), 0x8000, "as far as it goes back");
}

#[test]
fn timestamps_wrap_both_ways() {
    let mut extender = Extender32::new();
    assert_eq!(extender.last(), None);
    assert_eq!(extender.extend(5), 5);
    assert_eq!(extender.extend(u32::MAX), -1);
    assert_eq!(extender.extend(5), 5);
    assert_eq!(extender.extend(0x7000_0000), 0x7000_0000);
    assert_eq!(extender.extend(0xE000_0000), 0xE000_0000);
    assert_eq!(extender.extend(0x1000), 0x1_0000_1000);
    assert_eq!(extender.peek(0xFFFF_FFFF), 0xFFFF_FFFF);
    extender.reset();
    assert_eq!(extender.extend(7), 7);
}

proptest! {
    #[test]
    fn a_shuffled_walk_is_unwrapped_to_itself(
        start: u16, steps in proptest::collection::vec(-1_000i64..3_000, 1..300),
    ) {
        let mut extender = Extender16::new();
        let mut truth = 0x1_0000 + u64::from(start);
        extender.extend(start);
        for step in steps {
            truth = truth.saturating_add_signed(step).max(
                extender.highest().unwrap().saturating_sub(30_000));
            let extended = extender.extend(truth as u16);
            prop_assert_eq!(extended, truth);
            truth = truth.max(extender.highest().unwrap() - 5_000);
        }
    }

    #[test]
    fn the_lower_bits_are_always_the_number(values in proptest::collection::vec(any::<u16>(), 1..200)) {
        let mut extender = Extender16::new();
        for value in values {
            prop_assert_eq!(extender.extend(value) as u16, value);
        }
    }

    #[test]
    fn timestamps_are_unwrapped_to_themselves(
        start: u32, steps in proptest::collection::vec(-0x7FFF_FFFFi64..0x7FFF_FFFF, 1..100),
    ) {
        let mut extender = Extender32::new();
        let mut truth = i64::from(start);
        extender.extend(start);
        for step in steps {
            truth += step;
            prop_assert_eq!(extender.extend(truth as u32), truth);
        }
    }
}
