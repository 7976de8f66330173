//! A line of the configuration as a program, its arguments and its redirections.

use std::fs::{File, OpenOptions};
use std::io;
use std::process::Stdio;

use gate::Visit;
use gate::host::strip_extension;
use jiff::Zoned;

/// What stands for variables.
#[derive(Debug)]
pub(super) struct Values {
    /// `[name]`
    brackets: Vec<(&'static str, String)>,
    /// `$name`
    dollars: Vec<(&'static str, String)>,
}

impl Values {
    /// Those of a client on a stream, now.
    pub(super) fn of(visit: &Visit, now: &Zoned) -> Self {
        let detail = visit.detail();
        // Players by HTTP name a file.
        let stream = if detail.publish { &*detail.name } else { strip_extension(&detail.name) };
        Self::new(
            [&detail.vhost, &detail.app, stream],
            [&detail.tc_url, &detail.swf_url, &detail.page_url],
            now,
        )
    }

    fn new([vhost, app, stream]: [&str; 3], [tc, swf, page]: [&str; 3], now: &Zoned) -> Self {
        let two = |n: i8| format!("{n:02}");
        let brackets = vec![
            ("vhost", vhost.to_owned()),
            ("port", port(tc).to_owned()),
            ("app", app.to_owned()),
            ("stream", stream.to_owned()),
            ("tcUrl", tc.to_owned()),
            ("swfUrl", swf.to_owned()),
            ("pageUrl", page.to_owned()),
            ("url", url(tc, stream)),
            ("2006", format!("{:04}", now.year())),
            ("01", two(now.month())),
            ("02", two(now.day())),
            ("15", two(now.hour())),
            ("04", two(now.minute())),
            ("05", two(now.second())),
            ("999", format!("{:03}", now.millisecond())),
            ("timestamp", now.timestamp().as_millisecond().to_string()),
        ];
        Self { brackets, dollars: Vec::new() }
    }

    /// With the file of a recording, in the words of nginx-rtmp.
    pub(super) fn with_file(mut self, path: &str) -> Self {
        let (dirname, filename) = path.rsplit_once('/').unwrap_or((".", path));
        let basename = filename.rsplit_once('.').map_or(filename, |(name, _)| name);
        let all =
            [("path", path), ("filename", filename), ("basename", basename), ("dirname", dirname)];
        self.dollars = all.map(|(name, value)| (name, value.to_owned())).into();
        self
    }

    /// `text` with its variables replaced, once: a value is never looked into.
    fn fill(&self, text: &str, shape: impl Fn(&str) -> String) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(['[', '$']) {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            let known = match from.strip_prefix('[') {
                Some(inner) => inner.split_once(']').and_then(|(name, behind)| {
                    let (_, value) = self.brackets.iter().find(|(known, _)| *known == name)?;
                    Some((value, behind))
                }),
                None => from.strip_prefix('$').and_then(|from| {
                    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let end = from.find(|c| !word(c)).unwrap_or(from.len());
                    let (name, behind) = from.split_at(end);
                    let (_, value) = self.dollars.iter().find(|(known, _)| *known == name)?;
                    Some((value, behind))
                }),
            };
            rest = if let Some((value, behind)) = known {
                out.push_str(&shape(value));
                behind
            } else {
                // The mark is one byte.
                let (mark, behind) = from.split_at(1);
                out.push_str(mark);
                behind
            };
        }
        out.push_str(rest);
        out
    }
}

/// The port of a `tcUrl`; RTMP's where it names none.
fn port(tc_url: &str) -> &str {
    let rest = tc_url.split_once("://").map_or(tc_url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let number = authority.rsplit_once(':').map(|(_, port)| port);
    number.filter(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit())).unwrap_or("1935")
}

/// Where the client asked for the stream.
fn url(tc_url: &str, stream: &str) -> String {
    match tc_url.split_once('?') {
        Some((base, query)) => format!("{}/{stream}?{query}", base.trim_end_matches('/')),
        None => format!("{}/{stream}", tc_url.trim_end_matches('/')),
    }
}

/// What a client chose, as a part of a file's name that leads to no other folder.
fn as_file_name(value: &str) -> String {
    let dots = value.bytes().all(|b| b == b'.');
    let fits = |c: char| !(c == '/' || c.is_control() || (c == '.' && dots));
    value.chars().map(|c| if fits(c) { c } else { '_' }).collect()
}

/// A program that is to be run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: String,
    pub(super) args: Vec<String>,
    /// Files that standard output and standard error are appended to.
    pub(super) files: [Option<String>; 2],
}

impl Program {
    /// From the words of a line. The program's own name takes no variables: clients must not
    /// choose what is run. `None`: there is no word.
    pub(super) fn read(words: &[&str], values: &Values) -> Option<Self> {
        let (path, mut words) = words.split_first()?;
        let mut this =
            Self { path: (*path).to_owned(), args: Vec::new(), files: Default::default() };
        while let Some((word, after)) = words.split_first() {
            words = after;
            let Some((which, file, left)) = redirection(word, after) else {
                this.args.push(values.fill(word, str::to_owned));
                continue;
            };
            words = left;
            let [out, err] = &mut this.files;
            match (which, file) {
                (Which::Error, "&1") => err.clone_from(out),
                (Which::Out, file) => *out = Some(values.fill(file, as_file_name)),
                (Which::Error, file) => *err = Some(values.fill(file, as_file_name)),
            }
        }
        Some(this)
    }

    /// Opens the files, and starts it: without a standard input, with no descriptor of ours but
    /// standard output and error, as a process group of its own. Blocks; needs a runtime.
    pub(super) fn start(&self) -> io::Result<tokio::process::Child> {
        let [out, err] = &self.files;
        let mut command = tokio::process::Command::new(&self.path);
        command
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(opened(out.as_deref())?)
            .stderr(opened(err.as_deref())?)
            .process_group(0)
            .kill_on_drop(true);
        // They are meant for this process alone.
        for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
            command.env_remove(name);
        }
        command.spawn()
    }
}

fn opened(path: Option<&str>) -> io::Result<Stdio> {
    let Some(path) = path else { return Ok(Stdio::inherit()) };
    let file = OpenOptions::new().create(true).append(true).open(path);
    let named = |e: io::Error| io::Error::new(e.kind(), format!("cannot write to {path:?}: {e}"));
    file.map(File::into).map_err(named)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Out,
    Error,
}

/// `> f`, `>f`, `1>f`, `2>f`, `1 > f` and so on: which, the file, and the words behind it.
fn redirection<'w, 's>(
    word: &'w str,
    after: &'s [&'w str],
) -> Option<(Which, &'w str, &'s [&'w str])> {
    let which = |digit: &str| match digit {
        "" | "1" => Some(Which::Out),
        "2" => Some(Which::Error),
        _ => None,
    };
    if matches!(word, "1" | "2") {
        let (next, after) = after.split_first()?;
        return next
            .starts_with('>')
            .then(|| redirection(next, after))
            .flatten()
            .and_then(|(_, file, left)| Some((which(word)?, file, left)));
    }
    let (digit, file) = word.split_once('>')?;
    let which = which(digit)?;
    // `>>` means the same.
    let file = file.strip_prefix('>').unwrap_or(file);
    if !file.is_empty() {
        return Some((which, file, after));
    }
    let (file, left) = after.split_first()?;
    Some((which, file, left))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NASTY: &str = "a b;$(touch /x)'\"`[app] > f|&\\n../..";

    fn values(stream: &str) -> Values {
        let now = "2026-01-02T03:04:05.006+00:00[UTC]".parse().unwrap();
        let tc = "rtmp://example.com:19350/live?vhost=v";
        Values::new(["v", "live", stream], [tc, "http://p/s.swf", "http://p/"], &now)
    }

    fn read(line: &[&str], stream: &str) -> Program {
        Program::read(line, &values(stream)).unwrap()
    }

    #[test]
    fn variables_are_replaced_and_others_stay() {
        let line = ["/bin/[app]", "[vhost]:[port]/[app]/[stream]", "[url]", "[engine]", "[tcUrl]"];
        let program = read(&line, "s");
        assert_eq!(program.path, "/bin/[app]");
        assert_eq!(
            program.args,
            [
                "v:19350/live/s",
                "rtmp://example.com:19350/live/s?vhost=v",
                "[engine]",
                "rtmp://example.com:19350/live?vhost=v",
            ]
        );
        let program =
            read(&["p", "[2006]-[01]-[02]T[15]:[04]:[05].[999]", "[swfUrl][", "[[app]"], "s");
        assert_eq!(program.args, ["2026-01-02T03:04:05.006", "http://p/s.swf[", "[live"]);
        assert_eq!(
            read(&["p", "[timestamp]", "[pageUrl]"], "s").args,
            ["1767323045006", "http://p/"]
        );
    }

    #[test]
    fn a_recording_is_named_in_the_words_of_nginx_rtmp() {
        let values = values("s").with_file("./dvr/live/s $path.[app].flv");
        let fill = |text: &str| values.fill(text, str::to_owned);
        assert_eq!(fill("$path"), "./dvr/live/s $path.[app].flv", "a value is not looked into");
        assert_eq!(fill("$dirname/$basename.mp4"), "./dvr/live/s $path.[app].mp4");
        assert_eq!(fill("[app]/$filename"), "live/s $path.[app].flv");
        assert_eq!(fill("$paths $ $$path$"), "$paths $ $./dvr/live/s $path.[app].flv$");
        assert_eq!(self::values("s").fill("$path", str::to_owned), "$path");
        let bare = self::values("s").with_file("one");
        assert_eq!(bare.fill("$dirname $basename", str::to_owned), ". one");
    }

    #[test]
    fn redirections_in_each_of_their_forms_are_no_arguments() {
        let files = |line: &[&str]| {
            let all: Vec<&str> = ["p", "a"].iter().chain(line).copied().collect();
            let program = read(&all, "s");
            assert_eq!(program.args[0], "a", "{line:?}");
            (program.args.len() - 1, program.files)
        };
        let some = |text: &str| Some(text.to_owned());
        for line in [
            &[">", "f"][..],
            &[">f"],
            &["1>f"],
            &["1>", "f"],
            &["1", ">", "f"],
            &["1", ">f"],
            &[">>", "f"],
        ] {
            assert_eq!(files(line), (0, [some("f"), None]), "{line:?}");
        }
        for line in [&["2>e"][..], &["2>", "e"], &["2", ">", "e"]] {
            assert_eq!(files(line), (0, [None, some("e")]), "{line:?}");
        }
        assert_eq!(files(&[">f", "2>&1"]), (0, [some("f"), some("f")]));
        assert_eq!(files(&[">", "l/[app].[stream].log", "b"]), (1, [some("l/live.s.log"), None]));
        // No file follows, or it is none of ours.
        assert_eq!(files(&[">"]), (1, [None, None]));
        assert_eq!(files(&["1", "2"]), (2, [None, None]));
        assert_eq!(files(&["3>f"]), (1, [None, None]));
    }

    #[test]
    fn what_a_client_chose_leads_to_no_other_folder() {
        let file =
            |stream: &str| read(&["p", ">", "logs/[stream]"], stream).files[0].clone().unwrap();
        assert_eq!(file("../../etc/x"), "logs/.._.._etc_x");
        assert_eq!(file(".."), "logs/__");
        assert_eq!(file("s.1"), "logs/s.1");
    }

    #[test]
    fn the_port_is_that_of_the_url() {
        let of = ["rtmp://h/a", "rtmp://h:1/a", "rtmp://[::1]/a", "rtmp://[::1]:2/a", "", "x:y"];
        assert_eq!(of.map(port), ["1935", "1", "1935", "2", "1935", "1935"]);
    }

    proptest! {
        #[test]
        fn a_value_stays_one_argument(stream in ".{0,40}", word in "[a-z]{0,3}") {
            let line = ["p", "-i", &format!("{word}[stream]"), "z"];
            let program = read(&line, &stream);
            let middle = format!("{word}{stream}");
            prop_assert_eq!(&program.args, &["-i", middle.as_str(), "z"]);
            prop_assert_eq!(&read(&line, NASTY).args[1], &format!("{word}{NASTY}"));
        }

        #[test]
        fn any_line_is_read(words in proptest::collection::vec("[12>&a\\[\\]p]{0,5}", 0..8)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let program = Program::read(&words, &values(NASTY));
            prop_assert!(program.is_none_or(|p| p.args.len() < words.len()));
        }
    }
}
