//! The built-in test card: something to watch without an encoder.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use container::flv::{Demuxer, Reader, Tag};
use gate::{Detail, Host, Intent};
use hub::Shard;
use media::{Frame, Timestamp};
use tokio::time::Instant;

/// The clip, made by the build.
const CLIP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/testcard.flv"));

/// Publishes the clip in a loop as live/livestream.
pub(crate) fn publish(host: &Arc<Host>) {
    let shard = host.least_loaded().clone();
    let host = host.clone();
    shard.try_run(Box::new(move |shard| {
        let inner = shard.clone();
        shard.spawn("demo", async move {
            if let Err(e) = run(&host, &inner).await {
                tracing::error!("the demo stream ended: {e:#}");
            }
        });
    }));
}

fn tags() -> anyhow::Result<Vec<Tag>> {
    let mut reader = Reader::new();
    reader.push(CLIP);
    let mut tags = Vec::new();
    while let Some(tag) = reader.pull()? {
        tags.push(tag);
    }
    Ok(tags)
}

async fn run(host: &Arc<Host>, shard: &Rc<Shard>) -> anyhow::Result<()> {
    let tags = tags()?;
    let session = host.sessions.open("demo", ([127, 0, 0, 1], 0).into());
    let detail = Detail {
        kind: "fmle-publish",
        publish: true,
        vhost: "__defaultVhost__".into(),
        app: "live".into(),
        name: "livestream".into(),
        tc_url: "rtmp://127.0.0.1/live".into(),
        ..Detail::default()
    };
    let intent = Intent { session: session.id.to_string(), peer: session.peer, detail };
    let (mut publisher, _hold) = host.publish(shard, &session, intent).await?;
    let mut demuxer = Demuxer::new();
    let mut frames: Vec<Frame> = Vec::new();
    let begun = Instant::now();
    let mut base = Duration::ZERO;
    loop {
        let mut end = Duration::ZERO;
        for tag in &tags {
            let at = base + Duration::from_millis(u64::from(tag.timestamp));
            tokio::time::sleep_until(begun + at).await;
            let dts = Timestamp::from_millis(i64::try_from(at.as_millis())?);
            demuxer.push(tag.kind, dts, tag.body.clone(), &mut frames)?;
            for frame in frames.drain(..) {
                publisher.push(frame)?;
            }
            publisher.flush();
            end = end.max(Duration::from_millis(u64::from(tag.timestamp)));
        }
        // The clip lasts whole seconds; its last tag begins a frame before the end.
        base += Duration::from_secs(end.as_secs() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clip_reads_back_and_lasts_whole_seconds() {
        let tags = tags().unwrap();
        let last = tags.iter().map(|t| t.timestamp).max().unwrap();
        assert!(tags.len() > 600);
        assert_eq!(last / 1000, 9);
    }
}
