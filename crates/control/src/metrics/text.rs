//! Writes the text format: families with help and type, samples with escaped labels. For who does
//! not want text, the same families are kept as they are.

use std::fmt::{Display, Write};
use std::ops::Range;

use hub::Histogram;

/// What a family of samples is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Type {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of values by steps.
    Histogram,
}

/// One value of a family.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// That of the family, or with `_bucket`, `_sum` or `_count` behind it.
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: String,
}

/// Samples of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) kind: Type,
    pub(crate) samples: Vec<Sample>,
}

/// The text so far, or the families.
#[derive(Default)]
pub(crate) struct Text {
    text: String,
    kept: Option<Vec<Family>>,
}

impl Text {
    /// Keeps families and writes no text.
    pub(crate) fn keeping() -> Self {
        Self { text: String::new(), kept: Some(Vec::new()) }
    }

    /// What was kept.
    pub(crate) fn into_families(self) -> Vec<Family> {
        self.kept.unwrap_or_default()
    }

    /// Begins a family; its samples follow.
    pub(crate) fn family(&mut self, name: &str, help: &str, kind: Type) {
        if let Some(kept) = &mut self.kept {
            let (name, help) = (name.to_owned(), help.to_owned());
            kept.push(Family { name, help, kind, samples: Vec::new() });
            return;
        }
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// One sample of the family that was begun last.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        if let Some(kept) = &mut self.kept {
            let own = |(label, text): &(&str, &str)| ((*label).to_owned(), (*text).to_owned());
            let labels = labels.iter().map(own).collect();
            let sample = Sample { name: name.to_owned(), labels, value: value.to_string() };
            kept.last_mut().into_iter().for_each(|family| family.samples.push(sample.clone()));
            return;
        }
        self.text.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            self.put(format_args!("{open}{label}=\"{text}\""));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.put(format_args!("{close} {value}\n"));
    }

    /// A family of one sample without labels.
    pub(crate) fn one(&mut self, name: &str, help: &str, kind: Type, value: impl Display) {
        self.family(name, help, kind);
        self.sample(name, &[], value);
    }

    /// A histogram of the family that was begun last. `steps` are the powers of two that are told,
    /// `unit` is what one of its values is in the unit of the family.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        of: &Histogram,
        steps: Range<usize>,
        unit: f64,
    ) {
        let counts = of.cumulative();
        let all = counts.last().copied().unwrap_or(0);
        let bucket = format!("{name}_bucket");
        for step in steps.step_by(2) {
            let bound = format!("{}", 2f64.powi(i32::try_from(step).unwrap_or(0)) * unit);
            let count = counts.get(step).copied().unwrap_or(all);
            self.sample(&bucket, &[labels, &[("le", &bound)]].concat(), count);
        }
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), all);
        self.sample(&format!("{name}_sum"), labels, of.sum() as f64 * unit);
        self.sample(&format!("{name}_count"), labels, all);
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing into a `String` does not fail.
        let _ = self.text.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.family("a", "line\nbreak", Type::Gauge);
        text.sample("a", &[("x", "q\"b\\n\n"), ("y", "")], 1.5);
        let wanted = "# HELP a line\\nbreak\n# TYPE a gauge\na{x=\"q\\\"b\\\\n\\n\",y=\"\"} 1.5\n";
        assert_eq!(text.finish(), wanted);
    }

    #[test]
    fn a_histogram_counts_all_in_its_last_bucket() {
        let of = Histogram::default();
        [3, 4, 1 << 30].iter().for_each(|v| of.observe(*v));
        let mut text = Text::default();
        text.histogram("a", &[("x", "y")], &of, 1..6, 0.5);
        let wanted = "a_bucket{x=\"y\",le=\"1\"} 0\na_bucket{x=\"y\",le=\"4\"} 2\n\
                      a_bucket{x=\"y\",le=\"16\"} 2\na_bucket{x=\"y\",le=\"+Inf\"} 3\n\
                      a_sum{x=\"y\"} 536870915.5\na_count{x=\"y\"} 3\n";
        assert_eq!(text.finish(), wanted);
    }

    #[test]
    fn a_sample_without_labels_has_no_braces() {
        let mut text = Text::default();
        text.one("a_total", "h", Type::Counter, 7u64);
        assert_eq!(text.finish(), "# HELP a_total h\n# TYPE a_total counter\na_total 7\n");
    }
}
