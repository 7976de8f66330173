//! Who may publish and play: every method on every protocol.
//!
//! A new protocol is a row of [`PROTOCOLS`]; a new method is a variant of [`Method`] with its
//! credentials.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::own::{self, Clip, Entry};
use e2e::playlist::Playlist;
use e2e::server::run_binary;
use e2e::{Context, Result, Server, Start, bail, ensure, http, until};
use hmac::{Hmac, Mac};
use sha2::Sha256;

const CONFIG: &str = "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
    http_api { enabled on; listen API; }\n\
    http_server { enabled on; listen HTTP; dir DIR/html; }\n\
    rtc_server { enabled on; listen RTC_PORT; }\n\
    vhost __defaultVhost__ { }\n\
    vhost in.test { security { enabled on; allow publish 127.0.0.0/8; allow play ::1; allow play 127.0.0.1; } STREAMS }\n\
    vhost out.test { security { enabled on; deny publish 127.0.0.1; allow play ::/0; } STREAMS }\n\
    vhost unseen.test { security { enabled on; allow publish all; deny play 127.0.0.0/8; allow play all; } MEMORY }\n\
    vhost key.test { auth { enabled on; publish key; play key;\n\
        key publish encoder-secret-1; key publish encoder-secret-2 live/elsewhere; key play viewer-secret-1; } STREAMS }\n\
    vhost sign.test { auth { enabled on; publish sign; play sign;\n\
        sign { secret v2 signing-secret-2; secret v1 signing-secret-1; } } STREAMS }\n\
    vhost jwt.test { auth { enabled on; publish jwt; play jwt; jwt { secret token-secret-1234; issuer login.test; } } FOLDERS }\n";

const STREAMS: &str = "rtc { enabled on; rtmp_to_rtc on; } http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }\n\
    hls { enabled on; hls_path DIR/html; hls_fragment 1; }";

fn start(name: &str) -> Result<Server> {
    let memory = STREAMS.replace("hls_path DIR/html", "hls_storage memory");
    let folders = STREAMS.replace(
        "hls_fragment",
        "hls_m3u8_file [app]/[stream]/index.m3u8; hls_ts_file [app]/[stream]/[seq].ts; hls_fragment",
    );
    let config = CONFIG.replace("STREAMS", STREAMS).replace("MEMORY", &memory);
    Start::config(name, &config.replace("FOLDERS", &folders)).ready()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Address,
    Key,
    Sign,
    Jwt,
}

const METHODS: [Method; 4] = [Method::Address, Method::Key, Method::Sign, Method::Jwt];

/// What somebody shows: the virtual host and the query behind the stream.
#[derive(Clone, Debug)]
struct Shown {
    vhost: &'static str,
    query: String,
}

fn shown(vhost: &'static str, query: impl Into<String>) -> Shown {
    Shown { vhost, query: query.into() }
}

fn action(publish: bool) -> &'static str {
    if publish { "publish" } else { "play" }
}

/// What lets in, and what does not.
fn credentials(
    server: &Server,
    method: Method,
    publish: bool,
    stream: &str,
) -> Result<(Shown, Vec<Shown>)> {
    Ok(match method {
        Method::Address if publish => (shown("in.test", ""), vec![shown("out.test", "")]),
        Method::Address => (shown("in.test", ""), vec![shown("unseen.test", "")]),
        Method::Key => {
            let own = if publish { "encoder-secret-1" } else { "viewer-secret-1" };
            let other = if publish { "viewer-secret-1" } else { "encoder-secret-1" };
            let bad = ["", "key=guess", &format!("key={other}"), "key=encoder-secret-2"];
            let bad = bad.into_iter().map(|query| shown("key.test", query)).collect();
            (shown("key.test", format!("key={own}")), bad)
        }
        Method::Sign => {
            let sign = |stream: &str, publish: bool, more: &[&str]| -> Result<Shown> {
                let url = format!("rtmp://sign.test/live/{stream}");
                let config = server.dir.join("millrace.conf").display().to_string();
                let mut args = vec!["sign", &url, "--config", &config];
                args.extend(["--action", action(publish)]);
                args.extend(more);
                let run = run_binary("access-sign", &args)?.well()?;
                let query = run.stdout.trim().split_once('?').context("no query")?.1.to_owned();
                Ok(shown("sign.test", query))
            };
            let good = sign(stream, publish, &["--ip", "127.0.0.0/8"])?;
            // The least that can be signed, and let pass.
            let expired = sign(stream, publish, &["--expires", "1s"])?;
            std::thread::sleep(Duration::from_millis(2_100));
            let bad = vec![
                shown("sign.test", ""),
                sign("other", publish, &[])?,
                sign(stream, !publish, &[])?,
                sign(stream, publish, &["--ip", "192.0.2.1"])?,
                shown("sign.test", good.query.replace("kid=v2", "kid=v1")),
                expired,
            ];
            (good, bad)
        }
        Method::Jwt => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            let token = |secret: &str, exp: u64, stream: &str, publish: bool| -> Result<Shown> {
                let claims = format!(
                    r#"{{"iss":"login.test","exp":{exp},"stream":"{stream}","actions":["{}"]}}"#,
                    action(publish)
                );
                let token = jwt(secret, r#"{"alg":"HS256","typ":"JWT"}"#, &claims)?;
                Ok(shown("jwt.test", format!("token={token}")))
            };
            let secret = "token-secret-1234";
            let good = token(secret, now + 600, &format!("live/{stream}"), publish)?;
            let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
            let body = good.query.split('.').nth(1).unwrap_or_default();
            let bad = vec![
                shown("jwt.test", ""),
                token("another secret", now + 600, stream, publish)?,
                token(secret, now - 600, stream, publish)?,
                token(secret, now + 600, "other", publish)?,
                token(secret, now + 600, stream, !publish)?,
                shown("jwt.test", format!("token={unsigned}.{body}.")),
            ];
            (good, bad)
        }
    })
}

fn jwt(secret: &str, header: &str, claims: &str) -> Result<String> {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(text.as_bytes());
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
}

/// Asks a protocol to let somebody in with these credentials, and says whether it did.
type Ask = fn(&Server, &str, &Shown) -> Result<bool>;

/// A protocol, and how it is asked for each direction that it has.
struct Protocol {
    name: &'static str,
    publish: Option<Ask>,
    play: Option<Ask>,
}

const PROTOCOLS: &[Protocol] = &[
    Protocol { name: "rtmp", publish: Some(rtmp_publish), play: Some(rtmp_play) },
    Protocol { name: "http-flv", publish: None, play: Some(flv_play) },
    Protocol { name: "http-ts", publish: None, play: Some(ts_play) },
    Protocol { name: "hls", publish: None, play: Some(hls_play) },
    Protocol { name: "webrtc", publish: Some(whip_publish), play: Some(whep_play) },
];

fn name(stream: &str, shown: &Shown) -> String {
    match shown.query.as_str() {
        "" => format!("live/{stream}?vhost={}", shown.vhost),
        query => format!("live/{stream}?vhost={}&{query}", shown.vhost),
    }
}

fn rtmp(server: &Server, stream: &str, shown: &Shown, publish: bool) -> Result<bool> {
    match own::knock(server, &name(stream, shown), publish)? {
        Entry::LetIn => Ok(true),
        Entry::Refused(Some((_, words))) if !words.is_empty() => Ok(false),
        Entry::Refused(said) => bail!("refused without a reason: {said:?}"),
    }
}

fn rtmp_publish(server: &Server, stream: &str, shown: &Shown) -> Result<bool> {
    rtmp(server, stream, shown, true)
}

fn rtmp_play(server: &Server, stream: &str, shown: &Shown) -> Result<bool> {
    rtmp(server, stream, shown, false)
}

/// Whether an answer of this status lets in; a refusal has to say why.
fn is_in(status: u16, body: &[u8]) -> Result<bool> {
    match status {
        200 => Ok(true),
        401 | 403 if body.len() > 10 => Ok(false),
        _ => bail!("{status}: {}", String::from_utf8_lossy(body)),
    }
}

/// Plays a live body that begins with these bytes.
fn live(
    server: &Server,
    stream: &str,
    shown: &Shown,
    extension: &str,
    begin: &[u8],
) -> Result<bool> {
    let path = format!("/{}", name(&format!("{stream}{extension}"), shown));
    let mut body = Vec::new();
    let live =
        http::stream(server.http_address()?, &path, &[], Duration::from_secs(2), &mut |bytes| {
            body.extend_from_slice(bytes);
            Ok(())
        })?;
    let entered = is_in(live.status, &body)?;
    ensure!(!entered || body.starts_with(begin), "200 with something else");
    Ok(entered)
}

fn flv_play(server: &Server, stream: &str, shown: &Shown) -> Result<bool> {
    live(server, stream, shown, ".flv", b"FLV")
}

fn ts_play(server: &Server, stream: &str, shown: &Shown) -> Result<bool> {
    live(server, stream, shown, ".ts", &[0x47])
}

fn hls_play(server: &Server, stream: &str, shown: &Shown) -> Result<bool> {
    let at = server.http_address()?;
    // One virtual host keeps each stream in a folder of its own.
    let list = |stream: &str| match shown.vhost {
        "jwt.test" => format!("{stream}/index.m3u8"),
        _ => format!("{stream}.m3u8"),
    };
    let path = format!("/{}", name(&list(stream), shown));
    let master = http::get(at, &path)?;
    if !is_in(master.status, &master.body)? {
        return Ok(false);
    }
    let playlist = Playlist::wait(server, &path, 1)?;
    let segment = playlist.segments.first().context("no segment")?;
    let got = http::get(at, &segment.path)?;
    ensure!(got.status == 200 && got.body.len() > 188, "{}: {}", segment.path, got.status);
    // The same file for whoever has no session.
    let (bare, mark) = segment.path.split_once("?hls_ctx=").context("no mark")?;
    for path in [
        bare.to_owned(),
        format!("{bare}?hls_ctx=guessed1"),
        format!("{bare}?vhost={}", shown.vhost),
        bare.replacen('/', "//", 2),
        format!("{bare}?vhost=__defaultVhost__"),
    ] {
        let got = http::get(at, &path)?;
        ensure!(got.status == 403, "{path}: {}", got.status);
    }
    // The right to one stream is none to another.
    let other = format!("/{}", name(&list(&format!("{stream}-2")), shown));
    let other = format!("{}&hls_ctx={mark}", other.split('&').next().unwrap_or_default());
    let got = http::get(at, &other)?;
    ensure!(!is_in(got.status, &got.body).unwrap_or(false), "{other}: {}", got.status);
    Ok(true)
}

/// What browsers really offer.
const WHIP_OFFER: &str =
    include_str!("../../../../protocols/rtc/testdata/sdp/chromium-publish.sdp");
const WHEP_OFFER: &str = include_str!("../../../../protocols/rtc/testdata/sdp/chromium-play.sdp");

/// Knocks at the door of WebRTC, and leaves again.
fn webrtc(server: &Server, door: &str, stream: &str, shown: &Shown, offer: &str) -> Result<bool> {
    let at = server.api_address()?;
    let (path, query) = name(stream, shown).split_once('?').map_or_else(
        || (stream.to_owned(), String::new()),
        |(path, query)| (path.to_owned(), query.to_owned()),
    );
    let headers = [("Content-Type", "application/sdp")];
    let answer = http::post(at, &format!("/{door}/{path}?{query}"), &headers, offer.as_bytes())?;
    if answer.status != 201 {
        return is_in(answer.status, &answer.body);
    }
    let session = answer.header("location").context("201 without a Location")?.to_owned();
    let path = session.strip_prefix(&format!("http://{at}")).unwrap_or(&session);
    let gone = http::ask(at, "DELETE", path, &[])?;
    ensure!(gone.status == 200, "DELETE {session}: {}", gone.status);
    Ok(true)
}

fn whip_publish(server: &Server, stream: &str, shown: &Shown) -> Result<bool> {
    webrtc(server, "whip", stream, shown, WHIP_OFFER)
}

fn whep_play(server: &Server, stream: &str, shown: &Shown) -> Result<bool> {
    webrtc(server, "whep", stream, shown, WHEP_OFFER)
}

fn begin(server: &Server, stream: &str, shown: &Shown) -> Result<own::Publisher> {
    own::publish(server, &name(stream, shown), Clip::card()?, |_, at| at)
}

fn method_on_every_protocol(server: &Server, method: Method) -> Result<()> {
    let stream = format!("{method:?}").to_lowercase();
    for publish in [true, false] {
        let (good, bad) = credentials(server, method, publish, &stream)?;
        let mut publishers = Vec::new();
        if !publish {
            let (own, _) = credentials(server, method, true, &stream)?;
            publishers.push(begin(server, &stream, &own)?);
            if method == Method::Address {
                // HTTP-TS is asked for where there is a stream.
                publishers.push(begin(server, &stream, &shown("unseen.test", ""))?);
            }
            server.wait_stream(&stream)?;
        }
        for protocol in PROTOCOLS {
            let Some(ask) = (if publish { protocol.publish } else { protocol.play }) else {
                continue;
            };
            let at = |shown: &Shown| {
                format!(
                    "{} by {} of {}?{}",
                    action(publish),
                    protocol.name,
                    shown.vhost,
                    shown.query
                )
            };
            for shown in &bad {
                let entered = ask(server, &stream, shown).with_context(|| at(shown))?;
                ensure!(!entered, "{}: let in", at(shown));
            }
            ensure!(
                ask(server, &stream, &good).with_context(|| at(&good))?,
                "{}: refused",
                at(&good)
            );
        }
        drop(publishers);
    }
    Ok(())
}

#[test]
fn every_method_lets_in_and_turns_away_on_every_protocol() -> Result<()> {
    let server = start("access-matrix")?;
    e2e::all_of(&METHODS, |method| method_on_every_protocol(&server, *method))?;
    let metrics = http::get(server.api_address()?, "/metrics")?.text();
    for sample in [
        "millrace_refused_total{direction=\"publish\",reason=\"security\"}",
        "millrace_refused_total{direction=\"play\",reason=\"key\"}",
        "millrace_refused_total{direction=\"play\",reason=\"sign\"}",
        "millrace_refused_total{direction=\"publish\",reason=\"jwt\"}",
        "millrace_refused_total{direction=\"play\",reason=\"auth\"}",
        "millrace_refused_total{direction=\"play\",reason=\"session\"}",
    ] {
        ensure!(metrics.contains(sample), "no {sample} in\n{metrics}");
    }
    // What was shown is in no log, right or wrong.
    let log = server.log();
    for secret in ["encoder-secret", "viewer-secret", "=guess", "token=ey", "signing-secret"] {
        ensure!(!log.contains(secret), "the log shows {secret}");
    }
    ensure!(log.contains("key=***") && log.contains("sign=***") && log.contains("token=***"));
    ensure!(log.contains("the key is wrong"), "the log does not say which rule refused");
    Ok(())
}

#[test]
fn a_token_may_come_in_a_header_and_a_secret_shows_in_no_list() -> Result<()> {
    let server = start("access-bearer")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims =
        format!(r#"{{"iss":"login.test","exp":{},"actions":["publish","play"]}}"#, now + 600);
    let token = jwt("token-secret-1234", r#"{"alg":"HS256"}"#, &claims)?;
    let own = format!("live/cam?vhost=jwt.test&token={token}");
    let _publisher = own::publish(&server, &own, Clip::card()?, |_, at| at)?;
    server.wait_stream("cam")?;
    let at = server.http_address()?;
    let path = "/live/cam.flv?vhost=jwt.test";
    let refused = http::get(at, path)?;
    ensure!(refused.status == 401, "{}", refused.status);
    ensure!(refused.header("www-authenticate") == Some("Bearer"), "{:?}", refused.headers);
    ensure!(refused.text().contains("a token"), "{}", refused.text());
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let live = http::stream(at, path, &headers, Duration::from_secs(1), &mut |_| Ok(()))?;
    ensure!(live.status == 200, "{}", live.status);
    let clients = server.api("/api/v1/clients/?count=100")?.to_string();
    ensure!(clients.contains("fmle-publish"), "{clients}");
    ensure!(!clients.contains(&token), "a token in the API");
    ensure!(!server.log().contains(&token), "a token in the log");
    Ok(())
}

#[test]
fn a_reload_changes_the_rules_for_those_who_come_later() -> Result<()> {
    let config = |rule: &str| {
        format!(
            "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
             http_api {{ enabled on; listen API; }}\nhttp_server {{ enabled on; listen HTTP; }}\n\
             vhost __defaultVhost__ {{ {rule} }}\n"
        )
    };
    let server = Start::config("access-reload", &config("")).ready()?;
    let publisher = own::publish(&server, "live/cam", Clip::card()?, |_, at| at)?;
    server.wait_stream("cam")?;
    ensure!(own::knock(&server, "live/cam", false)? == Entry::LetIn);
    server.rewrite(&config("security { enabled on; deny publish all; allow play 192.0.2.1; }"))?;
    server.reload()?;
    server.wait_log("reload config success")?;
    ensure!(matches!(own::knock(&server, "live/cam", false)?, Entry::Refused(_)));
    ensure!(matches!(own::knock(&server, "live/other", true)?, Entry::Refused(_)));
    ensure!(publisher.alive(), "whoever was let in was thrown out");
    // Keys that cannot be read keep the rules in force.
    let unreadable = "auth { enabled on; publish open; play jwt; jwt { key DIR/none.pem; } }";
    server.rewrite(&config(unreadable))?;
    server.reload()?;
    server.wait_log("reload failed")?;
    ensure!(server.log().contains("none.pem"), "the log does not name the file");
    ensure!(matches!(own::knock(&server, "live/other", true)?, Entry::Refused(_)));
    server.rewrite(&config(""))?;
    server.reload()?;
    until("the rules stay after they were taken away", || {
        (own::knock(&server, "live/cam", false).ok()? == Entry::LetIn).then_some(())
    })
}

/// A player that stays for as long as the socket lives.
fn watch(server: &Server) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(server.http_address()?)?;
    socket.write_all(b"GET /live/one.flv HTTP/1.1\r\nHost: a\r\n\r\n")?;
    Ok(socket)
}

#[test]
fn a_stream_and_a_virtual_host_have_room_for_so_many() -> Result<()> {
    let server = Start::config(
        "access-limits",
        "listen RTMP;\ndaemon off;\nsrs_log_tank console;\n\
         http_api { enabled on; listen API; }\nhttp_server { enabled on; listen HTTP; }\n\
         vhost __defaultVhost__ { max_connections 4; play { max_players 2; }\n\
         http_remux { enabled on; mount [vhost]/[app]/[stream].flv; } }\n",
    )
    .ready()?;
    let _one = own::publish(&server, "live/one", Clip::card()?, |_, at| at)?;
    server.wait_stream("one")?;
    let players = [watch(&server)?, watch(&server)?];
    until("two players are not there", || {
        (server.clients("flv-play").ok()?.len() == 2).then_some(())
    })?;
    let third = http::get(server.http_address()?, "/live/one.flv")?;
    ensure!(third.status == 503, "{}", third.status);
    ensure!(third.text().contains("max_players"), "{}", third.text());
    let Entry::Refused(Some((_, words))) = own::knock(&server, "live/one", false)? else {
        bail!("a third player by RTMP was let in");
    };
    ensure!(words.contains("max_players"), "{words}");
    // The fourth of the virtual host, and one more.
    let _two = own::publish(&server, "live/two", Clip::card()?, |_, at| at)?;
    let Entry::Refused(Some((_, words))) = own::knock(&server, "live/three", true)? else {
        bail!("a fifth client was let in");
    };
    ensure!(words.contains("max_connections"), "{words}");
    drop(players);
    until("no place became free", || {
        (own::knock(&server, "live/one", false).ok()? == Entry::LetIn).then_some(())
    })
}
