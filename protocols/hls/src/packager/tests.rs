use std::collections::BTreeMap;
use std::time::Duration;

use container::ts::validate::{Facts, Validator, Violation};
use media::{Flags, Kind};
use proptest::prelude::*;

use super::*;
use crate::validate::{History, Playlist};

const ASC: &[u8] = &[0x12, 0x10];
const AVCC: &[u8] = &[
    1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 4, 0x67, 0x42, 0xc0, 0x1e, 1, 0, 4, 0x68, 0xce, 0x38, 0x80,
];
const AVCC_OTHER: &[u8] = &[
    1, 0x42, 0xc0, 0x1f, 0xff, 0xe1, 0, 4, 0x67, 0x42, 0xc0, 0x1f, 1, 0, 4, 0x68, 0xce, 0x38, 0x80,
];

fn name() -> StreamName {
    StreamName { vhost: "__defaultVhost__".into(), app: "live".into(), stream: "s".into() }
}

fn wall(ms: i64) -> WallTime {
    WallTime { unix_ms: 1_700_000_000_000 + ms, utc_offset_s: 0 }
}

fn frame(codec: Codec, flags: Flags, ms: i64, payload: impl Into<Bytes>) -> Frame {
    let dts = Timestamp::from_millis(ms);
    Frame { codec, track: 0, flags, tag: 0, dts, pts: dts, payload: payload.into() }
}

fn config(codec: Codec, payload: &'static [u8]) -> Frame {
    frame(codec, Flags::CONFIG, 0, payload)
}

fn picture(ms: i64, key: bool) -> Frame {
    let nal = [&[0, 0, 0, 200, if key { 0x65 } else { 0x41 }][..], &[0x55; 199]].concat();
    frame(Codec::H264, if key { Flags::KEY } else { Flags::empty() }, ms, nal)
}

fn sound(ms: i64) -> Frame {
    frame(Codec::Aac, Flags::empty(), ms, vec![0x21; 40])
}

/// Configurations, then video at 25 fps and audio each 20 ms.
fn publish(from: i64, to: i64, gop_ms: i64) -> Vec<Frame> {
    let mut frames = vec![config(Codec::H264, AVCC), config(Codec::Aac, ASC)];
    for ms in (from..to).step_by(20) {
        if (ms - from) % 40 == 0 {
            frames.push(picture(ms, (ms - from) % gop_ms == 0));
        }
        frames.push(sound(ms));
    }
    frames
}

/// Carries out what a packager says and judges it.
#[derive(Default)]
struct Player {
    files: BTreeMap<String, Bytes>,
    history: History,
    checked: BTreeMap<String, Facts>,
    validator: Validator,
    done: Vec<SegmentDone>,
    last: Playlist,
    /// Segments may be cut by the audio, so that pictures come late or depend on others.
    lax: bool,
}

impl Player {
    fn take(&mut self, out: &mut Vec<Output>) {
        for output in out.drain(..) {
            match output {
                Output::Write { path, temp, bytes } => {
                    assert!(temp.starts_with(&path) && temp != path);
                    let is_playlist = path.ends_with(".m3u8");
                    self.files.insert(path, bytes.clone());
                    if is_playlist {
                        self.read(std::str::from_utf8(&bytes).unwrap());
                    }
                }
                Output::Remove { path, on_disk } => {
                    assert!(on_disk);
                    self.files.remove(&path).expect("removes only what it wrote");
                }
                Output::Done(done) => self.done.push(done),
            }
        }
    }

    fn read(&mut self, text: &str) {
        let playlist = self.history.push(text).unwrap();
        m3u8_rs::parse_media_playlist(text.as_bytes()).unwrap();
        for segment in &playlist.segments {
            let path = format!("live/{}", segment.uri);
            let bytes = self.files.get(&path).expect("listed and there");
            if !self.checked.contains_key(&path) {
                let (facts, mut violations) = self.validator.segment(bytes, segment.discontinuity);
                violations.retain(|violation| match violation {
                    Violation::NoKeyFrame | Violation::Phantom { .. } => !self.lax,
                    _ => true,
                });
                assert_eq!(violations, [], "{path}");
                self.checked.insert(path, facts);
            }
        }
        self.last = playlist;
    }
}

fn feed(packager: &mut Packager, player: &mut Player, frames: &[Frame]) {
    let mut out = Vec::new();
    for frame in frames {
        packager.push(frame, wall(frame.dts.as_millis()), &mut out).unwrap();
        player.take(&mut out);
    }
}

fn end(packager: &mut Packager, player: &mut Player) {
    let mut out = Vec::new();
    packager.unpublish(&mut out);
    player.take(&mut out);
}

fn fast() -> HlsConfig {
    HlsConfig {
        fragment: Duration::from_secs(2),
        window: Duration::from_secs(10),
        ..HlsConfig::default()
    }
}

#[test]
fn a_live_stream_gives_segments_and_playlists_that_a_strict_reader_takes() {
    let mut packager = Packager::new(fast(), name()).unwrap();
    let mut player = Player::default();
    feed(&mut packager, &mut player, &publish(0, 60_000, 2_000));
    end(&mut packager, &mut player);
    assert_eq!(packager.playlist_path(), "live/s.m3u8");
    assert_eq!(player.done.len(), 30);
    assert!(player.done.iter().all(|done| done.duration_us == 2_000_000));
    assert_eq!((player.last.media_sequence, player.last.segments.len()), (24, 6));
    assert_eq!(player.last.target_duration, 2);
    assert_eq!(player.last.discontinuity_sequence, 1);
    // Six listed, six lingering, and the playlist.
    assert_eq!(player.files.len(), 13);
    let pictures: usize = player.checked.values().map(|facts| facts.count(Kind::Video)).sum();
    let sounds: usize = player.checked.values().map(|facts| facts.count(Kind::Audio)).sum();
    assert_eq!((pictures, sounds), (1_500, 3_000));
}

#[test]
fn the_first_playlist_reads_as_srs_writes_it() {
    let mut packager = Packager::new(fast(), name()).unwrap();
    let mut player = Player::default();
    feed(&mut packager, &mut player, &publish(0, 4_020, 2_000));
    assert_eq!(
        player.files["live/s.m3u8"],
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-TARGETDURATION:2\n\
         #EXT-X-DISCONTINUITY\n#EXTINF:2.000, no desc\ns-0.ts\n#EXTINF:2.000, no desc\ns-1.ts\n"
    );
    let done = &player.done[1];
    assert_eq!((done.path.as_str(), done.uri.as_str()), ("live/s-1.ts", "s-1.ts"));
}

#[test]
fn a_republish_goes_on_with_the_numbers_behind_a_discontinuity() {
    let mut packager = Packager::new(fast(), name()).unwrap();
    let mut player = Player::default();
    feed(&mut packager, &mut player, &publish(0, 5_000, 2_000));
    end(&mut packager, &mut player);
    assert_eq!(player.last.segments[2].duration, 1.0);
    feed(&mut packager, &mut player, &publish(0, 5_000, 2_000));
    end(&mut packager, &mut player);
    let marks: Vec<_> = player.last.segments.iter().map(|s| s.discontinuity).collect();
    assert_eq!(marks, [true, false, false, true, false, false]);
    assert_eq!(player.done.last().unwrap().sequence, 5);
}

#[test]
fn another_configuration_in_the_stream_makes_a_discontinuity() {
    let mut packager = Packager::new(fast(), name()).unwrap();
    let mut player = Player::default();
    feed(&mut packager, &mut player, &publish(0, 5_000, 2_000));
    let mut more = publish(5_000, 9_000, 2_000);
    more[0].payload = Bytes::from_static(AVCC_OTHER);
    feed(&mut packager, &mut player, &more);
    end(&mut packager, &mut player);
    let marks: Vec<_> =
        player.last.segments.iter().map(|s| (s.duration, s.discontinuity)).collect();
    assert_eq!(marks, [(2.0, true), (2.0, false), (1.0, false), (2.0, true), (2.0, false)]);
}

#[test]
fn audio_alone_is_cut_by_its_own_rule_in_batches_and_declares_no_video() {
    let mut packager = Packager::new(fast(), name()).unwrap();
    let mut player = Player::default();
    let mut frames = vec![config(Codec::Aac, ASC)];
    frames.extend((0..1_000).map(|n| sound(n * 20)));
    feed(&mut packager, &mut player, &frames);
    end(&mut packager, &mut player);
    assert_eq!(player.last.segments[0].duration, 4.2);
    assert_eq!(player.last.target_duration, 5);
    let facts = &player.checked["live/s-1.ts"];
    assert_eq!(facts.streams.len(), 1);
    assert!(facts.count(Kind::Audio) < 10);
    assert!(player.checked["live/s-0.ts"].streams.len() == 1);
}

#[test]
fn mp3_alone_is_declared_alone_though_nothing_announced_it() {
    let mut packager = Packager::new(fast(), name()).unwrap();
    let mut player = Player::default();
    let frames: Vec<_> = (0..500)
        .map(|n| frame(Codec::Mp3, Flags::empty(), n * 26, vec![0xff, 0xfb, 0x90, 0, 1, 2, 3]))
        .collect();
    feed(&mut packager, &mut player, &frames);
    end(&mut packager, &mut player);
    assert!(player.checked.len() > 2);
    assert!(player.checked.values().all(|facts| facts.streams.len() == 1));
}

#[test]
fn mp3_beside_video_is_declared_from_the_first_packet_when_it_is_named() {
    let mut packager =
        Packager::new(HlsConfig { acodec: Some(Codec::Mp3), ..fast() }, name()).unwrap();
    let mut player = Player::default();
    let frames: Vec<_> = publish(0, 6_000, 2_000)
        .into_iter()
        .filter(|frame| !(frame.is_config() && frame.kind() == Kind::Audio))
        .map(|frame| match frame.codec {
            Codec::Aac => Frame {
                codec: Codec::Mp3,
                payload: Bytes::from_static(&[0xff, 0xfb, 0x90, 0, 1, 2, 3]),
                ..frame
            },
            _ => frame,
        })
        .collect();
    feed(&mut packager, &mut player, &frames);
    end(&mut packager, &mut player);
    assert_eq!(player.checked.len(), 3);
    assert_eq!(player.checked["live/s-0.ts"].streams[1].stream_type, 3);
}

#[test]
fn hevc_is_packaged_as_well() {
    let mut hvcc = vec![1u8; 21];
    hvcc.extend_from_slice(&[3, 3]);
    for (kind, unit) in [(32u8, [0x40, 1, 9]), (33, [0x42, 1, 9]), (34, [0x44, 1, 9])] {
        hvcc.extend_from_slice(&[0x80 | kind, 0, 1, 0, 3]);
        hvcc.extend_from_slice(&unit);
    }
    let hvcc = Bytes::from(hvcc);
    let frames: Vec<_> = publish(0, 6_000, 2_000)
        .into_iter()
        .map(|frame| match (frame.codec, frame.is_config()) {
            (Codec::H264, true) => Frame { codec: Codec::H265, payload: hvcc.clone(), ..frame },
            (Codec::H264, false) => {
                let first = if frame.is_key() { 0x26 } else { 0x02 };
                let payload = Bytes::from(vec![0, 0, 0, 5, first, 1, 7, 7, 7]);
                Frame { codec: Codec::H265, payload, ..frame }
            }
            _ => frame,
        })
        .collect();
    let mut packager = Packager::new(fast(), name()).unwrap();
    let mut player = Player::default();
    feed(&mut packager, &mut player, &frames);
    end(&mut packager, &mut player);
    assert_eq!(player.checked["live/s-2.ts"].streams[0].stream_type, 0x24);
}

#[test]
fn a_codec_without_a_place_is_left_out_and_the_sound_goes_on() {
    let mut packager = Packager::new(fast(), name()).unwrap();
    let (mut player, mut out) = (Player::default(), Vec::new());
    for frame in publish(0, 20_000, 2_000) {
        let frame = match frame.codec {
            Codec::H264 => Frame { codec: Codec::Av1, ..frame },
            _ => frame,
        };
        let result = packager.push(&frame, wall(0), &mut out);
        let expected =
            if frame.codec == Codec::Av1 { Err(LeftOut::Codec(Codec::Av1)) } else { Ok(()) };
        assert_eq!(result, expected);
        player.take(&mut out);
    }
    end(&mut packager, &mut player);
    assert_eq!(player.last.segments[0].duration, 4.2);
    let sounds: usize = player
        .checked
        .values()
        .map(|facts| facts.units.iter().map(|(unit, ..)| unit.data.len() / 47).sum::<usize>())
        .sum();
    assert_eq!(sounds, 1_000);
}

#[test]
fn disposal_removes_everything_and_the_numbers_go_on() {
    let mut packager = Packager::new(fast(), name()).unwrap();
    let mut player = Player::default();
    feed(&mut packager, &mut player, &publish(0, 30_000, 2_000));
    end(&mut packager, &mut player);
    let mut out = Vec::new();
    packager.dispose(&mut out);
    player.take(&mut out);
    assert!(player.files.is_empty());
    player.history = History::new();
    packager.dispose(&mut out);
    assert_eq!(out, []);
    feed(&mut packager, &mut player, &publish(0, 5_000, 2_000));
    assert_eq!(player.last.media_sequence, 15);
}

#[test]
fn a_segment_of_less_than_100_ms_is_not_written_and_its_number_comes_again() {
    let mut packager = Packager::new(fast(), name()).unwrap();
    let mut player = Player::default();
    feed(&mut packager, &mut player, &publish(0, 60, 2_000));
    end(&mut packager, &mut player);
    assert!(player.files.is_empty());
    feed(&mut packager, &mut player, &publish(0, 1_000, 2_000));
    end(&mut packager, &mut player);
    assert_eq!(player.done[0].sequence, 0);
}

#[test]
fn names_are_made_of_the_time_the_segment_began_and_the_length_it_got() {
    let config = HlsConfig {
        ts_file: "[app]/[stream]/[2006][01][02]/[15][04][05]-[seq]-[duration].ts".into(),
        entry_prefix: "http://cdn".into(),
        ..fast()
    };
    let mut packager = Packager::new(config, name()).unwrap();
    let mut out = Vec::new();
    for frame in publish(0, 2_040, 2_000) {
        packager.push(&frame, wall(frame.dts.as_millis()), &mut out).unwrap();
    }
    let Some(Output::Done(done)) = out.last() else { panic!("{out:?}") };
    assert_eq!(done.path, "live/s/20231114/221320-0-2000.ts");
    assert_eq!(done.uri, "http://cdn/live/s/20231114/221320-0-2000.ts");
}

#[test]
fn floor_names_count_fragments_and_jump_when_the_clock_does() {
    let config = HlsConfig { ts_floor: true, ts_file: "[app]/[timestamp].ts".into(), ..fast() };
    let mut packager = Packager::new(config, name()).unwrap();
    let mut out = Vec::new();
    let base = 1_700_000_000_000 / 2_000;
    for frame in publish(0, 20_000, 400) {
        let ms = frame.dts.as_millis();
        let jump = if ms > 10_000 { 100_000_000 } else { 0 };
        packager.push(&frame, wall(ms + jump), &mut out).unwrap();
    }
    let names: Vec<i64> = out
        .iter()
        .filter_map(|output| match output {
            Output::Done(done) => {
                Some(done.path["live/".len()..done.path.len() - 3].parse::<i64>().unwrap() - base)
            }
            _ => None,
        })
        .collect();
    assert_eq!(names[0], -1);
    assert!(names.windows(2).all(|pair| pair[1] == pair[0] + 1 || pair[1] > 50_000));
    assert!(*names.last().unwrap() > 50_000);
}

#[test]
fn times_counted_from_samples_are_even_and_follow_a_gap() {
    let mut clock = SampleClock::default();
    assert_eq!(clock.place(&config(Codec::Aac, ASC)), None);
    let mut times = Vec::new();
    for n in 0..100i64 {
        let jitter = if n % 2 == 0 { 0 } else { 9 };
        let gap = if n >= 50 { 5_000 } else { 0 };
        let at = clock.place(&sound(n * 1024 * 1000 / 44_100 + jitter + gap)).unwrap();
        times.push(at.as_micros());
    }
    let steps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(steps.iter().filter(|step| (23_219..=23_221).contains(*step)).count(), 98);
    assert!(steps[49] > 5_000_000);
}

#[test]
fn a_name_that_leads_elsewhere_gets_no_hls() {
    let name = StreamName { stream: "../x".into(), ..name() };
    assert_eq!(Packager::new(fast(), name).map(|_| ()), Err(PathError::Escape));
    let mut packager = Packager::new(fast(), self::name()).unwrap();
    let bad = HlsConfig { ts_file: "../[seq].ts".into(), ..fast() };
    assert_eq!(packager.configure(&bad), Err(PathError::Escape));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_publishers_do_readers_find_nothing_wrong(
        publishes in prop::collection::vec((0i64..200_000_000, 20i64..30_000, 1i64..120), 1..5),
        window in 0u64..20, cut in 1u64..5,
    ) {
        let settings = HlsConfig {
            fragment: Duration::from_secs(cut),
            window: Duration::from_secs(window),
            ..HlsConfig::default()
        };
        let mut packager = Packager::new(settings, name()).unwrap();
        let mut player = Player { lax: true, ..Player::default() };
        let mut sent = 0;
        let mut out = Vec::new();
        let ends = publishes.len();
        for (from, length, gop) in publishes {
            let from = from / 20 * 20;
            let frames = publish(from, from + length, gop * 40);
            feed(&mut packager, &mut player, &frames);
            end(&mut packager, &mut player);
            sent += frames.iter().filter(|frame| frame.is_media()).count();
        }
        let units: usize = player.checked.values().map(|facts| facts.units.len()).sum();
        // Each publish may end with less than 100 ms, which are dropped: 8 frames of these.
        prop_assert!(units <= sent && units + 8 * ends >= sent, "{} of {}", units, sent);
        packager.dispose(&mut out);
        player.take(&mut out);
        prop_assert!(player.files.is_empty());
    }
}

#[test]
fn three_target_durations_to_the_millisecond_are_enough() {
    // Found by the property test above: 12 s in pieces whose sum in binary is less by a hair.
    let settings = HlsConfig {
        fragment: Duration::from_secs(3),
        window: Duration::from_secs(10),
        ..HlsConfig::default()
    };
    let mut packager = Packager::new(settings, name()).unwrap();
    let mut player = Player { lax: true, ..Player::default() };
    for (from, length, gop) in [(0, 11_481, 87), (0, 2161, 1), (202_820, 27_639, 119)] {
        let frames = publish(from, from + length, gop * 40);
        feed(&mut packager, &mut player, &frames);
        end(&mut packager, &mut player);
    }
    assert!(player.last.segments.len() > 1);
}
