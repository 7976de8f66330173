//! Which file a path means.

use std::path::PathBuf;

use gate::conf::{Config, DEFAULT_VHOST};
use percent_encoding::percent_decode_str;

/// Longest name of a file or directory that Linux takes.
const MAX_SEGMENT: usize = 255;
/// Longest path: `PATH_MAX`.
const MAX_PATH: usize = 4096;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPath {
    #[error("the path is too long")]
    TooLong,
    #[error("the path is no UTF-8")]
    NotText,
    #[error("the path holds a character that no path may hold")]
    Character,
    #[error("a path must not hold `..`")]
    Dots,
}

/// Decodes a path once: `/a/b`, a slash at the end where there was one, no empty segments.
pub(super) fn decode(raw: &str) -> Result<String, BadPath> {
    if raw.len() > MAX_PATH {
        return Err(BadPath::TooLong);
    }
    let text = percent_decode_str(raw).decode_utf8().map_err(|_| BadPath::NotText)?;
    if text.chars().any(|c| c.is_control() || c == '\\') {
        return Err(BadPath::Character);
    }
    let mut path = String::with_capacity(text.len());
    for segment in text.split('/').filter(|s| !s.is_empty()) {
        if segment == ".." || segment == "." {
            return Err(BadPath::Dots);
        }
        if segment.len() > MAX_SEGMENT {
            return Err(BadPath::TooLong);
        }
        path.push('/');
        path.push_str(segment);
    }
    if text.ends_with('/') || path.is_empty() {
        path.push('/');
    }
    Ok(path)
}

/// A file beneath a root.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) root: PathBuf,
    /// Relative, without `..`.
    pub(super) file: String,
}

struct Candidate {
    /// Has to be the host that was asked; empty: any.
    host: String,
    /// Starts and ends with a slash.
    prefix: String,
    root: PathBuf,
}

/// Where the file of a decoded path is. The longest mount wins, one that names the host before
/// one that does not; what no mount catches is beneath `http_server.dir`.
pub(super) fn find(config: &Config, host: &str, path: &str) -> Place {
    let host =
        host.rsplit_once(':').filter(|_| !host.ends_with(']')).map_or(host, |(name, _)| name);
    let serves = |c: &Candidate| {
        (c.host.is_empty() || c.host.eq_ignore_ascii_case(host)) && path.starts_with(&c.prefix)
    };
    let found = mounts(config)
        .into_iter()
        .filter(serves)
        .max_by_key(|c| (c.prefix.len(), !c.host.is_empty()));
    let (root, prefix) = found.map_or_else(
        || (PathBuf::from(config.root().str("http_server.dir")), "/".to_owned()),
        |c| (c.root, c.prefix),
    );
    let rest = path.get(prefix.len()..).unwrap_or("");
    let index = if rest.is_empty() || rest.ends_with('/') { "index.html" } else { "" };
    Place { root, file: format!("{rest}{index}") }
}

fn mounts(config: &Config) -> Vec<Candidate> {
    let vhosts = config.vhosts();
    let on = vhosts.iter().filter(|v| v.enabled() && v.bool("http_static.enabled"));
    on.map(|vhost| {
        let name = if vhost.name() == DEFAULT_VHOST { "" } else { vhost.name() };
        let mount = vhost.str("http_static.mount").replace("[vhost]", name);
        let (host, prefix) = mount.split_once('/').unwrap_or((mount.as_str(), ""));
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { "/".to_owned() } else { format!("/{prefix}/") };
        let root = vhost.str("http_static.dir").replace("[vhost]", vhost.name());
        Candidate { host: host.to_owned(), prefix, root: root.into() }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::directives;
    use gate::conf::Node;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn config(pairs: &[(&str, &str)]) -> Arc<Config> {
        Config::from_pairs(directives::table(&[]), pairs)
    }

    #[test]
    fn a_path_is_decoded_once() {
        assert_eq!(decode("/a%20b//c/").unwrap(), "/a b/c/");
        assert_eq!(decode("/%252e%252e/x").unwrap(), "/%2e%2e/x");
        assert_eq!(decode("/").unwrap(), "/");
        assert_eq!(decode("").unwrap(), "/");
        assert_eq!(decode("/..a/b..").unwrap(), "/..a/b..");
    }

    #[test]
    fn ways_out_are_refused() {
        for path in ["/../etc/passwd", "/%2e%2e/etc/passwd", "/a/%2E./b", "/a/..", "/./a"] {
            assert_eq!(decode(path), Err(BadPath::Dots), "{path}");
        }
        for path in ["/a%00.html", "/a%5c..%5cb", "/a%0d%0ab", "/%7f"] {
            assert_eq!(decode(path), Err(BadPath::Character), "{path}");
        }
        assert_eq!(decode("/%ff"), Err(BadPath::NotText));
        assert_eq!(decode(&format!("/{}", "a".repeat(256))), Err(BadPath::TooLong));
        assert_eq!(decode(&"/a".repeat(4000)), Err(BadPath::TooLong));
    }

    #[test]
    fn without_mounts_everything_is_beneath_the_one_directory() {
        let config = config(&[("http_server.dir", "/srv/www")]);
        let at = |path: &str| find(&config, "x", path).file;
        assert_eq!(find(&config, "x", "/").root, PathBuf::from("/srv/www"));
        assert_eq!(at("/"), "index.html");
        assert_eq!(at("/a/b.ts"), "a/b.ts");
        assert_eq!(at("/a/"), "a/index.html");
    }

    #[test]
    fn a_mount_at_the_root_takes_the_place_of_the_directory() {
        let config = config(&[
            ("http_server.dir", "/srv/www"),
            ("vhost.http_static.enabled", "on"),
            ("vhost.http_static.dir", "/srv/[vhost]"),
        ]);
        assert_eq!(find(&config, "x", "/a").root, PathBuf::from("/srv/__defaultVhost__"));
    }

    #[test]
    fn the_longest_mount_wins() {
        let config = config(&[
            ("http_server.dir", "/srv/www"),
            ("vhost.http_static.enabled", "on"),
            ("vhost.http_static.mount", "[vhost]/hls"),
            ("vhost.http_static.dir", "/srv/hls"),
        ]);
        let place = |path: &str| find(&config, "x:8080", path);
        let of = |root: &str, file: &str| Place { root: root.into(), file: file.to_owned() };
        assert_eq!(place("/hls/a.ts"), of("/srv/hls", "a.ts"));
        assert_eq!(place("/hls/"), of("/srv/hls", "index.html"));
        assert_eq!(place("/hlsx/a"), of("/srv/www", "hlsx/a"));
    }

    #[test]
    fn a_mount_of_another_host_is_for_that_host() {
        let mut mount = Node::block("http_static", &[]);
        mount
            .children
            .get_or_insert_default()
            .extend([Node::line("enabled", &["on"]), Node::line("dir", &["/srv/a"])]);
        let mut vhost = Node::block("vhost", &["a.test"]);
        vhost.children.get_or_insert_default().push(mount);
        let config =
            Config::new(directives::table(&[]), vec![vhost], Default::default(), Vec::new());
        assert_eq!(find(&config, "A.test:8080", "/x").root, PathBuf::from("/srv/a"));
        assert_ne!(find(&config, "b.test", "/x").root, PathBuf::from("/srv/a"));
    }

    proptest! {
        #[test]
        fn no_path_leads_up(raw in "[/.%25ec\\\\a]{0,40}") {
            if let Ok(path) = decode(&raw) {
                prop_assert!(path.starts_with('/'));
                prop_assert!(path.split('/').all(|s| s != ".." && s != "."));
                prop_assert!(!path.contains("//"));
            }
        }
    }
}
