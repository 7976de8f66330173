//! Reading playlists as a player must: unknown tags are passed over, bad ones are refused
//! (RFC 8216 sections 4 and 6.3.1).
//!
//! What cannot be played is refused by name: encrypted segments, byte ranges and initialization
//! sections.

use std::time::Duration;

/// Bytes of a playlist. A day of two-second segments takes 3 MB; live ones have some hundred bytes.
pub const MAX_TEXT: usize = 4 << 20;
/// Segments, or variants, of one playlist.
const MAX_ENTRIES: usize = 50_000;
/// The longest target duration and segment that is believed. A player waits that long between
/// reloads.
const MAX_DURATION: Duration = Duration::from_secs(3600);

/// What is wrong with a playlist. The server's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaylistError {
    /// Longer than [`MAX_TEXT`].
    #[error("a playlist of {0} bytes")]
    TooLong(usize),
    /// Not UTF-8, or the first line is not `#EXTM3U`.
    #[error("not a playlist")]
    Signature,
    /// A tag whose value cannot be read, by the number of its line from 1.
    #[error("line {0} of the playlist cannot be read")]
    Line(usize),
    /// A segment without a length, or a media playlist without a target duration.
    #[error("{0} is missing in the playlist")]
    Missing(&'static str),
    /// Something that this player does not play.
    #[error("{0} in a playlist is not supported")]
    Unsupported(&'static str),
    /// Lines of both kinds of playlist, or more than one has.
    #[error("the playlist is of two kinds or has too many entries")]
    Mixed,
}

/// A playlist of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Playlist {
    /// The same stream in several forms: their URIs, in the order of the author's preference.
    Master(Vec<Variant>),
    /// The segments of one form.
    Media(Media),
}

/// One form of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Where its playlist is, as written.
    pub uri: String,
    /// Bits a second at most; 0 if it does not say.
    pub bandwidth: u64,
}

/// A media playlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// No segment is longer, rounded to seconds.
    pub target_duration: Duration,
    /// The number of the first segment.
    pub media_sequence: u64,
    /// The discontinuities before it.
    pub discontinuity_sequence: u64,
    /// Nothing will be added.
    pub ended: bool,
    /// The segments.
    pub segments: Vec<Segment>,
}

/// A listed segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it is, as written.
    pub uri: String,
    /// How long it plays.
    pub duration: Duration,
    /// It does not continue the one before.
    pub discontinuity: bool,
}

impl Media {
    /// The number behind the last segment's.
    pub const fn end(&self) -> u64 {
        self.media_sequence.saturating_add(self.segments.len() as u64)
    }

    /// The segment of that number.
    pub fn segment(&self, number: u64) -> Option<&Segment> {
        let at = usize::try_from(number.checked_sub(self.media_sequence)?).ok()?;
        self.segments.get(at)
    }

    /// Where a player that joins live begins: at the latest segment that begins no less than three
    /// target durations before the end (section 6.3.3), or at the first.
    pub fn live_edge(&self) -> u64 {
        let wanted = self.target_duration.saturating_mul(3);
        let mut left = Duration::ZERO;
        let back = self.segments.iter().rev().take_while(|segment| {
            let short = left < wanted;
            left = left.saturating_add(segment.duration);
            short
        });
        self.end().saturating_sub(back.count() as u64)
    }
}

/// Reads a playlist.
///
/// # Errors
/// [`PlaylistError`].
pub fn decode(bytes: &[u8]) -> Result<Playlist, PlaylistError> {
    if bytes.len() > MAX_TEXT {
        return Err(PlaylistError::TooLong(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| PlaylistError::Signature)?;
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some("#EXTM3U") {
        return Err(PlaylistError::Signature);
    }
    let mut read = Reading::default();
    for (index, line) in lines.enumerate() {
        read.line(line.trim(), PlaylistError::Line(index.saturating_add(2)))?;
    }
    read.finish()
}

#[derive(Default)]
struct Reading {
    variants: Vec<Variant>,
    /// `EXT-X-STREAM-INF` was the last tag: its bandwidth.
    variant: Option<u64>,
    segments: Vec<Segment>,
    duration: Option<Duration>,
    discontinuity: bool,
    target: Option<Duration>,
    media_sequence: u64,
    discontinuity_sequence: u64,
    ended: bool,
}

impl Reading {
    fn line(&mut self, line: &str, bad: PlaylistError) -> Result<(), PlaylistError> {
        if !line.starts_with('#') {
            return if line.is_empty() { Ok(()) } else { self.uri(line) };
        }
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        let number = || value.trim().parse::<u64>().map_err(|_| bad);
        match tag {
            "#EXT-X-STREAM-INF" => {
                let bandwidth = attribute(value, "BANDWIDTH").and_then(|v| v.parse().ok());
                self.variant = Some(bandwidth.unwrap_or(0));
            }
            "#EXT-X-TARGETDURATION" => {
                self.target = Some(Duration::from_secs(number()?).min(MAX_DURATION));
            }
            "#EXT-X-MEDIA-SEQUENCE" => self.media_sequence = number()?,
            "#EXT-X-DISCONTINUITY-SEQUENCE" => self.discontinuity_sequence = number()?,
            "#EXT-X-DISCONTINUITY" => self.discontinuity = true,
            "#EXT-X-ENDLIST" => self.ended = true,
            "#EXTINF" => {
                let seconds = value.split(',').next().unwrap_or_default().trim();
                let seconds = seconds.parse::<f64>().map_err(|_| bad)?;
                let duration = Duration::try_from_secs_f64(seconds).map_err(|_| bad)?;
                self.duration = Some(duration.min(MAX_DURATION));
            }
            "#EXT-X-KEY" if attribute(value, "METHOD") != Some("NONE") => {
                return Err(PlaylistError::Unsupported("EXT-X-KEY"));
            }
            "#EXT-X-MAP" => return Err(PlaylistError::Unsupported("EXT-X-MAP")),
            "#EXT-X-BYTERANGE" => return Err(PlaylistError::Unsupported("EXT-X-BYTERANGE")),
            _ => {}
        }
        Ok(())
    }

    fn uri(&mut self, line: &str) -> Result<(), PlaylistError> {
        if self.variants.len().max(self.segments.len()) >= MAX_ENTRIES {
            return Err(PlaylistError::Mixed);
        }
        let uri = line.to_owned();
        if let Some(bandwidth) = self.variant.take() {
            self.variants.push(Variant { uri, bandwidth });
            return Ok(());
        }
        let duration = self.duration.take().ok_or(PlaylistError::Missing("EXTINF"))?;
        let discontinuity = std::mem::take(&mut self.discontinuity);
        self.segments.push(Segment { uri, duration, discontinuity });
        Ok(())
    }

    fn finish(self) -> Result<Playlist, PlaylistError> {
        if !self.variants.is_empty() {
            let mixed = self.target.is_some() || !self.segments.is_empty();
            return if mixed {
                Err(PlaylistError::Mixed)
            } else {
                Ok(Playlist::Master(self.variants))
            };
        }
        let target = self.target.ok_or(PlaylistError::Missing("EXT-X-TARGETDURATION"))?;
        Ok(Playlist::Media(Media {
            target_duration: target,
            media_sequence: self.media_sequence,
            discontinuity_sequence: self.discontinuity_sequence,
            ended: self.ended,
            segments: self.segments,
        }))
    }
}

/// The value of an attribute in a list (section 4.2); commas inside quotes do not separate.
fn attribute<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let mut quoted = false;
    let items = list.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    items.into_iter().find_map(|item| item.trim().strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use container::segment::{Entry, Window};
    use proptest::prelude::*;

    use super::*;

    fn media(text: &str) -> Media {
        match decode(text.as_bytes()) {
            Ok(Playlist::Media(media)) => media,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn what_the_server_writes_reads_back(
            entries in prop::collection::vec((100_000i64..9_000_000, any::<bool>()), 1..12),
            first in 0u64..1000,
        ) {
            let mut window = Window::new(30_000_000, 9_000_000);
            for (number, (duration_us, discontinuity)) in (first..).zip(entries) {
                let item = format!("s-{number}.ts");
                window.push(Entry { sequence: number, duration_us, discontinuity, item });
            }
            let read = media(&crate::playlist::encode(&window, |uri| uri));
            prop_assert_eq!(read.media_sequence, window.media_sequence());
            prop_assert_eq!(read.target_duration.as_secs(), window.target_duration());
            prop_assert_eq!(read.segments.len(), window.entries().len());
            for (segment, entry) in read.segments.iter().zip(window.entries()) {
                prop_assert_eq!(&segment.uri, &entry.item);
                prop_assert_eq!(segment.discontinuity, entry.discontinuity);
                let ms = (entry.duration_us + 500) as u128 / 1000;
                prop_assert!(segment.duration.as_millis().abs_diff(ms) <= 1);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "(#EXT[A-Z0-9:=,.\"-]{0,30}\n|[ -~]{0,20}\n){0,12}") {
            let _ = decode(format!("#EXTM3U\n{text}").as_bytes());
        }
    }

    #[test]
    fn a_master_lists_variants_and_commas_in_quotes_do_not_separate() {
        let text = "#EXTM3U\r\n#EXT-X-STREAM-INF:CODECS=\"a,BANDWIDTH=1\",BANDWIDTH=9\r\n\r\na.m3u8\r\n\
                    #EXT-X-STREAM-INF:X=1\nb.m3u8\n";
        let list = [("a.m3u8", 9), ("b.m3u8", 0)];
        let list = list.map(|(uri, bandwidth)| Variant { uri: uri.to_owned(), bandwidth });
        assert_eq!(decode(text.as_bytes()), Ok(Playlist::Master(list.to_vec())));
    }

    #[test]
    fn a_player_joins_three_target_durations_before_the_end() {
        let text = |n: u64| {
            let list: String = (0..n).map(|i| format!("#EXTINF:2,\n{i}.ts\n")).collect();
            media(&format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n{list}"))
        };
        assert_eq!(text(10).live_edge(), 14);
        assert_eq!(text(3).live_edge(), 7);
        assert_eq!(text(1).live_edge(), 7);
        assert_eq!(text(0).live_edge(), 7);
    }

    #[test]
    fn what_is_bad_or_not_supported_is_told() {
        let of = |text: &str| decode(text.as_bytes()).unwrap_err();
        assert_eq!(of("<html>"), PlaylistError::Signature);
        assert_eq!(of("#EXTM3U\n"), PlaylistError::Missing("EXT-X-TARGETDURATION"));
        assert_eq!(of("#EXTM3U\na.ts\n"), PlaylistError::Missing("EXTINF"));
        assert_eq!(of("#EXTM3U\n#EXTINF:x,\n"), PlaylistError::Line(2));
        assert_eq!(of("#EXTM3U\n#EXTINF:-1,\n"), PlaylistError::Line(2));
        assert_eq!(
            of("#EXTM3U\n#EXT-X-KEY:METHOD=AES-128\n"),
            PlaylistError::Unsupported("EXT-X-KEY")
        );
        let mixed = "#EXTM3U\n#EXTINF:1,\na.ts\n#EXT-X-STREAM-INF:X=1\nb.m3u8\n";
        assert_eq!(of(mixed), PlaylistError::Mixed);
    }
}
