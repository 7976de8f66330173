//! Callbacks, from a gate's question to the bytes on the wire.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use control::access::Access;
use control::admission::Admission;
use control::config::{Disk, directives};
use control::exec::Programs;
use control::forward::Forwards;
use control::hooks::{Hooks, signature};
use control::metrics;
use control::sampler::Figures;
use control::telemetry::Telemetry;
use gate::conf::Config;
use gate::{
    Detail, Gate, Host, HostParts, Identity, Intent, Publication, Refusal, Segment, Session,
};
use hub::{FrameReceiver, Hub, Received, Shard, start_shards};

use crate::web::{Asked, PATIENCE, Web};

pub(crate) struct Rig {
    pub(crate) host: Arc<Host>,
    hooks: Hooks,
    figures: Figures,
    pub(crate) programs: Programs,
    pub(crate) forwards: Forwards,
    _control: tokio::runtime::Runtime,
}

pub(crate) fn config(pairs: &[(&str, &str)]) -> Arc<Config> {
    let mut all = vec![("vhost.http_hooks.enabled", "on")];
    all.extend(pairs);
    Config::from_pairs(directives::table(&[]), &all)
}

pub(crate) fn rig(pairs: &[(&str, &str)]) -> Rig {
    let control =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut identity = Identity::new("vid-0000001".to_owned(), "0.1.0");
    identity.service_id = "svc00001".to_owned();
    let telemetry = Telemetry::default();
    let hooks = Hooks::new(Some("/srv".into())).with_telemetry(telemetry.clone());
    let access = Access::new(Box::new(Disk));
    let programs = Programs::default();
    let forwards = Forwards::new(hooks.clone());
    let host = Host::new(HostParts {
        hub: Hub::new(|n| format!("vid-s{n}")),
        shards: start_shards(1).unwrap(),
        config: config(pairs),
        identity,
        admission: Box::new(Admission {
            access: access.clone(),
            hooks: hooks.clone(),
            programs: programs.clone(),
            forwards: forwards.clone(),
            telemetry: telemetry.clone(),
        }),
        control: control.handle().clone(),
        fileless: true,
        inherited: gate::Inherited::default(),
    });
    // Without rules, which is said by a configuration that was put in force.
    let rules = control.block_on(access.prepare(&host, &host.config()));
    rules.map_err(|e| e.to_string()).unwrap().commit();
    let figures = Figures::new(hooks.clone()).with_programs(programs.clone());
    let figures = figures.with_forwards(forwards.clone()).with_telemetry(telemetry.clone());
    host.sessions.set_witness(Box::new(telemetry.clone()));
    let told = control.block_on(telemetry.prepare(&host, &host.config()));
    told.map_err(|e| e.to_string()).unwrap().commit();
    let pushed = forwards.clone();
    host.hub.set_watchers(vec![Box::new(move |_, event| pushed.on_stream(event))]);
    Rig { host, figures, hooks, programs, forwards, _control: control }
}

impl Rig {
    /// Does something on the shard, and waits for what comes of it.
    pub(crate) fn on_shard<T, F>(
        &self,
        work: impl FnOnce(Arc<Host>, Rc<Shard>) -> F + Send + 'static,
    ) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        self.start(work).recv_timeout(PATIENCE).unwrap()
    }

    pub(crate) fn start<T, F>(
        &self,
        work: impl FnOnce(Arc<Host>, Rc<Shard>) -> F + Send + 'static,
    ) -> mpsc::Receiver<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (tx, rx) = mpsc::channel();
        let host = self.host.clone();
        self.host.shards()[0].try_run(Box::new(move |shard| {
            let inner = shard.clone();
            shard.spawn("test", async move {
                let _ = tx.send(work(host, inner).await);
            });
        }));
        rx
    }

    pub(crate) fn metric(&self, line: &str) -> u64 {
        let text = metrics::render(&self.host, &self.figures);
        let value = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {line} in {text}")).parse().unwrap()
    }
}

fn hook_metric(name: &str, hook: &str, label: &str, value: &str) -> String {
    format!(
        "millrace_hook_{name}{{vhost=\"__defaultVhost__\",hook=\"{hook}\",{label}=\"{value}\"}}"
    )
}

pub(crate) fn session(host: &Arc<Host>, id: &str, gate: &'static str) -> Session {
    let session = host.sessions.open_as(id.into(), gate, ([192, 0, 2, 7], 4000).into());
    if gate == "rtmp" {
        session.is_connection();
    }
    session
}

pub(crate) fn detail(kind: &'static str) -> Detail {
    Detail {
        kind,
        publish: kind.ends_with("publish"),
        vhost: "example.com".to_owned(),
        app: "live".to_owned(),
        name: "s\"1".to_owned(),
        param: "?token=x&y=\u{6d41}".to_owned(),
        tc_url: "rtmp://example.com/live".to_owned(),
        page_url: "http://page/".to_owned(),
        swf_url: "http://page/p.swf".to_owned(),
    }
}

pub(crate) fn intent(session: &Session, detail: Detail) -> Intent {
    Intent { session: session.id.to_string(), peer: session.peer, detail }
}

/// Asks to play, as `id`, over `gate`; leaves at once if let in.
fn play(rig: &Rig, id: &'static str, gate: &'static str) -> Result<(), Refusal> {
    rig.on_shard(move |host, _| async move {
        let session = session(&host, id, gate);
        let asked = intent(&session, detail("rtmp-play"));
        host.play(&session, asked).await.map(drop)
    })
}

fn bodies(all: &[Asked]) -> Vec<&str> {
    all.iter().map(|asked| asked.body.as_str()).collect()
}

fn actions(all: &[Asked]) -> Vec<&str> {
    all.iter().map(Asked::action).collect()
}

#[test]
fn a_publisher_is_told_of_in_the_words_and_the_order_of_srs() {
    let web = Web::start();
    let (url, notify) = (web.url("/x"), web.url("/notify/[app]/[stream]/[ts_url][param]"));
    let rig = rig(&[
        ("vhost.http_hooks.on_connect", &url),
        ("vhost.http_hooks.on_publish", &url),
        ("vhost.http_hooks.on_hls", &url),
        ("vhost.http_hooks.on_dvr", &url),
        ("vhost.http_hooks.on_unpublish", &url),
        ("vhost.http_hooks.on_close", &url),
    ]);
    let with_notify = [("vhost.http_hooks.on_hls_notify", notify.as_str())];
    rig.on_shard(|host, shard| async move {
        let session = session(&host, "k3w81zq5", "rtmp");
        session.counters.recv_bytes.store(1234, Relaxed);
        session.counters.send_bytes.store(56, Relaxed);
        let asked = intent(&session, detail("fmle-publish"));
        let (publisher, hold) = host.publish(&shard, &session, asked).await.unwrap();
        let frames = shard.subscribe_frames(publisher.stream());
        let owner = owner(&frames).await;
        drop((publisher, hold, session));
        // The publisher has gone, but its last segment and its recording are still being written.
        Publication::tell_segment(&*owner, segment("s-7.ts"));
        Publication::tell_recorded(&*owner, "./objs/nginx/html/live/s.1.flv");
    });
    let all = web.count(6);
    let (head, ids) = (
        r#""server_id":"vid-0000001","service_id":"svc00001","#,
        r#""client_id":"k3w81zq5","ip":"192.0.2.7","vhost":"__defaultVhost__","app":"live","#,
    );
    let stream = r#""stream":"s\"1","param":"?token=x&y=流""#;
    let tc = r#""tcUrl":"rtmp://example.com/live""#;
    let place = r#""stream_url":"/live/s\"1","stream_id":"vid-s1""#;
    assert_eq!(
        bodies(&all),
        [
            format!(
                r#"{{{head}"action":"on_connect",{ids}{stream},{tc},"pageUrl":"http://page/"}}"#
            ),
            format!(r#"{{{head}"action":"on_publish",{ids}{tc},{stream},{place}}}"#),
            format!(
                r#"{{{head}"action":"on_hls",{ids}{tc},{stream},"duration":9.68,"cwd":"/srv","file":"./objs/nginx/html/live/s-7.ts","url":"live/s-7.ts","m3u8":"./objs/nginx/html/live/s.m3u8","m3u8_url":"live/s.m3u8","seq_no":7,{place}}}"#
            ),
            format!(
                r#"{{{head}"action":"on_dvr",{ids}{tc},{stream},"cwd":"/srv","file":"./objs/nginx/html/live/s.1.flv",{place}}}"#
            ),
            format!(r#"{{{head}"action":"on_unpublish",{ids}{tc},{stream},{place}}}"#),
            format!(r#"{{{head}"action":"on_close",{ids}"send_bytes":56,"recv_bytes":1234}}"#),
        ]
    );
    let delivery = all[0].header("X-Millrace-Delivery").unwrap();
    assert_eq!(delivery.len(), 16);
    assert_eq!(
        all[0].head,
        format!(
            "POST /x HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: Keep-Alive\r\n\
             User-Agent: SRS/6.0.0(millrace/0.1.0)\r\nContent-Type: application/json\r\n\
             X-Millrace-Delivery: {delivery}\r\nContent-Length: {}\r\n\r\n",
            web.port,
            all[0].body.len()
        )
    );
    assert_eq!(web.all().len(), 6);

    // A fetch has its template filled in, and goes elsewhere when the segment is elsewhere.
    rig.host.set_config(config(&with_notify));
    let elsewhere = web.url("/cdn/s-9.ts");
    rig.on_shard(move |host, shard| async move {
        let session = session(&host, "k3w81zq6", "rtmp");
        let asked = intent(&session, detail("fmle-publish"));
        let (publisher, _hold) = host.publish(&shard, &session, asked).await.unwrap();
        let frames = shard.subscribe_frames(publisher.stream());
        let owner = owner(&frames).await;
        Publication::tell_segment(&*owner, segment("s-8.ts"));
        Publication::tell_segment(&*owner, segment(&elsewhere));
    });
    let all = web.count(8);
    assert!(all[6].head.starts_with("GET /notify/live/s%221/s-8.ts?token=x&y=%E6%B5%81 HTTP/1.1"));
    assert!(all[7].head.starts_with("GET /cdn/s-9.ts HTTP/1.1"), "{:?}", all[7]);
}

fn segment(uri: &str) -> Segment<'_> {
    Segment {
        sequence: 7,
        duration_us: 9_676_000,
        folder: "./objs/nginx/html",
        path: "live/s-7.ts",
        uri,
        playlist: "live/s.m3u8",
    }
}

async fn owner(frames: &FrameReceiver) -> Arc<dyn hub::PublisherOwner> {
    match frames.recv().await {
        Received::Published(owner) => owner,
        other => panic!("{other:?}"),
    }
}

#[test]
fn players_are_told_of_as_their_protocol_has_it() {
    let web = Web::start();
    let url = web.url("/x");
    let rig = rig(&[
        ("vhost.http_hooks.on_connect", &url),
        ("vhost.http_hooks.on_play", &url),
        ("vhost.http_hooks.on_stop", &url),
        ("vhost.http_hooks.on_close", &url),
    ]);
    let see =
        |kind: &'static str, gate: &'static str, name: &'static str, from: usize, n: usize| {
            rig.on_shard(move |host, _| async move {
                let session = session(&host, "k3w81zq5", gate);
                session.set_claimed([203, 0, 113, 9].into());
                let tc_url = "http://example.com:8080/live".to_owned();
                let detail = Detail { name: name.to_owned(), tc_url, ..detail(kind) };
                let asked = intent(&session, detail);
                host.play(&session, asked).await.map(drop).unwrap();
            });
            let all = web.count(from + n).split_off(from);
            all.into_iter().map(|asked| asked.body).collect::<Vec<_>>()
        };
    let head = |action: &str, ip: &str| {
        format!(
            r#"{{"server_id":"vid-0000001","service_id":"svc00001","action":"{action}","client_id":"k3w81zq5","ip":"{ip}","vhost":"__defaultVhost__","app":"live","#
        )
    };
    let param = r#""param":"?token=x&y=流""#;
    let page = r#""pageUrl":"http://page/""#;
    let place = r#""stream_url":"/live/s","stream_id":"vid-s1"}"#;

    // No connection over HTTP; the name without extension, a made-up tcUrl, the claimed address.
    let (play, stop) = (head("on_play", "203.0.113.9"), head("on_stop", "203.0.113.9"));
    let tc = r#""tcUrl":"rtmp://__defaultVhost__/live""#;
    assert_eq!(
        see("flv-play", "httpflv", "s.flv", 0, 2),
        [
            format!(r#"{play}"stream":"s",{tc},{param},{page},{place}"#),
            format!(r#"{stop}{tc},"stream":"s",{param},{place}"#),
        ]
    );
    let (play, stop) = (head("on_play", "192.0.2.7"), head("on_stop", "192.0.2.7"));
    let tc = r#""tcUrl":"http://example.com:8080/live""#;
    assert_eq!(
        see("hls-play", "hls", "s.m3u8", 2, 2),
        [
            format!(r#"{play}"stream":"s.m3u8",{tc},{param},{page},{place}"#),
            format!(r#"{stop}{tc},"stream":"s.m3u8",{param},{place}"#),
        ]
    );
    let rtmp = see("rtmp-play", "rtmp", "s", 4, 4);
    assert_eq!(rtmp[1], format!(r#"{play}"stream":"s",{tc},{param},{page},{place}"#));
    assert_eq!(
        actions(&web.all()[4..]),
        ["on_connect", "on_play", "on_stop", "on_close"],
        "{rtmp:?}"
    );
}

#[test]
fn a_busy_publisher_has_no_end_to_tell_and_the_first_goes_on() {
    let web = Web::start();
    let url = web.url("/x");
    let rig = rig(&[
        ("vhost.publish.takeover", "off"),
        ("vhost.http_hooks.on_connect", &url),
        ("vhost.http_hooks.on_publish", &url),
        ("vhost.http_hooks.on_unpublish", &url),
        ("vhost.http_hooks.on_close", &url),
    ]);
    rig.on_shard(|host, shard| async move {
        let first = session(&host, "first", "rtmp");
        let asked = intent(&first, detail("fmle-publish"));
        let held = host.publish(&shard, &first, asked).await.unwrap();
        {
            let second = session(&host, "second", "rtmp");
            let asked = intent(&second, detail("fmle-publish"));
            let refused = host.publish(&shard, &second, asked).await.map(drop).unwrap_err();
            assert!(matches!(refused, Refusal::Busy(by) if by == "first"));
        }
        drop((held, first));
    });
    let all = web.count(7);
    let of = |id: &str| {
        let own = all.iter().filter(|a| a.body.contains(id));
        own.map(Asked::action).collect::<Vec<_>>()
    };
    assert_eq!(of("first"), ["on_connect", "on_publish", "on_unpublish", "on_close"]);
    assert_eq!(of("second"), ["on_connect", "on_publish", "on_close"]);
}

#[test]
fn each_way_of_failing_has_its_code_and_its_policy() {
    let web = Web::start();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rig = rig(&[]);
    let table = [
        // path, code when denied, whether `when_down allow` lets in
        ("/yes", None, true),
        ("/object", None, true),
        ("/no", Some(3064), false),
        ("/one", Some(3008), false),
        ("/403", Some(4005), false),
        ("/empty", Some(3008), true),
        ("/garbage", Some(3008), true),
        ("/302", Some(4005), true),
        ("/503", Some(4005), true),
        ("/reset", Some(4005), true),
        ("/binary", Some(4005), true),
        ("/hang", Some(4005), true),
        ("/drip", Some(4005), true),
        ("/flood", Some(3008), true),
        ("/headers", Some(4005), true),
        ("/chunks", Some(3008), true),
        ("dead", Some(4005), true),
        ("http://nowhere.invalid/", Some(4005), true),
        ("no url", Some(4005), true),
    ];
    for (path, code, open) in table {
        let url = match path {
            "dead" => format!("http://{dead}/"),
            path if path.starts_with('/') => web.url(path),
            other => other.to_owned(),
        };
        for policy in ["deny", "allow"] {
            // What drips and hangs is cut off by the time-out; the others must not need it.
            let slow = matches!(path, "/hang" | "/drip");
            rig.host.set_config(config(&[
                ("vhost.http_hooks.on_play", &url),
                ("vhost.http_hooks.timeout", if slow { "0.3" } else { "20" }),
                ("vhost.http_hooks.when_down", policy),
            ]));
            let before = web.all().len();
            let got = play(&rig, "player", "hls").map_err(|refusal| refusal.code());
            let wanted = match code {
                Some(code) if policy == "deny" || !open => Err(code),
                _ => Ok(()),
            };
            assert_eq!(got, wanted, "{path} with {policy}");
            let asked = web.all().len() - before;
            assert!(asked <= 1, "{path}: a question was asked {asked} times");
        }
    }
    let decisions = |what| rig.metric(&hook_metric("decisions_total", "on_play", "decision", what));
    assert_eq!(decisions("allowed"), 4);
    assert_eq!(decisions("denied"), 6);
    assert_eq!(decisions("denied_unasked"), decisions("allowed_unasked"));
    assert_eq!(decisions("denied_unasked"), 14);
}

#[test]
fn the_client_learns_that_it_was_refused_and_nothing_of_where() {
    let web = Web::start();
    let url = web.url("/no?secret=1");
    let rig = rig(&[("vhost.http_hooks.on_play", &url)]);
    let refused = play(&rig, "player", "hls").unwrap_err();
    assert_eq!(refused.to_string(), "the on_play callback says no");
}

#[test]
fn several_urls_are_called_in_order_and_the_first_no_ends_it() {
    let web = Web::start();
    let urls = [web.url("/a"), web.url("/no"), web.url("/c")].join(" ");
    let rig = rig(&[("vhost.http_hooks.on_play", &urls), ("vhost.http_hooks.on_stop", &urls)]);
    assert_eq!(play(&rig, "player", "hls").map_err(|r| r.code()), Err(3064));
    let paths = |all: &[Asked]| all.iter().map(|a| a.path().to_owned()).collect::<Vec<_>>();
    assert_eq!(paths(&web.all()), ["/a", "/no"]);
    // One that gives no answer is as good as a yes where that was asked for, and the next decides.
    let down = [web.url("/503"), web.url("/no")].join(" ");
    let allow = ("vhost.http_hooks.when_down", "allow");
    rig.host.set_config(config(&[("vhost.http_hooks.on_play", &down), allow]));
    assert_eq!(play(&rig, "player", "hls").map_err(|r| r.code()), Err(3064));
    assert_eq!(paths(&web.all()), ["/a", "/no", "/503", "/no"]);
    // A refused player has no end; one that was let in has, and a no stops the round there, too.
    rig.host.set_config(config(&[("vhost.http_hooks.on_stop", &urls)]));
    play(&rig, "player", "hls").unwrap();
    assert_eq!(paths(&web.count(6))[4..], ["/a", "/no"]);
}

#[test]
fn a_notification_is_tried_again_and_what_follows_it_waits() {
    let web = Web::start();
    let (later, yes) = (web.url("/later"), web.url("/yes"));
    let urls = [yes.as_str(), &later].join(" ");
    let rig = rig(&[
        ("vhost.http_hooks.on_connect", &yes),
        ("vhost.http_hooks.on_stop", &urls),
        ("vhost.http_hooks.on_close", &yes),
    ]);
    play(&rig, "player", "rtmp").unwrap();
    let all = web.until("on_close", |all| all.iter().any(|a| a.action() == "on_close"));
    let seen: Vec<_> = all.iter().map(|a| (a.action(), a.path())).collect();
    assert_eq!(
        seen,
        [
            ("on_connect", "/yes"),
            ("on_stop", "/yes"),
            ("on_stop", "/later"),
            ("on_stop", "/later"),
            ("on_stop", "/later"),
            ("on_close", "/yes"),
        ]
    );
    let delivery = |at: usize| all[at].header("X-Millrace-Delivery").unwrap();
    assert_eq!((delivery(2), delivery(3)), (delivery(1), delivery(4)));
    assert_ne!(delivery(4), delivery(5));
    let name = "millrace_hook_retries_total{vhost=\"__defaultVhost__\",hook=\"on_stop\"}";
    assert_eq!(rig.metric(name), 2);
}

#[test]
fn a_notification_that_nobody_answers_is_given_up_and_counted() {
    let web = Web::start();
    let (bad, yes) = (web.url("/503"), web.url("/yes"));
    let rig = rig(&[
        ("vhost.http_hooks.on_stop", &bad),
        ("vhost.http_hooks.on_close", &yes),
        ("vhost.http_hooks.retries", "0"),
    ]);
    play(&rig, "player", "rtmp").unwrap();
    let all = web.count(2);
    assert_eq!(actions(&all), ["on_stop", "on_close"]);
    let dropped = |why| rig.metric(&hook_metric("dropped_total", "on_stop", "reason", why));
    assert_eq!((dropped("unanswered"), dropped("queue")), (1, 0));
}

#[test]
fn a_full_queue_drops_the_newest_and_counts_them() {
    let web = Web::start();
    let (stuck, yes) = (web.url("/hang"), web.url("/yes"));
    let rig = rig(&[
        ("vhost.http_hooks.on_stop", &stuck),
        ("vhost.http_hooks.on_close", &yes),
        ("vhost.http_hooks.queue", "2"),
    ]);
    for id in ["a", "b", "c", "d"] {
        play(&rig, id, "hls").unwrap();
    }
    let dropped = hook_metric("dropped_total", "on_stop", "reason", "queue");
    assert_eq!(rig.metric(&dropped), 2);
    let waiting = "millrace_hook_waiting{vhost=\"__defaultVhost__\",hook=\"on_stop\"}";
    assert_eq!(rig.metric(waiting), 2);
    // The other callback has a queue of its own.
    play(&rig, "e", "rtmp").unwrap();
    web.until("on_close", |all| all.iter().any(|a| a.action() == "on_close"));
    assert_eq!(rig.metric(&dropped), 3);
}

#[test]
fn whoever_leaves_while_it_is_asked_about_withdraws_the_question_and_has_an_end() {
    let web = Web::start();
    let (stuck, yes) = (web.url("/hang"), web.url("/yes"));
    let rig = rig(&[
        ("vhost.http_hooks.on_connect", &yes),
        ("vhost.http_hooks.on_play", &stuck),
        ("vhost.http_hooks.on_stop", &yes),
        ("vhost.http_hooks.on_close", &yes),
    ]);
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    let done = rig.start(move |host, _| async move {
        let session = session(&host, "player", "rtmp");
        let asked = intent(&session, detail("rtmp-play"));
        tokio::select! {
            _ = host.play(&session, asked) => panic!("nobody answers"),
            _ = left => {}
        }
    });
    web.until("on_play", |all| all.iter().any(|a| a.action() == "on_play"));
    leave.send(()).unwrap();
    done.recv_timeout(PATIENCE).unwrap();
    let all = web.until("on_close", |all| all.iter().any(|a| a.action() == "on_close"));
    assert_eq!(actions(&all), ["on_connect", "on_play", "on_stop", "on_close"]);
    // The connection of the question was closed, which its server saw.
    web.until("the end of on_play", |all| all.iter().any(|a| a.action() == "on_play" && a.over));
    let withdrawn = hook_metric("decisions_total", "on_play", "decision", "withdrawn");
    assert_eq!(rig.metric(&withdrawn), 1);
}

#[test]
fn questions_that_hang_delay_no_other_session() {
    let web = Web::start();
    let stuck = web.url("/hang");
    let rig = rig(&[("vhost.http_hooks.on_play", &stuck)]);
    let hanging: Vec<_> = (0..50)
        .map(|n| {
            rig.start(move |host, _| async move {
                let session = session(&host, &format!("stuck{n}"), "hls");
                let asked = intent(&session, detail("rtmp-play"));
                host.play(&session, asked).await.map(drop)
            })
        })
        .collect();
    web.count(50);
    // Another session of the same callback, whose server now answers it.
    let yes = web.url("/yes");
    rig.host.set_config(config(&[("vhost.http_hooks.on_play", &yes)]));
    play(&rig, "free", "hls").unwrap();
    for one in &hanging {
        assert!(one.try_recv().is_err(), "a hanging question was answered");
    }
}

#[test]
fn a_question_waits_for_a_stuck_notification_of_its_session_no_longer_than_for_an_answer() {
    let web = Web::start();
    let (stuck, yes) = (web.url("/hang"), web.url("/yes"));
    let rig = rig(&[]);
    rig.host.set_config(config(&[("vhost.http_hooks.on_stop", &stuck)]));
    let host = rig.host.clone();
    let quick =
        config(&[("vhost.http_hooks.on_play", yes.as_str()), ("vhost.http_hooks.timeout", "0.2")]);
    rig.on_shard(move |_, _| async move {
        let session = session(&host, "player", "hls");
        let asked = intent(&session, detail("rtmp-play"));
        drop(host.play(&session, asked.clone()).await.unwrap());
        host.set_config(quick);
        drop(host.play(&session, asked).await.unwrap());
    });
    let overtaken = hook_metric("dropped_total", "on_stop", "reason", "overtaken");
    assert_eq!(rig.metric(&overtaken), 1);
    assert_eq!(actions(&web.all()), ["on_stop", "on_play"]);
}

#[test]
fn the_configuration_in_force_at_the_event_decides() {
    let web = Web::start();
    let (a, b) = (web.url("/a"), web.url("/b"));
    let rig = rig(&[("vhost.http_hooks.on_play", &a), ("vhost.http_hooks.on_stop", &a)]);
    let next = config(&[("vhost.http_hooks.on_stop", b.as_str())]);
    rig.on_shard(move |host, _| async move {
        let session = session(&host, "player", "hls");
        let asked = intent(&session, detail("rtmp-play"));
        let grant = host.play(&session, asked).await.unwrap();
        host.set_config(next);
        drop(grant);
    });
    let paths: Vec<_> = web.count(2).iter().map(|a| a.path().to_owned()).collect();
    assert_eq!(paths, ["/a", "/b"]);
}

#[test]
fn a_session_that_panics_is_told_of_once() {
    let web = Web::start();
    let url = web.url("/x");
    let rig = rig(&[
        ("vhost.http_hooks.on_publish", &url),
        ("vhost.http_hooks.on_unpublish", &url),
        ("vhost.http_hooks.on_close", &url),
    ]);
    let done = rig.start::<(), _>(|host, shard| async move {
        let session = session(&host, "player", "rtmp");
        let asked = intent(&session, detail("fmle-publish"));
        let _held = host.publish(&shard, &session, asked).await.unwrap();
        panic!("a bug");
    });
    assert!(done.recv_timeout(PATIENCE).is_err());
    assert_eq!(actions(&web.count(3)), ["on_publish", "on_unpublish", "on_close"]);
}

#[test]
fn signed_requests_can_be_verified_by_their_receiver() {
    let web = Web::start();
    let url = web.url("/x");
    let rig = rig(&[("vhost.http_hooks.on_play", &url), ("vhost.http_hooks.secret", "s3cret")]);
    play(&rig, "player", "hls").unwrap();
    let all = web.count(1);
    let told = all[0].header("X-Millrace-Signature").unwrap();
    let time: u64 = told.strip_prefix("t=").unwrap().split(',').next().unwrap().parse().unwrap();
    assert_eq!(told, signature::sign("s3cret", time, all[0].body.as_bytes()));
    assert_ne!(told, signature::sign("s3cret", time, b"{}"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(now.as_secs().abs_diff(time) < 3600);
}

#[test]
fn https_is_spoken_and_certificates_are_looked_at_where_that_was_asked_for() {
    let make = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (own, other) = (make(), make());
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (own_ca, other_ca) = (file("own", own.cert.pem()), file("other", other.cert.pem()));
    let empty = file("empty", String::new());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let server = Arc::new(server);
    let web = Web::with(move |tcp| {
        let connection = rustls::ServerConnection::new(server.clone()).unwrap();
        Some(Box::new(rustls::StreamOwned::new(connection, tcp)))
    });
    let rig = rig(&[]);
    let by_name = format!("https://localhost:{}/x", web.port);
    let by_number = format!("https://127.0.0.1:{}/x", web.port);
    for (url, ca, fine) in [
        (&by_name, "", true),
        (&by_number, "", true),
        (&by_name, &*own_ca, true),
        (&by_number, &*own_ca, false),
        (&by_name, &*other_ca, false),
        (&by_name, &*empty, false),
        (&by_name, "/nowhere", false),
    ] {
        rig.host.set_config(config(&[
            ("vhost.http_hooks.on_play", url),
            ("vhost.http_hooks.ca_file", ca),
        ]));
        assert_eq!(play(&rig, "player", "hls").is_ok(), fine, "{url} with `{ca}`");
    }
}

#[test]
fn the_end_of_the_process_waits_for_what_is_told_and_not_for_what_hangs() {
    let web = Web::start();
    let (yes, stuck) = (web.url("/yes"), web.url("/hang"));
    let rig = rig(&[("vhost.http_hooks.on_stop", &yes)]);
    play(&rig, "a", "hls").unwrap();
    rig.host.control.block_on(rig.hooks.flush(PATIENCE));
    assert_eq!(actions(&web.all()), ["on_stop"]);
    rig.host.set_config(config(&[
        ("vhost.http_hooks.on_stop", &stuck),
        ("vhost.http_hooks.on_close", &yes),
    ]));
    play(&rig, "b", "rtmp").unwrap();
    rig.host.control.block_on(rig.hooks.flush(Duration::from_millis(100)));
    let dropped = hook_metric("dropped_total", "on_close", "reason", "shutdown");
    assert_eq!(rig.metric(&dropped), 1);
}
