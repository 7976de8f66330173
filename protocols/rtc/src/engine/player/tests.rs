use std::cell::RefCell;

use media::Codec;
use rtp::fec::red::Recovery;
use rtp::packet::Packet;
use rtp::payload::scan;
use smallvec::smallvec;

use super::*;
use crate::engine::log::{New, VIDEO};

const MS: u64 = 1_000;
const FIRST: u64 = 5_000;
const RTX: u32 = 22;

/// A viewer, its log, and what it was sent.
struct Scene {
    log: PacketLog,
    player: Player,
    sent: RefCell<Vec<Vec<u8>>>,
    now: u64,
    next: [u64; 4],
}

fn format(codec: Codec, payload_type: u8, rtx: Option<u8>) -> Format {
    Format { codec, payload_type, rtx }
}

impl Scene {
    fn new(codec: Codec) -> Self {
        let video =
            Line::new(smallvec![format(codec, 102, Some(103))], 21, Some(RTX), VIDEO, FIRST, FIRST);
        let mut audio =
            Line::new(smallvec![format(Codec::Opus, 111, None)], 11, None, AUDIO, FIRST, FIRST);
        audio.set_redundancy(63);
        let mut log = PacketLog::default();
        log.set_codec(AUDIO, Some(Codec::Opus));
        for lane in 1..4 {
            log.set_codec(lane, Some(codec));
        }
        let player = Player::new(log.head(), Some(audio), Some(video));
        Self { log, player, sent: RefCell::default(), now: 1_000_000, next: [100; 4] }
    }

    fn push(&mut self, lane: u8, timestamp: u32, key: bool, payload: &[u8]) {
        let next = &mut self.next[usize::from(lane)];
        let seq = *next;
        *next += 1;
        let marker = lane != AUDIO;
        self.log.push(New { lane, seq, timestamp, marker, key, payload });
    }

    /// Does something with the viewer; gives what was sent by it.
    fn act(&mut self, act: impl FnOnce(&mut Player, &PacketLog, &mut Way<'_>)) -> Vec<Vec<u8>> {
        let (mut batch, mut tally) = (Batch::new(64, None), Tally::default());
        let road = Road::Kept(&self.sent);
        let mut way = Way { road, srtp: None, batch: &mut batch, tally: &mut tally };
        self.player.now_us = self.now;
        act(&mut self.player, &self.log, &mut way);
        self.sent.take()
    }

    fn walk(&mut self) -> Vec<Vec<u8>> {
        self.act(|player, log, way| {
            player.walk(log, way);
        })
    }

    fn nack(&mut self, ssrc: u32, lost: &[u16]) -> Vec<Vec<u8>> {
        let now = self.now;
        let lost = lost.to_vec();
        self.act(|player, log, way| player.resend(log, ssrc, lost.into_iter(), now, way))
    }

    fn mend(&mut self) -> Vec<Vec<u8>> {
        let now = self.now;
        self.act(|player, log, way| player.mend(log, now, way))
    }
}

fn parsed(sent: &[Vec<u8>]) -> Vec<Packet<'_>> {
    sent.iter().map(|bytes| Packet::parse(bytes).unwrap()).collect()
}

fn video(sent: &[Vec<u8>]) -> Vec<u16> {
    parsed(sent).iter().filter(|p| p.ssrc == 21).map(|p| p.sequence).collect()
}

/// The numbers and bodies of retransmissions.
fn repairs(sent: &[Vec<u8>]) -> Vec<(u16, Vec<u8>)> {
    let rtx = parsed(sent).into_iter().filter(|p| p.ssrc == RTX);
    rtx.map(|p| (u16::from_be_bytes([p.payload[0], p.payload[1]]), p.payload[2..].to_vec()))
        .collect()
}

#[test]
fn what_is_asked_for_comes_at_once_and_once_more_a_moment_later() {
    let mut scene = Scene::new(Codec::H264);
    for n in 0..3u8 {
        scene.push(VIDEO, u32::from(n) * 3_600, n == 0, &[n; 1_000]);
    }
    assert_eq!(video(&scene.walk()), [5_000, 5_001, 5_002]);
    assert!(!scene.player.owes());
    let sent = scene.nack(21, &[5_001]);
    assert_eq!(repairs(&sent), [(5_001, vec![1; 1_000])]);
    assert!(scene.player.owes());
    assert!(scene.mend().is_empty(), "not yet");
    scene.now += 10 * MS;
    let again = scene.mend();
    assert_eq!(repairs(&again), [(5_001, vec![1; 1_000])]);
    let numbers = (parsed(&sent)[0].sequence, parsed(&again)[0].sequence);
    assert_eq!(numbers, (5_000, 5_001), "each with a number of its own");
    assert!(!scene.player.owes());
    let repaired = scene.player.repaired();
    assert_eq!((repaired.answered, repaired.again, repaired.refused), (1, 1, 0));
}

#[test]
fn second_copies_take_a_quarter_of_what_is_sent_and_no_more() {
    let mut scene = Scene::new(Codec::H264);
    scene.push(VIDEO, 0, true, &[0; 1_000]);
    scene.walk();
    // Everything is lost, and asked for again, for a long time.
    let mut bytes = [0u64; 2];
    for n in 1..2_000u32 {
        scene.push(VIDEO, n * 3_600, false, &[1; 1_000]);
        let sent = scene.walk();
        let number = parsed(&sent)[0].sequence;
        bytes[0] += 1_000;
        scene.now += 40 * MS;
        scene.nack(21, &[number]);
        scene.now += 10 * MS;
        bytes[1] += 1_000 * scene.mend().len() as u64;
    }
    let share = bytes[1] * 100 / bytes[0];
    assert!((20..=26).contains(&share), "{share} %");
    assert_eq!(scene.player.repaired().answered, 1_999);
}

#[test]
fn a_change_of_size_keeps_numbers_and_pictures_in_a_row_and_what_was_before_can_be_repaired() {
    let vp8 = |id: u16, tl0: u8, key: bool| {
        let [high, low] = id.to_be_bytes();
        vec![0x90, 0xe0, high | 0x80, low, tl0, 0x20, u8::from(!key)]
    };
    let mut scene = Scene::new(Codec::Vp8);
    let mut sent = Vec::new();
    for n in 0..6u16 {
        let time = u32::from(n) * 3_000;
        // The larger size counts its pictures from elsewhere, and begins anew in the middle.
        scene.push(1, time, n == 0, &vp8(1_000 + n, n as u8, n == 0));
        scene.push(2, time + 77, n == 0 || n == 3, &vp8(40 + n, 200, n == 0 || n == 3));
        if n == 2 {
            scene.player.target = Some(2);
        }
        sent.extend(scene.walk());
    }
    let packets = parsed(&sent);
    let numbers: Vec<_> = packets.iter().map(|p| p.sequence).collect();
    // The smaller one of the moment of the change came first.
    assert_eq!(numbers, (5_000..5_007).collect::<Vec<_>>());
    let pictures = packets.iter().map(|p| scan::picture(Codec::Vp8, p.payload).unwrap());
    let pictures: Vec<_> = pictures.map(|p| (p.picture_id.unwrap(), p.tl0.unwrap())).collect();
    assert_eq!(pictures[..4], [(1_000, 0), (1_001, 1), (1_002, 2), (1_003, 3)]);
    assert_eq!(pictures[4..], [(1_004, 4), (1_005, 4), (1_006, 4)]);
    // What was lost before the change comes as it was, and after it as it is.
    let repairs = repairs(&scene.nack(21, &[5_002, 5_005]));
    assert_eq!(repairs[0], (5_002, packets[2].payload.to_vec()));
    assert_eq!(repairs[1], (5_005, packets[5].payload.to_vec()));
}

#[test]
fn sound_carries_what_came_before_it_where_some_is_lost() {
    let mut scene = Scene::new(Codec::H264);
    let mut at = 0;
    let mut sound = |scene: &mut Scene| {
        at += 1;
        scene.push(AUDIO, at * 960, true, &[at as u8; 50]);
        scene.walk().pop().expect("one packet")
    };
    let plain = sound(&mut scene);
    assert_eq!(Packet::parse(&plain).unwrap().payload_type, 111, "nothing is lost");
    scene.player.sound_lost(4, scene.now);
    assert_eq!(scene.player.redundancy(), 1);
    let one = sound(&mut scene);
    scene.player.sound_lost(26, scene.now);
    assert_eq!(scene.player.redundancy(), 2);
    let lost = [sound(&mut scene), sound(&mut scene)];
    let two = sound(&mut scene);
    let mut recovery = Recovery::new();
    assert!(recovery.plain(5_000));
    let mut got = Vec::new();
    for bytes in [&one, &two] {
        let packet = Packet::parse(bytes).unwrap();
        assert_eq!(packet.payload_type, 63);
        let number = u64::from(packet.sequence);
        let each = |r: rtp::fec::red::Restored<'_>| {
            assert_eq!(r.timestamp, u32::from(r.data[0]) * 960);
            assert_eq!(r.data.len(), 50);
            got.push((r.sequence, r.data[0], r.recovered));
        };
        recovery.take(number, packet.timestamp, 111, packet.payload, each).unwrap();
    }
    let expected = [(5_001, 2, false), (5_002, 3, true), (5_003, 4, true), (5_004, 5, false)];
    assert_eq!(got, expected);
    // Under one number there is one content: what was sent so is not sent in another way.
    let number = Packet::parse(&lost[0]).unwrap().sequence;
    assert!(scene.nack(11, &[number]).is_empty());
    assert_eq!(scene.nack(11, &[5_000]).len(), 1, "that was sent as it is");
    scene.player.sound_lost(0, scene.now + 60_000 * MS);
    assert_eq!(scene.player.redundancy(), 0, "it is quiet");
}

#[test]
fn on_a_thin_path_sound_goes_on_and_pictures_are_left_out_up_to_a_key_frame() {
    let mut scene = Scene::new(Codec::H264);
    // 50 packets of pictures a second: 440 kbit/s; half of it is what the path carries.
    scene.player.set_thin(Some(250_000));
    let (mut sounds, mut bytes, mut shown, mut pictures) = (0, 0, Vec::new(), 0u32);
    for tick in 0..2_000u32 {
        scene.now += 10 * MS;
        if tick % 2 == 0 {
            scene.push(AUDIO, tick * 480, true, &[1; 40]);
            // A key frame each second.
            scene.push(VIDEO, tick * 900, tick % 100 == 0, &[2; 1_000]);
            pictures += 1;
        }
        let sent = scene.walk();
        for packet in parsed(&sent) {
            bytes += 28 + packet.payload.len() + 12;
            match packet.ssrc {
                11 => sounds += 1,
                _ => shown.push((packet.sequence, packet.timestamp)),
            }
        }
    }
    assert_eq!(sounds, 1_000, "all of it");
    let rate = bytes * 8 / 20;
    assert!((200_000..=260_000).contains(&rate), "{rate} bit/s");
    let numbers: Vec<_> = shown.iter().map(|(number, _)| *number).collect();
    let row: Vec<_> = (5_000..5_000 + shown.len() as u16).collect();
    assert_eq!(numbers, row, "what is left out leaves no gap");
    let first = shown[0].1;
    for pair in shown.windows(2) {
        let (before, after) = (pair[0].1.wrapping_sub(first), pair[1].1.wrapping_sub(first));
        assert!(after > before);
        if after - before > 1_800 {
            assert_eq!(after % 90_000, 0, "after a gap a key frame follows");
        }
    }
    let waiting = u64::from(pictures) - scene.player.left_out - shown.len() as u64;
    assert!(waiting <= 52, "{waiting}: a second and a little");
    assert!(scene.player.left_out > 300);
    // And all of them again, without a sound twice.
    scene.player.set_thin(None);
    scene.push(AUDIO, 2_000 * 480, true, &[1; 40]);
    scene.push(VIDEO, 2_000 * 900, true, &[2; 1_000]);
    let mut sent = Vec::new();
    while scene.player.behind(&scene.log) > 0 {
        sent.extend(scene.walk());
    }
    assert_eq!(parsed(&sent).iter().filter(|p| p.ssrc == 11).count(), 1);
    let next = 5_000 + shown.len() as u16;
    assert_eq!(video(&sent), (next..=next + waiting as u16).collect::<Vec<_>>());
}

#[test]
fn a_group_of_pictures_is_paced_and_told_as_it_is_paced() {
    let mut scene = Scene::new(Codec::H264);
    for n in 0..50u32 {
        for _ in 0..if n == 0 { 30 } else { 6 } {
            scene.push(VIDEO, n * 3_600, n == 0, &[3; 1_000]);
        }
    }
    scene.player.place(&scene.log, true);
    let (mut turns, mut times) = (Vec::new(), Vec::new());
    while scene.player.behind(&scene.log) > 0 {
        scene.now += 10 * MS;
        let sent = scene.walk();
        turns.push(sent.len());
        times.extend(parsed(&sent).iter().map(|p| p.timestamp));
    }
    assert!((20..=27).contains(&turns.len()), "{turns:?}");
    assert!(turns.iter().all(|packets| *packets < 20), "{turns:?}");
    assert!(times.is_sorted());
    let told = times.last().unwrap() - times.first().unwrap();
    assert!((17_000..=23_000).contains(&told), "{told}: a quarter of a second");
    assert_eq!(times.last(), Some(&(49 * 3_600)), "the last at its own time");
}

/// Feedback that so many packets from `base` on have these fates.
fn feedback(base: u16, came: &[bool]) -> Vec<u8> {
    let mut recorder = rtp::twcc::Recorder::new(rtp::twcc::Options::default());
    for (number, _) in (base..).zip(came).filter(|(_, came)| **came) {
        recorder.on_packet(number, 1_000_000 + u64::from(number) * 1_000);
    }
    let mut out = Vec::new();
    recorder.write(&mut out, 1, 2, 2_000_000);
    // Behind the common header and two SSRCs.
    out.split_off(12)
}

#[test]
fn what_feedback_tells_is_lost_comes_without_being_asked_for() {
    let mut scene = Scene::new(Codec::H264);
    scene.player.transport_cc = Some(3);
    let packet = |scene: &mut Scene, n: u32| {
        scene.push(VIDEO, n * 3_600, n == 0, &[n as u8; 500]);
        scene.walk()
    };
    let first = packet(&mut scene, 0);
    assert_eq!(parsed(&first)[0].extension, None, "nothing is lost: nothing is told");
    scene.nack(21, &[5_000]);
    scene.now += 10 * MS;
    scene.mend();
    let number = |bytes: &[Vec<u8>]| {
        let (_, extension) = parsed(bytes)[0].extension.expect("from here on it is");
        u16::from_be_bytes([extension[1], extension[2]])
    };
    let base = number(&packet(&mut scene, 1));
    packet(&mut scene, 2);
    packet(&mut scene, 3);
    let now = scene.now;
    let told = |scene: &mut Scene, base: u16, came: &[bool]| {
        let bytes = feedback(base, came);
        let parsed = rtp::twcc::Parsed::parse(&bytes).unwrap();
        scene.act(|player, log, way| player.told(log, &parsed, now, way))
    };
    let again = told(&mut scene, base, &[true, false, true]);
    assert_eq!(repairs(&again), [(5_002, vec![2; 500])]);
    assert!(told(&mut scene, base, &[true, false, true]).is_empty(), "told before");
    // The copy is lost as well, what came after it is not.
    let copy = number(&again);
    packet(&mut scene, 4);
    let before: Vec<_> = (base..copy).map(|_| true).collect();
    let again = told(&mut scene, base, &[&before[..], &[false, true]].concat());
    assert_eq!(repairs(&again), [(5_002, vec![2; 500])]);
    assert_eq!(scene.player.repaired().unasked, 2);
    scene.now += 60_000 * MS;
    let later = packet(&mut scene, 5);
    assert_eq!(parsed(&later)[0].extension, None, "it is calm");
}

#[test]
fn a_viewer_whose_path_is_known_gets_pictures_at_two_and_a_half_times_its_rate() {
    let mut scene = Scene::new(Codec::H264);
    scene.player.transport_cc = Some(3);
    let options = rtp::gcc::Options { initial_bps: 800_000, ..rtp::gcc::Options::default() };
    scene.player.estimator = Some(Box::new(Estimator::new(options)));
    scene.push(VIDEO, 0, true, &[0; 500]);
    let first = scene.walk();
    assert_eq!(first.len(), 1);
    let bytes = feedback(0, &[true]);
    let told = rtp::twcc::Parsed::parse(&bytes).unwrap();
    let now = scene.now + 50 * MS;
    scene.player.estimator.as_mut().unwrap().on_feedback(&told, now);
    for _ in 0..40 {
        scene.push(VIDEO, 3_600, true, &[1; 1_000]);
    }
    let mut turns = 0;
    while scene.player.behind(&scene.log) > 0 {
        scene.now += 10 * MS;
        scene.walk();
        turns += 1;
    }
    // 2 Mbit/s are 2,500 bytes in 10 ms.
    assert!((10..=18).contains(&turns), "{turns}");
}
