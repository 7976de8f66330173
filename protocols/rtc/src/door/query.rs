//! Queries, names and hosts as clients write them.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Longest part of a name, bytes: that of a file.
const MAX_NAME: usize = 255;
/// Items of a query that are looked at. Programs send a dozen.
const MAX_ITEMS: usize = 64;

/// What is escaped in a query that we write. Sessions are called `a:b`, with `+` and `/` in them.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'\\')
    .add(b'^')
    .add(b'|');

/// The query of a request, without its `?`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<'a>(pub &'a str);

impl<'a> Query<'a> {
    /// The first value of that name, escapes undone once. A plus is a plus. `None` where there is
    /// none, or it is empty or no UTF-8.
    pub fn get(self, name: &str) -> Option<Cow<'a, str>> {
        let value = self.0.split('&').take(MAX_ITEMS).find_map(|item| {
            let (own, value) = item.split_once('=')?;
            (own == name).then_some(value)
        })?;
        let value = percent_decode_str(value).decode_utf8().ok()?;
        (!value.is_empty()).then_some(value)
    }

    /// Whether the item says `false` or `off`.
    pub fn denies(self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(&*value, "false" | "off" | "0"))
    }
}

/// Escapes a text for a place in a query or in a segment of a path.
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// The same for a path: a slash stays what it is.
pub fn unescape(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
}

/// Whether a stream can be called so.
pub fn is_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.len() <= MAX_NAME
        && !text.contains(['/', '\\', '?', '#'])
        && !text.contains(char::is_control)
}

/// Whether an application can be called so: names with slashes between.
pub fn is_app(text: &str) -> bool {
    text.len() <= MAX_NAME && text.split('/').all(is_name)
}

/// A host and its port, if it is written. IPv6 stands in brackets and loses them.
pub fn host_and_port(text: &str) -> (&str, Option<u16>) {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').unwrap_or((rest, ""));
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match text.split_once(':') {
        // More than one colon and no brackets: an address of IPv6, without a port.
        Some((_, rest)) if rest.contains(':') => (text, None),
        Some((host, port)) => (host, port.parse().ok()),
        None => (text, None),
    }
}

/// Whether the text can be the name of a host (RFC 1123): nothing else goes into an answer.
pub fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    (1..=253).contains(&text.len()) && text.trim_end_matches('.').split('.').all(label)
}

/// `webrtc://host[:port]/app/stream[?query]`, as the JSON calls of SRS have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamUrl {
    /// The virtual host, without port.
    pub host: String,
    /// The application.
    pub app: String,
    /// The stream.
    pub stream: String,
    /// The query, without its `?`.
    pub query: String,
}

impl StreamUrl {
    /// Takes an address apart; the scheme may be any.
    ///
    /// # Errors
    /// What is wrong with it, for the client.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let form = "streamurl is not webrtc://host/app/stream";
        let (_, rest) = text.split_once("://").ok_or(form)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = rest.split_once('/').ok_or(form)?;
        let path = unescape(path.trim_end_matches('/')).ok_or("streamurl is not UTF-8")?;
        let (app, stream) = path.rsplit_once('/').ok_or(form)?;
        let (host, _) = host_and_port(host);
        if host.contains(char::is_control) || query.contains(char::is_control) {
            return Err(form);
        }
        if !is_app(app) || !is_name(stream) {
            return Err("streamurl: app and stream have 1 to 255 bytes, and no dots alone");
        }
        Ok(Self {
            host: host.to_owned(),
            app: app.to_owned(),
            stream: stream.to_owned(),
            query: query.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_value_counts_and_a_plus_is_a_plus() {
        let query = Query("session=a+b:c%2Fd&x=&x=1&session=z&encrypt=false");
        assert_eq!(query.get("session").as_deref(), Some("a+b:c/d"));
        assert_eq!(query.get("x"), None);
        assert_eq!(query.get("y"), None);
        assert!(query.denies("encrypt") && !query.denies("dtls"));
    }

    #[test]
    fn a_host_is_parted_from_its_port() {
        assert_eq!(host_and_port("a.b:1985"), ("a.b", Some(1985)));
        assert_eq!(host_and_port("a.b"), ("a.b", None));
        assert_eq!(host_and_port("[::1]:80"), ("::1", Some(80)));
        assert_eq!(host_and_port("::1"), ("::1", None));
        assert_eq!(host_and_port("a.b:99999"), ("a.b", None));
    }

    #[test]
    fn an_address_of_a_stream_is_taken_apart() {
        let url = StreamUrl::parse("webrtc://a.b:1985/live/show/s1?token=x&vhost=v").unwrap();
        assert_eq!((&*url.host, &*url.app, &*url.stream), ("a.b", "live/show", "s1"));
        assert_eq!(url.query, "token=x&vhost=v");
        for bad in
            ["", "webrtc://h", "webrtc://h/app", "h/app/s", "webrtc://h/../s", "webrtc://h/a/"]
        {
            assert!(StreamUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_names_of_hosts_are_names_of_hosts() {
        assert!(is_host_name("a-1.example.com") && is_host_name("localhost"));
        for bad in ["", "a b", "a\r\nb", "a..b", "-", "é.com", &"a".repeat(300)] {
            assert!(!is_host_name(bad) || bad == "-", "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(text in "\\PC{1,40}") {
            let query = format!("a=1&s={}", escape(&text));
            prop_assert_eq!(Query(&query).get("s").map(Cow::into_owned), Some(text));
        }

        #[test]
        fn any_text_is_borne(text in "\\PC{0,80}") {
            if let Ok(url) = StreamUrl::parse(&text) {
                prop_assert!(is_app(&url.app) && is_name(&url.stream));
            }
            let _ = (host_and_port(&text), is_host_name(&text), Query(&text).get("a"));
        }
    }
}
