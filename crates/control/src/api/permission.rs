//! Who asks, and who may change something by the API.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gate::conf::Config;
use http::HeaderMap;
use http::header::{ACCEPT_LANGUAGE, AUTHORIZATION, FORWARDED, HOST, ORIGIN, REFERER, USER_AGENT};

use super::Ask;

/// Longest `Authorization` that is looked at.
const MAX_CREDENTIALS: usize = 1024;

/// The token that the server made for its operator.
#[derive(Clone)]
pub struct Token {
    /// What stands behind `Bearer`.
    pub text: String,
    /// Where it is kept; `None`: nowhere, it ends with the process.
    pub file: Option<PathBuf>,
    /// It was made by this start, and nobody has been told.
    pub is_new: bool,
}

impl fmt::Debug for Token {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Who a request comes from, as far as it could be made sure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Has the token.
    Token,
    /// Knows this user's password.
    User(String),
    /// A program on this machine.
    Machine,
    /// Whoever reaches the port (`http_api.unprotected_writes`).
    Anybody,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("token"),
            Self::User(name) => write!(f, "user {name}"),
            Self::Machine => f.write_str("this machine"),
            Self::Anybody => f.write_str("anybody"),
        }
    }
}

/// The credentials that the API accepts.
pub(super) struct Door {
    token: Option<String>,
    /// `http_api.auth` is on: nobody comes in without credentials.
    pub(super) is_closed: bool,
    /// `http_api.auth.type bearer`.
    pub(super) wants_bearer: bool,
    user: (String, String),
    configured: String,
    unprotected: bool,
}

impl Door {
    pub(super) fn new(config: &Config, token: Option<&Token>) -> Self {
        let root = config.root();
        let text = |name: &str| root.str(&format!("http_api.auth.{name}")).to_owned();
        Self {
            token: token.map(|token| token.text.clone()),
            is_closed: root.bool("http_api.auth.enabled"),
            wants_bearer: root.str("http_api.auth.type") == "bearer",
            user: (text("username"), text("password")),
            configured: text("token"),
            unprotected: root.bool("http_api.unprotected_writes"),
        }
    }

    /// Who asks, if the request holds credentials that are right.
    pub(super) fn identify(&self, headers: &HeaderMap) -> Option<Who> {
        let told = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, rest) = told.split_once(' ').filter(|_| told.len() <= MAX_CREDENTIALS)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            let configured = Some(&self.configured).filter(|_| self.is_closed && self.wants_bearer);
            let known = self.token.iter().chain(configured).filter(|token| !token.is_empty());
            let told = rest.trim().as_bytes();
            // All are compared, so that time tells nothing.
            let found = known.fold(false, |found, t| found | is_equal(told, t.as_bytes()));
            return found.then_some(Who::Token);
        }
        let (name, password) = &self.user;
        // Asked to be closed without a name or a password: nobody has the key.
        let has_user = self.is_closed && !self.wants_bearer;
        if !scheme.eq_ignore_ascii_case("basic") || !has_user || name.is_empty() {
            return None;
        }
        let told = STANDARD.decode(rest.trim()).ok()?;
        let wanted = format!("{name}:{password}");
        let is_right = !password.is_empty() && is_equal(&told, wanted.as_bytes());
        is_right.then(|| Who::User(name.clone()))
    }

    /// Whether this request may change something: end a client, reload. Gives who it is, for the
    /// audit.
    ///
    /// The token may, from anywhere. With `http_api.auth` its user may, but not from a web page of
    /// another site: browsers send the password along by themselves. Without credentials only
    /// this machine may, unless `http_api.unprotected_writes` says otherwise. A reverse proxy on
    /// this machine speaks for others, and so does a browser that shows a page of another site;
    /// both are told by their headers.
    ///
    /// # Errors
    /// The reason, and how to open it, for a person to read.
    pub(super) fn may_write(&self, ask: &Ask) -> Result<Who, String> {
        let headers = &ask.parts.headers;
        let host = headers.get(HOST).and_then(|v| v.to_str().ok());
        let host = host.or_else(|| ask.parts.uri.authority().map(|a| a.as_str())).unwrap_or("");
        const PAGE: &str = "a web page of another site sent the request";
        let refused = match self.identify(headers) {
            Some(Who::Token) => return Ok(Who::Token),
            Some(user) if !is_other_page(headers, host) => return Ok(user),
            Some(_) => PAGE.to_owned(),
            None if self.is_closed => "the request has no credentials".to_owned(),
            None if self.unprotected && is_other_page(headers, host) => PAGE.to_owned(),
            None if self.unprotected => return Ok(Who::Anybody),
            None if !ask.peer.ip().to_canonical().is_loopback() => {
                format!("{} is another machine", ask.peer.ip())
            }
            None if is_forwarded(headers) => {
                "a proxy sent the request for somebody else".to_owned()
            }
            None if is_cross_site(headers, host) => PAGE.to_owned(),
            None => return Ok(Who::Machine),
        };
        Err(format!(
            "changes need the server's token (Authorization: Bearer TOKEN; it was printed at the \
             first start) or http_api.auth, or come from this machine: {refused}. To open the API \
             set http_api {{ auth {{ enabled on; username NAME; password SECRET; }} }}"
        ))
    }
}

/// Compares without telling by the time it takes how much of it was right.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// A page of another site, as far as browsers tell: for those who know the password, by whatever
/// name they call the server.
fn is_other_page(headers: &HeaderMap, host: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let site = text("sec-fetch-site");
    let page =
        text(ORIGIN.as_str()).map(|o| host_name(o.split_once("://").map_or(o, |(_, rest)| rest)));
    site == Some("cross-site") || page.is_some_and(|page| page != host_name(host))
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED)
        || headers.contains_key("x-forwarded-for")
        || headers.contains_key("x-real-ip")
}

/// Browsers name the page that asks: pages of this machine may, others only borrow its user. The
/// name that the browser knows us by has to be one that nobody else can point here: a page of
/// another site may have its own name resolved to 127.0.0.1.
fn is_cross_site(headers: &HeaderMap, host: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let (origin, site) = (text(ORIGIN.as_str()), text("sec-fetch-site"));
    if origin.is_none() && site.is_none() && !is_browser(headers) {
        return false;
    }
    let here = host_name(host);
    let page = origin.map(|o| host_name(o.split_once("://").map_or(o, |(_, rest)| rest)));
    let is_own = page.is_none_or(|page| page == here || is_loopback(page));
    site == Some("cross-site") || !is_literal(here) || !is_own
}

/// Sent by a browser. One that reads a page by plain HTTP, under whatever name that page had
/// pointed here, tells neither origin nor site; but scripts cannot leave all of these away.
fn is_browser(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("");
    agent.starts_with("Mozilla/")
        || headers.contains_key(ACCEPT_LANGUAGE)
        || headers.contains_key(REFERER)
}

fn is_loopback(name: &str) -> bool {
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// An address, or the one name that means this machine to every browser.
fn is_literal(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || bare.parse::<IpAddr>().is_ok()
}

/// `host[:port]` without the port.
fn host_name(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(at) if !authority.ends_with(']') => authority.get(..at).unwrap_or(authority),
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(n, v): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(n), http::HeaderValue::from_static(v))
        };
        pairs.iter().map(pair).collect()
    }

    fn door(pairs: &[(&str, &str)]) -> Door {
        let config = Config::from_pairs(crate::config::directives::table(&[]), pairs);
        let token = Token { text: "t0ken".to_owned(), file: None, is_new: true };
        Door::new(&config, Some(&token))
    }

    fn who(door: &Door, value: &'static str) -> Option<Who> {
        door.identify(&headers(&[("authorization", value)]))
    }

    #[test]
    fn the_servers_own_token_is_known_whatever_is_configured() {
        let bearer: &[_] = &[
            ("http_api.auth.enabled", "on"),
            ("http_api.auth.type", "bearer"),
            ("http_api.auth.token", "abc"),
        ];
        for pairs in [&[][..], bearer] {
            assert_eq!(who(&door(pairs), "Bearer t0ken"), Some(Who::Token));
            assert_eq!(who(&door(pairs), "bearer  t0ken "), Some(Who::Token));
            assert_eq!(who(&door(pairs), "Basic t0ken"), None);
            assert_eq!(who(&door(pairs), "Bearer t0kem"), None);
            assert_eq!(who(&door(pairs), "Bearer "), None);
        }
        assert_eq!(who(&door(bearer), "Bearer abc"), Some(Who::Token));
        assert_eq!(who(&door(&bearer[2..]), "Bearer abc"), None);
    }

    #[test]
    fn an_empty_token_lets_nobody_in() {
        let door = door(&[("http_api.auth.enabled", "on"), ("http_api.auth.type", "bearer")]);
        assert_eq!(who(&door, "Bearer "), None);
        assert_eq!(who(&door, "Bearer"), None);
    }

    #[test]
    fn pages_of_other_sites_are_strangers() {
        let cross = |host: &str, pairs: &[_]| is_cross_site(&headers(pairs), host);
        assert!(!cross("box", &[]));
        assert!(!cross("10.0.0.5:1985", &[("origin", "http://10.0.0.5:8080")]));
        assert!(!cross("127.0.0.1:1985", &[("origin", "http://localhost:8080")]));
        assert!(!cross("[::1]:1985", &[("origin", "http://[::1]:8080")]));
        assert!(!cross("localhost:1985", &[("sec-fetch-site", "same-origin")]));
        assert!(cross("127.0.0.1:1985", &[("origin", "https://evil.test")]));
        assert!(cross("127.0.0.1:1985", &[("origin", "null")]));
        assert!(cross("127.0.0.1:1985", &[("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn a_name_that_was_pointed_here_is_a_stranger() {
        let told = headers(&[("origin", "http://evil.test:1985")]);
        assert!(is_cross_site(&told, "evil.test:1985"));
        // What a page reads from what it takes for its own server names no origin.
        for told in [("user-agent", "Mozilla/5.0"), ("accept-language", ""), ("referer", "x")] {
            assert!(is_cross_site(&headers(&[told]), "evil.test:1985"), "{told:?}");
            assert!(!is_cross_site(&headers(&[told]), "127.0.0.1:1985"), "{told:?}");
        }
        let script = headers(&[("sec-fetch-site", "same-origin")]);
        assert!(is_cross_site(&script, "evil.test:1985"));
    }

    #[test]
    fn a_proxy_speaks_for_others() {
        assert!(is_forwarded(&headers(&[("x-forwarded-for", "10.0.0.9")])));
        assert!(is_forwarded(&headers(&[("forwarded", "for=10.0.0.9")])));
        assert!(!is_forwarded(&headers(&[("via", "x")])));
    }
}
