//! A server with this gate and nothing else, and a publisher made of nothing.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use gate::conf::Kind::{Block, Bool, Choice, Float, FloatSeconds, Int, List, Millis, Path, Size};
use gate::conf::Kind::{Listen, Str};
use gate::conf::{Config, Directive, Node, Table};
use gate::http::HttpGate;
use gate::{Gate, Host, HostParts, Identity, OpenDoor};
use httpflv::HttpFlv;
use hub::{EndPublish, Hub, PublishOptions, PublisherOwner, Shard, StreamKey};
use media::{Codec, Flags, Frame, Timestamp};
use tokio::sync::{mpsc, oneshot};

/// The rows that the gate, the host and the HTTP ports read.
const ROWS: &[Directive] = &[
    Directive::new("max_connections", Int).default("0"),
    Directive::new("max_connections_per_ip", Int).default("0"),
    Directive::new("limits", Block),
    Directive::new("limits.handshake_timeout", FloatSeconds).default("10"),
    Directive::new("limits.connect_timeout", FloatSeconds).default("10"),
    Directive::new("limits.http_header_timeout", FloatSeconds).default("10"),
    Directive::new("limits.message_size", Size).default("1m"),
    Directive::new("limits.chunk_streams", Int).default("8"),
    Directive::new("limits.preauth_bytes", Size).default("64k"),
    Directive::new("limits.amf_depth", Int).default("8"),
    Directive::new("limits.amf_nodes", Int).default("100"),
    Directive::new("limits.amf_string", Size).default("64k"),
    Directive::new("http_api", Block),
    Directive::new("http_api.enabled", Bool).default("off"),
    Directive::new("exporter.enabled", Bool).default("off"),
    Directive::new("exporter.listen", Listen).default("9972"),
    Directive::new("http_server", Block),
    Directive::new("http_server.enabled", Bool).default("on"),
    Directive::new("http_server.listen", Listen),
    Directive::new("http_server.dir", Path),
    Directive::new("http_server.crossdomain", Bool).default("on"),
    Directive::new("http_server.https", Block),
    Directive::new("http_server.https.enabled", Bool).default("on"),
    Directive::new("http_server.https.listen", Listen),
    Directive::new("http_server.https.key", Path).default("testdata/key.pem"),
    Directive::new("http_server.https.cert", Path).default("testdata/cert.pem"),
    Directive::new("vhost", Block),
    Directive::new("vhost.min_latency", Bool).default("off"),
    Directive::new("vhost.play", Block),
    Directive::new("vhost.play.gop_cache", Bool).default("on"),
    Directive::new("vhost.play.gop_cache_max_frames", Int).default("2500"),
    Directive::new("vhost.play.send_min_interval", Float).default("0"),
    Directive::new("vhost.play.mw_latency", Millis).default("350"),
    Directive::new("vhost.play.mw_msgs", Int).default("0"),
    Directive::new("vhost.play.queue_length", FloatSeconds).default("30"),
    Directive::new("vhost.play.time_jitter", Choice(&["full", "zero", "off"])).default("full"),
    Directive::new("vhost.play.atc", Bool).default("off"),
    Directive::new("vhost.play.mix_correct", Bool).default("off"),
    Directive::new("vhost.play.reduce_sequence_header", Bool).default("off"),
    Directive::new("vhost.publish", Block),
    Directive::new("vhost.publish.takeover", Choice(&["off", "stale", "always"])).default("stale"),
    Directive::new("vhost.http_static", Block),
    Directive::new("vhost.http_static.enabled", Bool).default("off"),
    Directive::new("vhost.http_static.mount", Str).default("[vhost]/"),
    Directive::new("vhost.http_static.dir", Path),
    Directive::new("vhost.http_remux", Block),
    Directive::new("vhost.http_remux.enabled", Bool).default("on"),
    Directive::new("vhost.http_remux.mount", List).default("[vhost]/[app]/[stream].flv"),
    Directive::new("vhost.http_remux.fast_cache", FloatSeconds).default("0"),
    Directive::new("vhost.http_remux.drop_if_not_match", Bool).default("on"),
    Directive::new("vhost.http_remux.has_audio", Bool).default("on"),
    Directive::new("vhost.http_remux.has_video", Bool).default("on"),
    Directive::new("vhost.http_remux.guess_has_av", Bool).default("on"),
    Directive::new("vhost.http_remux.wait_timeout", FloatSeconds).default("5"),
];

pub(crate) struct Rig {
    pub(crate) host: Arc<Host>,
    pub(crate) addr: SocketAddr,
    /// The same inside TLS.
    pub(crate) secure: SocketAddr,
    _gate: HttpGate,
}

impl Rig {
    /// A server whose virtual hosts are the default one and `cdn.example.com`. `remux` goes into
    /// the `http_remux` of both.
    pub(crate) async fn start(remux: &[(&str, &str)], dir: &str) -> Self {
        for _ in 0..20 {
            if let Some(rig) = Self::try_start(remux, dir).await {
                return rig;
            }
        }
        panic!("no free port");
    }

    async fn try_start(remux: &[(&str, &str)], dir: &str) -> Option<Self> {
        let probe = || std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let probes = [probe(), probe()];
        let [addr, secure] = probes.each_ref().map(|p| p.local_addr().expect("bound"));
        drop(probes);
        let mut https = Node::block("https", &[]);
        https.children = Some(vec![Node::line("listen", &[&secure.to_string()])]);
        let mut server = Node::block("http_server", &[]);
        server.children = Some(vec![
            Node::line("listen", &[&addr.to_string()]),
            Node::line("dir", &[dir]),
            https,
        ]);
        let mut nodes = vec![server];
        for name in ["__defaultVhost__", "cdn.example.com"] {
            let mut section = Node::block("http_remux", &[]);
            section.children = Some(
                remux
                    .iter()
                    .map(|(k, v)| Node::line(k, &v.split(' ').collect::<Vec<_>>()))
                    .collect(),
            );
            let mut vhost = Node::block("vhost", &[name]);
            vhost.children = Some(vec![section]);
            nodes.push(vhost);
        }
        let table = Arc::new(Table::new([ROWS]));
        let config =
            Arc::new(Config::new(table, nodes, std::collections::BTreeMap::new(), Vec::new()));
        let host = Host::new(HostParts {
            hub: Hub::new(|n| format!("vid-{n}")),
            shards: hub::start_shards(1).expect("a shard"),
            config: config.clone(),
            identity: Identity::new("vid-test".into(), "0.0.0"),
            admission: Box::new(OpenDoor),
            control: tokio::runtime::Handle::current(),
            fileless: true,
            inherited: gate::Inherited::default(),
        });
        let gate = HttpGate::default();
        gate.mount(Arc::new(HttpFlv));
        let prepared = gate.prepare(&host, &config).await.ok()?;
        prepared.commit();
        Some(Self { host, addr, secure, _gate: gate })
    }

    /// Begins to publish on the first shard.
    pub(crate) async fn publish(&self, vhost: &str, app: &str, name: &str) -> Publishing {
        let (tx, mut rx) = mpsc::unbounded_channel::<Order>();
        let (hub, key) = (self.host.hub.clone(), StreamKey::new(vhost, app, name));
        let (begun, wait) = oneshot::channel();
        let job = move |shard: Rc<Shard>| {
            let stream = hub.open(&key);
            let options = PublishOptions::default();
            let publisher = stream.publish(&hub, &shard, Arc::new(Owner), options);
            let mut publisher = publisher.expect("the stream is free");
            let _ = begun.send(());
            let task = async move {
                while let Some((frames, done)) = rx.recv().await {
                    for frame in frames {
                        publisher.push(frame).expect("not superseded");
                    }
                    publisher.flush();
                    let _ = done.send(());
                }
                drop(publisher);
            };
            shard.spawn("publisher", task);
        };
        assert!(self.host.shards()[0].run(Box::new(job)).await);
        wait.await.expect("published");
        Publishing(tx)
    }
}

type Order = (Vec<Frame>, oneshot::Sender<()>);

/// A publisher; ends when it is dropped.
pub(crate) struct Publishing(mpsc::UnboundedSender<Order>);

impl Publishing {
    /// Returns when the frames are in the stream.
    pub(crate) async fn push(&self, frames: Vec<Frame>) {
        let (done, wait) = oneshot::channel();
        self.0.send((frames, done)).expect("publishing");
        wait.await.expect("pushed");
    }
}

struct Owner;

impl PublisherOwner for Owner {
    fn end(&self, _: EndPublish) {}
    fn id(&self) -> &str {
        "publishr"
    }
}

pub(crate) fn frame(codec: Codec, flags: Flags, ms: i64, payload: &[u8]) -> Frame {
    let dts = Timestamp::from_millis(ms);
    let payload = Bytes::copy_from_slice(payload);
    Frame { codec, track: 0, flags, tag: 0, dts, pts: dts, payload }
}

pub(crate) const AVC: &[u8] =
    &[1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 4, 0x67, 0x42, 0xc0, 0x1e, 1, 0, 2, 0x68, 0xce];

/// Both configurations.
pub(crate) fn configs() -> Vec<Frame> {
    vec![
        frame(Codec::Aac, Flags::CONFIG, 0, &[0x12, 0x10]),
        frame(Codec::H264, Flags::CONFIG, 0, AVC),
    ]
}

/// So many pictures with sound, from `begin` on, the first a key frame; the `mark` is in each.
pub(crate) fn media(begin: i64, pictures: i64, mark: u8) -> Vec<Frame> {
    let mut frames = Vec::new();
    for i in 0..pictures {
        let ms = begin + i * 40;
        let (flags, nal) = if i == 0 { (Flags::KEY, 0x65) } else { (Flags::empty(), 0x41) };
        frames.push(frame(Codec::H264, flags, ms, &[0, 0, 0, 3, nal, mark, 0x80]));
        frames.push(frame(Codec::Aac, Flags::empty(), ms + 5, &[0x21, mark, 0x03]));
    }
    frames
}
