//! Addresses: which stream a path names.
//!
//! Pure. A [`Template`] is one word of `http_remux.mount`; [`normalise`] is the one door for
//! names that come in a path.

use percent_encoding::percent_decode_str;

use crate::packager::Format;

/// Longest part of a path: what file systems allow for a name, since recorders and segmenters
/// make names of it.
const MAX_SEGMENT: usize = 255;

/// A path that names nothing that could exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Not UTF-8 once it is decoded.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// A control character.
    #[error("a control character in the path")]
    Control,
    /// `.` or `..` between slashes, also when they came encoded.
    #[error("`.` or `..` in the path")]
    Dots,
    /// Two slashes in a row.
    #[error("an empty part in the path")]
    Empty,
    /// A part of more than 255 bytes.
    #[error("a part of the path has {len} bytes, {MAX_SEGMENT} are allowed")]
    TooLong {
        /// Its length.
        len: usize,
    },
}

/// Decodes the path of a request, once, and checks each of its parts.
///
/// # Errors
/// [`BadPath`], the client's fault.
pub fn normalise(path: &str) -> Result<String, BadPath> {
    let path = percent_decode_str(path).decode_utf8().map_err(|_| BadPath::NotUtf8)?;
    if path.chars().any(char::is_control) {
        return Err(BadPath::Control);
    }
    for segment in path.strip_prefix('/').unwrap_or(&path).split('/') {
        match segment {
            "" => return Err(BadPath::Empty),
            "." | ".." => return Err(BadPath::Dots),
            long if long.len() > MAX_SEGMENT => {
                return Err(BadPath::TooLong { len: long.len() });
            }
            _ => {}
        }
    }
    Ok(path.into_owned())
}

/// The value of `vhost` or `domain` in a query, decoded.
pub fn vhost_in_query(query: &str) -> Option<String> {
    let value = |key: &str| {
        query.split('&').find_map(|item| {
            let (name, value) = item.split_once('=')?;
            (name == key && !value.is_empty()).then_some(value)
        })
    };
    let value = value("vhost").or_else(|| value("domain"))?;
    percent_decode_str(value).decode_utf8().ok().map(|value| value.into_owned())
}

/// A host without its port.
pub fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').and_then(|end| host.get(..=end)).unwrap_or(host);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// What a template found in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Application.
    pub app: String,
    /// Stream, without extension.
    pub stream: String,
    /// The format that the path asks for.
    pub format: Format,
}

/// One path under which streams are served, such as `[vhost]/[app]/[stream].flv`.
///
/// The part in front of the first slash names the host, which is found before. `[app]` may span
/// several parts of a path, `[stream]` is within one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The path without its extension.
    pattern: String,
    /// The format of its extension.
    pub format: Format,
}

const APP: &str = "[app]";
const STREAM: &str = "[stream]";

impl Template {
    /// Reads a template for the virtual host of that name. `None` when it has no `[stream]` or
    /// none of the known extensions.
    pub fn new(text: &str, vhost: &str) -> Option<Self> {
        let format = Format::of_path(text)?;
        let path = text.get(text.find('/')?..)?.strip_suffix(format.extension())?;
        let pattern = path.replace("[vhost]", vhost);
        pattern.contains(STREAM).then_some(Self { pattern, format })
    }

    /// The stream that a normalised path names, in whichever format it asks for.
    pub fn find(&self, path: &str) -> Option<Named> {
        let format = Format::of_path(path)?;
        let path = path.strip_suffix(format.extension())?;
        let (app, stream) = self.capture(path)?;
        let valid = !app.is_empty() && !stream.is_empty() && !stream.contains('/');
        valid.then(|| Named { app: app.to_owned(), stream: stream.to_owned(), format })
    }

    fn capture<'a>(&'a self, path: &'a str) -> Option<(&'a str, &'a str)> {
        let (front, back) = self.pattern.split_once(STREAM)?;
        if let Some((before, between)) = front.split_once(APP) {
            let rest = path.strip_prefix(before)?.strip_suffix(back)?;
            return rest.rsplit_once(between).filter(|_| !between.is_empty());
        }
        if let Some((between, after)) = back.split_once(APP) {
            let rest = path.strip_prefix(front)?.strip_suffix(after)?;
            return rest
                .split_once(between)
                .filter(|_| !between.is_empty())
                .map(|(stream, app)| (app, stream));
        }
        let stream = path.strip_prefix(front)?.strip_suffix(back)?;
        let app = front.rsplit_once('/').map_or("", |(folder, _)| folder).trim_matches('/');
        Some((if app.is_empty() { "__defaultApp__" } else { app }, stream))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(template: &str, path: &str) -> Option<(String, String)> {
        let named = Template::new(template, "cdn.example.com")?.find(path)?;
        Some((named.app, named.stream))
    }

    fn pair(app: &str, stream: &str) -> Option<(String, String)> {
        Some((app.to_owned(), stream.to_owned()))
    }

    #[test]
    fn the_usual_template_finds_app_and_stream() {
        let usual = "[vhost]/[app]/[stream].flv";
        assert_eq!(find(usual, "/live/livestream.flv"), pair("live", "livestream"));
        assert_eq!(find(usual, "/live/a.b.flv"), pair("live", "a.b"));
        assert_eq!(find(usual, "/a/b/c.flv"), pair("a/b", "c"));
        assert_eq!(find(usual, "/livestream.flv"), None);
        assert_eq!(find(usual, "/live/.flv"), None);
        assert_eq!(find(usual, "/live/livestream.m3u8"), None);
    }

    #[test]
    fn other_templates_put_their_own_words_around_the_names() {
        assert_eq!(find("[vhost]/x/[stream].flv", "/x/s.flv"), pair("x", "s"));
        assert_eq!(find("/[stream].ts", "/s.ts"), pair("__defaultApp__", "s"));
        assert_eq!(find("/[app]-live/[stream]_hd.ts", "/a-live/s_hd.ts"), pair("a", "s"));
        assert_eq!(find("/[vhost]/[app]/[stream].aac", "/cdn.example.com/a/s.aac"), pair("a", "s"));
        assert_eq!(find("/[stream]/[app].flv", "/s/a/b.flv"), pair("a/b", "s"));
        assert_eq!(Template::new("[vhost]/live.flv", "x"), None);
        assert_eq!(Template::new("[vhost]/[app]/[stream].ogg", "x"), None);
    }

    #[test]
    fn a_path_is_asked_for_in_any_format_whatever_the_templates_says() {
        let template = Template::new("[vhost]/[app]/[stream].flv", "x").expect("a template");
        assert_eq!(template.format, Format::Flv);
        assert_eq!(template.find("/live/s.mp3").map(|n| n.format), Some(Format::Mp3));
    }

    #[test]
    fn a_path_is_decoded_once_and_checked_part_by_part() {
        assert_eq!(normalise("/live/%E5%8F%B0%20one.flv").as_deref(), Ok("/live/台 one.flv"));
        assert_eq!(normalise("/live/a%252e.flv").as_deref(), Ok("/live/a%2e.flv"));
        assert_eq!(normalise("/live/%ff.flv"), Err(BadPath::NotUtf8));
        assert_eq!(normalise("/live/a%00.flv"), Err(BadPath::Control));
        assert_eq!(normalise("/live/%2e%2e/s.flv"), Err(BadPath::Dots));
        assert_eq!(normalise("/live//s.flv"), Err(BadPath::Empty));
        let long = format!("/live/{}.flv", "a".repeat(252));
        assert_eq!(normalise(&long), Err(BadPath::TooLong { len: 256 }));
    }

    #[test]
    fn a_host_loses_its_port_and_a_query_may_name_another() {
        assert_eq!(without_port("example.com:8080"), "example.com");
        assert_eq!(without_port("example.com"), "example.com");
        assert_eq!(without_port("[::1]:8080"), "[::1]");
        assert_eq!(vhost_in_query("token=x&vhost=a.b").as_deref(), Some("a.b"));
        assert_eq!(vhost_in_query("domain=c%2ed").as_deref(), Some("c.d"));
        assert_eq!(vhost_in_query("avhost=a"), None);
    }

    proptest! {
        #[test]
        fn what_is_normalised_has_no_way_out_of_a_directory(path in "(/[.%a-f0-9/]{0,6}){1,4}") {
            if let Ok(path) = normalise(&path) {
                prop_assert!(path.split('/').all(|part| part != ".." && part != "."));
            }
        }
    }
}
