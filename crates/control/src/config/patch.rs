//! A change of the configuration in force that comes by the API and not from a file: the updates
//! of SRS 3.
//!
//! A patch changes the tree; checking, comparing and putting in force are those of a reload. It
//! holds until the next reload or restart: no file is written.

use gate::conf::{Config, Node, Reload, Status, Table};

/// Directives outside every block that may be set.
const SETTABLE: &[&str] = &[
    "listen",
    "pid",
    "chunk_size",
    "ff_log_dir",
    "srs_log_tank",
    "srs_log_level",
    "srs_log_file",
    "max_connections",
    "utc_time",
    "pithy_print_ms",
];

/// Longest value, and longest name of a virtual host.
const MAX_VALUE: usize = 256;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patch {
    /// A directive outside every block gets these words.
    Set(&'static str, Vec<String>),
    /// A new virtual host, without anything in it.
    CreateVhost(String),
    /// Another name for one that is switched off.
    RenameVhost(String, String),
    /// One that is switched off goes.
    DeleteVhost(String),
    /// On or off.
    SwitchVhost(String, bool),
    /// A stream, as `app/stream`, of a virtual host that records is put onto the list of those to
    /// be recorded, or taken off.
    Record(String, String, bool),
}

/// Why there is no such patch, or why it does not fit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatchError {
    /// Not a thing that can be updated, here or at all.
    #[error("`{0}` cannot be updated while the server runs")]
    NotAllowed(String),
    /// A parameter is missing, or not what it should be.
    #[error("{0}")]
    Params(String),
}

impl Patch {
    /// From the words of `rpc=update`.
    ///
    /// # Errors
    /// [`PatchError`]: whoever asked has to ask otherwise.
    pub fn parse(
        table: &Table,
        scope: &str,
        value: &str,
        param: &str,
        data: &str,
    ) -> Result<Self, PatchError> {
        let params = |text: &str| Err(PatchError::Params(text.to_owned()));
        if scope == "vhost" {
            if !is_name(value) {
                return params("value: the name of a virtual host");
            }
            let name = value.to_owned();
            return match param {
                "create" => Ok(Self::CreateVhost(name)),
                "update" if is_name(data) => Ok(Self::RenameVhost(name, data.to_owned())),
                "update" => params("data: the new name of the virtual host"),
                "delete" => Ok(Self::DeleteVhost(name)),
                "disable" => Ok(Self::SwitchVhost(name, false)),
                "enable" => Ok(Self::SwitchVhost(name, true)),
                _ => params("param: create, update, delete, disable or enable"),
            };
        }
        if scope == "dvr" {
            if !is_name(value) {
                return params("value: the name of a virtual host");
            }
            if !is_stream(data) {
                return params("data: a stream, as app/stream");
            }
            let (vhost, stream) = (value.to_owned(), data.to_owned());
            return match param {
                "enable" => Ok(Self::Record(vhost, stream, true)),
                "disable" => Ok(Self::Record(vhost, stream, false)),
                _ => params("param: enable or disable"),
            };
        }
        let works = |path: &&&str| {
            let row = table.get(path);
            row.is_some_and(|row| row.reload != Reload::AtStart && row.status == Status::Works)
        };
        let found = SETTABLE.iter().filter(|path| **path == scope).find(works);
        let Some(path) = found else { return Err(PatchError::NotAllowed(scope.to_owned())) };
        let words: Vec<String> =
            value.split([',', ' ']).filter(|w| !w.is_empty()).map(str::to_owned).collect();
        // `$NAME` would be read from the environment, and marks of the grammar are no part of a
        // value of any of these.
        const MARKS: [char; 7] = ['$', ';', '{', '}', '#', '"', '\''];
        let fits = |word: &String| !word.contains(MARKS) && !word.contains(char::is_control);
        if words.is_empty() || value.len() > MAX_VALUE || !words.iter().all(fits) {
            return params("value: the words of the directive");
        }
        Ok(Self::Set(path, words))
    }

    /// Changes the tree.
    ///
    /// # Errors
    /// [`PatchError::Params`] when there is no such virtual host, or one too many, or it is still
    /// switched on; [`PatchError::NotAllowed`] when it does not record.
    pub fn apply(&self, config: &Config) -> Result<Vec<Node>, PatchError> {
        let mut nodes = config.nodes().to_vec();
        let find = |nodes: &mut Vec<Node>, name: &str| {
            nodes.iter().position(|n| n.name == "vhost" && n.first_arg() == name)
        };
        let missing = |name: &str| PatchError::Params(format!("there is no virtual host `{name}`"));
        let is_on = |name: &str| config.vhosts().iter().any(|v| v.name() == name && v.enabled());
        match self {
            Self::Set(path, words) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                nodes.retain(|node| node.name != *path);
                nodes.insert(0, Node::line(path, &words));
            }
            Self::CreateVhost(name) => {
                if find(&mut nodes, name).is_some() {
                    let text = format!("there is a virtual host `{name}` already");
                    return Err(PatchError::Params(text));
                }
                nodes.push(Node::block("vhost", &[name]));
            }
            Self::RenameVhost(name, _) | Self::DeleteVhost(name) if is_on(name) => {
                return Err(PatchError::Params(format!("switch `{name}` off first (disable)")));
            }
            Self::RenameVhost(name, to) => {
                let at = find(&mut nodes, name).ok_or_else(|| missing(name))?;
                if find(&mut nodes, to).is_some() {
                    return Err(PatchError::Params(format!("there is a virtual host `{to}`")));
                }
                if let Some(arg) = nodes.get_mut(at).and_then(|node| node.args.first_mut()) {
                    arg.text.clone_from(to);
                }
            }
            Self::DeleteVhost(name) => {
                let at = find(&mut nodes, name).ok_or_else(|| missing(name))?;
                nodes.remove(at);
            }
            Self::Record(name, stream, on) => {
                let at = find(&mut nodes, name).ok_or_else(|| missing(name))?;
                let section = config.vhost(name).filter(|vhost| vhost.name() == name);
                let Some(vhost) = section.filter(|vhost| vhost.bool("dvr.enabled")) else {
                    return Err(PatchError::NotAllowed("dvr".to_owned()));
                };
                let old = vhost.list("dvr.dvr_apply");
                // A list of all begins anew with the first that is put on it, as with SRS 3.
                if !*on && old.contains(&"all") {
                    let text = "all streams are recorded: name them in dvr_apply first";
                    return Err(PatchError::Params(text.to_owned()));
                }
                let all = |word: &&&str| !matches!(**word, "all" | "none") && **word != stream;
                let mut list: Vec<&str> = old.iter().filter(all).copied().collect();
                if *on {
                    list.push(stream);
                } else if list.is_empty() {
                    list.push("none");
                }
                let dvr = nodes.get_mut(at).and_then(|vhost| vhost.children.as_mut());
                let dvr = dvr.and_then(|nodes| nodes.iter_mut().find(|node| node.name == "dvr"));
                if let Some(nodes) = dvr.and_then(|dvr| dvr.children.as_mut()) {
                    nodes.retain(|node| node.name != "dvr_apply");
                    nodes.push(Node::line("dvr_apply", &list));
                }
            }
            Self::SwitchVhost(name, on) => {
                let at = find(&mut nodes, name).ok_or_else(|| missing(name))?;
                if let Some(children) = nodes.get_mut(at).and_then(|n| n.children.as_mut()) {
                    children.retain(|node| node.name != "enabled");
                    children.insert(0, Node::line("enabled", &[if *on { "on" } else { "off" }]));
                }
            }
        }
        Ok(nodes)
    }
}

/// An app, which may have slashes, and a stream.
fn is_stream(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || "._-+@=,~".contains(c);
    let part = |part: &str| !part.is_empty() && part.chars().all(fits);
    text.len() <= MAX_VALUE && text.contains('/') && text.split('/').all(part)
}

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty() && text.len() <= MAX_VALUE && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::directives;
    use proptest::prelude::*;

    fn parse(scope: &str, value: &str, param: &str, data: &str) -> Result<Patch, PatchError> {
        Patch::parse(&directives::table(&[]), scope, value, param, data)
    }

    #[test]
    fn what_takes_effect_at_the_start_alone_cannot_be_updated() {
        assert_eq!(
            parse("chunk_size", "4096", "", ""),
            Ok(Patch::Set("chunk_size", vec!["4096".into()]))
        );
        let two = vec!["1935".to_owned(), "1936".to_owned()];
        assert_eq!(parse("listen", "1935,1936", "", ""), Ok(Patch::Set("listen", two)));
        for scope in ["pid", "ff_log_dir", "workers", "http_api", ""] {
            assert!(matches!(parse(scope, "1", "", ""), Err(PatchError::NotAllowed(_))), "{scope}");
        }
        for value in ["", "$HOME", "a\nb", "1;", "{", &"x".repeat(300)] {
            assert!(matches!(parse("listen", value, "", ""), Err(PatchError::Params(_))));
        }
    }

    #[test]
    fn a_virtual_host_is_made_switched_off_renamed_and_deleted() {
        let mut config = Config::from_pairs(directives::table(&[]), &[]);
        let mut step = |value: &str, param: &str, data: &str| {
            let nodes = parse("vhost", value, param, data)?.apply(&config)?;
            let new = Config::new(config.table().clone(), nodes, Default::default(), Vec::new());
            config = std::sync::Arc::new(new);
            Ok::<_, PatchError>(
                config
                    .vhosts()
                    .iter()
                    .map(|v| (v.name().to_owned(), v.enabled()))
                    .collect::<Vec<_>>(),
            )
        };
        let named = |all: Vec<(String, bool)>, name: &str| {
            all.into_iter().find(|(n, _)| n == name).map(|(_, on)| on)
        };
        assert_eq!(named(step("a.test", "create", "").unwrap(), "a.test"), Some(true));
        assert!(step("a.test", "create", "").is_err());
        assert!(step("a.test", "delete", "").is_err());
        assert_eq!(named(step("a.test", "disable", "").unwrap(), "a.test"), Some(false));
        assert_eq!(named(step("a.test", "update", "b.test").unwrap(), "b.test"), Some(false));
        assert!(step("a.test", "enable", "").is_err());
        assert_eq!(named(step("b.test", "enable", "").unwrap(), "b.test"), Some(true));
        step("b.test", "disable", "").unwrap();
        assert_eq!(named(step("b.test", "delete", "").unwrap(), "b.test"), None);
        assert!(step("a/b", "create", "").is_err() && step("a", "frob", "").is_err());
    }

    #[test]
    fn streams_are_put_onto_the_list_of_recordings_and_taken_off() {
        let on = [("vhost.dvr.enabled", "on")];
        let mut config = Config::from_pairs(directives::table(&[]), &on);
        let mut step = |param: &str, stream: &str| {
            let nodes = parse("dvr", "__defaultVhost__", param, stream)?.apply(&config)?;
            let new = Config::new(config.table().clone(), nodes, Default::default(), Vec::new());
            config = std::sync::Arc::new(new);
            let vhost = config.vhost("__defaultVhost__").unwrap();
            Ok::<_, PatchError>(vhost.list("dvr.dvr_apply").join(" "))
        };
        assert!(step("disable", "live/a").is_err(), "it would be all or nothing");
        assert_eq!(step("enable", "live/a").unwrap(), "live/a");
        assert_eq!(step("enable", "live/b").unwrap(), "live/a live/b");
        assert_eq!(step("enable", "live/a").unwrap(), "live/b live/a");
        assert_eq!(step("disable", "live/b").unwrap(), "live/a");
        assert_eq!(step("disable", "live/a").unwrap(), "none");
        assert_eq!(step("enable", "live/a").unwrap(), "live/a");
        for (param, stream) in [("", "live/a"), ("enable", ""), ("enable", "a"), ("enable", "a/$b")]
        {
            assert!(matches!(step(param, stream), Err(PatchError::Params(_))), "{param} {stream}");
        }
        let off = Config::from_pairs(directives::table(&[]), &[("listen", "1")]);
        let patch = parse("dvr", "__defaultVhost__", "enable", "live/a").unwrap();
        assert!(patch.apply(&off).is_err());
    }

    proptest! {
        #[test]
        fn any_words_make_a_patch_or_are_refused(
            scope in "[a-z_]{0,12}", value in ".{0,40}", param in "[a-z]{0,8}", data in ".{0,20}"
        ) {
            if let Ok(patch) = parse(&scope, &value, &param, &data) {
                let config = Config::from_pairs(directives::table(&[]), &[]);
                let _ = patch.apply(&config);
            }
        }
    }
}
