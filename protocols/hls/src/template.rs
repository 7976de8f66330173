//! Templates read backwards: whether a packager could have given a file this name.

use crate::path::StreamName;

/// Longest path that is looked at: no packager makes a longer one.
const PATH_MAX: usize = 2048;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// These bytes.
    Text(String),
    /// A number: of so many digits, or of one or more.
    Number(Option<usize>),
    /// Any app: one byte or more.
    App,
    /// Any stream: one byte or more, no slash.
    Stream,
}

/// Whether `path` fits `template` on the virtual host `vhost`: for the stream `name`, or for any
/// stream of it. Takes time in the product of their lengths.
pub(crate) fn fits(template: &str, vhost: &str, name: Option<&StreamName>, path: &str) -> bool {
    let path = path.as_bytes();
    if path.len() > PATH_MAX {
        return false;
    }
    // The positions that the pieces so far may end at.
    let mut ends = vec![false; path.len().saturating_add(1)];
    if let Some(first) = ends.first_mut() {
        *first = true;
    }
    for piece in pieces(template, vhost, name) {
        ends = step(&piece, &ends, path);
    }
    ends.last() == Some(&true)
}

/// App and stream of a path that `template` could have made on the virtual host `vhost`. `None`: it
/// could not, or the template does not hold both.
pub(crate) fn named(template: &str, vhost: &str, path: &str) -> Option<(String, String)> {
    let (pieces, bytes) = (pieces(template, vhost, None), path.as_bytes());
    if bytes.len() > PATH_MAX {
        return None;
    }
    let mut ends = vec![false; bytes.len().saturating_add(1)];
    *ends.first_mut()? = true;
    // The positions that each piece may begin at.
    let mut begins = Vec::with_capacity(pieces.len());
    for piece in &pieces {
        let next = step(piece, &ends, bytes);
        begins.push(std::mem::replace(&mut ends, next));
    }
    let (mut app, mut stream) = (None, None);
    let mut end = bytes.len();
    if ends.get(end) != Some(&true) {
        return None;
    }
    for (piece, begins) in pieces.iter().zip(&begins).rev() {
        // The longest that fits, from the end on.
        let from =
            (0..=end).find(|at| begins.get(*at) == Some(&true) && spans(piece, path, *at, end))?;
        let text = path.get(from..end)?;
        match piece {
            Piece::App => app = Some(text.to_owned()),
            Piece::Stream => stream = Some(text.to_owned()),
            Piece::Text(_) | Piece::Number(_) => {}
        }
        end = from;
    }
    Some((app?, stream?))
}

/// Whether a piece may stand for this part of the path.
fn spans(piece: &Piece, path: &str, from: usize, end: usize) -> bool {
    let Some(text) = path.get(from..end) else { return false };
    match piece {
        Piece::Text(own) => own == text,
        Piece::Number(width) => {
            let fits = width.is_none_or(|width| width == text.len());
            fits && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
        }
        Piece::App => !text.is_empty(),
        Piece::Stream => !text.is_empty() && !text.contains('/'),
    }
}

/// A variable's width, or that it has none; `None`: no number.
#[allow(clippy::option_option, reason = "a number may have any width")]
fn width(variable: &str) -> Option<Option<usize>> {
    match variable {
        "seq" | "timestamp" | "duration" => Some(None),
        "2006" => Some(Some(4)),
        "01" | "02" | "15" | "04" | "05" => Some(Some(2)),
        "999" => Some(Some(3)),
        _ => None,
    }
}

fn pieces(template: &str, vhost: &str, name: Option<&StreamName>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    // As packagers normalise: no empty part, none of a dot.
    let template = template.split('/').filter(|p| !p.is_empty() && *p != ".");
    let template = template.collect::<Vec<_>>().join("/");
    let mut rest = template.as_str();
    while let Some((before, from)) = rest.split_once('[') {
        text.push_str(before);
        let Some((variable, after)) = from.split_once(']') else {
            text.push('[');
            rest = from;
            continue;
        };
        let piece = match (variable, name) {
            ("vhost", _) => {
                text.push_str(vhost);
                rest = after;
                continue;
            }
            ("app", Some(name)) => Some(Piece::Text(name.app.clone())),
            ("stream", Some(name)) => Some(Piece::Text(name.stream.clone())),
            ("app", None) => Some(Piece::App),
            ("stream", None) => Some(Piece::Stream),
            _ => width(variable).map(Piece::Number),
        };
        match piece {
            Some(piece) => {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(piece);
                rest = after;
            }
            None => {
                text.push('[');
                rest = from;
            }
        }
    }
    text.push_str(rest);
    pieces.push(Piece::Text(text));
    pieces
}

fn step(piece: &Piece, ends: &[bool], path: &[u8]) -> Vec<bool> {
    let mut next = vec![false; ends.len()];
    let mut mark = |at: usize| {
        if let Some(end) = next.get_mut(at) {
            *end = true;
        }
    };
    match piece {
        Piece::Text(text) => {
            for (at, _) in ends.iter().enumerate().filter(|(_, end)| **end) {
                if path.get(at..).is_some_and(|rest| rest.starts_with(text.as_bytes())) {
                    mark(at.saturating_add(text.len()));
                }
            }
        }
        Piece::Number(Some(width)) => {
            for (at, _) in ends.iter().enumerate().filter(|(_, end)| **end) {
                let end = at.saturating_add(*width);
                if path.get(at..end).is_some_and(|part| part.iter().all(u8::is_ascii_digit)) {
                    mark(end);
                }
            }
        }
        Piece::Number(None) | Piece::App | Piece::Stream => {
            let belongs = |byte: u8| match piece {
                Piece::Number(_) => byte.is_ascii_digit(),
                Piece::Stream => byte != b'/',
                _ => true,
            };
            let mut begun = false;
            for (at, byte) in path.iter().enumerate() {
                begun = (begun || ends.get(at) == Some(&true)) && belongs(*byte);
                if begun {
                    mark(at.saturating_add(1));
                }
            }
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::path::Values;

    fn of(app: &str, stream: &str) -> StreamName {
        StreamName { vhost: "v".into(), app: app.into(), stream: stream.into() }
    }

    fn own(template: &str, stream: &str, path: &str) -> bool {
        fits(template, "v", Some(&of("live", stream)), path)
    }

    #[test]
    fn a_segment_is_told_from_that_of_a_stream_with_a_longer_name() {
        let usual = "[app]/[stream]-[seq].ts";
        assert!(own(usual, "cam", "live/cam-12.ts"));
        assert!(!own(usual, "cam", "live/cam-2-12.ts"));
        assert!(own(usual, "cam-2", "live/cam-2-12.ts"));
        assert!(!own(usual, "cam", "other/cam-12.ts"));
        assert!(!own(usual, "cam", "live/cam-.ts"));
        assert!(!own(usual, "cam", "live/cam-12.ts.x"));
        assert!(!own(usual, "ca", "live/cam-12.ts"));
    }

    #[test]
    fn dates_and_numbers_have_their_widths() {
        let dated = "./[vhost]/[app]/[2006][01][02]//[stream]-[15][04][05]-[seq]-[duration].ts";
        assert!(own(dated, "cam", "v/live/20261120/cam-083102-7-9360.ts"));
        assert!(!own(dated, "cam", "v/live/2026112/cam-083102-7-9360.ts"));
        assert!(!own(dated, "cam", "w/live/20261120/cam-083102-7-9360.ts"));
        assert!(own("[x]-[seq][.ts", "cam", "[x]-7[.ts"));
    }

    #[test]
    fn the_stream_of_a_playlist_is_read_out_of_its_path() {
        for (template, path, app, stream) in [
            ("[app]/[stream].m3u8", "live/cam.m3u8", "live", "cam"),
            ("[app]/[stream].m3u8", "a/b/cam.x.m3u8", "a/b", "cam.x"),
            ("[vhost]/[app]/[stream].m3u8", "v/live/cam.m3u8", "live", "cam"),
            ("./[app]/[stream]/index.m3u8", "live/cam/index.m3u8", "live", "cam"),
            ("[stream]@[app].m3u8", "cam@live.m3u8", "live", "cam"),
        ] {
            let found = named(template, "v", path);
            assert_eq!(found, Some((app.into(), stream.into())), "{template} {path}");
        }
        assert_eq!(named("[stream].m3u8", "v", "cam.m3u8"), None);
        assert_eq!(named("[app]/[stream].m3u8", "v", "cam.m3u8"), None);
        assert_eq!(named("[vhost]/[app]/[stream].m3u8", "v", "w/live/cam.m3u8"), None);
    }

    #[test]
    fn without_a_stream_any_of_the_host_is_meant() {
        let any = |path: &str| fits("[app]/[stream]-[seq].ts", "v", None, path);
        assert!(any("live/cam-12.ts"));
        assert!(any("a/b/cam-2-12.ts"));
        assert!(!any("cam-12.ts"));
        assert!(!any("live/cam.ts"));
        assert!(!any(&format!("live/{}-1.ts", "x".repeat(3000))));
    }

    proptest! {
        #[test]
        fn what_a_packager_names_fits(
            app in "[a-z0-9]{1,3}(/[a-z0-9-]{1,3})?", stream in "[a-z0-9][a-z0-9.-]{0,3}",
            sequence: u64, duration in 0i64..100_000, at in 0i64..4_000_000_000_000,
        ) {
            let name = of(&app, &stream);
            let wall = crate::WallTime { unix_ms: at, utc_offset_s: 0 };
            let values = Values {
                name: &name, wall: Some(wall), timestamp: Some(at), sequence: Some(sequence),
                duration_ms: Some(duration),
            };
            for template in [
                "[app]/[stream]-[seq].ts", "[stream]/[2006]-[01]-[02]T[15][04][05][999].ts",
                "[vhost]/[app]/[stream][timestamp][duration].ts", "//[app]/./x/[stream]/[seq].ts",
            ] {
                let Ok(path) = values.path(template) else { continue };
                prop_assert!(fits(template, "v", Some(&name), &path), "{template} {path}");
                prop_assert!(fits(template, "v", None, &path), "{template} {path}");
                let found = named(template, "v", &path);
                let both = template.contains("[app]") && template.contains("[stream]");
                prop_assert_eq!(found.is_some(), both, "{} {}", template, path);
            }
        }

        #[test]
        fn any_path_is_borne(template in "(\\[[a-z0-9]{0,6}\\]|[a-z/.-]){0,8}", path in "\\PC{0,40}") {
            let fits = fits(&template, "v", None, &path);
            prop_assert!(named(&template, "v", &path).is_none() || fits);
        }
    }
}
