//! Endpoints and rules of transport, on a host of its own without sockets.

use std::rc::Rc;
use std::sync::Mutex;

use bytes::Bytes;
use gate::conf::Config;
use gate::session::Kick;
use gate::{Detail, HostParts, Identity, OpenDoor, Session};
use http::HeaderMap;
use http_body_util::BodyExt;
use hub::{Hub, Publisher, Stream, StreamKey, start_shards};
use media::{Codec, Flags, Frame, Timestamp};

use super::*;
use crate::config::directives;

/// A host, and what it stands on.
pub(crate) struct Stub {
    pub(crate) host: Arc<Host>,
    pub(crate) figures: Arc<Figures>,
    api: Api,
    ready: Arc<AtomicBool>,
    reloads: Arc<Reloads>,
    runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Reloads(Mutex<u32>, Mutex<Option<Patch>>);

impl Reload for Reloads {
    fn reload(&self) -> BoxFuture<'_, Result<Report, Vec<String>>> {
        *self.0.lock().unwrap() += 1;
        self.dry_run()
    }
    fn dry_run(&self) -> BoxFuture<'_, Result<Report, Vec<String>>> {
        let change = gate::conf::Change {
            path: "http_api.auth.password",
            vhost: None,
            kind: gate::conf::ChangeKind::Changed,
        };
        let line = "http_api.auth.password changed".to_owned();
        let report = Report {
            applied: vec![line.clone()],
            changes: vec![reload::Difference {
                change,
                effect: gate::conf::Reload::Live,
                line,
                values: Some(("***".to_owned(), "***".to_owned())),
            }],
            ..Report::default()
        };
        Box::pin(std::future::ready(Ok(report)))
    }
    fn update(&self, patch: Patch) -> BoxFuture<'_, Result<Report, Vec<String>>> {
        *self.1.lock().unwrap() = Some(patch);
        self.dry_run()
    }
    fn last(&self) -> reload::State {
        reload::State { err: 1023, msg: "line 3".to_owned(), state: 20, rid: "abc".to_owned() }
    }
}

/// The token of the stub.
const TOKEN: &str = "0123456789abcdef";

/// A host with this configuration.
pub(crate) fn stub(pairs: &[(&str, &str)]) -> Stub {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut identity = Identity::new("vid-0000001".to_owned(), "0.1.0");
    identity.service_id = "svc00001".to_owned();
    identity.pid = "4711".to_owned();
    let host = Host::new(HostParts {
        hub: Hub::new(|n| format!("vid-s{n:06}")),
        shards: start_shards(1).unwrap(),
        config: Config::from_pairs(directives::table(&[]), pairs),
        identity,
        admission: Box::new(OpenDoor),
        control: runtime.handle().clone(),
        fileless: true,
        inherited: gate::Inherited::default(),
    });
    let figures = Arc::new(Figures::default());
    let (ready, reloads) = (Arc::new(AtomicBool::new(true)), Arc::new(Reloads::default()));
    let api = Api {
        figures: figures.clone(),
        reloader: reloads.clone(),
        ready: ready.clone(),
        features: &["ssl", "hls", "api", "httpd"],
        token: Some(Token { text: TOKEN.to_owned(), file: None, is_new: true }),
    };
    Stub { host, figures, api, ready, reloads, runtime }
}

/// A media frame of so many bytes.
pub(crate) fn frame(len: usize) -> Frame {
    Frame {
        codec: Codec::Mp3,
        track: 0,
        flags: Flags::empty(),
        tag: 0x2f,
        dts: Timestamp::ZERO,
        pts: Timestamp::ZERO,
        payload: Bytes::from(vec![0; len]),
    }
}

fn session(stub: &Stub, detail: Detail, stream: Option<Arc<Stream>>) -> Session {
    let session = stub.host.sessions.open("rtmp", ([127, 0, 0, 1], 4000).into());
    session.identify(detail, stream);
    session
}

fn detail(kind: &'static str, name: &str) -> Detail {
    Detail {
        kind,
        publish: kind.ends_with("publish"),
        vhost: "__defaultVhost__".to_owned(),
        app: "live".to_owned(),
        name: name.to_owned(),
        tc_url: "rtmp://127.0.0.1/live".to_owned(),
        ..Detail::default()
    }
}

/// Somebody publishes `live/<name>` and has pushed these frames. Publishes until the process ends.
pub(crate) fn publish(stub: &Stub, name: &str, frames: &[Frame]) -> Arc<Stream> {
    let stream = stub.host.hub.open(&StreamKey::new("__defaultVhost__", "live", name));
    let owner = session(stub, detail("fmle-publish", name), Some(stream.clone()));
    let (hub, frames) = (stub.host.hub.clone(), frames.to_vec());
    let (tx, rx) = std::sync::mpsc::channel();
    let (to, info) = (stream.clone(), (*owner).clone());
    stub.host.shards()[0].try_run(Box::new(move |shard: Rc<hub::Shard>| {
        let mut publisher: Publisher =
            to.publish(&hub, &shard, info, hub::PublishOptions::default()).unwrap();
        frames.into_iter().for_each(|f| publisher.push(f).unwrap());
        // A publisher cannot leave its shard, and the test ends with the process.
        std::mem::forget(publisher);
        let _ = tx.send(());
    }));
    rx.recv().unwrap();
    stream.stats.clients.store(1, Relaxed);
    std::mem::forget(owner);
    stream
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

/// Asks; `request` is `METHOD target`, `headers` are `name: value`.
fn ask_from(stub: &Stub, peer: [u8; 4], request: &str, headers: &[&str]) -> Answer {
    let (method, target) = request.split_once(' ').unwrap();
    let mut builder = http::Request::builder().method(method).uri(target);
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        builder = builder.header(name, value);
    }
    let (parts, ()) = builder.body(()).unwrap().into_parts();
    let ask = Ask {
        host: stub.host.clone(),
        parts,
        peer: (peer, 5000).into(),
        local: ([10, 0, 0, 1], 1985).into(),
        role: Role { api: true, ..Role::default() },
    };
    stub.runtime.block_on(async {
        let (parts, body) = stub.api.answer(ask).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    })
}

fn ask(stub: &Stub, request: &str, headers: &[&str]) -> Answer {
    ask_from(stub, [127, 0, 0, 1], request, headers)
}

fn get(stub: &Stub, target: &str) -> String {
    ask(stub, &format!("GET {target}"), &[]).body
}

const HEAD: &str = r#""code":0,"server":"vid-0000001","service":"svc00001","pid":"4711""#;

mod endpoints;
mod rules;
mod v2;
