use std::io;

use gate::Detail;

use super::*;
use crate::config::{self, Facts, Request, directives};

struct Files(Vec<(&'static str, String)>);

impl FileLoader for Files {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let found = self.0.iter().find(|(name, _)| *name == path);
        found.map(|(_, text)| text.clone().into_bytes()).ok_or(io::ErrorKind::NotFound.into())
    }
}

fn load(vhost: &str, env: &[(&str, &str)]) -> Result<Arc<Config>, String> {
    let text = format!("listen 1935;\ndaemon off;\nvhost v {{\n{vhost}\n}}\n");
    let request = Request {
        table: directives::table(&[]),
        file: Some("x.conf".to_owned()),
        env_only: false,
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        facts: Facts::default(),
    };
    let shown = |list: Vec<config::Diagnostic>| {
        list.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    config::load(request, &Files(vec![("x.conf", text)])).map(|(c, _)| c).map_err(shown)
}

fn access(config: &Config) -> Access {
    let access = Access::new(Box::new(Files(Vec::new())));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let compiled = access.compile(config, runtime.handle()).unwrap();
    access.0.rules.store(Arc::new(compiled));
    access
}

fn intent(vhost: &str, param: &str, page: &str) -> Intent {
    let detail = Detail {
        vhost: vhost.to_owned(),
        app: "live".to_owned(),
        name: "cam.flv".to_owned(),
        param: param.to_owned(),
        page_url: page.to_owned(),
        ..Detail::default()
    };
    Intent { session: "s".to_owned(), peer: ([192, 0, 2, 1], 4000).into(), detail }
}

fn ask(access: &Access, direction: Direction, param: &str, page: &str) -> Result<(), Refusal> {
    let intent = intent("v", param, page);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(access.check(&intent, direction))
}

use Direction::{Play, Publish};

#[test]
fn without_rules_everybody_is_let_in() {
    let access = access(&load("", &[]).unwrap());
    assert!(ask(&access, Publish, "", "").is_ok());
    assert!(ask(&access, Play, "", "").is_ok());
}

#[test]
fn a_virtual_host_without_rules_compiled_lets_nobody_in() {
    let access = Access::new(Box::new(Files(Vec::new())));
    assert!(matches!(ask(&access, Play, "", ""), Err(Refusal::Vhost(_))));
}

#[test]
fn each_section_that_is_on_must_agree() {
    let rules = "security { enabled on; allow publish all; allow play 192.0.2.0/24; }\n\
                 refer { enabled on; play example.com; }\n\
                 auth { enabled on; publish open; play key; key play abcdefabcdef; }";
    let access = access(&load(rules, &[]).unwrap());
    let label = |direction, param, page| {
        ask(&access, direction, param, page).map_or_else(|refusal| refusal.label(), |()| "in")
    };
    assert_eq!(label(Publish, "", ""), "in");
    assert_eq!(label(Play, "?key=abcdefabcdef", "http://example.com/"), "in");
    assert_eq!(label(Play, "?key=abcdefabcdef", ""), "refer");
    assert_eq!(label(Play, "?key=wrong", "http://example.com/"), "key");
    assert_eq!(label(Play, "", "http://example.com/"), "auth");
}

#[test]
fn any_of_the_methods_lets_in_and_the_reason_says_what_would() {
    let rules = "auth { enabled on; publish key; play sign jwt key;\n\
                 key all abcdefabcdef; sign { secret a 0123456789abc; } jwt { secret 0123456789abc; } }";
    let access = access(&load(rules, &[]).unwrap());
    assert!(ask(&access, Play, "?token=x.y.z&key=abcdefabcdef", "").is_ok());
    let refusal = ask(&access, Play, "", "").unwrap_err();
    let said = refusal.to_string();
    assert!(said.contains("`sign=`") && said.contains("`token=`") && said.contains("`key=`"));
    assert_eq!((refusal.status().as_u16(), refusal.code()), (401, 1052));
    let url = sign_url(
        "http://h/live/cam.flv",
        &Wish {
            direction: Play,
            kid: Some("a"),
            secret: "0123456789abc",
            expires: now() + 60,
            ip: None,
        },
    );
    let url = url.unwrap();
    let param = &url[url.find('?').unwrap()..];
    assert!(ask(&access, Play, param, "").is_ok());
    assert!(ask(&access, Publish, param, "").is_err());
}

#[test]
fn no_reason_repeats_what_was_shown() {
    let rules = "auth { enabled on; publish key sign jwt; play open;\n\
                 key all abcdefabcdef; sign { secret a 0123456789abc; } jwt { secret 0123456789abc; } }";
    let access = access(&load(rules, &[]).unwrap());
    for param in ["?key=hunter2", "?expires=1&sign=hunter2", "?token=hunter2", "?token=a.hunter2.b"]
    {
        let refusal = ask(&access, Publish, param, "").unwrap_err();
        assert!(!refusal.to_string().contains("hunter2"), "{refusal}");
    }
}

#[test]
fn mistakes_are_told_with_their_place_and_a_way_out() {
    for (rules, wanted) in [
        ("auth { enabled on; play open; }", &["`publish`", "publish open;", "x.conf:4:1"][..]),
        ("auth { enabled on; publish kee; play open; }", &["`kee`", "did you mean `key`?", "4:28"]),
        (
            "auth { enabled on; publish key; play open; }",
            &["nothing to check it by", "key publish"],
        ),
        ("auth { enabled on; publish jwt; play open; }", &["nothing to check it by", "jwt {"]),
        ("auth { enabled on; publish open key; play open; key all x; }", &["`open`"]),
        ("auth { key publsh abcdefabcdef; }", &["`publsh`", "did you mean `publish`?", "4:12"]),
        ("auth { key publish; }", &["key publish|play|all SECRET"]),
        ("auth { key all \"a b c d e f g\"; }", &["travels in addresses"]),
        ("auth { key all abcdefabcdef /x; }", &["`/x`", "app/stream"]),
        ("auth { sign { secret abcdefabcdef; } }", &["secret ID SECRET"]),
        ("auth { sign { secret a abcdefabcdef; secret a abcdefabcdeg; } }", &["two secrets"]),
        ("auth { sign { secret a $NO_SUCH; } }", &["not set"]),
        ("auth { jwt { jwks ftp://x/; } }", &["neither http nor https"]),
        ("auth { jwt { issuers a; } }", &["unknown directive `issuers`", "did you mean `issuer`?"]),
        ("auth { sing { } }", &["did you mean `sign`?"]),
        ("security { allow play host.test; }", &["`host.test`", "not an IP address", "4:23"]),
        ("security { deny publish 10.0.0.0/33; }", &["prefix length"]),
        ("security { allow plai all; }", &["did you mean `play`?"]),
        ("security { allow all; }", &["two words"]),
    ] {
        let said = load(rules, &[]).expect_err(rules);
        for text in wanted {
            assert!(said.contains(text), "{rules}: {text} is not in\n{said}");
        }
    }
}

#[test]
fn no_diagnostic_shows_a_secret() {
    for rules in [
        "auth { enabled on; publish key; key publish hunter2hunter2; }",
        "auth { key publsh hunter2hunter2; }",
        "auth { kee publish hunter2hunter2; }",
        "auth { key publish hunter2hunter2 /x; }",
        "auth { sign { secret a hunter2hunter2; secret a hunter2hunter3; } }",
        "auth { sign { secret hunter2hunter2; } }",
        "auth { jwt { secret hunter2hunter2 x; } }",
        "auth { jwt { sekret hunter2hunter2; } }",
        "auth { key publish \"hunter2 hunter2\"; }",
        "auth { key hunter2hunter2 publish; }",
        "auth { key hunter2hunter2; }",
    ] {
        let said = load(rules, &[]).expect_err(rules);
        assert!(!said.contains("hunter2"), "{said}");
        assert!(said.contains("***"), "{said}");
    }
}

#[test]
fn secrets_may_come_from_the_environment() {
    let rules = "auth { enabled on; publish key; play open; key publish $ENCODER_KEY; }";
    let access = access(&load(rules, &[("ENCODER_KEY", "from-outside-1")]).unwrap());
    assert!(ask(&access, Publish, "?key=from-outside-1", "").is_ok());
    assert!(ask(&access, Publish, "?key=$ENCODER_KEY", "").is_err());
    assert!(load(rules, &[]).is_err());
}

/// Another folder: what is in it cannot be seen while the file is checked.
const ELSEWHERE: &str = "}\nwork_dir elsewhere;\nvhost w {";

#[test]
fn a_key_file_that_cannot_be_read_is_told_and_nothing_changes() {
    let rules = "auth { enabled on; publish open; play jwt; jwt { key none.pem; } }";
    let said = load(rules, &[]).unwrap_err();
    assert!(said.contains("x.conf:4:54: error: the key file `none.pem`: "), "{said}");
    let config = load(&format!("{rules}\n{ELSEWHERE}"), &[]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let access = Access::new(Box::new(Files(vec![])));
    let said = access.compile(&config, runtime.handle()).err().unwrap();
    assert!(said.contains("auth.jwt.key of vhost v: none.pem: "), "{said}");
    let access = Access::new(Box::new(Files(vec![("none.pem", "x".into())])));
    let said = access.compile(&config, runtime.handle()).err().unwrap();
    assert!(said.contains("BEGIN PUBLIC KEY"), "{said}");
}

/// Serves one key set to everybody; the URL.
async fn serve(set: String) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 1024]).await;
            let len = set.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{set}");
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    url
}

#[tokio::test]
async fn a_token_by_a_fetched_key_is_let_in_and_a_reload_keeps_the_keys() {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let pair = Ed25519KeyPair::generate().unwrap();
    let set = format!(
        r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"a","x":"{}"}}]}}"#,
        BASE64.encode(pair.public_key().as_ref())
    );
    let url = serve(set).await;
    let rules = format!("auth {{ enabled on; publish jwt; play jwt; jwt {{ jwks {url}; }} }}");
    let access = Access::new(Box::new(Files(Vec::new())));
    let compiled = access.compile(&load(&rules, &[]).unwrap(), &Handle::current()).unwrap();
    access.0.rules.store(Arc::new(compiled));
    let token = |kid: &str| {
        let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#);
        let claims = format!(r#"{{"exp":{},"stream":"live/cam"}}"#, now() + 60);
        let text = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        let signature = BASE64.encode(pair.sign(text.as_bytes()));
        format!("?token={text}.{signature}")
    };
    // The first asking waits for the set, though not for ever.
    while let Err(refusal) = access.check(&intent("v", &token("a"), ""), Play).await {
        assert!(refusal.to_string().contains("not been fetched yet"), "{refusal}");
    }
    let refusal = access.check(&intent("v", &token("b"), ""), Play).await.unwrap_err();
    assert!(refusal.to_string().contains("`kid`"), "{refusal}");
    // A reload keeps the keys that were fetched.
    let fetched = access.0.sets.lock().unwrap().values().next().unwrap().upgrade().unwrap();
    let again = access.compile(&load(&rules, &[]).unwrap(), &Handle::current()).unwrap();
    access.0.rules.store(Arc::new(again));
    assert_eq!(access.0.sets.lock().unwrap().len(), 1);
    assert!(fetched.keys().is_some());
    access.check(&intent("v", &token("a"), ""), Play).await.unwrap();
}

#[test]
fn the_first_secret_signs_and_others_by_their_id() {
    let rules = "auth { sign { secret v2 newnewnewnew; secret v1 oldoldoldold; } }";
    let config = load(rules, &[]).unwrap();
    let of = |kid| signing_secret(&config, "v", kid).map(|(id, _)| id);
    assert_eq!(of(None).as_deref(), Some("v2"));
    assert_eq!(of(Some("v1")).as_deref(), Some("v1"));
    assert_eq!(of(Some("v3")), None);
    assert_eq!(signing_secret(&config, "nowhere", None), None);
}
