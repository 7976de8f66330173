//! HLS playlists, read as RFC 8216 has them.

use crate::{Context, Result, Server, bail, ensure, http, until};

/// A media playlist.
#[derive(Debug)]
pub struct Playlist {
    /// The path it was read from, with its query.
    pub path: String,
    /// EXT-X-TARGETDURATION.
    pub target: u64,
    /// EXT-X-MEDIA-SEQUENCE.
    pub first: u64,
    /// In order.
    pub segments: Vec<Segment>,
    /// EXT-X-ENDLIST is there.
    pub ended: bool,
}

/// One entry of a playlist.
#[derive(Debug, PartialEq)]
pub struct Segment {
    /// EXTINF, seconds.
    pub duration: f64,
    /// EXT-X-DISCONTINUITY stands before it.
    pub discontinuity: bool,
    /// Where it lies, as a path on the server.
    pub path: String,
}

impl Playlist {
    /// Reads the playlist at `path`, through a master playlist if there is one.
    pub fn read(server: &Server, path: &str) -> Result<Self> {
        let answer = http::get(server.http_address()?, path)?;
        ensure!(answer.status == 200, "GET {path}: {}: {}", answer.status, answer.text());
        let kind = answer.header("content-type").unwrap_or_default().to_ascii_lowercase();
        ensure!(kind.starts_with("application/vnd.apple.mpegurl"), "{path} is {kind:?}");
        let text = answer.text();
        if text.contains("#EXT-X-STREAM-INF") {
            let next = text.lines().find(|l| !l.is_empty() && !l.starts_with('#'));
            return Self::read(server, &beside(path, next.context("an empty master playlist")?));
        }
        Self::parse(path, &text)
    }

    /// Waits until the playlist at `path` has that many segments.
    pub fn wait(server: &Server, path: &str, segments: usize) -> Result<Self> {
        // The session of the first answer is kept, as a player keeps it.
        let own = Self::read(server, path)?.path;
        until(&format!("{path} never has {segments} segments"), || {
            Self::read(server, &own).ok().filter(|p| p.segments.len() >= segments)
        })
    }

    fn parse(path: &str, text: &str) -> Result<Self> {
        let mut lines = text.lines();
        ensure!(lines.next() == Some("#EXTM3U"), "{path} does not open with #EXTM3U");
        let (mut target, mut first, mut ended) = (None, 0, false);
        let (mut duration, mut discontinuity) = (None, false);
        let mut segments = Vec::new();
        for line in lines.map(str::trim).filter(|l| !l.is_empty()) {
            if let Some(value) = line.strip_prefix("#EXT-X-TARGETDURATION:") {
                target = Some(value.parse()?);
            } else if let Some(value) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
                first = value.parse()?;
            } else if let Some(value) = line.strip_prefix("#EXTINF:") {
                duration = Some(value.split(',').next().unwrap_or_default().parse()?);
            } else if line == "#EXT-X-DISCONTINUITY" {
                discontinuity = true;
            } else if line == "#EXT-X-ENDLIST" {
                ended = true;
            } else if !line.starts_with('#') {
                let Some(duration) = duration.take() else { bail!("{line} has no #EXTINF") };
                let path = beside(path, line);
                segments.push(Segment { duration, discontinuity, path });
                discontinuity = false;
            }
        }
        let target = target.context("no EXT-X-TARGETDURATION")?;
        Ok(Self { path: path.to_owned(), target, first, segments, ended })
    }

    /// RFC 8216, 4.3.3.1: no segment, rounded, is longer than the target duration.
    pub fn keeps_its_target(&self) -> Result<()> {
        for segment in &self.segments {
            let rounded = segment.duration.round() as u64;
            ensure!(
                rounded <= self.target,
                "{} takes {} s, and the target duration is {}",
                segment.path,
                segment.duration,
                self.target
            );
        }
        Ok(())
    }
}

/// `uri` as a path, seen from the playlist at `path`.
fn beside(path: &str, uri: &str) -> String {
    if uri.starts_with('/') {
        return uri.to_owned();
    }
    if let Some((_, rest)) = uri.split_once("://") {
        return rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/").to_owned();
    }
    let folder = path.split('?').next().unwrap_or_default();
    let folder = folder.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/{uri}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playlist_is_read_whole() {
        let text = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n\
                    #EXT-X-DISCONTINUITY\n#EXTINF:1.960, no desc\na-7.ts?x=1\n#EXTINF:2.4,\n/b.ts\n";
        let playlist = Playlist::parse("/live/a.m3u8?hls_ctx=x", text).unwrap();
        assert_eq!((playlist.target, playlist.first, playlist.ended), (2, 7, false));
        let paths: Vec<_> = playlist.segments.iter().map(|s| s.path.as_str()).collect();
        assert_eq!(paths, ["/live/a-7.ts?x=1", "/b.ts"]);
        assert!(playlist.segments.first().is_some_and(|s| s.discontinuity));
        assert!(playlist.keeps_its_target().is_ok());
    }

    #[test]
    fn a_segment_beyond_the_target_is_told() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.6,\na.ts\n";
        assert!(Playlist::parse("/a.m3u8", text).unwrap().keeps_its_target().is_err());
    }
}
