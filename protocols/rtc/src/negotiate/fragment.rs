//! What comes by HTTP PATCH: more candidates, or a restart of ICE (RFC 8840, RFC 9725 §4.3).

use std::fmt;

use rtp::sdp::Candidate;

use super::{MAX_CANDIDATES, Negotiated, Ours};

/// `application/trickle-ice-sdpfrag`, read. Prints itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// The sender's user fragment, if told.
    pub ufrag: Option<String>,
    /// The sender's password, if told.
    pub pwd: Option<String>,
    /// `a=ice-options` words; `trickle`, `ice2`.
    pub options: Vec<String>,
    /// Whether it says `a=ice-lite`.
    pub lite: bool,
    /// The sections it names, with their candidates. One without a section has an empty mid.
    pub sections: Vec<FragmentSection>,
}

/// What a fragment says of one section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FragmentSection {
    /// The section's name, or nothing for all.
    pub mid: String,
    /// The first word of its `m=`: `audio`.
    pub kind: String,
    /// New candidates.
    pub candidates: Vec<Candidate>,
    /// Whether no more will follow.
    pub end_of_candidates: bool,
}

/// Why a text is no fragment. The peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// Longer than [`MAX_FRAGMENT`].
    #[error("the fragment has {0} bytes, more than {MAX_FRAGMENT}")]
    TooLong(usize),
    /// A line that cannot be read.
    #[error("line {line} of the fragment is not of the form x=value")]
    Line {
        /// From 1.
        line: usize,
    },
    /// More candidates than [`MAX_CANDIDATES`].
    #[error("the fragment has more than {MAX_CANDIDATES} candidates")]
    TooMany,
}

/// Bytes of a fragment, at most. Ten candidates are 1 kB; at half the largest hosts' lists may not
/// fit, at double a stranger makes us read twice as much.
pub const MAX_FRAGMENT: usize = 16 * 1024;

/// Sections of a fragment, at most; as many as a description may have.
const MAX_SECTIONS: usize = rtp::sdp::MAX_MEDIA;

impl Fragment {
    /// Reads the body of a PATCH. Candidates that cannot be read are skipped.
    pub fn parse(text: &str) -> Result<Self, FragmentError> {
        if text.len() > MAX_FRAGMENT {
            return Err(FragmentError::TooLong(text.len()));
        }
        let mut fragment = Self::default();
        let mut candidates: usize = 0;
        for (index, line) in text.split('\n').enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let error = FragmentError::Line { line: index.saturating_add(1) };
            let (letter, value) = line.split_once('=').ok_or(error)?;
            let value = value.trim();
            match letter.trim_end() {
                "m" if fragment.sections.len() >= MAX_SECTIONS => {
                    return Err(FragmentError::TooMany);
                }
                "m" => fragment.sections.push(FragmentSection {
                    kind: value.split_whitespace().next().ok_or(error)?.to_owned(),
                    ..FragmentSection::default()
                }),
                "a" => {
                    let (name, value) = value.split_once(':').unwrap_or((value, ""));
                    let (name, value) = (name.trim_end(), value.trim());
                    if name == "candidate" {
                        candidates = candidates.saturating_add(1);
                    }
                    if candidates > MAX_CANDIDATES {
                        return Err(FragmentError::TooMany);
                    }
                    fragment.attribute(name, value);
                }
                letter if letter.len() == 1 => {}
                _ => return Err(error),
            }
        }
        // What stood above the first section may have come to nothing.
        let says = |s: &FragmentSection| !s.candidates.is_empty() || s.end_of_candidates;
        fragment.sections.retain(|section| !section.kind.is_empty() || says(section));
        Ok(fragment)
    }

    fn attribute(&mut self, name: &str, value: &str) {
        match name {
            // The bundle has one transport: who tells its credentials first has told them.
            "ice-ufrag" if self.ufrag.is_none() => self.ufrag = credential(value, 4),
            "ice-pwd" if self.pwd.is_none() => self.pwd = credential(value, 22),
            "ice-options" if self.options.is_empty() => {
                self.options = value.split_whitespace().map(str::to_owned).collect();
            }
            "ice-lite" => self.lite = true,
            "mid" => {
                // What stands above the first section has no name.
                let nameless = |s: &&mut FragmentSection| s.mid.is_empty() && !s.kind.is_empty();
                if let Some(section) = self.sections.last_mut().filter(nameless) {
                    section.mid = value.to_owned();
                }
            }
            "candidate" => {
                if let (Ok(candidate), Some(section)) = (value.parse(), self.last()) {
                    section.candidates.push(candidate);
                }
            }
            "end-of-candidates" => {
                if let Some(section) = self.last() {
                    section.end_of_candidates = true;
                }
            }
            _ => {}
        }
    }

    /// The section being read; what stands above the first is of none.
    fn last(&mut self) -> Option<&mut FragmentSection> {
        if self.sections.is_empty() {
            self.sections.push(FragmentSection::default());
        }
        self.sections.last_mut()
    }

    /// All candidates, of whatever section: they share one transport.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.sections.iter().flat_map(|section| &section.candidates)
    }

    /// Whether no more candidates will follow.
    pub fn end_of_candidates(&self) -> bool {
        self.sections.iter().any(|section| section.end_of_candidates)
    }

    /// Whether it asks for a restart of ICE: it has credentials, and they are new.
    pub fn restarts(&self, now: &Negotiated) -> bool {
        matches!((&self.ufrag, &self.pwd), (Some(ufrag), Some(pwd))
            if *ufrag != now.remote_ufrag || *pwd != now.remote_pwd)
    }
}

/// A user fragment or password of a length that RFC 8839 §5.4 allows.
fn credential(value: &str, least: usize) -> Option<String> {
    let fits = (least..=256).contains(&value.len()) && !value.contains(char::is_whitespace);
    fits.then(|| value.to_owned())
}

impl fmt::Display for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lite {
            f.write_str("a=ice-lite\r\n")?;
        }
        if !self.options.is_empty() {
            write!(f, "a=ice-options:{}\r\n", self.options.join(" "))?;
        }
        let credentials = |f: &mut fmt::Formatter<'_>| {
            self.ufrag.iter().try_for_each(|ufrag| write!(f, "a=ice-ufrag:{ufrag}\r\n"))?;
            self.pwd.iter().try_for_each(|pwd| write!(f, "a=ice-pwd:{pwd}\r\n"))
        };
        if self.sections.is_empty() {
            credentials(f)?;
        }
        for (index, section) in self.sections.iter().enumerate() {
            if !section.kind.is_empty() {
                write!(f, "m={} 9 UDP/TLS/RTP/SAVPF 0\r\n", section.kind)?;
            }
            if !section.mid.is_empty() {
                write!(f, "a=mid:{}\r\n", section.mid)?;
            }
            if index == 0 {
                credentials(f)?;
            }
            for candidate in &section.candidates {
                write!(f, "a=candidate:{candidate}\r\n")?;
            }
            if section.end_of_candidates {
                f.write_str("a=end-of-candidates\r\n")?;
            }
        }
        Ok(())
    }
}

/// Takes the peer's further candidates into `now`, and tells how many were new. None are if the
/// fragment belongs to credentials that do not hold (any more): the client is then to be told that
/// its session has gone on (RFC 9725 §4.3.1: 412).
pub fn trickle(now: &mut Negotiated, fragment: &Fragment) -> usize {
    if fragment.ufrag.as_ref().is_some_and(|ufrag| *ufrag != now.remote_ufrag) {
        return 0;
    }
    let mut new: usize = 0;
    for candidate in fragment.candidates().filter(|candidate| candidate.component == 1) {
        let current = candidate.ufrag().is_none_or(|ufrag| ufrag == now.remote_ufrag);
        let room = now.candidates.len() < MAX_CANDIDATES;
        if current && room && !now.candidates.contains(candidate) {
            now.candidates.push(candidate.clone());
            new = new.saturating_add(1);
        }
    }
    now.end_of_candidates |= fragment.end_of_candidates();
    new
}

/// Takes the peer's new credentials and candidates into `now`, and gives the fragment that answers:
/// `ours` with credentials that were not used before, for the same session.
///
/// Nothing if `fragment` asks for no restart; see [`Fragment::restarts`].
pub fn restart(now: &mut Negotiated, fragment: &Fragment, ours: &Ours) -> Option<Fragment> {
    if !fragment.restarts(now) {
        return None;
    }
    now.remote_ufrag = fragment.ufrag.clone()?;
    now.remote_pwd = fragment.pwd.clone()?;
    now.candidates.clear();
    now.end_of_candidates = false;
    trickle(now, fragment);
    let first = now.media.iter().find(|media| media.refused.is_none());
    let (mid, kind) = match (first, &now.data) {
        (Some(media), _) if media.kind == media::Kind::Audio => (media.mid.clone(), "audio"),
        (Some(media), _) => (media.mid.clone(), "video"),
        (None, data) => (data.as_ref().map(|d| d.mid.clone()).unwrap_or_default(), "application"),
    };
    Some(Fragment {
        ufrag: Some(ours.ufrag.clone()),
        pwd: Some(ours.pwd.clone()),
        options: Vec::new(),
        lite: true,
        sections: vec![FragmentSection {
            mid,
            kind: kind.to_owned(),
            candidates: ours.candidates.clone(),
            end_of_candidates: true,
        }],
    })
}
