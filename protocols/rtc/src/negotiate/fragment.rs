//! What comes by HTTP PATCH: more candidates, or a restart of ICE (RFC 8840, RFC 9725 §4.3).

use std::fmt;

use rtp::sdp::{Candidate, SessionDescription};

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

impl Fragment {
    /// Reads the body of a PATCH.
    pub fn parse(_text: &str) -> Result<Self, FragmentError> {
        Err(FragmentError::TooMany)
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

impl fmt::Display for Fragment {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Takes the peer's new credentials and candidates into `now`, and gives the fragment that answers:
/// `ours` with credentials that were not used before, for the same session.
///
/// Nothing if `fragment` asks for no restart; see [`Fragment::restarts`].
pub fn restart(_now: &mut Negotiated, _fragment: &Fragment, _ours: &Ours) -> Option<Fragment> {
    let _ = (SessionDescription::default(), MAX_CANDIDATES);
    None
}
