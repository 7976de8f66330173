//! Chores of the workspace: `cargo xtask <chore>`.
//!
//! Everything that a contributor or a build machine does to this repository, in one place and in
//! the language of the project, so that there is no second set of scripts to keep in step.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to a terminal")]

mod counts;
mod dist;
mod docs;
mod fuzz;
mod new_protocol;
mod shell;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the millrace workspace")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what the tests need, then run every check and every test
    Test(test::Options),
    /// Check the laws of the house that a machine can check
    Tidy {
        /// Also demand that CHANGELOG.md changed if code did since this commit
        #[arg(long, value_name = "COMMIT")]
        base: Option<String>,
    },
    /// Write the configuration reference from the code
    Docs {
        /// Write nothing; fail if the committed pages are stale
        #[arg(long)]
        check: bool,
    },
    /// Build one binary that needs no library, and lay it out for others in target/dist
    Dist,
    /// Count the instructions of each hot path, and compare them with bench/counts.txt
    Counts(counts::Options),
    /// Fuzz one target, or every target in turn
    Fuzz(fuzz::Options),
    /// Lay the floor plan of a new protocol
    NewProtocol {
        /// One lower-case word: the folder, the package, the configuration key and the metric label
        name: String,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().chore {
        Chore::Test(options) => test::run(&options),
        Chore::Tidy { base } => tidy::run(base.as_deref()),
        Chore::Docs { check } => docs::run(check),
        Chore::Dist => dist::run(),
        Chore::Counts(options) => counts::run(&options),
        Chore::Fuzz(options) => fuzz::run(&options),
        Chore::NewProtocol { name } => new_protocol::run(&name),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}
