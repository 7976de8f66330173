mod environment;
mod files;
mod grammar;
mod loading;
mod old_spellings;
mod rows;

use std::collections::BTreeMap;
use std::io;

use super::*;

/// Files that exist only in a test.
#[derive(Default)]
pub(super) struct Shelf(BTreeMap<String, Vec<u8>>);

impl Shelf {
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self(
            files
                .iter()
                .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
                .collect(),
        )
    }
}

impl FileLoader for Shelf {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

pub(super) fn request(file: Option<&str>, env: &[(&str, &str)]) -> Request {
    Request {
        table: directives::table(&[]),
        file: file.map(str::to_owned),
        env_only: false,
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        facts: Facts::default(),
    }
}

/// Loads a text as `x.conf`.
pub(super) fn text(text: &str) -> Result<Loaded, Vec<Diagnostic>> {
    text_with(text, &[])
}

pub(super) fn text_with(text: &str, env: &[(&str, &str)]) -> Result<Loaded, Vec<Diagnostic>> {
    load(request(Some("x.conf"), env), &Shelf::of(&[("x.conf", text)]))
}

/// A file with one virtual host around these lines.
pub(super) fn in_vhost(lines: &str) -> String {
    format!("listen 1935;\ndaemon off;\nvhost v {{\n{lines}\n}}\n")
}

pub(super) fn good(source: &str) -> Loaded {
    match text(source) {
        Ok(loaded) => loaded,
        Err(list) => panic!("{}", shown(&list)),
    }
}

pub(super) fn bad(source: &str) -> Vec<Diagnostic> {
    text(source).expect_err("it is accepted")
}

pub(super) fn shown(list: &[Diagnostic]) -> String {
    list.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")
}

pub(super) fn warnings(list: &[Diagnostic]) -> Vec<&str> {
    list.iter()
        .filter(|one| one.severity == Severity::Warning)
        .map(|one| one.message.as_str())
        .collect()
}
