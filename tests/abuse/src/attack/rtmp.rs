//! Bytes that are no RTMP, or bad RTMP.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rtmp::session::client::Role;
use rtmp::wire::chunk::encode_message;
use tokio::io::AsyncWriteExt;

use super::mutate::{self, RECORDINGS, SESSIONS};
use super::{Cx, Running, pour};
use crate::net::{Manner, Rtmp, dial, drain};

/// C0, C1 and C2 of the plainest kind.
pub(crate) fn hello() -> Vec<u8> {
    let mut hello = vec![3];
    hello.resize(1 + 2 * 1536, 0);
    hello
}

/// Sends it, in pieces perhaps, looks at the answer or not, and leaves.
async fn say(cx: &Cx, rng: &mut StdRng, bytes: &[u8]) -> io::Result<()> {
    let manner = Manner { reset: rng.random(), ..Manner::default() };
    let mut tcp = dial(cx.rtmp, rng, manner).await?;
    if rng.random_ratio(1, 4) {
        let size = rng.random_range(1..400);
        for piece in bytes.chunks(size).take(40) {
            tcp.write_all(piece).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    } else {
        tcp.write_all(bytes).await?;
    }
    cx.tally.sent(bytes.len());
    match rng.random_range(0..3) {
        0 => {}
        1 => {
            tcp.shutdown().await?;
            drain(&mut tcp, Duration::from_millis(500)).await;
        }
        _ => {
            drain(&mut tcp, Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

/// Random bytes, with as much of a handshake before as luck gives.
pub(crate) fn noise(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 120, 64, |cx, mut rng, _| async move {
        let mut bytes = match rng.random_range(0..5) {
            0 => Vec::new(),
            1 => vec![3],
            2 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            3 => {
                let mut hello = hello();
                hello.truncate(rng.random_range(1..hello.len()));
                hello
            }
            _ => hello(),
        };
        bytes.extend(mutate::noise(&mut rng, 20_000));
        say(&cx, &mut rng, &bytes).await
    }))
}

/// Recordings and seeds, damaged mostly behind the handshake.
pub(crate) fn mutants(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 120, 64, |cx, mut rng, _| async move {
        let bytes = if rng.random() {
            let whole = RECORDINGS[rng.random_range(0..RECORDINGS.len())];
            let from = if rng.random_ratio(1, 5) { 0 } else { 1 + 2 * 1536 };
            mutate::damage(&mut rng, whole, from)
        } else {
            let session = SESSIONS[rng.random_range(0..SESSIONS.len())];
            [hello(), mutate::damage(&mut rng, session, 0)].concat()
        };
        say(&cx, &mut rng, &bytes).await
    }))
}

/// A command with this name, transaction 1, and these AMF0 bytes behind it.
fn command(name: &str, rest: &[u8]) -> Vec<u8> {
    let mut body = vec![2];
    body.extend_from_slice(&(name.len() as u16).to_be_bytes());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(&[0, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]);
    body.extend_from_slice(rest);
    body
}

fn message(kind: u8, body: &[u8], chunk: u32) -> Vec<u8> {
    let mut out = Vec::new();
    // Only what is longer than 16 MiB cannot be written.
    let _ = encode_message(&mut out, 3, kind, 0, 0, &[body], chunk);
    out
}

fn number(rng: &mut StdRng) -> u32 {
    let odd = [0, 1, 127, 128, 65_535, 65_536, 0xff_ffff, 0x7fff_ffff, 0x8000_0000, u32::MAX];
    if rng.random() { odd[rng.random_range(0..odd.len())] } else { rng.random() }
}

/// One bomb, to be thrown behind a handshake.
fn bomb(rng: &mut StdRng) -> Vec<u8> {
    match rng.random_range(0..12) {
        // A message of 16 MB is announced on many chunk streams, and never sent.
        0 => (2..200u8)
            .flat_map(|cid| [vec![0, cid, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0], vec![7; 128]])
            .flatten()
            .collect(),
        // All chunk streams that there are.
        1 => (0..5_000u16)
            .flat_map(|cid| {
                let [a, b] = cid.to_le_bytes();
                [1, a, b, 0, 0, 0, 0, 0, 200, 20, 0, 0, 0, 0].into_iter().chain([9; 128])
            })
            .collect(),
        // Objects in objects.
        2 => {
            let nested = b"\x03\0\x01a".repeat(rng.random_range(1..15_000));
            message(20, &command("connect", &nested), 128)
        }
        // Arrays in arrays, of 4 billion each.
        3 => {
            let nested = b"\x0a\xff\xff\xff\xff".repeat(rng.random_range(1..10_000));
            message(20, &command("connect", &nested), 128)
        }
        // An object of 30,000 keys.
        4 => {
            let mut object = vec![3];
            for key in 0..30_000u32 {
                object.extend_from_slice(&[0, 5]);
                object.extend_from_slice(format!("{key:05}").as_bytes());
                object.push(5);
            }
            object.extend_from_slice(&[0, 0, 9]);
            message(20, &command("connect", &object), 128)
        }
        // Strings that are longer than the message.
        5 => message(20, &command("connect", b"\x0c\xff\xff\xff\xff\x02\xff\xff"), 128),
        // Chunk sizes of all sorts, also in the middle of a message.
        6 => {
            let mut all = vec![3, 0, 0, 0, 0, 0x10, 0, 20, 0, 0, 0, 0];
            all.resize(all.len() + 128, 2);
            for _ in 0..20 {
                all.extend(message(1, &number(rng).to_be_bytes(), 128));
                all.extend(mutate::noise(rng, 300));
            }
            all
        }
        // Windows, acknowledgements, aborts, pings.
        7 => (0..500)
            .flat_map(|_| {
                let kind = *[2u8, 3, 4, 5, 6].get(rng.random_range(0..5)).unwrap_or(&2);
                let mut body = number(rng).to_be_bytes().to_vec();
                body.extend(mutate::noise(rng, 8));
                message(kind, &body, 128)
            })
            .collect(),
        // AMF3, strings and references that lead nowhere.
        8 => {
            let body = mutate::noise(rng, 4_000);
            let kind = *[15u8, 17, 16, 19].get(rng.random_range(0..4)).unwrap_or(&17);
            message(
                kind,
                &[&[0][..], &command("connect", &[0x11, 0x0a, 0x0b, 1]), &body].concat(),
                128,
            )
        }
        // An aggregate whose parts are longer than it is.
        9 => {
            let body = [&[9, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0][..], &[1; 50]].concat();
            message(22, &body, 128)
        }
        // Commands before their time, thousands of them.
        10 => {
            let names =
                ["play", "publish", "createStream", "deleteStream", "pause", "seek", "_result"];
            (0..3_000)
                .flat_map(|_| {
                    let name = names[rng.random_range(0..names.len())];
                    message(20, &command(name, b"\x05\x02\0\x01x"), 128)
                })
                .collect()
        }
        // A good connect with an address from hell.
        _ => {
            let app =
                ["../../etc", "live\0x", "a/b/c/d", "live?vhost=../..", "\u{202e}", "%00%2e%2e"]
                    [rng.random_range(0..6)]
                .repeat(rng.random_range(1..400));
            let mut object = b"\x03\0\x03app\x02".to_vec();
            let app = app.as_bytes().get(..60_000).unwrap_or(app.as_bytes());
            object.extend_from_slice(&(app.len() as u16).to_be_bytes());
            object.extend_from_slice(app);
            object.extend_from_slice(b"\0\x05tcUrl\x02\0\x13rtmp://h/../../live\0\0\x09");
            message(20, &command("connect", &object), 128)
        }
    }
}

/// Bombs, thrown by strangers and by sessions that may publish or play.
pub(crate) fn bombs(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 60, 48, |cx, mut rng, number| async move {
        let mut bytes = bomb(&mut rng);
        if rng.random_ratio(1, 3) {
            bytes.extend(bomb(&mut rng));
        }
        if rng.random() {
            return say(&cx, &mut rng, &[hello(), bytes].concat()).await;
        }
        let (role, name) = match rng.random_range(0..3) {
            0 => (Role::PublishFmle, format!("abuse-bomb-{}", number % 50)),
            1 => (Role::PublishFlash, format!("abuse-bomb-{}", number % 50)),
            _ => (Role::Play, crate::healthy::NAME.to_owned()),
        };
        let manner = Manner::default();
        let mut rtmp = Rtmp::start(cx.rtmp, role, "live", &name, &mut rng, manner).await?;
        rtmp.tcp.write_all(&bytes).await?;
        cx.tally.sent(bytes.len());
        drain(&mut rtmp.tcp, Duration::from_millis(300)).await;
        Ok(())
    }))
}

/// A call on one of the first NetStreams, with arguments that it may have.
fn call(rng: &mut StdRng, chunk: u32) -> Vec<u8> {
    let string = |text: &str| {
        let length = (text.len() as u16).to_be_bytes();
        [&[2][..], &length, text.as_bytes()].concat()
    };
    let number = |value: f64| [&[0][..], &value.to_be_bytes()].concat();
    let boolean = |on: bool| vec![1, u8::from(on)];
    let null = vec![5];
    let stream = rng.random_range(0..6u32);
    let own = format!("abuse-restless-{}", rng.random_range(0..2000));
    let on = rng.random();
    let name = if rng.random() { crate::healthy::NAME } else { &own };
    let (method, args) = match rng.random_range(0..16) {
        0 => ("createStream", vec![null]),
        1 | 2 => ("deleteStream", vec![null, number(f64::from(rng.random_range(1..8u32)))]),
        3 | 4 => ("play", vec![null, string(name)]),
        // For a tenth of a second.
        5 => ("play", vec![null, string(name), number(-1.0), number(100.0)]),
        6 => ("publish", vec![null, string(&own), string("live")]),
        7 => ("pause", vec![null, boolean(on), number(0.0)]),
        8 => ("receiveAudio", vec![null, boolean(on)]),
        9 => ("receiveVideo", vec![null, boolean(on)]),
        10 => ("closeStream", vec![null]),
        11 => ("deleteStream", vec![null, number(f64::from(stream))]),
        12 => ("FCUnpublish", vec![null, string(&own)]),
        13 => ("seek", vec![null, number(f64::NAN)]),
        14 => ("getStreamLength", vec![null, string(name)]),
        _ => ("_checkbw", vec![null]),
    };
    let transaction = number(f64::from(rng.random_range(0..50u32)));
    let body = [string(method), transaction, args.concat()].concat();
    let mut out = Vec::new();
    let _ = encode_message(&mut out, 3, 20, 0, stream, &[&body], chunk);
    if rng.random_ratio(1, 4) {
        let _ = encode_message(&mut out, 6, 9, 40, stream, &[&[0x27, 1, 0, 0, 0, 9]], chunk);
    }
    out
}

/// Sessions that play, publish, pause, mute and close all the time, on several NetStreams, with
/// many calls under way at once.
pub(crate) fn restless(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 30, 48, |cx, mut rng, _| async move {
        let name = crate::healthy::NAME;
        let manner = Manner { reset: rng.random(), ..Manner::default() };
        let mut rtmp = Rtmp::start(cx.rtmp, Role::Play, "live", name, &mut rng, manner).await?;
        let chunk = rtmp.client.chunk_size();
        for _ in 0..rng.random_range(1..40) {
            let calls = rng.random_range(1..30);
            let bytes: Vec<u8> = (0..calls).flat_map(|_| call(&mut rng, chunk)).collect();
            rtmp.tcp.write_all(&bytes).await?;
            cx.tally.sent(bytes.len());
            let time = Duration::from_millis(rng.random_range(0..60));
            drain(&mut rtmp.tcp, time).await;
        }
        Ok(())
    }))
}
