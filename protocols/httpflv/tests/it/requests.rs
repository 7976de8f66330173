//! Which requests are answered, how, and which are left to others.

use crate::client::{Client, Flv};
use crate::rig::{Rig, configs, media};

const DEFAULT: &str = "__defaultVhost__";

#[tokio::test]
async fn methods_other_than_get_have_their_answers() {
    let rig = Rig::start(&[], "/nonexistent").await;
    let mut head = Client::ask(rig.addr, "HEAD /live/s.flv HTTP/1.1", &["Host: x"]).await;
    let answer = head.head().await;
    assert_eq!((answer.status, answer.get("Content-Type")), (200, Some("video/x-flv")));
    let mut options = Client::ask(rig.addr, "OPTIONS /live/s.flv HTTP/1.1", &["Host: x"]).await;
    let answer = options.head().await;
    assert_eq!((answer.status, answer.get("Access-Control-Allow-Methods")), (200, Some("*")));
    let mut post =
        Client::ask(rig.addr, "POST /live/s.flv HTTP/1.1", &["Host: x", "Content-Length: 0"]).await;
    assert_eq!(post.head().await.status, 405);
    assert!(rig.host.sessions.is_empty());
}

#[tokio::test]
async fn a_stream_that_nobody_publishes_is_not_found_after_the_wait() {
    let rig = Rig::start(&[("wait_timeout", "0.05")], "/nonexistent").await;
    let mut client = Client::get(rig.addr, "/live/nobody.flv").await;
    assert_eq!(client.head().await.status, 404);
    client.until(10).await;
    let reason = String::from_utf8_lossy(&client.bytes).into_owned();
    assert!(reason.contains("nobody publishes /live/nobody"), "{reason}");
    assert!(rig.host.sessions.is_empty());
}

#[tokio::test]
async fn a_request_that_comes_first_waits_for_its_publisher() {
    let rig = Rig::start(&[("wait_timeout", "20")], "/nonexistent").await;
    let mut client = Client::get(rig.addr, "/live/s.flv").await;
    let key = hub::StreamKey::new(DEFAULT, "live", "s");
    while rig.host.hub.find(&key).is_none() {
        tokio::task::yield_now().await;
    }
    let publishing = rig.publish(DEFAULT, "live", "s").await;
    publishing.push(configs()).await;
    publishing.push(media(0, 2, 4)).await;
    assert_eq!(client.head().await.status, 200);
    Flv::default().until_mark(&mut client, 4).await;
}

#[tokio::test]
async fn the_host_header_or_the_query_says_which_virtual_host() {
    let rig = Rig::start(&[("wait_timeout", "0.05")], "/nonexistent").await;
    let publishing = rig.publish("cdn.example.com", "live", "s").await;
    publishing.push(configs()).await;
    publishing.push(media(0, 2, 4)).await;
    let get = "GET /live/s.flv HTTP/1.1";
    let mut here = Client::ask(rig.addr, get, &["Host: cdn.example.com:8080"]).await;
    assert_eq!(here.head().await.status, 200);
    let mut other = Client::ask(rig.addr, get, &["Host: www.example.com"]).await;
    assert_eq!(other.head().await.status, 404);
    let mut asked = Client::get(rig.addr, "/live/s.flv?vhost=cdn.example.com").await;
    assert_eq!(asked.head().await.status, 200);
}

#[tokio::test]
async fn what_is_no_live_stream_is_left_to_others() {
    let dir = std::env::temp_dir().join(format!("httpflv-files-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("vod")).expect("a directory");
    std::fs::write(dir.join("vod/film.flv"), b"FLV").expect("a file");
    let rig = Rig::start(&[], dir.to_str().expect("text")).await;
    for path in ["/live/s-17.ts", "/live/s.m3u8", "/vod/film.flv", "/api/v1/s.flv", "/live/s.mp3"] {
        let mut client = Client::get(rig.addr, path).await;
        assert_eq!(client.head().await.status, 404);
        client.until(10).await;
        // What the HTTP ports answer when no mount wants a request.
        assert_eq!(client.bytes, b"Not Found\n", "{path}");
    }
    std::fs::remove_dir_all(&dir).expect("removed");
}

#[tokio::test]
async fn a_path_that_names_nothing_is_a_bad_request() {
    let rig = Rig::start(&[], "/nonexistent").await;
    for path in ["/live/%2e%2e/s.flv", "/live/%00.flv", "/live/%ff.flv", "/live//s.flv"] {
        let mut client = Client::get(rig.addr, path).await;
        assert_eq!(client.head().await.status, 400, "{path}");
    }
}
