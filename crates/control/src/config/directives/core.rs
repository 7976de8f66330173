//! Process, log, limits: what belongs to no protocol.

use gate::conf::Kind::{
    Block, Bool, Choice, Float, FloatSeconds, FreeBlock, Int, List, Millis, Path, Seconds, Size,
    Str,
};
use gate::conf::Reload::{AtStart, Live};
use gate::conf::{Directive, Kind, Violation};

/// Upper bound of counts that have no natural one.
const MANY: f64 = 2_147_483_647.0;

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("pid", Path).default("./objs/srs.pid").reload(AtStart).docs(
        "File with the process id. It stays locked while the server runs, so a second server with the same file refuses to start. A file beside it with the ending `.id` keeps the server's identity.",
        "存放进程号的文件。服务器运行期间保持加锁，使用同一文件的第二个服务器会拒绝启动。同名的 `.id` 文件保存服务器标识。",
    ),
    Directive::new("workers", Int).default("0").range(0.0, 1024.0)
        .since("millrace")
        .reload(AtStart)
        .docs(
            "Number of worker threads that carry media; `0` for as many as the cores the process may use, CPU affinity and container quota considered.",
            "承载媒体的工作线程数；`0` 表示等于进程可用的核数，会考虑 CPU 亲和性与容器配额。",
        ),
    Directive::new("io_uring", Bool).default("off").since("millrace").reload(AtStart).docs(
        "Send to players in batches by the kernel's io_uring, not one system call for each. Saves processor time where a worker has many players; those on TLS or HTTP/2 are served as before, and those on WebRTC share calls with and without it. Needs Linux 5.6 (6.1 for the most of it) and a container that allows it; where it cannot be used the log says why and plain sends are used.",
        "通过内核的 io_uring 批量向播放端发送，而不是每个播放端一次系统调用。每个工作线程播放端很多时可节省处理器时间；TLS 与 HTTP/2 的播放端仍按原方式发送；WebRTC 播放端无论是否打开都合并发送。需要 Linux 5.6（6.1 起效果最好）以及允许它的容器；无法使用时日志说明原因，并改用普通发送。",
    ),
    Directive::new("max_connections", Int).default("1000").range(1.0, MANY).reload(Live).docs(
        "Most client connections at a time, all protocols together. One more is accepted and closed at once. The server refuses to start when the limit of open files is too low for what is written here; for the default it only warns.",
        "全部协议合计的最大客户端连接数。超出的连接接受后立即关闭。若打开文件数上限不足以满足此处写出的值，服务器拒绝启动；仅用默认值时只发出警告。",
    ),
    Directive::new("max_connections_per_ip", Int)
        .default("0")
        .range(0.0, MANY)
        .since("millrace")
        .reload(Live)
        .docs(
            "Most connections at a time from one address, `0` for no limit. Mind that viewers behind one router share an address.",
            "同一地址的最大并发连接数，`0` 表示不限。注意同一路由器后的观众共用一个地址。",
        ),
    Directive::new("circuit_breaker", FreeBlock).since("4").docs(
        "Protects those who are there when the server is overloaded: tells, and in the end refuses new sessions. The load is that of the worker with the most time to spare.",
        "过载时保护已有的会话：先告警，最后拒绝新会话。负载取最空闲的工作线程。",
    ),
    breaker("circuit_breaker.enabled", Bool, "on").docs("Do so.", "启用。"),
    breaker("circuit_breaker.high_threshold", Int, "90").docs(
        "Percentage of a core from which the log and the metrics tell of a high load.",
        "超过该百分比（单核）时，日志与指标报告负载高。",
    ),
    breaker("circuit_breaker.high_pulse", Int, "2").docs(
        "For so many seconds on end.",
        "持续的秒数。",
    ),
    breaker("circuit_breaker.critical_threshold", Int, "95").docs(
        "Percentage of a core from which they tell of a critical load.",
        "超过该百分比（单核）时，报告负载危急。",
    ),
    breaker("circuit_breaker.critical_pulse", Int, "1").docs(
        "For so many seconds on end.",
        "持续的秒数。",
    ),
    breaker("circuit_breaker.dying_threshold", Int, "99").docs(
        "Percentage of a core from which new sessions are refused, until the load falls below it. Those who are there are served on.",
        "超过该百分比（单核）时拒绝新会话，直到负载降到其下。已有的会话继续服务。",
    ),
    breaker("circuit_breaker.dying_pulse", Int, "5").docs(
        "For so many seconds on end.",
        "持续的秒数。",
    ),
    Directive::new("daemon", Bool).default("on").reload(AtStart).docs(
        "Run in the background. Without a configuration file, and in containers, the server stays in the foreground.",
        "在后台运行。没有配置文件时以及在容器中，服务器保持前台运行。",
    ),
    Directive::new("user", Str).since("millrace").reload(AtStart).docs(
        "User, by name or number, that the server becomes when it was started as root, after its ports are open and its files are made. Empty: it stays root. Without root it has no effect.",
        "以 root 启动时，在端口打开、文件建好之后切换到的用户（名字或编号）。为空则保持 root。不是以 root 启动时不起作用。",
    ),
    Directive::new("group", Str).since("millrace").reload(AtStart).docs(
        "Group, by name or number, that goes with `user`. Empty: the user's own.",
        "与 `user` 一同使用的组（名字或编号）。为空则使用该用户自己的组。",
    ),
    Directive::new("upgrade_drain", Seconds)
        .default("600")
        .range(0.0, 604_800.0)
        .since("millrace")
        .reload(Live)
        .docs(
            "Seconds for which publishers and viewers may stay with the old process after an upgrade (`millrace upgrade`, SIGUSR2). Those who are left then are closed; they reconnect to the new one.",
            "升级（`millrace upgrade` 或 SIGUSR2）之后，发布端与播放端最多可留在旧进程中的秒数。到时仍在的连接会被关闭，重连后由新进程服务。",
        ),
    Directive::new("work_dir", Path).default("./").since("3").reload(AtStart).docs(
        "Directory to change to before any file is opened; relative paths start there.",
        "打开任何文件之前切换到的目录，相对路径由此算起。",
    ),
    Directive::new("asprocess", Bool).default("off").since("3").reload(AtStart).docs(
        "Quit when the parent process is gone. Not together with `daemon on`.",
        "父进程消失时退出。不能与 `daemon on` 同时使用。",
    ),
    Directive::new("server_id", Str).since("4").reload(AtStart).docs(
        "Identity of this server in API and callbacks. Without it one is made up and kept in the file beside `pid`.",
        "本服务器在 API 与回调中的标识。不写时自动生成，并保存在 `pid` 旁的文件里。",
    ),
    Directive::new("empty_ip_ok", Bool).default("on").since("3").reload(Live).docs(
        "Accept clients whose address is not known.",
        "接受地址未知的客户端。",
    ),
    Directive::new("utc_time", Bool).default("off").since("3").reload(AtStart).docs(
        "Use UTC in the log and in the time variables of paths, not local time.",
        "日志与路径中的时间变量使用 UTC，而不是本地时间。",
    ),
    Directive::new("srs_log_tank", Choice(&["file", "console"]))
        .default("file")
        .lenient(Violation::UseDefault)
        .env(&["SRS_SRS_LOG_TANK", "SRS_LOG_TANK"])
        .reload(AtStart)
        .docs(
            "Where the log goes. In environment-only mode and without a configuration file: the console.",
            "日志去向。仅环境变量模式下以及没有配置文件时为控制台。",
        ),
    Directive::new("srs_log_level", Choice(&["verbose", "debug", "info", "trace", "warn", "error"]))
        .default("trace")
        .lenient(Violation::UseDefault)
        .env(&["SRS_SRS_LOG_LEVEL", "SRS_LOG_LEVEL"])
        .reload(Live)
        .docs(
            "Least important messages that are written, in the old names: `verbose` and `info` are for debugging, `trace` is the usual level of operation.",
            "写入日志的最低级别（旧名称）：`verbose` 与 `info` 用于调试，`trace` 是正常运行级别。",
        ),
    Directive::new("srs_log_level_v2", Choice(&["trace", "debug", "info", "warn", "error"]))
        .lenient(Violation::UseDefault)
        .env(&["SRS_SRS_LOG_LEVEL_V2", "SRS_LOG_LEVEL_V2"])
        .since("5")
        .reload(Live)
        .docs(
            "The same in the usual names, and stronger than `srs_log_level` when written: `trace` is the most detailed, `info` is operation.",
            "同上，使用通行的名称；一旦写出即优先于 `srs_log_level`：`trace` 最详细，`info` 为正常运行。",
        ),
    Directive::new("srs_log_file", Path)
        .default("./objs/srs.log")
        .env(&["SRS_SRS_LOG_FILE", "SRS_LOG_FILE"])
        .reload(AtStart)
        .docs(
            "The log file. It is opened anew on the signal USR1, for rotation.",
            "日志文件。收到 USR1 信号时重新打开，便于轮转。",
        ),
    Directive::new("log_format", Choice(&["text", "json"]))
        .default("text")
        .since("millrace")
        .reload(AtStart)
        .docs(
            "Lines for people, or one JSON object a line for programs.",
            "供人阅读的文本行，或供程序读取的每行一个 JSON 对象。",
        ),
    Directive::new("pithy_print_ms", Millis).default("10000").reload(Live).docs(
        "How often each session writes its line with rates, lag and drops.",
        "每个会话输出码率、延迟与丢弃统计的间隔。",
    ),
    Directive::new("in_docker", Bool).default("off").since("4").reload(AtStart).docs(
        "Behave as in a container even if none is detected.",
        "即使未检测到容器，也按容器方式运行。",
    ),
    Directive::new("disable_daemon_for_docker", Bool).default("on").since("3").reload(AtStart).docs(
        "Stay in the foreground in a container whatever `daemon` says.",
        "在容器中无论 `daemon` 如何都保持前台运行。",
    ),
    Directive::new("grace_start_wait", Millis).default("2300").since("3").reload(Live).docs(
        "Wait before the listeners close when the server is told to drain (signal QUIT).",
        "优雅退出（QUIT 信号）时关闭监听之前的等待。",
    ),
    Directive::new("grace_final_wait", Millis).default("3200").since("3").reload(Live).docs(
        "Wait at the end of draining.",
        "优雅退出结束前的等待。",
    ),
    Directive::new("force_grace_quit", Bool).default("off").since("3").reload(Live).docs(
        "Drain on the signal TERM, too.",
        "收到 TERM 信号时也优雅退出。",
    ),
    Directive::new("inotify_auto_reload", Bool).default("off").since("3").reload(AtStart).docs(
        "Reload when the configuration file changes (a Kubernetes ConfigMap is understood).",
        "配置文件变化时自动重载（支持 Kubernetes ConfigMap）。",
    ),
    Directive::new("auto_reload_for_docker", Bool).default("on").since("3").reload(AtStart).docs(
        "In a container reload on change whatever `inotify_auto_reload` says.",
        "在容器中无论 `inotify_auto_reload` 如何都在文件变化时重载。",
    ),
    Directive::new("is_full", Bool).default("off").no_env().since("5").reload(AtStart).docs(
        "Marks a file that shows every directive and is not meant to be run: the server refuses to start.",
        "标记仅用于展示全部指令、不应运行的文件：服务器拒绝启动。",
    ),
    Directive::new("tcmalloc_release_rate", Float).default("0.8").since("4").ignored().docs(
        "Rate of an allocator that this server does not use.",
        "本服务器不使用的内存分配器的参数。",
    ),
    Directive::new("query_latest_version", Bool).default("off").since("4").ignored().docs(
        "This server never asks anybody for newer versions.",
        "本服务器从不联网查询新版本。",
    ),
    Directive::new("first_wait_for_qlv", Seconds).default("300").since("4").ignored().docs(
        "Belongs to `query_latest_version`.",
        "属于 `query_latest_version`。",
    ),
    Directive::new("threads", FreeBlock).since("5").ignored().docs(
        "Threads of older servers; see `workers`.",
        "旧服务器的线程设置，见 `workers`。",
    ),
    Directive::new("threads.interval", Seconds).default("5").since("5").ignored().docs(
        "Interval of a statistic that does not exist here.",
        "本服务器没有的统计间隔。",
    ),
    Directive::new("kafka", FreeBlock).since("3").ignored().docs(
        "Reporting to Kafka, seen in early versions of SRS 3.",
        "SRS 3 早期版本中的 Kafka 上报。",
    ),
    Directive::new("28181_stream_server", FreeBlock).since("5").ignored().docs(
        "GB28181 receiver seen in early versions of SRS 5.",
        "SRS 5 早期版本中的 GB28181 接收端。",
    ),
    Directive::new("tencentcloud_cls", FreeBlock).since("5").ignored().docs(
        "Log service of a cloud vendor.",
        "云厂商日志服务。",
    ),
    Directive::new("tencentcloud_apm", FreeBlock).since("5").ignored().docs(
        "Tracing service of a cloud vendor.",
        "云厂商链路追踪服务。",
    ),
    Directive::new("limits", Block).since("millrace").docs(
        "What one connection may cost before it is cut off. The defaults are far above what real encoders and players need.",
        "单个连接允许消耗的上限，超出即断开。默认值远高于真实编码器与播放器的需要。",
    ),
    limit("limits.handshake_timeout", FloatSeconds, "10").docs(
        "Time for the first exchange of bytes after a connection is accepted (TLS and RTMP handshake).",
        "接受连接后首次交换字节（TLS 与 RTMP 握手）的时限。",
    ),
    limit("limits.connect_timeout", FloatSeconds, "30").docs(
        "Time from accepting a connection until it publishes or plays something.",
        "从接受连接到开始推流或播放的时限。",
    ),
    limit("limits.message_size", Size, "10m").docs(
        "Largest RTMP message. A larger one ends the connection.",
        "最大的 RTMP 消息，超出即断开。",
    ),
    limit("limits.chunk_streams", Int, "64").range(2.0, 65_599.0).docs(
        "RTMP chunk streams that one connection may use.",
        "单个连接可使用的 RTMP 块流数量。",
    ),
    limit("limits.preauth_bytes", Size, "65536").docs(
        "Bytes kept for a connection before it is admitted to publish or play.",
        "连接获准推流或播放之前为其保留的字节数。",
    ),
    limit("limits.amf_depth", Int, "32").range(1.0, 128.0).docs(
        "How deep AMF values may nest.",
        "AMF 值的最大嵌套深度。",
    ),
    limit("limits.amf_nodes", Int, "4096").range(16.0, 1_000_000.0).docs(
        "How many AMF values one message may hold.",
        "单条消息可包含的 AMF 值数量。",
    ),
    limit("limits.amf_string", Size, "65536").docs(
        "Longest AMF string.",
        "AMF 字符串的最大长度。",
    ),
    limit("limits.http_header_timeout", FloatSeconds, "15").docs(
        "Time for an HTTP request's header to arrive.",
        "接收 HTTP 请求头的时限。",
    ),
    Directive::new("stats", Block).docs(
        "What the server looks at to tell of the machine it runs on.",
        "服务器为报告所在机器状态而采集的内容。",
    ),
    Directive::new("stats.enabled", Bool).default("on").no_env().since("5").reload(AtStart).docs(
        "Look at CPU, memory, disk and network.",
        "采集 CPU、内存、磁盘与网络。",
    ),
    Directive::new("stats.network", Int).default("0").range(0.0, MANY).no_env().reload(AtStart).docs(
        "Which of the machine's addresses is told as its own, counted from 0.",
        "把本机的第几个地址（从 0 起）作为自身地址上报。",
    ),
    Directive::new("stats.disk", List).no_env().reload(AtStart).docs(
        "Names of the disks whose activity is told.",
        "上报其读写活动的磁盘名称。",
    ),
    Directive::new("vhost", Block).repeated().docs(
        "A virtual host: settings for the streams under one host name. `__defaultVhost__` serves every name that has no block of its own; names are compared exactly.",
        "虚拟主机：同一主机名下各路流的设置。`__defaultVhost__` 服务于没有自己的块的所有名称；名称精确匹配。",
    ),
    Directive::new("vhost.enabled", Bool).default("on").no_env().reload(Live).docs(
        "A host that is off refuses everybody.",
        "关闭的虚拟主机拒绝所有请求。",
    ),
    Directive::new("vhost.bandcheck", FreeBlock).ignored().docs(
        "Bandwidth test of Flash players.",
        "Flash 播放器的带宽测试。",
    ),
];

/// A row of `limits`: a positive number, for new sessions.
const fn limit(path: &'static str, kind: gate::conf::Kind, default: &'static str) -> Directive {
    Directive::new(path, kind).default(default).range(1.0, MANY).since("millrace")
}

const fn breaker(path: &'static str, kind: Kind, default: &'static str) -> Directive {
    Directive::new(path, kind).default(default).since("4").reload(Live)
}
