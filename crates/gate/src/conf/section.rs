//! One block of the configuration, with typed getters.

use std::ops::Deref;
use std::time::Duration;

use super::value::{bounded, seconds};
use super::{Arg, Config, Directive, Fallback, Kind, Listen, Node, Span};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This environment variable.
    Environment(String),
    /// This place in a file; [`Config::file_name`] has the name.
    File(Span),
    /// Nobody said anything.
    Default,
}

/// A block: the root, a virtual host, or one inside them, whether it is written down or not.
///
/// The getters take paths relative to the block (`"play.gop_cache"` in a virtual host) and
/// look into the environment, then the file, then the table's default. A value that the
/// table does not allow (the loader has told of it) counts as not written. Asking for a path
/// that is in no table, or with the wrong getter for its type, is a mistake of the program:
/// it fails in debug builds and gives the empty value of the type (false, 0, "", no words) in
/// release builds.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    config: &'a Config,
    path: String,
    nodes: Option<&'a [Node]>,
    node: Option<&'a Node>,
    vhost: Option<&'a Node>,
}

enum Raw<'a> {
    Env(&'a str),
    File(&'a Node),
    Nothing,
}

impl<'a> Section<'a> {
    pub(super) fn new(
        config: &'a Config,
        path: String,
        nodes: Option<&'a [Node]>,
        vhost: Option<&'a Node>,
    ) -> Self {
        Self { config, path, nodes, node: None, vhost }
    }

    fn inside(&self, relative: &str, node: Option<&'a Node>) -> Self {
        Self {
            config: self.config,
            path: self.full(relative),
            nodes: node.map(Node::nodes),
            node,
            vhost: self.vhost,
        }
    }

    /// The snapshot it is a part of.
    pub fn config(&self) -> &'a Config {
        self.config
    }

    /// Its full path in the table: empty for the root, `vhost.play` for that block.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The words after the block's name (`live` in `ingest live { }`); none for a block that
    /// is not written down.
    pub fn args(&self) -> &'a [Arg] {
        self.node.map_or(&[], |node| &node.args)
    }

    /// The first word after the block's name, or nothing.
    pub fn label(&self) -> &'a str {
        self.node.map_or("", Node::first_arg)
    }

    /// Where the block stands, if it is written down.
    pub fn span(&self) -> Option<Span> {
        self.node.map(|node| node.span)
    }

    /// The block at this path; one that is not written down has its defaults.
    pub fn section(&self, path: &str) -> Section<'a> {
        self.expect(path, Kind::is_block);
        self.inside(path, self.find(path))
    }

    /// Every block of this name, for those that may be repeated (`exec`, `ingest`, `engine`).
    /// The first when the table does not let it repeat.
    pub fn blocks(&self, path: &str) -> Vec<Section<'a>> {
        let row = self.expect(path, Kind::is_block);
        let found = self.find_all(path).map(|node| self.inside(path, Some(node)));
        if row.is_some_and(|row| row.repeated) { found.collect() } else { found.take(1).collect() }
    }

    /// Every line of this name with its words, for those that may be repeated (`allow`,
    /// `publish` in `exec`).
    pub fn lines(&self, path: &str) -> Vec<Vec<&'a str>> {
        self.expect(path, |kind| kind == Kind::Line);
        self.find_all(path).map(words).collect()
    }

    /// All lines and blocks between the braces as they are written: for rules whose order
    /// over several names matters, and for free blocks.
    pub fn nodes(&self) -> &'a [Node] {
        self.nodes.unwrap_or(&[])
    }

    /// Whether environment or file say anything of it.
    pub fn is_set(&self, path: &str) -> bool {
        self.expect(path, |_| true);
        !matches!(self.raw(path), Raw::Nothing)
    }

    /// Where its value comes from.
    pub fn origin(&self, path: &str) -> Origin {
        self.expect(path, |_| true);
        match self.raw(path) {
            Raw::Env(_) => {
                self.env(path).map_or(Origin::Default, |(name, _)| Origin::Environment(name))
            }
            Raw::File(node) => Origin::File(node.span),
            Raw::Nothing => Origin::Default,
        }
    }

    /// `on` or `off`. What is neither counts as the default.
    pub fn bool(&self, path: &str) -> bool {
        let Some(row) = self.expect(path, |kind| kind == Kind::Bool) else { return false };
        let text = self.text(path, row);
        if row.default_on() { text != "off" } else { text == "on" }
    }

    /// A whole number.
    pub fn int(&self, path: &str) -> i64 {
        // A cast from f64 saturates, and the bounds of the table are far inside 2^53.
        self.number(path, |kind| kind == Kind::Int) as i64
    }

    /// A number with decimals.
    pub fn float(&self, path: &str) -> f64 {
        self.number(path, |kind| matches!(kind, Kind::Float | Kind::Int))
    }

    /// Bytes.
    pub fn size(&self, path: &str) -> u64 {
        self.number(path, |kind| kind == Kind::Size) as u64
    }

    /// A time given in milliseconds.
    pub fn millis(&self, path: &str) -> Duration {
        seconds(self.number(path, |kind| kind == Kind::Millis) / 1000.0)
    }

    /// A time given in seconds, with or without decimals.
    pub fn seconds(&self, path: &str) -> Duration {
        seconds(self.number(path, |kind| matches!(kind, Kind::Seconds | Kind::FloatSeconds)))
    }

    /// The value as text: the first word. For texts, paths and choices; for any other value as
    /// it is written, too.
    pub fn str(&self, path: &str) -> &'a str {
        let Some(row) = self.expect(path, |kind| !kind.is_block()) else { return "" };
        let text = self.text(path, row);
        match row.kind {
            Kind::Choice(choices) if !choices.contains(&text) => self.fallback(row),
            _ => text,
        }
    }

    /// All words of a list. An environment variable is split at single spaces.
    pub fn list(&self, path: &str) -> Vec<&'a str> {
        let Some(row) = self.expect(path, |kind| !kind.is_block()) else { return Vec::new() };
        match self.raw(path) {
            Raw::Env(value) => split(value),
            Raw::File(node) if !node.args.is_empty() => words(node),
            _ => match row.default {
                Fallback::Empty => Vec::new(),
                Fallback::Text(text) => split(text),
                Fallback::SameAs(other) => self.other(other).list(other_name(other)),
            },
        }
    }

    /// The addresses of a listen directive; words that are none are left out.
    pub fn listen(&self, path: &str) -> Vec<Listen> {
        self.expect(path, |kind| kind == Kind::Listen);
        self.list(path).into_iter().filter_map(|word| word.parse().ok()).collect()
    }

    /// The value's words whatever its type, for comparing.
    pub(super) fn effective(&self, row: &Directive, path: &str) -> Vec<&'a str> {
        match row.kind {
            Kind::List | Kind::Listen => self.list(path),
            Kind::Bool => vec![if self.bool(path) { "on" } else { "off" }],
            _ => vec![self.str(path)],
        }
    }

    /// The nodes of this path as they are written.
    pub(super) fn written(&self, path: &str) -> Vec<&'a Node> {
        self.find_all(path).collect()
    }

    fn full(&self, relative: &str) -> String {
        if self.path.is_empty() { relative.to_owned() } else { format!("{}.{relative}", self.path) }
    }

    fn row(&self, relative: &str) -> Option<&'static Directive> {
        self.config.table.get(&self.full(relative))
    }

    fn expect(&self, relative: &str, fits: impl Fn(Kind) -> bool) -> Option<&'static Directive> {
        let row = self.row(relative);
        debug_assert!(row.is_some(), "no directive {}", self.full(relative));
        debug_assert!(
            row.is_none_or(|row| fits(row.kind)),
            "{} is read as something it is not: it is {:?}",
            self.full(relative),
            row.map(|row| row.kind),
        );
        row
    }

    fn find_all(&self, relative: &str) -> impl Iterator<Item = &'a Node> + use<'a> {
        let (block, name) = match relative.rsplit_once('.') {
            Some((block, name)) => (self.find(block).map(Node::nodes), name.to_owned()),
            None => (self.nodes, relative.to_owned()),
        };
        block.unwrap_or(&[]).iter().filter(move |node| node.name == name)
    }

    fn find(&self, relative: &str) -> Option<&'a Node> {
        let mut nodes = self.nodes?;
        let mut found = None;
        for name in relative.split('.') {
            let node = nodes.iter().find(|node| node.name == name)?;
            nodes = node.nodes();
            found = Some(node);
        }
        found
    }

    fn env(&self, relative: &str) -> Option<(String, &'a str)> {
        self.row(relative)?.env_names().into_iter().find_map(|name| {
            let value = self.config.env.get(&name)?;
            (!value.is_empty()).then_some((name, value.as_str()))
        })
    }

    fn raw(&self, relative: &str) -> Raw<'a> {
        if let Some((_, value)) = self.env(relative) {
            return Raw::Env(value);
        }
        self.find(relative).map_or(Raw::Nothing, Raw::File)
    }

    fn text(&self, relative: &str, row: &'static Directive) -> &'a str {
        match self.raw(relative) {
            Raw::Env(value) => value,
            Raw::File(node) if !node.args.is_empty() => node.first_arg(),
            _ => self.fallback(row),
        }
    }

    fn fallback(&self, row: &'static Directive) -> &'a str {
        match row.default {
            Fallback::Empty => "",
            Fallback::Text(text) => text,
            Fallback::SameAs(other) => self.other(other).str(other_name(other)),
        }
    }

    fn number(&self, relative: &str, fits: impl Fn(Kind) -> bool) -> f64 {
        let Some(row) = self.expect(relative, fits) else { return 0.0 };
        bounded(row, self.text(relative, row))
            .or_else(|| bounded(row, self.fallback(row)))
            .unwrap_or(0.0)
    }

    /// The block that holds the directive of a full path, seen from this virtual host.
    fn other(&self, full: &str) -> Section<'a> {
        let (start, block) = match (full.strip_prefix("vhost."), self.vhost) {
            (Some(inner), Some(node)) => (VhostSection::new(self.config, node).section, inner),
            _ => (self.config.root(), full),
        };
        match block.rsplit_once('.') {
            Some((block, _)) => start.section(block),
            None => start,
        }
    }
}

fn other_name(full: &str) -> &str {
    full.rsplit('.').next().unwrap_or(full)
}

fn words(node: &Node) -> Vec<&str> {
    node.args.iter().map(|arg| arg.text.as_str()).collect()
}

fn split(text: &str) -> Vec<&str> {
    text.split(' ').filter(|word| !word.is_empty()).collect()
}

/// The block of one virtual host: a [`Section`] with a name.
#[derive(Clone, Debug)]
pub struct VhostSection<'a> {
    section: Section<'a>,
    name: &'a str,
}

impl<'a> VhostSection<'a> {
    pub(super) fn new(config: &'a Config, node: &'a Node) -> Self {
        let section = Section {
            config,
            path: "vhost".to_owned(),
            nodes: Some(node.nodes()),
            node: Some(node),
            vhost: Some(node),
        };
        Self { section, name: node.first_arg() }
    }

    /// The name in the file.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Not switched off.
    pub fn enabled(&self) -> bool {
        // Without a row for it nothing can switch a host off.
        self.section.row("enabled").is_none() || self.section.bool("enabled")
    }
}

impl<'a> Deref for VhostSection<'a> {
    type Target = Section<'a>;

    fn deref(&self) -> &Section<'a> {
        &self.section
    }
}
