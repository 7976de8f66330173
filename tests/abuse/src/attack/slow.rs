//! Clients who take their time, and too many of them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtmp::session::client::Role;
use rtmp::wire::chunk::encode_message;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use super::{Cx, Running, pour};
use crate::healthy::NAME;
use crate::http::{Live, upgrade};
use crate::net::{Manner, Rtmp, dial, drain};

/// Pause between two bytes.
const DRIP: Duration = Duration::from_secs(1);
/// New connections a second while those of [`half_open`] are made up again.
const REFILL: u32 = 100;
/// Length of one wave of [`flood`].
const FLOOD: Duration = Duration::from_secs(4);

/// Where the one byte goes, and what it is a part of.
fn drop_of(cx: &Cx, number: u64) -> (SocketAddr, Vec<u8>) {
    match number % 10 {
        0 => (cx.http, format!("GET /live/{NAME}.flv HTTP/1.1\r\nX-Slow: ").into_bytes()),
        1 => (cx.api, b"GET /api/v1/summaries HTTP/1.1\r\nX-Slow: ".to_vec()),
        2 => (cx.http, Vec::new()),
        // Past the handshake, in the middle of `connect`.
        3 => {
            (cx.rtmp, [super::rtmp::hello(), vec![3, 0, 0, 0, 0, 1, 0, 20, 0, 0, 0, 0, 2]].concat())
        }
        _ => (cx.rtmp, vec![3]),
    }
}

/// Handshakes and heads that go on for ever, one byte a second.
pub(crate) fn half_open(cx: Arc<Cx>) -> Running {
    let most = cx.connections;
    // The first go up at once, the rest replaces those whom the server sent away.
    let rate = u32::try_from(most / 2).unwrap_or(u32::MAX).max(REFILL);
    Box::pin(pour(cx, rate, most, |cx, mut rng, number| async move {
        let (to, first) = drop_of(&cx, number);
        let mut tcp = dial(to, &mut rng, Manner { reset: true, ..Manner::default() }).await?;
        tcp.write_all(&first).await?;
        loop {
            sleep(DRIP).await;
            tcp.write_all(b"a").await?;
            cx.tally.sent(1);
            if tcp.try_read(&mut [0; 16]).is_ok_and(|n| n == 0) {
                return io::Result::<()>::Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }))
}

/// Who does not read.
async fn deaf(cx: &Cx, rng: &mut (impl Rng + Send), number: u64) -> io::Result<TcpStream> {
    let manner = Manner { receive: Some(4096), reset: true };
    let path = format!("/live/{NAME}.{}", if number % 8 == 3 { "ts" } else { "flv" });
    Ok(match number % 4 {
        0 | 1 => Rtmp::start(cx.rtmp, Role::Play, "live", NAME, rng, manner).await?.tcp,
        2 => Live::open(cx.http, &path, true, rng, manner).await?.tcp,
        _ => Live::open(cx.http, &path, false, rng, manner).await?.tcp,
    })
}

/// A question whose answer nobody will read, over and over.
async fn ask_only(cx: &Cx, rng: &mut (impl Rng + Send), number: u64) -> io::Result<()> {
    let manner = Manner { receive: Some(4096), reset: true };
    let (mut tcp, question) = match number % 4 {
        0 | 1 => {
            let role = if number % 8 < 4 { Role::Play } else { Role::PublishFlash };
            let name = if role == Role::Play { NAME } else { &format!("abuse-asks-{number}") };
            let tcp = Rtmp::start(cx.rtmp, role, "live", name, rng, manner).await?.tcp;
            let mut bytes = Vec::new();
            // createStream, and a ping.
            let create = b"\x02\0\x0ccreateStream\0\x40\0\0\0\0\0\0\0\x05";
            let _ = encode_message(&mut bytes, 3, 20, 0, 0, &[create], 128);
            let _ = encode_message(&mut bytes, 2, 4, 0, 0, &[&[0, 6, 0, 0, 0, 1]], 128);
            (tcp, bytes)
        }
        2 => {
            let mut tcp = dial(cx.http, rng, manner).await?;
            tcp.write_all(upgrade(cx.http, &format!("/live/{NAME}.flv")).as_bytes()).await?;
            (tcp, [&[0x89, 0xfd, 0, 0, 0, 0][..], &[1; 125]].concat())
        }
        _ => {
            let tcp = dial(cx.api, rng, manner).await?;
            (tcp, format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", cx.api).into_bytes())
        }
    };
    let questions = question.repeat(200);
    loop {
        tcp.write_all(&questions).await?;
        cx.tally.sent(questions.len());
        // Enough to fill any buffer within a second, without burning our core.
        sleep(Duration::from_millis(20)).await;
    }
}

/// Players who stop reading, for as long as they are let, and clients who only ask.
pub(crate) fn never_read(cx: Arc<Cx>) -> Running {
    let most = (cx.connections / 3).clamp(20, 400);
    Box::pin(pour(cx, 100, most, |cx, mut rng, number| async move {
        if number % 5 == 4 {
            return ask_only(&cx, &mut rng, number).await;
        }
        let mut tcp = deaf(&cx, &mut rng, number).await?;
        // Whether the server has had enough is seen by its reset alone: reading would help it.
        loop {
            sleep(Duration::from_secs(1)).await;
            if number.is_multiple_of(2) {
                continue;
            }
            tcp.write_all(b"").await?;
            if let Some(e) = tcp.take_error()? {
                return Err(e);
            }
        }
    }))
}

/// More connections than the server takes, at once, again and again.
pub(crate) fn flood(cx: Arc<Cx>) -> Running {
    Box::pin(async move {
        let mut rng = cx.rng();
        while !cx.over() {
            let end = cx.until.min(Instant::now() + FLOOD);
            let mut all = JoinSet::new();
            for number in 0..cx.connections.saturating_mul(3) / 2 {
                if Instant::now() >= end {
                    break;
                }
                let to = [cx.rtmp, cx.http, cx.api][number % 3];
                let (manner, mut own) = (Manner::default(), StdRng::seed_from_u64(rng.random()));
                let tally = cx.tally.clone();
                all.spawn(async move {
                    let tcp = dial(to, &mut own, manner).await;
                    tally.tried();
                    let Ok(mut tcp) = tcp else {
                        tally.refused.fetch_add(1, Relaxed);
                        return;
                    };
                    if timeout_at(end.into(), drain(&mut tcp, FLOOD)).await.is_ok() {
                        tally.refused.fetch_add(1, Relaxed);
                    }
                });
                if number.is_multiple_of(20) {
                    sleep(Duration::from_millis(10)).await;
                }
            }
            while all.join_next().await.is_some() {}
            // Others must come in again.
            sleep(Duration::from_millis(500)).await;
        }
    })
}
