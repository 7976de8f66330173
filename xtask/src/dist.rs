//! `cargo xtask dist`: one file that runs on any Linux of the same processor.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell::{ask, call, cargo, command, root, target_dir};

/// What lies beside the binary.
const PAPERS: [&str; 4] = ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "CHANGELOG.md"];

/// Builds the release binary with the C library inside, and lays it out in `target/dist/millrace`.
pub(crate) fn run() -> Result<()> {
    let triple = host()?;
    let mut build = cargo(&["build", "--release", "-p", "millrace", "--target", &triple]);
    if triple.ends_with("-linux-gnu") {
        // For the target only: build scripts and procedural macros must stay loadable.
        let name = format!("CARGO_TARGET_{}_RUSTFLAGS", triple.to_uppercase().replace('-', "_"));
        build.env(name, "-C target-feature=+crt-static");
    }
    call(&mut build)?;
    let target = target_dir()?;
    let dir = target.join("dist/millrace");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir)?;
    let program = dir.join("millrace");
    fs::copy(target.join(&triple).join("release/millrace"), &program)?;
    for paper in PAPERS {
        fs::copy(root().join(paper), dir.join(paper)).with_context(|| paper.to_owned())?;
    }
    lay_out(&root().join("conf"), &dir.join("conf"))?;
    stands_alone(&program)?;
    let text = program.display().to_string();
    let version = ask(&mut command(&text, &["-v"])).context("the binary does not start")?;
    call(&mut command(&text, &["check", &dir.join("conf/millrace.conf").display().to_string()]))?;
    let size = fs::metadata(&program)?.len() / 1024 / 1024;
    println!("{}: millrace {version}, {size} MiB, needs no library", dir.display());
    Ok(())
}

/// Copies a folder with all it holds.
fn lay_out(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            lay_out(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// The triple that rustc builds for by itself.
fn host() -> Result<String> {
    let text = ask(&mut command("rustc", &["-vV"])).context("rustc does not answer")?;
    let line = text.lines().find_map(|l| l.strip_prefix("host: "));
    Ok(line.context("rustc names no host")?.to_owned())
}

/// Fails if the loader would have to bring a library. Only Linux has a way to ask.
fn stands_alone(program: &Path) -> Result<()> {
    let libraries = ask(&mut command("ldd", &[&program.display().to_string()]));
    match libraries {
        Some(libraries) if libraries.contains("=>") => bail!("it needs libraries:\n{libraries}"),
        _ => Ok(()),
    }
}
