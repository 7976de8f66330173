//! The RTMP wire form of a stream: each frame one message in fmt 0 chunks.
//!
//! Every message carries its absolute time (fmt 0), so a viewer may begin, and a laggard go on,
//! at any message. The 8 bytes that delta headers would save are 0.5 kbit/s.

use container::flv;
use hub::{Form, Headers, Packager};
use media::{Frame, Kind, Timestamp};

use crate::wire::chunk::encode_message;
use crate::wire::message::Media;

/// RTMP times are 31 bits, as SRS and its players have it.
const TIME_MASK: i64 = 0x7fff_ffff;

/// The parameters of one RTMP rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtmpForm {
    /// Chunk size, bytes.
    pub chunk_size: u32,
    /// NetStream of the player.
    pub msid: u32,
    /// Audio is wanted.
    pub audio: bool,
    /// Video is wanted.
    pub video: bool,
    /// It goes to a server, as a publisher sends it: metadata is to be kept there.
    pub publish: bool,
}

const ON_META_DATA: &[u8] = b"\x02\x00\x0aonMetaData";
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";

impl RtmpForm {
    /// For the hub. Players with equal parameters share one rendition.
    pub fn form(self) -> Form {
        let variant = u64::from(self.chunk_size)
            | u64::from(self.msid & 0xff_ffff) << 32
            | u64::from(self.publish) << 61
            | u64::from(self.audio) << 62
            | u64::from(self.video) << 63;
        Form { name: "rtmp", variant, make: Box::new(move || Box::new(self)) }
    }

    fn write(&self, frame: &Frame, time: Timestamp, out: &mut Vec<u8>) {
        let wanted = match frame.kind() {
            Kind::Audio => self.audio,
            Kind::Video => self.video,
            Kind::Data => true,
        };
        let Some(header) = wanted.then(|| flv::body_header(frame)).flatten() else { return };
        let media = Media::from(header.kind());
        let ms = u32::try_from(time.as_millis() & TIME_MASK).unwrap_or(0);
        let metadata = media == Media::Data && frame.payload.starts_with(ON_META_DATA);
        let command: &[u8] = if self.publish && metadata { SET_DATA_FRAME } else { &[] };
        let parts: [&[u8]; 3] = [command, &header, &frame.payload];
        // Longer than 16 MiB cannot have come in: the limit on messages is below.
        let _ = encode_message(
            out,
            media.cid(),
            media.type_id(),
            ms,
            self.msid,
            &parts,
            self.chunk_size,
        );
    }
}

impl Packager for RtmpForm {
    fn push(&mut self, frame: &Frame, out: &mut Vec<u8>) {
        self.write(frame, frame.dts, out);
    }

    fn prelude(&mut self, headers: &Headers, at: Option<Timestamp>, out: &mut Vec<u8>) {
        for frame in headers.in_order() {
            // Metadata keeps its time, zero.
            let own = frame.kind() == Kind::Data && frame.track == 0;
            self.write(frame, at.filter(|_| !own).unwrap_or(frame.dts), out);
        }
    }

    fn resume(&mut self, headers: &Headers, at: Timestamp, out: &mut Vec<u8>) {
        for frame in &headers.configs {
            self.write(frame, at, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::{Codec, Flags};

    use super::*;
    use crate::wire::chunk::{Decoder, Limits, Message};

    const FORM: RtmpForm =
        RtmpForm { chunk_size: 128, msid: 1, audio: true, video: true, publish: false };

    fn frame(codec: Codec, ms: i64, len: usize) -> Frame {
        let at = Timestamp::from_millis(ms);
        Frame {
            codec,
            track: 0,
            flags: Flags::KEY,
            tag: if codec == Codec::Aac { 0xaf } else { 7 },
            dts: at,
            pts: at,
            payload: Bytes::from(vec![9; len]),
        }
    }

    fn decode(bytes: &[u8]) -> Vec<Message> {
        let mut wire = vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];
        wire.extend_from_slice(&128u32.to_be_bytes());
        wire.extend_from_slice(bytes);
        let mut decoder = Decoder::new(Limits::default());
        let (mut at, mut out) = (0, vec![]);
        while at < wire.len() {
            let (n, message) = decoder.decode(&wire[at..]).unwrap();
            at += n;
            out.extend(message);
        }
        out.retain(|m| m.type_id >= 8);
        out
    }

    #[test]
    fn a_viewer_may_begin_at_any_message() {
        let mut form = FORM;
        let mut wire = Vec::new();
        form.push(&frame(Codec::H264, 0, 500), &mut wire);
        let border = wire.len();
        form.push(&frame(Codec::Aac, 23, 100), &mut wire);
        form.push(&frame(Codec::H264, 40, 300), &mut wire);
        let late = decode(&wire[border..]);
        assert_eq!(late.len(), 2);
        assert_eq!((late[0].type_id, late[0].timestamp_ms, late[0].body.len()), (8, 23, 102));
        assert_eq!((late[1].type_id, late[1].timestamp_ms, late[1].body.len()), (9, 40, 305));
    }

    #[test]
    fn times_beyond_24_and_31_bits_come_back_within_31() {
        let mut form = FORM;
        for (ms, want) in [(0xff_ffff, 0xff_ffff), (90_000_000, 90_000_000), (0x8000_0005, 5)] {
            let mut wire = Vec::new();
            form.push(&frame(Codec::H264, ms, 400), &mut wire);
            assert_eq!(decode(&wire)[0].timestamp_ms, want);
        }
    }

    #[test]
    fn a_player_without_video_gets_none() {
        let mut form = RtmpForm { video: false, ..FORM };
        let mut wire = Vec::new();
        form.push(&frame(Codec::H264, 0, 10), &mut wire);
        assert!(wire.is_empty());
        form.push(&frame(Codec::Aac, 0, 10), &mut wire);
        assert!(!wire.is_empty());
    }

    #[test]
    fn a_server_is_told_to_keep_the_metadata_and_a_player_is_not() {
        let payload = [ON_META_DATA, b"\x05"].concat();
        let metadata = Frame { payload: payload.clone().into(), ..frame(Codec::ScriptData, 0, 0) };
        for (publish, wanted) in
            [(false, payload.clone()), (true, [SET_DATA_FRAME, &payload].concat())]
        {
            let mut wire = Vec::new();
            RtmpForm { publish, ..FORM }.push(&metadata, &mut wire);
            let told = decode(&wire);
            assert_eq!((told[0].type_id, &told[0].body[..]), (18, &wanted[..]), "{publish}");
        }
    }

    #[test]
    fn different_parameters_are_different_renditions() {
        let all = [
            FORM,
            RtmpForm { chunk_size: 60_000, ..FORM },
            RtmpForm { msid: 2, ..FORM },
            RtmpForm { audio: false, ..FORM },
            RtmpForm { video: false, ..FORM },
            RtmpForm { publish: true, ..FORM },
        ];
        let mut variants: Vec<u64> = all.iter().map(|f| f.form().variant).collect();
        variants.sort_unstable();
        variants.dedup();
        assert_eq!(variants.len(), all.len());
    }
}
