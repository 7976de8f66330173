//! What a file is, by its ending.

/// Endings and what they mean; those of SRS first.
const KINDS: &[(&str, &str)] = &[
    ("ts", "video/MP2T"),
    ("m3u8", M3U8),
    ("mpd", MPD),
    ("m4s", "video/iso.segment"),
    ("mp4", "video/mp4"),
    ("flv", "video/x-flv"),
    ("fhv", "video/x-flv"),
    ("html", "text/html"),
    ("htm", "text/html"),
    ("js", "text/javascript"),
    ("css", "text/css"),
    ("json", "application/json"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("xml", "text/xml"),
    ("ico", "image/x-icon"),
    ("aac", "audio/x-aac"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("m4a", "audio/x-m4a"),
    ("m4v", "video/x-m4v"),
    ("3gp", "video/3gpp"),
    ("swf", "application/x-shockwave-flash"),
    ("mjs", "text/javascript"),
    ("svg", "image/svg+xml"),
    ("webp", "image/webp"),
    ("wasm", "application/wasm"),
    ("txt", "text/plain; charset=utf-8"),
];

const M3U8: &str = "application/vnd.apple.mpegurl";
const MPD: &str = "application/dash+xml";

fn ending(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}

/// The `Content-Type` of a file. A path that ends in a slash means its `index.html`.
pub(super) fn of(path: &str) -> &'static str {
    if path.ends_with('/') {
        return "text/html";
    }
    let ending = ending(path);
    let found = KINDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending));
    found.map_or("application/octet-stream", |(_, kind)| kind)
}

/// A list that changes while its name stays.
pub(super) fn is_list(kind: &str) -> bool {
    kind == M3U8 || kind == MPD
}

/// Can be played from the middle by `?start=`.
pub(super) fn is_flv(path: &str) -> bool {
    matches!(ending(path), "flv" | "fhv")
}

/// Takes a range as `?range=` or `?bytes=`.
pub(super) fn is_mp4(path: &str) -> bool {
    ending(path) == "mp4"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_tell_the_kind() {
        assert_eq!(of("/a/b.TS"), "video/MP2T");
        assert_eq!(of("/live/livestream.m3u8"), "application/vnd.apple.mpegurl");
        assert_eq!(of("/a.b/c"), "application/octet-stream");
        assert_eq!(of("/a.xyz"), "application/octet-stream");
        assert_eq!(of("/"), "text/html");
        assert_eq!(of("/x.jpg"), "image/jpeg");
    }
}
