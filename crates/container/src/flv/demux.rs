//! Message bodies to frames.

use bytes::Bytes;
use media::{Codec, Flags, Frame, Timestamp};

use super::coding::{
    CODED_FRAMES, CODED_FRAMES_X, EX_AUDIO, EX_VIDEO, FRAME_COMMAND, MPEG2TS_SEQUENCE_START,
    MULTICHANNEL_CONFIG, SEQUENCE_END, SEQUENCE_START, VIDEO_METADATA, flags_of, frame_type_of,
    has_nal_units, has_packet_type, of_audio_fourcc, of_sound_format, of_video_fourcc, of_video_id,
};
use super::ex::{Cursor, Part, Parts, body_of};
use super::{AUDIO_BODY, Error, MAX_TRACKS, TagKind, VIDEO_BODY, annexb};

/// AMF0 string `@setDataFrame`, with marker and length: what RTMP publishers put before metadata.
///
/// [`Demuxer`] strips it; a client that publishes writes it before the payload.
pub const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";
/// AMF0 string `onMetaData`.
const ON_META_DATA: &[u8] = b"\x02\x00\x0aonMetaData";

/// Turns message bodies (RTMP audio, video and data messages, FLV tags) into frames.
///
/// One for each publisher. It keeps no media: only the size of NAL unit lengths of each video
/// track and the codec of the main audio track. The module's table tells what becomes of what.
#[derive(Clone, Debug)]
pub struct Demuxer {
    /// Bytes of a NAL unit length, 1 to 4, for each video track.
    length_sizes: [u8; MAX_TRACKS],
    /// Codec and tag of audio track 0, which an empty message ends.
    audio: Option<(Codec, u32)>,
}

impl Default for Demuxer {
    fn default() -> Self {
        Self::new()
    }
}

impl Demuxer {
    /// For a publisher that has sent nothing yet.
    pub const fn new() -> Self {
        // Four until a configuration says otherwise: so do all encoders.
        Self { length_sizes: [4; MAX_TRACKS], audio: None }
    }

    /// Reads one message body and appends its frames to `out`: mostly one, several for a
    /// multitrack message, none for silence before any sound.
    ///
    /// `dts` is the message's timestamp on the publisher's timeline, already unwrapped.
    /// Payloads share the memory of `body`; only Annex B video and unknown packets inside
    /// a message of several tracks are copied.
    ///
    /// # Errors
    ///
    /// The body is malformed or of no use; the peer's fault. Later messages are not affected,
    /// and frames of the same message that could be read have been appended all the same.
    pub fn push(
        &mut self,
        kind: TagKind,
        dts: Timestamp,
        body: Bytes,
        out: &mut impl Extend<Frame>,
    ) -> Result<(), Error> {
        match kind {
            TagKind::Video => self.push_video(dts, body, out),
            TagKind::Audio => self.push_audio(dts, body, out),
            TagKind::Script => push_script(dts, body, out),
        }
    }

    fn push_video(
        &mut self,
        dts: Timestamp,
        body: Bytes,
        out: &mut impl Extend<Frame>,
    ) -> Result<(), Error> {
        let Some(&first) = body.first() else {
            return Err(Error::Empty(TagKind::Video));
        };
        if first & EX_VIDEO != 0 {
            return self.push_enhanced(TagKind::Video, first, dts, body, out);
        }
        let (frame_type, id) = (first >> 4, first & 0x0f);
        if id == 0 {
            // Tag 0 would mean that there is none.
            out.extend(Some(frame(Codec::OtherVideo, VIDEO_BODY, flags_of(frame_type), dts, body)));
            return Ok(());
        }
        let mut cursor = Cursor::new(body);
        cursor.u8()?;
        if frame_type == FRAME_COMMAND {
            return Err(Error::Command { value: cursor.u8()? });
        }
        let codec = of_video_id(id);
        let mut frame = frame(codec, u32::from(id), flags_of(frame_type), dts, Bytes::new());
        if has_packet_type(id) {
            let packet_type = cursor.u8()?;
            // Some encoders end the sequence with two bytes.
            if packet_type != SEQUENCE_END || !cursor.is_empty() {
                frame.pts = compose(dts, cursor.i24()?);
            }
            self.fill_video(&mut frame, packet_type, cursor.rest())?;
        } else {
            frame.payload = media_of(TagKind::Video, cursor.rest())?;
        }
        if frame_type != frame_type_of(frame.flags) {
            frame.tag |= u32::from(frame_type << 4);
        }
        out.extend(Some(frame));
        Ok(())
    }

    fn push_audio(
        &mut self,
        dts: Timestamp,
        body: Bytes,
        out: &mut impl Extend<Frame>,
    ) -> Result<(), Error> {
        let Some(&first) = body.first() else {
            out.extend(
                self.audio.map(|(codec, tag)| frame(codec, tag, Flags::END, dts, Bytes::new())),
            );
            return Ok(());
        };
        if first >> 4 == EX_AUDIO {
            return self.push_enhanced(TagKind::Audio, first, dts, body, out);
        }
        let codec = of_sound_format(first >> 4);
        let mut cursor = Cursor::new(body);
        cursor.u8()?;
        let mut frame = frame(codec, u32::from(first), Flags::empty(), dts, Bytes::new());
        if codec == Codec::Aac {
            let packet_type = cursor.u8()?;
            match packet_type {
                SEQUENCE_START | CODED_FRAMES => {
                    fill_audio(&mut frame, packet_type, cursor.rest())?;
                }
                value => return Err(Error::PacketType { kind: TagKind::Audio, value }),
            }
        } else {
            frame.payload = media_of(TagKind::Audio, cursor.rest())?;
        }
        self.audio = Some((frame.codec, frame.tag));
        out.extend(Some(frame));
        Ok(())
    }

    fn push_enhanced(
        &mut self,
        kind: TagKind,
        first: u8,
        dts: Timestamp,
        body: Bytes,
        out: &mut impl Extend<Frame>,
    ) -> Result<(), Error> {
        let mut cursor = Cursor::new(body.clone());
        cursor.u8()?;
        let mut parts = Parts::open(kind, first, cursor)?;
        let whole = parts.is_single().then_some(body);
        let precise = dts.offset(i64::from(parts.nanos / 1000));
        let mut result = Ok(());
        while let Some(part) = parts.pull()? {
            let read = self.read_part(kind, first, &part).map(|read| match read {
                Read::Frame(frame) => {
                    let cts = frame.composition_us();
                    Frame { dts: precise, pts: precise.offset(cts), ..frame }
                }
                // A body that is relayed whole still has its ModEx packets in it.
                Read::Body(frame) => match &whole {
                    Some(body) => Frame { dts, pts: dts, payload: body.clone(), ..frame },
                    None => {
                        let payload = body_of(kind, first, &part);
                        Frame { dts: precise, pts: precise, payload, ..frame }
                    }
                },
            });
            match read {
                Ok(frame) => out.extend(Some(frame)),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// One track's share; times are relative to zero.
    fn read_part(&mut self, kind: TagKind, first: u8, part: &Part) -> Result<Read, Error> {
        let Part { packet_type, fourcc, track, .. } = *part;
        if usize::from(track) >= MAX_TRACKS {
            return Err(Error::TrackId { value: track });
        }
        let at = Timestamp::ZERO;
        let frame =
            |codec, tag, flags| Frame { track, ..frame(codec, tag, flags, at, Bytes::new()) };
        let video = kind == TagKind::Video;
        if let Some(data_track) = beside_media(kind, packet_type, track) {
            let tag = if video { VIDEO_BODY } else { AUDIO_BODY };
            let frame = frame(Codec::OtherData, tag, Flags::CONFIG);
            return Ok(Read::Body(Frame { track: data_track, ..frame }));
        }
        let media = if video { flags_of((first >> 4) & 7) } else { Flags::empty() };
        let flags = match packet_type {
            SEQUENCE_START => Flags::CONFIG,
            SEQUENCE_END => Flags::END,
            CODED_FRAMES => media,
            CODED_FRAMES_X if video => media,
            value => return Err(Error::PacketType { kind, value }),
        };
        let known = if video { of_video_fourcc(fourcc) } else { of_audio_fourcc(fourcc) };
        let read = match known {
            None if video => Read::Body(frame(Codec::OtherVideo, VIDEO_BODY, flags)),
            None => Read::Body(frame(Codec::OtherAudio, AUDIO_BODY, flags)),
            Some(codec) if video => {
                let mut frame = frame(codec, fourcc, flags);
                let mut cursor = Cursor::new(part.data.clone());
                if packet_type == CODED_FRAMES && has_nal_units(codec) {
                    frame.pts = compose(at, cursor.i24()?);
                }
                self.fill_video(&mut frame, packet_type, cursor.rest())?;
                Read::Frame(frame)
            }
            Some(codec) => {
                let mut frame = frame(codec, fourcc, flags);
                fill_audio(&mut frame, packet_type, part.data.clone())?;
                Read::Frame(frame)
            }
        };
        if let (false, 0, Read::Frame(frame) | Read::Body(frame)) = (video, track, &read) {
            self.audio = Some((frame.codec, frame.tag));
        }
        Ok(read)
    }

    /// Sets payload and flags of a video frame by its packet type.
    fn fill_video(&mut self, frame: &mut Frame, packet_type: u8, data: Bytes) -> Result<(), Error> {
        match packet_type {
            SEQUENCE_START => {
                let length_size = length_size_of(frame.codec, &data)?;
                if let Some(slot) = self.length_sizes.get_mut(usize::from(frame.track)) {
                    *slot = length_size;
                }
                frame.flags = Flags::CONFIG;
                frame.payload = data;
            }
            SEQUENCE_END => frame.flags = Flags::END,
            CODED_FRAMES => frame.payload = self.nal_units(frame, data)?,
            // The legacy header ends at 2; the caller has let 3 through for the enhanced one.
            CODED_FRAMES_X if frame.tag > 0xff => frame.payload = self.nal_units(frame, data)?,
            value => return Err(Error::PacketType { kind: TagKind::Video, value }),
        }
        Ok(())
    }

    /// The media of a video packet, with Annex B start codes replaced should there be any.
    fn nal_units(&self, frame: &Frame, data: Bytes) -> Result<Bytes, Error> {
        let data = media_of(TagKind::Video, data)?;
        let length_size = self.length_sizes.get(usize::from(frame.track)).copied().unwrap_or(4);
        if !has_nal_units(frame.codec) || !annexb::is_annex_b(&data, length_size) {
            return Ok(data);
        }
        media_of(TagKind::Video, annexb::to_lengths(&data, length_size)?)
    }
}

/// A packet that was understood, or one whose body travels whole.
enum Read {
    Frame(Frame),
    Body(Frame),
}

fn frame(codec: Codec, tag: u32, flags: Flags, dts: Timestamp, payload: Bytes) -> Frame {
    Frame { codec, track: 0, flags, tag, dts, pts: dts, payload }
}

fn compose(dts: Timestamp, cts_ms: i32) -> Timestamp {
    dts.offset(i64::from(cts_ms).saturating_mul(1000))
}

/// Data with media in it. A frame without a byte would only make trouble downstream.
fn media_of(kind: TagKind, data: Bytes) -> Result<Bytes, Error> {
    if data.is_empty() { Err(Error::Empty(kind)) } else { Ok(data) }
}

/// Sets payload and flags of an audio frame by its packet type.
fn fill_audio(frame: &mut Frame, packet_type: u8, data: Bytes) -> Result<(), Error> {
    match packet_type {
        SEQUENCE_START if frame.codec == Codec::Aac && data.is_empty() => {
            return Err(Error::Config { codec: frame.codec, len: 0 });
        }
        SEQUENCE_START => {
            frame.flags = Flags::CONFIG;
            frame.payload = data;
        }
        SEQUENCE_END => frame.flags = Flags::END,
        _ => frame.payload = media_of(TagKind::Audio, data)?,
    }
    Ok(())
}

/// Data track of a packet that is neither media nor configuration; see the module's text.
fn beside_media(kind: TagKind, packet_type: u8, track: u8) -> Option<u8> {
    match (kind, packet_type) {
        (TagKind::Video, VIDEO_METADATA) => Some(track.min(5).saturating_add(1)),
        (TagKind::Video, MPEG2TS_SEQUENCE_START) => Some(7),
        (TagKind::Audio, MULTICHANNEL_CONFIG) => Some(track.min(7).saturating_add(8)),
        _ => None,
    }
}

/// `lengthSizeMinusOne + 1` of an `avcC` (ISO/IEC 14496-15, 5.3.3.1) or `hvcC` (8.3.3.1) record;
/// 4 for codecs that have no NAL units.
fn length_size_of(codec: Codec, config: &[u8]) -> Result<u8, Error> {
    let (at, least) = match codec {
        Codec::H264 => (4, 7),
        Codec::H265 => (21, 23),
        _ => return Ok(4),
    };
    match config.get(at) {
        Some(&byte) if config.len() >= least && !config.starts_with(&[0, 0]) => {
            Ok((byte & 3).saturating_add(1))
        }
        _ => Err(Error::Config { codec, len: config.len() }),
    }
}

fn push_script(dts: Timestamp, body: Bytes, out: &mut impl Extend<Frame>) -> Result<(), Error> {
    let payload =
        if body.starts_with(SET_DATA_FRAME) { body.slice(SET_DATA_FRAME.len()..) } else { body };
    let payload = media_of(TagKind::Script, payload)?;
    let flags = if payload.starts_with(ON_META_DATA) { Flags::CONFIG } else { Flags::empty() };
    out.extend(Some(frame(Codec::ScriptData, 0, flags, dts, payload)));
    Ok(())
}
