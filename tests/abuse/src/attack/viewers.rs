//! Viewers who come and go.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rtmp::session::client::Role;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

use super::{Cx, Running, pour};
use crate::healthy::NAME;
use crate::http::{Live, upgrade};
use crate::net::{Manner, Rtmp, dial, drain};

/// Watches a stream in one of six ways for as long as it is there, and comes again.
pub(crate) async fn watch(cx: Arc<Cx>, name: String, kind: u64) {
    let mut rng = cx.rng();
    while !cx.over() {
        let left = cx.until.saturating_duration_since(std::time::Instant::now());
        let _ = timeout(left, view(&cx, &mut rng, &name, kind, left)).await;
        sleep(Duration::from_millis(200)).await;
    }
}

/// One view, of any kind.
async fn view(cx: &Cx, rng: &mut StdRng, name: &str, kind: u64, time: Duration) -> io::Result<()> {
    let manner = Manner { reset: rng.random(), ..Manner::default() };
    let path = |extension: &str| format!("/live/{name}.{extension}");
    let mut tcp = match kind % 6 {
        0 => Rtmp::start(cx.rtmp, Role::Play, "live", name, rng, manner).await?.tcp,
        1 => Live::open(cx.http, &path("flv"), false, rng, manner).await?.tcp,
        2 => Live::open(cx.http, &path("flv"), true, rng, manner).await?.tcp,
        3 => Live::open(cx.http, &path("ts"), false, rng, manner).await?.tcp,
        4 => {
            let query = format!("{}?hls_ctx=abuse{}", path("m3u8"), rng.random_range(0..50));
            get(cx, rng, &query, manner).await?
        }
        _ => Live::open(cx.http, &path("aac"), false, rng, manner).await?.tcp,
    };
    drain(&mut tcp, time).await;
    Ok(())
}

async fn get(
    cx: &Cx,
    rng: &mut StdRng,
    path: &str,
    manner: Manner,
) -> io::Result<tokio::net::TcpStream> {
    let mut tcp = dial(cx.http, rng, manner).await?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", cx.http);
    tcp.write_all(head.as_bytes()).await?;
    cx.tally.sent(head.len());
    Ok(tcp)
}

/// 200 a second, by every protocol; some leave before they have come.
pub(crate) fn join_leave(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 200, 120, |cx, mut rng, number| async move {
        match rng.random_range(0..10) {
            0 => {
                // In the middle of the handshake.
                let mut tcp = dial(cx.rtmp, &mut rng, Manner::default()).await?;
                tcp.write_all(&super::rtmp::hello()).await
            }
            1 => {
                // Asks and is gone.
                let manner = Manner { reset: true, ..Manner::default() };
                let mut tcp = dial(cx.http, &mut rng, manner).await?;
                let head = upgrade(cx.http, &format!("/live/{NAME}.flv"));
                tcp.write_all(head.as_bytes()).await
            }
            2 => {
                // For a stream that will never be: waits for a moment, and goes.
                let name = format!("abuse-nobody-{}", rng.random_range(0..100_000));
                let kind = [0, 1, 3, 4][rng.random_range(0..4)];
                let time = Duration::from_millis(rng.random_range(0..300));
                let view = view(&cx, &mut rng, &name, kind, time);
                let _ = timeout(time, view).await;
                Ok(())
            }
            _ => {
                let time = Duration::from_millis(rng.random_range(0..500));
                view(&cx, &mut rng, NAME, number, time).await
            }
        }
    }))
}

/// Players of HLS who are made up: without marks, with marks of their own, for streams that are
/// not there.
pub(crate) fn contexts(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 200, 120, |cx, mut rng, _| async move {
        let path = match rng.random_range(0..6) {
            0 => format!("/live/{NAME}.m3u8"),
            1 => format!("/live/{NAME}.m3u8?hls_ctx={:x}", rng.random::<u64>()),
            2 => format!("/live/{NAME}.m3u8?hls_ctx={}", "x".repeat(rng.random_range(0..200))),
            3 => format!("/live/{NAME}-{}.ts?hls_ctx=same", rng.random_range(0..400)),
            4 => format!("/live/abuse-{}.m3u8", rng.random_range(0..100_000)),
            _ => format!("/live/{NAME}.m3u8?hls_ctx=same"),
        };
        let manner = Manner { reset: rng.random(), ..Manner::default() };
        let mut tcp = get(&cx, &mut rng, &path, manner).await?;
        drain(&mut tcp, Duration::from_millis(rng.random_range(0..400))).await;
        io::Result::Ok(())
    }))
}
