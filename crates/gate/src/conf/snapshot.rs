//! The whole configuration at one moment.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::section::{Section, VhostSection};
use super::{FileId, Node, Table};

/// The virtual host that serves every name which has no block of its own.
pub const DEFAULT_VHOST: &str = "__defaultVhost__";

/// An immutable configuration: what files and environment said when it was loaded.
///
/// Shared in an `Arc`; a session may keep the snapshot that it began with for as long as it
/// lives. Look-ups walk a small tree and allocate: they belong to the start of a session, not
/// to the path of frames.
pub struct Config {
    pub(super) table: Arc<Table>,
    pub(super) nodes: Vec<Node>,
    pub(super) env: BTreeMap<String, String>,
    files: Vec<String>,
}

impl fmt::Debug for Config {
    /// Names the files only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Config {
    /// From a checked tree. `env` holds the variables of the process (those that name no
    /// directive do no harm); an empty variable counts as unset. `files` are the names that
    /// [`FileId`]s index.
    pub fn new(
        table: Arc<Table>,
        nodes: Vec<Node>,
        env: BTreeMap<String, String>,
        files: Vec<String>,
    ) -> Self {
        Self { table, nodes, env, files }
    }

    /// All defaults, changed by these pairs of full path and value: for tests and for parts
    /// that run without a file. Words are split on spaces; paths under `vhost` go into
    /// [`DEFAULT_VHOST`], which always exists.
    pub fn from_pairs(table: Arc<Table>, pairs: &[(&str, &str)]) -> Arc<Self> {
        let mut vhost = Node::block("vhost", &[DEFAULT_VHOST]);
        let mut root = Node::block("", &[]);
        for (path, value) in pairs {
            debug_assert!(table.get(path).is_some(), "no directive {path}");
            let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
            match path.strip_prefix("vhost.") {
                Some(inner) => put(&mut vhost, inner, &words),
                None => put(&mut root, path, &words),
            }
        }
        let mut nodes = root.children.unwrap_or_default();
        nodes.push(vhost);
        Arc::new(Self::new(table, nodes, BTreeMap::new(), Vec::new()))
    }

    /// The rows that this configuration was read by.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// A variable of the process that is no directive's; nothing when it is unset or empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The tree: deprecated spellings already rewritten, includes expanded.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The name of a source, as it was given on the command line or after `include`.
    pub fn file_name(&self, file: FileId) -> &str {
        usize::try_from(file.0).ok().and_then(|at| self.files.get(at)).map_or("", String::as_str)
    }

    /// What stands outside every block.
    pub fn root(&self) -> Section<'_> {
        Section::new(self, String::new(), Some(&self.nodes), None)
    }

    /// Every virtual host that is written down, switched off ones too, each name once.
    pub fn vhosts(&self) -> Vec<VhostSection<'_>> {
        let mut seen: Vec<&str> = Vec::new();
        let mut vhosts = Vec::new();
        for node in self.nodes.iter().filter(|node| node.name == "vhost") {
            if !seen.contains(&node.first_arg()) {
                seen.push(node.first_arg());
                vhosts.push(VhostSection::new(self, node));
            }
        }
        vhosts
    }

    /// The virtual host that serves `name`: its own block, else [`DEFAULT_VHOST`]'s. `None`
    /// when there is neither, or when the block found says `enabled off`. Its
    /// [`VhostSection::name`] replaces the name that was asked for.
    pub fn vhost(&self, name: &str) -> Option<VhostSection<'_>> {
        let find = |wanted: &str| {
            self.nodes.iter().find(|node| node.name == "vhost" && node.first_arg() == wanted)
        };
        let node = find(name).or_else(|| find(DEFAULT_VHOST))?;
        Some(VhostSection::new(self, node)).filter(VhostSection::enabled)
    }
}

/// Writes one dotted path into a block.
fn put(block: &mut Node, path: &str, words: &[&str]) {
    let children = block.children.get_or_insert_with(Vec::new);
    match path.split_once('.') {
        None => children.push(Node::line(path, words)),
        Some((name, rest)) => {
            let at = children.iter().position(|node| node.name == name).unwrap_or_else(|| {
                children.push(Node::block(name, &[]));
                children.len().saturating_sub(1)
            });
            if let Some(child) = children.get_mut(at) {
                put(child, rest, words);
            }
        }
    }
}
