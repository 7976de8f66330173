//! HTTP callbacks.

use gate::conf::Kind::{Block, Bool, Choice, FloatSeconds, Int, List, Path, Str};
use gate::conf::Reload::Live;
use gate::conf::{Directive, Kind};

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("vhost.http_hooks", Block).docs(
        "Ask web servers whether clients may come in, and tell them what happens. Each callback takes one or more URLs (`http` or `https`), called one after another until one fails. See [HTTP callbacks](hooks.md).",
        "询问 Web 服务器是否允许客户端，并通知事件。每个回调可写一个或多个 URL（`http` 或 `https`），依次调用，直到有一个失败。见 [HTTP 回调](hooks.md)。",
    ),
    hook("vhost.http_hooks.enabled", Bool).default("off").docs("Do so.", "启用。"),
    hook("vhost.http_hooks.on_connect", List).docs(
        "A client of RTMP wants its first stream; may it stay?",
        "RTMP 客户端首次请求流：是否允许。",
    ),
    hook("vhost.http_hooks.on_close", List).docs(
        "A connection that `on_connect` was asked about is over.",
        "曾触发 `on_connect` 的连接已断开。",
    ),
    hook("vhost.http_hooks.on_publish", List).docs(
        "Somebody wants to publish; may they?",
        "请求推流：是否允许。",
    ),
    hook("vhost.http_hooks.on_unpublish", List).docs("Publishing ended.", "推流结束。"),
    hook("vhost.http_hooks.on_play", List).docs(
        "Somebody wants to play; may they?",
        "请求播放：是否允许。",
    ),
    hook("vhost.http_hooks.on_stop", List).docs("Playing ended.", "播放结束。"),
    hook("vhost.http_hooks.on_dvr", List).docs(
        "A recording was finished, and has its name.",
        "录制文件完成，已改为最终文件名。",
    ),
    hook("vhost.http_hooks.on_hls", List).docs(
        "A segment of HLS was finished, and is where it can be read.",
        "HLS 切片完成，已可读取。",
    ),
    hook("vhost.http_hooks.on_hls_notify", List).docs(
        "URL that is fetched for each finished segment; `[server_id]`, `[service_id]`, `[app]`, `[stream]`, `[param]` and `[ts_url]` may stand in it. `hls_nb_notify` bytes of the answer are read.",
        "每个切片完成后访问的 URL，可用 `[server_id]`、`[service_id]`、`[app]`、`[stream]`、`[param]`、`[ts_url]`。读取应答的前 `hls_nb_notify` 字节。",
    ),
    ours("vhost.http_hooks.timeout", FloatSeconds).default("30").range(0.1, 300.0).docs(
        "How long one request may take, from connecting to the last byte of the reply.",
        "单次请求的时限：从建立连接到收完应答。",
    ),
    ours("vhost.http_hooks.when_down", Choice(&["deny", "allow"])).default("deny").docs(
        "What a session gets when the web server gives no answer: it cannot be reached, takes too long, has a status of 5xx, or sends something that is none. A plain no always counts.",
        "Web 服务器没有给出答复（无法连接、超时、状态码 5xx、内容无法识别）时如何处理会话。明确的拒绝始终有效。",
    ),
    ours("vhost.http_hooks.retries", Int).default("3").range(0.0, 20.0).docs(
        "How often a notification (`on_close`, `on_unpublish`, `on_stop`, `on_dvr`, `on_hls`) that was not answered is tried again, after 1, 2, 4 ... seconds, 30 at most. Questions are never repeated.",
        "通知（`on_close`、`on_unpublish`、`on_stop`、`on_dvr`、`on_hls`）未得到答复时的重试次数，间隔 1、2、4……秒，最长 30 秒。询问从不重试。",
    ),
    ours("vhost.http_hooks.queue", Int).default("10000").range(1.0, 1_000_000.0).docs(
        "Notifications of each callback that may wait, about 1 kB each. Those that find no place are dropped and counted.",
        "每个回调可排队等待的通知数，每条约 1 kB。排不下的会被丢弃并计数。",
    ),
    ours("vhost.http_hooks.secret", Str).secret().docs(
        "Sign requests: the header `X-Millrace-Signature` then holds a time and the HMAC-SHA256 of time and body under this key.",
        "为请求签名：头部 `X-Millrace-Signature` 含时间戳，以及用该密钥对时间戳和请求体计算的 HMAC-SHA256。",
    ),
    ours("vhost.http_hooks.ca_file", Path).docs(
        "PEM file of the certificates that vouch for web servers reached by `https`, for instance `/etc/ssl/certs/ca-certificates.crt`. Without it any certificate will do, as with SRS.",
        "PEM 文件，用于校验 `https` 服务器证书，例如 `/etc/ssl/certs/ca-certificates.crt`。不设置则与 SRS 相同，不校验证书。",
    ),
];

const fn hook(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).reload(Live)
}

const fn ours(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).since("millrace").reload(Live)
}
