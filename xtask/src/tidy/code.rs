//! Laws about source files.

use super::{Complaint, File, Tree};

/// A file longer than this holds two things.
const MAX_LINES: usize = 600;

/// Names that name no content.
const EMPTY_NAMES: &[&str] =
    &["utils", "util", "common", "define", "defines", "misc", "helpers", "helper", "mod"];

/// Where bytes, time and seeds are arguments: nothing there reads a clock, a socket, a file, the
/// environment or a random number. Each entry is a folder, or the file of the same name.
const PURE: &[&str] = &["crates/media/src", "crates/container/src", "crates/rtp/src"];

/// The same inside every protocol.
const PURE_IN_PROTOCOLS: &[&str] = &["wire", "session", "playlist", "manifest"];

/// What pure code does not say, and the law that it would break.
const IMPURE: &[(&str, &str)] = &[
    ("tokio::", "the runtime"),
    ("Instant::now", "a clock"),
    ("SystemTime::", "a clock"),
    // A generator that is given its seed is no randomness.
    ("rand::rng(", "randomness"),
    ("rand::random", "randomness"),
    ("thread_rng", "randomness"),
    ("OsRng", "randomness"),
    ("std::fs", "files"),
    ("std::env", "the environment"),
    ("std::thread", "threads"),
    ("std::process", "processes"),
    ("TcpStream", "a socket"),
    ("TcpListener", "a socket"),
    ("UdpSocket", "a socket"),
];

/// Addresses are values; the rest of `std::net` is sockets.
const NET_VALUES: &[&str] =
    &["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6"];

/// Macros that stand for code not written.
const UNWRITTEN: &[&str] = &["todo!(", "unimplemented!(", "dbg!("];

pub(super) fn check(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in tree.rust() {
        complaints.extend(too_long(file));
        complaints.extend(empty_name(file));
        complaints.extend(impure(file));
        complaints.extend(unwritten(file));
        complaints.extend(ignored(file));
    }
    complaints
}

/// Under `tests/`, or a `tests.rs`.
fn is_test(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "testdata" | "benches"))
}

/// The number of the first line of the tests at the end of a file, or one past its end.
fn where_tests_begin(file: &File) -> usize {
    let mut lines = file.lines().peekable();
    let mut last = 0;
    while let Some((number, line)) = lines.next() {
        last = number;
        let module = lines.peek().is_some_and(|(_, next)| next.trim_start().starts_with("mod "));
        if line == "#[cfg(test)]" && module {
            return number;
        }
    }
    last + 1
}

fn too_long(file: &File) -> Option<Complaint> {
    let lines = where_tests_begin(file) - 1;
    (lines > MAX_LINES && !is_test(&file.path))
        .then(|| file.complaint(lines, format!("{lines} lines; at most {MAX_LINES} without tests")))
}

fn empty_name(file: &File) -> Option<Complaint> {
    let named = file.path.split('/').find(|part| {
        let stem = part.strip_suffix(".rs").unwrap_or(part);
        EMPTY_NAMES.contains(&stem)
    })?;
    Some(file.complaint(1, format!("the name `{named}` names no content")))
}

fn is_pure(path: &str) -> bool {
    if PURE.iter().any(|dir| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))) {
        return !is_test(path);
    }
    let mut parts = path.split('/');
    let inside = parts.next() == Some("protocols") && parts.nth(1) == Some("src");
    let room = parts.next().unwrap_or_default();
    let room = room.strip_suffix(".rs").unwrap_or(room);
    inside && PURE_IN_PROTOCOLS.contains(&room) && !is_test(path)
}

fn impure(file: &File) -> Vec<Complaint> {
    if !is_pure(&file.path) {
        return Vec::new();
    }
    let end = where_tests_begin(file);
    let mut complaints = Vec::new();
    for (number, line) in file.lines().take_while(|(n, _)| *n < end) {
        let code = without_comment(line);
        for (word, what) in IMPURE {
            if says(code, word) {
                complaints
                    .push(file.complaint(number, format!("`{word}`: {what} has no place here")));
            }
        }
        if let Some((_, named)) = code.split_once("std::net::") {
            let mut names = named.split(|c: char| !c.is_alphanumeric()).filter(|n| !n.is_empty());
            let first = names.next().unwrap_or_default();
            if !NET_VALUES.contains(&first) {
                complaints.push(file.complaint(number, "`std::net`: a socket has no place here"));
            }
        }
    }
    complaints
}

fn unwritten(file: &File) -> Vec<Complaint> {
    // This file holds the very words.
    if file.path == "xtask/src/tidy/code.rs" {
        return Vec::new();
    }
    let found = |(number, line)| {
        let word = UNWRITTEN.iter().find(|word| says(without_comment(line), word))?;
        Some(file.complaint(number, format!("`{word}..)` stands for code that is not written")))
    };
    file.lines().filter_map(found).collect()
}

fn ignored(file: &File) -> Vec<Complaint> {
    let bare = |(_, line): &(usize, &str)| line.trim() == concat!("#[", "ignore]");
    let told =
        |(number, _)| file.complaint(number, "an ignored test tells why: `#[ignore = \"..\"]`");
    file.lines().filter(bare).map(told).collect()
}

/// The line up to a `//` comment. A `//` inside a string ends it too, which hides code behind a
/// URL from the rules; rare enough.
fn without_comment(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

/// Whether `code` says `word` where a word begins.
fn says(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code.get(..at).and_then(|b| b.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    fn laws(path: &str, text: &str) -> Vec<String> {
        check(&tree(&[(path, text)]))
            .into_iter()
            .map(|c| format!("{}: {}", c.line, c.law))
            .collect()
    }

    #[test]
    fn a_long_file_is_told_and_tests_at_its_end_do_not_count() {
        let code = "fn f() {}\n".repeat(600);
        let tests = format!("{code}#[cfg(test)]\nmod tests {{\n{}}}\n", "// x\n".repeat(50));
        assert_eq!(laws("crates/a/src/lib.rs", &tests), Vec::<String>::new());
        assert_eq!(laws("crates/a/src/lib.rs", &format!("{code}fn g() {{}}\n")).len(), 1);
        assert_eq!(laws("crates/a/tests/it/x.rs", &format!("{code}{code}")).len(), 0);
    }

    #[test]
    fn a_name_without_content_is_told() {
        assert_eq!(laws("crates/a/src/utils.rs", "").len(), 1);
        assert_eq!(laws("crates/a/src/foo/mod.rs", "").len(), 1);
        assert_eq!(laws("crates/a/src/commons.rs", "").len(), 0);
    }

    #[test]
    fn pure_code_reads_no_clock_and_no_socket() {
        let clock = "fn f() { let now = Instant::now(); }\n";
        assert_eq!(
            laws("crates/media/src/x.rs", clock),
            ["1: `Instant::now`: a clock has no place here"]
        );
        assert_eq!(laws("protocols/rtmp/src/wire/x.rs", clock).len(), 1);
        assert_eq!(laws("protocols/rtmp/src/session.rs", clock).len(), 1);
        assert_eq!(laws("protocols/rtmp/src/gate.rs", clock).len(), 0);
        assert_eq!(laws("crates/media/src/x.rs", "// tokio::spawn\n").len(), 0);
        assert_eq!(laws("crates/media/src/x.rs", "use std::net::UdpSocket;\n").len(), 2);
        assert_eq!(laws("crates/media/src/x.rs", "use std::net::{Ipv4Addr, IpAddr};\n").len(), 0);
        assert_eq!(laws("crates/media/src/x.rs", "let operand::x = 1;\n").len(), 0);
    }

    #[test]
    fn unwritten_code_and_silent_ignores_are_told() {
        assert_eq!(laws("crates/a/src/x.rs", concat!("fn f() { to", "do!() }\n")).len(), 1);
        assert_eq!(laws("crates/a/src/x.rs", concat!("#[", "ignore]\nfn f() {}\n")).len(), 1);
        assert_eq!(laws("crates/a/src/x.rs", "#[ignore = \"an hour\"]\nfn f() {}\n").len(), 0);
    }
}
