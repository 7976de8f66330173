//! RTMP: listeners, chunks, publish, play.

use gate::conf::Kind::{Block, Bool, Choice, FloatSeconds, Int, Listen, Millis, Path, Seconds};
use gate::conf::Reload::{Listener, Live};
use gate::conf::{Directive, Violation};

/// Upper bound of counts that have no natural one.
const MANY: f64 = 2_147_483_647.0;

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("listen", Listen)
        .env(&["SRS_LISTEN", "SRS_RTMP_LISTEN"])
        .reload(Listener)
        .docs(
            "Where RTMP is served: one or more `[ip:]port`, IPv6 in brackets. A bare port means every address of the machine, IPv6 and IPv4. Also read inside a block `rtmp { }`. It must be written in a file; in environment-only mode it is 1935 unless set.",
            "RTMP 监听地址：一个或多个 `[ip:]port`，IPv6 加方括号。只写端口表示本机全部地址（IPv6 与 IPv4）。也可写在 `rtmp { }` 块内。配置文件中必须写出；仅环境变量模式下默认 1935。",
        ),
    Directive::new("chunk_size", Int)
        .default("60000")
        .range(128.0, 65_536.0)
        .lenient(Violation::Clamp)
        .env(&["SRS_VHOST_CHUNK_SIZE", "SRS_CHUNK_SIZE", "SRS_RTMP_CHUNK_SIZE"])
        .docs(
            "Size of outgoing RTMP chunks. Also read inside a block `rtmp { }`.",
            "发出的 RTMP 块大小。也可写在 `rtmp { }` 块内。",
        ),
    Directive::new("rtmps", Block).since("7").docs(
        "RTMP inside TLS.",
        "基于 TLS 的 RTMP。",
    ),
    Directive::new("rtmps.enabled", Bool).default("off").since("7").reload(Listener).docs(
        "Serve RTMPS.",
        "启用 RTMPS。",
    ),
    Directive::new("rtmps.listen", Listen).default("1443").since("7").reload(Listener).docs(
        "Where RTMPS is served.",
        "RTMPS 监听地址。",
    ),
    Directive::new("rtmps.key", Path).default("./conf/server.key").since("7").reload(Live).docs(
        "Private key, PEM. Read anew on reload.",
        "PEM 格式私钥，重载时重新读取。",
    ),
    Directive::new("rtmps.cert", Path).default("./conf/server.crt").since("7").reload(Live).docs(
        "Certificate chain, PEM. Read anew on reload.",
        "PEM 格式证书链，重载时重新读取。",
    ),
    Directive::new("vhost.chunk_size", Int)
        .same_as("chunk_size")
        .range(128.0, 65_536.0)
        .lenient(Violation::Clamp)
        .docs(
            "Size of outgoing RTMP chunks for this host.",
            "本虚拟主机发出的 RTMP 块大小。",
        ),
    Directive::new("vhost.min_latency", Bool).default("off").since("2").docs(
        "Send each video frame on its own, without waiting for others. Lowest delay, more CPU with many viewers.",
        "每个视频帧单独发送，不与其他帧合并。延迟最低，观众多时 CPU 开销更大。",
    ),
    Directive::new("vhost.tcp_nodelay", Bool).default("off").since("2").docs(
        "Known from SRS. This server sends without Nagle's delay in either case; the directive only fills the field that clients and logs see.",
        "源自 SRS。本服务器总是不使用 Nagle 延迟；该指令只影响日志等处显示的字段。",
    ),
    Directive::new("vhost.in_ack_size", Int).default("0").range(0.0, MANY).since("3").docs(
        "Acknowledge received bytes after half of so many even if the peer did not ask for it; `0` means as the peer asks.",
        "即使对端没有要求，也每收到该值一半的字节就确认一次；`0` 表示按对端要求。",
    ),
    Directive::new("vhost.out_ack_size", Int).default("2500000").range(0.0, MANY).since("3").docs(
        "Window of bytes after which the peer is asked to acknowledge; `0` asks for nothing.",
        "要求对端确认的字节窗口；`0` 表示不要求。",
    ),
    Directive::new("vhost.play", Block).docs(
        "What viewers get.",
        "播放端设置。",
    ),
    Directive::new("vhost.play.gop_cache", Bool).default("on").docs(
        "Start a viewer at the latest key frame, so that a picture is there at once. Off: at the next frame that comes.",
        "观众从最近的关键帧开始，画面立即出现。关闭时从下一个到来的帧开始。",
    ),
    Directive::new("vhost.play.gop_cache_max_frames", Int)
        .default("2500")
        .range(0.0, MANY)
        .since("5")
        .docs(
            "Forget the cached group of pictures when it grows beyond so many frames; `0` for no limit.",
            "缓存的 GOP 超过该帧数时清空；`0` 表示不限。",
        ),
    Directive::new("vhost.play.queue_length", Seconds).default("30").docs(
        "How far a slow viewer may lag before it is moved on to a newer key frame.",
        "慢速观众允许落后的时间，超过则跳到较新的关键帧。",
    ),
    Directive::new("vhost.play.time_jitter", Choice(&["full", "zero", "off"]))
        .default("full")
        .lenient(Violation::UseDefault)
        .docs(
            "Correction of timestamps: `full` makes them run evenly from zero, `zero` only lets them begin at zero, `off` passes them on.",
            "时间戳校正：`full` 保证从零起均匀递增，`zero` 只保证从零开始，`off` 原样传递。",
        ),
    Directive::new("vhost.play.atc", Bool).default("off").docs(
        "Pass the publisher's absolute timestamps on.",
        "原样传递推流端的绝对时间戳。",
    ),
    Directive::new("vhost.play.atc_auto", Bool).default("off").docs(
        "Turn `atc` on when the stream's metadata asks for it (`bravo_atc`).",
        "当流的元数据要求（`bravo_atc`）时开启 `atc`。",
    ),
    Directive::new("vhost.play.mix_correct", Bool).default("off").since("2").docs(
        "Sort audio and video into one rising order of timestamps.",
        "将音视频按时间戳单调递增重新排序。",
    ),
    Directive::new("vhost.play.mw_latency", Millis).default("350").since("2").docs(
        "Frames may wait so long to be sent together, which saves CPU with many viewers. Without it the server sends at once under light load and merges more as load grows.",
        "为合并发送允许等待的时间，观众多时节省 CPU。不写时轻载立即发送，随负载增加逐步合并。",
    ),
    Directive::new("vhost.play.mw_msgs", Int)
        .default("8")
        .range(0.0, 128.0)
        .lenient(Violation::Clamp)
        .since("4")
        .docs(
            "Least number of messages that are worth a merged send, at most 128.",
            "合并发送的最少消息数，最大 128。",
        ),
    Directive::new("vhost.play.send_min_interval", gate::conf::Kind::Float)
        .default("0")
        .range(0.0, 10_000.0)
        .since("2")
        .docs(
            "Least pause between two messages to a viewer in milliseconds, decimals allowed; `0` for none.",
            "向同一观众发送两条消息的最小间隔（毫秒，可带小数）；`0` 表示无。",
        ),
    Directive::new("vhost.play.reduce_sequence_header", Bool).default("off").since("2").docs(
        "Do not send a codec configuration again that did not change.",
        "编码配置未变化时不重复发送。",
    ),
    Directive::new("vhost.publish", Block).docs(
        "What publishers are held to.",
        "推流端设置。",
    ),
    Directive::new("vhost.publish.mr", Bool).default("off").since("2").docs(
        "Merge reads from publishers: fewer system calls, more delay.",
        "合并读取推流数据：减少系统调用，增加延迟。",
    ),
    Directive::new("vhost.publish.mr_latency", Millis).default("350").since("2").docs(
        "How long merged reading may wait.",
        "合并读取允许等待的时间。",
    ),
    Directive::new("vhost.publish.firstpkt_timeout", Millis).default("20000").since("2").docs(
        "Time for the first frame to come after publishing was granted.",
        "获准推流后首帧到达的时限。",
    ),
    Directive::new("vhost.publish.normal_timeout", Millis).default("5000").since("2").docs(
        "A publisher that sends nothing for so long is taken for dead.",
        "推流端超过该时间没有数据即视为断开。",
    ),
    Directive::new("vhost.publish.parse_sps", Bool).default("on").since("3").docs(
        "Read size, profile and level from the video configuration.",
        "从视频配置中解析尺寸、profile 与 level。",
    ),
    Directive::new("vhost.publish.try_annexb_first", Bool).default("on").since("5").docs(
        "Try whether H.264 comes with start codes before taking it as length-prefixed.",
        "先尝试按起始码格式解析 H.264，再按长度前缀解析。",
    ),
    Directive::new("vhost.publish.kickoff_for_idle", FloatSeconds).default("0").since("6").docs(
        "Close a publisher that nobody has watched for so long; `0` never.",
        "无人观看超过该时间则断开推流；`0` 表示从不。",
    ),
    Directive::new("vhost.publish.takeover", Choice(&["off", "stale", "always"]))
        .default("stale")
        .since("millrace")
        .docs(
            "A second publisher of the same stream: `off` refuses it, `stale` lets it replace one that has sent nothing for a second, `always` lets it replace any.",
            "同一路流的第二个推流端：`off` 拒绝；`stale` 允许替换一秒内没有数据的旧推流；`always` 总是替换。",
        ),
];
