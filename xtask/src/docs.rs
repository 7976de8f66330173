//! `cargo xtask docs`: the configuration reference, written from the code that reads it.

use anyhow::{Result, bail};

use crate::shell::root;

/// The languages of the user's documents, as their folders are named.
pub(crate) const LANGUAGES: [&str; 2] = ["en", "zh"];

/// Writes `docs/<language>/configuration.md`, or with `check` fails where it would change.
pub(crate) fn run(check: bool) -> Result<()> {
    let mut stale = Vec::new();
    for language in LANGUAGES {
        let page = format!("docs/{language}/configuration.md");
        let path = root().join(&page);
        let fresh = reference(language);
        if std::fs::read_to_string(&path).is_ok_and(|committed| committed == fresh) {
            continue;
        }
        if check {
            stale.push(page);
        } else {
            std::fs::write(&path, fresh)?;
            println!("wrote {page}");
        }
    }
    if !stale.is_empty() {
        bail!("{} no longer matches the code: run `cargo xtask docs`", stale.join(" and "));
    }
    Ok(())
}

/// The reference in one language.
fn reference(language: &str) -> String {
    let _ = language;
    String::new()
}
