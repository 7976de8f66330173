//! One case by hand: `micro CASE ROUNDS` runs it so often and prints how many units were done;
//! without arguments it prints the table. `cargo xtask counts` runs this in valgrind.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool talks to a terminal")]

use std::process::ExitCode;

use micro::{CASES, Case};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [] => {
            for Case { name, unit, rounds, .. } in CASES {
                println!("{name} {unit} {rounds}");
            }
        }
        [name, rounds] => {
            let (Some(case), Ok(rounds)) = (Case::find(name), rounds.parse::<u32>()) else {
                eprintln!("no such case, or no number: {name} {rounds}");
                return ExitCode::FAILURE;
            };
            let mut round = case.start();
            let units: u64 = (0..rounds).map(|_| round()).sum();
            println!("{units}");
        }
        _ => {
            eprintln!("micro [CASE ROUNDS]");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
