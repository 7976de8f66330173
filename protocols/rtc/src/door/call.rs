//! A request taken apart: which door it came to, and what it says. Nothing here waits or asks.

use std::net::IpAddr;

use http::{HeaderMap, Method, header};
use serde_json::Value;

use super::MAX_OFFER;
use super::candidates::{At, External};
use super::desk::{Dialect, IfMatch, VideoWish, Way};
use super::query::{
    Query, StreamUrl, escape, host_and_port, is_app, is_host_name, is_name, unescape,
};

/// Entity tags of an `If-Match` that are looked at: a client knows the one or two latest.
const MAX_TAGS: usize = 8;
/// Longest entity tag, name of a session or token, bytes; ours are a quarter of it. A remote
/// `ice-ufrag` has up to 256 characters (RFC 8839 §5.4).
const MAX_MARK: usize = 512;
/// What SRS takes where a WHIP address names no stream.
const DEFAULT_APP: &str = "live";
const DEFAULT_STREAM: &str = "livestream";

/// An address of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// `/rtc/v1/publish/`, `/rtc/v1/play/`: JSON.
    Json(Way),
    /// `/rtc/v1/whip/`, `/rtc/v1/whep/`, `/rtc/v1/whip-play/`: the stream stands in the query.
    Srs(Way),
    /// `/whip/{app}/{stream}`, `/whep/{app}/{stream}`.
    Stream {
        /// By the first word.
        way: Way,
        /// Still escaped.
        app: String,
        /// Still escaped.
        stream: String,
    },
    /// `/rtc/v1/nack/`.
    Nack,
}

impl Door {
    /// Which one a path leads to; with or without a slash at its end.
    pub fn of(path: &str) -> Option<Self> {
        if let Some(rest) = path.strip_prefix("/rtc/v1/") {
            let word = rest.split('/').next().unwrap_or(rest);
            return match word {
                "publish" => Some(Self::Json(Way::Publish)),
                "play" => Some(Self::Json(Way::Play)),
                "whip" => Some(Self::Srs(Way::Publish)),
                "whep" | "whip-play" => Some(Self::Srs(Way::Play)),
                "nack" => Some(Self::Nack),
                _ => None,
            };
        }
        let (way, rest) = match path.strip_prefix("/whip/") {
            Some(rest) => (Way::Publish, rest),
            None => (Way::Play, path.strip_prefix("/whep/")?),
        };
        let (app, stream) = rest.strip_suffix('/').unwrap_or(rest).rsplit_once('/')?;
        Some(Self::Stream { way, app: app.to_owned(), stream: stream.to_owned() })
    }

    /// The methods it knows.
    pub fn methods(&self) -> &'static str {
        match self {
            Self::Json(_) => "POST, OPTIONS",
            Self::Srs(_) | Self::Stream { .. } => "POST, PATCH, DELETE, OPTIONS",
            Self::Nack => "GET, POST, OPTIONS",
        }
    }

    /// Whose words are spoken there.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Json(_) | Self::Nack => Dialect::Srs,
            Self::Srs(_) | Self::Stream { .. } => Dialect::Whip,
        }
    }
}

/// A session as its client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its name.
    pub session: String,
    /// The proof that it was made for who asks.
    pub token: String,
}

/// What a request wants, its body not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// An offer follows, as SDP.
    Offer(Box<Wish>),
    /// An offer follows, in JSON.
    Json(Way),
    /// A fragment follows.
    Trickle(Mark, IfMatch),
    /// The session shall end.
    End(Mark),
    /// Packets shall be lost.
    Nack {
        /// The session.
        username: String,
        /// How many, as written.
        drop: String,
    },
    /// What may be asked, by a browser on behalf of another page.
    Options,
}

/// Why a request goes no further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The method is none of these.
    #[error("this address takes {0}")]
    Method(&'static str),
    /// Something is malformed.
    #[error("{0}")]
    Malformed(String),
    /// The body's type is not the one that is wanted.
    #[error("the body must be {0}")]
    Type(&'static str),
    /// A session's token is missing.
    #[error(
        "the address of a session holds its token: use the Location that the POST was answered with"
    )]
    NoToken,
}

fn malformed(text: impl Into<String>) -> Fault {
    Fault::Malformed(text.into())
}

/// What the address of an offer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Publish or play.
    pub way: Way,
    /// The application.
    pub app: String,
    /// The stream.
    pub stream: String,
    /// The virtual host, where it is named.
    pub vhost: Option<String>,
    /// `eip=`, `candidate=`: the address that the client knows us by.
    pub external: Option<External>,
    /// `codec=`.
    pub video: Option<VideoWish>,
    /// `encrypt=`; `None`: as configured.
    pub encrypt: Option<bool>,
    /// `dtls=`.
    pub dtls: bool,
    /// `ice-ufrag=`.
    pub ice_ufrag: Option<String>,
    /// `ice-pwd=`.
    pub ice_pwd: Option<String>,
}

impl Wish {
    /// Of a stream; the rest from these queries, the first counts.
    ///
    /// # Errors
    /// [`Fault::Malformed`].
    pub fn read(way: Way, app: &str, stream: &str, queries: &[Query<'_>]) -> Result<Self, Fault> {
        if !is_app(app) || !is_name(stream) {
            return Err(malformed("app and stream have 1 to 255 bytes, and no dots alone"));
        }
        let get = |name: &str| queries.iter().find_map(|query| query.get(name));
        let vhost = get("vhost").or_else(|| get("domain"));
        if vhost.as_ref().is_some_and(|vhost| !is_name(vhost)) {
            return Err(malformed("vhost is no name of a virtual host"));
        }
        let external = match get("eip").or_else(|| get("candidate")) {
            Some(text) => Some(
                External::parse(&text)
                    .ok_or_else(|| malformed("eip (or candidate) is not ip[:port]"))?,
            ),
            None => None,
        };
        let video = match get("codec") {
            Some(word) => Some(
                VideoWish::from_word(&word)
                    .ok_or_else(|| malformed("codec is none of h264, hevc, av1, vp8, vp9"))?,
            ),
            None => None,
        };
        let denied = |name: &str| queries.iter().any(|query| query.denies(name));
        let set = |name: &str| get(name).is_some();
        Ok(Self {
            way,
            app: app.to_owned(),
            stream: stream.to_owned(),
            vhost: vhost.map(|vhost| vhost.into_owned()),
            external,
            video,
            encrypt: set("encrypt").then(|| !denied("encrypt")),
            dtls: !denied("dtls"),
            ice_ufrag: credential(get("ice-ufrag"), "ice-ufrag", 4)?,
            ice_pwd: credential(get("ice-pwd"), "ice-pwd", 22)?,
        })
    }
}

fn credential(
    text: Option<std::borrow::Cow<'_, str>>,
    name: &str,
    least: usize,
) -> Result<Option<String>, Fault> {
    let Some(text) = text else { return Ok(None) };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    if !(least..=32).contains(&text.len()) || !text.bytes().all(plain) {
        return Err(malformed(format!("{name} has {least} to 32 letters, digits, `+` and `/`")));
    }
    Ok(Some(text.into_owned()))
}

impl Call {
    /// What a request to this door wants.
    ///
    /// # Errors
    /// [`Fault`]: the client's.
    pub fn read(
        door: &Door,
        method: &Method,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Self, Fault> {
        let query = Query(query);
        if *method == Method::OPTIONS {
            return Ok(Self::Options);
        }
        match door {
            Door::Json(way) if *method == Method::POST => Ok(Self::Json(*way)),
            Door::Nack if matches!(*method, Method::GET | Method::POST) => {
                let text = |name: &str| query.get(name).unwrap_or_default().into_owned();
                Ok(Self::Nack { username: text("username"), drop: text("drop") })
            }
            Door::Json(_) | Door::Nack => Err(Fault::Method(door.methods())),
            Door::Srs(_) | Door::Stream { .. } => match *method {
                Method::POST => Self::offer(door, query, headers),
                Method::PATCH => {
                    let mark = mark(query)?;
                    is_type(headers, FRAGMENT, false)?;
                    Ok(Self::Trickle(mark, if_match(headers)?))
                }
                Method::DELETE => Ok(Self::End(mark(query)?)),
                _ => Err(Fault::Method(door.methods())),
            },
        }
    }

    fn offer(door: &Door, query: Query<'_>, headers: &HeaderMap) -> Result<Self, Fault> {
        let wish = match door {
            Door::Srs(way) => {
                let way = match query.get("action").as_deref() {
                    Some("play") => Way::Play,
                    _ => *way,
                };
                let app = query.get("app").unwrap_or(DEFAULT_APP.into());
                let stream = query.get("stream").unwrap_or(DEFAULT_STREAM.into());
                Wish::read(way, &app, &stream, &[query])?
            }
            Door::Stream { way, app, stream } => {
                // SRS's clients send any type, so it counts at our own addresses alone.
                is_type(headers, SDP, true)?;
                let names = unescape(app).zip(unescape(stream));
                let (app, stream) = names.ok_or_else(|| malformed("the path is not UTF-8"))?;
                Wish::read(*way, &app, &stream, &[query])?
            }
            Door::Json(_) | Door::Nack => return Err(Fault::Method(door.methods())),
        };
        Ok(Self::Offer(Box::new(wish)))
    }
}

/// Type of an offer and an answer.
pub const SDP: &str = "application/sdp";
/// Type of a fragment (RFC 8840 §9).
pub const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

fn is_type(headers: &HeaderMap, wanted: &'static str, or_none: bool) -> Result<(), Fault> {
    let Some(told) = headers.get(header::CONTENT_TYPE) else {
        return if or_none { Ok(()) } else { Err(Fault::Type(wanted)) };
    };
    let told = told.to_str().unwrap_or_default();
    let told = told.split(';').next().unwrap_or_default().trim();
    if told.eq_ignore_ascii_case(wanted) { Ok(()) } else { Err(Fault::Type(wanted)) }
}

fn mark(query: Query<'_>) -> Result<Mark, Fault> {
    let text = |name: &str| query.get(name).filter(|text| text.len() <= MAX_MARK);
    let token = text("token").ok_or(Fault::NoToken)?.into_owned();
    let session = text("session")
        .ok_or_else(|| malformed("the address names no session: use the Location of the POST"))?;
    Ok(Mark { session: session.into_owned(), token })
}

/// Reads `If-Match` (RFC 9110 §13.1.1). Weak tags fit nothing there.
fn if_match(headers: &HeaderMap) -> Result<IfMatch, Fault> {
    let mut all = headers.get_all(header::IF_MATCH).iter().peekable();
    if all.peek().is_none() {
        return Ok(IfMatch::Missing);
    }
    let bad = || malformed("If-Match is neither `*` nor a list of quoted entity tags");
    let mut tags = Vec::new();
    for value in all {
        for item in value.to_str().map_err(|_| bad())?.split(',').map(str::trim) {
            match item {
                "*" => return Ok(IfMatch::Any),
                _ if item.starts_with("W/") => continue,
                _ => {}
            }
            // Some clients forget the quotes.
            let tag = item.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(item);
            if tag.contains('"') || tag.len() > MAX_MARK {
                return Err(bad());
            }
            if tags.len() < MAX_TAGS && !tag.is_empty() {
                tags.push(tag.to_owned());
            }
        }
    }
    Ok(IfMatch::Tags(tags))
}

/// Text of an offer or a fragment.
///
/// # Errors
/// [`Fault::Malformed`]: it is no UTF-8, or nothing.
pub fn text(body: &[u8]) -> Result<String, Fault> {
    match std::str::from_utf8(body) {
        Ok(text) if text.trim().is_empty() => Err(malformed("the body is empty")),
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(malformed("the body is not UTF-8")),
    }
}

/// Body of the JSON calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonOffer {
    /// The offer.
    pub sdp: String,
    /// The stream.
    pub url: StreamUrl,
    /// The client's address as it says itself.
    pub clientip: Option<IpAddr>,
}

impl JsonOffer {
    /// Reads it.
    ///
    /// # Errors
    /// [`Fault::Malformed`].
    pub fn read(body: &[u8]) -> Result<Self, Fault> {
        let value: Value =
            serde_json::from_slice(body).map_err(|e| malformed(format!("no JSON: {e}")))?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
        let sdp = text("sdp").ok_or_else(|| malformed("`sdp` is missing"))?;
        if sdp.len() > MAX_OFFER {
            return Err(malformed(format!("`sdp` is longer than {MAX_OFFER} bytes")));
        }
        let url = text("streamurl").ok_or_else(|| malformed("`streamurl` is missing"))?;
        Ok(Self {
            sdp: sdp.to_owned(),
            url: StreamUrl::parse(url).map_err(malformed)?,
            clientip: text("clientip").and_then(|ip| ip.trim().parse().ok()),
        })
    }
}

impl External {
    /// `ip[:port]`, or a name in the place of the address.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = host_and_port(text);
        let at = match host.parse() {
            Ok(ip) => At::Ip(ip),
            Err(_) if is_host_name(host) => At::Name(host.to_owned()),
            Err(_) => return None,
        };
        (port != Some(0)).then_some(Self { at, port })
    }
}

/// The address of a session, for `Location`.
pub fn location(door: &Door, wish: &Wish, session: &str, token: &str) -> String {
    let (session, token) = (escape(session), escape(token));
    match door {
        Door::Stream { way, app, stream } => {
            let word = match way {
                Way::Publish => "whip",
                Way::Play => "whep",
            };
            format!("/{word}/{app}/{stream}?session={session}&token={token}")
        }
        _ => format!(
            "/rtc/v1/whip/?action=delete&token={token}&app={}&stream={}&session={session}",
            escape(&wish.app),
            escape(&wish.stream)
        ),
    }
}

#[cfg(test)]
mod tests;
