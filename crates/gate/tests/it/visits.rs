//! What admission is asked and told, and in which order.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, mpsc};

use gate::{Admission, Answer, Detail, Event, Host, Intent, Refusal, Session, Visit};
use hub::{Received, Shard};

use crate::rig::{PATIENCE, Rig};

/// Writes down what it is asked and told; says no to streams called `no-` and the question.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn write(&self, what: &str, id: &str) {
        self.0.lock().unwrap().push(format!("{what} {id}"));
    }

    fn ask(&self, what: &str, id: &str, detail: &Detail) -> Answer {
        self.write(what, id);
        let no = detail.name == format!("no-{what}");
        let refusal = Refusal::Denied { code: 1, reason: what.to_owned() };
        let answer = if no { Err(refusal) } else { Ok(()) };
        (detail.name != "open").then(|| Box::pin(std::future::ready(answer)) as _)
    }

    fn read(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Admission for Diary {
    fn admit(&self, intent: &Intent) -> Answer {
        self.ask("admit", &intent.session, &intent.detail)
    }
    fn connect(&self, visit: &Arc<Visit>) -> Answer {
        self.ask("connect", &visit.session.id, visit.detail())
    }
    fn publish(&self, visit: &Arc<Visit>) -> Answer {
        // Whoever is asked finds the client listed and counted.
        assert!(visit.host.sessions.get(&visit.session.id).is_some());
        assert!(visit.stream.stats.clients.load(Relaxed) > 0);
        self.ask("publish", &visit.session.id, visit.detail())
    }
    fn play(&self, visit: &Arc<Visit>) -> Answer {
        self.ask("play", &visit.session.id, visit.detail())
    }
    fn tell(&self, event: Event<'_>) {
        match event {
            Event::Unpublished(visit) => self.write("unpublished", &visit.session.id),
            Event::Stopped(visit) => self.write("stopped", &visit.session.id),
            Event::Closed(session) => self.write("closed", &session.id),
            // Said by what follows them.
            Event::Published(_) | Event::Played(_) => {}
            Event::Segment(visit, _) => self.write("segment", &visit.session.id),
            Event::Recorded(visit, _) => self.write("recorded", &visit.session.id),
        }
    }
}

fn open(host: &Arc<Host>, id: &str) -> Session {
    let session = host.sessions.open_as(id.into(), "test", ([192, 0, 2, 1], 1).into());
    session.is_connection();
    session
}

fn intent(session: &Session, name: &str) -> Intent {
    let detail = Detail { app: "live".into(), name: name.into(), ..Detail::default() };
    Intent { session: session.id.to_string(), peer: session.peer, detail }
}

/// Does something on a shard; what admission was asked and told by it.
fn diary<F: Future<Output = ()> + 'static>(
    work: impl FnOnce(Arc<Host>, Rc<Shard>) -> F + Send + 'static,
) -> Vec<String> {
    let diary = Diary::default();
    let rig = Rig::with(&[("vhost.publish.takeover", "always")], Box::new(diary.clone()));
    let host = rig.host.clone();
    let (tx, rx) = mpsc::channel::<()>();
    rig.host.shards()[0].try_run(Box::new(move |shard| {
        let inner = shard.clone();
        shard.spawn("test", async move {
            let _tx = tx;
            work(host, inner).await;
        });
    }));
    // The end of the task, by return or by panic.
    assert_eq!(rx.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    diary.read()
}

#[test]
fn a_connection_is_asked_about_once_and_closes_after_its_streams() {
    let told = diary(|host, shard| async move {
        let session = open(&host, "a");
        let (publisher, hold) =
            host.publish(&shard, &session, intent(&session, "s")).await.unwrap();
        drop((publisher, hold));
        let grant = host.play(&session, intent(&session, "t")).await.unwrap();
        drop(session);
        drop(grant);
    });
    assert_eq!(
        told,
        [
            "admit a",
            "connect a",
            "publish a",
            "unpublished a",
            "admit a",
            "play a",
            "stopped a",
            "closed a"
        ]
    );
}

#[test]
fn whoever_is_refused_has_no_end_but_that_of_its_connection() {
    for (question, publish, wanted) in [
        ("admit", true, vec!["admit a"]),
        ("connect", true, vec!["admit a", "connect a", "closed a"]),
        ("publish", true, vec!["admit a", "connect a", "publish a", "closed a"]),
        ("play", false, vec!["admit a", "connect a", "play a", "closed a"]),
    ] {
        let told = diary(move |host, shard| async move {
            let session = open(&host, "a");
            let asked = intent(&session, &format!("no-{question}"));
            let refused = match publish {
                true => host.publish(&shard, &session, asked).await.map(drop),
                false => host.play(&session, asked).await.map(drop),
            };
            assert_eq!(refused.unwrap_err().to_string(), question);
            let listed = host.sessions.get("a").is_some();
            assert_eq!(listed, question != "admit", "rules come before the listing");
            for stream in host.hub.all() {
                assert_eq!(stream.stats.clients.load(Relaxed), 0);
            }
        });
        assert_eq!(told, wanted, "{question}");
    }
}

#[test]
fn playing_on_in_another_form_asks_and_tells_nothing() {
    let told = diary(|host, _| async move {
        let session = open(&host, "a");
        let grant = host.play(&session, intent(&session, "s")).await.unwrap();
        let stream = grant.stream.clone();
        let grant = host.play_on(grant.hold.unwrap()).unwrap();
        assert_eq!(stream.stats.clients.load(Relaxed), 1);
        drop(grant);
        assert_eq!(stream.stats.clients.load(Relaxed), 0);
    });
    assert_eq!(told, ["admit a", "connect a", "play a", "stopped a", "closed a"]);
}

#[test]
fn a_player_may_be_told_before_others_are_asked_and_waits_only_then() {
    diary(|host, _| async move {
        let session = open(&host, "a");
        let asked = host.ask_to_play(&session, intent(&session, "s")).await.unwrap();
        assert!(asked.waits());
        let asked = host.ask_to_play(&session, intent(&session, "open")).await.unwrap();
        assert!(!asked.waits());
        // A player that was not begun has no end.
    });
}

#[test]
fn the_end_of_a_publish_waits_for_those_who_make_something_of_it() {
    let told = diary(|host, shard| async move {
        let session = open(&host, "a");
        let held = host.publish(&shard, &session, intent(&session, "s")).await.unwrap();
        let frames = shard.subscribe_frames(held.0.stream());
        let Received::Published(owner) = frames.recv().await else { panic!("no publisher") };
        drop((held, session));
        assert!(matches!(frames.recv().await, Received::Unpublished));
        let segment = gate::Segment {
            sequence: 0,
            duration_us: 1,
            folder: "",
            path: "",
            uri: "",
            playlist: "",
        };
        gate::Publication::tell_segment(&*owner, segment);
    });
    assert_eq!(
        told,
        ["admit a", "connect a", "publish a", "segment a", "unpublished a", "closed a"]
    );
}

#[test]
fn a_publisher_that_is_taken_over_ends_once() {
    let told = diary(|host, shard| async move {
        let (a, b) = (open(&host, "a"), open(&host, "b"));
        let first = host.publish(&shard, &a, intent(&a, "s")).await.unwrap();
        let second = host.publish(&shard, &b, intent(&b, "s")).await.unwrap();
        assert_eq!(a.kick_reason(), Some(gate::session::Kick::TakenOver));
        drop((first, a));
        drop((second, b));
    });
    let of = |id: &str| {
        let own = told.iter().filter_map(|line| line.strip_suffix(id));
        own.map(str::trim).collect::<Vec<_>>()
    };
    let wanted = ["admit", "connect", "publish", "unpublished", "closed"];
    assert_eq!((of("a"), of("b")), (wanted.to_vec(), wanted.to_vec()));
}

#[test]
fn a_session_that_panics_is_told_of_once() {
    let told = diary(|host, shard| async move {
        let session = open(&host, "a");
        let _held = host.publish(&shard, &session, intent(&session, "s")).await.unwrap();
        panic!("a bug");
    });
    assert_eq!(told, ["admit a", "connect a", "publish a", "unpublished a", "closed a"]);
}
