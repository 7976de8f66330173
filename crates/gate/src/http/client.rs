//! The client's half of HTTP/1.1: the answer, taken apart as its bytes come.
//!
//! Pure, like the machines of the protocols that stand on it: no socket, no clock. [`Decoder`]
//! reads answers of one connection, one after another; [`Address`] is where a request goes and how
//! a `Location` or a line of a playlist is understood from there.
//!
//! Specification: RFC 9112 (sections 4, 6, 7.1), RFC 9110 (section 15), RFC 3986 (section 5).

mod address;
#[cfg(test)]
mod tests;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

pub use address::{Address, AddressError, Origin};

/// Longest head of an answer: twice what servers with long cookies send.
const MAX_HEAD: usize = 64 * 1024;
/// Fields of a head.
const MAX_FIELDS: usize = 100;
/// Interim answers (100, 103) before the one that counts.
const MAX_INTERIM: u8 = 8;
/// A chunk's size with its extensions, and a line of the trailer.
const MAX_LINE: usize = 1024;
/// Lines behind the last chunk.
const MAX_TRAILER: u8 = 32;

/// An answer that cannot be read. The server's fault, always; the connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// No HTTP/1.
    #[error("not an answer of HTTP/1: {0}")]
    Head(httparse::Error),
    /// A head of more than 64 KiB.
    #[error("the head of an answer is longer than {MAX_HEAD} bytes")]
    HeadTooLong,
    /// Interim answers without end.
    #[error("more than {MAX_INTERIM} interim answers")]
    Interim,
    /// `Content-Length` that is no number, or several that differ.
    #[error("a bad Content-Length")]
    Length,
    /// A chunk without a size, or without its end.
    #[error("a bad chunk")]
    Chunk,
    /// The connection ended inside an answer.
    #[error("the connection ended inside an answer")]
    Cut,
    /// Bytes that nobody asked for.
    #[error("bytes behind the answer")]
    Unasked,
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// The connection may be used again once the body has ended.
    pub keep_alive: bool,
}

impl Answer {
    /// A field as text.
    pub fn text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Where it says that the thing is, if it says so.
    pub fn location(&self) -> Option<&str> {
        let moved = matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308);
        if moved { self.text(&header::LOCATION) } else { None }
    }
}

/// A part of an answer.
#[derive(Debug)]
pub enum Part<'a> {
    /// The head.
    Head(Box<Answer>),
    /// Bytes of the body, without framing. Never empty.
    Body(&'a [u8]),
    /// The body is whole.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was asked.
    Idle,
    Head,
    /// So much of the body is left.
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    /// So many bytes of the line end behind a chunk are left.
    ChunkEnd(u8),
    Trailer(u8),
    /// To the end of the connection: a body without a length, or another protocol.
    Endless,
    Failed(AnswerError),
}

/// Reads the answers of one connection.
///
/// [`expect`](Self::expect) for each request, then [`decode`](Self::decode) until
/// [`Part::End`]. Holds a head or a line until it is whole, and nothing of a body.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// A head or a line that is not whole.
    held: Vec<u8>,
    interim: u8,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// For a new connection.
    pub const fn new() -> Self {
        Self { state: State::Idle, held: Vec::new(), interim: 0 }
    }

    /// A GET was sent: its answer comes next.
    pub const fn expect(&mut self) {
        if matches!(self.state, State::Idle) {
            self.state = State::Head;
            self.interim = 0;
        }
    }

    /// Reads up to the end of the next part: how many bytes were taken, and the part if there is
    /// one. Call it again with the rest until all is taken and there is none.
    ///
    /// # Errors
    /// [`AnswerError`]; each further call gives it again.
    pub fn decode<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<(usize, Option<Part<'a>>), AnswerError> {
        let done = self.step(input);
        if let Err(error) = done {
            self.state = State::Failed(error);
            self.held = Vec::new();
        }
        done
    }

    /// The connection has ended: fine between answers, and where the body has no other end.
    ///
    /// # Errors
    /// [`AnswerError::Cut`], or what went wrong before.
    pub const fn end(&self) -> Result<(), AnswerError> {
        match self.state {
            State::Idle | State::Endless => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(AnswerError::Cut),
        }
    }

    /// Waits for an answer of which nothing has come.
    pub const fn is_untouched(&self) -> bool {
        matches!(self.state, State::Head) && self.held.is_empty() && self.interim == 0
    }

    fn step<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Option<Part<'a>>), AnswerError> {
        let mut rest = input;
        let taken = |rest: &[u8]| input.len().saturating_sub(rest.len());
        loop {
            match self.state {
                State::Failed(error) => return Err(error),
                State::Idle if rest.is_empty() => return Ok((taken(rest), None)),
                State::Idle => return Err(AnswerError::Unasked),
                State::Length(0) => {
                    self.state = State::Idle;
                    return Ok((taken(rest), Some(Part::End)));
                }
                _ if rest.is_empty() => return Ok((taken(rest), None)),
                State::Head => {
                    let Some(answer) = self.head(&mut rest)? else {
                        return Ok((taken(rest), None));
                    };
                    if let Some(answer) = answer {
                        return Ok((taken(rest), Some(Part::Head(answer))));
                    }
                }
                State::Length(left) => {
                    let (body, behind, left) = split(rest, left);
                    self.state = State::Length(left);
                    return Ok((taken(behind), Some(Part::Body(body))));
                }
                State::ChunkData(left) => {
                    let (body, behind, left) = split(rest, left);
                    self.state =
                        if left == 0 { State::ChunkEnd(2) } else { State::ChunkData(left) };
                    return Ok((taken(behind), Some(Part::Body(body))));
                }
                State::ChunkEnd(left) => {
                    let (Some(byte), behind) = (rest.first(), rest.get(1..).unwrap_or_default())
                    else {
                        return Ok((taken(rest), None));
                    };
                    if *byte != if left == 2 { b'\r' } else { b'\n' } {
                        return Err(AnswerError::Chunk);
                    }
                    rest = behind;
                    self.state = if left == 2 { State::ChunkEnd(1) } else { State::ChunkSize };
                }
                State::ChunkSize => {
                    let Some(size) = self.line(&mut rest, chunk_size)? else {
                        return Ok((taken(rest), None));
                    };
                    self.state = match size? {
                        0 => State::Trailer(0),
                        size => State::ChunkData(size),
                    };
                }
                State::Trailer(lines) => {
                    let Some(last) = self.line(&mut rest, <[u8]>::is_empty)? else {
                        return Ok((taken(rest), None));
                    };
                    if last {
                        self.state = State::Idle;
                        return Ok((taken(rest), Some(Part::End)));
                    }
                    if lines >= MAX_TRAILER {
                        return Err(AnswerError::Chunk);
                    }
                    self.state = State::Trailer(lines.saturating_add(1));
                }
                State::Endless => return Ok((input.len(), Some(Part::Body(rest)))),
            }
        }
    }

    /// Reads a head; the outer `None` wants more bytes, the inner one is an interim answer.
    #[allow(clippy::option_option, reason = "the two mean different things, one line apart")]
    fn head(&mut self, rest: &mut &[u8]) -> Result<Option<Option<Box<Answer>>>, AnswerError> {
        const END: &[u8] = b"\r\n\r\n";
        let before = self.held.len();
        let room = MAX_HEAD.saturating_sub(before).min(rest.len());
        let (now, later) = rest.split_at(room);
        self.held.extend_from_slice(now);
        // The end may lie across the seam.
        let from = before.saturating_sub(END.len());
        let tail = self.held.get(from..).unwrap_or_default();
        let Some(at) = tail.windows(END.len()).position(|w| w == END) else {
            if self.held.len() >= MAX_HEAD {
                return Err(AnswerError::HeadTooLong);
            }
            *rest = later;
            return Ok(None);
        };
        let whole = from.saturating_add(at).saturating_add(END.len());
        *rest = rest.get(whole.saturating_sub(before)..).unwrap_or_default();
        let held = std::mem::take(&mut self.held);
        let (answer, state) = parse(held.get(..whole).unwrap_or_default())?;
        if answer.status.is_informational() && answer.status != StatusCode::SWITCHING_PROTOCOLS {
            self.interim = self.interim.saturating_add(1);
            return if self.interim > MAX_INTERIM {
                Err(AnswerError::Interim)
            } else {
                Ok(Some(None))
            };
        }
        self.state = state;
        Ok(Some(Some(Box::new(answer))))
    }

    /// Reads a line and gives what `read` makes of it, without its end.
    fn line<T>(
        &mut self,
        rest: &mut &[u8],
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, AnswerError> {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (now, later) = rest.split_at(end.map_or(rest.len(), |at| at.saturating_add(1)));
        *rest = later;
        if self.held.len().saturating_add(now.len()) > MAX_LINE {
            return Err(AnswerError::Chunk);
        }
        let bare = |line: &[u8]| line.strip_suffix(b"\r\n").map(<[u8]>::len);
        if end.is_some() && self.held.is_empty() {
            let len = bare(now).ok_or(AnswerError::Chunk)?;
            return Ok(Some(read(now.get(..len).unwrap_or_default())));
        }
        self.held.extend_from_slice(now);
        if end.is_none() {
            return Ok(None);
        }
        let held = std::mem::take(&mut self.held);
        let len = bare(&held).ok_or(AnswerError::Chunk)?;
        Ok(Some(read(held.get(..len).unwrap_or_default())))
    }
}

/// What of `bytes` belongs to a body of which `left` is left, what is behind it, and what is left
/// then.
fn split(bytes: &[u8], left: u64) -> (&[u8], &[u8], u64) {
    let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    let (body, behind) = bytes.split_at(most);
    (body, behind, left.saturating_sub(most as u64))
}

fn chunk_size(line: &[u8]) -> Result<u64, AnswerError> {
    let digits = line.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next().unwrap_or_default();
    let text = std::str::from_utf8(digits).map_err(|_| AnswerError::Chunk)?;
    let plain = !text.is_empty() && text.len() <= 16 && !text.starts_with('+');
    if !plain {
        return Err(AnswerError::Chunk);
    }
    u64::from_str_radix(text, 16).map_err(|_| AnswerError::Chunk)
}

/// Reads a whole head, and how its body is framed (RFC 9112 section 6.3).
fn parse(head: &[u8]) -> Result<(Answer, State), AnswerError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    parsed.parse(head).map_err(AnswerError::Head)?;
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(AnswerError::Head(httparse::Error::Status))?;
    let mut headers = HeaderMap::new();
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let says = |name: HeaderName, word: &str| {
        headers.get_all(name).iter().any(|value| {
            let list = value.to_str().unwrap_or_default();
            list.split(',').any(|item| item.trim().eq_ignore_ascii_case(word))
        })
    };
    let state = if status == StatusCode::SWITCHING_PROTOCOLS {
        State::Endless
    } else if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        State::Length(0)
    } else if says(header::TRANSFER_ENCODING, "chunked") {
        State::ChunkSize
    } else if headers.contains_key(header::TRANSFER_ENCODING) {
        State::Endless
    } else {
        match content_length(&headers)? {
            Some(length) => State::Length(length),
            None => State::Endless,
        }
    };
    let modern = parsed.version == Some(1);
    let keeps = if modern {
        !says(header::CONNECTION, "close")
    } else {
        says(header::CONNECTION, "keep-alive")
    };
    let keep_alive = keeps && state != State::Endless;
    Ok((Answer { status, headers, keep_alive }, state))
}

/// Several are one if they agree.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, AnswerError> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for text in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse::<u64>().ok().filter(|_| digits).ok_or(AnswerError::Length)?;
            if length.is_some_and(|before| before != number) {
                return Err(AnswerError::Length);
            }
            length = Some(number);
        }
    }
    Ok(length)
}
