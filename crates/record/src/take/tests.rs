use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use media::Codec;

use super::*;

/// A disk in memory, with so much room.
#[derive(Default)]
struct Memory {
    room: usize,
    done: BTreeMap<String, Vec<u8>>,
    open: Option<(String, Vec<u8>)>,
    /// Bytes that a failed write has left behind.
    torn: usize,
}

impl Memory {
    fn new(room: usize) -> Self {
        Self { room, ..Self::default() }
    }

    fn used(&self) -> usize {
        let open = self.open.iter().map(|(_, bytes)| bytes.len());
        self.done.values().map(Vec::len).chain(open).sum::<usize>() + self.torn
    }
}

impl Files for Memory {
    fn begin(&mut self, path: &str) -> Result<(), FileError> {
        if self.done.contains_key(path) {
            return Err(FileError::Exists);
        }
        assert!(self.open.is_none());
        self.open = Some((path.to_owned(), Vec::new()));
        Ok(())
    }

    fn resume(&mut self, _: &str) -> Result<Option<flv::FileMuxer>, FileError> {
        Ok(None)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        if self.used() + bytes.len() > self.room {
            self.torn = self.room - self.used();
            return Err(FileError::Full);
        }
        self.open.as_mut().unwrap().1.extend_from_slice(bytes);
        Ok(())
    }

    fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<(), FileError> {
        let at = at as usize;
        self.open.as_mut().unwrap().1[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn cut(&mut self) -> Result<(), FileError> {
        self.torn = 0;
        Ok(())
    }

    fn len(&self) -> u64 {
        self.open.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64)
    }

    fn finish(&mut self) -> Result<(), FileError> {
        assert_eq!(self.torn, 0, "half a write is in the file");
        let (path, bytes) = self.open.take().unwrap();
        if self.done.insert(path, bytes).is_some() {
            return Err(FileError::Denied(ErrorKind::AlreadyExists));
        }
        Ok(())
    }

    fn discard(&mut self) {
        self.open = None;
        self.torn = 0;
    }
}

fn config(plan: Plan, template: &str) -> DvrConfig {
    DvrConfig {
        enabled: true,
        apply: vec!["all".into()],
        plan,
        root: "./html".into(),
        template: template.into(),
        format: if template.ends_with(".mp4") { Format::Mp4 } else { Format::Flv },
        duration: Duration::from_secs(3),
        wait_keyframe: true,
        keep_times: false,
    }
}

struct Rig {
    take: Take,
    disk: Memory,
    events: Vec<Event>,
}

fn rig(config: DvrConfig, room: usize) -> Rig {
    let name = StreamName { vhost: "v".into(), app: "live".into(), stream: "s".into() };
    Rig { take: Take::new(config, name, "x/1"), disk: Memory::new(room), events: Vec::new() }
}

fn frame(codec: Codec, flags: Flags, ms: i64, payload: Vec<u8>) -> Arc<Frame> {
    let dts = Timestamp::from_millis(ms);
    Arc::new(Frame { codec, track: 0, flags, tag: 0, dts, pts: dts, payload: payload.into() })
}

fn moment(ms: i64) -> Moment {
    Moment { wall: WallTime { unix_ms: 1_000_000 + ms, utc_offset_s: 0 }, us: ms * 1000 }
}

fn configs() -> [Arc<Frame>; 2] {
    [
        frame(Codec::H264, Flags::CONFIG, 0, vec![1, 0x42, 0xc0, 0x1e, 0xff, 0xe0, 0]),
        frame(Codec::Aac, Flags::CONFIG, 0, vec![0x12, 0x10]),
    ]
}

impl Rig {
    fn push(&mut self, frame: &Arc<Frame>, ms: i64) {
        self.take.push(frame, moment(ms), &mut self.disk, &mut self.events);
    }

    /// Pictures and sounds each 100 ms, a key frame each second.
    fn publish(&mut self, from: i64, to: i64) {
        for ms in (from..to).step_by(100) {
            let flags = if ms % 1000 == 0 { Flags::KEY } else { Flags::empty() };
            self.push(&frame(Codec::H264, flags, ms, vec![0x65; 100]), ms);
            self.push(&frame(Codec::Aac, Flags::empty(), ms + 10, vec![0x21; 20]), ms);
            self.take.flush(moment(ms), &mut self.disk, &mut self.events);
        }
    }

    fn end(&mut self, ms: i64) {
        self.take.end(moment(ms), &mut self.disk, &mut self.events);
    }

    fn finished(&self) -> Vec<(&str, i64)> {
        let of = |event: &'_ Event| match event {
            Event::Finished { file, duration_us, .. } => Some((file.clone(), *duration_us / 1000)),
            _ => None,
        };
        let all: Vec<_> = self.events.iter().filter_map(of).collect();
        let name = |(file, ms): &(String, i64)| {
            let known = self.disk.done.keys().find(|path| file.ends_with(path.as_str()));
            (known.unwrap().as_str(), *ms)
        };
        all.iter().map(name).collect()
    }

    fn failures(&self) -> Vec<(String, Option<i64>)> {
        let of = |event: &Event| match event {
            Event::Failed { error, pause_us, .. } => Some((error.to_string(), *pause_us)),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }
}

fn flv_tags(bytes: &[u8]) -> Vec<flv::Tag> {
    let mut reader = flv::Reader::new();
    reader.push(bytes);
    let tags = std::iter::from_fn(|| reader.pull().unwrap()).collect();
    assert_eq!(reader.buffered(), 0, "the file ends within a tag");
    tags
}

#[test]
fn a_session_is_one_file_from_the_first_sound_and_the_first_key_picture() {
    let mut rig = rig(config(Plan::Session, "[app]/[stream].[timestamp].flv"), usize::MAX);
    configs().iter().for_each(|config| rig.push(config, 0));
    rig.publish(500, 9_000);
    assert!(rig.disk.done.is_empty());
    rig.end(9_000);
    assert_eq!(rig.finished(), [("live/s.1000500.flv", 8400)]);
    let Some(Event::Finished { file, bytes, .. }) = rig.events.last() else { panic!() };
    assert_eq!(file, "./html/live/s.1000500.flv");
    let tags = flv_tags(&rig.disk.done["live/s.1000500.flv"]);
    assert_eq!(*bytes, rig.disk.done["live/s.1000500.flv"].len() as u64);
    let pictures = tags.iter().filter(|tag| tag.kind == flv::TagKind::Video);
    assert_eq!(pictures.count(), 1 + 80, "none before the first key frame");
    let sounds = tags.iter().filter(|tag| tag.kind == flv::TagKind::Audio);
    assert_eq!(sounds.count(), 1 + 85);
}

#[test]
fn an_mp4_file_waits_for_the_pictures_that_are_announced() {
    let mut rig = rig(config(Plan::Session, "[stream].[timestamp].mp4"), usize::MAX);
    configs().iter().for_each(|config| rig.push(config, 0));
    // Half a group of pictures, and more than a second of sound.
    for ms in (100..3_000).step_by(100) {
        rig.push(&frame(Codec::H264, Flags::empty(), ms, vec![0x65; 100]), ms);
        rig.push(&frame(Codec::Aac, Flags::empty(), ms, vec![0x21; 20]), ms);
    }
    rig.publish(3_000, 6_000);
    rig.end(6_000);
    assert_eq!(rig.finished().len(), 1);
    assert_eq!(rig.finished()[0].0, "s.1003000.mp4");
}

#[test]
fn segments_end_at_key_frames_and_each_begins_with_the_configurations() {
    for template in ["[stream].[timestamp].flv", "[stream].[timestamp].mp4"] {
        let mut rig = rig(config(Plan::Segment, template), usize::MAX);
        configs().iter().for_each(|config| rig.push(config, 0));
        rig.publish(0, 10_000);
        rig.end(10_000);
        let (names, lengths): (Vec<_>, Vec<_>) = rig.finished().into_iter().unzip();
        assert_eq!(names.len(), 4);
        assert!(names[1].starts_with("s.1003000."));
        assert!(lengths[..3].iter().all(|ms| (2_890..=3_100).contains(ms)), "{lengths:?}");
        for bytes in rig.disk.done.values() {
            if bytes.starts_with(b"FLV") {
                let tags = flv_tags(bytes);
                let firsts: Vec<u8> = tags[..4].iter().map(|tag| tag.body[0]).collect();
                assert_eq!(firsts, [2, 0xaf, 0x17, 0x17], "script, two configurations, key frame");
                assert!(tags[..4].iter().all(|tag| tag.timestamp == 0));
            } else {
                assert!(bytes[4..].starts_with(b"ftyp"));
            }
        }
    }
}

#[test]
fn sound_alone_is_cut_anywhere() {
    let mut rig = rig(config(Plan::Segment, "[stream].[timestamp].flv"), usize::MAX);
    rig.push(&configs()[1], 0);
    for ms in (0..7_000).step_by(20) {
        rig.push(&frame(Codec::Aac, Flags::empty(), ms, vec![0x21; 20]), ms);
    }
    rig.end(7_000);
    assert_eq!(rig.finished().len(), 3);
}

#[test]
fn a_full_disk_ends_the_file_and_it_is_tried_again_at_a_key_frame() {
    let mut rig = rig(config(Plan::Session, "[stream].[timestamp].flv"), 5_000);
    configs().iter().for_each(|config| rig.push(config, 0));
    rig.publish(0, 20_000);
    // What was there is a whole file, and what did not fit is not in it.
    assert_eq!(rig.finished()[0].0, "s.1000000.flv");
    assert!(!flv_tags(&rig.disk.done["s.1000000.flv"]).is_empty());
    let pauses: Vec<_> = rig.failures().into_iter().map(|(_, pause)| pause.unwrap()).collect();
    assert_eq!(pauses[..4], [1_000_000, 2_000_000, 4_000_000, 8_000_000]);
    assert!(rig.failures().iter().all(|(text, _)| text == "the disk is full"));
    // Files that nothing could be written into leave nothing.
    assert_eq!(rig.disk.done.len(), 1);
    rig.disk.room = usize::MAX;
    rig.publish(20_000, 40_000);
    rig.end(40_000);
    let (last, ms) = *rig.finished().last().unwrap();
    let at: i64 = last.split('.').nth(1).unwrap().parse().unwrap();
    assert_eq!(at % 1000, 0, "begins at a key frame");
    assert!(ms > 5_000);
}

#[test]
fn an_mp4_file_on_a_full_disk_keeps_its_whole_fragments() {
    let mut rig = rig(config(Plan::Session, "[stream].[timestamp].mp4"), 9_000);
    configs().iter().for_each(|config| rig.push(config, 0));
    rig.publish(0, 20_000);
    let bytes = &rig.disk.done["s.1000000.mp4"];
    let mut at = 0;
    let mut names = Vec::new();
    while at < bytes.len() {
        names.push(String::from_utf8_lossy(&bytes[at + 4..at + 8]).into_owned());
        at += u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    }
    assert_eq!(at, bytes.len());
    assert_eq!(names[..5], ["ftyp", "free", "moov", "moof", "mdat"]);
    assert_eq!(names.last().unwrap(), "mdat");
}

#[test]
fn a_file_that_is_there_is_not_touched_and_the_publish_is_not_recorded() {
    let mut rig = rig(config(Plan::Segment, "[stream].flv"), usize::MAX);
    rig.disk.done.insert("s.flv".into(), b"old".to_vec());
    configs().iter().for_each(|config| rig.push(config, 0));
    rig.publish(0, 9_000);
    rig.end(9_000);
    assert_eq!(rig.disk.done["s.flv"], b"old");
    let failures = rig.failures();
    assert_eq!(failures.len(), 1);
    assert!(failures[0].0.contains("3082") && failures[0].1.is_none(), "{failures:?}");
}

#[test]
fn a_new_configuration_begins_a_new_mp4_file_and_goes_on_in_an_flv_file() {
    for (template, files) in [("[stream].[timestamp].mp4", 2), ("[stream].[timestamp].flv", 1)] {
        let mut rig = rig(config(Plan::Session, template), usize::MAX);
        configs().iter().for_each(|config| rig.push(config, 0));
        rig.publish(0, 3_000);
        // The same again changes nothing.
        configs().iter().for_each(|config| rig.push(config, 3_000));
        rig.publish(3_000, 5_000);
        let other = vec![1, 0x64, 0, 0x1f, 0xff, 0xe0, 0];
        rig.push(&frame(Codec::H264, Flags::CONFIG, 5_000, other), 5_000);
        rig.publish(5_000, 8_000);
        rig.end(8_000);
        assert_eq!(rig.finished().len(), files, "{template}");
    }
}

#[test]
fn behind_a_gap_pictures_wait_for_a_key_frame() {
    let mut rig = rig(config(Plan::Session, "[stream].[timestamp].flv"), usize::MAX);
    configs().iter().for_each(|config| rig.push(config, 0));
    rig.publish(0, 2_500);
    rig.take.lost();
    rig.publish(2_500, 4_000);
    rig.end(4_000);
    let tags = flv_tags(&rig.disk.done["s.1000000.flv"]);
    let pictures: Vec<u32> = tags
        .iter()
        .filter(|tag| tag.kind == flv::TagKind::Video)
        .map(|tag| tag.timestamp)
        .collect();
    assert!(!pictures.iter().any(|ms| (2_500..3_000).contains(ms)));
    assert!(pictures.contains(&3_000));
}

#[test]
fn a_publish_without_media_leaves_no_file() {
    let mut rig = rig(config(Plan::Session, "[stream].flv"), usize::MAX);
    configs().iter().for_each(|config| rig.push(config, 0));
    rig.end(0);
    assert!(rig.disk.done.is_empty() && rig.disk.open.is_none() && rig.events.is_empty());
}

#[test]
fn a_name_that_leads_elsewhere_is_refused_once() {
    let mut rig = rig(config(Plan::Session, "[app]/[stream].flv"), usize::MAX);
    rig.take.name.stream = "../../etc/cron.d/x".into();
    configs().iter().for_each(|config| rig.push(config, 0));
    rig.publish(0, 9_000);
    assert_eq!(rig.failures().len(), 1);
    assert!(rig.disk.done.is_empty());
}
