use super::*;

/// The tree after rewriting, without the lines around it.
fn rewritten(lines: &str) -> (String, usize) {
    let (config, said) = good(&in_vhost(lines));
    let vhost = config.nodes().iter().find(|node| node.name == "vhost").unwrap();
    let old = said.iter().filter(|one| {
        one.severity == Severity::Warning && !one.message.contains("this release does")
    });
    let text = gate::conf::print(vhost.nodes());
    (text.split_whitespace().collect::<Vec<_>>().join(" "), old.count())
}

#[test]
fn each_old_spelling_of_a_virtual_host_becomes_the_new_one_with_a_warning() {
    for (old, new, warnings) in [
        ("http { enabled on; }", "http_static { enabled on; }", 1),
        ("http_remux { hstrs on; enabled on; }", "http_remux { enabled on; }", 1),
        ("refer a b;", "refer { enabled on; all a b; }", 1),
        ("refer_play a; refer_publish b;", "refer { enabled on; play a; publish b; }", 2),
        ("mr { enabled on; latency 200; }", "publish { mr on; mr_latency 200; }", 1),
        (
            "publish_1stpkt_timeout 1; publish_normal_timeout 2;",
            "publish { firstpkt_timeout 1; normal_timeout 2; }",
            2,
        ),
        (
            "gop_cache off; queue_length 10; mw_latency 100;",
            "play { mw_latency 100; gop_cache off; queue_length 10; }",
            3,
        ),
        (
            "time_jitter zero; mix_correct on; atc on; atc_auto on; gop_cache_max_frames 5; send_min_interval 1.5; reduce_sequence_header on;",
            "play { time_jitter zero; mix_correct on; atc on; atc_auto on; gop_cache_max_frames 5; send_min_interval 1.5; reduce_sequence_header on; }",
            7,
        ),
        ("forward a:1935 b;", "forward { enabled on; destination a:1935 b; }", 1),
        (
            "mode remote; origin a; token_traverse on; vhost x; debug_srs_upnode off;",
            "cluster { mode remote; origin a; token_traverse on; vhost x; debug_srs_upnode off; }",
            5,
        ),
        (
            "nack { enabled off; no_copy off; } twcc { enabled off; }",
            "rtc { nack off; nack_no_copy off; twcc off; }",
            2,
        ),
        ("rtc { aac transcode; bframe keep; }", "rtc { rtmp_to_rtc on; keep_bframe on; }", 2),
        ("rtc { aac discard; bframe discard; }", "rtc { rtmp_to_rtc off; keep_bframe off; }", 2),
        ("hls { hls_storage ram; }", "hls { hls_storage memory; }", 1),
    ] {
        let (text, told) = rewritten(old);
        assert_eq!(text, new);
        assert_eq!(told, warnings, "{old}");
    }
}

#[test]
fn where_old_and_new_stand_together_the_new_one_counts() {
    let (config, _) = good(&in_vhost("gop_cache off; play { gop_cache on; }"));
    assert!(config.vhost("v").unwrap().bool("play.gop_cache"));
}

#[test]
fn old_blocks_of_the_root_become_the_new_ones() {
    let (config, said) =
        good("listen 1;\nhttp_stream { enabled on; listen 81; }\npithy_print { publish 2000; }\n");
    assert_eq!(config.root().list("http_server.listen"), ["81"]);
    assert_eq!(
        warnings(&said),
        [
            "`http_stream` is an old spelling, read as `http_server`",
            "`pithy_print { }` means nothing any more, use `pithy_print_ms`",
        ]
    );
    assert_eq!(
        said[0].to_string(),
        "x.conf:2:1: warning: `http_stream` is an old spelling, read as `http_server`\n \
         2 | http_stream { enabled on; listen 81; }\n   \
         | ^^^^^^^^^^^"
    );
}

#[test]
fn what_means_nothing_any_more_is_dropped_with_a_warning() {
    let (config, said) = good(
        "listen 1;\nrtc_server { perf_stat on; queue_length 5; }\nsrt_server { tlpkdrop off; }\n\
         stream_caster { host 1.2.3.4; tcp_enable on; rtp_port_min 1; rtp_port_max 2; wait_keyframe on;\n\
         rtp_idle_timeout 3; audio_enable on; auto_create_channel on;\n\
         sip { serial 1; realm 2; ack_timeout 3; keepalive_timeout 4; invite_port_fixed on; query_catalog_interval 5; auto_play on; } }\n",
    );
    assert_eq!(warnings(&said).len(), 2 + 1 + 8 + 7);
    assert!(!config.root().bool("srt_server.tlpktdrop"));
    assert_eq!(config.root().blocks("stream_caster")[0].str("sip.candidate"), "1.2.3.4");
}

#[test]
fn the_rtmp_block_of_srs_7_is_no_old_spelling() {
    let (config, said) = good("rtmp {\n listen 1935 19350;\n chunk_size 4096;\n}\n");
    assert_eq!(said, []);
    assert_eq!(config.root().list("listen"), ["1935", "19350"]);
    assert_eq!(config.root().int("chunk_size"), 4096);
}
