//! Recorded conversations with the API: every byte of an answer, values that vary by rules.
//!
//! Each file of `testdata/api` is one: what it shows, what the server is configured with, the
//! request, a line of `=`, the answer. In an answer `<int>`, `<float>` (two decimals), `<vid>`
//! (`vid-` and seven letters), `<date>` and `<text>` stand for what varies. `UPDATE_SAMPLES=1`
//! writes the answers anew; read the difference.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use control::api::{self, ApiParts, Reload, Token};
use control::config::{Patch, directives};
use control::files::FilesMount;
use control::reload::{Report, State};
use control::sampler::Figures;
use futures_util::future::BoxFuture;
use gate::conf::Config;
use gate::http::HttpGate;
use gate::{Detail, Gate, Host, HostParts, Identity, OpenDoor, PrepareError, Session};
use hub::{Hub, PublishOptions, Stream, StreamKey, start_shards};
use media::{Codec, Flags, Frame, Timestamp};
use tokio::runtime::Runtime;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/api");
const BORDER: &str = "====";
/// Stands in answers for the port that the API really had.
const API_PORT: &str = ":1985";

struct Reloads;

impl Reload for Reloads {
    fn reload(&self) -> BoxFuture<'_, Result<Report, Vec<String>>> {
        Box::pin(std::future::ready(Ok(Report::default())))
    }
    fn dry_run(&self) -> BoxFuture<'_, Result<Report, Vec<String>>> {
        self.reload()
    }
    fn update(&self, _: Patch) -> BoxFuture<'_, Result<Report, Vec<String>>> {
        self.reload()
    }
    fn last(&self) -> State {
        let (msg, rid) = ("Success".to_owned(), "k21d7y2".to_owned());
        State { state: 90, err: 0, msg, rid }
    }
}

/// The directive's value in `pairs`, if it is there.
fn said<'a>(pairs: &[(&'a str, &'a str)], path: &str) -> Option<&'a str> {
    pairs.iter().find(|(p, _)| *p == path).map(|(_, value)| *value)
}

struct Server {
    _control: Runtime,
    gate: HttpGate,
    _sessions: Vec<Session>,
    api: u16,
    http: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.gate.close_listeners();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(pairs: &[(&str, &str)]) -> Server {
    for _ in 0..20 {
        let api = free_port();
        let http =
            if said(pairs, "http_server.listen") == Some("shared") { api } else { free_port() };
        if let Ok(server) = try_start(pairs, api, http) {
            return server;
        }
    }
    panic!("no free ports");
}

fn try_start(pairs: &[(&str, &str)], api: u16, http: u16) -> Result<Server, PrepareError> {
    let listen = |port: u16| format!("127.0.0.1:{port}");
    let (api_at, http_at) = (listen(api), listen(http));
    let mut all = vec![
        ("http_api.enabled", "on"),
        ("http_api.listen", api_at.as_str()),
        ("http_server.enabled", "on"),
        ("http_server.listen", http_at.as_str()),
        ("http_server.dir", DIR),
        ("vhost.hls.enabled", "on"),
    ];
    all.extend(pairs.iter().filter(|(path, _)| *path != "http_server.listen"));
    let config = Config::from_pairs(directives::table(&[]), &all);
    let control =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut identity = Identity::new("vid-0a1b2c3".to_owned(), "0.1.0");
    (identity.service_id, identity.pid) = ("4f8k2l0d".to_owned(), "1234".to_owned());
    let host = Host::new(HostParts {
        hub: Hub::new(|n| format!("vid-7a1k2p{n}")),
        shards: start_shards(1).unwrap(),
        config: config.clone(),
        identity,
        admission: Box::new(OpenDoor),
        control: control.handle().clone(),
        fileless: true,
        inherited: gate::Inherited::default(),
    });
    let sessions = company(&host);
    let figures = Arc::new(Figures::default());
    figures.sample_system(&[]);
    let (first, last) = api::mounts(ApiParts {
        figures,
        reloader: Arc::new(Reloads),
        ready: Arc::new(AtomicBool::new(true)),
        features: &["ssl", "hls", "api", "httpd", "stat", "tcp_nodelay", "mr"],
        token: Some(Token { text: "0123456789abcdef".to_owned(), file: None, is_new: true }),
    });
    let gate = HttpGate::default();
    gate.mount(first);
    gate.mount(Arc::new(FilesMount));
    gate.mount(last);
    control.block_on(gate.prepare(&host, &config))?.commit();
    Ok(Server { _control: control, gate, _sessions: sessions, api, http })
}

/// A publisher of H.264 and AAC, a player by RTMP, one by HTTP-FLV and one by HLS.
fn company(host: &Arc<Host>) -> Vec<Session> {
    let stream = host.hub.open(&StreamKey::new("__defaultVhost__", "live", "livestream"));
    let detail = |kind: &'static str, name: &str, tc_url: &str| Detail {
        kind,
        publish: kind.ends_with("publish"),
        vhost: "__defaultVhost__".to_owned(),
        app: "live".to_owned(),
        name: name.to_owned(),
        tc_url: tc_url.to_owned(),
        ..Detail::default()
    };
    let all = [
        ("k3w81zq5", "rtmp", detail("fmle-publish", "livestream", "rtmp://127.0.0.1/live")),
        ("m4x92ar6", "rtmp", detail("rtmp-play", "livestream", "rtmp://127.0.0.1/live")),
        ("n5y03bs7", "httpflv", detail("flv-play", "livestream.flv", "http://127.0.0.1:8080/live")),
        ("o6z14ct8", "hls", detail("hls-play", "livestream.m3u8", "http://127.0.0.1:8080/live")),
    ];
    let sessions: Vec<Session> = all
        .into_iter()
        .map(|(id, gate, detail)| {
            let session = host.sessions.open_as(id.into(), gate, ([127, 0, 0, 1], 4000).into());
            session.identify(detail, Some(stream.clone()));
            session
        })
        .collect();
    publish(host, &stream, &sessions[0]);
    stream.stats.clients.store(4, Relaxed);
    sessions[0].counters.recv_bytes.store(105_811, Relaxed);
    sessions[1].counters.send_bytes.store(4123, Relaxed);
    sessions
}

fn publish(host: &Arc<Host>, stream: &Arc<Stream>, owner: &Session) {
    let frame = |codec: Codec, tag: u32, flags: Flags, payload: &'static [u8]| Frame {
        codec,
        track: 0,
        flags,
        tag,
        dts: Timestamp::ZERO,
        pts: Timestamp::ZERO,
        payload: Bytes::from_static(payload),
    };
    let high: &[u8] = &[1, 100, 0, 32, 0xff, 0xe0, 0];
    let frames = [
        frame(Codec::H264, 7, Flags::CONFIG, high),
        frame(Codec::Aac, 0xaf, Flags::CONFIG, &[0x12, 0x10]),
        frame(Codec::H264, 7, Flags::KEY, &[0; 1000]),
        frame(Codec::Aac, 0xaf, Flags::empty(), &[0; 100]),
    ];
    let (hub, to, info) = (host.hub.clone(), stream.clone(), (**owner).clone());
    let (done, wait) = std::sync::mpsc::channel();
    host.shards()[0].try_run(Box::new(move |shard: Rc<hub::Shard>| {
        let mut publisher = to.publish(&hub, &shard, info, PublishOptions::default()).unwrap();
        frames.into_iter().for_each(|f| publisher.push(f).unwrap());
        // A publisher cannot leave its shard, and the test ends with the process.
        std::mem::forget(publisher);
        let _ = done.send(());
    }));
    wait.recv().unwrap();
}

/// One file.
struct Conversation {
    path: PathBuf,
    /// The lines before the request, as they are.
    head: String,
    pairs: Vec<(String, String)>,
    on_http: bool,
    numbers_vary: bool,
    request: String,
    answer: String,
}

fn read(path: &Path) -> Conversation {
    let text = std::fs::read_to_string(path).unwrap();
    let (asked, answer) = text.split_once(BORDER).unwrap_or((&text, ""));
    let head: String =
        asked.lines().filter(|l| l.starts_with('#')).map(|l| format!("{l}\n")).collect();
    let notes = || head.lines().filter_map(|l| l.strip_prefix("# "));
    let pair = |l: &str| {
        let (path, value) = l.split_once(' ').unwrap();
        (path.to_owned(), value.to_owned())
    };
    Conversation {
        path: path.to_owned(),
        pairs: notes().filter_map(|l| l.strip_prefix("with ")).map(pair).collect(),
        on_http: notes().any(|l| l == "at the port of http_server"),
        numbers_vary: notes().any(|l| l == "numbers vary"),
        request: asked.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect(),
        answer: answer.trim_start_matches('\n').trim_end_matches('\n').to_owned(),
        head,
    }
}

/// The answer as it is written into a file: line ends without CR.
fn ask(api: u16, port: u16, request: &str) -> String {
    let lines: Vec<&str> = request.trim_end().lines().collect();
    let wire = format!("{}\r\nconnection: close\r\n\r\n", lines.join("\r\n"));
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    tcp.write_all(wire.as_bytes()).unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8(answer).unwrap().replace("\r\n", "\n");
    text.trim_end_matches('\n').replace(&format!(":{api}"), API_PORT)
}

/// How long a prefix of `text` is what the rule says; `None`: no rule of that name.
fn taken(rule: &str, text: &str) -> Option<usize> {
    let run = |text: &str, fits: fn(char) -> bool| text.find(|c| !fits(c)).unwrap_or(text.len());
    let digits = |text: &str| run(text, |c| c.is_ascii_digit());
    let sign = usize::from(text.starts_with('-'));
    Some(match rule {
        "int" => match digits(&text[sign..]) {
            0 => 0,
            n => sign + n,
        },
        "float" => match digits(&text[sign..]) {
            n if n > 0
                && text[sign + n..].starts_with('.')
                && digits(&text[sign + n + 1..]) == 2 =>
            {
                sign + n + 3
            }
            _ => 0,
        },
        "vid" => match run(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
            11 if text.starts_with("vid-") => 11,
            _ => 0,
        },
        "text" => run(text, |c| c != '"' && c != '\n'),
        "date" => run(text, |c| c != '\n'),
        _ => return None,
    })
}

fn fits(wanted: &str, got: &str) -> Result<(), String> {
    let (mut wanted, mut got) = (wanted, got);
    loop {
        let rule = wanted.strip_prefix('<').and_then(|rest| {
            let (name, rest) = rest.split_once('>')?;
            Some((taken(name, got)?, rest))
        });
        match rule {
            Some((0, _)) if !wanted.starts_with("<text>") => {
                return Err(format!("wanted {:.60}, got {got:.60}", wanted));
            }
            Some((n, rest)) => (wanted, got) = (rest, &got[n..]),
            None => match (wanted.chars().next(), got.chars().next()) {
                (None, None) => return Ok(()),
                (a, b) if a == b => {
                    let n = a.map_or(0, char::len_utf8);
                    (wanted, got) = (&wanted[n..], &got[n..]);
                }
                _ => return Err(format!("wanted {wanted:.80}\n   got {got:.80}")),
            },
        }
    }
}

/// Puts rules in the place of what varies.
fn generalise(answer: &str, numbers_vary: bool) -> String {
    let (head, body) = answer.split_once("\n\n").unwrap_or((answer, ""));
    let mut out = String::new();
    let mut rest = body;
    // Keys whose number varies wherever it stands; `code` and the version never do.
    let varies = ["live_ms", "alive", "now_ms", "sample_time", "time", "srs_uptime", "build2"];
    let texts = ["argv", "cwd", "comm", "state", "build", "build2", "version"];
    while let Some(at) = rest.find("\":") {
        let (before, after) = rest.split_at(at + 2);
        let key = before[..at].rsplit('"').next().unwrap_or("");
        out.push_str(before);
        let end = after.find([',', '}', ']']).unwrap_or(after.len());
        let number = &after[..end];
        let is_number = number.parse::<f64>().is_ok();
        if is_number && (varies.contains(&key) || numbers_vary && key != "code") {
            out.push_str(if number.contains('.') { "<float>" } else { "<int>" });
            rest = &after[end..];
        } else if numbers_vary && texts.contains(&key) && after.starts_with('"') {
            out.push_str("\"<text>\"");
            rest = &after[1 + after[1..].find('"').unwrap() + 1..];
        } else {
            rest = after;
        }
    }
    out.push_str(rest);
    for (at, _) in out.clone().match_indices("\"vid-").collect::<Vec<_>>().into_iter().rev() {
        let id = &out[at + 1..at + 12];
        if !id.starts_with("vid-7a1k2p") && id != "vid-0a1b2c3" {
            out.replace_range(at + 1..at + 12, "<vid>");
        }
    }
    let line = |l: &str| match l.split_once(": ") {
        Some(("date", _)) => "date: <date>".to_owned(),
        Some(("content-length", _)) if out.contains('<') || out.contains(API_PORT) => {
            "content-length: <int>".to_owned()
        }
        _ => l.to_owned(),
    };
    let head: Vec<String> = head.lines().map(line).collect();
    if out.is_empty() { head.join("\n") } else { format!("{}\n\n{out}", head.join("\n")) }
}

#[test]
fn recorded_conversations_go_as_they_went() {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(DIR).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "http"));
    files.sort();
    assert!(files.len() > 40, "{}", files.len());
    let update = std::env::var_os("UPDATE_SAMPLES").is_some();
    let mut faults = Vec::new();
    for path in &files {
        let told = read(path);
        let pairs: Vec<(&str, &str)> =
            told.pairs.iter().map(|(p, v)| (p.as_str(), v.as_str())).collect();
        let server = start(&pairs);
        let got =
            ask(server.api, if told.on_http { server.http } else { server.api }, &told.request);
        if update {
            let answer = generalise(&got, told.numbers_vary);
            let request = told.request.trim_end();
            let text = format!("{}{request}\n{BORDER}\n{answer}\n", told.head);
            std::fs::write(&told.path, text).unwrap();
        } else if let Err(why) = fits(&told.answer, &got) {
            faults.push(format!("{}:\n{why}", told.path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn rules_take_what_they_name_and_nothing_else() {
    for (wanted, got) in [
        ("a<int>b", "a-12b"),
        ("<float>,", "0.05,"),
        ("\"<vid>\"", "\"vid-abc1234\""),
        ("\"<text>\"", "\"\""),
        ("date: <date>\nx", "date: Fri, 1\nx"),
        ("1 < 2 <b>", "1 < 2 <b>"),
    ] {
        assert_eq!(fits(wanted, got), Ok(()), "{wanted}");
    }
    for (wanted, got) in [
        ("a<int>b", "ab"),
        ("<int>", "1.50"),
        ("<float>", "0.5"),
        ("<float>", "0.500"),
        ("\"<vid>\"", "\"vid-abc\""),
        ("\"<text>\"", "\"a\n\""),
        ("abc", "abcd"),
        ("abcd", "abc"),
    ] {
        assert!(fits(wanted, got).is_err(), "{wanted}");
    }
}
