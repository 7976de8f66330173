//! Every file of `fuzz/corpus/` goes through the function that the fuzzer runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use testkit::fuzz::TARGETS;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(corpus().join(target)).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

#[test]
fn every_seed_of_every_target_breaks_no_law() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for (path, seed) in seeds {
            println!("{}", path.display());
            target(&seed);
        }
    }
}

/// A mutation of the poorest kind, so that the normal tests see damaged input too.
#[test]
fn seeds_cut_short_or_with_one_byte_turned_break_no_law() {
    for (name, target) in TARGETS {
        for (path, seed) in seeds(name) {
            println!("{}", path.display());
            let steps = seed.len().div_ceil(24).max(1);
            for at in (0..seed.len()).step_by(steps) {
                target(&seed[..at]);
                let mut turned = seed.clone();
                turned[at] ^= 0x80;
                target(&turned);
                turned[at] = 0xff;
                target(&turned);
            }
        }
    }
}

/// Damages seeds at random, where there is no fuzzer: `TARGETS="stun rtcp" SECONDS=60 SEED=7`
/// choose what, for how long each, and which damage.
#[test]
#[ignore = "takes as long as it is told"]
fn seeds_damaged_at_random_break_no_law() {
    let said = |name: &str| std::env::var(name).unwrap_or_default();
    let seconds = said("SECONDS").parse().unwrap_or(5);
    let mut state = said("SEED").parse::<u64>().unwrap_or(1) | 1;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 11).unwrap() % below.max(1)
    };
    let names = said("TARGETS");
    for (name, target) in TARGETS {
        if !names.is_empty() && !names.split_whitespace().any(|n| n == *name) {
            continue;
        }
        let seeds = seeds(name);
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut runs = 0_u64;
        while Instant::now() < end {
            let mut bytes = seeds[random(seeds.len())].1.clone();
            for _ in 0..=random(6) {
                let at = random(bytes.len());
                let upto = (at + random(32)).min(bytes.len());
                match random(7) {
                    0 => bytes.truncate(at),
                    1 => drop(bytes.drain(at..upto)),
                    2 => bytes.extend_from_within(at..upto),
                    3 => bytes[at..upto].fill([0, 0x7f, 0x80, 0xff][random(4)]),
                    4 => bytes.insert(at, u8::try_from(random(256)).unwrap()),
                    5 => {
                        let other = &seeds[random(seeds.len())].1;
                        bytes.extend_from_slice(&other[random(other.len())..]);
                    }
                    _ => bytes.iter_mut().skip(at).take(1).for_each(|b| *b ^= 1 << random(8)),
                }
            }
            let done = std::panic::catch_unwind(|| target(&bytes));
            assert!(done.is_ok(), "{name} after {runs} runs: {bytes:02x?}");
            runs += 1;
        }
        println!("{name}: {runs} runs");
    }
}

#[test]
fn targets_programs_and_corpora_have_the_same_names() {
    let named: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stems = |dir: PathBuf| -> BTreeSet<String> {
        let files = std::fs::read_dir(dir).unwrap();
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        files.map(|file| stem(file.unwrap().path())).collect()
    };
    assert_eq!(stems(corpus()), named);
    assert_eq!(stems(corpus().join("../fuzz_targets")), named);
}
