use gate::conf::{FileId, Node, print};
use proptest::prelude::*;

use super::super::grammar::{MAX_DEPTH, Mistake, parse};

fn tree(text: &str) -> Vec<Node> {
    parse(text, FileId(0)).unwrap()
}

fn mistakes(text: &str) -> Vec<(Mistake, u32, u32)> {
    parse(text, FileId(0))
        .unwrap_err()
        .into_iter()
        .map(|error| (error.mistake, error.span.line, error.span.column))
        .collect()
}

fn args(node: &Node) -> Vec<&str> {
    node.args.iter().map(|arg| arg.text.as_str()).collect()
}

#[test]
fn a_directive_is_a_name_and_words_up_to_a_semicolon() {
    let nodes = tree("listen 1935 [::]:1936;daemon\toff ;\r\n");
    assert_eq!(nodes[0].name, "listen");
    assert_eq!(args(&nodes[0]), ["1935", "[::]:1936"]);
    assert_eq!(args(&nodes[1]), ["off"]);
    assert!(nodes[0].children.is_none());
}

#[test]
fn a_block_may_have_words_may_be_empty_and_may_hold_blocks() {
    let nodes = tree("vhost a {\n}\nvhost b{ hls { enabled on; } }");
    assert_eq!(nodes[0].nodes(), []);
    assert!(nodes[0].children.is_some());
    assert_eq!(args(&nodes[1]), ["b"]);
    assert_eq!(nodes[1].child("hls").unwrap().child("enabled").unwrap().first_arg(), "on");
}

#[test]
fn a_hash_opens_a_comment_only_where_a_word_could_begin() {
    let nodes = tree("# one; {\npid a#b; # two }\n#three");
    assert_eq!(nodes.len(), 1);
    assert_eq!(args(&nodes[0]), ["a#b"]);
}

#[test]
fn quotes_hold_a_word_together_and_know_no_escapes() {
    let nodes = tree(r#"a "b c;{}#" 'd "e"' f'g "h\";"#);
    assert_eq!(args(&nodes[0]), ["b c;{}#", "d \"e\"", "f'g", "h\\"]);
    assert_eq!(args(&tree("'a b' c;")[0]), ["c"]);
}

#[test]
fn an_empty_pair_of_quotes_is_no_word() {
    assert_eq!(args(&tree("a '' \"\";")[0]), [] as [&str; 0]);
    assert_eq!(mistakes("'';"), [(Mistake::NoName(';'), 1, 3)]);
}

#[test]
fn a_directive_must_end_on_its_line() {
    assert_eq!(mistakes("listen\n1935;"), [(Mistake::EndOfLine, 1, 7)]);
    assert_eq!(
        mistakes("vhost a\n{\n}"),
        [(Mistake::EndOfLine, 1, 8), (Mistake::NoName('{'), 2, 1),]
    );
    assert_eq!(mistakes("listen 1935"), [(Mistake::EndOfFile, 1, 12)]);
    assert_eq!(mistakes("listen 1935 # x\n"), [(Mistake::EndOfLine, 1, 16)]);
}

#[test]
fn braces_must_fit() {
    assert_eq!(mistakes("a {\nb {\n}"), [(Mistake::OpenBlock, 1, 1)]);
    let nameless = [(Mistake::NoName('{'), 2, 3), (Mistake::OpenBlock, 2, 3)];
    assert_eq!(mistakes("a;\n  { b;\n"), nameless);
    assert_eq!(mistakes("}\na;"), [(Mistake::NoBlock, 1, 1)]);
    assert_eq!(mistakes("a { b }"), [(Mistake::NoSemicolon, 1, 7)]);
    assert_eq!(mistakes(";"), [(Mistake::NoName(';'), 1, 1)]);
}

#[test]
fn quotes_must_be_closed_on_their_line_and_stand_alone() {
    assert_eq!(mistakes("a 'b\nc';")[0], (Mistake::OpenQuote, 1, 3));
    assert_eq!(mistakes("a 'b'c;"), [(Mistake::AfterQuote, 1, 6)]);
    assert_eq!(mistakes("a { 'b'}\n}"), [(Mistake::AfterQuote, 1, 8)]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    assert_eq!(mistakes("a\nb;\n;\nc 'd;\ne;").len(), 3);
}

#[test]
fn columns_count_characters_and_lines_count_line_feeds() {
    let nodes = tree("# 注释\r\n  名 '值 x' y;");
    assert_eq!((nodes[0].span.line, nodes[0].span.column, nodes[0].span.len), (2, 3, 1));
    let spans: Vec<_> = nodes[0].args.iter().map(|a| (a.span.column, a.span.len)).collect();
    assert_eq!(spans, [(5, 5), (11, 1)]);
}

#[test]
fn nesting_is_bounded() {
    let deep = |n: usize| format!("{}{}", "a {".repeat(n), "}".repeat(n));
    assert!(parse(&deep(MAX_DEPTH), FileId(0)).is_ok());
    let errors = parse(&deep(100_000), FileId(0)).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].mistake, Mistake::TooDeep);
}

fn same(a: &[Node], b: &[Node]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same_as(b))
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_]{1,8}", "[!-~]{1,6}", "[a-z \t#;{}']{1,6}", "[a-z \t#;{}\"]{1,6}"]
        .prop_filter("both kinds of quotes cannot be written", |w: &String| {
            !(w.contains('"') && w.contains('\''))
        })
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let line = (word(), prop::collection::vec(word(), 0..4)).prop_map(|(name, args)| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Node::line(&name, &args)
    });
    let any = line.prop_recursive(4, 24, 4, |inner| {
        (word(), prop::collection::vec(inner, 0..4)).prop_map(|(name, children)| Node {
            children: Some(children),
            ..Node::line(&name, &[])
        })
    });
    prop::collection::vec(any, 0..5)
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in "\\PC*") {
        let _ = parse(&text, FileId(0));
    }

    #[test]
    fn texts_of_the_grammars_own_signs_do_not_panic_either(text in "[a'\"#;{} \n\t\r]{0,80}") {
        if let Ok(nodes) = parse(&text, FileId(0)) {
            prop_assert!(same(&tree(&print(&nodes)), &nodes));
        }
    }

    #[test]
    fn a_printed_tree_is_read_as_the_same_tree(nodes in nodes()) {
        let printed = print(&nodes);
        let read = parse(&printed, FileId(0));
        prop_assert!(read.is_ok(), "{printed}");
        prop_assert!(same(&read.unwrap(), &nodes), "{printed}");
    }
}
