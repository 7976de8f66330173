//! As much of HTTP/1.1 and WebSocket as a viewer needs, and a plain request.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::net::{Manner, dial};
use crate::{Context, Result};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer that is kept.
const MOST: u64 = 64 << 20;

/// A request, waiting for all of its answer: status and body.
pub(crate) fn ask(at: SocketAddr, method: &str, path: &str) -> Result<(u16, String)> {
    let mut socket = std::net::TcpStream::connect_timeout(&at, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes())?;
    let mut bytes = Vec::new();
    socket.take(MOST).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("an answer without a head")?;
    let status = head.split(' ').nth(1).context("an answer without a status")?;
    Ok((status.parse()?, body.to_owned()))
}

/// How the body of a live stream is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// HTTP chunks.
    Chunks,
    /// WebSocket messages.
    WebSocket,
    /// Nothing: to the end of the connection.
    Plain,
}

/// Takes the framing off.
#[derive(Debug)]
pub(crate) struct Unframe {
    framing: Framing,
    held: Vec<u8>,
    left: usize,
}

impl Unframe {
    pub(crate) fn new(framing: Framing) -> Self {
        Self { framing, held: Vec::new(), left: 0 }
    }

    /// Takes bytes and appends what is inside of them.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if self.framing == Framing::Plain {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        self.held.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            let rest = &self.held[at..];
            if self.left > 0 {
                let n = self.left.min(rest.len());
                out.extend_from_slice(&rest[..n]);
                self.left -= n;
                at += n;
                if n == 0 || self.left > 0 {
                    break;
                }
                continue;
            }
            let Some((size, head)) = self.head(rest)? else { break };
            at += head;
            self.left = size;
        }
        self.held.drain(..at);
        Ok(())
    }

    /// The size of the next piece, and of what stands before it.
    fn head(&self, rest: &[u8]) -> io::Result<Option<(usize, usize)>> {
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        if self.framing == Framing::Chunks {
            // The line end of the piece before stands in front.
            let skip = if rest.starts_with(b"\r\n") { 2 } else { 0 };
            let Some(end) = rest[skip..].windows(2).position(|w| w == b"\r\n") else {
                let short = rest.len() < 20;
                return if short { Ok(None) } else { Err(bad("no chunk size".into())) };
            };
            let digits = String::from_utf8_lossy(&rest[skip..skip + end]);
            let size = usize::from_str_radix(&digits, 16)
                .map_err(|_| bad(format!("a chunk of size {digits:?}")))?;
            if size == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            return Ok(Some((size, skip + end + 2)));
        }
        let [first, second, ..] = rest else { return Ok(None) };
        match first {
            0x82 => {}
            0x88 => return Err(io::ErrorKind::UnexpectedEof.into()),
            odd => return Err(bad(format!("a WebSocket frame of type {odd:#04x}"))),
        }
        let (length, head) = match second {
            126 => (rest.get(2..4), 4),
            127 => (rest.get(2..10), 10),
            n => return Ok(Some((usize::from(*n), 2))),
        };
        let fold = |bytes: &[u8]| bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b));
        Ok(length.map(|bytes| (fold(bytes), head)))
    }
}

/// A live stream over HTTP or WebSocket.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) tcp: TcpStream,
    unframe: Unframe,
    buffer: Vec<u8>,
    first: Vec<u8>,
}

/// The head of a WebSocket's request; the key is the specification's example.
pub(crate) fn upgrade(at: SocketAddr, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

impl Live {
    /// Asks for it and reads the head of the answer, which must be good.
    pub(crate) async fn open(
        at: SocketAddr,
        path: &str,
        websocket: bool,
        rng: &mut impl Rng,
        manner: Manner,
    ) -> io::Result<Self> {
        let mut tcp = dial(at, rng, manner).await?;
        let request = match websocket {
            true => upgrade(at, path),
            false => format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        };
        tcp.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        let mut buffer = vec![0; 65_536];
        let end = loop {
            let n = tcp.read(&mut buffer).await?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            head.extend_from_slice(&buffer[..n]);
            if let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            if head.len() > 65_536 {
                return Err(io::Error::other("an endless head"));
            }
        };
        let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
        let framing = match text.split(' ').nth(1) {
            Some("101") if websocket => Framing::WebSocket,
            Some("200") if text.contains("\r\ntransfer-encoding: chunked") => Framing::Chunks,
            Some("200") => Framing::Plain,
            _ => return Err(io::Error::other(text.lines().next().unwrap_or_default().to_owned())),
        };
        let (mut unframe, mut first) = (Unframe::new(framing), Vec::new());
        unframe.push(&head[end..], &mut first)?;
        Ok(Self { tcp, unframe, buffer, first })
    }

    /// Appends the next bytes of the stream to `out`. Cancel safe.
    pub(crate) async fn read(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.read_most(usize::MAX, out).await
    }

    /// The same with at most so many bytes of the connection. Cancel safe.
    pub(crate) async fn read_most(&mut self, most: usize, out: &mut Vec<u8>) -> io::Result<()> {
        if !self.first.is_empty() {
            out.append(&mut self.first);
            return Ok(());
        }
        let most = most.min(self.buffer.len());
        let n = self.tcp.read(&mut self.buffer[..most]).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.unframe.push(&self.buffer[..n], out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(framing: Framing, bytes: &[u8], cut: usize) -> Vec<u8> {
        let (mut unframe, mut out) = (Unframe::new(framing), Vec::new());
        for part in bytes.chunks(cut) {
            unframe.push(part, &mut out).unwrap();
        }
        out
    }

    #[test]
    fn framings_come_off_however_the_bytes_are_cut() {
        let chunks = b"5\r\nhello\r\n10\r\n0123456789abcdef\r\n1\r\n!\r\n";
        let mut messages = vec![0x82, 5];
        messages.extend_from_slice(b"hello\x82\x7e\x00\x100123456789abcdef\x82\x01!");
        for cut in 1..chunks.len() {
            assert_eq!(read(Framing::Chunks, chunks, cut), b"hello0123456789abcdef!");
            assert_eq!(read(Framing::WebSocket, &messages, cut), b"hello0123456789abcdef!");
        }
    }

    #[test]
    fn an_end_is_told_from_a_broken_framing() {
        let push = |bytes: &[u8]| Unframe::new(Framing::Chunks).push(bytes, &mut Vec::new());
        assert_eq!(push(b"0\r\n\r\n").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(push(b"zz\r\n").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
