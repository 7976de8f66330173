//! What a configuration says, without its secrets.

use gate::conf::{Config, Directive, Kind, Section};

/// Stands for what is not told.
pub(crate) const HIDDEN: &str = "***";

/// Words in the name of a directive, or of a parameter, whose value is nobody's business.
const SECRET: &[&str] =
    &["password", "passwd", "passphrase", "secret", "token", "jwt", "credential"];

/// Whole addresses here end in the name of a stream, which often is a key.
const DESTINATIONS: &str = "vhost.forward.destination";

/// An address of a stream without the stream.
fn without_stream(text: &str) -> String {
    let path =
        text.find("://").and_then(|at| Some((at, text.get(at.checked_add(3)?..)?.find('/')?)));
    match (path, text.trim_end_matches('/').rsplit_once('/')) {
        (Some(_), Some((before, last))) if !before.ends_with('/') && !last.is_empty() => {
            format!("{before}/{HIDDEN}")
        }
        _ => text.to_owned(),
    }
}

/// Whether the value of a directive is a secret, by its name. A path that leads to a key is none.
fn is_secret(name: &str, kind: Option<Kind>) -> bool {
    if kind.is_some_and(|kind| matches!(kind, Kind::Path | Kind::Bool) || kind.is_block()) {
        return false;
    }
    let name = name.to_ascii_lowercase();
    let words = || name.split(['_', '-', '.']);
    let is_key = words().any(|w| matches!(w, "key" | "keys" | "auth" | "psk" | "pass" | "pwd"))
        && !words().any(|w| matches!(w, "file" | "path" | "url" | "type" | "int" | "interval"));
    is_key || SECRET.iter().any(|secret| name.contains(secret))
}

/// One word of a value: the user in front of a URL's host and its query are taken out, and what
/// looks like `password=...`.
pub(crate) fn word(text: &str) -> String {
    if let Some((scheme, rest)) = text.split_once("://") {
        let (rest, query) = match rest.split_once('?') {
            Some((rest, _)) => (rest, format!("?{HIDDEN}")),
            None => (rest, String::new()),
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let authority = match authority.rsplit_once('@') {
            Some((_, host)) => format!("{HIDDEN}@{host}"),
            None => authority.to_owned(),
        };
        return format!("{scheme}://{authority}{path}{query}");
    }
    match text.split_once(['=', ':']) {
        Some((name, _)) if is_secret(name, None) => {
            let mark = text.get(name.len()..name.len().saturating_add(1)).unwrap_or("=");
            format!("{name}{mark}{HIDDEN}")
        }
        _ => text.to_owned(),
    }
}

/// Whether no word of a directive may be told. `row` is what the table says of it.
fn is_hidden(path: &str, row: Option<&Directive>) -> bool {
    row.is_some_and(|row| row.secret)
        || is_secret(path.rsplit('.').next().unwrap_or(path), row.map(|row| row.kind))
}

/// The words of a line as they may be told. `path` is the directive's full path.
pub(crate) fn words(path: &str, row: Option<&Directive>, words: &[&str]) -> Vec<String> {
    if is_hidden(path, row) {
        return words.iter().filter(|w| !w.is_empty()).map(|_| HIDDEN.to_owned()).collect();
    }
    if path == DESTINATIONS {
        return words.iter().map(|text| without_stream(&word(text))).collect();
    }
    // `-password X` among the words of a command: the word after such a name.
    let mut hide = false;
    words
        .iter()
        .map(|text| {
            let told = if hide { HIDDEN.to_owned() } else { word(text) };
            hide = text.starts_with('-') && is_secret(text, None) && !text.contains('=');
            told
        })
        .collect()
}

/// The words that hold for one directive.
pub(crate) fn effective(section: &Section<'_>, row: &Directive, relative: &str) -> Vec<String> {
    let written: Vec<&str> = match row.kind {
        Kind::Block | Kind::FreeBlock => return Vec::new(),
        Kind::Line => section.lines(relative).into_iter().flatten().collect(),
        Kind::List | Kind::Listen => section.list(relative),
        Kind::Bool => vec![if section.bool(relative) { "on" } else { "off" }],
        _ => vec![section.str(relative)],
    };
    words(row.path, Some(row), &written)
}

/// The value that holds for a directive, of a virtual host if it is in one; `None` for blocks, and
/// for a virtual host that is not there.
pub(crate) fn value(config: &Config, path: &str, vhost: Option<&str>) -> Option<String> {
    let row = config.table().get(path).filter(|row| !row.kind.is_block())?;
    let told = match (path.strip_prefix("vhost."), vhost) {
        (Some(relative), Some(name)) => {
            let all = config.vhosts();
            effective(all.iter().find(|v| v.name() == name)?, row, relative)
        }
        _ => effective(&config.root(), row, path),
    };
    Some(told.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::directives;
    use proptest::prelude::*;

    #[test]
    fn what_is_secret_by_its_name_is_not_told() {
        let table = directives::table(&[]);
        let told = |path: &str, word: &str| words(path, table.get(path), &[word]);
        for path in ["http_api.auth.password", "http_api.auth.token", "heartbeat.auth.token"] {
            assert_eq!(told(path, "s3cret"), [HIDDEN], "{path}");
        }
        assert_eq!(told("http_api.https.key", "a.key"), ["a.key"]);
        assert_eq!(told("http_api.auth.token", ""), [""; 0]);
        assert_eq!(told("some.unknown.secret", "x"), [HIDDEN]);
    }

    #[test]
    fn urls_lose_their_user_and_their_query() {
        assert_eq!(word("http://u:p@h:80/a?k=v"), "http://***@h:80/a?***");
        assert_eq!(word("rtmp://h/live?vhost=a"), "rtmp://h/live?***");
        assert_eq!(word("rtmp://h/live"), "rtmp://h/live");
        assert_eq!(word("token=abc"), "token=***");
        assert_eq!(word("0.0.0.0:1985"), "0.0.0.0:1985");
        let told = words("vhost.exec.publish", None, &["a", "-password", "x", "y"]);
        assert_eq!(told, ["a", "-password", HIDDEN, "y"]);
    }

    #[test]
    fn a_destination_loses_the_stream_which_often_is_a_key() {
        let told = words(
            DESTINATIONS,
            None,
            &[
                "o:1935",
                "rtmps://o",
                "rtmp://o/",
                "rtmp://u@o:1/app/in/key?k=v",
                "rtmp://o/live/key",
            ],
        );
        let wanted =
            ["o:1935", "rtmps://o", "rtmp://o/", "rtmp://***@o:1/app/in/***", "rtmp://o/live/***"];
        assert_eq!(told, wanted);
    }

    proptest! {
        #[test]
        fn no_secret_of_the_table_is_ever_told(secret in "[a-z0-9]{12,20}") {
            let table = directives::table(&[]);
            for row in table.rows().filter(|row| matches!(row.kind, Kind::Str | Kind::List)) {
                let names = ["password", "token", "secret"];
                if !names.contains(&row.name()) || row.parent().starts_with("vhost") {
                    continue;
                }
                let config = Config::from_pairs(table.clone(), &[(row.path, &secret)]);
                let told = value(&config, row.path, None).unwrap();
                prop_assert_eq!(told, HIDDEN, "{}", row.path);
            }
            let url = word(&format!("http://user:{secret}@host/path?sign={secret}"));
            prop_assert!(!url.contains(&secret));
        }

        #[test]
        fn any_word_can_be_told(text in ".{0,80}") {
            let _ = word(&text);
        }
    }
}
