//! The tree a configuration text becomes.

use std::fmt::Write as _;

/// Which source text a [`Span`] points into: an index into [`super::Config::file_name`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// Where a token stands in its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// The source text.
    pub file: FileId,
    /// Line, from 1; 0 for tokens that no source text holds.
    pub line: u32,
    /// Column of the first character, from 1, counted in characters.
    pub column: u32,
    /// Length in characters, quotes included.
    pub len: u32,
}

/// One argument of a directive, quotes taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// The text; never empty when it comes from a parsed source.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// One directive: `name arg arg;` or `name arg { ... }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The first word.
    pub name: String,
    /// The words after it.
    pub args: Vec<Arg>,
    /// What stands between the braces; `None` when the directive ends with a semicolon.
    pub children: Option<Vec<Node>>,
    /// Where the name stands.
    pub span: Span,
}

impl Node {
    /// `name args...;` without a place in a source.
    pub fn line(name: &str, args: &[&str]) -> Self {
        let args = args
            .iter()
            .map(|text| Arg { text: (*text).to_owned(), span: Span::default() })
            .collect();
        Self { name: name.to_owned(), args, children: None, span: Span::default() }
    }

    /// `name args... { }` without a place in a source.
    pub fn block(name: &str, args: &[&str]) -> Self {
        Self { children: Some(Vec::new()), ..Self::line(name, args) }
    }

    /// The first argument, empty when there is none.
    pub fn first_arg(&self) -> &str {
        self.args.first().map_or("", |arg| arg.text.as_str())
    }

    /// The nodes between the braces; empty for a line.
    pub fn nodes(&self) -> &[Node] {
        self.children.as_deref().unwrap_or(&[])
    }

    /// The first child of that name: a repeated directive counts once.
    pub fn child(&self, name: &str) -> Option<&Node> {
        self.nodes().iter().find(|node| node.name == name)
    }

    /// Same names, arguments and children in the same order, wherever they stand.
    /// Recurses as deep as the tree, which the parser bounds.
    pub fn same_as(&self, other: &Node) -> bool {
        self.name == other.name
            && self.args.len() == other.args.len()
            && self.args.iter().zip(&other.args).all(|(a, b)| a.text == b.text)
            && self.children.is_some() == other.children.is_some()
            && self.nodes().len() == other.nodes().len()
            && self.nodes().iter().zip(other.nodes()).all(|(a, b)| a.same_as(b))
    }
}

/// The tree as text that parses to the same tree.
///
/// An argument that holds both kinds of quotes and a separator cannot be written in the
/// grammar and comes out with its double quotes dropped; no parsed source holds one.
pub fn print(nodes: &[Node]) -> String {
    let mut out = String::new();
    print_into(&mut out, nodes, 0);
    out
}

fn print_into(out: &mut String, nodes: &[Node], depth: usize) {
    for node in nodes {
        let _ = write!(out, "{:indent$}", "", indent = depth.saturating_mul(4));
        out.push_str(&word(&node.name));
        for arg in &node.args {
            out.push(' ');
            out.push_str(&word(&arg.text));
        }
        match &node.children {
            None => out.push_str(";\n"),
            Some(children) => {
                out.push_str(" {\n");
                print_into(out, children, depth.saturating_add(1));
                let _ = writeln!(out, "{:indent$}}}", "", indent = depth.saturating_mul(4));
            }
        }
    }
}

/// One word, quoted if the grammar would otherwise read it differently.
fn word(text: &str) -> String {
    let bare = !text.is_empty()
        && !text.starts_with(['#', '\'', '"', '}'])
        && !text.contains([' ', '\t', '\r', '\n', ';', '{']);
    if bare {
        text.to_owned()
    } else if !text.contains('"') {
        format!("\"{text}\"")
    } else if !text.contains('\'') {
        format!("'{text}'")
    } else {
        format!("\"{}\"", text.replace('"', ""))
    }
}
