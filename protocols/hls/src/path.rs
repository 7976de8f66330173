//! How a playlist names its segments. File names themselves are made by [`gate::path`].

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

pub use gate::path::{PathError, StreamName, Values, WallTime, check};

/// What a URI in a playlist must not contain as it is. The path's slashes stay.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The folder part of a path, without its slash; empty when there is none.
pub(crate) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// How a playlist at `playlist` names the file `segment`, both under one root.
///
/// With a prefix: the prefix, the playlist's folder unless the prefix ends with a slash, and the
/// segment's path as seen from that folder.
pub(crate) fn entry(prefix: &str, playlist: &str, segment: &str) -> String {
    let home = folder(playlist);
    let mut ups = 0usize;
    let mut from = home;
    let below = loop {
        match segment.strip_prefix(from) {
            Some(rest) if from.is_empty() => break rest,
            Some(rest) if rest.starts_with('/') => break rest.trim_start_matches('/'),
            _ => {
                ups = ups.saturating_add(1);
                from = folder(from);
            }
        }
    };
    let mut uri = String::from(prefix);
    if !prefix.is_empty() && !prefix.ends_with('/') {
        uri.push('/');
        if !home.is_empty() {
            uri.extend(utf8_percent_encode(home, ESCAPED));
            uri.push('/');
        }
    }
    for _ in 0..ups {
        uri.push_str("../");
    }
    // A colon in the first part of a relative URI would make a scheme of it.
    if uri.is_empty() && below.split('/').next().is_some_and(|part| part.contains(':')) {
        uri.push_str("./");
    }
    uri.extend(utf8_percent_encode(below, ESCAPED));
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_are_relative_to_the_playlist_and_take_the_prefix() {
        assert_eq!(entry("", "live/s.m3u8", "live/s-1.ts"), "s-1.ts");
        assert_eq!(entry("", "live/s.m3u8", "live/x/s-1.ts"), "x/s-1.ts");
        assert_eq!(entry("", "live/s.m3u8", "ts/s-1.ts"), "../ts/s-1.ts");
        assert_eq!(entry("", "live/s.m3u8", "livestream/s-1.ts"), "../livestream/s-1.ts");
        assert_eq!(entry("", "s.m3u8", "live/s-1.ts"), "live/s-1.ts");
        let prefix = "http://cdn.example.com";
        assert_eq!(
            entry(prefix, "live/s.m3u8", "live/s-1.ts"),
            "http://cdn.example.com/live/s-1.ts"
        );
        assert_eq!(
            entry("http://cdn.example.com/x/", "live/s.m3u8", "live/s-1.ts"),
            "http://cdn.example.com/x/s-1.ts"
        );
        assert_eq!(entry("", "live/s.m3u8", "live/a b#?.ts"), "a%20b%23%3F.ts");
        assert_eq!(entry("", "live/s.m3u8", "live/a:b.ts"), "./a:b.ts");
    }

    proptest! {
        #[test]
        fn no_name_makes_a_line_of_its_own_in_a_playlist(app in any::<String>(), stream in any::<String>()) {
            let name = StreamName { vhost: "v".into(), app, stream };
            if let Ok(path) = Values::names(&name).path("[app]/[stream]-x.ts") {
                let uri = entry("", "live/s.m3u8", &path);
                prop_assert!(!uri.contains(|c: char| c.is_control() || c == ' '));
                prop_assert!(!uri.starts_with('#'));
            }
        }
    }
}
