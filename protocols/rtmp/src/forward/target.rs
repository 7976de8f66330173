//! What a destination means for a stream: the address under which it is published there.

use gate::Detail;

use crate::wire::url::{DEFAULT_VHOST, Error, StreamUrl};

/// The scheme of a destination; a bare `host[:port]` has none.
fn scheme(destination: &str) -> Option<&str> {
    destination.split_once("://").map(|(scheme, _)| scheme)
}

/// Whether a destination is one of RTMP.
pub(crate) fn takes(destination: &str) -> bool {
    let known = |s: &str| s.eq_ignore_ascii_case("rtmp") || s.eq_ignore_ascii_case("rtmps");
    scheme(destination).is_none_or(known)
}

/// The address at `destination` of the stream that `detail` publishes.
///
/// A URL with a path is the address itself. A server alone gets the stream by its own app, name and
/// query; the virtual host goes into the query unless it is the default one, and then the host
/// does by which the publisher called us, where it is a name (as SRS has it).
pub(super) fn target(destination: &str, detail: &Detail) -> Result<StreamUrl, Error> {
    let (scheme, rest) = destination.split_once("://").unwrap_or(("rtmp", destination));
    if rest.trim_end_matches('/').contains('/') {
        return StreamUrl::parse(destination, "");
    }
    let authority = rest.trim_end_matches('/');
    let mut query = detail.param.trim_start_matches(['?', '&']).to_owned();
    if let Some(vhost) = vhost(detail).filter(|_| !query.contains("vhost=")) {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str("vhost=");
        query.push_str(&vhost);
    }
    let mark = if query.is_empty() { "" } else { "?" };
    let name = format!("{}{mark}{query}", detail.name);
    StreamUrl::parse(&format!("{scheme}://{authority}/{}", detail.app), &name)
}

/// A destination as logs may show it: without names, passwords and query, and without the stream
/// of a whole address, which often is a key.
pub(super) fn shown(destination: &str) -> String {
    let bare = destination.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match bare.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), bare),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
    match path.trim_end_matches('/').rsplit_once('/') {
        Some((app, _)) => format!("{scheme}{server}{app}/***"),
        None => format!("{scheme}{server}"),
    }
}

/// The virtual host to ask for.
fn vhost(detail: &Detail) -> Option<String> {
    if detail.vhost != DEFAULT_VHOST {
        return Some(detail.vhost.clone());
    }
    let called = StreamUrl::parse(&detail.tc_url, "stream").ok()?.host;
    let is_number = called.parse::<std::net::IpAddr>().is_ok();
    (!is_number && called != DEFAULT_VHOST).then_some(called)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(vhost: &str, tc_url: &str, param: &str) -> Detail {
        Detail {
            vhost: vhost.into(),
            app: "live".into(),
            name: "s".into(),
            param: param.into(),
            tc_url: tc_url.into(),
            ..Detail::default()
        }
    }

    #[test]
    fn a_server_gets_the_stream_by_its_own_name() {
        let any = DEFAULT_VHOST;
        for (to, vhost, tc_url, param, connect, name) in [
            ("10.0.0.9", any, "rtmp://127.0.0.1/live", "", "rtmp://10.0.0.9/live", "s"),
            ("o:19350", any, "rtmp://[::1]/live", "?k=v", "rtmp://o:19350/live", "s?k=v"),
            ("[::1]:1936", any, "", "", "rtmp://[::1]:1936/live", "s"),
            (
                "o:19350",
                "v.net",
                "rtmp://v.net/live",
                "",
                "rtmp://v.net:19350/live",
                "s?vhost=v.net",
            ),
            ("o", "v.net", "", "?k=v", "rtmp://v.net/live", "s?k=v&vhost=v.net"),
            ("o", any, "rtmp://call.me/live", "", "rtmp://call.me/live", "s?vhost=call.me"),
            ("o", any, "rtmp://h/live", "?vhost=w", "rtmp://w/live", "s?vhost=w"),
            ("rtmps://o", any, "", "", "rtmps://o/live", "s"),
            ("rtmps://o:1443/", any, "", "", "rtmps://o:1443/live", "s"),
        ] {
            let url = target(to, &detail(vhost, tc_url, param)).unwrap();
            assert_eq!((url.tc_url(), url.name()), (connect.into(), name.into()), "{to} {vhost}");
        }
    }

    #[test]
    fn a_whole_url_is_the_address() {
        let url = target("rtmp://o:19350/app/in/name?k=v", &detail("v", "", "?token=x")).unwrap();
        assert_eq!(url.tc_url(), "rtmp://o:19350/app/in");
        assert_eq!((url.name(), url.host.as_str(), url.port), ("name?k=v".into(), "o", 19350));
        let two = target("rtmp://10.0.0.9/live/s", &detail("v", "", "")).unwrap();
        assert_eq!((two.app.as_str(), two.stream.as_str(), two.port), ("live", "s", 1935));
        let bad = ["rtmp://o:0/live/s", "rtmp:///live/s", "o:port", "", "rtmp://o/live/.."];
        for text in bad {
            assert!(target(text, &detail("v", "", "")).is_err(), "{text}");
        }
    }

    #[test]
    fn the_log_shows_no_key() {
        for (text, wanted) in [
            ("o:1935", "o:1935"),
            ("rtmps://o/", "rtmps://o"),
            ("rtmp://u:p@o:1/app/in/key?k=v", "rtmp://o:1/app/in/***"),
            ("rtmp://o/key", "rtmp://o/***"),
            ("", ""),
        ] {
            assert_eq!(shown(text), wanted, "{text}");
        }
    }

    #[test]
    fn only_destinations_of_rtmp_are_taken() {
        for (text, taken) in [
            ("o:1935", true),
            ("rtmp://o/live/s", true),
            ("RTMPS://o", true),
            ("srt://o:1", false),
            ("http://o/", false),
        ] {
            assert_eq!(takes(text), taken, "{text}");
        }
    }
}
