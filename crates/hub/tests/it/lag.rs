//! Players that do not keep up: they jump, they end, and nobody else notices.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hub::{Delivery, End, PublishOptions};

use super::rig::*;

const SMALL: How = How {
    delivery: Delivery::Adaptive,
    queue_length: Duration::from_secs(4),
    from_key: true,
    buffer: Some(8 * 1024),
};

#[test]
fn who_stops_reading_blocks_nobody_and_jumps_to_a_key_frame_when_it_reads_again() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut lazy = rig.play(0, SMALL);
    let mut keen = rig.play(0, How::default());
    let mut make = Maker::new(20_000);
    // 60 s of media: 15 times what a player may fall behind.
    for _ in 0..60 {
        publisher.push(make.gop(24));
        keen.client.read_frame(make.seq - 1);
    }
    let last = make.seq - 1;
    keen.client.assert_no_gap_from(0);
    lazy.client.read_frame(last);
    let frames = lazy.client.frames();
    let jumps = lazy.counters.lag_jumps.load(Relaxed);
    let dropped = lazy.counters.lag_dropped.load(Relaxed);
    assert!(jumps >= 1);
    assert_eq!(frames.len() as u64 + dropped, u64::from(last) + 1, "each is sent or counted");
    assert_eq!(rig.stream().stats.dropped_lag.load(Relaxed), dropped);
    let media: Vec<&Msg> = lazy.client.got.iter().filter(|m| m.kind == FRAME).collect();
    let mut seen = 0;
    for pair in media.windows(2) {
        if pair[1].seq() != pair[0].seq() + 1 {
            assert!(pair[1].seq() > pair[0].seq());
            assert_eq!(pair[1].flags & KEY, KEY, "a jump lands on a key frame");
            seen += 1;
        }
    }
    assert!(seen >= 1 && seen <= jumps, "{seen} gaps, {jumps} jumps");
    assert_eq!(keen.counters.lag_jumps.load(Relaxed), 0);
}

#[test]
fn without_a_cache_a_laggard_goes_on_at_a_key_frame_too() {
    let rig = Rig::new(1);
    let options = PublishOptions { gop_cache: false, ..PublishOptions::default() };
    let publisher = rig.publish(0, options);
    let mut lazy = rig.play(0, How { queue_length: Duration::from_secs(1), ..SMALL });
    let mut make = Maker::new(20_000);
    // GOPs of 3.2 s: longer than a player may fall behind, so that no key frame is at hand.
    for _ in 0..12 {
        publisher.push(make.gop(79));
    }
    let last = make.seq;
    publisher.push(make.gop(10));
    lazy.client.read_frame(last);
    let media: Vec<&Msg> = lazy.client.got.iter().filter(|m| m.kind == FRAME).collect();
    let gaps: Vec<_> = media.windows(2).filter(|p| p[1].seq() != p[0].seq() + 1).collect();
    assert!(!gaps.is_empty());
    for pair in gaps {
        assert_eq!(
            pair[1].flags & KEY,
            KEY,
            "a jump lands on a key frame, not on {}",
            pair[1].seq()
        );
    }
    let dropped = lazy.counters.lag_dropped.load(Relaxed);
    let upto = media.iter().filter(|m| m.seq() <= last).count() as u64;
    assert_eq!(upto + dropped, u64::from(last) + 1, "each is sent or counted");
}

#[test]
fn a_laggard_without_pictures_goes_on_at_the_head() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut lazy = rig.play(0, SMALL);
    let mut make = Maker::new(20_000);
    for _ in 0..40 {
        publisher.push((0..50).map(|_| make.audio()).collect());
    }
    let last = make.seq - 1;
    lazy.client.read_frame(last);
    assert!(lazy.counters.lag_jumps.load(Relaxed) >= 1);
}

#[test]
fn who_reads_nothing_for_the_queue_length_is_ended() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let lazy = rig.play(0, How { queue_length: Duration::from_secs(1), ..SMALL });
    let mut make = Maker::new(60_000);
    publisher.push(make.gop(100));
    assert_eq!(lazy.ended(), End::Stalled);
}

#[test]
fn a_peer_that_hangs_up_ends_its_subscription() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let player = rig.play(0, How::default());
    let mut make = Maker::new(1000);
    let Play { client, end, .. } = player;
    drop(client);
    eventually("the subscription ends", || {
        publisher.push(vec![make.delta()]);
        matches!(end.try_recv(), Ok(End::Peer(_)))
    });
}

#[test]
fn a_hundred_stalled_players_hold_no_more_than_one_queue_length() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let players: Vec<Play> = (0..100).map(|_| rig.play(0, SMALL)).collect();
    let mut make = Maker::new(10_000);
    // 4 s at 25 fps are 1 MB; half a minute would be 7.5.
    for _ in 0..30 {
        publisher.push(make.gop(24));
    }
    std::thread::sleep(Duration::from_millis(600)); // the governor looks twice a second
    let held = rig.log_bytes();
    assert!(held > 0 && held < 4 << 20, "{held}");
    drop(players);
}

/// What they do not read costs no sends, so it must not make the pacer serve others less often.
#[test]
fn players_that_do_not_read_are_no_load() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let how = How { queue_length: Duration::from_secs(3600), ..SMALL };
    let players: Vec<Play> = (0..200).map(|_| rig.play(0, how)).collect();
    let mut make = Maker::new(10_000);
    eventually("every message goes at once, for there is nobody to send it to", || {
        // Enough to fill every socket, and steady: what is walked costs the governor's 2 %.
        for _ in 0..60 {
            publisher.push(make.gop(1));
            std::thread::sleep(Duration::from_millis(10));
        }
        rig.shards[0].stats().pace.load(std::sync::atomic::Ordering::Relaxed) == 0
    });
    drop(players);
}

#[test]
fn no_log_outgrows_its_bound_whatever_the_times_say() {
    let rig = Rig::new(1);
    let options = PublishOptions { gop_cache_max_frames: 0, ..PublishOptions::default() };
    let publisher = rig.publish(0, options);
    let how = How { queue_length: Duration::from_secs(3600), ..SMALL };
    let player = rig.play(0, how);
    let mut make = Maker::new(1 << 20);
    publisher.push(make.gop(150));
    std::thread::sleep(Duration::from_millis(600));
    let held = rig.log_bytes();
    assert!(held < 200 << 20, "{held}");
    // The frames that joiners of other forms would get are bounded as well.
    let cached = rig.on(0, {
        let stream = rig.stream();
        move |shard| {
            let receiver = shard.subscribe_frames(&stream);
            let mut n = 0;
            while futures_util::FutureExt::now_or_never(receiver.recv()).is_some() {
                n += 1;
            }
            n
        }
    });
    assert!(cached < 40, "{cached}");
    drop(player);
}

#[test]
fn control_messages_land_between_messages_even_when_the_socket_is_full() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut full = rig.play(0, SMALL);
    let mut free = rig.play(0, How::default());
    let mut make = Maker::new(50_000);
    publisher.push(make.gop(20));
    for player in [&mut full, &mut free] {
        for i in 0..10u32 {
            let mut control = Vec::new();
            message(CONTROL, 0, &i.to_be_bytes(), &mut control);
            player.with(move |sub| sub.send_control(&control));
        }
    }
    publisher.push(vec![make.delta()]);
    for player in [&mut full, &mut free] {
        player.client.read_frame(make.seq - 1);
        player.client.assert_no_gap_from(0);
        assert_eq!(player.client.of_kind(CONTROL), (0..10).collect::<Vec<_>>());
    }
}

#[test]
fn one_large_control_message_is_no_overflow_and_endless_ones_are() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut player = rig.play(0, SMALL);
    let mut big = Vec::new();
    message(CONTROL, 0, &vec![7; 3 << 20], &mut big);
    let again = big.clone();
    player.with(move |sub| sub.send_control(&big));
    player.client.read_until(|got| got.iter().any(|m| m.kind == CONTROL));
    player.with(move |sub| {
        for _ in 0..3 {
            sub.send_control(&again);
        }
    });
    assert_eq!(player.ended(), End::Overflow);
    drop(publisher);
}

#[test]
fn a_paused_player_gets_nothing_and_goes_on_at_the_last_key_frame() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut player = rig.play(0, How::default());
    let mut make = Maker::new(1000);
    publisher.push(make.gop(5));
    player.client.read_frame(5);
    player.with(|sub| sub.pause(true));
    publisher.push(make.gop(5));
    let key = make.seq;
    publisher.push(make.gop(5));
    let mut control = Vec::new();
    message(CONTROL, 0, &7u32.to_be_bytes(), &mut control);
    player.with(move |sub| {
        sub.send_control(&control);
        sub.pause(false);
    });
    player.client.read_frame(make.seq - 1);
    let expected: Vec<u32> = (0..6).chain(key..make.seq).collect();
    assert_eq!(player.client.frames(), expected);
    assert_eq!(player.client.of_kind(CONTROL), [7]);
}

#[test]
fn who_was_paused_over_a_change_of_configuration_gets_the_new_one() {
    for gop_cache in [true, false] {
        let rig = Rig::new(1);
        let options = PublishOptions { gop_cache, ..PublishOptions::default() };
        let publisher = rig.publish(0, options);
        let mut player = rig.play(0, How::default());
        let mut make = Maker::new(1000);
        publisher.push(vec![make.config()]);
        publisher.push(make.gop(5));
        player.client.read_frame(6);
        player.with(|sub| sub.pause(true));
        let config = make.seq;
        publisher.push(vec![make.config()]);
        publisher.push(make.gop(80));
        player.with(|sub| sub.pause(false));
        publisher.push(make.gop(2));
        player.client.read_frame(make.seq - 1);
        assert_eq!(player.client.of_kind(RESUME), [config]);
    }
}
