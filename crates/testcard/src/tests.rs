use std::sync::LazyLock;

use crate::avc::tests::Decoder;
use crate::card::{FLASH, RATE};
use crate::tone::{BEEP_SAMPLES, SAMPLE_RATE};
use crate::*;

static TEN: LazyLock<Clip> = LazyLock::new(|| clip(10));

#[test]
fn the_clip_is_the_same_bytes_every_time_and_everywhere() {
    let file = flv();
    assert_eq!(file, TEN.to_flv());
    // FNV-1a. It changes with the picture, the sound or the encoders, and must not change without.
    let hash = file.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    assert_eq!(hash, 0x569f_8043_3865_1f65, "{hash:#x}");
}

#[test]
fn the_clip_is_small() {
    let size = TEN.to_flv().len();
    assert!((50_000..200_000).contains(&size), "{size} bytes");
}

#[test]
fn seconds_are_rounded_up_to_whole_groups_of_pictures() {
    for (asked, given) in [(0, 2), (1, 2), (2, 2), (3, 4)] {
        let clip = clip(asked);
        assert_eq!(clip.duration(), given * 1000, "{asked}");
        assert_eq!(clip.video().len() as u64, given * RATE as u64);
    }
}

#[test]
fn pictures_come_every_forty_milliseconds_and_a_key_every_two_seconds() {
    assert_eq!(TEN.video().len(), 250);
    for (index, unit) in TEN.video().iter().enumerate() {
        assert_eq!(unit.micros, index as u64 * 40_000);
        assert_eq!(unit.key, index % 50 == 0, "{index}");
        assert_eq!(unit.data[4], if unit.key { 0x65 } else { 0x41 }, "{index}");
    }
}

#[test]
fn the_sound_covers_the_pictures_and_less_than_one_access_unit_more() {
    let mut samples = 0;
    for unit in TEN.audio() {
        assert_eq!(unit.micros, samples * 1_000_000 / SAMPLE_RATE as u64);
        samples += 1024;
    }
    let wanted = TEN.duration() * SAMPLE_RATE as u64 / 1000;
    assert!(samples >= wanted && samples < wanted + 1024, "{samples}");
    let last = TEN.audio().last().unwrap();
    assert!(last.micros < TEN.duration() * 1000, "the next round begins after it");
}

#[test]
fn flash_and_beep_begin_together_at_each_full_second() {
    let (column, row, side) = FLASH;
    let (x, y) = ((column + side / 2) * 4, (row + side / 2) * 4);
    let mut decoder = Decoder::new();
    let mut lit_before = false;
    let mut flashes = Vec::new();
    for unit in TEN.video() {
        decoder.decode(&unit.data);
        let lit = decoder.luma(x, y) > 200;
        if lit && !lit_before {
            flashes.push(unit.micros);
        }
        lit_before = lit;
    }
    let seconds: Vec<u64> = (0..10).map(|second| second * 1_000_000).collect();
    assert_eq!(flashes, seconds);

    let units: Vec<&[u8]> = TEN.audio().iter().map(|unit| unit.data.as_slice()).collect();
    for second in seconds.into_iter().skip(1) {
        let full = (second * SAMPLE_RATE as u64 / 1_000_000) as usize;
        let first = full / 1024 - 1;
        let loud: Vec<usize> = (first..first + 8)
            .flat_map(|index| {
                let samples = crate::aac::tests::samples(&units, index);
                let loud = samples.into_iter().enumerate().filter(|(_, s)| s.abs() > 4000.0);
                loud.map(move |(n, _)| index * 1024 + n).collect::<Vec<_>>()
            })
            .collect();
        // Within the 5 ms of the beep's rise and fall: far less than one picture.
        assert!(loud[0] >= full && loud[0] - full < SAMPLE_RATE / 200, "{second}");
        let end = full + BEEP_SAMPLES;
        let last = loud[loud.len() - 1];
        assert!(last < end && end - last < SAMPLE_RATE / 200, "{second}");
    }
}

#[test]
fn the_file_holds_all_access_units_in_order_of_time() {
    let file = TEN.to_flv();
    assert_eq!(file[..13], *b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
    let mut rest = &file[13..];
    let mut tags = Vec::new();
    while !rest.is_empty() {
        let size = u32::from_be_bytes([0, rest[1], rest[2], rest[3]]) as usize;
        let time = u32::from_be_bytes([rest[7], rest[4], rest[5], rest[6]]);
        assert_eq!(rest[8..11], [0, 0, 0], "StreamID");
        let previous = u32::from_be_bytes(rest[11 + size..15 + size].try_into().unwrap());
        assert_eq!(previous as usize, 11 + size, "PreviousTagSize");
        tags.push((rest[0], time, &rest[11..11 + size]));
        rest = &rest[15 + size..];
    }
    assert!(tags.is_sorted_by_key(|(_, time, _)| *time));

    let (kind, _, body) = tags[0];
    assert_eq!(kind, 18);
    assert!(body.starts_with(b"\x02\x00\x0aonMetaData\x08"));
    assert!(body.ends_with(&[0, 0, 9]));
    assert_eq!(tags[1].2, [&[0x17, 0, 0, 0, 0], TEN.avc_config()].concat());
    assert_eq!(tags[2].2, [&[0xaf, 0], TEN.aac_config()].concat());

    for (wanted_kind, units) in [(9, TEN.video()), (8, TEN.audio())] {
        let media = tags[3..].iter().filter(|(kind, _, _)| *kind == wanted_kind);
        assert_eq!(media.clone().count(), units.len());
        for ((kind, time, body), unit) in media.zip(units) {
            let head: &[u8] = match (kind, unit.key) {
                (9, true) => &[0x17, 1, 0, 0, 0],
                (9, false) => &[0x27, 1, 0, 0, 0],
                _ => &[0xaf, 1],
            };
            assert_eq!(*body, [head, &unit.data].concat());
            assert!((u64::from(*time) * 1000).abs_diff(unit.micros) <= 500);
        }
    }
    assert_eq!(tags.len(), 3 + 250 + 431);
}
