//! The HTTP API.

use gate::conf::Directive;
use gate::conf::Kind::{Block, Bool, Choice, FreeBlock, Listen, Path, Str};
use gate::conf::Reload::{Listener, Live};

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("http_api", Block).docs(
        "The HTTP API: versions, streams, clients, metrics.",
        "HTTP API：版本、流、客户端、指标。",
    ),
    Directive::new("http_api.enabled", Bool).default("off").reload(Listener).docs(
        "Serve the API.",
        "启用 API。",
    ),
    Directive::new("http_api.listen", Listen).default("1985").reload(Listener).docs(
        "Where. May be the same as `http_server.listen`: then one port serves both.",
        "监听地址。可与 `http_server.listen` 相同，由一个端口同时提供服务。",
    ),
    Directive::new("http_api.crossdomain", Bool).default("on").reload(Live).docs(
        "Let web pages of other hosts ask (CORS).",
        "允许其他站点的网页访问（CORS）。",
    ),
    Directive::new("http_api.https", FreeBlock).since("4").docs(
        "The API inside TLS.",
        "基于 TLS 的 API。",
    ),
    Directive::new("http_api.https.enabled", Bool).default("off").since("4").reload(Listener).docs(
        "Serve the API by HTTPS; `http_api` must be enabled, too.",
        "通过 HTTPS 提供 API；需同时启用 `http_api`。",
    ),
    Directive::new("http_api.https.listen", Listen)
        .default("1990")
        .since("4")
        .reload(Listener)
        .docs(
            "Where. When both HTTP ports are the same it is that of `http_server.https`, unless written.",
            "监听地址。两个 HTTP 端口相同时默认与 `http_server.https` 一致。",
        ),
    Directive::new("http_api.https.key", Path)
        .default("./conf/server.key")
        .since("4")
        .reload(Live)
        .docs("Private key, PEM. Read anew on reload.", "PEM 格式私钥，重载时重新读取。"),
    Directive::new("http_api.https.cert", Path)
        .default("./conf/server.crt")
        .since("4")
        .reload(Live)
        .docs("Certificate chain, PEM. Read anew on reload.", "PEM 格式证书链，重载时重新读取。"),
    Directive::new("http_api.auth", Block).since("5").docs(
        "Ask for a name and a password (HTTP Basic) on paths under `/api/`.",
        "访问 `/api/` 下的路径时要求用户名与密码（HTTP Basic）。",
    ),
    auth("http_api.auth.enabled", Bool).default("off").docs("Ask for them.", "启用。"),
    auth("http_api.auth.username", Str).docs("The name.", "用户名。"),
    auth("http_api.auth.password", Str).docs("The password.", "密码。"),
    auth("http_api.auth.type", Choice(&["basic", "bearer"]))
        .default("basic")
        .since("7")
        .planned(BEARER)
        .docs(
        "Name and password, or a token.",
        "用户名与密码，或令牌。",
    ),
    auth("http_api.auth.token", Str).since("7").planned(BEARER).docs("The token.", "令牌。"),
    auth("http_api.auth.rtc_bearer_enabled", Bool).default("off").since("7").planned(BEARER).docs(
        "Ask for the token on the paths of WebRTC signalling, too.",
        "WebRTC 信令路径也要求令牌。",
    ),
    Directive::new("http_api.raw_api", Block).since("3").docs(
        "Reload by API.",
        "通过 API 重载配置。",
    ),
    raw("http_api.raw_api.enabled").docs("Serve it.", "启用。"),
    raw("http_api.raw_api.allow_reload").docs("Allow a reload.", "允许重载。"),
    raw("http_api.raw_api.allow_query").no_env().ignored().docs(
        "Was removed in SRS 4.",
        "SRS 4 起已移除。",
    ),
    raw("http_api.raw_api.allow_update").no_env().ignored().docs(
        "Was removed in SRS 4.",
        "SRS 4 起已移除。",
    ),
];

const BEARER: &str = "bearer tokens for the API (name and password work)";

const fn auth(path: &'static str, kind: gate::conf::Kind) -> Directive {
    Directive::new(path, kind).since("5").reload(Live)
}

const fn raw(path: &'static str) -> Directive {
    Directive::new(path, Bool).default("off").since("3").reload(Live)
}
