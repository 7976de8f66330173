//! What is published goes to other servers, too.

use gate::conf::Kind::{Block, Bool, List, Path, Str};
use gate::conf::Reload::Live;
use gate::conf::{Directive, Kind};

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("vhost.forward", Block).docs(
        "Publish every stream to other servers, too, by RTMP. See [Forwarding](forward.md).",
        "将每路流同时以 RTMP 转推到其他服务器。见 [转推](forward.md)。",
    ),
    forward("vhost.forward.enabled", Bool).default("off").docs("Do so.", "启用。"),
    forward("vhost.forward.destination", List).docs(
        "Where to: any number of `host[:port]`, `rtmps://host[:port]`, or whole addresses `rtmp://host[:port]/app/stream`. A server alone gets each stream by its own name.",
        "目标，可写多个：`host[:port]`、`rtmps://host[:port]`，或完整地址 `rtmp://host[:port]/app/stream`。只写服务器时沿用流自身的名称。",
    ),
    forward("vhost.forward.backend", Str).since("4").docs(
        "URL that is asked for destinations when a stream begins (`on_forward`); `destination` is not looked at then. `timeout`, `secret` and `ca_file` of `http_hooks` hold for it.",
        "流开始时查询目标的 URL（`on_forward`）；设置后忽略 `destination`。`http_hooks` 的 `timeout`、`secret`、`ca_file` 对其有效。",
    ),
    forward("vhost.forward.ca_file", Path).since("millrace").docs(
        "Certificates (PEM) that servers of `rtmps` must be signed by. Without it any certificate will do.",
        "校验 `rtmps` 服务器所用的 CA 证书（PEM）。未设置时接受任何证书。",
    ),
    forward("vhost.forward.api", Bool).default("off").since("7").switch().planned(API).docs(
        "Let the API add and remove destinations.",
        "允许通过 API 增删目标。",
    ),
];

const API: &str = "destinations by the API";

const fn forward(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).no_env().reload(Live)
}
