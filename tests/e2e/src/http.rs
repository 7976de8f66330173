//! The smallest HTTP client that shows every byte of the answer's head.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::{Context, PATIENCE, Result, bail, ensure};

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    /// 200, 404 ...
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// What followed the head, without its framing.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// GET.
pub fn get(at: SocketAddr, path: &str) -> Result<Answer> {
    ask(at, "GET", path, &[])
}

/// Any method, with headers (a `Host` among them replaces ours).
pub fn ask(at: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    with_body(at, method, path, headers, &[])
}

/// POST.
pub fn post(at: SocketAddr, path: &str, headers: &[(&str, &str)], sent: &[u8]) -> Result<Answer> {
    with_body(at, "POST", path, headers, sent)
}

/// Any method with a body.
pub fn with_body(
    at: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    sent: &[u8],
) -> Result<Answer> {
    let mut body = Vec::new();
    let head = exchange(at, method, path, headers, sent, PATIENCE, &mut |bytes| {
        body.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// What [`stream`] saw.
#[derive(Debug)]
pub struct Live {
    /// The head of the answer.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The server closed before the time was over.
    pub closed: bool,
}

/// Reads an endless answer for a while, giving each piece of the body to `taken`.
pub fn stream(
    at: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    time: Duration,
    taken: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Live> {
    let head = exchange(at, "GET", path, headers, &[], time, taken)?;
    Ok(Live { status: head.status, headers: head.headers, closed: head.whole })
}

struct Head {
    status: u16,
    headers: Vec<(String, String)>,
    /// The body came to its end.
    whole: bool,
}

#[allow(clippy::too_many_arguments, reason = "one per part of a request")]
fn exchange(
    at: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    sent: &[u8],
    time: Duration,
    taken: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Head> {
    let mut socket = TcpStream::connect_timeout(&at, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request += &format!("Host: {at}\r\n");
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if !sent.is_empty() {
        request += &format!("Content-Length: {}\r\n", sent.len());
    }
    request += "\r\n";
    socket.write_all(&[request.as_bytes(), sent].concat())?;
    let mut reader = BufReader::new(socket.try_clone()?);
    let (status, headers) = head(&mut reader).with_context(|| format!("{method} {path}"))?;
    let chunked = headers.iter().any(|(n, v)| n == "transfer-encoding" && v == "chunked");
    let length = headers.iter().find(|(n, _)| n == "content-length").map(|(_, v)| v.parse());
    let length: Option<u64> = length.transpose()?;
    let nothing = method == "HEAD" || matches!(status, 204 | 304);
    let mut body: Box<dyn Read> = match length {
        _ if nothing => Box::new(std::io::empty()),
        _ if chunked => Box::new(Chunked { reader, left: 0, first: true, done: false }),
        Some(length) => Box::new(reader.take(length)),
        None => Box::new(reader),
    };
    let end = Instant::now() + time;
    let mut buffer = [0; 16 * 1024];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Head { status, headers, whole: false });
        }
        socket.set_read_timeout(Some(left))?;
        match body.read(&mut buffer) {
            Ok(0) => return Ok(Head { status, headers, whole: true }),
            Ok(n) => taken(buffer.get(..n).unwrap_or_default())?,
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock) => {
                return Ok(Head { status, headers, whole: false });
            }
            Err(e) => bail!("{method} {path}: the body broke: {e}"),
        }
    }
}

fn head(reader: &mut impl BufRead) -> Result<(u16, Vec<(String, String)>)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 "));
    let status = status.and_then(|s| s.get(..3)).with_context(|| format!("no status: {line:?}"))?;
    let status = status.parse()?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        ensure!(reader.read_line(&mut line)? > 0, "the head ended early");
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok((status, headers))
}

/// RFC 9112, section 7.1.
struct Chunked<R> {
    reader: R,
    left: usize,
    first: bool,
    done: bool,
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 && !self.done {
            let mut line = String::new();
            if !self.first {
                self.reader.read_line(&mut line)?;
                line.clear();
            }
            self.first = false;
            self.reader.read_line(&mut line)?;
            let size = line.trim_end().split(';').next().unwrap_or_default();
            let bad = || std::io::Error::other(format!("a chunk's size is {line:?}"));
            self.left = usize::from_str_radix(size, 16).map_err(|_| bad())?;
            self.done = self.left == 0;
        }
        if self.done {
            return Ok(0);
        }
        let most = out.len().min(self.left);
        let n = self.reader.read(out.get_mut(..most).unwrap_or_default())?;
        if n == 0 {
            return Err(std::io::Error::other("the end came within a chunk"));
        }
        self.left -= n;
        Ok(n)
    }
}
