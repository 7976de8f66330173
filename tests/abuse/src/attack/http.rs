//! Bytes that are no HTTP, or bad HTTP, and bad WebSockets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Cx, Running, mutate, pour};
use crate::healthy::NAME;
use crate::http::{Live, upgrade};
use crate::net::{Manner, dial, drain};

/// Ways out of the folder, and names that are none.
const PATHS: &[&str] = &[
    "/../../../../etc/passwd",
    "/..%2f..%2f..%2f..%2fetc/passwd",
    "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/live/..%5c..%5c..%5cetc%5cpasswd",
    "/live/%252e%252e/%252e%252e/etc/passwd",
    "//etc/passwd",
    "/./././etc/passwd",
    "/live/%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd",
    "/live/%ff%fe%00.flv",
    "/live/a%00b.flv",
    "/live/%0d%0aSet-Cookie:%20x=1.flv",
    "/live/..flv",
    "/live/.m3u8",
    "/.flv",
    "/live/livestream.m3u8?hls_ctx=%0a%0dx&hls_ctx=",
    "/api/v1/clients/%00",
    "/api/v1/clients/?start=-1&count=99999999999999999999",
    "/api/v1/streams/../../../etc/passwd",
    "/api/v1/summaries?callback=%3Cscript%3E",
    "/api/v1/raw?rpc=update&scope=listen&value=x",
    "/metrics/../../etc/passwd",
    "*",
    "http://evil/live/x.flv",
    "/live/x.flv?vhost=../../../etc",
    "/live/x.ts?domain=%00",
];

/// What must never come back.
const SECRETS: &[&[u8]] = &[b"root:x:0", b"root:*:0", b"Set-Cookie: x=1"];

/// Reads an answer and looks for what must not be in it.
async fn look(cx: &Cx, tcp: &mut TcpStream, time: Duration, asked: &str) {
    let mut all = Vec::new();
    let mut buffer = [0; 16_384];
    let read = async {
        while let Ok(n) = tcp.read(&mut buffer).await {
            if n == 0 || all.len() > 1 << 20 {
                break;
            }
            all.extend_from_slice(&buffer[..n]);
        }
    };
    let _ = tokio::time::timeout(time, read).await;
    for secret in SECRETS {
        if all.windows(secret.len()).any(|w| w == *secret) {
            cx.tally.leak(format!("{asked:?} got {}", String::from_utf8_lossy(secret)));
        }
    }
}

fn request(rng: &mut StdRng, at: SocketAddr) -> Vec<u8> {
    let path = PATHS[rng.random_range(0..PATHS.len())];
    let methods =
        ["GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS", "PATCH", "TRACE", "CONNECT", "X"];
    let method = methods[rng.random_range(0..methods.len())];
    let head = |more: &str| format!("{method} {path} HTTP/1.1\r\nHost: {at}\r\n{more}\r\n");
    match rng.random_range(0..16) {
        0..=2 => head("Connection: close\r\n").into_bytes(),
        3 => mutate::noise(rng, 5_000),
        4 => {
            let good = head("Accept: */*\r\nRange: bytes=0-\r\nUpgrade: websocket\r\n");
            mutate::damage(rng, good.as_bytes(), 0)
        }
        // Heads without measure.
        5 => head(&format!("X-Long: {}\r\n", "a".repeat(rng.random_range(1_000..300_000)))).into(),
        6 => head(&"X: y\r\n".repeat(rng.random_range(50..20_000))).into(),
        7 => format!("GET /{} HTTP/1.1\r\n\r\n", "a/".repeat(rng.random_range(10..60_000))).into(),
        // Two meanings at once.
        8 => head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")
            .into_bytes()
            .into_iter()
            .chain(*b"0\r\n\r\nGET /api/v1/clients/ HTTP/1.1\r\nHost: x\r\n\r\n")
            .collect(),
        9 => head("Content-Length: 3\r\nContent-Length: 7\r\n")
            .into_bytes()
            .into_iter()
            .chain(*b"abcdefg")
            .collect(),
        10 => head("Transfer-Encoding: chunked\r\n")
            .into_bytes()
            .into_iter()
            .chain(*b"fffffffffffffffff\r\nx\r\n-1\r\n\r\n")
            .collect(),
        11 => head("Transfer-Encoding : xchunked\r\n folded: yes\r\n").into(),
        // A body that never comes.
        12 => head("Content-Length: 18446744073709551615\r\nExpect: 100-continue\r\n").into(),
        // Ranges of all sorts.
        13 => {
            head(&format!("Range: bytes={}\r\nConnection: close\r\n", "0-,".repeat(3_000))).into()
        }
        // HTTP/2 out of the blue, with frames of noise.
        14 => {
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
            for stream in 0..rng.random_range(1..2_000u32) {
                // HEADERS, and at once RST_STREAM.
                let id = (stream * 2 + 1).to_be_bytes();
                bytes.extend_from_slice(&[0, 0, 4, 1, 5]);
                bytes.extend_from_slice(&id);
                bytes.extend_from_slice(&[0x82, 0x86, 0x84, 0x01]);
                bytes.extend_from_slice(&[0, 0, 4, 3, 0]);
                bytes.extend_from_slice(&id);
                bytes.extend_from_slice(&[0, 0, 0, 8]);
            }
            bytes.extend(mutate::noise(rng, 500));
            bytes
        }
        // Many requests at once, whose answers nobody reads at first.
        _ => head("").into_bytes().repeat(rng.random_range(2..200)),
    }
}

/// Bad requests, on the port of the streams and on that of the API.
pub(crate) fn garbage(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 120, 64, |cx, mut rng, _| async move {
        let at = if rng.random() { cx.http } else { cx.api };
        let bytes = request(&mut rng, at);
        let manner = Manner { reset: rng.random(), ..Manner::default() };
        let mut tcp = dial(at, &mut rng, manner).await?;
        let sent = tcp.write_all(&bytes).await;
        cx.tally.sent(bytes.len());
        let first = bytes.get(..bytes.len().min(120)).unwrap_or_default();
        let asked = String::from_utf8_lossy(first).into_owned();
        look(&cx, &mut tcp, Duration::from_millis(400), &asked).await;
        sent
    }))
}

/// Frames, good and bad.
fn frames(rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..rng.random_range(1..60) {
        match rng.random_range(0..7) {
            // A masked ping: the only good one.
            0..=2 => {
                let payload = vec![7; rng.random_range(0..126)];
                bytes.extend_from_slice(&[0x89, 0x80 | payload.len() as u8, 0, 0, 0, 0]);
                bytes.extend_from_slice(&payload);
            }
            3 => bytes.extend_from_slice(&[0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255]),
            4 => bytes.extend_from_slice(&[rng.random(), rng.random(), rng.random()]),
            5 => bytes.extend(mutate::noise(rng, 200)),
            // Parts without an end.
            _ => bytes.extend_from_slice(&[0x01, 0x81, 1, 2, 3, 4, 5].repeat(100)),
        }
    }
    bytes
}

/// Live WebSockets whose clients talk nonsense, and pings that flood.
pub(crate) fn websocket(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 50, 48, |cx, mut rng, _| async move {
        let path = format!("/live/{NAME}.flv");
        if rng.random_ratio(1, 4) {
            let head = mutate::damage(&mut rng, upgrade(cx.http, &path).as_bytes(), 0);
            let mut tcp = dial(cx.http, &mut rng, Manner::default()).await?;
            tcp.write_all(&head).await?;
            drain(&mut tcp, Duration::from_millis(200)).await;
            return io::Result::Ok(());
        }
        let reads: bool = rng.random();
        let manner = Manner { receive: (!reads).then_some(4096), reset: rng.random() };
        let mut live = Live::open(cx.http, &path, true, &mut rng, manner).await?;
        for _ in 0..rng.random_range(1..40) {
            let bytes = frames(&mut rng);
            cx.tally.sent(bytes.len());
            live.tcp.write_all(&bytes).await?;
            if reads {
                drain(&mut live.tcp, Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }))
}
