use super::*;

#[test]
fn environment_only_ignores_files_and_needs_none() {
    for request in [
        Request { env_only: true, ..request(Some("missing"), &[]) },
        request(Some("missing"), &[("SRS_ENV_ONLY", "on")]),
    ] {
        let (config, said) = load(request, &Shelf::default()).unwrap();
        assert_eq!(said, []);
        let root = config.root();
        assert!(!root.bool("daemon"));
        assert_eq!(root.str("srs_log_tank"), "console");
        assert_eq!(root.list("listen"), ["1935"]);
        assert!(!root.bool("http_api.enabled"));
        assert!(config.vhost("any").is_some());
    }
}

#[test]
fn a_variable_names_the_file() {
    let shelf = Shelf::of(&[("a", "listen 1;"), ("b", "listen 2;")]);
    let (config, _) = load(request(Some("a"), &[("SRS_CONFIG_FILE", "b")]), &shelf).unwrap();
    assert_eq!(config.root().list("listen"), ["2"]);
    let (config, _) = load(request(Some("a"), &[("SRS_CONFIG_FILE", "")]), &shelf).unwrap();
    assert_eq!(config.root().list("listen"), ["1"]);
}

#[test]
fn a_variable_beats_the_file_in_every_virtual_host() {
    let source =
        format!("{}vhost w {{ hls {{ enabled off; }} }}\n", in_vhost("hls { enabled off; }"));
    let (config, _) = text_with(&source, &[("SRS_VHOST_HLS_ENABLED", "on")]).unwrap();
    assert!(config.vhost("v").unwrap().bool("hls.enabled"));
    assert!(config.vhost("w").unwrap().bool("hls.enabled"));
}

#[test]
fn of_the_doubled_names_the_longer_wins() {
    let env =
        [("SRS_LOG_LEVEL", "warn"), ("SRS_SRS_LOG_LEVEL", "error"), ("SRS_LOG_TANK", "console")];
    let (config, _) = text_with("listen 1;", &env).unwrap();
    assert_eq!(config.root().str("srs_log_level"), "error");
    assert_eq!(config.root().str("srs_log_tank"), "console");
}

#[test]
fn both_names_of_the_chunk_size_are_read() {
    for name in ["SRS_CHUNK_SIZE", "SRS_VHOST_CHUNK_SIZE"] {
        let (config, _) = text_with(&in_vhost("enabled on;"), &[(name, "4096")]).unwrap();
        assert_eq!(config.root().int("chunk_size"), 4096, "{name}");
        assert_eq!(config.vhost("v").unwrap().int("chunk_size"), 4096, "{name}");
    }
}

#[test]
fn directives_without_a_variable_have_none() {
    let table = directives::table(&[]);
    for block in [
        "vhost.cluster",
        "vhost.forward",
        "vhost.refer",
        "vhost.security",
        "vhost.exec",
        "vhost.ingest",
        "vhost.transcode",
        "stream_caster",
        "stats",
    ] {
        assert!(table.children(block).all(|row| row.env_names().is_empty()), "{block}");
    }
    for path in ["vhost.enabled", "vhost.dvr.dvr_apply", "is_full"] {
        assert_eq!(table.get(path).unwrap().env_names(), [] as [&str; 0]);
    }
}

#[test]
fn a_bad_value_in_a_variable_is_told_like_one_in_a_file() {
    let list = text_with("listen 1;", &[("SRS_MAX_CONNECTIONS", "many")]).unwrap_err();
    assert_eq!(
        list[0].to_string(),
        "SRS_MAX_CONNECTIONS: error: max_connections: `many` is not a whole number\n   \
         | SRS_MAX_CONNECTIONS=many"
    );
}

#[test]
fn a_slip_in_a_variables_name_is_told_and_foreign_names_are_not() {
    let env =
        [("SRS_MAX_CONECTIONS", "10"), ("SRS_SERVICE_HOST", "10.0.0.1"), ("SRS_PORT", "tcp://x")];
    let (_, said) = text_with("listen 1;", &env).unwrap();
    assert_eq!(warnings(&said), ["no directive has this variable"]);
    assert_eq!(
        said[0].to_string(),
        "SRS_MAX_CONECTIONS: warning: no directive has this variable\n   \
         = help: did you mean `SRS_MAX_CONNECTIONS`?"
    );
}

#[test]
fn a_dollar_word_is_looked_up_in_capitals() {
    let source = "listen $ports;\nrtc_server { candidate $CANDIDATE; }";
    let env = [("PORTS", "1935 1936"), ("CANDIDATE", "192.0.2.1")];
    let (config, said) = text_with(source, &env).unwrap();
    assert_eq!(said, []);
    assert_eq!(config.root().list("listen"), ["1935", "1936"]);
    assert_eq!(config.root().str("rtc_server.candidate"), "192.0.2.1");
}

#[test]
fn a_dollar_word_that_is_not_set_is_the_default_or_stays_as_it_is() {
    let source =
        "listen 1;\nrtc_server { candidate $CANDIDATE; }\nhttp_api { auth { password $ecret; } }";
    let (config, said) = text(source).unwrap();
    assert_eq!(config.root().str("rtc_server.candidate"), "*");
    assert_eq!(config.root().str("http_api.auth.password"), "$ecret");
    assert_eq!(
        warnings(&said),
        [
            "the environment variable `CANDIDATE` is not set",
            "the environment variable `ECRET` is not set",
        ]
    );
    assert_eq!(said[0].help.as_deref(), Some("the default counts"));
}

#[test]
fn a_planned_feature_switched_on_by_a_variable_is_told_with_the_variable() {
    let (_, said) = text_with("listen 1;", &[("SRS_SRT_SERVER_ENABLED", "on")]).unwrap();
    assert_eq!(
        said[0].to_string(),
        "SRS_SRT_SERVER_ENABLED: warning: `srt_server.enabled`: this release does not have SRT\n   \
         | SRS_SRT_SERVER_ENABLED=on"
    );
}

#[test]
fn the_older_name_of_the_srt_bridge_is_read_too() {
    let source = in_vhost("enabled on;");
    let (config, _) = text_with(&source, &[("SRS_VHOST_SRT_TO_RTMP", "off")]).unwrap();
    assert!(!config.vhost("v").unwrap().bool("srt.srt_to_rtmp"));
}
