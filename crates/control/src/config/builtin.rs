//! The configuration of a server that was given none.

/// How [`BUILTIN`] is called in messages.
pub const BUILTIN_NAME: &str = "(built-in configuration)";

/// Everything on that needs no decision: publish by RTMP and WebRTC, watch by both, HTTP-FLV,
/// HTTP-TS, AAC, MP3 and HLS, look by the API. Segments of two seconds in memory, so that a viewer
/// starts fast and nothing is left behind; in the foreground, log to the console.
pub const BUILTIN: &str = "\
listen 1935;
daemon off;
srs_log_tank console;
http_api {
    enabled on;
    listen 1985;
}
http_server {
    enabled on;
    listen 8080;
}
rtc_server {
    enabled on;
    listen 8000;
}
vhost __defaultVhost__ {
    rtc {
        enabled on;
        rtmp_to_rtc on;
        rtc_to_rtmp on;
    }
    http_remux {
        enabled on;
        mount [vhost]/[app]/[stream].flv [vhost]/[app]/[stream].ts [vhost]/[app]/[stream].aac [vhost]/[app]/[stream].mp3;
    }
    hls {
        enabled on;
        hls_storage memory;
        hls_fragment 2;
        hls_window 12;
    }
}
";
