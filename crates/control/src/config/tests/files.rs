use std::path::{Path, PathBuf};

use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every `.conf` file in a directory of the repository, named from its root.
fn samples(below: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(root().join(below))
        .unwrap()
        .map(|entry| Path::new(below).join(entry.unwrap().file_name()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "conf"))
        .collect();
    found.sort();
    found
}

/// Reads from the repository's root, as `include` in a sample expects.
struct Repository;

impl FileLoader for Repository {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(root().join(path))
    }
}

fn load_file(path: &Path) -> Result<Loaded, Vec<Diagnostic>> {
    let mut request = request(Some(path.to_str().unwrap()), &[("CANDIDATE", "192.0.2.7")]);
    request.facts = Facts { open_files: Some(1 << 20), local_addresses: Some(2) };
    load(request, &Repository)
}

#[test]
fn an_included_file_counts_as_if_it_stood_there() {
    let shelf = Shelf::of(&[
        ("x.conf", "include a b;\nvhost v { include hls; }\n"),
        ("a", "listen 1;\n"),
        ("b", "daemon off;\n"),
        ("hls", "hls { enabled on; }\n"),
    ]);
    let (config, said) = load(request(Some("x.conf"), &[]), &shelf).unwrap();
    assert_eq!(said, []);
    assert!(config.vhost("v").unwrap().bool("hls.enabled"));
    assert!(!config.root().bool("daemon"));
    let gate::conf::Origin::File(span) = config.root().origin("daemon") else { panic!() };
    assert_eq!(config.file_name(span.file), "b");
}

#[test]
fn a_file_that_is_missing_is_told_where_it_was_asked_for() {
    let shelf = Shelf::of(&[("x.conf", "listen 1;\ninclude gone;\n")]);
    let list = load(request(Some("x.conf"), &[]), &shelf).unwrap_err();
    assert_eq!(
        list[0].to_string(),
        "x.conf:2:9: error: cannot read `gone`: entity not found\n 2 | include gone;\n   |         ^^^^"
    );
    assert_eq!(exit_status(&list), 18);
    let list = load(request(Some("gone"), &[]), &shelf).unwrap_err();
    assert_eq!(exit_status(&list), 255);
    assert_eq!(exit_status(&[]), 0);
    assert_eq!(list[0].to_string(), "gone: error: cannot read `gone`: entity not found");
}

#[test]
fn files_that_include_each_other_are_refused() {
    let shelf = Shelf::of(&[("a", "include b;"), ("b", "vhost v { include a; }")]);
    let list = load(request(Some("a"), &[]), &shelf).unwrap_err();
    assert_eq!(list[0].message, "`a` includes itself");
}

#[test]
fn includes_and_blocks_together_nest_no_deeper_than_blocks_alone() {
    let open = "a {".repeat(40);
    let close = "}".repeat(40);
    let file = |next: &str| format!("{open}{next}{close}");
    let shelf = Shelf::of(&[("1", &file("include 2;")), ("2", &file("include 3;")), ("3", "b;")]);
    let list = load(request(Some("1"), &[]), &shelf).unwrap_err();
    assert_eq!(list[0].message, "blocks are nested deeper than 64");
}

#[test]
fn a_chain_of_includes_ends_somewhere() {
    let files: Vec<(String, String)> =
        (0..40).map(|n| (format!("f{n}"), format!("include f{};", n + 1))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let list = load(request(Some("f0"), &[]), &Shelf::of(&files)).unwrap_err();
    assert_eq!(list[0].message, "includes are nested deeper than 16");
}

#[test]
fn an_empty_file_is_refused() {
    let list = bad("# nothing\n");
    assert_eq!(
        list[0].to_string().lines().next(),
        Some("x.conf: error: the configuration is empty")
    );
}

#[test]
fn a_mark_at_the_beginning_and_comments_in_other_encodings_do_no_harm() {
    let mut shelf = Shelf::default();
    let bytes = b"\xef\xbb\xbflisten 1935; # \xd6\xd0\xce\xc4\ndaemon off;\n".to_vec();
    shelf.0.insert("x.conf".to_owned(), bytes);
    let (config, said) = load(request(Some("x.conf"), &[]), &shelf).unwrap();
    assert_eq!(said, []);
    assert!(!config.root().bool("daemon"));
}

#[test]
fn the_samples_load() {
    let mut files = samples("conf");
    files.extend(samples("conf/package"));
    assert!(files.len() >= 10, "{files:?}");
    for path in files {
        if let Err(list) = load_file(&path) {
            panic!("{}", shown(&list));
        }
    }
}

#[test]
fn samples_of_what_works_have_nothing_to_be_told_about_them() {
    let planned = ["edge.conf", "forward.conf", "rtc.conf", "srt.conf"];
    for path in samples("conf").into_iter().chain(samples("conf/package")) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (_, said) = load_file(&path).unwrap();
        if planned.contains(&name.as_str()) {
            assert_eq!(warnings(&said).len(), 1, "{name}: {}", shown(&said));
            assert!(warnings(&said)[0].contains("this release does not have"));
        } else {
            assert_eq!(said, [], "{name}: {}", shown(&said));
        }
    }
}

/// Compares with a file of the repository, or writes it when `UPDATE_SAMPLES` is set.
fn in_step(path: &Path, text: &str) {
    let path = root().join(path);
    if std::env::var_os("UPDATE_SAMPLES").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{} is old: run the tests with UPDATE_SAMPLES=1", path.display());
}

#[test]
fn files_in_the_manner_of_every_release_load_and_are_commented_on_as_written_down() {
    let files = samples("crates/control/testdata/conf");
    assert!(files.len() >= 12, "{files:?}");
    for path in files {
        match load_file(&path) {
            Err(list) => panic!("{}", shown(&list)),
            Ok((_, said)) => {
                let mut told: String = said
                    .iter()
                    .map(|one| format!("{}: {}\n", one.severity, one.one_line()))
                    .collect();
                if told.is_empty() {
                    told.push_str("nothing\n");
                }
                in_step(&path.with_extension("told"), &told);
            }
        }
    }
}

#[test]
fn the_full_sample_is_in_step_with_the_table() {
    in_step(Path::new("conf/full.conf"), &full_sample(&directives::table(&[])));
}

#[test]
fn the_full_sample_says_nothing_but_defaults() {
    let (config, _) = load_file(Path::new("conf/full.conf")).unwrap();
    let nodes = vec![Node::line("listen", &["1935"]), Node::block("vhost", &["__defaultVhost__"])];
    let plain = Config::new(Arc::clone(config.table()), nodes, BTreeMap::new(), Vec::new());
    assert_eq!(gate::conf::diff(&plain, &config), []);
    let vhost = config.vhost("__defaultVhost__").unwrap();
    for row in config.table().rows() {
        let shown = row.status == gate::conf::Status::Works
            && matches!(row.default, gate::conf::Fallback::Text(_));
        let set = match row.path.strip_prefix("vhost.") {
            Some(path) => vhost.is_set(path),
            None => config.root().is_set(row.path),
        };
        assert!(set || !shown, "{}", row.path);
    }
}
