//! Publishers that no viewer deserves.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use container::flv::Tag;
use rand::Rng;
use rand::rngs::StdRng;
use rtmp::session::client::Role;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use super::mutate::{self, FILES, tags};
use super::viewers::watch;
use super::{Cx, Running, pour};
use crate::net::{Manner, Rtmp};

/// One key for all of them.
const FLAP: &str = "abuse-flap";
/// Keys of those who take another each time: few enough that a server which keeps a stream for a
/// while after its publisher has gone keeps no more than these.
const KEYS: u64 = 200;
/// Streams that shift their shape.
const SHIFT: u64 = 4;

/// Comes, sends a few tags or none, and goes, politely or not.
async fn one_flap(cx: Arc<Cx>, mut rng: StdRng, name: String) -> io::Result<()> {
    let role = if rng.random() { Role::PublishFmle } else { Role::PublishFlash };
    let manner = Manner { reset: rng.random(), ..Manner::default() };
    let mut rtmp = Rtmp::start(cx.rtmp, role, "live", &name, &mut rng, manner).await?;
    let file = FILES[rng.random_range(0..FILES.len())];
    let wanted = rng.random_range(0..60);
    for tag in tags(file).iter().take(wanted) {
        rtmp.send(tag.kind.into(), tag.dts().as_micros() as u32 / 1000, &tag.body).await?;
        cx.tally.sent(tag.body.len());
    }
    sleep(Duration::from_millis(rng.random_range(0..120))).await;
    if rng.random() {
        rtmp.client.stop();
        rtmp.flush().await?;
    }
    Ok(())
}

/// 20 times a second on one key, where viewers wait, and 20 times a second on many keys.
pub(crate) fn flap(cx: Arc<Cx>) -> Running {
    Box::pin(async move {
        let mut all = JoinSet::new();
        for kind in 0..4 {
            all.spawn(watch(cx.clone(), FLAP.to_owned(), kind));
        }
        let one = pour(cx.clone(), 20, 20, |cx, rng, _| one_flap(cx, rng, FLAP.into()));
        let many = pour(cx.clone(), 20, 20, |cx, rng, number| {
            one_flap(cx, rng, format!("abuse-flap-{}", number % KEYS))
        });
        tokio::join!(one, many);
        all.shutdown().await;
    })
}

/// A clock that no encoder has.
fn odd_time(rng: &mut StdRng, ms: u32) -> u32 {
    match rng.random_range(0..20) {
        0 => 0,
        1 => u32::MAX,
        2 => rng.random(),
        3 => ms.wrapping_add(3_600_000),
        4 => ms.wrapping_sub(10_000),
        5 => 0x7fff_fff0,
        6 => 0x00ff_ffff,
        _ => ms.wrapping_add(40),
    }
}

fn odd_body(rng: &mut StdRng, tag: &Tag) -> Vec<u8> {
    match rng.random_range(0..24) {
        0 => Vec::new(),
        1 => vec![tag.body.first().copied().unwrap_or(0)],
        2..=4 => mutate::damage(rng, &tag.body, 0),
        5..=7 => mutate::damage(rng, &tag.body, 5.min(tag.body.len())),
        8 => mutate::noise(rng, 3_000),
        9 => {
            // Any codec, any kind of packet, Enhanced RTMP among them.
            let mut body = vec![rng.random(), rng.random()];
            body.extend(mutate::noise(rng, 60));
            body
        }
        10 => {
            // One picture of a megabyte.
            let mut body = tag.body.to_vec();
            body.resize(1 << 20, 0x41);
            body
        }
        _ => tag.body.to_vec(),
    }
}

async fn one_shift(cx: Arc<Cx>, mut rng: StdRng, name: String) -> io::Result<()> {
    let manner = Manner::default();
    let mut rtmp = Rtmp::start(cx.rtmp, Role::PublishFmle, "live", &name, &mut rng, manner).await?;
    let mut ms: u32 = rng.random_range(0..100_000);
    let files: Vec<_> = FILES.iter().map(|file| tags(file)).collect();
    for _ in 0..rng.random_range(1..12) {
        // Another codec, another size, another rate; what was there before is not taken back.
        for tag in &files[rng.random_range(0..files.len())] {
            let body = odd_body(&mut rng, tag);
            ms = odd_time(&mut rng, ms);
            rtmp.send(tag.kind.into(), ms, &body).await?;
            cx.tally.sent(body.len());
            if rng.random_ratio(1, 3) {
                sleep(Duration::from_millis(rng.random_range(1..40))).await;
            }
            rtmp.hear()?;
        }
    }
    Ok(())
}

/// Streams whose codecs, sizes, clocks and lengths are never what they were, watched in every
/// format.
pub(crate) fn shift(cx: Arc<Cx>) -> Running {
    Box::pin(async move {
        let mut all = JoinSet::new();
        for number in 0..SHIFT {
            for kind in 0..6 {
                all.spawn(watch(cx.clone(), format!("abuse-shift-{number}"), kind));
            }
        }
        let most = usize::try_from(SHIFT).unwrap_or(1);
        let pour = pour(cx.clone(), 8, most, |cx, rng, number| {
            one_shift(cx, rng, format!("abuse-shift-{}", number % SHIFT))
        });
        let _ = timeout_at(cx.until.into(), pour).await;
        all.shutdown().await;
    })
}
