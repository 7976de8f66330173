//! The time of each case: `cargo bench -p micro`, or with a part of a name behind `--`.
#![allow(missing_docs, reason = "criterion's macros make the items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use micro::CASES;

fn cases(criterion: &mut Criterion) {
    for case in CASES {
        let Some((group, name)) = case.name.split_once('/') else { continue };
        let mut group = criterion.benchmark_group(group);
        let mut round = case.start();
        // Criterion then tells units a second, and by that the time of one.
        group.throughput(Throughput::Elements(round()));
        group.bench_function(name, |bench| bench.iter(&mut round));
        group.finish();
    }
}

criterion_group!(clock, cases);
criterion_main!(clock);
