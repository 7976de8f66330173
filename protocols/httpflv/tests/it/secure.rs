//! Inside TLS, where the log is read through a buffer: HTTP/1.1 and HTTP/2.

use std::sync::Arc;

use container::flv::Reader;
use gate::session::Kick;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::tags;
use crate::rig::{Publishing, Rig, configs, media};

async fn connect(rig: &Rig, alpn: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let own = CertificateDer::from_pem_file("testdata/cert.pem").expect("a certificate");
    roots.add(own).expect("a root");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let tcp = TcpStream::connect(rig.secure).await.expect("connect");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("TLS")
}

async fn live() -> (Rig, Publishing) {
    let rig = Rig::start(&[], "/nonexistent").await;
    let publishing = rig.publish("__defaultVhost__", "live", "s").await;
    publishing.push(configs()).await;
    publishing.push(media(0, 3, 1)).await;
    (rig, publishing)
}

#[tokio::test]
async fn a_body_over_tls_is_whole_to_its_end() {
    let (rig, _publishing) = live().await;
    let mut tls = connect(&rig, b"http/1.1").await;
    tls.write_all(b"GET /live/s.flv HTTP/1.0\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let mut bytes = Vec::new();
    while !bytes.windows(2).any(|w| w == [1, 0x80]) {
        assert!(tls.read_buf(&mut bytes).await.expect("read") > 0);
    }
    rig.host.sessions.all()[0].kick(Kick::Api);
    tls.read_to_end(&mut bytes).await.expect("an end that TLS knows of");
    let body = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    assert!(tags(&bytes[body..]).len() > 2);
}

#[tokio::test]
async fn http_2_gets_the_stream_as_a_body() {
    let (rig, publishing) = live().await;
    let io = TokioIo::new(connect(&rig, b"h2").await);
    let (mut send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = hyper::Request::get("https://localhost/live/s.flv");
    let request = request.body(Empty::<bytes::Bytes>::new()).expect("a request");
    let mut response = send.send_request(request).await.expect("a response");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "video/x-flv");
    publishing.push(media(120, 2, 5)).await;
    let mut reader = Reader::new();
    let mut marked = false;
    while !marked {
        let frame = response.body_mut().frame().await.expect("a frame").expect("no error");
        reader.push(frame.data_ref().expect("data"));
        while let Some(tag) = reader.pull().expect("valid FLV") {
            marked |= tag.body.len() > 4 && tag.body[tag.body.len() - 2] == 5;
        }
    }
    rig.host.sessions.all()[0].kick(Kick::Api);
    while let Some(frame) = response.body_mut().frame().await {
        frame.expect("a clean end");
    }
}
