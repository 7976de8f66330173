//! Damage of the usual kinds.

use container::flv::{Reader, Tag};
use rand::Rng;
use rand::rngs::StdRng;

/// What real clients sent, handshake and all.
pub(crate) const RECORDINGS: &[&[u8]] = &[
    include_bytes!("../../../../protocols/rtmp/testdata/clients/ffmpeg-5.1-play.bin"),
    include_bytes!("../../../../protocols/rtmp/testdata/clients/ffmpeg-5.1-publish.bin"),
    include_bytes!(
        "../../../../protocols/rtmp/testdata/clients/gstreamer-1.22-librtmp-publish.bin"
    ),
    include_bytes!("../../../../protocols/rtmp/testdata/clients/gstreamer-1.22-rtmp2-play.bin"),
    include_bytes!("../../../../protocols/rtmp/testdata/clients/gstreamer-1.22-rtmp2-publish.bin"),
    include_bytes!("../../../../protocols/rtmp/testdata/clients/rtmpdump-2.4-play.bin"),
];

/// What goes on behind a handshake: the seeds of the fuzzer.
pub(crate) const SESSIONS: &[&[u8]] = &[
    include_bytes!("../../../../fuzz/corpus/chunk/connect"),
    include_bytes!("../../../../fuzz/corpus/chunk/control"),
    include_bytes!("../../../../fuzz/corpus/chunk/extended"),
    include_bytes!("../../../../fuzz/corpus/chunk/formats"),
    include_bytes!("../../../../fuzz/corpus/server_session/aggregate"),
    include_bytes!("../../../../fuzz/corpus/server_session/amf3"),
    include_bytes!("../../../../fuzz/corpus/server_session/play"),
    include_bytes!("../../../../fuzz/corpus/server_session/publish"),
    include_bytes!("../../../../fuzz/corpus/server_session/unpublish"),
];

/// Streams in files: tags for publishers that send odd ones.
pub(crate) const FILES: &[&[u8]] = &[
    include_bytes!("../../../../fuzz/corpus/flv/aac"),
    include_bytes!("../../../../fuzz/corpus/flv/av1_enhanced"),
    include_bytes!("../../../../fuzz/corpus/flv/h264_aac"),
    include_bytes!("../../../../fuzz/corpus/flv/h264_bframes_mp3"),
    include_bytes!("../../../../fuzz/corpus/flv/hevc_enhanced"),
    include_bytes!("../../../../fuzz/corpus/flv/opus_enhanced"),
];

/// The tags of one of them.
pub(crate) fn tags(file: &[u8]) -> Vec<Tag> {
    let mut reader = Reader::new();
    reader.push(file);
    std::iter::from_fn(|| reader.pull().ok().flatten()).collect()
}

/// So many random bytes.
pub(crate) fn noise(rng: &mut StdRng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(0..=most)];
    rng.fill(&mut bytes[..]);
    bytes
}

/// A damaged copy; bytes before `from` stay.
pub(crate) fn damage(rng: &mut StdRng, bytes: &[u8], from: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.random_range(1..8) {
        if bytes.len() <= from {
            break;
        }
        let at = rng.random_range(from..bytes.len());
        let end = (at + rng.random_range(1..64)).min(bytes.len());
        match rng.random_range(0..8) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = *[0, 1, 0x7f, 0x80, 0xff].get(rng.random_range(0..5)).unwrap_or(&0),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let noise = noise(rng, 32);
                bytes.splice(at..at, noise);
            }
            5 => bytes[at..end].fill(0xff),
            6 => bytes[at..end].fill(0),
            // Cut short, now and then.
            _ => {
                if rng.random_ratio(1, 4) {
                    bytes.truncate(at);
                }
            }
        }
    }
    bytes
}
