//! Sound from one coding into another.

use bytes::Bytes;
use media::{Codec, Flags, Frame, Timestamp};
use transcode::{AacOptions, Error, OpusOptions, ToAac, ToOpus};

use super::pieces;

/// Frames enough to reach every state; more only makes the fuzzer slow.
const MAX_FRAMES: usize = 48;

/// AAC, whose first piece is its configuration, MP3 and G.711 into Opus.
pub fn transcode_aac(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let codec = match kind % 4 {
        0 | 1 => Codec::Aac,
        2 => Codec::Mp3,
        _ => Codec::G711U,
    };
    // Thinking hard finds no more faults.
    let mut transcoder =
        ToOpus::new(OpusOptions { complexity: 0, bitrate: 24_000, ..OpusOptions::default() });
    run(codec, rest, 960, |frame, out| transcoder.push(frame, out));
}

/// Opus into AAC.
pub fn transcode_opus(data: &[u8]) {
    let mut transcoder = ToAac::new(AacOptions { bitrate: 64_000 });
    run(Codec::Opus, data, 1_024, |frame, out| transcoder.push(frame, out));
}

/// Pushes pieces of `data` as frames, with times and flags that the data gives, and holds what
/// comes out against the promises.
fn run(
    codec: Codec,
    data: &[u8],
    samples: i64,
    mut push: impl FnMut(&Frame, &mut Vec<Frame>) -> Result<(), Error>,
) {
    let mut at = Timestamp::ZERO;
    let mut out = Vec::new();
    let mut anchor = (0i64, Timestamp::ZERO);
    let mut given = 0i64;
    for (count, piece) in pieces(data).take(MAX_FRAMES).enumerate() {
        let mut flags = Flags::empty();
        if codec == Codec::Aac && (count == 0 || piece.len() == 5) {
            flags |= Flags::CONFIG;
        }
        let step = match piece.first() {
            Some(0) => 60_000,
            Some(1) => 500_000,
            Some(2) => -1_000_000_000,
            Some(3) => i64::MAX,
            _ => 21_000,
        };
        at = at.offset(step);
        let payload = Bytes::copy_from_slice(piece);
        let frame = Frame { codec, track: 0, flags, tag: 0, dts: at, pts: at, payload };
        out.clear();
        let done = push(&frame, &mut out);
        assert!(!matches!(done, Err(Error::Panicked(_))), "a decoder panicked");
        assert!(!matches!(done, Err(Error::Encode { .. })), "an encoder failed");
        assert!(out.len() <= 256, "{} frames at once", out.len());
        for made in out.iter().filter(|made| made.is_media()) {
            if given == 0 || made.flags.contains(Flags::DISCONTINUITY) {
                anchor = (given, made.pts);
            }
            let since = Timestamp::from_ticks((given - anchor.0) * samples, 48_000);
            assert_eq!(made.pts, anchor.1.offset(since.as_micros()), "a break in time");
            given += 1;
        }
    }
}
