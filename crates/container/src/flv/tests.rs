#![allow(clippy::arithmetic_side_effects)]

mod bodies;
mod files;
mod random;

use bytes::Bytes;
use media::{Codec, Flags, Frame, Timestamp};

use super::*;

/// An `avcC` record with no parameter sets and four-byte lengths.
const AVCC: &[u8] = &[1, 0x64, 0, 0x1f, 0xff, 0xe0, 0];
/// An `hvcC` record, zeros but for the version and four-byte lengths.
const HVCC: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0f, 0];
/// One NAL unit of two bytes behind a four-byte length.
const NAL: &[u8] = &[0, 0, 0, 2, 0x65, 0x88];

const AT: Timestamp = Timestamp::from_millis(1000);

fn concat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn push(demuxer: &mut Demuxer, kind: TagKind, body: &[u8]) -> Result<Vec<Frame>, Error> {
    let mut out = Vec::new();
    demuxer.push(kind, AT, Bytes::copy_from_slice(body), &mut out).map(|()| out)
}

fn demux(kind: TagKind, body: &[u8]) -> Result<Vec<Frame>, Error> {
    push(&mut Demuxer::new(), kind, body)
}

#[track_caller]
fn one(kind: TagKind, body: &[u8]) -> Frame {
    let mut frames = demux(kind, body).unwrap();
    assert_eq!(frames.len(), 1, "{frames:?}");
    frames.remove(0)
}

fn body(frame: &Frame) -> Option<(TagKind, Vec<u8>)> {
    let header = body_header(frame)?;
    Some((header.kind(), concat(&[&header, &frame.payload])))
}

/// The body demuxes to one frame, and that frame muxes to the same body.
#[track_caller]
fn there_and_back(kind: TagKind, bytes: &[u8]) -> Frame {
    let frame = one(kind, bytes);
    assert_eq!(body(&frame), Some((kind, bytes.to_vec())), "{frame:?}");
    frame
}

fn frame(codec: Codec, tag: u32, flags: Flags, payload: &[u8]) -> Frame {
    Frame {
        codec,
        track: 0,
        flags,
        tag,
        dts: AT,
        pts: AT,
        payload: Bytes::copy_from_slice(payload),
    }
}

fn tag_of(name: &[u8; 4]) -> u32 {
    u32::from_be_bytes(*name)
}
