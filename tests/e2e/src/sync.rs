//! How far sound and picture are apart, by the flashes and beeps of the samples.

use std::path::Path;

use crate::program::{command, run};
use crate::{Context, PATIENCE, Result, Sample, ensure};

/// For each flash of a recording, when the beep beside it began, in seconds after the flash.
///
/// The first and last are left out: a recording may begin or end within one. Decodes the file.
pub fn offsets(file: &Path, sample: Sample, dir: &Path) -> Result<Vec<f64>> {
    let name = format!("sync-{}", crate::record::serial());
    let flashes = dir.join(format!("{name}-flashes"));
    let beeps = dir.join(format!("{name}-beeps"));
    let see =
        format!("signalstats,metadata=print:key=lavfi.signalstats.YAVG:file={}", flashes.display());
    // Pieces of 220 samples: 5 ms.
    let hear = format!(
        "asetnsamples=n=220:p=0,astats=metadata=1:reset=1,\
         ametadata=print:key=lavfi.astats.Overall.RMS_level:file={}",
        beeps.display()
    );
    let mut ffmpeg = command(&sample.ffmpeg(), ["-v", "error", "-y", "-copyts", "-i"]);
    ffmpeg.arg(file).args(["-map", "0:v", "-vf", &see, "-f", "null", "-"]);
    ffmpeg.args(["-map", "0:a", "-af", &hear, "-f", "null", "-"]);
    // A recording that was cut in the middle of a packet makes ffmpeg complain; what it decoded
    // counts.
    run(ffmpeg, dir, &name, PATIENCE)?;
    let flashes = onsets(&std::fs::read_to_string(flashes)?, 120.0);
    let beeps = onsets(&std::fs::read_to_string(beeps)?, -30.0);
    let inner = flashes.get(1..flashes.len().saturating_sub(1)).unwrap_or_default();
    ensure!(inner.len() >= 2, "only {} flashes in {}", flashes.len(), file.display());
    let nearest = |flash: &f64| {
        let offsets = beeps.iter().map(|beep| beep - flash);
        offsets.min_by(|a, b| a.abs().total_cmp(&b.abs())).context("no beep at all")
    };
    inner.iter().map(nearest).collect()
}

/// Fails where a beep of the recording is more than 40 ms away from where the sample has it.
pub fn kept(file: &Path, sample: Sample, dir: &Path) -> Result<()> {
    let before = offsets(&sample.file()?, sample, dir)?;
    let usual = before.iter().sum::<f64>() / before.len() as f64;
    for after in offsets(file, sample, dir)? {
        let moved = (after - usual) * 1000.0;
        ensure!(moved.abs() <= 40.0, "sound moved by {moved:.0} ms against the picture");
    }
    Ok(())
}

/// The times at which the values printed by the `metadata` filters rise above `level`.
fn onsets(text: &str, level: f64) -> Vec<f64> {
    let mut onsets = Vec::new();
    let (mut time, mut above) = (0.0, false);
    for line in text.lines() {
        if let Some((_, t)) = line.split_once("pts_time:") {
            time = t.trim().parse().unwrap_or(time);
        } else if let Some((_, value)) = line.split_once('=') {
            let value: f64 = value.trim().parse().unwrap_or(f64::NEG_INFINITY);
            if value > level && !above {
                onsets.push(time);
            }
            above = value > level;
        }
    }
    onsets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_onset_is_where_a_value_rises() {
        let text = "frame:0 pts:0 pts_time:0\nk=16\nframe:1 pts:1 pts_time:0.04\nk=200\n\
                    frame:2 pts:2 pts_time:0.08\nk=210\nframe:3 pts:3 pts_time:0.12\nk=-inf\n\
                    frame:4 pts:4 pts_time:1.04\nk=201\n";
        assert_eq!(onsets(text, 120.0), [0.04, 1.04]);
    }
}
