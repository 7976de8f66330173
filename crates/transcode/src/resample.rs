//! From one sample rate to another, with a rate that can be bent.
//!
//! A bank of windowed sines (Kaiser), one for each of up to some hundred positions between two
//! samples; positions in between are interpolated. The position is kept in whole numbers, so
//! nothing drifts, and how much sound is still inside is known exactly.

/// Length of the filter in samples at the lower of both rates. At half, the band that is lost
/// below the edge (2 kHz of 44.1 kHz) becomes audible; at double, cost and delay double.
const TAPS: usize = 64;
/// Positions between two samples at least, where the ratio does not give more. With linear
/// interpolation between them the error is below -85 dB; at half, below -73 dB.
const PHASES: u32 = 160;
/// And at most: 61 kB of table for 22.05 kHz. Rates that would need more are interpolated.
const MAX_PHASES: u32 = 320;
/// Shape of the Kaiser window: 80 dB of attenuation.
const KAISER_BETA: f64 = 7.9;
/// Cut-off as a part of the lower Nyquist frequency: the middle of the transition.
const CUTOFF: f64 = 0.945;
/// The finest bend: one part in a million.
const BEND_UNIT: u64 = 1_000_000;

/// Two channels from one rate to another. One per track, made when its rate is known.
pub(crate) struct Resampler {
    from: u32,
    to: u32,
    taps: usize,
    phases: usize,
    /// `phases + 1` filters of `taps` coefficients.
    bank: Vec<f32>,
    kernel: Vec<f32>,
    /// Input that is still needed, each channel for itself.
    left: Vec<f32>,
    right: Vec<f32>,
    /// Where the next output lies: whole input samples into `left`, and a rest in
    /// 1 / (`to` * `BEND_UNIT`) of one.
    position: usize,
    rest: u64,
}

impl Resampler {
    /// From `from` to `to` Hz, both 7 kHz to 96 kHz.
    pub(crate) fn new(from: u32, to: u32) -> Self {
        let down = (f64::from(from) / f64::from(to)).max(1.0);
        let taps = ((TAPS as f64 * down / 8.0).ceil() as usize).saturating_mul(8);
        let exact = to / greatest_common_divisor(from, to).max(1);
        let wanted = ((f64::from(PHASES) / down).ceil() as u32).max(1);
        let phases = match exact {
            0 => wanted,
            _ if exact > MAX_PHASES => MAX_PHASES,
            _ => exact.saturating_mul(wanted.div_ceil(exact)),
        };
        // Between equal rates position 0 must pass every sample as it is.
        let cutoff = if from == to { 1.0 } else { CUTOFF / down };
        let bank = bank(taps, phases as usize, cutoff);
        let mut made = Self {
            from,
            to,
            taps,
            phases: phases as usize,
            bank,
            kernel: vec![0.0; taps],
            left: Vec::new(),
            right: Vec::new(),
            position: 0,
            rest: 0,
        };
        made.reset();
        made
    }

    /// The input rate in Hz.
    pub(crate) const fn input_rate(&self) -> u32 {
        self.from
    }

    /// Forgets all sound. The next output is the sound of the next input.
    pub(crate) fn reset(&mut self) {
        self.left.clear();
        self.right.clear();
        // Silence for the half of the filter that looks back.
        let before = (self.taps / 2).saturating_sub(1);
        self.left.resize(before, 0.0);
        self.right.resize(before, 0.0);
        self.position = 0;
        self.rest = 0;
    }

    /// How long the sound is that went in and has not come out, in microseconds.
    pub(crate) fn pending_us(&self) -> i64 {
        let before = (self.taps / 2).saturating_sub(1);
        let whole = self.left.len() as i64 - (self.position + before) as i64;
        let unit = u64::from(self.to) * BEND_UNIT;
        let part = self.rest as f64 / unit as f64;
        ((whole as f64 - part) * 1e6 / f64::from(self.from)).round() as i64
    }

    /// Takes equally many samples of each channel and appends what can be told of the output,
    /// interleaved. `bend` in parts per million makes more output of the same input (above 0) or
    /// less; it is kept within 100,000.
    pub(crate) fn push(&mut self, left: &[f32], right: &[f32], bend: i32, out: &mut Vec<f32>) {
        self.left.extend_from_slice(left);
        self.right.extend_from_slice(right);
        let bend = bend.clamp(-100_000, 100_000);
        let unit = u64::from(self.to) * BEND_UNIT;
        let step = u64::from(self.from) * BEND_UNIT.saturating_add_signed(-i64::from(bend));
        let (whole, part) = ((step / unit) as usize, step % unit);
        if self.from == self.to && self.rest == 0 && part == 0 {
            self.copy(out);
        } else {
            self.convolve(whole, part, unit, out);
        }
        let done = self.position.min(self.left.len());
        self.left.drain(..done);
        self.right.drain(..done);
        self.position -= done;
    }

    fn copy(&mut self, out: &mut Vec<f32>) {
        let middle = self.position + (self.taps / 2).saturating_sub(1);
        let ready = self.left.len().saturating_sub(self.position + self.taps - 1);
        let left = self.left.get(middle..middle + ready).unwrap_or_default();
        let right = self.right.get(middle..middle + ready).unwrap_or_default();
        out.extend(left.iter().zip(right).flat_map(|(left, right)| [*left, *right]));
        self.position += ready;
    }

    fn convolve(&mut self, whole: usize, part: u64, unit: u64, out: &mut Vec<f32>) {
        let phases = self.phases as u64;
        loop {
            let span = self.position..self.position + self.taps;
            let (Some(left), Some(right)) = (self.left.get(span.clone()), self.right.get(span))
            else {
                break;
            };
            let scaled = u128::from(self.rest) * u128::from(phases);
            let index = (scaled / u128::from(unit)) as usize;
            let between = (scaled % u128::from(unit)) as f32 / unit as f32;
            let at = index * self.taps;
            let row = self.bank.get(at..at + self.taps).unwrap_or_default();
            if between == 0.0 {
                out.extend([dot(row, left), dot(row, right)]);
            } else {
                let after = at + self.taps;
                let next = self.bank.get(after..after + self.taps).unwrap_or_default();
                for ((mixed, this), next) in self.kernel.iter_mut().zip(row).zip(next) {
                    *mixed = between.mul_add(next - this, *this);
                }
                out.extend([dot(&self.kernel, left), dot(&self.kernel, right)]);
            }
            self.position += whole;
            self.rest += part;
            if self.rest >= unit {
                self.rest -= unit;
                self.position += 1;
            }
        }
    }
}

/// Sum of products, in eight lanes so that the compiler can take them at once.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum()
}

/// One filter for each position from 0 to `phases`, both included, each of unit gain.
fn bank(taps: usize, phases: usize, cutoff: f64) -> Vec<f32> {
    let mut bank = Vec::with_capacity(taps * (phases + 1));
    let middle = (taps / 2) as f64 - 1.0;
    let half = taps as f64 / 2.0;
    for phase in 0..=phases {
        let shift = phase as f64 / phases as f64;
        let row = (0..taps).map(|tap| {
            let x = tap as f64 - middle - shift;
            let within = (1.0 - (x / half).powi(2)).max(0.0);
            sinc(x * cutoff) * bessel_i0(KAISER_BETA * within.sqrt())
        });
        let row: Vec<f64> = row.collect();
        let gain: f64 = row.iter().sum();
        bank.extend(row.iter().map(|value| (value / gain) as f32));
    }
    bank
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    if x.fract() == 0.0 {
        return 0.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// The modified Bessel function of order 0, by its series.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..40 {
        term *= quarter / f64::from(k * k);
        sum += term;
    }
    sum
}

const fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests;
