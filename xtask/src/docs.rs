//! `cargo xtask docs`: the configuration reference, written from the code that reads it.

use anyhow::{Result, bail};
use control::config::{Language, directives, reference};

use crate::shell::root;

/// The languages of the user's documents, by their folders.
const LANGUAGES: [(&str, Language); 2] = [("en", Language::English), ("zh", Language::Chinese)];

/// Writes `docs/<language>/configuration.md`, or with `check` fails where it would change.
pub(crate) fn run(check: bool) -> Result<()> {
    let mut stale = Vec::new();
    let table = directives::table(&[]);
    for (folder, language) in LANGUAGES {
        let page = format!("docs/{folder}/configuration.md");
        let path = root().join(&page);
        let fresh = reference(&table, language);
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
