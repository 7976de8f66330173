//! Reports to a central server.

use gate::conf::Kind::{Block, Bool, Choice, Seconds, Str};
use gate::conf::Reload::Live;
use gate::conf::{Directive, Kind};

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("heartbeat", Block).docs(
        "Tell a central server at intervals that this one is there: a POST of JSON, the first at the start.",
        "定期以 POST 向中心服务器上报 JSON，启动时上报第一次。",
    ),
    heartbeat("heartbeat.enabled", Bool).default("off").docs("Report.", "启用。"),
    heartbeat("heartbeat.interval", Seconds).default("10").docs(
        "How often, in whole seconds.",
        "上报间隔，整秒。",
    ),
    heartbeat("heartbeat.url", Str).default("http://127.0.0.1:8085/api/v1/servers").docs(
        "Where to, by POST: `http` or `https`. Its query is not sent, and the answer is not looked at.",
        "上报地址（POST），`http` 或 `https`。URL 的查询串不会发送，应答内容被忽略。",
    ),
    heartbeat("heartbeat.device_id", Str).docs("Name of this machine.", "本机标识。"),
    heartbeat("heartbeat.summaries", Bool).default("off").docs(
        "Add what `/api/v1/summaries` tells.",
        "附带 `/api/v1/summaries` 的内容。",
    ),
    heartbeat("heartbeat.ports", Bool).default("off").since("5").docs(
        "Add the ports that are listened at, of what is enabled.",
        "附带已启用服务的监听端口。",
    ),
    Directive::new("heartbeat.auth", Block).since("7").docs(
        "What to identify with: an `Authorization` header.",
        "上报时的身份凭据（`Authorization` 头）。",
    ),
    heartbeat("heartbeat.auth.enabled", Bool).default("off").since("7").docs("Do so.", "启用。"),
    heartbeat("heartbeat.auth.type", Choice(&["basic", "bearer"])).default("basic").since("7").docs(
        "Name and password, or a token.",
        "用户名与密码，或令牌。",
    ),
    heartbeat("heartbeat.auth.username", Str).since("7").docs("The name.", "用户名。"),
    heartbeat("heartbeat.auth.password", Str).since("7").docs("The password.", "密码。"),
    heartbeat("heartbeat.auth.token", Str).since("7").docs("The token.", "令牌。"),
];

const fn heartbeat(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).reload(Live)
}
