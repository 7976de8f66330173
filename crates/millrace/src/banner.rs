//! The first screen: where to publish and where to watch.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::Arc;

use control::api::Token;
use gate::Host;
use gate::conf::{Config, Listen, VhostSection};

/// Prints it (with WebRTC's doors if `rtc`), unless the server runs in the background or the console takes a log for machines.
pub(crate) fn print(host: &Arc<Host>, config: &Config, demo: bool, rtc: bool, token: &Token) {
    let root = config.root();
    let machines = root.str("log_format") == "json" && root.str("srs_log_tank") == "console";
    if (root.bool("daemon") && !demo) || machines {
        return;
    }
    let text = text(host, config, demo, rtc, token);
    let mut out = std::io::stdout().lock();
    let bold = out.is_terminal();
    let _ = if bold { writeln!(out, "\x1b[1m{text}\x1b[0m") } else { writeln!(out, "{text}") };
    let _ = out.flush();
}

/// Says where a server that goes to the background can be found again.
pub(crate) fn background(config: &Config, token: &Token) {
    let root = config.root();
    let log = match root.str("srs_log_tank") {
        "console" => "the console",
        _ => root.str("srs_log_file"),
    };
    let version = crate::VERSION;
    let pid = root.str("pid");
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "millrace {version} goes to the background (daemon on); log: {log}, pid file: {pid}"
    );
    if let Some(token) = told(config, token) {
        let _ = writeln!(out, "token of the API: {token}");
    }
    let _ = out.flush();
}

/// The token, where it is new, and where it is kept; `None` without an API.
fn told(config: &Config, token: &Token) -> Option<String> {
    if !config.root().bool("http_api.enabled") {
        return None;
    }
    let text = &token.text;
    Some(match (&token.file, token.is_new) {
        (Some(file), true) => format!("{text}   (kept in {})", file.display()),
        (Some(file), false) => format!("in {}", file.display()),
        (None, _) => format!("{text}   (until the server stops)"),
    })
}

fn base(scheme: &str, listen: Option<&Listen>, default: u16) -> Option<String> {
    let listen = listen?;
    let host = match listen.ip {
        Some(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        Some(ip) if ip.is_ipv6() => format!("[{ip}]"),
        Some(ip) => ip.to_string(),
        None => "127.0.0.1".to_owned(),
    };
    Some(match listen.port == default {
        true => format!("{scheme}://{host}"),
        false => format!("{scheme}://{host}:{}", listen.port),
    })
}

fn text(host: &Arc<Host>, config: &Config, demo: bool, rtc: bool, token: &Token) -> String {
    let root = config.root();
    let mut out = format!(
        "millrace {} is up: pid {}, {} worker{}",
        host.identity.version,
        host.identity.pid,
        host.shards().len(),
        if host.shards().len() == 1 { "" } else { "s" },
    );
    let mut row = |name: &str, url: &str| {
        let _ = write!(out, "\n  {name:<9} {url}");
    };
    let vhost = config.vhost(gate::conf::DEFAULT_VHOST);
    let remux = |end: &str| {
        let mounted =
            |v: &VhostSection<'_>| v.list("http_remux.mount").iter().any(|m| m.ends_with(end));
        vhost.as_ref().is_some_and(|v| v.bool("http_remux.enabled") && mounted(v))
    };
    let hls = vhost.as_ref().is_some_and(|v| v.bool("hls.enabled"));
    let rtmp = base("rtmp", root.listen("listen").first(), 1935);
    let http = base("http", root.listen("http_server.listen").first(), 80)
        .filter(|_| root.bool("http_server.enabled"));
    let api = base("http", root.listen("http_api.listen").first(), 80)
        .filter(|_| root.bool("http_api.enabled"));
    let door = api
        .as_ref()
        .or(http.as_ref())
        .filter(|_| rtc && vhost.as_ref().is_some_and(|v| v.bool("rtc.enabled")));
    let door = door.map(|door| format!("{door}/rtc/v1"));
    if let Some(rtmp) = &rtmp {
        if demo {
            row("Playing", "the built-in test card, published as live/livestream");
        } else {
            row("Publish", &format!("{rtmp}/live/livestream"));
            row("", "OBS: Settings, Stream, Custom: server and key are");
            row("", &format!("     {rtmp}/live   and   livestream"));
            row("", &format!("ffmpeg -re -i FILE -c copy -f flv {rtmp}/live/livestream"));
            if let Some(door) = &door {
                row(
                    "",
                    &format!("{door}/whip/?app=live&stream=livestream   (WHIP: OBS, browsers)"),
                );
            }
        }
        row("Watch", &format!("{rtmp}/live/livestream"));
    }
    if let Some(http) = &http {
        if hls {
            row("", &format!("{http}/live/livestream.m3u8   (HLS: browsers, phones)"));
        }
        if remux(".flv") {
            row("", &format!("{http}/live/livestream.flv    (also over WebSocket)"));
        }
        if remux(".ts") {
            row("", &format!("{http}/live/livestream.ts"));
        }
    }
    if let Some(door) = &door {
        row("", &format!("{door}/whep/?app=live&stream=livestream   (WHEP: browsers)"));
    }
    if let Some(api) = &api {
        row("API", &format!("{api}/api/v1/streams/"));
        row("Metrics", &format!("{api}/metrics"));
        if let Some(token) = told(config, token) {
            row("Token", &token);
        }
    }
    if demo {
        let rtmp = rtmp.unwrap_or_default();
        row("Try", &format!("ffplay {rtmp}/live/livestream"));
        row("", "Ctrl-C stops.");
    }
    out.push('\n');
    out
}
