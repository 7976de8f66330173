//! Bugs in one part, and what they may not do to the others.

use hub::{End, Form, Headers, Packager, PublishOptions};
use media::{Frame, Timestamp};

use crate::rig::*;

fn bomb(make: &mut Maker) -> Frame {
    let mut frame = make.delta();
    frame.payload = bytes::Bytes::copy_from_slice(&BOMB.to_be_bytes());
    frame
}

#[test]
fn a_packager_that_panics_ends_its_players_but_neither_publisher_nor_server() {
    for shard in 0..2 {
        let rig = Rig::new(2);
        let publisher = rig.publish(0, PublishOptions::default());
        let mut make = Maker::new(100);
        let mut player = rig.play(shard, How::default());
        publisher.push(make.gop(2));
        player.client.read_frame(2);
        publisher.push(vec![bomb(&mut make)]);
        assert_eq!(player.ended(), End::Broken);
        assert_eq!(rig.panics(), 1);
        let key = make.seq;
        publisher.push(make.gop(2));
        let mut next = rig.play(shard, How::default());
        next.client.read_frame(make.seq - 1);
        next.client.assert_no_gap_from(key);
    }
}

struct Fragile;

impl Packager for Fragile {
    fn push(&mut self, _: &Frame, _: &mut Vec<u8>) {}
    fn prelude(&mut self, _: &Headers, _: Option<Timestamp>, _: &mut Vec<u8>) {
        panic!("no prelude");
    }
}

#[test]
fn a_join_that_panics_leaves_nothing_behind() {
    let rig = Rig::new(1);
    let _publisher = rig.publish(0, PublishOptions::default());
    let makes: [fn() -> Box<dyn Packager>; 2] = [|| Box::new(Fragile), || panic!("no packager")];
    for make in makes {
        let stream = rig.stream();
        let joined = rig.on(0, move |shard| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let form = Form { name: "fragile", variant: 0, make: Box::new(make) };
                let options = hub::SubscribeOptions {
                    queue_length: PATIENCE,
                    session: "s".into(),
                    counters: Default::default(),
                    from_key: true,
                };
                let adaptive = hub::Delivery::Adaptive;
                shard.subscribe_pull(&stream, form, adaptive, options, b"");
            }))
            .is_ok()
        });
        assert!(!joined);
        let stats = rig.shards[0].stats();
        let renditions = &stats.renditions;
        assert_eq!(renditions.load(std::sync::atomic::Ordering::Relaxed), 0);
    }
}

#[test]
fn a_session_that_panics_ends_alone() {
    let rig = Rig::new(1);
    let publisher = rig.publish(0, PublishOptions::default());
    let mut player = rig.play(0, How::default());
    rig.on(0, |shard| shard.spawn("bad", async { panic!("a session has a bug") }));
    assert!(rig.shards[0].try_run(Box::new(|_| panic!("a job has a bug"))));
    eventually("both are counted", || rig.panics() == 2);
    let mut make = Maker::new(100);
    publisher.push(make.gop(2));
    player.client.read_frame(2);
}
