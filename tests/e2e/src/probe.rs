//! What a recording is, as ffprobe sees it.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::program::{command, run};
use crate::{Context, Result, Sample, ensure};

/// A recording, examined.
#[derive(Debug)]
pub struct Probe {
    /// One entry per track.
    pub tracks: Vec<Track>,
    /// What ffprobe warned of.
    pub warnings: String,
}

/// A track and its packets.
#[derive(Debug)]
pub struct Track {
    /// `h264`, `aac` ...
    pub codec: String,
    /// `video` or `audio`.
    pub kind: String,
    /// The whole entry, for what is rarely asked.
    pub entry: Value,
    /// In the order of the file.
    pub packets: Vec<Packet>,
}

/// One packet; times in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Decoding time.
    pub dts: f64,
    /// Presentation time.
    pub pts: f64,
    /// A decoder can start here.
    pub key: bool,
}

/// Examines a file or URL. An FLV file of an [enhanced](Sample::enhanced) sample is first copied
/// into another container by the newer ffmpeg, since Debian 12's cannot read it.
pub fn probe(input: &str, sample: Sample, dir: &Path) -> Result<Probe> {
    let name = format!("probe-{}", crate::record::serial());
    let limit = Duration::from_secs(60);
    let mut input = input.to_owned();
    if sample.enhanced() && input.ends_with(".flv") {
        // TS keeps decoding times; what has no place there needs none.
        let copy = if sample == Sample::HevcAac { "ts" } else { "mkv" };
        let copy = dir.join(format!("{name}.{copy}"));
        let mut ffmpeg = command(&sample.ffmpeg(), ["-v", "error", "-y", "-copyts", "-i", &input]);
        ffmpeg.args(["-map", "0", "-c", "copy", "-muxdelay", "0", "-muxpreload", "0"]).arg(&copy);
        run(ffmpeg, dir, &format!("{name}-copy"), limit)?.well()?;
        input = copy.display().to_string();
    }
    let what = ["-v", "warning", "-show_streams", "-show_packets", "-of", "json", &input];
    let run = run(command("ffprobe", what), dir, &name, limit)?.well()?;
    let json: Value = serde_json::from_str(&run.stdout)?;
    let list = |key: &str| json.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let packets = list("packets");
    let track = |entry: &Value| -> Result<Track> {
        let text =
            |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let index = entry.get("index").context("a track has a number")?;
        let own = packets.iter().filter(|p| p.get("stream_index") == Some(index));
        Ok(Track {
            codec: text("codec_name"),
            kind: text("codec_type"),
            packets: own.filter_map(packet).collect(),
            entry: entry.clone(),
        })
    };
    let tracks = list("streams").iter().map(track).collect::<Result<_>>()?;
    Ok(Probe { tracks, warnings: run.stderr })
}

fn packet(packet: &Value) -> Option<Packet> {
    let time = |key: &str| packet.get(key)?.as_str()?.parse().ok();
    let pts: Option<f64> = time("pts_time");
    let dts: Option<f64> = time("dts_time");
    let flags = packet.get("flags").and_then(Value::as_str).unwrap_or_default();
    Some(Packet { dts: dts.or(pts)?, pts: pts.or(dts)?, key: flags.starts_with('K') })
}

impl Probe {
    /// The track of that kind.
    pub fn track(&self, kind: &str) -> Result<&Track> {
        self.tracks.iter().find(|t| t.kind == kind).with_context(|| format!("no {kind} track"))
    }

    /// Fails unless it holds exactly those codecs.
    pub fn holds(&self, video: Option<&str>, audio: Option<&str>) -> Result<()> {
        let mut expected: Vec<_> = video.into_iter().chain(audio).collect();
        let mut found: Vec<_> = self.tracks.iter().map(|t| t.codec.as_str()).collect();
        expected.sort_unstable();
        found.sort_unstable();
        ensure!(found == expected, "holds {found:?} and not {expected:?}");
        Ok(())
    }

    /// Fails unless decoding time never falls in a track, and never leaps by more than `gap` s.
    pub fn runs_on(&self, gap: f64) -> Result<()> {
        for track in &self.tracks {
            let count = track.packets.len();
            ensure!(count >= 10, "{}: only {count} packets came", track.codec);
            for pair in track.packets.windows(2) {
                let [a, b] = pair else { continue };
                let step = b.dts - a.dts;
                ensure!(step >= 0.0, "{}: time falls from {} to {}", track.codec, a.dts, b.dts);
                ensure!(step <= gap, "{}: time leaps from {} to {}", track.codec, a.dts, b.dts);
            }
        }
        Ok(())
    }

    /// Seconds of media, by the longest track.
    pub fn seconds(&self) -> f64 {
        let span = |t: &Track| match (t.packets.first(), t.packets.last()) {
            (Some(first), Some(last)) => last.dts - first.dts,
            _ => 0.0,
        };
        self.tracks.iter().map(span).fold(0.0, f64::max)
    }
}
