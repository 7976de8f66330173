//! Programs that run beside streams: their arguments, their life and their end.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::callbacks::{Rig, detail, intent, rig, session};
use crate::web::PATIENCE;

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "{what}: it never comes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Scripts, and what they write.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A line that runs a script which notes its arguments, a line each, then its process id, and
    /// goes on with `then`.
    fn line(&self, name: &str, then: &str, args: &str) -> String {
        let (script, noted) = (self.file(&format!("{name}.sh")), self.file(name));
        let (noted, part) = (noted.display(), self.file(&format!("{name}.part")));
        let part = part.display();
        let text = format!(
            "{{ printf '<%s>\\n' \"$@\"; echo $$; }} >> {part}\ncat {part} > {part}.new\n\
             mv {part}.new {noted}\n{then}\n"
        );
        std::fs::write(&script, text).unwrap();
        format!("/bin/sh {} {args}", script.display())
    }

    /// What was noted so far.
    fn noted(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.file(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn wait(&self, name: &str, lines: usize) -> Vec<String> {
        until(name, || self.noted(name).len() >= lines);
        self.noted(name)
    }
}

fn lives(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

/// Publishes `stream` until what is returned is dropped.
fn publish(rig: &Rig, stream: &'static str) -> Here {
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    let (tx, begun) = mpsc::channel();
    let over = rig.start(move |host, shard| async move {
        let session = session(&host, "k3w81zq5", "rtmp");
        let mut detail = detail("fmle-publish");
        detail.name = stream.to_owned();
        let asked = intent(&session, detail);
        let held = host.publish(&shard, &session, asked).await.unwrap();
        tx.send(()).unwrap();
        let _ = left.await;
        drop((held, session));
    });
    begun.recv_timeout(PATIENCE).unwrap();
    Here { _leave: leave, over }
}

struct Here {
    _leave: tokio::sync::oneshot::Sender<()>,
    over: mpsc::Receiver<()>,
}

impl Here {
    fn leave(self) {
        drop(self._leave);
        self.over.recv_timeout(PATIENCE).unwrap();
    }
}

fn event(name: &str) -> String {
    format!("millrace_exec_total{{event=\"{name}\"}}")
}

#[test]
fn a_program_gets_what_clients_chose_as_one_argument_and_ends_with_them() {
    const NASTY: &str = "a b;$(touch x)'\"`id`[app] > f & ../..|*";
    let desk = Desk::new();
    let out = desk.file("out-[stream]");
    let args = format!("-i [stream] [vhost]/[app]/[port] [engine] > {}", out.display());
    let line = desk.line("args", "echo said\nexec sleep 1000", &args);
    let done = desk.line("done", "", "[app]");
    let rig = rig(&[
        ("vhost.exec.enabled", "on"),
        ("vhost.exec.publish", &line),
        ("vhost.exec.publish_done", &done),
    ]);
    let here = publish(&rig, NASTY);
    let noted = desk.wait("args", 5);
    assert_eq!(
        noted[..4],
        ["<-i>", &format!("<{NASTY}>"), "<__defaultVhost__/live/1935>", "<[engine]>"]
    );
    let file = format!("out-{}", NASTY.replace('/', "_"));
    let said = || std::fs::read_to_string(desk.file(&file)).unwrap_or_default();
    until("what it says", || said() == "said\n");
    let pid = &noted[4];
    assert!(lives(pid));
    assert_eq!(rig.metric("millrace_exec_programs"), 1);
    here.leave();
    until("its end", || !lives(pid));
    assert_eq!(desk.wait("done", 2)[0], "<live>");
    until("the books", || rig.metric("millrace_exec_programs") == 0);
    let books = ["started", "terminated", "ended", "failed"].map(|name| rig.metric(&event(name)));
    assert_eq!(books, [2, 1, 1, 0]);
}

#[test]
fn a_program_that_ends_is_started_again_while_its_client_is_there() {
    let desk = Desk::new();
    let line = desk.line("runs", "exit 3", "[stream]");
    let rig = rig(&[("vhost.exec.enabled", "on"), ("vhost.exec.publish", &line)]);
    let here = publish(&rig, "s");
    let noted = desk.wait("runs", 4);
    assert_eq!((&*noted[0], &*noted[2]), ("<s>", "<s>"));
    assert_ne!(noted[1], noted[3]);
    here.leave();
    until("the books", || rig.metric("millrace_exec_programs") == 0);
    // The last may have been told to end before its own end was seen.
    let [started, ended, told] =
        ["started", "ended", "terminated"].map(|name| rig.metric(&event(name)));
    assert_eq!(ended + told, started);
}

#[test]
fn a_program_that_does_not_heed_is_killed_with_what_it_started() {
    let desk = Desk::new();
    let line = desk.line("deaf", "trap '' TERM\nwhile true; do sleep 1; done", "x");
    // The trap must stand before it is told to end.
    let text = std::fs::read_to_string(desk.file("deaf.sh")).unwrap();
    std::fs::write(desk.file("deaf.sh"), format!("trap '' TERM\n{text}")).unwrap();
    let rig = rig(&[("vhost.exec.enabled", "on"), ("vhost.exec.publish", &line)]);
    let here = publish(&rig, "s");
    let pid = desk.wait("deaf", 2)[1].clone();
    here.leave();
    until("its end", || !lives(&pid));
    until("the books", || rig.metric(&event("killed")) == 1);
}

#[test]
fn a_program_inherits_no_socket_and_one_that_is_not_there_harms_nobody() {
    let desk = Desk::new();
    // Something that must stay ours.
    let _web = crate::web::Web::start();
    let (list, err) = (desk.file("fds"), desk.file("err"));
    let line = format!("/bin/ls -l /proc/self/fd > {} 2>{}", list.display(), err.display());
    let rig = rig(&[
        ("vhost.exec.enabled", "on"),
        ("vhost.exec.publish", &line),
        ("vhost.exec.play", "/nowhere/at/all [stream]"),
    ]);
    let here = publish(&rig, "s");
    until("its end", || rig.metric(&event("ended")) == 1);
    let text = std::fs::read_to_string(&list).unwrap();
    assert!(text.contains("/dev/null") && text.contains("fds"), "{text}");
    assert!(!text.contains("socket:") && !text.contains("eventpoll"), "{text}");
    rig.on_shard(|host, _| async move {
        let session = session(&host, "player", "rtmp");
        let asked = intent(&session, detail("rtmp-play"));
        let grant = host.play(&session, asked).await;
        assert!(grant.is_ok());
        drop(grant);
    });
    until("the books", || rig.metric(&event("failed")) == 1);
    here.leave();
}

#[test]
fn the_end_of_the_server_leaves_no_program() {
    let desk = Desk::new();
    let line = desk.line("done", "exec sleep 1000", "x");
    let rig = rig(&[("vhost.exec.enabled", "on"), ("vhost.exec.publish_done", &line)]);
    publish(&rig, "s").leave();
    let pid = desk.wait("done", 2)[1].clone();
    assert!(lives(&pid));
    rig.host.control.block_on(rig.programs.end());
    assert!(!lives(&pid));
}

#[test]
fn players_cannot_start_programs_without_end_nor_take_the_places_of_publishers() {
    let desk = Desk::new();
    let line = desk.line("runs", "exec sleep 1000", "[stream]");
    let rig = rig(&[
        ("vhost.exec.enabled", "on"),
        ("vhost.exec.play", "/nowhere/at/all"),
        ("vhost.exec.publish", &line),
    ]);
    // A program that cannot be started keeps its place while its client is there.
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    let (tx, begun) = mpsc::channel();
    let over = rig.start(move |host, _| async move {
        let mut held = Vec::new();
        for n in 0..514 {
            let session = session(&host, &format!("player{n}"), "rtmp");
            let asked = intent(&session, detail("rtmp-play"));
            held.push((host.play(&session, asked).await, session));
        }
        assert!(held.iter().all(|(grant, _)| grant.is_ok()));
        tx.send(()).unwrap();
        let _ = left.await;
    });
    begun.recv_timeout(PATIENCE).unwrap();
    assert_eq!(rig.metric(&event("refused")), 2);
    assert_eq!(rig.metric("millrace_exec_programs"), 512);
    let here = publish(&rig, "s");
    desk.wait("runs", 2);
    here.leave();
    drop(leave);
    over.recv_timeout(PATIENCE).unwrap();
    until("the books", || rig.metric("millrace_exec_programs") == 0);
}
