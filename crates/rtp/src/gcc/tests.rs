use std::collections::VecDeque;

use super::*;
use crate::rtcp::{Compound, Rtcp};
use crate::twcc::{self, Recorder};

const PACKET: usize = 1_200;
const PROPAGATION_US: u64 = 20_000;

/// A sender, a bottleneck with a queue, and a receiver, under a clock of their own.
struct Path {
    estimator: Estimator,
    recorder: Recorder,
    now_us: u64,
    capacity_bps: u64,
    queue_us: u64,
    /// In 256ths.
    loss: u8,
    random: u64,
    /// What the sender sends at most; otherwise the estimate.
    app_bps: u64,
    muted: bool,
    /// Whole pictures at once, each fiftieth of them ten times as large.
    pictures: bool,
    credit: u64,
    free_us: u64,
    sequence: u16,
    arriving: VecDeque<(u64, u16)>,
    feedback: VecDeque<(u64, Vec<u8>)>,
    worst_queue_us: u64,
}

impl Path {
    fn new(capacity_bps: u64, initial_bps: u64) -> Self {
        let options = Options { initial_bps, min_bps: 50_000, max_bps: 10_000_000 };
        Self {
            estimator: Estimator::new(options),
            recorder: Recorder::new(twcc::Options::default()),
            now_us: 1_000_000,
            capacity_bps,
            queue_us: 400_000,
            loss: 0,
            random: 0x9E37_79B9_7F4A_7C15,
            app_bps: u64::MAX,
            muted: false,
            pictures: false,
            credit: 0,
            free_us: 0,
            // So that both numbers wrap within each test.
            sequence: 65_000,
            arriving: VecDeque::new(),
            feedback: VecDeque::new(),
            worst_queue_us: 0,
        }
    }

    fn dice(&mut self) -> u8 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 32) as u8
    }

    fn tick(&mut self) {
        self.now_us += 1_000;
        let now = self.now_us;
        let rate = self.estimator.bitrate().min(self.app_bps);
        if !self.pictures {
            self.credit += rate / 1_000;
        } else if now.is_multiple_of(40_000) {
            let weight = if now.is_multiple_of(2_000_000) { 10 } else { 1 };
            self.credit += rate / 25 * 50 / 59 * weight;
        }
        let bits = PACKET as u64 * 8;
        while self.credit >= bits {
            self.credit -= bits;
            self.estimator.on_sent(self.sequence, PACKET, now);
            let sequence = self.sequence;
            self.sequence = sequence.wrapping_add(1);
            let waits = self.free_us.saturating_sub(now);
            if waits > self.queue_us || self.dice() < self.loss {
                continue;
            }
            self.worst_queue_us = self.worst_queue_us.max(waits);
            self.free_us = self.free_us.max(now) + bits * 1_000_000 / self.capacity_bps;
            self.arriving.push_back((self.free_us + PROPAGATION_US, sequence));
        }
        while let Some((at, sequence)) = self.arriving.pop_front_if(|(at, _)| *at <= now) {
            self.recorder.on_packet(sequence, at);
        }
        let mut out = Vec::new();
        while self.recorder.write(&mut out, 1, 2, now) {}
        if !out.is_empty() && !self.muted {
            self.feedback.push_back((now + PROPAGATION_US, out));
        }
        while let Some((_, bytes)) = self.feedback.pop_front_if(|(at, _)| *at <= now) {
            for packet in Compound::new(&bytes) {
                let Ok(Rtcp::TransportCc(feedback)) = packet else { panic!("{packet:?}") };
                self.estimator.on_feedback(&twcc::Parsed::parse(feedback.fci).unwrap(), now);
            }
        }
    }

    /// Runs for so long; gives the mean of the estimate in percent of the capacity.
    fn run(&mut self, seconds: u64) -> u64 {
        self.worst_queue_us = 0;
        let mut sum = 0;
        for _ in 0..seconds * 1_000 {
            self.tick();
            sum += self.estimator.bitrate();
        }
        sum / (seconds * 1_000) * 100 / self.capacity_bps
    }
}

#[test]
fn it_finds_a_capacity_above_its_beginning_within_ten_seconds() {
    for (capacity, initial) in [(1_000_000, 300_000), (2_500_000, 300_000), (600_000, 300_000)] {
        let mut path = Path::new(capacity, initial);
        path.run(10);
        let percent = path.run(20);
        assert!((70..=105).contains(&percent), "{percent} % of {capacity}");
        assert!(path.worst_queue_us < 300_000, "{}", path.worst_queue_us);
    }
}

#[test]
fn it_finds_a_capacity_below_its_beginning_within_two_seconds() {
    let mut path = Path::new(500_000, 2_000_000);
    path.run(2);
    assert!(path.estimator.bitrate() <= 525_000, "{:?}", path.estimator.insight());
    path.run(3);
    let percent = path.run(20);
    assert!((70..=105).contains(&percent), "{percent} %");
}

#[test]
fn it_follows_a_bottleneck_down_within_two_seconds_and_up_within_fifteen() {
    let mut path = Path::new(1_000_000, 300_000);
    path.run(15);
    let percent = path.run(10);
    assert!((70..=105).contains(&percent), "{percent} % of 1 Mbit/s");
    path.capacity_bps = 300_000;
    path.run(2);
    assert!(path.estimator.bitrate() <= 315_000, "{:?}", path.estimator.insight());
    path.run(3);
    let percent = path.run(15);
    assert!((70..=105).contains(&percent), "{percent} % of 300 kbit/s");
    path.capacity_bps = 2_000_000;
    path.run(15);
    let percent = path.run(20);
    assert!((70..=105).contains(&percent), "{percent} % of 2 Mbit/s");
}

#[test]
fn a_twentieth_lost_by_chance_does_not_bring_it_down() {
    let mut path = Path::new(2_000_000, 500_000);
    path.loss = 13;
    path.run(15);
    let percent = path.run(30);
    assert!((70..=105).contains(&percent), "{percent} % {:?}", path.estimator.insight());
}

#[test]
fn a_fifth_lost_brings_it_down_although_delay_says_nothing() {
    let mut path = Path::new(10_000_000, 2_000_000);
    path.loss = 51;
    path.app_bps = 2_000_000;
    path.run(10);
    assert!(path.estimator.bitrate() < 1_000_000, "{:?}", path.estimator.insight());
    assert!(path.estimator.insight().loss > 25);
}

#[test]
fn without_feedback_it_goes_down_to_its_floor() {
    let mut path = Path::new(2_000_000, 1_000_000);
    path.run(5);
    let before = path.estimator.bitrate();
    path.muted = true;
    path.run(4);
    assert!(path.estimator.bitrate() <= before / 2);
    path.run(30);
    assert_eq!(path.estimator.bitrate(), 50_000);
}

#[test]
fn it_grows_no_further_than_what_is_sent_bears_out_and_asks_for_a_probe() {
    let mut path = Path::new(5_000_000, 300_000);
    path.app_bps = 600_000;
    path.run(20);
    let bitrate = path.estimator.bitrate();
    assert!((600_000..=1_000_000).contains(&bitrate), "{bitrate}");
    let now = path.now_us;
    assert_eq!(path.estimator.wants_probe(500_000, now), None, "enough is believed");
    let rate = path.estimator.wants_probe(2_000_000, now).unwrap();
    assert!(rate > bitrate && rate <= 2 * bitrate, "{rate}");
    path.estimator.on_probe(now);
    assert_eq!(path.estimator.wants_probe(2_000_000, now + 1_000_000), None, "not so soon");
    path.app_bps = rate;
    path.run(1);
    assert!(path.estimator.bitrate() > bitrate, "{:?}", path.estimator.insight());
}

#[test]
fn key_pictures_in_bursts_are_no_congestion() {
    let mut path = Path::new(2_000_000, 1_000_000);
    path.app_bps = 600_000;
    path.pictures = true;
    path.run(10);
    for second in 0..60 {
        path.run(1);
        let insight = path.estimator.insight();
        assert!(insight.bitrate_bps >= 600_000, "after {second} s {insight:?}");
    }
}

#[test]
fn reports_of_loss_alone_move_it() {
    let options = Options { initial_bps: 1_000_000, ..Options::default() };
    let mut estimator = Estimator::new(options);
    assert_eq!(estimator.bitrate(), 1_000_000);
    estimator.on_loss(0);
    assert_eq!(estimator.bitrate(), 1_050_000);
    estimator.on_loss(20);
    assert_eq!(estimator.bitrate(), 1_050_000);
    estimator.on_loss(128);
    assert_eq!(estimator.bitrate(), 787_500);
    for _ in 0..100 {
        estimator.on_loss(255);
    }
    assert_eq!(estimator.bitrate(), options.min_bps);
}

#[test]
fn the_receivers_own_estimate_is_the_limit() {
    let mut estimator = Estimator::new(Options::default());
    estimator.on_remb(3_000_000);
    assert_eq!(estimator.bitrate(), 3_000_000);
    estimator.on_remb(200_000);
    assert_eq!(estimator.bitrate(), 200_000);
    estimator.on_remb(0);
    assert_eq!(estimator.bitrate(), 50_000, "within the bounds");
    let mut path = Path::new(2_000_000, 300_000);
    path.run(10);
    path.estimator.on_remb(150_000);
    assert_eq!(path.estimator.bitrate(), 150_000);
}

#[test]
fn feedback_of_packets_never_sent_changes_nothing() {
    let mut recorder = Recorder::new(twcc::Options::default());
    for sequence in 0..400u16 {
        recorder.on_packet(sequence, 1_000_000 + u64::from(sequence) * u64::from(sequence) * 10);
    }
    let mut out = Vec::new();
    assert!(recorder.write(&mut out, 1, 2, 100_000_000));
    let mut estimator = Estimator::new(Options::default());
    let before = estimator.bitrate();
    let Some(Ok(Rtcp::TransportCc(feedback))) = Compound::new(&out).next() else { panic!() };
    estimator.on_feedback(&twcc::Parsed::parse(feedback.fci).unwrap(), 100_000_000);
    assert_eq!(estimator.bitrate(), before);
    estimator.on_sent(9_000, 100, 0);
    estimator.on_feedback(&twcc::Parsed::parse(feedback.fci).unwrap(), 100_000_000);
    assert_eq!(estimator.bitrate(), before);
    assert_eq!(estimator.insight().acked_bps, 0);
}

#[test]
fn a_viewer_costs_less_than_sixteen_kilobytes_and_before_its_first_packet_little() {
    assert!(size_of::<Estimator>() < 2_048, "{}", size_of::<Estimator>());
    assert!(size_of::<Estimator>() + RING * size_of::<Sent>() <= 16 * 1_024);
}
