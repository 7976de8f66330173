//! Addresses: what stream a client means by `tcUrl` and the name it publishes or plays.
//!
//! [`StreamUrl::parse`] is the door for names: behind it app and stream hold no control
//! characters, no `.` or `..` segments and nothing longer than a file name may be.
//!
//! Many spellings name the same stream, as encoders let people fill in only two fields:
//! `app?vhost=V` + `stream`, `app` + `stream?vhost=V`, `app...vhost...V`, `app/_definst_`, the
//! whole path in one field. It does not look the vhost up, nor decode `%` escapes.

#[cfg(test)]
mod tests;

use std::fmt;

/// The port when none is told.
pub const DEFAULT_PORT: u16 = 1935;

/// The port of `rtmps` when none is told.
pub const DEFAULT_TLS_PORT: u16 = 443;

/// The app when none is told.
const DEFAULT_APP: &str = "__defaultApp__";

/// The vhost that stands for all that are not configured.
pub const DEFAULT_VHOST: &str = "__defaultVhost__";

/// The longest address or name, in bytes: a token of 4 KiB fits, and a session keeps its `tcUrl`.
pub const MAX_LENGTH: usize = 8192;

/// The longest part between two slashes, in bytes: file systems allow no more.
pub const MAX_SEGMENT: usize = 255;

/// Why an address names no stream. The client's fault, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `connect` without `tcUrl`.
    #[error("connect without tcUrl")]
    NoTcUrl,
    /// Not an address: no schema, no host, or a port that is none.
    #[error("not an address")]
    Malformed,
    /// Longer than [`MAX_LENGTH`].
    #[error("address of {0} bytes")]
    TooLong(usize),
    /// A character that no name may have, or bytes that are no UTF-8.
    #[error("character {0:?} in a name")]
    Character(char),
    /// A `.` or `..` segment.
    #[error("relative path segment in a name")]
    Relative,
    /// A segment longer than [`MAX_SEGMENT`].
    #[error("path segment of {0} bytes")]
    Segment(usize),
    /// No stream name.
    #[error("empty stream name")]
    NoStream,
}

impl Error {
    /// The number that logs and the API give for it.
    pub const fn code(self) -> u16 {
        match self {
            Self::NoTcUrl => 2005,
            Self::NoStream => 2051,
            _ => 2006,
        }
    }
}

/// A stream's address, taken apart and cleaned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamUrl {
    /// `rtmp`, `rtmps` and the like, in lower case.
    pub schema: String,
    /// Name or number of the server as the client wrote it; IPv6 without brackets.
    pub host: String,
    /// The port, told or implied.
    pub port: u16,
    /// The vhost asked for: by `vhost` or `domain` in the query, else the host.
    pub vhost: String,
    /// The app; may contain slashes, neither first nor last.
    pub app: String,
    /// The stream; no slashes.
    pub stream: String,
    /// The query with its `?` (or `#`); empty if there is none. No white space or control
    /// characters, all else as the client wrote it.
    pub param: String,
}

impl StreamUrl {
    /// Reads `tcUrl` and the name given to `publish` or `play`, which may carry a query too.
    ///
    /// An empty `name` is looked for at the end of `tc_url`.
    ///
    /// # Errors
    ///
    /// The client's; see [`Error`].
    pub fn parse(tc_url: &str, name: &str) -> Result<Self, Error> {
        for text in [tc_url, name] {
            if text.len() > MAX_LENGTH {
                return Err(Error::TooLong(text.len()));
            }
        }
        if tc_url.is_empty() {
            return Err(Error::NoTcUrl);
        }
        let tc_url = tc_url.replace("...vhost...", "?vhost=");
        let name = name.replace("...vhost...", "?vhost=");

        let (schema, rest) = tc_url.trim().split_once("://").ok_or(Error::Malformed)?;
        let schema = schema.to_ascii_lowercase();
        if schema.is_empty() || !schema.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Error::Malformed);
        }
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = split_authority(&schema, authority)?;

        let (name, name_query) = split_query(&name);
        let name = without_space(name);
        let name = name.trim_matches('/');
        let (path, query) = split_path(rest, name);
        let path = path.replace("/_definst_", "");
        let mut segments: Vec<String> =
            path.split('/').map(without_space).filter(|segment| !segment.is_empty()).collect();
        for segment in &segments {
            check_segment(segment)?;
        }
        // With no name told, a path of one segment is the app and not the stream.
        if name.is_empty() && segments.len() < 2 && !query.moved {
            return Err(Error::NoStream);
        }
        let stream = segments.pop().ok_or(Error::NoStream)?;
        let app = if segments.is_empty() { DEFAULT_APP.to_owned() } else { segments.join("/") };

        let mut param = join_queries(&without_space(&query.text), &without_space(name_query));
        param.retain(|c| !c.is_control());
        let vhost = ["vhost", "domain"].iter().find_map(|key| find_item(&param, key));
        let vhost = match vhost {
            Some(vhost) => vhost.trim_matches('/').to_owned(),
            None => host.clone(),
        };
        check_segment(&vhost)?;
        if let Some(slash) = vhost.chars().find(|c| matches!(c, '/' | '\\')) {
            return Err(Error::Character(slash));
        }
        if let Some(odd) = param.chars().find(|c| *c == char::REPLACEMENT_CHARACTER) {
            return Err(Error::Character(odd));
        }
        let param = match param.strip_prefix("?vhost=") {
            Some(DEFAULT_VHOST) => String::new(),
            _ => param,
        };
        Ok(Self { schema, host, port, vhost, app, stream, param })
    }

    /// The stream's name without file extension, by which streams are told apart: `a.flv` and `a`
    /// are one.
    pub fn stream_stem(&self) -> &str {
        match self.stream.rsplit_once('.') {
            Some((stem, _)) if !stem.is_empty() => stem,
            _ => &self.stream,
        }
    }

    /// The value of an item of the query.
    pub fn query(&self, key: &str) -> Option<&str> {
        find_item(&self.param, key)
    }

    /// The `tcUrl` that a client sends for it: by the vhost if that was told, else by the host.
    pub fn tc_url(&self) -> String {
        let host = if self.vhost == DEFAULT_VHOST { &self.host } else { &self.vhost };
        let brackets = host.contains(':');
        let (open, close) = if brackets { ("[", "]") } else { ("", "") };
        let implied = if self.schema == "rtmps" { DEFAULT_TLS_PORT } else { DEFAULT_PORT };
        let Self { schema, app, port, .. } = self;
        if *port == implied {
            format!("{schema}://{open}{host}{close}/{app}")
        } else {
            format!("{schema}://{open}{host}{close}:{port}/{app}")
        }
    }

    /// The name that a client publishes or plays: stream and query.
    pub fn name(&self) -> String {
        format!("{}{}", self.stream, self.param)
    }
}

impl fmt::Display for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.tc_url(), self.stream, self.param)
    }
}

fn split_authority(schema: &str, authority: &str) -> Result<(String, u16), Error> {
    let authority = without_space(authority);
    let authority = authority.rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
    let implied = if schema == "rtmps" { DEFAULT_TLS_PORT } else { DEFAULT_PORT };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(Error::Malformed)?;
            (host, rest.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        None | Some("") => implied,
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(Error::Malformed)?,
    };
    if host.is_empty() {
        return Err(Error::Malformed);
    }
    check_segment(host)?;
    Ok((host.to_owned(), port))
}

/// A query as it stood in `tcUrl`.
struct Query {
    text: String,
    /// It stood before the stream's name (`app?k=v/stream`).
    moved: bool,
}

/// The whole path, the name at its end, and the query that stood in or behind it.
fn split_path(rest: &str, name: &str) -> (String, Query) {
    let (path, query) = split_query(rest);
    if !name.is_empty() {
        let text = query.trim_end_matches('/').to_owned();
        return (format!("{path}/{name}"), Query { text, moved: true });
    }
    // All in one: a name behind the query counts where the path alone could not hold one.
    let segments = path.split('/').filter(|segment| !segment.is_empty()).count();
    let query = query.trim_end_matches('/');
    match query.rsplit_once('/') {
        Some((text, name)) if segments < 2 && !name.is_empty() => {
            (format!("{path}/{name}"), Query { text: text.to_owned(), moved: true })
        }
        _ => (path.to_owned(), Query { text: query.to_owned(), moved: false }),
    }
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_at(text.find(['?', '#']).unwrap_or(text.len()))
}

fn join_queries(first: &str, second: &str) -> String {
    let empty = |query: &str| query.trim_start_matches(['?', '#']).is_empty();
    match (empty(first), empty(second)) {
        (true, true) => String::new(),
        (false, true) => first.to_owned(),
        (true, false) => second.to_owned(),
        (false, false) => format!("{first}&{}", second.trim_start_matches(['?', '#'])),
    }
}

/// The first value of `key` that is not empty. Items end at `&` and `;`; the value follows `=`,
/// or `,` where an encoder's form would not take a `=`.
fn find_item<'a>(param: &'a str, key: &str) -> Option<&'a str> {
    let items = param.trim_start_matches(['?', '#']).split(['&', ';', '#', '?']);
    for item in items {
        if let Some((name, value)) = item.split_once('=')
            && !name.contains(',')
        {
            if name == key && !value.is_empty() {
                return Some(value);
            }
            continue;
        }
        let mut words = item.split([',', '=']);
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            if name == key && !value.is_empty() {
                return Some(value);
            }
        }
    }
    None
}

fn without_space(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn check_segment(segment: &str) -> Result<(), Error> {
    let bad = |c: &char| c.is_control() || *c == char::REPLACEMENT_CHARACTER || *c == '\\';
    if let Some(character) = segment.chars().find(bad) {
        return Err(Error::Character(character));
    }
    if matches!(segment, "." | "..") {
        return Err(Error::Relative);
    }
    if segment.len() > MAX_SEGMENT {
        return Err(Error::Segment(segment.len()));
    }
    Ok(())
}
