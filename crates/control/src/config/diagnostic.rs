//! What the loader has to say, with its place.

use std::fmt;

use gate::conf::{FileId, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For the record.
    Info,
    /// Something will not be as it was written.
    Warning,
    /// The configuration is not accepted.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// The place of a diagnostic, with all that is needed to show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A token of a source text.
    Source {
        /// Name of the file.
        file: String,
        /// Line and column, from 1.
        line: u32,
        /// Column of the first character, from 1.
        column: u32,
        /// Characters to underline.
        len: u32,
        /// The whole line.
        text: String,
    },
    /// A file as a whole.
    File(String),
    /// An environment variable.
    Environment {
        /// Its name.
        name: String,
        /// What it says; not shown where it may be a secret.
        value: Option<String>,
    },
    /// The configuration as a whole.
    Nowhere,
}

/// One thing the loader has to say. `Display` shows it as people are to read it, several lines
/// without a line break at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, one sentence without a full stop.
    pub message: String,
    /// Where it is.
    pub place: Place,
    /// What to do about it.
    pub help: Option<String>,
    /// SRS's number for it: [`CONFIG_INVALID`] or [`MISSING_INCLUDE`]; 0 when it is no error.
    pub code: u16,
}

/// Number of every error but one.
pub const CONFIG_INVALID: u16 = 1023;

/// Number of an `include` that cannot be read.
pub const MISSING_INCLUDE: u16 = 1042;

/// The status a process ends with that is told these: the low byte of the first error's number,
/// as SRS does, and 0 when there is no error.
pub fn exit_status(list: &[Diagnostic]) -> u8 {
    let code = list.iter().map(|one| one.code).find(|code| *code != 0).unwrap_or(0);
    code.to_le_bytes()[0]
}

impl Diagnostic {
    /// The message with file, line and column in one line: for a log.
    pub fn one_line(&self) -> String {
        match &self.help {
            Some(help) => format!("{}{} ({help})", self.prefix(), self.message),
            None => format!("{}{}", self.prefix(), self.message),
        }
    }

    fn prefix(&self) -> String {
        match &self.place {
            Place::Source { file, line, column, .. } => format!("{file}:{line}:{column}: "),
            Place::File(file) => format!("{file}: "),
            Place::Environment { name, .. } => format!("{name}: "),
            Place::Nowhere => String::new(),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}: {}", self.prefix(), self.severity, self.message)?;
        match &self.place {
            Place::Source { line, column, len, text, .. } => {
                let number = line.to_string();
                let gutter = " ".repeat(number.len());
                // Tabs stay tabs, so that the mark stands under its word at any tab width.
                let before = column.saturating_sub(1) as usize;
                let indent: String =
                    text.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                let room = text.chars().count().saturating_sub(before).max(1);
                let marks = "^".repeat((*len as usize).clamp(1, room));
                write!(f, "\n {number} | {text}\n {gutter} | {indent}{marks}")?;
            }
            Place::Environment { name, value: Some(value) } => {
                write!(f, "\n   | {name}={value}")?;
            }
            Place::Environment { value: None, .. } | Place::File(_) | Place::Nowhere => {}
        }
        match &self.help {
            Some(help) => write!(f, "\n   = help: {help}"),
            None => Ok(()),
        }
    }
}

/// The texts that were read, to show lines of.
#[derive(Debug, Default)]
pub(super) struct Sources {
    files: Vec<(String, String)>,
}

impl Sources {
    pub(super) fn add(&mut self, name: &str, text: String) -> FileId {
        let id = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push((name.to_owned(), text));
        FileId(id)
    }

    pub(super) fn text(&self, file: FileId) -> &str {
        self.get(file).map_or("", |(_, text)| text.as_str())
    }

    /// Puts stars in the place of a token, so that no diagnostic shows it.
    pub(super) fn hide(&mut self, span: Span) {
        let at = usize::try_from(span.file.0).ok().and_then(|at| self.files.get_mut(at));
        let Some((_, text)) = at.filter(|_| span.line > 0) else { return };
        let (line, from) = (span.line.saturating_sub(1) as usize, span.column.saturating_sub(1));
        let within = from..from.saturating_add(span.len);
        let lines = text.split('\n').enumerate().map(|(number, own)| match number == line {
            true => (0u32..)
                .zip(own.chars())
                .map(|(at, c)| if within.contains(&at) { '*' } else { c })
                .collect(),
            false => own.to_owned(),
        });
        *text = lines.collect::<Vec<String>>().join("\n");
    }

    pub(super) fn names(self) -> Vec<String> {
        self.files.into_iter().map(|(name, _)| name).collect()
    }

    fn get(&self, file: FileId) -> Option<&(String, String)> {
        self.files.get(usize::try_from(file.0).ok()?)
    }

    pub(super) fn place(&self, span: Span) -> Place {
        let Some((file, text)) = self.get(span.file).filter(|_| span.line > 0) else {
            return Place::Nowhere;
        };
        let line = text.split('\n').nth(span.line.saturating_sub(1) as usize).unwrap_or("");
        Place::Source {
            file: file.clone(),
            line: span.line,
            column: span.column,
            len: span.len,
            text: line.trim_end_matches('\r').to_owned(),
        }
    }
}

/// Collects diagnostics while the sources are at hand.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) sources: Sources,
    pub(super) list: Vec<Diagnostic>,
}

impl Report {
    pub(super) fn say(&mut self, severity: Severity, place: Place, message: impl Into<String>) {
        let code = if severity == Severity::Error { CONFIG_INVALID } else { 0 };
        self.list.push(Diagnostic { severity, message: message.into(), place, help: None, code });
    }

    pub(super) fn at(&mut self, severity: Severity, span: Span, message: impl Into<String>) {
        let place = self.sources.place(span);
        self.say(severity, place, message);
    }

    /// Adds what to do to the diagnostic said last.
    pub(super) fn help(&mut self, help: impl Into<String>) {
        if let Some(last) = self.list.last_mut() {
            last.help = Some(help.into());
        }
    }

    /// Gives the diagnostic said last another number.
    pub(super) fn code(&mut self, code: u16) {
        if let Some(last) = self.list.last_mut() {
            last.code = code;
        }
    }

    /// Everything said, in the order of the text; what has no place in a text comes last.
    pub(super) fn finish(self) -> (Sources, Vec<Diagnostic>) {
        let Self { sources, mut list } = self;
        list.sort_by_key(|one| match &one.place {
            Place::Source { file, line, column, .. } => {
                let at = sources.files.iter().position(|(name, _)| name == file);
                (at.unwrap_or(usize::MAX), *line, *column)
            }
            _ => (usize::MAX, 0, 0),
        });
        (sources, list)
    }

    pub(super) fn has_errors(&self) -> bool {
        self.list.iter().any(|one| one.severity == Severity::Error)
    }
}
