//! An AAC-LC encoder for tones.
//!
//! A tone has few spectral lines, so one quantiser step for all of them, one section of codebook
//! 11 below the highest line in use, and long sine windows do. Both channels sound alike: they are
//! a pair in M/S stereo whose side channel is silent and takes four bytes.
//!
//! Access unit `i` carries the window over the samples from `1024 * i` to `1024 * (i + 2)`; a
//! decoder puts out the first half of it, so that there is no delay to make up for: the first
//! sample of access unit `i` is sample `1024 * i`.
//!
//! Not here: psychoacoustics, block switching, scalefactors that differ, TNS, rate control.
//!
//! ISO/IEC 14496-3: AudioSpecificConfig 1.6.2.1, raw_data_block 4.4.2.1, ics_info and
//! individual_channel_stream 4.4.2.7, quantisation 4.6.2, section data 4.6.3, M/S 4.6.8.1,
//! filterbank 4.6.11.

mod codebook;

use codebook::SPECTRUM_11;

use crate::bits::BitWriter;
use crate::tone::{SAMPLE_RATE, Waveform, cosine, sine};

/// Samples per access unit and channel.
pub(crate) const FRAME: usize = 1024;
const WINDOW: usize = 2 * FRAME;

/// The samplingFrequencyIndex of 44.1 kHz.
const RATE_INDEX: u32 = 4;
const _: () = assert!(SAMPLE_RATE == 44_100);

/// Where the scalefactor bands begin and end, up to where the beep's edges are lost in the
/// quantiser (2.1 kHz): the head of table 4.129.
const BANDS: [usize; 18] = [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 48, 56, 64, 72, 80, 88, 96];
const LINES: usize = BANDS[BANDS.len() - 1];

/// The one scalefactor: a quantiser step of 2^((144 - 100) / 4) = 2^11. It leaves some 45 dB
/// between the soft tone and the noise. Each 4 more would take 4.5 dB of that; each 4 less would
/// keep lines that nobody hears.
const SCALEFACTOR: u32 = 144;
const STEP: f64 = (1 << ((SCALEFACTOR - 100) / 4)) as f64;

/// The magnitude that codebook 11 has for "an escape follows".
const ESCAPE: u32 = 16;
/// What an escape can hold (4.6.3.3).
const LARGEST: f64 = 8191.0;

/// The AudioSpecificConfig: AAC-LC, 44.1 kHz, two channels, 1024 samples a frame.
pub(crate) fn config() -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.put(5, 2); // audioObjectType: AAC LC
    bits.put(4, RATE_INDEX);
    bits.put(4, 2); // channelConfiguration: left and right
    bits.put(3, 0); // frameLengthFlag, dependsOnCoreCoder, extensionFlag
    bits.finish()
}

/// Encodes one period of a waveform, `frames` access units.
pub(crate) fn encode(wave: &Waveform, frames: usize) -> Vec<Vec<u8>> {
    let transform = Transform::new();
    // The soft tone in a window of any phase is a mixture of these two.
    let step = wave.tone_step();
    let amplitude = wave.tone_amplitude();
    let in_phase = transform.lines(|n| Some(amplitude * sine(step * n as f64)));
    let ahead = transform.lines(|n| Some(amplitude * cosine(step * n as f64)));

    (0..frames)
        .map(|index| {
            let start = index * FRAME;
            let mut lines = transform.lines(|n| wave.beep(start + n));
            let phase = wave.tone_phase(start);
            let (mix, mix_ahead) = (cosine(phase), sine(phase));
            for (line, (a, b)) in lines.iter_mut().zip(in_phase.iter().zip(&ahead)) {
                *line += mix * a + mix_ahead * b;
            }
            access_unit(&lines)
        })
        .collect()
}

/// The windowed MDCT, as far as [`LINES`] go.
struct Transform {
    /// The sine window over both halves.
    window: Vec<f64>,
    /// One turn of the cosine, in steps of the smallest angle that the transform uses.
    cosines: Vec<f64>,
}

impl Transform {
    fn new() -> Self {
        let turn = 4 * WINDOW;
        Self {
            window: (0..WINDOW).map(|n| sine((n as f64 + 0.5) / turn as f64 * 2.0)).collect(),
            cosines: (0..turn).map(|i| cosine(i as f64 / turn as f64)).collect(),
        }
    }

    /// The lines of a window of samples, where `None` is silence.
    ///
    /// Straight from the definition, `2 * sum(z[n] * cos(2pi / N * (n + n0) * (k + 1/2)))` with
    /// `n0 = (N / 2 + 1) / 2`: only the few windows with a beep in them come here, and only the
    /// samples that are not silent are summed.
    fn lines(&self, sample: impl Fn(usize) -> Option<f64>) -> [f64; LINES] {
        let mut lines = [0.0; LINES];
        let turn = self.cosines.len();
        for n in 0..WINDOW {
            let Some(value) = sample(n) else { continue };
            let value = 2.0 * value * self.window[n];
            let mut angle = 2 * n + FRAME + 1;
            let step = 2 * angle;
            for line in &mut lines {
                angle %= turn;
                *line += value * self.cosines[angle];
                angle += step;
            }
        }
        lines
    }
}

/// A raw_data_block of one channel pair whose channels both have these lines.
fn access_unit(lines: &[f64; LINES]) -> Vec<u8> {
    let levels = lines.map(quantise);
    let used = levels.iter().rposition(|level| *level != 0).map_or(0, |last| last + 1);
    let bands = BANDS.iter().position(|start| *start >= used).unwrap_or(BANDS.len() - 1);

    let mut bits = BitWriter::default();
    bits.put(3, 1); // id_syn_ele: channel_pair_element
    bits.put(4, 0); // element_instance_tag
    bits.flag(true); // common_window
    bits.flag(false); // ics_reserved_bit
    bits.put(2, 0); // window_sequence: ONLY_LONG_SEQUENCE
    bits.flag(false); // window_shape: sine
    bits.put(6, bands as u32); // max_sfb
    bits.flag(false); // predictor_data_present
    bits.put(2, 2); // ms_mask_present: M/S in all bands
    for (codebook, levels) in [(11, &levels[..BANDS[bands]]), (0, &[][..])] {
        bits.put(8, SCALEFACTOR); // global_gain
        if bands > 0 {
            bits.put(4, codebook); // sect_cb, for one section over all bands
            bits.put(5, bands as u32); // sect_len_incr: below its escape of 31
        }
        if codebook != 0 {
            bits.put(bands as u32, 0); // hcod_sf: a difference of 0 is the one-bit code 0
        }
        bits.flag(false); // pulse_data_present
        bits.flag(false); // tns_data_present
        bits.flag(false); // gain_control_data_present
        for pair in levels.chunks_exact(2) {
            encode_pair(&mut bits, pair[0], pair[1]);
        }
    }
    bits.put(3, 7); // ID_END
    bits.finish()
}

/// The nonuniform quantiser backwards: the level whose 4/3rd power times the step is nearest.
fn quantise(line: f64) -> i32 {
    let root = (line.abs() / STEP).sqrt();
    // 0.4054 and not 0.5: the values that share a level lie more densely at its lower end.
    let level = (root * root.sqrt() + 0.4054).min(LARGEST) as i32;
    if line < 0.0 { -level } else { level }
}

/// Two lines in codebook 11: the code of the magnitudes, the signs, the escapes.
fn encode_pair(bits: &mut BitWriter, first: i32, second: i32) {
    let pair = [first, second];
    let [row, column] = pair.map(|level| level.unsigned_abs().min(ESCAPE) as usize);
    bits.code(u32::from(SPECTRUM_11[row][column]));
    for level in pair.into_iter().filter(|level| *level != 0) {
        bits.flag(level < 0);
    }
    for magnitude in pair.map(i32::unsigned_abs).into_iter().filter(|m| *m >= ESCAPE) {
        // As many ones as the word has bits above four, a zero, and the word without its top bit.
        let width = 31 - magnitude.leading_zeros();
        bits.put(width - 4, u32::MAX);
        bits.flag(false);
        bits.put(width, magnitude);
    }
}

#[cfg(test)]
pub(crate) mod tests;
