//! Which words of a configuration are secrets, so that no diagnostic shows them.

use gate::conf::{Node, Span, Table};

/// What a key may be for.
pub(super) const WAYS: &[&str] = &["publish", "play", "all"];

/// Where the secrets of a tree stand: no diagnostic shows them. Told too much rather than too
/// little: in `auth` every word of a directive that nobody knows may be a slip of one.
pub(crate) fn hide(table: &Table, tree: &[Node]) -> Vec<Span> {
    let mut spans = Vec::new();
    let vhosts = tree.iter().filter(|node| node.name == "vhost");
    for auth in vhosts.flat_map(Node::nodes).filter(|node| node.name == "auth") {
        hide_in(table, "vhost.auth", auth.nodes(), &mut spans);
    }
    spans
}

/// Recurses as deep as the tree, which the parser bounds.
fn hide_in(table: &Table, path: &str, nodes: &[Node], spans: &mut Vec<Span>) {
    for node in nodes {
        let full = format!("{path}.{}", node.name);
        if table.get(&full).is_none_or(|row| row.secret) {
            let shown = match (full.as_str(), node.args.as_slice()) {
                ("vhost.auth.key", [direction, ..]) => is_way(&direction.text),
                ("vhost.auth.sign.secret", [_, _]) => true,
                _ => false,
            };
            spans.extend(node.args.iter().skip(usize::from(shown)).map(|arg| arg.span));
        }
        hide_in(table, &full, node.nodes(), spans);
    }
}

/// Whether a word is, or was meant to be, the direction of a key.
pub(super) fn is_way(word: &str) -> bool {
    crate::config::nearest(word, WAYS.iter().copied()).is_some()
}
