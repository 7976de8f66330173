//! Payload formats of RTP.

use ::rtp::payload::{Depacketizer, MAX_UNIT, PacketMeta, scan};
use media::Codec;

/// Payloads of any codec, their sequence and markers chosen by the input: units stay within the
/// bound, and video begins with a key frame.
pub fn rtp_payload(data: &[u8]) {
    const CODECS: [Codec; 9] = [
        Codec::H264,
        Codec::H265,
        Codec::Av1,
        Codec::Vp8,
        Codec::Vp9,
        Codec::Opus,
        Codec::G711A,
        Codec::Mp3,
        Codec::Aac,
    ];
    let Some((&first, rest)) = data.split_first() else { return };
    let Some(&codec) = CODECS.get(usize::from(first) % CODECS.len()) else { return };
    let Ok(mut depacketizer) = Depacketizer::new(codec) else { return };
    let (mut seq, mut timestamp, mut begun) = (0, 0, false);
    for piece in super::pieces(rest) {
        let Some((&steps, payload)) = piece.split_first() else { continue };
        seq += u64::from(steps & 3);
        timestamp += i64::from(steps >> 2 & 1);
        let meta = PacketMeta {
            seq,
            timestamp,
            marker: steps & 8 != 0,
            lost_before: steps & 0x30 == 0x30,
        };
        let _ = depacketizer.push(payload, meta);
        while let Some(unit) = depacketizer.pull() {
            assert!(unit.payload.len() <= MAX_UNIT + 64, "beyond the bound");
            begun |= unit.key;
            assert!(begun || codec.kind() != media::Kind::Video, "began without a key frame");
        }
        let _ = scan::starts_key_frame(codec, payload);
        let _ = scan::is_b_picture(codec, payload, 4);
        let mut copy = payload.to_vec();
        if scan::rewrite(codec, &mut copy, 0x1234, 5) {
            assert!(scan::picture(codec, &copy).is_some(), "cannot read what it wrote");
        }
    }
}
