//! A client without manners of its own: bytes out, bytes in.

use std::net::SocketAddr;
use std::time::Duration;

use container::flv::{Reader, Tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No test takes so long unless something is stuck.
const STUCK: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    tcp: TcpStream,
    /// Received and not consumed.
    pub(crate) bytes: Vec<u8>,
}

/// A response head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    lines: Vec<String>,
}

impl Head {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Client {
    /// Connects and sends a request; `lines` are header lines without their ends.
    pub(crate) async fn ask(addr: SocketAddr, first: &str, lines: &[&str]) -> Self {
        let mut tcp = TcpStream::connect(addr).await.expect("connect");
        let mut text = format!("{first}\r\n");
        for line in lines {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        tcp.write_all(text.as_bytes()).await.expect("send");
        Self { tcp, bytes: Vec::new() }
    }

    pub(crate) async fn get(addr: SocketAddr, path: &str) -> Self {
        Self::ask(addr, &format!("GET {path} HTTP/1.1"), &["Host: localhost"]).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.tcp.write_all(bytes).await.expect("send");
    }

    /// Reads some more; `false` at the end.
    pub(crate) async fn more(&mut self) -> bool {
        let read = self.tcp.read_buf(&mut self.bytes);
        let n = tokio::time::timeout(STUCK, read).await.expect("the server says nothing");
        n.unwrap_or(0) > 0
    }

    pub(crate) async fn until(&mut self, n: usize) {
        while self.bytes.len() < n {
            assert!(self.more().await, "the connection ended");
        }
    }

    pub(crate) fn take(&mut self, n: usize) -> Vec<u8> {
        self.bytes.drain(..n).collect()
    }

    pub(crate) async fn head(&mut self) -> Head {
        let end = loop {
            if let Some(at) = self.bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            assert!(self.more().await, "the connection ended in the head");
        };
        let text = String::from_utf8(self.take(end + 4)).expect("text");
        let mut lines = text.trim_end().split("\r\n").map(str::to_owned);
        let first = lines.next().expect("a status line");
        let status = first.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        Head { status, lines: lines.collect() }
    }

    /// The next chunk; `None` at the last.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = loop {
            if let Some(at) = self.bytes.windows(2).position(|w| w == b"\r\n") {
                break at;
            }
            assert!(self.more().await, "the body was cut");
        };
        let line = self.take(line + 2);
        let digits = std::str::from_utf8(&line[..line.len() - 2]).expect("text");
        let len = usize::from_str_radix(digits, 16).expect("hex");
        self.until(len + 2).await;
        let mut chunk = self.take(len + 2);
        assert_eq!(chunk.split_off(len), b"\r\n");
        (len > 0).then_some(chunk)
    }

    /// The next frame of a WebSocket: opcode and payload.
    pub(crate) async fn message(&mut self) -> (u8, Vec<u8>) {
        self.until(2).await;
        let [first, second] = [self.bytes[0], self.bytes[1]];
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let (at, len) = match second {
            126 => {
                self.until(4).await;
                (4, usize::from(u16::from_be_bytes([self.bytes[2], self.bytes[3]])))
            }
            127 => panic!("too long for a test"),
            n => (2, usize::from(n)),
        };
        self.until(at + len).await;
        self.take(at);
        (first & 0x0f, self.take(len))
    }

    /// Sends a masked frame.
    pub(crate) async fn say(&mut self, opcode: u8, payload: &[u8]) {
        let len = u8::try_from(payload.len()).expect("short");
        let key = [9, 8, 7, 6];
        let mut bytes = vec![0x80 | opcode, 0x80 | len];
        bytes.extend_from_slice(&key);
        bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b));
        self.send(&bytes).await;
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.bytes)
    }
}

/// Reads FLV out of what a client gets.
#[derive(Default)]
pub(crate) struct Flv(Reader);

impl Flv {
    /// Tags out of chunks until one whose body holds `mark` at its last byte but one.
    pub(crate) async fn until_mark(&mut self, client: &mut Client, mark: u8) -> Vec<Tag> {
        let mut tags = Vec::new();
        loop {
            while let Some(tag) = self.0.pull().expect("valid FLV") {
                let body = tag.body.clone();
                tags.push(tag);
                if body.len() > 4 && body[body.len() - 2] == mark {
                    return tags;
                }
            }
            let chunk = client.chunk().await.expect("the stream goes on");
            self.0.push(&chunk);
        }
    }
}

/// All tags of a body.
pub(crate) fn tags(body: &[u8]) -> Vec<Tag> {
    let mut reader = Reader::new();
    reader.push(body);
    let mut tags = Vec::new();
    while let Some(tag) = reader.pull().expect("valid FLV") {
        tags.push(tag);
    }
    tags
}
