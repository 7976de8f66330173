//! A web server for callbacks that does whatever its paths say.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Long enough for a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Request line and headers, as they came.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: String,
    /// It has been answered, or its connection has ended.
    pub(crate) over: bool,
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub(crate) fn action(&self) -> &str {
        let at = self.body.find("\"action\":\"").map_or(0, |at| at + 10);
        self.body[at..].split('"').next().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

#[derive(Default)]
struct Shared {
    all: Mutex<Vec<Asked>>,
    changed: Condvar,
}

/// The server; its threads end with the process.
#[derive(Clone)]
pub(crate) struct Web {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

impl Web {
    pub(crate) fn start() -> Self {
        Self::with(|tcp| Some(Box::new(tcp)))
    }

    /// With something between the socket and HTTP.
    pub(crate) fn with<F>(wrap: F) -> Self
    where
        F: Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let (to, wrap) = (shared.clone(), Arc::new(wrap));
        std::thread::spawn(move || {
            for tcp in listener.incoming() {
                let (tcp, to, wrap) = (tcp.unwrap(), to.clone(), wrap.clone());
                std::thread::spawn(move || {
                    let Some(mut stream) = wrap(tcp) else { return };
                    serve(&mut *stream, &to);
                });
            }
        });
        Self { port, shared }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Waits until `enough`, and gives all requests so far.
    pub(crate) fn until(&self, what: &str, enough: impl Fn(&[Asked]) -> bool) -> Vec<Asked> {
        let end = Instant::now() + PATIENCE;
        let mut all = self.shared.all.lock().unwrap();
        while !enough(&all) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} never came: {all:#?}");
            all = self.shared.changed.wait_timeout(all, left).unwrap().0;
        }
        all.clone()
    }

    /// Waits for so many requests.
    pub(crate) fn count(&self, n: usize) -> Vec<Asked> {
        self.until(&format!("request {n}"), |all| all.len() >= n)
    }

    /// The requests so far.
    pub(crate) fn all(&self) -> Vec<Asked> {
        self.shared.all.lock().unwrap().clone()
    }
}

pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn serve(stream: &mut dyn Stream, shared: &Shared) {
    let Some((head, body)) = read(stream) else { return };
    let asked = Asked { head, body, over: false };
    let path = asked.path().to_owned();
    let (at, times) = {
        let mut all = shared.all.lock().unwrap();
        all.push(asked);
        shared.changed.notify_all();
        (all.len() - 1, all.iter().filter(|a| a.path() == path).count())
    };
    answer(stream, &path, times);
    shared.all.lock().unwrap()[at].over = true;
    shared.changed.notify_all();
}

fn read(stream: &mut dyn Stream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).ok()?;
    let field = |line: &str| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok();
    let length: usize = head.lines().find_map(field).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).ok()?))
}

fn reply(stream: &mut dyn Stream, status: u16, body: &str) {
    let length = body.len();
    let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
    let _ = stream.write_all(text.as_bytes());
}

/// Waits for the other side to go.
fn hang(stream: &mut dyn Stream) {
    let _ = stream.read(&mut [0; 64]);
}

/// The text that a path `/say/...` asks for, in hexadecimal digits.
fn said(path: &str) -> Option<String> {
    let digits = path.strip_prefix("/say/")?;
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    String::from_utf8(bytes?).ok()
}

fn answer(stream: &mut dyn Stream, path: &str, times: usize) {
    if let Some(text) = said(path) {
        return reply(stream, 200, &text);
    }
    match path.split('?').next().unwrap() {
        "/no" => reply(stream, 200, "{\"code\":1}"),
        "/one" => reply(stream, 200, "1"),
        "/object" => reply(stream, 201, "{\"code\":0,\"data\":{}}"),
        "/empty" => reply(stream, 200, ""),
        "/garbage" => reply(stream, 200, "<html>all is well</html>"),
        "/403" => reply(stream, 403, "0"),
        "/302" => reply(stream, 302, "0"),
        "/503" => reply(stream, 503, "0"),
        "/later" if times <= 2 => reply(stream, 503, ""),
        "/reset" => {} // closes without a word
        "/binary" => drop(stream.write_all(&[0xff; 4096])),
        "/hang" => hang(stream),
        "/drip" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        "/flood" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n");
            for _ in 0..10_000_000 / 1000 {
                if stream.write_all(&[b' '; 1000]).is_err() {
                    return;
                }
            }
        }
        "/headers" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            while stream.write_all(&[b'a'; 1000]).is_ok() {}
        }
        "/chunks" => {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = stream.write_all(head);
            while stream.write_all(b"4\r\n    \r\n").is_ok() {}
        }
        _ => reply(stream, 200, "0"),
    }
}
