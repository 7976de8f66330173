//! The sender by io_uring: all that holds for plain sends, and that it is used at all.
//!
//! On a machine that forbids io_uring the same tests run with plain sends, as a server would.

use std::sync::atomic::Ordering::Relaxed;

use hub::{Delivery, End, PublishOptions, Sender};

use rig::*;

#[path = "delivery.rs"]
mod delivery;
#[path = "lag.rs"]
mod lag;

/// The rig, with shards that send in batches.
mod rig {
    pub use crate::rig::*;

    pub struct Rig;

    impl Rig {
        #[allow(clippy::new_ret_no_self)]
        pub fn new(shards: usize) -> crate::rig::Rig {
            crate::rig::Rig::with(shards, hub::Sender::IoUring)
        }
    }
}

/// Asked by a thread of its own: a ring that is dropped may interrupt what its thread waits for.
fn allowed() -> bool {
    std::thread::spawn(|| uring::Ring::new(8).is_ok()).join().unwrap()
}

#[test]
fn many_players_are_served_in_batches_and_one_alone_is_not() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let how = How { delivery: Delivery::MinLatency, ..How::default() };
    let mut make = Maker::new(2000);
    let mut alone = rig.play(0, how);
    publisher.push(make.gop(10));
    alone.client.read_frame(make.seq - 1);
    assert_eq!(rig.batches(), 0);
    let mut players: Vec<Play> = (0..300).map(|_| rig.play(0, how)).collect();
    players.push(alone);
    publisher.push(make.gop(30));
    for player in &mut players {
        player.client.read_frame(make.seq - 1);
        player.client.assert_no_gap_from(0);
    }
    let stats = rig.shards[0].stats();
    let (sends, batched) = (&stats.sends, &stats.batched_sends);
    if allowed() {
        eventually("the walk that served the last of them is booked", || {
            let (batches, batched) = (rig.batches(), batched.load(Relaxed));
            // Nobody can say how many frames a walk found, or how small a slow machine makes the
            // batches; but all were served by one at least, and batches are for many.
            batched >= 250 && batched >= 10 * batches && batched <= sends.load(Relaxed)
        });
    } else {
        assert_eq!(rig.batches(), 0);
    }
    assert_eq!(rig.panics(), 0);
}

#[test]
fn those_who_hang_up_or_stop_reading_do_not_spoil_the_batch_of_the_others() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let quick = How { delivery: Delivery::MinLatency, ..How::default() };
    let slow = How { buffer: Some(8 * 1024), ..quick };
    let mut make = Maker::new(3000);
    let mut keen: Vec<Play> = (0..40).map(|_| rig.play(0, quick)).collect();
    let mut lazy: Vec<Play> = (0..20).map(|_| rig.play(0, slow)).collect();
    let gone: Vec<Play> = (0..20).map(|_| rig.play(0, quick)).collect();
    publisher.push(make.gop(5));
    for player in &gone {
        player.client.tcp.shutdown(std::net::Shutdown::Both).unwrap();
    }
    // 600 kB: far more than the small sockets hold.
    for _ in 0..10 {
        publisher.push(make.gop(19));
        for player in &mut keen {
            player.client.read_frame(make.seq - 1);
        }
    }
    for player in &mut keen {
        player.client.assert_no_gap_from(0);
    }
    for player in &gone {
        assert!(matches!(player.ended(), End::Peer(_)));
    }
    // They were cut short or found full in a batch; their own tasks bring them back.
    for player in &mut lazy {
        player.client.read_frame(make.seq - 1);
        let got = player.client.frames().len() as u64;
        let dropped = player.counters.lag_dropped.load(Relaxed);
        assert_eq!(got + dropped, u64::from(make.seq), "each is sent or counted");
    }
    assert!(!allowed() || rig.batches() > 0);
    assert_eq!(rig.panics(), 0);
}

#[test]
fn what_is_told_as_sent_is_what_was_sent() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut players: Vec<Play> = (0..50).map(|_| rig.play(0, How::default())).collect();
    let mut make = Maker::new(700);
    publisher.push(make.gop(20));
    for player in &mut players {
        player.client.read_frame(make.seq - 1);
        let bytes: usize = player.client.got.iter().map(|m| 11 + m.payload.len()).sum();
        let counters = &player.counters;
        eventually("the last send is booked", || counters.send_bytes.load(Relaxed) == bytes as u64);
    }
}

#[test]
fn shards_without_the_wish_do_without_it() {
    let rig = crate::rig::Rig::with(1, Sender::Plain);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut players: Vec<Play> = (0..50).map(|_| rig.play(0, How::default())).collect();
    let mut make = Maker::new(700);
    publisher.push(make.gop(20));
    for player in &mut players {
        player.client.read_frame(make.seq - 1);
    }
    assert_eq!(rig.batches(), 0);
}
