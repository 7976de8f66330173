//! A collector of OpenTelemetry, which keeps what it got: OTLP over HTTP in protocol buffers, read
//! by the numbers of their fields.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Context, PATIENCE, Result, until};

/// A field of a message.
#[derive(Clone, Debug)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

/// All fields of a message; `None` where it is none.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Field)>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)?),
            1 => Field::Number(u64::from_le_bytes(cut(&mut bytes, 8)?.try_into().ok()?)),
            2 => {
                let length = varint(&mut bytes)?;
                Field::Bytes(cut(&mut bytes, usize::try_from(length).ok()?)?.to_vec())
            }
            5 => Field::Number(u32::from_le_bytes(cut(&mut bytes, 4)?.try_into().ok()?).into()),
            _ => return None,
        };
        all.push((key >> 3, field));
    }
    Some(all)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = cut(bytes, 1)?.first().copied()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn cut<'a>(bytes: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(n)?;
    *bytes = rest;
    Some(taken)
}

/// The messages in field `number`.
fn inner(message: &[u8], number: u64) -> Vec<Vec<u8>> {
    let of = |(n, field): (u64, Field)| match field {
        Field::Bytes(bytes) if n == number => Some(bytes),
        _ => None,
    };
    fields(message).into_iter().flatten().filter_map(of).collect()
}

fn bytes(message: &[u8], number: u64) -> Vec<u8> {
    inner(message, number).into_iter().next().unwrap_or_default()
}

fn text(message: &[u8], number: u64) -> String {
    String::from_utf8_lossy(&bytes(message, number)).into_owned()
}

fn number(message: &[u8], wanted: u64) -> u64 {
    let of = |(n, field): (u64, Field)| match field {
        Field::Number(value) if n == wanted => Some(value),
        _ => None,
    };
    fields(message).into_iter().flatten().find_map(of).unwrap_or(0)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn attributes(message: &[u8], number_of: u64) -> BTreeMap<String, String> {
    let pair = |pair: Vec<u8>| {
        let value = bytes(&pair, 2);
        let is_text = fields(&value).into_iter().flatten().any(|(n, _)| n == 1);
        let value = if is_text { text(&value, 1) } else { number(&value, 3).to_string() };
        (text(&pair, 1), value)
    };
    inner(message, number_of).into_iter().map(pair).collect()
}

/// A span.
#[derive(Clone, Debug)]
pub struct Span {
    /// In hexadecimal digits, as are the next two.
    pub trace: String,
    /// Its own number.
    pub id: String,
    /// Empty where it has none.
    pub parent: String,
    /// What it is.
    pub name: String,
    /// 1 internal, 2 server, 3 client.
    pub kind: u64,
    /// Nanoseconds since 1970.
    pub begun: u64,
    /// The same.
    pub ended: u64,
    /// Numbers as text.
    pub attributes: BTreeMap<String, String>,
    /// What went wrong; `None`: nothing did.
    pub error: Option<String>,
    /// Attributes of the server.
    pub resource: BTreeMap<String, String>,
}

impl Span {
    /// An attribute; empty where there is none.
    pub fn get(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

/// A metric.
#[derive(Clone, Debug)]
pub struct Metric {
    /// As in `/metrics`.
    pub name: String,
    /// 5 gauge, 7 sum, 9 histogram.
    pub kind: u64,
    /// Labels and value of each point; of histograms the count.
    pub points: Vec<(BTreeMap<String, String>, f64)>,
}

#[derive(Default)]
struct Got {
    spans: Vec<Span>,
    metrics: Vec<Metric>,
    heads: Vec<String>,
}

/// The collector. Its thread ends with the process.
pub struct Collector {
    port: u16,
    got: Arc<Mutex<Got>>,
}

impl Collector {
    /// Starts one on a port of its own.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let got = Arc::new(Mutex::new(Got::default()));
        let to = got.clone();
        std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(std::result::Result::ok) {
                let to = to.clone();
                std::thread::spawn(move || serve(tcp, &to));
            }
        });
        Ok(Self { port, got })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).spans.clone()
    }

    /// The heads of the requests so far, in lower case.
    pub fn heads(&self) -> Vec<String> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).heads.clone()
    }

    /// Waits for a span, and gives the first that fits.
    pub fn span(&self, what: &str, fits: impl Fn(&Span) -> bool) -> Result<Span> {
        let found = until(what, || self.spans().into_iter().find(&fits));
        found.with_context(|| format!("{:#?}", self.spans()))
    }

    /// Waits for a metric of that name, and gives the newest.
    pub fn metric(&self, name: &str) -> Result<Metric> {
        until(name, || {
            let got = self.got.lock().unwrap_or_else(PoisonError::into_inner);
            got.metrics.iter().rev().find(|metric| metric.name == name).cloned()
        })
    }
}

fn serve(mut tcp: TcpStream, got: &Mutex<Got>) {
    let _ = tcp.set_read_timeout(Some(PATIENCE));
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if tcp.read_exact(&mut byte).is_err() {
            return;
        }
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
    if tcp.read_exact(&mut body).is_err() {
        return;
    }
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
    let _ = tcp.write_all(answer.as_bytes());
    let mut got = got.lock().unwrap_or_else(PoisonError::into_inner);
    for of_resource in inner(&body, 1) {
        let resource = attributes(&bytes(&of_resource, 1), 1);
        for part in inner(&of_resource, 2).iter().flat_map(|scope| inner(scope, 2)) {
            if head.starts_with("post /v1/traces ") {
                got.spans.push(span(&part, &resource));
            } else {
                got.metrics.push(metric(&part));
            }
        }
    }
    got.heads.push(head);
}

fn span(message: &[u8], resource: &BTreeMap<String, String>) -> Span {
    let status = inner(message, 15).into_iter().next();
    Span {
        trace: hex(&bytes(message, 1)),
        id: hex(&bytes(message, 2)),
        parent: hex(&bytes(message, 4)),
        name: text(message, 5),
        kind: number(message, 6),
        begun: number(message, 7),
        ended: number(message, 8),
        attributes: attributes(message, 9),
        error: status.filter(|status| number(status, 3) == 2).map(|status| text(&status, 2)),
        resource: resource.clone(),
    }
}

fn metric(message: &[u8]) -> Metric {
    let kind = [5, 7, 9].into_iter().find(|kind| !inner(message, *kind).is_empty()).unwrap_or(0);
    let (label, data) = (if kind == 9 { 9 } else { 7 }, bytes(message, kind));
    let point = |point: Vec<u8>| {
        let has = |wanted| fields(&point).into_iter().flatten().any(|(n, _)| n == wanted);
        let value = match kind {
            9 => number(&point, 4) as f64,
            _ if has(6) => number(&point, 6).cast_signed() as f64,
            _ => f64::from_bits(number(&point, 4)),
        };
        (attributes(&point, label), value)
    };
    let points = inner(&data, 1).into_iter().map(point).collect();
    Metric { name: text(message, 1), kind, points }
}
