//! The text of a media playlist (RFC 8216 section 4): written here, read in [`decode`](mod@decode).

pub mod decode;

use std::fmt::Write as _;

use container::segment::Window;

/// Writes the playlist that lists `window`, byte for byte as SRS does, with
/// `EXT-X-DISCONTINUITY-SEQUENCE` added when it is not 0.
///
/// `uri` tells a segment's URI. Live: there is no `EXT-X-ENDLIST`.
pub fn encode<T>(window: &Window<T>, uri: impl Fn(&T) -> &str) -> String {
    let mut text = String::with_capacity(window.entries().len().saturating_mul(96));
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-TARGETDURATION:{}\n",
        window.media_sequence(),
        window.target_duration(),
    );
    if window.discontinuity_sequence() > 0 {
        let _ = writeln!(text, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", window.discontinuity_sequence());
    }
    for entry in window.entries() {
        if entry.discontinuity {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        let ms = entry.duration_us.saturating_add(500) / 1000;
        let _ = writeln!(text, "#EXTINF:{}.{:03}, no desc", ms / 1000, ms % 1000);
        text.push_str(uri(&entry.item));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use container::segment::Entry;

    fn window() -> Window<String> {
        let mut window = Window::new(20_000_000, 10_000_000);
        for sequence in 0..9u64 {
            window.push(Entry {
                sequence,
                duration_us: 9_359_600,
                discontinuity: sequence % 4 == 0,
                item: format!("livestream-{sequence}.ts"),
            });
        }
        window
    }

    #[test]
    fn the_text_is_the_one_players_of_srs_know() {
        let text = encode(&window(), |uri| uri);
        assert_eq!(
            text,
            "#EXTM3U\n\
             #EXT-X-VERSION:3\n\
             #EXT-X-MEDIA-SEQUENCE:5\n\
             #EXT-X-TARGETDURATION:10\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:2\n\
             #EXTINF:9.360, no desc\n\
             livestream-5.ts\n\
             #EXTINF:9.360, no desc\n\
             livestream-6.ts\n\
             #EXTINF:9.360, no desc\n\
             livestream-7.ts\n\
             #EXT-X-DISCONTINUITY\n\
             #EXTINF:9.360, no desc\n\
             livestream-8.ts\n"
        );
    }

    #[test]
    fn another_reader_understands_it() {
        let text = encode(&window(), |uri| uri);
        let (_, playlist) = m3u8_rs::parse_media_playlist(text.as_bytes()).unwrap();
        assert_eq!((playlist.media_sequence, playlist.target_duration), (5, 10));
        assert_eq!(playlist.discontinuity_sequence, 2);
        assert_eq!(playlist.segments.len(), 4);
        assert!(playlist.segments[3].discontinuity);
        assert!(!playlist.end_list);
    }
}
