//! What messages mean: control messages, commands, aggregates.
//!
//! [`Incoming::decode`] sorts a [`Message`] of the chunk layer; the `encode_*` functions write
//! the messages that a session sends. Media bodies pass untouched. Set Chunk Size and Abort do
//! not appear here: the chunk decoder obeys them. Shared objects are ignored.
//!
//! Specification: RTMP 1.0, sections 5.4, 6.2 and 7.1.

use bytes::{Buf, Bytes};
use container::amf::{self, Value};
use container::flv::TagKind;

use super::chunk::{Message, TooLong, encode_message};

/// Message types (the byte in the message header).
pub mod kind {
    /// Set Chunk Size.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Acknowledgement.
    pub const ACK: u8 = 3;
    /// User Control.
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size.
    pub const WINDOW_ACK_SIZE: u8 = 5;
    /// Set Peer Bandwidth.
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    /// Audio.
    pub const AUDIO: u8 = 8;
    /// Video.
    pub const VIDEO: u8 = 9;
    /// Data, one byte and then as [`DATA`].
    pub const DATA_AMF3: u8 = 15;
    /// A command, one byte and then as [`COMMAND`].
    pub const COMMAND_AMF3: u8 = 17;
    /// Data in AMF0.
    pub const DATA: u8 = 18;
    /// A command in AMF0.
    pub const COMMAND: u8 = 20;
    /// Several messages in one.
    pub const AGGREGATE: u8 = 22;
}

/// Chunk streams, by what is sent on them.
pub mod cid {
    /// Protocol and user control.
    pub const CONTROL: u32 = 2;
    /// Commands of the connection and their results.
    pub const COMMAND: u32 = 3;
    /// Metadata.
    pub const DATA: u32 = 4;
    /// Commands of a NetStream.
    pub const STREAM: u32 = 5;
    /// Video.
    pub const VIDEO: u32 = 6;
    /// Audio.
    pub const AUDIO: u32 = 7;
}

/// What a media message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Media {
    /// Audio, as in an FLV audio tag.
    Audio,
    /// Video, as in an FLV video tag.
    Video,
    /// Script data, as in an FLV script tag.
    Data,
}

impl Media {
    /// The message type.
    pub const fn type_id(self) -> u8 {
        match self {
            Self::Audio => kind::AUDIO,
            Self::Video => kind::VIDEO,
            Self::Data => kind::DATA,
        }
    }

    /// The chunk stream that it is sent on.
    pub const fn cid(self) -> u32 {
        match self {
            Self::Audio => cid::AUDIO,
            Self::Video => cid::VIDEO,
            Self::Data => cid::DATA,
        }
    }
}

/// The message that carries the body of such an FLV tag.
impl From<TagKind> for Media {
    fn from(kind: TagKind) -> Self {
        match kind {
            TagKind::Audio => Self::Audio,
            TagKind::Video => Self::Video,
            TagKind::Script => Self::Data,
        }
    }
}

/// A call, or the answer to one.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// What is called, or `_result`, `_error`, `onStatus`.
    pub name: String,
    /// Ties an answer to its call; 0 wants none.
    pub transaction: f64,
    /// The command object and the arguments, as they came.
    pub args: Vec<Value>,
}

impl Command {
    /// The `index`th argument as text; the command object counts as 0.
    pub fn text(&self, index: usize) -> Option<&str> {
        self.args.get(index).and_then(Value::as_str)
    }

    /// The `index`th argument as number.
    pub fn number(&self, index: usize) -> Option<f64> {
        self.args.get(index).and_then(Value::as_f64)
    }

    /// The `index`th argument as boolean.
    pub fn boolean(&self, index: usize) -> Option<bool> {
        self.args.get(index).and_then(Value::as_bool)
    }
}

/// User control events (section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserControl {
    /// The NetStream can be used.
    StreamBegin(u32),
    /// Playback of the NetStream is over.
    StreamEof(u32),
    /// There is no more data on the NetStream for now.
    StreamDry(u32),
    /// A player tells how much it buffers.
    SetBufferLength {
        /// The NetStream.
        stream_id: u32,
        /// Milliseconds.
        millis: u32,
    },
    /// The NetStream is recorded.
    StreamIsRecorded(u32),
    /// To be answered with the same number.
    PingRequest(u32),
    /// The answer.
    PingResponse(u32),
    /// Anything else; some servers send events of their own.
    Other(u16),
}

/// A message, sorted.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// Bytes that the peer has received so far.
    Ack(u32),
    /// User control.
    UserControl(UserControl),
    /// The peer wants an [`Incoming::Ack`] for each so many bytes.
    WindowAckSize(u32),
    /// The peer limits how much may be under way.
    SetPeerBandwidth(u32),
    /// A call or an answer.
    Command(Command),
    /// Audio, video or script data; for the latter AMF0, whatever it came as.
    Media(Media, Bytes),
    /// Several messages; see [`Aggregate`].
    Aggregate(Aggregate),
    /// Nothing that matters: empty, a shared object, an unknown type.
    Ignored,
}

/// Why a message has no meaning. The peer's fault, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Shorter than its fields.
    #[error("message of type {type_id} and {length} bytes is too short")]
    Short {
        /// The message's type.
        type_id: u8,
        /// Its length.
        length: usize,
    },
    /// A command whose values cannot be read.
    #[error("command: {0}")]
    Amf(#[from] amf::Error),
    /// A command without name and transaction.
    #[error("command without name or transaction")]
    Command,
}

impl Error {
    /// The number that logs and the API give for it.
    pub const fn code(self) -> u16 {
        match self {
            Self::Short { .. } => 2013,
            Self::Amf(_) => 2003,
            Self::Command => 2004,
        }
    }
}

impl Incoming {
    /// Sorts a message. Media is not copied.
    ///
    /// # Errors
    ///
    /// The peer's. Media never fails: what is in it is none of this layer's business.
    pub fn decode(message: Message, limits: &amf::Limits) -> Result<Self, Error> {
        let Message { type_id, timestamp_ms, mut body, .. } = message;
        if body.is_empty() {
            return Ok(Self::Ignored);
        }
        let short = Error::Short { type_id, length: body.len() };
        Ok(match type_id {
            kind::ACK => Self::Ack(u32_at(&body, 0).ok_or(short)?),
            kind::WINDOW_ACK_SIZE => Self::WindowAckSize(u32_at(&body, 0).ok_or(short)?),
            kind::SET_PEER_BANDWIDTH => Self::SetPeerBandwidth(u32_at(&body, 0).ok_or(short)?),
            kind::USER_CONTROL => Self::UserControl(UserControl::decode(&body).ok_or(short)?),
            kind::COMMAND => Self::Command(Command::decode(&body, limits)?),
            kind::COMMAND_AMF3 => Self::Command(Command::decode(without_format(&body), limits)?),
            kind::AUDIO => Self::Media(Media::Audio, body),
            kind::VIDEO => Self::Media(Media::Video, body),
            kind::DATA | kind::DATA_AMF3 => {
                if type_id == kind::DATA_AMF3 && body.first() == Some(&0) {
                    body.advance(1);
                }
                match data(body) {
                    Some(body) => Self::Media(Media::Data, body),
                    None => Self::Ignored,
                }
            }
            kind::AGGREGATE => Self::Aggregate(Aggregate::new(timestamp_ms, body)),
            _ => Self::Ignored,
        })
    }
}

/// Script data as a player would get it: without `@setDataFrame` in front. `None` for what is
/// meant for the server alone.
fn data(mut body: Bytes) -> Option<Bytes> {
    const SET: &[u8] = b"\x02\x00\x0d@setDataFrame";
    const CLEAR: &[u8] = b"\x02\x00\x0f@clearDataFrame";
    // FFmpeg sends a time code in four bytes that are no AMF.
    if body.is_empty() || (body.len() == 4 && body.first() == Some(&0)) || body.starts_with(CLEAR) {
        return None;
    }
    if body.starts_with(SET) {
        body.advance(SET.len());
    }
    (!body.is_empty()).then_some(body)
}

/// An AMF3 command: a format byte, which is 0 for the AMF0 that everybody sends.
fn without_format(body: &[u8]) -> &[u8] {
    match body {
        [0, rest @ ..] => rest,
        other => other,
    }
}

fn u32_at(body: &[u8], at: usize) -> Option<u32> {
    let bytes = body.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

impl UserControl {
    fn decode(body: &[u8]) -> Option<Self> {
        let event = u16::from_be_bytes(*body.first_chunk::<2>()?);
        Some(match event {
            0 => Self::StreamBegin(u32_at(body, 2)?),
            1 => Self::StreamEof(u32_at(body, 2)?),
            2 => Self::StreamDry(u32_at(body, 2)?),
            3 => Self::SetBufferLength { stream_id: u32_at(body, 2)?, millis: u32_at(body, 6)? },
            4 => Self::StreamIsRecorded(u32_at(body, 2)?),
            6 => Self::PingRequest(u32_at(body, 2)?),
            7 => Self::PingResponse(u32_at(body, 2)?),
            other => Self::Other(other),
        })
    }

    /// Appends it as a message.
    pub fn encode(self, out: &mut Vec<u8>, chunk_size: u32) {
        let (event, value, second): (u16, u32, Option<u32>) = match self {
            Self::StreamBegin(id) => (0, id, None),
            Self::StreamEof(id) => (1, id, None),
            Self::StreamDry(id) => (2, id, None),
            Self::SetBufferLength { stream_id, millis } => (3, stream_id, Some(millis)),
            Self::StreamIsRecorded(id) => (4, id, None),
            Self::PingRequest(value) => (6, value, None),
            Self::PingResponse(value) => (7, value, None),
            Self::Other(event) => (event, 0, None),
        };
        let second = second.map(u32::to_be_bytes);
        let second: &[u8] = second.as_ref().map_or(&[], |bytes| bytes);
        let parts: [&[u8]; 3] = [&event.to_be_bytes(), &value.to_be_bytes(), second];
        control(out, kind::USER_CONTROL, &parts, chunk_size);
    }
}

impl Command {
    /// Reads a command's body (AMF0).
    ///
    /// # Errors
    ///
    /// The peer's: values that cannot be read, or no name and transaction.
    pub fn decode(body: &[u8], limits: &amf::Limits) -> Result<Self, Error> {
        let mut values = amf::decode_all(body, limits)?.into_iter();
        match (values.next(), values.next()) {
            (Some(Value::String(name)), Some(Value::Number(transaction))) => {
                Ok(Self { name, transaction, args: values.collect() })
            }
            // Nobody waits for an answer, then; the call may still mean something.
            (Some(Value::String(name)), None) => Ok(Self { name, transaction: 0.0, args: vec![] }),
            _ => Err(Error::Command),
        }
    }
}

/// Appends a command.
///
/// # Errors
///
/// [`TooLong`], the caller's: arguments of more than 16 MiB.
pub fn encode_command(
    out: &mut Vec<u8>,
    cid: u32,
    stream_id: u32,
    name: &str,
    transaction: f64,
    args: &[Value],
    chunk_size: u32,
) -> Result<(), TooLong> {
    let mut body = Vec::with_capacity(128);
    amf::encode(&name.into(), &mut body);
    amf::encode(&transaction.into(), &mut body);
    amf::encode_all(args, &mut body);
    encode_message(out, cid, kind::COMMAND, 0, stream_id, &[&body], chunk_size)
}

/// Appends Set Chunk Size; what follows it is cut by the new size.
pub fn encode_set_chunk_size(out: &mut Vec<u8>, size: u32, chunk_size: u32) {
    control(out, kind::SET_CHUNK_SIZE, &[&size.to_be_bytes()], chunk_size);
}

/// Appends an Acknowledgement.
pub fn encode_ack(out: &mut Vec<u8>, sequence: u32, chunk_size: u32) {
    control(out, kind::ACK, &[&sequence.to_be_bytes()], chunk_size);
}

/// Appends Window Acknowledgement Size.
pub fn encode_window_ack_size(out: &mut Vec<u8>, size: u32, chunk_size: u32) {
    control(out, kind::WINDOW_ACK_SIZE, &[&size.to_be_bytes()], chunk_size);
}

/// Appends Set Peer Bandwidth with the limit type "dynamic" (2).
pub fn encode_set_peer_bandwidth(out: &mut Vec<u8>, size: u32, chunk_size: u32) {
    control(out, kind::SET_PEER_BANDWIDTH, &[&size.to_be_bytes(), &[2]], chunk_size);
}

fn control(out: &mut Vec<u8>, type_id: u8, parts: &[&[u8]], chunk_size: u32) {
    // A dozen bytes are never too long.
    let _ = encode_message(out, cid::CONTROL, type_id, 0, 0, parts, chunk_size);
}

/// The messages inside an aggregate: FLV tags, each with its back pointer (section 7.1.6).
///
/// Their times are moved so that the first has the time of the aggregate. Nothing is copied.
/// What is cut at the end is left away, and what follows [`Aggregate::MAX`] messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    timestamp_ms: u32,
    first_ms: Option<u32>,
    left: usize,
    rest: Bytes,
}

impl Aggregate {
    /// A minute of audio and video; servers that aggregate put some hundred messages together.
    /// Without it 10 MiB of empty tags would make 40 MiB of events.
    pub const MAX: usize = 4096;

    const fn new(timestamp_ms: u32, rest: Bytes) -> Self {
        Self { timestamp_ms, first_ms: None, left: Self::MAX, rest }
    }
}

impl Iterator for Aggregate {
    type Item = (Media, u32, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let [type_id, l1, l2, l3, t2, t1, t0, t3, _, _, _] = *self.rest.first_chunk::<11>()?;
            let length = u32::from_be_bytes([0, l1, l2, l3]) as usize;
            let time = u32::from_be_bytes([t3, t2, t1, t0]);
            self.rest.advance(11);
            if self.rest.len() < length || self.left == 0 {
                self.rest.clear();
                return None;
            }
            self.left = self.left.saturating_sub(1);
            let body = self.rest.split_to(length);
            self.rest.advance(self.rest.len().min(4));
            let first = *self.first_ms.get_or_insert(time);
            let time = time.wrapping_sub(first).wrapping_add(self.timestamp_ms);
            let media = match type_id {
                kind::AUDIO => Some((Media::Audio, body)),
                kind::VIDEO => Some((Media::Video, body)),
                kind::DATA => data(body).map(|body| (Media::Data, body)),
                _ => None,
            };
            match media {
                Some((media, body)) if !body.is_empty() => return Some((media, time, body)),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
