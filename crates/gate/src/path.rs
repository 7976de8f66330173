//! File names from templates, and what may not become one: of segments, playlists, recordings.

use std::fmt::Write as _;

/// Longest name of a file or folder that every usual file system takes, in bytes. The suffix of
/// a temporary file must fit too.
const COMPONENT_MAX: usize = 240;

/// Longest path that the template may make: below the kernel's 4096 with room for the root.
const PATH_MAX: usize = 2048;

/// A stream's names, as they stand in templates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamName {
    /// The virtual host.
    pub vhost: String,
    /// The application.
    pub app: String,
    /// The stream.
    pub stream: String,
}

/// A moment of wall-clock time, as the caller's clock and time zone have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallTime {
    /// Milliseconds since 1970-01-01 00:00 UTC.
    pub unix_ms: i64,
    /// Seconds by which local time is ahead of UTC; 0 when names are to be in UTC.
    pub utc_offset_s: i32,
}

/// Why a template and a stream's names make no usable path. The publisher's fault as a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It would lead out of its folder.
    #[error("the path has a part that leads out of its folder")]
    Escape,
    /// A control character or a backslash.
    #[error("the path has a forbidden character (code {0})")]
    Character(u32),
    /// Nothing is left of it, or it names a folder.
    #[error("the path names no file")]
    Empty,
    /// Longer than file systems take.
    #[error("the path or a part of it has {0} bytes, which is too long")]
    TooLong(usize),
}

/// The values of a template's variables; those that are `None` stay as they are written.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// Who the stream is: `[vhost]`, `[app]`, `[stream]`.
    pub name: &'a StreamName,
    /// The date and time: `[2006]`, `[01]`, `[02]`, `[15]`, `[04]`, `[05]`, `[999]`.
    pub wall: Option<WallTime>,
    /// `[timestamp]`.
    pub timestamp: Option<i64>,
    /// `[seq]`.
    pub sequence: Option<u64>,
    /// `[duration]`, in milliseconds.
    pub duration_ms: Option<i64>,
}

impl<'a> Values<'a> {
    /// The stream's names alone.
    pub const fn names(name: &'a StreamName) -> Self {
        Self { name, wall: None, timestamp: None, sequence: None, duration_ms: None }
    }

    /// Fills in `template`. The path is relative and has no `.` or empty part.
    ///
    /// # Errors
    /// [`PathError`]: it would be no file's name, or lead elsewhere.
    pub fn path(&self, template: &str) -> Result<String, PathError> {
        let mut filled = String::with_capacity(template.len().saturating_add(32));
        let mut rest = template;
        while let Some((before, from)) = rest.split_once('[') {
            filled.push_str(before);
            let Some((name, after)) = from.split_once(']') else {
                filled.push('[');
                rest = from;
                continue;
            };
            if self.write(name, &mut filled) {
                rest = after;
            } else {
                filled.push('[');
                rest = from;
            }
        }
        filled.push_str(rest);
        check(&filled)
    }

    /// Appends the value of a variable; false when it has none.
    fn write(&self, variable: &str, out: &mut String) -> bool {
        match variable {
            "vhost" => out.push_str(&self.name.vhost),
            "app" => out.push_str(&self.name.app),
            "stream" => out.push_str(&self.name.stream),
            "seq" => return write_number(self.sequence.map(i128::from), 0, out),
            "duration" => return write_number(self.duration_ms.map(i128::from), 0, out),
            "timestamp" => return write_number(self.timestamp.map(i128::from), 0, out),
            _ => {
                let Some(wall) = self.wall else { return false };
                let Some((value, width)) = wall.part(variable) else { return false };
                return write_number(Some(i128::from(value)), width, out);
            }
        }
        true
    }
}

fn write_number(value: Option<i128>, width: usize, out: &mut String) -> bool {
    // Writing to a String cannot fail.
    value.is_some_and(|value| write!(out, "{value:0width$}").is_ok())
}

impl WallTime {
    /// A part of the date or time by the number that stands for it, and its width.
    fn part(self, variable: &str) -> Option<(i64, usize)> {
        let ms = self.unix_ms.saturating_add(i64::from(self.utc_offset_s).saturating_mul(1000));
        let second = ms.div_euclid(1000);
        let (year, month, day) = civil(second.div_euclid(86_400));
        Some(match variable {
            "2006" => (year, 4),
            "01" => (month, 2),
            "02" => (day, 2),
            "15" => (second.div_euclid(3600).rem_euclid(24), 2),
            "04" => (second.div_euclid(60).rem_euclid(60), 2),
            "05" => (second.rem_euclid(60), 2),
            "999" => (ms.rem_euclid(1000), 3),
            _ => return None,
        })
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Counts in years that begin in March, so that the leap day comes last; 146,097 days are
/// exactly 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, turn) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era.saturating_mul(400).saturating_add(year + turn), month, day)
}

/// The path without `.` and empty parts, if it stays in its folder and may be a file's name.
///
/// # Errors
/// [`PathError`]: it may not.
pub fn check(path: &str) -> Result<String, PathError> {
    if let Some(bad) = path.chars().find(|c| c.is_control() || *c == '\\') {
        return Err(PathError::Character(u32::from(bad)));
    }
    if path.len() > PATH_MAX {
        return Err(PathError::TooLong(path.len()));
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(PathError::Empty);
    }
    let mut clean = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(PathError::Escape);
        }
        if part.len() > COMPONENT_MAX {
            return Err(PathError::TooLong(part.len()));
        }
        if !clean.is_empty() {
            clean.push('/');
        }
        clean.push_str(part);
    }
    if clean.is_empty() { Err(PathError::Empty) } else { Ok(clean) }
}

/// What the path of recordings gets that has no name of a file, as with SRS.
const USUAL_RECORDING: &str = "/[stream].[timestamp].flv";

/// The path of recordings (`dvr_path`) as a root, which is all that comes before the part with the
/// first variable, and the template below it. Who records writes nowhere else.
pub fn recording(path: &str) -> (String, String) {
    let whole = match path.ends_with(".flv") || path.ends_with(".mp4") {
        true => path.to_owned(),
        false => format!("{}{USUAL_RECORDING}", path.trim_end_matches('/')),
    };
    let fixed = whole.find('[').unwrap_or(whole.len());
    match whole.get(..fixed).and_then(|fixed| fixed.rfind('/')) {
        Some(0) => ("/".to_owned(), whole.get(1..).unwrap_or_default().to_owned()),
        Some(at) => {
            let (root, template) = whole.split_at(at);
            (root.to_owned(), template.trim_start_matches('/').to_owned())
        }
        None => (".".to_owned(), whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(vhost: &str, app: &str, stream: &str) -> StreamName {
        StreamName { vhost: vhost.into(), app: app.into(), stream: stream.into() }
    }

    #[test]
    fn every_variable_is_filled_in_and_others_stay() {
        let name = name("example.com", "live", "cam");
        // 2026-11-20 08:31:02.123 UTC, one hour east of it.
        let wall = WallTime { unix_ms: 1_795_163_462_123, utc_offset_s: 3600 };
        let values = Values {
            name: &name,
            wall: Some(wall),
            timestamp: Some(42),
            sequence: Some(7),
            duration_ms: Some(9_360),
        };
        let template = "[vhost]/[app]/[2006][01][02]/[15]-[04]-[05].[999]/[stream]-[seq]-[duration]-[timestamp]-[x].ts";
        let path = values.path(template).unwrap();
        assert_eq!(path, "example.com/live/20261120/09-31-02.123/cam-7-9360-42-[x].ts");
        assert_eq!(Values::names(&name).path("[stream][seq][.m3u8"), Ok("cam[seq][.m3u8".into()));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for (app, stream, error) in [
            ("live", "../../etc/passwd", PathError::Escape),
            ("..", "s", PathError::Escape),
            ("live", "a\nb", PathError::Character(10)),
            ("live", "a\\b", PathError::Character(92)),
            ("live", "s/", PathError::Empty),
        ] {
            let name = name("v", app, stream);
            assert_eq!(Values::names(&name).path("[app]/[stream]"), Err(error));
        }
        let name = name("v", "live", &"x".repeat(300));
        assert!(matches!(Values::names(&name).path("[stream]"), Err(PathError::TooLong(300))));
    }

    #[test]
    fn leading_slashes_and_dots_do_not_make_a_path_absolute() {
        assert_eq!(check("/./a//b.ts"), Ok("a/b.ts".into()));
    }

    #[test]
    fn a_value_is_not_searched_for_variables_again() {
        let name = name("v", "[stream]", "s");
        assert_eq!(Values::names(&name).path("[app]/[stream]"), Ok("[stream]/s".into()));
    }

    #[test]
    fn days_are_dated_right_over_leap_years() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(11_017), (2000, 3, 1));
        assert_eq!(civil(-1), (1969, 12, 31));
        assert_eq!(civil(47_540), (2100, 2, 28));
        assert_eq!(civil(47_541), (2100, 3, 1));
    }

    #[test]
    fn the_path_of_recordings_is_parted_at_its_first_variable() {
        for (path, root, template) in [
            ("./html/[app]/[stream].[timestamp].flv", "./html", "[app]/[stream].[timestamp].flv"),
            ("/dvr/x-[app]/s.mp4", "/dvr", "x-[app]/s.mp4"),
            ("/[app].flv", "/", "[app].flv"),
            ("[app].flv", ".", "[app].flv"),
            ("/data/one.mp4", "/data", "one.mp4"),
            ("/data/[app]/", "/data", "[app]/[stream].[timestamp].flv"),
            ("/data", "/data", "[stream].[timestamp].flv"),
        ] {
            assert_eq!(recording(path), (root.into(), template.into()), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_name_gets_out_of_its_folder(app in any::<String>(), stream in any::<String>()) {
            let name = name("v", &app, &stream);
            if let Ok(path) = Values::names(&name).path("[app]/[stream]-x.ts") {
                prop_assert!(!path.starts_with('/'));
                prop_assert!(path.split('/').all(|part| !part.is_empty() && part != ".." && part != "."));
            }
        }
    }
}
