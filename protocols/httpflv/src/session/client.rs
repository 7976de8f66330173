//! A player of HTTP-FLV, WebSocket-FLV or HTTP-TS.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use container::flv::{ReadError, Reader, Tag};
use container::ts;
use gate::http::client::{Address, Answer, AnswerError, Decoder, Part};
use http::header;
use tungstenite::handshake::derive_accept_key;

use crate::wire::websocket::client::{self as websocket, Broken, Frames, Piece};

/// What the body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// FLV: tags.
    Flv,
    /// MPEG-TS: access units.
    Ts,
}

/// What to play, and how.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where. Whom to connect to, and inside of what, is the caller's business; `ws` counts as
    /// `http`.
    pub address: Address,
    /// Open it as a WebSocket.
    pub websocket: bool,
    /// What will come.
    pub form: Form,
    /// What the client calls itself.
    pub user_agent: String,
    /// From the start to the first byte of the body.
    pub timeout: Duration,
}

impl ClientConfig {
    /// Servers hold a request until somebody publishes; longer than this no viewer waits.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// The usual choices.
    pub fn new(address: Address, form: Form) -> Self {
        Self {
            address,
            websocket: false,
            form,
            user_agent: concat!("millrace/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeout: Self::TIMEOUT,
        }
    }
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Close {
    /// The stream has ended, and the server said so.
    #[error("the stream has ended")]
    Ended,
    /// The connection ended without an end of the body.
    #[error("the connection was cut")]
    Cut,
    /// No body in time.
    #[error("no answer in time")]
    Timeout,
    /// The server said no.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The stream is elsewhere.
    #[error("redirected to {0}")]
    Redirected(String),
    /// The answer is none.
    #[error("{0}")]
    Answer(#[from] AnswerError),
    /// The upgrade was not agreed to as it should.
    #[error("the server does not switch to a WebSocket")]
    NoWebSocket,
    /// The WebSocket is none.
    #[error("{0}")]
    WebSocket(#[from] Broken),
    /// The body is no FLV.
    #[error("{0}")]
    Flv(#[from] ReadError),
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The server agreed; media will come.
    Started,
    /// A tag of FLV.
    Tag(Tag),
    /// A tag that was passed over; reading goes on.
    Skipped(ReadError),
    /// Something of a transport stream; faults among them, behind which reading goes on.
    Ts(ts::Event),
    /// The session is over. The last event.
    Closed(Close),
}

#[derive(Debug)]
enum Body {
    Flv(Reader),
    Ts(Box<ts::Demuxer>, Vec<ts::Event>),
}

/// One request for one stream.
///
/// Right after [`new`](Self::new) there are bytes to send. Bytes in by
/// [`handle_bytes`](Self::handle_bytes), then drain [`poll_event`](Self::poll_event) and
/// [`poll_transmit`](Self::poll_transmit). Holds an unfinished tag (16 MiB at most) or access
/// unit; events are bounded by the bytes of one call.
#[derive(Debug)]
pub struct Client {
    decoder: Decoder,
    frames: Option<Frames>,
    /// What the server must answer to the upgrade.
    accept: Option<String>,
    body: Body,
    deadline: Option<Instant>,
    output: Vec<u8>,
    events: VecDeque<Event>,
    mask: u64,
    closed: bool,
}

impl Client {
    /// A session that starts now. `seed` must be new for each connection: it makes the key and the
    /// masks of a WebSocket.
    pub fn new(now: Instant, seed: [u8; 16], config: &ClientConfig) -> Self {
        let (host, path) = (config.address.origin.authority(), &config.address.path);
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n");
        let agent: String = config.user_agent.chars().filter(|c| !c.is_control()).collect();
        request += &format!("User-Agent: {agent}\r\n");
        let mut accept = None;
        if config.websocket {
            let key = base64(&seed);
            request += &format!(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: {key}\r\n"
            );
            accept = Some(derive_accept_key(key.as_bytes()));
        }
        request += "\r\n";
        let mut decoder = Decoder::new();
        decoder.expect();
        Self {
            decoder,
            frames: None,
            accept,
            body: match config.form {
                Form::Flv => Body::Flv(Reader::new()),
                Form::Ts => Body::Ts(Box::default(), Vec::new()),
            },
            deadline: now.checked_add(config.timeout),
            output: request.into_bytes(),
            events: VecDeque::new(),
            mask: u64::from_le_bytes(*seed.first_chunk().unwrap_or(&[1; 8])),
            closed: false,
        }
    }

    /// Takes what came from the server. Any bytes are fine; what is wrong with them is told by
    /// [`Event::Closed`], after which all is ignored. Media is copied once.
    pub fn handle_bytes(&mut self, input: &[u8]) {
        if let Err(close) = self.consume(input) {
            self.close(close);
        }
    }

    /// The connection has ended.
    pub fn handle_end(&mut self) {
        let whole = self.decoder.end().is_ok() && self.frames.is_none();
        let close = if whole && self.deadline.is_none() { Close::Ended } else { Close::Cut };
        self.close(close);
    }

    /// Tells that [`poll_timeout`](Self::poll_timeout) may have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.close(Close::Timeout);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` once the body flows.
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

    /// Says goodbye where the framing has a word for it. The connection may be closed once
    /// `poll_transmit` is drained.
    pub fn stop(&mut self) {
        if self.frames.is_some() && !self.closed {
            let mask = self.next_mask();
            websocket::write_close(mask, &mut self.output);
        }
        self.closed = true;
        self.deadline = None;
    }

    fn consume(&mut self, input: &[u8]) -> Result<(), Close> {
        let mut rest = input;
        while !self.closed {
            let (taken, part) = self.decoder.decode(rest)?;
            rest = rest.get(taken..).unwrap_or_default();
            match part {
                None => return Ok(()),
                Some(Part::Head(answer)) => self.begin(&answer)?,
                Some(Part::Body(bytes)) => self.framed(bytes)?,
                Some(Part::End) => return Err(Close::Ended),
            }
        }
        Ok(())
    }

    fn begin(&mut self, answer: &Answer) -> Result<(), Close> {
        if let Some(location) = answer.location() {
            return Err(Close::Redirected(location.to_owned()));
        }
        let status = answer.status.as_u16();
        if let Some(accept) = &self.accept {
            if status == 200 {
                return Err(Close::NoWebSocket);
            }
            if status != 101 {
                return Err(Close::Status(status));
            }
            if answer.text(&header::SEC_WEBSOCKET_ACCEPT) != Some(accept) {
                return Err(Close::NoWebSocket);
            }
            self.frames = Some(Frames::new());
        } else if status != 200 {
            return Err(Close::Status(status));
        }
        self.deadline = None;
        self.events.push_back(Event::Started);
        Ok(())
    }

    fn framed(&mut self, bytes: &[u8]) -> Result<(), Close> {
        let Some(mut frames) = self.frames.take() else { return self.media(bytes) };
        let mut rest = bytes;
        let done = loop {
            match frames.decode(rest) {
                Err(broken) => break Err(broken.into()),
                Ok((_, None)) => break Ok(()),
                Ok((taken, Some(piece))) => {
                    rest = rest.get(taken..).unwrap_or_default();
                    match piece {
                        Piece::Data(data) => {
                            if let Err(close) = self.media(data) {
                                break Err(close);
                            }
                        }
                        Piece::Ping(payload) => {
                            let mask = self.next_mask();
                            websocket::write_pong(&payload, mask, &mut self.output);
                        }
                        Piece::Close(_) => {
                            let mask = self.next_mask();
                            websocket::write_close(mask, &mut self.output);
                            break Err(Close::Ended);
                        }
                    }
                }
            }
        };
        self.frames = Some(frames);
        done
    }

    fn media(&mut self, bytes: &[u8]) -> Result<(), Close> {
        match &mut self.body {
            Body::Flv(reader) => {
                reader.push(bytes);
                loop {
                    match reader.pull() {
                        Ok(Some(tag)) => self.events.push_back(Event::Tag(tag)),
                        Ok(None) => return Ok(()),
                        Err(error) if error.is_final() => return Err(error.into()),
                        Err(error) => self.events.push_back(Event::Skipped(error)),
                    }
                }
            }
            Body::Ts(demuxer, found) => {
                demuxer.push(bytes, found);
                self.events.extend(found.drain(..).map(Event::Ts));
                Ok(())
            }
        }
    }

    fn close(&mut self, close: Close) {
        if !self.closed {
            self.closed = true;
            self.deadline = None;
            self.events.push_back(Event::Closed(close));
        }
    }

    /// Masks must not be foreseen by who chooses payloads; here nobody does, and another one each
    /// time is enough.
    fn next_mask(&mut self) -> [u8; 4] {
        self.mask =
            self.mask.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let [.., a, b, c, d] = self.mask.to_le_bytes();
        [a, b, c, d]
    }
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (place, shift) in [18u32, 12, 6, 0].into_iter().enumerate() {
            let letter = LETTERS.get((bits >> shift & 63) as usize).copied().unwrap_or(b'A');
            text.push(if place > three.len() { '=' } else { char::from(letter) });
        }
    }
    text
}
