//! Protocols that come later: WebRTC, SRT, RTSP, stream casters.

use gate::conf::Kind::{
    Block, Bool, Choice, FloatSeconds, FreeBlock, Int, List, Listen, Millis, Seconds, Str,
};
use gate::conf::Reload::AtStart;
use gate::conf::{Directive, Kind, Violation};

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("rtc_server", Block).since("4").planned(RTC).docs(
        "WebRTC: the port and what is told to peers.",
        "WebRTC：端口与对端协商信息。",
    ),
    rtc("rtc_server.enabled", Bool).default("off").docs("Serve WebRTC.", "启用 WebRTC。"),
    rtc("rtc_server.listen", Listen).default("8000").docs(
        "UDP port of all sessions.",
        "全部会话共用的 UDP 端口。",
    ),
    Directive::new("rtc_server.tcp", FreeBlock).since("5").planned(RTC).docs(
        "WebRTC over TCP.",
        "基于 TCP 的 WebRTC。",
    ),
    rtc("rtc_server.tcp.enabled", Bool).default("off").since("5").docs("Serve it.", "启用。"),
    rtc("rtc_server.tcp.listen", Listen).default("8000").since("5").docs("TCP port.", "TCP 端口。"),
    rtc("rtc_server.protocol", Choice(&["udp", "tcp", "all"])).default("udp").since("5").docs(
        "Which transports are offered.",
        "提供的传输方式。",
    ),
    rtc("rtc_server.candidate", List).default("*").docs(
        "Addresses that peers are told: `*` for those of the machine, an address, a name, or `$NAME` for an environment variable.",
        "告知对端的地址：`*` 表示本机地址，也可写地址、域名或 `$NAME`（环境变量）。",
    ),
    rtc("rtc_server.use_auto_detect_network_ip", Bool).default("on").docs(
        "With `*`: use the addresses of the network interfaces.",
        "使用 `*` 时采用网卡地址。",
    ),
    rtc("rtc_server.ip_family", Choice(&["ipv4", "ipv6", "all"])).default("ipv4").docs(
        "Which of them.",
        "采用的地址族。",
    ),
    rtc("rtc_server.api_as_candidates", Bool).default("on").since("5").docs(
        "Offer the host that the API was called by, too.",
        "同时提供调用 API 所用的主机地址。",
    ),
    rtc("rtc_server.resolve_api_domain", Bool).default("on").since("5").docs(
        "Resolve that host if it is a name.",
        "若为域名则解析。",
    ),
    rtc("rtc_server.keep_api_domain", Bool).default("off").since("5").docs(
        "Offer the name as it is, too.",
        "同时保留域名本身。",
    ),
    rtc("rtc_server.ecdsa", Bool).default("on").docs("ECDSA certificate; off: RSA.", "使用 ECDSA 证书；关闭则为 RSA。"),
    rtc("rtc_server.encrypt", Bool).default("on").docs("Encrypt what players get.", "对播放端加密。"),
    rtc("rtc_server.reuseport", Int).default("1").docs("Sockets at the same port.", "同一端口的套接字数。"),
    rtc("rtc_server.merge_nalus", Bool).default("off").docs("Merge small NAL units.", "合并小 NAL 单元。"),
    rtc("rtc_server.dir", Str).docs("Accepted and not used.", "接受但不使用。"),
    Directive::new("rtc_server.black_hole", FreeBlock).since("4").planned(RTC).docs(
        "Copy of the packets without encryption, for debugging.",
        "未加密的数据包副本，用于调试。",
    ),
    rtc("rtc_server.black_hole.enabled", Bool).default("off").docs("Send it.", "启用。"),
    rtc("rtc_server.black_hole.addr", Str).docs("Where to.", "目标地址。"),
    Directive::new("vhost.rtc", Block).since("4").planned(RTC).docs(
        "WebRTC of this host.",
        "本虚拟主机的 WebRTC。",
    ),
    rtc("vhost.rtc.enabled", Bool).default("off").docs("Serve it.", "启用。"),
    rtc("vhost.rtc.nack", Bool).default("on").docs("Send lost packets again.", "丢包重传。"),
    rtc("vhost.rtc.nack_no_copy", Bool).default("on").docs("Keep them without a copy.", "重传缓存不拷贝。"),
    rtc("vhost.rtc.twcc", Bool).default("on").docs("Congestion feedback.", "拥塞反馈（TWCC）。"),
    rtc("vhost.rtc.stun_timeout", Seconds).default("30").docs(
        "A silent session ends after it.",
        "无响应会话的超时。",
    ),
    rtc("vhost.rtc.stun_strict_check", Bool).default("off").docs("Check STUN strictly.", "严格检查 STUN。"),
    rtc("vhost.rtc.dtls_role", Choice(&["passive", "active"])).default("passive").docs(
        "Who begins DTLS.",
        "DTLS 角色。",
    ),
    rtc("vhost.rtc.dtls_version", Choice(&["auto", "dtls1.0", "dtls1.2"])).default("auto").docs(
        "Version of DTLS.",
        "DTLS 版本。",
    ),
    rtc("vhost.rtc.drop_for_pt", Int).default("0").docs(
        "Drop packets of this payload type, for tests.",
        "丢弃该负载类型的包，用于测试。",
    ),
    rtc("vhost.rtc.rtmp_to_rtc", Bool).default("off").docs(
        "Let WebRTC play streams published by RTMP.",
        "允许 WebRTC 播放 RTMP 推送的流。",
    ),
    rtc("vhost.rtc.keep_bframe", Bool).default("off").docs("Keep B-frames then.", "此时保留 B 帧。"),
    rtc("vhost.rtc.keep_avc_nalu_sei", Bool).default("on").since("6").docs("Keep SEI then.", "此时保留 SEI。"),
    rtc("vhost.rtc.opus_bitrate", Int).default("48000").range(8000.0, 320_000.0).since("5").docs(
        "Bitrate of Opus made from AAC.",
        "AAC 转 Opus 的码率。",
    ),
    rtc("vhost.rtc.rtc_to_rtmp", Bool).default("off").docs(
        "Let RTMP play streams published by WebRTC.",
        "允许 RTMP 播放 WebRTC 推送的流。",
    ),
    rtc("vhost.rtc.pli_for_rtmp", FloatSeconds).default("6.0").range(0.5, 30.0).docs(
        "How often a key frame is asked for then.",
        "此时请求关键帧的间隔。",
    ),
    rtc("vhost.rtc.aac_bitrate", Int).default("48000").range(8000.0, 320_000.0).since("5").docs(
        "Bitrate of AAC made from Opus.",
        "Opus 转 AAC 的码率。",
    ),
    rtc("vhost.rtc.init_rate_from_sdp", Bool).default("off").since("7").docs(
        "Take the first clock rates from the SDP.",
        "初始时钟频率取自 SDP。",
    ),
    Directive::new("srt_server", Block).since("4").planned(SRT).docs(
        "SRT: the port and its transmission.",
        "SRT：端口与传输参数。",
    ),
    srt("srt_server.enabled", Bool).default("off").docs("Serve SRT.", "启用 SRT。"),
    srt("srt_server.listen", Listen).default("10080").docs("UDP port.", "UDP 端口。"),
    srt("srt_server.maxbw", Int).default("-1").docs("Largest bandwidth, bytes a second.", "最大带宽，字节每秒。"),
    srt("srt_server.mss", Int).default("1500").docs("Largest packet.", "最大包长。"),
    srt("srt_server.latency", Millis).default("120").docs(
        "Time to mend losses, both ways.",
        "双向的丢包修复时延。",
    ),
    srt("srt_server.recvlatency", Millis).default("120").docs("The same for receiving.", "接收方向的时延。"),
    srt("srt_server.peerlatency", Millis).default("0").docs("The same asked of the peer.", "要求对端的时延。"),
    srt("srt_server.connect_timeout", Millis).default("3000").docs("Time for the handshake.", "握手时限。"),
    srt("srt_server.peer_idle_timeout", Millis).default("10000").docs(
        "A silent peer is gone after it.",
        "对端无数据的超时。",
    ),
    srt("srt_server.sendbuf", Int).default("12058624").docs("Send buffer, bytes.", "发送缓冲字节数。"),
    srt("srt_server.recvbuf", Int).default("12058624").docs("Receive buffer, bytes.", "接收缓冲字节数。"),
    srt("srt_server.payloadsize", Int).default("1316").docs("Bytes in a packet.", "每包负载字节数。"),
    srt("srt_server.default_app", Str).default("live").docs(
        "App of a stream id that names none.",
        "streamid 未写 app 时的默认值。",
    ),
    srt("srt_server.default_streamid", Str).since("6").docs(
        "Stream id of a caller that gives none.",
        "未提供 streamid 时的默认值。",
    ),
    srt("srt_server.tlpktdrop", Bool).default("on").docs("Drop packets that come too late.", "丢弃过迟的包。"),
    srt("srt_server.tsbpdmode", Bool).default("on").docs("Deliver by timestamps.", "按时间戳投递。"),
    srt("srt_server.sei_filter", Bool).default("on").docs("Leave SEI out.", "去除 SEI。"),
    srt("srt_server.mix_correct", Bool).default("on").docs("Sort audio and video.", "音视频按时间戳排序。"),
    srt("srt_server.passphrase", Str).since("6").docs("10 to 79 characters: encrypt.", "10 至 79 个字符：加密。"),
    srt("srt_server.pbkeylen", Int).default("0").since("6").docs(
        "Length of the key: 0, 16, 24, 32.",
        "密钥长度：0、16、24、32。",
    ),
    Directive::new("vhost.srt", Block).since("4").planned(SRT).docs("SRT of this host.", "本虚拟主机的 SRT。"),
    srt("vhost.srt.enabled", Bool).default("off").docs("Serve it.", "启用。"),
    srt("vhost.srt.srt_to_rtmp", Bool)
        .env(&["SRS_VHOST_SRT_SRT_TO_RTMP", "SRS_VHOST_SRT_TO_RTMP"]).default("on").docs(
        "Let other protocols play streams published by SRT.",
        "允许其他协议播放 SRT 推送的流。",
    ),
    Directive::new("rtsp_server", Block).since("7").planned(RTSP).docs("RTSP: the port.", "RTSP：端口。"),
    rtsp("rtsp_server.enabled", Bool).default("off").docs("Serve RTSP.", "启用 RTSP。"),
    rtsp("rtsp_server.listen", Listen).default("554").docs("TCP port.", "TCP 端口。"),
    Directive::new("vhost.rtsp", Block).since("7").planned(RTSP).docs("RTSP of this host.", "本虚拟主机的 RTSP。"),
    rtsp("vhost.rtsp.enabled", Bool).default("off").docs("Serve it.", "启用。"),
    rtsp("vhost.rtsp.rtmp_to_rtsp", Bool).default("off").docs(
        "Let RTSP play streams published by RTMP.",
        "允许 RTSP 播放 RTMP 推送的流。",
    ),
    Directive::new("stream_caster", Block).repeated().since("2").planned(CASTER).docs(
        "Take in streams by another way and publish them here.",
        "以其他方式接收流并在本机推流。",
    ),
    caster("stream_caster.enabled", Bool).default("off").docs("Do so.", "启用。"),
    caster("stream_caster.caster", Choice(&["mpegts_over_udp", "flv", "gb28181", "rtsp"])).docs(
        "Which way.",
        "接收方式。",
    ),
    caster("stream_caster.output", Str).docs(
        "URL to publish as; `[app]` and `[stream]` may stand in it.",
        "推流地址，可用 `[app]`、`[stream]`。",
    ),
    caster("stream_caster.listen", Listen).docs("Port.", "端口。"),
    Directive::new("stream_caster.sip", Block).since("5").planned(CASTER).docs(
        "Signalling of GB28181.",
        "GB28181 信令。",
    ),
    caster("stream_caster.sip.enabled", Bool).default("on").since("5").docs("Serve SIP.", "启用 SIP。"),
    caster("stream_caster.sip.listen", Listen).default("5060").since("5").docs("Port.", "端口。"),
    caster("stream_caster.sip.timeout", FloatSeconds).default("60").since("5").docs(
        "A silent device is gone after it.",
        "设备无响应的超时。",
    ),
    caster("stream_caster.sip.reinvite", FloatSeconds).default("5").since("5").docs(
        "Pause between invitations.",
        "重新邀请的间隔。",
    ),
    caster("stream_caster.sip.candidate", Str).default("*").since("5").docs(
        "Address that devices are told.",
        "告知设备的地址。",
    ),
];

const RTC: &str = "WebRTC";
const SRT: &str = "SRT";
const RTSP: &str = "RTSP";
const CASTER: &str = "stream casters";

const fn rtc(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).since("4").lenient(Violation::UseDefault).planned(RTC)
}

const fn srt(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).since("4").reload(AtStart).planned(SRT)
}

const fn rtsp(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).since("7").reload(AtStart).planned(RTSP)
}

const fn caster(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind)
        .no_env()
        .since("2")
        .reload(AtStart)
        .lenient(Violation::UseDefault)
        .planned(CASTER)
}
