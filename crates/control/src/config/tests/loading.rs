use std::time::Duration;

use gate::conf::{Listen, Origin, diff};
use proptest::prelude::*;

use super::*;

fn errors(list: &[Diagnostic]) -> Vec<&str> {
    list.iter()
        .filter(|one| one.severity == Severity::Error)
        .map(|one| one.message.as_str())
        .collect()
}

#[test]
fn without_a_file_everything_that_needs_no_decision_is_on() {
    let (config, said) = load(request(None, &[]), &Shelf::default()).unwrap();
    assert_eq!(said, []);
    let root = config.root();
    assert_eq!(root.listen("listen"), [Listen { ip: None, port: 1935 }]);
    assert!(root.bool("http_api.enabled") && root.bool("http_server.enabled"));
    assert!(!root.bool("daemon"));
    assert_eq!(root.str("srs_log_tank"), "console");
    let vhost = config.vhost("anything").unwrap();
    assert_eq!(vhost.str("hls.hls_storage"), "memory");
    assert_eq!(vhost.seconds("hls.hls_fragment"), Duration::from_secs(2));
    assert_eq!(vhost.list("http_remux.mount").len(), 4);
}

#[test]
fn an_unknown_directive_is_shown_with_its_place_and_the_nearest_name() {
    let list = bad("listen 1935;\nvhost v {\n    play {\n\tgop_cach off;\n    }\n}\n");
    assert_eq!(
        shown(&list),
        "x.conf:4:2: error: unknown directive `gop_cach` in vhost.play\n \
         4 | \tgop_cach off;\n   \
         | \t^^^^^^^^\n   \
         = help: did you mean `gop_cache`?"
    );
}

#[test]
fn a_directive_in_the_wrong_block_is_sent_home() {
    let list = bad(&in_vhost("hls_fragment 3;"));
    assert_eq!(
        shown(&list),
        "x.conf:4:1: error: unknown directive `hls_fragment` in vhost\n \
         4 | hls_fragment 3;\n   \
         | ^^^^^^^^^^^^\n   \
         = help: `hls_fragment` belongs in `vhost.hls`"
    );
}

#[test]
fn all_faults_are_told_at_once() {
    let list = bad("listen 99999;\nmax_connections lots;\nlisen 1;\nvhost v { hls { x y; } }\n");
    assert_eq!(
        errors(&list),
        [
            "listen: `99999` has no port between 1 and 65535",
            "max_connections: `lots` is not a whole number",
            "unknown directive `lisen`",
            "unknown directive `x` in vhost.hls",
        ]
    );
}

#[test]
fn mistakes_of_grammar_are_all_told_and_nothing_else() {
    let list = bad("lisen 1935\ndaemon;;\n");
    assert_eq!(
        shown(&list),
        "x.conf:1:11: error: unexpected end of line, a `;` or `{` is missing\n \
         1 | lisen 1935\n   \
         |           ^\n\
         x.conf:2:8: error: unexpected `;`, a name is missing before it\n \
         2 | daemon;;\n   \
         |        ^"
    );
}

#[test]
fn a_value_that_srs_only_warns_about_is_only_warned_about() {
    let (config, said) = good("listen 1935; chunk_size 100; daemon maybe;\nsrs_log_level loud;\n");
    assert_eq!(
        warnings(&said),
        [
            "chunk_size: `100` is out of range, 128 to 65536 is allowed",
            "daemon: `maybe` is neither `on` nor `off`",
            "srs_log_level: `loud` is none of `verbose`, `debug`, `info`, `trace`, `warn`, `error`",
        ]
    );
    assert_eq!(config.root().int("chunk_size"), 128);
    assert!(config.root().bool("daemon"));
    assert_eq!(config.root().str("srs_log_level"), "trace");
    assert_eq!(said[0].help.as_deref(), Some("the nearest bound is used"));
    assert_eq!(said[1].help.as_deref(), Some("it counts as `on`"));
    assert_eq!(said[2].help.as_deref(), Some("the default `trace` is used"));
}

#[test]
fn a_program_that_is_not_named_is_told_with_its_place() {
    let (_, said) = good(&in_vhost(
        "exec { enabled on; publish;\n publish /bin/a b;\n play_done > x.log;\n play 2>&1; }",
    ));
    assert_eq!(
        warnings(&said),
        [
            "`publish` names no program, so nothing is run",
            "`play_done` names no program, so nothing is run",
            "`play` names no program, so nothing is run",
        ]
    );
    let places: Vec<String> = said.iter().map(|one| one.one_line()).collect();
    for (place, wanted) in places.iter().zip(["x.conf:4:20: ", "x.conf:6:2: ", "x.conf:7:2: "]) {
        assert!(place.starts_with(wanted), "{place}");
    }
}

#[test]
fn destinations_that_lead_nowhere_are_told() {
    for (text, wanted) in [
        ("", "`forward` is on, but nothing says where to"),
        ("destination a:b;", "`a:b` is no destination"),
        ("destination a rtmp:///live/s;", "`rtmp:///live/s` is no destination"),
        (
            "destination a; backend http://h/;",
            "`destination` is not looked at, since `backend` is asked",
        ),
        ("backend h:80;", "`backend` cannot be asked: the URL is neither http nor https"),
    ] {
        let (_, said) = good(&in_vhost(&format!("forward {{ enabled on; {text} }}")));
        assert_eq!(warnings(&said), [wanted], "{text}");
    }
    let fine = "destination a b:1935 [::1]:1936 rtmps://c rtmp://d/app/s?k=v;";
    let (_, said) = good(&in_vhost(&format!("forward {{ enabled on; {fine} }}")));
    assert_eq!(warnings(&said), [] as [&str; 0]);
}

#[test]
fn a_choice_of_ours_is_strict_and_suggests() {
    let list = bad(&in_vhost("publish { takeover stal; }"));
    assert!(shown(&list).ends_with("= help: did you mean `stale`?"), "{}", shown(&list));
}

#[test]
fn blocks_that_are_not_checked_take_anything() {
    let (_, said) = good(&format!(
        "threads {{ any thing; }}\ncircuit_breaker {{ x {{ y z; }} }}\ntencentcloud_cls {{ a b; }}\n\
         rtc_server {{ tcp {{ odd 1; }} black_hole {{ odd 1; }} }}\n\
         http_api {{ https {{ odd 1; }} }}\n{}",
        in_vhost(
            "hds { odd 1; }\ningest a { input { odd 1; } engine { odd 1; } }\n\
             transcode { engine e { perfile { re; } vfilter { i x; } vparams { g 1; } aparams { q 2; } } }"
        ),
    ));
    assert_eq!(warnings(&said), [] as [&str; 0]);
}

#[test]
fn of_two_the_first_counts_and_the_other_is_told() {
    let (config, said) = good(&format!(
        "chunk_size 4096; chunk_size 5000;\n{}vhost v {{ }}\n",
        in_vhost("hls { enabled on; }\nhls { enabled off; }")
    ));
    assert_eq!(
        warnings(&said),
        [
            "`chunk_size` stands here again, the first one counts",
            "`hls` stands here again, the first one counts",
            "`vhost v` stands here again, the first one counts",
        ]
    );
    assert_eq!(config.root().int("chunk_size"), 4096);
    assert!(config.vhost("v").unwrap().bool("hls.enabled"));
}

#[test]
fn what_may_repeat_repeats_in_silence() {
    let (config, said) = good(&format!(
        "stream_caster {{ enabled off; }}\nstream_caster {{ enabled off; }}\n{}",
        in_vhost(
            "exec { publish a; publish b; }\nsecurity { allow play all; deny play all; allow publish all; }\n\
             ingest a { }\ningest b { }\ntranscode { engine x { } engine y { } }\ntranscode live { }"
        )
    ));
    assert_eq!(said, []);
    let vhost = config.vhost("v").unwrap();
    assert_eq!(vhost.lines("exec.publish"), [["a"], ["b"]]);
    assert_eq!(vhost.section("security").lines("allow").len(), 2);
    assert_eq!(vhost.blocks("ingest").len(), 2);
    assert_eq!(vhost.blocks("transcode")[0].blocks("engine")[1].label(), "y");
    assert_eq!(config.root().blocks("stream_caster").len(), 2);
}

#[test]
fn a_planned_feature_that_is_switched_on_is_told_once() {
    let (_, said) = good(&format!(
        "srt_server {{ enabled on; listen 10080; }}\n{}",
        in_vhost(
            "srt { enabled on; srt_to_rtmp on; }\ncluster { mode remote; origin a; }\nhls { hls_keys on; }"
        )
    ));
    assert_eq!(
        warnings(&said),
        [
            "`srt_server.enabled`: this release does not have SRT",
            "`vhost.cluster.mode`: this release does not have clustering (edge and origin cluster)",
            "`vhost.hls.hls_keys`: this release does not have HLS encryption",
        ]
    );
}

#[test]
fn a_planned_feature_that_is_off_is_not_mentioned() {
    let (_, said) = good(&format!(
        "rtsp_server {{ enabled off; listen 8554; }}\nff_log_dir ./x;\n\
         circuit_breaker {{ enabled on; }}\nstream_caster {{ enabled off; sip {{ enabled on; }} }}\n{}",
        in_vhost(
            "dvr { dvr_plan segment; }\ncluster { mode local; debug_srs_upnode off; }\ntranscode { engine e { enabled on; } }"
        )
    ));
    assert_eq!(said, []);
}

#[test]
fn what_has_no_effect_is_noted_once() {
    let (_, said) = good(&format!(
        "tcmalloc_release_rate 0.9;\nthreads {{ interval 3; }}\n{}",
        in_vhost("bandcheck { enabled on; key \"x\"; }")
    ));
    let notes: Vec<_> = said.iter().map(|one| (one.severity, one.message.as_str())).collect();
    assert_eq!(
        notes,
        [
            (Severity::Info, "`tcmalloc_release_rate` is accepted and has no effect"),
            (Severity::Info, "`threads` is accepted and has no effect"),
            (Severity::Info, "`vhost.bandcheck` is accepted and has no effect"),
        ]
    );
}

#[test]
fn candidates_that_nobody_could_reach_are_told_with_their_place() {
    let source = |words: &str| format!("listen 1;\nrtc_server {{\n    candidate {words};\n}}\n");
    let (_, said) = good(&source("* 0.0.0.0 203.0.113.7 2001:db8::1 live.example.com my_host"));
    assert!(said.is_empty(), "{said:?}");
    for word in ["http://203.0.113.7", "203.0.113.7:8000", "999.1.2.3", "foo!!", "[::1]:8000"] {
        let (_, said) = good(&source(&format!("live.example.com {word}")));
        let [one] = said.as_slice() else { panic!("{word}: {said:?}") };
        assert_eq!(one.severity, Severity::Warning);
        assert!(one.message.contains(&format!("`{word}`")), "{one:?}");
        assert!(one.one_line().contains(":3:5: "), "{}", one.one_line());
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let vhost = |lines: &str| in_vhost(lines);
    for (source, message) in [
        ("daemon off;".to_owned(), "nothing says where to listen for RTMP"),
        (
            "listen 1; heartbeat { interval 0.5; }".to_owned(),
            "heartbeat.interval must be more than 0",
        ),
        ("listen 1; srs_log_file '';".to_owned(), ""),
        ("listen 1; asprocess on;".to_owned(), "`daemon` and `asprocess` cannot both be on"),
        (
            "listen 1; is_full on;".to_owned(),
            "`is_full on` marks a file that is not meant to be run",
        ),
        (
            "listen 1; http_api { enabled off; https { enabled on; } }".to_owned(),
            "http_api.https is on, but http_api is off",
        ),
        (
            "listen 1; http_api { enabled on; listen 80; https { enabled on; listen 443; } }\n\
             http_server { enabled on; listen 80; https { enabled on; listen 444; } }"
                .to_owned(),
            "http_api and http_server share their HTTP port but not their HTTPS port",
        ),
        (
            "listen 1; http_api { enabled on; listen 81; https { enabled on; listen 443; } }\n\
             http_server { enabled on; listen 80; https { enabled on; listen 443; } }"
                .to_owned(),
            "http_api and http_server share their HTTPS port but not their HTTP port",
        ),
        (
            vhost("http_remux { }\nhttp_remux { }"),
            "a virtual host has one `http_remux`, this is another",
        ),
        (
            vhost("forward { enabled on; destination a; }\npublish { kickoff_for_idle 3; }"),
            "`forward` and `publish.kickoff_for_idle` exclude each other",
        ),
        (vhost("ingest a { }\ningest a { }"), "two ingests are called `a`"),
        (
            "listen 1; stream_caster { foo 1; }".to_owned(),
            "unknown directive `foo` in stream_caster",
        ),
        (
            "listen 1; max_connections 0;".to_owned(),
            "max_connections: `0` is out of range, 1 to 2147483647 is allowed",
        ),
    ] {
        if message.is_empty() {
            // An empty name is no argument, so the default name counts.
            assert!(text(&source).is_ok());
            continue;
        }
        assert_eq!(errors(&bad(&source)), [message], "{source}");
    }
}

#[test]
fn the_machine_must_be_able_to_carry_what_is_asked() {
    let with = |facts: Facts, source: &str| {
        let request = Request { facts, ..request(Some("x.conf"), &[]) };
        load(request, &Shelf::of(&[("x.conf", source)]))
    };
    let few = Facts { open_files: Some(1024), local_addresses: Some(1) };
    let list = with(few, "listen 1; max_connections 1000;").unwrap_err();
    assert_eq!(
        list[0].to_string(),
        "x.conf:1:11: error: max_connections 1000 needs more than 1024 open files, which is the limit\n \
         1 | listen 1; max_connections 1000;\n   \
         |           ^^^^^^^^^^^^^^^\n   \
         = help: raise the limit (`ulimit -n 1129`) or write 895"
    );
    assert!(with(few, "listen 1; max_connections 895;").is_ok());
    let (_, said) = with(few, "listen 1;").unwrap();
    assert_eq!(
        warnings(&said),
        ["max_connections 1000 needs more than 1024 open files, which is the limit"]
    );
    let list = with(few, "listen 1; max_connections 1; stats { network 1; }").unwrap_err();
    assert_eq!(errors(&list), ["stats.network: there is no address number 1, of 1"]);
}

#[test]
fn a_shared_http_port_shares_the_https_port() {
    let (config, _) = good(
        "listen 1; http_api { enabled on; listen 80; https { enabled on; } }\n\
         http_server { enabled on; listen 80; https { enabled on; listen 443; } }",
    );
    assert_eq!(config.root().list("http_api.https.listen"), ["443"]);
}

#[test]
fn a_value_knows_where_it_came_from() {
    let (config, _) = good("listen 1935;\n  daemon off;");
    let Origin::File(span) = config.root().origin("daemon") else { panic!() };
    assert_eq!((config.file_name(span.file), span.line, span.column), ("x.conf", 2, 3));
}

#[test]
fn a_decimal_where_seconds_are_whole_is_cut_off() {
    let (config, said) = good("listen 1935; heartbeat { interval 9.9; }");
    assert_eq!(said, []);
    assert_eq!(config.root().seconds("heartbeat.interval"), Duration::from_secs(9));
}

#[test]
fn blocks_and_values_are_told_apart() {
    let list = bad("listen { }\nvhost { }\n");
    assert_eq!(errors(&list), ["`listen` takes a value, not a block", "`vhost` has no name"]);
    let (_, said) = good("listen 1; stats;\ndaemon off on;");
    assert_eq!(
        warnings(&said),
        [
            "`stats` is a block, without braces it says nothing",
            "`daemon` takes one value, the rest is not read",
        ]
    );
}

#[test]
fn one_line_is_enough_for_a_log() {
    let list = bad("listen 1;\nlisen 2;");
    assert_eq!(
        list[0].one_line(),
        "x.conf:2:1: unknown directive `lisen` (did you mean `listen`?)"
    );
}

proptest! {
    #[test]
    fn loading_never_panics(source in "([a-z_]{1,6}|listen|vhost|hls|play|forward|refer|[{};#'\" \n$0-9]){0,40}") {
        let _ = text(&source);
    }

    #[test]
    fn a_configuration_does_not_differ_from_itself(
        gop in prop::bool::ANY,
        fragment in 1u32..60,
        hosts in 1usize..4,
    ) {
        let mut source = String::from("listen 1935;\ndaemon off;\n");
        for host in 0..hosts {
            source.push_str(&format!(
                "vhost h{host} {{ play {{ gop_cache {}; }} hls {{ hls_fragment {fragment}; }} exec {{ publish a [app]; }} }}\n",
                if gop { "on" } else { "off" },
            ));
        }
        let (config, _) = good(&source);
        prop_assert_eq!(diff(&config, &config), []);
        let (again, _) = good(&gate::conf::print(config.nodes()));
        prop_assert_eq!(diff(&config, &again), []);
    }
}

#[test]
fn a_slip_where_anything_may_stand_is_told_all_the_same() {
    let (_, said) = good("listen 1;\nhttp_server { https { certt x; other y; } }\n");
    assert_eq!(warnings(&said), ["nothing in http_server.https is called `certt`"]);
    assert_eq!(said[0].help.as_deref(), Some("did you mean `cert`?"));
}

#[test]
fn a_text_that_is_no_configuration_is_not_complained_about_for_ever() {
    let list = bad(&"a\n".repeat(10_000));
    assert_eq!(list.len(), MAX_MISTAKES);
}

#[test]
fn a_snapshot_does_not_show_what_it_knows() {
    let (config, _) = good("listen 1; http_api { auth { password secret; } }");
    assert_eq!(format!("{config:?}"), "Config { files: [\"x.conf\"], .. }");
}

#[test]
fn a_callback_that_cannot_be_called_is_told_where_it_stands() {
    let hooks = |enabled: &str| {
        let (_, said) = good(&in_vhost(&format!(
            "http_hooks {{ enabled {enabled}; on_play htp://a/x http://ok/; on_stop http:///; \
             on_hls_notify http://a/[app]/[ts_url][param]; }}"
        )));
        warnings(&said).join("\n")
    };
    assert_eq!(hooks("off"), "");
    assert_eq!(
        hooks("on"),
        "`on_play` cannot be called: the URL is neither http nor https\n\
         `on_stop` cannot be called: the URL has no host or a bad port"
    );
}
