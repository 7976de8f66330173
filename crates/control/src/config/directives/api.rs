//! The HTTP API.

use gate::conf::Directive;
use gate::conf::Kind::{Block, Bool, Choice, FreeBlock, Int, Listen, Path, Str};
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
    Directive::new("http_api.unprotected_writes", Bool)
        .default("off")
        .since("millrace")
        .reload(Live)
        .docs(
            "Let everybody who reaches the port end clients and reload, without a token or a \
             password, as SRS does. Web pages of other sites still may not. Better: \
             `http_api { auth }`.",
            "像 SRS 一样，允许任何能访问端口的人踢客户端、重载配置，无需令牌或密码；\
             其他站点的网页仍不允许。更好的做法是 `http_api { auth }`。",
        ),
    Directive::new("http_api.events_max", Int)
        .default("64")
        .range(0.0, 10_000.0)
        .since("millrace")
        .reload(Live)
        .docs(
            "Listeners of `/api/v2/events` at the same time.",
            "同时订阅 `/api/v2/events` 的最大数量。",
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
        "Ask for a name and a password (HTTP Basic), or for a token, on paths under `/api/`.",
        "访问 `/api/` 下的路径时要求用户名与密码（HTTP Basic）或令牌。",
    ),
    auth("http_api.auth.enabled", Bool).default("off").docs("Ask for them.", "启用。"),
    auth("http_api.auth.username", Str).docs("The name.", "用户名。"),
    auth("http_api.auth.password", Str).docs("The password.", "密码。"),
    auth("http_api.auth.type", Choice(&["basic", "bearer"])).default("basic").since("7").docs(
        "Name and password, or the token below. The token that the server made at its first start \
         is taken in either case.",
        "用户名与密码，或下面的令牌。服务器首次启动时生成的令牌始终有效。",
    ),
    auth("http_api.auth.token", Str).since("7").docs(
        "The token for `type bearer`: `Authorization: Bearer TOKEN`.",
        "`type bearer` 使用的令牌：`Authorization: Bearer TOKEN`。",
    ),
    auth("http_api.auth.rtc_bearer_enabled", Bool).default("off").since("7").planned(BEARER).docs(
        "Ask for the token on the paths of WebRTC signalling, too.",
        "WebRTC 信令路径也要求令牌。",
    ),
    Directive::new("http_api.raw_api", Block).since("3").docs(
        "Reload, query and update by `/api/v1/raw`; never without leave to change things.",
        "通过 `/api/v1/raw` 重载、查询和修改配置；必须具有修改权限。",
    ),
    raw("http_api.raw_api.enabled").docs("Serve it.", "启用。"),
    raw("http_api.raw_api.allow_reload").docs("Allow a reload.", "允许重载。"),
    raw("http_api.raw_api.allow_query").no_env().docs(
        "Allow `rpc=query`, as in SRS 3: the configuration, without its secrets.",
        "允许 SRS 3 的 `rpc=query`：读取配置，不含密码等机密。",
    ),
    raw("http_api.raw_api.allow_update").no_env().docs(
        "Allow `rpc=update`, as in SRS 3: one change of the configuration in force. It holds until \
         the next reload or restart; the file is not written.",
        "允许 SRS 3 的 `rpc=update`：修改正在生效的配置。有效期到下次重载或重启为止，不写入文件。",
    ),
    Directive::new("exporter", Block).since("5").docs(
        "Metrics for Prometheus at a port of their own, `/metrics`. They are at the API's port, too, \
         whatever stands here.",
        "在独立端口的 `/metrics` 提供 Prometheus 指标；无论此处如何设置，API 端口也提供。",
    ),
    exporter("exporter.enabled", Bool).default("off").reload(Listener).docs("Serve them.", "启用。"),
    exporter("exporter.listen", Listen).default("9972").reload(Listener).docs("Where.", "监听地址。"),
    exporter("exporter.label", Str).docs("Label of this server.", "本服务器的标签。"),
    exporter("exporter.tag", Str).docs("Tag of this server.", "本服务器的 tag。"),
    exporter("exporter.streams", Bool).default("off").since("millrace").docs(
        "Figures of each stream, too: some ten series a stream.",
        "同时输出每路流的指标：每路流约十个时间序列。",
    ),
];

const fn exporter(path: &'static str, kind: gate::conf::Kind) -> Directive {
    Directive::new(path, kind).since("5").reload(Live)
}

const BEARER: &str = "bearer tokens for WebRTC signalling";

const fn auth(path: &'static str, kind: gate::conf::Kind) -> Directive {
    Directive::new(path, kind).since("5").reload(Live)
}

const fn raw(path: &'static str) -> Directive {
    Directive::new(path, Bool).default("off").since("3").reload(Live)
}
