//! Who may change something by the API.

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
    let refused = if !ask.peer.ip().is_loopback() {
        format!("{} is another machine", ask.peer.ip())
    } else if is_forwarded(headers) {
        "a proxy sent the request for somebody else".to_owned()
    } else if is_cross_site(headers) {
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

/// Browsers name the page that asks: pages of this machine may, others only borrow its user.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if text("sec-fetch-site") == Some("cross-site") {
        return true;
    }
    let Some(origin) = text(ORIGIN.as_str()) else { return false };
    let page = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    let (page, here) = (host_name(page), host_name(text(HOST.as_str()).unwrap_or("")));
    !(page == here || matches!(page, "localhost" | "127.0.0.1" | "[::1]"))
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
        let cross = |pairs: &[_]| is_cross_site(&headers(pairs));
        assert!(!cross(&[]));
        assert!(!cross(&[("origin", "http://box:8080"), ("host", "box:1985")]));
        assert!(!cross(&[("origin", "http://localhost:8080"), ("host", "127.0.0.1:1985")]));
        assert!(!cross(&[("origin", "http://[::1]:8080"), ("host", "x")]));
        assert!(cross(&[("origin", "https://evil.test"), ("host", "127.0.0.1:1985")]));
        assert!(cross(&[("origin", "null"), ("host", "127.0.0.1:1985")]));
        assert!(cross(&[("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn a_proxy_speaks_for_others() {
        assert!(is_forwarded(&headers(&[("x-forwarded-for", "10.0.0.9")])));
        assert!(is_forwarded(&headers(&[("forwarded", "for=10.0.0.9")])));
        assert!(!is_forwarded(&headers(&[("via", "x")])));
    }
}
