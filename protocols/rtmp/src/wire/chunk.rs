//! The chunk stream: messages cut into chunks, several streams of them interleaved.
//!
//! [`Decoder`] puts messages together from reads of any size; [`encode_message`] cuts one into
//! chunks. The decoder obeys Set Chunk Size and Abort itself, as both mean nothing above it.
//!
//! Lenient where real encoders need it: a chunk stream may start with fmt 1, and the extended
//! timestamp may be left away or repeated in fmt 3 chunks.
//!
//! Timestamps are all of 32 bits and wrap there; a sender that wraps at 31 shows as it is.
//!
//! Specification: RTMP 1.0, section 5.3 and 5.4.1, 5.4.2.

mod encode;
mod header;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use encode::{TooLong, encode_message};
use header::{Header, Parsed};

/// The chunk size of both directions until Set Chunk Size says otherwise (5.4.1).
pub const DEFAULT_CHUNK_SIZE: u32 = 128;

/// The smallest chunk size a peer may set. Headers alone would outweigh the payload below it.
pub const MIN_CHUNK_SIZE: u32 = 128;

/// The largest message, and so the largest chunk that means anything: its length has 24 bits.
pub const MAX_MESSAGE_LENGTH: u32 = 0xff_ffff;

/// Where a 24-bit timestamp says that 32 bits follow.
const EXTENDED: u32 = 0xff_ffff;

/// The longest header: basic 3, message 11, extended timestamp 4.
const MAX_HEADER: usize = 18;

const SET_CHUNK_SIZE: u8 = 1;
const ABORT: u8 = 2;

/// One message, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is; see [`wire::message`](crate::wire).
    pub type_id: u8,
    /// Milliseconds; wraps at 2^32.
    pub timestamp_ms: u32,
    /// The NetStream it belongs to; 0 is the connection itself.
    pub stream_id: u32,
    /// The payload; may be empty. Holds no more memory than its length.
    pub body: Bytes,
}

/// What a decoder lets a peer buy with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message.
    pub message: u32,
    /// Bytes of all unfinished messages together.
    pub held: usize,
    /// Chunk streams.
    pub chunk_streams: usize,
}

impl Limits {
    /// A key frame of 8K video at a constant quantiser stays below; half of it has been seen to
    /// cut 4K intra-only encoders off.
    pub const MESSAGE: u32 = 10 * 1024 * 1024;
    /// Two of the longest messages: audio and video may be in the air together.
    pub const HELD: usize = 20 * 1024 * 1024;
    /// Clients use up to 8; each costs some 80 bytes.
    pub const CHUNK_STREAMS: usize = 64;
}

impl Default for Limits {
    fn default() -> Self {
        Self { message: Self::MESSAGE, held: Self::HELD, chunk_streams: Self::CHUNK_STREAMS }
    }
}

/// Why a chunk stream cannot go on. The sender's fault, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A chunk stream starts with a header that says "as before".
    #[error("chunk stream {cid} starts with fmt {fmt}")]
    Start {
        /// The chunk stream.
        cid: u32,
        /// The header's format.
        fmt: u8,
    },
    /// A new message header in the middle of a message.
    #[error("fmt {fmt} inside a message on chunk stream {cid}")]
    Interrupted {
        /// The chunk stream.
        cid: u32,
        /// The header's format.
        fmt: u8,
    },
    /// The length changed in the middle of a message.
    #[error("message length changes from {from} to {to} on chunk stream {cid}")]
    LengthChange {
        /// The chunk stream.
        cid: u32,
        /// The length the message started with.
        from: u32,
        /// The length it has now.
        to: u32,
    },
    /// Set Chunk Size below [`MIN_CHUNK_SIZE`].
    #[error("chunk size {0}")]
    ChunkSize(u32),
    /// Set Chunk Size while a message is unfinished.
    #[error("chunk size changes to {0} inside a message")]
    ChunkSizeInMessage(u32),
    /// A control message that is shorter than its fields.
    #[error("control message {type_id} of {length} bytes")]
    ShortControl {
        /// The message's type.
        type_id: u8,
        /// Its length.
        length: usize,
    },
    /// More chunk streams than [`Limits::chunk_streams`].
    #[error("more than {0} chunk streams")]
    ChunkStreams(usize),
    /// A message longer than [`Limits::message`].
    #[error("message of {0} bytes")]
    MessageLength(u32),
    /// More unfinished bytes than [`Limits::held`].
    #[error("more than {0} bytes of unfinished messages")]
    Held(usize),
}

impl Error {
    /// The number that logs and the API give for it.
    pub const fn code(self) -> u16 {
        match self {
            Self::Start { .. } | Self::Interrupted { .. } => 2001,
            Self::ChunkSize(_) | Self::ChunkSizeInMessage(_) => 2010,
            Self::LengthChange { .. }
            | Self::ShortControl { .. }
            | Self::ChunkStreams(_)
            | Self::MessageLength(_)
            | Self::Held(_) => 2013,
        }
    }
}

/// One chunk stream: the last header, and the message that is being put together.
#[derive(Debug)]
struct ChunkStream {
    cid: u32,
    header: Header,
    body: Vec<u8>,
    /// A message has started; with a `length` of 0 it never does.
    open: bool,
}

/// Puts messages together from bytes as they come.
///
/// Memory: some 200 bytes once used, plus unfinished messages, which grow as their bytes
/// arrive and are given away when whole.
#[derive(Debug)]
pub struct Decoder {
    streams: Vec<ChunkStream>,
    limits: Limits,
    chunk_size: u32,
    /// Bytes of unfinished bodies, and the room that is reserved for them.
    held: usize,
    reserved: usize,
    /// The chunk whose payload is being read: index of its stream and what is left of it.
    chunk: Option<(u32, u32)>,
    /// A header that the last read cut.
    carry: [u8; MAX_HEADER],
    carried: u8,
}

impl Decoder {
    /// A decoder at the start of a chunk stream, right behind the handshake.
    pub const fn new(limits: Limits) -> Self {
        Self {
            streams: Vec::new(),
            limits,
            chunk_size: DEFAULT_CHUNK_SIZE,
            held: 0,
            reserved: 0,
            chunk: None,
            carry: [0; MAX_HEADER],
            carried: 0,
        }
    }

    /// Other limits from the next message on, once the peer is known better.
    pub const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Bytes of unfinished messages that are held now.
    pub const fn held(&self) -> usize {
        self.held
    }

    /// The peer's chunk size now.
    pub const fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Heap bytes in use, for the account of what a session costs.
    pub fn heap_bytes(&self) -> usize {
        let streams = self.streams.capacity().saturating_mul(size_of::<ChunkStream>());
        let bodies = self.streams.iter().map(|stream| stream.body.capacity());
        bodies.fold(streams, usize::saturating_add)
    }

    /// Gives back room for chunk streams that are not there.
    pub fn settle(&mut self) {
        self.streams.shrink_to_fit();
    }

    /// Reads up to the end of the next message, or all of `input` if it ends before that.
    ///
    /// Gives how many bytes were taken and the message if one was finished (by bytes of earlier
    /// calls alone, perhaps: then none are taken). Call it again with the rest until all is taken. The payload is copied once; one allocation for a message
    /// that lies whole in `input`.
    ///
    /// # Errors
    ///
    /// The peer's; the stream cannot be read any further.
    pub fn decode(&mut self, input: &[u8]) -> Result<(usize, Option<Message>), Error> {
        let mut rest = input;
        loop {
            if let Some((index, left)) = self.chunk {
                let (index, left) = (index as usize, left as usize);
                let left = left.saturating_sub(self.append_carried(index, left, rest.len())?);
                let taken = left.min(rest.len());
                let (payload, behind) = rest.split_at(taken);
                rest = behind;
                self.append(index, payload, behind.len())?;
                let left = left.saturating_sub(taken);
                if left > 0 {
                    self.chunk = Some(place(index, left));
                    return Ok((input.len(), None));
                }
                self.chunk = None;
                if let Some(message) = self.finish(index)? {
                    return Ok((input.len().saturating_sub(rest.len()), Some(message)));
                }
            }
            if !self.read_header(&mut rest)? {
                return Ok((input.len(), None));
            }
        }
    }

    /// Reads one chunk header and moves `rest` behind it; false if it is cut.
    fn read_header(&mut self, rest: &mut &[u8]) -> Result<bool, Error> {
        if self.carried == 0
            && let Some(parsed) = self.parse(rest)?
        {
            *rest = rest.get(parsed.size..).unwrap_or_default();
            self.begin_chunk(&parsed)?;
            return Ok(true);
        }
        let before = usize::from(self.carried);
        let room = self.carry.get_mut(before..).unwrap_or_default();
        let taken = room.len().min(rest.len());
        if let (Some(to), Some(from)) = (room.get_mut(..taken), rest.get(..taken)) {
            to.copy_from_slice(from);
        }
        let carry = self.carry;
        let filled = before.saturating_add(taken);
        let Some(parsed) = self.parse(carry.get(..filled).unwrap_or_default())? else {
            self.carried = carried(filled);
            *rest = &[];
            return Ok(false);
        };
        // Bytes that agreed with an extended timestamp as far as they went may turn out to be
        // payload: up to three of them are held here already.
        let payload = carry.get(parsed.size..before).unwrap_or_default();
        self.hold(payload);
        *rest = rest.get(parsed.size.saturating_sub(before)..).unwrap_or_default();
        self.begin_chunk(&parsed)?;
        Ok(true)
    }

    fn hold(&mut self, bytes: &[u8]) {
        if let Some(to) = self.carry.get_mut(..bytes.len()) {
            to.copy_from_slice(bytes);
            self.carried = carried(bytes.len());
        }
    }

    /// Appends what was held for a header and is payload; gives how much. What is behind the
    /// chunk's payload stays held: the next header begins with it.
    fn append_carried(&mut self, index: usize, left: usize, behind: usize) -> Result<usize, Error> {
        let carry = self.carry;
        let carried = carry.get(..usize::from(self.carried)).unwrap_or_default();
        let (payload, next) = carried.split_at(left.min(carried.len()));
        if !carried.is_empty() {
            self.append(index, payload, behind)?;
            self.hold(next);
        }
        Ok(payload.len())
    }

    fn parse(&self, bytes: &[u8]) -> Result<Option<Parsed>, Error> {
        let Some((fmt, cid, size)) = header::decode_basic(bytes) else {
            return Ok(None);
        };
        let index = self.streams.iter().position(|stream| stream.cid == cid);
        let stream = index.and_then(|index| self.streams.get(index));
        let previous = stream.map(|stream| (&stream.header, stream.open));
        header::decode(bytes, fmt, cid, size, index, previous)
    }

    fn begin_chunk(&mut self, parsed: &Parsed) -> Result<(), Error> {
        let header = parsed.header;
        if header.length > self.limits.message {
            return Err(Error::MessageLength(header.length));
        }
        let index = match parsed.index {
            Some(index) => index,
            None => {
                if self.streams.len() >= self.limits.chunk_streams {
                    return Err(Error::ChunkStreams(self.limits.chunk_streams));
                }
                let cid = parsed.cid;
                self.streams.push(ChunkStream { cid, header, body: Vec::new(), open: false });
                self.streams.len().saturating_sub(1)
            }
        };
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        stream.header = header;
        stream.open = true;
        let left = (header.length as usize).saturating_sub(stream.body.len());
        self.chunk = Some(place(index, left.min(self.chunk_size as usize)));
        Ok(())
    }

    /// Appends payload; `behind` bytes of input follow it, a hint of how much to make room for.
    fn append(&mut self, index: usize, payload: &[u8], behind: usize) -> Result<(), Error> {
        let held = self.held.saturating_add(payload.len());
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        let length = stream.header.length as usize;
        let needed = stream.body.len().saturating_add(payload.len());
        // What ends with this payload is handed on at once and not held.
        if needed < length && held > self.limits.held {
            return Err(Error::Held(self.limits.held));
        }
        if needed > stream.body.capacity() {
            // Doubling keeps the copying linear and the room at twice of what came; the input
            // behind may save steps of it as long as all that is reserved stays in the budget.
            let spare = self.limits.held.saturating_sub(self.reserved);
            let hint = needed.saturating_add(behind.min(spare));
            let target = hint.max(needed.saturating_mul(2)).min(length).max(needed);
            let before = stream.body.capacity();
            stream.body.reserve_exact(target.saturating_sub(stream.body.len()));
            let grown = stream.body.capacity().saturating_sub(before);
            self.reserved = self.reserved.saturating_add(grown);
        }
        stream.body.extend_from_slice(payload);
        self.held = held;
        Ok(())
    }

    /// Gives the message if its last chunk is in; obeys it instead if it is for this layer.
    fn finish(&mut self, index: usize) -> Result<Option<Message>, Error> {
        let Some(stream) = self.streams.get_mut(index) else { return Ok(None) };
        if stream.body.len() < stream.header.length as usize {
            return Ok(None);
        }
        let header = stream.header;
        let body = std::mem::take(&mut stream.body);
        stream.open = false;
        self.held = self.held.saturating_sub(body.len());
        self.reserved = self.reserved.saturating_sub(body.capacity());
        match header.type_id {
            SET_CHUNK_SIZE => {
                let value = control_u32(SET_CHUNK_SIZE, &body)?;
                if self.streams.iter().any(|stream| stream.open) {
                    return Err(Error::ChunkSizeInMessage(value));
                }
                if value < MIN_CHUNK_SIZE {
                    return Err(Error::ChunkSize(value));
                }
                self.chunk_size = value.min(MAX_MESSAGE_LENGTH);
                Ok(None)
            }
            ABORT => {
                let cid = control_u32(ABORT, &body)?;
                if let Some(stream) = self.streams.iter_mut().find(|stream| stream.cid == cid) {
                    self.held = self.held.saturating_sub(stream.body.len());
                    self.reserved = self.reserved.saturating_sub(stream.body.capacity());
                    stream.body = Vec::new();
                    stream.open = false;
                }
                Ok(None)
            }
            type_id => Ok(Some(Message {
                type_id,
                timestamp_ms: header.timestamp,
                stream_id: header.stream_id,
                body: Bytes::from(body),
            })),
        }
    }
}

/// Index of a chunk stream and rest of a chunk, in little room: neither reaches 2^24.
fn place(index: usize, left: usize) -> (u32, u32) {
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (small(index), small(left))
}

/// Bytes held for a header; never more than [`MAX_HEADER`].
fn carried(n: usize) -> u8 {
    u8::try_from(n).unwrap_or(u8::MAX)
}

fn control_u32(type_id: u8, body: &[u8]) -> Result<u32, Error> {
    match body.first_chunk() {
        Some(bytes) => Ok(u32::from_be_bytes(*bytes)),
        None => Err(Error::ShortControl { type_id, length: body.len() }),
    }
}
