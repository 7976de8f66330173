//! Session descriptions (RFC 8866), with what WebRTC and RTSP write into them.
//!
//! [`SessionDescription::parse`] keeps every line, also those nobody here understands, and
//! [`SessionDescription`] prints itself; what was read and printed reads the same. Typed readers
//! of the attributes are beside it: they skip what is malformed, for one bad line of a client
//! should not cost its session. What two descriptions agree on is not decided here.
//!
//! Lenient where programs are: lines end with LF or CRLF, blanks around values are dropped,
//! `o=`, `s=` and `t=` may be missing, and session lines may come in any order.

use std::fmt;

mod attribute;
mod candidate;
mod ice;
mod simulcast;
#[cfg(test)]
mod tests;

pub use attribute::{
    Attribute, Attributes, Direction, ExtMap, Fmtp, Group, Msid, RtpMap, SsrcAttribute, SsrcGroup,
};
pub use candidate::{
    Address, Candidate, CandidateError, CandidateKind, MAX_EXTENSIONS, TcpType, Transport,
};
pub use ice::{Fingerprint, FingerprintError, Setup};
pub use simulcast::{Rid, RidDirection, Simulcast, SimulcastStream};

/// Bytes of a description, at most. The largest offers of browsers (twenty codecs, several
/// sections) are 20 kB; at half a conference's offer may not fit, at double a stranger makes us
/// hold twice as much before anything is known of them.
pub const MAX_BYTES: usize = 64 * 1024;

/// Sections (`m=`), at most. A client of ours has two or three; at half the offers of large
/// meetings no longer fit, at double each costs lines in the answer for no use.
pub const MAX_MEDIA: usize = 64;

/// Attributes (`a=`) of the whole description, at most. A browser's offer has 200 a section; at
/// half long offers no longer fit, at double the readers, which scan them, get slow.
pub const MAX_ATTRIBUTES: usize = 4096;

/// Lines that are no attribute and no section, at most. There are ten kinds of them and only
/// `t=`, `r=`, `b=`, `e=`, `p=` and `c=` repeat; at half a long schedule of a camera may not fit,
/// at double nothing is won.
pub const MAX_LINES: usize = 256;

/// Payload types or other formats of one section, at most: there are 128 payload types. At half
/// a browser's video section gets close, at double none is left to name.
pub const MAX_FORMATS: usize = 128;

/// Why a text is no session description. The sender's fault, always.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Longer than [`MAX_BYTES`].
    #[error("the session description has {0} bytes, more than {MAX_BYTES}")]
    TooLong(usize),
    /// The first line is not `v=0`.
    #[error("this is no session description: it does not begin with v=0")]
    NoVersion,
    /// A line that is not a letter, `=` and a value.
    #[error("line {line} of the session description is not of the form x=value")]
    Line {
        /// From 1, empty lines counted.
        line: usize,
    },
    /// An `m=` line without kind, port, protocol and format.
    #[error("line {line} of the session description: m= needs kind, port, protocol and formats")]
    Media {
        /// From 1.
        line: usize,
    },
    /// More sections than [`MAX_MEDIA`].
    #[error("the session description has more than {MAX_MEDIA} sections (m=)")]
    TooManyMedia,
    /// More attributes than [`MAX_ATTRIBUTES`].
    #[error("the session description has more than {MAX_ATTRIBUTES} attributes (a=)")]
    TooManyAttributes,
    /// More other lines than [`MAX_LINES`].
    #[error("the session description has more than {MAX_LINES} lines beside m= and a=")]
    TooManyLines,
}

/// The `o=` line: who made the description, and which version of it this is (RFC 8866 §5.2).
///
/// The numbers are text: some programs write more digits than 64 bits hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// A name, or `-`.
    pub username: String,
    /// Of the session.
    pub session: String,
    /// Grows with each change.
    pub version: String,
    /// `IN`.
    pub network: String,
    /// `IP4` or `IP6`.
    pub family: String,
    /// An address or a host's name.
    pub address: String,
}

impl Default for Origin {
    fn default() -> Self {
        Self::new("-", 0, 0)
    }
}

impl Origin {
    /// That of `username`, without an address.
    pub fn new(username: &str, session: u64, version: u64) -> Self {
        Self {
            username: username.to_owned(),
            session: session.to_string(),
            version: version.to_string(),
            network: "IN".to_owned(),
            family: "IP4".to_owned(),
            address: "0.0.0.0".to_owned(),
        }
    }

    fn parse(value: &str) -> Self {
        let mut words = value.split_whitespace();
        let mut next = |default: &str| words.next().unwrap_or(default).to_owned();
        Self {
            username: next("-"),
            session: next("0"),
            version: next("0"),
            network: next("IN"),
            family: next("IP4"),
            address: next("0.0.0.0"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { username, session, version, network, family, address } = self;
        write!(f, "{username} {session} {version} {network} {family} {address}")
    }
}

/// A line that is neither an attribute nor a section: `c=`, `b=`, `t=`, `i=` and so on, kept as
/// it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The letter before `=`.
    pub letter: char,
    /// What is behind it, without blanks around it.
    pub value: String,
}

impl Line {
    /// `letter=value`.
    pub fn new(letter: char, value: impl Into<String>) -> Self {
        Self { letter, value: value.into() }
    }
}

/// What a section is for: the first word of `m=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// `audio`.
    Audio,
    /// `video`.
    Video,
    /// `application`: data channels, mostly.
    Application,
    /// Any other word.
    Other(String),
}

impl MediaKind {
    fn parse(word: &str) -> Self {
        match word {
            "audio" => Self::Audio,
            "video" => Self::Video,
            "application" => Self::Application,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Application => "application",
            Self::Other(word) => word,
        }
    }
}

/// One section: an `m=` line and what follows it (RFC 8866 §5.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaDescription {
    /// Audio, video or else.
    pub kind: MediaKind,
    /// 0 refuses the section; 9 stands for "to be told by ICE".
    pub port: u16,
    /// How many ports, if that is told (`m=audio 5000/2 ..`).
    pub ports: Option<u16>,
    /// `UDP/TLS/RTP/SAVPF`, for instance.
    pub protocol: String,
    /// The payload types, or for data the application's name.
    pub formats: Vec<String>,
    /// `i=`, `c=`, `b=`, `k=` in their order.
    pub lines: Vec<Line>,
    /// `a=`, in their order.
    pub attributes: Attributes,
}

impl MediaDescription {
    /// A section without lines and attributes.
    pub fn new(kind: MediaKind, port: u16, protocol: &str, formats: Vec<String>) -> Self {
        Self {
            kind,
            port,
            ports: None,
            protocol: protocol.to_owned(),
            formats,
            lines: Vec::new(),
            attributes: Attributes::default(),
        }
    }

    /// The formats that are payload types, in the order of preference.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> {
        self.formats.iter().filter_map(|format| format.parse().ok()).filter(|pt: &u8| *pt < 128)
    }

    fn parse(value: &str, line: usize) -> Result<Self, SdpError> {
        let error = SdpError::Media { line };
        let mut words = value.split_whitespace();
        let (Some(kind), Some(port), Some(protocol)) = (words.next(), words.next(), words.next())
        else {
            return Err(error);
        };
        let (port, ports) = match port.split_once('/') {
            Some((port, ports)) => (port, Some(ports.parse().map_err(|_| error.clone())?)),
            None => (port, None),
        };
        let port = port.parse().map_err(|_| error.clone())?;
        let formats: Vec<_> = words.take(MAX_FORMATS + 1).map(str::to_owned).collect();
        if formats.is_empty() || formats.len() > MAX_FORMATS {
            return Err(error);
        }
        let mut section = Self::new(MediaKind::parse(kind), port, protocol, formats);
        section.ports = ports;
        Ok(section)
    }
}

impl fmt::Display for MediaDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={} {}", self.kind.as_str(), self.port)?;
        if let Some(ports) = self.ports {
            write!(f, "/{ports}")?;
        }
        write!(f, " {}", self.protocol)?;
        for format in &self.formats {
            write!(f, " {format}")?;
        }
        f.write_str("\r\n")?;
        for line in &self.lines {
            write!(f, "{}={}\r\n", line.letter, line.value)?;
        }
        self.attributes.fmt(f)
    }
}

/// A whole description. Prints itself with CRLF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionDescription {
    /// `o=`.
    pub origin: Origin,
    /// `s=`; a lone `-` where there is no name.
    pub name: String,
    /// The other lines above the attributes, in their order; one is `t=`.
    pub lines: Vec<Line>,
    /// Of the session; readers of a section fall back to them where the standard says so.
    pub attributes: Attributes,
    /// The sections, in their order, which an answer has to keep.
    pub media: Vec<MediaDescription>,
}

impl SessionDescription {
    /// Reads a text of at most [`MAX_BYTES`].
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        if text.len() > MAX_BYTES {
            return Err(SdpError::TooLong(text.len()));
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader::default();
        for (index, line) in text.split('\n').enumerate() {
            let line = line.trim();
            if !line.is_empty() {
                reader.push(line, index.saturating_add(1))?;
            }
        }
        reader.finish()
    }

    /// The groups of sections (RFC 5888), in their order.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        self.attributes.all("group").filter_map(Group::parse)
    }

    /// The mids of the first `BUNDLE` group (RFC 9143), or nothing.
    pub fn bundle(&self) -> Option<Vec<&str>> {
        self.groups().find(|group| group.semantics == "BUNDLE").map(|group| group.mids().collect())
    }
}

impl fmt::Display for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "-" } else { &self.name };
        write!(f, "v=0\r\no={}\r\ns={name}\r\n", self.origin)?;
        for line in &self.lines {
            write!(f, "{}={}\r\n", line.letter, line.value)?;
        }
        self.attributes.fmt(f)?;
        self.media.iter().try_for_each(|section| section.fmt(f))
    }
}

#[derive(Default)]
struct Reader {
    begun: bool,
    origin: Option<Origin>,
    name: Option<String>,
    lines: Vec<Line>,
    attributes: Attributes,
    media: Vec<MediaDescription>,
    counted_lines: usize,
    counted_attributes: usize,
}

impl Reader {
    fn push(&mut self, line: &str, number: usize) -> Result<(), SdpError> {
        if !self.begun {
            self.begun = true;
            let version = line.strip_prefix("v=").map(str::trim);
            return if version == Some("0") { Ok(()) } else { Err(SdpError::NoVersion) };
        }
        let error = SdpError::Line { line: number };
        let (letter, value) = line.split_once('=').ok_or_else(|| error.clone())?;
        let mut letters = letter.trim_end().chars();
        let (Some(letter), None) = (letters.next(), letters.next()) else { return Err(error) };
        if !letter.is_ascii_alphabetic() {
            return Err(error);
        }
        // A carriage return within a line would make two of it when it is printed.
        let value = value.trim().replace('\r', " ");
        match letter {
            'm' => self.section(&value, number),
            'a' => self.attribute(&value),
            'o' if self.media.is_empty() && self.origin.is_none() => {
                self.origin = Some(Origin::parse(&value));
                Ok(())
            }
            's' if self.media.is_empty() && self.name.is_none() => {
                self.name = Some(value);
                Ok(())
            }
            // A second one says nothing, and would be taken for the first when read again.
            'v' | 'o' | 's' => Ok(()),
            letter => self.line(Line { letter, value }),
        }
    }

    fn section(&mut self, value: &str, number: usize) -> Result<(), SdpError> {
        if self.media.len() >= MAX_MEDIA {
            return Err(SdpError::TooManyMedia);
        }
        self.media.push(MediaDescription::parse(value, number)?);
        Ok(())
    }

    fn attribute(&mut self, value: &str) -> Result<(), SdpError> {
        let Some(attribute) = Attribute::parse(value) else { return Ok(()) };
        self.counted_attributes = self.counted_attributes.saturating_add(1);
        if self.counted_attributes > MAX_ATTRIBUTES {
            return Err(SdpError::TooManyAttributes);
        }
        match self.media.last_mut() {
            Some(section) => section.attributes.push(attribute),
            None => self.attributes.push(attribute),
        }
        Ok(())
    }

    fn line(&mut self, line: Line) -> Result<(), SdpError> {
        self.counted_lines = self.counted_lines.saturating_add(1);
        if self.counted_lines > MAX_LINES {
            return Err(SdpError::TooManyLines);
        }
        match self.media.last_mut() {
            Some(section) => section.lines.push(line),
            None => self.lines.push(line),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<SessionDescription, SdpError> {
        if !self.begun {
            return Err(SdpError::NoVersion);
        }
        if !self.lines.iter().any(|line| line.letter == 't') {
            self.line_at_session(Line::new('t', "0 0"));
        }
        let name = self.name.filter(|name| !name.is_empty()).unwrap_or_else(|| "-".to_owned());
        Ok(SessionDescription {
            origin: self.origin.unwrap_or_default(),
            name,
            lines: self.lines,
            attributes: self.attributes,
            media: self.media,
        })
    }

    // One line more than was sent, hence no refusal for it; the limit leaves room when read again
    // only if it was not reached, which `MAX_LINES` real lines without `t=` would.
    fn line_at_session(&mut self, line: Line) {
        if self.counted_lines >= MAX_LINES {
            self.lines.pop();
        }
        self.lines.push(line);
    }
}
