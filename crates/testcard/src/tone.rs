//! What the test card sounds like: a soft tone, and a beep at each full second.
//!
//! The waveform is periodic in the whole number of AAC frames that cover the clip, so that its end
//! leads to its beginning without a click: the soft tone's frequency is moved to the nearest that
//! fits (by less than 0.05 Hz). Sines are computed here and not by the platform's library, whose
//! last bit differs between platforms: the clip is the same bytes wherever it is built.

use std::f64::consts::TAU;

/// Samples per second.
pub(crate) const SAMPLE_RATE: usize = 44_100;
/// Samples the beep lasts: 100 ms, from each full second on.
pub(crate) const BEEP_SAMPLES: usize = SAMPLE_RATE / 10;

/// The soft tone, in Hz: the A that instruments tune to.
const TONE_HZ: usize = 440;
/// The beep, in Hz: far enough from the tone that both are heard, and told apart by any meter.
const BEEP_HZ: usize = 1000;
/// Of full scale 32768: about -26 dB. At double the soft tone is a nuisance in an open office.
const TONE_AMPLITUDE: f64 = 1638.0;
/// About -12 dB: well above the tone, and far from clipping together with it.
const BEEP_AMPLITUDE: f64 = 8192.0;
/// The beep's rise and fall, 5 ms each: at a tenth it clicks, at ten times it has no edge left.
const RAMP_SAMPLES: usize = SAMPLE_RATE / 200;

/// The sine of an angle given in turns.
pub(crate) fn sine(turns: f64) -> f64 {
    // To the nearest half turn, in which the series is short: sin(x + k/2 turns) = ±sin(x).
    let halves = (2.0 * turns).round();
    let x = (turns - halves / 2.0) * TAU;
    let square = x * x;
    let (mut term, mut sum) = (x, x);
    for n in 1..12 {
        let n = f64::from(2 * n);
        term *= -square / (n * (n + 1.0));
        sum += term;
    }
    if halves.rem_euclid(2.0) == 1.0 { -sum } else { sum }
}

/// The cosine of an angle given in turns.
pub(crate) fn cosine(turns: f64) -> f64 {
    sine(turns + 0.25)
}

/// The sound of a clip of so many samples, repeating for ever.
pub(crate) struct Waveform {
    period: usize,
    /// How many cycles of the soft tone the period holds.
    cycles: usize,
    /// The full seconds at which it beeps: 0 to this, excluded.
    seconds: usize,
}

impl Waveform {
    /// Beeps in each of `seconds` seconds, and repeats after `period` samples.
    pub(crate) const fn new(period: usize, seconds: usize) -> Self {
        Self { period, cycles: (period * TONE_HZ + SAMPLE_RATE / 2) / SAMPLE_RATE, seconds }
    }

    /// The soft tone's phase at a sample, in turns from 0 to 1.
    pub(crate) fn tone_phase(&self, sample: usize) -> f64 {
        (sample * self.cycles % self.period) as f64 / self.period as f64
    }

    /// The soft tone's step from sample to sample, in turns.
    pub(crate) fn tone_step(&self) -> f64 {
        self.cycles as f64 / self.period as f64
    }

    /// The soft tone's peak, in units of 16-bit samples.
    pub(crate) const fn tone_amplitude(&self) -> f64 {
        TONE_AMPLITUDE
    }

    /// The beep alone at a sample, in units of 16-bit samples; `None` where there is silence.
    pub(crate) fn beep(&self, sample: usize) -> Option<f64> {
        let sample = sample % self.period;
        let (second, within) = (sample / SAMPLE_RATE, sample % SAMPLE_RATE);
        if second >= self.seconds || within >= BEEP_SAMPLES {
            return None;
        }
        let edge = within.min(BEEP_SAMPLES - within);
        let ramp = if edge < RAMP_SAMPLES {
            (1.0 - cosine(edge as f64 / (2 * RAMP_SAMPLES) as f64)) / 2.0
        } else {
            1.0
        };
        let turns = (within * BEEP_HZ % SAMPLE_RATE) as f64 / SAMPLE_RATE as f64;
        Some(BEEP_AMPLITUDE * ramp * sine(turns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_are_those_of_the_platform_but_for_the_last_bits() {
        for i in -4000..4000 {
            let turns = f64::from(i) / 997.0;
            assert!((sine(turns) - (turns * TAU).sin()).abs() < 1e-12, "{turns}");
            assert!((cosine(turns) - (turns * TAU).cos()).abs() < 1e-12, "{turns}");
        }
    }

    #[test]
    fn the_soft_tone_stays_within_a_twentieth_of_a_hertz_of_its_frequency() {
        let wave = Waveform::new(431 * 1024, 10);
        let hertz = wave.tone_step() * SAMPLE_RATE as f64;
        assert!((hertz - TONE_HZ as f64).abs() < 0.05, "{hertz}");
    }

    #[test]
    fn the_beep_sounds_in_the_first_tenth_of_each_second_only() {
        let wave = Waveform::new(431 * 1024, 10);
        for second in 0..10 {
            let start = second * SAMPLE_RATE;
            assert!(wave.beep(start).is_some());
            assert!(wave.beep(start + BEEP_SAMPLES - 1).is_some());
            assert!(wave.beep(start + BEEP_SAMPLES).is_none());
        }
        assert!(wave.beep(10 * SAMPLE_RATE).is_none());
        assert!(wave.beep(431 * 1024).is_some(), "the period begins anew");
    }
}
