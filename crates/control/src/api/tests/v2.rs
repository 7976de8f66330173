//! The second face: every path of its document answers as it says.

use serde_json::json;

use super::*;

fn told(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|e| panic!("{e}: {}", answer.body))
}

fn document(stub: &Stub) -> Value {
    told(&ask(stub, "GET /api/v2/openapi.json", &[]))
}

/// What of JSON Schema the document uses; objects must have no keys that it does not name.
fn fits(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let fail = |why: &str| Err(format!("{at}: {why}: {value} is not {schema}"));
    if let Some(path) = schema["$ref"].as_str() {
        let found = root.pointer(path.trim_start_matches('#')).ok_or(format!("no {path}"))?;
        return fits(root, found, value, at);
    }
    for word in ["anyOf", "oneOf"] {
        if let Some(any) = schema[word].as_array() {
            let all: Vec<_> = any.iter().map(|s| fits(root, s, value, at)).collect();
            if all.iter().all(Result::is_err) {
                return fail(&format!("{all:?}"));
            }
        }
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return fail("another constant");
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return fail("none of the words");
    }
    let is = |kind: &str| match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|k| is(k)) {
        return fail("another type");
    }
    if let Some(items) = value.as_array().filter(|_| schema.get("items").is_some()) {
        for (n, item) in items.iter().enumerate() {
            fits(root, &schema["items"], item, &format!("{at}/{n}"))?;
        }
    }
    if let (Some(map), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        for key in schema["required"].as_array().into_iter().flatten() {
            if !map.contains_key(key.as_str().unwrap()) {
                return fail(&format!("no {key}"));
            }
        }
        for (key, value) in map {
            let Some(schema) = known.get(key) else { return fail(&format!("{key} is unknown")) };
            fits(root, schema, value, &format!("{at}/{key}"))?;
        }
    }
    Ok(())
}

/// The schema of an answer, or why the document has none for it.
fn described(root: &Value, path: &str, method: &str, answer: &Answer) -> Result<(), String> {
    let operation = &root["paths"][path][method.to_ascii_lowercase()];
    let response = &operation["responses"][answer.status.to_string()];
    if response.is_null() {
        return Err(format!("{method} {path}: {} is not described", answer.status));
    }
    let Some(content) = response.get("content") else {
        return if answer.body.is_empty() { Ok(()) } else { Err("a body".to_owned()) };
    };
    let kind = answer.header("content-type");
    let Some(content) = content.get(kind) else { return Err(format!("{path}: {kind}")) };
    fits(root, &content["schema"], &told(answer), path)
}

/// A server with something in it: a stream, a player, a configuration with a secret.
fn busy() -> (Stub, Session, String) {
    let stub = stub(&[
        ("http_api.raw_api.enabled", "on"),
        ("heartbeat.auth.password", "s3cret"),
        ("vhost.hls.enabled", "on"),
    ]);
    let mut picture = frame(100);
    picture.codec = Codec::H264;
    picture.flags = Flags::KEY;
    let stream = publish(&stub, "livestream", &[picture, frame(50)]);
    let player = session(&stub, detail("rtmp-play", "livestream"), Some(stream.clone()));
    stub.figures.sample_traffic(&stub.host);
    stub.figures.sample_traffic(&stub.host);
    stub.figures.sample_system(&[]);
    (stub, player, stream.api_id.clone())
}

#[test]
fn every_path_of_the_document_answers_as_it_says() {
    let (stub, player, stream) = busy();
    let root = document(&stub);
    assert_eq!(root["openapi"], "3.1.0");
    let mut seen = 0;
    for (path, operations) in root["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_ascii_uppercase();
            seen += 1;
            let real = path
                .replace("/clients/{id}", &format!("/clients/{}", player.id))
                .replace("/streams/{id}", &format!("/streams/{stream}"))
                .replace("{name}", "__defaultVhost__");
            if path.ends_with("/events") {
                continue;
            }
            let check = |target: &str, peer: [u8; 4], status: u16| {
                let answer = ask_from(&stub, peer, &format!("{method} {target}"), &[]);
                assert_eq!(answer.status, status, "{method} {target}: {}", answer.body);
                described(&root, path, &method, &answer).unwrap();
            };
            let good = if method == "DELETE" { 204 } else { 200 };
            check(&real, [127, 0, 0, 1], good);
            check(&format!("{real}?no_such=1"), [127, 0, 0, 1], 400);
            // A room is there whether somebody is in it or not.
            if path.contains('{') && !path.contains("{app}") {
                check(&path.replace("{id}", "none").replace("{name}", "none"), [127, 0, 0, 1], 404);
            }
            let guarded = !operation["responses"]["403"].is_null();
            assert_eq!(
                guarded,
                method != "GET" || matches!(path.as_str(), "/api/v2/config" | "/api/v2/reload")
            );
            check(&real, [10, 0, 0, 7], if guarded { 403 } else { good });
        }
    }
    assert_eq!(seen, 16);
    assert_eq!(player.kick_reason(), Some(Kick::Api));
}

#[test]
fn every_parameter_of_the_document_is_taken_and_checked() {
    let (stub, ..) = busy();
    let root = document(&stub);
    for (path, operations) in root["paths"].as_object().unwrap() {
        let Some(operation) = operations.get("get").filter(|_| !path.contains("events")) else {
            continue;
        };
        for param in operation["parameters"].as_array().unwrap() {
            let (name, schema) = (param["name"].as_str().unwrap(), &param["schema"]);
            if param["in"] == "path" {
                continue;
            }
            let mut good: Vec<String> = match &schema["enum"] {
                Value::Array(words) => {
                    words.iter().map(|w| w.as_str().unwrap().to_owned()).collect()
                }
                _ => Vec::new(),
            };
            match schema["type"].as_str().unwrap() {
                "boolean" => good.extend(["true".to_owned(), "false".to_owned()]),
                "integer" => {
                    good.extend([schema["minimum"].to_string(), schema["maximum"].to_string()]);
                }
                _ if good.is_empty() => good.push("x".to_owned()),
                _ => {}
            }
            for value in good {
                let answer = ask(&stub, &format!("GET {path}?{name}={value}"), &[]);
                assert_eq!(answer.status, 200, "{path} {name}={value}: {}", answer.body);
                described(&root, path, "GET", &answer).unwrap();
            }
            let answer = ask(&stub, &format!("GET {path}?{name}="), &[]);
            assert_eq!(answer.status, 400, "{path} {name}");
        }
    }
}

#[test]
fn lists_are_filtered_and_sorted() {
    let stub = stub(&[]);
    let held: Vec<Session> = (0..5)
        .map(|n| {
            let kind = if n == 0 { "fmle-publish" } else { "rtmp-play" };
            let held = session(&stub, detail(kind, "a"), None);
            held.counters.lag_ms.store(n, Relaxed);
            held
        })
        .collect();
    let ids = |query: &str| -> Vec<String> {
        let page = told(&ask(&stub, &format!("GET /api/v2/clients?{query}"), &[]));
        let items = page["items"].as_array().unwrap();
        items.iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect()
    };
    let id = |n: usize| held[n].id.to_string();
    assert_eq!(ids("publish=true"), [id(0)]);
    assert_eq!(ids("sort=-lag&limit=2"), [id(4), id(3)]);
    assert_eq!(ids("sort=-lag&limit=2&offset=2"), [id(2), id(1)]);
    assert_eq!(ids("stream=b").len(), 0);
    assert_eq!(ids("stream=a&app=live&vhost=__defaultVhost__&ip=127.0.0.1").len(), 5);
    assert_eq!(ids("protocol=hls").len(), 0);
    assert!(ids("").is_sorted());
}

#[test]
fn a_path_that_is_not_there_and_a_method_that_is_not_are_told_apart() {
    let stub = stub(&[]);
    for path in ["/api/v2", "/api/v2/", "/api/v2/nothing", "/api/v2/streams/", "/api/v2/../x"] {
        let answer = ask(&stub, &format!("GET {path}"), &[]);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(told(&answer)["instance"], path);
    }
    let answer = ask(&stub, "PUT /api/v2/clients/x", &[]);
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, DELETE"));
    let answer = ask(&stub, "HEAD /api/v2/streams", &[]);
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(ask(&stub, "OPTIONS /api/v2/streams", &[]).status, 405);
}

#[test]
fn with_authentication_the_second_face_is_closed_too() {
    let stub = stub(&[
        ("http_api.auth.enabled", "on"),
        ("http_api.auth.username", "ann"),
        ("http_api.auth.password", "x"),
    ]);
    let answer = ask(&stub, "GET /api/v2/streams", &[]);
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Basic"));
    assert_eq!(answer.header("content-type"), "application/problem+json");
    for good in ["authorization: Basic YW5uOng=", "authorization: Bearer 0123456789abcdef"] {
        assert_eq!(ask(&stub, "GET /api/v2/streams", &[good]).status, 200, "{good}");
    }
}

#[test]
fn what_changes_something_is_shared_with_no_other_origin() {
    let (stub, player, _) = busy();
    let origin = "origin: http://localhost:3000";
    let cors = |request: &str| {
        ask(&stub, request, &[origin, "host: localhost:1985"])
            .header("access-control-allow-origin")
            .to_owned()
    };
    assert_eq!(cors("GET /api/v2/streams"), "*");
    assert_eq!(cors("GET /api/v2/config"), "");
    assert_eq!(cors("POST /api/v2/reload?dry_run=true"), "");
    assert_eq!(cors(&format!("DELETE /api/v2/clients/{}", player.id)), "");
}

#[test]
fn the_configuration_is_told_without_its_secrets() {
    let (stub, ..) = busy();
    let answer = ask(&stub, "GET /api/v2/config?limit=1000", &[]);
    assert!(!answer.body.contains("s3cret"), "{}", answer.body);
    let items = told(&answer)["items"].as_array().unwrap().clone();
    let value = |path: &str| {
        items.iter().find(|i| i["path"] == path).map_or(Value::Null, |i| i["value"].clone())
    };
    assert_eq!(value("heartbeat.auth.password"), json!(["***"]));
    assert_eq!(value("vhost.hls.enabled"), json!(["on"]));
    assert_eq!(value("chunk_size"), Value::Null);
    let all = told(&ask(&stub, "GET /api/v2/config?defaults=true&path=chunk_size", &[]));
    assert_eq!(all["items"][0]["origin"], "default");
    assert_eq!(all["items"][0]["value"], json!(["60000"]));
    let hls = told(&ask(&stub, "GET /api/v2/config?path=vhost.hls&vhost=__defaultVhost__", &[]));
    assert_eq!(hls["total"], 1);
}

#[test]
fn a_dry_run_tells_the_difference_and_changes_nothing() {
    let stub = stub(&[]);
    let answer = told(&ask(&stub, "POST /api/v2/reload?dry_run=true", &[]));
    assert_eq!((&answer["dry_run"], *stub.reloads.0.lock().unwrap()), (&json!(true), 0));
    assert_eq!(
        answer["changes"][0],
        json!({
            "path": "http_api.auth.password", "vhost": null, "kind": "changed",
            "takes_effect": "live", "before": "***", "after": "***",
        })
    );
    let answer = told(&ask(&stub, "POST /api/v2/reload", &[]));
    assert_eq!((&answer["dry_run"], *stub.reloads.0.lock().unwrap()), (&json!(false), 1));
    let last = told(&ask(&stub, "GET /api/v2/reload", &[]));
    assert_eq!(last, json!({ "id": "abc", "state": "running", "fault": "line 3" }));
}

#[test]
fn a_stream_is_told_with_its_tracks_and_health() {
    let (stub, _player, id) = busy();
    let stream = told(&ask(&stub, &format!("GET /api/v2/streams/{id}"), &[]));
    assert_eq!(stream["url"], "/live/livestream");
    assert_eq!(stream["tracks"][0]["codec"], "H264");
    assert_eq!(stream["tracks"][1]["kind"], "audio");
    // Nothing came between the two samples.
    assert_eq!(stream["health"]["verdict"], "network");
    let player = told(&ask(&stub, "GET /api/v2/clients?publish=false", &[]));
    assert_eq!(player["items"][0]["health"]["lag_ms"], 0, "{player}");
    assert_eq!(told(&ask(&stub, "GET /api/v2/streams?verdict=ok", &[]))["total"], 0);
    assert_eq!(told(&ask(&stub, "GET /api/v2/streams?verdict=network", &[]))["total"], 1);
}

/// Reads the first events of an answer, without its end.
fn events(stub: &Stub, target: &str, during: impl FnOnce()) -> (u16, String) {
    let builder = http::Request::builder().method("GET").uri(target);
    let (parts, ()) = builder.body(()).unwrap().into_parts();
    let ask = Ask {
        host: stub.host.clone(),
        parts,
        peer: ([127, 0, 0, 1], 5000).into(),
        local: ([10, 0, 0, 1], 1985).into(),
        role: Role { api: true, ..Role::default() },
    };
    stub.runtime.block_on(async {
        let (parts, mut body) = stub.api.answer(ask).await.into_parts();
        during();
        let mut text = String::new();
        // The second piece is the last that is waited for.
        for _ in 0..2 {
            let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
            text.push_str(std::str::from_utf8(&piece).unwrap());
            if parts.status != 200 {
                break;
            }
        }
        (parts.status.as_u16(), text)
    })
}

#[test]
fn events_are_told_by_topic_and_only_to_so_many() {
    let stub = stub(&[("http_api.events_max", "1")]);
    let (status, text) = events(&stub, "/api/v2/events?topic=faults", || {
        stub.host.sessions.errors.fetch_add(3, Relaxed);
        let joined = session(&stub, detail("rtmp-play", "a"), None);
        stub.figures.events.look(&stub.host, &stub.figures, || stub.api.reloader.last());
        drop(joined);
    });
    assert_eq!(status, 200);
    assert!(text.starts_with("event: hello\ndata: {\"server\":\"vid-0000001\""), "{text}");
    assert!(text.contains("\nevent: fault\ndata: {\"id\":"), "{text}");
    assert!(text.contains(r#""kind":"session_errors","count":3"#), "{text}");
    assert!(!text.contains("client.joined"), "{text}");
    let closed = super::stub(&[("http_api.events_max", "0")]);
    let answer = ask(&closed, "GET /api/v2/events", &[]);
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("http_api.events_max"));
}

#[test]
fn a_room_has_the_streams_of_its_application_as_members() {
    let stub = stub(&[]);
    let _members = ["bob", "ann"].map(|name| publish(&stub, name, &[frame(10)]));
    let room = told(&ask(&stub, "GET /api/v2/rooms/live", &[]));
    let names: Vec<_> = room["items"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
    assert_eq!(names, ["ann", "bob"]);
    assert_eq!(
        (&room["items"][0]["audio"], &room["items"][0]["video"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        told(&ask(&stub, "GET /api/v2/rooms/live?limit=1&offset=1", &[]))["items"][0]["name"],
        "bob"
    );
    assert_eq!(told(&ask(&stub, "GET /api/v2/rooms/other", &[]))["total"], 0);
}

#[test]
fn who_listens_to_a_room_hears_of_its_members_alone() {
    let stub = stub(&[]);
    let _there = publish(&stub, "ann", &[frame(10)]);
    let (status, text) = events(&stub, "/api/v2/rooms/live/events", || {
        let elsewhere = stub.host.hub.open(&StreamKey::new("__defaultVhost__", "hall", "eve"));
        let _player = session(&stub, detail("rtmp-play", "a"), Some(elsewhere));
        let _joined = publish(&stub, "bob", &[frame(10)]);
        stub.figures.events.look(&stub.host, &stub.figures, || stub.api.reloader.last());
    });
    assert_eq!(status, 200);
    let (hello, rest) = text.split_once("\n\n").unwrap();
    assert!(hello.starts_with("event: hello\ndata: {\"server\""), "{hello}");
    assert!(hello.contains(r#""app":"live","members":[{"#) && hello.contains(r#""name":"ann""#));
    assert!(rest.contains("event: room.joined\n") && rest.contains(r#""name":"bob""#), "{rest}");
    assert!(!rest.contains("client."), "{rest}");
}
