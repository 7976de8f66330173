use super::*;

fn tone(rate: u32, hz: f64, count: usize) -> Vec<f32> {
    let step = hz * std::f64::consts::TAU / f64::from(rate);
    (0..count).map(|at| (at as f64 * step).sin() as f32 * 0.5).collect()
}

/// Resamples a tone in uneven pieces; gives the left channel.
fn resampled(from: u32, to: u32, hz: f64, bend: i32) -> Vec<f32> {
    let input = tone(from, hz, from as usize);
    let mut resampler = Resampler::new(from, to);
    let mut out = Vec::new();
    for piece in input.chunks(997) {
        let silent = vec![0.0; piece.len()];
        resampler.push(piece, &silent, bend, &mut out);
    }
    assert!(out.iter().skip(1).step_by(2).all(|right| *right == 0.0), "channels are apart");
    out.into_iter().step_by(2).collect()
}

/// Noise against the tone that it should be, in decibels.
fn error_db(out: &[f32], rate: f64, hz: f64) -> f64 {
    let step = hz * std::f64::consts::TAU / rate;
    let range = 1_000..out.len() - 10;
    let error: f64 =
        range.clone().map(|at| (f64::from(out[at]) - 0.5 * (at as f64 * step).sin()).powi(2)).sum();
    10.0 * (error / (range.len() as f64 * 0.125)).log10()
}

#[test]
fn a_tone_stays_where_and_when_it_was_at_every_rate() {
    for from in [
        96_000, 88_200, 64_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
        7_350, 12_345,
    ] {
        let out = resampled(from, 48_000, 1_000.0, 0);
        let error = error_db(&out, 48_000.0, 1_000.0);
        assert!(error < -75.0, "{from} Hz: {error:.1} dB");
        let lacking = 48_000 - out.len() as i64;
        assert!((0..300).contains(&lacking), "{from} Hz: {lacking} samples are missing");
    }
}

#[test]
fn equal_rates_pass_every_sample_as_it_is() {
    let out = resampled(48_000, 48_000, 15_000.0, 0);
    assert_eq!(out, tone(48_000, 15_000.0, out.len()));
}

#[test]
fn bending_makes_more_of_the_same() {
    let out = resampled(48_000, 48_000, 1_000.0, 2_000);
    let error = error_db(&out, 48_000.0 / 0.998, 1_000.0);
    assert!(error < -75.0, "{error:.1} dB");
    assert!((48_060..48_100).contains(&out.len()), "{}", out.len());
}

#[test]
fn what_cannot_be_told_at_the_lower_rate_is_left_out() {
    let out = resampled(48_000, 8_000, 5_000.0, 0);
    let loudest = out[200..].iter().fold(0.0f32, |most, sample| most.max(sample.abs()));
    assert!(loudest < 0.5e-3, "{loudest}");
}

#[test]
fn what_is_inside_and_what_came_out_is_what_went_in() {
    for (from, bend) in [(44_100, 0), (48_000, 0), (48_000, 137), (96_000, -3_000)] {
        let mut resampler = Resampler::new(from, 48_000);
        let mut out = Vec::new();
        let piece = vec![0.25f32; 1_024];
        for count in 1..200i64 {
            resampler.push(&piece, &piece, bend, &mut out);
            let stretch = 1.0 / (1.0 - f64::from(bend) * 1e-6);
            let told =
                out.len() as f64 / 2.0 / 48_000.0 * 1e6 / stretch + resampler.pending_us() as f64;
            let is = count as f64 * 1_024.0 / f64::from(from) * 1e6;
            assert!((told - is).abs() < 2.0, "{from} {bend}: {told} {is}");
        }
    }
}
