//! Payloads as transport streams want them: Annex B, ADTS, and Opus' control header.

use media::{Codec, Frame};
use smallvec::SmallVec;

use super::mux::LeftOut;

/// Access unit delimiters: "any kind of slice may follow".
const AUD_H264: &[u8] = &[0, 0, 0, 1, 0x09, 0xf0];
const AUD_H265: &[u8] = &[0, 0, 0, 1, 0x46, 0x01, 0x50];
const START_CODE: &[u8] = &[0, 0, 0, 1];

/// What a NAL unit is, as far as a muxer cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nal {
    Delimiter,
    /// VPS, SPS, PPS: bits of a set.
    ParameterSet(u8),
    Other,
}

const VPS: u8 = 1;
const SPS: u8 = 2;
const PPS: u8 = 4;

fn classify(codec: Codec, nal: &[u8]) -> Nal {
    let first = nal.first().copied().unwrap_or(0);
    match (codec, first & 0x1f, first >> 1 & 0x3f) {
        (Codec::H264, 9, _) | (Codec::H265, _, 35) => Nal::Delimiter,
        (Codec::H265, _, 32) => Nal::ParameterSet(VPS),
        (Codec::H264, 7, _) | (Codec::H265, _, 33) => Nal::ParameterSet(SPS),
        (Codec::H264, 8, _) | (Codec::H265, _, 34) => Nal::ParameterSet(PPS),
        _ => Nal::Other,
    }
}

/// The parameter sets of a video track.
#[derive(Debug, Default)]
pub(super) struct VideoSetup {
    /// Bytes of the length in front of each NAL unit; 0 before a configuration.
    length_size: usize,
    /// The parameter sets, each behind a start code.
    sets: Vec<u8>,
}

/// What [`VideoSetup::write`] is going to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct VideoPlan {
    insert: bool,
    /// Bytes in all.
    pub(super) size: usize,
}

impl VideoSetup {
    /// Takes a configuration record; `None` when it cannot be read (the one before stays).
    pub(super) fn configure(&mut self, codec: Codec, record: &[u8]) -> Option<()> {
        let mut sets = Vec::new();
        let length_size = match codec {
            Codec::H264 => read_avcc(record, &mut sets)?,
            Codec::H265 => read_hvcc(record, &mut sets)?,
            _ => return None,
        };
        *self = Self { length_size, sets };
        Some(())
    }

    /// Measures an access unit; `None` when there is nothing in it.
    pub(super) fn plan(&self, frame: &Frame) -> Result<Option<VideoPlan>, LeftOut> {
        let codec = frame.codec;
        if self.length_size == 0 {
            return Err(LeftOut::NoConfiguration(codec));
        }
        let mut size = 0usize;
        let mut seen = 0;
        for nal in Nals::new(&frame.payload, self.length_size) {
            let nal = nal.ok_or(LeftOut::BadFrame(codec))?;
            match classify(codec, nal) {
                Nal::Delimiter => continue,
                Nal::ParameterSet(kind) => seen |= kind,
                Nal::Other => {}
            }
            size = size.saturating_add(START_CODE.len()).saturating_add(nal.len());
        }
        if size == 0 {
            return Ok(None);
        }
        let wanted = if codec == Codec::H265 { VPS | SPS | PPS } else { SPS | PPS };
        let insert = frame.is_key() && seen & wanted != wanted;
        if insert {
            size = size.saturating_add(self.sets.len());
        }
        size = size.saturating_add(delimiter(codec).len());
        Ok(Some(VideoPlan { insert, size }))
    }

    /// Hands out the access unit in Annex B form, piece by piece: the delimiter, the parameter
    /// sets of the configuration if the frame lacks them at a key frame, the NAL units.
    pub(super) fn write(&self, frame: &Frame, plan: VideoPlan, mut write: impl FnMut(&[u8])) {
        write(delimiter(frame.codec));
        if plan.insert {
            write(&self.sets);
        }
        for nal in Nals::new(&frame.payload, self.length_size).flatten() {
            if classify(frame.codec, nal) != Nal::Delimiter {
                write(START_CODE);
                write(nal);
            }
        }
    }
}

fn delimiter(codec: Codec) -> &'static [u8] {
    if codec == Codec::H265 { AUD_H265 } else { AUD_H264 }
}

/// The non-empty NAL units of a payload; `None` once, and then the end, where a length does not fit.
struct Nals<'a> {
    rest: &'a [u8],
    length_size: usize,
}

impl<'a> Nals<'a> {
    fn new(payload: &'a [u8], length_size: usize) -> Self {
        Self { rest: payload, length_size }
    }

    fn take(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_at_checked(self.length_size)?;
        let length = length.iter().fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
        let (nal, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(nal)
    }
}

impl<'a> Iterator for Nals<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            match self.take() {
                Some([]) => {}
                Some(nal) => return Some(Some(nal)),
                None => {
                    self.rest = &[];
                    return Some(None);
                }
            }
        }
    }
}

fn append_sets<'a>(mut rest: &'a [u8], count: usize, sets: &mut Vec<u8>) -> Option<&'a [u8]> {
    for _ in 0..count {
        let (&length, tail) = rest.split_first_chunk::<2>()?;
        let (nal, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(length)))?;
        sets.extend_from_slice(START_CODE);
        sets.extend_from_slice(nal);
        rest = tail;
    }
    Some(rest)
}

fn read_avcc(record: &[u8], sets: &mut Vec<u8>) -> Option<usize> {
    let (&[_, _, _, _, length, count], rest) = record.split_first_chunk::<6>()?;
    let rest = append_sets(rest, usize::from(count & 0x1f), sets)?;
    let (&count, rest) = rest.split_first()?;
    append_sets(rest, usize::from(count), sets)?;
    Some(usize::from(length & 3).saturating_add(1))
}

fn read_hvcc(record: &[u8], sets: &mut Vec<u8>) -> Option<usize> {
    let length = record.get(21)?;
    let (&arrays, mut rest) = record.get(22..)?.split_first()?;
    for _ in 0..arrays {
        let (&[kind, a, b], tail) = rest.split_first_chunk::<3>()?;
        let count = usize::from(u16::from_be_bytes([a, b]));
        let mut skipped = Vec::new();
        let into = if (32..=34).contains(&(kind & 0x3f)) { &mut *sets } else { &mut skipped };
        rest = append_sets(tail, count, into)?;
    }
    Some(usize::from(length & 3).saturating_add(1))
}

/// What is written in front of an audio frame. The longest is Opus' for a frame that fills a
/// PES packet, which is rare enough for the heap.
pub(super) type Head = SmallVec<[u8; 16]>;

/// The configuration of an audio track.
#[derive(Debug, Default)]
pub(super) struct AudioSetup {
    /// ADTS' third byte and the top bits of its fourth.
    adts: Option<(u8, u8)>,
    channels: u8,
}

impl AudioSetup {
    /// Channels, as Opus' descriptor says them.
    pub(super) fn channels(&self) -> u8 {
        if self.channels == 0 { 2 } else { self.channels }
    }

    /// Takes a configuration; `None` when it cannot be read or said in ADTS.
    pub(super) fn configure(&mut self, codec: Codec, record: &[u8]) -> Option<()> {
        match codec {
            Codec::Aac => {
                let &[a, b, ..] = record else { return None };
                let object = a >> 3;
                let rate = (a & 7) << 1 | b >> 7;
                let channels = b >> 3 & 0x0f;
                let object = if matches!(object, 5 | 29) { 2 } else { object };
                if !(1..=4).contains(&object) || rate > 12 || channels > 7 {
                    return None;
                }
                self.adts = Some(((object - 1) << 6 | rate << 2 | channels >> 2, channels << 6));
            }
            Codec::Opus => self.channels = record.get(9).copied().unwrap_or(2),
            _ => {}
        }
        Some(())
    }

    /// The bytes that go in front of a frame of `bytes` bytes.
    pub(super) fn head(&self, codec: Codec, bytes: usize) -> Result<Head, LeftOut> {
        let mut head = Head::new();
        match codec {
            Codec::Aac => {
                let (third, fourth) = self.adts.ok_or(LeftOut::NoConfiguration(codec))?;
                let whole = bytes.saturating_add(7);
                if whole > 0x1fff {
                    return Err(LeftOut::TooLarge { bytes });
                }
                let [_, _, high, low] = ((whole as u32) << 5 | 0x1f).to_be_bytes();
                let top = fourth | (whole >> 11) as u8;
                head.extend_from_slice(&[0xff, 0xf9, third, top, high, low, 0xfc]);
            }
            Codec::Opus => write_opus_control(bytes, &mut head),
            _ => {}
        }
        Ok(head)
    }
}

/// The control header of one Opus packet: an 11-bit mark, no trims, the size in bytes of 255.
fn write_opus_control(bytes: usize, head: &mut Head) {
    head.extend_from_slice(&[0x7f, 0xe0]);
    let mut left = bytes;
    while left >= 255 {
        head.push(255);
        left = left.saturating_sub(255);
    }
    head.push(left as u8);
}
