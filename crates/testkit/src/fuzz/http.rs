//! What viewers send over HTTP, and the playlists that are made from what publishers send.

use std::time::{Duration, Instant};

use container::flv;
use hls::validate::{History, Playlist};
use hls::{HlsConfig, Output, Packager, StreamName, WallTime, context};
use httpflv::path::{Template, normalise, vhost_in_query, without_port};
use httpflv::wire::websocket::{self, Inbox, Said};
use media::Timestamp;
use media::timeline::{Policy, Timeline};

use super::pieces;

/// What a client says comes out the same however it is cut, and little of it is kept.
pub fn websocket(data: &[u8]) {
    let (whole, broken) = said([data].into_iter());
    let (cut, broken_cut) = said(pieces(data));
    assert_eq!((&whole, broken), (&cut, broken_cut), "the cuts matter");
    for said in whole {
        let Said::Ping(payload) = said else { continue };
        assert!(payload.len() <= 125, "a ping of {} bytes", payload.len());
        let mut answer = Vec::new();
        websocket::write_control(websocket::PONG, &payload, &mut answer);
        assert_eq!(answer.len(), payload.len() + 2);
    }
    if let Ok(Some(frame)) = websocket::decode(data) {
        assert!(frame.len <= data.len(), "took bytes that were not there");
    }
}

fn said<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<Said>, Option<u16>) {
    let mut inbox = Inbox::default();
    let mut all = Vec::new();
    for part in parts {
        inbox.push(part);
        loop {
            match inbox.pull() {
                Ok(Some(said)) => all.push(said),
                Ok(None) => break,
                Err(broken) => return (all, Some(broken.code())),
            }
        }
    }
    (all, None)
}

/// No path leads out of its folder; marks and queries cannot add lines to a playlist.
pub fn http_path(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (path, query) = text.split_once('?').unwrap_or((&text, ""));
    if let Ok(path) = normalise(path) {
        let parts = path.strip_prefix('/').unwrap_or(&path).split('/');
        assert!(parts.clone().all(|part| !matches!(part, "" | "." | "..")), "{path:?}");
        assert!(!path.chars().any(char::is_control), "{path:?}");
        for template in ["[vhost]/[app]/[stream].flv", "h/[stream].ts", "h/[stream]/[app].aac"] {
            let found = Template::new(template, "h").and_then(|t| t.find(&path));
            let Some(named) = found else { continue };
            assert!(!named.app.is_empty() && !named.stream.is_empty());
            let name = StreamName { vhost: "v".into(), app: named.app, stream: named.stream };
            if let Ok(packager) = Packager::new(HlsConfig::default(), name) {
                let out = |part: &str| matches!(part, "" | "." | "..");
                assert!(!packager.playlist_path().split('/').any(out));
            }
        }
    }
    let _ = (vhost_in_query(query), without_port(&text));
    let mark = context::find(query).unwrap_or("mark");
    assert!(mark.len() <= 64 && mark.is_ascii());
    let master = context::master(path, mark, Some(query));
    assert_eq!(master.lines().count(), 3, "{master:?}");
    // Not what comes in, but it must be able to bear anything.
    let _ = context::rewrite(&text, mark);
    let _ = Playlist::decode(&text);
}

/// Whatever is published, segments are whole packets and playlists are strictly right, one by one
/// and in their order. The times are mended as the hub does it, or not, as the first byte says.
pub fn hls(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let policy = match first % 4 {
        0 => Policy::Off,
        1 => Policy::Zero,
        _ => Policy::Full,
    };
    let config = HlsConfig {
        fragment: Duration::from_millis(if first & 4 == 0 { 200 } else { 10_000 }),
        window: Duration::from_secs(2),
        dts_directly: first & 8 == 0,
        ts_floor: first & 16 != 0,
        wait_keyframe: first & 32 == 0,
        ..HlsConfig::default()
    };
    let [vhost, app, stream] = ["v", "live", "s"].map(str::to_owned);
    let packager = Packager::new(config, StreamName { vhost, app, stream });
    assert!(packager.is_ok(), "these names are good");
    let Ok(mut packager) = packager else { return };
    let (mut demuxer, mut timeline) = (flv::Demuxer::new(), Timeline::new(policy));
    let (mut frames, mut out) = (Vec::new(), Vec::new());
    let mut wall = WallTime { unix_ms: 1_800_000_000_000, utc_offset_s: 0 };
    let mut now = Instant::now();
    let mut reader = flv::Reader::new();
    reader.push(data);
    while let Ok(Some(tag)) = reader.pull() {
        let _ = demuxer.push(tag.kind, tag.dts(), tag.body.clone(), &mut frames);
        for mut frame in frames.drain(..) {
            wall.unix_ms += 40;
            now += Duration::from_millis(40);
            let dts = if frame.is_media() {
                timeline.apply(frame.kind(), frame.track, frame.dts, now).dts
            } else {
                timeline.last(frame.kind(), frame.track)
            };
            frame.pts =
                Timestamp::from_micros(dts.as_micros().saturating_add(frame.composition_us()));
            frame.dts = dts;
            let _ = packager.push(&frame, wall, &mut out);
        }
    }
    packager.unpublish(&mut out);
    let mut history = History::new();
    for output in out {
        let Output::Write { path, bytes, .. } = output else { continue };
        if path.ends_with(".ts") {
            assert_eq!(bytes.len() % 188, 0, "{path}: a packet is not whole");
            continue;
        }
        let text = String::from_utf8_lossy(&bytes);
        let violation = history.push(&text).err();
        assert_eq!(violation, None, "{path}:\n{text}");
    }
}
