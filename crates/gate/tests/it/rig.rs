//! A host with its shards, certificates, and TLS clients.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gate::conf::{Config, Directive, Kind, Table};
use gate::{Admission, Host, HostParts, Identity, OpenDoor};
use hub::{Hub, start_shards};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Long enough for a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(30);

const ROWS: &[Directive] = &[
    Directive::new("max_connections", Kind::Int).default("0"),
    Directive::new("max_connections_per_ip", Kind::Int).default("0"),
    Directive::new("limits", Kind::Block),
    Directive::new("limits.handshake_timeout", Kind::FloatSeconds).default("10"),
    Directive::new("limits.connect_timeout", Kind::FloatSeconds).default("30"),
    Directive::new("limits.http_header_timeout", Kind::FloatSeconds).default("15"),
    Directive::new("limits.message_size", Kind::Size).default("10m"),
    Directive::new("limits.chunk_streams", Kind::Int).default("64"),
    Directive::new("limits.preauth_bytes", Kind::Size).default("64k"),
    Directive::new("limits.amf_depth", Kind::Int).default("32"),
    Directive::new("limits.amf_nodes", Kind::Int).default("4096"),
    Directive::new("limits.amf_string", Kind::Size).default("64k"),
    Directive::new("http_server", Kind::Block),
    Directive::new("http_server.enabled", Kind::Bool).default("off"),
    Directive::new("http_server.listen", Kind::Listen),
    Directive::new("http_server.https", Kind::Block),
    Directive::new("http_server.https.enabled", Kind::Bool).default("off"),
    Directive::new("http_server.https.listen", Kind::Listen),
    Directive::new("http_server.https.cert", Kind::Path),
    Directive::new("http_server.https.key", Kind::Path),
    Directive::new("http_api", Kind::Block),
    Directive::new("http_api.enabled", Kind::Bool).default("off"),
    Directive::new("exporter.enabled", Kind::Bool).default("off"),
    Directive::new("exporter.listen", Kind::Listen).default("9972"),
    Directive::new("http_api.listen", Kind::Listen),
    Directive::new("http_api.https", Kind::Block),
    Directive::new("http_api.https.enabled", Kind::Bool).default("off"),
    Directive::new("vhost", Kind::Block).repeated(),
    Directive::new("vhost.enabled", Kind::Bool).default("on"),
    Directive::new("vhost.min_latency", Kind::Bool).default("off"),
    Directive::new("vhost.max_connections", Kind::Int).default("0"),
    Directive::new("vhost.play", Kind::Block),
    Directive::new("vhost.play.max_players", Kind::Int).default("0"),
    Directive::new("vhost.play.gop_cache", Kind::Bool).default("on"),
    Directive::new("vhost.play.gop_cache_max_frames", Kind::Int).default("2500"),
    Directive::new("vhost.play.queue_length", Kind::Seconds).default("30"),
    Directive::new("vhost.play.time_jitter", Kind::Choice(&["full", "zero", "off"]))
        .default("full"),
    Directive::new("vhost.play.atc", Kind::Bool).default("off"),
    Directive::new("vhost.play.mix_correct", Kind::Bool).default("off"),
    Directive::new("vhost.play.reduce_sequence_header", Kind::Bool).default("off"),
    Directive::new("vhost.play.send_min_interval", Kind::Float).default("0"),
    Directive::new("vhost.play.mw_latency", Kind::Millis).default("350"),
    Directive::new("vhost.play.mw_msgs", Kind::Int).default("8"),
    Directive::new("vhost.publish", Kind::Block),
    Directive::new("vhost.publish.takeover", Kind::Choice(&["off", "stale", "always"]))
        .default("stale"),
];

pub fn config(pairs: &[(&str, &str)]) -> Arc<Config> {
    Config::from_pairs(Arc::new(Table::new([ROWS])), pairs)
}

pub struct Rig {
    pub runtime: tokio::runtime::Runtime,
    pub host: Arc<Host>,
}

impl Rig {
    pub fn new(pairs: &[(&str, &str)]) -> Self {
        Self::make(pairs, Box::new(OpenDoor), Vec::new())
    }

    pub fn with(pairs: &[(&str, &str)], admission: Box<dyn Admission>) -> Self {
        Self::make(pairs, admission, Vec::new())
    }

    /// With sockets that listen already.
    pub fn inheriting(sockets: Vec<std::net::TcpListener>) -> Self {
        Self::make(&[], Box::new(OpenDoor), sockets)
    }

    fn make(
        pairs: &[(&str, &str)],
        admission: Box<dyn Admission>,
        sockets: Vec<std::net::TcpListener>,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let host = Host::new(HostParts {
            hub: Hub::new(|n| format!("vid-{n}")),
            shards: start_shards(1).unwrap(),
            config: config(pairs),
            identity: Identity::new("server".to_owned(), "0.0.0"),
            admission,
            control: runtime.handle().clone(),
            fileless: true,
            inherited: gate::Inherited::new(sockets),
        });
        Self { runtime, host }
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, future).await.expect("it is done in time")
        })
    }

    /// A TLS connection to somebody who must show `root`.
    pub fn tls(
        &self,
        address: SocketAddr,
        root: &CertificateDer<'static>,
        alpn: &[&[u8]],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = alpn.iter().map(|a| a.to_vec()).collect();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        self.block_on(async {
            let tcp = TcpStream::connect(address).await?;
            connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await
        })
    }
}

/// A certificate and its key on disk.
pub struct Files {
    pub dir: tempfile::TempDir,
    stamp: std::time::SystemTime,
}

impl Files {
    pub fn new() -> (Self, CertificateDer<'static>) {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Self { dir, stamp: std::time::SystemTime::UNIX_EPOCH };
        let root = files.renew();
        (files, root)
    }

    pub fn cert(&self) -> PathBuf {
        self.dir.path().join("server.crt")
    }

    pub fn key(&self) -> PathBuf {
        self.dir.path().join("server.key")
    }

    /// Writes a new certificate; returns it.
    pub fn renew(&mut self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = made.signing_key.serialize_pem();
        self.write(&made.cert.pem(), &key);
        made.cert.der().clone()
    }

    /// Writes both files, each time with a newer stamp, however coarse the file system's clock.
    pub fn write(&mut self, cert: &str, key: &str) {
        self.stamp += Duration::from_secs(10);
        for (path, text) in [(self.cert(), cert), (self.key(), key)] {
            std::fs::write(&path, text).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(self.stamp).unwrap();
        }
    }
}

/// Waits for a condition that another thread brings about.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
