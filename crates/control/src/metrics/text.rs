//! Writes the text format: families with help and type, samples with escaped labels.

use std::fmt::{Display, Write};

/// What a family of samples is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Type {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The text so far.
#[derive(Default)]
pub(crate) struct Text(String);

impl Text {
    /// Begins a family; its samples follow.
    pub(crate) fn family(&mut self, name: &str, help: &str, kind: Type) {
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// One sample of the family that was begun last.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
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

    pub(crate) fn finish(self) -> String {
        self.0
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing into a `String` does not fail.
        let _ = self.0.write_fmt(text);
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
    fn a_sample_without_labels_has_no_braces() {
        let mut text = Text::default();
        text.one("a_total", "h", Type::Counter, 7u64);
        assert_eq!(text.finish(), "# HELP a_total h\n# TYPE a_total counter\na_total 7\n");
    }
}
