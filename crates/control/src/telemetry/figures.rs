//! The figures of `/metrics` in the shape of OTLP.

use std::collections::BTreeMap;

use super::proto::{Message, Value, envelope};
use crate::metrics::text::{Family, Sample, Type};

/// Counts and sums since the process began.
const CUMULATIVE: u64 = 2;

/// `ExportMetricsServiceRequest`; times in nanoseconds since 1970.
pub(super) fn request(
    resource: &[(String, Value)],
    version: &str,
    families: &[Family],
    began: u64,
    now: u64,
) -> Vec<u8> {
    envelope(resource, version, |scope| {
        for family in families.iter().filter(|family| !family.samples.is_empty()) {
            scope.message(2, |metric| {
                metric.bytes(1, family.name.as_bytes());
                metric.bytes(2, family.help.as_bytes());
                match family.kind {
                    Type::Gauge => metric.message(5, |out| points(out, family, 0, now)),
                    Type::Counter => metric.message(7, |out| {
                        points(out, family, began, now);
                        out.number(2, CUMULATIVE);
                        out.number(3, 1);
                    }),
                    Type::Histogram => metric.message(9, |out| {
                        histograms(out, family, began, now);
                        out.number(2, CUMULATIVE);
                    }),
                }
            });
        }
    })
}

/// `NumberDataPoint`s.
fn points(out: &mut Message, family: &Family, began: u64, now: u64) {
    for sample in &family.samples {
        out.message(1, |point| {
            point.fixed64(2, began);
            point.fixed64(3, now);
            match sample.value.parse::<i64>() {
                Ok(whole) => point.whole(6, whole),
                Err(_) => point.double(4, sample.value.parse().unwrap_or(0.0)),
            }
            labels(point, 7, sample);
        });
    }
}

fn labels(out: &mut Message, field: u8, sample: &Sample) {
    for (name, text) in sample.labels.iter().filter(|(name, _)| name != "le") {
        out.attribute(field, name, &text.as_str().into());
    }
}

/// One histogram, put together again from its samples.
#[derive(Default)]
struct Parts<'a> {
    any: Option<&'a Sample>,
    /// Bounds, and how many were at or below; without the last, which has no bound.
    steps: Vec<(f64, u64)>,
    count: u64,
    sum: f64,
}

/// `HistogramDataPoint`s.
fn histograms(out: &mut Message, family: &Family, began: u64, now: u64) {
    let mut all: BTreeMap<Vec<&(String, String)>, Parts<'_>> = BTreeMap::new();
    for sample in &family.samples {
        let key = sample.labels.iter().filter(|(name, _)| name != "le").collect();
        let parts = all.entry(key).or_default();
        parts.any = Some(sample);
        let count = sample.value.parse().unwrap_or(0);
        let bound = sample.labels.iter().find(|(name, _)| name == "le");
        match bound.map(|(_, text)| text.as_str()) {
            Some("+Inf") => {}
            Some(text) => parts.steps.push((text.parse().unwrap_or(0.0), count)),
            None if sample.name.ends_with("_sum") => {
                parts.sum = sample.value.parse().unwrap_or(0.0)
            }
            None => parts.count = count,
        }
    }
    for parts in all.values() {
        out.message(1, |point| {
            point.fixed64(2, began);
            point.fixed64(3, now);
            point.fixed64(4, parts.count);
            point.double(5, parts.sum);
            let mut below = 0;
            // Each step's own, and those beyond the last.
            let counts = parts.steps.iter().map(|(_, count)| *count).chain([parts.count]);
            let own =
                counts.map(|count| count.saturating_sub(std::mem::replace(&mut below, count)));
            point.packed(6, own.map(u64::to_le_bytes));
            point.packed(7, parts.steps.iter().map(|(bound, _)| bound.to_le_bytes()));
            if let Some(sample) = parts.any {
                labels(point, 9, sample);
            }
        });
    }
}
