//! Publishers who come back every few seconds, each time as another.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use rtmp::session::client::Role;
use tokio::time::{sleep, sleep_until};

use super::{Scene, Tally};
use crate::attack::mutate::{FILES, tags};
use crate::net::{Manner, Rtmp};

/// What the server says to one who wants a name that is taken.
const TAKEN: &str = "NetStream.Publish.BadName";

/// The stream of one of them.
pub(super) fn name(number: usize) -> String {
    format!("soak-flap-{number}")
}

/// Comes and goes until the time is over.
pub(super) async fn flap(scene: Arc<Scene>, mut rng: StdRng, number: usize) {
    let name = name(number);
    while !scene.over() {
        // Its own connection of before may not have been missed yet after a reset: then the name
        // is taken, and the next try is for that.
        if let Err(e) = publish(&scene, &mut rng, &name).await
            && !e.to_string().contains(TAKEN)
            && !scene.over()
        {
            scene.tally.wrong(format!("the publisher of {name}: {e}"));
        }
        sleep(Duration::from_millis(rng.random_range(200..2_000))).await;
    }
}

/// Each time another codec, size and rate, as the file has it.
async fn publish(scene: &Scene, rng: &mut StdRng, name: &str) -> io::Result<()> {
    let role = if rng.random() { Role::PublishFmle } else { Role::PublishFlash };
    let manner = Manner { reset: rng.random(), ..Manner::default() };
    let mut rtmp = Rtmp::start(scene.rtmp, role, "live", name, rng, manner).await?;
    Tally::add(&scene.tally.flaps);
    let tags = tags(FILES[rng.random_range(0..FILES.len())]);
    let life = Duration::from_millis(rng.random_range(500..5_000));
    let (start, mut offset) = (Instant::now(), 0);
    let mut rival = rng.random_ratio(1, 4);
    while start.elapsed() < life && !scene.over() {
        let mut last = offset;
        for tag in &tags {
            last = offset + tag.timestamp;
            let due = start + Duration::from_millis(u64::from(last));
            if due > start + life {
                break;
            }
            sleep_until(due.into()).await;
            rtmp.send(tag.kind.into(), last, &tag.body).await?;
            rtmp.hear()?;
        }
        // The file again, one frame later.
        offset = last + 40;
        if std::mem::take(&mut rival) {
            take(scene, rng, name).await;
        }
        sleep(Duration::from_millis(20)).await;
    }
    if rng.random() {
        rtmp.client.stop();
        rtmp.flush().await?;
    }
    Ok(())
}

/// A second publisher of a name that is being published: it must be told no, and why.
async fn take(scene: &Scene, rng: &mut StdRng, name: &str) {
    let manner = Manner { reset: rng.random(), ..Manner::default() };
    match Rtmp::start(scene.rtmp, Role::PublishFmle, "live", name, rng, manner).await {
        Ok(_) => scene.tally.wrong(format!("a second publisher of {name} was let in")),
        Err(e) if e.to_string().contains(TAKEN) => Tally::add(&scene.tally.refused),
        Err(e) => scene.tally.wrong(format!("a second publisher of {name} was told: {e}")),
    }
}
