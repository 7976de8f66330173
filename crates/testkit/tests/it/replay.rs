//! Every file of `fuzz/corpus/` goes through the function that the fuzzer runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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
