//! A configuration file that shows every directive that works, with its default.

use std::fmt::Write as _;

use gate::conf::{Directive, Fallback, Status, Table};

/// Columns that comments are broken at.
const WIDTH: usize = 96;

const HEAD: &str = "\
# Every directive that works, each with its default. Written by `cargo xtask docs`; start from
# a shorter sample and take from here what you need. A line without a default is a comment.

# Where RTMP is served: one or more `[ip:]port`. It must be written.
listen 1935;
";

/// The text of `conf/full.conf`.
pub fn full_sample(table: &Table) -> String {
    let mut out = String::from(HEAD);
    block(&mut out, table, "", 0);
    out
}

fn works(row: &Directive) -> bool {
    row.status == Status::Works && row.path != "listen"
}

/// Recurses as deep as the table's blocks nest.
fn block(out: &mut String, table: &Table, path: &str, depth: usize) {
    let indent = " ".repeat(depth.saturating_mul(4));
    for row in table.children(path).filter(|row| works(row) && !row.kind.is_block()) {
        out.push('\n');
        comment(out, &indent, row.en);
        let _ = match row.default {
            Fallback::Text(text) => writeln!(out, "{indent}{} {text};", row.name()),
            Fallback::Empty => writeln!(out, "{indent}# {} ...;", row.name()),
            Fallback::SameAs(other) => writeln!(out, "{indent}# {} as {other};", row.name()),
        };
    }
    for row in table.children(path).filter(|row| works(row) && row.kind.is_block()) {
        out.push('\n');
        comment(out, &indent, row.en);
        let label = if row.path == "vhost" { " __defaultVhost__" } else { "" };
        let _ = writeln!(out, "{indent}{}{label} {{", row.name());
        block(out, table, row.path, depth.saturating_add(1));
        let _ = writeln!(out, "{indent}}}");
    }
}

fn comment(out: &mut String, indent: &str, text: &str) {
    let mut line = format!("{indent}#");
    for word in text.split(' ') {
        if line.len().saturating_add(word.len()) >= WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = format!("{indent}#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}
