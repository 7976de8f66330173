use media::{Codec, Flags};
use transcode::{OpusOptions, ToOpus};

use super::*;

const BLOCK_US: u64 = 20_000;

/// A second and a half of Opus; repeated for as long as a test needs.
fn opus() -> Vec<Frame> {
    let mut encoder = ToOpus::new(OpusOptions::default());
    let mut out = Vec::new();
    for n in 0..75i64 {
        let at = Timestamp::from_micros(n * 20_000);
        let payload = (0..160).map(|i: u8| i.wrapping_mul(3)).collect::<Vec<u8>>().into();
        let frame = Frame {
            codec: Codec::G711U,
            track: 0,
            flags: Flags::KEY,
            tag: 0,
            dts: at,
            pts: at,
            payload,
        };
        encoder.push(&frame, &mut out).expect("it is G.711");
    }
    out.retain(Frame::is_media);
    out
}

struct Rig {
    blocks: Vec<Frame>,
    sound: Sound,
    at: u64,
    out: Vec<Frame>,
}

impl Rig {
    fn new() -> Self {
        Self { blocks: opus(), sound: Sound::new(48_000, false), at: 0, out: Vec::new() }
    }

    /// So many blocks at the speed of life, a key frame every 2 s; what was made of them.
    fn run(&mut self, blocks: u64, wanted: bool, pictures: bool, cached: bool) -> Vec<Frame> {
        for _ in 0..blocks {
            let at = Timestamp::from_micros(i64::try_from(self.at * BLOCK_US).expect("small"));
            if pictures && self.at.is_multiple_of(100) {
                self.sound.key_frame(at);
            }
            let index = usize::try_from(self.at).expect("small") % self.blocks.len();
            let frame = Frame { dts: at, pts: at, ..self.blocks[index].clone() };
            let now = self.at * BLOCK_US;
            self.sound.push(frame, wanted, || cached, now, &mut self.out).expect("it is Opus");
            self.at += 1;
        }
        std::mem::take(&mut self.out)
    }
}

fn span(made: &[Frame]) -> (i64, i64) {
    let media: Vec<_> = made.iter().filter(|f| f.is_media()).collect();
    (media[0].dts.as_millis(), media[media.len() - 1].dts.as_millis())
}

#[test]
fn nothing_is_made_for_nobody_but_at_the_beginning() {
    let mut rig = Rig::new();
    let made = rig.run(300, false, true, true);
    assert!(made[0].is_config());
    assert!((4_900..=5_000).contains(&span(&made).1), "{:?}", span(&made));
    assert!(rig.run(1_000, false, true, true).is_empty());
}

#[test]
fn who_comes_gets_the_sound_of_the_cached_pictures_and_then_the_rest_without_a_gap() {
    let mut rig = Rig::new();
    rig.run(990, false, true, true);
    // The last key frame was at 18 s.
    let made = rig.run(200, true, true, true);
    assert!(made[0].is_config());
    let (from, to) = span(&made);
    assert!((17_900..=18_000).contains(&from), "{from}");
    assert!(to >= 23_700, "{to}");
    let media: Vec<i64> = made.iter().filter(|f| f.is_media()).map(|f| f.dts.as_micros()).collect();
    assert!(media.windows(2).all(|two| (21_300..21_400).contains(&(two[1] - two[0]))));
}

#[test]
fn the_first_block_brings_sound_at_once_and_the_past_comes_at_five_times_its_speed() {
    let mut rig = Rig::new();
    rig.run(990, false, true, true);
    let first = rig.run(1, true, true, true);
    assert!(first.iter().any(Frame::is_media));
    let made = rig.run(20, true, true, true);
    assert!(span(&made).1 >= 19_700, "{:?}", span(&made));
}

#[test]
fn where_nothing_is_cached_sound_begins_with_what_comes() {
    for (pictures, cached) in [(false, true), (true, false)] {
        let mut rig = Rig::new();
        rig.run(990, false, pictures, cached);
        let (from, _) = span(&rig.run(20, true, pictures, cached));
        assert!(from >= 19_690, "{from}");
    }
}

#[test]
fn who_comes_back_within_the_time_finds_no_gap() {
    let mut rig = Rig::new();
    rig.run(400, true, true, true);
    let alone = rig.run(200, false, true, true);
    let again = rig.run(200, true, true, true);
    assert!(!again[0].is_config());
    assert!((span(&again).0 - span(&alone).1) < 25);
}

#[test]
fn what_waits_is_bounded() {
    let mut rig = Rig::new();
    rig.run(100, false, true, true);
    rig.sound.pictures = true;
    rig.run(0, false, false, true);
    rig.run(3_000, false, false, true);
    assert_eq!(rig.sound.waiting.len(), MOST_WAITING);
}

#[test]
fn opus_that_is_kept_goes_on_as_it_came_behind_its_head() {
    let mut rig = Rig::new();
    rig.sound = Sound::new(48_000, true);
    // For nobody too: it costs nothing.
    let kept = rig.run(300, false, true, true);
    assert_eq!(kept.len(), 301);
    assert!(kept[0].is_config());
    assert_eq!(OpusHead::decode(&kept[0].payload), Ok(HEAD));
    for (n, frame) in kept[1..].iter().enumerate() {
        assert_eq!((frame.codec, frame.dts.as_millis()), (Codec::Opus, n as i64 * 20));
        assert_eq!(frame.payload, rig.blocks[n % rig.blocks.len()].payload);
    }
    assert!(rig.run(10, true, true, true).iter().all(Frame::is_media));
}

#[test]
fn other_sound_than_opus_is_made_aac_where_opus_is_kept() {
    let mut rig = Rig::new();
    rig.sound = Sound::new(48_000, true);
    let payload = vec![0x55; 160];
    for block in &mut rig.blocks {
        *block = Frame { codec: Codec::G711U, payload: payload.clone().into(), ..block.clone() };
    }
    let made = rig.run(50, true, true, true);
    assert!(made.len() > 2 && made.iter().all(|frame| frame.codec == Codec::Aac));
}
