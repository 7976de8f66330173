use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;

const ROWS: &[Directive] = &[
    Directive::new("listen", Kind::Listen),
    Directive::new("chunk_size", Kind::Int)
        .default("60000")
        .range(128.0, 65536.0)
        .lenient(Violation::Clamp)
        .env(&["SRS_VHOST_CHUNK_SIZE", "SRS_CHUNK_SIZE"]),
    Directive::new("daemon", Kind::Bool).default("on"),
    Directive::new("limits", Kind::Block),
    Directive::new("limits.message_size", Kind::Size).default("10m"),
    Directive::new("caster", Kind::Block).repeated(),
    Directive::new("caster.output", Kind::Str),
    Directive::new("vhost", Kind::Block).repeated(),
    Directive::new("vhost.enabled", Kind::Bool).default("on").no_env(),
    Directive::new("vhost.chunk_size", Kind::Int)
        .same_as("chunk_size")
        .range(128.0, 65536.0)
        .lenient(Violation::Clamp)
        .no_env(),
    Directive::new("vhost.play", Kind::Block),
    Directive::new("vhost.play.gop_cache", Kind::Bool).default("on"),
    Directive::new("vhost.play.queue_length", Kind::Seconds).default("30"),
    Directive::new("vhost.play.mw_latency", Kind::Millis).default("350"),
    Directive::new("vhost.play.time_jitter", Kind::Choice(&["full", "zero", "off"]))
        .default("full")
        .lenient(Violation::UseDefault),
    Directive::new("vhost.hls", Kind::Block),
    Directive::new("vhost.hls.hls_fragment", Kind::FloatSeconds).default("10"),
    Directive::new("vhost.hls.hls_path", Kind::Path).default("./www"),
    Directive::new("vhost.hls.hls_key_url", Kind::Str).same_as("vhost.hls.hls_path"),
    Directive::new("vhost.hooks", Kind::Block),
    Directive::new("vhost.hooks.on_play", Kind::List),
    Directive::new("vhost.security", Kind::Block),
    Directive::new("vhost.security.allow", Kind::Line).repeated().no_env(),
];

fn table() -> Arc<Table> {
    Arc::new(Table::new([ROWS]))
}

fn with(pairs: &[(&str, &str)]) -> Arc<Config> {
    Config::from_pairs(table(), pairs)
}

fn with_env(pairs: &[(&str, &str)], env: &[(&str, &str)]) -> Config {
    let env: BTreeMap<String, String> =
        env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::new(table(), with(pairs).nodes().to_vec(), env, Vec::new())
}

#[test]
fn a_value_that_nobody_wrote_is_the_default_of_the_table() {
    let config = with(&[]);
    let vhost = config.vhost("any").unwrap();
    assert_eq!(vhost.name(), DEFAULT_VHOST);
    assert!(vhost.bool("play.gop_cache"));
    assert_eq!(vhost.seconds("play.queue_length"), Duration::from_secs(30));
    assert_eq!(vhost.millis("play.mw_latency"), Duration::from_millis(350));
    assert_eq!(config.root().size("limits.message_size"), 10 << 20);
    assert!(config.root().list("listen").is_empty());
    assert_eq!(vhost.origin("play.gop_cache"), Origin::Default);
}

#[test]
fn a_flag_that_is_on_by_default_is_off_only_when_off_is_written() {
    for (text, on_by_default, off_by_default) in
        [("on", true, true), ("off", false, false), ("ON", true, false), ("false", true, false)]
    {
        let row = Directive::new("daemon", Kind::Bool);
        let rows: &'static [Directive] = vec![row.default("off")].leak();
        let off = Config::from_pairs(Arc::new(Table::new([rows])), &[("daemon", text)]);
        assert_eq!(off.root().bool("daemon"), off_by_default, "{text}");
        assert_eq!(with(&[("daemon", text)]).root().bool("daemon"), on_by_default, "{text}");
    }
}

#[test]
fn the_environment_beats_the_file_and_an_empty_variable_is_none() {
    let config = with_env(
        &[("vhost.play.gop_cache", "on"), ("vhost.hls.hls_fragment", "2.5")],
        &[("SRS_VHOST_PLAY_GOP_CACHE", "off"), ("SRS_VHOST_HLS_HLS_FRAGMENT", "")],
    );
    let vhost = config.vhost("").unwrap();
    assert!(!vhost.bool("play.gop_cache"));
    assert_eq!(vhost.seconds("hls.hls_fragment"), Duration::from_millis(2500));
    assert_eq!(
        vhost.origin("play.gop_cache"),
        Origin::Environment("SRS_VHOST_PLAY_GOP_CACHE".to_owned())
    );
}

#[test]
fn a_list_in_the_environment_is_split_at_spaces() {
    let config =
        with_env(&[], &[("SRS_LISTEN", "1935 [::1]:1936"), ("SRS_VHOST_HOOKS_ON_PLAY", "a b")]);
    let listen = config.root().listen("listen");
    assert_eq!(listen[0], Listen { ip: None, port: 1935 });
    assert_eq!(listen[1].to_string(), "[::1]:1936");
    assert_eq!(config.vhost("x").unwrap().list("hooks.on_play"), ["a", "b"]);
}

#[test]
fn a_virtual_host_inherits_what_its_row_says() {
    let config = with(&[("chunk_size", "4096"), ("vhost.hls.hls_path", "/tmp/x")]);
    let vhost = config.vhost("").unwrap();
    assert_eq!(vhost.int("chunk_size"), 4096);
    assert_eq!(vhost.str("hls.hls_key_url"), "/tmp/x");
    assert_eq!(vhost.section("hls").str("hls_key_url"), "/tmp/x");
}

#[test]
fn a_number_out_of_lenient_bounds_is_clamped_and_a_bad_word_is_the_default() {
    let config = with(&[("chunk_size", "7"), ("vhost.play.time_jitter", "sometimes")]);
    assert_eq!(config.root().int("chunk_size"), 128);
    let vhost = config.vhost("").unwrap();
    assert_eq!(vhost.int("chunk_size"), 128);
    assert_eq!(vhost.str("play.time_jitter"), "full");
    assert_eq!(with(&[("chunk_size", "many")]).root().int("chunk_size"), 60000);
}

#[test]
fn an_exact_name_beats_the_default_host_and_a_switched_off_host_serves_nobody() {
    let mut nodes = with(&[]).nodes().to_vec();
    let mut a = Node::block("vhost", &["a"]);
    a.children.as_mut().unwrap().push(Node::line("enabled", &["off"]));
    let b = Node::block("vhost", &["b"]);
    nodes.extend([a, b.clone(), b]);
    let config = Config::new(table(), nodes, BTreeMap::new(), Vec::new());
    assert!(config.vhost("a").is_none());
    assert_eq!(config.vhost("b").unwrap().name(), "b");
    assert_eq!(config.vhost("B").unwrap().name(), DEFAULT_VHOST);
    let names: Vec<_> = config.vhosts().iter().map(|v| v.name()).collect();
    assert_eq!(names, [DEFAULT_VHOST, "a", "b"]);
    let none = Config::new(table(), Vec::new(), BTreeMap::new(), Vec::new());
    assert!(none.vhost("a").is_none());
}

#[test]
fn a_repeated_block_is_seen_as_often_as_it_stands_there_and_others_once() {
    let mut caster = Node::block("caster", &["one"]);
    caster.children.as_mut().unwrap().push(Node::line("output", &["x"]));
    let nodes = vec![caster, Node::block("caster", &["two"])];
    let config = Config::new(table(), nodes, BTreeMap::new(), Vec::new());
    let casters = config.root().blocks("caster");
    assert_eq!(casters.iter().map(Section::label).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(casters[0].str("output"), "x");
    assert_eq!(casters[1].str("output"), "");
    assert!(config.root().blocks("limits").is_empty());
}

#[test]
#[should_panic(expected = "no directive vhost.play.gop_cach")]
fn asking_for_what_is_in_no_table_fails_while_debugging() {
    with(&[]).vhost("").unwrap().bool("play.gop_cach");
}

#[test]
fn comparing_finds_values_and_hosts_and_not_the_way_they_are_written() {
    let old = with(&[("vhost.play.gop_cache", "on"), ("listen", "1935")]);
    let same = with(&[("listen", "1935")]);
    assert_eq!(diff(&old, &same), []);
    let new = with(&[("vhost.play.gop_cache", "off"), ("listen", "1935 1936")]);
    let changes = diff(&old, &new);
    assert_eq!(
        changes.iter().map(|c| c.path).collect::<Vec<_>>(),
        ["listen", "vhost.play.gop_cache"]
    );
    assert_eq!(changes[1].vhost.as_deref(), Some(DEFAULT_VHOST));
    assert!(changes[1].is_in("vhost.play") && !changes[1].is_in("vhost.pl"));
    let empty = Config::new(table(), Vec::new(), BTreeMap::new(), Vec::new());
    assert_eq!(diff(&same, &empty).last().unwrap().kind, ChangeKind::Removed);
    assert_eq!(diff(&empty, &same).last().unwrap().kind, ChangeKind::Added);
}

#[test]
fn repeated_lines_are_compared_as_they_stand() {
    let old = with(&[("vhost.security.allow", "publish all")]);
    let new = with(&[("vhost.security.allow", "publish"), ("vhost.security.allow", "all")]);
    assert_eq!(diff(&old, &new)[0].path, "vhost.security.allow");
    assert_eq!(new.vhost("").unwrap().lines("security.allow"), [["publish"], ["all"]]);
}

#[test]
fn addresses_to_listen_at_are_read_and_bad_ones_told() {
    for good in ["1935", "127.0.0.1:1935", "[::1]:1935", "[::]:1"] {
        assert_eq!(good.parse::<Listen>().unwrap().to_string(), good);
    }
    for bad in
        ["", "0", "65536", "x", "::1:1935", "[::1]", "1.2.3:80", "host:1935", "+80", "[1.2.3.4]:1"]
    {
        assert!(bad.parse::<Listen>().is_err(), "{bad}");
    }
}

#[test]
fn numbers_are_checked_for_form_and_bounds() {
    let row = |kind| Directive::new("x", kind);
    assert!(check(&row(Kind::Int), "12").is_ok());
    assert!(!check(&row(Kind::Int), "1.5").unwrap_err().refuses(&row(Kind::Int)));
    assert!(check(&row(Kind::Int), "nan").unwrap_err().refuses(&row(Kind::Int)));
    assert!(check(&row(Kind::Seconds), "9.9").is_ok());
    assert!(check(&row(Kind::Millis), "-1").is_err());
    assert!(check(&row(Kind::Size), "64k").is_ok());
    assert!(check(&row(Kind::Size), "99999999999999999999m").is_err());
    let strict = row(Kind::Int).range(1.0, 2.0);
    assert!(check(&strict, "3").unwrap_err().refuses(&strict));
    let lenient = strict.lenient(Violation::Clamp);
    assert!(!check(&lenient, "3").unwrap_err().refuses(&lenient));
}

#[test]
fn printing_quotes_what_the_grammar_would_split() {
    let mut block = Node::block("a", &["b c", "d\"e", "#f", "{"]);
    block.children.as_mut().unwrap().push(Node::line("g", &["'h i\"".trim_start_matches('\'')]));
    assert_eq!(print(&[block]), "a \"b c\" d\"e \"#f\" \"{\" {\n    g 'h i\"';\n}\n");
}
