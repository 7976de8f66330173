//! The stream that all cases share: 25 pictures and 43 blocks of sound a second, 575 kbit/s.

use bytes::Bytes;
use container::flv::{self, TagKind};
use media::{Codec, Flags, Frame, Timestamp};
use rtmp::wire::message::Media;

/// Seconds of it: two groups of pictures.
pub(crate) const SECONDS: i64 = 4;
const MICROS: i64 = 1_000_000;
const RATE: i64 = 25;
const GOP: i64 = 2 * RATE;
/// 512 kbit/s: 256,000 bytes in four seconds, of which two key pictures.
const KEY_PICTURE: u64 = 12_000;
const PICTURE: std::ops::Range<u64> = 1_500..3_230;
/// 64 kbit/s.
const SOUND: std::ops::Range<u64> = 150..222;
const SAMPLES: i64 = 1024;
const SAMPLE_RATE: i64 = 44_100;

const AVC_CONFIG: &[u8] = &[
    1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 4, 0x67, 0x42, 0xc0, 0x1e, 1, 0, 4, 0x68, 0xce, 0x38, 0x80,
];
const AAC_CONFIG: &[u8] = &[0x12, 0x10];
/// FLV's name for AAC.
const AAC_TAG: u32 = 0xaf;
const AVC_TAG: u32 = 7;

/// A generator of numbers (xorshift, 64 bits), the same each time.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) const fn new() -> Self {
        Self(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn within(&mut self, range: &std::ops::Range<u64>) -> usize {
        let value = range.start + self.next() % (range.end - range.start);
        usize::try_from(value).expect("sizes are small")
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.next().to_le_bytes()).flatten().take(len).collect()
    }
}

fn frame(codec: Codec, flags: Flags, micros: i64, payload: Vec<u8>) -> Frame {
    let at = Timestamp::from_micros(micros);
    let tag = if codec == Codec::Aac { AAC_TAG } else { AVC_TAG };
    Frame { codec, track: 0, flags, tag, dts: at, pts: at, payload: Bytes::from(payload) }
}

/// Both configurations.
pub(crate) fn configs() -> Vec<Frame> {
    vec![
        frame(Codec::H264, Flags::CONFIG, 0, AVC_CONFIG.to_vec()),
        frame(Codec::Aac, Flags::CONFIG, 0, AAC_CONFIG.to_vec()),
    ]
}

/// The media, in order of time.
pub(crate) fn frames() -> Vec<Frame> {
    let mut numbers = Numbers::new();
    let mut all = Vec::new();
    for index in 0..SECONDS * RATE {
        let key = index % GOP == 0;
        let len = if key { KEY_PICTURE as usize } else { numbers.within(&PICTURE) };
        let mut payload = u32::try_from(len).expect("sizes are small").to_be_bytes().to_vec();
        payload.push(if key { 0x65 } else { 0x41 });
        payload.extend(numbers.bytes(len - 1));
        let flags = if key { Flags::KEY } else { Flags::empty() };
        all.push(frame(Codec::H264, flags, index * MICROS / RATE, payload));
    }
    for index in 0..SECONDS * SAMPLE_RATE / SAMPLES {
        let len = numbers.within(&SOUND);
        let at = index * SAMPLES * MICROS / SAMPLE_RATE;
        all.push(frame(Codec::Aac, Flags::empty(), at, numbers.bytes(len)));
    }
    all.sort_by_key(|f| (f.dts.as_micros(), f.codec == Codec::Aac));
    all
}

/// The frames again and again, each time later.
pub(crate) struct Endless {
    frames: Vec<Frame>,
    at: usize,
    offset: i64,
}

impl Endless {
    pub(crate) fn new() -> Self {
        Self { frames: frames(), at: 0, offset: 0 }
    }

    /// So many come before the first is repeated.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn next(&mut self) -> Frame {
        let frame = &self.frames[self.at];
        let at = frame.dts.offset(self.offset);
        let frame = Frame { dts: at, pts: at, ..frame.clone() };
        self.at += 1;
        if self.at == self.frames.len() {
            self.at = 0;
            self.offset += SECONDS * MICROS;
        }
        frame
    }
}

/// One message body as a publisher sends it.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) kind: TagKind,
    pub(crate) at: Timestamp,
    pub(crate) bytes: Bytes,
}

impl Body {
    fn of(frame: &Frame) -> Self {
        let header = flv::body_header(frame).expect("AVC and AAC go into FLV");
        let bytes = [&*header, &frame.payload].concat();
        Self { kind: header.kind(), at: frame.dts, bytes: Bytes::from(bytes) }
    }

    pub(crate) fn ms(&self) -> u32 {
        u32::try_from(self.at.as_millis()).expect("the stream is short")
    }

    pub(crate) fn media(&self) -> Media {
        self.kind.into()
    }
}

/// The frames as message bodies, with the configurations in front.
pub(crate) fn bodies() -> Vec<Body> {
    configs().iter().chain(&frames()).map(Body::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_what_it_is_said_to_be() {
        let frames = frames();
        let bits = frames.iter().map(|f| f.payload.len() as i64 * 8).sum::<i64>();
        let (per_second, kbits) = (frames.len() as i64 / SECONDS, bits / SECONDS / 1000);
        assert_eq!(per_second, 68);
        assert!((565..=585).contains(&kbits), "{kbits} kbit/s");
        assert_eq!(frames.iter().filter(|f| f.is_key()).count(), 2);
    }
}
