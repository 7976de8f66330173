use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use media::{Codec, Flags, Frame, Timestamp};

use super::*;
use crate::validate::{History, Playlist};
use crate::writer::Apply;
use crate::{DiskError, HlsConfig, StreamName, WallTime};

const VHOST: &str = "__defaultVhost__";
const URL: &str = "/live/s";
/// Seven segments of the larger sort.
const WAITING_MAX: usize = 50_000;

/// One stream of one-second segments of sound, with all that brings it to players.
struct Rig {
    packager: Packager,
    delivery: Delivery,
    store: Arc<Store>,
    writer: Writer,
    root: tempfile::TempDir,
    history: History,
    ms: i64,
}

fn rig(storage: Storage, waiting_max: usize, payload: usize, apply: Apply) -> (Rig, Frame) {
    let root = tempfile::tempdir().unwrap();
    let config = HlsConfig {
        fragment: Duration::from_secs(1),
        aof_ratio: 1.0,
        window: Duration::from_secs(6),
        ..HlsConfig::default()
    };
    let name = StreamName { vhost: VHOST.into(), app: "live".into(), stream: "s".into() };
    let mut packager = Packager::new(config, name).unwrap();
    let store = Store::new();
    let delivery = Delivery::new(&store, URL.into(), VHOST, Disk::new(root.path()), storage);
    let writer = Writer::start_with(apply, waiting_max).unwrap();
    let config = frame(Flags::CONFIG, 0, vec![0x12, 0x10]);
    packager.push(&config, WallTime::default(), &mut Vec::new()).unwrap();
    let history = History::default();
    let sound = frame(Flags::empty(), 0, vec![0x21; payload]);
    (Rig { packager, delivery, store, writer, root, history, ms: 0 }, sound)
}

fn frame(flags: Flags, ms: i64, payload: impl Into<Bytes>) -> Frame {
    let dts = Timestamp::from_millis(ms);
    Frame { codec: Codec::Aac, track: 0, flags, tag: 0, dts, pts: dts, payload: payload.into() }
}

impl Rig {
    /// Another second of sound; then every segment that the playlist names must be readable.
    fn second(&mut self, sound: &Frame) {
        for _ in 0..10 {
            let dts = Timestamp::from_millis(self.ms);
            let mut out = Vec::new();
            let sound = Frame { dts, pts: dts, ..sound.clone() };
            self.packager.push(&sound, WallTime::default(), &mut out).unwrap();
            if !out.is_empty() {
                self.delivery.carry_out(&self.writer, &mut self.packager, out, None);
                self.all_can_be_read();
            }
            self.ms += 100;
        }
    }

    /// The playlist that is served now, of which every segment is in memory or on disk.
    fn all_can_be_read(&mut self) -> Option<Playlist> {
        let playlist = self.store.get(VHOST, "live/s.m3u8")?;
        let playlist = self.history.push(std::str::from_utf8(&playlist).unwrap()).unwrap();
        for segment in &playlist.segments {
            let path = format!("live/{}", segment.uri);
            // As a request does it: the memory first, then the file server.
            let there =
                self.store.get(VHOST, &path).is_some() || self.root.path().join(&path).is_file();
            assert!(there, "{path} is listed and cannot be read");
        }
        Some(playlist)
    }

    fn on_disk(&self) -> Option<Playlist> {
        let text = std::fs::read_to_string(self.root.path().join("live/s.m3u8")).ok()?;
        let playlist = Playlist::decode(&text).unwrap();
        for segment in &playlist.segments {
            let path = self.root.path().join("live").join(&segment.uri);
            assert!(path.is_file(), "{} is listed on disk and not there", segment.uri);
        }
        Some(playlist)
    }
}

/// A disk that does one thing for each leave it is given; for ever, once the giver is gone.
fn slow() -> (Sender<()>, Apply) {
    let (give, take): (_, Receiver<()>) = channel();
    let apply = move |disk: &Disk, output: &Output| {
        let _ = take.recv();
        disk.apply(output)
    };
    (give, Box::new(apply))
}

#[test]
fn every_segment_that_a_served_playlist_names_can_be_read_while_the_disk_is_slow() {
    let (leave, apply) = slow();
    let (mut rig, sound) = rig(Storage::Disk, usize::MAX, 30, apply);
    for second in 0..40 {
        rig.second(&sound);
        // The disk does one thing each second, where three are wanted.
        if second % 2 == 0 {
            leave.send(()).unwrap();
        }
    }
    assert!(rig.store.usage().0 > 5, "what waits for the disk is in memory");
    drop(leave);
    rig.writer.flush(Duration::from_secs(10));
    let served = rig.all_can_be_read().unwrap();
    assert_eq!(rig.store.usage().0, 1, "all is on disk: but the playlist nothing is in memory");
    assert_eq!(rig.on_disk().unwrap().media_sequence, served.media_sequence);
    assert_eq!(rig.delivery.health().lost(), 0);
}

#[test]
fn in_both_storages_the_memory_keeps_what_is_on_disk() {
    let (mut rig, sound) =
        rig(Storage::Both, usize::MAX, 30, Box::new(|disk, output| disk.apply(output)));
    (0..20).for_each(|_| rig.second(&sound));
    rig.writer.flush(Duration::from_secs(10));
    let listed = rig.all_can_be_read().unwrap().segments.len();
    assert!(rig.store.usage().0 > listed);
}

#[test]
fn a_stalled_disk_stops_the_list_before_memory_ends_and_it_goes_on_later() {
    let (leave, apply) = slow();
    let (mut rig, sound) = rig(Storage::Disk, WAITING_MAX, 600, apply);
    (0..14).for_each(|_| rig.second(&sound));
    let before = rig.all_can_be_read().unwrap();
    let (_, held) = rig.store.usage();
    assert!(held <= WAITING_MAX + 1000, "{held} bytes are held");
    assert!(rig.delivery.health().lost() > 2);
    assert!(rig.delivery.health().take_failed());
    drop(leave);
    rig.writer.flush(Duration::from_secs(60));
    let sound = Frame { payload: Bytes::from(vec![0x21; 30]), ..sound };
    (0..3).for_each(|_| rig.second(&sound));
    let after = rig.all_can_be_read().unwrap();
    let next = |p: &Playlist| p.media_sequence + p.segments.len() as u64;
    assert!(next(&after) > next(&before));
    assert!(after.segments.iter().any(|s| s.discontinuity && s.uri != before.segments[0].uri));
    rig.writer.flush(Duration::from_secs(60));
    rig.on_disk().unwrap();
}

#[test]
fn a_segment_that_could_not_be_written_is_served_from_memory_and_written_later() {
    let full = Arc::new(AtomicBool::new(false));
    let disk_full = full.clone();
    let (mut rig, sound) = rig(
        Storage::Disk,
        usize::MAX,
        30,
        Box::new(move |disk, output| match output {
            Output::Write { .. } if disk_full.load(Ordering::SeqCst) => Err(DiskError::Full),
            _ => disk.apply(output),
        }),
    );
    (0..5).for_each(|_| rig.second(&sound));
    rig.writer.flush(Duration::from_secs(10));
    let old = rig.on_disk().unwrap().segments.len();
    full.store(true, Ordering::SeqCst);
    for _ in 0..4 {
        rig.second(&sound);
        rig.writer.flush(Duration::from_secs(10));
        rig.all_can_be_read();
        assert_eq!(rig.on_disk().unwrap().segments.len(), old, "a list on disk is whole");
    }
    assert!(rig.delivery.health().take_failed());
    full.store(false, Ordering::SeqCst);
    rig.second(&sound);
    rig.writer.flush(Duration::from_secs(10));
    let served = rig.all_can_be_read().unwrap();
    assert_eq!(rig.on_disk().unwrap().segments.len(), served.segments.len());
    assert_eq!(rig.store.usage().0, 1);
}

#[test]
fn removals_of_a_refused_batch_are_carried_out_on_their_own_disk() {
    let (leave, apply) = slow();
    let (mut rig, sound) = rig(Storage::Disk, usize::MAX, 30, apply);
    let other = tempfile::tempdir().unwrap();
    let theirs = Disk::new(other.path());
    let path = |root: &std::path::Path| root.join("live/x.ts");
    for root in [rig.root.path(), other.path()] {
        std::fs::create_dir_all(root.join("live")).unwrap();
        std::fs::write(path(root), "x").unwrap();
    }
    // The queue is full of others' work.
    let target = Target {
        stream: "/live/other".into(),
        disk: theirs,
        health: Arc::default(),
        landed: Arc::new(|_, _| {}),
    };
    while rig.writer.send(&target, Vec::new(), None).is_ok() {}
    let gone = Output::Remove { path: "live/x.ts".into(), on_disk: true };
    rig.delivery.carry_out(&rig.writer, &mut rig.packager, vec![gone], None);
    drop(leave);
    // Which takes the owed with it as soon as there is room again.
    while rig.writer.send(&target, Vec::new(), None).is_err() {
        std::thread::yield_now();
    }
    // That may have been refused once more: each further batch takes along what is still owed.
    for _ in 0..100 {
        rig.writer.flush(Duration::from_secs(10));
        if !path(rig.root.path()).exists() {
            break;
        }
        let _ = rig.writer.send(&target, Vec::new(), None);
    }
    assert!(!path(rig.root.path()).exists());
    assert!(path(other.path()).exists(), "a file of another stream was deleted");
    rig.second(&sound);
}
