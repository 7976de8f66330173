//! `cargo xtask new-protocol NAME`: lays the floor plan that every protocol shares.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::shell::root;

pub(crate) fn run(name: &str) -> Result<()> {
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !good {
        bail!("{name:?}: one word of lower-case letters and digits, please");
    }
    let dir = root().join("protocols").join(name);
    if dir.exists() {
        bail!("protocols/{name} exists");
    }
    for (path, text) in FILES {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        fs::write(path, text.replace("NAME", name))?;
    }
    list_in_workspace(name)?;
    println!(
        "laid protocols/{name}. Next:\n\
         1. write src/wire/ and src/session/ with fixtures, and a target in fuzz/ per decoder;\n\
         2. write src/gate.rs and src/config.rs;\n\
         3. add `{name}` to crates/millrace/Cargo.toml and one line to crates/millrace/src/gates.rs;\n\
         4. add a row to tests/e2e/tests/it/matrix.rs, a line to CHANGELOG.md, a word to docs/."
    );
    Ok(())
}

/// Adds the crate to `[workspace.dependencies]`, after the last protocol.
fn list_in_workspace(name: &str) -> Result<()> {
    let path = root().join("Cargo.toml");
    let text = fs::read_to_string(&path)?;
    fs::write(path, with_protocol(&text, name)?)?;
    Ok(())
}

fn with_protocol(manifest: &str, name: &str) -> Result<String> {
    let last = manifest
        .lines()
        .rfind(|l| l.contains("{ path = \"protocols/"))
        .context("the workspace lists no protocol")?;
    let line = format!("{last}\n{name} = {{ path = \"protocols/{name}\" }}");
    Ok(manifest.replacen(last, &line, 1))
}

const FILES: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        r#"[package]
name = "NAME"
description = "NAME"
version.workspace = true
edition.workspace = true
license.workspace = true
publish.workspace = true

[dependencies]
bytes.workspace = true
gate.workspace = true
media.workspace = true
thiserror.workspace = true
tracing.workspace = true

[dev-dependencies]
proptest.workspace = true

[lints]
workspace = true
"#,
    ),
    (
        "README.md",
        "# NAME\n\n| specification | version | covered by |\n|---|---|---|\n\n\
         ## Supported\n\n## Leniency\n\nEach entry names the device or program that needs it.\n",
    ),
    (
        "src/lib.rs",
        "//! NAME: purpose, what it deliberately does not do, entry type, specification.\n\n\
         mod config;\nmod events;\nmod gate;\nmod session;\nmod wire;\n",
    ),
    ("src/wire.rs", "//! Pure codecs: `decode_*` and `encode_*`, from bytes to values and back.\n"),
    ("src/session.rs", "//! The state machine: `handle_*` takes bytes and time, `poll_*` gives.\n"),
    ("src/gate.rs", "//! The only file with sockets: serve, fetch, forward.\n"),
    ("src/config.rs", "//! The section of the configuration: fields, defaults, checks.\n"),
    ("src/events.rs", "//! Each occurrence once: its log line and its metric.\n"),
    ("tests/it/main.rs", "//! Pair tests, loopback tests and fixtures of NAME.\n"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_protocol_is_listed_after_the_last_one() {
        let manifest =
            "rtmp = { path = \"protocols/rtmp\" }\nhls = { path = \"protocols/hls\" }\n\n# x";
        let with = with_protocol(manifest, "srt").unwrap();
        assert_eq!(
            with,
            "rtmp = { path = \"protocols/rtmp\" }\nhls = { path = \"protocols/hls\" }\n\
             srt = { path = \"protocols/srt\" }\n\n# x"
        );
    }
}
