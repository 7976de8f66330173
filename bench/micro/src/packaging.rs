//! Frames to wire forms.

use std::time::Duration;

use hls::{HlsConfig, Output, StreamName, WallTime};
use httpflv::packager::{Format, Seed, Tracks, Wire};
use httpflv::wire::Framing;
use hub::{Headers, Packager};
use rtmp::RtmpForm;

use crate::Round;
use crate::stream::{Endless, configs};

/// One round of the stream through a packager.
fn package(mut packager: Box<dyn Packager>) -> Round {
    let mut out = Vec::new();
    packager.prelude(&headers(), None, &mut out);
    for config in configs() {
        packager.push(&config, &mut out);
    }
    let mut frames = Endless::new();
    Box::new(move || {
        let mut written = 0;
        for _ in 0..frames.len() {
            out.clear();
            packager.push(&frames.next(), &mut out);
            written += u64::from(!out.is_empty());
        }
        assert_eq!(written, frames.len() as u64);
        written
    })
}

fn headers() -> Headers {
    Headers {
        generation: 1,
        configs: configs().into_iter().map(Into::into).collect(),
        has_audio: true,
        has_video: true,
        ..Headers::default()
    }
}

/// As a player gets it who asked for nothing else.
pub(crate) fn rtmp() -> Round {
    package(Box::new(RtmpForm {
        chunk_size: 60_000,
        msid: 1,
        audio: true,
        video: true,
        publish: false,
    }))
}

fn http(format: Format, framing: Framing) -> Round {
    let tracks = Tracks { guess: true, audio: true, video: true, drop: true };
    let wire = Wire { format, framing, tracks, fast_cache: Duration::ZERO };
    package(wire.packager(&Seed { headers: headers(), ..Seed::default() }))
}

pub(crate) fn flv_chunked() -> Round {
    http(Format::Flv, Framing::Chunked)
}

pub(crate) fn flv_websocket() -> Round {
    http(Format::Flv, Framing::WebSocket)
}

pub(crate) fn ts() -> Round {
    http(Format::Ts, Framing::Chunked)
}

/// Segments of two seconds and their playlist.
pub(crate) fn hls() -> Round {
    let config =
        HlsConfig { enabled: true, fragment: Duration::from_secs(2), ..HlsConfig::default() };
    let name = StreamName {
        vhost: "__defaultVhost__".into(),
        app: "live".into(),
        stream: "livestream".into(),
    };
    let mut packager = hls::Packager::new(config, name).expect("a plain name");
    let mut frames = Endless::new();
    let mut out = Vec::new();
    let wall = WallTime { unix_ms: 1_700_000_000_000, utc_offset_s: 0 };
    for config in configs() {
        packager.push(&config, wall, &mut out).expect("good configurations");
    }
    let mut segments = 0;
    let mut rounds = 0;
    Box::new(move || {
        for _ in 0..frames.len() {
            packager.push(&frames.next(), wall, &mut out).expect("good frames");
            segments += out.drain(..).filter(|o| matches!(o, Output::Done(_))).count();
        }
        rounds += 1;
        // Two groups of pictures a round; the last one is still open.
        assert_eq!(segments, rounds * 2 - 1);
        frames.len() as u64
    })
}
