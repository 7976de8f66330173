//! What callbacks carry: the bodies of SRS, key by key in its order.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use gate::host::strip_extension;
use gate::{Detail, Identity, Segment, SessionInfo, Visit};

use super::event::Hook;

/// Writes a JSON object in the order of the calls.
struct Object(String);

impl Object {
    fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        // A string can always be written as JSON.
        self.0.push_str(&serde_json::to_string(value).unwrap_or_default());
        self
    }

    fn raw(mut self, key: &str, value: std::fmt::Arguments<'_>) -> Self {
        self.key(key);
        // Writing into a `String` does not fail.
        let _ = self.0.write_fmt(value);
        self
    }

    fn key(&mut self, key: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push('"');
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn head(identity: &Identity, hook: Hook, session: &SessionInfo, detail: &Detail) -> Object {
    // Viewers over HTTP often come through a proxy; of the others nobody reads headers.
    let claimed = if over_flv(detail) { session.claimed_ip() } else { None };
    let ip = claimed.unwrap_or_else(|| session.ip()).to_canonical();
    Object(String::with_capacity(512))
        .text("server_id", &identity.server_id)
        .text("service_id", &identity.service_id)
        .text("action", hook.name())
        .text("client_id", &session.id)
        .text("ip", &ip.to_string())
        .text("vhost", &detail.vhost)
        .text("app", &detail.app)
}

fn over_flv(detail: &Detail) -> bool {
    detail.kind == "flv-play"
}

/// The stream's name and the `tcUrl`, which SRS makes up for viewers of HTTP-FLV.
fn names(detail: &Detail) -> (&str, String) {
    if over_flv(detail) {
        let tc_url = format!("rtmp://{}/{}", detail.vhost, detail.app);
        return (strip_extension(&detail.name), tc_url);
    }
    (&detail.name, detail.tc_url.clone())
}

/// The body of `hook` about a client on a stream.
pub(super) fn visit(hook: Hook, visit: &Visit) -> String {
    let detail = visit.detail();
    let (stream, tc_url) = names(detail);
    let head = head(&visit.host.identity, hook, &visit.session, detail);
    let object = match hook {
        Hook::Forward => {
            return head
                .text("tcUrl", &tc_url)
                .text("stream", stream)
                .text("param", &detail.param)
                .end();
        }
        Hook::Connect => {
            return head
                .text("stream", stream)
                .text("param", &detail.param)
                .text("tcUrl", &tc_url)
                .text("pageUrl", &detail.page_url)
                .end();
        }
        Hook::Play => head
            .text("stream", stream)
            .text("tcUrl", &tc_url)
            .text("param", &detail.param)
            .text("pageUrl", &detail.page_url),
        _ => head.text("tcUrl", &tc_url).text("stream", stream).text("param", &detail.param),
    };
    whereabouts(object, visit).end()
}

fn whereabouts(object: Object, visit: &Visit) -> Object {
    object.text("stream_url", &visit.stream.key.url()).text("stream_id", &visit.stream.api_id)
}

/// The body of `on_close`.
pub(super) fn close(identity: &Identity, session: &SessionInfo, detail: &Detail) -> String {
    let (send, recv) = (&session.counters.send_bytes, &session.counters.recv_bytes);
    head(identity, Hook::Close, session, detail)
        .raw("send_bytes", format_args!("{}", send.load(Relaxed)))
        .raw("recv_bytes", format_args!("{}", recv.load(Relaxed)))
        .end()
}

/// The body of `on_dvr`.
pub(super) fn dvr(visit: &Visit, file: &str, cwd: &str) -> String {
    let detail = visit.detail();
    let (stream, tc_url) = names(detail);
    let object = head(&visit.host.identity, Hook::Dvr, &visit.session, detail)
        .text("tcUrl", &tc_url)
        .text("stream", stream)
        .text("param", &detail.param)
        .text("cwd", cwd)
        .text("file", file);
    whereabouts(object, visit).end()
}

/// The body of `on_hls`.
pub(super) fn hls(visit: &Visit, segment: &Segment<'_>, cwd: &str) -> String {
    let detail = visit.detail();
    let (stream, tc_url) = names(detail);
    let centis = segment.duration_us.max(0).saturating_add(5_000) / 10_000;
    let (whole, part) = (centis / 100, centis % 100);
    let below = |path: &str| format!("{}/{path}", segment.folder.trim_end_matches('/'));
    let object = head(&visit.host.identity, Hook::Hls, &visit.session, detail)
        .text("tcUrl", &tc_url)
        .text("stream", stream)
        .text("param", &detail.param)
        .raw("duration", format_args!("{whole}.{part:02}"))
        .text("cwd", cwd)
        .text("file", &below(segment.path))
        .text("url", &url(segment))
        .text("m3u8", &below(segment.playlist))
        .text("m3u8_url", segment.playlist)
        .raw("seq_no", format_args!("{}", segment.sequence));
    whereabouts(object, visit).end()
}

/// A segment's address below the server's root, unless it is one of another server.
fn url(segment: &Segment<'_>) -> String {
    if is_absolute(segment.uri) {
        return segment.uri.to_owned();
    }
    match segment.playlist.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{}", segment.uri),
        None => segment.uri.to_owned(),
    }
}

fn is_absolute(uri: &str) -> bool {
    uri.starts_with("http://") || uri.starts_with("https://")
}

/// What is fetched for `on_hls_notify`: the template filled in, or the segment itself where it is
/// on another server.
pub(super) fn notify_url(template: &str, visit: &Visit, segment: &Segment<'_>) -> String {
    if is_absolute(segment.uri) {
        return segment.uri.to_owned();
    }
    let detail = visit.detail();
    let identity = &visit.host.identity;
    let mut url = template.to_owned();
    for (word, value) in [
        ("[server_id]", &*identity.server_id),
        ("[service_id]", &*identity.service_id),
        ("[app]", &*detail.app),
        ("[stream]", names(detail).0),
        ("[param]", &*detail.param),
        ("[ts_url]", segment.uri),
    ] {
        if url.contains(word) {
            url = url.replace(word, &fit(value));
        }
    }
    url
}

/// What no URL may hold is escaped: clients choose names.
fn fit(value: &str) -> String {
    let fine = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}#[]".contains(&b);
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if fine(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_chose_cannot_leave_its_place_in_a_url() {
        assert_eq!(fit("a b\r\nHost: x"), "a%20b%0D%0AHost:%20x");
        assert_eq!(fit("live/s-0.ts?a=1"), "live/s-0.ts?a=1");
        assert_eq!(fit("[param]"), "%5Bparam%5D");
        assert_eq!(fit("流"), "%E6%B5%81");
    }

    #[test]
    fn a_segment_has_the_address_that_the_playlist_leads_to() {
        let of = |uri, playlist| {
            let (sequence, duration_us, folder, path) = (0, 0, "", "");
            url(&Segment { sequence, duration_us, folder, path, uri, playlist })
        };
        assert_eq!(of("s-0.ts", "live/s.m3u8"), "live/s-0.ts");
        assert_eq!(of("s-0.ts", "s.m3u8"), "s-0.ts");
        assert_eq!(of("https://cdn/s-0.ts", "live/s.m3u8"), "https://cdn/s-0.ts");
    }

    #[test]
    fn an_object_keeps_its_order_and_its_strings_closed() {
        let text = Object(String::new()).text("b", "x\",\"y\n").raw("a", format_args!("1")).end();
        assert_eq!(text, "{\"b\":\"x\\\",\\\"y\\n\",\"a\":1}");
    }
}
