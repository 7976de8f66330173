//! Streams on several shards, and takers of frames.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;

use futures_util::FutureExt;
use hub::{FrameReceiver, PublishOptions, Received, Shard};

use crate::rig::*;

#[test]
fn players_on_every_shard_get_the_same_bytes() {
    let rig = Rig::new(2);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut players: Vec<Play> = (0..6).map(|i| rig.play(i % 2, How::default())).collect();
    let mut make = Maker::new(2000);
    publisher.push(vec![make.config()]);
    for _ in 0..10 {
        publisher.push(make.gop(20));
    }
    for player in &mut players {
        player.client.read_frame(make.seq - 1);
        player.client.assert_no_gap_from(0);
    }
}

#[test]
fn joiners_of_a_busy_stream_lose_and_repeat_nothing_on_any_shard() {
    let rig = Rig::new(2);
    let publisher = rig.publish(0, PublishOptions::default());
    let pusher = std::thread::spawn(move || {
        let mut make = Maker::new(200);
        for _ in 0..200 {
            publisher.push(make.gop(9));
        }
        (publisher, make)
    });
    let mut players: Vec<Play> = (0..40).map(|i| rig.play(i % 2, How::default())).collect();
    let (publisher, mut make) = pusher.join().unwrap();
    publisher.push(make.gop(0));
    for player in &mut players {
        player.client.read_frame(make.seq - 1);
        let first = player.client.frames()[0];
        assert_eq!(first % 10, 0, "a key frame");
        player.client.assert_no_gap_from(first);
    }
}

/// Keeps a shard busy until the test lets it go.
fn hold(rig: &Rig, shard: usize) -> mpsc::Sender<()> {
    let (release, wait) = mpsc::channel::<()>();
    let (busy, is_busy) = mpsc::channel();
    assert!(rig.shards[shard].try_run(Box::new(move |_| {
        busy.send(()).unwrap();
        let _ = wait.recv_timeout(PATIENCE);
    })));
    is_busy.recv_timeout(PATIENCE).unwrap();
    release
}

#[test]
fn a_shard_whose_inbox_overflowed_goes_on_at_a_key_frame_with_the_present_configuration() {
    let rig = Rig::new(2);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut far = rig.play(1, How::default());
    let mut near = rig.play(0, How::default());
    // All at one time, so that nobody lags.
    let mut make = Maker { step: 0, ..Maker::new(16) };
    publisher.push(vec![make.config()]);
    publisher.push(make.gop(2));
    far.client.read_frame(3);
    let release = hold(&rig, 1);
    for _ in 0..9 {
        publisher.push(make.gop(999));
    }
    let config = make.seq;
    publisher.push(vec![make.config()]);
    publisher.push((0..10).map(|_| make.delta()).collect());
    drop(release);
    let stats = rig.stream();
    eventually("the shard has caught up", || {
        rig.on(1, |_| ());
        far.counters.send_bytes.load(Relaxed) > 8000 * 27
    });
    publisher.push(vec![make.audio(), make.delta()]);
    let key = make.seq;
    publisher.push(make.gop(3));
    far.client.read_frame(make.seq - 1);
    near.client.read_frame(make.seq - 1);
    near.client.assert_no_gap_from(0);
    let frames = far.client.frames();
    let at = frames.windows(2).position(|p| p[1] != p[0] + 1).expect("frames were lost");
    let after = &frames[at + 1..];
    assert_eq!(after[0], config, "the configuration that was lost comes first");
    assert_eq!(after[1..], (key..make.seq).collect::<Vec<_>>());
    let dropped = stats.stats.dropped_inbox.load(Relaxed);
    assert_eq!(frames.len() as u64 + dropped, u64::from(make.seq) + 1, "each is sent or counted");
    let mut late = rig.play(1, How::default());
    late.client.read_frame(make.seq - 1);
    assert_eq!(late.client.of_kind(PRELUDE), [config]);
}

#[test]
fn a_stream_of_sound_alone_comes_back_after_an_overflow() {
    let rig = Rig::new(2);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut far = rig.play(1, How::default());
    let mut make = Maker::new(16);
    publisher.push(vec![make.audio()]);
    far.client.read_frame(0);
    let release = hold(&rig, 1);
    publisher.push((0..9000).map(|_| make.audio()).collect());
    drop(release);
    eventually("sound is heard again", || {
        publisher.push(vec![make.audio()]);
        far.client.read_until(|got| got.len() > 100);
        let last = make.seq - 1;
        far.client.tcp.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        let heard =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| far.client.read_frame(last)));
        heard.is_ok()
    });
}

/// Everything that is in the queue now, as words.
fn drain(receiver: &FrameReceiver) -> Vec<String> {
    let mut words = Vec::new();
    while let Some(received) = receiver.recv().now_or_never() {
        words.push(match received {
            Received::Published(_) => "published".to_owned(),
            Received::Unpublished => "unpublished".to_owned(),
            Received::Lost(n) => format!("lost {n}"),
            Received::Frame(f) => {
                let seq = u32::from_be_bytes(f.payload[..4].try_into().unwrap());
                let key = if f.is_key() { "key " } else { "" };
                format!("{key}{seq}")
            }
        });
    }
    words
}

/// Runs a task on shard 0 that owns a publisher and a receiver.
fn on_shard<F>(rig: &Rig, f: impl FnOnce(Rc<Shard>) -> F + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let (tx, rx) = mpsc::channel();
    rig.on(0, move |shard| {
        let task = f(shard.clone());
        shard.spawn("test", async move {
            task.await;
            tx.send(()).unwrap();
        });
    });
    rx.recv_timeout(PATIENCE).expect("the task succeeds");
}

#[test]
fn a_receiver_of_frames_gets_them_in_order_between_publish_and_unpublish() {
    let rig = Rig::new(1);
    let (stream, hub) = (rig.stream(), rig.hub.clone());
    on_shard(&rig, move |shard| async move {
        let early = shard.subscribe_frames(&stream);
        let mut publisher =
            stream.publish(&hub, &shard, owner("p"), PublishOptions::default()).unwrap();
        let mut make = Maker::new(8);
        for frame in [make.config(), make.key(), make.delta()] {
            publisher.push(frame).unwrap();
        }
        publisher.flush();
        let late = shard.subscribe_frames(&stream);
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        publisher.push(make.delta()).unwrap();
        drop(publisher);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let all = ["published", "0", "key 1", "2", "3", "unpublished"];
        assert_eq!(drain(&early), all);
        assert_eq!(drain(&late), all);
        let idle = shard.subscribe_frames(&stream);
        assert!(drain(&idle).is_empty());
    });
}

#[test]
fn a_receiver_that_is_too_slow_hears_how_much_it_lost_and_goes_on_at_a_key_frame() {
    let rig = Rig::new(1);
    let (stream, hub) = (rig.stream(), rig.hub.clone());
    on_shard(&rig, move |shard| async move {
        let mut publisher =
            stream.publish(&hub, &shard, owner("p"), PublishOptions::default()).unwrap();
        let receiver = shard.subscribe_frames(&stream);
        assert_eq!(drain(&receiver), ["published"]);
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        drain(&receiver);
        let mut make = Maker::new(8);
        for frame in make.gop(1030) {
            publisher.push(frame).unwrap();
        }
        let got = drain(&receiver);
        assert_eq!(got.len(), 1024);
        let config = make.config();
        publisher.push(config).unwrap();
        publisher.push(make.delta()).unwrap();
        publisher.push(make.key()).unwrap();
        publisher.push(make.delta()).unwrap();
        let got = drain(&receiver);
        assert_eq!(got, ["lost 8", "1031", "key 1033", "1034"], "the configuration is kept");
        drop(publisher);
    });
}

#[test]
fn a_receiver_of_sound_alone_goes_on_after_a_loss() {
    let rig = Rig::new(1);
    let (stream, hub) = (rig.stream(), rig.hub.clone());
    on_shard(&rig, move |shard| async move {
        let mut publisher =
            stream.publish(&hub, &shard, owner("p"), PublishOptions::default()).unwrap();
        let receiver = shard.subscribe_frames(&stream);
        drain(&receiver);
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        let mut make = Maker::new(8);
        for _ in 0..1030 {
            publisher.push(make.audio()).unwrap();
        }
        drain(&receiver);
        publisher.push(make.audio()).unwrap();
        assert_eq!(drain(&receiver), ["lost 6", "1030"]);
        drop(publisher);
    });
}

#[test]
fn a_stream_knows_whether_anybody_takes_its_frames() {
    let rig = Rig::new(1);
    let (stream, hub) = (rig.stream(), rig.hub.clone());
    on_shard(&rig, move |shard| async move {
        assert!(!stream.is_wanted());
        let receiver = shard.subscribe_frames(&stream);
        assert!(stream.is_wanted());
        let mut publisher =
            stream.publish(&hub, &shard, owner("p"), PublishOptions::default()).unwrap();
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        // Whose publisher it is has not been heard yet.
        receiver.skip_publisher();
        assert!(stream.is_wanted());
        assert_eq!(drain(&receiver), ["published"]);
        let mut make = Maker::new(8);
        publisher.push(make.config()).unwrap();
        receiver.skip_publisher();
        assert!(!stream.is_wanted());
        publisher.push(make.key()).unwrap();
        assert!(drain(&receiver).is_empty());
        let other = shard.subscribe_frames(&stream);
        assert!(stream.is_wanted());
        drop(other);
        assert!(!stream.is_wanted());
        drop(publisher);
        let mut publisher =
            stream.publish(&hub, &shard, owner("q"), PublishOptions::default()).unwrap();
        publisher.push(make.key()).unwrap();
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        assert!(stream.is_wanted());
        assert_eq!(drain(&receiver), ["unpublished", "published", "key 2"]);
        drop((publisher, receiver));
        assert!(!stream.is_wanted());
    });
}
