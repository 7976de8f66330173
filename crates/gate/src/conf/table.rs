//! All rows of the running program.

use std::collections::HashMap;

use super::Directive;

/// The rows of every crate that has a say, by path.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<&'static Directive>,
    by_path: HashMap<&'static str, &'static Directive>,
    duplicates: Vec<&'static str>,
}

impl Table {
    /// Puts the parts together in their order. Of two rows with one path the first counts,
    /// and [`Table::duplicates`] tells of the other.
    pub fn new(parts: impl IntoIterator<Item = &'static [Directive]>) -> Self {
        let mut table = Self::default();
        for row in parts.into_iter().flatten() {
            if table.by_path.contains_key(row.path) {
                table.duplicates.push(row.path);
                continue;
            }
            table.by_path.insert(row.path, row);
            table.rows.push(row);
        }
        table
    }

    /// The row of a full path.
    pub fn get(&self, path: &str) -> Option<&'static Directive> {
        self.by_path.get(path).copied()
    }

    /// All rows, in the order of the parts.
    pub fn rows(&self) -> impl Iterator<Item = &'static Directive> + '_ {
        self.rows.iter().copied()
    }

    /// The rows that stand directly in this block (empty: at the root), in order.
    pub fn children(&self, parent: &str) -> impl Iterator<Item = &'static Directive> + '_ {
        let parent = parent.to_owned();
        self.rows().filter(move |row| row.parent() == parent)
    }

    /// Paths that came twice: a mistake of whoever wrote the rows.
    pub fn duplicates(&self) -> &[&'static str] {
        &self.duplicates
    }
}
