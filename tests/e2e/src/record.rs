//! Playing a stream by every wire it comes on, and keeping what came.

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tungstenite::Message;

use crate::program::{command, run};
use crate::{Context, PATIENCE, Result, Sample, Server, ensure, http};

/// The ways in which a stream can be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// RTMP.
    Rtmp,
    /// FLV over HTTP.
    Flv,
    /// FLV over WebSocket, on the same path.
    WsFlv,
    /// MPEG-TS over HTTP.
    Ts,
    /// AAC with ADTS headers over HTTP.
    Aac,
    /// MP3 over HTTP.
    Mp3,
    /// HLS.
    Hls,
}

/// A number that no other recording of this process has.
pub fn serial() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Wire {
    /// Plays `path` (`live/livestream`) for some seconds; gives the file with what came.
    ///
    /// FLV, TS, AAC and MP3 are kept byte for byte. RTMP and HLS are read by ffmpeg, which copies
    /// the packets with their timestamps into FLV and TS.
    pub fn record(
        self,
        server: &Server,
        path: &str,
        sample: Sample,
        seconds: u32,
    ) -> Result<PathBuf> {
        let name = format!("{}-{self:?}", serial());
        let file = |end: &str| server.dir.join(format!("{name}.{end}"));
        let time = Duration::from_secs(seconds.into());
        let direct = |end: &str| {
            let file = file(end);
            over_http(server, &format!("/{path}.{end}"), time, &file)?;
            Ok(file)
        };
        match self {
            Self::Rtmp => {
                let file = file("flv");
                by_ffmpeg(server, &server.rtmp(path), sample, seconds, &file, &name)?;
                Ok(file)
            }
            Self::Hls => {
                let url = server.http(&format!("{path}.m3u8"));
                let file = file("ts");
                by_ffmpeg(server, &url, sample, seconds, &file, &name)?;
                Ok(file)
            }
            Self::Flv => direct("flv"),
            Self::Ts => direct("ts"),
            Self::Aac => direct("aac"),
            Self::Mp3 => direct("mp3"),
            Self::WsFlv => {
                let file = file("flv");
                over_websocket(server, &format!("/{path}.flv"), time, &file)?;
                Ok(file)
            }
        }
    }
}

fn by_ffmpeg(
    server: &Server,
    url: &str,
    sample: Sample,
    seconds: u32,
    file: &Path,
    name: &str,
) -> Result<()> {
    let mut ffmpeg = command(&sample.ffmpeg(), ["-v", "error", "-y", "-copyts", "-i", url]);
    // `-t` counts from zero where timestamps are kept; the time from the start is meant.
    ffmpeg.args(["-map", "0", "-c", "copy", "-start_at_zero", "-t", &seconds.to_string()]);
    ffmpeg.args(["-muxdelay", "0", "-muxpreload", "0"]).arg(file);
    run(ffmpeg, &server.dir, name, PATIENCE)?.well().with_context(|| format!("ffmpeg -i {url}"))?;
    Ok(())
}

fn over_http(server: &Server, path: &str, time: Duration, file: &Path) -> Result<()> {
    let mut out = File::create(file)?;
    let live = http::stream(server.http_address()?, path, &[], time, &mut |bytes| {
        out.write_all(bytes).map_err(Into::into)
    })?;
    ensure!(live.status == 200, "GET {path}: {}", live.status);
    ensure!(!live.closed, "GET {path}: the server closed before the time was over");
    Ok(())
}

fn over_websocket(server: &Server, path: &str, time: Duration, file: &Path) -> Result<()> {
    let at = server.http_address()?;
    let socket = TcpStream::connect_timeout(&at, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let (mut socket, _) = tungstenite::client(format!("ws://{at}{path}"), socket)
        .map_err(|e| crate::anyhow!("no WebSocket on {path}: {e}"))?;
    let mut out = File::create(file)?;
    let end = Instant::now() + time;
    while Instant::now() < end {
        match socket.read()? {
            Message::Binary(bytes) => out.write_all(&bytes)?,
            Message::Ping(_) | Message::Pong(_) => {}
            other => crate::bail!("{path}: {other:?} on a WebSocket that carries FLV"),
        }
    }
    Ok(())
}
