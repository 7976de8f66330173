//! What happens on a connection, told once each: the lines that operators search for.

use std::net::SocketAddr;

use gate::redact;
use media::Frame;
use media::info::CodecInfo;

use crate::metadata::Metadata;
use crate::session::server::Connect;
use crate::wire::url::StreamUrl;

pub(crate) fn accepted(session: &str, peer: SocketAddr, secure: bool) {
    tracing::info!(session, secure, "RTMP client ip={peer}");
}

pub(crate) fn connect(session: &str, connect: &Connect) {
    tracing::info!(
        session,
        "connect app, tcUrl={}, pageUrl={}, swfUrl={}, vhost={}, app={}, flashVer={}",
        redact::address(&connect.tc_url),
        redact::address(connect.page_url.as_deref().unwrap_or("")),
        redact::address(connect.swf_url.as_deref().unwrap_or("")),
        connect.vhost,
        connect.app,
        connect.flash_ver.as_deref().unwrap_or(""),
    );
}

pub(crate) fn identified(session: &str, kind: &str, url: &StreamUrl) {
    tracing::info!(
        session,
        "client identified, type={kind}, vhost={}, app={}, stream={}, param={}",
        url.vhost,
        url.app,
        url.stream,
        redact::address(&url.param),
    );
}

pub(crate) fn publishing(session: &str, stream: &str, mr_ms: u128, first: u128, normal: u128) {
    tracing::info!(
        session,
        "start publish mr={}/{mr_ms}, p1stpt={first}, pnt={normal}, stream={stream}",
        u8::from(mr_ms > 0),
    );
}

pub(crate) fn playing(session: &str, stream: &str, active: bool, publisher: &str) {
    tracing::info!(
        session,
        publisher,
        "create consumer, active={}, stream={stream}",
        u8::from(active)
    );
}

pub(crate) fn metadata(session: &str, metadata: &Metadata) {
    let ((width, height), (video, audio)) = (metadata.size, metadata.codecs);
    tracing::info!(
        session,
        "got metadata, width={width}, height={height}, vcodec={video}, acodec={audio}"
    );
}

pub(crate) fn configuration(session: &str, frame: &Frame) {
    let size = frame.payload.len();
    match CodecInfo::decode(frame.codec, &frame.payload) {
        Ok(CodecInfo::Video(v)) => tracing::info!(
            session,
            "{size}B video sh, codec({}, profile={}, level={}, {}x{})",
            v.codec,
            v.profile,
            v.level,
            v.width,
            v.height,
        ),
        Ok(CodecInfo::Audio(a)) => tracing::info!(
            session,
            "{size}B audio sh, codec({}, profile={}, {}Hz, {} channels)",
            a.codec,
            a.profile,
            a.sample_rate,
            a.channels,
        ),
        Ok(CodecInfo::Data(_)) => {}
        Err(e) => tracing::warn!(
            session,
            codec = %frame.codec,
            "{size}B codec configuration cannot be read ({e}); it is relayed as it is"
        ),
    }
}

pub(crate) fn dropped(session: &str, reason: &str, total: u64) {
    // The first says what is wrong, the powers of two that it goes on.
    if total.is_power_of_two() {
        tracing::warn!(session, total, "messages of the publisher dropped: {reason}");
    }
}

pub(crate) fn unpublished(session: &str, stream: &str) {
    tracing::info!(session, "cleanup when unpublish, stream={stream}");
}

pub(crate) fn forwarding(session: &str, publisher: &str, stream: &str, to: &str) {
    tracing::info!(session, publisher, "forward: publishes {stream} to {to}");
}

pub(crate) fn not_forwarded(publisher: &str, stream: &str, to: &str, why: &str) {
    tracing::error!(session = publisher, "forward: {stream} cannot go to {to}: {why}");
}

pub(crate) fn forward_waits(publisher: &str, stream: &str, to: &str, failures: u32, why: &str) {
    // The first says what is wrong, the powers of two that it goes on.
    if failures.is_power_of_two() {
        tracing::warn!(
            session = publisher,
            failures,
            "forward: {stream} does not get to {to}: {why}; it is tried again and again"
        );
    }
}

pub(crate) fn forward_ended(session: &str, publisher: &str, stream: &str, why: &str) {
    tracing::info!(session, publisher, "forward: {stream} goes there no more: {why}");
}
