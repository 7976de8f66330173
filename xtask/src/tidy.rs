//! `cargo xtask tidy`: the laws of the house that a machine can check.
//!
//! Taste that can be checked is checked here and not by reviewers. Each rule is a function from
//! the tree to complaints; a complaint names the file, the line and the law.

mod code;
mod floors;
mod papers;

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::shell::{ask, command, root};

/// The files of the repository, as git sees them: committed or about to be.
pub(crate) struct Tree {
    files: Vec<File>,
}

/// A text file.
pub(crate) struct File {
    /// From the root, with forward slashes.
    path: String,
    text: String,
}

/// What a rule found wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    path: String,
    line: usize,
    law: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, law } = self;
        write!(f, "{path}:{line}: {law}")
    }
}

impl Tree {
    fn read() -> Result<Self> {
        let listed = ask(&mut command("git", &["ls-files", "-co", "--exclude-standard"]))
            .context("git does not list the files of the repository")?;
        let mut files = Vec::new();
        for path in listed.lines() {
            // Binary fixtures and deleted files have no text to check.
            if let Ok(text) = std::fs::read_to_string(root().join(path)) {
                files.push(File { path: path.to_owned(), text });
            }
        }
        Ok(Self { files })
    }

    fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|f| f.path.ends_with(".rs"))
    }

    fn markdown(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|f| f.path.ends_with(".md"))
    }
}

impl File {
    fn complaint(&self, line: usize, law: impl Into<String>) -> Complaint {
        Complaint { path: self.path.clone(), line, law: law.into() }
    }

    /// Lines with their numbers, from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(i, l)| (i + 1, l))
    }
}

/// Checks everything. With `base`, the change since that commit must have touched the changelog.
pub(crate) fn run(base: Option<&str>) -> Result<()> {
    let tree = Tree::read()?;
    let mut complaints = Vec::new();
    complaints.extend(code::check(&tree));
    complaints.extend(floors::check(&crate::shell::metadata()?)?);
    complaints.extend(papers::check(&tree, &|path| root().join(path).exists()));
    if let Some(base) = base {
        complaints.extend(changelog_touched(base)?);
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("{} breaches of the laws of the house", complaints.len());
    }
    println!("tidy: {} files keep the laws", tree.files.len());
    Ok(())
}

/// Code that a user can notice does not change without a line for them.
fn changelog_touched(base: &str) -> Result<Option<Complaint>> {
    let changed = ask(&mut command("git", &["diff", "--name-only", base]))
        .with_context(|| format!("git knows no commit {base}"))?;
    let paths: Vec<PathBuf> = changed.lines().map(PathBuf::from).collect();
    let code = paths.iter().any(|p| {
        (p.starts_with("crates") || p.starts_with("protocols"))
            && p.components().any(|c| c.as_os_str() == "src")
    });
    let told = paths.iter().any(|p| p.as_os_str() == "CHANGELOG.md");
    Ok((code && !told).then(|| Complaint {
        path: "CHANGELOG.md".into(),
        line: 1,
        law: format!("code changed since {base}, and the changelog did not"),
    }))
}

#[cfg(test)]
fn tree(files: &[(&str, &str)]) -> Tree {
    let file = |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
    Tree { files: files.iter().map(file).collect() }
}
