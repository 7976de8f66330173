//! A decoder for what this encoder writes, straight from the definitions of the standard.

use std::f64::consts::PI;

use proptest::prelude::*;

use super::*;
use crate::bits::{BitReader, check_prefix_code};

/// The spectral lines of an access unit's middle channel; checks all the rest.
pub(crate) fn decode(access_unit: &[u8]) -> [f64; LINES] {
    let mut bits = BitReader::new(access_unit);
    assert_eq!(bits.get(3), 1, "channel_pair_element");
    assert_eq!(bits.get(4), 0, "element_instance_tag");
    assert_eq!(bits.get(5), 0b1_0000, "common_window, ONLY_LONG_SEQUENCE, sine");
    let bands = bits.get(6) as usize;
    assert!(!bits.flag(), "predictor_data_present");
    assert_eq!(bits.get(2), 2, "ms_mask_present");
    let mut lines = [0.0; LINES];
    for codebook in [11, 0] {
        let gain = bits.get(8);
        assert_eq!(bits.get(4), codebook, "sect_cb");
        assert_eq!(bits.get(5) as usize, bands, "one section");
        if codebook == 0 {
            assert_eq!(bits.get(3), 0, "no pulses, no TNS, no gain control");
            continue;
        }
        assert_eq!(bits.get(bands), 0, "all scalefactors equal");
        assert_eq!(bits.get(3), 0, "no pulses, no TNS, no gain control");
        for pair in lines[..BANDS[bands]].chunks_exact_mut(2) {
            let levels = decode_pair(&mut bits);
            for (line, level) in pair.iter_mut().zip(levels) {
                let scale = 2f64.powf(0.25 * (f64::from(gain) - 100.0));
                let level = f64::from(level);
                *line = level.signum() * level.abs().powf(4.0 / 3.0) * scale;
            }
        }
    }
    assert_eq!(bits.get(3), 7, "ID_END");
    assert!(bits.bits_left() < 8);
    lines
}

fn decode_pair(bits: &mut BitReader<'_>) -> [i32; 2] {
    let place = bits.code(SPECTRUM_11.as_flattened().iter().map(|code| u32::from(*code)));
    let mut pair = [place as i32 / 17, place as i32 % 17];
    for level in pair.iter_mut().filter(|level| **level != 0) {
        if bits.flag() {
            *level = -*level;
        }
    }
    for level in pair.iter_mut().filter(|level| level.abs() == 16) {
        let width = (0..).take_while(|_| bits.flag()).count() + 4;
        *level = level.signum() * ((1 << width) + bits.get(width) as i32);
    }
    pair
}

/// The 2048 samples of a window, before overlap and add.
fn inverse(lines: &[f64; LINES]) -> Vec<f64> {
    // cos(2pi / N * (n + n0) * (k + 1/2)) with n0 = (N / 2 + 1) / 2, in steps of 2pi / 4N.
    let cosines: Vec<f64> = (0..8192).map(|i| (2.0 * PI / 8192.0 * f64::from(i)).cos()).collect();
    (0..2048)
        .map(|n| {
            let used = lines.iter().enumerate().filter(|(_, line)| **line != 0.0);
            let sum: f64 =
                used.map(|(k, line)| line * cosines[(2 * n + 1025) * (2 * k + 1) % 8192]).sum();
            2.0 / 2048.0 * sum * (PI / 2048.0 * (n as f64 + 0.5)).sin()
        })
        .collect()
}

/// The samples that a decoder puts out with access unit `index` of a period.
pub(crate) fn samples(units: &[impl AsRef<[u8]>], index: usize) -> Vec<f64> {
    let before = (index + units.len() - 1) % units.len();
    let tail = inverse(&decode(units[before].as_ref())).split_off(FRAME);
    let head = inverse(&decode(units[index].as_ref()));
    head.into_iter().zip(tail).map(|(a, b)| a + b).collect()
}

#[test]
fn the_codebook_is_a_complete_prefix_code() {
    let codes = SPECTRUM_11.as_flattened().iter().map(|code| u32::from(*code));
    assert_eq!(check_prefix_code(codes), (true, true));
}

#[test]
fn the_configuration_is_that_of_stereo_aac_lc_at_44100_hz() {
    assert_eq!(config(), [0x12, 0x10]);
}

#[test]
fn decoded_samples_are_those_of_the_waveform() {
    let frames = 87; // a little more than two seconds
    let wave = Waveform::new(frames * FRAME, 2);
    let units = encode(&wave, frames);
    // Around the first beep and the seam of the loop, the tone alone, around the second beep.
    for index in [86, 0, 1, 4, 5, 20, 42, 43] {
        let (mut signal, mut noise) = (0.0, 0.0);
        for (n, decoded) in samples(&units, index).into_iter().enumerate() {
            let sample = index * FRAME + n;
            let wanted = wave.tone_amplitude() * (wave.tone_phase(sample) * 2.0 * PI).sin()
                + wave.beep(sample).unwrap_or(0.0);
            signal += wanted * wanted;
            noise += (decoded - wanted) * (decoded - wanted);
        }
        let ratio = 10.0 * (signal / noise).log10();
        assert!(ratio > 35.0, "{ratio} dB in access unit {index}");
    }
}

proptest! {
    #[test]
    fn pairs_of_levels_survive_a_round_trip(
        first in prop_oneof![-17i32..=17, -8191i32..=8191],
        second in prop_oneof![-17i32..=17, -8191i32..=8191],
    ) {
        let mut bits = BitWriter::default();
        encode_pair(&mut bits, first, second);
        let bytes = bits.finish();
        let mut bits = BitReader::new(&bytes);
        prop_assert_eq!(decode_pair(&mut bits), [first, second]);
        prop_assert!(bits.bits_left() < 8);
    }

    #[test]
    fn the_level_chosen_is_no_worse_than_its_neighbours_by_more_than_a_hair(
        line in -3.0e8f64..3.0e8,
    ) {
        let error = |level: i32| {
            let level = f64::from(level);
            (level.signum() * level.abs().powf(4.0 / 3.0) * STEP - line).abs()
        };
        let level = quantise(line);
        let gap = (f64::from(level.abs()) + 1.0).cbrt() * 4.0 / 3.0 * STEP;
        prop_assert!(error(level) <= 0.6 * gap, "{} for {}", level, line);
    }
}
