//! A server with the HTTP ports, the door and a desk of its own.

#[path = "../../src/config/tests/rows.rs"]
mod rows;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use gate::conf::Kind::{Block, Bool, Choice, Float, FloatSeconds, Int, Listen, Millis, Path, Size};
use gate::conf::{Config, Directive, Table};
use gate::http::HttpGate;
use gate::{Detail, Gate, Host, HostParts, Identity, OpenDoor, Session};
use hub::{Hub, PublishOptions, Shard, StreamKey};
use rtc::door::HttpDoor;
use rtc::door::addresses::Addresses;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::desk::FakeDesk;

/// The rows that the host and the HTTP ports read.
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
    Directive::new("http_api.enabled", Bool).default("on"),
    Directive::new("http_api.listen", Listen),
    Directive::new("http_api.crossdomain", Bool).default("on"),
    Directive::new("http_api.https", Block),
    Directive::new("http_api.https.enabled", Bool).default("off"),
    Directive::new("http_api.https.listen", Listen),
    Directive::new("http_api.https.key", Path),
    Directive::new("http_api.https.cert", Path),
    Directive::new("exporter", Block),
    Directive::new("exporter.enabled", Bool).default("off"),
    Directive::new("exporter.listen", Listen).default("9972"),
    Directive::new("http_server", Block),
    Directive::new("http_server.enabled", Bool).default("on"),
    Directive::new("http_server.listen", Listen),
    Directive::new("http_server.dir", Path),
    Directive::new("http_server.crossdomain", Bool).default("on"),
    Directive::new("http_server.https", Block),
    Directive::new("http_server.https.enabled", Bool).default("off"),
    Directive::new("http_server.https.listen", Listen),
    Directive::new("http_server.https.key", Path),
    Directive::new("http_server.https.cert", Path),
    Directive::new("vhost.enabled", Bool).default("on"),
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
];

pub(crate) struct Rig {
    pub(crate) desk: Arc<FakeDesk>,
    pub(crate) api: SocketAddr,
    pub(crate) web: SocketAddr,
    _publisher: Session,
    _gate: HttpGate,
}

impl Rig {
    /// A server with WebRTC on, and these directives. Somebody publishes `live/by-rtmp` by RTMP.
    pub(crate) async fn start(pairs: &[(&str, &str)]) -> Self {
        for _ in 0..20 {
            if let Some(rig) = Self::try_start(pairs).await {
                return rig;
            }
        }
        panic!("no free port");
    }

    async fn try_start(pairs: &[(&str, &str)]) -> Option<Self> {
        let probe = || std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let probes = [probe(), probe()];
        let [api, web] = probes.each_ref().map(|p| p.local_addr().expect("bound"));
        drop(probes);
        let (api_at, web_at) = (api.to_string(), web.to_string());
        let mut all = vec![
            ("http_api.listen", &*api_at),
            ("http_server.listen", &*web_at),
            ("rtc_server.enabled", "on"),
            ("vhost.rtc.enabled", "on"),
        ];
        all.retain(|(path, _)| !pairs.iter().any(|(p, _)| p == path));
        all.extend(pairs);
        let config = Config::from_pairs(Arc::new(Table::new([ROWS, rows::ROWS])), &all);
        let mut identity = Identity::new("vid-0a1b2c3".to_owned(), "0.1.0");
        (identity.service_id, identity.pid) = ("4f8k2l0d".to_owned(), "1234".to_owned());
        let host = Host::new(HostParts {
            hub: Hub::new(|n| format!("vid-{n}")),
            shards: hub::start_shards(1).expect("a shard"),
            config: config.clone(),
            identity,
            admission: Box::new(OpenDoor),
            control: tokio::runtime::Handle::current(),
            fileless: true,
            inherited: gate::Inherited::default(),
        });
        let publisher = publish(&host).await;
        let desk = Arc::new(FakeDesk::default());
        let addresses = Addresses::fixed(vec![IpAddr::from(Ipv4Addr::new(192, 168, 1, 5))]);
        let gate = HttpGate::default();
        gate.mount(Arc::new(HttpDoor::new(desk.clone(), Arc::new(addresses))));
        gate.prepare(&host, &config).await.ok()?.commit();
        Some(Self { desk, api, web, _publisher: publisher, _gate: gate })
    }

    /// The whole answer to the API's port.
    pub(crate) async fn ask(&self, request: &[u8]) -> String {
        ask(self.api, request).await
    }
}

/// Sends a request whose connection is closed behind it, and reads until it is.
pub(crate) async fn ask(at: SocketAddr, request: &[u8]) -> String {
    let mut tcp = TcpStream::connect(at).await.expect("connected");
    tcp.write_all(request).await.expect("sent");
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.expect("answered");
    String::from_utf8(answer).expect("text")
}

async fn publish(host: &Arc<Host>) -> Session {
    let session = host.sessions.open_as("k3w81zq5".into(), "rtmp", ([127, 0, 0, 1], 4000).into());
    let stream = host.hub.open(&StreamKey::new("__defaultVhost__", "live", "by-rtmp"));
    session.identify(Detail::default(), Some(stream.clone()));
    let (hub, info) = (host.hub.clone(), (*session).clone());
    let (done, wait) = tokio::sync::oneshot::channel();
    let job = move |shard: Rc<Shard>| {
        let publisher = stream.publish(&hub, &shard, info, PublishOptions::default());
        // A publisher cannot leave its shard, and the test ends with the process.
        std::mem::forget(publisher.expect("the stream is free"));
        let _ = done.send(());
    };
    assert!(host.shards()[0].run(Box::new(job)).await);
    wait.await.expect("published");
    session
}
