//! A reader of playlists that forgives nothing, in the manner of `mediastreamvalidator`.
//!
//! Meant for tests and tools. [`Playlist::decode`] reads one text; [`History`] checks the texts
//! of one stream against each other (RFC 8216 sections 4.3.3, 6.2.1 and 6.2.2).

use std::collections::BTreeMap;

/// A media playlist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Playlist {
    /// `EXT-X-MEDIA-SEQUENCE`.
    pub media_sequence: u64,
    /// `EXT-X-TARGETDURATION`.
    pub target_duration: u64,
    /// `EXT-X-DISCONTINUITY-SEQUENCE`, 0 when it is missing.
    pub discontinuity_sequence: u64,
    /// The segments.
    pub segments: Vec<Segment>,
}

/// A listed segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Its URI.
    pub uri: String,
    /// `EXTINF`, in seconds.
    pub duration: f64,
    /// `EXT-X-DISCONTINUITY` stands before it.
    pub discontinuity: bool,
}

/// What is wrong with a playlist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A line that does not belong there, by its number from 1.
    #[error("line {0} does not belong there")]
    Line(usize),
    /// A tag that every media playlist needs is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A segment longer, rounded, than the target duration.
    #[error("segment {0} exceeds the target duration")]
    TooLong(u64),
    /// The target duration fell.
    #[error("the target duration fell to {0}")]
    TargetFell(u64),
    /// Segments left other than from the front, or numbers went back.
    #[error("the media sequence went from {from} to {to}")]
    Sequence {
        /// Before.
        from: u64,
        /// Now.
        to: u64,
    },
    /// A segment's URI, length or discontinuity changed while it was listed.
    #[error("segment {0} changed")]
    Changed(u64),
    /// `EXT-X-DISCONTINUITY-SEQUENCE` does not count the discontinuities that left.
    #[error("the discontinuity sequence is {found}, not {expected}")]
    Discontinuities {
        /// As it should be.
        expected: u64,
        /// As it is.
        found: u64,
    },
    /// A segment left although less than three target durations remain.
    #[error("the playlist was cut to less than three target durations")]
    TooShort,
}

impl Playlist {
    /// Reads the playlist of a live stream.
    pub fn decode(text: &str) -> Result<Self, Violation> {
        let mut playlist = Self::default();
        let (mut version, mut target, mut extinf, mut discontinuity) = (None, None, None, false);
        let mut lines = text.split_terminator('\n').enumerate();
        if !text.ends_with('\n') || lines.next() != Some((0, "#EXTM3U")) {
            return Err(Violation::Line(1));
        }
        for (index, line) in lines {
            let bad = Violation::Line(index.saturating_add(1));
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            let number = value.parse::<u64>().map_err(|_| bad.clone());
            match tag {
                "#EXT-X-VERSION" if version.is_none() => version = Some(number?),
                "#EXT-X-TARGETDURATION" if target.is_none() => target = Some(number?),
                "#EXT-X-MEDIA-SEQUENCE" if playlist.segments.is_empty() => {
                    playlist.media_sequence = number?;
                }
                "#EXT-X-DISCONTINUITY-SEQUENCE"
                    if playlist.segments.is_empty() && !discontinuity =>
                {
                    playlist.discontinuity_sequence = number?;
                }
                "#EXT-X-DISCONTINUITY" if value.is_empty() && !discontinuity => {
                    discontinuity = true;
                }
                "#EXTINF" if extinf.is_none() => {
                    let (seconds, _) = value.split_once(',').ok_or(bad.clone())?;
                    let seconds = seconds.parse::<f64>().map_err(|_| bad.clone())?;
                    extinf = Some(seconds).filter(|s| s.is_finite() && *s > 0.0);
                    extinf.ok_or(bad)?;
                }
                _ if line.starts_with('#') || line.is_empty() => return Err(bad),
                _ => {
                    let allowed = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
                    if !line.chars().all(allowed) {
                        return Err(bad);
                    }
                    playlist.segments.push(Segment {
                        uri: line.to_owned(),
                        duration: extinf.take().ok_or(bad)?,
                        discontinuity: std::mem::take(&mut discontinuity),
                    });
                }
            }
        }
        version.filter(|version| *version >= 3).ok_or(Violation::Missing("EXT-X-VERSION"))?;
        playlist.target_duration = target.ok_or(Violation::Missing("EXT-X-TARGETDURATION"))?;
        if extinf.is_some() || discontinuity {
            return Err(Violation::Missing("URI"));
        }
        for (index, segment) in playlist.segments.iter().enumerate() {
            if segment.duration.round() > playlist.target_duration as f64 {
                let at = playlist.media_sequence.saturating_add(index as u64);
                return Err(Violation::TooLong(at));
            }
        }
        Ok(playlist)
    }
}

/// The playlists of one stream, one after another.
#[derive(Clone, Debug, Default)]
pub struct History {
    last: Option<Playlist>,
    /// The discontinuity sequence of the first playlist: what left before is not known.
    base: u64,
    /// Every segment ever listed, by its number.
    seen: BTreeMap<u64, Segment>,
}

impl History {
    /// No playlist yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next playlist and checks it against those before.
    pub fn push(&mut self, text: &str) -> Result<Playlist, Violation> {
        let now = Playlist::decode(text)?;
        if let Some(last) = &self.last {
            if now.target_duration < last.target_duration {
                return Err(Violation::TargetFell(now.target_duration));
            }
            let end = |p: &Playlist| p.media_sequence.saturating_add(p.segments.len() as u64);
            if now.media_sequence < last.media_sequence
                || end(&now) < end(last)
                || now.media_sequence > end(last)
            {
                let (from, to) = (last.media_sequence, now.media_sequence);
                return Err(Violation::Sequence { from, to });
            }
            let length: f64 = now.segments.iter().map(|segment| segment.duration).sum();
            // Durations are told in milliseconds; their sum is not exact in binary.
            let least = 3.0 * now.target_duration as f64 - 0.0005;
            if now.media_sequence > last.media_sequence && length < least {
                return Err(Violation::TooShort);
            }
        } else {
            self.base = now.discontinuity_sequence;
        }
        for (number, segment) in (now.media_sequence..).zip(&now.segments) {
            if self.seen.entry(number).or_insert_with(|| segment.clone()) != segment {
                return Err(Violation::Changed(number));
            }
        }
        let left = self.seen.range(..now.media_sequence);
        let left = left.filter(|(_, segment)| segment.discontinuity).count() as u64;
        let expected = self.base.saturating_add(left);
        let found = now.discontinuity_sequence;
        if found != expected {
            return Err(Violation::Discontinuities { expected, found });
        }
        self.last = Some(now.clone());
        Ok(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sequence: u64, target: u64, marks: u64, segments: &[(&str, &str)]) -> String {
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n\
             #EXT-X-TARGETDURATION:{target}\n#EXT-X-DISCONTINUITY-SEQUENCE:{marks}\n"
        );
        for (seconds, uri) in segments {
            if uri.starts_with('d') {
                text.push_str("#EXT-X-DISCONTINUITY\n");
            }
            text.push_str(&format!("#EXTINF:{seconds}, x\n{uri}\n"));
        }
        text
    }

    #[test]
    fn faults_of_one_text_are_found() {
        assert!(Playlist::decode(&text(1, 2, 0, &[("2.400", "a.ts")])).is_ok());
        let long = Playlist::decode(&text(1, 2, 0, &[("2.500", "a.ts")]));
        assert_eq!(long, Err(Violation::TooLong(1)));
        assert_eq!(Playlist::decode("#EXTM3U\n\n"), Err(Violation::Line(2)));
        assert_eq!(Playlist::decode("#EXTM3U\nx.ts\n"), Err(Violation::Line(2)));
        assert_eq!(Playlist::decode("#EXTM3U\n"), Err(Violation::Missing("EXT-X-VERSION")));
        assert_eq!(Playlist::decode("#EXTM3U"), Err(Violation::Line(1)));
    }

    #[test]
    fn faults_between_texts_are_found() {
        let first = text(5, 2, 0, &[("2", "d5"), ("2", "a6"), ("2", "a7"), ("2", "a8")]);
        let check = |second: &str| {
            let mut history = History::new();
            history.push(&first).unwrap();
            history.push(second).map(|_| ())
        };
        let rest = [("2", "a6"), ("2", "a7"), ("2", "a8")];
        assert_eq!(check(&text(6, 2, 1, &rest)), Ok(()));
        let expected = Violation::Discontinuities { expected: 1, found: 0 };
        assert_eq!(check(&text(6, 2, 0, &rest)), Err(expected));
        assert_eq!(check(&text(6, 1, 1, &[])), Err(Violation::TargetFell(1)));
        assert_eq!(check(&text(4, 2, 0, &rest)), Err(Violation::Sequence { from: 5, to: 4 }));
        assert_eq!(check(&text(7, 2, 1, &rest[1..])), Err(Violation::TooShort));
        let moved = [("2", "a7"), ("2", "a8"), ("2", "a9")];
        assert_eq!(check(&text(6, 2, 1, &moved)), Err(Violation::Changed(6)));
    }
}
