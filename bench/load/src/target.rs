//! Addresses: what a URL of the command line asks for.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use gate::http::client::Origin;

/// What stands for a stream's number in a URL.
pub const NUMBER: &str = "{i}";

/// How a stream is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// RTMP.
    Rtmp,
    /// FLV as an endless HTTP body.
    Flv,
    /// FLV in the messages of a WebSocket.
    WsFlv,
    /// MPEG-TS as an endless HTTP body.
    Ts,
    /// HLS: playlists and segments.
    Hls,
}

impl Wire {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Flv => "http-flv",
            Self::WsFlv => "ws-flv",
            Self::Ts => "http-ts",
            Self::Hls => "hls",
        }
    }
}

/// Why a URL cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No scheme that there is a client for.
    #[error("{0}: the URL must begin with rtmp, rtmps, http, https, ws or wss and ://")]
    Scheme(String),
    /// HTTP, and no ending that tells the form.
    #[error("{0}: the path must end with .flv, .ts or .m3u8 (.flv for ws)")]
    Ending(String),
    /// A port that is none, or no host.
    #[error("{0}: no host, or a bad port")]
    Authority(String),
    /// RTMP without app or stream.
    #[error("{0}: want rtmp://host/app/stream")]
    Stream(String),
    /// Publishers speak RTMP alone.
    #[error("{0}: streams are published by rtmp:// or rtmps://")]
    Publish(String),
    /// The name of the host leads nowhere.
    #[error("cannot resolve {host}: {error}")]
    Resolve {
        /// The host.
        host: String,
        /// Why.
        error: String,
    },
}

/// A URL of the command line, which may hold `{i}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    first: Target,
    address: SocketAddr,
}

impl Pattern {
    /// Reads a URL and looks its host up.
    ///
    /// # Errors
    /// The URL is none that there is a client for, or its host is not known.
    pub fn new(text: &str) -> Result<Self, TargetError> {
        let first = Target::parse(&text.replace(NUMBER, "0"))?;
        let fail = |error: String| TargetError::Resolve { host: first.host.clone(), error };
        let mut found =
            (first.host.as_str(), first.port).to_socket_addrs().map_err(|e| fail(e.to_string()))?;
        let address = found.next().ok_or_else(|| fail("no address".to_owned()))?;
        Ok(Self { text: text.to_owned(), first, address })
    }

    /// The same, for publishers.
    ///
    /// # Errors
    /// As [`new`](Self::new), or it is no RTMP.
    pub fn to_publish(text: &str) -> Result<Self, TargetError> {
        let pattern = Self::new(text)?;
        match pattern.first.wire {
            Wire::Rtmp => Ok(pattern),
            _ => Err(TargetError::Publish(text.to_owned())),
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How it is carried.
    pub const fn wire(&self) -> Wire {
        self.first.wire
    }

    /// Inside TLS.
    pub const fn tls(&self) -> bool {
        self.first.tls
    }

    /// Whom to connect to.
    pub(crate) fn origin(&self) -> Origin {
        let Target { tls, host, port, .. } = &self.first;
        Origin { tls: *tls, host: host.clone(), port: *port }
    }

    /// The host as written.
    pub fn host(&self) -> &str {
        &self.first.host
    }

    /// Where to connect to; all streams of a pattern are at one place.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has a place for a number.
    pub fn has_number(&self) -> bool {
        self.text.contains(NUMBER)
    }

    /// The `n`th stream.
    pub fn target(&self, n: u32) -> Target {
        if !self.has_number() {
            return self.first.clone();
        }
        // The pattern was read with a number in place; another one changes nothing but the name.
        Target::parse(&self.text.replace(NUMBER, &n.to_string()))
            .unwrap_or_else(|_| self.first.clone())
    }
}

/// One URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How the stream is carried.
    pub wire: Wire,
    /// Inside TLS.
    pub tls: bool,
    /// Name or number; IPv6 without brackets.
    pub host: String,
    /// The port, told or implied.
    pub port: u16,
    /// Path and query, from the slash on.
    pub path: String,
}

impl Target {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let error = |make: fn(String) -> TargetError| make(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(|| error(TargetError::Scheme))?;
        let scheme = scheme.to_ascii_lowercase();
        let (tls, port) = match scheme.as_str() {
            "rtmp" => (false, 1935),
            "rtmps" | "https" | "wss" => (true, 443),
            "http" | "ws" => (false, 80),
            _ => return Err(error(TargetError::Scheme)),
        };
        let slash = rest.find('/').ok_or_else(|| error(TargetError::Authority))?;
        let (authority, path) = rest.split_at(slash);
        let (host, port) =
            authority_of(authority, port).ok_or_else(|| error(TargetError::Authority))?;
        let name = path.split(['?', '#']).next().unwrap_or_default();
        let wire = match scheme.as_str() {
            "rtmp" | "rtmps" => {
                let mut parts = name.split('/').filter(|part| !part.is_empty());
                if parts.next().is_none() || parts.next().is_none() {
                    return Err(error(TargetError::Stream));
                }
                Wire::Rtmp
            }
            "ws" | "wss" if name.ends_with(".flv") => Wire::WsFlv,
            "http" | "https" if name.ends_with(".flv") => Wire::Flv,
            "http" | "https" if name.ends_with(".ts") => Wire::Ts,
            "http" | "https" if name.ends_with(".m3u8") => Wire::Hls,
            _ => return Err(error(TargetError::Ending)),
        };
        Ok(Self { wire, tls, host, port, path: path.to_owned() })
    }

    /// Host and port as they stand in a URL or a `Host` header.
    pub fn authority(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

fn authority_of(text: &str, implied: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => implied,
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.wire, self.tls) {
            (Wire::Rtmp, false) => "rtmp",
            (Wire::Rtmp, true) => "rtmps",
            (Wire::WsFlv, false) => "ws",
            (Wire::WsFlv, true) => "wss",
            (_, false) => "http",
            (_, true) => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// Why a list of local addresses cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: want addresses like 127.0.0.2,127.0.0.3 or a range like 127.0.0.2-127.0.0.9")]
pub struct SourceError(pub String);

/// Most addresses of one range: more would be a slip of the pen.
const MAX_RANGE: u32 = 4096;

/// Reads a list of local addresses and ranges of them.
///
/// # Errors
/// A part that is neither.
pub fn sources(text: &str) -> Result<Vec<IpAddr>, SourceError> {
    let mut list = Vec::new();
    for part in text.split(',').map(str::trim) {
        let bad = || SourceError(part.to_owned());
        let Some((from, to)) = part.split_once('-') else {
            list.push(part.parse().map_err(|_| bad())?);
            continue;
        };
        let number = |ip: &str| ip.parse::<std::net::Ipv4Addr>().map(u32::from);
        let (from, to) = (number(from).map_err(|_| bad())?, number(to).map_err(|_| bad())?);
        if to < from || to - from >= MAX_RANGE {
            return Err(bad());
        }
        list.extend((from..=to).map(|n| IpAddr::V4(n.into())));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_tells_the_form() {
        let of = |text: &str| Target::parse(text).map(|t| (t.wire, t.tls, t.port));
        assert_eq!(of("rtmp://h/live/x"), Ok((Wire::Rtmp, false, 1935)));
        assert_eq!(of("rtmps://h/live/x"), Ok((Wire::Rtmp, true, 443)));
        assert_eq!(of("http://h:8080/live/x.flv?a=b.ts"), Ok((Wire::Flv, false, 8080)));
        assert_eq!(of("https://h/live/x.ts"), Ok((Wire::Ts, true, 443)));
        assert_eq!(of("wss://[::1]:9/live/x.flv"), Ok((Wire::WsFlv, true, 9)));
        assert_eq!(of("http://h/live/x.m3u8"), Ok((Wire::Hls, false, 80)));
    }

    #[test]
    fn what_no_client_is_for_is_told() {
        for bad in [
            "h/live/x",
            "ftp://h/x",
            "http://h/x.mp4",
            "rtmp://h/live",
            "ws://h/x.ts",
            "http://h:0/x.flv",
            "http://:80/x.flv",
            "http://h",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
        assert!(Pattern::to_publish("http://127.0.0.1/live/x.flv").is_err());
    }

    #[test]
    fn a_number_goes_where_the_braces_are() {
        let pattern = Pattern::new("http://127.0.0.1:80/live/s{i}.flv?k={i}").unwrap();
        assert_eq!(pattern.target(7).to_string(), "http://127.0.0.1:80/live/s7.flv?k=7");
        let ip = Target::parse("http://[::1]/x.flv").unwrap();
        assert_eq!(ip.to_string(), "http://[::1]:80/x.flv");
    }

    #[test]
    fn sources_are_lists_and_ranges() {
        let list = sources("127.0.0.2, 127.0.1.254-127.0.2.1").unwrap();
        assert_eq!(list.len(), 5);
        assert_eq!(list[4], IpAddr::from([127, 0, 2, 1]));
        assert_eq!(sources("::1").unwrap().len(), 1);
        for bad in ["", "x", "127.0.0.9-127.0.0.2", "10.0.0.0-10.9.0.0"] {
            assert!(sources(bad).is_err(), "{bad}");
        }
    }
}
