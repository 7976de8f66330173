//! Each port with its mounts, asked over TCP.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use control::api::{self, ApiParts, Reload};
use control::config::{Patch, directives};
use control::files::FilesMount;
use control::reload::{Report, State};
use control::sampler::Figures;
use futures_util::future::BoxFuture;
use gate::conf::Config;
use gate::http::HttpGate;
use gate::{Gate, Host, HostParts, Identity, OpenDoor, PrepareError};
use hub::{Hub, start_shards};
use tokio::runtime::Runtime;

struct NoReload;

impl Reload for NoReload {
    fn dry_run(&self) -> BoxFuture<'_, Result<Report, Vec<String>>> {
        self.reload()
    }
    fn reload(&self) -> BoxFuture<'_, Result<Report, Vec<String>>> {
        Box::pin(std::future::ready(Ok(Report::default())))
    }
    fn update(&self, _: Patch) -> BoxFuture<'_, Result<Report, Vec<String>>> {
        self.reload()
    }
    fn last(&self) -> State {
        State { state: 0, err: 0, msg: "Success".to_owned(), rid: String::new() }
    }
}

struct Server {
    _control: Runtime,
    gate: HttpGate,
    host: Arc<Host>,
    dir: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.gate.close_listeners();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A port that nobody had a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts the HTTP ports; several times should somebody else take a port first.
fn start(shared: bool) -> (Server, u16, u16) {
    for _ in 0..20 {
        let api = free_port();
        let server = if shared { api } else { free_port() };
        if let Ok(started) = try_start(api, server) {
            return (started, api, server);
        }
    }
    panic!("no free ports");
}

fn try_start(api_port: u16, server_port: u16) -> Result<Server, PrepareError> {
    let dir = std::env::temp_dir().join(format!("millrace-it-{}-{api_port}", std::process::id()));
    std::fs::create_dir_all(dir.join("console")).unwrap();
    std::fs::write(dir.join("a.txt"), "0123456789").unwrap();
    std::fs::write(dir.join("big.bin"), vec![7; 3_000_000]).unwrap();
    std::fs::write(dir.join("console/index.html"), "console").unwrap();
    let listen = |port: u16| format!("127.0.0.1:{port}");
    let pairs = [
        ("http_api.enabled", "on".to_owned()),
        ("http_api.listen", listen(api_port)),
        ("http_server.enabled", "on".to_owned()),
        ("http_server.listen", listen(server_port)),
        ("http_server.dir", dir.to_str().unwrap().to_owned()),
    ];
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let config = Config::from_pairs(directives::table(&[]), &pairs);
    let control =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let host = Host::new(HostParts {
        hub: Hub::new(|n| format!("vid-{n:07}")),
        shards: start_shards(1).unwrap(),
        config: config.clone(),
        identity: Identity::new("vid-0000001".to_owned(), "0.1.0"),
        admission: Box::new(OpenDoor),
        control: control.handle().clone(),
        fileless: true,
        inherited: gate::Inherited::default(),
    });
    let gate = HttpGate::default();
    let (first, last) = api::mounts(ApiParts {
        figures: Arc::new(Figures::default()),
        reloader: Arc::new(NoReload),
        ready: Arc::new(AtomicBool::new(true)),
        features: &[],
        token: None,
    });
    gate.mount(first);
    gate.mount(Arc::new(FilesMount));
    gate.mount(last);
    let prepared = control.block_on(gate.prepare(&host, &config))?;
    prepared.commit();
    Ok(Server { _control: control, gate, host, dir })
}

/// Sends a request as it is, and returns head and body of the one answer.
fn exchange(port: u16, request: &str) -> (String, Vec<u8>) {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    tcp.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).unwrap();
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let body = answer.split_off(at + 4);
    (String::from_utf8(answer).unwrap().to_ascii_lowercase(), body)
}

fn get(port: u16, path: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n");
    let (head, body) = exchange(port, &request);
    (head, String::from_utf8(body).unwrap())
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

#[test]
fn each_port_answers_what_is_its_own() {
    let (_server, api, files) = start(false);
    for port in [api, files] {
        let (head, body) = get(port, "/api/v1/versions");
        assert!(head.contains("content-type: application/json"), "{head}");
        assert!(body.starts_with("{\"code\":0,\"server\":\"vid-0000001\""), "{body}");
    }
    assert!(get(api, "/anything").1.contains("\"urls\""));
    assert!(get(api, "/metrics").1.contains("srs_streams 0"));
    assert_eq!(get(api, "/healthz").1, "ok");
    assert_eq!(get(api, "/console/").1, "console");
    assert!(get(api, "/a.txt").1.contains("\"urls\""));
    assert_eq!(get(files, "/a.txt").1, "0123456789");
    assert!(get(files, "/").1.contains("millrace runs"));
    for path in ["/api/v1/streams/", "/metrics", "/nothing"] {
        let (head, body) = get(files, path);
        assert_eq!((status(&head), body.as_str()), ("404", "Not Found"), "{path}");
    }
}

#[test]
fn a_shared_port_has_both() {
    let (_server, port, _) = start(true);
    assert!(get(port, "/api/v1/streams/").1.ends_with("\"streams\":[]}"));
    assert!(get(port, "/").1.contains("millrace runs"));
    assert_eq!(get(port, "/a.txt").1, "0123456789");
    assert_eq!(status(&get(port, "/nothing").0), "404");
}

#[test]
fn paths_are_kept_inside_on_the_wire_too() {
    let (_server, _, files) = start(false);
    for path in ["/../../../../etc/passwd", "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd"] {
        let (head, body) = get(files, path);
        assert_eq!(status(&head), "400", "{path}");
        assert!(!body.contains("root:"));
    }
}

#[test]
fn files_arrive_whole_and_in_part() {
    let (_server, _, files) = start(false);
    let ask = |extra: &str| {
        let request =
            format!("GET /big.bin HTTP/1.1\r\nHost: b\r\nConnection: close\r\n{extra}\r\n");
        exchange(files, &request)
    };
    let (head, body) = ask("");
    assert!(head.contains("content-length: 3000000"), "{head}");
    assert!(!head.contains("chunked"), "{head}");
    assert!(body.len() == 3_000_000 && body.iter().all(|b| *b == 7));
    let (head, body) = ask("Range: bytes=1000000-2999999\r\n");
    assert_eq!((status(&head), body.len()), ("206", 2_000_000));
}

#[test]
fn a_kick_ends_the_session_from_outside() {
    let (server, api, _) = start(false);
    let session = server.host.sessions.open("rtmp", ([127, 0, 0, 1], 1).into());
    session.identify(gate::Detail { kind: "rtmp-play", ..Default::default() }, None);
    let request = format!(
        "DELETE /api/v1/clients/{} HTTP/1.1\r\nHost: 127.0.0.1:{api}\r\nConnection: close\r\n\r\n",
        session.id
    );
    let (head, _) = exchange(api, &request);
    assert_eq!(status(&head), "200");
    assert_eq!(session.kick_reason(), Some(gate::session::Kick::Api));
}
