//! The checks themselves, against what ffmpeg makes: they must pass what is good.

use e2e::program::{command, run};
use e2e::{Result, Sample, ensure, need, probe, sync, ts};

const ALL: [Sample; 10] = [
    Sample::H264Aac,
    Sample::BFrames,
    Sample::Aac,
    Sample::H264Mp3,
    Sample::Mp3,
    Sample::HevcAac,
    Sample::Av1Aac,
    Sample::Vp9Opus,
    Sample::H264Flac,
    Sample::H264Ac3,
];

#[test]
fn the_samples_are_what_they_say() -> Result<()> {
    need!("ffmpeg", "ffprobe", "newer ffmpeg");
    let dir = e2e::folder()?.join("run/checkers-samples");
    std::fs::create_dir_all(&dir)?;
    for sample in ALL {
        let probe = probe::probe(&sample.file()?.display().to_string(), sample, &dir)?;
        probe.holds(sample.video(), Some(sample.audio()))?;
        probe.runs_on(0.05)?;
        if let Ok(video) = probe.track("video") {
            let reordered = video.packets.iter().any(|p| p.pts - p.dts > 0.001);
            let expected = matches!(sample, Sample::BFrames | Sample::HevcAac);
            ensure!(reordered == expected, "{sample:?}: reordered is {reordered}");
            let keys = video.packets.iter().filter(|p| p.key).count();
            ensure!(keys >= 20, "{sample:?}: {keys} key frames in 20 s");
        }
    }
    Ok(())
}

#[test]
fn segments_of_ffmpeg_pass_and_a_lost_packet_does_not() -> Result<()> {
    need!("ffmpeg");
    let dir = e2e::folder()?.join("run/checkers-ts");
    std::fs::create_dir_all(&dir)?;
    let file = dir.join("whole.ts");
    let mut ffmpeg = command("ffmpeg", ["-v", "error", "-y", "-i"]);
    ffmpeg.arg(Sample::BFrames.file()?).args(["-c", "copy", "-t", "5", "-pcr_period", "40"]);
    // ffmpeg opens a stream with an SDT; a segment of ours opens with the PAT.
    ffmpeg.args(["-mpegts_flags", "+pat_pmt_at_frames"]).arg(&file);
    run(ffmpeg, &dir, "ffmpeg", e2e::PATIENCE)?.well()?;
    let bytes = std::fs::read(&file)?;
    let whole = bytes.get(188..).unwrap_or_default();
    let segment = ts::check(whole, true)?;
    ensure!(segment.streams.values().copied().eq([0x1B, 0x0F]), "{:?}", segment.streams);
    let lost =
        [whole.get(..188 * 9), whole.get(188 * 10..)].map(Option::unwrap_or_default).concat();
    ensure!(ts::check(&lost, true).is_err(), "a lost packet passes");
    Ok(())
}

#[test]
fn sound_that_is_late_by_80_ms_is_noticed() -> Result<()> {
    need!("ffmpeg");
    let dir = e2e::folder()?.join("run/checkers-sync");
    std::fs::create_dir_all(&dir)?;
    let sample = Sample::H264Aac;
    for (late, kept) in [("0", true), ("0.02", true), ("0.08", false), ("-0.08", false)] {
        let file = dir.join("late.mkv");
        let mut ffmpeg = command("ffmpeg", ["-v", "error", "-y", "-i"]);
        ffmpeg.arg(sample.file()?).args(["-itsoffset", late, "-i"]).arg(sample.file()?);
        ffmpeg.args(["-map", "0:v", "-map", "1:a", "-c", "copy", "-t", "6"]).arg(&file);
        run(ffmpeg, &dir, "ffmpeg", e2e::PATIENCE)?.well()?;
        let found = sync::kept(&file, sample, &dir);
        ensure!(found.is_ok() == kept, "late by {late} s: {found:?}");
    }
    Ok(())
}
