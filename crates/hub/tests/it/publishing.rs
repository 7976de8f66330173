//! Publishers that come, go and take over; options that change while they publish.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hub::{Delivery, PublishOptions, Superseded, Takeover};

use crate::rig::*;

fn with(takeover: Takeover) -> PublishOptions {
    PublishOptions { takeover, ..PublishOptions::default() }
}

#[test]
fn players_stay_when_the_publisher_returns_and_get_its_new_configuration() {
    let rig = Rig::new(1);
    let mut make = Maker::new(500);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut player = rig.play(0, How::default());
    publisher.push(vec![make.config()]);
    publisher.push(make.gop(3));
    drop(publisher);
    eventually("nobody publishes", || !rig.stream().is_active());
    let publisher = rig.publish(0, PublishOptions::default());
    publisher.push(vec![make.config()]);
    publisher.push(make.gop(3));
    let last = make.seq - 1;
    player.client.read_frame(last);
    player.client.assert_no_gap_from(0);
    let mut late = rig.play(0, How::default());
    publisher.push(vec![make.delta()]);
    late.client.read_frame(last + 1);
    assert_eq!(late.client.of_kind(PRELUDE), [5]);
    late.client.assert_no_gap_from(6);
}

/// A publisher that pushes in the very turn in which it took over: events about the old one are
/// still in the inbox of the shard then.
fn takes_over_at_once(from: usize, to: usize) {
    let rig = Rig::new(2);
    let mut make = Maker::new(500);
    let old = owner("old");
    let first = rig.try_publish(from, old.clone(), with(Takeover::Always)).unwrap();
    let mut players: Vec<Play> = (0..2).map(|shard| rig.play(shard, How::default())).collect();
    first.push(vec![make.config()]);
    first.push(make.gop(3));
    let config = make.seq;
    let mut frames = vec![make.config()];
    frames.append(&mut make.gop(3));
    let (stream, hub) = (rig.stream(), rig.hub.clone());
    let (stop_tx, stop) = tokio::sync::oneshot::channel::<()>();
    rig.on(to, move |shard| {
        let options = with(Takeover::Always);
        let mut publisher = stream.publish(&hub, &shard, owner("new"), options).unwrap();
        for frame in frames {
            publisher.push(frame).unwrap();
        }
        publisher.flush();
        shard.spawn("new", async move {
            let _ = stop.await;
            drop(publisher);
        });
    });
    let last = make.seq - 1;
    for (shard, player) in players.iter_mut().enumerate() {
        player.client.read_frame(last);
        player.client.assert_no_gap_from(0);
        let mut late = rig.play(shard, How::default());
        late.client.read_frame(last);
        assert_eq!(late.client.of_kind(PRELUDE), [config], "on shard {shard}");
        late.client.assert_no_gap_from(config + 1);
    }
    assert!(old.ended.load(Relaxed));
    let superseded = first.with(move |p| matches!(p.push(make.delta()), Err(Superseded)));
    assert!(superseded);
    drop(stop_tx);
}

#[test]
fn who_takes_over_on_the_same_shard_is_served_from_its_first_frame() {
    takes_over_at_once(0, 0);
}

#[test]
fn who_takes_over_on_another_shard_is_served_from_its_first_frame() {
    takes_over_at_once(0, 1);
}

#[test]
fn without_takeover_the_first_publisher_stays() {
    let rig = Rig::new(1);
    let first = rig.try_publish(0, owner("a"), with(Takeover::Off)).unwrap();
    let Err(busy) = rig.try_publish(0, owner("b"), with(Takeover::Off)) else {
        panic!("the second one must be refused")
    };
    assert_eq!(busy.by, "a");
    drop(first);
    eventually("the place is free", || rig.try_publish(0, owner("b"), with(Takeover::Off)).is_ok());
}

#[test]
fn a_publisher_that_has_been_silent_for_a_second_loses_the_stream_and_a_live_one_does_not() {
    let rig = Rig::new(1);
    let old = owner("old");
    let first = rig.try_publish(0, old.clone(), with(Takeover::Stale)).unwrap();
    assert!(rig.try_publish(0, owner("rival"), with(Takeover::Stale)).is_err());
    // Frames or mere signs of life both count.
    let mut make = Maker::new(10);
    for i in 0..12 {
        std::thread::sleep(Duration::from_millis(100));
        let frame = make.delta();
        first.with(move |p| if i % 2 == 0 { p.touch() } else { p.push(frame).unwrap() });
    }
    assert!(rig.try_publish(0, owner("rival"), with(Takeover::Stale)).is_err());
    eventually("the silent one loses", || {
        rig.try_publish(0, owner("rival"), with(Takeover::Stale)).is_ok()
    });
    assert!(old.ended.load(Relaxed));
}

#[test]
fn the_newest_publisher_wins_where_takeover_is_always() {
    let rig = Rig::new(2);
    let old = owner("old");
    let _first = rig.try_publish(0, old.clone(), with(Takeover::Always)).unwrap();
    let _second = rig.try_publish(1, owner("new"), with(Takeover::Always)).unwrap();
    assert!(old.ended.load(Relaxed));
    assert_eq!(rig.stream().publisher_id(), "new");
    drop(_first);
    rig.on(0, |_| ());
    assert!(rig.stream().is_active(), "the end of the old one does not end the new one");
}

#[test]
fn a_thousand_races_for_one_key_never_mix_frames() {
    let rig = Rig::new(2);
    let mut player = rig.play(0, How::default());
    let publishers: Vec<_> = (0..2usize)
        .map(|shard| {
            let (stream, hub) = (rig.stream(), rig.hub.clone());
            let handle = rig.shards[shard].clone();
            std::thread::spawn(move || {
                for round in 0..500u32 {
                    let (stream, hub) = (stream.clone(), hub.clone());
                    let (tx, rx) = std::sync::mpsc::channel();
                    assert!(handle.try_run(Box::new(move |shard| {
                        let options = with(Takeover::Always);
                        let mut publisher =
                            stream.publish(&hub, &shard, owner("racer"), options).unwrap();
                        let mut make = Maker::new(16);
                        make.seq = round << 8 | (shard.id() as u32) << 7;
                        for frame in make.gop(3) {
                            if publisher.push(frame).is_err() {
                                break;
                            }
                        }
                        publisher.flush();
                        drop(publisher);
                        let _ = tx.send(());
                    })));
                    rx.recv_timeout(PATIENCE).unwrap();
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.join().unwrap();
    }
    let last = rig.publish(0, with(Takeover::Always));
    let mut make = Maker::new(16);
    make.seq = u32::MAX - 10;
    last.push(vec![make.key()]);
    player.client.read_frame(u32::MAX - 10);
    let frames = player.client.frames();
    for pair in frames.windows(2) {
        let begins = pair[1] & 0x7f == 0 || pair[1] > u32::MAX - 11;
        assert!(begins || pair[1] == pair[0] + 1, "{} after {}", pair[1], pair[0]);
    }
}

#[test]
fn the_cache_can_be_switched_off_and_on_while_publishing() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let reload = |gop_cache| {
        let stream = rig.stream();
        stream.reconfigure(PublishOptions { gop_cache, ..PublishOptions::default() });
        rig.on(0, move |shard| shard.reconfigure(&stream, Delivery::Adaptive));
    };
    let mut make = Maker::new(500);
    let mut witness = rig.play(0, How::default());
    publisher.push(make.gop(3));
    reload(false);
    let mut off = rig.play(0, How::default());
    let first_off = make.seq;
    publisher.push(vec![make.delta()]);
    reload(true);
    let mut early = rig.play(0, How::default());
    let first_early = make.seq;
    publisher.push(vec![make.delta()]);
    let key = make.seq;
    publisher.push(make.gop(3));
    let mut on = rig.play(0, How::default());
    publisher.push(vec![make.delta()]);
    for (player, from) in
        [(&mut witness, 0), (&mut off, first_off), (&mut early, first_early), (&mut on, key)]
    {
        player.client.read_frame(make.seq - 1);
        player.client.assert_no_gap_from(from);
    }
}

#[test]
fn a_new_limit_of_the_cache_does_not_keep_an_old_gop_beyond_a_new_configuration() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut make = Maker::new(500);
    let _witness = rig.play(0, How::default());
    publisher.push(vec![make.config()]);
    publisher.push(make.gop(3));
    let stream = rig.stream();
    let options = PublishOptions { gop_cache_max_frames: 100, ..PublishOptions::default() };
    stream.reconfigure(options);
    rig.on(0, move |shard| shard.reconfigure(&stream, Delivery::Adaptive));
    publisher.push(vec![make.config()]);
    let mut player = rig.play(0, How::default());
    let next = make.seq;
    publisher.push(vec![make.key()]);
    player.client.read_frame(next);
    player.client.assert_no_gap_from(next);
}

#[test]
fn delivery_changes_while_players_are_served() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut player = rig.play(0, How::default());
    let mut make = Maker::new(500);
    for delivery in [
        Delivery::Merge { latency: Duration::from_millis(200), msgs: 4 },
        Delivery::Drip(Duration::from_millis(2)),
        Delivery::MinLatency,
        Delivery::Adaptive,
    ] {
        let stream = rig.stream();
        publisher.push(make.gop(3));
        rig.on(0, move |shard| shard.reconfigure(&stream, delivery));
    }
    player.client.read_frame(make.seq - 1);
    player.client.assert_no_gap_from(0);
}

#[test]
fn streams_that_nobody_uses_are_forgotten() {
    let rig = Rig::new(1);
    let grace = Duration::from_millis(200);
    std::thread::sleep(grace);
    let stream = rig.stream();
    assert!(rig.hub.sweep(Duration::ZERO).is_empty(), "somebody holds it");
    drop(stream);
    assert!(rig.hub.sweep(grace).is_empty(), "it is newer than the grace");
    let publisher = rig.publish(0, PublishOptions::default());
    assert!(rig.hub.sweep(Duration::ZERO).is_empty());
    let player = rig.play(0, How::default());
    drop(publisher);
    eventually("nobody publishes", || !rig.hub.all()[0].is_active());
    assert!(rig.hub.sweep(Duration::ZERO).is_empty(), "somebody plays it");
    drop(player);
    eventually("it is forgotten", || !rig.hub.sweep(grace).is_empty());
    assert!(rig.hub.all().is_empty());
}

#[test]
fn a_watcher_that_panics_ends_nobody_else() {
    let rig = Rig::new(1);
    let told = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = told.clone();
    rig.hub.set_watchers(vec![
        Box::new(|_, _| panic!("a watcher has a bug")),
        Box::new(move |_, _| {
            count.fetch_add(1, Relaxed);
        }),
    ]);
    let publisher = rig.publish(0, PublishOptions::default());
    publisher.with(|_| ());
    drop(publisher);
    eventually("both events are told", || told.load(Relaxed) == 2);
    assert_eq!(rig.panics(), 2);
}
