//! The test card: a short clip of moving picture and tone, made from nothing.
//!
//! It is built into the binary, so that a stream can be had without a camera, an encoder or a
//! network, and tests have real media: colour bars, a white box that moves one cell a frame, the
//! number of the second and of the frame, a soft tone, and once a second, at the full second, a
//! flash together with a beep. Entry: [`flv()`] for the clip as a file, [`clip()`] for its parts.
//!
//! The video is H.264 Constrained Baseline, 640x360 at 25 frames a second with an IDR picture
//! every two seconds; the sound is AAC-LC, 44.1 kHz stereo. Both come from small encoders that can
//! do what this one clip needs and nothing else; their modules tell how, with the sections of
//! ITU-T H.264 and ISO/IEC 14496-3. The result is the same bytes on every machine.
//!
//! ## The loop
//!
//! Played in a loop, round `n` adds `n` times [`Clip::duration`] to all timestamps. Picture and
//! tone stay together for ever, because the timestamps of both begin anew with each round: those
//! of the sound are derived from the count of samples since the round began. 431 access units of
//! sound are 7.8 ms longer than the ten seconds of picture; the last one is that much closer to
//! its successor, by time, than its samples are long. Its samples continue in those of the first,
//! so nothing clicks; the first picture of a round is an IDR picture, and the box is back where it
//! began.
//!
//! The crate is a build-dependency, and depends on nothing for it.

// Nothing here reads input: all indices come from constants, and a slip fails the build, not a
// server.
#![allow(clippy::indexing_slicing)]

mod aac;
mod avc;
mod bits;
mod card;
mod flv;
mod tone;

/// Seconds from one IDR picture to the next.
const KEY_SECONDS: u32 = 2;
/// What [`flv()`] makes: five groups of pictures, enough to fill a playlist before the loop begins
/// anew. At double the binary grows by another 120 kB, at half the box has no room to move.
const SECONDS: u32 = 10;
/// The longest [`clip()`]: the card has two digits for the seconds.
const MOST_SECONDS: u32 = 100;

/// One picture or one block of sound, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// When it is decoded and shown or heard, in microseconds since the clip's first picture.
    pub micros: u64,
    /// A decoder can start here: an IDR picture, or any sound.
    pub key: bool,
    /// Video: NAL units behind four-byte lengths. Audio: one raw_data_block, no ADTS.
    pub data: Vec<u8>,
}

/// A whole clip, encoded. See the crate's documentation for what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    seconds: u32,
    video: Vec<AccessUnit>,
    audio: Vec<AccessUnit>,
    avc_config: Vec<u8>,
    aac_config: Vec<u8>,
}

/// Makes a clip of so many seconds, rounded up to an even number from 2 to 100.
///
/// Costs 0.2 s of processor time for ten seconds of clip in an unoptimised build.
pub fn clip(seconds: u32) -> Clip {
    let seconds = seconds.clamp(1, MOST_SECONDS).next_multiple_of(KEY_SECONDS);
    Clip {
        seconds,
        video: pictures(seconds as usize),
        audio: sounds(seconds as usize),
        avc_config: avc::config(),
        aac_config: aac::config(),
    }
}

/// The clip of ten seconds as an FLV file, for a build script to write out.
pub fn flv() -> Vec<u8> {
    clip(SECONDS).to_flv()
}

fn pictures(seconds: usize) -> Vec<AccessUnit> {
    let total = seconds * card::RATE;
    let backdrop = card::backdrop();
    let mut encoder = avc::Encoder::default();
    (0..total)
        .map(|frame| {
            let key = frame % (KEY_SECONDS as usize * card::RATE) == 0;
            let data = encoder.encode(&card::paint(&backdrop, frame, total), key);
            AccessUnit { micros: frame as u64 * 1_000_000 / card::RATE as u64, key, data }
        })
        .collect()
}

fn sounds(seconds: usize) -> Vec<AccessUnit> {
    let frames = (seconds * tone::SAMPLE_RATE).div_ceil(aac::FRAME);
    let wave = tone::Waveform::new(frames * aac::FRAME, seconds);
    let units = aac::encode(&wave, frames).into_iter().enumerate();
    units
        .map(|(index, data)| {
            let micros = (index * aac::FRAME) as u64 * 1_000_000 / tone::SAMPLE_RATE as u64;
            AccessUnit { micros, key: true, data }
        })
        .collect()
}

impl Clip {
    /// The pictures, in order of time: the first is an IDR picture at 0, no B-pictures.
    pub fn video(&self) -> &[AccessUnit] {
        &self.video
    }

    /// The sound, in order of time, beginning at 0 and ending at or just behind
    /// [`duration`](Self::duration).
    pub fn audio(&self) -> &[AccessUnit] {
        &self.audio
    }

    /// The AVCDecoderConfigurationRecord (`avcC`, ISO/IEC 14496-15) of the video.
    pub fn avc_config(&self) -> &[u8] {
        &self.avc_config
    }

    /// The AudioSpecificConfig (ISO/IEC 14496-3) of the audio.
    pub fn aac_config(&self) -> &[u8] {
        &self.aac_config
    }

    /// How long the pictures last, in milliseconds: what a loop adds to the timestamps each round.
    pub const fn duration(&self) -> u64 {
        self.seconds as u64 * 1000
    }

    /// Picture width in samples, as shown.
    pub const fn width(&self) -> u16 {
        card::WIDTH as u16
    }

    /// Picture height in samples, as shown.
    pub const fn height(&self) -> u16 {
        card::HEIGHT as u16
    }

    /// The clip as an FLV file: `onMetaData`, both configurations, then all access units in order
    /// of time. Copies everything.
    pub fn to_flv(&self) -> Vec<u8> {
        flv::write(self)
    }
}

#[cfg(test)]
mod tests;
