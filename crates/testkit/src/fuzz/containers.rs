//! AMF, FLV and MPEG-TS.

use bytes::Bytes;
use container::amf::{self, Limits};
use container::flv;
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
