//! The grammar of configuration files: text into a tree.
//!
//! `name arg arg;` on one line, or `name args {` ... `}`. A `#` where a word could begin opens a
//! comment to the end of the line; quotes hold one argument together and know no escapes. See
//! [`parse`]; what the names mean is for others to say.

use gate::conf::{Arg, FileId, Node, Span};
use thiserror::Error;

/// Deepest nesting of blocks. Real files use five; what is deeper is a mistake or an attack,
/// and everything that walks the tree may recurse this far.
pub const MAX_DEPTH: usize = 64;

/// Mistakes told of one text. After so many nobody reads on; the text is probably no
/// configuration at all, and showing a place costs as much as the text is long.
pub const MAX_MISTAKES: usize = 50;

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Mistake {
    /// A directive that goes on in the next line.
    #[error("unexpected end of line, a `;` or `{{` is missing")]
    EndOfLine,
    /// The text ends within a directive.
    #[error("unexpected end of file, a `;` or `{{` is missing")]
    EndOfFile,
    /// The text ends within a block.
    #[error("unexpected end of file, this block has no closing `}}`")]
    OpenBlock,
    /// A quote that nothing closes on its line.
    #[error("the quote is not closed on its line")]
    OpenQuote,
    /// Something directly behind a closing quote.
    #[error("after a closing quote only a space, `;` or `{{` may follow")]
    AfterQuote,
    /// A semicolon or opening brace without a name before it.
    #[error("unexpected `{0}`, a name is missing before it")]
    NoName(char),
    /// A closing brace without a block.
    #[error("unexpected `}}`, no block is open")]
    NoBlock,
    /// A closing brace within a directive.
    #[error("unexpected `}}`, a `;` is missing before it")]
    NoSemicolon,
    /// More than [`MAX_DEPTH`] blocks in one another.
    #[error("blocks are nested deeper than {MAX_DEPTH}")]
    TooDeep,
}

/// A [`Mistake`] and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{mistake}")]
pub struct SyntaxError {
    /// What is wrong.
    pub mistake: Mistake,
    /// Where.
    pub span: Span,
}

/// A text into its tree. After a mistake reading goes on in the next line, so that all of them
/// are told; the tree is only given when there is none. Takes time and memory linear in the
/// text, and does not recurse.
///
/// # Errors
/// The mistakes found, in the order of the text, at least one and at most [`MAX_MISTAKES`].
pub fn parse(text: &str, file: FileId) -> Result<Vec<Node>, Vec<SyntaxError>> {
    let mut parser = Parser {
        cursor: Cursor { rest: text.chars(), peeked: None, line: 1, column: 1, file },
        open: Vec::new(),
        nodes: Vec::new(),
        words: Vec::new(),
        started: None,
        errors: Vec::new(),
    };
    parser.run();
    if parser.errors.is_empty() { Ok(parser.nodes) } else { Err(parser.errors) }
}

struct Cursor<'a> {
    rest: std::str::Chars<'a>,
    peeked: Option<char>,
    line: u32,
    column: u32,
    file: FileId,
}

impl Cursor<'_> {
    fn peek(&mut self) -> Option<char> {
        if self.peeked.is_none() {
            self.peeked = self.rest.next();
        }
        self.peeked
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.peeked = None;
        if c == '\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
        Some(c)
    }

    fn here(&self) -> Span {
        Span { file: self.file, line: self.line, column: self.column, len: 1 }
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.bump();
        }
    }
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    /// Blocks being read, each with the nodes found before it at its level.
    open: Vec<(Node, Vec<Node>)>,
    /// Nodes of the level being read.
    nodes: Vec<Node>,
    /// Words of the directive being read.
    words: Vec<Arg>,
    /// Where that directive began: a quoted nothing is a start, too, but no word.
    started: Option<Span>,
    errors: Vec<SyntaxError>,
}

impl Parser<'_> {
    fn run(&mut self) {
        while let Some(c) = self.cursor.peek() {
            if self.errors.len() >= MAX_MISTAKES {
                return;
            }
            let here = self.cursor.here();
            match c {
                '\n' => {
                    self.cursor.bump();
                    if self.started.is_some() {
                        self.fail(Mistake::EndOfLine, here);
                    }
                }
                ' ' | '\t' | '\r' => {
                    self.cursor.bump();
                }
                '#' => self.cursor.skip_line(),
                ';' => {
                    self.cursor.bump();
                    self.end_line(here);
                }
                '{' => {
                    self.cursor.bump();
                    self.open_block(here);
                }
                '}' => {
                    self.cursor.bump();
                    self.close_block(here);
                }
                '"' | '\'' => self.quoted(c, here),
                _ => self.bare(here),
            }
        }
        let here = self.cursor.here();
        if self.started.is_some() {
            self.fail(Mistake::EndOfFile, here);
        }
        let unclosed: Vec<Span> = self.open.iter().map(|(node, _)| node.span).collect();
        for span in unclosed {
            self.fail(Mistake::OpenBlock, span);
        }
    }

    /// Notes a mistake and drops the directive being read.
    fn fail(&mut self, mistake: Mistake, span: Span) {
        if self.errors.len() < MAX_MISTAKES {
            self.errors.push(SyntaxError { mistake, span });
        }
        self.words.clear();
        self.started = None;
    }

    fn bare(&mut self, start: Span) {
        let mut text = String::new();
        while let Some(c) = self.cursor.peek() {
            if matches!(c, ' ' | '\t' | '\r' | '\n' | ';' | '{') {
                break;
            }
            text.push(c);
            self.cursor.bump();
        }
        self.word(text, start);
    }

    fn quoted(&mut self, quote: char, start: Span) {
        self.cursor.bump();
        let mut text = String::new();
        loop {
            match self.cursor.peek() {
                None | Some('\n') => return self.fail(Mistake::OpenQuote, start),
                Some(c) if c == quote => break,
                Some(c) => text.push(c),
            }
            self.cursor.bump();
        }
        self.cursor.bump();
        let here = self.cursor.here();
        match self.cursor.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | ';' | '{') => self.word(text, start),
            Some(_) => {
                self.fail(Mistake::AfterQuote, here);
                self.cursor.skip_line();
            }
        }
    }

    fn word(&mut self, text: String, start: Span) {
        let len = self.cursor.column.saturating_sub(start.column);
        let span = Span { len, ..start };
        self.started.get_or_insert(span);
        // An empty pair of quotes yields no argument.
        if !text.is_empty() {
            self.words.push(Arg { text, span });
        }
    }

    /// The directive whose words were read, or a note that it has no name.
    fn directive(&mut self, end: char, here: Span) -> Option<Node> {
        self.started = None;
        let mut words = std::mem::take(&mut self.words).into_iter();
        let Some(name) = words.next() else {
            self.fail(Mistake::NoName(end), here);
            return None;
        };
        Some(Node { name: name.text, args: words.collect(), children: None, span: name.span })
    }

    fn end_line(&mut self, here: Span) {
        if let Some(node) = self.directive(';', here) {
            self.nodes.push(node);
        }
    }

    fn open_block(&mut self, here: Span) {
        // A nameless block is entered all the same, so that its end fits.
        let node = self.directive('{', here);
        let node = node.unwrap_or_else(|| Node { span: here, ..Node::block("", &[]) });
        if self.open.len() >= MAX_DEPTH {
            // Nothing that follows can be told apart any more.
            self.fail(Mistake::TooDeep, here);
            self.open.clear();
            while self.cursor.bump().is_some() {}
            return;
        }
        self.open.push((node, std::mem::take(&mut self.nodes)));
    }

    fn close_block(&mut self, here: Span) {
        if self.started.is_some() {
            self.fail(Mistake::NoSemicolon, here);
        }
        match self.open.pop() {
            None => self.fail(Mistake::NoBlock, here),
            Some((mut node, before)) => {
                node.children = Some(std::mem::replace(&mut self.nodes, before));
                self.nodes.push(node);
            }
        }
    }
}
