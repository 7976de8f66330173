//! `cargo xtask docs`: the configuration reference and the table for those who come from SRS,
//! written from the code that reads configurations.

use anyhow::{Result, bail};
use control::config::{Language, directives, migration, reference};

use crate::shell::root;

/// The languages of the user's documents, by their folders.
const LANGUAGES: [(&str, Language); 2] = [("en", Language::English), ("zh", Language::Chinese)];

/// Writes the pages of each language, or with `check` fails where one would change.
pub(crate) fn run(check: bool) -> Result<()> {
    let mut stale = Vec::new();
    let table = directives::table(&[]);
    let pages = LANGUAGES.into_iter().flat_map(|(folder, language)| {
        [
            (format!("docs/{folder}/configuration.md"), reference(&table, language)),
            (format!("docs/{folder}/migrate-directives.md"), migration(&table, language)),
        ]
    });
    for (page, fresh) in pages {
        let path = root().join(&page);
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
