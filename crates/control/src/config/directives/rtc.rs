//! WebRTC: the ports, what clients are told of them, and what a virtual host does with it.

use gate::conf::Kind::{
    Block, Bool, Choice, FloatSeconds, FreeBlock, Int, Line, List, Listen, Seconds, Str,
};
use gate::conf::Reload::{AtStart, Listener};
use gate::conf::{Directive, Kind, Violation};

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("rtc_server", Block).since("4").docs(
        "WebRTC: the ports, and what clients are told of them.",
        "WebRTC：端口以及告知客户端的信息。",
    ),
    rtc("rtc_server.enabled", Bool).default("off").reload(Listener).docs(
        "Serve WebRTC; each virtual host has to want it, too (`rtc { enabled on; }`).",
        "启用 WebRTC；各虚拟主机还需 `rtc { enabled on; }`。",
    ),
    rtc("rtc_server.listen", Listen).default("8000").reload(Listener).docs(
        "UDP port of all sessions. Firewalls must let it in.",
        "全部会话共用的 UDP 端口，防火墙须放行。",
    ),
    Directive::new("rtc_server.tcp", FreeBlock).since("5").docs(
        "WebRTC over TCP, for networks that let no datagrams through.",
        "基于 TCP 的 WebRTC，用于不允许 UDP 的网络。",
    ),
    rtc("rtc_server.tcp.enabled", Bool).default("off").since("5").reload(Listener).docs(
        "Listen for it. Clients are told of it where `protocol` is `tcp` or `all`.",
        "启用监听。`protocol` 为 `tcp` 或 `all` 时告知客户端。",
    ),
    rtc("rtc_server.tcp.listen", Listen).default("8000").since("5").reload(Listener).docs(
        "TCP port. May be a port of `http_api` or `http_server`, also with TLS: the first byte of a connection tells which it is for.",
        "TCP 端口。可与 `http_api` 或 `http_server` 的端口（含 TLS）相同：按连接的第一个字节区分。",
    ),
    rtc("rtc_server.protocol", Choice(&["udp", "tcp", "all"])).default("udp").since("5").docs(
        "Which transports clients are told of: `all` offers UDP first, and TCP for those that cannot.",
        "告知客户端的传输方式：`all` 优先 UDP，不通时用 TCP。",
    ),
    rtc("rtc_server.candidate", List).default("*").docs(
        "Addresses that clients are told: `*` (or `0.0.0.0`) for those of the machine, an address, a name, or `$NAME` for an environment variable; several may stand in one line. Behind NAT and in containers the machine does not know its public address: write it here.",
        "告知客户端的地址：`*`（或 `0.0.0.0`）表示本机地址，也可写地址、域名或 `$NAME`（环境变量），一行可写多个。在 NAT 之后或容器内，本机不知道公网地址，须写在此处。",
    ),
    rtc("rtc_server.use_auto_detect_network_ip", Bool).default("on").docs(
        "With `*`: tell the addresses of the network interfaces.",
        "使用 `*` 时告知网卡地址。",
    ),
    rtc("rtc_server.ip_family", Choice(&["ipv4", "ipv6", "all"])).default("ipv4").docs(
        "Which of these addresses.",
        "采用其中的哪些地址族。",
    ),
    rtc("rtc_server.api_as_candidates", Bool).default("on").since("5").docs(
        "Tell the host that the request was sent to, too: who reaches the HTTP port there mostly reaches the UDP port there.",
        "同时告知请求所用的主机地址：能访问其 HTTP 端口的客户端通常也能访问其 UDP 端口。",
    ),
    rtc("rtc_server.resolve_api_domain", Bool).default("on").since("5").docs(
        "Resolve that host if it is a name.",
        "若为域名则解析。",
    ),
    rtc("rtc_server.keep_api_domain", Bool).default("off").since("5").docs(
        "Tell the name as it is, too.",
        "同时告知域名本身。",
    ),
    rtc("rtc_server.stun_server", Str).since("millrace").docs(
        "`host:port` of a STUN server that is asked for the public address of this one, which clients are told then; `off` or nothing: none is asked.",
        "STUN 服务器 `host:port`，用于查询本机公网地址并告知客户端；`off` 或不写则不查询。",
    ),
    Directive::new("rtc_server.ice_server", Line).since("millrace").no_env().repeated().secret().docs(
        "`ice_server stun:HOST:PORT;` or `ice_server turn:HOST:PORT?transport=udp USER PASSWORD;`: a server that clients of WHIP and WHEP are told to use (header `Link`, at most eight). Every client sees name and password.",
        "`ice_server stun:HOST:PORT;` 或 `ice_server turn:HOST:PORT?transport=udp USER PASSWORD;`：通过 `Link` 头告知 WHIP、WHEP 客户端使用的服务器，至多八个。所有客户端都能看到用户名与密码。",
    ),
    rtc("rtc_server.max_sessions", Int).default("0").range(0.0, 1e7).since("millrace").docs(
        "Sessions at once; 0: no limit.",
        "同时会话数上限；0 表示不限。",
    ),
    rtc("rtc_server.max_sessions_per_ip", Int).default("0").range(0.0, 1e7).since("millrace").docs(
        "Those that one address may ask for; 0: no limit. Many viewers may stand behind one address.",
        "单个地址可请求的会话数；0 表示不限。同一地址后可能有许多观众。",
    ),
    rtc("rtc_server.pending_timeout", FloatSeconds).default("15").range(1.0, 120.0).since("millrace").docs(
        "A session that is not connected so long after its answer is over.",
        "应答后超过该时间仍未连通的会话将被结束。",
    ),
    rtc("rtc_server.ecdsa", Bool).default("on").reload(AtStart).docs(
        "The certificate of DTLS is ECDSA. `off` (RSA) is accepted, told in the log, and changes nothing: every browser takes ECDSA.",
        "DTLS 证书使用 ECDSA。`off`（RSA）可写，仅在日志中提示，不起作用：所有浏览器都支持 ECDSA。",
    ),
    rtc("rtc_server.encrypt", Bool).default("on").docs(
        "Encrypt what players get. Browsers play nothing else.",
        "对播放端加密。浏览器只能播放加密的流。",
    ),
    rtc("rtc_server.reuseport", Int).default("1").reload(AtStart).ignored().docs(
        "Accepted: there is one socket for each worker.",
        "可写但不起作用：每个工作线程一个套接字。",
    ),
    rtc("rtc_server.merge_nalus", Bool).default("off").ignored().docs(
        "Accepted: parameter sets go together with their picture in any case.",
        "可写但不起作用：参数集总与其图像一起发送。",
    ),
    rtc("rtc_server.dir", Str).ignored().docs("Accepted and not used.", "接受但不使用。"),
    Directive::new("rtc_server.black_hole", FreeBlock).since("4").docs(
        "Copy of the packets without encryption, for debugging.",
        "未加密的数据包副本，用于调试。",
    ),
    black_hole("rtc_server.black_hole.enabled", Bool).default("off").docs("Send it.", "启用。"),
    black_hole("rtc_server.black_hole.addr", Str).docs("Where to: `ip:port`, by UDP.", "目标地址 `ip:port`（UDP）。"),
    Directive::new("vhost.rtc", Block).since("4").docs(
        "WebRTC of this host.",
        "本虚拟主机的 WebRTC。",
    ),
    rtc("vhost.rtc.enabled", Bool).default("off").docs(
        "Let its streams be published and played by WebRTC.",
        "允许以 WebRTC 推送和播放其流。",
    ),
    rtc("vhost.rtc.nack", Bool).default("on").docs(
        "Ask publishers for lost packets, and send them again to players who ask.",
        "向推流端请求丢失的包，并应播放端请求重传。",
    ),
    rtc("vhost.rtc.nack_no_copy", Bool).default("on").ignored().docs(
        "Accepted: packets are never copied for it.",
        "可写但不起作用：重传从不拷贝数据包。",
    ),
    rtc("vhost.rtc.twcc", Bool).default("on").docs(
        "Congestion feedback (transport-wide congestion control).",
        "拥塞反馈（TWCC）。",
    ),
    rtc("vhost.rtc.stun_timeout", Seconds).default("30").range(5.0, 3600.0).docs(
        "A session whose client has been silent so long is over.",
        "客户端静默超过该时间的会话将被结束。",
    ),
    rtc("vhost.rtc.stun_strict_check", Bool).default("off").docs(
        "Refuse connectivity checks whose ICE role is wrong.",
        "拒绝 ICE 角色不正确的连通性检查。",
    ),
    rtc("vhost.rtc.dtls_role", Choice(&["passive", "active"])).default("passive").docs(
        "Who begins DTLS where the client leaves it open: `passive`, the client; `active`, the server.",
        "客户端不指定时由谁发起 DTLS：`passive` 为客户端，`active` 为服务器。",
    ),
    rtc("vhost.rtc.dtls_version", Choice(&["auto", "dtls1.0", "dtls1.2"])).default("auto").docs(
        "Version of DTLS: `auto` is 1.2 or 1.3. 1.0 is not spoken any more, `dtls1.0` is read as `auto`.",
        "DTLS 版本：`auto` 为 1.2 或 1.3。不再支持 1.0，`dtls1.0` 视为 `auto`。",
    ),
    rtc("vhost.rtc.drop_for_pt", Int).default("0").range(0.0, 127.0).docs(
        "Drop packets of this payload type, for tests; 0: none.",
        "丢弃该负载类型的包，用于测试；0 表示不丢弃。",
    ),
    rtc("vhost.rtc.data_channel", Bool).default("on").since("millrace").docs(
        "Agree on data channels with clients that offer them: `echo` gives back what comes, `metadata` carries the stream's metadata, cue points and texts. Off: their section is refused.",
        "与提出请求的客户端协商数据通道：`echo` 原样返回消息，`metadata` 传送流的元数据、提示点和文本。关闭时拒绝该媒体段。",
    ),
    rtc("vhost.rtc.rtmp_to_rtc", Bool).default("off").docs(
        "Let WebRTC play streams that were published otherwise (RTMP). AAC and MP3 become Opus.",
        "允许 WebRTC 播放以其他协议（RTMP）推送的流。AAC、MP3 转为 Opus。",
    ),
    rtc("vhost.rtc.keep_bframe", Bool).default("off").docs(
        "Keep B-frames then. Browsers stutter on them.",
        "此时保留 B 帧。浏览器播放会卡顿。",
    ),
    rtc("vhost.rtc.keep_avc_nalu_sei", Bool).default("on").since("6").docs(
        "Keep SEI of H.264 and H.265 then: text, captions, recovery points. Picture timing and buffering periods, which no browser reads and which would be a packet more for each picture, are left out in any case.",
        "此时保留 H.264 与 H.265 的 SEI：文本、字幕、恢复点。图像定时与缓冲周期信息浏览器不读取，且每帧会多出一个包，因此总是略去。",
    ),
    rtc("vhost.rtc.opus_bitrate", Int).default("48000").range(8000.0, 320_000.0).since("5").docs(
        "Bitrate of the Opus that is made then, bit/s.",
        "此时所转 Opus 的码率（bit/s）。",
    ),
    rtc("vhost.rtc.rtc_to_rtmp", Bool).default("off").docs(
        "Let other protocols play streams that were published by WebRTC. Opus becomes AAC.",
        "允许其他协议播放以 WebRTC 推送的流。Opus 转为 AAC。",
    ),
    rtc("vhost.rtc.pli_for_rtmp", FloatSeconds).default("6.0").range(0.5, 30.0).docs(
        "How often the publisher is asked for a key frame then.",
        "此时向推流端请求关键帧的间隔。",
    ),
    rtc("vhost.rtc.aac_bitrate", Int).default("48000").range(8000.0, 320_000.0).since("5").docs(
        "Bitrate of the AAC that is made then, bit/s.",
        "此时所转 AAC 的码率（bit/s）。",
    ),
    rtc("vhost.rtc.keep_opus", Bool).default("off").since("millrace").docs(
        "Keep Opus as it is then, for players that know it: Enhanced RTMP and FLV, MPEG-TS, recordings in FLV and MP4, forwarded streams. Players that do not, Safari's HLS among them, hear nothing.",
        "此时保留 Opus 不转码，供支持它的播放端使用：Enhanced RTMP 与 FLV、MPEG-TS、FLV 与 MP4 录制、转推。不支持 Opus 的播放端（如 Safari 的 HLS）没有声音。",
    ),
    rtc("vhost.rtc.init_rate_from_sdp", Bool).default("off").since("7").ignored().docs(
        "Accepted: clock rates are always taken from the SDP.",
        "可写但不起作用：时钟频率总取自 SDP。",
    ),
];

const fn rtc(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).since("4").lenient(Violation::UseDefault)
}

const fn black_hole(path: &'static str, kind: Kind) -> Directive {
    rtc(path, kind)
}
