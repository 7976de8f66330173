//! Attributes and their typed readers.

use std::fmt;
use std::str::FromStr;

use smallvec::SmallVec;

use super::{Candidate, Fingerprint, MediaDescription, Rid, Setup, Simulcast};

/// One `a=` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Before the colon.
    pub name: String,
    /// Behind the colon; nothing for a flag such as `a=rtcp-mux`.
    pub value: Option<String>,
}

impl Attribute {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name.trim(), Some(value.trim().to_owned())),
            None => (text.trim(), None),
        };
        (!name.is_empty()).then(|| Self { name: name.to_owned(), value })
    }
}

/// The attributes of a session or of a section, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Vec<Attribute>);

impl Attributes {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Attribute> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one at the end.
    pub fn push(&mut self, attribute: Attribute) {
        self.0.push(attribute);
    }

    /// Adds `a=name`.
    pub fn flag(&mut self, name: &str) {
        self.0.push(Attribute { name: name.to_owned(), value: None });
    }

    /// Adds `a=name:value`.
    pub fn set(&mut self, name: &str, value: impl fmt::Display) {
        self.0.push(Attribute { name: name.to_owned(), value: Some(value.to_string()) });
    }

    /// Keeps those of which `keep` is true.
    pub fn retain(&mut self, keep: impl FnMut(&Attribute) -> bool) {
        self.0.retain(keep);
    }

    /// Whether `a=name` is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|attribute| attribute.name == name)
    }

    /// The value of the first of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|attribute| attribute.name == name)?.value.as_deref()
    }

    /// The values of all of that name, in their order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |attribute| attribute.name == name)
            .filter_map(|attribute| attribute.value.as_deref())
    }

    fn read<T: FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }

    /// `a=ice-ufrag`, of 4 to 256 characters (RFC 8839 §5.4).
    pub fn ice_ufrag(&self) -> Option<&str> {
        self.get("ice-ufrag").filter(|value| (4..=256).contains(&value.len()))
    }

    /// `a=ice-pwd`, of 22 to 256 characters (RFC 8839 §5.4).
    pub fn ice_pwd(&self) -> Option<&str> {
        self.get("ice-pwd").filter(|value| (22..=256).contains(&value.len()))
    }

    /// Whether `a=ice-options` has this word.
    pub fn ice_option(&self, option: &str) -> bool {
        self.all("ice-options").any(|value| value.split_whitespace().any(|word| word == option))
    }

    /// The certificates' hashes, in their order (RFC 8122 §5).
    pub fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> {
        self.all("fingerprint").filter_map(|value| value.parse().ok())
    }

    /// Who begins the DTLS handshake (RFC 4145 §4).
    pub fn setup(&self) -> Option<Setup> {
        self.read("setup")
    }

    /// The candidates that can be read (RFC 8839 §5.1).
    pub fn candidates(&self) -> impl Iterator<Item = Candidate> {
        self.all("candidate").filter_map(|value| value.parse().ok())
    }

    /// The direction, if one is told; `sendrecv` is meant where none is.
    pub fn direction(&self) -> Option<Direction> {
        self.0.iter().find_map(|attribute| attribute.name.parse().ok())
    }

    /// The header extensions (RFC 8285 §5).
    pub fn extmaps(&self) -> impl Iterator<Item = ExtMap<'_>> {
        self.all("extmap").filter_map(ExtMap::parse)
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|attribute| match &attribute.value {
            Some(value) => write!(f, "a={}:{value}\r\n", attribute.name),
            None => write!(f, "a={}\r\n", attribute.name),
        })
    }
}

/// Which way media flow, seen from who says it (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways; the default.
    #[default]
    SendRecv,
    /// From who says it.
    SendOnly,
    /// To who says it.
    RecvOnly,
    /// Not at all.
    Inactive,
}

impl Direction {
    /// The attribute's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether who says it would send.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether who says it would receive.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same, seen from the other side.
    pub const fn reversed(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            same => same,
        }
    }
}

impl FromStr for Direction {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "sendrecv" => Ok(Self::SendRecv),
            "sendonly" => Ok(Self::SendOnly),
            "recvonly" => Ok(Self::RecvOnly),
            "inactive" => Ok(Self::Inactive),
            _ => Err(()),
        }
    }
}

/// `a=group` (RFC 5888 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// `BUNDLE`, `LS` and so on.
    pub semantics: &'a str,
    mids: &'a str,
}

impl<'a> Group<'a> {
    pub(super) fn parse(value: &'a str) -> Option<Self> {
        let (semantics, mids) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
        (!semantics.is_empty()).then_some(Self { semantics, mids })
    }

    /// The sections of the group, in their order.
    pub fn mids(self) -> impl Iterator<Item = &'a str> {
        self.mids.split_whitespace()
    }
}

/// `a=rtpmap` (RFC 8866 §6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpMap<'a> {
    /// 0 to 127.
    pub payload_type: u8,
    /// The coding's name; compare it without regard to case.
    pub encoding: &'a str,
    /// In Hz.
    pub clock: u32,
    /// 1 where none are told.
    pub channels: u8,
}

impl<'a> RtpMap<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let (payload_type, rest) = value.split_once(char::is_whitespace)?;
        let mut parts = rest.trim().splitn(3, '/');
        let (encoding, clock) = (parts.next()?, parts.next()?);
        let payload_type = payload_type.parse().ok().filter(|pt: &u8| *pt < 128)?;
        Some(Self {
            payload_type,
            encoding,
            clock: clock.trim().parse().ok()?,
            channels: parts.next().and_then(|part| part.trim().parse().ok()).unwrap_or(1),
        })
    }

    /// Those payload types that need no `a=rtpmap` (RFC 3551 §6), the ones used here.
    fn fixed(payload_type: u8) -> Option<Self> {
        let (encoding, clock) = match payload_type {
            0 => ("PCMU", 8000),
            8 => ("PCMA", 8000),
            9 => ("G722", 8000),
            14 => ("MPA", 90_000),
            33 => ("MP2T", 90_000),
            _ => return None,
        };
        Some(Self { payload_type, encoding, clock, channels: 1 })
    }

    /// Whether the coding has this name.
    pub fn is(&self, encoding: &str) -> bool {
        self.encoding.eq_ignore_ascii_case(encoding)
    }
}

/// The parameters of a payload type, `key=value` behind semicolons (RFC 8866 §6.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fmtp<'a>(&'a str);

impl<'a> Fmtp<'a> {
    /// Reads the parameters themselves, without `a=fmtp:PT`.
    pub fn new(parameters: &'a str) -> Self {
        Self(parameters.trim())
    }

    /// As they came.
    pub fn raw(self) -> &'a str {
        self.0
    }

    /// Keys and values; a part without `=` has an empty value.
    pub fn pairs(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.split(';').map(str::trim).filter(|part| !part.is_empty()).map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (key.trim(), value.trim())
        })
    }

    /// The value of a key, which is compared without regard to case.
    pub fn get(self, key: &str) -> Option<&'a str> {
        self.pairs().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
    }

    /// The value of a key as a decimal number.
    pub fn number<T: FromStr>(self, key: &str) -> Option<T> {
        self.get(key)?.parse().ok()
    }
}

/// `a=extmap` (RFC 8285 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtMap<'a> {
    /// 1 to 255; from 15 on only two-byte headers carry it.
    pub id: u8,
    /// The word behind `/`, if any.
    pub direction: Option<Direction>,
    /// What it is.
    pub uri: &'a str,
    /// What follows, often nothing.
    pub attributes: &'a str,
}

impl<'a> ExtMap<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let (id, rest) = value.split_once(char::is_whitespace)?;
        let (id, direction) = match id.split_once('/') {
            Some((id, direction)) => (id, direction.parse().ok()),
            None => (id, None),
        };
        let rest = rest.trim();
        let (uri, attributes) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let id = id.parse().ok().filter(|id: &u8| *id > 0)?;
        Some(Self { id, direction, uri, attributes: attributes.trim() })
    }
}

/// `a=ssrc` (RFC 5576 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SsrcAttribute<'a> {
    /// Which source.
    pub ssrc: u32,
    /// `cname`, `msid` and so on.
    pub name: &'a str,
    /// Behind the colon.
    pub value: Option<&'a str>,
}

impl<'a> SsrcAttribute<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let (ssrc, rest) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
        let (name, value) = match rest.trim().split_once(':') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (rest.trim(), None),
        };
        Some(Self { ssrc: ssrc.parse().ok()?, name, value })
    }
}

/// `a=ssrc-group` (RFC 5576 §4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SsrcGroup<'a> {
    /// `FID` for a source and its retransmissions, `SIM` for simulcast, `FEC-FR` for FEC.
    pub semantics: &'a str,
    /// The sources.
    pub ssrcs: SmallVec<[u32; 4]>,
}

impl<'a> SsrcGroup<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let mut words = value.split_whitespace();
        let semantics = words.next()?;
        Some(Self { semantics, ssrcs: words.map_while(|word| word.parse().ok()).collect() })
    }
}

/// `a=msid`: the stream and the track a section belongs to (RFC 8830 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Msid {
    /// The stream; `-` for none.
    pub stream: String,
    /// The track, which newer clients leave out.
    pub track: Option<String>,
}

impl Msid {
    /// Reads what is behind `a=msid:` or behind the `msid:` of a source.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_whitespace();
        Some(Self { stream: words.next()?.to_owned(), track: words.next().map(str::to_owned) })
    }
}

/// What is read of a section alone.
impl MediaDescription {
    /// The name that groups and header extensions use (RFC 5888 §4).
    pub fn mid(&self) -> Option<&str> {
        self.attributes.get("mid").filter(|mid| !mid.is_empty())
    }

    /// All payload types that are described, in the order of their description.
    pub fn rtpmaps(&self) -> impl Iterator<Item = RtpMap<'_>> {
        self.attributes.all("rtpmap").filter_map(RtpMap::parse)
    }

    /// What a payload type stands for; the fixed ones of RFC 3551 need no line.
    pub fn rtpmap(&self, payload_type: u8) -> Option<RtpMap<'_>> {
        self.rtpmaps()
            .find(|map| map.payload_type == payload_type)
            .or_else(|| RtpMap::fixed(payload_type))
    }

    /// The parameters of a payload type.
    pub fn fmtp(&self, payload_type: u8) -> Option<Fmtp<'_>> {
        self.attributes.all("fmtp").find_map(|value| {
            let (pt, parameters) = value.split_once(char::is_whitespace)?;
            (pt.parse() == Ok(payload_type)).then(|| Fmtp::new(parameters))
        })
    }

    /// The feedback a payload type may have (RFC 4585 §4.2), those for all (`*`) included.
    pub fn feedback(&self, payload_type: u8) -> impl Iterator<Item = &str> {
        self.attributes.all("rtcp-fb").filter_map(move |value| {
            let (pt, feedback) = value.split_once(char::is_whitespace)?;
            (pt == "*" || pt.parse() == Ok(payload_type)).then_some(feedback.trim())
        })
    }

    /// What is said of sources.
    pub fn ssrcs(&self) -> impl Iterator<Item = SsrcAttribute<'_>> {
        self.attributes.all("ssrc").filter_map(SsrcAttribute::parse)
    }

    /// Which sources belong together.
    pub fn ssrc_groups(&self) -> impl Iterator<Item = SsrcGroup<'_>> {
        self.attributes.all("ssrc-group").filter_map(SsrcGroup::parse)
    }

    /// The stream and track of the section.
    pub fn msid(&self) -> Option<Msid> {
        Msid::parse(self.attributes.get("msid")?)
    }

    /// The restricted streams (RFC 8851).
    pub fn rids(&self) -> impl Iterator<Item = Rid<'_>> {
        self.attributes.all("rid").filter_map(Rid::parse)
    }

    /// Which of them are alternatives of one picture (RFC 8853).
    pub fn simulcast(&self) -> Option<Simulcast<'_>> {
        Simulcast::parse(self.attributes.get("simulcast")?)
    }

    /// Whether RTP and RTCP share a port (RFC 5761), be it as an offer or as a demand.
    pub fn rtcp_mux(&self) -> bool {
        self.attributes.has("rtcp-mux") || self.attributes.has("rtcp-mux-only")
    }

    /// The port of SCTP within DTLS (RFC 8841 §5); 5000 where none is told.
    pub fn sctp_port(&self) -> u16 {
        self.attributes.read("sctp-port").unwrap_or(5000)
    }

    /// Bytes of the largest message of a data channel (RFC 8841 §6): 64 kB where none is told,
    /// 0 for any.
    pub fn max_message_size(&self) -> u64 {
        self.attributes.read("max-message-size").unwrap_or(65_536)
    }
}
