//! `include`: other files, as if their text stood there.

use gate::conf::{FileId, Node, Span};

use super::diagnostic::{MISSING_INCLUDE, Place, Report, Severity};
use super::{FileLoader, grammar};

/// Files in one another at most: deeper is a cycle under changing names.
const MAX_INCLUDE_DEPTH: usize = 16;

/// Files read at most, so that files which include each other twice cannot multiply for ever.
const MAX_FILES: usize = 1000;

/// Reads a file and everything it includes. Mistakes are told in the report; what could be
/// read is in the tree.
pub(super) fn read(loader: &dyn FileLoader, path: &str, report: &mut Report) -> Vec<Node> {
    let mut reader = Reader { loader, report, trail: Vec::new(), files: 0, depth: 0 };
    reader.file(path, None)
}

/// A text that comes from no file, under a name.
pub(super) fn read_text(
    loader: &dyn FileLoader,
    name: &str,
    text: &str,
    report: &mut Report,
) -> Vec<Node> {
    let file = report.sources.add(name, text.to_owned());
    let mut reader = Reader { loader, report, trail: vec![name.to_owned()], files: 1, depth: 0 };
    reader.text(file)
}

struct Reader<'a> {
    loader: &'a dyn FileLoader,
    report: &'a mut Report,
    /// The files that are being read, outermost first.
    trail: Vec<String>,
    files: usize,
    /// Blocks around what is being expanded, over all files.
    depth: usize,
}

impl Reader<'_> {
    fn file(&mut self, path: &str, from: Option<Span>) -> Vec<Node> {
        let fail = |reader: &mut Self, message: String| {
            let place = match from {
                Some(span) => reader.report.sources.place(span),
                None => Place::File(path.to_owned()),
            };
            reader.report.say(Severity::Error, place, message);
            if from.is_some() {
                reader.report.code(MISSING_INCLUDE);
            }
            Vec::new()
        };
        if self.trail.iter().any(|open| open == path) {
            return fail(self, format!("`{path}` includes itself"));
        }
        if self.trail.len() > MAX_INCLUDE_DEPTH {
            return fail(self, format!("includes are nested deeper than {MAX_INCLUDE_DEPTH}"));
        }
        if self.files >= MAX_FILES {
            return fail(self, format!("more than {MAX_FILES} files are included"));
        }
        let bytes = match self.loader.read(path) {
            Ok(bytes) => bytes,
            Err(error) => return fail(self, format!("cannot read `{path}`: {error}")),
        };
        self.files = self.files.saturating_add(1);
        // Old files have comments in other encodings than UTF-8; they are comments all the same.
        let text = String::from_utf8_lossy(&bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        let file = self.report.sources.add(path, text);
        self.trail.push(path.to_owned());
        let nodes = self.text(file);
        self.trail.pop();
        nodes
    }

    fn text(&mut self, file: FileId) -> Vec<Node> {
        match grammar::parse(self.report.sources.text(file), file) {
            Ok(nodes) => self.expand(nodes),
            Err(mistakes) => {
                for one in mistakes {
                    self.report.at(Severity::Error, one.span, one.mistake.to_string());
                }
                Vec::new()
            }
        }
    }

    /// Recurses as deep as blocks nest over all files, at most [`grammar::MAX_DEPTH`].
    fn expand(&mut self, nodes: Vec<Node>) -> Vec<Node> {
        let mut out = Vec::with_capacity(nodes.len());
        if self.depth > grammar::MAX_DEPTH {
            if let Some(node) = nodes.first() {
                let message = grammar::Mistake::TooDeep.to_string();
                self.report.at(Severity::Error, node.span, message);
            }
            return out;
        }
        for mut node in nodes {
            if node.name == "include" && node.children.is_none() {
                if node.args.is_empty() {
                    self.report.at(Severity::Error, node.span, "`include` names no file");
                }
                for arg in &node.args {
                    let included = self.file(&arg.text, Some(arg.span));
                    out.extend(included);
                }
                continue;
            }
            if let Some(children) = node.children.take() {
                self.depth = self.depth.saturating_add(1);
                node.children = Some(self.expand(children));
                self.depth = self.depth.saturating_sub(1);
            }
            out.push(node);
        }
        out
    }
}
