//! Spellings of older releases, rewritten to today's.
//!
//! Everything after this step sees one spelling only. Where old and new stand together the new
//! one counts, because what is rewritten goes behind it and the first of a name counts.

use gate::conf::{Arg, Node, Span};

use super::diagnostic::{Report, Severity};

/// Directives that once stood directly in a virtual host and now stand in `play`.
const MOVED_TO_PLAY: &[&str] = &[
    "time_jitter",
    "mix_correct",
    "atc",
    "atc_auto",
    "mw_latency",
    "gop_cache",
    "gop_cache_max_frames",
    "queue_length",
    "send_min_interval",
    "reduce_sequence_header",
];

/// The same for `cluster`.
const MOVED_TO_CLUSTER: &[&str] =
    &["mode", "origin", "token_traverse", "vhost", "debug_srs_upnode"];

/// Directives that mean nothing any more, by the path of their block.
const DROPPED: &[(&str, &[&str])] = &[
    ("rtc_server", &["perf_stat", "queue_length", "gso", "sendmmsg", "padding"]),
    (
        "stream_caster",
        &[
            "tcp_enable",
            "rtp_port_min",
            "rtp_port_max",
            "wait_keyframe",
            "rtp_idle_timeout",
            "audio_enable",
            "auto_create_channel",
        ],
    ),
    (
        "stream_caster.sip",
        &[
            "serial",
            "realm",
            "ack_timeout",
            "keepalive_timeout",
            "invite_port_fixed",
            "query_catalog_interval",
            "auto_play",
        ],
    ),
    ("vhost.http_remux", &["hstrs"]),
];

/// What else is rewritten, where no rule of a kind covers it.
const REWRITTEN: &[(&str, &str)] = &[
    ("http_stream", "http_server"),
    ("srt_server.tlpkdrop", "srt_server.tlpktdrop"),
    ("stream_caster.host", "stream_caster.sip.candidate"),
    ("vhost.http", "vhost.http_static"),
    ("vhost.refer_play", "vhost.refer.play"),
    ("vhost.refer_publish", "vhost.refer.publish"),
    ("vhost.mr", "vhost.publish.mr"),
    ("vhost.mr.enabled", "vhost.publish.mr"),
    ("vhost.mr.latency", "vhost.publish.mr_latency"),
    ("vhost.publish_1stpkt_timeout", "vhost.publish.firstpkt_timeout"),
    ("vhost.publish_normal_timeout", "vhost.publish.normal_timeout"),
    ("vhost.nack", "vhost.rtc.nack"),
    ("vhost.nack.enabled", "vhost.rtc.nack"),
    ("vhost.nack.no_copy", "vhost.rtc.nack_no_copy"),
    ("vhost.twcc", "vhost.rtc.twcc"),
    ("vhost.twcc.enabled", "vhost.rtc.twcc"),
    ("vhost.rtc.aac", "vhost.rtc.rtmp_to_rtc"),
    ("vhost.rtc.bframe", "vhost.rtc.keep_bframe"),
];

/// Every old spelling by its path, with the path that it is read as; none where it means nothing
/// any more. For the documentation.
pub(super) fn spellings() -> Vec<(String, Option<String>)> {
    let one = |(from, to): &(&str, &str)| ((*from).to_owned(), Some((*to).to_owned()));
    let moved = |names: &'static [&'static str], block: &'static str| {
        names.iter().map(move |n| (format!("vhost.{n}"), Some(format!("vhost.{block}.{n}"))))
    };
    let dropped = DROPPED
        .iter()
        .flat_map(|(block, names)| names.iter().map(move |name| (format!("{block}.{name}"), None)));
    REWRITTEN
        .iter()
        .map(one)
        .chain(moved(MOVED_TO_PLAY, "play"))
        .chain(moved(MOVED_TO_CLUSTER, "cluster"))
        .chain([("pithy_print".to_owned(), None)])
        .chain(dropped)
        .collect()
}

/// Rewrites a whole tree, with a warning for each old spelling.
pub(super) fn rewrite(nodes: &mut Vec<Node>, report: &mut Report) {
    let mut old = Old { report };
    // SRS 7 also takes these in a block of their own; both spellings are of today.
    for block in take(nodes, "rtmp", Node::is_block) {
        nodes.extend(block.children.unwrap_or_default());
    }
    old.rename(nodes, "http_stream", "http_server");
    for node in take(nodes, "pithy_print", Node::is_block) {
        old.warn(node.span, "`pithy_print { }` means nothing any more, use `pithy_print_ms`");
    }
    for node in nodes.iter_mut() {
        let block = node.name.clone();
        let Some(children) = node.children.as_mut() else { continue };
        match block.as_str() {
            "vhost" => vhost(children, &mut old),
            "srt_server" => old.rename(children, "tlpkdrop", "tlpktdrop"),
            "stream_caster" => caster(children, &mut old),
            "rtc_server" => old.drop(children, "rtc_server"),
            _ => {}
        }
    }
}

fn caster(children: &mut Vec<Node>, old: &mut Old<'_>) {
    old.drop(children, "stream_caster");
    for host in take(children, "host", Node::is_line) {
        old.moved(&host, "sip { candidate ...; }");
        put(children, "sip", Node { name: "candidate".to_owned(), ..host });
    }
    for sip in children.iter_mut().filter(|node| node.name == "sip") {
        if let Some(children) = sip.children.as_mut() {
            old.drop(children, "stream_caster.sip");
        }
    }
}

fn vhost(children: &mut Vec<Node>, old: &mut Old<'_>) {
    old.rename(children, "http", "http_static");
    refer(children, old);
    publish(children, old);
    for name in MOVED_TO_PLAY {
        old.move_line(children, name, "play", name);
    }
    for name in MOVED_TO_CLUSTER {
        old.move_line(children, name, "cluster", name);
    }
    for forward in children.iter_mut().filter(|n| n.name == "forward" && n.is_line()) {
        old.moved(forward, "forward { enabled on; destination ...; }");
        let args = std::mem::take(&mut forward.args);
        let destination = line("destination", args, forward.span);
        forward.children = Some(vec![word("enabled", "on", forward.span), destination]);
    }
    rtc(children, old);
    for block in children.iter_mut() {
        let name = block.name.clone();
        let Some(children) = block.children.as_mut() else { continue };
        match name.as_str() {
            "http_remux" => old.drop(children, "vhost.http_remux"),
            "hls" => {
                old.value(children, "hls_storage", "hls_storage", &[("ram", "memory")]);
            }
            "rtc" => {
                let kept = &[("transcode", "on"), ("discard", "off")];
                old.value(children, "aac", "rtmp_to_rtc", kept);
                let kept = &[("keep", "on"), ("discard", "off")];
                old.value(children, "bframe", "keep_bframe", kept);
            }
            _ => {}
        }
    }
}

fn refer(children: &mut Vec<Node>, old: &mut Old<'_>) {
    for (from, to) in [("refer", "all"), ("refer_play", "play"), ("refer_publish", "publish")] {
        for node in take(children, from, Node::is_line) {
            old.moved(&node, &format!("refer {{ enabled on; {to} ...; }}"));
            let enabled = word("enabled", "on", node.span);
            let known = children.iter().any(|n| {
                n.name == "refer" && n.nodes().iter().any(|child| child.name == "enabled")
            });
            if !known {
                put(children, "refer", enabled);
            }
            put(children, "refer", Node { name: to.to_owned(), ..node });
        }
    }
}

fn publish(children: &mut Vec<Node>, old: &mut Old<'_>) {
    for node in take(children, "mr", Node::is_block) {
        old.moved(&node, "publish { mr ...; mr_latency ...; }");
        for child in node.children.unwrap_or_default() {
            let name = match child.name.as_str() {
                "enabled" => "mr".to_owned(),
                "latency" => "mr_latency".to_owned(),
                _ => child.name.clone(),
            };
            put(children, "publish", Node { name, ..child });
        }
    }
    old.move_line(children, "publish_1stpkt_timeout", "publish", "firstpkt_timeout");
    old.move_line(children, "publish_normal_timeout", "publish", "normal_timeout");
}

fn rtc(children: &mut Vec<Node>, old: &mut Old<'_>) {
    for (block, names) in [
        ("nack", &[("enabled", "nack"), ("no_copy", "nack_no_copy")][..]),
        ("twcc", &[("enabled", "twcc")][..]),
    ] {
        for node in take(children, block, Node::is_block) {
            old.moved(&node, &format!("rtc {{ {block} ...; }}"));
            for child in node.children.unwrap_or_default() {
                let new = names.iter().find(|(name, _)| *name == child.name);
                let name = new.map_or(child.name.clone(), |(_, new)| (*new).to_owned());
                put(children, "rtc", Node { name, ..child });
            }
        }
    }
}

struct Old<'a> {
    report: &'a mut Report,
}

impl Old<'_> {
    fn warn(&mut self, span: Span, message: impl Into<String>) {
        self.report.at(Severity::Warning, span, message);
    }

    fn moved(&mut self, node: &Node, to: &str) {
        self.warn(node.span, format!("`{}` is an old spelling, read as `{to}`", node.name));
    }

    fn rename(&mut self, nodes: &mut [Node], from: &str, to: &str) {
        for node in nodes.iter_mut().filter(|node| node.name == from) {
            self.moved(node, to);
            to.clone_into(&mut node.name);
        }
    }

    /// Moves lines of a virtual host into a block of it.
    fn move_line(&mut self, nodes: &mut Vec<Node>, from: &str, block: &str, to: &str) {
        for node in take(nodes, from, Node::is_line) {
            self.moved(&node, &format!("{block} {{ {to} ...; }}"));
            put(nodes, block, Node { name: to.to_owned(), ..node });
        }
    }

    /// Renames a directive and its words.
    fn value(&mut self, nodes: &mut [Node], from: &str, to: &str, words: &[(&str, &str)]) {
        for node in nodes.iter_mut().filter(|node| node.name == from) {
            let word = words.iter().find(|(word, _)| *word == node.first_arg());
            if from == to && word.is_none() {
                continue;
            }
            let new = word.map_or(node.first_arg(), |(_, new)| new).to_owned();
            let message =
                format!("`{from} {}` is an old spelling, read as `{to} {new}`", node.first_arg());
            self.warn(node.span, message);
            to.clone_into(&mut node.name);
            if let Some(arg) = node.args.first_mut() {
                arg.text = new;
            }
        }
    }

    fn drop(&mut self, nodes: &mut Vec<Node>, block: &str) {
        let names = DROPPED.iter().find(|(path, _)| *path == block).map_or(&[][..], |(_, n)| n);
        for name in names {
            for node in take(nodes, name, |_| true) {
                self.warn(node.span, format!("`{block}.{name}` means nothing any more"));
            }
        }
    }
}

trait Form {
    fn is_block(&self) -> bool;
    fn is_line(&self) -> bool;
}

impl Form for Node {
    fn is_block(&self) -> bool {
        self.children.is_some()
    }

    fn is_line(&self) -> bool {
        self.children.is_none()
    }
}

/// Takes out every node of a name and form.
fn take(nodes: &mut Vec<Node>, name: &str, form: impl Fn(&Node) -> bool) -> Vec<Node> {
    nodes.extract_if(.., |node| node.name == name && form(node)).collect()
}

/// Puts a node into a block, behind what stands there; makes the block if there is none.
fn put(nodes: &mut Vec<Node>, block: &str, node: Node) {
    let at = nodes.iter().position(|n| n.name == block && n.is_block()).unwrap_or_else(|| {
        nodes.push(Node { span: node.span, ..Node::block(block, &[]) });
        nodes.len().saturating_sub(1)
    });
    if let Some(block) = nodes.get_mut(at) {
        block.children.get_or_insert_with(Vec::new).push(node);
    }
}

fn word(name: &str, text: &str, span: Span) -> Node {
    line(name, vec![Arg { text: text.to_owned(), span }], span)
}

fn line(name: &str, args: Vec<Arg>, span: Span) -> Node {
    Node { name: name.to_owned(), args, children: None, span }
}
