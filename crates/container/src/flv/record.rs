//! FLV files that are written while a stream runs, and put right at the end.

use bytes::Bytes;
use media::{Codec, Flags, Frame, Kind, Timestamp};

use super::{FileHeader, write_tag};
use crate::amf::{self, Limits, Value};

/// What script data of a stream's properties begin with.
const ON_METADATA: &str = "onMetaData";

/// Where the body of the first tag begins: behind the file's header and its own.
const FIRST_BODY: u64 = 13 + 11;
/// In that body: name, head of the array, `duration`, the mark of a number.
const DURATION_AT: u64 = FIRST_BODY + 13 + 5 + 10 + 1;
/// Behind that number: `filesize`, the mark of a number.
const FILESIZE_AT: u64 = DURATION_AT + 8 + 10 + 1;

/// Bytes from the start of a file by which [`FileMuxer::resume`] knows one of ours.
pub const RESUME_HEAD: usize = FILESIZE_AT as usize;

/// Properties of the publisher's that are taken over into a file's; encoders send some twenty.
const PROPERTIES_MAX: usize = 256;

/// Bytes to be written over what is at that place of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Offset from the beginning of the file.
    pub at: u64,
    /// What stands there then.
    pub bytes: Vec<u8>,
}

/// Makes an FLV file of the frames of one stream: header, `onMetaData` with the publisher's
/// properties, tags. Times begin at zero. A file that was cut plays up to the cut; the end adds
/// duration and size.
#[derive(Debug)]
pub struct FileMuxer {
    service: String,
    metadata: Option<Bytes>,
    begun: bool,
    /// The file began with our properties, so that they can be put right.
    ours: bool,
    /// The stream's time that is the file's `shift_us`.
    base: Option<Timestamp>,
    shift_us: i64,
    end_us: i64,
    has: [bool; 2],
}

impl FileMuxer {
    /// A new file, written by `service`. With `keep_times` the stream's times stay as they are.
    pub fn new(service: &str, keep_times: bool) -> Self {
        Self {
            service: service.to_owned(),
            metadata: None,
            begun: false,
            ours: true,
            base: keep_times.then_some(Timestamp::from_micros(0)),
            shift_us: 0,
            end_us: 0,
            has: [false; 2],
        }
    }

    /// Goes on in a file that begins with `head` (as far as [`RESUME_HEAD`] bytes) and whose last
    /// tag has the head `last`. `None`: not an FLV file.
    pub fn resume(head: &[u8], last: [u8; 11]) -> Option<Self> {
        let (header, _) = FileHeader::decode(head).ok()??;
        let [_, _, _, _, t0, t1, t2, t3, ..] = last;
        let ms = i64::from(u32::from_be_bytes([t3, t0, t1, t2]));
        let ours =
            [(DURATION_AT, b"duration"), (FILESIZE_AT, b"filesize")].iter().all(|(at, name)| {
                let end = usize::try_from(*at).unwrap_or(usize::MAX).saturating_sub(1);
                head.get(end.saturating_sub(name.len())..end) == Some(&name[..])
            });
        Some(Self {
            begun: true,
            ours,
            // A frame's length behind the last one, whatever that was.
            shift_us: ms.saturating_add(1).saturating_mul(1000),
            end_us: ms.saturating_mul(1000),
            has: [header.has_video, header.has_audio],
            ..Self::new("", false)
        })
    }

    /// Takes one frame and appends its tag. Before the first media come configurations, which get
    /// the time of the file's beginning. `false`: FLV cannot carry it. Copies the payload once.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<u8>) -> bool {
        if !self.begun && frame.codec == Codec::ScriptData && frame.is_config() {
            self.metadata = Some(frame.payload.clone());
            return true;
        }
        if !self.begun {
            self.begun = true;
            out.extend_from_slice(&FileHeader { has_audio: true, has_video: true }.encode());
            let payload = self.properties().into();
            write_tag(&Frame { payload, ..script() }, out);
        }
        let base = match self.base {
            Some(base) => base,
            None if frame.is_media() => *self.base.insert(frame.dts),
            None => frame.dts,
        };
        let us = frame.dts.micros_since(base).max(0).saturating_add(self.shift_us);
        let dts = Timestamp::from_micros(us);
        let pts = dts.offset(frame.composition_us());
        let written = write_tag(&Frame { dts, pts, ..frame.clone() }, out);
        if written && !frame.flags.contains(Flags::CONFIG) {
            self.end_us = self.end_us.max(us);
            let [video, audio] = &mut self.has;
            *video |= frame.kind() == Kind::Video;
            *audio |= frame.kind() == Kind::Audio;
        }
        written
    }

    /// Microseconds from the file's beginning to its last frame.
    pub const fn duration_us(&self) -> i64 {
        self.end_us
    }

    /// Ends the file of `len` bytes: what is to be written over its beginning.
    pub fn finish(&self, len: u64) -> Vec<Patch> {
        if !self.begun {
            return Vec::new();
        }
        let [has_video, has_audio] = self.has;
        let flags = FileHeader { has_audio, has_video }.encode().get(4).copied().unwrap_or(5);
        let mut all = vec![Patch { at: 4, bytes: vec![flags] }];
        if self.ours {
            let seconds = self.end_us as f64 / 1_000_000.0;
            all.push(Patch { at: DURATION_AT, bytes: seconds.to_be_bytes().into() });
            all.push(Patch { at: FILESIZE_AT, bytes: (len as f64).to_be_bytes().into() });
        }
        all
    }

    /// `onMetaData` of the file: the publisher's, with what is known at the end in front.
    fn properties(&self) -> Vec<u8> {
        let mut all = vec![
            ("duration".into(), Value::Number(0.0)),
            ("filesize".into(), Value::Number(0.0)),
            ("service".into(), Value::String(self.service.as_str().into())),
        ];
        let own = self.metadata.as_ref();
        let own = own.and_then(|bytes| amf::decode_all(bytes, &Limits::default()).ok());
        for value in own.iter().flatten().filter(|value| value.is_object()).take(1) {
            for (name, value) in value.properties().iter().take(PROPERTIES_MAX) {
                if !["duration", "filesize", "service"].contains(&&**name) {
                    all.push((name.clone(), value.clone()));
                }
            }
        }
        let mut out = Vec::new();
        amf::encode_all(&[Value::String(ON_METADATA.into()), Value::EcmaArray(all)], &mut out);
        out
    }
}

fn script() -> Frame {
    Frame {
        codec: Codec::ScriptData,
        track: 0,
        flags: Flags::CONFIG,
        tag: 0,
        dts: Timestamp::from_micros(0),
        pts: Timestamp::from_micros(0),
        payload: Bytes::new(),
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "numbers of a test")]
mod tests {
    use super::*;
    use crate::flv::{Reader, Tag, TagKind};

    fn frame(codec: Codec, flags: Flags, ms: i64, payload: &'static [u8]) -> Frame {
        let dts = Timestamp::from_millis(ms);
        Frame { codec, flags, dts, pts: dts.offset(40_000), payload: payload.into(), ..script() }
    }

    fn frames(from: i64) -> Vec<Frame> {
        let mut all = vec![
            frame(Codec::H264, Flags::CONFIG, 0, &[1, 2, 3, 4, 5, 6, 7]),
            frame(Codec::Aac, Flags::CONFIG, 0, &[0x12, 0x10]),
        ];
        for n in 0..20 {
            let flags = if n == 0 { Flags::KEY } else { Flags::empty() };
            all.push(frame(Codec::H264, flags, from + n * 40, &[0, 0, 0, 1, 0x65]));
            all.push(frame(Codec::Aac, Flags::empty(), from + n * 40 + 5, &[0x21]));
        }
        all
    }

    fn tags(file: &[u8]) -> (FileHeader, Vec<Tag>) {
        let mut reader = Reader::new();
        reader.push(file);
        let tags = std::iter::from_fn(|| reader.pull().unwrap()).collect();
        assert_eq!(reader.buffered(), 0);
        (reader.header().unwrap(), tags)
    }

    fn record(mut muxer: FileMuxer, mut file: Vec<u8>, frames: &[Frame]) -> Vec<u8> {
        for frame in frames {
            assert!(muxer.push(frame, &mut file));
        }
        for Patch { at, bytes } in muxer.finish(file.len() as u64) {
            let at = at as usize;
            file[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        file
    }

    fn properties(tag: &Tag) -> Value {
        let values = amf::decode_all(&tag.body, &Limits::default()).unwrap();
        assert_eq!(values[0].as_str(), Some("onMetaData"));
        values[1].clone()
    }

    #[test]
    fn a_file_begins_at_zero_and_knows_its_length_in_the_end() {
        let mut metadata = Vec::new();
        let own = [("width", Value::Number(640.0)), ("duration", Value::Number(7.0))];
        amf::encode_all(&[Value::String("onMetaData".into()), Value::object(own)], &mut metadata);
        let metadata = Frame { payload: metadata.into(), ..script() };
        let all = [vec![metadata], frames(70_000)].concat();
        let file = record(FileMuxer::new("x/1", false), Vec::new(), &all);
        let (header, tags) = tags(&file);
        assert_eq!(header, FileHeader { has_audio: true, has_video: true });
        let own = properties(&tags[0]);
        assert_eq!(own.get("filesize").unwrap().as_f64(), Some(file.len() as f64));
        assert_eq!(own.get("duration").unwrap().as_f64(), Some(0.765));
        assert_eq!(own.get("width").unwrap().as_f64(), Some(640.0));
        assert_eq!(own.get("service").unwrap().as_str(), Some("x/1"));
        let times: Vec<u32> = tags[1..].iter().map(|tag| tag.timestamp).collect();
        assert_eq!(times[..6], [0, 0, 0, 5, 40, 45]);
    }

    #[test]
    fn what_is_missing_is_not_promised_and_times_may_stay() {
        let sound: Vec<Frame> =
            frames(70_000).into_iter().filter(|f| f.codec == Codec::Aac).collect();
        let file = record(FileMuxer::new("x", true), Vec::new(), &sound);
        let (header, tags) = tags(&file);
        assert_eq!(header, FileHeader { has_audio: true, has_video: false });
        assert_eq!(tags[2].timestamp, 70_005);
        assert!(FileMuxer::new("x", false).finish(0).is_empty());
    }

    #[test]
    fn a_file_goes_on_where_it_ended() {
        let file = record(FileMuxer::new("x", false), Vec::new(), &frames(9_000));
        let len = file.len();
        let last = u32::from_be_bytes(file[len - 4..].try_into().unwrap()) as usize;
        let head: [u8; 11] = file[len - 4 - last..][..11].try_into().unwrap();
        let muxer = FileMuxer::resume(&file[..RESUME_HEAD], head).unwrap();
        let file = record(muxer, file, &frames(500));
        let (_, tags) = tags(&file);
        assert!(tags.windows(2).all(|pair| pair[0].timestamp <= pair[1].timestamp));
        assert_eq!(tags.iter().filter(|tag| tag.kind == TagKind::Script).count(), 1);
        let own = properties(&tags[0]);
        assert_eq!(own.get("filesize").unwrap().as_f64(), Some(file.len() as f64));
        assert_eq!(own.get("duration").unwrap().as_f64(), Some(1.531));
        assert!(FileMuxer::resume(b"RIFFxxxxxxxxxxx", [0; 11]).is_none());
    }
}
