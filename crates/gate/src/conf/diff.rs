//! What changed between two snapshots.

use super::{Config, Directive, Kind, Node, Section, VhostSection};

/// How something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A virtual host that was not there.
    Added,
    /// A virtual host that is there no more.
    Removed,
    /// Another value.
    Changed,
}

/// One difference between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Full path in the table. A block that may repeat, or that takes anything, is told as a
    /// whole; so is a virtual host that came or went (`vhost`).
    pub path: &'static str,
    /// The virtual host it is in.
    pub vhost: Option<String>,
    /// What happened.
    pub kind: ChangeKind,
}

impl Change {
    /// Whether it lies in the block of this path, or is that block.
    pub fn is_in(&self, block: &str) -> bool {
        self.path.strip_prefix(block).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// Every directive whose value differs, in the order of the table: root first, then each
/// virtual host. Writing a default out is no difference, nor is moving lines about.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    let root = |row: &&'static Directive| row.path != "vhost" && !row.path.starts_with("vhost.");
    for row in new.table.rows().filter(root) {
        compare(&mut changes, row, row.path, None, &old.root(), &new.root());
    }
    let (before, after) = (old.vhosts(), new.vhosts());
    let find = |list: &[VhostSection<'_>], name: &str| list.iter().any(|v| v.name() == name);
    for gone in before.iter().filter(|v| !find(&after, v.name())) {
        changes.push(vhost(gone.name(), ChangeKind::Removed));
    }
    for now in &after {
        let Some(was) = before.iter().find(|v| v.name() == now.name()) else {
            changes.push(vhost(now.name(), ChangeKind::Added));
            continue;
        };
        for row in new.table.rows() {
            if let Some(path) = row.path.strip_prefix("vhost.") {
                compare(&mut changes, row, path, Some(now.name()), was, now);
            }
        }
    }
    changes
}

fn vhost(name: &str, kind: ChangeKind) -> Change {
    Change { path: "vhost", vhost: Some(name.to_owned()), kind }
}

fn compare(
    changes: &mut Vec<Change>,
    row: &'static Directive,
    relative: &str,
    vhost: Option<&str>,
    old: &Section<'_>,
    new: &Section<'_>,
) {
    if inside_repeated(new.config(), row) {
        return;
    }
    let written_out = row.kind == Kind::Line || (row.kind.is_block() && row.repeated);
    let same = if written_out {
        same_nodes(&old.written(relative), &new.written(relative))
    } else if row.kind.is_block() {
        // Its directives are compared one by one.
        true
    } else {
        old.effective(row, relative) == new.effective(row, relative)
    };
    if !same {
        changes.push(Change {
            path: row.path,
            vhost: vhost.map(str::to_owned),
            kind: ChangeKind::Changed,
        });
    }
}

/// Whether a block around it repeats, and so is compared as a whole.
fn inside_repeated(config: &Config, row: &Directive) -> bool {
    let mut parent = row.parent();
    while !parent.is_empty() && parent != "vhost" {
        if config.table.get(parent).is_some_and(|row| row.repeated) {
            return true;
        }
        parent = parent.rsplit_once('.').map_or("", |(up, _)| up);
    }
    false
}

fn same_nodes(a: &[&Node], b: &[&Node]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same_as(b))
}
