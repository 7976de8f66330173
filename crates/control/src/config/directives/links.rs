//! Protocols that come later: SRT, RTSP, stream casters.

use gate::conf::Kind::{Block, Bool, Choice, FloatSeconds, Int, Listen, Millis, Str};
use gate::conf::Reload::AtStart;
use gate::conf::{Directive, Kind, Violation};

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("srt_server", Block)
        .since("4")
        .planned(SRT)
        .docs("SRT: the port and its transmission.", "SRT：端口与传输参数。"),
    srt("srt_server.enabled", Bool).default("off").docs("Serve SRT.", "启用 SRT。"),
    srt("srt_server.listen", Listen).default("10080").docs("UDP port.", "UDP 端口。"),
    srt("srt_server.maxbw", Int)
        .default("-1")
        .docs("Largest bandwidth, bytes a second.", "最大带宽，字节每秒。"),
    srt("srt_server.mss", Int).default("1500").docs("Largest packet.", "最大包长。"),
    srt("srt_server.latency", Millis)
        .default("120")
        .docs("Time to mend losses, both ways.", "双向的丢包修复时延。"),
    srt("srt_server.recvlatency", Millis)
        .default("120")
        .docs("The same for receiving.", "接收方向的时延。"),
    srt("srt_server.peerlatency", Millis)
        .default("0")
        .docs("The same asked of the peer.", "要求对端的时延。"),
    srt("srt_server.connect_timeout", Millis)
        .default("3000")
        .docs("Time for the handshake.", "握手时限。"),
    srt("srt_server.peer_idle_timeout", Millis)
        .default("10000")
        .docs("A silent peer is gone after it.", "对端无数据的超时。"),
    srt("srt_server.sendbuf", Int)
        .default("12058624")
        .docs("Send buffer, bytes.", "发送缓冲字节数。"),
    srt("srt_server.recvbuf", Int)
        .default("12058624")
        .docs("Receive buffer, bytes.", "接收缓冲字节数。"),
    srt("srt_server.payloadsize", Int)
        .default("1316")
        .docs("Bytes in a packet.", "每包负载字节数。"),
    srt("srt_server.default_app", Str)
        .default("live")
        .docs("App of a stream id that names none.", "streamid 未写 app 时的默认值。"),
    srt("srt_server.default_streamid", Str)
        .since("6")
        .docs("Stream id of a caller that gives none.", "未提供 streamid 时的默认值。"),
    srt("srt_server.tlpktdrop", Bool)
        .default("on")
        .docs("Drop packets that come too late.", "丢弃过迟的包。"),
    srt("srt_server.tsbpdmode", Bool)
        .default("on")
        .docs("Deliver by timestamps.", "按时间戳投递。"),
    srt("srt_server.sei_filter", Bool).default("on").docs("Leave SEI out.", "去除 SEI。"),
    srt("srt_server.mix_correct", Bool)
        .default("on")
        .docs("Sort audio and video.", "音视频按时间戳排序。"),
    srt("srt_server.passphrase", Str)
        .since("6")
        .docs("10 to 79 characters: encrypt.", "10 至 79 个字符：加密。"),
    srt("srt_server.pbkeylen", Int)
        .default("0")
        .since("6")
        .docs("Length of the key: 0, 16, 24, 32.", "密钥长度：0、16、24、32。"),
    Directive::new("vhost.srt", Block)
        .since("4")
        .planned(SRT)
        .docs("SRT of this host.", "本虚拟主机的 SRT。"),
    srt("vhost.srt.enabled", Bool).default("off").docs("Serve it.", "启用。"),
    srt("vhost.srt.srt_to_rtmp", Bool)
        .env(&["SRS_VHOST_SRT_SRT_TO_RTMP", "SRS_VHOST_SRT_TO_RTMP"])
        .default("on")
        .docs(
            "Let other protocols play streams published by SRT.",
            "允许其他协议播放 SRT 推送的流。",
        ),
    Directive::new("rtsp_server", Block)
        .since("7")
        .planned(RTSP)
        .docs("RTSP: the port.", "RTSP：端口。"),
    rtsp("rtsp_server.enabled", Bool).default("off").docs("Serve RTSP.", "启用 RTSP。"),
    rtsp("rtsp_server.listen", Listen).default("554").docs("TCP port.", "TCP 端口。"),
    Directive::new("vhost.rtsp", Block)
        .since("7")
        .planned(RTSP)
        .docs("RTSP of this host.", "本虚拟主机的 RTSP。"),
    rtsp("vhost.rtsp.enabled", Bool).default("off").docs("Serve it.", "启用。"),
    rtsp("vhost.rtsp.rtmp_to_rtsp", Bool)
        .default("off")
        .docs("Let RTSP play streams published by RTMP.", "允许 RTSP 播放 RTMP 推送的流。"),
    Directive::new("stream_caster", Block).repeated().since("2").planned(CASTER).docs(
        "Take in streams by another way and publish them here.",
        "以其他方式接收流并在本机推流。",
    ),
    caster("stream_caster.enabled", Bool).default("off").docs("Do so.", "启用。"),
    caster("stream_caster.caster", Choice(&["mpegts_over_udp", "flv", "gb28181", "rtsp"]))
        .docs("Which way.", "接收方式。"),
    caster("stream_caster.output", Str).docs(
        "URL to publish as; `[app]` and `[stream]` may stand in it.",
        "推流地址，可用 `[app]`、`[stream]`。",
    ),
    caster("stream_caster.listen", Listen).docs("Port.", "端口。"),
    Directive::new("stream_caster.sip", Block)
        .since("5")
        .planned(CASTER)
        .docs("Signalling of GB28181.", "GB28181 信令。"),
    caster("stream_caster.sip.enabled", Bool)
        .default("on")
        .since("5")
        .docs("Serve SIP.", "启用 SIP。"),
    caster("stream_caster.sip.listen", Listen).default("5060").since("5").docs("Port.", "端口。"),
    caster("stream_caster.sip.timeout", FloatSeconds)
        .default("60")
        .since("5")
        .docs("A silent device is gone after it.", "设备无响应的超时。"),
    caster("stream_caster.sip.reinvite", FloatSeconds)
        .default("5")
        .since("5")
        .docs("Pause between invitations.", "重新邀请的间隔。"),
    caster("stream_caster.sip.candidate", Str)
        .default("*")
        .since("5")
        .docs("Address that devices are told.", "告知设备的地址。"),
];

const SRT: &str = "SRT";
const RTSP: &str = "RTSP";
const CASTER: &str = "stream casters";

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
