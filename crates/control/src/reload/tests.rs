use std::collections::BTreeMap;
use std::io;

use super::*;
use crate::api::tests::stub;
use crate::config::{Facts, directives};

/// A file that tests write.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<String>>);

impl FileLoader for Paper {
    fn read(&self, _: &str) -> io::Result<Vec<u8>> {
        Ok(self.0.lock().unwrap().clone().into_bytes())
    }
}

struct Rig {
    reloader: Reloader,
    paper: Paper,
    runtime: tokio::runtime::Runtime,
}

const FILE: &str = "listen 1935;\nvhost __defaultVhost__ {\n}\n";

fn rig() -> Rig {
    let stub = stub(&[]);
    let paper = Paper::default();
    let request = Request {
        table: directives::table(&[]),
        file: Some("a.conf".to_owned()),
        env_only: false,
        env: BTreeMap::new(),
        facts: Facts::default(),
    };
    let reloader = Reloader::new(stub.host.clone(), request, Box::new(paper.clone()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The host's own runtime must outlive what a new configuration spawns on it.
    std::mem::forget(stub);
    let rig = Rig { reloader, paper, runtime };
    rig.write(FILE);
    rig.runtime.block_on(rig.reloader.run()).unwrap();
    rig
}

impl Rig {
    fn write(&self, text: &str) {
        *self.paper.0.lock().unwrap() = text.to_owned();
    }

    fn config(&self) -> Arc<Config> {
        self.reloader.host.config()
    }

    fn update(&self, scope: &str, value: &str, param: &str) -> Result<Report, Vec<String>> {
        let config = self.config();
        let patch = Patch::parse(config.table(), scope, value, param, "").unwrap();
        self.runtime.block_on(self.reloader.update(&patch))
    }
}

#[test]
fn a_dry_run_tells_the_values_and_leaves_everything_as_it_was() {
    let rig = rig();
    let before = (rig.config(), rig.reloader.last().rid);
    rig.write("listen 1935;\nchunk_size 4096;\nheartbeat { auth { password s3cret; } }\nvhost a.test {\n}\n");
    let report = rig.runtime.block_on(rig.reloader.dry_run()).unwrap();
    let told: Vec<(&str, Option<&str>)> =
        report.changes.iter().map(|c| (c.change.path, c.change.vhost.as_deref())).collect();
    let default = gate::conf::DEFAULT_VHOST;
    assert_eq!(
        told,
        [
            ("chunk_size", None),
            ("heartbeat.auth.password", None),
            ("vhost", Some(default)),
            ("vhost", Some("a.test")),
        ]
    );
    let values = |n: usize| report.changes[n].values.clone();
    assert_eq!(values(0), Some(("60000".to_owned(), "4096".to_owned())));
    assert_eq!(values(1), Some((String::new(), "***".to_owned())));
    assert_eq!(values(2), None);
    assert!(Arc::ptr_eq(&before.0, &rig.config()));
    assert_eq!(before.1, rig.reloader.last().rid);
}

#[test]
fn a_dry_run_of_a_file_with_faults_names_them() {
    let rig = rig();
    rig.write("listen 1935;\nnonsense on;\n");
    let faults = rig.runtime.block_on(rig.reloader.dry_run()).unwrap_err();
    assert!(faults[0].starts_with("a.conf:2:1: unknown directive `nonsense`"), "{faults:?}");
    assert_eq!(rig.reloader.last().err, 0);
}

#[test]
fn an_update_is_in_force_until_the_file_is_read_again() {
    let rig = rig();
    let report = rig.update("chunk_size", "4096", "").unwrap();
    let of_vhost = "vhost.chunk_size of vhost __defaultVhost__ changed";
    assert_eq!(report.applied, ["chunk_size changed", of_vhost]);
    assert_eq!(rig.config().root().int("chunk_size"), 4096);
    // Where the rest was written is still known.
    assert_eq!(rig.config().file_name(gate::conf::FileId(0)), "a.conf");
    rig.update("vhost", "a.test", "create").unwrap();
    assert_eq!(rig.config().root().int("chunk_size"), 4096);
    assert!(rig.config().vhosts().iter().any(|v| v.name() == "a.test"));
    rig.runtime.block_on(rig.reloader.run()).unwrap();
    assert_eq!(rig.config().root().int("chunk_size"), 60_000);
    assert_eq!(rig.config().vhosts().len(), 1);
}

#[test]
fn an_update_that_cannot_be_accepted_changes_nothing() {
    let rig = rig();
    let before = rig.config();
    assert!(rig.update("chunk_size", "many", "").is_err());
    assert!(rig.update("max_connections", "0", "").is_err());
    assert!(rig.update("vhost", "none", "disable").is_err());
    assert!(Arc::ptr_eq(&before, &rig.config()));
}

#[test]
fn sessions_of_a_virtual_host_that_is_switched_off_end() {
    let rig = rig();
    rig.update("vhost", "a.test", "create").unwrap();
    let of = |vhost: &str| {
        let session = rig.reloader.host.sessions.open("rtmp", ([127, 0, 0, 1], 1).into());
        let detail = gate::Detail { vhost: vhost.to_owned(), ..Default::default() };
        session.identify(detail, None);
        session
    };
    let (gone, stays) = (of("a.test"), of(gate::conf::DEFAULT_VHOST));
    rig.update("vhost", "a.test", "disable").unwrap();
    assert_eq!(gone.kick_reason(), Some(gate::session::Kick::Vhost));
    assert_eq!(stays.kick_reason(), None);
}
