//! The HTTP ports: answers, take-overs, streams as bodies, and peers that dawdle.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use gate::Gate;
use gate::http::{Body, Context, HttpGate, Mount, Request, Response, text};
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rig::*;

struct Site;

impl Mount for Site {
    fn handle(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<LocalBoxFuture<'static, Response>, Request> {
        let context = context.clone();
        match request.uri().path() {
            "/hello" => Ok(Box::pin(async { text(StatusCode::OK, "hello") })),
            "/bug" => Ok(Box::pin(async { panic!("a mount has a bug") })),
            "/take" => Ok(Box::pin(async move {
                if !context.can_take_over() {
                    return text(StatusCode::OK, "not here");
                }
                let over: gate::http::OnSocket = Box::new(|socket| {
                    Box::pin(async move {
                        let mut bytes = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
                        bytes.resize(300_019, b'x');
                        socket.write_all(&bytes).await.unwrap();
                        socket.shutdown().await;
                    })
                });
                context.take_over(over).await
            })),
            "/stream" => Ok(Box::pin(async move {
                let (sender, body) = Body::channel();
                context.shard.spawn("body", async move {
                    for i in 0..200u8 {
                        if sender.send(Bytes::from(vec![i; 5000])).await.is_err() {
                            return;
                        }
                    }
                });
                Response::new(body)
            })),
            _ => Err(request),
        }
    }
}

struct Web {
    rig: Rig,
    gate: HttpGate,
    plain: SocketAddr,
    secure: SocketAddr,
    root: rustls::pki_types::CertificateDer<'static>,
    _files: Files,
}

fn web(pairs: &[(&str, &str)]) -> Web {
    let (files, root) = Files::new();
    // Ports may be lost to others between the look and the use.
    for _ in 0..20 {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (plain, secure) = (free(), free());
        let (cert, key) = (files.cert(), files.key());
        let (listen, https) = (plain.to_string(), secure.to_string());
        let mut all = vec![
            ("http_server.enabled", "on"),
            ("http_server.listen", &*listen),
            ("http_server.https.enabled", "on"),
            ("http_server.https.listen", &*https),
            ("http_server.https.cert", cert.to_str().unwrap()),
            ("http_server.https.key", key.to_str().unwrap()),
        ];
        all.extend_from_slice(pairs);
        let rig = Rig::new(&all);
        let gate = HttpGate::default();
        gate.mount(Arc::new(Site));
        let config = rig.host.config();
        let Ok(ready) = rig.block_on(gate.prepare(&rig.host, &config)) else { continue };
        assert_eq!(ready.commit().len(), 2);
        return Web { rig, gate, plain, secure, root, _files: files };
    }
    panic!("no free ports")
}

fn connect(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp
}

/// One answer with a Content-Length, head and all.
fn answer(tcp: &mut TcpStream) -> String {
    let mut got = Vec::new();
    let mut byte = [0];
    let text = |got: &[u8]| String::from_utf8_lossy(got).to_ascii_lowercase();
    while !got.ends_with(b"\r\n\r\n") {
        assert!(tcp.read(&mut byte).unwrap() > 0, "closed after {}", text(&got));
        got.push(byte[0]);
    }
    let head = text(&got);
    let length = head.split("content-length: ").nth(1).unwrap();
    let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    tcp.read_exact(&mut body).unwrap();
    head + &text(&body)
}

fn get(tcp: &mut TcpStream, path: &str) -> String {
    write!(tcp, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    answer(tcp)
}

fn is_closed(tcp: &mut TcpStream) -> bool {
    !matches!(tcp.read(&mut [0]), Ok(n) if n > 0)
}

#[test]
fn a_connection_is_kept_for_further_requests_longer_than_a_head_may_take() {
    let web = web(&[("limits.http_header_timeout", "0.2")]);
    let mut tcp = connect(web.plain);
    assert!(get(&mut tcp, "/hello").ends_with("hello\n"));
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert!(get(&mut tcp, "/hello").contains("server: millrace/0.0.0"));
    assert!(get(&mut tcp, "/nothing").starts_with("http/1.1 404"));
    drop(tcp);
    eventually("its place is free", || web.rig.host.connections.load(Relaxed) == 0);
}

#[test]
fn who_does_not_finish_a_request_head_in_time_is_hung_up_on() {
    let web = web(&[("limits.http_header_timeout", "0.2")]);
    let mut never = connect(web.plain);
    let mut first = connect(web.plain);
    first.write_all(b"GET /hello HTT").unwrap();
    let mut second = connect(web.plain);
    assert!(get(&mut second, "/hello").ends_with("hello\n"));
    second.write_all(b"GET /hello HTT").unwrap();
    for tcp in [&mut never, &mut first, &mut second] {
        assert!(is_closed(tcp));
    }
    eventually("their places are free", || web.rig.host.connections.load(Relaxed) == 0);
}

#[test]
fn who_negotiates_http2_and_says_nothing_is_hung_up_on() {
    let web = web(&[("limits.http_header_timeout", "0.2")]);
    let mut tls = web.rig.tls(web.secure, &web.root, &[b"h2"]).unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut got = Vec::new();
    let _ = web.rig.block_on(tls.read_to_end(&mut got));
    eventually("its place is free", || web.rig.host.connections.load(Relaxed) == 0);
}

#[test]
fn a_body_may_take_longer_than_a_head() {
    let web = web(&[("limits.http_header_timeout", "0.1")]);
    let mut tcp = connect(web.plain);
    tcp.write_all(b"GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let mut all = Vec::new();
    tcp.read_to_end(&mut all).unwrap();
    assert!(all.len() > 200 * 5000);
    assert!(all.ends_with(b"\r\n0\r\n\r\n"), "the body is complete");
}

#[test]
fn a_panic_in_a_mount_costs_one_answer() {
    let web = web(&[]);
    let mut tcp = connect(web.plain);
    assert!(get(&mut tcp, "/bug").starts_with("http/1.1 500"));
    assert!(get(&mut tcp, "/hello").ends_with("hello\n"));
    assert_eq!(web.rig.host.shards()[0].stats().panics.load(Relaxed), 1);
}

#[test]
fn a_connection_can_be_taken_over_after_other_requests_plain_and_encrypted() {
    let web = web(&[]);
    let mut tcp = connect(web.plain);
    assert!(get(&mut tcp, "/hello").ends_with("hello\n"));
    tcp.write_all(b"GET /take HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut all = Vec::new();
    tcp.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 300_019);
    let mut tls = web.rig.tls(web.secure, &web.root, &[b"http/1.1"]).unwrap();
    let all = web.rig.block_on(async {
        tls.write_all(b"GET /take HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut all = Vec::new();
        tls.read_to_end(&mut all).await.unwrap();
        all
    });
    assert_eq!(all.len(), 300_019);
    drop((tcp, tls));
    eventually("their places are free", || web.rig.host.connections.load(Relaxed) == 0);
}

#[test]
fn over_http2_streams_are_bodies_and_nothing_is_taken_over() {
    let web = web(&[]);
    let tls = web.rig.tls(web.secure, &web.root, &[b"h2", b"http/1.1"]).unwrap();
    web.rig.block_on(async {
        let io = TokioIo::new(tls);
        let (mut send, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        for (path, length) in [("/stream", 1_000_000), ("/take", 9), ("/bug", 30)] {
            let uri = format!("https://localhost{path}");
            let request = http::Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
            let response = send.send_request(request).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body.len(), length, "{path}: {:?}", body.get(..50));
        }
    });
    web.gate.close_listeners();
    eventually("the ports are closed", || TcpStream::connect(web.secure).is_err());
}
