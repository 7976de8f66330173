//! The packager with what carries its orders out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hls::{Disk, HlsConfig, Output, Packager, Store, StreamName, WallTime};
use media::{Codec, Flags, Frame, Timestamp};

const VHOST: &str = "__defaultVhost__";

fn frame(flags: Flags, ms: i64, payload: impl Into<Bytes>) -> Frame {
    let dts = Timestamp::from_millis(ms);
    Frame { codec: Codec::Aac, track: 0, flags, tag: 0, dts, pts: dts, payload: payload.into() }
}

/// A packager of two-second segments and what it says of `seconds` of sound.
fn run(seconds: i64) -> (Packager, Vec<Output>) {
    let config = HlsConfig {
        fragment: Duration::from_secs(1),
        aof_ratio: 2.0,
        window: Duration::from_secs(6),
        ..HlsConfig::default()
    };
    let name = StreamName { vhost: VHOST.into(), app: "live".into(), stream: "s".into() };
    let mut packager = Packager::new(config, name).unwrap();
    let mut out = Vec::new();
    packager
        .push(&frame(Flags::CONFIG, 0, vec![0x12, 0x10]), WallTime::default(), &mut out)
        .unwrap();
    for ms in (0..seconds * 1000).step_by(20) {
        packager
            .push(&frame(Flags::empty(), ms, vec![0x21; 30]), WallTime::default(), &mut out)
            .unwrap();
    }
    (packager, out)
}

#[test]
fn disk_and_memory_hold_the_same_files_and_nothing_after_disposal() {
    let root = tempfile::tempdir().unwrap();
    let (disk, store) = (Disk::new(root.path()), Store::new());
    let (mut packager, mut out) = run(60);
    packager.unpublish(&mut out);
    for output in &out {
        disk.apply(output).unwrap();
        store.apply(VHOST, output);
    }
    let folder = root.path().join("live");
    let mut files = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let file = file.unwrap();
        let name = format!("live/{}", file.file_name().to_str().unwrap());
        assert_eq!(store.get(VHOST, &name).unwrap(), std::fs::read(file.path()).unwrap(), "{name}");
        files += 1;
    }
    assert_eq!(store.usage().0, files);
    // Four listed, four lingering, and the playlist.
    assert_eq!(files, 9);

    out.clear();
    packager.dispose(&mut out);
    for output in &out {
        disk.apply(output).unwrap();
        store.apply(VHOST, output);
    }
    assert_eq!(store.usage(), (0, 0));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn a_playlist_is_there_only_when_its_segments_are() {
    let store = Store::new();
    let mut wait = store.wait(VHOST, "live/s.m3u8");
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut wait).poll(&mut cx).is_pending());
    let (_, out) = run(20);
    for output in &out {
        store.apply(VHOST, output);
        let Some(playlist) = store.get(VHOST, "live/s.m3u8") else { continue };
        let playlist = hls::validate::Playlist::decode(std::str::from_utf8(&playlist).unwrap());
        for segment in playlist.unwrap().segments {
            assert!(store.get(VHOST, &format!("live/{}", segment.uri)).is_some());
        }
    }
    let Poll::Ready(Some(playlist)) = Pin::new(&mut wait).poll(&mut cx) else { panic!("held") };
    assert!(playlist.starts_with(b"#EXTM3U\n"));
}

#[test]
fn a_disk_that_fails_does_not_stop_the_packager() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("live"), b"a file where the folder should be").unwrap();
    let disk = Disk::new(root.path());
    let (_, out) = run(20);
    let failures = out.iter().filter(|output| disk.apply(output).is_err()).count();
    assert!(failures > 10);
    let done = out.iter().filter(|output| matches!(output, Output::Done(_))).count();
    assert_eq!(done, 9);
}
