//! Opus (RFC 6716), with concealment of what timestamps tell to be lost.

use media::opus::OpusHead;
use media::{Codec, Frame, Timestamp};
use opus_pure::{OpusDecoder, packet};

use super::{Sound, check_length, damaged};
use crate::Error;
use crate::guard::guarded;

const RATE: u32 = 48_000;
/// The longest packet that RFC 6716 section 3.4 recommends to take, 7,662 bytes, rounded up.
const MAX_PACKET: usize = 8_192;
/// The longest packet in samples: 120 ms (RFC 6716 section 3.2.5).
const MAX_SAMPLES: usize = 5_760;
/// The unit of packet durations: 2.5 ms.
const UNIT_US: i64 = 2_500;
const UNIT_SAMPLES: usize = 120;
/// Up to here a hole is concealed, in microseconds. Concealment has faded out by then.
const CONCEAL_US: i64 = 100_000;

/// Made with the first packet.
#[derive(Default)]
pub(crate) struct Decoder {
    inner: Option<Box<OpusDecoder>>,
    gain: i16,
    /// Where the packet before ended, and how long it was, in microseconds.
    end: Option<(Timestamp, i64)>,
    pcm: Vec<f32>,
}

impl Decoder {
    pub(super) fn configure(&mut self, config: &[u8]) -> Result<(), Error> {
        let refused = |why: String| Error::Config { codec: Codec::Opus, why: why.into() };
        let head = OpusHead::decode(config).map_err(|why| refused(why.to_string()))?;
        if head.mapping_family != 0 {
            return Err(refused("more than two channels".into()));
        }
        if self.gain != head.gain {
            self.gain = head.gain;
            self.inner = None;
        }
        Ok(())
    }

    pub(super) fn decode(&mut self, frame: &Frame, sound: &mut Sound) -> Result<(), Error> {
        check_length(Codec::Opus, &frame.payload, MAX_PACKET)?;
        let samples = packet::samples_48k(&frame.payload).map_err(broken)?;
        if samples == 0 || samples > MAX_SAMPLES {
            return Err(damaged(Codec::Opus, "it lasts longer than 120 ms"));
        }
        if self.inner.is_none() {
            let mut made = guarded(|| OpusDecoder::new(RATE as i32, 2))
                .ok_or(Error::Panicked(Codec::Opus))?
                .map_err(broken)?;
            made.gain_q8 = i32::from(self.gain);
            self.inner = Some(Box::new(made));
        }
        let decoder = self.inner.as_mut().ok_or(Error::Panicked(Codec::Opus))?;
        let lost = lost_samples(self.end, frame.pts);
        let lasting = samples as i64 * UNIT_US / UNIT_SAMPLES as i64;
        self.end = Some((frame.pts.offset(lasting), lasting));
        sound.rate = RATE;
        self.pcm.resize((lost + samples) * 2, 0.0);
        let (before, now) = self.pcm.split_at_mut(lost * 2);
        let decoded = guarded(|| {
            if lost > 0 {
                // The packet may carry its lost forerunner once more; the rest is concealed.
                decoder.decode_fec(&frame.payload, lost, before)?;
            }
            decoder.decode(&frame.payload, samples, now)
        });
        match decoded {
            Some(Ok(_)) => {
                sound.push_interleaved(&self.pcm);
                sound.lead_us = lost as i64 * UNIT_US / UNIT_SAMPLES as i64;
                Ok(())
            }
            Some(Err(why)) => {
                self.inner = None;
                Err(broken(why))
            }
            None => {
                self.inner = None;
                Err(Error::Panicked(Codec::Opus))
            }
        }
    }

    pub(super) fn reset(&mut self) {
        self.inner = None;
        self.end = None;
    }
}

/// How many samples are missing before a packet at `start`; 0 where there is nothing to conceal.
fn lost_samples(end: Option<(Timestamp, i64)>, start: Timestamp) -> usize {
    let Some((end, lasting)) = end else { return 0 };
    let hole = start.micros_since(end);
    // Less than most of a packet is jitter.
    if hole < UNIT_US.max(lasting * 3 / 4) || hole > CONCEAL_US {
        return 0;
    }
    let units = (hole + UNIT_US / 2) / UNIT_US;
    units as usize * UNIT_SAMPLES
}

fn broken(why: opus_pure::Error) -> Error {
    damaged(Codec::Opus, why)
}
