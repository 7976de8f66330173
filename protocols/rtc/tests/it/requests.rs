//! Requests of a size or a pace that no recorded conversation has.

use rtc::door::MAX_OFFER;
use rtc::door::desk::{Dialect, Way};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{Rig, ask};

fn post(target: &str, len: usize) -> Vec<u8> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: h\r\ncontent-type: application/sdp\r\n\
         content-length: {len}\r\nconnection: close\r\n\r\n"
    );
    let mut wire = head.into_bytes();
    wire.resize(wire.len() + len, b'x');
    wire
}

#[tokio::test]
async fn a_body_at_the_limit_is_taken_and_one_above_is_told() {
    let rig = Rig::start(&[]).await;
    let answer = rig.ask(&post("/whip/live/s", MAX_OFFER)).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(rig.desk.asked.lock().unwrap()[0].offer.len(), MAX_OFFER);
    for over in [1, MAX_OFFER, 2 * MAX_OFFER] {
        let answer = rig.ask(&post("/whip/live/s", MAX_OFFER + over)).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("longer than 65536 bytes"), "{answer}");
    }
    assert_eq!(rig.desk.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn who_asks_first_whether_a_long_body_is_wanted_is_told_at_once() {
    let rig = Rig::start(&[]).await;
    let mut tcp = TcpStream::connect(rig.api).await.unwrap();
    let head = "POST /whip/live/s HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n\
                content-length: 1000000\r\nconnection: close\r\n\r\n";
    tcp.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn both_ports_lead_to_the_same_desk() {
    let rig = Rig::start(&[]).await;
    for (port, target) in [(rig.api, "/whep/live/s"), (rig.web, "/rtc/v1/whep/?stream=s")] {
        let answer = ask(port, &post(target, 3)).await;
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    }
    let asked = rig.desk.asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    for asked in &*asked {
        assert_eq!((asked.way, asked.dialect), (Way::Play, Dialect::Whip));
        assert_eq!((&*asked.detail.app, &*asked.detail.name), ("live", "s"));
        assert!(asked.candidates.len() == 2, "{:?}", asked.candidates);
    }
}

#[tokio::test]
async fn one_connection_carries_a_session_from_its_offer_to_its_end() {
    let rig = Rig::start(&[]).await;
    let mut tcp = TcpStream::connect(rig.api).await.unwrap();
    let mut location = String::new();
    let requests: [(&str, &str, &str); 3] = [
        ("POST", "content-type: application/sdp\r\n", "v=0"),
        (
            "PATCH",
            "content-type: application/trickle-ice-sdpfrag\r\nif-match: \"first\"\r\n",
            "a=candidate:1 1 udp 1 10.0.0.1 1 typ host",
        ),
        ("DELETE", "", ""),
    ];
    for ((method, fields, body), status) in requests.into_iter().zip(["201", "204", "200"]) {
        let target = if location.is_empty() { "/whip/live/s" } else { &location };
        let wire = format!(
            "{method} {target} HTTP/1.1\r\nhost: h\r\n{fields}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        tcp.write_all(wire.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let length = |text: &str| {
            let value = text.lines().find_map(|l| l.strip_prefix("content-length: "));
            value.map_or(0, |v| v.parse::<usize>().unwrap())
        };
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if let Some((head, rest)) = text.split_once("\r\n\r\n")
                && rest.len() >= length(head)
            {
                assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
                if let Some(at) = head.lines().find_map(|l| l.strip_prefix("location: ")) {
                    location = at.to_owned();
                }
                break;
            }
            assert!(tcp.read_buf(&mut answer).await.unwrap() > 0, "{text}");
        }
    }
}
