//! The HTTP server: listeners, static files, live streams over HTTP.

use gate::conf::Directive;
use gate::conf::Kind::{Block, Bool, FloatSeconds, FreeBlock, List, Listen, Path, Str};
use gate::conf::Reload::{Listener, Live};

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("http_server", Block).docs(
        "The HTTP server for live streams, HLS and static files.",
        "提供直播流、HLS 与静态文件的 HTTP 服务器。",
    ),
    Directive::new("http_server.enabled", Bool).default("off").reload(Listener).docs(
        "Serve HTTP.",
        "启用 HTTP 服务。",
    ),
    Directive::new("http_server.listen", Listen).default("8080").reload(Listener).docs(
        "Where. May be the same as `http_api.listen`: then one port serves both.",
        "监听地址。可与 `http_api.listen` 相同，由一个端口同时提供服务。",
    ),
    Directive::new("http_server.dir", Path).default("./objs/nginx/html").reload(Live).docs(
        "Directory of static files. A directory that does not exist holds no files and is no mistake.",
        "静态文件目录。目录不存在不算错误，只是没有文件。",
    ),
    Directive::new("http_server.crossdomain", Bool).default("on").reload(Live).docs(
        "Let web pages of other hosts read (CORS).",
        "允许其他站点的网页访问（CORS）。",
    ),
    Directive::new("http_server.https", FreeBlock).since("4").docs(
        "The same inside TLS.",
        "同上，基于 TLS。",
    ),
    Directive::new("http_server.https.enabled", Bool).default("off").since("4").reload(Listener).docs(
        "Serve HTTPS; `http_server` must be enabled, too.",
        "启用 HTTPS；需同时启用 `http_server`。",
    ),
    Directive::new("http_server.https.listen", Listen)
        .default("8088")
        .since("4")
        .reload(Listener)
        .docs("Where HTTPS is served.", "HTTPS 监听地址。"),
    Directive::new("http_server.https.key", Path)
        .default("./conf/server.key")
        .since("4")
        .reload(Live)
        .docs("Private key, PEM. Read anew on reload.", "PEM 格式私钥，重载时重新读取。"),
    Directive::new("http_server.https.cert", Path)
        .default("./conf/server.crt")
        .since("4")
        .reload(Live)
        .docs("Certificate chain, PEM. Read anew on reload.", "PEM 格式证书链，重载时重新读取。"),
    Directive::new("vhost.http_static", Block).docs(
        "Static files of this host.",
        "本虚拟主机的静态文件。",
    ),
    Directive::new("vhost.http_static.enabled", Bool).default("off").docs(
        "Serve them.",
        "启用。",
    ),
    Directive::new("vhost.http_static.mount", Str).default("[vhost]/").docs(
        "Under which path. `[vhost]` is this host's name, empty for the default host; a mount at `/` takes the place of `http_server.dir`.",
        "挂载路径。`[vhost]` 为本虚拟主机名（默认主机为空）；挂载到 `/` 时取代 `http_server.dir`。",
    ),
    Directive::new("vhost.http_static.dir", Path).default("./objs/nginx/html").docs(
        "From which directory; `[vhost]` may stand in it.",
        "文件目录，可包含 `[vhost]`。",
    ),
    Directive::new("vhost.http_remux", Block).since("2").docs(
        "Live streams over HTTP and WebSocket: FLV, MPEG-TS, AAC, MP3. At most one block for each host.",
        "HTTP 与 WebSocket 直播流：FLV、MPEG-TS、AAC、MP3。每个虚拟主机至多一个。",
    ),
    Directive::new("vhost.http_remux.enabled", Bool).default("off").since("2").docs(
        "Serve them.",
        "启用。",
    ),
    Directive::new("vhost.http_remux.mount", List)
        .default("[vhost]/[app]/[stream].flv")
        .since("2")
        .docs(
            "Under which paths; the ending decides the format: `.flv`, `.ts`, `.aac`, `.mp3`. Several templates may stand in one line. A segment of HLS is found before a live `.ts` stream of the same name.",
            "挂载路径模板，扩展名决定格式：`.flv`、`.ts`、`.aac`、`.mp3`。一行可写多个模板。与直播 `.ts` 同名时优先返回 HLS 切片。",
        ),
    Directive::new("vhost.http_remux.fast_cache", FloatSeconds).default("0").since("2").docs(
        "So many seconds of audio are kept for new listeners of AAC and MP3.",
        "为 AAC、MP3 的新听众缓存的音频秒数。",
    ),
    Directive::new("vhost.http_remux.drop_if_not_match", Bool).default("on").since("5").docs(
        "Leave out frames of a kind that the header said is not there.",
        "丢弃与头部声明不符的音频或视频帧。",
    ),
    Directive::new("vhost.http_remux.has_audio", Bool).default("on").since("5").docs(
        "Whether the FLV header says there is audio, if it is not guessed.",
        "不自动判断时 FLV 头是否声明有音频。",
    ),
    Directive::new("vhost.http_remux.has_video", Bool).default("on").since("5").docs(
        "Whether the FLV header says there is video, if it is not guessed.",
        "不自动判断时 FLV 头是否声明有视频。",
    ),
    Directive::new("vhost.http_remux.guess_has_av", Bool).default("on").since("5").docs(
        "Say in the FLV header what the stream has by now.",
        "根据流的实际内容填写 FLV 头。",
    ),
    Directive::new("vhost.http_remux.wait_timeout", FloatSeconds)
        .default("5")
        .since("millrace")
        .docs(
            "How long a request for a stream that nobody publishes waits for a publisher before it is answered with 404.",
            "请求的流尚无推流时，返回 404 之前等待推流的时间。",
        ),
];
