//! CORS, JSONP, methods, redirects, authentication, permission.

use super::*;

const CORS: &str = "access-control-allow-origin";

#[test]
fn an_answer_is_json_and_not_kept() {
    let stub = stub(&[]);
    let answer = ask(&stub, "GET /api/v1/versions", &[]);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header(CORS), "");
}

#[test]
fn pages_of_other_hosts_may_read_unless_switched_off() {
    let on = stub(&[]);
    let answer = ask(&on, "GET /api/v1/versions", &["origin: http://a.test"]);
    assert_eq!(answer.header(CORS), "*");
    assert_eq!(answer.header("access-control-allow-credentials"), "false");
    assert_eq!(answer.header("access-control-request-private-network"), "true");
    let answer = ask(&on, "OPTIONS /api/v1/clients/", &["origin: http://a.test"]);
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.header("access-control-allow-methods"), "*");
    let off = stub(&[("http_api.crossdomain", "off")]);
    let answer = ask(&off, "GET /api/v1/versions", &["origin: http://a.test"]);
    assert_eq!(answer.header(CORS), "");
    assert_eq!(ask(&off, "OPTIONS /api/v1/clients/", &[]).status, 405);
}

#[test]
fn jsonp_wraps_the_answer_in_a_call() {
    let stub = stub(&[]);
    let answer = ask(&stub, "GET /api/v1/tests/errors?callback=jQuery1_2.done-x", &[]);
    assert_eq!(answer.body, r#"jQuery1_2.done-x({"code":100})"#);
    assert_eq!(answer.header("content-type"), "text/javascript");
    assert_eq!(get(&stub, "/api/v1/tests/errors?callback="), r#"{"code":100}"#);
}

#[test]
fn a_callback_that_is_no_name_is_refused_with_a_reason() {
    let stub = stub(&[]);
    for name in ["alert(1)//", "a%3Cscript%3E", "a%20b", "a;b", "%00", &"x".repeat(129)] {
        let answer = ask(&stub, &format!("GET /api/v1/versions?callback={name}"), &[]);
        assert_eq!(answer.status, 400, "{name}");
        assert!(answer.body.starts_with("callback:"), "{}", answer.body);
        assert!(answer.header("content-type").starts_with("text/plain"));
    }
}

#[test]
fn the_method_parameter_counts_with_a_callback_only() {
    let stub = stub(&[]);
    let with = "GET /api/v1/clients/nobody?method=DELETE&callback=f";
    assert_eq!(ask(&stub, with, &[]).body, r#"f({"code":2049})"#);
    let target = "/api/v1/vhosts/?method=POST";
    assert_eq!(ask(&stub, &format!("GET {target}"), &[]).status, 200);
    assert_eq!(ask(&stub, &format!("GET {target}&callback=f"), &[]).status, 405);
}

#[test]
fn slashless_forms_are_redirected_with_their_query() {
    let stub = stub(&[]);
    for path in ["/api", "/api/v1", "/api/v1/vhosts", "/api/v1/streams", "/api/v1/clients"] {
        let answer = ask(&stub, &format!("GET {path}?a=b"), &[]);
        assert_eq!(answer.status, 302, "{path}");
        assert_eq!(answer.header("location"), format!("{path}/?a=b"));
        assert_eq!(answer.body, format!("Redirect to {path}/"));
    }
}

#[test]
fn dots_in_a_path_are_refused() {
    let stub = stub(&[]);
    assert_eq!(ask(&stub, "GET /api/v1/../x", &[]).status, 400);
}

#[test]
fn other_methods_are_not_allowed_on_lists() {
    let stub = stub(&[]);
    for path in ["vhosts", "streams", "clients"] {
        let answer = ask(&stub, &format!("POST /api/v1/{path}/"), &[]);
        assert_eq!((answer.status, answer.body.as_str()), (405, "Method Not Allowed"));
    }
    assert_eq!(ask(&stub, "DELETE /api/v1/streams/x", &[]).status, 405);
    assert_eq!(ask(&stub, "PUT /api/v1/versions", &[]).status, 200);
}

#[test]
fn a_request_that_changes_something_is_shared_with_no_other_origin() {
    let stub = stub(&[]);
    let origin = "origin: http://localhost:3000";
    let cors = |request: &str, header: &str| {
        ask(&stub, request, &[origin, "host: localhost:1985", header]).header(CORS).to_owned()
    };
    assert_eq!(cors("GET /api/v1/clients/", "x-a: 1"), "*");
    assert_eq!(cors("DELETE /api/v1/clients/x", "x-a: 1"), "");
    assert_eq!(cors("GET /api/v1/clients/x?callback=f&method=DELETE", "x-a: 1"), "");
    assert_eq!(cors("GET /api/v1/raw?rpc=raw", "x-a: 1"), "*");
    assert_eq!(cors("GET /api/v1/raw?rpc=reload", "x-a: 1"), "");
    let wants = |method: &str| format!("access-control-request-method: {method}");
    assert_eq!(cors("OPTIONS /api/v1/clients/", &wants("GET")), "*");
    assert_eq!(cors("OPTIONS /api/v1/clients/x", &wants("DELETE")), "");
}

#[test]
fn the_token_changes_things_from_anywhere() {
    let stub = stub(&[]);
    let player = session(&stub, detail("rtmp-play", "a"), None);
    let request = format!("DELETE /api/v1/clients/{}", player.id);
    let wrong = "authorization: Bearer 0123456789abcdeF";
    assert_eq!(ask_from(&stub, [10, 0, 0, 7], &request, &[wrong]).status, 403);
    assert_eq!(player.kick_reason(), None);
    let right = "authorization: Bearer 0123456789abcdef";
    assert_eq!(ask_from(&stub, [10, 0, 0, 7], &request, &[right]).status, 200);
    assert_eq!(player.kick_reason(), Some(Kick::Api));
}

#[test]
fn unprotected_writes_open_the_api_to_all_but_pages_of_other_sites() {
    let stub = stub(&[("http_api.unprotected_writes", "on")]);
    let player = session(&stub, detail("rtmp-play", "a"), None);
    let request = format!("DELETE /api/v1/clients/{}", player.id);
    for header in ["origin: http://evil.test", "sec-fetch-site: cross-site"] {
        let answer = ask_from(&stub, [10, 0, 0, 7], &request, &["host: box:1985", header]);
        assert_eq!(answer.status, 403, "{header}");
    }
    assert_eq!(player.kick_reason(), None);
    let own = ["host: box:1985", "origin: http://box:8080", "x-forwarded-for: 10.0.0.9"];
    assert_eq!(ask_from(&stub, [10, 0, 0, 7], &request, &own).status, 200);
    assert_eq!(player.kick_reason(), Some(Kick::Api));
}

#[test]
fn a_page_of_another_site_may_not_use_the_password_that_a_browser_knows() {
    let stub = stub(AUTH);
    let player = session(&stub, detail("rtmp-play", "a"), None);
    let request = format!("GET /api/v1/clients/{}?callback=f&method=DELETE", player.id);
    let right = "authorization: Basic YW5uOnMzY3JldDp4";
    let answer = ask(&stub, &request, &[right, "sec-fetch-site: cross-site"]);
    assert_eq!((answer.status, player.kick_reason()), (403, None));
    assert_eq!(ask(&stub, &request, &[right]).status, 200);
    assert_eq!(player.kick_reason(), Some(Kick::Api));
}

const BEARER: &[(&str, &str)] = &[
    ("http_api.auth.enabled", "on"),
    ("http_api.auth.type", "bearer"),
    ("http_api.auth.token", "t0ken"),
];

#[test]
fn a_configured_token_is_asked_for_instead_of_a_password() {
    let stub = stub(BEARER);
    let answer = ask(&stub, "GET /api/v1/versions", &[]);
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"));
    for (told, status) in [
        ("Bearer t0ken", 200),
        ("Bearer 0123456789abcdef", 200),
        ("Bearer x", 401),
        ("Basic Og==", 401),
    ] {
        let header = format!("authorization: {told}");
        assert_eq!(ask(&stub, "GET /api/v1/versions", &[&header]).status, status, "{told}");
    }
}

const AUTH: &[(&str, &str)] = &[
    ("http_api.auth.enabled", "on"),
    ("http_api.auth.username", "ann"),
    ("http_api.auth.password", "s3cret:x"),
];

#[test]
fn with_authentication_the_api_wants_name_and_password() {
    let stub = stub(AUTH);
    let answer = ask(&stub, "GET /api/v1/versions", &[]);
    assert_eq!((answer.status, answer.body.as_str()), (401, ""));
    assert_eq!(answer.header("www-authenticate"), "Basic");
    // ann:s3cret:x, ann:s3cret, and what is no base64.
    let right = "authorization: Basic YW5uOnMzY3JldDp4";
    assert_eq!(ask(&stub, "GET /api/v1/versions", &[right]).status, 200);
    for wrong in ["Basic YW5uOnMzY3JldA==", "Basic !", "Bearer YW5uOnMzY3JldDp4", "Basic"] {
        let wrong = format!("authorization: {wrong}");
        assert_eq!(ask(&stub, "GET /api/v1/versions", &[&wrong]).status, 401, "{wrong}");
    }
    assert_eq!(ask(&stub, "GET /healthz", &[]).status, 200);
    assert_eq!(ask(&stub, "OPTIONS /api/v1/versions", &[]).status, 200);
}

#[test]
fn authentication_without_a_password_lets_nobody_in() {
    let stub = stub(&[("http_api.auth.enabled", "on")]);
    let empty = "authorization: Basic Og==";
    assert_eq!(ask(&stub, "GET /api/v1/versions", &[empty]).status, 401);
}

#[test]
fn without_authentication_only_this_machine_may_change_anything() {
    let open = stub(&[]);
    let player = session(&open, detail("rtmp-play", "a"), None);
    let request = format!("DELETE /api/v1/clients/{}", player.id);
    for (peer, header) in [
        ([10, 0, 0, 7], "x-nothing: 1"),
        ([127, 0, 0, 1], "x-forwarded-for: 10.0.0.7"),
        ([127, 0, 0, 1], "origin: https://evil.test"),
        ([127, 0, 0, 1], "sec-fetch-site: cross-site"),
    ] {
        let answer = ask_from(&open, peer, &request, &[header]);
        assert_eq!(answer.status, 403, "{header}");
        assert!(answer.body.starts_with(r#"{"code":1053,"message":"#), "{}", answer.body);
        assert!(answer.body.contains("http_api { auth {"), "{}", answer.body);
        assert_eq!(player.kick_reason(), None);
    }
    let answer = ask(&open, &request, &[]);
    assert_eq!(answer.body, format!("{{{HEAD}}}"));
    assert_eq!(player.kick_reason(), Some(Kick::Api));
}

#[test]
fn with_authentication_other_machines_may_change_things() {
    let stub = stub(AUTH);
    let player = session(&stub, detail("rtmp-play", "a"), None);
    let request = format!("DELETE /api/v1/clients/{}", player.id);
    assert_eq!(ask_from(&stub, [10, 0, 0, 7], &request, &[]).status, 401);
    let right = "authorization: Basic YW5uOnMzY3JldDp4";
    assert_eq!(ask_from(&stub, [10, 0, 0, 7], &request, &[right]).status, 200);
    assert_eq!(player.kick_reason(), Some(Kick::Api));
}

#[test]
fn readiness_follows_start_and_stop() {
    let stub = stub(&[]);
    stub.ready.store(false, Relaxed);
    assert_eq!(ask(&stub, "GET /readyz", &[]).status, 503);
    assert_eq!(ask(&stub, "GET /healthz", &[]).body, "ok");
    stub.ready.store(true, Relaxed);
    assert_eq!(ask(&stub, "GET /readyz", &[]).status, 200);
    stub.host.drain();
    assert_eq!(ask(&stub, "GET /readyz", &[]).status, 503);
    assert_eq!(ask(&stub, "GET /healthz", &[]).status, 200);
}

#[test]
fn ports_answer_what_belongs_to_their_role() {
    let api = Role { api: true, ..Role::default() };
    let server = Role { server: true, ..Role::default() };
    for path in ["/api/v1/versions", "/api/x", "/api", "/metrics", "/healthz", "/readyz"] {
        assert!(is_ours(api, path), "{path}");
        assert_eq!(is_ours(server, path), path == "/api/v1/versions", "{path}");
    }
    let metrics = Role { metrics: true, ..Role::default() };
    assert!(is_ours(metrics, "/metrics"));
    for path in ["/", "/api/v1/versions", "/api/v2/streams", "/healthz", "/console/"] {
        assert!(!is_ours(metrics, path), "{path}");
    }
    assert!(!is_ours(api, "/"));
    assert!(!is_ours(api, "/live/livestream.flv"));
    assert!(!is_ours(api, "/console/index.html"));
}
