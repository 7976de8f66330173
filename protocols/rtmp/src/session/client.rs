//! The client's side of a connection: publish one stream, or play one.

mod calls;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use container::amf::{self, Property, Value};

use super::acks::Acks;
use super::{Close, Limits};
use crate::wire::chunk::{self, DEFAULT_CHUNK_SIZE, Decoder, TooLong, encode_message};
use crate::wire::handshake;
use crate::wire::message::{self, Incoming, Media, UserControl};
use crate::wire::url::StreamUrl;

/// What to do with which stream.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The stream. Where to connect to is the caller's business.
    pub url: StreamUrl,
    /// What to do with it.
    pub role: Role,
    /// Sign the handshake. Servers that know only the simple form answer that just as well; one
    /// that chokes on it must be dialled again without.
    pub complex_handshake: bool,
    /// Chunk size of what is sent.
    pub chunk_size: u32,
    /// What the client calls itself (`flashVer`).
    pub flash_ver: String,
    /// The page to name (`pageUrl`), if any.
    pub page_url: Option<String>,
    /// The player to name (`swfUrl`), if any.
    pub swf_url: Option<String>,
    /// More properties for the command object of `connect`.
    pub extra: Vec<Property>,
    /// An argument behind the command object: an edge's account of itself.
    pub args: Option<Value>,
    /// How much the player is said to buffer, in milliseconds.
    pub buffer_ms: u32,
    /// From the start to media flowing, in total.
    pub timeout: Duration,
    /// What is taken from the server.
    pub chunk: chunk::Limits,
    /// Values in what the server says.
    pub amf: amf::Limits,
}

/// What a client does with its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Publish as encoders do: `releaseStream`, `FCPublish`, `createStream`, `publish`.
    PublishFmle,
    /// Publish as relays do: `createStream`, `publish`.
    PublishFlash,
    /// Play from now on.
    Play,
}

impl ClientConfig {
    /// The usual choices for this stream and role.
    pub fn new(url: StreamUrl, role: Role) -> Self {
        let flash_ver = match role {
            Role::PublishFmle => "FMLE/3.0 (compatible; millrace)",
            Role::PublishFlash | Role::Play => "LNX 9,0,124,2",
        };
        Self {
            url,
            role,
            complex_handshake: true,
            chunk_size: super::server::ConnectOptions::CHUNK_SIZE,
            flash_ver: flash_ver.to_owned(),
            page_url: None,
            swf_url: None,
            extra: Vec::new(),
            args: None,
            buffer_ms: 3000,
            timeout: Limits::IDENTIFY,
            chunk: chunk::Limits::default(),
            amf: amf::Limits::default(),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The server let us in; `info` is what it said of itself.
    Connected {
        /// The status object of the answer, or null.
        info: Value,
    },
    /// [`Client::send_media`] may begin.
    PublishStarted,
    /// Media will come.
    PlayStarted,
    /// A part of the stream that is played.
    Media {
        /// What it is.
        media: Media,
        /// Milliseconds; wraps at 2^32.
        timestamp_ms: u32,
        /// As in an FLV tag. Never empty.
        body: Bytes,
    },
    /// The server said something else, by `onStatus` or as an error.
    Status {
        /// `status`, `warning` or `error`.
        level: String,
        /// For example `NetStream.Play.UnpublishNotify`.
        code: String,
        /// For people.
        description: String,
    },
    /// The server says that playback is over, or paused.
    StreamEof,
    /// The stream is elsewhere. [`Event::Closed`] follows.
    Redirect {
        /// Where the app is.
        tc_url: String,
        /// Where the stream is, whole, if the server said.
        url: Option<String>,
    },
    /// The session is over. The last event.
    Closed(Close),
}

/// One connection to a server, from the handshake on.
///
/// Right after [`new`](Self::new) there are bytes to send. Bytes in by
/// [`handle_bytes`](Self::handle_bytes); after that and after each other call drain
/// [`poll_event`](Self::poll_event) and [`poll_transmit`](Self::poll_transmit), and arm a timer for
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Client {
    config: Box<ClientConfig>,
    phase: Phase,
    deadline: Option<Instant>,
    decoder: Decoder,
    output: Vec<u8>,
    events: VecDeque<Event>,
    acks: Acks,
    chunk_size: u32,
    msid: u32,
}

#[derive(Debug)]
enum Phase {
    Handshake(Box<handshake::Client>),
    /// `connect` is not answered.
    Connecting,
    /// `createStream` is not answered.
    Creating,
    /// `publish` or `play` is not answered.
    Starting,
    Started,
    Closed,
}

impl Client {
    /// A session that starts now. `seed` must be new for each connection.
    pub fn new(now: Instant, seed: [u8; 32], config: ClientConfig) -> Self {
        let mut handshake = handshake::Client::new(seed, config.complex_handshake);
        let mut output = Vec::new();
        handshake.start(&mut output);
        Self {
            phase: Phase::Handshake(Box::new(handshake)),
            deadline: now.checked_add(config.timeout),
            decoder: Decoder::new(config.chunk),
            config: Box::new(config),
            output,
            events: VecDeque::new(),
            acks: Acks::default(),
            chunk_size: DEFAULT_CHUNK_SIZE,
            msid: 0,
        }
    }

    /// Takes what came from the server. Any bytes are fine; what is wrong with them is told by
    /// [`Event::Closed`], after which all is ignored. Media is copied once, out of `input`.
    pub fn handle_bytes(&mut self, input: &[u8]) {
        if self.is_closed() {
            return;
        }
        self.acks.received(input.len());
        if let Err(close) = self.consume(input) {
            self.close(close);
            return;
        }
        if let Some(sequence) = self.acks.poll() {
            message::encode_ack(&mut self.output, sequence, self.chunk_size);
        }
    }

    /// Tells that so many bytes came and were thrown away unread, as a load tool does with media:
    /// they are acknowledged all the same. From then on [`handle_bytes`](Self::handle_bytes)
    /// means nothing any more, since the borders of chunks are lost.
    pub fn skip_bytes(&mut self, bytes: usize) {
        if self.decoder.heap_bytes() > 0 {
            self.decoder = Decoder::new(self.config.chunk);
        }
        self.acks.received(bytes);
        if let Some(sequence) = self.acks.poll() {
            message::encode_ack(&mut self.output, sequence, self.chunk_size);
        }
    }

    /// An answer to a ping that was not seen, for a caller that skips bytes.
    pub fn send_ping_response(&mut self, value: u32) {
        UserControl::PingResponse(value).encode(&mut self.output, self.chunk_size);
    }

    /// Tells that [`poll_timeout`](Self::poll_timeout) may have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.close(match self.phase {
                Phase::Handshake(_) => Close::HandshakeTimeout,
                _ => Close::IdentifyTimeout,
            });
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` once media may flow.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Bytes for the server, all that there are.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        (!self.output.is_empty()).then(|| std::mem::take(&mut self.output))
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The session is over.
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The NetStream, once the server gave one; else 0.
    pub const fn msid(&self) -> u32 {
        self.msid
    }

    /// The chunk size in which media goes out, for a caller that cuts its messages itself.
    pub const fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Appends a part of the stream to what `poll_transmit` gives: one copy. Dropped unless
    /// [`Event::PublishStarted`] came. `onMetaData` goes out as `@setDataFrame`.
    ///
    /// # Errors
    ///
    /// [`TooLong`], the caller's: more than 16 MiB.
    pub fn send_media(
        &mut self,
        media: Media,
        timestamp_ms: u32,
        body: &[u8],
    ) -> Result<(), TooLong> {
        if !matches!(self.phase, Phase::Started) || self.config.role == Role::Play {
            return Ok(());
        }
        let metadata = media == Media::Data && body.starts_with(ON_META_DATA);
        let parts: [&[u8]; 2] = [if metadata { SET_DATA_FRAME } else { &[] }, body];
        let (out, size) = (&mut self.output, self.chunk_size);
        encode_message(out, media.cid(), media.type_id(), timestamp_ms, self.msid, &parts, size)
    }

    /// Ends what was started, in the way of the role. The connection may be closed once
    /// `poll_transmit` is drained.
    pub fn stop(&mut self) {
        if matches!(self.phase, Phase::Starting | Phase::Started) {
            self.call_stop();
        }
        self.phase = Phase::Closed;
        self.deadline = None;
    }

    fn consume(&mut self, input: &[u8]) -> Result<(), Close> {
        let mut rest = input;
        while !rest.is_empty() && !self.is_closed() {
            let taken = match &mut self.phase {
                Phase::Handshake(handshake) => {
                    let progress = handshake.handle_bytes(rest, &mut self.output)?;
                    if progress.done {
                        self.call_connect();
                        self.phase = Phase::Connecting;
                    }
                    progress.consumed
                }
                _ => {
                    let (taken, message) = self.decoder.decode(rest)?;
                    if let Some(message) = message {
                        self.handle_message(message)?;
                    }
                    taken
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn handle_message(&mut self, message: chunk::Message) -> Result<(), Close> {
        let timestamp_ms = message.timestamp_ms;
        match Incoming::decode(message, &self.config.amf)? {
            Incoming::Media(media, body) => self.push_media(media, timestamp_ms, body),
            Incoming::Aggregate(aggregate) => {
                for (media, timestamp_ms, body) in aggregate {
                    self.push_media(media, timestamp_ms, body);
                }
            }
            Incoming::Command(command) => return self.handle_command(&command),
            Incoming::WindowAckSize(window) => self.acks.set_window(window),
            Incoming::SetPeerBandwidth(size) => {
                message::encode_window_ack_size(&mut self.output, size, self.chunk_size);
            }
            Incoming::UserControl(UserControl::PingRequest(value)) => {
                UserControl::PingResponse(value).encode(&mut self.output, self.chunk_size);
            }
            Incoming::UserControl(UserControl::StreamEof(_)) => {
                self.events.push_back(Event::StreamEof);
            }
            Incoming::Ack(_) | Incoming::UserControl(_) | Incoming::Ignored => {}
        }
        Ok(())
    }

    fn push_media(&mut self, media: Media, timestamp_ms: u32, body: Bytes) {
        let playing = matches!(self.phase, Phase::Starting | Phase::Started)
            && self.config.role == Role::Play;
        // Said by the server to the player; no part of the stream.
        let notice = media == Media::Data
            && (body.starts_with(SAMPLE_ACCESS) || body.starts_with(ON_STATUS));
        if playing && !notice {
            self.events.push_back(Event::Media { media, timestamp_ms, body });
        }
    }

    fn close(&mut self, close: Close) {
        if self.is_closed() {
            return;
        }
        self.phase = Phase::Closed;
        self.deadline = None;
        self.events.push_back(Event::Closed(close));
    }
}

const ON_META_DATA: &[u8] = b"\x02\x00\x0aonMetaData";
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";
const SAMPLE_ACCESS: &[u8] = b"\x02\x00\x11|RtmpSampleAccess";
const ON_STATUS: &[u8] = b"\x02\x00\x08onStatus";
