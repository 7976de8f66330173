//! The media that the tests publish, made once from nothing and kept.
//!
//! Each second opens with a white flash of one frame and a beep of 40 ms together, so that
//! [`sync`](crate::sync) can be measured after any road; a moving test picture stands in a corner.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::program::{Program, command, run};
use crate::{Context, Result, Server};

/// Raise it when the way the samples are made changes, so that old ones are not used.
const GENERATION: u32 = 1;

/// One clip of 20 s, with a key frame each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// H.264 High without B-frames, AAC-LC 44.1 kHz stereo.
    H264Aac,
    /// The same with two B-frames between references.
    BFrames,
    /// AAC-LC alone.
    Aac,
    /// H.264 and MP3.
    H264Mp3,
    /// MP3 alone.
    Mp3,
    /// HEVC and AAC, as Enhanced RTMP carries them.
    HevcAac,
    /// AV1 and AAC, as Enhanced RTMP carries them.
    Av1Aac,
    /// VP9 and Opus, as Enhanced RTMP carries them.
    Vp9Opus,
    /// H.264 and FLAC, the latter as Enhanced RTMP carries it.
    H264Flac,
    /// H.264 and AC-3, the latter as Enhanced RTMP carries it.
    H264Ac3,
}

impl Sample {
    /// What ffprobe calls its video, if it has any.
    pub fn video(self) -> Option<&'static str> {
        match self {
            Self::H264Aac | Self::BFrames | Self::H264Mp3 | Self::H264Flac | Self::H264Ac3 => {
                Some("h264")
            }
            Self::HevcAac => Some("hevc"),
            Self::Av1Aac => Some("av1"),
            Self::Vp9Opus => Some("vp9"),
            Self::Aac | Self::Mp3 => None,
        }
    }

    /// What ffprobe calls its audio.
    pub fn audio(self) -> &'static str {
        match self {
            Self::H264Mp3 | Self::Mp3 => "mp3",
            Self::Vp9Opus => "opus",
            Self::H264Flac => "flac",
            Self::H264Ac3 => "ac3",
            Self::H264Aac | Self::BFrames | Self::Aac | Self::HevcAac | Self::Av1Aac => "aac",
        }
    }

    /// Whether only an ffmpeg that speaks Enhanced RTMP can publish and read it.
    pub fn enhanced(self) -> bool {
        matches!(
            self,
            Self::HevcAac | Self::Av1Aac | Self::Vp9Opus | Self::H264Flac | Self::H264Ac3
        )
    }

    /// The program that publishes it.
    pub fn ffmpeg(self) -> String {
        let newer = std::env::var("MILLRACE_NEWER_FFMPEG").ok().filter(|_| self.enhanced());
        newer.unwrap_or_else(|| "ffmpeg".into())
    }

    /// Its file, made if it is not there yet.
    pub fn file(self) -> Result<PathBuf> {
        let dir = crate::folder()?.join("media");
        std::fs::create_dir_all(&dir)?;
        // FLV keeps decoding times, which Matroska does not.
        let file = dir.join(format!("{self:?}-{GENERATION}.flv").to_ascii_lowercase());
        // Tests run in several processes: one makes it, the others wait.
        let lock = File::create(dir.join(format!("{self:?}.lock")))?;
        lock.lock()?;
        if !file.exists() {
            let part = file.with_extension("part.flv");
            let made =
                run(self.recipe(&part), &dir, &format!("{self:?}"), Duration::from_secs(180));
            made?.well().with_context(|| format!("making {self:?}"))?;
            std::fs::rename(&part, &file)?;
        }
        Ok(file)
    }

    fn recipe(self, to: &Path) -> Command {
        let pictures = "color=black:s=320x180:r=25,\
             drawbox=color=white:t=fill:enable=lt(mod(t\\,1)\\,0.039)[flash];\
             testsrc2=s=160x90:r=25[moving];[flash][moving]overlay=8:8[v]";
        let sound = "aevalsrc=0.8*sin(2*PI*880*t)*lt(mod(t\\,1)\\,0.04):s=44100:c=stereo[a]";
        let mut ffmpeg = command(&self.ffmpeg(), ["-v", "error", "-y", "-filter_complex"]);
        let gop = ["-g", "25", "-keyint_min", "25", "-pix_fmt", "yuv420p", "-b:v", "300k"];
        match self.video() {
            Some(_) => ffmpeg
                .args([&format!("{pictures};{sound}"), "-map", "[v]", "-map", "[a]"])
                .args(gop),
            None => ffmpeg.args([sound, "-map", "[a]"]),
        };
        match self {
            Self::H264Aac | Self::H264Mp3 | Self::H264Flac | Self::H264Ac3 => {
                ffmpeg.args(["-c:v", "libx264", "-bf", "0"])
            }
            Self::Vp9Opus => ffmpeg.args(["-c:v", "libvpx-vp9"]),
            Self::BFrames => ffmpeg.args(["-c:v", "libx264", "-bf", "2", "-b_strategy", "0"]),
            Self::HevcAac => ffmpeg.args(["-c:v", "libx265", "-x265-params", "log-level=error"]),
            Self::Av1Aac => ffmpeg.args(["-c:v", "libsvtav1", "-svtav1-params", "lp=2"]),
            Self::Aac | Self::Mp3 => &mut ffmpeg,
        };
        match self {
            Self::H264Aac | Self::H264Mp3 | Self::BFrames | Self::H264Flac | Self::H264Ac3 => {
                ffmpeg.args(["-profile:v", "high", "-preset", "veryfast", "-sc_threshold", "0"]);
            }
            Self::HevcAac => _ = ffmpeg.args(["-preset", "ultrafast"]),
            Self::Av1Aac => _ = ffmpeg.args(["-preset", "12"]),
            Self::Vp9Opus => _ = ffmpeg.args(["-deadline", "realtime", "-cpu-used", "8"]),
            Self::Aac | Self::Mp3 => {}
        }
        let audio = match self.audio() {
            "mp3" => "libmp3lame",
            "opus" => "libopus",
            other => other,
        };
        ffmpeg.args(["-c:a", audio, "-b:a", "64k", "-t", "20", "-f", "flv"]).arg(to);
        ffmpeg
    }

    /// Publishes it in a loop, at the speed of life, until the program is dropped.
    pub fn publish(self, server: &Server, url: &str) -> Result<Program> {
        self.publish_with(server, url, &[])
    }

    /// The same with options of ffmpeg's for the output.
    pub fn publish_with(self, server: &Server, url: &str, options: &[&str]) -> Result<Program> {
        let mut ffmpeg =
            command(&self.ffmpeg(), ["-v", "error", "-re", "-stream_loop", "-1", "-i"]);
        ffmpeg.arg(self.file()?).args(["-c", "copy"]).args(options).args(["-f", "flv", url]);
        let name = format!("publish-{}", crate::record::serial());
        Program::start(ffmpeg, &server.dir, &name)
    }
}
