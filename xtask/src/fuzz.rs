//! `cargo xtask fuzz`: runs the targets of `fuzz/` with cargo-fuzz.

use anyhow::{Result, bail};

use crate::shell::{ask, call, cargo, root};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// One of `fuzz/fuzz_targets/`; all of them in turn if left out
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

fn run_targets(options: &Options, targets: &[String]) -> Result<()> {
    let mut failed = Vec::new();
    for target in targets {
        // What is found goes beside the committed seeds, not among them.
        let found = format!("fuzz/target/corpus/{target}");
        std::fs::create_dir_all(root().join(&found))?;
        let mut fuzz = cargo(&["+nightly", "fuzz", "run", target, &found]);
        fuzz.arg(format!("fuzz/corpus/{target}")).arg("--");
        fuzz.args(["-max_len=65536", "-timeout=10", "-rss_limit_mb=1024", "-verbosity=0"]);
        fuzz.args(["-print_final_stats=1", &format!("-max_total_time={}", options.seconds)]);
        // `cargo +nightly` is a thing of rustup's cargo, not of the one that runs us.
        fuzz.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
        if call(&mut fuzz).is_err() {
            failed.push(target.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("{} failed; the inputs lie in fuzz/artifacts/", failed.join(", "));
    }
    Ok(())
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if ask(&mut cargo(&["fuzz", "--version"])).is_none() {
        bail!(
            "cargo-fuzz is missing:\n    cargo install cargo-fuzz && rustup toolchain install nightly"
        );
    }
    let all = targets()?;
    let chosen = match &options.target {
        Some(one) if all.contains(one) => vec![one.clone()],
        Some(one) => bail!("no target {one}; there are: {}", all.join(", ")),
        None => all,
    };
    run_targets(options, &chosen)
}

/// Every target, by name.
pub(crate) fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for file in std::fs::read_dir(root().join("fuzz/fuzz_targets"))? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "rs")
            && let Some(stem) = path.file_stem()
        {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
