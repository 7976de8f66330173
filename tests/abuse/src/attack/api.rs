//! The API as a weapon.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use super::viewers::watch;
use super::{Cx, Running, pour};
use crate::net::{Manner, Rtmp, dial, drain};
use rtmp::session::client::Role;

/// The stream whose clients are kicked off.
const VICTIM: &str = "abuse-victim";
/// Players of it by each protocol.
const PLAYERS: u64 = 4;
/// Longest answer that is read.
const MOST: u64 = 16 << 20;

async fn ask(cx: &Cx, rng: &mut StdRng, method: &str, path: &str) -> io::Result<String> {
    let mut tcp = dial(cx.api, rng, Manner::default()).await?;
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {}\r\n\r\n", cx.api);
    tcp.write_all(head.as_bytes()).await?;
    cx.tally.sent(head.len());
    let mut bytes = Vec::new();
    tcp.take(MOST).read_to_end(&mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(text.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}

/// Lists clients and kicks those of the victim; asks for clients that never were, and uses the
/// ids of sessions that live as marks of HLS.
async fn kick(cx: Arc<Cx>, mut rng: StdRng) -> io::Result<()> {
    let body = ask(&cx, &mut rng, "GET", "/api/v1/clients/?start=0&count=500").await?;
    let list: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
    let clients = list.get("clients").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |client: &Value, key: &str| {
        client.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let victims: Vec<String> = clients
        .iter()
        .filter(|c| text(c, "name").starts_with(VICTIM) || text(c, "url").ends_with(VICTIM))
        .map(|c| text(c, "id"))
        .collect();
    if !victims.is_empty() {
        let id = &victims[rng.random_range(0..victims.len())];
        // Twice: the second one comes too late.
        for _ in 0..2 {
            ask(&cx, &mut rng, "DELETE", &format!("/api/v1/clients/{id}")).await?;
        }
        let path = format!("/live/{VICTIM}.m3u8?hls_ctx={id}");
        let mut tcp = dial(cx.http, &mut rng, Manner::default()).await?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        tcp.write_all(head.as_bytes()).await?;
        drain(&mut tcp, Duration::from_millis(50)).await;
    }
    let nobody: String = (0..8).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect();
    ask(&cx, &mut rng, "DELETE", &format!("/api/v1/clients/{nobody}")).await?;
    ask(&cx, &mut rng, "GET", "/api/v1/streams/").await?;
    Ok(())
}

/// Comes again whenever it is kicked off.
async fn publish(cx: Arc<Cx>) {
    let mut rng = cx.rng();
    while !cx.over() {
        let manner = Manner::default();
        let start = Rtmp::start(cx.rtmp, Role::PublishFmle, "live", VICTIM, &mut rng, manner);
        if let Ok(Ok(mut rtmp)) = timeout_at(cx.until.into(), start).await {
            let left = cx.until.saturating_duration_since(std::time::Instant::now());
            drain(&mut rtmp.tcp, left).await;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Clients come, and are kicked off through the API, 20 times a second.
pub(crate) fn kicks(cx: Arc<Cx>) -> Running {
    Box::pin(async move {
        let mut all = JoinSet::new();
        all.spawn(publish(cx.clone()));
        for kind in 0..3 {
            for _ in 0..PLAYERS {
                all.spawn(watch(cx.clone(), VICTIM.to_owned(), kind));
            }
        }
        pour(cx, 20, 8, |cx, rng, _| kick(cx, rng)).await;
        all.shutdown().await;
    })
}
