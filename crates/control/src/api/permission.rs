//! Who may change something by the API.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{FORWARDED, HOST, ORIGIN};

use super::Ask;

/// Whether this request may change something: end a client, reload.
///
/// With `http_api.auth` whoever has passed it may: the transport has asked for name and password
/// before. Without, only this machine may. A reverse proxy on this machine speaks for others,
/// and so does a browser that shows a page of another site; both are told by their headers.
///
/// # Errors
/// The reason, and how to open it, for a person to read.
pub(super) fn may_write(ask: &Ask) -> Result<(), String> {
    if ask.host.config().root().bool("http_api.auth.enabled") {
        return Ok(());
    }
    let headers = &ask.parts.headers;
    let host = headers.get(HOST).and_then(|v| v.to_str().ok());
    let host = host.or_else(|| ask.parts.uri.authority().map(|a| a.as_str())).unwrap_or("");
    let refused = if !ask.peer.ip().is_loopback() {
        format!("{} is another machine", ask.peer.ip())
    } else if is_forwarded(headers) {
        "a proxy sent the request for somebody else".to_owned()
    } else if is_cross_site(headers, host) {
        "a web page of another site sent the request".to_owned()
    } else {
        return Ok(());
    };
    Err(format!(
        "changes need http_api.auth, or come from this machine: {refused}. \
         To open the API set http_api {{ auth {{ enabled on; username NAME; password SECRET; }} }}"
    ))
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
    if origin.is_none() && site.is_none() {
        return false;
    }
    let here = host_name(host);
    let page = origin.map(|o| host_name(o.split_once("://").map_or(o, |(_, rest)| rest)));
    let is_own = page.is_none_or(|page| page == here || is_loopback(page));
    site == Some("cross-site") || !is_literal(here) || !is_own
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
