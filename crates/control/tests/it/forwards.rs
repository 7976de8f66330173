//! What goes to other servers: who decides, and what a reload changes.

use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gate::forward::State;
use gate::{Forward, Forwarding, Gate};
use hub::Shard;

use crate::callbacks::{Rig, config, detail, intent, rig, session};
use crate::web::{PATIENCE, Web};

/// What is seen of a forwarding: destination, whether the configuration did not choose it, and
/// how it is doing.
type Seen = (String, bool, Arc<gate::forward::Progress>);

/// A protocol that pushes nothing and keeps what it was asked for.
#[derive(Default)]
struct Stub(Mutex<Vec<Seen>>);

impl Forward for Stub {
    fn takes(&self, destination: &str) -> bool {
        !destination.starts_with("other://")
    }

    fn begin(&self, shard: &Rc<Shard>, task: Forwarding) {
        let seen = (task.destination.clone(), task.from_outside, task.progress.clone());
        self.0.lock().unwrap().push(seen);
        task.progress.set(State::Up);
        shard.spawn("stub", async move {
            task.stopped().await;
            drop(task);
        });
    }
}

impl Stub {
    fn of(rig: &Rig) -> Arc<Self> {
        let stub = Arc::new(Self::default());
        rig.forwards.set_roles(vec![stub.clone()]);
        stub
    }

    /// Those that run, sorted.
    fn up(&self) -> Vec<String> {
        let all = self.0.lock().unwrap();
        let up = all.iter().filter(|(.., progress)| progress.state() == State::Up);
        let mut up: Vec<String> = up.map(|(to, ..)| to.clone()).collect();
        up.sort();
        up
    }

    fn begun(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn until_up(&self, wanted: &[&str]) {
        until(|| self.up() == wanted, || format!("{:?} and not {wanted:?}", self.up()));
    }
}

fn until(holds: impl Fn() -> bool, what: impl Fn() -> String) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{}", what());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Publishes until what this gives is dropped.
fn publish(rig: &Rig, id: &'static str) -> tokio::sync::oneshot::Sender<()> {
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    let (tx, rx) = std::sync::mpsc::channel();
    drop(rig.start(move |host, shard| async move {
        let session = session(&host, id, "rtmp");
        let asked = intent(&session, detail("fmle-publish"));
        let held = host.publish(&shard, &session, asked).await.map_err(|e| e.to_string()).unwrap();
        tx.send(()).unwrap();
        let _ = left.await;
        drop((held, session));
    }));
    rx.recv_timeout(PATIENCE).unwrap();
    leave
}

fn reload(rig: &Rig, pairs: &[(&str, &str)]) {
    let new = config(pairs);
    let (host, forwards) = (rig.host.clone(), rig.forwards.clone());
    let (tx, rx) = std::sync::mpsc::channel();
    let new_one = new.clone();
    rig.host.control.spawn(async move {
        let ready = forwards.prepare(&host, &new_one).await.map_err(|e| e.to_string()).unwrap();
        ready.commit();
        tx.send(()).unwrap();
    });
    rx.recv_timeout(PATIENCE).unwrap();
    rig.host.set_config(new);
}

const ON: (&str, &str) = ("vhost.forward.enabled", "on");

#[test]
fn a_publication_goes_to_its_destinations_until_it_ends() {
    let rig = rig(&[ON, ("vhost.forward.destination", "b:1 a other://c a")]);
    let stub = Stub::of(&rig);
    let publisher = publish(&rig, "p1");
    // Each once; what nobody can push to is told in the log.
    stub.until_up(&["a", "b:1"]);
    assert_eq!(rig.metric(&gauge("a", "up")), 1);
    drop(publisher);
    stub.until_up(&[]);
    let _again = publish(&rig, "p2");
    stub.until_up(&["a", "b:1"]);
    assert_eq!(stub.begun(), 4);
}

fn gauge(to: &str, state: &str) -> String {
    format!(
        "millrace_forwards{{vhost=\"__defaultVhost__\",destination=\"{to}\",state=\"{state}\"}}"
    )
}

#[test]
fn a_reload_begins_what_is_new_ends_what_is_gone_and_leaves_the_rest_alone() {
    let rig = rig(&[]);
    let stub = Stub::of(&rig);
    let _publisher = publish(&rig, "p1");
    let to = "vhost.forward.destination";
    assert_eq!(stub.begun(), 0);
    reload(&rig, &[ON, (to, "a b")]);
    stub.until_up(&["a", "b"]);
    reload(&rig, &[ON, (to, "b c")]);
    stub.until_up(&["b", "c"]);
    assert_eq!(stub.begun(), 3);
    // Nothing of it has changed.
    reload(&rig, &[ON, (to, "b c"), ("vhost.chunk_size", "4096")]);
    reload(&rig, &[("vhost.forward.enabled", "off"), (to, "b c")]);
    stub.until_up(&[]);
    assert_eq!(stub.begun(), 3);
    reload(&rig, &[ON, (to, "a")]);
    stub.until_up(&["a"]);
}

#[test]
fn what_goes_the_same_way_goes_on_when_another_publisher_takes_over() {
    let rig = rig(&[ON, ("vhost.forward.destination", "a"), ("vhost.publish.takeover", "always")]);
    let stub = Stub::of(&rig);
    let first = publish(&rig, "p1");
    stub.until_up(&["a"]);
    let second = publish(&rig, "p2");
    // The old one leaves last, and takes nothing along.
    drop(first);
    until(|| rig.host.sessions.get("p1").is_none(), || "p1 stays".to_owned());
    stub.until_up(&["a"]);
    assert_eq!(stub.begun(), 1);
    drop(second);
    stub.until_up(&[]);
}

#[test]
fn a_backend_says_where_a_stream_goes_and_is_asked_at_each_publish() {
    let web = Web::start();
    let body = r#"{"code":0,"data":{"urls":["rtmp://o:1/live/s?k=v"]}}"#;
    let url = web.url(&format!("/say/{}", hex(body)));
    let rig = rig(&[
        ("vhost.http_hooks.enabled", "off"),
        ON,
        ("vhost.forward.destination", "a"),
        ("vhost.forward.backend", &url),
    ]);
    let stub = Stub::of(&rig);
    let publisher = publish(&rig, "k3w81zq5");
    stub.until_up(&["rtmp://o:1/live/s?k=v"]);
    assert!(stub.0.lock().unwrap().iter().all(|(_, from_outside, _)| *from_outside));
    assert_eq!(
        web.count(1)[0].body,
        r#"{"server_id":"vid-0000001","service_id":"svc00001","action":"on_forward","client_id":"k3w81zq5","ip":"192.0.2.7","vhost":"__defaultVhost__","app":"live","tcUrl":"rtmp://example.com/live","stream":"s\"1","param":"?token=x&y=流"}"#
    );
    assert_eq!(rig.metric(&gauge("rtmp://o:1", "up")), 1);
    drop(publisher);
    stub.until_up(&[]);
    let _again = publish(&rig, "p2");
    web.count(2);
    stub.until_up(&["rtmp://o:1/live/s?k=v"]);
}

fn hex(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn without_a_list_from_the_backend_the_stream_goes_nowhere_and_is_published() {
    for answer in ["/no", "/reset", "/object"] {
        let web = Web::start();
        let rig = rig(&[
            ON,
            ("vhost.forward.destination", "a"),
            ("vhost.forward.backend", &web.url(answer)),
        ]);
        let stub = Stub::of(&rig);
        let _publisher = publish(&rig, "p1");
        web.count(1);
        let failed = |result: &str| {
            rig.metric(&format!(
                "millrace_hook_requests_total{{vhost=\"__defaultVhost__\",hook=\"on_forward\",result=\"{result}\"}}"
            ))
        };
        until(|| failed("refused") + failed("failed") == 1, || format!("{answer} is not booked"));
        assert_eq!(stub.begun(), 0, "{answer}");
    }
}
