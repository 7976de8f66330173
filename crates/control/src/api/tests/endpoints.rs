//! The exact text of each endpoint.

use super::*;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Replaces numbers that change by the clock.
fn still(text: &str, key: &str) -> String {
    let mark = format!("\"{key}\":");
    let (before, after) = text.split_once(&mark).unwrap();
    let end = after.find([',', '}']).unwrap();
    format!("{before}{mark}T{}", &after[end..])
}

#[test]
fn versions_are_those_that_clients_compare() {
    let data = r#""data":{"major":6,"minor":0,"revision":0,"version":"6.0.0"}"#;
    assert_eq!(get(&stub(&[]), "/api/v1/versions"), format!("{{{HEAD},{data}}}"));
}

#[test]
fn the_longest_pattern_wins() {
    let stub = stub(&[]);
    let urls = |path: &str| keys(&json(&get(&stub, path))["urls"]).join(" ");
    assert_eq!(urls("/"), "api");
    assert_eq!(urls("/anything"), "api");
    assert_eq!(urls("/api/"), "v1");
    assert_eq!(urls("/api/v3"), "v1");
    assert!(urls("/api/v1/").starts_with("versions summaries rusages"));
    assert_eq!(urls("/api/v1/versions/"), urls("/api/v1/"));
    let tests = json(&get(&stub, "/api/v1/"));
    assert_eq!(keys(&tests["tests"]), ["requests", "errors", "redirects", "[vhost]"]);
}

#[test]
fn an_idle_server_has_empty_lists() {
    let stub = stub(&[]);
    for list in ["vhosts", "streams", "clients"] {
        assert_eq!(get(&stub, &format!("/api/v1/{list}/")), format!("{{{HEAD},\"{list}\":[]}}"));
    }
}

#[test]
fn unknown_ids_have_their_codes() {
    let stub = stub(&[]);
    assert_eq!(get(&stub, "/api/v1/vhosts/x"), r#"{"code":2014}"#);
    assert_eq!(get(&stub, "/api/v1/streams/x"), r#"{"code":2048}"#);
    assert_eq!(get(&stub, "/api/v1/clients/x"), r#"{"code":2049}"#);
    assert_eq!(ask(&stub, "DELETE /api/v1/clients/x", &[]).body, r#"{"code":2049}"#);
    assert_eq!(ask(&stub, "DELETE /api/v1/clients/", &[]).body, r#"{"code":2049}"#);
}

#[test]
fn a_stream_is_told_in_full() {
    let stub = stub(&[]);
    let stream = publish(&stub, "livestream", &[frame(100), frame(50)]);
    let vhost = stub.figures.ledger().vhost_id("__defaultVhost__");
    let cid = stream.publisher_id();
    let one = format!(
        concat!(
            r#"{{"id":"vid-s000001","name":"livestream","vhost":"{vhost}","app":"live","#,
            r#""tcUrl":"rtmp://127.0.0.1/live","url":"/live/livestream","live_ms":T,"clients":1,"#,
            r#""frames":2,"send_bytes":0,"recv_bytes":150,"kbps":{{"recv_30s":0,"send_30s":0}},"#,
            r#""publish":{{"active":true,"cid":"{cid}"}},"video":null,"audio":{{"codec":"MP3","#,
            r#""sample_rate":44100,"channel":2,"profile":"Other"}}}}"#
        ),
        vhost = vhost,
        cid = cid
    );
    let list = still(&get(&stub, "/api/v1/streams/"), "live_ms");
    assert_eq!(list, format!("{{{HEAD},\"streams\":[{one}]}}"));
    let single = still(&get(&stub, "/api/v1/streams/vid-s000001"), "live_ms");
    assert_eq!(single, format!("{{{HEAD},\"stream\":{one}}}"));
}

#[test]
fn video_is_told_by_its_configuration() {
    let stub = stub(&[]);
    let mut config = frame(0);
    config.codec = Codec::H264;
    config.flags = Flags::CONFIG;
    config.payload = Bytes::from_static(&[1, 77, 0, 40, 0xff, 0xe0, 0]);
    publish(&stub, "a", &[config]);
    let told = &json(&get(&stub, "/api/v1/streams/"))["streams"][0];
    assert_eq!(
        told["video"].to_string(),
        r#"{"codec":"H264","profile":"Main","level":"4","width":0,"height":0}"#
    );
    assert!(told["audio"].is_null());
}

#[test]
fn a_stream_that_nobody_uses_is_not_listed() {
    let stub = stub(&[]);
    stub.host.hub.open(&StreamKey::new("__defaultVhost__", "live", "idle"));
    assert_eq!(get(&stub, "/api/v1/streams/"), format!("{{{HEAD},\"streams\":[]}}"));
    assert_eq!(get(&stub, "/api/v1/streams/vid-s000001"), r#"{"code":2048}"#);
}

#[test]
fn a_virtual_host_is_told_after_its_first_use() {
    let stub = stub(&[("vhost.hls.enabled", "on"), ("vhost.hls.hls_fragment", "2.5")]);
    publish(&stub, "livestream", &[frame(150)]);
    let id = stub.figures.ledger().vhost_id("__defaultVhost__");
    let one = format!(
        concat!(
            r#"{{"id":"{id}","name":"__defaultVhost__","enabled":true,"clients":1,"streams":1,"#,
            r#""send_bytes":0,"recv_bytes":150,"kbps":{{"recv_30s":0,"send_30s":0}},"#,
            r#""hls":{{"enabled":true,"fragment":2.50}}}}"#
        ),
        id = id
    );
    assert_eq!(get(&stub, "/api/v1/vhosts/"), format!("{{{HEAD},\"vhosts\":[{one}]}}"));
    let target = format!("/api/v1/vhosts/{id}");
    assert_eq!(get(&stub, &target), format!("{{{HEAD},\"vhost\":{one}}}"));
}

#[test]
fn without_hls_no_fragment_is_told() {
    let stub = stub(&[]);
    publish(&stub, "a", &[]);
    assert!(get(&stub, "/api/v1/vhosts/").contains(r#""hls":{"enabled":false}"#));
}

#[test]
fn a_client_is_told_in_full() {
    let stub = stub(&[]);
    let stream = publish(&stub, "livestream", &[]);
    let mut detail = detail("flv-play", "livestream.flv");
    detail.page_url = "http://a.test/\"x\"".to_owned();
    let player = session(&stub, detail, Some(stream));
    player.counters.send_bytes.store(4123, Relaxed);
    let vhost = stub.figures.ledger().vhost_id("__defaultVhost__");
    let one = format!(
        concat!(
            r#"{{"id":"{id}","vhost":"{vhost}","stream":"vid-s000001","ip":"127.0.0.1","#,
            r#""pageUrl":"http://a.test/\"x\"","swfUrl":"","tcUrl":"rtmp://127.0.0.1/live","#,
            r#""url":"/live/livestream","name":"livestream.flv","type":"flv-play","#,
            r#""publish":false,"alive":T,"send_bytes":4123,"recv_bytes":0,"#,
            r#""kbps":{{"recv_30s":0,"send_30s":0}}}}"#
        ),
        id = player.id,
        vhost = vhost
    );
    let text = get(&stub, &format!("/api/v1/clients/{}", player.id));
    assert_eq!(still(&text, "alive"), format!("{{{HEAD},\"client\":{one}}}"));
    let (_, alive) = text.split_once("\"alive\":").unwrap();
    let (_, decimals) = alive[..alive.find(',').unwrap()].split_once('.').unwrap();
    assert_eq!(decimals.len(), 2);
    assert_eq!(json(&get(&stub, "/api/v1/clients/"))["clients"].as_array().unwrap().len(), 2);
}

#[test]
fn pages_have_ten_at_least_and_are_ordered_by_id() {
    let stub = stub(&[]);
    let _held: Vec<Session> =
        (0..25).map(|_| session(&stub, detail("rtmp-play", "a"), None)).collect();
    let ids = |query: &str| -> Vec<String> {
        let told = json(&get(&stub, &format!("/api/v1/clients/{query}")));
        let clients = told["clients"].as_array().unwrap().clone();
        clients.iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = ids("?count=100");
    assert_eq!(all.len(), 25);
    assert!(all.is_sorted());
    assert_eq!(ids(""), all[..10]);
    assert_eq!(ids("?count=3"), all[..10]);
    assert_eq!(ids("?start=-5&count=-1"), all[..10]);
    assert_eq!(ids("?start=12&count=11"), all[12..23]);
    assert_eq!(ids("?start=20"), all[20..]);
    assert!(ids("?start=99999999999999999999999").len() == 10);
    assert!(ids("?start=40").is_empty());
}

#[test]
fn summaries_have_the_keys_of_the_table() {
    let stub = stub(&[]);
    stub.figures.sample_system(&[]);
    let told = json(&get(&stub, "/api/v1/summaries"));
    let data = &told["data"];
    assert_eq!(keys(data), ["ok", "now_ms", "self", "system"]);
    assert_eq!(
        keys(&data["self"]).join(" "),
        "version pid ppid argv cwd mem_kbyte mem_percent cpu_percent srs_uptime"
    );
    assert_eq!(
        keys(&data["system"]).join(" "),
        "cpu_percent disk_read_KBps disk_write_KBps disk_busy_percent mem_ram_kbyte \
         mem_ram_percent mem_swap_kbyte mem_swap_percent cpus cpus_online uptime ilde_time \
         load_1m load_5m load_15m net_sample_time net_recv_bytes net_send_bytes net_recvi_bytes \
         net_sendi_bytes srs_sample_time srs_recv_bytes srs_send_bytes conn_sys conn_sys_et \
         conn_sys_tw conn_sys_udp conn_srs"
    );
    assert_eq!(data["ok"], cfg!(target_os = "linux"));
}

#[test]
fn figures_of_process_and_machine_have_the_keys_of_the_table() {
    let stub = stub(&[]);
    stub.figures.sample_system(&[]);
    let data = |path: &str| {
        let told = json(&get(&stub, &format!("/api/v1/{path}")));
        keys(&told["data"]).join(" ")
    };
    assert_eq!(
        data("rusages"),
        "ok sample_time ru_utime ru_stime ru_maxrss ru_ixrss ru_idrss ru_isrss ru_minflt \
         ru_majflt ru_nswap ru_inblock ru_oublock ru_msgsnd ru_msgrcv ru_nsignals ru_nvcsw \
         ru_nivcsw"
    );
    assert_eq!(
        data("system_proc_stats"),
        "ok sample_time percent user nice sys idle iowait irq softirq steal guest"
    );
    assert_eq!(
        data("meminfos"),
        "ok sample_time percent_ram percent_swap MemActive RealInUse NotInUse MemTotal MemFree \
         Buffers Cached SwapTotal SwapFree"
    );
    assert!(data("self_proc_stats").starts_with("ok sample_time percent pid comm state ppid pgrp"));
    assert!(data("self_proc_stats").ends_with("delayacct_blkio_ticks guest_time cguest_time"));
}

#[test]
fn before_the_first_sample_figures_are_not_ok() {
    let stub = stub(&[]);
    for path in ["summaries", "rusages", "self_proc_stats", "system_proc_stats", "meminfos"] {
        let told = json(&get(&stub, &format!("/api/v1/{path}")));
        assert_eq!(told["data"]["ok"], false, "{path}");
    }
}

#[test]
fn features_are_those_of_the_build() {
    let told = json(&get(&stub(&[]), "/api/v1/features"));
    let data = &told["data"];
    assert_eq!(keys(data), ["options", "options2", "build", "build2", "features"]);
    assert_eq!(data["options"], "--ssl=on --hls=on --api=on --httpd=on");
    assert_eq!(data["build"].as_str().unwrap().len(), 19);
    assert_eq!(keys(&data["features"]).len(), 15);
    assert_eq!(data["features"]["hls"], true);
    assert_eq!(data["features"]["hds"], false);
    let authors = json(&get(&stub(&[]), "/api/v1/authors"));
    assert_eq!(keys(&authors["data"]), ["license", "contributors"]);
}

#[test]
fn tests_of_clients_get_what_they_expect() {
    let stub = stub(&[]);
    assert_eq!(get(&stub, "/api/v1/tests/errors"), r#"{"code":100}"#);
    let redirect = ask(&stub, "GET /api/v1/tests/redirects", &[]);
    assert_eq!(redirect.status, 301);
    assert_eq!(redirect.header("location"), "/api/v1/tests/errors");
    let told = json(&ask(&stub, "PUT /api/v1/tests/requests?a=b", &[]).body);
    assert_eq!(keys(&told["data"]), ["uri", "path", "METHOD", "headers"]);
    assert_eq!(told["data"]["uri"], "/api/v1/tests/requests?a=b");
    assert_eq!(told["data"]["path"], "/api/v1/tests/requests");
    assert_eq!(told["data"]["METHOD"], "PUT");
    assert_eq!(keys(&told["data"]["headers"]), ["sigature", "version", "link", "time"]);
}

#[test]
fn the_raw_api_tells_what_it_may() {
    let stub = stub(&[]);
    let wanted = concat!(
        r#"{"code":0,"http_api":{"enabled":false,"listen":"1985","crossdomain":true,"#,
        r#""raw_api":{"enabled":false,"allow_reload":false,"allow_query":false,"#,
        r#""allow_update":false}}}"#
    );
    assert_eq!(get(&stub, "/api/v1/raw?rpc=raw"), wanted);
    assert_eq!(get(&stub, "/api/v1/raw?rpc=reload"), r#"{"code":1061}"#);
    assert_eq!(get(&stub, "/api/v1/raw"), r#"{"code":1061}"#);
}

#[test]
fn reload_needs_to_be_allowed() {
    let enabled = ("http_api.raw_api.enabled", "on");
    let closed = stub(&[enabled]);
    assert_eq!(get(&closed, "/api/v1/raw?rpc=reload"), r#"{"code":1060}"#);
    assert_eq!(get(&closed, "/api/v1/raw?rpc=query"), r#"{"code":1060}"#);
    let open = stub(&[enabled, ("http_api.raw_api.allow_reload", "on")]);
    let stranger = ask_from(&open, [10, 0, 0, 7], "GET /api/v1/raw?rpc=reload", &[]);
    assert_eq!((stranger.status, *open.reloads.0.lock().unwrap()), (403, 0));
    assert_eq!(get(&open, "/api/v1/raw?rpc=reload"), r#"{"code":0}"#);
    assert_eq!(*open.reloads.0.lock().unwrap(), 1);
    assert_eq!(
        get(&open, "/api/v1/raw?rpc=reload-fetch"),
        r#"{"code":0,"data":{"err":1023,"msg":"line 3","state":20,"rid":"abc"}}"#
    );
}

#[test]
fn the_queries_of_srs_3_tell_the_configuration_without_its_secrets() {
    let stub = stub(&[
        ("http_api.raw_api.enabled", "on"),
        ("http_api.raw_api.allow_query", "on"),
        ("http_api.auth.password", "s3cret"),
        ("vhost.hls.enabled", "on"),
        ("chunk_size", "4096"),
        ("listen", "1935"),
    ]);
    let ask_for = |query: &str| get(&stub, &format!("/api/v1/raw?rpc=query&{query}"));
    let global = json(&ask_for("scope=global"));
    assert_eq!(global["global"]["chunk_size"], 4096);
    assert_eq!(global["global"]["http_api"]["auth"]["password"], "***");
    assert_eq!(global["global"]["http_api"]["raw_api"]["enabled"], true);
    assert_eq!(global["global"]["vhosts"][0], "__defaultVhost__");
    let vhost = json(&ask_for("scope=vhost&vhost=__defaultVhost__"));
    assert_eq!(
        (&vhost["code"], &vhost["vhost"]["name"]),
        (&Value::from(0), &"__defaultVhost__".into())
    );
    assert_eq!(vhost["vhost"]["hls"]["enabled"], true);
    let minimal = json(&ask_for("scope=minimal"));
    assert_eq!(minimal["minimal"]["listen"][0], "1935");
    assert_eq!(minimal["minimal"]["vhosts"][0]["enabled"], true);
    assert_eq!(ask_for("scope=all"), r#"{"code":1062}"#);
    assert_eq!(ask_for("scope=vhost"), r#"{"code":1063}"#);
    assert_eq!(ask_for("scope=vhost&vhost=none"), r#"{"code":1063}"#);
    let stranger = ask_from(&stub, [10, 0, 0, 7], "GET /api/v1/raw?rpc=query&scope=global", &[]);
    assert_eq!(stranger.status, 403);
}

#[test]
fn the_updates_of_srs_3_need_leave_and_become_a_change() {
    let stub = stub(&[("http_api.raw_api.enabled", "on"), ("http_api.raw_api.allow_update", "on")]);
    let target = "/api/v1/raw?rpc=update&scope=vhost&value=a.test&param=create";
    let stranger = ask_from(&stub, [10, 0, 0, 7], &format!("GET {target}"), &[]);
    assert_eq!((stranger.status, stub.reloads.1.lock().unwrap().clone()), (403, None));
    assert_eq!(get(&stub, target), r#"{"code":0}"#);
    let made = stub.reloads.1.lock().unwrap().take();
    assert_eq!(made, Some(Patch::CreateVhost("a.test".to_owned())));
    let ask_for = |query: &str| get(&stub, &format!("/api/v1/raw?rpc=update&{query}"));
    assert_eq!(ask_for("scope=workers&value=2"), r#"{"code":1062}"#);
    assert_eq!(ask_for("scope=chunk_size"), r#"{"code":1063}"#);
    assert_eq!(ask_for("scope=vhost&value=a.test&param=update"), r#"{"code":1063}"#);
    assert_eq!(get(&stub, "/api/v1/raw?rpc=query&scope=global"), r#"{"code":1060}"#);
}

#[test]
fn another_origin_is_told_where_a_stream_is() {
    let stub = stub(&[("listen", "1936")]);
    let query = "ip=10.0.0.9&vhost=a.test&app=live&stream=livestream&coworker=10.0.0.5:1985";
    let told = r#"{"ip":"10.0.0.9","vhost":"a.test","app":"live","stream":"livestream"}"#;
    assert_eq!(
        ask(&stub, &format!("POST /api/v1/clusters?{query}"), &[]).body,
        format!(r#"{{"code":0,"data":{{"query":{told},"origin":null}}}}"#)
    );
    publish(&stub, "livestream", &[]);
    let origin = concat!(
        r#"{"ip":"10.0.0.5","port":1936,"vhost":"__defaultVhost__","api":"10.0.0.5:1985","#,
        r#""routers":["10.0.0.5:1985"]}"#
    );
    assert_eq!(
        get(&stub, &format!("/api/v1/clusters?{query}")),
        format!(r#"{{"code":0,"data":{{"query":{told},"origin":{origin}}}}}"#)
    );
    let unnamed = get(&stub, "/api/v1/clusters?vhost=a.test&app=live&stream=livestream");
    assert!(unnamed.contains(r#""ip":"10.0.0.1","port":1936"#), "{unnamed}");
}

#[test]
fn metrics_are_plain_text() {
    let answer = ask(&stub(&[]), "GET /metrics", &[]);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.body.contains("\nsrs_streams 0\n"));
}
