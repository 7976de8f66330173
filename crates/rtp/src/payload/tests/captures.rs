//! What FFmpeg and GStreamer send (`testdata/README.md`).

use super::*;

/// Units and errors of a capture, its sequence numbers and times extended from the first.
fn read(codec: Codec, capture: &[u8]) -> (Vec<Unit>, Stats) {
    let mut depacketizer = Depacketizer::new(codec).unwrap();
    let mut units = Vec::new();
    let mut rest = capture;
    let mut seq = None;
    while let Some((length, later)) = rest.split_first_chunk::<2>() {
        let (packet, later) = later.split_at(usize::from(u16::from_be_bytes(*length)));
        rest = later;
        let own = u16::from_be_bytes([packet[2], packet[3]]);
        let last = *seq.get_or_insert(u64::from(own) + 0x1_0000);
        let extended = last + u64::from(own.wrapping_sub(last as u16));
        seq = Some(extended);
        let timestamp = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        let header = 12 + 4 * usize::from(packet[0] & 15);
        assert_eq!(packet[0] & 0x30, 0, "neither padding nor extension");
        let meta = PacketMeta {
            seq: extended,
            timestamp: i64::from(timestamp),
            marker: packet[1] & 0x80 != 0,
            lost_before: false,
        };
        depacketizer.push(&packet[header..], meta).unwrap();
        units.extend(std::iter::from_fn(|| depacketizer.pull()));
    }
    (units, depacketizer.stats())
}

#[test]
fn every_picture_of_ffmpeg_and_gstreamer_is_put_together() {
    for (name, codec, capture) in [
        ("ffmpeg", Codec::H264, &include_bytes!("../../../testdata/ffmpeg-h264.rtp")[..]),
        ("ffmpeg", Codec::H265, include_bytes!("../../../testdata/ffmpeg-h265.rtp")),
        ("ffmpeg", Codec::Vp8, include_bytes!("../../../testdata/ffmpeg-vp8.rtp")),
        ("ffmpeg", Codec::Vp9, include_bytes!("../../../testdata/ffmpeg-vp9.rtp")),
        ("gst", Codec::H264, include_bytes!("../../../testdata/gst-h264.rtp")),
        ("gst", Codec::H265, include_bytes!("../../../testdata/gst-h265.rtp")),
        ("gst", Codec::Vp8, include_bytes!("../../../testdata/gst-vp8.rtp")),
        ("gst", Codec::Vp9, include_bytes!("../../../testdata/gst-vp9.rtp")),
    ] {
        let (units, stats) = read(codec, capture);
        assert_eq!(units.len(), 30, "{name} {codec} {stats:?}");
        assert_eq!((stats.damaged, stats.before_key), (0, 0), "{name} {codec}");
        assert!(units[0].key, "{name} {codec}");
        let record = units[0].config.as_ref().expect("the first unit tells");
        media::CodecInfo::decode(codec, record).unwrap();
        assert!(units.iter().filter(|unit| unit.key).count() >= 3, "{name} {codec}");
    }
}

#[test]
fn every_packet_of_opus_is_read() {
    for (capture, packets) in [
        (&include_bytes!("../../../testdata/ffmpeg-opus.rtp")[..], 51),
        (include_bytes!("../../../testdata/gst-opus.rtp"), 26),
    ] {
        let (units, _) = read(Codec::Opus, capture);
        assert_eq!(units.len(), packets);
        for unit in units {
            assert_eq!(media::opus::Packet::decode(&unit.payload).unwrap().samples, 960);
        }
    }
}
