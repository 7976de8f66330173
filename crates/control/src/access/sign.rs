//! Signed URLs that expire: HMAC-SHA256 over who may do what until when.
//!
//! What is signed are four lines, joined by line feeds, without one at the end:
//!
//! ```text
//! publish or play
//! app/stream          without file extension, escapes undone
//! expires             seconds since 1970, as in the query
//! ip                  as in the query, or nothing
//! ```
//!
//! The query carries `expires`, `sign` (64 hexadecimal digits), and as they are wanted `kid` (the
//! id of the secret) and `ip` (the one address, or range, that may use it). The virtual host is
//! not signed: a secret belongs to one.

use aws_lc_rs::hmac;
use gate::host::strip_extension;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::net::Net;
use super::{Asked, Direction, Verdict};

/// Longest URL that is signed, in bytes.
const MAX_URL: usize = 8192;

/// What stands in a query as it is. A slash does not: clients look for the stream behind the last.
const VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// The secrets of a virtual host. The first one signs, all of them verify.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<(String, hmac::Key)>);

impl Secrets {
    pub(crate) fn push(&mut self, id: &str, secret: &str) {
        self.0.push((id.to_owned(), key(secret)));
    }

    pub(crate) fn check(&self, asked: &Asked<'_>) -> Verdict {
        let (expires, sign) = match (asked.query.get("expires"), asked.query.get("sign")) {
            (None, None) => return Verdict::Absent,
            (Some(expires), Some(sign)) => (expires, sign),
            _ => return Verdict::unauthorized("a signed URL has both `expires` and `sign`"),
        };
        let Some(sign) = from_hex(&sign) else {
            return Verdict::unauthorized("`sign` is not 64 hexadecimal digits");
        };
        let plain = expires.len() <= 19 && expires.bytes().all(|b| b.is_ascii_digit());
        let Some(end) = expires.parse::<u64>().ok().filter(|_| plain) else {
            return Verdict::unauthorized("`expires` is not a time in seconds");
        };
        let ip = asked.query.get("ip").unwrap_or_default();
        let kid = asked.query.get("kid");
        let text = canonical(asked.direction, asked.app, asked.stream, &expires, &ip);
        let fits = |(id, key): &&(String, hmac::Key)| {
            kid.as_deref().is_none_or(|kid| kid == id)
                && hmac::verify(key, text.as_bytes(), &sign).is_ok()
        };
        if !self.0.iter().any(|secret| fits(&secret)) {
            return Verdict::unauthorized("the signature is not of this stream, action and time");
        }
        // From here on the words are those of who knows the secret.
        if end <= asked.now {
            return Verdict::unauthorized("the signed URL has expired");
        }
        let from_there = |net: Net| net.contains(asked.ip);
        match ip.parse() {
            _ if ip.is_empty() => Verdict::Granted,
            Ok(net) if from_there(net) => Verdict::Granted,
            _ => Verdict::forbidden("the signed URL is for another address"),
        }
    }
}

fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

/// The text that is signed.
fn canonical(direction: Direction, app: &str, stream: &str, expires: &str, ip: &str) -> String {
    format!("{direction}\n{app}/{stream}\n{expires}\n{ip}")
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0u8; 32];
    if text.len() != 64 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    for (to, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *to = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |d: u8| char::from_digit(u32::from(d), 16).unwrap_or('0');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// What a URL is signed for.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// To publish or to play.
    pub direction: Direction,
    /// Id of the secret, if it is to stand in the URL.
    pub kid: Option<&'a str>,
    /// The secret.
    pub secret: &'a str,
    /// Until when, in seconds since 1970.
    pub expires: u64,
    /// The only address or range that may use it.
    pub ip: Option<Net>,
}

/// Why a URL cannot be signed: the mistake of who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Not `schema://host/app/stream`.
    #[error("the URL is not of the form schema://host/app/stream")]
    Form,
    /// It is signed already, or carries other words of ours.
    #[error("the URL already has `{0}`")]
    Taken(&'static str),
    /// Longer than any server takes.
    #[error("the URL is longer than {MAX_URL} bytes")]
    TooLong,
}

/// The stream of a URL: host or `vhost=`, app and stream without extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// As the client will ask for it; the server may serve it by its default host.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// Stream.
    pub stream: String,
}

/// Takes a URL apart: `rtmp://host/app/stream`, `http://host:8080/app/stream.flv?vhost=v`.
///
/// # Errors
/// [`SignError::Form`] or [`SignError::TooLong`].
pub fn named(url: &str) -> Result<Named, SignError> {
    if url.len() > MAX_URL {
        return Err(SignError::TooLong);
    }
    let (_, rest) = url.split_once("://").ok_or(SignError::Form)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').ok_or(SignError::Form)?;
    let path = percent_decode_str(path).decode_utf8().map_err(|_| SignError::Form)?;
    let (app, file) = path.trim_matches('/').rsplit_once('/').ok_or(SignError::Form)?;
    let stream = strip_extension(file);
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let told = super::query::Query::new(query);
    let vhost = told.get("vhost").or_else(|| told.get("domain"));
    let bad = |text: &str| text.is_empty() || text.contains(char::is_control);
    if bad(app) || bad(stream) || host.is_empty() || url.contains('#') {
        return Err(SignError::Form);
    }
    Ok(Named {
        vhost: vhost.map_or_else(|| host.to_owned(), std::borrow::Cow::into_owned),
        app: app.to_owned(),
        stream: stream.to_owned(),
    })
}

/// The URL with its signature.
///
/// # Errors
/// [`SignError`].
pub fn sign_url(url: &str, wish: &Wish<'_>) -> Result<String, SignError> {
    let named = named(url)?;
    let query = super::query::Query::new(url.split_once('?').map_or("", |(_, query)| query));
    for name in ["expires", "sign", "kid", "ip"] {
        if query.get(name).is_some() {
            return Err(SignError::Taken(name));
        }
    }
    let expires = wish.expires.to_string();
    let ip = wish.ip.map(|ip| ip.to_string()).unwrap_or_default();
    let text = canonical(wish.direction, &named.app, &named.stream, &expires, &ip);
    let tag = hmac::sign(&key(wish.secret), text.as_bytes());
    let escaped = |text: &str| utf8_percent_encode(text, VALUE).to_string();
    let mut out = url.to_owned();
    out.push(if url.contains('?') { '&' } else { '?' });
    out.push_str(&format!("expires={expires}"));
    if let Some(kid) = wish.kid {
        out.push_str(&format!("&kid={}", escaped(kid)));
    }
    if !ip.is_empty() {
        out.push_str(&format!("&ip={}", escaped(&ip)));
    }
    out.push_str(&format!("&sign={}", to_hex(tag.as_ref())));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::asked;
    use super::*;
    use Direction::{Play, Publish};

    fn secrets() -> Secrets {
        let mut secrets = Secrets::default();
        secrets.push("v2", "new-secret");
        secrets.push("v1", "old-secret");
        secrets
    }

    fn wish(secret: &str) -> Wish<'_> {
        Wish { direction: Play, kid: None, secret, expires: 2_000, ip: None }
    }

    fn verdict(url: &str, direction: Direction, stream: &str, now: u64) -> Verdict {
        let param = url.split_once('?').unwrap().1;
        let mut asked = asked(direction, "live", stream, param);
        asked.now = now;
        secrets().check(&asked)
    }

    fn reason(verdict: Verdict) -> String {
        match verdict {
            Verdict::Denied { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_signature_is_that_of_the_four_lines() {
        let url = sign_url("http://h/live/cam.flv", &wish("new-secret")).unwrap();
        // printf 'play\nlive/cam\n2000\n' | openssl dgst -sha256 -hmac new-secret
        let sign = "bec7903e979e5e7552793f461b7ba10c5da25688d3ff036a8429aac3e41f0618";
        assert_eq!(url, format!("http://h/live/cam.flv?expires=2000&sign={sign}"));
    }

    #[test]
    fn what_was_signed_is_let_in_until_it_expires() {
        for secret in ["new-secret", "old-secret"] {
            let url = sign_url("rtmp://h/live/cam?vhost=v", &wish(secret)).unwrap();
            assert!(verdict(&url, Play, "cam", 1_999).is_granted(), "{url}");
            assert!(reason(verdict(&url, Play, "cam", 2_000)).contains("expired"));
        }
    }

    #[test]
    fn another_stream_action_time_or_secret_is_refused() {
        let url = sign_url("rtmp://h/live/cam", &wish("new-secret")).unwrap();
        assert!(!verdict(&url, Play, "other", 0).is_granted());
        assert!(!verdict(&url, Publish, "cam", 0).is_granted());
        assert!(!verdict(&url.replace("2000", "3000"), Play, "cam", 0).is_granted());
        let foreign = sign_url("rtmp://h/live/cam", &wish("guess")).unwrap();
        assert!(!verdict(&foreign, Play, "cam", 0).is_granted());
        let with = |kid| Wish { kid: Some(kid), ..wish("old-secret") };
        let url = sign_url("rtmp://h/live/cam", &with("v1")).unwrap();
        assert!(verdict(&url, Play, "cam", 0).is_granted());
        let url = sign_url("rtmp://h/live/cam", &with("v2")).unwrap();
        assert!(!verdict(&url, Play, "cam", 0).is_granted());
    }

    #[test]
    fn a_url_for_one_address_serves_that_address() {
        // `asked` comes from 192.0.2.1.
        for (ip, granted) in [("192.0.2.1", true), ("192.0.2.0/24", true), ("::1", false)] {
            let wish = Wish { ip: Some(ip.parse().unwrap()), ..wish("new-secret") };
            let url = sign_url("rtmp://h/live/cam", &wish).unwrap();
            assert_eq!(verdict(&url, Play, "cam", 0).is_granted(), granted, "{url}");
            let stripped: Vec<&str> = url.split('&').filter(|i| !i.starts_with("ip=")).collect();
            assert!(!verdict(&stripped.join("&"), Play, "cam", 0).is_granted());
        }
    }

    #[test]
    fn the_query_has_no_slash_that_could_be_taken_for_one_of_the_path() {
        let wish = Wish { ip: Some("192.0.2.0/24".parse().unwrap()), ..wish("new-secret") };
        let url = sign_url("rtmp://h/live/cam", &wish).unwrap();
        assert!(url.contains("&ip=192.0.2.0%2F24&"), "{url}");
    }

    #[test]
    fn a_url_is_taken_apart_as_the_server_does() {
        let of = |url: &str| named(url).map(|n| (n.vhost, n.app, n.stream));
        let three = |a: &str, b: &str, c: &str| Ok((a.into(), b.into(), c.into()));
        assert_eq!(of("rtmp://h:1935/live/cam"), three("h", "live", "cam"));
        assert_eq!(of("http://[::1]:80/a/b/cam.m3u8"), three("::1", "a/b", "cam"));
        assert_eq!(of("rtmp://h/live/cam?vhost=v.test"), three("v.test", "live", "cam"));
        assert_eq!(of("http://h/live/%E5%8F%B0.flv"), three("h", "live", "台"));
        for bad in ["h/live/cam", "rtmp://h/cam", "rtmp:///live/cam", "rtmp://h/live/a%0ab"] {
            assert_eq!(named(bad), Err(SignError::Form), "{bad}");
        }
        let twice = sign_url("rtmp://h/live/cam?sign=1", &wish("s"));
        assert_eq!(twice, Err(SignError::Taken("sign")));
    }

    #[test]
    fn half_a_signature_is_told_as_such() {
        let of = |param: &str| secrets().check(&asked(Play, "live", "cam", param));
        assert!(matches!(of("?a=1"), Verdict::Absent));
        assert!(reason(of("?expires=2000")).contains("both"));
        assert!(reason(of("?expires=2000&sign=zz")).contains("64"));
        let sign = "0".repeat(64);
        for expires in ["-1", "+5", "99999999999999999999", "1e9"] {
            let param = format!("?expires={expires}&sign={sign}");
            assert!(reason(of(&param)).contains("seconds"), "{expires}");
        }
    }

    proptest! {
        #[test]
        fn what_is_signed_verifies_for_any_name(
            app in "[a-zA-Z0-9 _台-]{1,12}(/[a-z]{1,4})?",
            stream in "[a-zA-Z0-9 _台-]{1,12}",
        ) {
            let url = format!("http://h/{}/{}.flv", utf8_percent_encode(&app, VALUE), utf8_percent_encode(&stream, VALUE));
            let url = sign_url(&url, &wish("new-secret")).unwrap();
            let mut asked = asked(Play, &app, &stream, url.split_once('?').unwrap().1);
            asked.now = 0;
            prop_assert!(secrets().check(&asked).is_granted());
        }

        #[test]
        fn any_query_is_borne(param in "(&?(expires|sign|kid|ip)=\\PC{0,20}){0,4}") {
            prop_assert!(!secrets().check(&asked(Play, "live", "cam", &param)).is_granted());
        }

        #[test]
        fn any_url_is_borne(url in "\\PC{0,60}") {
            let _ = sign_url(&url, &wish("s"));
        }
    }
}
