//! Everybody gets everything, in order, from where they should begin.

use std::time::Duration;

use hub::{Delivery, PublishOptions};

use super::rig::*;

#[test]
fn every_subscriber_gets_every_byte_in_order_from_a_key_frame_on() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut players: Vec<Play> = (0..5).map(|_| rig.play(0, How::default())).collect();
    let mut make = Maker::new(3000);
    for _ in 0..10 {
        let mut frames = make.gop(10);
        frames.insert(3, make.audio());
        frames.sort_by_key(|f| f.payload[..4].to_vec());
        publisher.push(frames);
    }
    for player in &mut players {
        player.client.read_frame(make.seq - 1);
        player.client.assert_no_gap_from(0);
    }
}

#[test]
fn who_joins_during_a_gop_begins_at_its_key_frame_behind_the_headers() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut make = Maker::new(500);
    publisher.push(vec![make.config()]);
    publisher.push(make.gop(5));
    let key = make.seq;
    publisher.push(make.gop(5));
    // The second joiner shares the rendition of the first, the third makes it anew.
    let mut first = rig.play(0, How::default());
    let mut second = rig.play(0, How::default());
    let last = make.seq;
    publisher.push(vec![make.delta()]);
    for player in [&mut first, &mut second] {
        player.client.read_frame(last);
        player.client.assert_no_gap_from(key);
        assert_eq!(player.client.got[0].kind, PRELUDE);
        assert_eq!(player.client.got[1].flags & KEY, KEY);
    }
    drop((first, second));
    eventually("the rendition goes with its last taker", || {
        rig.on(0, |shard| {
            shard.handle().stats().renditions.load(std::sync::atomic::Ordering::Relaxed) == 0
        })
    });
    let mut third = rig.play(0, How::default());
    third.client.read_frame(last);
    third.client.assert_no_gap_from(key);
}

#[test]
fn a_configuration_that_is_repeated_within_a_gop_does_not_spoil_it_for_the_next_joiner() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut make = Maker::new(500);
    let config = make.config();
    publisher.push(vec![config.clone()]);
    publisher.push(make.gop(3));
    publisher.push(vec![config]);
    let mut player = rig.play(0, How::default());
    publisher.push(vec![make.delta()]);
    player.client.read_frame(make.seq - 1);
    let frames: Vec<u32> = player.client.frames();
    assert_eq!(frames, [1, 2, 3, 4, 0, 5], "from the key frame on, the repetition included");
}

#[test]
fn without_a_cache_a_joiner_begins_at_the_head() {
    let rig = Rig::new(1);
    let options = PublishOptions { gop_cache: false, ..PublishOptions::default() };
    let publisher = rig.publish(0, options);
    let mut make = Maker::new(500);
    publisher.push(make.gop(5));
    let mut early = rig.play(0, How::default());
    publisher.push(vec![make.delta()]);
    let mut late = rig.play(0, How::default());
    publisher.push(vec![make.delta()]);
    early.client.read_frame(7);
    early.client.assert_no_gap_from(6);
    late.client.read_frame(7);
    late.client.assert_no_gap_from(7);
}

fn everything_arrives(delivery: Delivery, players: usize) {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let how = How { delivery, ..How::default() };
    let mut players: Vec<Play> = (0..players).map(|_| rig.play(0, how)).collect();
    let mut make = Maker::new(300);
    let mut frames = Vec::new();
    for _ in 0..3 {
        frames.append(&mut make.gop(4));
        frames.push(make.audio());
    }
    for frame in frames {
        publisher.push(vec![frame]);
    }
    for player in &mut players {
        player.client.read_frame(make.seq - 1);
        player.client.assert_no_gap_from(0);
    }
}

#[test]
fn drip_delivers_everything_in_order() {
    everything_arrives(Delivery::Drip(Duration::from_millis(3)), 3);
}

#[test]
fn merge_delivers_everything_in_order() {
    everything_arrives(Delivery::Merge { latency: Duration::from_millis(120), msgs: 8 }, 3);
}

#[test]
fn lowest_latency_delivers_everything_in_order() {
    everything_arrives(Delivery::MinLatency, 3);
}

#[test]
fn hundreds_served_in_groups_all_get_everything() {
    everything_arrives(Delivery::Merge { latency: Duration::from_millis(200), msgs: 0 }, 200);
}

#[test]
fn sound_without_pictures_is_delivered_by_the_timer() {
    for delivery in
        [Delivery::MinLatency, Delivery::Merge { latency: Duration::from_millis(90), msgs: 0 }]
    {
        let rig = Rig::new(1);
        let publisher = rig.publish(0, PublishOptions::default());
        let mut player = rig.play(0, How { delivery, ..How::default() });
        let mut make = Maker::new(100);
        publisher.push(vec![make.audio()]);
        player.client.read_frame(0);
        publisher.push(vec![make.audio(), make.audio()]);
        player.client.read_frame(2);
        player.client.assert_no_gap_from(0);
    }
}

#[test]
fn sound_goes_on_when_the_pictures_stop() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let delivery = Delivery::Merge { latency: Duration::from_millis(120), msgs: 0 };
    let how = How { delivery, ..How::default() };
    let mut players: Vec<Play> = (0..4).map(|_| rig.play(0, how)).collect();
    let mut make = Maker::new(100);
    publisher.push(make.gop(20));
    for _ in 0..8 {
        publisher.push(vec![make.audio()]);
        for player in &mut players {
            player.client.read_frame(make.seq - 1);
        }
    }
    for player in &players {
        player.client.assert_no_gap_from(0);
    }
}

#[test]
fn the_last_frames_of_a_publisher_are_delivered_when_it_goes() {
    for (shard, delivery) in [
        (0, Delivery::Merge { latency: Duration::from_secs(20), msgs: 0 }),
        (0, Delivery::Drip(Duration::from_millis(2))),
        (1, Delivery::Merge { latency: Duration::from_secs(20), msgs: 0 }),
    ] {
        let rig = Rig::new(2);
        let publisher = rig.publish(0, PublishOptions::default());
        let mut player = rig.play(shard, How { delivery, ..How::default() });
        let mut make = Maker::new(100);
        publisher.push(make.gop(2));
        publisher.push(vec![make.audio()]);
        drop(publisher);
        player.client.read_frame(3);
        player.client.assert_no_gap_from(0);
    }
}

#[test]
fn frames_that_were_held_for_interleaving_are_delivered_when_the_publisher_goes() {
    let rig = Rig::new(1);
    let door = hub::DoorOptions { mix_correct: true, ..Default::default() };
    let publisher = rig.publish(0, PublishOptions { door, ..PublishOptions::default() });
    let mut player = rig.play(0, How::default());
    let mut make = Maker::new(100);
    publisher.push(make.gop(3));
    drop(publisher);
    player.client.read_frame(3);
    player.client.assert_no_gap_from(0);
}
