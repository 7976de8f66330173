//! One track from end to end: decode, place in time, resample, cut into frames, encode.

use bytes::Bytes;
use media::{Codec, Flags, Frame};

use crate::Error;
use crate::decode::{Decoder, Sound};
use crate::encode::Encoder;
use crate::follow::{FILL_US, Follower, Place};
use crate::resample::Resampler;

/// Silence is made in pieces of so many samples.
const SILENCE: usize = 2_048;

/// See [`crate::ToOpus`] for what its users are promised.
pub(crate) struct Chain<E> {
    accepts: fn(Codec) -> bool,
    decoder: Option<Decoder>,
    encoder: E,
    resampler: Option<Resampler>,
    follower: Follower,
    sound: Sound,
    /// Pairs of samples at the encoder's rate that wait for a whole frame.
    waiting: Vec<f32>,
    /// Samples at the encoder's rate since the anchor, and frames.
    counted: u64,
    frames: u64,
    /// Samples at the encoder's rate still to leave out: the encoder's delay, after an anchor.
    ahead: usize,
    /// Microseconds of input still to leave out.
    surplus_us: i64,
    /// Length and rate of the last good frame: what a damaged one is replaced by.
    usual: (usize, u32),
    discontinuity: bool,
    configured: bool,
}

impl<E: Encoder> Chain<E> {
    pub(crate) fn new(encoder: E, accepts: fn(Codec) -> bool) -> Self {
        Self {
            accepts,
            decoder: None,
            encoder,
            resampler: None,
            follower: Follower::default(),
            sound: Sound::default(),
            waiting: Vec::new(),
            counted: 0,
            frames: 0,
            ahead: 0,
            surplus_us: 0,
            usual: (0, 0),
            discontinuity: false,
            configured: false,
        }
    }

    pub(crate) fn reset(&mut self) {
        self.decoder = None;
        self.encoder.reset();
        self.resampler = None;
        self.follower.forget();
        self.waiting.clear();
        self.frames = 0;
        self.surplus_us = 0;
        self.usual = (0, 0);
        self.discontinuity = false;
        self.configured = false;
    }

    pub(crate) fn push(&mut self, frame: &Frame, out: &mut Vec<Frame>) -> Result<(), Error> {
        if !(self.accepts)(frame.codec) {
            return Err(Error::Codec(frame.codec));
        }
        let mut decoder = match self.decoder.take() {
            Some(decoder) if decoder.codec() == frame.codec => decoder,
            _ => Decoder::new(frame.codec).ok_or(Error::Codec(frame.codec))?,
        };
        let done = self.push_with(&mut decoder, frame, out);
        self.decoder = Some(decoder);
        done
    }

    fn push_with(
        &mut self,
        decoder: &mut Decoder,
        frame: &Frame,
        out: &mut Vec<Frame>,
    ) -> Result<(), Error> {
        if frame.is_config() {
            return decoder.configure(&frame.payload);
        }
        if frame.flags.contains(Flags::END) {
            self.end(decoder, frame, out);
            return Ok(());
        }
        if frame.flags.contains(Flags::DISCONTINUITY) {
            decoder.reset();
            self.start_anew();
        }
        if frame.payload.is_empty() {
            return Ok(());
        }
        self.sound.clear();
        let decoded = decoder.decode(frame, &mut self.sound);
        match &decoded {
            Ok(()) if self.sound.len() > 0 => self.usual = (self.sound.len(), self.sound.rate),
            Ok(()) => return Ok(()),
            Err(_) if self.usual.0 == 0 => return decoded,
            Err(_) => {
                self.sound.silence(self.usual.0);
                self.sound.rate = self.usual.1;
            }
        }
        let rate = self.sound.rate;
        let mut resampler = match self.resampler.take() {
            Some(resampler) if resampler.input_rate() == rate => resampler,
            _ => Resampler::new(rate, E::RATE),
        };
        let encoded = self.place(&mut resampler, frame, out);
        self.resampler = Some(resampler);
        decoded.and(encoded)
    }

    /// Puts the decoded sound where its time is.
    fn place(
        &mut self,
        resampler: &mut Resampler,
        frame: &Frame,
        out: &mut Vec<Frame>,
    ) -> Result<(), Error> {
        let start = frame.pts.offset(self.sound.lead_us.saturating_neg());
        let mut bend = 0;
        let mut encoded = Ok(());
        if self.surplus_us <= 0 {
            let counted = self.follower.time(self.counted, E::RATE).offset(resampler.pending_us());
            match self.follower.place(start, counted) {
                Place::Follows(by) => bend = by,
                Place::Leave(us) => self.surplus_us = us.min(FILL_US),
                Place::After(us) => {
                    let mut missing = samples_in(us.min(FILL_US), resampler.input_rate());
                    while missing > 0 {
                        let piece = missing.min(SILENCE);
                        let zeros = [0.0; SILENCE];
                        let zeros = zeros.get(..piece).unwrap_or_default();
                        encoded = encoded.and(self.feed(resampler, zeros, zeros, 0, frame, out));
                        missing -= piece;
                    }
                }
                Place::Anew => {
                    resampler.reset();
                    self.discontinuity |= self.frames > 0;
                    self.follower.anchor(start);
                    self.waiting.clear();
                    self.counted = 0;
                    self.frames = 0;
                    self.ahead = self.encoder.delay();
                }
            }
        }
        if self.surplus_us > 0 {
            let rate = resampler.input_rate();
            let left_out = samples_in(self.surplus_us, rate).min(self.sound.len());
            self.surplus_us -= left_out as i64 * 1_000_000 / i64::from(rate.max(1));
            if left_out == 0 {
                self.surplus_us = 0;
            }
            self.sound.skip(left_out);
        }
        let mut sound = std::mem::take(&mut self.sound);
        let fed = self.feed(resampler, &sound.left, &sound.right, bend, frame, out);
        sound.clear();
        self.sound = sound;
        encoded.and(fed)
    }

    /// Resamples and encodes as many frames as are whole.
    fn feed(
        &mut self,
        resampler: &mut Resampler,
        left: &[f32],
        right: &[f32],
        bend: i32,
        frame: &Frame,
        out: &mut Vec<Frame>,
    ) -> Result<(), Error> {
        let before = self.waiting.len();
        resampler.push(left, right, bend, &mut self.waiting);
        self.counted += ((self.waiting.len() - before) / 2) as u64;
        let ahead = self.ahead.min(self.waiting.len() / 2);
        self.waiting.drain(..ahead * 2);
        self.ahead -= ahead;
        let mut done = 0;
        let mut encoded = Ok(());
        while let Some(pcm) = self.waiting.get(done..done + E::SAMPLES * 2) {
            done += E::SAMPLES * 2;
            match self.encoder.encode(pcm) {
                Ok(payload) => self.give(payload, frame, out),
                Err(why) => encoded = encoded.and(Err(why)),
            }
            self.frames += 1;
        }
        self.waiting.drain(..done);
        encoded
    }

    fn give(&mut self, payload: Bytes, frame: &Frame, out: &mut Vec<Frame>) {
        let at = self.follower.time(self.frames.saturating_mul(E::SAMPLES as u64), E::RATE);
        let mut made = Frame {
            codec: self.encoder.codec(),
            track: frame.track,
            flags: Flags::empty(),
            tag: 0,
            dts: at,
            pts: at,
            payload,
        };
        if !self.configured {
            self.configured = true;
            if let Some(payload) = self.encoder.config() {
                out.push(Frame { flags: Flags::CONFIG, payload, ..made.clone() });
            }
        }
        made.flags.set(Flags::DISCONTINUITY, std::mem::take(&mut self.discontinuity));
        out.push(made);
    }

    fn start_anew(&mut self) {
        self.follower.forget();
        self.surplus_us = 0;
        self.usual = (0, 0);
    }

    fn end(&mut self, decoder: &mut Decoder, frame: &Frame, out: &mut Vec<Frame>) {
        decoder.reset();
        self.start_anew();
        if self.configured {
            out.push(Frame {
                codec: self.encoder.codec(),
                flags: Flags::END,
                tag: 0,
                payload: Bytes::new(),
                ..frame.clone()
            });
        }
    }
}

/// `us` microseconds in samples of `rate` Hz.
fn samples_in(us: i64, rate: u32) -> usize {
    usize::try_from(us.saturating_mul(i64::from(rate)) / 1_000_000).unwrap_or(0)
}
