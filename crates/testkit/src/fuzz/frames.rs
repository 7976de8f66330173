//! Frames of publishers on their way into packets.

use ::rtp::payload::{Options, Packetizer, Payloads};
use bytes::Bytes;
use media::{Codec, Flags, Frame, Timestamp};

/// Frames and configurations of any codec, as any publisher may send them: no payload is empty or
/// larger than it may be, and the marker of pictures stands at the end of each alone.
pub fn rtp_frames(data: &[u8]) {
    const CODECS: [Codec; 6] =
        [Codec::H264, Codec::H265, Codec::Av1, Codec::Vp8, Codec::Vp9, Codec::Opus];
    let [first, max, rest @ ..] = data else { return };
    let Some(&codec) = CODECS.get(usize::from(*first) % CODECS.len()) else { return };
    let options = Options { max_payload: 64 + usize::from(*max), ..Options::default() };
    let Ok(mut packetizer) = Packetizer::new(codec, options) else { return };
    let mut out = Payloads::new();
    for piece in super::pieces(rest) {
        let Some((&kind, payload)) = piece.split_first() else { continue };
        let mut flags = Flags::empty();
        flags.set(Flags::CONFIG, kind & 3 == 1);
        flags.set(Flags::KEY, kind & 3 == 2);
        let at = Timestamp::ZERO;
        let payload = Bytes::copy_from_slice(payload);
        let frame = Frame { codec, track: 0, flags, tag: 0, dts: at, pts: at, payload };
        out.clear();
        if packetizer.push(&frame, &mut out).is_err() {
            continue;
        }
        let last = out.len();
        for (index, (payload, bytes)) in out.iter().enumerate() {
            assert!(!bytes.is_empty(), "an empty payload");
            assert!(bytes.len() <= options.max_payload, "{} bytes", bytes.len());
            assert_eq!(payload.starts_frame, index == 0, "the first is told");
            let marks = codec.kind() != media::Kind::Video || payload.marker == (index + 1 == last);
            assert!(marks, "the marker ends the picture");
        }
    }
}
