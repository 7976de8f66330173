//! AMF, FLV and MPEG-TS.

use bytes::Bytes;
use container::amf::{self, Limits};
use container::flv;
use container::mp4;
use container::ts::{self, validate::Validator};
use media::{Codec, Flags, Frame, Timestamp};

use super::pieces;

/// What was read and is written again reads the same.
pub fn amf0(data: &[u8]) {
    let limits = Limits::default();
    let Ok(values) = amf::decode_all(data, &limits) else { return };
    let mut bytes = Vec::new();
    amf::encode_all(&values, &mut bytes);
    // What AMF3 said in short by reference may be too long in full: then it is refused.
    let Ok(again) = amf::decode_all(&bytes, &limits) else { return };
    let mut twice = Vec::new();
    amf::encode_all(&again, &mut twice);
    // By bytes, since a number that is not one equals nothing.
    assert_eq!(bytes, twice, "changed on the way back");
}

/// The cuts of the input do not matter, and what was demuxed can be muxed and read.
pub fn flv(data: &[u8]) {
    let whole = tags([data].into_iter());
    assert_eq!(whole, tags(pieces(data)), "the cuts matter");
    let mut demuxer = flv::Demuxer::new();
    let mut frames = Vec::new();
    for tag in whole {
        let _ = demuxer.push(tag.kind, tag.dts(), tag.body.clone(), &mut frames);
    }
    let mut muxer = ts::Muxer::new(ts::TsConfig::default());
    let (mut tag, mut packets) = (Vec::new(), Vec::new());
    for frame in &frames {
        tag.clear();
        let written = flv::write_tag(frame, &mut tag);
        assert_eq!(written, !tag.is_empty());
        assert_eq!(
            flv::tag_len(frame),
            written.then_some(tag.len()),
            "the length was foretold wrong"
        );
        packets.clear();
        let _ = muxer.push(frame, &mut packets);
        assert_eq!(packets.len() % 188, 0, "a packet is not whole");
    }
    recorded(&frames);
    let last = data.first_chunk().copied().unwrap_or_default();
    if let Some(mut muxer) = flv::FileMuxer::resume(data, last) {
        tag.clear();
        frames.iter().for_each(|frame| _ = muxer.push(frame, &mut tag));
        let _ = muxer.finish(data.len() as u64);
    }
}

/// What was demuxed can be recorded: an MP4 file is boxes to its end, before and after it is
/// finished, and an FLV file is tags.
fn recorded(frames: &[Frame]) {
    let (mut muxer, mut file) = (mp4::Muxer::new(), Vec::new());
    for frame in frames {
        let fits = muxer.fits(frame);
        let pushed = muxer.push(frame, &mut file);
        assert!(!fits || !matches!(pushed, Err(mp4::LeftOut::Late(_))), "it was said to fit");
    }
    let patch = muxer.finish(&mut file);
    boxes(&file);
    if let Some(patch) = patch {
        assert!(put(&mut file, patch.at, &patch.bytes), "a patch beyond the end");
        assert_eq!(boxes(&file), 3, "not ftyp, mdat and moov");
    }
    let (mut muxer, mut file) = (flv::FileMuxer::new("x", false), Vec::new());
    frames.iter().for_each(|frame| _ = muxer.push(frame, &mut file));
    let len = file.len();
    for patch in muxer.finish(len as u64) {
        assert!(put(&mut file, patch.at, &patch.bytes), "a patch beyond the end");
    }
    let mut reader = flv::Reader::new();
    reader.push(&file);
    while matches!(reader.pull(), Ok(Some(_))) {}
    assert_eq!(reader.buffered(), 0, "a tag is not whole");
}

/// Writes over what is there; false where nothing is.
fn put(file: &mut [u8], at: u64, bytes: &[u8]) -> bool {
    let Ok(at) = usize::try_from(at) else { return false };
    let Some(place) = file.get_mut(at..at.saturating_add(bytes.len())) else { return false };
    place.copy_from_slice(bytes);
    true
}

/// How many boxes there are. Each must be whole.
fn boxes(bytes: &[u8]) -> usize {
    let mut count = 0;
    let mut rest = Some(bytes);
    while let Some(now) = rest.filter(|rest| !rest.is_empty()) {
        let short = now.first_chunk().map(|size| u64::from(u32::from_be_bytes(*size)));
        let long = || now.get(8..)?.first_chunk().map(|size| u64::from_be_bytes(*size));
        let size = if short == Some(1) { long() } else { short };
        let size = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size >= 8);
        rest = size.and_then(|size| now.get(size..));
        assert!(rest.is_some(), "a box is not whole");
        count += 1;
    }
    count
}

fn tags<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<flv::Tag> {
    let mut reader = flv::Reader::new();
    let mut tags = Vec::new();
    for part in parts {
        reader.push(part);
        loop {
            match reader.pull() {
                Ok(Some(tag)) => tags.push(tag),
                Ok(None) => break,
                Err(e) if e.is_final() => return tags,
                Err(_) => {}
            }
        }
    }
    tags
}

/// The reader takes any packets; the writer makes whole ones of any frames.
pub fn ts(data: &[u8]) {
    let mut demuxer = ts::Demuxer::new();
    let mut events = Vec::new();
    for piece in pieces(data) {
        demuxer.push(piece, &mut events);
    }
    demuxer.flush(&mut events);
    let mut validator = Validator::new();
    let _ = validator.segment(data, true);

    let mut muxer = ts::Muxer::new(ts::TsConfig::default());
    let mut packets = Vec::new();
    let mut time = 0i64;
    for (number, piece) in pieces(data).enumerate() {
        let codecs = [Codec::H264, Codec::Aac, Codec::H265, Codec::Mp3, Codec::Opus];
        let kind = usize::from(piece.first().copied().unwrap_or_default());
        let codec = codecs.get(kind % codecs.len()).copied().unwrap_or(Codec::H264);
        let step = piece.len() as i64 * if number % 7 == 6 { -40_000 } else { 40_000 };
        time = time.saturating_add(step);
        let dts = Timestamp::from_micros(time);
        let frame = Frame {
            codec,
            track: 0,
            flags: Flags::from_bits_truncate(kind as u8),
            tag: 0,
            dts,
            pts: dts.offset(kind as i64 * 1000),
            payload: Bytes::copy_from_slice(piece),
        };
        packets.clear();
        let _ = muxer.push(&frame, &mut packets);
        assert_eq!(packets.len() % 188, 0, "a packet is not whole");
        assert!(
            packets.chunks_exact(188).all(|p| p.first() == Some(&0x47)),
            "a packet has no sync"
        );
    }
}
