//! The rows of the table that this crate reads; tests of the crate and of its gate share them.

use gate::conf::Directive;
use gate::conf::Kind::{Block, Bool, Choice, FloatSeconds, Int, Line, List, Listen, Str};

/// The rows that are read, without what the reference says of them.
pub(crate) const ROWS: &[Directive] = &[
    Directive::new("rtc_server", Block),
    Directive::new("rtc_server.enabled", Bool).default("off"),
    Directive::new("rtc_server.listen", Listen).default("8000"),
    Directive::new("rtc_server.tcp", Block),
    Directive::new("rtc_server.tcp.enabled", Bool).default("off"),
    Directive::new("rtc_server.tcp.listen", Listen).default("8000"),
    Directive::new("rtc_server.protocol", Choice(&["udp", "tcp", "all"])).default("udp"),
    Directive::new("rtc_server.candidate", List).default("*"),
    Directive::new("rtc_server.use_auto_detect_network_ip", Bool).default("on"),
    Directive::new("rtc_server.ip_family", Choice(&["ipv4", "ipv6", "all"])).default("ipv4"),
    Directive::new("rtc_server.api_as_candidates", Bool).default("on"),
    Directive::new("rtc_server.resolve_api_domain", Bool).default("on"),
    Directive::new("rtc_server.keep_api_domain", Bool).default("off"),
    Directive::new("rtc_server.ecdsa", Bool).default("on"),
    Directive::new("rtc_server.encrypt", Bool).default("on"),
    Directive::new("rtc_server.black_hole", Block),
    Directive::new("rtc_server.black_hole.enabled", Bool).default("off"),
    Directive::new("rtc_server.black_hole.addr", Str),
    Directive::new("rtc_server.stun_server", Str),
    Directive::new("rtc_server.ice_server", Line).no_env().repeated(),
    Directive::new("rtc_server.max_sessions", Int).default("0"),
    Directive::new("rtc_server.max_sessions_per_ip", Int).default("0"),
    Directive::new("rtc_server.pending_timeout", FloatSeconds).default("15"),
    Directive::new("vhost", Block),
    Directive::new("vhost.rtc", Block),
    Directive::new("vhost.rtc.enabled", Bool).default("off"),
    Directive::new("vhost.rtc.nack", Bool).default("on"),
    Directive::new("vhost.rtc.twcc", Bool).default("on"),
    Directive::new("vhost.rtc.stun_timeout", FloatSeconds).default("30"),
    Directive::new("vhost.rtc.stun_strict_check", Bool).default("off"),
    Directive::new("vhost.rtc.dtls_role", Choice(&["passive", "active"])).default("passive"),
    Directive::new("vhost.rtc.dtls_version", Choice(&["auto", "dtls1.0", "dtls1.2"]))
        .default("auto"),
    Directive::new("vhost.rtc.drop_for_pt", Int).default("0"),
    Directive::new("vhost.rtc.rtmp_to_rtc", Bool).default("off"),
    Directive::new("vhost.rtc.keep_bframe", Bool).default("off"),
    Directive::new("vhost.rtc.keep_avc_nalu_sei", Bool).default("on"),
    Directive::new("vhost.rtc.opus_bitrate", Int).default("48000"),
    Directive::new("vhost.rtc.rtc_to_rtmp", Bool).default("off"),
    Directive::new("vhost.rtc.pli_for_rtmp", FloatSeconds).default("6.0"),
    Directive::new("vhost.rtc.aac_bitrate", Int).default("48000"),
];
