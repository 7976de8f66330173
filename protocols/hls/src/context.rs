//! Players' sessions: a mark in the query tells the requests of one player from another's.
//!
//! The first request for a playlist is answered with a master playlist whose only entry is the
//! same playlist with a fresh mark (`hls_ctx`); with the mark, the real one follows. Who hands
//! out marks and counts sessions is not decided here.

/// The query's key.
pub const KEY: &str = "hls_ctx";

/// Longest mark that is taken from a client. Ours have 8 characters; clients may choose their
/// own, and it must not become a way to store things here.
const MARK_MAX: usize = 64;

/// The mark in a query (without its `?`), if there is one that may be used: 1 to 64 letters,
/// digits, `-` or `_`.
pub fn find(query: &str) -> Option<&str> {
    let mark = query.split('&').find_map(|pair| pair.strip_prefix(KEY)?.strip_prefix('='))?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    ((1..=MARK_MAX).contains(&mark.len()) && mark.bytes().all(fits)).then_some(mark)
}

/// The master playlist that gives the player at `path` the mark `mark`. `query` is what the
/// player's own request had, without `?`; a mark in it is replaced.
pub fn master(path: &str, mark: &str, query: Option<&str>) -> String {
    let mut text = String::from("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,AVERAGE-BANDWIDTH=1\n");
    let clean = |text: &mut String, part: &str| {
        text.extend(part.chars().filter(|c| !c.is_control()));
    };
    clean(&mut text, path);
    text.push('?');
    text.push_str(KEY);
    text.push('=');
    text.push_str(mark);
    for pair in query.unwrap_or_default().split('&') {
        let is_mark = pair.strip_prefix(KEY).is_some_and(|rest| rest.starts_with('='));
        if !pair.is_empty() && !is_mark {
            text.push('&');
            clean(&mut text, pair);
        }
    }
    text.push('\n');
    text
}

/// The playlist with the mark behind every segment's name that ends with `.ts`.
pub fn rewrite(playlist: &str, mark: &str) -> String {
    let lines = playlist.lines().count();
    let added = KEY.len().saturating_add(mark.len()).saturating_add(2);
    let mut text =
        String::with_capacity(playlist.len().saturating_add(lines.saturating_mul(added)));
    for line in playlist.lines() {
        text.push_str(line);
        let (path, query) = line.split_once('?').map_or((line, None), |(p, q)| (p, Some(q)));
        if !line.starts_with('#') && path.ends_with(".ts") {
            text.push(if query.is_some() { '&' } else { '?' });
            text.push_str(KEY);
            text.push('=');
            text.push_str(mark);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_master_has_two_lines_and_keeps_the_query() {
        assert_eq!(
            master("/live/livestream.m3u8", "a1b2c3d4", Some("token=x&hls_ctx=old")),
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,AVERAGE-BANDWIDTH=1\n\
             /live/livestream.m3u8?hls_ctx=a1b2c3d4&token=x\n"
        );
        assert!(master("/s.m3u8", "m", None).ends_with("\n/s.m3u8?hls_ctx=m\n"));
        assert_eq!(master("/s.m3u8", "m", Some("a=1\nhttp://x/")).lines().count(), 3);
    }

    #[test]
    fn segments_get_the_mark_and_tags_do_not() {
        let text = "#EXTM3U\n#EXTINF:1.000, no desc.ts\ns-0.ts\nx.ts?a=1\ny.m4s\n";
        assert_eq!(
            rewrite(text, "m"),
            "#EXTM3U\n#EXTINF:1.000, no desc.ts\ns-0.ts?hls_ctx=m\nx.ts?a=1&hls_ctx=m\ny.m4s\n"
        );
    }

    #[test]
    fn a_mark_is_found_only_where_it_is_one() {
        assert_eq!(find("a=1&hls_ctx=k3w81zq5&b"), Some("k3w81zq5"));
        assert_eq!(find("hls_ctx="), None);
        assert_eq!(find("xhls_ctx=1"), None);
        assert_eq!(find("hls_ctx=a%0a"), None);
        assert_eq!(find(&format!("hls_ctx={}", "x".repeat(65))), None);
    }
}
