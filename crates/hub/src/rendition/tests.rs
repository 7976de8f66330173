//! Turns, groups and waits, without sockets or clocks.

use std::cell::Cell;
use std::sync::Arc;

use crate::bell::Bell;
use bytes::Bytes;
use futures_util::FutureExt;
use media::{Codec, Flags};
use proptest::prelude::*;

use super::*;
use crate::stream::StreamKey;
use crate::subscriber::{Sink, State};

struct Bytewise;

impl Packager for Bytewise {
    fn push(&mut self, _: &Frame, out: &mut Vec<u8>) {
        out.push(0);
    }
    fn prelude(&mut self, _: &Headers, _: Option<Timestamp>, _: &mut Vec<u8>) {}
}

/// Messages of ten bytes, each of them the message's number.
struct TenBytes(u8);

impl Packager for TenBytes {
    fn push(&mut self, _: &Frame, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.0; 10]);
        self.0 = self.0.wrapping_add(1);
    }
    fn prelude(&mut self, _: &Headers, _: Option<Timestamp>, _: &mut Vec<u8>) {}
}

fn rendition(delivery: Delivery) -> Rc<Rendition> {
    rendition_of(delivery, Box::new(|| Box::new(Bytewise)))
}

fn rendition_of(delivery: Delivery, make: Box<dyn FnOnce() -> Box<dyn Packager>>) -> Rc<Rendition> {
    let key = StreamKey::new("v", "a", "s");
    let stream = Arc::new(Stream::new(key, 1, String::new(), Instant::now()));
    let form = Form { name: "x", variant: 0, make };
    let snapshot = Snapshot { headers: Arc::default(), gop: Vec::new(), seq: 0, owner: None };
    Rendition::new(stream, form, delivery, snapshot)
}

fn join(rendition: &Rendition) -> Rc<Sub> {
    let sub = Sub {
        sink: Sink::Pull,
        offset: Cell::new(0),
        state: Cell::new(State::Walking),
        paused: Cell::new(false),
        slot: Cell::new(0),
        generation: Cell::new(0),
        rest: RefCell::default(),
        wake: Bell::default(),
        progress: Cell::new(Instant::now()),
        awaits: Cell::new(None),
        told_lag: Cell::new(None),
        queue_length: Duration::from_secs(30),
        session: "s".into(),
        counters: Arc::default(),
    };
    rendition.add(sub, false, b"")
}

fn had_turn(sub: &Sub) -> bool {
    sub.wake.heard().now_or_never().is_some()
}

struct Source {
    seq: u64,
    ms: i64,
}

impl Source {
    fn push(&mut self, to: &Rendition, codec: Codec, ms: i64) {
        self.push_flagged(to, codec, ms, Flags::empty());
    }

    fn push_flagged(&mut self, to: &Rendition, codec: Codec, ms: i64, flags: Flags) {
        self.seq += 1;
        self.ms += ms;
        let at = Timestamp::from_millis(self.ms);
        let payload = Bytes::from_static(b"x");
        to.push(self.seq, &Frame { codec, track: 0, flags, tag: 0, dts: at, pts: at, payload });
    }
}

/// Walks `turns` subscribers at most.
fn walk(rendition: &Rendition, turns: usize) {
    let mut inner = rendition.inner.borrow_mut();
    let later = inner.owed.saturating_sub(turns);
    inner.owed = inner.owed.min(turns);
    inner.walk(Instant::now());
    inner.owed += later;
}

#[derive(Clone, Debug)]
enum Step {
    Walk(usize),
    Join,
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1usize..6).prop_map(Step::Walk),
        Just(Step::Join),
        (0usize..64).prop_map(Step::Leave),
    ]
}

proptest! {
    #[test]
    fn whoever_is_there_when_a_frame_comes_gets_a_turn_whoever_joins_or_leaves_in_between(
        first in 1usize..12,
        rounds in prop::collection::vec(prop::collection::vec(step(), 0..12), 1..6),
    ) {
        let r = rendition(Delivery::MinLatency);
        let mut source = Source { seq: 0, ms: 0 };
        let mut subs: Vec<Rc<Sub>> = (0..first).map(|_| join(&r)).collect();
        for round in rounds {
            source.push(&r, Codec::H264, 40);
            r.flush(Pace::Frame, Instant::now());
            for sub in &subs {
                had_turn(sub);
            }
            let mut present = subs.clone();
            for step in round {
                match step {
                    Step::Walk(n) => walk(&r, n),
                    Step::Join => subs.push(join(&r)),
                    Step::Leave(i) if !subs.is_empty() => {
                        let gone = subs.swap_remove(i % subs.len());
                        present.retain(|s| !Rc::ptr_eq(s, &gone));
                        r.remove(&gone);
                    }
                    Step::Leave(_) => {}
                }
                let inner = r.inner.borrow();
                prop_assert!(inner.owed <= inner.subs.len());
                for (i, sub) in inner.subs.iter().enumerate() {
                    prop_assert_eq!(sub.slot.get(), i);
                }
            }
            walk(&r, usize::MAX);
            for sub in &present {
                prop_assert!(had_turn(sub));
            }
        }
    }

    #[test]
    fn in_groups_everybody_gets_exactly_one_turn_in_k_frames(n in 1usize..40, k in 2u32..12) {
        let latency = HOLD * k;
        let r = rendition(Delivery::Merge { latency, msgs: 0 });
        let mut source = Source { seq: 0, ms: 0 };
        let subs: Vec<Rc<Sub>> = (0..n).map(|_| join(&r)).collect();
        let now = Instant::now();
        for _ in 0..3 {
            let mut turns = vec![0; n];
            for _ in 0..k {
                source.push(&r, Codec::H264, 40);
                r.flush(Pace::Frame, now);
                walk(&r, usize::MAX);
                for (sub, turns) in subs.iter().zip(&mut turns) {
                    *turns += usize::from(had_turn(sub));
                }
            }
            prop_assert!(turns.iter().all(|t| *t == 1), "{:?}", turns);
        }
    }

    #[test]
    fn no_frame_waits_longer_than_it_may_whatever_comes_when(
        n in 1usize..10,
        k in 1u32..6,
        coming in prop::collection::vec((any::<bool>(), 1u64..200), 1..60),
    ) {
        let latency = HOLD * k;
        let r = rendition(Delivery::Merge { latency, msgs: 0 });
        let mut source = Source { seq: 0, ms: 0 };
        let subs: Vec<Rc<Sub>> = (0..n).map(|_| join(&r)).collect();
        let begin = Instant::now();
        // When the oldest frame that each lacks came.
        let mut lacks: Vec<Option<Duration>> = vec![None; n];
        let mut at = Duration::ZERO;
        let look = |lacks: &mut Vec<Option<Duration>>, at: Duration| {
            walk(&r, usize::MAX);
            for (sub, lacks) in subs.iter().zip(lacks.iter_mut()) {
                if had_turn(sub) {
                    *lacks = None;
                    sub.offset.set(r.inner.borrow().log.head());
                }
                if let Some(since) = *lacks {
                    assert!(at < since + latency, "waits since {since:?} at {at:?}");
                }
            }
        };
        for (video, wait_ms) in coming {
            let until = at + Duration::from_millis(wait_ms);
            while at < until {
                at += Duration::from_millis(1);
                r.on_timer(Pace::Frame, begin + at);
                look(&mut lacks, at);
            }
            let codec = if video { Codec::H264 } else { Codec::Aac };
            source.push(&r, codec, 40);
            r.flush(Pace::Frame, begin + at);
            for lacks in &mut lacks {
                lacks.get_or_insert(at);
            }
            look(&mut lacks, at);
        }
    }
}

#[test]
fn a_number_of_messages_lengthens_the_wait_to_the_time_that_they_take() {
    let r = rendition(Delivery::Merge { latency: Duration::from_millis(100), msgs: 20 });
    let mut source = Source { seq: 0, ms: 0 };
    for _ in 0..400 {
        source.push(&r, Codec::H264, 20);
    }
    // 20 messages of 20 ms: 400 ms, or 20 frames (and a little less while averages settle).
    let k = r.inner.borrow().pace(Pace::Message).k();
    assert!((19..=20).contains(&k), "{k}");
    let short = rendition(Delivery::Merge { latency: Duration::from_millis(100), msgs: 2 });
    for _ in 0..400 {
        source.push(&short, Codec::H264, 20);
    }
    let k = short.inner.borrow().pace(Pace::Message).k();
    assert!((4..=5).contains(&k), "{k}");
}

#[test]
fn drips_keep_their_rate_though_the_timer_is_coarse() {
    let every = Duration::from_millis(15);
    let r = rendition(Delivery::Drip(every));
    let mut source = Source { seq: 0, ms: 0 };
    let sub = join(&r);
    for _ in 0..500 {
        source.push(&r, Codec::Aac, 20);
    }
    let begin = Instant::now();
    let mut dripped = 0;
    for tick in 0..300 {
        assert!(r.on_timer(Pace::Message, begin + Duration::from_millis(tick * 10)).waits);
        let mut inner = r.inner.borrow_mut();
        if inner.owed > 0 {
            dripped += inner.drip;
            inner.owed = 0;
        }
    }
    assert_eq!(dripped, 200, "3 s at one each 15 ms");
    drop(sub);
}

#[test]
fn a_subscriber_stays_small() {
    // Ten thousand of them: what is added here is paid for each. With the counts of its `Rc` it
    // just fills a size class of the allocator.
    assert!(size_of::<Sub>() <= 176, "{}", size_of::<Sub>());
}

#[test]
fn who_stands_in_the_midst_of_a_message_does_not_lose_its_place() {
    let r = rendition_of(Delivery::Adaptive, Box::new(|| Box::new(TenBytes(0))));
    let mut source = Source { seq: 0, ms: 0 };
    source.push_flagged(&r, Codec::H264, 40, Flags::KEY);
    let sub = join(&r);
    let mut got = Vec::new();
    source.push(&r, Codec::H264, 40);
    source.push(&r, Codec::H264, 40);
    r.take(&sub, 15, &mut got);
    assert_eq!(got.len(), 15, "one message and a half");
    // 8 s, a key frame each second: far less than the 30 s it may fall behind.
    for i in 0..200 {
        let flags = if i % 25 == 0 { Flags::KEY } else { Flags::empty() };
        source.push_flagged(&r, Codec::H264, 40, flags);
    }
    while r.take(&sub, 999, &mut got) > 0 {}
    assert_eq!(sub.counters.lag_jumps.load(Relaxed), 0);
    let whole: Vec<u8> = (0u8..).skip(1).take(202).flat_map(|n| [n; 10]).collect();
    assert!(got == whole, "{} bytes", got.len());
}
