//! Conditional and partial requests (RFC 9110, sections 13 and 14).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};

/// What tells one content of a file from another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    pub(super) len: u64,
    pub(super) modified: SystemTime,
}

impl Version {
    fn since_epoch(&self) -> Duration {
        self.modified.duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// The entity tag, with its quotes.
    pub(super) fn tag(&self) -> String {
        format!("\"{:x}-{:x}\"", self.since_epoch().as_nanos(), self.len)
    }

    /// Unchanged since a date of HTTP, which knows whole seconds.
    fn is_unchanged_since(&self, date: &str) -> bool {
        httpdate::parse_http_date(date).is_ok_and(|date| {
            let date = date.duration_since(UNIX_EPOCH).unwrap_or_default();
            self.since_epoch().as_secs() <= date.as_secs()
        })
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

/// Whether the client has this version already.
pub(super) fn is_known(headers: &HeaderMap, version: &Version) -> bool {
    if let Some(tags) = text(headers, IF_NONE_MATCH) {
        let own = version.tag();
        let strip = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        return tags.trim() == "*" || tags.split(',').any(|tag| strip(tag) == own);
    }
    text(headers, IF_MODIFIED_SINCE).is_some_and(|date| version.is_unchanged_since(date))
}

/// The `Range` header, unless it is for another version.
pub(super) fn range(headers: &HeaderMap, version: &Version) -> Option<String> {
    let range = text(headers, RANGE)?;
    let is_same = text(headers, IF_RANGE).is_none_or(|wanted| {
        if wanted.ends_with('"') {
            wanted == version.tag()
        } else {
            // A date has to be the very one: an earlier change within its second counts as none.
            httpdate::fmt_http_date(version.modified) == wanted
        }
    });
    is_same.then(|| range.to_owned())
}

/// Bytes of a file, the last one excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// The range lies outside the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsatisfiable;

impl Span {
    pub(super) fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Reads `bytes=a-b`, `bytes=a-` or `bytes=-n` of a file of `len` bytes. `None`: not a range
    /// that is understood, several ranges among them; it may be ignored then.
    pub(super) fn parse(text: &str, len: u64) -> Result<Option<Self>, Unsatisfiable> {
        let Some(span) = text.strip_prefix("bytes=") else { return Ok(None) };
        let Some((from, to)) = span.split_once('-') else { return Ok(None) };
        let number = |text: &str| -> Option<u64> {
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            // What does not fit is beyond every file.
            is_number.then(|| text.parse().unwrap_or(u64::MAX))
        };
        let (from, to) = (from.trim(), to.trim());
        let span = match (number(from), number(to)) {
            (Some(start), Some(last)) if start <= last => {
                Self { start, end: last.saturating_add(1).min(len) }
            }
            (Some(start), None) if to.is_empty() => Self { start, end: len },
            (None, Some(last)) if from.is_empty() => {
                Self { start: len.saturating_sub(last), end: len }
            }
            _ => return Ok(None),
        };
        if span.len() == 0 { Err(Unsatisfiable) } else { Ok(Some(span)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn version() -> Version {
        Version { len: 100, modified: UNIX_EPOCH + Duration::from_millis(1_000_000_500) }
    }

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn ranges_are_cut_to_the_file() {
        let parse = |text: &str| Span::parse(text, 100);
        let span = |start, end| Ok(Some(Span { start, end }));
        assert_eq!(parse("bytes=0-9"), span(0, 10));
        assert_eq!(parse("bytes=90-"), span(90, 100));
        assert_eq!(parse("bytes=-10"), span(90, 100));
        assert_eq!(parse("bytes=-1000"), span(0, 100));
        assert_eq!(parse("bytes=50-99999999999999999999999"), span(50, 100));
        assert_eq!(parse("bytes=100-"), Err(Unsatisfiable));
        assert_eq!(parse("bytes=-0"), Err(Unsatisfiable));
        assert_eq!(parse("bytes=99999999999999999999999-"), Err(Unsatisfiable));
        assert_eq!(Span::parse("bytes=0-", 0), Err(Unsatisfiable));
    }

    #[test]
    fn what_is_no_single_range_is_ignored() {
        for text in
            ["bytes=5-4", "bytes=0-1,3-4", "bytes=a-b", "bytes=-", "lines=0-1", "", "bytes=+1-2"]
        {
            assert_eq!(Span::parse(text, 100), Ok(None), "{text}");
        }
    }

    #[test]
    fn a_tag_counts_before_a_date() {
        let v = version();
        assert!(is_known(&headers(IF_NONE_MATCH, &format!("\"x\", W/{}", v.tag())), &v));
        assert!(is_known(&headers(IF_NONE_MATCH, "*"), &v));
        let mut both = headers(IF_NONE_MATCH, "\"x\"");
        both.insert(IF_MODIFIED_SINCE, HeaderValue::from_static("Fri, 01 Jan 2100 00:00:00 GMT"));
        assert!(!is_known(&both, &v));
    }

    #[test]
    fn a_date_counts_in_whole_seconds() {
        let v = version();
        let same = httpdate::fmt_http_date(v.modified);
        assert!(is_known(&headers(IF_MODIFIED_SINCE, &same), &v));
        let before = httpdate::fmt_http_date(v.modified - Duration::from_secs(1));
        assert!(!is_known(&headers(IF_MODIFIED_SINCE, &before), &v));
        assert!(!is_known(&headers(IF_MODIFIED_SINCE, "yesterday"), &v));
    }

    #[test]
    fn a_range_of_another_version_is_no_range() {
        let v = version();
        let with = |wanted: &str| {
            let mut h = headers(RANGE, "bytes=0-1");
            h.insert(IF_RANGE, HeaderValue::from_str(wanted).unwrap());
            range(&h, &v).is_some()
        };
        assert!(with(&v.tag()));
        assert!(!with("\"other\""));
        assert!(with(&httpdate::fmt_http_date(v.modified)));
        assert!(!with("Fri, 01 Jan 2100 00:00:00 GMT"));
        assert!(range(&headers(RANGE, "bytes=0-1"), &v).is_some());
    }
}
